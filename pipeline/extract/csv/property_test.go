package csv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// specified is the rule of the package comment, byte by byte and without a thought for speed: what comes of the text
// behind a header of so many columns, which is line 1.
func specified(text string, columns int, o Options) []extracttest.Row {
	var rows []extracttest.Row
	line := int64(2)
	for len(text) > 0 {
		first := text
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			first = text[:i+1]
		}
		if bare := strings.TrimSuffix(strings.TrimSuffix(first, "\n"), "\r"); bare == "" {
			text = text[len(first):]
			line++
			continue
		}
		cells, used, rule := specifiedRecord(text, len(strings.TrimSuffix(first, "\n")), o)
		if rule != "" {
			used = len(first)
		}
		if rule == "" {
			rule = specifiedChecks(cells, columns, o)
		}
		row := extracttest.Row{Table: "t", Line: line, Ordinal: int64(len(rows)) + 1, Rule: rule}
		if rule == "" {
			row.Cells = cells
		}
		rows = append(rows, row)
		line += int64(strings.Count(text[:used], "\n"))
		text = text[used:]
	}
	return rows
}

// specifiedRecord parses the record at the start of a text whose first physical line is that long. Any rule it answers
// is one by which only that line is refused.
func specifiedRecord(text string, first int, o Options) (cells []string, used int, rule string) {
	if first > o.MaxRecord {
		return nil, 0, extract.RuleRecordTooLong
	}
	fault := func(i int, rule string) ([]string, int, string) {
		if i > o.MaxRecord {
			return nil, 0, extract.RuleRecordTooLong
		}
		if i > first {
			rule = extract.RuleUnterminatedQuote
		}
		return nil, 0, rule
	}
	// end answers the length of a line end at i, with the end of the text as one.
	end := func(i int) (int, bool) {
		switch rest := text[i:]; {
		case rest == "":
			return 0, true
		case rest[0] == '\n':
			return 1, true
		case rest == "\r":
			return 1, true
		case strings.HasPrefix(rest, "\r\n"):
			return 2, true
		}
		return 0, false
	}
	length := func(i, n int) (over bool) {
		whole := i + n
		if whole > 0 && n > 0 && text[whole-1] == '\n' {
			whole--
		}
		return whole > o.MaxRecord
	}
	i := 0
	for {
		var cell strings.Builder
		if strings.HasPrefix(text[i:], `"`) {
			for i++; ; i++ {
				if i >= len(text) {
					return fault(i, extract.RuleUnterminatedQuote)
				}
				if text[i] == '"' {
					if strings.HasPrefix(text[i+1:], `"`) {
						i++
					} else {
						break
					}
				}
				cell.WriteByte(text[i])
			}
			if i > o.MaxRecord {
				return fault(i, extract.RuleRecordTooLong)
			}
			i++
			if _, ok := end(i); !ok && text[i] != ',' {
				return fault(i, extract.RuleTextAfterQuote)
			}
		} else {
			for {
				if _, ok := end(i); ok || text[i] == ',' {
					break
				}
				if text[i] == '"' {
					if strings.Trim(cell.String(), " \t") == "" {
						return fault(i, extract.RuleQuoteAfterBlank)
					}
					return fault(i, extract.RuleBareQuote)
				}
				cell.WriteByte(text[i])
				i++
			}
		}
		cells = append(cells, cell.String())
		if n, ok := end(i); ok {
			if length(i, n) {
				return nil, 0, extract.RuleRecordTooLong
			}
			return cells, i + n, ""
		}
		i++
	}
}

func specifiedChecks(cells []string, columns int, o Options) string {
	if len(cells) > o.MaxColumns {
		return extract.RuleTooManyColumns
	}
	if len(cells) != columns {
		return extract.RuleRaggedRow
	}
	all := strings.Join(cells, "")
	if strings.Contains(all, "\x00") {
		return extract.RuleNULByte
	}
	for _, c := range cells {
		if len(c) > o.MaxField {
			return extract.RuleFieldTooLong
		}
	}
	for _, c := range cells {
		if !utf8.ValidString(c) {
			return extract.RuleInvalidEncoding
		}
	}
	return ""
}

