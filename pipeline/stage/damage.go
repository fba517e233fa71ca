package stage

import "github.com/chartlift/chartlift/pipeline/internal/blockfile"

// Damage is what is wrong with a file: it is missing, was cut or changed, or belongs elsewhere. It holds no content of
// the file. For a missing file errors.Is(err, fs.ErrNotExist) holds too.
type Damage = blockfile.Damage
