package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// The yardstick is honest: what comes out of its batches is, row by row, the canonical resource and the row.
func TestYardstickDoesTheWork(t *testing.T) {
	const rows = 2*rowsPerBatch + 77
	dir := t.TempDir()
	if err := generate(t.Context(), dir, &tables[2], rows); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "observations.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
	if len(lines) != rows {
		t.Fatalf("%d rows were generated, want %d", len(lines), rows)
	}
	y, err := newLoop(&tables[2])
	if err != nil {
		t.Fatal(err)
	}
	unpack, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	n, batches := 0, 0
	ids := map[string]bool{}
	other, err := newLoop(&tables[2]) // opens what y has sealed
	if err != nil {
		t.Fatal(err)
	}
	other.keys = y.keys
	y.keep = func(batch []byte) {
		batches++
		plain, err := y.batchOf.Open(nil, nil, batch, []byte("bench"))
		if err != nil {
			t.Fatal(err)
		}
		size := 4 + int(binary.LittleEndian.Uint32(plain))
		clinical, err := unpack.DecodeAll(plain[4:size], nil)
		if err != nil {
			t.Fatal(err)
		}
		sealed := plain[size:]
		for len(clinical) > 0 {
			var resource, phi []byte
			resource, clinical = frame(clinical)
			phi, sealed = frame(sealed)
			checkRow(t, other, lines[n], resource, phi, ids)
			n++
		}
		if len(sealed) > 0 {
			t.Errorf("%d bytes of sealed rows are left over", len(sealed))
		}
	}
	if err := y.run(t.Context(), bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if n != rows || batches != 3 || len(ids) != rows || y.resources != rows {
		t.Errorf("%d resources with %d ids in %d batches of %d rows", n, len(ids), batches, rows)
	}
}

func frame(b []byte) (first, rest []byte) {
	n := 4 + binary.LittleEndian.Uint32(b)
	return b[4:n], b[n:]
}

func checkRow(t *testing.T, y *loop, line string, resource, phi []byte, ids map[string]bool) {
	t.Helper()
	cells := strings.Split(line, ",")
	node, err := fhir.Parse(resource)
	if err != nil {
		t.Fatal(err)
	}
	if canonical := node.AppendCanonical(nil); !bytes.Equal(canonical, resource) {
		t.Fatalf("not canonical:\n%s\n%s", resource, canonical)
	}
	if v := node.Get("valueQuantity").Get("value"); v.Kind != fhir.Number || v.Text != cells[cValue] {
		t.Errorf("the value %q became %q", cells[cValue], v.Text)
	}
	if node.Get("effectiveDateTime").Str() != cells[cDate] || node.Get("code").Get("text").Str() != cells[cDescription] {
		t.Errorf("line %q became %s", line, resource)
	}
	ids[node.ID()] = true
	if err := y.open([]byte(cells[cPatient])); err != nil {
		t.Fatal(err)
	}
	aad := len("Observation/") + 32 + 32 + 16
	y.digest.Reset()
	y.digest.Write(resource)
	if !bytes.Equal(y.digest.Sum(nil)[:16], phi[aad-16:aad]) {
		t.Error("the digest is not that of the resource")
	}
	plain, err := y.sealer.Open(nil, nil, phi[aad:], phi[:aad])
	if err != nil {
		t.Fatal(err)
	}
	var row map[string]string
	if err := json.Unmarshal(plain, &row); err != nil {
		t.Fatal(err)
	}
	for i, name := range tables[2].columns {
		if row[name] != cells[i] {
			t.Errorf("column %s is %q, sealed as %q", name, cells[i], row[name])
		}
	}
}

func TestGeneratedTableIsTheSameEachTime(t *testing.T) {
	var texts [2]string
	for i := range texts {
		dir := t.TempDir()
		if err := generate(t.Context(), dir, &tables[2], 500); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"patients", "encounters", "observations"} {
			text, err := os.ReadFile(filepath.Join(dir, name+".csv"))
			if err != nil {
				t.Fatal(err)
			}
			texts[i] += string(text)
		}
	}
	if texts[0] != texts[1] {
		t.Error("two runs generate different tables")
	}
	seen, patients, last := map[string]bool{}, map[string]bool{}, ""
	for _, line := range strings.Split(strings.TrimSpace(texts[0][strings.Index(texts[0], "DATE,PATIENT"):]), "\n")[1:] {
		c := strings.Split(line, ",")
		if c[cPatient] != last && patients[c[cPatient]] {
			t.Error("the rows of a patient do not stand together")
		}
		last = c[cPatient]
		patients[last] = true
		key := c[cPatient] + c[cEncounter] + c[cCode] + c[cDate]
		if seen[key] {
			t.Errorf("the key of %q is there twice", line)
		}
		seen[key] = true
	}
}

