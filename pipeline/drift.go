package pipeline

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/extract/profile"
)

// baselineName is the file beside the ledger that keeps what the last profile found.
const baselineName = "baseline.json"

// SaveBaseline looks into the plan's sources and keeps what a later export is to be compared with, beside the ledger. It
// answers the file. The session must have the keys.
func (s *Session) SaveBaseline(ctx context.Context) (string, error) {
	p, err := s.profile(ctx)
	if err != nil {
		return "", err
	}
	path := filepath.Join(s.Plan.ledgerDir(), baselineName)
	return path, p.Baseline(s.Plan.Migration, s.keys.Fingerprint()).Write(path)
}

// Drift compares the plan's sources with the baseline in a file, "" for the one beside the ledger. The session must have
// the keys. ErrUsage if there is no such baseline, or it is another migration's.
func (s *Session) Drift(ctx context.Context, file string) ([]profile.Drift, error) {
	if file == "" {
		file = filepath.Join(s.Plan.ledgerDir(), baselineName)
	}
	old, err := profile.ReadBaseline(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usagef("there is no baseline %s: `chartlift profile --save` keeps one of the export that is there now", relative(s.Plan.Dir, file))
	case err != nil:
		return nil, usageError{err}
	case old.Migration != s.Plan.Migration || old.Key != s.keys.Fingerprint():
		return nil, usagef("the baseline %s was kept under other keys, of migration %s: its codes cannot be compared", relative(s.Plan.Dir, file), old.Migration)
	}
	p, err := s.profile(ctx)
	if err != nil {
		return nil, err
	}
	return p.CompareTo(old), nil
}

// profile looks into the plan's sources; codes are named by a digest under the migration's key.
func (s *Session) profile(ctx context.Context) (*profile.Profile, error) {
	key := s.keys.IDKey()
	return profileSources(ctx, s.Plan, profile.Options{Progress: s.options.Progress, Workers: s.options.Workers, Digest: func(text string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("chartlift baseline 1\x00" + text))
		return hex.EncodeToString(mac.Sum(nil)[:12])
	}})
}
