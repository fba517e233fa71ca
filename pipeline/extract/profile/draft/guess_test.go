package draft

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/encoding/unicode"
)

func TestGuessedSources(t *testing.T) {
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String("ID;NAME\r\n1;Zoë\r\n2;Max\r\n")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write([]byte("ID\tNAME\n1\tZoe\n2\tMax\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"plain/a.csv": "ID,NAME\n1,Zoë\n2,Max\n", "plain/b.csv": "ID,NAME\n1,Zoe\n2,Max\n",
		"mixed/a.csv": "ID;NAME\n1;Zo\xeb\n2;Max\n", "mixed/b.csv": "ID,NAME\n1,Zoe\n2,Max\n", "mixed/c.txt": utf16, "mixed/notes.md": "no table",
		"packed/a.tsv.gz": packed.String(), "odd/a.bin": "x", "odd/bare.csv": "1,Zoe\n2,Max\n",
		"book/labs.xlsx": "not looked at here", "esc/a.csv": "ID,NAME,X\n1,a\\,b,x\n2,c,x\n3,d,x\n", "mac/a.csv": "ID,NAME\r1,a\r2,b\r",
		"dump/a-data.sql": "INSERT INTO `visits` VALUES ('\xfa\xce');\n", "dump/schema.sql": "CREATE TABLE `visits` (id INT) ENGINE=InnoDB;\n", "odd/a.sql": "SELECT 1;", "none/x.md": "",
	}
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CHARTLIFT_TEST_DSN", "postgres://secret@nowhere/legacy")
	t.Setenv("CHARTLIFT_TEST_ODD_DSN", "secret")
	for _, c := range []struct {
		name, want, fault string
	}{
		{name: "plain", want: "  legacy:\n    csv: ../plain/*.csv\n"},
		{name: "plain/a.csv", want: "  legacy:\n    csv: ../plain/a.csv\n"},
		{name: "plain/?.csv", want: "  legacy:\n    csv: \"../plain/?.csv\"\n"},
		{name: "mixed", want: `  legacy:
    csv: ../mixed/a.csv
    # guess: encoding, as the text is not UTF-8: others may read it too, so look at some names; delimiter, as the cells of most records agree
    encoding: windows-1252  # guess
    delimiter: ";"  # guess
  legacy-2:
    csv: ../mixed/b.csv
  legacy-3:
    csv: ../mixed/c.txt
    # guess: encoding by the mark at the start of the file; delimiter, as the cells of most records agree
    encoding: utf-16  # guess
    delimiter: ";"  # guess
`},
		{name: "packed", want: "  legacy:\n    csv: ../packed/*.gz\n    # guess: delimiter, as the cells of most records agree\n    delimiter: tab  # guess\n"},
		{name: "esc", want: "  legacy:\n    csv: ../esc/*.csv\n    # guess: escape, as the cells of most records agree\n    escape: backslash  # guess\n"},
		{name: "mac", want: "  legacy:\n    csv: ../mac/*.csv\n    # guess: line ends, as there are no others\n    line-end: cr  # guess\n"},
		{name: "dump", want: "  legacy:\n    dump:\n      - ../dump/schema.sql\n      - ../dump/a-data.sql\n    # guess: dialect, by words that only it has\n    dialect: mysql  # guess\n"},
		{name: "odd/a.sql", fault: "its dialect cannot be told"},
		{name: "book/labs.xlsx", want: "  legacy:\n    workbook: ../book/labs.xlsx\n"},
		{name: "env:CHARTLIFT_TEST_DSN", want: "  legacy:\n    postgres: \"${CHARTLIFT_TEST_DSN}\"\n"},
		{name: "env:CHARTLIFT_TEST_ODD_DSN", fault: "the DSN must begin with"},
		{name: "env:CHARTLIFT_TEST_NO_DSN", fault: "the environment variable is not set"},
		{name: "odd/a.bin", fault: "its name does not tell what it is"},
		{name: "odd/bare.csv", fault: "does not look like names of columns"},
		{name: "none", fault: "no file in this folder ends in"},
		{name: "absent/*.csv", fault: "no such file"},
		{name: "plain/[", fault: "syntax error in pattern"},
	} {
		name := c.name
		if !strings.HasPrefix(name, "env:") {
			name = filepath.Join(root, filepath.FromSlash(name))
		}
		got, err := Sources([]string{name}, filepath.Join(root, "plan"))
		switch {
		case c.fault != "":
			if err == nil || !strings.Contains(err.Error(), c.fault) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, wanted %s", c.name, err, c.fault)
			}
		case err != nil:
			t.Errorf("%s: %v", c.name, err)
		default:
			if diff := cmp.Diff(c.want, YAML(got, "")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	}
}

func TestScalarsAndNames(t *testing.T) {
	for in, want := range map[string]string{
		"visits": "visits", "Lab Results": "Lab Results", "null": `"null"`, "a: b": `"a: b"`, "#x": `"#x"`, "": `""`, "2024": `"2024"`, `q"`: `"q\""`, "*x": `"*x"`, "{a": `"{a"`, "ü": `"ü"`, "a\nb": `"a\nb"`, "<b>": `"<b>"`,
	} {
		if got := scalar(in); got != want {
			t.Errorf("scalar(%q) is %s, wanted %s", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"MRN": "MRN", "LAST NAME": "`LAST NAME`", "day": "`day`", "a`b": "`a\\`b`", `a\b`: "`a\\\\b`", `a"b`: "`a\"b`", "ü": "`ü`", "1a": "`1a`",
	} {
		if got := name(in); got != want {
			t.Errorf("name(%q) is %s, wanted %s", in, got, want)
		}
	}
	for in, want := range map[string]string{"Riverside 2026": "Riverside-2026", "..x": "x", "": "migration", "ü": "migration", strings.Repeat("a", 80): strings.Repeat("a", 64)} {
		if got := Migration(in); got != want {
			t.Errorf("Migration(%q) is %s, wanted %s", in, got, want)
		}
	}
}
