package csv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// told reads a text as one file: per record its line and cells, or rule, and its notes.
func told(t *testing.T, text string, o Options) (out []string) {
	t.Helper()
	s, table, err := write(t, "t.csv", text, o)
	if err != nil {
		t.Fatal(err)
	}
	shards, err := s.Shards(t.Context(), table)
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range shards {
		for r, err := range s.Read(t.Context(), shard, nil) {
			if err != nil {
				out = append(out, err.Error())
				continue
			}
			line := fmt.Sprintf("%d %q", r.Line, r.Cells)
			for _, n := range r.Notes {
				line += " " + n.Rule + " " + n.Column
			}
			out = append(out, line)
		}
	}
	return out
}

func TestWhatIsMendedOrDoubted(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          Options
		want       []string
	}{
		{"Ctrl-Z at the end", "a,b\r\n1,2\r\n\x1a", Options{}, []string{`2 ["1" "2"]`}},
		{"several, as blocks of CP/M are filled", "a,b\n1,2\n\x1a\x1a\x1a", Options{}, []string{`2 ["1" "2"]`}},
		{"behind a line without an end", "a,b\n1,2\x1a", Options{}, []string{`2 ["1" "2"]`}},
		{"behind a quote", "a,b\n1,\"2\"\x1a", Options{}, []string{`2 ["1" "2"]`}},
		{"in a line of its own, where files were joined", "a,b\n1,2\n\x1a\n3,4\n\x1a\n", Options{}, []string{`2 ["1" "2"]`, `4 ["3" "4"]`}},
		{"inside a text it is text", "a,b\n1,x\x1ay\n3,4\n", Options{}, []string{`2 ["1" "x\x1ay"]`, `3 ["3" "4"]`}},

		{"the header again", "id,name\n1,a\nid,name\n2,b\n", Options{}, []string{`2 ["1" "a"]`, "t:3: malformed record: repeated-header", `4 ["2" "b"]`}},
		{"with a mark", "id,name\n1,a\n\ufeffid,name\n2,b\n", Options{}, []string{`2 ["1" "a"]`, "t:3: malformed record: repeated-header", `4 ["2" "b"]`}},
		{"with Ctrl-Z", "id,name\n1,a\n\x1aid,name\n2,b\n", Options{}, []string{`2 ["1" "a"]`, "t:3: malformed record: repeated-header", `4 ["2" "b"]`}},
		{"as it stands in the file", "id,n,n\n1,a,b\nid,n,n\n", Options{Columns: []string{"id", "n1", "n2"}}, []string{`2 ["1" "a" "b"]`, "t:3: malformed record: repeated-header"}},
		{"where the plan says there is none", "id,name\n1,a\n", Options{Header: NoHeader, Columns: []string{"id", "name"}}, []string{"t:1: malformed record: repeated-header", `2 ["1" "a"]`}},
		{"one cell that says the same is a record", "id,name\nid,a\n1,name\n", Options{}, []string{`2 ["id" "a"]`, `3 ["1" "name"]`}},
		{"nothing can be said of one column", "name\nname\n", Options{}, []string{`2 ["name"]`}},

		{"a NUL is dropped", "a,b\n1,pain\x00less\n2,x\n", Options{Control: DropControl}, []string{`2 ["1" "painless"] nul-byte-mended b`, `3 ["2" "x"]`}},
		{"a NUL blanks its cell", "a,b\n1,\"pain\x00less\"\n", Options{Control: BlankControl}, []string{`2 ["1" ""] nul-byte-mended b`}},
		{"another control character", "a,b\n1,x\x07y\x7f\n2,\"x\ty\nz\"\n", Options{Control: DropControl}, []string{`2 ["1" "xy"] control-character-mended b`, `3 ["2" "x\ty\nz"]`}},
		{"beside letters of the code page", "a,b\n1,\xfc\x00\xe4\n", Options{Control: DropControl, Encoding: "windows-1252"}, []string{`2 ["1" "üä"] nul-byte-mended b`}},
		{"beside bytes that are no text", "a,b\n1,\xff\x00\n", Options{Control: DropControl}, []string{"t:2: malformed record: invalid-encoding in column b"}},
		{"a NUL as MySQL writes it", "a,b\n1,x\\0y\n", Options{Control: DropControl, Escape: '\\'}, []string{`2 ["1" "xy"] nul-byte-mended b`}},

		{"quotes after blanks", "a,b,c\n1, \"x,y\" ,z\n\"2\" ,x,\t\"say \"\"hi\"\"\"\n", Options{QuoteBlank: true},
			[]string{`2 ["1" "x,y" "z"] quote-after-blank-mended b`, `3 ["2" "x" "say \"hi\""] quote-after-blank-mended a quote-after-blank-mended c`}},
		{"over several lines", "a,b\n1, \"x\ny\" \n3,4\n", Options{QuoteBlank: true}, []string{`2 ["1" "x\ny"] quote-after-blank-mended b`, `4 ["3" "4"]`}},
		{"a blank delimiter is none", "a\tb\n1\t\"x\"\n\t\"y\"\n", Options{QuoteBlank: true, Delimiter: '\t'}, []string{`2 ["1" "x"]`, `3 ["" "y"]`}},
		{"blanks without quotes stay", "a,b\n1, x \n", Options{QuoteBlank: true}, []string{`2 ["1" " x "]`}},
		{"text behind the quote is refused as ever", "a,b\n1, \"x\"y\n3,4\n", Options{QuoteBlank: true}, []string{"t:2: malformed record: text-after-quote in column b", `3 ["3" "4"]`}},

		{"a code that a spreadsheet shortened", "a,b\n1,1.60903E+14\n2,73211009\n", Options{}, []string{`2 ["1" "1.60903E+14"] scientific-notation b`, `3 ["2" "73211009"]`}},
		{"with a comma", "a;b\n1;1,23457E+11\n", Options{Delimiter: ';'}, []string{`2 ["1" "1,23457E+11"] scientific-notation b`}},
		{"measured numbers are not doubted", "a,b\n1,4.5E+12\n2,2.50E+11\n3,1.2E+3\n4,6.02214E+23 x\n5,1.23457E-11\n6,E+11\n", Options{},
			[]string{`2 ["1" "4.5E+12"]`, `3 ["2" "2.50E+11"]`, `4 ["3" "1.2E+3"]`, `5 ["4" "6.02214E+23 x"]`, `6 ["5" "1.23457E-11"]`, `7 ["6" "E+11"]`}},

		{"sep= is no record", "sep=;\na;b\n1;2\n", Options{Delimiter: ';'}, []string{`3 ["1" "2"]`}},
		{"in quotes, behind a mark", "\ufeff\"SEP=;\"\r\na;b\r\n1;2\r\n", Options{Delimiter: ';'}, []string{`3 ["1" "2"]`}},
		{"before the line of the header", "sep=;\ntitle\na;b\n1;2\n", Options{Delimiter: ';', Header: 3}, []string{`4 ["1" "2"]`}},
		{"a line that is skipped", "sep=|\na;b\n1;2\n", Options{Delimiter: ';', Skip: 1}, []string{`3 ["1" "2"]`}},
		{"a column of such a name", "sep=x\n1\n", Options{}, []string{`2 ["1"]`}},
		{"a record of such a text", "a,b\nsep=;,1\n", Options{}, []string{`2 ["sep=;" "1"]`}},

		{"two bars", "a||b\n1||x|y\n2||\n", Options{Separator: "||"}, []string{`2 ["1" "x|y"]`, `3 ["2" ""]`}},
		{"the first that begins counts", "a||b\n1|||x\n", Options{Separator: "||"}, []string{`2 ["1" "|x"]`}},
		{"in quotes it is text", "a||b\n\"1||2\"||\"x\ny||\"\n3||4\n", Options{Separator: "||"}, []string{`2 ["1||2" "x\ny||"]`, `4 ["3" "4"]`}},
		{"more of them than columns", "a||b\n1||2||3\n1\n", Options{Separator: "||"}, []string{"t:2: malformed record: ragged-row", "t:3: malformed record: ragged-row"}},
		{"blank ones too many", "a||b||\n1||2||\n1||2||3\n", Options{Separator: "||", ExtraBlank: true}, []string{`2 ["1" "2"]`, "t:3: malformed record: ragged-row"}},
		{"outside ASCII, of two bytes", "a¦b\n1¦§\n2¦Â\n", Options{Separator: "¦"}, []string{`2 ["1" "§"]`, `3 ["2" "Â"]`}},
		{"outside ASCII, of one", "a\xa6b\n1\xa6\xfc\n", Options{Separator: "¦", Encoding: "windows-1252"}, []string{`2 ["1" "ü"]`}},
		{"tilde, bar, tilde, and sep=", "sep=~|~\na~|~b\n1~|~|~\n", Options{Separator: "~|~"}, []string{`3 ["1" "|~"]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int64{0, 5} {
				c.o.ShardSize = size
				if d := cmp.Diff(c.want, told(t, c.text, c.o)); d != "" {
					t.Errorf("in shards of %d (-want +got):\n%s", size, d)
				}
			}
		})
	}
}

func TestTheDelimiterThatExcelSaysMustBeThePlans(t *testing.T) {
	_, _, err := write(t, "t.csv", "sep=;\na;b\n1;2\n", Options{})
	for _, want := range []string{"t.csv:1", "sep=;", `delimiter: ";"`, "skip: 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %s", err, want)
		}
	}
}

func TestDelimitersThatAreNone(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Separator: `|"|`}, "must not hold a quote"},
		{Options{Separator: "|\n"}, "a line end"},
		{Options{Separator: "ab"}, "letters or digits"},
		{Options{Separator: "||", Escape: '\\'}, "together with an escape"},
		{Options{Separator: "||", Delimiter: ';'}, "given twice"},
		{Options{Separator: "→", Encoding: "windows-1252"}, "no character of windows-1252"},
	} {
		_, _, err := write(t, "t.csv", "a\n", c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: the error is %v, want one with %q", c.o.Separator, err, c.want)
		}
	}
}
