package blockfile

import "encoding/binary"

// Cursor reads numbers and bytes from a payload. What is not there sets Bad, and reads as zero.
type Cursor struct {
	B   []byte
	Off int
	Bad bool
}

// Take returns the next n bytes, which belong to the payload; nil if there are fewer.
func (c *Cursor) Take(n int) []byte {
	if n < 0 || n > len(c.B)-c.Off {
		c.Bad = true
		c.Off = len(c.B)
		return nil
	}
	c.Off += n
	return c.B[c.Off-n : c.Off]
}

// Uvarint reads what [binary.AppendUvarint] wrote.
func (c *Cursor) Uvarint() uint64 {
	v, n := binary.Uvarint(c.B[c.Off:])
	if n <= 0 {
		c.Bad = true
		c.Off = len(c.B)
		return 0
	}
	c.Off += n
	return v
}

// Length reads a number that counts things of at least min bytes that follow.
func (c *Cursor) Length(min int) int {
	v := c.Uvarint()
	if v > uint64((len(c.B)-c.Off)/min) {
		c.Bad = true
		return 0
	}
	return int(v)
}

// Varint reads what [binary.AppendVarint] wrote.
func (c *Cursor) Varint() int64 {
	v := c.Uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// Byte reads a byte.
func (c *Cursor) Byte() byte {
	if b := c.Take(1); b != nil {
		return b[0]
	}
	return 0
}

// Text reads what AppendText wrote. The bytes belong to the payload.
func (c *Cursor) Text() []byte { return c.Take(c.Length(1)) }

// Done tells whether nothing is left and nothing was missing.
func (c *Cursor) Done() bool { return !c.Bad && c.Off == len(c.B) }

// AppendText appends a text behind its length.
func AppendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
