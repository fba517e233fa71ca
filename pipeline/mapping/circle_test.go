package mapping

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// circleFile is a mapping of the table obs, with a resource's lines.
func circleFile(to, patient, resource string) string {
	return "from: obs\nto: " + to + "\nkey: [CODE]\npatient: " + patient + "\nresource:\n" + resource + "unused: {PATIENT: r, DATE: r, VALUE: r, UNIT: r, NOTE: r}\n"
}

// TestCircles: of a circle the fewest elements are late, the rest is ordered, and all of it is said.
func TestCircles(t *testing.T) {
	organization := func(more string) string { return circleFile("Organization", "none", "  name: = CODE\n"+more) }
	condition := func(more string) string {
		return circleFile("Condition", "= ref('patient', PATIENT)", "  subject: = ref('patient', PATIENT)\n"+more)
	}
	encounter := func(more string) string {
		return circleFile("Encounter", "= ref('patient', PATIENT)", "  status: finished\n  class: {code: AMB}\n"+more)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no circle", map[string]string{"a.yaml": organization(""), "b.yaml": circleFile("Location", "none", "  managingOrganization: = ref('a', CODE)\n")},
			"a 0\nb 1\n"},
		{"to itself", map[string]string{"a.yaml": organization("  partOf: = ref('a', NOTE)\n")},
			`a 0 late until 0
pack/a.yaml:7:11: the mappings refer to each other in a circle: a → a; a is written first without Organization.partOf, and whole when its targets are there
`},
		{"the fewest elements", map[string]string{
			"patient.yaml": patientMapping,
			"c.yaml":       condition("  encounter: = ref('e', CODE)\n"),
			"e.yaml":       encounter("  diagnosis:\n    - condition: = ref('c', CODE)\n    - condition: = ref('c', NOTE)\n"),
		}, `patient 0
c 1 late until 2
e 2
pack/c.yaml:7:14: the mappings refer to each other in a circle: c → e → c; c is written first without Condition.encounter, and whole when its targets are there
`},
		{"what is required in something optional", map[string]string{
			"patient.yaml": patientMapping,
			"p.yaml":       circleFile("Provenance", "= ref('patient', PATIENT)", "  target: = ref('e', CODE)\n  recorded: 2020-01-01T00:00:00Z\n  agent: {who: {display: x}}\n"),
			"e.yaml":       encounter("  diagnosis: {condition: \"= ref('c', CODE)\"}\n  extension: [{url: 'urn:x', valueReference: \"= ref('p', CODE)\"}]\n"),
			"c.yaml":       condition("  evidence: {detail: \"= ref('p', CODE)\"}\n"),
		}, `patient 0
c 1 late until 3
e 2 late until 3
p 3
pack/c.yaml:7:22: the mappings refer to each other in a circle: c → p → e → c; c is written first without Condition.evidence.detail, and whole when its targets are there
pack/e.yaml:9:46: the mappings refer to each other in a circle: e → p → e; e is written first without Encounter.extension.valueReference, and whole when its targets are there
`},
		{"none can do without", map[string]string{"p.yaml": circleFile("Provenance", "none", "  target: = ref('p', CODE)\n  recorded: 2020-01-01T00:00:00Z\n  agent: {who: {display: x}}\n")},
			"pack/p.yaml:6:11: the mappings refer to each other in a circle, and none can do without: p → p (Provenance.target) (leave one of them out: of a circle something must be written first)\n"},
		{"of two types", map[string]string{
			"patient.yaml": patientMapping + "  link: [{other: \"= ref('r', LAST)\", type: seealso}]\n",
			"r.yaml":       circleFile("RelatedPerson", "= ref('patient', PATIENT)", "  patient: = ref('patient', PATIENT)\n"),
		}, `patient 0 late until 1
r 1
pack/patient.yaml:9:18: the mappings refer to each other in a circle: patient → r → patient; patient is written first without Patient.link.other, and whole when its targets are there
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 3 { // the same each time
				p, notices, faults := compileFiles(t, c.files)
				var b strings.Builder
				for _, f := range faults {
					fmt.Fprintln(&b, f)
				}
				if p != nil {
					for _, m := range p.Mappings {
						fmt.Fprint(&b, m.Name, " ", m.Level)
						if m.Late {
							fmt.Fprint(&b, " late until ", m.Completes)
						}
						fmt.Fprintln(&b)
					}
				}
				for _, n := range notices {
					if n.Rule == "circle" {
						fmt.Fprintln(&b, n.Fault)
					}
				}
				if diff := cmp.Diff(c.want, b.String()); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// The references of a circle that are late are marked where they are written, also by formulas that are evaluated.
func TestLateReferences(t *testing.T) {
	files := with(obs("", "  hasMember:\n    - = ref('observation', PATIENT, NOTE, DATE)\n  derivedFrom:\n    - \"= iif(UNIT ~ 'x', ref('observation', PATIENT, UNIT, DATE), {})\"\n"))
	p := mustCompile(t, files)
	got := map[string]bool{}
	if _, err := p.NewWorker().Map(p.Mapping("observation"), obsRecord("p1", "c", "2024", "", "x", "n"), 1, func(r *Resource) error {
		for _, ref := range r.Refs {
			got[ref.Path] = ref.Late
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{"subject": false, "hasMember": true, "derivedFrom": true}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