// checkAgainstSpec reads a text in one shard and in many, and compares.
func checkAgainstSpec(t interface {
	Context() context.Context
	Fatal(...any)
	Fatalf(string, ...any)
}, dir, body string, o Options) {
	const header = "a,b,c\n"
	o.Dir, o.Name, o.Files = dir, "ehr", []string{"t.csv"}
	if err := os.WriteFile(filepath.Join(dir, "t.csv"), []byte(header+body), 0o600); err != nil {
		t.Fatal(err)
	}
	want := specified(body, 3, o)
	sum := sha256.Sum256([]byte(header + body))
	for _, size := range []int64{1 << 40, 1, 2, 3, 5, 17, 64} {
		o.ShardSize = size
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		tables, err := s.Tables(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		shards, err := s.Shards(t.Context(), tables[0])
		if err != nil {
			t.Fatal(err)
		}
		var got []extracttest.Row
		var bytesRead int64
		for _, shard := range shards {
			var done extract.Digest
			rows, err := extracttest.ShardRows(t.Context(), s, shard, &done)
			if err != nil {
				t.Fatal(err)
			}
			if shard.FirstOrdinal != int64(len(got))+1 {
				t.Fatalf("shards of %d bytes: shard %d begins with ordinal %d after %d records", size, shard.Index, shard.FirstOrdinal, len(got))
			}
			got = append(got, rows...)
			bytesRead += done.Bytes
			if len(shards) == 1 && done.Sum != sum {
				t.Fatal("the digest is not that of the file")
			}
		}
		if bytesRead != int64(len(header)+len(body)) {
			t.Fatalf("shards of %d bytes: %d bytes read of %d", size, bytesRead, len(header)+len(body))
		}
		for i := range got {
			got[i].Column = ""
		}
		if reflect.DeepEqual(want, got) { // cmp is slow where nothing differs
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q in shards of %d bytes (-specified +read):\n%s", body, size, diff)
		}
	}
}

var tinyCaps = Options{MaxField: 12, MaxRecord: 40, MaxColumns: 5}

// Whatever the bytes: records, faults, lines and ordinals are as specified, in shards of any size.
func TestAnyTextIsReadAsSpecified(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{`"`, `"`, `""`, ",", ",", "\n", "\n", "\r\n", "\r", "x", "yz", " ", "\x00",
			"\xff", "ü", "1,2,3\n", `"1",2,"3"` + "\n", "\"a\nb\",2,3\n", "12345678901234567890"}), 0, 60).Draw(t, "parts")
		o := tinyCaps
		if rapid.Bool().Draw(t, "wide caps") {
			o = Options{MaxField: 1 << 20, MaxRecord: 1 << 20, MaxColumns: 100}
		}
		checkAgainstSpec(t, dir, strings.Join(parts, ""), o)
	})
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "1,2,3\n", "\"1\n2\",3,4\r\n", "1,\"2\n3,4,5\n", "\"\"\"\",\" \n", "1,2\n\x00,\xff,\"x\"y\n",
		"\"x,\"\n\",x,\"\n\",x,\"\n\",x,\"\n"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body string, tiny bool) {
		if len(body) > 500 {
			return // a shard per line: a large text only takes longer
		}
		o := Options{MaxField: 1 << 20, MaxRecord: 1 << 20, MaxColumns: 100}
		if tiny {
			o = tinyCaps
		}
		checkAgainstSpec(t, dir, body, o)
	})
}

