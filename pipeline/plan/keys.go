package plan

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// KeyPlace says which keys are meant and where they lie.
func (p *Plan) KeyPlace() phi.KeyPlace {
	return phi.KeyPlace{KEK: p.PHI.Keys, Store: p.PHI.KeyStore, Migration: p.Migration}
}

// apart are the folders of data, in which no key may lie.
func (p *Plan) apart() []string { return []string{p.Stage, p.LedgerDir()} }

// KeyBackup is what became of a backup of the keys.
type KeyBackup struct {
	phi.Backup
	File    string `json:"file"`
	Audited bool   `json:"audited"` // false while a run holds the ledger; the entry of the restore names the backup
}

// BackupKeys backs the keys of a plan's migration up into a new file. A run may add keys meanwhile.
func BackupKeys(ctx context.Context, planFile, file string, o Options) (b KeyBackup, err error) {
	plan, err := Read(planFile)
	if err != nil {
		return b, err
	}
	b.File = file
	b.Backup, err = phi.WriteBackup(ctx, plan.KeyPlace(), file, nowOf(o), plan.apart()...)
	if err != nil {
		return b, Usage(err)
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
	plan, err := Read(planFile)
	if err != nil {
		return r, err
	}
	restored, err := phi.RestoreKeys(ctx, phi.RestoreOptions{Place: plan.KeyPlace(), Backup: o.File, KEK: o.KEK, Into: o.Into, Forbidden: plan.apart()})
	if err != nil {
		return r, Usage(err)
	}
	r = KeyRestore{Backup: restored.Backup, Opened: restored.Proven, Placed: restored.Placed}
	keys, err := phi.OpenKeys(ctx, plan.KeyPlace())
	switch {
	case err == nil:
		_, err = keys.RecordProof(ctx, restored, nowOf(o.Options))
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

// RotateKeys gives the keyring a new root key, or, if kek names another key-encryption key (a file: path is from the
// working folder), puts it under that.
func RotateKeys(ctx context.Context, planFile, kek string, o Options) (r KeyRotation, err error) {
	plan, err := Read(planFile)
	if err != nil {
		return r, err
	}
	// The audit log first: it is closed to this command while a run holds the ledger, and then so are the keys.
	l, err := ledger.Open(ctx, plan.Ledger, ledger.Options{Migration: plan.Migration, Operator: o.Operator, Now: o.Now})
	if err != nil {
		return r, fmt.Errorf("audit log: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if path, ok := strings.CutPrefix(kek, "file:"); ok && path != "" {
		if path, err = filepath.Abs(path); err != nil {
			return r, Usage(err)
		}
		kek = "file:" + path
	}
	if kek != "" {
		if err := phi.RewrapKeys(ctx, plan.KeyPlace(), kek, plan.apart()...); err != nil {
			return r, Usage(err)
		}
		return KeyRotation{KEK: kek, Store: plan.KeyPlace().Folder()}, l.Append(ctx, "keys rotate", "keyring put under another key-encryption key")
	}
	rotation, err := phi.RotateKeys(ctx, plan.KeyPlace())
	if err != nil {
		return r, Usage(err)
	}
	return KeyRotation{Rotation: &rotation}, l.Append(ctx, "keys rotate", fmt.Sprintf("keyring %s has root key %d, %d patient keys wrapped under it", rotation.Fingerprint, rotation.Root, rotation.Keys))
}

// KeyRotation is what became of rotating: one of the two.
type KeyRotation struct {
	*phi.Rotation        // a new root key
	KEK           string `json:"kek,omitempty"`   // another key-encryption key, as the command named it
	Store         string `json:"store,omitempty"` // where keyring and key store lie then as before
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

// InitKeys makes the keys of a plan's migration and returns where they are.
func InitKeys(ctx context.Context, planFile string) (string, error) {
	plan, err := Read(planFile)
	if err != nil {
		return "", err
	}
	if err := phi.InitKeys(ctx, plan.KeyPlace(), plan.apart()...); err != nil {
		return "", Usage(err)
	}
	return plan.PHI.Keys, nil
}
