package charset

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// IndexHigh is the place of the first byte that is not ASCII, or the length.
func IndexHigh(text []byte) int {
	const high = 0x8080808080808080
	i := 0
	for ; i+8 <= len(text); i += 8 {
		if w := binary.LittleEndian.Uint64(text[i:]) & high; w != 0 {
			return i + bits.TrailingZeros64(w)/8
		}
	}
	for ; i < len(text); i++ {
		if text[i] >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

// Whole cuts off a last character of UTF-8 that the end of a sample has split.
func Whole(sample []byte) []byte {
	for i := 1; i <= min(utf8.UTFMax-1, len(sample)); i++ {
		tail := sample[len(sample)-i:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return sample[:len(sample)-i]
			}
			break
		}
	}
	return sample
}

// Decode is the start of a file as UTF-8, without its mark, or that it is not in the encoding. It may be cut inside a
// character, which is then left out.
func (c *Charset) Decode(start []byte) (string, bool) {
	c, mark, err := c.Resolve(start)
	if err != nil {
		return "", false
	}
	text := start[mark:]
	switch {
	case c.Wide():
		d := decoder{big: c.Order == Big}
		d.units(text[:len(text)&^1])
		return string(d.out), utf8.Valid(d.out)
	case c.Table == nil:
		text = Whole(text)
		return string(text), utf8.Valid(text)
	}
	out := make([]byte, 0, 2*len(text))
	for _, b := range text {
		t := c.Table[b]
		if t == "" {
			return "", false
		}
		out = append(out, t...)
	}
	return string(out), true
}
