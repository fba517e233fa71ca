package charset

import (
	"bytes"
	"fmt"
)

// Byte order marks.
const (
	MarkUTF8   = "\xEF\xBB\xBF"
	MarkBig    = "\xFE\xFF"
	MarkLittle = "\xFF\xFE"
)

// LongestMark is how many bytes of a file's start must be there to tell.
const LongestMark = len(MarkUTF8)

// Marked is the encoding whose mark stands at the start of a file, and the length of the mark. Without one it is nil.
func Marked(start []byte) (c *Charset, size int) {
	has := func(mark string) bool { return bytes.HasPrefix(start, []byte(mark)) }
	switch {
	case has(MarkUTF8):
		return UTF8, len(MarkUTF8)
	case has(MarkBig):
		return wideBig, len(MarkBig)
	case has(MarkLittle):
		return wideLittle, len(MarkLittle)
	}
	return nil, 0
}

// Resolve says what a file is written in that is declared to be in c, and how many bytes of a mark stand at its start. It
// returns c itself, or, where c leaves the order of the bytes open, one of the two orders. A mark that contradicts the
// declaration is an error.
func (c *Charset) Resolve(start []byte) (resolved *Charset, mark int, err error) {
	found, size := Marked(start)
	switch {
	case found == nil && c.Order == ByMark:
		return wideBig, 0, nil
	case found == nil:
		return c, 0, nil
	case found == c, c.Order == ByMark && found.Wide():
		return found, size, nil
	case c.Table != nil && found.Wide():
		return c, 0, nil // þÿ and ÿþ are letters there
	}
	return nil, 0, fmt.Errorf("the file is not in the declared encoding: declared is %s, but it begins with the mark of %s", c.Name, found.Name)
}
