package csv

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// encodeIn is a text of characters that the encoding has, from numbers, in that encoding and as UTF-8.
func encodeIn(t *rapid.T, name string) (raw []byte, text string) {
	c, err := charset.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	if c.Table != nil {
		var known []byte
		for b := range 256 {
			if c.Table[b] != "" && b >= ' ' {
				known = append(known, byte(b))
			}
		}
		raw = rapid.SliceOfN(rapid.SampledFrom(known), 0, 80).Draw(t, "bytes")
		for _, b := range raw {
			text += c.Table[b]
		}
		return raw, text
	}
	text = rapid.String().Draw(t, "text")
	if !utf8.ValidString(text) || strings.HasPrefix(text, "\uFEFF") {
		t.Skip("no text")
	}
	var order binary.ByteOrder = binary.BigEndian
	switch name {
	case "utf-8":
		return []byte(text), text
	case "utf-16le":
		order = binary.LittleEndian
	}
	for _, u := range utf16.Encode([]rune(text)) {
		raw = append(raw, 0, 0)
		order.PutUint16(raw[len(raw)-2:], u)
	}
	return raw, text
}

// Whatever the text: the encoding it is in is among the candidates, and each candidate reads the sample without a fault.
func TestTrueEncodingIsAmongTheCandidates(t *testing.T) {
	for _, name := range charset.Names() {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				raw, text := encodeIn(t, name)
				if c, _ := charset.Marked(raw); c != nil {
					t.Skip("letters that are a byte order mark elsewhere")
				}
				candidates, _ := SuggestEncoding(raw)
				if !slices.ContainsFunc(candidates, func(c EncodingCandidate) bool { return c.Encoding == name }) {
					t.Fatalf("%s is not among %v", name, candidates)
				}
				c, err := charset.Lookup(name)
				if err != nil {
					t.Fatal(err)
				}
				if got, ok := c.Decode(raw); !ok || got != text {
					t.Fatalf("decoded is %q, want %q", got, text)
				}
			})
		})
	}
}

func TestLikeliestEncoding(t *testing.T) {
	wide := func(text string, order binary.AppendByteOrder) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, u)
		}
		return string(b)
	}
	const plain = "id;name\n1;Smith\n2;Jones\n"
	for _, c := range []struct{ name, sample, want string }{
		{"ASCII", plain, "utf-8"},
		{"UTF-8", "id;name\n1;Müller\n2;Åsa\n", "utf-8"},
		{"UTF-8 cut inside a character", "id;name\n1;Müller\n2;\xC3", "utf-8"},
		{"UTF-8 by mark", charset.MarkUTF8 + plain, "utf-8"},
		{"UTF-16 by mark", wide("\uFEFF"+plain, binary.LittleEndian), "utf-16"},
		{"UTF-16, little", wide(plain, binary.LittleEndian), "utf-16le"},
		{"Windows-1252", "id;name\n1;M\xFCller\n2;O\x92Brien\n3;20 \x80\n", "windows-1252"},
		{"Windows-1251", "id;name\n1;\xCF\xE5\xF2\xF0\xEE\xE2\n2;\xC8\xE2\xE0\xED\xEE\xE2\n", "windows-1251"},
		{"code page 850", "id;name\n1;M\x81ller\n2;J\x84ger\n3;Gr\x94\xE1e\n", "cp850"},
	} {
		t.Run(c.name, func(t *testing.T) {
			candidates, evidence := SuggestEncoding([]byte(c.sample))
			if len(candidates) == 0 || candidates[0].Encoding != c.want {
				t.Errorf("want %s first: %v, by %+v", c.want, candidates, evidence)
			}
		})
	}
	_, e := SuggestEncoding([]byte("id\nMÃ¼ller\nâ€œx\n\uFFFD"))
	if e.Mojibake != 2 || e.Replaced != 1 || e.InvalidUTF8 != 0 {
		t.Errorf("twice encoded: %+v", e)
	}
	_, e = SuggestEncoding([]byte("a\xFC\x00b\x80\xC3"))
	if want := (EncodingEvidence{Bytes: 6, High: 3, InvalidUTF8: 2, Windows: 1, NULEven: 1}); e != want {
		t.Errorf("got %+v, want %+v", e, want)
	}
}

