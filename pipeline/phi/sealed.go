package phi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Sealed is a resource whose policy has been applied: a clinical part in the clear, and a PHI part encrypted under the
// key of its patient. Only this package makes one; the zero value is none. It is immutable, small, and prints as
// [redacted].
type Sealed struct {
	marker
	// A pointer to a pointer: fmt prints the unexported fields of a foreign struct without asking their type, and under
	// %s it follows one pointer.
	p **sealed
}

// get is what is in it, which there must be.
func (s Sealed) get() *sealed { return *s.p }

type sealed struct {
	typ, id, patient string
	place            extract.Place
	key              keyID
	digest           [digestSize]byte
	marked           bool
	clinical, cipher []byte
}

// IsZero tells whether there is no resource in it.
func (s Sealed) IsZero() bool { return s.p == nil }

// Type is the type of the resource.
func (s Sealed) Type() string {
	if s.p == nil {
		return ""
	}
	return s.get().typ
}

// ID is the id of the resource.
func (s Sealed) ID() string {
	if s.p == nil {
		return ""
	}
	return s.get().id
}

// Patient is the id of the patient whose record it is, "" for a shared resource.
func (s Sealed) Patient() string {
	if s.p == nil {
		return ""
	}
	return s.get().patient
}

// Place is where the record stands in the source.
func (s Sealed) Place() extract.Place {
	if s.p == nil {
		return extract.Place{}
	}
	return s.get().place
}

// Digest is the digest of the whole canonical resource: HMAC-SHA-256 under a key of the patient, cut to 128 bits. Two
// digests of one patient are equal exactly when the resources are.
func (s Sealed) Digest() [16]byte {
	if s.p == nil {
		return [16]byte{}
	}
	return s.get().digest
}

// Marked tells whether something was taken out of the clinical part. If not, the clinical part is the whole.
func (s Sealed) Marked() bool { return s.p != nil && s.get().marked }

// Size is the number of bytes of both parts.
func (s Sealed) Size() int {
	if s.p == nil {
		return 0
	}
	return len(s.get().clinical) + len(s.get().cipher)
}

// Clinical is the clinical part: JSON. It must not be changed.
func (s Sealed) Clinical() []byte {
	if s.p == nil {
		return nil
	}
	return s.get().clinical
}

// Ciphertext is the PHI part as sealed. It must not be changed.
func (s Sealed) Ciphertext() []byte {
	if s.p == nil {
		return nil
	}
	return s.get().cipher
}

// The header of a sealed resource, for files: version, flags (1: marked), key id (16), digest (16), the line as varint,
// then type, id, patient, table and file, each a length as varint and its bytes.
const headerVersion = 1

// AppendHeader appends all of a sealed resource but its two parts, for package stage. The zero value appends nothing.
func (s Sealed) AppendHeader(dst []byte) []byte {
	if s.p == nil {
		return dst
	}
	h := s.get()
	flags := byte(0)
	if h.marked {
		flags = 1
	}
	dst = append(dst, headerVersion, flags)
	dst = append(dst, h.key[:]...)
	dst = append(dst, h.digest[:]...)
	dst = binary.AppendUvarint(dst, uint64(h.place.Line))
	for _, text := range [...]string{h.typ, h.id, h.patient, h.place.Table, h.place.File} {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
		dst = append(dst, text...)
	}
	return dst
}

var errHeader = errors.New("the header of a sealed resource is broken")

// Restore makes the Sealed again that package stage wrote. It copies what it is given. What does not belong together is
// found when the PHI part is opened: type, id, key and digest are bound to it.
func Restore(header, clinical, ciphertext []byte) (Sealed, error) {
	const fixed = 2 + 16 + digestSize
	if len(header) < fixed || header[0] != headerVersion || header[1] > 1 || len(clinical) < 2 || len(ciphertext) == 0 {
		return Sealed{}, errHeader
	}
	r := payloadReader{rest: header[fixed:]}
	line := r.number()
	text := string(r.rest) // one copy for all five
	var fields [5]string
	for i := range fields {
		n := r.number()
		if r.bad || n > len(r.rest) {
			return Sealed{}, errHeader
		}
		at := len(text) - len(r.rest)
		fields[i], r.rest = text[at:at+n], r.rest[n:]
	}
	if r.bad || len(r.rest) != 0 || fields[0] == "" || fields[1] == "" {
		return Sealed{}, errHeader
	}
	both := make([]byte, 0, len(clinical)+len(ciphertext))
	both = append(append(both, clinical...), ciphertext...)
	p := &sealed{typ: fields[0], id: fields[1], patient: fields[2], marked: header[1] == 1,
		place:    extract.Place{Table: fields[3], File: fields[4], Line: int64(line)},
		clinical: both[:len(clinical):len(clinical)], cipher: both[len(clinical):]}
	copy(p.key[:], header[2:])
	copy(p.digest[:], header[2+16:])
	return Sealed{p: &p}, nil
}

