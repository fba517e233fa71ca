package run

import (
	"context"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/extract/sqldb"
	"github.com/chartlift/chartlift/pipeline/plan"
)

func recordSnapshots(ctx context.Context, s *plan.Session, run string) error {
	for _, p := range s.Plan.Sources {
		source, ok := s.Source(p.Name).(*sqldb.Source)
		if !ok {
			continue
		}
		name := source.Snapshot()
		if name == "" {
			name = "the engine names none"
		}
		if err := s.Ledger.Append(ctx, "snapshot", fmt.Sprintf("%s reads source %s, %s, in one snapshot: %s", run, p.Name, p.Kind, name)); err != nil {
			return err
		}
	}
	return nil
}
