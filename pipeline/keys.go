package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// KeyBackup is what became of a backup of the keys.
type KeyBackup struct {
	phi.Backup
	File    string `json:"file"`
	Audited bool   `json:"audited"` // false while a run holds the ledger; the entry of the restore names the backup
}

// BackupKeys backs the keys of a plan's migration up into a new file. A run may add keys meanwhile.
func BackupKeys(ctx context.Context, planFile, file string, o Options) (b KeyBackup, err error) {
	plan, err := ReadPlan(planFile)
	if err != nil {
		return b, err
	}
	b.File = file
	b.Backup, err = phi.WriteBackup(plan.PHI.Keys, plan.Migration, file, nowOf(o), plan.Stage, plan.ledgerDir())
	if err != nil {
		return b, usageError{err}
	}
	err = audit(ctx, plan, o, "keys backup", fmt.Sprintf("backup %s of keyring %s, %d patient keys", b.ID, b.Fingerprint, b.Keys))
	b.Audited = err == nil
	if errors.Is(err, ledger.ErrLocked) {
		err = nil
	}
	return b, err
}

// KeyRestore is what became of restoring a backup of the keys.
type KeyRestore struct {
	phi.Backup
	Opened int      `json:"proven"` // patient keys that were opened out of the restored files
	Placed []string `json:"placed"` // files written; none if all were there
	// Recorded: the proof lies beside the keyring, and deliveries sealed and split may go to a real target.
	Recorded bool `json:"recorded"`
}

// RestoreOptions is what RestoreKeys needs beside the plan.
type RestoreOptions struct {
	Options
	File string // the backup
	KEK  string // URI of the copy of the key-encryption key; "": the plan's own
	Into string // an empty folder to restore to, as a rehearsal; "": what is missing of the plan's keys
}

// RestoreKeys restores a backup of the keys: it proves that every key in it opens, puts back what is missing, and
// records the proof beside the keyring and in the audit log.
func RestoreKeys(ctx context.Context, planFile string, o RestoreOptions) (r KeyRestore, err error) {
	plan, err := ReadPlan(planFile)
	if err != nil {
		return r, err
	}
	kek := o.KEK
	if kek == "" {
		kek = plan.PHI.Keys
	}
	restored, err := phi.RestoreKeys(phi.RestoreOptions{
		Migration: plan.Migration, Backup: o.File, KEK: kek, Keys: plan.PHI.Keys, Into: o.Into,
		Forbidden: []string{plan.Stage, plan.ledgerDir()},
	})
	if err != nil {
		return r, usageError{err}
	}
	r = KeyRestore{Backup: restored.Backup, Opened: restored.Proven, Placed: restored.Placed}
	keys, err := phi.OpenKeys(plan.PHI.Keys, plan.Migration)
	switch {
	case err == nil:
		_, err = keys.RecordProof(restored, nowOf(o.Options))
		if err = errors.Join(err, keys.Close()); err != nil {
			return r, fmt.Errorf("%s opens, key by key, but is no proof for the keys that are here: %w", o.File, err)
		}
		r.Recorded = true
	case o.Into == "" && o.KEK == "":
		return r, err
	}
	where := "into the keys' own place"
	if o.Into != "" {
		where = "into a folder, as a rehearsal"
	} else if len(r.Placed) == 0 {
		where = "as a rehearsal"
	}
	return r, audit(ctx, plan, o.Options, "keys restore", fmt.Sprintf("backup %s of keyring %s, %d patient keys opened, %s", r.ID, r.Fingerprint, r.Opened, where))
}

func nowOf(o Options) time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// audit adds one entry to the audit log of the plan's ledger.
func audit(ctx context.Context, plan *Plan, o Options, action, detail string) (err error) {
	l, err := ledger.Open(ctx, plan.Ledger, ledger.Options{Migration: plan.Migration, Operator: o.Operator, Now: o.Now})
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return l.Append(ctx, action, detail)
}

// separates tells whether the delivery leaves patient data in the target that only our keys can open, or apart from
// what it belongs to.
func (p *Plan) separates() bool {
	return p.PHI.Delivery == deliverSealed || p.PHI.Delivery == deliverSplit
}

// checkBackup refuses to send what only our keys can open to anything but a sandbox, until somebody has proven that the
// keys can be restored: who loses them then loses the patients' data, and notices when it is too late.
func (s *Session) checkBackup() error {
	if !s.Plan.separates() {
		return nil
	}
	real := false
	for _, t := range []*TargetPlan{s.Plan.Clinical, s.Plan.Identity} {
		real = real || t != nil && t.Kind != load.KindSandbox
	}
	if !real {
		return nil
	}
	if _, _, err := s.keys.Proof(); errors.Is(err, phi.ErrNoProof) {
		return usagef("delivery %s: %w; `chartlift keys backup -o FILE`, then `chartlift keys restore FILE` proves it (a sandbox needs no proof)", s.Plan.PHI.Delivery, err)
	} else if err != nil {
		return err
	}
	return nil
}

// checkNewKeys says when patients have come since the backup whose restore was proven: their keys are in no backup that
// anyone knows to be good.
func (r *runner) checkNewKeys(ctx context.Context) error {
	if !r.Plan.separates() {
		return nil
	}
	_, since, err := r.keys.Proof()
	if errors.Is(err, phi.ErrNoProof) {
		return nil // a sandbox; a real target was refused
	}
	if err != nil || since == 0 {
		return err
	}
	r.log.Warn("patients have keys that no proven backup holds: make a new one with `chartlift keys backup` and prove it with `chartlift keys restore`", zap.Int("keys", since))
	return r.once(ctx, ledger.Check, "backup", func(context.Context) (ledger.Report, error) {
		return ledger.Report{Findings: []ledger.Finding{{Table: "keys", Rule: findBackupStale, Severity: ledger.NoticeSeverity}}}, nil
	})
}
