package phi

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// digestSize is the length of a content digest: 128 bits, keyed per patient.
const digestSize = 16

// chunkSize is how much memory a Sealer takes at a time for what it makes. A chunk is freed when none of its Sealed is
// held any more.
const chunkSize = 256 << 10

// sealSlack is what two parts have beyond twice the resource and its row: stand-ins, paths, marks.
const sealSlack = 4 << 10

// slabSize is how many Sealed are made at a time.
const slabSize = 128

// Sealer applies a policy to resources and encrypts what it takes out. It belongs to one goroutine; what it makes may be
// used by any.
type Sealer struct {
	marker
	*sealing
}

// sealing is a Sealer out of sight of fmt, since its buffers hold plaintext.
type sealing struct {
	ring   *Keyring
	policy *Policy
	keys   *keyCache
	asOf   string
	prefix []byte // of the additional data: what is the same for all

	cuts    []Cut
	shapes  map[shapeKey]shape
	stand   []byte
	clin    []byte
	pieces  []byte
	payload []byte
	aad     []byte
	chunk   []byte
	slab    []sealed
	handles []*sealed
	mac     []byte
	split   splitter
}

// NewSealer makes a Sealer for one goroutine. The policy is needed for [Sealer.Cut] and [Sealer.SealNode] and for the
// methods that depend on its settings.
func NewSealer(migration string, k *Keyring, p *Policy) *Sealer {
	s := &Sealer{sealing: &sealing{ring: k, policy: p, keys: newKeyCache(k), shapes: map[shapeKey]shape{}}}
	s.prefix = appendField(s.prefix, sealDomain)
	s.prefix = appendField(s.prefix, migration)
	if p != nil {
		s.asOf = p.asOf
	}
	return s
}

const sealDomain = "chartlift sealed 1"

// appendField appends a text with its length before it, so that no two lists of texts read the same.
func appendField[T string | []byte](dst []byte, s T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
	return append(dst, s...)
}

// appendIdentity appends what the additional data of a PHI part binds beside the migration: type, id, key and digest.
func appendIdentity(dst []byte, typ, id string, key keyID, digest [digestSize]byte) []byte {
	dst = appendField(dst, typ)
	dst = appendField(dst, id)
	dst = append(dst, key[:]...)
	return append(dst, digest[:]...)
}

// Seal splits the resource at its cuts and encrypts what the clinical part must not show, and the source row, under the
// key of its patient. The bytes of r may be used again after the return; its strings are kept. An error means that the
// run cannot go on: the cuts do not fit, or the keys cannot be had.
func (s *Sealer) Seal(r *Resource) (Sealed, error) {
	if r.Type == "" || r.ID == "" || len(r.Whole) < 2 || r.Whole[0] != '{' {
		return Sealed{}, fmt.Errorf("seal %s %s: no resource with type and id", r.Type, r.ID)
	}
	key, err := s.keys.get(r.Patient)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal %s %s: %w", r.Type, r.ID, err)
	}
	if err := s.promote(r); err != nil {
		return Sealed{}, err
	}
	digest := key.digest(r.Whole, &s.mac)
	// Both parts are written where they stay. How long they get is not known before; one that outgrows the chunk moves to
	// memory of its own, which is rare.
	if need := 2*(len(r.Whole)+len(r.Row)) + sealSlack; cap(s.chunk)-len(s.chunk) < need {
		s.chunk = make([]byte, 0, max(chunkSize, need))
	}
	free := s.chunk[len(s.chunk):]
	s.clin = free
	marked := s.divide(r)
	s.payload = append(s.payload[:0], payloadVersion)
	s.payload = append(s.payload, s.pieces...)
	s.payload = binary.AppendUvarint(s.payload, uint64(len(r.Row)))
	s.payload = append(s.payload, r.Row...)
	s.aad = appendIdentity(append(s.aad[:0], s.prefix...), r.Type, r.ID, key.id, digest)
	parts := key.aead.Seal(s.clin, nil, s.payload, s.aad)
	if cap(parts) == cap(free) {
		s.chunk = s.chunk[:len(s.chunk)+len(parts)]
	}
	middle := len(s.clin)
	if len(s.slab) == cap(s.slab) {
		s.slab, s.handles = make([]sealed, 0, slabSize), make([]*sealed, 0, slabSize)
	}
	s.slab = append(s.slab, sealed{typ: r.Type, id: r.ID, patient: r.Patient, place: r.Place, key: key.id, digest: digest,
		marked: marked, clinical: parts[:middle:middle], cipher: parts[middle:len(parts):len(parts)]})
	s.handles = append(s.handles, &s.slab[len(s.slab)-1])
	return Sealed{p: &s.handles[len(s.handles)-1]}, nil
}

