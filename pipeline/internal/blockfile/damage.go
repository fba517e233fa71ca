package blockfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Damage is what is wrong with a file: it is missing, was cut or changed, or belongs elsewhere. It holds no content of
// the file. For a missing file errors.Is(err, fs.ErrNotExist) holds too.
type Damage struct {
	File   string // its name in its place
	Offset int64  // in bytes; where the damage was noticed: at, or a little before or behind, where it lies
	What   string
	Cause  error // what the system said, if it said anything
}

// Error names the file, the offset and what is wrong.
func (d *Damage) Error() string {
	return fmt.Sprintf("%s is damaged at byte %d: %s", d.File, d.Offset, d.What)
}

// Unwrap returns Cause.
func (d *Damage) Unwrap() error { return d.Cause }

// Missing is the damage of a file that ought to be there, if err says that it is not; other errors stay what they are.
func Missing(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Damage{File: name, What: "the file is missing", Cause: fs.ErrNotExist}
	}
	return err
}

// Short is the damage of a file that ends too early, if err says that it does; other errors stay what they are.
func Short(name string, off int64, err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return &Damage{File: name, Offset: off, What: "the file ends too early"}
	}
	return fmt.Errorf("read %s: %w", name, err)
}
