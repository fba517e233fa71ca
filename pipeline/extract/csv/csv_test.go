package csv

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// write makes a folder with one file, opens a source over it and returns its only table.
func write(t testing.TB, name, text string, o Options) (*Source, *extract.Table, error) {
	t.Helper()
	o.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Name = "ehr"
	o.Files = []string{name}
	s, err := Open(o)
	if err != nil {
		return nil, nil, err
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		return nil, nil, err
	}
	return s, tables[0], nil
}

// rows reads a text as one file.
func rows(t testing.TB, text string, o Options) []extracttest.Row {
	t.Helper()
	s, table, err := write(t, "t.csv", text, o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := extracttest.Rows(t.Context(), s, table)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestContract(t *testing.T) {
	text := "id,name,note\n1,a,\"two\nlines\"\n2,b\n\n3,\"c\"\"d\",x\r\n4,\"open,x\n5,e,y\n6,f,\"g\nh\"\n7,g\x00,z\n8,h,i"
	packed := func(w func(b *bytes.Buffer)) string {
		var b bytes.Buffer
		w(&b)
		return b.String()
	}
	files := map[string]string{
		"plain.csv": text,
		"packed.csv.gz": packed(func(b *bytes.Buffer) {
			z := gzip.NewWriter(b)
			_, _ = z.Write([]byte(text))
			_ = z.Close()
		}),
		"packed2.csv.zst": packed(func(b *bytes.Buffer) {
			z, _ := zstd.NewWriter(b)
			_, _ = z.Write([]byte(text))
			_ = z.Close()
		}),
		"header only.csv": "a,b\n",
		"no end.csv":      "a,b",
	}
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, o := range map[string]Options{
		"one shard":    {},
		"small shards": {ShardSize: 10},
		"windows-1252": {ShardSize: 7, Encoding: "windows-1252"},
	} {
		o.Name, o.Dir, o.Files = "ehr", dir, []string{"*.csv", "*.gz", "*.zst"}
		t.Run(name, func(t *testing.T) {
			extracttest.Run(t, func(t testing.TB) extract.Source {
				s, err := Open(o)
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

func TestRules(t *testing.T) {
	type row = extracttest.Row
	ok := func(line, ordinal int64, cells ...string) row {
		return row{Table: "t", Cells: cells, Line: line, Ordinal: ordinal}
	}
	bad := func(line, ordinal int64, rule, column string) row {
		return row{Table: "t", Line: line, Ordinal: ordinal, Rule: rule, Column: column}
	}
	fixed := [3]Field{{"x", 1, 3}, {"y", 4, 2}, {"z", 8, 1}}
	small := Options{MaxField: 8, MaxRecord: 20, MaxColumns: 3}
	for _, c := range []struct {
		name, text string
		o          Options
		want       []row
	}{
		{"plain", "a,b\n1,2\n", Options{}, []row{ok(2, 1, "1", "2")}},
		{"no last line end", "a,b\n1,2", Options{}, []row{ok(2, 1, "1", "2")}},
		{"mixed line ends", "a,b\r\n1,2\n3,4\r\n5,\r", Options{}, []row{ok(2, 1, "1", "2"), ok(3, 2, "3", "4"), ok(4, 3, "5", "")}},
		{"a carriage return in a field", "a,b\n1\r2,3\n", Options{}, []row{ok(2, 1, "1\r2", "3")}},
		{"byte order mark", "\ufeffa,b\n1,2\n", Options{}, []row{ok(2, 1, "1", "2")}},
		{"byte order mark before a quote", "\ufeff\"a\",b\n1,2\n", Options{}, []row{ok(2, 1, "1", "2")}},
		{"blank lines", "\n\r\na,b\n\n1,2\n\r\n\n3,4\n\n", Options{}, []row{ok(5, 1, "1", "2"), ok(8, 2, "3", "4")}},
		{"blanks are not a blank line", "a\n \n", Options{}, []row{ok(2, 1, " ")}},
		{"an empty quoted field is a record", "a\n\"\"\n", Options{}, []row{ok(2, 1, "")}},
		{"quotes", "a,b\n\"1,x\",\"say \"\"hi\"\"\"\n\"\"\"\",\"\"\n", Options{}, []row{ok(2, 1, "1,x", `say "hi"`), ok(3, 2, `"`, "")}},
		{"line ends in a field stay as they are", "a,b\n\"1\r\n2\n3\r4\",x\n5,6\n", Options{},
			[]row{ok(2, 1, "1\r\n2\n3\r4", "x"), ok(5, 2, "5", "6")}},
		{"blank lines in a field", "a,b\n\"1\n\n\n2\",x\n\n5,6\n", Options{}, []row{ok(2, 1, "1\n\n\n2", "x"), ok(7, 2, "5", "6")}},
		{"ends inside a field", "a,b\n1,\"x\ny\"", Options{}, []row{ok(2, 1, "1", "x\ny")}},
		{"ends inside a field, with CR", "a,b\n1,\"x\ny\"\r", Options{}, []row{ok(2, 1, "1", "x\ny")}},

		{"too few and too many cells", "a,b\n1\n1,2,3\n1,2\n", Options{},
			[]row{bad(2, 1, extract.RuleRaggedRow, ""), bad(3, 2, extract.RuleRaggedRow, ""), ok(4, 3, "1", "2")}},
		{"too many cells, quoted", "a,b\n\"1\",2,3\n1,\"2\"\n", Options{},
			[]row{bad(2, 1, extract.RuleRaggedRow, ""), ok(3, 2, "1", "2")}},
		{"bare quote", "a,b\n1,x\"y\n3,4\n", Options{}, []row{bad(2, 1, extract.RuleBareQuote, "b"), ok(3, 2, "3", "4")}},
		{"two bare quotes", "a,b\nx\"y\",4\n3,4\n", Options{}, []row{bad(2, 1, extract.RuleBareQuote, "a"), ok(3, 2, "3", "4")}},
		{"quote after a blank", "a,b\n1, \"y\"\n3,4\n", Options{}, []row{bad(2, 1, extract.RuleQuoteAfterBlank, "b"), ok(3, 2, "3", "4")}},
		{"text after a quote", "a,b\n\"1\"x,2\n3,4\n", Options{}, []row{bad(2, 1, extract.RuleTextAfterQuote, "a"), ok(3, 2, "3", "4")}},
		{"stray quote does not swallow the file", "a,b\n1,\"x\n3,4\n5,6\n", Options{},
			[]row{bad(2, 1, extract.RuleUnterminatedQuote, ""), ok(3, 2, "3", "4"), ok(4, 3, "5", "6")}},
		{"stray quote before a quoted record", "a,b\n1,\"x\n3,4\n5,\"6\"\n7,8\n", Options{},
			[]row{bad(2, 1, extract.RuleUnterminatedQuote, ""), ok(3, 2, "3", "4"), ok(4, 3, "5", "6"), ok(5, 4, "7", "8")}},
		{"stray quote on the last line", "a,b\n1,\"x", Options{}, []row{bad(2, 1, extract.RuleUnterminatedQuote, "b")}},
		{"two stray quotes", "a,b\n1,\"x\n3,4\n5,\"6\n7,8\n", Options{},
			[]row{bad(2, 1, extract.RuleUnterminatedQuote, ""), ok(3, 2, "3", "4"), bad(4, 3, extract.RuleUnterminatedQuote, ""), ok(5, 4, "7", "8")}},
		{"a quoted field of several lines with a fault", "a,b\n\"1\n2\"x,3\n4,5\n", Options{},
			[]row{bad(2, 1, extract.RuleUnterminatedQuote, ""), bad(3, 2, extract.RuleBareQuote, "a"), ok(4, 3, "4", "5")}},
		{"NUL", "a,b\n1,\x00\n\x003,\"4\"\n5,6\n", Options{},
			[]row{bad(2, 1, extract.RuleNULByte, "b"), bad(3, 2, extract.RuleNULByte, "a"), ok(4, 3, "5", "6")}},
		{"no UTF-8", "a,b\n\xff,2\nü,\"\xc3\"\nü,ß\n", Options{},
			[]row{bad(2, 1, extract.RuleInvalidEncoding, "a"), bad(3, 2, extract.RuleInvalidEncoding, "b"), ok(4, 3, "ü", "ß")}},
		{"an encoded surrogate is not UTF-8", "a\n\xed\xa0\x80\n", Options{}, []row{bad(2, 1, extract.RuleInvalidEncoding, "a")}},
		{"field over the cap", "a,b\n1,123456789\n1,12345678\n1,\"1234\n6789\"\n", small,
			[]row{bad(2, 1, extract.RuleFieldTooLong, "b"), ok(3, 2, "1", "12345678"), bad(4, 3, extract.RuleFieldTooLong, "b")}},
		{"line over the cap", "a,b\n1,12345678901234567890\n3,4\n", small,
			[]row{bad(2, 1, extract.RuleRecordTooLong, ""), ok(3, 2, "3", "4")}},
		{"last line over the cap", "a,b\n1,12345678901234567890", small, []row{bad(2, 1, extract.RuleRecordTooLong, "")}},
		{"quoted record over the cap", "a,b\n1,\"12345678\n123456789\"\n3,4\n", small,
			[]row{bad(2, 1, extract.RuleRecordTooLong, ""), bad(3, 2, extract.RuleBareQuote, "a"), ok(4, 3, "3", "4")}},
		{"row over the cap on columns", "a,b\n1,2,3,4\n1,2,3\n\"1\",2,3,4\n", small,
			[]row{bad(2, 1, extract.RuleTooManyColumns, ""), bad(3, 2, extract.RuleRaggedRow, ""), bad(4, 3, extract.RuleTooManyColumns, "")}},

		{"semicolon and apostrophe", "a;b\n'1;2';'x''y'\n", Options{Delimiter: ';', Quote: '\''}, []row{ok(2, 1, "1;2", "x'y")}},
		{"no quoting", "a\tb\n\"1\t2\n", Options{Delimiter: '\t', Quote: NoQuote}, []row{ok(2, 1, "\"1", "2")}},
		{"header further down", "Report \"x\nof today\n\na,b\n1,2\n", Options{Header: 3}, []row{ok(5, 1, "1", "2")}},
		{"no header", "1,2\n\n3,4\n", Options{Header: NoHeader, Columns: []string{"x", "y"}}, []row{ok(1, 1, "1", "2"), ok(3, 2, "3", "4")}},
		{"lines of old Macs", "a,b\r1,2\r\"x\ry\",3\r", Options{LineEnd: '\r'}, []row{ok(2, 1, "1", "2"), ok(3, 2, "x\ry", "3")}},

		{"lines to skip, no header", "Report \"x\n\n1,2\n", Options{Skip: 2, Header: NoHeader, Columns: []string{"x", "y"}}, []row{ok(3, 1, "1", "2")}},
		{"lines to skip, then the header", "Report\n\na,b\n1,2\n", Options{Skip: 1}, []row{ok(4, 1, "1", "2")}},
		{"names for a header's blank and doubled ones", "a,,a\n1,2,3\n", Options{Columns: []string{"a", "b", "a2"}}, []row{ok(2, 1, "1", "2", "3")}},
		{"comments", "#x\na,b\n#\"1\n1,\"#\n#2\"\n 3,#\n\n#end", Options{Comment: '#'},
			[]row{ok(4, 1, "1", "#\n#2"), ok(6, 2, " 3", "#")}},
		{"a comment over the cap", "a,b\n#1,12345678901234567890\n3,4\n", Options{Comment: '#', MaxRecord: 20}, []row{ok(3, 1, "3", "4")}},

		{"escapes", "a,b\n1\\,2,\\\\\n\"\\\"\"\"\",\\\"\n\\N,\"\\N\"\n", Options{Escape: '\\'},
			[]row{ok(2, 1, "1,2", "\\"), ok(3, 2, `""`, `"`), ok(4, 3, `\N`, `\N`)}},
		{"escaped line ends", "a,b\n1\\\n\\\r\n2,\"3\\\n4\"\n5,6\\\r\r\n", Options{Escape: '\\'},
			[]row{ok(2, 1, "1\n\r\n2", "3\n4"), ok(6, 2, "5", "6\r")}},
		{"escapes that mean nothing known", "a,b\n1,\\n\n\\t,\"2\n3\"\n\\0,4\nx\\N,5\n6,7\\", Options{Escape: '\\'},
			[]row{bad(2, 1, extract.RuleUnknownEscape, "b"), bad(3, 2, extract.RuleUnknownEscape, "a"), bad(5, 3, extract.RuleNULByte, "a"),
				bad(6, 4, extract.RuleUnknownEscape, "a"), bad(7, 5, extract.RuleUnknownEscape, "b")}},
		{"an escaped CR at the end of an open field", "a\n\"\\\r", Options{Escape: '\\'}, []row{bad(2, 1, extract.RuleUnterminatedQuote, "a")}},
		{"an escaped CR at the end", "a\n1\\\r", Options{Escape: '\\'}, []row{ok(2, 1, "1\r")}},
		{"as MySQL writes", "1\ta\\\tb\n\\N\tc\\\nd\n", Options{Delimiter: '\t', Quote: NoQuote, Escape: '\\', Header: NoHeader, Columns: []string{"x", "y"}},
			[]row{ok(1, 1, "1", "a\tb"), ok(2, 2, `\N`, "c\nd")}},
		{"a quote behind an escaped line end", "a,b\n1\\\n\"2,3\n4,5\n", Options{Escape: '\\'},
			[]row{bad(2, 1, extract.RuleUnterminatedQuote, ""), bad(3, 2, extract.RuleUnterminatedQuote, ""), ok(4, 3, "4", "5")}},

		{"quotes inside fields", "a,b\n5\" tube,6\"\n\"7\"\"\n8\",\"9\"\n", Options{QuoteAtStart: true},
			[]row{ok(2, 1, `5" tube`, `6"`), ok(3, 2, "7\"\n8", "9")}},
		{"quotes inside fields do not hide faults", "a,b\n1, \"x\"\n\"2\"x,3\n4\",\"5\n6,7\n8\",\"9\n", Options{QuoteAtStart: true},
			[]row{bad(2, 1, extract.RuleQuoteAfterBlank, "b"), bad(3, 2, extract.RuleTextAfterQuote, "a"), bad(4, 3, extract.RuleUnterminatedQuote, ""),
				ok(5, 4, "6", "7"), bad(6, 5, extract.RuleUnterminatedQuote, "")}},

		{"blank cells too many", "a,b\n1,2,, \n1,2,3\n\"1\",2,\"\"\n1\n", Options{ExtraBlank: true},
			[]row{ok(2, 1, "1", "2"), bad(3, 2, extract.RuleRaggedRow, ""), ok(4, 3, "1", "2"), bad(5, 4, extract.RuleRaggedRow, "")}},
		{"blank names at the end", "a,b,, \n1,2,,\n1,2\n1,2,3,\n", Options{ExtraBlank: true},
			[]row{ok(2, 1, "1", "2"), ok(3, 2, "1", "2"), bad(4, 3, extract.RuleRaggedRow, "")}},
		{"cells missing at the end", "a,b,c\n1,2,3\n\"4\"\n5,6\r\n1,2,3,4\n7", Options{MissingBlank: true},
			[]row{ok(2, 1, "1", "2", "3"), ok(3, 2, "4", "", ""), ok(4, 3, "5", "6", ""), bad(5, 4, extract.RuleRaggedRow, ""), bad(6, 5, extract.RuleRaggedRow, "")}},

		{"fixed width", "12345xx6\r\n   ab  c\n1234   \n12345  6 \n\n12345  7", Options{Fixed: fixed[:]},
			[]row{bad(1, 1, extract.RuleTextBetweenColumns, ""), ok(2, 2, "", "ab", "c"), bad(3, 3, extract.RuleShortLine, "z"),
				bad(4, 4, extract.RuleLongLine, ""), ok(6, 5, "123", "45", "7")}},
		{"fixed width, trimmed", "1\n12345  6  \n12345  6 x\n1", Options{Fixed: fixed[:], MissingBlank: true, ExtraBlank: true},
			[]row{ok(1, 1, "1", "", ""), ok(2, 2, "123", "45", "6"), bad(3, 3, extract.RuleLongLine, ""), bad(4, 4, extract.RuleShortLine, "x")}},
		{"fixed width in characters", "äöü€\"  😀\n\xff2345  6\n1\x0045   \n", Options{Fixed: fixed[:]},
			[]row{ok(1, 1, "äöü", "€\"", "😀"), bad(2, 2, extract.RuleInvalidEncoding, ""), bad(3, 3, extract.RuleShortLine, "z")}},
		{"fixed width, one byte each", "\xe4\xf6\xfc\x80x  y\n\x8123456 y\n12\x0045  6\n", Options{Fixed: fixed[:], Encoding: "windows-1252"},
			[]row{ok(1, 1, "äöü", "€x", "y"), bad(2, 2, extract.RuleTextBetweenColumns, ""), bad(3, 3, extract.RuleNULByte, "x")}},
		{"fixed width behind skipped lines", "x y z\n#\n12345  6\n", Options{Fixed: []Field{fixed[2], fixed[0], fixed[1]}, Skip: 1, Comment: '#'},
			[]row{ok(3, 1, "6", "123", "45")}},

		{"windows-1252", "a,b\n\x80,\xe4\n\x81,x\n\"\xe9\"\"\",y\n", Options{Encoding: "Windows-1252"},
			[]row{ok(2, 1, "€", "ä"), bad(3, 2, extract.RuleInvalidEncoding, "a"), ok(4, 3, "é\"", "y")}},
		{"latin-1", "a\n\xe4\n", Options{Encoding: "latin1"}, []row{ok(2, 1, "ä")}},
		{"code page 437", "a\n\x84\n", Options{Encoding: "IBM437"}, []row{ok(2, 1, "ä")}},
		{"ASCII", "a\n\xe4\nx\n", Options{Encoding: "us-ascii"}, []row{bad(2, 1, extract.RuleInvalidEncoding, "a"), ok(3, 2, "x")}},
		{"UTF-16 by mark", "\xff\xfea\x00\n\x00\xe4\x00\n\x00", Options{Encoding: "utf-16"}, []row{ok(2, 1, "ä")}},
		{"UTF-16, big endian by mark", "\xfe\xff\x00a\x00\n\x00\xe4\x00\n", Options{Encoding: "utf-16"}, []row{ok(2, 1, "ä")}},
		{"UTF-16LE without mark", "a\x00\n\x00\x3d\xd8\x00\xde\r\x00\n\x00", Options{Encoding: "utf-16le"}, []row{ok(2, 1, "😀")}},
		{"UTF-16LE with pairs, in shards", "a\x00\n\x00\x3d\xd8\x00\xde\n\x00\x3d\xd8\x00\xde\n\x00\xac\x20\n\x00z\x00", Options{Encoding: "utf-16le"},
			[]row{ok(2, 1, "😀"), ok(3, 2, "😀"), ok(4, 3, "€"), ok(5, 4, "z")}},
		{"UTF-16 with half a pair", "a\x00\n\x00\x3d\xd8\n\x00\x00\xdex\x00\n\x00z\x00\n\x00\xfd\xff\n\x00", Options{Encoding: "utf-16le"},
			[]row{bad(2, 1, extract.RuleInvalidEncoding, "a"), bad(3, 2, extract.RuleInvalidEncoding, "a"), ok(4, 3, "z"), ok(5, 4, "\ufffd")}},
		{"UTF-16 with half a unit", "a\x00\n\x00b\x00\n\x00c", Options{Encoding: "utf-16le"},
			[]row{ok(2, 1, "b"), bad(3, 2, extract.RuleInvalidEncoding, "a")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, rows(t, c.text, c.o)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			for size := range int64(len(c.text)) { // each cuts elsewhere
				c.o.ShardSize = size + 1
				if diff := cmp.Diff(c.want, rows(t, c.text, c.o)); diff != "" {
					t.Fatalf("shards of %d bytes (-want +got)\n%s", size+1, diff)
				}
			}
		})
	}
}

func TestHeaderFaults(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          Options
		want       string
	}{
		{"doubled and blank names", "id,name,,id, ,name\n", Options{},
			`t.csv:1: header: column 3 has no name; column 4 has the name of column 1, "id"; column 5 has no name; column 6 has the name of column 2, "name"; the plan can name them: columns, in their order`},
		{"empty file", "", Options{}, "t.csv: the file has no header line"},
		{"only blank lines", "\n\r\n\n", Options{}, "t.csv: the file has no header line"},
		{"header behind the end", "a\n", Options{Header: 5}, "t.csv: the file has no header line"},
		{"bare quote", "a,b\"c\n", Options{}, "t.csv:1: header: column 2: bare-quote"},
		{"open quote", "a,\"c\n1,2\n", Options{}, "t.csv:1: header: unterminated-quote"},
		{"old Mac", "a,b\r1,2\r\"x\ry\",2\r", Options{}, "t.csv:1: header: it has CR without LF: if the file's lines end with CR alone, the plan must say so"},
		{"no old Mac", "a,b\r\n1,2\r\n", Options{LineEnd: '\r'}, "t.csv:1: header: it ends with CRLF, not with CR alone"},
		{"names of the plan that are not the header's", "a,b,,b\n", Options{Columns: []string{"b", "a", "c", "d"}},
			`t.csv:1: header: column 1 is "a", the plan names it "b"`},
		{"too few names in the plan", "a,b,,b\n", Options{Columns: []string{"a"}}, "t.csv:1: header: it has 4 columns, the plan names 1"},
		{"no header, no names", "1,2\n", Options{Header: NoHeader}, "t.csv: there is no header, so the plan must name the columns"},
		{"a workbook", "PK\x03\x04\x14\x00", Options{}, "t.csv:1: it is a zip archive or a workbook (.xlsx), not text"},
		{"too many columns", "a,b,c,d\n", Options{MaxColumns: 3}, "t.csv:1: header: too-many-columns: 4, at most 3 are allowed"},
		{"invalid text", "a,\xff\n", Options{}, "t.csv:1: header: column 2: invalid-encoding"},
		{"UTF-16 as UTF-8", "\xff\xfea\x00\n\x00", Options{}, "t.csv: the file is not in the declared encoding: declared is utf-8, but it begins with the mark of utf-16le"},
		{"UTF-8 as Windows", "\ufeffa\n", Options{Encoding: "windows-1252"}, "t.csv: the file is not in the declared encoding: declared is windows-1252, but it begins with the mark of utf-8"},
		{"wrong end", "\xff\xfea\x00\n\x00", Options{Encoding: "utf-16be"}, "open t.csv: the file is not in the declared encoding: declared is utf-16be, but it begins with the mark of utf-16le"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := write(t, "t.csv", c.text, c.o)
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestOpenFaults(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.csv", "a.txt", "b.csv", "b.csv.gz", "c.csv"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"*", "none/*.csv", "[", "d.csv"}})
	want := "csv source ehr: none/*.csv: no such file\n[: syntax error in pattern\nd.csv: no such file\n" +
		"table a is in two files: a.csv and a.txt\ntable b is in two files: b.csv and b.csv.gz"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = Open(Options{Name: "ehr", Dir: dir, Files: []string{"c.csv"}, Encoding: "klingon", Delimiter: '"', LineEnd: 'x',
		ShardSize: -1, Header: 2, Skip: 1, Columns: []string{"x", "x"}})
	for _, part := range []string{`encoding "klingon" is not known`, "the line end must be", "the same character",
		"negative", "lines to skip are both given", `column 2 has the name of column 1, "x"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	_, err = Open(Options{Name: "ehr", Dir: dir, Files: []string{"c.csv"}, Delimiter: 'x', Comment: '"', Escape: '"', QuoteAtStart: true, Quote: '"',
		Fixed: []Field{{"a", 1, 3}, {"b", 3, 1}, {"", 0, 1}}, Tables: map[string]Layout{"c": {Columns: []string{"a"}, Fixed: []Field{{"a", 1, 1}}}}})
	for _, part := range []string{"the delimiter must not be a letter or digit", "quote and comment are the same", "by doubling it",
		"columns of fixed width have no delimiter", "columns a and b overlap", "column 3 has no name", "counted from 1", "table c: the columns are named twice"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("the error lacks %q: %v", part, err)
		}
	}
	_, err = Open(Options{Name: "ehr", Dir: dir, Files: []string{"c.csv"}, Tables: map[string]Layout{"d": {Columns: []string{"a"}}}})
	if err == nil || !strings.Contains(err.Error(), "the plan describes a table d, which no file holds; there are c") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(Options{Name: "ehr"}); err == nil {
		t.Error("no files, no error")
	}
}

// Each table may have a layout of its own.
func TestLayoutOfOneTable(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.csv": "x,y\n1,2\n", "b.csv": "1,2\n", "c.txt": "12\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"*"}, Tables: map[string]Layout{"a": {Columns: []string{"x", "y"}},
		"c": {Fixed: []Field{{"p", 1, 1}, {"q", 2, 1}}}}})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, table := range tables {
		read, err := extracttest.Rows(t.Context(), s, table)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s%v%d", table.Name, table.Columns, len(read)))
	}
	if diff := cmp.Diff([]string{"a[x y]1", "b[1 2]0", "c[p q]1"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestComments(t *testing.T) {
	s, table, err := write(t, "t.csv", "#\na\n#x\n1\n\"#\n#\"\n#"+strings.Repeat("y", 20)+"\n#y", Options{Comment: '#', ShardSize: 4, MaxRecord: 10})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // reading again counts nothing twice
		got, err := extracttest.Rows(t.Context(), s, table)
		if err != nil || len(got) != 2 {
			t.Fatalf("%d rows, %v", len(got), err)
		}
		if n := s.Comments("t"); n != 4 {
			t.Errorf("%d comments, want 4", n)
		}
	}
}

func TestCharacter(t *testing.T) {
	for text, want := range map[string]rune{";": ';', "tab": '\t', `\t`: '\t', "\t": '\t', "backslash": '\\', `\`: '\\', "space": ' ', "none": NoQuote} {
		if got, err := Character(text); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ";;", "ü", "\n", "\x00", "\xff", "comma"} {
		if got, err := Character(text); err == nil {
			t.Errorf("%q is read as %q", text, got)
		}
	}
}

// Lines that each leave a quote open, and none closes, are not searched again and again.
func TestOpenQuotesTakeLinearTime(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		o    Options
	}{
		"quotes at start":   {"x\",\"y\n", Options{QuoteAtStart: true}},
		"escapes":           {"\\\n\"\n", Options{Escape: '\\'}},
		"escapes in quotes": {"\"\\\\\\\"\n", Options{Escape: '\\'}},
		"escaped line ends": {"x\\\n", Options{Escape: '\\'}},
		"strict":            {"\"x,\"\"\n", Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			const lines = 400_000
			in := strings.NewReader(strings.Repeat(c.line, lines) + "y")
			c.o.complete()
			sp := newSplitter((&Source{options: c.o}).form("t"), in, -1)
			var covered int64
			for {
				ok, err := sp.next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				covered += sp.lines
			}
			if want := int64(lines*strings.Count(c.line, "\n") + 1); covered != want {
				t.Errorf("%d lines of %d are in a record", covered, want)
			}
		})
	}
}

func TestGlobInOddFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a[b]*c")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", "Visits 1.CSV"), []byte("x\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Name: "ehr", Dir: dir, Files: []string{"sub/*"}})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []*extract.Table{{Source: "ehr", Name: "Visits 1", File: "sub/Visits 1.CSV", Columns: []string{"x"}}}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestChangedFileStops(t *testing.T) {
	for name, now := range map[string]string{
		"grown": "a,b\n1,2\n3,4\n5,6\n", "shrunk": "a,b\n1,2\n", "header": "a,c\n1,2\n3,4\n", "gone": "",
	} {
		t.Run(name, func(t *testing.T) {
			s, table, err := write(t, "t.csv", "a,b\n1,2\n3,4\n", Options{})
			if err != nil {
				t.Fatal(err)
			}
			shards, err := s.Shards(t.Context(), table)
			if err != nil {
				t.Fatal(err)
			}
			path := s.files[0].Path
			if now == "" {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, []byte(now), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			var done extract.Digest
			got, err := extracttest.ShardRows(t.Context(), s, shards[0], &done)
			if len(got) > 0 || err == nil || now != "" && !errors.Is(err, extract.ErrChanged) || done.Complete {
				t.Errorf("%d rows, error %v", len(got), err)
			}
			if err != nil && strings.Contains(err.Error(), filepath.Dir(path)) {
				t.Errorf("the error names the folder: %v", err)
			}
		})
	}
}

func TestDamagedGzipEndsTheStream(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte("a\n" + strings.Repeat("x\n", 200_000)))
	_ = z.Close()
	s, table, err := write(t, "t.csv.gz", b.String()[:b.Len()-4], Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := extracttest.Rows(t.Context(), s, table); err == nil || len(got) == 0 {
		t.Errorf("a cut gzip file was read to its end: %d rows, %v", len(got), err)
	}
}

// A stray quote in a file with long shards must not make memory or time grow: a gigabyte in one field is refused.
func TestHugeFieldIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 200 MB")
	}
	path := filepath.Join(t.TempDir(), "t.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("x"), 1<<20)
	_, err = f.WriteString("a,b\n1,2\n3,\"")
	for range 200 {
		if err == nil {
			_, err = f.Write(line)
		}
	}
	if err == nil {
		_, err = f.WriteString("\n5,6\n")
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Name: "ehr", Files: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := extracttest.Rows(t.Context(), s, tables[0])
	if err != nil {
		t.Fatal(err)
	}
	want := []extracttest.Row{{Table: "t", Cells: []string{"1", "2"}, Line: 2, Ordinal: 1},
		{Table: "t", Line: 3, Ordinal: 2, Rule: extract.RuleRecordTooLong},
		{Table: "t", Cells: []string{"5", "6"}, Line: 4, Ordinal: 3}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestCancelWhileReading(t *testing.T) {
	s, table, err := write(t, "t.csv", "a\n"+strings.Repeat("some text in a line\n", 200_000), Options{})
	if err != nil {
		t.Fatal(err)
	}
	shards, err := s.Shards(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range s.Read(ctx, shards[0], nil) {
		if n++; n == 10 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) || n > 20_000 {
		t.Errorf("%d records, then %v", n, last)
	}
}
