package mapping

import (
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/csv"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// both compiles packs with writers and without.
func both(t testing.TB, o Options, packs ...*Pack) (fast, slow *Program) {
	t.Helper()
	for _, p := range []**Program{&fast, &slow} {
		compiled, _, faults := Compile(packs, o)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		*p, o.evaluate = compiled, true
	}
	return fast, slow
}

// told is all that a worker says about one record, as text.
func told(t interface {
	Helper()
	Fatal(...any)
}, w *Worker, m *Mapping, r *extract.Record) string {
	t.Helper()
	var b strings.Builder
	res, err := w.Map(m, r, 1, func(x *Resource) error {
		fmt.Fprintf(&b, "%s\n%v\n%v\n%d %s %s\n%s\n", x.Whole, x.Cuts, x.Refs, x.Mark, x.ID, x.Patient, x.Row)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%+v", res)
	return b.String()
}

// writerMapping has a formula for each writer, and some that have none.
const writerMapping = `from: obs
to: Observation
key: [PATIENT, CODE, DATE]
patient: = ref('patient', PATIENT)
resource:
  status: = iif(UNIT ~ 'u', 'final', 'amended')
  language: = UNIT
  implicitRules: = UNIT
  identifier: = CODE.identifier('urn:example:i')
  category:
    - = CODE.coding('http://loinc.org', NOTE).concept(NOTE)
    - = UNIT.coding(CODE, NOTE.trim()).concept()
    - = NOTE.concept()
    - = CODE.translated('codes', NOTE)
    - coding:
        - = CODE.coding('urn:example:c', UNIT)
    - coding: = VALUE.coding('urn:example:c')
  code: = (CODE & 'x').coding('http://loinc.org').concept(UNIT)
  subject: = ref('patient', PATIENT)
  focus:
    - = ref('patient', UNIT)
    - reference: = NOTE
  effectiveDateTime: = DATE.dateTime()
  issued: = DATE.dateTime()
  valueString: = NOTE
  note: [{text: = NOTE, time: = DATE.date()}]
  method: = UNIT.translated('codes')
  referenceRange:
    - low: = VALUE.quantity(UNIT)
      high: {value: = VALUE.decimal()}
  component:
    - forEach: = (NOTE | UNIT)
      code: = $this.coding('urn:example:d').concept()
      valueQuantity: = VALUE.quantity(UNIT)
unused: {}
`

// TestWritersWriteWhatFormulasGive compares both ways to write over random records, under each policy.
func TestWritersWriteWhatFormulasGive(t *testing.T) {
	for _, name := range []string{"", "identified", "limited-data-set"} {
		t.Run(name, func(t *testing.T) {
			unknown := []string{"refuse"}
			if name == "limited-data-set" {
				unknown = append(unknown, "text", "keep")
			}
			for _, u := range unknown {
				compareWriters(t, name, u)
			}
		})
	}
}

func compareWriters(t *testing.T, name, unknown string) {
	o := Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "ehr", Tables: testTables}}, NoCoverage: true}
	if name != "" {
		policy, err := phi.LoadPolicy(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Policy = policy
	}
	// A line for each formula: where one refuses the record, the others must have their turn too.
	lines := strings.SplitAfter(writerMapping, "\n")
	at := slices.Index(lines, "resource:\n")
	end := slices.Index(lines, "unused: {}\n")
	whole := []string{strings.Join(lines[at+1:end], "")}
	base := "  status: final\n  code: {text: x}\n"
	var part string
	for _, line := range append(slices.Clone(lines[at+1:end]), "  \n") {
		if !strings.HasPrefix(line, "   ") && part != "" {
			if !strings.HasPrefix(part, "  status") && !strings.HasPrefix(part, "  code") {
				whole = append(whole, base+part)
			}
			part = ""
		}
		part += line
	}
	type pair struct{ fast, slow *Worker }
	var pairs []pair
	for _, body := range whole {
		files := fstest.MapFS{}
		for file, text := range map[string]string{
			"patient.yaml":     patientMapping,
			"observation.yaml": strings.Join(lines[:at+1], "") + body,
			"maps/codes.csv": "# system: urn:example:own\n# unknown: " + unknown + "\nsource code,target system,target code,display,relationship\n" +
				"a,http://loinc.org,1-1,One,\na,http://snomed.info/sct,2,\"Two \"\"2\"\"\",\nb,,,,unmatched\n",
		} {
			files[file] = &fstest.MapFile{Data: []byte(text)}
		}
		pack, faults := Read(files, "own")
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		fast, slow := both(t, o, pack)
		pairs = append(pairs, pair{fast.NewWorker(), slow.NewWorker()})
	}
	cell := rapid.OneOf(
		rapid.SampledFrom([]string{"", " ", "a", "b", "zz", "u", "a\"b", "é", "\xff", "x\x01", "a  b", "a b", "en", "~", "urn:example:x", "http://x y", "12345678\\", "1234567\x7f", "Patient/abc"}),
		rapid.String())
	date := rapid.OneOf(
		rapid.SampledFrom([]string{"", "2024", "2024-02", "2024-02-29", "2023-02-29", "2024-01-02T03:04", "2024-01-02T03:04:05Z", "2024-01-02 03:04:05+01:00",
			"2024-01-02T03:04:05.123456789-0500", "2024-01-02T03:04:05.1234567891Z", "2024-01-02T23:59:60Z", "0000-01-01", "0000", "2024-01-02T03:04:05+14:01", "x"}),
		rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-6][0-9](\.[0-9]{1,9})?)?(Z|[+-][01][0-9]:?[0-6][0-9])?)?`))
	number := rapid.OneOf(
		rapid.SampledFrom([]string{"", "1", "-1.50", "1,5", "1e5", "1e400", "1e-999", "<1", "<= 2", ">", "007", "123456789012345678901234567890", "9e99999999999"}),
		rapid.StringMatching(`[<>]?=? ?-?[0-9]{1,20}(\.[0-9]{1,5})?(e[+-]?[0-9]{1,4})?`))
	rapid.Check(t, func(r *rapid.T) {
		rec := obsRecord(cell.Draw(r, "patient"), cell.Draw(r, "code"), date.Draw(r, "date"), number.Draw(r, "value"), cell.Draw(r, "unit"), cell.Draw(r, "note"))
		for i, p := range pairs {
			a, b := told(r, p.fast, p.fast.p.Mapping("observation"), rec), told(r, p.slow, p.slow.p.Mapping("observation"), rec)
			if a != b {
				r.Fatalf("%s\nwritten:\n%s\nevaluated:\n%s", whole[i], a, b)
			}
		}
	})
	for i, p := range pairs {
		a, au := p.fast.TakeCounters()
		b, bu := p.slow.TakeCounters()
		if fmt.Sprint(a) != fmt.Sprint(b) || fmt.Sprint(au) != fmt.Sprint(bu) {
			t.Errorf("%s: the counters differ:\n%v %v\n%v %v", whole[i], a, au, b, bu)
		}
	}
}

// TestWritersKeepBindings compares both ways to write where a value set is required.
func TestWritersKeepBindings(t *testing.T) {
	pack, faults := readFiles(t, map[string]string{"patient.yaml": patientMapping, "condition.yaml": `from: obs
