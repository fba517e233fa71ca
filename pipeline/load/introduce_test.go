package load

import (
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
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

// What is missing is introduced in the form that the edit makes; what is there, in whichever form, is left alone; and
// Send writes both whole.
func TestIntroduce(t *testing.T) {
	b := newBench(t, nil)
	batch := b.sealed(3)
	if _, err := b.target.Send(t.Context(), batch[:1]); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more changes nothing
		outcomes, err := b.target.Introduce(t.Context(), batch, withoutBirthDate)
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
	outcomes, err := b.target.Send(t.Context(), batch)
	if err != nil || len(outcomes) != 3 {
		t.Fatal(outcomes, err)
	}
	for name, n := range b.held {
		if n.Get("birthDate").Str() == "" {
			t.Errorf("%s is not whole", name)
		}
	}
}

// Each of two stores is introduced to its own form, edited.
func TestIntroduceToBoth(t *testing.T) {
	p := newPair(t)
	outcomes, err := p.target.Introduce(t.Context(), p.batch(t), withoutBirthDate)
	if err != nil || kinds(outcomes)["created"] != 3 {
		t.Fatalf("%v, %v", kinds(outcomes), err)
	}
	for store, held := range map[string]map[string]*fhir.Node{"clinical": p.clinical.held, "identity": p.identity.held} {
		for name, n := range held {
			text := string(n.AppendCanonical(nil))
			if strings.Contains(text, "birthDate") || strings.Contains(text, secretName) != (store == "identity") {
				t.Errorf("%s store: %s has not its first form", store, name)
			}
		}
	}
}