// divide appends the clinical part to s.clin, which is empty, and writes the pieces, counted, to s.pieces. It tells whether the clinical part
// carries the mark of [mark].
func (s *Sealer) divide(r *Resource) bool {
	whole := r.Whole
	if len(s.cuts) == 0 {
		s.clin = append(s.clin, whole...)
		s.pieces = append(s.pieces[:0], 0)
		return false
	}
	markAt, markPath := s.markPlace(r)
	list := s.pieces[:0]
	// The count comes first and is known only at the end, but for the mark it is the number of cuts.
	n := len(s.cuts)
	if markAt >= 0 {
		n++
	}
	list = binary.AppendUvarint(list, uint64(n))
	pos := 0       // in whole: up to here it is written or taken out
	trailing := -1 // where the last removal with a comma after it ended
	var e removed
	for i := range s.cuts {
		c := &s.cuts[i]
		replace, how := c.Replace, standSame
		if c.Method.takesOut() {
			replace, how = s.standIn(r, c)
		}
		start, end := c.Start, c.End
		form := byte(how)
		if how == standNone {
			switch before := whole[c.Start-1]; {
			case before == ',' && trailing != c.Start:
				start--
				form |= formPrior
			case whole[c.End] == ',':
				end++
				trailing = end
				form |= formAfter
			}
		}
		if markAt >= 0 && markAt <= start {
			list = s.putMark(list, whole, pos, markAt, markPath)
			pos, markAt = markAt, -1
		} else if markAt > start && markAt < end {
			markAt = end
		}
		s.clin = append(s.clin, whole[pos:start]...)
		_, inList, nameLen := splitLast(c.Path)
		value := c.Start
		if inList {
			form |= formEntry
		} else {
			value += nameLen + 1
		}
		e = removed{path: c.Path, form: form, at: len(s.clin), standLen: len(replace), value: whole[value:c.End]}
		s.clin = append(s.clin, replace...)
		list = appendRemoved(list, &e)
		pos = end
	}
	if markAt >= 0 {
		list = s.putMark(list, whole, pos, markAt, markPath)
		pos = markAt
	}
	s.clin = append(s.clin, whole[pos:]...)
	s.pieces = list
	return true
}

// putMark writes the whole up to the mark's place, and the mark.
func (s *Sealer) putMark(list, whole []byte, pos, at int, path string) []byte {
	s.clin = append(s.clin, whole[pos:at]...)
	start := len(s.clin)
	before, after := s.clin[start-1], whole[at]
	if before != '{' && before != '[' && before != ',' {
		s.clin = append(s.clin, ',')
	}
	switch path {
	case pathMeta:
		s.clin = append(s.clin, `"meta":{"security":[`+mark+`]}`...)
	case pathSecurity:
		s.clin = append(s.clin, `"security":[`+mark+`]`...)
	default:
		s.clin = append(s.clin, mark...)
	}
	if (before == '{' || before == '[' || before == ',') && after != '}' && after != ']' {
		s.clin = append(s.clin, ',')
	}
	return appendRemoved(list, &removed{path: path, form: formMark, at: start, standLen: len(s.clin) - start})
}

// The paths of a mark tell how much of it was not there before.
const (
	pathMeta     = "meta"
	pathSecurity = "meta.security"
	pathLabel    = "meta.security[0]"
)

// markPlace finds where the mark goes, and which part of it is new. -1: none is needed.
func (s *Sealer) markPlace(r *Resource) (int, string) {
	whole, at := r.Whole, r.Mark
	if at > 0 && at < len(whole) && whole[at-1] != '[' && !s.cutAround(at) {
		return at, pathSecurity
	}
	meta, place := member(whole, 0, "meta")
	if meta < 0 {
		return place, pathMeta
	}
	if i := s.cutOf(meta); i >= 0 {
		// Nothing of meta is left: the mark takes its place.
		s.cuts[i].Replace = []byte(`"meta":{"security":[` + mark + `]}`)
		return -1, ""
	}
	security, place := member(whole, meta, "security")
	if security < 0 {
		return place, pathSecurity
	}
	if i := s.cutOf(security); i >= 0 {
		// Only a security that is no list of codings is ever cut.
		s.cuts[i].Replace = []byte(`"security":[` + mark + `]`)
		return -1, ""
	}
	if whole[security] != '[' {
		return -1, "" // no list: not a resource that any server takes
	}
	for i := security + 1; i < len(whole) && whole[i] == '{'; {
		system, _ := member(whole, i, "system")
		code, _ := member(whole, i, "code")
		if system > 0 && code > 0 && bytes.HasPrefix(whole[code:], []byte(`"REDACTED"`)) &&
			bytes.HasPrefix(whole[system:], []byte(`"http://terminology.hl7.org/CodeSystem/v3-ObservationValue"`)) {
			return -1, "" // it says so already
		}
		i = skipValue(whole, i) + 1
	}
	return security + 1, pathLabel
}

// cutOf is the index of the cut that takes the value at the offset out as a whole, -1 if there is none.
func (s *Sealer) cutOf(at int) int {
	for i := range s.cuts {
		if s.cuts[i].Start < at && at < s.cuts[i].End {
			return i
		}
	}
	return -1
}

// cutAround tells whether meta as a whole is cut, seen from a place inside it.
func (s *Sealer) cutAround(at int) bool {
	for i := range s.cuts {
		if s.cuts[i].Path == pathMeta && s.cuts[i].Start < at && at < s.cuts[i].End {
			return true
		}
	}
	return false
}

// token is the pseudonym of a value under the migration's key: equal values have equal tokens, and who does not have
// the key cannot try values out.
func (s *Sealer) token(text string) string {
	sum := s.ring.tokenSum(text)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:20]))
}
