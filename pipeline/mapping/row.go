package mapping

import (
	"encoding/binary"
	"errors"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// AppendRow appends a record as the mapping keeps it beside others: for [ReadRow].
func AppendRow(dst []byte, r *extract.Record) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.Ordinal)) // first, so that rows sort in source order
	dst = binary.AppendVarint(dst, r.Line)
	for _, c := range r.Cells {
		dst = binary.AppendUvarint(dst, uint64(len(c)))
		dst = append(dst, c...)
	}
	return dst
}

var errRow = errors.New("a record that was put aside cannot be read back")

// ReadRow reads what AppendRow wrote.
func ReadRow(b []byte, t *extract.Table) (Row, error) {
	if len(b) < 8 {
		return Row{}, errRow
	}
	row := Row{Ordinal: int64(binary.BigEndian.Uint64(b)), Cells: make([]string, len(t.Columns))}
	line, n := binary.Varint(b[8:])
	if n <= 0 {
		return Row{}, errRow
	}
	row.Place = extract.Place{Table: t.Name, Line: line, File: t.File}
	b = b[8+n:]
	for i := range row.Cells {
		size, n := binary.Uvarint(b)
		if n <= 0 || uint64(len(b)-n) < size {
			return Row{}, errRow
		}
		row.Cells[i] = string(b[n : n+int(size)])
		b = b[n+int(size):]
	}
	return row, nil
}
