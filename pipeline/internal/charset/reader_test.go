package charset

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// wanted decodes code units in the simplest way: what is not a character is Invalid.
func wanted(units []uint16) (out []byte) {
	for i := 0; i < len(units); i++ {
		u := rune(units[i])
		switch {
		case !utf16.IsSurrogate(u):
			out = utf8.AppendRune(out, u)
		case i+1 < len(units) && utf16.DecodeRune(u, rune(units[i+1])) != utf8.RuneError:
			out = utf8.AppendRune(out, utf16.DecodeRune(u, rune(units[i+1])))
			i++
		default:
			out = append(out, Invalid)
		}
	}
	return out
}

// Whatever the code units, their order, and the pieces in which they arrive: each is decoded, or shows as Invalid, and
// can be counted again.
func TestReader(t *testing.T) {
	unit := rapid.OneOf(rapid.Uint16Range('\n', '~'), rapid.Uint16Range('\n', '~'), rapid.Uint16Range(0xD7F0, 0xE010), rapid.Uint16())
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.SliceOfN(unit, 0, 60).Draw(t, "units")
		c, order := wideLittle, binary.AppendByteOrder(binary.LittleEndian)
		if rapid.Bool().Draw(t, "big") {
			c, order = wideBig, binary.BigEndian
		}
		var raw []byte
		for _, u := range units {
			raw = order.AppendUint16(raw, u)
		}
		want, odd := wanted(units), rapid.Bool().Draw(t, "odd")
		if odd { // half a code unit ends what came before too
			raw = append(raw, 'x')
			if n := len(units); n == 0 || len(want) == 0 || want[len(want)-1] != Invalid || units[n-1]&0xFC00 != 0xD800 {
				want = append(want, Invalid)
			}
		}
		in := io.Reader(bytes.NewReader(raw))
		if rapid.Bool().Draw(t, "byte by byte") {
			in = iotest.OneByteReader(in)
		}
		got, err := io.ReadAll(c.Reader(in))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		if n := Units(got); !odd && n != int64(len(units)) {
			t.Fatalf("%d code units, counted %d", len(units), n)
		}
		cut := rapid.IntRange(0, len(got)).Draw(t, "cut")
		if Units(got[:cut])+Units(got[cut:]) != Units(got) {
			t.Fatalf("cut at %d, the text has another count", cut)
		}
	})
}

func TestReaderLeavesOtherEncodingsAlone(t *testing.T) {
	in := strings.NewReader("x")
	for _, c := range All() {
		if !c.Wide() && c.Reader(in) != io.Reader(in) {
			t.Errorf("%s is decoded", c.Name)
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	broken := errors.New("the disk is gone")
	got, err := io.ReadAll(wideLittle.Reader(io.MultiReader(strings.NewReader("a\x00b\x00c"), iotest.ErrReader(broken))))
	if string(got) != "ab" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestIndexHigh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.ByteMax(0x7F), 0, 40).Draw(t, "text")
		if got := IndexHigh(text); got != len(text) {
			t.Fatalf("%d in plain ASCII of %d bytes", got, len(text))
		}
		high := rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(t, "behind")
		if got := IndexHigh(append(append(bytes.Clone(text), 0x80), high...)); got != len(text) {
			t.Fatalf("%d, want %d", got, len(text))
		}
	})
}

// A sample that is cut anywhere decodes to a start of the whole.
func TestDecodeOfASample(t *testing.T) {
	const text = "id;näme\n1;Łódź €\n2;𝄞 clef\n"
	encoded := map[string][]byte{"utf-8": []byte(text)}
	for _, u := range utf16.Encode([]rune("\uFEFF" + text)) {
		encoded["utf-16le"] = binary.LittleEndian.AppendUint16(encoded["utf-16le"], u)
		encoded["utf-16"] = binary.BigEndian.AppendUint16(encoded["utf-16"], u)
	}
	for name, raw := range encoded {
		c, err := Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(raw) + 1 {
			got, ok := c.Decode(raw[:n])
			if n > 1 && (!ok || !strings.HasPrefix(text, got) || len(raw)-n == 0 && got != text) {
				t.Errorf("%s, %d bytes: %q, %v", name, n, got, ok)
			}
		}
	}
	windows, err := Lookup("windows-1252")
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := windows.Decode([]byte("M\xFCller \x80")); !ok || got != "Müller €" {
		t.Errorf("%q, %v", got, ok)
	}
	for c, raw := range map[*Charset]string{windows: "a\x81", UTF8: "a\xFFb", wideLittle: "\x00\xDCa\x00"} {
		if got, ok := c.Decode([]byte(raw)); ok {
			t.Errorf("%s has no %q, but it is %q", c.Name, raw, got)
		}
	}
}
