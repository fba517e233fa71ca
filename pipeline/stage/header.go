package stage

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// A record of a batch is a clinical part, in the raw part of its chunk, and in the loose part of it:
//
//	header (see below)  uvarint length of the clinical part  uvarint length of the PHI part  PHI part
//
// The header that phi makes is half random (digest, id) and half what the header before it had at the same place (type,
// table, file, mostly patient and key). zstd would spend on it as much time as on the clinical part, so it is told by
// what differs: uvarint length, a bit for each word of eight bytes, lowest first, and those words that have a one, the
// last one of them as short as the header ends. The header before the first of a chunk is empty.

const (
	word = 8
	// maxHeader bounds a header; it holds five short texts.
	maxHeader = 1 << 20
)

// headerWriter writes headers.
type headerWriter struct{ last, head []byte }

func (w *headerWriter) reset() { w.last = w.last[:0] }

// append appends the header of s to dst.
func (w *headerWriter) append(dst []byte, s phi.Sealed) []byte {
	h := s.AppendHeader(w.head[:0])
	dst = appendHeader(dst, w.last, h)
	w.head, w.last = w.last, h
	return dst
}

func appendHeader(dst, last, h []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(h)))
	words := (len(h) + word - 1) / word
	at := len(dst)
	for range (words + 7) / 8 {
		dst = append(dst, 0)
	}
	for i := 0; i < len(h); i += word {
		if i+word <= len(h) && i+word <= len(last) {
			if binary.LittleEndian.Uint64(h[i:]) == binary.LittleEndian.Uint64(last[i:]) {
				continue
			}
			dst = append(dst, h[i:i+word]...)
		} else {
			dst = append(dst, h[i:min(i+word, len(h))]...)
		}
		dst[at+i/word/8] |= 1 << (i / word % 8)
	}
	return dst
}

// readHeader reads a header over the one before it, in place.
func readHeader(c *blockfile.Cursor, h []byte) []byte {
	n := c.Uvarint()
	if n > maxHeader {
		c.Bad = true
		return h[:0]
	}
	words := (int(n) + word - 1) / word
	marks := c.Take((words + 7) / 8)
	if c.Bad {
		return h[:0]
	}
	before := len(h)
	for len(h) < int(n) {
		h = append(h, 0)
	}
	h = h[:n]
	for i, m := range marks {
		for ; m != 0; m &= m - 1 {
			at := (i*8 + bits.TrailingZeros8(m)) * word
			if at >= len(h) {
				c.Bad = true
				return h[:0]
			}
			copy(h[at:], c.Take(min(word, len(h)-at)))
		}
	}
	// What was not there before must have come now.
	for at := before / word * word; at < len(h); at += word {
		if marks[at/word/8]&(1<<(at/word%8)) == 0 && min(at+word, len(h)) > before {
			c.Bad = true
		}
	}
	return h
}

// chunkRecords takes a chunk apart.
type chunkRecords struct {
	loose    blockfile.Cursor
	clinical []byte
	header   []byte
}

var errContent = errors.New("what is in a chunk does not fit together")

// part is the next record in pieces. They are valid until the next one, or for the parts until the next chunk.
func (c *chunkRecords) part() (header, clinical, cipher []byte, err error) {
	c.header = readHeader(&c.loose, c.header)
	n, m := c.loose.Uvarint(), c.loose.Uvarint()
	cipher = c.loose.Take(int(min(m, maxPart)))
	if c.loose.Bad || n > uint64(len(c.clinical)) {
		return nil, nil, nil, errContent
	}
	clinical, c.clinical = c.clinical[:n], c.clinical[n:]
	return c.header, clinical, cipher, nil
}

func (c *chunkRecords) next() (phi.Sealed, error) {
	header, clinical, cipher, err := c.part()
	if err != nil {
		return phi.Sealed{}, err
	}
	s, err := phi.Restore(header, clinical, cipher)
	if err != nil {
		return phi.Sealed{}, errContent
	}
	return s, nil
}

// done tells whether nothing is left.
func (c *chunkRecords) done() bool { return c.loose.Done() && len(c.clinical) == 0 }
