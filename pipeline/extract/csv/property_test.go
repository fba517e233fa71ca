package csv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
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

// specification is the rule of the package comment, byte by byte and without a thought for speed.
type specification struct {
	Options
	text     string
	columns  int
	stuck    int  // how far a search has looked that came to nothing
	last     bool // the record just parsed ends with the text, without a line end
	comments int64
}

// rows is what comes of the text, whose first line has that number.
func (s *specification) rows(line int64) []extracttest.Row {
	var rows []extracttest.Row
	for at := 0; at < len(s.text); {
		first := s.text[at:]
		if i := strings.IndexByte(first, '\n'); i >= 0 {
			first = first[:i+1]
		}
		bare := strings.TrimSuffix(first, "\n")
		if comment := s.Comment != 0 && bare != "" && bare[0] == byte(s.Comment); comment || strings.TrimSuffix(bare, "\r") == "" {
			if comment {
				s.comments++
			}
			at += len(first)
			line++
			continue
		}
		var cells []string
		var rule string
		used := len(first)
		switch {
		case len(bare) > s.MaxRecord:
			rule = extract.RuleRecordTooLong
		case s.Fixed != nil:
			cells, rule = s.fixed(strings.TrimSuffix(bare, "\r"), first == bare)
		default:
			var whole int
			cells, whole, rule = s.record(at, len(bare))
			if whole > 0 {
				used = whole
			}
		}
		if rule == "" && s.Fixed == nil {
			cells, rule = s.count(cells)
		}
		if rule == "" {
			rule = s.check(cells)
		}
		row := extracttest.Row{Table: "t", Line: line, Ordinal: int64(len(rows)) + 1, Rule: rule}
		if rule == "" {
			row.Cells = cells
		}
		rows = append(rows, row)
		line += int64(strings.Count(s.text[at:at+used], "\n"))
		at += used
	}
	return rows
}

// record parses the record that starts at from, whose first physical line is that long. used is 0 if its quotes are not
// in order, so that only that line is refused.
func (s *specification) record(from, first int) (cells []string, used int, rule string) {
	text := s.text[from:]
	var pending string // a fault that does not change where the record ends
	broken := func(i int, rule string) ([]string, int, string) {
		switch {
		case i <= first && pending != "":
			return nil, 0, pending
		case i <= first:
			return nil, 0, rule
		case from+first < s.stuck:
			s.stuck = max(s.stuck, from+i+1)
			return nil, 0, extract.RuleUnterminatedQuote
		case i > s.MaxRecord:
			s.stuck = max(s.stuck, from+s.MaxRecord+2)
			return nil, 0, extract.RuleRecordTooLong
		}
		s.stuck = max(s.stuck, from+i+1)
		return nil, 0, extract.RuleUnterminatedQuote
	}
	// end returns the length of a line end at i, with the end of the text as one.
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
	is := func(i int, r rune) bool { return i < len(text) && r > 0 && text[i] == byte(r) }
	i := 0
	for {
		var cell strings.Builder
		// escape reads an escape at i.
		escape := func(quoted bool) {
			note := func(rule string) {
				if pending == "" {
					pending = rule
				}
			}
			i++
			done := func() bool {
				if quoted {
					return is(i+1, s.Quote)
				}
				_, ok := end(i + 1)
				return ok || is(i+1, s.Delimiter)
			}
			switch {
			case i >= len(text):
				note(extract.RuleUnknownEscape)
				return
			case strings.HasPrefix(text[i:], "\r\n"):
				cell.WriteByte('\r')
				i++
			case is(i, s.Delimiter), is(i, s.Quote), is(i, s.Escape), is(i, s.Comment), is(i, '\r'), is(i, '\n'):
			case is(i, '0'):
				note(extract.RuleNULByte)
			case is(i, 'N') && cell.Len() == 0 && done():
				cell.WriteByte(byte(s.Escape))
			default:
				note(extract.RuleUnknownEscape)
			}
			cell.WriteByte(text[i])
			i++
		}
		if is(i, s.Quote) {
			for i++; ; {
				if i >= len(text) {
					return broken(i, extract.RuleUnterminatedQuote)
				}
				if is(i, s.Escape) {
					escape(true)
					continue
				}
				if is(i, s.Quote) {
					if !is(i+1, s.Quote) {
						break
					}
					i++
				}
				cell.WriteByte(text[i])
				i++
			}
			if i > s.MaxRecord {
				return broken(i, extract.RuleRecordTooLong)
			}
			i++
			if _, ok := end(i); !ok && !is(i, s.Delimiter) {
				return broken(i, extract.RuleTextAfterQuote)
			}
		} else {
			blanks := true
			for {
				if _, ok := end(i); ok || is(i, s.Delimiter) {
					break
				}
				if is(i, s.Escape) {
					escape(false)
					blanks = false
					continue
				}
				if is(i, s.Quote) && blanks {
					return broken(i, extract.RuleQuoteAfterBlank)
				}
				if is(i, s.Quote) && !s.QuoteAtStart {
					return broken(i, extract.RuleBareQuote)
				}
				blanks = blanks && (text[i] == ' ' || text[i] == '\t')
				cell.WriteByte(text[i])
				i++
			}
		}
		cells = append(cells, cell.String())
		if n, ok := end(i); ok {
			whole := i + n
			if n > 0 && text[whole-1] == '\n' {
				whole--
			}
			if whole > s.MaxRecord || whole > first && from+first < s.stuck {
				return broken(whole, extract.RuleRecordTooLong)
			}
			s.last = n == 0 || text[i+n-1] != '\n'
			return cells, i + n, pending
		}
		i++
	}
}

