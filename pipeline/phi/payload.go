package phi

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// The plaintext of a PHI part, all numbers as unsigned varints:
//
//	version      1
//	pieces       count, then for each, in the order of the whole:
//	               length and bytes of its path in the whole
//	               form: bits 0-1 what stands in its place (0 nothing, 1 another value, 2 `_x`, 3 it is the mark itself);
//	                     bits 2-3 the comma that went with it (0 none, 1 after, 2 before); bit 4: an entry of a list
//	               offset in the clinical part, as sealed, at which it belongs
//	               length of what stands there
//	               length and bytes of its value (JSON; of a mark nothing)
//	row          length and bytes of the source row (JSON)
//
// Offsets join with the clinical part as it was sealed; paths with what a server made of it.
const payloadVersion = 1

const (
	formStand = 3
	formMark  = 3
	formAfter = 1 << 2
	formPrior = 2 << 2
	formEntry = 1 << 4
)

// mark is the security label that says that something was taken out (security-labels.html).
const mark = `{"code":"REDACTED","system":"` + fhir.ObservationValue + `"}`

// removed is one event of splitting: what to put back where.
type removed struct {
	path     string
	form     byte
	at       int // in the clinical part
	standLen int
	value    []byte
}

func appendRemoved(dst []byte, e *removed) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(e.path)))
	dst = append(dst, e.path...)
	dst = append(dst, e.form)
	dst = binary.AppendUvarint(dst, uint64(e.at))
	dst = binary.AppendUvarint(dst, uint64(e.standLen))
	dst = binary.AppendUvarint(dst, uint64(len(e.value)))
	return append(dst, e.value...)
}

var errPayload = errors.New("the PHI part is not in a form that this version reads")

// payloadReader goes through a PHI part.
type payloadReader struct {
	rest  []byte
	count int
	bad   bool
}

func readPayload(b []byte) (*payloadReader, error) {
	p := &payloadReader{rest: b}
	if v := p.number(); p.bad || v != payloadVersion {
		return nil, fmt.Errorf("version %d: %w", v, errPayload)
	}
	p.count = p.number()
	if p.bad || p.count > len(p.rest) {
		return nil, errPayload
	}
	return p, nil
}

func (p *payloadReader) number() int {
	v, n := binary.Uvarint(p.rest)
	if n <= 0 || v > 1<<40 {
		p.bad = true
		p.rest = nil
		return 0
	}
	p.rest = p.rest[n:]
	return int(v)
}

func (p *payloadReader) bytes() []byte {
	n := p.number()
	if p.bad || n > len(p.rest) {
		p.bad = true
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}

func (p *payloadReader) next() (removed, error) {
	var e removed
	e.path = string(p.bytes())
	if p.bad || len(p.rest) == 0 {
		return e, errPayload
	}
	e.form = p.rest[0]
	p.rest = p.rest[1:]
	e.at = p.number()
	e.standLen = p.number()
	e.value = p.bytes()
	if p.bad {
		return e, errPayload
	}
	return e, nil
}

// pieces reads all pieces.
func (p *payloadReader) pieces() ([]Piece, error) {
	var list []Piece
	for range p.count {
		e, err := p.next()
		if err != nil {
			return nil, err
		}
		piece := Piece{Path: e.path, form: e.form}
		if e.form&formStand != formMark {
			piece.Value = NewSecret(e.value)
		}
		list = append(list, piece)
	}
	return list, nil
}

// row reads the source row, after all pieces.
func (p *payloadReader) row() ([]byte, error) {
	b := p.bytes()
	if p.bad || len(p.rest) != 0 {
		return nil, errPayload
	}
	return b, nil
}
