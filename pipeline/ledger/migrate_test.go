package ledger

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A ledger of an older program is brought up to date, and says afterwards what it said before.
func TestOldLedgersMigrate(t *testing.T) {
	at := inFile(t)
	list, err := schemas("migrations/sqlite")
	must(t, err)
	db, err := sql.Open("sqlite", at.path)
	must(t, err)
	statements := []string{
		fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 3", applicationID),
		"INSERT INTO ledger VALUES (1, '0123456789abcdef0123456789abcdef', 'riverside', '2026-01-01T00:00:00Z')",
		"INSERT INTO runs (seq, id, kind, wave, target, state, began) VALUES (1, 'run-1', 'run', '', 'fhir', 'running', '2026-01-01T00:00:00Z')",
		`INSERT INTO batches (seq, run, id, mapping, type, tbl, wave, level, count, bytes, sha256, state, loaded, unchanged)
			VALUES (5, 1, 'b1', 'patient', 'Patient', 'patients', 'main', 0, 9, 100, printf('%064d', 0), 'loaded', 7, 2)`,
		"INSERT INTO resource_counts VALUES (1, 'Patient', 9, 0)",
		"INSERT INTO discrepancies (run, key, kind, domain, type, resource, path, tbl, line, code) VALUES (1, 'k1', 'editedSince', 3, 'Patient', 'p1', '', 'patients', 2, '')",
		"INSERT INTO tasks (run, kind, subject, wave, level, state, owner, fence) VALUES (1, 'load', 'b1', 'main', 0, 'running', 'dead', 4)",
	}
	for _, m := range list[:3] {
		_, err := db.Exec(m.text)
		must(t, err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	must(t, db.Close())

	l := at.open(t)
	s, err := l.Summary(t.Context(), "run-1")
	must(t, err)
	if want := (ResourceRow{Made: 9, Loaded: 7, Unchanged: 2}); s.Resources["Patient"] != want {
		t.Errorf("Patient: %+v, want %+v", s.Resources["Patient"], want)
	}
	var found []Discrepancy
	for d, err := range l.Discrepancies(t.Context(), "run-1") {
		must(t, err)
		found = append(found, d)
	}
	if diff := cmp.Diff([]Discrepancy{{Key: "k1", Kind: EditedSince, Domain: Identity, Type: "Patient", ID: "p1", Table: "patients", Line: 2}}, found); diff != "" {
		t.Errorf("discrepancies (-want +got):\n%s", diff)
	}
	must(t, l.Record(t.Context(), "run-1", Report{Batches: []Batch{batch("b2", "Patient", 1)}}))
	var seq int64
	must(t, l.reader.row(t.Context(), "SELECT seq FROM batches WHERE id = 'b2'").Scan(&seq))
	if seq != 6 {
		t.Errorf("the next batch is number %d, the last was 5", seq)
	}
	if task, ok, err := l.Claim(t.Context(), "run-1", TaskFilter{Kind: Load}); !ok || err != nil || task.Fence != 5 {
		t.Errorf("the dead worker's task: %+v, %v, %v", task, ok, err)
	}
	if _, err := l.Resume(t.Context(), "run-1", map[string]string{}); err != nil {
		t.Fatal(err)
	}
	must(t, l.Close())
	if v, err := View(t.Context(), at.source, "riverside"); err != nil {
		t.Error(err)
	} else {
		must(t, v.Close())
	}
}
