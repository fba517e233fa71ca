package plan

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestCheckDelivery: what policy and delivery mean for those who work with the target is said before a row is read.
func TestCheckDelivery(t *testing.T) {
	for _, c := range []struct {
		phi  string
		want []string
	}{
		{"{policy: limited-data-set, delivery: sealed}", nil},
		{"{policy: identified, delivery: identified}", nil},
		{"{policy: safe-harbor-elements, delivery: identified}", []string{findNoDay}},
		{"{policy: safe-harbor-elements, delivery: sealed}", []string{findNoDay, findDatesTakenOut}},
		{"{policy: safe-harbor-elements, delivery: sealed, as-of: 2026-06-30}", []string{findDatesTakenOut}},
		{"{policy: identified, delivery: sealed}", []string{findNothingSealed}},
	} {
		dir := t.TempDir()
		files := map[string]string{
			"migration.yaml": "migration: x\nsources: {ehr: {csv: export/*.csv}}\nmappings: [./m]\nphi: " + c.phi + "\n",
			"export/p.csv":   "ID,NAME\n1,a\n", "export/c.csv": "ID,P,DAY\n1,1,2020-01-01\n",
			"m/patient.yaml":   "name: patient\nfrom: p\nto: Patient\nkey: [ID]\npatient: self\nresource:\n  name:\n    - family: = NAME\n",
			"m/condition.yaml": "name: condition\nfrom: c\nto: Condition\nkey: [ID]\npatient: = ref('patient', P)\nresource:\n  subject: = ref('patient', P)\n  recordedDate: = DAY.date()\n",
		}
		for name, text := range files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(t.Context(), filepath.Join(dir, "migration.yaml"), Options{Access: Tables})
		if err != nil {
			t.Fatalf("%s: %v", c.phi, err)
		}
		var got []string
		for _, n := range s.Notices {
			if n.Subject == "phi.policy" {
				got = append(got, n.Rule)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.phi, got, c.want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