// Piece is something that was taken out of a resource, as [Keyring.Parts] opens it.
type Piece struct {
	// Path is its place in the whole, as in [Cut].
	Path string
	// Value is its JSON; empty for the mark in meta.security, which was put in.
	Value Secret

	form byte
}

var errEmpty = errors.New("this sealed resource is empty")

// open decrypts the PHI part.
func (k *Keyring) open(s Sealed) (*payloadReader, *patientKey, error) {
	if s.p == nil {
		return nil, nil, errEmpty
	}
	key, err := k.patientKey(s.get().patient)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s %s: %w", s.get().typ, s.get().id, err)
	}
	if key.id != s.get().key {
		return nil, nil, fmt.Errorf("open %s %s: %w", s.get().typ, s.get().id, ErrOtherKey)
	}
	p, err := k.decrypt(key, s.get().typ, s.get().id, s.get().digest, s.get().cipher)
	if err != nil {
		return nil, nil, fmt.Errorf("open %s %s: %w", s.get().typ, s.get().id, err)
	}
	return p, key, nil
}

// decrypt opens a PHI part that must be of this type, id and digest.
func (k *Keyring) decrypt(key *patientKey, typ, id string, digest [digestSize]byte, cipher []byte) (*payloadReader, error) {
	aad := appendField(nil, sealDomain)
	aad = appendField(aad, k.migration)
	aad = appendIdentity(aad, typ, id, key.id, digest)
	plain, err := key.aead.Open(nil, nil, cipher, aad)
	if err != nil {
		return nil, ErrNotAuthentic
	}
	return readPayload(plain)
}

// Parts opens a sealed resource: the clinical part, what was taken out of it, and the source row. Errors:
// [ErrNotAuthentic], [ErrOtherKey], [ErrNoKey]. It may be called concurrently.
func (k *Keyring) Parts(s Sealed) (clinical []byte, pieces []Piece, row []byte, err error) {
	p, _, err := k.open(s)
	if err != nil {
		return nil, nil, nil, err
	}
	if pieces, err = p.pieces(); err != nil {
		return nil, nil, nil, fmt.Errorf("open %s %s: %w", s.get().typ, s.get().id, err)
	}
	row, err = p.row()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open %s %s: %w", s.get().typ, s.get().id, err)
	}
	return s.get().clinical, pieces, row, nil
}

// Whole appends the whole resource in canonical form: both parts joined. The result is checked against the digest.
// Errors as of Parts, and [ErrDigest] when the parts are genuine but do not make the whole. It may be called
// concurrently.
func (k *Keyring) Whole(s Sealed, dst []byte) ([]byte, error) {
	p, key, err := k.open(s)
	if err != nil {
		return dst, err
	}
	start, pos, clinical := len(dst), 0, s.get().clinical
	for range p.count {
		e, err := p.next()
		if err != nil {
			return dst[:start], fmt.Errorf("join %s %s: %w", s.get().typ, s.get().id, err)
		}
		if e.at < pos || e.at+e.standLen > len(clinical) {
			return dst[:start], fmt.Errorf("join %s %s: %w", s.get().typ, s.get().id, ErrDigest)
		}
		dst = append(dst, clinical[pos:e.at]...)
		pos = e.at + e.standLen
		if e.form&formStand == formMark {
			continue
		}
		if e.form&formPrior != 0 {
			dst = append(dst, ',')
		}
		if e.form&formEntry == 0 {
			dst = append(fhir.AppendString(dst, memberName(e.path)), ':')
		}
		dst = append(dst, e.value...)
		if e.form&formAfter != 0 {
			dst = append(dst, ',')
		}
	}
	dst = append(dst, clinical[pos:]...)
	if sum := key.sum(dst[start:]); !bytes.Equal(sum[:], s.get().digest[:]) {
		return dst[:start], fmt.Errorf("join %s %s: %w", s.get().typ, s.get().id, ErrDigest)
	}
	return dst, nil
}

// Check tells whether a whole resource in canonical form has the digest of the sealed one. It may be called
// concurrently.
func (k *Keyring) Check(s Sealed, whole []byte) (bool, error) {
	if s.p == nil {
		return false, errEmpty
	}
	key, err := k.patientKey(s.get().patient)
	if err != nil {
		return false, err
	}
	sum := key.sum(whole)
	return sum == s.get().digest, nil
}
