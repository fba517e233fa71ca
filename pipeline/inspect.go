package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const quarantineSuffix = ".quarantine"

// inspect reads the quarantined rows of a run, which no other station reads: damage to them is to be found now, and not
// on the day when somebody wants to look at a refused record.
func (r *runner) inspect() error {
	names, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		id, ok := strings.CutSuffix(n.Name(), quarantineSuffix)
		if !ok {
			continue
		}
		for _, err := range stage.ReadQuarantine(r.dir, id, r.keys) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// checkKeys makes sure that every patient who is in the target's state has a key. A key store that lost its end, or was
// put back from an old copy, looks whole by itself; a run would make new keys, take everything for changed, and leave
// what is staged beyond anyone's reach.
func (r *runner) checkKeys() error {
	patients, without := 0, 0
	for e, err := range r.state.All("Patient") {
		if err != nil {
			return err
		}
		found, err := r.keys.Has(mapping.ID(e.ID).String())
		if err != nil {
			return err
		}
		patients++
		if !found {
			without++
		}
	}
	if without > 0 {
		return fmt.Errorf("key store %s: of %d patients in the state of the target %d have no key in it: restore it from its backup: %w", r.keys.StorePath(), patients, without, phi.ErrNoKey)
	}
	return nil
}