// Of any table with at least two columns and five rows the delimiter is found, whatever is in the quoted cells.
func TestDelimiterIsFound(t *testing.T) {
	bare := rapid.StringMatching(`[A-Za-z0-9 .ü-]{0,8}`)
	quoted := rapid.StringOfN(rapid.RuneFrom([]rune("abü ,;|\t\n.\"'1")), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		delimiter := rapid.SampledFrom([]string{",", ";", "\t", "|"}).Draw(t, "delimiter")
		columns := rapid.IntRange(2, 6).Draw(t, "columns")
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "line end")
		var b strings.Builder
		rows := rapid.IntRange(5, 20).Draw(t, "rows")
		for i := range rows {
			for j := range columns {
				if j > 0 {
					b.WriteString(delimiter)
				}
				switch {
				case i == 0:
					b.WriteString("name" + string(rune('a'+j)))
				case rapid.IntRange(0, 3).Draw(t, "quoted") == 0:
					b.WriteString(`"` + strings.ReplaceAll(quoted.Draw(t, "cell"), `"`, `""`) + `"`)
				default:
					b.WriteString(bare.Draw(t, "cell"))
				}
			}
			b.WriteString(end)
		}
		f, err := SuggestForm([]byte(b.String()), "")
		if err != nil {
			t.Fatal(err)
		}
		if string(f.Delimiter) != delimiter || f.Quote != '"' || f.LineEnd != '\n' || f.Columns != columns || f.Agree != rows ||
			f.Records != rows || !f.Header {
			t.Fatalf("%q: %+v", b.String(), f)
		}
	})
}

func TestLikeliestForm(t *testing.T) {
	for _, c := range []struct {
		name, encoding, sample string
		want                   Form
	}{
		{"semicolons and decimal commas", "", "id;weight\n1;70,5\n2;81,0\n3;64,25\n",
			Form{Delimiter: ';', Quote: '"', LineEnd: '\n', Columns: 2, Records: 4, Agree: 4, Header: true, HeaderSure: true}},
		{"no header", "", "1,x\n2,y\n", Form{Delimiter: ',', Quote: '"', LineEnd: '\n', Columns: 2, Records: 2, Agree: 2, HeaderSure: true}},
		{"old Mac", "", "a\tb\r1\t2\r", Form{Delimiter: '\t', Quote: '"', LineEnd: '\r', Columns: 2, Records: 2, Agree: 2, Header: true, HeaderSure: true}},
		{"inches", "", "a,b\nx,5\" tube\ny,6\"\nz,\"u,v\"\n",
			Form{Delimiter: ',', Quote: '"', QuoteAtStart: true, LineEnd: '\n', Columns: 2, Records: 4, Agree: 4, Header: true}},
		{"escapes", "", "a,b\nx\\,y,1\n\\\\,2\n", Form{Delimiter: ',', Quote: '"', Escape: '\\', LineEnd: '\n', Columns: 2, Records: 3, Agree: 3, Header: true, HeaderSure: true}},
		{"apostrophes", "", "a,b\n'x,y',1\n'z',2\n", Form{Delimiter: ',', Quote: '\'', LineEnd: '\n', Columns: 2, Records: 3, Agree: 3, Header: true, HeaderSure: true}},
		{"UTF-16, cut", "utf-16le", "a\x00|\x00b\x00\n\x00\x31\x00|\x00\x32\x00\n\x00x\x00", Form{Delimiter: '|', Quote: '"', LineEnd: '\n', Columns: 2, Records: 2, Agree: 2, Header: true, HeaderSure: true}},
		{"one column", "", "a\n1\n2\n", Form{Delimiter: ',', Quote: '"', LineEnd: '\n', Columns: 1, Records: 3, Agree: 3, Header: true, HeaderSure: true}},
		{"nothing", "", "", Form{Delimiter: ',', Quote: '"', LineEnd: '\n'}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := SuggestForm([]byte(c.sample), c.encoding)
			if err != nil || got != c.want {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
	if _, err := SuggestForm(nil, "klingon"); err == nil {
		t.Error("an unknown encoding, and no error")
	}
}

func FuzzSuggest(f *testing.F) {
	for _, seed := range []string{"", "a,b\n1,2\n", "a;b\r'x;\r", "\xff\xfea\x00", "\\\n\"\\", "\x00\xd8\x00", "\xef\xbb\xbf\xc3"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, sample []byte) {
		candidates, _ := SuggestEncoding(sample)
		for _, c := range append(candidates[:min(1, len(candidates))], EncodingCandidate{Encoding: "utf-16le"}) {
			form, err := SuggestForm(sample, c.Encoding)
			if err != nil || form.Agree > form.Records || form.Agree > 0 && form.Columns < 1 {
				t.Errorf("%s: %+v, %v", c.Encoding, form, err)
			}
		}
	})
}

func TestMojibakeIsThatOfWindows1252(t *testing.T) {
	sample := []byte("p1;Jer\xf3nimo;Bayam\xf3n\np2;\xc3\xa9lise Mu\xc3\xb1oz;Perp\xc3\xa9tua\np3;Zo\xeb;\x93Main\x94\n")
	if got, _ := SuggestEncoding(sample); got[0].Encoding != "windows-1252" {
		t.Errorf("the likeliest encoding is %v", got[:3])
	}
}
