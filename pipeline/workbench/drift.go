package workbench

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// baselineName is the file beside the ledger that keeps what the last profile found.
const baselineName = "baseline.json"

// SaveBaseline looks into the plan's sources and keeps what a later export is to be compared with, beside the ledger. It
// answers the file. The session must have the keys.
func SaveBaseline(ctx context.Context, s *plan.Session) (string, error) {
	p, err := profileKeyed(ctx, s)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Plan.LedgerDir(), baselineName)
	return path, p.Baseline(s.Plan.Migration, s.Keys.Fingerprint()).Write(path)
}

// Drift compares the plan's sources with the baseline in a file, "" for the one beside the ledger. The session must have
// the keys. ErrUsage if there is no such baseline, or it is another migration's.
func Drift(ctx context.Context, s *plan.Session, file string) ([]profile.Drift, error) {
	if file == "" {
		file = filepath.Join(s.Plan.LedgerDir(), baselineName)
	}
	old, err := profile.ReadBaseline(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, plan.Usagef("there is no baseline %s: `chartlift profile --save` keeps one of the export that is there now", plan.Relative(s.Plan.Dir, file))
	case err != nil:
		return nil, plan.Usage(err)
	case old.Migration != s.Plan.Migration || old.Key != s.Keys.Fingerprint():
		return nil, plan.Usagef("the baseline %s was kept under other keys, of migration %s: its codes cannot be compared", plan.Relative(s.Plan.Dir, file), old.Migration)
	}
	p, err := profileKeyed(ctx, s)
	if err != nil {
		return nil, err
	}
	return p.CompareTo(old), nil
}

// profileKeyed looks into the plan's sources; codes are named by a digest under the migration's key.
func profileKeyed(ctx context.Context, s *plan.Session) (*profile.Profile, error) {
	key := s.Keys.IDKey()
	return profileSources(ctx, s.Plan, profile.Options{Progress: s.Progress, Workers: s.Workers, Digest: func(text string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("chartlift baseline 1\x00" + text))
		return hex.EncodeToString(mac.Sum(nil)[:12])
	}})
}
