package stage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// Scratch is where a process keeps, for a while, what does not fit into its memory: the files of a [Sorter], a
// [Multimap] and [Index]. It is a folder of this machine, never a bucket. The files are compressed, and encrypted under
// a key that exists in memory alone, so what a killed process leaves behind cannot be read by anyone. They are removed at
// the end and never synced. It may be used concurrently.
type Scratch struct {
	fs  durable.FS
	dir string
}

// NewScratch makes a scratch of a folder, which is made when it is needed (mode 0700). It may be that of a [Disk]: the
// names of the two do not meet.
func NewScratch(dir string) *Scratch { return &Scratch{durable.OS{}, dir} }

// Clean removes the files that killed processes left. Nobody may be using the scratch.
func (s *Scratch) Clean() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return gone(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), spillPrefix) && strings.HasSuffix(e.Name(), durable.TempSuffix) {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
