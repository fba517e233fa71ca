package charset

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLookup(t *testing.T) {
	for name, want := range map[string]string{
		"": "utf-8", "UTF8": "utf-8", "utf-8": "utf-8", "UTF-16": "utf-16", "utf_16le": "utf-16le", "UTF 16 BE": "utf-16be",
		"ascii": "us-ascii", "US-ASCII": "us-ascii", "latin1": "iso-8859-1", "ISO 8859-15": "iso-8859-15",
		"cp1252": "windows-1252", "Windows-1258": "windows-1258", "windows-874": "windows-874", "cp850": "cp850", "IBM850": "cp850",
		"cp858": "cp858", "KOI8-R": "koi8-r", "macintosh": "macintosh",
	} {
		c, err := Lookup(name)
		if err != nil || c.Name != want {
			t.Errorf("%q: %v, %v; want %s", name, c, err, want)
		}
	}
	for _, name := range []string{"latin99", "cp", "ibm", "x-user-defined", "cp037", "shift-jis"} {
		if c, err := Lookup(name); err == nil || !strings.Contains(err.Error(), "known are cp437, ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%q: %v, %v", name, c, err)
		}
	}
}

func TestNames(t *testing.T) {
	names := Names()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("not sorted, or one twice: %v", names)
	}
	for i, c := range All() {
		if found, err := Lookup(names[i]); err != nil || found != c || c.Name != names[i] {
			t.Errorf("%s: %v, %v", names[i], found, err)
		}
	}
}

// Whoever finds quotes and line ends in the raw bytes relies on it.
func TestTablesLeaveASCIIAlone(t *testing.T) {
	tables := 0
	for _, c := range All() {
		if c.Table == nil {
			continue
		}
		tables++
		for b, text := range c.Table {
			switch {
			case b < utf8.RuneSelf && text != string(rune(b)):
				t.Errorf("%s: %#x is %q", c.Name, b, text)
			case b >= utf8.RuneSelf && text != "" && (utf8.RuneCountInString(text) != 1 || !utf8.ValidString(text) || text[0] < utf8.RuneSelf):
				t.Errorf("%s: %#x is %q", c.Name, b, text)
			}
		}
	}
	if tables < 30 {
		t.Errorf("only %d encodings of one byte per character", tables)
	}
}

func TestTables(t *testing.T) {
	for _, c := range []struct {
		name string
		b    byte
		want string
	}{
		{"windows-1252", 0x80, "€"},
		{"windows-1252", 0x81, ""}, // a hole, which browsers take for a control character
		{"windows-1252", 0xE4, "ä"},
		{"windows-1255", 0xD9, ""},
		{"iso-8859-1", 0x81, "\u0081"},
		{"iso-8859-15", 0xA4, "€"},
		{"cp850", 0x81, "ü"},
		{"cp858", 0xD5, "€"},
		{"us-ascii", 0x80, ""},
	} {
		e, err := Lookup(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Table[c.b]; got != c.want {
			t.Errorf("%s: %#x is %q, want %q", c.name, c.b, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name, declared, start string
		want                  string // "" for an error
		mark                  int
	}{
		{"no mark", "utf-8", "id", "utf-8", 0},
		{"its mark", "utf-8", MarkUTF8 + "id", "utf-8", 3},
		{"half of a mark", "utf-8", MarkUTF8[:2], "utf-8", 0},
		{"nothing at all", "utf-8", "", "utf-8", 0},
		{"UTF-16 in UTF-8", "utf-8", MarkLittle + "i\x00", "", 0},
		{"UTF-8 in Windows-1252", "windows-1252", MarkUTF8 + "id", "", 0},
		{"letters that are a mark elsewhere", "windows-1252", "\xFF\xFEid", "windows-1252", 0},
		{"little endian by its mark", "utf-16", MarkLittle + "i\x00", "utf-16le", 2},
		{"big endian by its mark", "utf-16", MarkBig + "\x00i", "utf-16be", 2},
		{"big endian without a mark", "utf-16", "\x00i", "utf-16be", 0},
		{"UTF-8 in UTF-16", "utf-16", MarkUTF8 + "id", "", 0},
		{"its own mark", "utf-16le", MarkLittle, "utf-16le", 2},
		{"its order without a mark", "utf-16le", "i\x00", "utf-16le", 0},
		{"the other order", "utf-16le", MarkBig + "\x00i", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			declared, err := Lookup(c.declared)
			if err != nil {
				t.Fatal(err)
			}
			got, mark, err := declared.Resolve([]byte(c.start))
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), "declared is "+c.declared) {
					t.Fatalf("%v, %v", got, err)
				}
				return
			}
			if err != nil || got.Name != c.want || mark != c.mark {
				t.Errorf("%v with a mark of %d, %v", got, mark, err)
			}
		})
	}
}
