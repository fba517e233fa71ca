package run

import (
	"errors"
	"testing"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// TestTablesThatCannotBeReadAreClosedOnce: what a run holds it closes at its end, so a failure must leave nothing.
func TestTablesThatCannotBeReadAreClosedOnce(t *testing.T) {
	broken := errors.New("broken")
	j, err := Join(t.Context(), []*extract.Table{{Source: "s", Name: "notes"}}, []*mapping.Index{{Source: "s", Table: "notes"}}, stage.NewScratch(t.TempDir()), 1<<20, 1,
		func(*Beside) ([]extract.Shard, ReadShard, error) { return nil, nil, broken })
	if !errors.Is(err, broken) || j != nil {
		t.Errorf("%v, %v", j, err)
	}
}
