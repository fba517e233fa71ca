package phi

import (
	"errors"
	"testing"
)

func TestRowsAreBoundToPatientAndPlace(t *testing.T) {
	k := testKeys(t)
	sealed, err := k.SealRow([]byte("before"), "p1", []byte("t:7"), []byte(observationRow))
	if err != nil || string(sealed[:6]) != "before" {
		t.Fatal(err)
	}
	sealed = sealed[6:]
	row, err := k.OpenRow("p1", []byte("t:7"), sealed)
	if err != nil || string(row.Reveal()) != observationRow {
		t.Errorf("%v", err)
	}
	if _, err := k.SealRow(nil, "p2", nil, nil); err != nil {
		t.Fatal(err)
	}
	sealed2 := append([]byte(nil), sealed...)
	sealed2[len(sealed2)/2] ^= 1
	for name, c := range map[string]struct {
		patient, aad string
		sealed       []byte
		want         error
	}{
		"another patient":  {"p2", "t:7", sealed, ErrNotAuthentic},
		"another place":    {"p1", "t:8", sealed, ErrNotAuthentic},
		"changed":          {"p1", "t:7", sealed2, ErrNotAuthentic},
		"no key":           {"p3", "t:7", sealed, ErrNoKey},
		"no patient's key": {"", "t:7", sealed, ErrNoKey},
	} {
		if _, err := k.OpenRow(c.patient, []byte(c.aad), c.sealed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
