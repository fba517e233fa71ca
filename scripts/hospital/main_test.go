package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const fixture = "../../fixtures/riverside"

// The fixture is what the program writes. Run `go run ./scripts/hospital -o fixtures/riverside` after a change.
func TestFixtureIsUpToDate(t *testing.T) {
	dir := t.TempDir()
	if code := run([]string{"-o", dir}, io.Discard); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	made, err := filepath.Glob(filepath.Join(dir, "export", "*"))
	if err != nil || len(made) != 9 {
		t.Fatalf("%d tables made, want 9 (%v)", len(made), err)
	}
	kept, err := filepath.Glob(filepath.Join(fixture, "export", "*"))
	if err != nil || len(kept) != len(made) {
		t.Errorf("%d tables in the fixture, %d made (%v)", len(kept), len(made), err)
	}
	for _, name := range append(made, filepath.Join(dir, "expected.json")) {
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(fixture, rel))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the program writes", rel)
		}
	}
}

// Each planted fault lies where expected.json says, by a reader that knows nothing of how the tables were made.
func TestPlacesAreRight(t *testing.T) {
	h := newHospital()
	marks := map[string]string{ // something of the planted record that no other record of its table has at that line
		"test patient": "ZZTEST", "died before birth": "R900002", "dropped-reference": "D77", "missing-reference": "R999999",
		"discharged before admitted": "08/08/2024 11:00", "bad-date": "02/30/2024", "invalid-encoding": "\xe9", "ragged-row": "Lisinopril, 10",
		"ended before started": "06/10/2024", "bad-number": "13,4", "unreadable unit": "mg%%", "nonexistent-time": "03/09/2025 02:30",
		"ambiguous-time": "11/03/2024 01:15", "implausible potassium": ",45,", "required-empty": "FLU,Influenza shot,,", "duplicate-key": "05/07/2024 10:00",
	}
	lines := map[string][]string{}
	for _, table := range h.tables() {
		lines[table.name] = strings.Split(string(table.bytes()), "\n")
	}
	all := append(append(append([]planted{}, h.refused...), h.skipped...), h.findings...)
	if len(h.refused) < 8 {
		t.Errorf("%d refusals planted, want 8 or more", len(h.refused))
	}
	for _, p := range all {
		mark := marks[p.Rule]
		if p.Rule == "unmapped-code" {
			mark = map[string]string{"allergies": "A77", "prescriptions": "OLD17"}[p.Table]
		}
		if mark == "" {
			t.Errorf("%s: the test knows no mark of it", p.Rule)
			continue
		}
		found := 0
		for i, line := range lines[p.Table] {
			if strings.Contains(line, mark) {
				found++
				if i+1 != p.Line {
					t.Errorf("%s: %s:%d, want %s:%d", p.Rule, p.Table, i+1, p.Table, p.Line)
				}
			}
		}
		if found != 1 {
			t.Errorf("%s: %d lines of %s look like it", p.Rule, found, p.Table)
		}
	}
}

// Nothing but what was planted is wrong: keys are there once, and references lead somewhere.
func TestTheRestIsSound(t *testing.T) {
	h := newHospital()
	bad := map[string]map[int]bool{}
	for _, p := range append(append(append([]planted{}, h.refused...), h.skipped...), h.findings...) {
		if bad[p.Table] == nil {
			bad[p.Table] = map[int]bool{}
		}
		bad[p.Table][p.Line] = true
	}
	rows := map[string][]map[string]string{}
	for _, table := range h.tables() {
		r := csv.NewReader(bytes.NewReader(table.bytes()))
		r.FieldsPerRecord = -1
		header, err := r.Read()
		if err != nil {
			t.Fatal(err)
		}
		for {
			cells, err := r.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if line, _ := r.FieldPos(0); bad[table.name][line] {
				continue
			}
			if len(cells) != len(header) {
				t.Errorf("%s: a row has %d cells, want %d", table.name, len(cells), len(header))
				continue
			}
			row := map[string]string{}
			for i, c := range cells {
				row[header[i]] = c
			}
			rows[table.name] = append(rows[table.name], row)
		}
	}
	keys := map[string]map[string]bool{}
	for table, column := range map[string]string{"departments": "DEPT", "doctors": "DOCTOR", "patients": "MRN", "visits": "VISIT_NO", "problems": "PROBLEM_NO",
		"allergies": "ALLERGY_NO", "prescriptions": "RX_NO", "results": "RESULT_NO"} {
		keys[column] = map[string]bool{}
		for _, row := range rows[table] {
			if keys[column][row[column]] {
				t.Errorf("%s: a second %s", table, column)
			}
			keys[column][row[column]] = true
		}
	}
	for table, list := range rows {
		for _, row := range list {
			for _, column := range []string{"MRN", "VISIT_NO", "DOCTOR", "DEPT"} {
				value, has := row[column]
				if has && value != "" && value != "NULL" && !keys[column][value] {
					t.Errorf("%s: %s leads nowhere", table, column)
				}
			}
		}
	}
	if n := len(rows["patients"]); n != patientCount {
		t.Errorf("%d sound patients, want %d", n, patientCount)
	}
}

func TestExpectedIsJSON(t *testing.T) {
	data, err := newHospital().expected()
	if err != nil {
		t.Fatal(err)
	}
	var e expectation
	if err := json.Unmarshal(data, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Target) != 3 || e.Tables["patients"] != patientCount+3 {
		t.Errorf("target %d, patients %d", len(e.Target), e.Tables["patients"])
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-x"}, {"extra"}} {
		if code := run(args, io.Discard); code != 2 {
			t.Errorf("%v: exit code %d, want 2", args, code)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"-o", file}, io.Discard); code != 1 {
		t.Errorf("a folder that cannot be made: exit code %d, want 1", code)
	}
}
