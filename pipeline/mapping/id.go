package mapping

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"hash/maphash"
)

// ID is the derived identity of a resource: HMAC-SHA-256, under the migration's id key, over migration, type, id space
// and the parts of the key, cut to 160 bits. Who does not have the key cannot tell from it what the source's key was.
type ID [20]byte

// base32 letters are lower case: FHIR ids allow [A-Za-z0-9-.]{1,64} and some servers fold case.
const idAlphabet = "abcdefghijklmnopqrstuvwxyz234567"

// idLength is the length of an ID as text.
const idLength = 32

// String is the id of the resource: 32 lower-case base32 letters.
func (id ID) String() string {
	var text [idLength]byte
	return string(id.Append(text[:0]))
}

// Append appends the text of the id.
func (id ID) Append(dst []byte) []byte {
	var text [idLength]byte
	for block := range 4 {
		b := id[block*5 : block*5+5]
		bits := uint64(b[0])<<32 | uint64(b[1])<<24 | uint64(b[2])<<16 | uint64(b[3])<<8 | uint64(b[4])
		for i := 7; i >= 0; i-- {
			text[block*8+i] = idAlphabet[bits&31]
			bits >>= 5
		}
	}
	return append(dst, text[:]...)
}

// IsZero tells whether the id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// letters maps a byte to its five bits, 0xff for none.
var letters = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(idAlphabet) {
		t[idAlphabet[i]] = byte(i)
	}
	return t
}()

// ParseID reads the text of an id; false if it is not one of ours.
func ParseID(s string) (ID, bool) {
	var id ID
	if len(s) != idLength {
		return id, false
	}
	for block := range 4 {
		var bits uint64
		for i := range 8 {
			v := letters[s[block*8+i]]
			if v == 0xff {
				return ID{}, false
			}
			bits = bits<<5 | uint64(v)
		}
		for i := 4; i >= 0; i-- {
			id[block*5+i] = byte(bits)
			bits >>= 8
		}
	}
	return id, true
}

// idDomain keeps these HMACs apart from any other use of the key.
const idDomain = "chartlift id 1"

// idPrefix is the part of the message that is the same for all records of a mapping.
func idPrefix(migration, typ string, space []string) []byte {
	b := appendPart(nil, idDomain)
	b = appendPart(b, migration)
	b = appendPart(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(space)))
	for _, s := range space {
		b = appendPart(b, s)
	}
	return b
}

// appendPart appends a part with its length before it, so that no two lists of parts read the same.
func appendPart(dst []byte, part string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}

// Markers of what follows the key's parts; a length can never be that large.
const (
	itemMarker    = 0xffff_fff0 // the forEach key
	ordinalMarker = 0xffff_fff1 // the ordinal among equal keys, when above 1
)

// appendOrdinal appends the ordinal among equal keys; the first has none, so that a key that becomes double later keeps
// the id of its first record.
func appendOrdinal(dst []byte, ordinal int) []byte {
	if ordinal <= 1 {
		return dst
	}
	dst = binary.BigEndian.AppendUint32(dst, ordinalMarker)
	return binary.BigEndian.AppendUint64(dst, uint64(ordinal))
}

// appendItem appends the key of a forEach item.
func appendItem(dst []byte, key string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, itemMarker)
	return appendPart(dst, key)
}

// keyParts are the parts that appendPart and appendItem have put together.
func keyParts(key []byte) (parts []string) {
	for len(key) >= 4 {
		n := binary.BigEndian.Uint32(key)
		key = key[4:]
		if n == itemMarker || int(n) > len(key) {
			continue
		}
		parts = append(parts, string(key[:n]))
		key = key[n:]
	}
	return parts
}

// hasher computes ids, and remembers recent ones: the records of a table come in runs of one patient and encounter. It
// belongs to one worker.
type hasher struct {
	mac   hash.Hash
	sum   [sha256.Size]byte
	seed  maphash.Seed
	slots [512]idSlot
	msg   []byte // scratch for the message
}

type idSlot struct {
	message []byte
	id      ID
}

func newHasher(key []byte) *hasher {
	return &hasher{mac: hmac.New(sha256.New, key), seed: maphash.MakeSeed()}
}

// id is the ID for a message. The cache never changes a result: a slot counts only if its whole message is equal.
func (h *hasher) id(message []byte) ID {
	slot := &h.slots[maphash.Bytes(h.seed, message)%uint64(len(h.slots))]
	if len(slot.message) > 0 && string(slot.message) == string(message) {
		return slot.id
	}
	slot.id = h.fresh(message)
	slot.message = append(slot.message[:0], message...)
	return slot.id
}

// fresh is id for a message that will not come again: a resource's own.
func (h *hasher) fresh(message []byte) (id ID) {
	h.mac.Reset()
	h.mac.Write(message)
	h.mac.Sum(h.sum[:0])
	copy(id[:], h.sum[:])
	return id
}
