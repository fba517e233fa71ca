package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tablesCase is a folder with a plan whose source s has those keys, files, and a mapping of table people to Patient.
func tablesCase(t *testing.T, source string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["migration.yaml"] = "migration: m\nsources:\n  s:\n" + source + "mappings: [./mappings]\nphi: {policy: identified, delivery: identified}\n"
	files["mappings/person.yaml"] = `from: people
to: Patient
key: [id]
patient: self
resource:
  identifier: {system: 'urn:made-up', value: = id}
  name: {family: = name}
`
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// families exports what a plan makes of its tables and lists the names.
func families(t *testing.T, dir string) (names []string, code int) {
	t.Helper()
	t.Chdir(dir)
	var out, faults bytes.Buffer
	do := func(args ...string) int { return chartlift(t.Context(), args, strings.NewReader(""), &out, &faults) }
	if code := do("keys", "init"); code != 0 {
		t.Fatal(faults.String())
	}
	if code = do("dry-run", "-q"); code == 2 {
		t.Fatal(faults.String())
	}
	do("export", "-q", "-o", "out", "--identified")
	text, err := os.ReadFile(filepath.Join("out", "Patient.ndjson"))
	if err != nil {
		t.Fatal(err, faults.String())
	}
	for line := range strings.Lines(string(text)) {
		var p struct{ Name []struct{ Family string } }
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		name := "" // blank
		if len(p.Name) > 0 {
			name = p.Name[0].Family
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, code
}

func TestTablesAsTheyAreWritten(t *testing.T) {
	parts := func() map[string]string {
		return map[string]string{"export/people-1.csv": "id,name\n1,Oak\n2,Elm\n", "export/people-2.csv": "id,name\n3,Ash\n"}
	}
	one := func(text string) map[string]string { return map[string]string{"export/people.csv": text} }
	for _, c := range []struct {
		name, source string
		files        map[string]string
		want         []string
		code         int
	}{
		{"parts named under tables", "    csv: export/*.csv\n    tables: {people: people-*.csv}\n", parts(), []string{"Ash", "Elm", "Oak"}, 0},
		{"parts under files", "    csv: export/*.csv\n    tables: {people: {files: [export/people-1.csv, export/people-2.csv]}}\n", parts(), []string{"Ash", "Elm", "Oak"}, 0},
		{"a table for a glob", "    csv: {people: export/people-*.csv}\n", parts(), []string{"Ash", "Elm", "Oak"}, 0},
		{"several characters", "    csv: export/*.csv\n    delimiter: \"||\"\n", one("id||name\n1||O|ak\n"), []string{"O|ak"}, 0},
		{"a NUL that is dropped is told", "    csv: export/*.csv\n    control: drop\n", one("id,name\n1,O\x00ak\n"), []string{"Oak"}, 3},
		{"quotes after blanks", "    csv: export/*.csv\n    quotes: after blanks\n", one("id,name\n1, \"Oak\"\n"), []string{"Oak"}, 0},
		{"a header among the data", "    csv: export/*.csv\n", one("id,name\n1,Oak\nid,name\n2,Elm\n"), []string{"Elm", "Oak"}, 3},
		{"a code in scientific notation", "    csv: export/*.csv\n", one("id,name\n1.23457E+11,Oak\n"), []string{"Oak"}, 3},
		{"blank in every column", "    csv: export/*.csv\n    blank: [\"NULL\"]\n", one("id,name\n1,NULL\n2,Oak\n"), []string{"", "Oak"}, 0},
		{"blank in another column only", "    csv: export/*.csv\n    blank: {people.id: [\"NULL\"]}\n", one("id,name\n1,NULL\n2,Oak\n"), []string{"NULL", "Oak"}, 0},
		{"blank in this column, by table", "    csv: export/*.csv\n    blank: {people: {name: [\"NULL\"]}}\n", one("id,name\n1,NULL\n2,Oak\n"), []string{"", "Oak"}, 0},
		{"blank in every column and in this", "    csv: export/*.csv\n    blank: {\"*\": [\"-\"], people.name: [\"NULL\"]}\n", one("id,name\n1,NULL\n2,-\n3,Oak\n"), []string{"", "", "Oak"}, 0},
		{"Ctrl-Z and sep=", "    csv: export/*.csv\n    delimiter: \";\"\n", one("sep=;\r\nid;name\r\n1;Oak\r\n\x1a"), []string{"Oak"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, code := families(t, tablesCase(t, c.source, c.files))
			if !slices.Equal(got, c.want) || code != c.code {
				t.Errorf("made %q with exit code %d, want %q with %d", got, code, c.want, c.code)
			}
		})
	}
}
