package mapping

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// visitsPack is a small pack of the user's own, with these cases.
func visitsPack(t testing.TB, cases string) *Pack {
	t.Helper()
	p, faults := Read(fstest.MapFS{
		"visit.yaml": {Data: []byte(`from: visits
to: Encounter
key: [ID]
patient: = ref('person', PATIENT)
skip: {test: = ID = 'T'}
refuse: {no patient: = PATIENT.empty()}
find: {odd: = KIND = 'odd'}
resource:
  status: finished
  class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}
  subject: = ref('person', PATIENT)
  type: {text: = KIND}
  reasonCode: {text: = REASON}
`)},
		"person.yaml":      {Data: []byte("from: people\nto: Patient\nkey: [ID]\npatient: self\nresource: {active: true}\n")},
		"visit.cases.yaml": {Data: []byte(cases)},
	}, "own")
	p.Own = true
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return p
}

// TestUpdateKeepsWhatPasses changes the wanted resources of cases that fail, and nothing else.
func TestUpdateKeepsWhatPasses(t *testing.T) {
	p, faults := Read(fstest.MapFS{
		"visit.yaml": {Data: []byte("from: visits\nto: Encounter\nkey: [ID]\npatient: = ref('person', PATIENT, SITE)\nskip: {test: = ID ~ 'T'}\nresource:\n" +
			"  status: finished\n  class: {system: \"http://terminology.hl7.org/CodeSystem/v3-ActCode\", code: AMB}\n  subject: = ref('person', PATIENT, SITE)\n" +
			"  type: {text: = KIND}\n  reasonCode: {text: = REASON}\n")},
		"person.yaml": {Data: []byte("from: people\nto: Patient\nkey: [ID, SITE]\npatient: self\nresource: {active: true}\n")},
		"visit.cases.yaml": {Data: []byte(`# Cases of visits.
-   name: passes      # laid out in its own way
    record: { ID: a, PATIENT: p,   SITE: s }
    want:
    - {status: finished, class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}, subject: "ref:person(p,s)"}

- name: another text
  record: {ID: a, PATIENT: p, SITE: s, KIND: "it's: new"}
  want:
    - status: finished  # always
      class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}
      type: [{text: old}]   # of the source
      subject: ref:person(p,s)
- name: an element more
  record: {ID: a, PATIENT: "p,q", SITE: s, REASON: pain}
  want:
    # what every visit has
    - status: finished
      class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}
      subject: ref:person('p,q',s)

# about the skipped
- name: skipped
  record: {ID: T}
  skipped: other
- name: nothing said
  record: {ID: T}
# the end
`)},
	}, "own")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	p.Own = true
	if _, err := RunCases([]*Pack{p}, CaseOptions{}); err == nil || !strings.Contains(err.Error(), `the case "nothing said" must have one of`) {
		t.Errorf("a case without an outcome: %v", err)
	}
	ran, err := RunCases([]*Pack{p}, CaseOptions{Update: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(ran.Updates) != 1 {
		t.Fatalf("%d files are updated: %+v", len(ran.Updates), ran.Results)
	}
	got := string(ran.Updates[0].New)
	want := `# Cases of visits.
-   name: passes      # laid out in its own way
    record: { ID: a, PATIENT: p,   SITE: s }
    want:
    - {status: finished, class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}, subject: "ref:person(p,s)"}

- name: another text
  record: {ID: a, PATIENT: p, SITE: s, KIND: "it's: new"}
  want:
    - status: finished  # always
      class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}
      type: [{text: 'it''s: new'}]   # of the source
      subject: ref:person(p,s)
- name: an element more
  record: {ID: a, PATIENT: "p,q", SITE: s, REASON: pain}
  want:
    # what every visit has
    - status: finished
      class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}
      subject: ref:person('p,q',s)
      reasonCode: [{text: pain}]

# about the skipped
- name: skipped
  record: {ID: T}
  skipped: other
- name: nothing said
  record: {ID: T}
  skipped: test
# the end
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
	for _, r := range ran.Results {
		if r.Updated != slices.Contains([]string{"another text", "an element more", "nothing said"}, r.Case) || (r.Case == "skipped") != (r.Kept != "") {
			t.Errorf("%s: updated %t, kept %q", r.Case, r.Updated, r.Kept)
		}
	}
}

// TestUpdateMendsWhatWasSpoiled spoils lines of the cases of shipped packs, brings them up to date, and looks that all
// cases pass again and that no line outside of what was spoiled is another.
func TestUpdateMendsWhatWasSpoiled(t *testing.T) {
	dir := filepath.Join(sharedtest.ModuleRoot(t), "mappings", "synthea")
	base := fstest.MapFS{}
	var files []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		base[name] = &fstest.MapFile{Data: data}
		if strings.HasSuffix(name, caseSuffix) {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tried, mended := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		tried++
		name := rapid.SampledFrom(files).Draw(t, "file")
		whole := string(base[name].Data)
		lines := strings.Split(whole, "\n")
		// Three lines in four are of what is wanted, where something can be mended; the others are anywhere.
		var wanted []int
		in := false
		for n, line := range lines {
			in = strings.HasPrefix(line, "  want:") || in && (line == "" || strings.HasPrefix(line, "    "))
			if in && line != "" {
				wanted = append(wanted, n)
			}
		}
		i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		if len(wanted) > 0 && rapid.IntRange(0, 3).Draw(t, "where") > 0 {
			i = rapid.SampledFrom(wanted).Draw(t, "wanted line")
		}
		spoiled := slices.Clone(lines)
		if rapid.Bool().Draw(t, "cut") {
			spoiled = slices.Delete(spoiled, i, i+1)
		} else {
			spoiled[i] = strings.Replace(spoiled[i], rapid.SampledFrom([]string{"final", "active", "1", "system", "p1"}).Draw(t, "old"), "spoiled", 1)
		}
		fsys := fstest.MapFS{}
		for k, v := range base {
			fsys[k] = v
		}
		fsys[name] = &fstest.MapFile{Data: []byte(strings.Join(spoiled, "\n"))}
		p, faults := Read(fsys, "synthea")
		if len(faults) > 0 {
			return
		}
		p.Own = true
		o := CaseOptions{Mapping: strings.TrimSuffix(name, caseSuffix), Update: true}
		ran, err := RunCases([]*Pack{p}, o)
		if err != nil || len(ran.Updates) == 0 {
			return
		}
		u := ran.Updates[0]
		fsys[name] = &fstest.MapFile{Data: u.New}
		p, faults = Read(fsys, "synthea")
		if len(faults) > 0 {
			t.Fatalf("the file as updated: %v\n%s", faults, u.New)
		}
		again, err := RunCases([]*Pack{p}, CaseOptions{Mapping: o.Mapping})
		if err != nil {
			t.Fatalf("the file as updated: %v\n%s", err, u.New)
		}
		changed := map[string]bool{}
		for i, r := range ran.Results {
			if r.Updated {
				changed[r.Case] = true
				if again.Results[i].Difference != "" {
					t.Fatalf("%s is updated and fails: %s", r.Case, again.Results[i].Difference)
				}
			}
		}
		// The text of every case that was not changed, comments before it included, is there as it was.
		at := 0
		for _, block := range strings.Split(strings.Join(spoiled, "\n"), "\n- name: ")[1:] {
			title, _, _ := strings.Cut(block, "\n")
			if changed[strings.Trim(title, `"'`)] {
				continue
			}
			next := strings.Index(string(u.New)[at:], "- name: "+block)
			if next < 0 {
				t.Fatalf("the case %s is another:\n%s", title, u.New)
			}
			at += next
		}
		mended++
	})
	if mended*10 < tried {
		t.Errorf("only %d of %d files were mended", mended, tried)
	}
	t.Logf("%d of %d files mended", mended, tried)
}

// TestCoverageNamesWhatNoCaseExercises plants a formula and rules that no case reaches.
func TestCoverageNamesWhatNoCaseExercises(t *testing.T) {
	p := visitsPack(t, `- name: plain
  record: {ID: a, PATIENT: p, KIND: walk-in}
  want: [{status: finished, class: {system: "http://terminology.hl7.org/CodeSystem/v3-ActCode", code: AMB}, subject: "ref:person(p)", type: {text: walk-in}}]
- name: no patient
  record: {ID: a, REASON: pain}
  refused: no patient
`)
	ran, err := RunCases([]*Pack{p}, CaseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range ran.Results {
		if r.Difference != "" {
			t.Errorf("%s: %s", r.Case, r.Difference)
		}
	}
	var missing []string
	for _, c := range ran.Coverage {
		for _, m := range c.Missing {
			missing = append(missing, c.Mapping+" "+m.Kind+" "+m.Name)
		}
	}
	want := []string{"visit formula reasonCode.text", "visit skip test", "visit find odd"}
	if !slices.Equal(missing, want) {
		t.Errorf("not covered: %q, want %q", missing, want)
	}
}
