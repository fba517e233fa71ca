package run

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/state"
)

// findBackupStale is the rule of a notice: patients have keys that no proven backup holds.
const findBackupStale = "backup-stale"

// checkBackup refuses to send what only our keys can open to anything but a sandbox, until somebody has proven that the
// keys can be restored: who loses them then loses the patients' data, and notices when it is too late.
func checkBackup(ctx context.Context, p *plan.Plan, keys *phi.Keyring) error {
	if !p.Separates() {
		return nil
	}
	real := false
	for _, t := range []*plan.Target{p.Clinical, p.Identity} {
		real = real || t != nil && t.Kind != load.KindSandbox
	}
	if !real {
		return nil
	}
	if _, _, err := keys.Proof(ctx); errors.Is(err, phi.ErrNoProof) {
		return plan.Usagef("delivery %s: %w; `chartlift keys backup -o FILE`, then `chartlift keys restore FILE` proves it (a sandbox needs no proof)", p.PHI.Delivery, err)
	} else if err != nil {
		return err
	}
	return nil
}

// backups is the station that looks for keys of patients that no backup holds.
type backups struct {
	once      *once
	separates bool // the delivery leaves what only our keys can open
	keys      *phi.Keyring
	log       *zap.Logger
}

// do says when patients have come since the backup whose restore was proven: their keys are in no backup that
// anyone knows to be good.
func (b *backups) do(ctx context.Context) error {
	if !b.separates {
		return nil
	}
	_, since, err := b.keys.Proof(ctx)
	if errors.Is(err, phi.ErrNoProof) {
		return nil // a sandbox; a real target was refused
	}
	if err != nil || since == 0 {
		return err
	}
	b.log.Warn("patients have keys that no proven backup holds: make a new one with `chartlift keys backup` and prove it with `chartlift keys restore`", zap.Int("keys", since))
	return b.once.do(ctx, ledger.Check, "backup", func(context.Context) (ledger.Report, error) {
		return ledger.Report{Findings: []ledger.Finding{{Table: "keys", Rule: findBackupStale, Severity: ledger.NoticeSeverity}}}, nil
	})
}

// checkKeys makes sure that every patient who is in the target's state has a key. A key store that lost its end, or was
// put back from an old copy, looks whole by itself; a run would make new keys, take everything for changed, and leave
// what is staged beyond anyone's reach.
func checkKeys(state *state.State, keys *phi.Keyring) error {
	patients, without := 0, 0
	for e, err := range state.All("Patient") {
		if err != nil {
			return err
		}
		found, err := keys.Has(mapping.ID(e.ID).String())
		if err != nil {
			return err
		}
		patients++
		if !found {
			without++
		}
	}
	if without > 0 {
		return fmt.Errorf("key store %s: of %d patients in the state of the target %d have no key in it: restore it from its backup: %w", keys.StorePath(), patients, without, phi.ErrNoKey)
	}
	return nil
}