to: Condition
key: [PATIENT]
patient: = ref('patient', PATIENT)
resource:
  subject: = ref('patient', PATIENT)
  clinicalStatus: = CODE.coding('http://terminology.hl7.org/CodeSystem/condition-clinical').concept()
  verificationStatus: = UNIT.coding(NOTE).concept()
`})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	fast, slow := both(t, Options{Migration: "m", IDKey: make([]byte, 32), Sources: []Source{{Name: "ehr", Tables: testTables}}, NoCoverage: true}, pack)
	a, b := fast.NewWorker(), slow.NewWorker()
	outcomes := map[string]int{}
	for _, code := range []string{"", "active", "resolved", "Active", "x", "a  b"} {
		for _, system := range []string{"", "http://terminology.hl7.org/CodeSystem/condition-ver-status", "http://loinc.org"} {
			for _, status := range []string{"", "confirmed", "x"} {
				r := obsRecord("p", code, "", "", status, system)
				got, want := told(t, a, fast.Mapping("condition"), r), told(t, b, slow.Mapping("condition"), r)
				if got != want {
					t.Errorf("%q %q %q:\nwritten:\n%s\nevaluated:\n%s", code, system, status, got, want)
				}
				outcomes[got[strings.LastIndex(got, "{Outcome:"):]]++
			}
		}
	}
	if len(outcomes) < 3 {
		t.Errorf("the records do not tell the cases apart: %v", outcomes)
	}
}

// TestWritersOverRealData compares both ways to write over one of Synthea's exports with the shipped pack.
func TestWritersOverRealData(t *testing.T) {
	dir := untar(t, "synthea-ca-2022")
	src, err := csv.Open(csv.Options{Name: "ehr", Dir: dir, Files: []string{"*.csv"}})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := src.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, _, policy := sealer(t, "limited-data-set")
	o := Options{Migration: "test", IDKey: make([]byte, 32), Policy: policy, Sources: []Source{{Name: "ehr", Tables: tables}}, NoCoverage: true}
	fast, slow := both(t, o, shippedPack(t))
	a, b := fast.NewWorker(), slow.NewWorker()
	a.SetFinder(beside(t, fast, src, tables))
	b.SetFinder(beside(t, slow, src, tables))
	for _, table := range tables {
		for _, m := range fast.ForTable(table.Name) {
			if m.Grouped {
				continue
			}
			shards, err := src.Shards(t.Context(), table)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range shards {
				for r, err := range src.Read(t.Context(), s, nil) {
					if err != nil {
						t.Fatal(err)
					}
					if told(t, a, m, r) != told(t, b, slow.Mapping(m.Name), r) {
						t.Fatalf("%s: %s is written in two ways", r.Place(), m.Name)
					}
				}
			}
		}
	}
}

func TestPlainText(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := []byte("12345678901234567890")
			b[at] = byte(c)
			if want := c >= ' ' && c < 0x80 && c != '"' && c != '\\'; plainText(string(b)) != want {
				t.Fatalf("byte %#x at %d: not %v", c, at, want)
			}
		}
	}
}

func TestIDText(t *testing.T) {
	encoding := base32.NewEncoding(idAlphabet).WithPadding(base32.NoPadding)
	rapid.Check(t, func(r *rapid.T) {
		id := ID(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(r, "id"))
		if got := id.String(); got != encoding.EncodeToString(id[:]) || string(id.Append([]byte("x"))) != "x"+got {
			r.Fatalf("%x is %s", id[:], got)
		}
	})
}
