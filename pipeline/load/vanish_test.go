package load

import (
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// TestMarkVanished marks one resource of each type of R4: by the code where a required binding has it, else by the tag.
func TestMarkVanished(t *testing.T) {
	codes := 0
	for _, typ := range fhir.Resources() {
		n := fhir.NewObject(fhir.Member{Name: "resourceType", Value: fhir.NewString(typ)}, fhir.Member{Name: "clinicalStatus", Value: fhir.NewObject()})
		if changed, ok := MarkVanished(n); !changed || !ok {
			t.Fatalf("%s: changed %t, ok %t", typ, changed, ok)
		}
		if changed, ok := MarkVanished(n); changed || !ok {
			t.Errorf("%s is marked twice", typ)
		}
		want := ""
		for _, name := range []string{"status", "verificationStatus"} {
			if e, _ := fhir.Lookup(typ).Element(name); e != nil && e.Binding.Required() && e.Binding.Codes.HasCode("entered-in-error") {
				want = name
			}
		}
		got := ""
		switch {
		case n.Get("status").Str() == "entered-in-error":
			got = "status"
		case n.At("verificationStatus", "coding").Item(0).Get("code").Str() == "entered-in-error":
			if got = "verificationStatus"; n.Get("clinicalStatus") != nil {
				t.Errorf("%s keeps a clinical status", typ)
			}
		case n.At("meta", "tag").Item(0).Get("code").Str() != VanishedTag:
			t.Errorf("%s has no mark", typ)
		}
		if got != want {
			t.Errorf("%s is marked by %q, want %q", typ, got, want)
		}
		if got != "" {
			codes++
		}
	}
	for _, typ := range []string{"AllergyIntolerance", "Condition", "Observation", "MedicationRequest", "MedicationStatement", "Immunization", "Procedure", "Encounter"} {
		if name, _, _ := vanishedStatus(fhir.Lookup(typ)); name == "" {
			t.Errorf("%s has no status for it", typ)
		}
	}
	if _, ok := MarkVanished(fhir.NewObject()); ok || codes < 20 {
		t.Errorf("%d types are marked by a code", codes)
	}
}

func TestRewriteReferences(t *testing.T) {
	resolve := func(typ, ours string) (string, bool) { return "s-" + ours, ours != "nobody" }
	for _, c := range []struct{ in, want, path string }{
		{`{"resourceType":"Condition","subject":{"reference":"Patient/a"}}`, `{"resourceType":"Condition","subject":{"reference":"Patient/s-a"}}`, ""},
		{`{"contained":[{"performer":[{"reference":"Practitioner/b"}],"resourceType":"Observation"}],"resourceType":"Condition"}`, `{"contained":[{"performer":[{"reference":"Practitioner/s-b"}],"resourceType":"Observation"}],"resourceType":"Condition"}`, ""},
		{`{"_birthDate":{"extension":[{"url":"x","valueReference":{"reference":"Patient/c"}}]},"resourceType":"Patient"}`, `{"_birthDate":{"extension":[{"url":"x","valueReference":{"reference":"Patient/s-c"}}]},"resourceType":"Patient"}`, ""},
		{`{"resourceType":"Condition","subject":{"reference":"https://x.example/Patient/a"}}`, "", ""},
		{`{"resourceType":"Condition","subject":{"reference":"#a"}}`, "", ""},
		{`{"resourceType":"Condition","subject":{"display":"Patient/a"}}`, "", ""},
		{`{"note":[{"authorReference":{"reference":"Patient/nobody"},"text":"Patient/a"}],"resourceType":"Condition"}`, "", "Condition.note[0].authorReference"},
	} {
		n, err := fhir.Parse([]byte(c.in))
		if err != nil {
			t.Fatal(err)
		}
		if c.want == "" {
			c.want = c.in
		}
		if path, ok := RewriteReferences(n, resolve); path != c.path || ok != (path == "") || string(n.AppendCanonical(nil)) != c.want {
			t.Errorf("%s: %q, %s", c.in, path, n.AppendCanonical(nil))
		}
	}
}
