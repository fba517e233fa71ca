package rest

import (
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// withoutBirthDate is an edit: any would do.
func withoutBirthDate(_ phi.Sealed, form []byte) ([]byte, error) {
	n, err := fhir.Parse(form)
	if err != nil {
		return nil, err
	}
	return n.Set("birthDate", nil).AppendCanonical(nil), nil
}

// introduced are resources that are sent without their date of birth first.
func introduced(batch []phi.Sealed) []load.Item {
	items := fresh(batch)
	for i := range items {
		items[i].First = withoutBirthDate
	}
	return items
}

// What is missing is introduced in the form that the edit makes; what is there, in whichever form, is left alone; and
// Send writes both whole.
func TestIntroduce(t *testing.T) {
	b := newBench(t, nil)
	batch := b.sealed(3)
	if _, err := b.target.Send(t.Context(), fresh(batch[:1])); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more changes nothing
		outcomes, err := b.target.Introduce(t.Context(), introduced(batch))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range outcomes {
			if !o.Kind.Stored() {
				t.Errorf("%s/%s: %v", o.Type, o.ID, o.Kind)
			}
		}
		with := 0
		for _, n := range b.held {
			if n.Get("birthDate").Str() != "" {
				with++
			}
		}
		if with != 1 || len(b.held) != 3 {
			t.Errorf("%d of %d resources are whole, want 1 of 3", with, len(b.held))
		}
	}
	outcomes, err := b.target.Send(t.Context(), fresh(batch))
	if err != nil || len(outcomes) != 3 {
		t.Fatal(outcomes, err)
	}
	for name, n := range b.held {
		if n.Get("birthDate").Str() == "" {
			t.Errorf("%s is not whole", name)
		}
	}
}
