package stage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// Place is where the files of this package lie, by name: a folder of a disk, or a part of a bucket. A file is written
// once and whole, and never changed after that; another file may take its name. It may be used concurrently. Package
// placetest holds what every kind of place must do.
//
// A name has 1 to 150 letters, digits, '.', '-' and '_', does not begin with '.' and does not end in ".tmp" ([CheckName]).
// Another one is an error of every function; if it was given to Sub, of every function of that place.
//
// Every function that may wait for a network takes a context. That of Create also bounds the writing of the draft, and
// that of Open the reading of the file: io.Writer and io.ReaderAt have no room for one. A disk does not look at it: a
// write that has begun there ends soon, and what is known when a run is interrupted should still become durable. A
// caller that must write after its context ended passes one that did not.
type Place interface {
	// Create begins a file, which nobody sees before Publish.
	Create(ctx context.Context, name string) (Draft, error)

	// Publish makes drafts of this place visible, in the order given, and durable: whoever sees a file sees all before it,
	// whole. It takes the place of a file of the same name in one step. When it returns without an error all are durable;
	// loss of power before that leaves any of them, each whole or not at all. After an error some of the first may be
	// visible and durable or not, the others are discarded, and nothing may be tried again with the same drafts.
	Publish(ctx context.Context, drafts ...Draft) error

	// Open opens a file. Without it the error wraps fs.ErrNotExist. A file that is open when its name is taken or removed
	// goes on reading what it was opened on, or fails; it never mixes two.
	Open(ctx context.Context, name string) (File, error)

	// Exists tells whether there is a file of this name.
	Exists(ctx context.Context, name string) (bool, error)

	// List returns the names of the files that begin with a prefix, sorted; drafts, and what lies in places below, are not
	// among them. It may take as long as a look at every file of the place.
	List(ctx context.Context, prefix string) ([]string, error)

	// Remove removes a file; one that is not there is removed. Loss of power may bring it back.
	Remove(ctx context.Context, name string) error

	// Clean removes the drafts that killed processes left in this place, but not in places below it. Nobody may be writing
	// there.
	Clean(ctx context.Context) error

	// Sub is a place below, as for a run or a target. A name is that of a file or that of a place, not both. It needs not
	// be made: a place is there as soon as it has a file.
	Sub(name string) Place
}

// Draft is a file that is being written. It is not for concurrent use. Its first error stays: after a failed write nobody
// knows what was stored.
type Draft interface {
	io.Writer
	// Discard gives the file up. After Publish, and after Discard, it does nothing.
	Discard()
}

// File is an open file. It may be read concurrently. Most are read from start to end, in steps of some kilobytes: a kind
// of place for which each step costs a request reads ahead.
type File interface {
	io.ReaderAt
	io.Closer
	Size() int64 // in bytes
}

// WriteFile writes a file of a place. An error of write is returned as it is, and the place is as it was then.
func WriteFile(ctx context.Context, p Place, name string, write func(io.Writer) error) error {
	draft, err := p.Create(ctx, name)
	if err != nil {
		return err
	}
	defer draft.Discard()
	w := bufio.NewWriterSize(draft, 64<<10)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return p.Publish(ctx, draft)
}

// CheckName refuses what is not a name in a place.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 150 && name[0] != '.' && !strings.HasSuffix(name, durable.TempSuffix)
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
	}
	if !ok {
		return fmt.Errorf("%q: a name of 1 to 150 letters, digits, '.', '-' and '_' is needed that neither begins with '.' nor ends in %q", name, durable.TempSuffix)
	}
	return nil
}