func (s *specification) count(cells []string) ([]string, string) {
	blank := func(c string) bool { return strings.Trim(c, " ") == "" }
	switch {
	case len(cells) > s.MaxColumns:
		return nil, extract.RuleTooManyColumns
	case len(cells) == s.columns:
		return cells, ""
	case len(cells) > s.columns && s.ExtraBlank && !slices.ContainsFunc(cells[s.columns:], func(c string) bool { return !blank(c) }):
		return cells[:s.columns], ""
	case len(cells) < s.columns && s.MissingBlank && !s.last:
		return append(cells, make([]string, s.columns-len(cells))...), ""
	}
	return nil, extract.RuleRaggedRow
}

func (s *specification) check(cells []string) string {
	if strings.Contains(strings.Join(cells, ""), "\x00") {
		return extract.RuleNULByte
	}
	for _, c := range cells {
		if len(c) > s.MaxField {
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

// fixed splits a line by the layout, whose columns the tests list in order.
func (s *specification) fixed(text string, last bool) ([]string, string) {
	if !utf8.ValidString(text) {
		return nil, extract.RuleInvalidEncoding
	}
	line, at := []rune(text), 0
	take := func(n int) string {
		part := line[min(at, len(line)):min(at+n, len(line))]
		at += n
		return string(part)
	}
	var cells []string
	for _, f := range s.Fixed {
		if strings.Trim(take(f.Start-1-at), " ") != "" {
			return nil, extract.RuleTextBetweenColumns
		}
		cell := take(f.Length)
		if at > len(line) && (last || !s.MissingBlank) {
			return nil, extract.RuleShortLine
		}
		cells = append(cells, strings.TrimRight(cell, " "))
	}
	if rest := take(len(line)); rest != "" && (!s.ExtraBlank || strings.Trim(rest, " ") != "") {
		return nil, extract.RuleLongLine
	}
	return cells, ""
}

// checkAgainstSpec reads a text in one shard and in many, and compares.
func checkAgainstSpec(t interface {
	Context() context.Context
	Fatal(...any)
	Fatalf(string, ...any)
}, dir, body string, o Options) {
	const skipped = "\"not, \\ looked at\n"
	o.Dir, o.Name, o.Files, o.Skip, o.Header = dir, "ehr", []string{"t.csv"}, 1, NoHeader
	if o.Fixed == nil {
		o.Columns = []string{"a", "b", "c"}
	}
	if err := os.WriteFile(filepath.Join(dir, "t.csv"), []byte(skipped+body), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := &specification{Options: o, text: body, columns: 3}
	want := spec.rows(2)
	sum := sha256.Sum256([]byte(skipped + body))
	for _, size := range []int64{1 << 40, 1, 2, 3, 5, 17, 64} {
		o.ShardSize = size
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		shards := extracttest.Shards(t, s)
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
		if bytesRead != int64(len(skipped)+len(body)) {
			t.Fatalf("shards of %d bytes: %d bytes read of %d", size, bytesRead, len(skipped)+len(body))
		}
		if n := s.Comments("t"); n != spec.comments {
			t.Fatalf("shards of %d bytes: %d comments were counted, want %d", size, n, spec.comments)
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

// dialect makes options of a number, one bit for each choice.
func dialect(bits uint16) Options {
	o := Options{Delimiter: ',', Quote: '"', MaxField: 1 << 20, MaxRecord: 1 << 20, MaxColumns: 100}
	on := func(i int) bool { return bits>>i&1 != 0 }
	if on(0) {
		o.MaxField, o.MaxRecord, o.MaxColumns = 12, 40, 5
	}
	if on(1) {
		o.Comment = '#'
	}
	o.ExtraBlank, o.MissingBlank = on(2), on(3)
	if on(4) && on(5) && on(6) {
		o.Fixed = []Field{{"a", 1, 2}, {"b", 4, 3}, {"c", 7, 1}}
		o.Delimiter, o.Quote = 0, 0
		return o
	}
	if on(4) {
		o.Escape = '\\'
	}
	o.QuoteAtStart = on(5)
	if on(6) {
		o.Quote, o.QuoteAtStart = NoQuote, false
	}
	if on(7) {
		o.Delimiter = ';'
	}
	if on(8) && o.Quote != NoQuote {
		o.Quote = '\''
	}
	return o
}

// Whatever the bytes and the dialect: records, faults, lines and ordinals are as specified, in shards of any size, and
// each line that holds anything is in exactly one record or a comment.
func TestAnyTextIsReadAsSpecified(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		o := dialect(rapid.Uint16Range(0, 511).Draw(t, "dialect"))
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{`"`, `"`, `""`, ",", ",", "\n", "\n", "\r\n", "\r", "x", "yz", " ", "\x00",
			"\xff", "ü", "1,2,3\n", `"1",2,"3"` + "\n", "\"a\nb\",2,3\n", "12345678901234567890", `\`, `\`, `\N`, `\\`, "#", "\n#",
			`x","y` + "\n", "12 345z\n", "1  2  z  \n", ",,"}), 0, 60).Draw(t, "parts")
		text := strings.Join(parts, "")
		if o.Delimiter == ';' {
			text = strings.ReplaceAll(text, ",", ";")
		}
		if o.Quote == '\'' {
			text = strings.ReplaceAll(text, `"`, "'")
		}
		checkAgainstSpec(t, dir, text, o)
	})
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"", "1,2,3\n", "\"1\n2\",3,4\r\n", "1,\"2\n3,4,5\n", "\"\"\"\",\" \n", "1,2\n\x00,\xff,\"x\"y\n",
		"\"x,\"\n\",x,\"\n\",x,\"\n\",x,\"\n", "1,\\\n2,\\N\n", "#x\n1,2\"3,4\n", "12 345z\n1\n"} {
		for _, bits := range []uint16{0, 1, 2 + 16, 4 + 8, 32, 32 + 16 + 1, 64, 64 + 16, 112, 112 + 12, 128 + 256} {
			f.Add(seed, bits)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body string, bits uint16) {
		if len(body) > 500 {
			return // a shard per line: a large text only takes longer
		}
		checkAgainstSpec(t, dir, body, dialect(bits))
	})
}

// UTF-16 is cut between characters, half pairs and a mark included: the shards hold what the whole file does, and all of
// its bytes.
func TestAnyUTF16IsReadInShards(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		o := Options{Name: "ehr", Dir: dir, Files: []string{"t.csv"}, Header: NoHeader, Columns: []string{"a", "b"}}
		o.Encoding = rapid.SampledFrom([]string{"utf-16", "utf-16le", "utf-16be"}).Draw(t, "encoding")
		little := o.Encoding == "utf-16le"
		var raw []byte
		put := func(units ...uint16) {
			for _, u := range units {
				if little {
					raw = binary.LittleEndian.AppendUint16(raw, u)
				} else {
					raw = binary.BigEndian.AppendUint16(raw, u)
				}
			}
		}
		if rapid.Bool().Draw(t, "mark") {
			little = little || o.Encoding == "utf-16" && rapid.Bool().Draw(t, "little")
			put(0xFEFF)
		}
		for _, u := range rapid.SliceOfN(rapid.SampledFrom([][]uint16{{'a'}, {','}, {'"'}, {'\n'}, {'\n'}, {'\r'}, {'ü'}, {'€'},
			{0xFFFD}, {0xD83D}, {0xDE00}, {0xD83D, 0xDE00}, {0xFEFF}}), 0, 60).Draw(t, "units") {
			put(u...)
		}
		if rapid.Bool().Draw(t, "half a unit") {
			raw = append(raw, 'x')
		}
		if err := os.WriteFile(filepath.Join(dir, "t.csv"), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		var whole []extracttest.Row
		for _, o.ShardSize = range []int64{1 << 20, 1, 3, 16} {
			s, err := Open(o)
			if err != nil {
				t.Fatal(err)
			}
			shards := extracttest.Shards(t, s)
			var got []extracttest.Row
			var read int64
			for _, shard := range shards {
				var done extract.Digest
				rows, err := extracttest.ShardRows(t.Context(), s, shard, &done)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, rows...)
				read += done.Bytes
			}
			if read != int64(len(raw)) {
				t.Fatalf("shards of %d bytes: %d bytes read of %d", o.ShardSize, read, len(raw))
			}
			if o.ShardSize == 1<<20 {
				whole = got
			} else if diff := cmp.Diff(whole, got); diff != "" {
				t.Fatalf("%x in shards of %d bytes (-whole +shards):\n%s", raw, o.ShardSize, diff)
			}
		}
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
		sp := newSplitter(s.form("t"), in, -1)
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