func TestQuotedAndDecimal(t *testing.T) {
	for _, s := range []string{"", "a", `a"b\c`, "\x00\n\x1f", "ü"} {
		var back string
		if err := json.Unmarshal(quoted(nil, []byte(s)), &back); err != nil || back != s {
			t.Errorf("%q came back as %q, %v", s, back, err)
		}
	}
	for s, want := range map[string]bool{"0": true, "1.50": true, "-3": true, "10": true, "007": false, "1.": false, ".5": false,
		"": false, "-": false, "1e3": false, "1,5": false, "<1": false} {
		if decimal([]byte(s)) != want {
			t.Errorf("decimal(%q) is not %v", s, want)
		}
	}
}

func TestClean(t *testing.T) {
	for b := range 256 {
		for at := range 20 {
			line := bytes.Repeat([]byte{'x'}, 20)
			line[at] = byte(b)
			if needs := b < 0x20 || b == '"' || b == '\\'; needs && clean(line) {
				t.Errorf("byte %#x at %d needs an escape and was not seen", b, at)
			}
		}
	}
	if !clean([]byte("2021-08-23T03:26:50Z,593aaa05,Hemoglobin [Mass/volume] in Blood,ü,1.5")) {
		t.Error("an ordinary line takes the slow way")
	}
}

func TestTableOfFigures(t *testing.T) {
	var out bytes.Buffer
	for _, args := range [][]string{{"-rounds", "0"}, {"-rows", "x"}, {"-only", "nobody"}, {"-child", "nobody"}, {"-table", "nobody"}} {
		if err := bench(t.Context(), args, &out, &out); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	out.Reset()
	w, err := json.Marshal(workload{Table: filepath.Join(t.TempDir(), "none.csv"), TableName: "observations", Rows: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := bench(t.Context(), []string{"-child", "yardstick", string(w)}, &out, &out); err == nil {
		t.Error("a table that is not there was measured")
	}
}

// What the loops of the other tables write is canonical, of its type, and whole again with the piece that was taken out.
func TestYardstickOfEachTable(t *testing.T) {
	for i := range tables {
		x := &tables[i]
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := generate(t.Context(), dir, x, 100); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, x.name+".csv"))
			if err != nil {
				t.Fatal(err)
			}
			y, err := newLoop(x)
			if err != nil {
				t.Fatal(err)
			}
			ids := map[string]bool{}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
			for _, line := range lines {
				cells := make([][]byte, len(x.columns))
				if y.clean = clean([]byte(line)); !split([]byte(line), cells) {
					t.Fatal(line)
				}
				y.clinical = y.clinical[:0]
				if err := y.one(cells); err != nil {
					t.Fatal(err)
				}
				clinical, _ := frame(y.clinical)
				node, err := fhir.Parse(clinical)
				if err != nil {
					t.Fatalf("%s: %v", clinical, err)
				}
				if canonical := node.AppendCanonical(nil); !bytes.Equal(canonical, clinical) || node.ResourceType() != x.typ {
					t.Fatalf("not canonical, or not %s:\n%s\n%s", x.typ, clinical, canonical)
				}
				if sealed := bytes.HasPrefix(y.row, []byte(`"name":[`)); sealed != (x.typ == "Patient") || node.Get("name") != nil {
					t.Errorf("the name is not where it should be: %s", y.row)
				}
				ids[node.ID()] = true
			}
			if len(ids) != 100 || len(lines) != 100 {
				t.Errorf("%d ids of %d rows", len(ids), len(lines))
			}
		})
	}
}

func TestShares(t *testing.T) {
	path := filepath.Join(t.TempDir(), "profile")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		t.Skip(err) // the test itself is being profiled
	}
	text := bytes.Repeat([]byte(`{"a":"b"}`), 100)
	for start := time.Now(); time.Since(start) < 300*time.Millisecond; {
		_, _ = fhir.Parse(text[:9])
	}
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := sharesOf(path, "test", 1)
	if err != nil || !strings.Contains(got, "formulas, checks and JSON") {
		t.Errorf("%v\n%s", err, got)
	}
	if err := os.WriteFile(path, []byte("no profile"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sharesOf(path, "test", 1); err == nil {
		t.Error("what is no profile was read")
	}
}
