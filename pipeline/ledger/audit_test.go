package ledger

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// unlocked drops the triggers that keep the audit log append-only, as someone with the file in hand would.
var unlocked = []string{
	"DROP TRIGGER audit_is_not_changed|||DROP TRIGGER audit_is_not_changed ON audit",
	"DROP TRIGGER audit_hash_is_not_changed|||DROP TRIGGER audit_hashes_are_not_changed ON audit_hashes",
	"DROP TRIGGER audit_is_not_removed|||SELECT 1", "DROP TRIGGER audit_hash_is_not_removed|||SELECT 1",
}

func TestAuditFindsTampering(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		// seven records: the one of the schema, and six of ours
		for name, test := range map[string]struct {
			statements []string
			seq        int64
		}{
			"changed action":   {[]string{"UPDATE audit SET action = 'nothing' WHERE seq = 3"}, 3},
			"changed operator": {[]string{"UPDATE audit SET operator = 'someone else' WHERE seq = 0"}, 0},
			"changed time":     {[]string{"UPDATE audit SET time = '2020-01-01T00:00:00Z' WHERE seq = 6"}, 6},
			"moved border":     {[]string{"UPDATE audit SET action = action || substr(detail, 1, 1), detail = substr(detail, 2) WHERE seq = 2"}, 2},
			"removed":          {[]string{"DELETE FROM audit WHERE seq = 4"}, 4},
			"removed and closed up": {[]string{"DELETE FROM audit WHERE seq = 4", "UPDATE audit SET seq = 4 WHERE seq = 5",
				"UPDATE audit SET seq = 5 WHERE seq = 6"}, 4},
			"removed last": {[]string{"DELETE FROM audit WHERE seq = 6"}, 6},
			"removed all":  {[]string{"DELETE FROM audit"}, 0},
			"reordered": {[]string{"UPDATE audit SET seq = 100 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3",
				"UPDATE audit SET seq = 3 WHERE seq = 100"}, 2},
			"added":                {[]string{"INSERT INTO audit VALUES (7, '2026-03-01T12:00:00Z', 'jo', 'gates set', '')"}, 7},
			"hash changed":         {[]string{"UPDATE audit_hashes SET hash = zeroblob(32) WHERE position = 0|||UPDATE audit_hashes SET hash = decode(repeat('00', 32), 'hex') WHERE position = 0"}, 0},
			"inner hash changed":   {[]string{"UPDATE audit_hashes SET hash = zeroblob(32) WHERE position = 2|||UPDATE audit_hashes SET hash = decode(repeat('00', 32), 'hex') WHERE position = 2"}, 1},
			"hash removed":         {[]string{"DELETE FROM audit_hashes WHERE position = 5"}, -1},
			"hash of last removed": {[]string{"DELETE FROM audit_hashes WHERE position = (SELECT max(position) FROM audit_hashes)"}, 6},
			"hash added":           {[]string{"INSERT INTO audit_hashes SELECT max(position) + 1, zeroblob(32) FROM audit_hashes|||INSERT INTO audit_hashes SELECT max(position) + 1, decode(repeat('00', 32), 'hex') FROM audit_hashes"}, 7},
		} {
			t.Run(name, func(t *testing.T) {
				at := at.another(t)
				l := at.open(t)
				for i := range 6 {
					must(t, l.Append(t.Context(), "acted", fmt.Sprint("detail ", i)))
				}
				if c, err := l.VerifyAudit(t.Context()); err != nil || c.Size != 7 {
					t.Fatalf("before: %v, %v", c, err)
				}
				must(t, l.Close())
				at.statements(t, append(unlocked, test.statements...)...)
				v, err := View(t.Context(), at.source, "riverside")
				must(t, err)
				defer v.Close()
				_, err = v.VerifyAudit(t.Context())
				var tampered *TamperedError
				if !errors.As(err, &tampered) || tampered.Seq != test.seq {
					t.Errorf("got %v, want record %d named", err, test.seq)
				}
			})
		}
	})
}

func TestAuditIsAppendOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		for _, statement := range []string{"UPDATE audit SET detail = ''", "DELETE FROM audit", "UPDATE audit_hashes SET position = position", "DELETE FROM audit_hashes"} {
			if _, err := l.writer.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "append-only") {
				t.Errorf("%s: %v", statement, err)
			}
		}
	})
}

// Whoever cuts off the end with its hashes leaves a sound, shorter log: a checkpoint from outside tells.
func TestAuditCheckpoint(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		must(t, l.Append(t.Context(), "one", ""))
		must(t, l.Append(t.Context(), "two", ""))
		before, err := l.VerifyAudit(t.Context())
		must(t, err)
		kept, err := ParseCheckpoint(before.String())
		if err != nil || kept != before {
			t.Fatalf("%v became %v, %v", before, kept, err)
		}
		must(t, l.Append(t.Context(), "three", ""))
		if after, err := l.VerifyAudit(t.Context(), kept); err != nil || after.Size != kept.Size+1 {
			t.Fatalf("%v, %v", after, err)
		}
		must(t, l.Close())
		at.statements(t, append(unlocked, "DELETE FROM audit WHERE seq >= 2", "DELETE FROM audit_hashes WHERE position > 2")...)
		l = at.open(t)
		if _, err := l.VerifyAudit(t.Context()); err != nil {
			t.Fatalf("the shorter log is sound in itself: %v", err)
		}
		var tampered *TamperedError
		if _, err := l.VerifyAudit(t.Context(), kept); !errors.As(err, &tampered) {
			t.Errorf("too short: %v", err)
		}
		must(t, l.Append(t.Context(), "another two", ""))
		if _, err := l.VerifyAudit(t.Context(), kept); !errors.As(err, &tampered) {
			t.Errorf("rewritten: %v", err)
		}
		for _, text := range []string{"", "nonsense", "go.sum database tree\n-1\n"} {
			if _, err := ParseCheckpoint(text); err == nil {
				t.Errorf("%q was taken for a checkpoint", text)
			}
		}
	})
}

// What the ledger does is in the log, in the transaction that does it: what is rolled back leaves no record.
func TestAuditRecordsWhatHappened(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		if _, err := l.BeginRun(t.Context(), RunSpec{Kind: Real}); err == nil {
			t.Fatal("a second run began")
		}
		must(t, l.SetState(t.Context(), run.ID, Interrupted, 0, "signal"))
		_, err := l.Resume(t.Context(), run.ID, run.Pins)
		must(t, err)
		must(t, l.Reopen(t.Context(), run.ID))
		must(t, l.CloseVerification(t.Context(), run.ID, []Gate{{Name: "refused", Limit: "0.1%", Value: "2%"}}))
		must(t, l.Append(t.Context(), "keys opened", "riverside"))
		var got []string
		for r, err := range l.Audit(t.Context()) {
			must(t, err)
			if r.Operator != "jo" || r.Time == "" {
				t.Errorf("record %d is signed %q at %q", r.Seq, r.Operator, r.Time)
			}
			got = append(got, r.Action+" | "+r.Detail)
		}
		want := []string{
			"ledger schema | from 0 to 5",
			"run begun | run-1, target http://127.0.0.1/fhir",
			"run interrupted | run-1: signal",
			"run resumed | run-1, target http://127.0.0.1/fhir",
			"verification begun | run-1",
			"verification closed | run-1, 1 of 1 gates not met: refused 2% over 0.1%",
			"keys opened | riverside",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("audit log (-want +got):\n%s", diff)
		}
	})
}

// Whatever text is logged, the log verifies afterwards, also after it was opened again.
func TestAuditTakesAnyText(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		rapid.Check(t, func(rt *rapid.T) {
			action := rapid.StringN(1, 20, -1).Draw(rt, "action")
			detail := string(rapid.SliceOf(rapid.Byte()).Draw(rt, "detail"))
			if err := l.Append(t.Context(), action, detail); err != nil {
				rt.Fatal(err)
			}
		})
		if _, err := l.VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
		must(t, l.Close())
		if _, err := at.open(t).VerifyAudit(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