// What encoding/csv writes, we read as encoding/csv does.
func TestValidTextIsReadAsEncodingCSVDoes(t *testing.T) {
	cell := rapid.StringOfN(rapid.RuneFrom([]rune("aü😀 ,\"'\n\r;\t")), 0, 12, -1)
	rapid.Check(t, func(rt *rapid.T) {
		table := rapid.SliceOfN(rapid.SliceOfN(cell, 3, 3), 0, 20).Draw(rt, "rows")
		crlf := rapid.Bool().Draw(rt, "crlf")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		w.UseCRLF = crlf
		if err := w.WriteAll(append([][]string{{"a", "b", "c"}}, table...)); err != nil {
			rt.Fatal(err)
		}
		var want [][]string
		for r := csv.NewReader(bytes.NewReader(b.Bytes())); ; {
			record, err := r.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				rt.Fatal(err)
			}
			want = append(want, record)
		}
		for _, size := range []int64{1, 30, 1 << 30} {
			var got [][]string
			for _, row := range rows(t, b.String(), Options{ShardSize: size}) {
				if row.Rule != "" {
					rt.Fatalf("line %d is refused: %s", row.Line, row.Rule)
				}
				for i, c := range row.Cells { // encoding/csv turns CRLF inside a field into LF
					row.Cells[i] = strings.ReplaceAll(c, "\r\n", "\n")
				}
				got = append(got, row.Cells)
			}
			if diff := cmp.Diff(want[1:], slices.Clip(got)); diff != "" && len(want)+len(got) > 1 {
				rt.Fatalf("(-encoding/csv +ours)\n%s", diff)
			}
		}
	})
}

// The window is much smaller than the file and every record crosses it somewhere.
func TestRecordsCrossTheBuffer(t *testing.T) {
	var b strings.Builder
	b.WriteString("a,b,c\n")
	var want [][]string
	for i := range 3000 {
		cells := []string{strings.Repeat("x", i%997), strings.Repeat("y,\n", i%211), strings.Repeat(`"`, i%53)}
		want = append(want, cells)
		b.WriteString(cells[0] + ",\"" + cells[1] + "\",\"" + strings.Repeat(`""`, i%53) + "\"\r\n")
	}
	for _, size := range []int64{100, 100_000, 1 << 30} {
		var got [][]string
		for _, row := range rows(t, b.String(), Options{ShardSize: size}) {
			got = append(got, row.Cells)
		}
		if !slices.EqualFunc(want, got, slices.Equal) {
			t.Errorf("shards of %d bytes: %d rows differ from what was written", size, len(got))
		}
	}
}

// Bytes that are looked for ahead of the records are not lost when the window moves on.
func TestNULFarIntoAFile(t *testing.T) {
	var b strings.Builder
	b.WriteString("a,b\n")
	const rowsInFile, every = 60_000, 997
	for i := range rowsInFile {
		if i%every == every-1 {
			b.WriteString("some,\x00text\n")
		} else {
			b.WriteString("some,text\n")
		}
	}
	for i, r := range rows(t, b.String(), Options{}) {
		if refused := r.Rule == extract.RuleNULByte; refused != (i%every == every-1) {
			t.Fatalf("line %d has rule %q", r.Line, r.Rule)
		}
	}
}

// endless is a line without an end.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(p), e.left)
	for i := range p[:n] {
		p[i] = 'x'
	}
	e.left -= n
	return n, nil
}

// The buffer stays near the cap on records, however long a line or a quoted field is.
func TestMemoryIsBoundedByTheCap(t *testing.T) {
	s, err := Open(Options{Name: "ehr", Files: []string{"property_test.go"}, MaxRecord: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range map[string]io.Reader{
		"line":  &endless{left: 50 << 20},
		"quote": io.MultiReader(strings.NewReader("\"\n"), &endless{left: 50 << 20}),
	} {
		sp := newSplitter(s.form(), in, -1)
		for {
			ok, err := sp.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if sp.rule != extract.RuleRecordTooLong {
				t.Errorf("%s: rule %q", name, sp.rule)
			}
		}
		if most := 1<<20 + 2*firstBuffer; len(sp.buf) > most {
			t.Errorf("%s: the buffer has grown to %d bytes, want at most %d", name, len(sp.buf), most)
		}
	}
}
