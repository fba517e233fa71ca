package workbench

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/report"
	"github.com/chartlift/chartlift/pipeline/run"
)

// Summary is the account of a run; "" is the latest of any kind.
func Summary(ctx context.Context, s *plan.Session, id string) (*ledger.Summary, error) {
	found, err := run.Find(ctx, s, id, "")
	if err != nil {
		return nil, err
	}
	return s.Ledger.Summary(ctx, found.ID)
}

// Report writes the findings of a run into dir, and answers the files.
func Report(ctx context.Context, s *plan.Session, id, dir string, formats []string) ([]string, error) {
	found, err := run.Find(ctx, s, id, "")
	if err != nil {
		return nil, err
	}
	snapshot, err := s.Ledger.Snapshot(ctx) // sums and lists of one moment, while a run goes on
	if err != nil {
		return nil, err
	}
	defer func() { _ = snapshot.Close() }() // it only read
	data, err := report.Load(ctx, snapshot, found.ID)
	if err != nil {
		return nil, err
	}
	data.Migration = s.Plan.Migration
	data.Generated = s.Now().UTC().Format("2006-01-02 15:04 UTC")
	data.Facts = []report.Fact{
		{Name: "Chartlift", Value: s.Version},
		{Name: "Policy", Value: s.Plan.PHI.Policy},
		{Name: "Delivery", Value: s.Plan.PHI.Delivery},
		{Name: "Target", Value: found.Target},
		{Name: "Mappings", Value: found.Pins["mappings"]},
	}
	for i, f := range formats {
		formats[i] = strings.TrimSpace(f)
	}
	if err := report.Write(dir, formats, data); err != nil {
		return nil, plan.Usage(err)
	}
	var files []string
	for _, f := range formats {
		files = append(files, filepath.Join(dir, "report."+f))
	}
	return files, nil
}
