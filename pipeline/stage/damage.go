package stage

import (
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
)

// Damage is what is wrong with a file: it is missing, was cut or changed, or belongs elsewhere. It holds no content of
// the file. For a missing file errors.Is(err, fs.ErrNotExist) holds too.
type Damage = blockfile.Damage

// missing is the damage of a file that ought to be there; other errors stay what they are.
func missing(path string, err error) error { return blockfile.Missing(filepath.Base(path), err) }

// short is the damage of a file that ends too early; other errors stay what they are.
func short(name string, off int64, err error) error { return blockfile.Short(name, off, err) }
