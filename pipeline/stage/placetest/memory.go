package placetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// Memory is a place in memory, for tests. It may be used concurrently.
type Memory struct {
	objects *objects
	prefix  string // of the names of this place: "", or names of places each followed by a slash
	err     error  // of the name that the place was made with
}

// objects is what a bucket holds: whole contents by name.
type objects struct {
	mu      sync.Mutex
	content map[string][]byte
	drafts  map[*draftInMemory]bool
}

// NewMemory makes an empty place.
func NewMemory() *Memory {
	return &Memory{objects: &objects{content: map[string][]byte{}, drafts: map[*draftInMemory]bool{}}}
}

// draftInMemory is a file that is being written.
type draftInMemory struct {
	of      *Memory
	name    string
	content bytes.Buffer
}

// Write appends to the draft. One that was given up, published or cleaned away takes no more.
func (d *draftInMemory) Write(b []byte) (int, error) {
	d.of.objects.mu.Lock()
	defer d.of.objects.mu.Unlock()
	if !d.of.objects.drafts[d] {
		return 0, fs.ErrClosed
	}
	return d.content.Write(b)
}

// Discard gives the draft up.
func (d *draftInMemory) Discard() {
	d.of.objects.mu.Lock()
	defer d.of.objects.mu.Unlock()
	delete(d.of.objects.drafts, d)
}

// check refuses bad names.
func (m *Memory) check(name string) error {
	if m.err != nil {
		return m.err
	}
	return stage.CheckName(name)
}

// Create begins a file.
func (m *Memory) Create(_ context.Context, name string) (stage.Draft, error) {
	if err := m.check(name); err != nil {
		return nil, err
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	d := &draftInMemory{of: m, name: name}
	m.objects.drafts[d] = true
	return d, nil
}

// Publish makes drafts visible.
func (m *Memory) Publish(_ context.Context, drafts ...stage.Draft) error {
	if m.err != nil {
		return m.err
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	var err error
	for _, draft := range drafts {
		d, ok := draft.(*draftInMemory)
		switch {
		case !ok || d.of.objects != m.objects || d.of.prefix != m.prefix:
			err = errors.New("a draft of another place")
		case !m.objects.drafts[d]:
			err = fs.ErrClosed
		case err == nil:
			m.objects.content[m.prefix+d.name] = d.content.Bytes()
		}
		if ok {
			delete(d.of.objects.drafts, d)
		}
	}
	return err
}

// fileInMemory is an open file.
type fileInMemory struct{ *bytes.Reader }

// Close does nothing.
func (fileInMemory) Close() error { return nil }

// Open opens a file.
func (m *Memory) Open(_ context.Context, name string) (stage.File, error) {
	if err := m.check(name); err != nil {
		return nil, err
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	content, ok := m.objects.content[m.prefix+name]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return fileInMemory{bytes.NewReader(content)}, nil
}

// Exists tells whether there is a file of this name.
func (m *Memory) Exists(ctx context.Context, name string) (bool, error) {
	_, err := m.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// List returns the names of the files that begin with a prefix, sorted.
func (m *Memory) List(_ context.Context, prefix string) ([]string, error) {
	if m.err != nil {
		return nil, m.err
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	var names []string
	for object := range m.objects.content {
		name, ok := strings.CutPrefix(object, m.prefix)
		if ok && strings.HasPrefix(name, prefix) && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Remove removes a file.
func (m *Memory) Remove(_ context.Context, name string) error {
	if err := m.check(name); err != nil {
		return err
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	delete(m.objects.content, m.prefix+name)
	return nil
}

// Clean removes the drafts of this place.
func (m *Memory) Clean(context.Context) error {
	if m.err != nil {
		return m.err
	}
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	for d := range m.objects.drafts {
		if d.of.prefix == m.prefix {
			delete(m.objects.drafts, d)
		}
	}
	return nil
}

// Sub is a place below.
func (m *Memory) Sub(name string) stage.Place {
	sub := &Memory{objects: m.objects, prefix: m.prefix + name + "/", err: m.err}
	if sub.err == nil {
		sub.err = stage.CheckName(name)
	}
	return sub
}

// stored lists what is kept for the place itself, drafts included.
func (m *Memory) stored() []string {
	m.objects.mu.Lock()
	defer m.objects.mu.Unlock()
	var names []string
	for object := range m.objects.content {
		if name, ok := strings.CutPrefix(object, m.prefix); ok && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	for d := range m.objects.drafts {
		if d.of.prefix == m.prefix {
			names = append(names, d.name+" (draft)")
		}
	}
	slices.Sort(names)
	return names
}
