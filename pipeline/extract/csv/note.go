package csv

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// delimiter is what stands between cells, as bytes of the file (of UTF-16: of the text that it is decoded to).
func (s *Source) delimiter() []byte {
	if s.options.Separator == "" {
		return []byte{byte(s.options.Delimiter)}
	}
	if s.charset == nil || s.charset.Table == nil {
		return []byte(s.options.Separator)
	}
	var out []byte
	for _, r := range s.options.Separator {
		for b, text := range s.charset.Table {
			if text == string(r) {
				out = append(out, byte(b))
				break
			}
		}
	}
	return out
}

// control says whether a byte is a control character that no text needs.
func control(c byte) bool { return c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7F }

// mendControl takes control characters out of the first n cells as the plan says, and notes each cell.
func (p *parser) mendControl(n int) {
	for i, c := range p.cells[:n] {
		at := 0
		for at < len(c) && !control(c[at]) {
			at++
		}
		if at == len(c) {
			continue
		}
		rule := extract.NoteControl
		if strings.IndexByte(c, 0) >= 0 {
			rule = extract.NoteNULByte
		}
		p.note(i, rule)
		if p.mend == BlankControl {
			p.cells[i] = ""
			continue
		}
		kept := make([]byte, 0, len(c))
		for j := range len(c) {
			if !control(c[j]) {
				kept = append(kept, c[j])
			}
		}
		p.cells[i] = view(kept)
	}
}

// doubt notes the cells among the first n that are whole numbers in scientific notation.
func (p *parser) doubt(n int) {
	for i, c := range p.cells[:n] {
		if scientific(c) {
			p.note(i, extract.NoteScientific)
		}
	}
}

func (p *parser) note(column int, rule string) {
	if column < len(p.columns) {
		p.notes = append(p.notes, extract.Note{Column: p.columns[column], Rule: rule})
	}
}

// scientific says whether a cell is a long whole number as spreadsheets shorten it: 1.60903E+14. They do so from twelve
// digits on and keep up to six; measured numbers of that size (4.5E+12 cells in a litre) have two or three.
func scientific(cell string) bool {
	mantissa, exponent, ok := strings.Cut(cell, "E+")
	if !ok || len(exponent) != 2 || exponent < "11" || exponent > "30" || len(mantissa) < 5 || len(mantissa) > 16 || mantissa[1] != '.' && mantissa[1] != ',' {
		return false
	}
	return strings.Trim(mantissa[:1]+mantissa[2:]+exponent, "0123456789") == ""
}

// repeats says whether the record is the header once more, as it stands in the middle of files that were joined. Of one
// column nothing can be said.
func (p *parser) repeats() bool {
	if len(p.header) < 2 || p.cells[1] != p.header[1] || !strings.HasSuffix(p.cells[0], p.header[0]) {
		return false
	}
	for i, c := range p.cells[1:] {
		if c != p.header[1+i] {
			return false
		}
	}
	return strings.Trim(strings.TrimSuffix(p.cells[0], p.header[0]), " \x1a\ufeff") == ""
}
