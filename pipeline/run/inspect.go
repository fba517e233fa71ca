package run

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

const quarantineSuffix = ".quarantine"

// inspect reads the quarantined rows of a run, which no other station reads: damage to them is to be found now, and not
// on the day when somebody wants to look at a refused record.
func inspect(dir string, keys *phi.Keyring) error {
	names, err := os.ReadDir(dir)
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
		for _, err := range stage.ReadQuarantine(dir, id, keys) {
			if err != nil {
				return err
			}
		}
	}
	return nil
}
