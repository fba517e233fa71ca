package phi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Under delivery `sealed` a resource travels as its clinical part with one extension on the resource, in which the PHI
// part lies encrypted: {"url": fhir.SealedExtension, "valueBase64Binary": "…"}. The value is
//
//	version     1
//	key id      16 bytes, random: which data key opens it
//	digest      16 bytes: the keyed digest of the whole resource
//	ciphertext  the rest
//
// Nothing in it tells who the patient is: that is in the clinical part's references, as a pseudonym. Migration, type,
// id, key id and digest are bound to the ciphertext as its additional data.
const (
	envelopeVersion = 1
	envelopeHead    = 1 + 16 + digestSize
)

// Errors of what a server holds under delivery `sealed`, beside those of opening.
var (
	// ErrNoExtension: R4 gives the type no extension (Binary, Bundle, Parameters), so a PHI part cannot travel in it.
	ErrNoExtension = errors.New("R4 gives this type no extension to carry an encrypted part")
	// ErrLost: there is no encrypted part in the resource any more.
	ErrLost = errors.New("the encrypted part is gone")
	// ErrTwice: there is more than one encrypted part in the resource.
	ErrTwice = errors.New("there is more than one encrypted part")
	// ErrEnvelope: the extension does not hold what this program writes: cut short or damaged.
	ErrEnvelope = errors.New("the encrypted part is cut short or damaged")
	// ErrStale: the encrypted part is genuine, and that of an older content of the same resource.
	ErrStale = errors.New("the encrypted part is an older one of this resource")
	// ErrResealed: the encrypted part is genuine and of this very content, but not the copy that was sent.
	ErrResealed = errors.New("the encrypted part is another sealing of this content than the one that was sent")
)

// Extensible tells whether resources of the type can carry an encrypted part, for delivery `sealed`.
func Extensible(typ string) bool {
	t := fhir.Lookup(typ)
	return t != nil && t.Kind == fhir.KindResource && t.Is("DomainResource")
}

// AppendWire appends the resource as delivery `sealed` sends it: the clinical part with the encrypted part in an
// extension, canonical JSON. The same Sealed gives the same bytes. [ErrNoExtension] for types that have none.
func AppendWire(dst []byte, s Sealed) ([]byte, error) {
	if s.p == nil {
		return dst, errEmpty
	}
	p := s.get()
	if !Extensible(p.typ) {
		return dst, fmt.Errorf("%s %s: %w", p.typ, p.id, ErrNoExtension)
	}
	value, at := member(p.clinical, 0, "extension")
	if at < 0 {
		return dst, fmt.Errorf("%s %s: %w", p.typ, p.id, errHeader)
	}
	if value < 0 {
		dst = append(dst, p.clinical[:at]...)
		if p.clinical[at-1] != '{' && p.clinical[at-1] != ',' {
			dst = append(dst, ',')
		}
		dst = append(dst, `"extension":[`...)
		dst = appendEnvelope(dst, p)
		dst = append(dst, ']')
		if p.clinical[at] == '"' {
			dst = append(dst, ',')
		}
		return append(dst, p.clinical[at:]...), nil
	}
	end := skipValue(p.clinical, value) - 1 // the `]`
	dst = append(dst, p.clinical[:end]...)
	if p.clinical[end-1] != '[' {
		dst = append(dst, ',')
	}
	dst = appendEnvelope(dst, p)
	return append(dst, p.clinical[end:]...), nil
}

func appendEnvelope(dst []byte, p *sealed) []byte {
	dst = append(dst, `{"url":"`+fhir.SealedExtension+`","valueBase64Binary":"`...)
	// The head's 33 bytes are whole groups of base64, so both halves can be encoded apart.
	var head [envelopeHead]byte
	head[0] = envelopeVersion
	copy(head[1:], p.key[:])
	copy(head[17:], p.digest[:])
	dst = base64.StdEncoding.AppendEncode(dst, head[:])
	dst = base64.StdEncoding.AppendEncode(dst, p.cipher)
	return append(dst, `"}`...)
}

// Envelope is an encrypted part as a server holds it.
type Envelope struct {
	marker
	key    keyID
	digest [digestSize]byte
	cipher []byte
}

// Unwrap takes the encrypted part out of a resource that a server holds: the rest is the clinical part. The resource is
// not changed. [ErrLost], [ErrTwice] and [ErrEnvelope] come together with the rest.
func Unwrap(n *fhir.Node) (clinical *fhir.Node, e *Envelope, err error) {
	ours := func(x *fhir.Node) bool { return x.Get("url").Str() == fhir.SealedExtension }
	list := n.Get("extension")
	if list == nil || list.Kind != fhir.Array || !slices.ContainsFunc(list.Items, ours) {
		return n, nil, ErrLost
	}
	var rest []*fhir.Node
	var found []*fhir.Node
	for _, x := range list.Items {
		if ours(x) {
			found = append(found, x)
		} else {
			rest = append(rest, x)
		}
	}
	clinical = &fhir.Node{Kind: fhir.Object}
	for _, m := range n.Members {
		switch {
		case m.Name != "extension":
			clinical.Members = append(clinical.Members, m)
		case len(rest) > 0:
			clinical.Members = append(clinical.Members, fhir.Member{Name: m.Name, Value: fhir.NewArray(rest...)})
		}
	}
	if len(found) > 1 {
		return clinical, nil, ErrTwice
	}
	b, err := base64.StdEncoding.Strict().DecodeString(found[0].Get("valueBase64Binary").Str())
	if err != nil || len(b) <= envelopeHead || b[0] != envelopeVersion {
		return clinical, nil, ErrEnvelope
	}
	e = &Envelope{cipher: b[envelopeHead:]}
	copy(e.key[:], b[1:])
	copy(e.digest[:], b[17:])
	return clinical, e, nil
}

