package extract

import (
	"errors"
	"io/fs"
)

// ErrChanged is wrapped by the error of a Read or Shards that finds another file than the one that Tables read or that was
// split into shards. The run stops; nothing of it may be mixed.
var ErrChanged = errors.New("the file has changed while it was being read")

// Pathless takes the folder out of an error of the file system: the caller names the file as the plan does.
func Pathless(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
