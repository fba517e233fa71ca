package stage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
)

// Damage is what is wrong with a file: it is missing, was cut or changed, or belongs elsewhere. It holds no content of
// the file. For a missing file errors.Is(err, fs.ErrNotExist) holds too.
type Damage struct {
	File   string // base name
	Offset int64  // in bytes; where the damage was noticed: at, or a little before or behind, where it lies
	What   string

	cause error
}

// Error names the file, the offset and what is wrong.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", d.File, d.Offset, d.What)
}

// Unwrap is what the system said, if it said anything.
func (d *Damage) Unwrap() error { return d.cause }

// missing is the damage of a file that ought to be there; other errors stay what they are.
func missing(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Damage{File: filepath.Base(path), What: "the file is missing", cause: fs.ErrNotExist}
	}
	return err
}

// short is the damage of a file that ends too early; other errors stay what they are.
func short(name string, off int64, err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Damage{File: name, Offset: off, What: "the file ends too early"}
	}
	return fmt.Errorf("read %s: %w", name, err)
}