// Received is what [Keyring.Receive] finds out about a resource that a server holds under delivery `sealed`.
type Received struct {
	marker
	// Clinical is what came back without the encrypted part, to be compared with the clinical part that was sent.
	Clinical *fhir.Node
	// Fault says what is wrong with the encrypted part; nil: it is the one that belongs there. One of ErrLost, ErrTwice,
	// ErrEnvelope, ErrOtherKey, ErrStale, ErrNotAuthentic, ErrResealed.
	Fault error
	// Whole is the clinical part that came back, joined with the encrypted part that came back; nil if they do not join.
	// What the server put into meta by itself is not part of it.
	Whole *fhir.Node
	// Proven: Whole has the digest of the resource that was sealed. A server that writes a value in another form (1.5 for
	// 1.50) makes it another digest; whether that is the same value is a comparison's matter.
	Proven bool
}

// Receive opens what a server holds in the place of a sealed resource, with nothing but what came back, and holds it
// against the resource. sent is the clinical part of s as a tree. exact asks that the encrypted part be byte for byte
// the one in s; without it another sealing of the same content will do, as it has to after a run that sent the same
// content earlier. An error means that the keys cannot be had. It may be called concurrently.
func (k *Keyring) Receive(s Sealed, sent, got *fhir.Node, exact bool) (Received, error) {
	if s.p == nil {
		return Received{}, errEmpty
	}
	p := s.get()
	key, err := k.patientKey(p.patient)
	if err != nil {
		return Received{}, fmt.Errorf("open %s %s: %w", p.typ, p.id, err)
	}
	clinical, e, fault := Unwrap(got)
	r := Received{Clinical: clinical, Fault: fault}
	if fault != nil {
		return r, nil
	}
	open := func(digest [digestSize]byte) (*payloadReader, error) {
		return k.decrypt(key, p.typ, p.id, digest, e.cipher)
	}
	var content *payloadReader
	switch {
	case e.key != p.key:
		r.Fault = ErrOtherKey
	case e.digest != p.digest:
		r.Fault = ErrNotAuthentic
		if _, err := open(e.digest); err == nil {
			r.Fault = ErrStale
		}
	default:
		if content, err = open(e.digest); err != nil {
			r.Fault = ErrNotAuthentic
		} else if exact && !bytes.Equal(e.cipher, p.cipher) {
			r.Fault = ErrResealed
		}
	}
	if content == nil {
		return r, nil
	}
	pieces, err := content.pieces()
	if err != nil {
		r.Fault = err
		return r, nil
	}
	whole, err := Join(withoutServerMeta(clinical, sent), pieces)
	if err != nil {
		return r, nil // the clinical part has lost what a piece belongs into; comparing names it
	}
	r.Whole = whole
	sum := key.sum(whole.AppendCanonical(nil))
	r.Proven = sum == p.digest
	return r, nil
}

// Unseal opens a resource that a server holds under delivery `sealed`, with nothing but the keys: it answers the whole
// resource, without the version and time that the server gave it, and the source row. patient is the id of the patient
// whose record it is, "" for a shared one. Errors: those of [Unwrap] and of [Keyring.Parts], and [ErrDigest] together
// with the whole where the server holds some value in another form than was sent.
func (k *Keyring) Unseal(patient string, n *fhir.Node) (whole *fhir.Node, row Secret, err error) {
	typ, id := n.ResourceType(), n.ID()
	fail := func(err error) (*fhir.Node, Secret, error) {
		return nil, Secret{}, fmt.Errorf("open %s %s: %w", typ, id, err)
	}
	key, err := k.patientKey(patient)
	if err != nil {
		return fail(err)
	}
	clinical, e, err := Unwrap(n)
	if err != nil {
		return fail(err)
	}
	if e.key != key.id {
		return fail(ErrOtherKey)
	}
	content, err := k.decrypt(key, typ, id, e.digest, e.cipher)
	if err != nil {
		return fail(err)
	}
	pieces, err := content.pieces()
	if err != nil {
		return fail(err)
	}
	source, err := content.row()
	if err != nil {
		return fail(err)
	}
	row = NewSecret(source)
	if whole, err = Join(withoutServerMeta(clinical, nil), pieces); err != nil {
		return fail(err)
	}
	if key.sum(whole.AppendCanonical(nil)) != e.digest {
		return whole, row, fmt.Errorf("open %s %s: %w", typ, id, ErrDigest)
	}
	return whole, row, nil
}

// withoutServerMeta takes away what a server writes into meta by itself, or puts back what was sent there. The node is
// not changed.
func withoutServerMeta(n, sent *fhir.Node) *fhir.Node {
	meta := n.Get("meta")
	if meta == nil {
		return n
	}
	before := sent.Get("meta")
	kept := &fhir.Node{Kind: fhir.Object}
	for _, m := range meta.Members {
		switch m.Name {
		case "versionId", "lastUpdated", "source":
		default:
			kept.Members = append(kept.Members, m)
		}
	}
	for _, name := range []string{"versionId", "lastUpdated", "source"} {
		if v := before.Get(name); v != nil {
			kept.Members = append(kept.Members, fhir.Member{Name: name, Value: v})
		}
	}
	out := &fhir.Node{Kind: fhir.Object}
	for _, m := range n.Members {
		if m.Name != "meta" {
			out.Members = append(out.Members, m)
		} else if len(kept.Members) > 0 || before != nil {
			out.Members = append(out.Members, fhir.Member{Name: "meta", Value: kept})
		}
	}
	return out
}
