package placetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/stage"
)

func TestMemoryIsAPlace(t *testing.T) {
	Run(t, func(*testing.T) (stage.Place, func() []string) {
		m := NewMemory()
		return m, m.stored
	})
}

// recorder is a test that is meant to fail.
type recorder struct {
	mu     sync.Mutex
	ctx    context.Context
	failed []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// A place with a fault fails the check that is for it: each check can fail.
func TestFaultsAreFound(t *testing.T) {
	faults := map[string][]string{
		"a file comes back":                 {"cuts files", "says another size", "reads from another place"},
		"a draft is seen by nobody":         {"shows drafts"},
		"drafts are published together":     {"goes on after a fault"},
		"a file takes the place of another": {"keeps the first"},
		"what is absent":                    {"opens what is absent", "fails to remove what is absent", "says that all exists", "has another error", "fails to list nothing"},
		"a file is removed":                 {"removes nothing"},
		"names are checked":                 {"takes any name"},
		"names are listed in order":         {"lists backwards", "lists all"},
		"places below are apart":            {"is its own below"},
		"writers of one name":               {"has one draft for all"},
		"drafts that are given up":          {"keeps drafts"},
		"drafts of killed processes":        {"cleans nothing", "cleans all"},
		"drafts of another place":           {"takes drafts of others"},
	}
	for _, check := range checks {
		if len(faults[check.name]) == 0 {
			t.Errorf("%s: no fault is planted", check.name)
		}
		for _, fault := range faults[check.name] {
			r := &recorder{ctx: t.Context()}
			m := NewMemory()
			var wait sync.WaitGroup
			wait.Go(func() { check.run(r, flawed{m, fault, &sync.Map{}}, m.stored) })
			wait.Wait()
			if len(r.failed) == 0 {
				t.Errorf("%s: a place that %s passes", check.name, fault)
			}
		}
	}
}

// flawed is a place with a fault.
type flawed struct {
	*Memory
	fault  string
	drafts *sync.Map // by name, of a place that has one draft for all
}

func (f flawed) Sub(name string) stage.Place {
	if f.fault == "is its own below" {
		return f
	}
	f.Memory = f.Memory.Sub(name).(*Memory)
	return f
}

func (f flawed) Create(ctx context.Context, name string) (stage.Draft, error) {
	if f.fault == "takes any name" {
		name = strings.Repeat("n", 1+len(name)%100)
	}
	if f.fault == "has one draft for all" {
		if d, ok := f.drafts.Load(name); ok {
			return d.(stage.Draft), nil
		}
	}
	d, err := f.Memory.Create(ctx, name)
	switch {
	case err != nil:
		return nil, err
	case f.fault == "shows drafts":
		f.objects.content[f.prefix+name] = []byte("new")
	case f.fault == "has one draft for all":
		f.drafts.Store(name, d)
	case f.fault == "keeps drafts":
		return keptDraft{d}, nil
	}
	return d, nil
}

// keptDraft cannot be given up.
type keptDraft struct{ stage.Draft }

func (keptDraft) Discard() {}

func (f flawed) Publish(ctx context.Context, drafts ...stage.Draft) error {
	if f.fault == "keeps the first" {
		drafts = slices.DeleteFunc(slices.Clone(drafts), func(d stage.Draft) bool {
			_, there := f.objects.content[f.prefix+d.(*draftInMemory).name]
			return there
		})
	}
	for i, d := range drafts {
		if k, ok := d.(keptDraft); ok {
			drafts[i] = k.Draft
		}
	}
	if f.fault == "goes on after a fault" {
		var err error
		for _, d := range drafts {
			err = errors.Join(err, f.Memory.Publish(ctx, d))
		}
		return err
	}
	if f.fault == "takes drafts of others" {
		for _, d := range drafts {
			d.(*draftInMemory).of = f.Memory
		}
	}
	return f.Memory.Publish(ctx, drafts...)
}

func (f flawed) Open(ctx context.Context, name string) (stage.File, error) {
	file, err := f.Memory.Open(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f.fault == "opens what is absent":
		return fileInMemory{}, nil
	case errors.Is(err, fs.ErrNotExist) && f.fault == "has another error":
		return nil, errors.New("not there")
	case err != nil:
		return nil, err
	}
	return flawedFile{file, f}, nil
}

type flawedFile struct {
	stage.File
	of flawed
}

func (f flawedFile) Size() int64 {
	if f.of.fault == "says another size" {
		return f.File.Size() + 1
	}
	if f.of.fault == "cuts files" {
		return f.File.Size() / 2
	}
	return f.File.Size()
}

func (f flawedFile) ReadAt(b []byte, off int64) (int, error) {
	if f.of.fault == "reads from another place" && off == 3996 {
		return f.File.ReadAt(b, 0)
	}
	return f.File.ReadAt(b, off)
}

func (f flawed) Exists(ctx context.Context, name string) (bool, error) {
	if f.fault == "says that all exists" {
		return true, nil
	}
	return f.Memory.Exists(ctx, name)
}

func (f flawed) List(ctx context.Context, prefix string) ([]string, error) {
	if f.fault == "fails to list nothing" {
		return nil, fs.ErrNotExist
	}
	if f.fault == "lists all" {
		prefix = ""
	}
	names, err := f.Memory.List(ctx, prefix)
	if f.fault == "lists backwards" {
		slices.Reverse(names)
	}
	return names, err
}

func (f flawed) Remove(ctx context.Context, name string) error {
	if f.fault == "removes nothing" {
		return nil
	}
	if f.fault == "fails to remove what is absent" {
		if ok, _ := f.Memory.Exists(ctx, name); !ok {
			return fs.ErrNotExist
		}
	}
	return f.Memory.Remove(ctx, name)
}

func (f flawed) Clean(ctx context.Context) error {
	if f.fault == "cleans nothing" {
		return nil
	}
	if f.fault == "cleans all" {
		clear(f.objects.content)
	}
	return f.Memory.Clean(ctx)
}
