package plan

import (
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// Scratch is where the work on a run keeps what does not fit into memory, on this machine; "": work on no run.
func (s *Session) Scratch(run string) *stage.Scratch {
	return stage.NewScratch(filepath.Join(s.Plan.Stage, run))
}
