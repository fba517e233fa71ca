package state

import (
	"container/list"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// Keys makes the keys of files; [phi.Keyring] does.
type Keys interface {
	// BatchKey returns the key of the file of a name. It makes its own nonces.
	BatchKey(name string) (cipher.AEAD, error)
}

// Home says where the state of a target lies, under which keys, and whose it is.
type Home struct {
	Place  stage.Place // of this state alone
	Keys   Keys
	Target string // the identity of the target, bound into the keys: the state of another one does not pass for its own
}

func (h Home) key(file string) (cipher.AEAD, error) {
	return h.Keys.BatchKey("state of " + h.Target + "/" + file)
}

// Known is what the ledger has recorded of a state after a merge ([State.Known]). Zero: it has recorded none.
type Known struct {
	Generation int64  `json:"generation"`
	Digest     string `json:"digest"`
}

// Lost is the error of a state that is not the one which the ledger knows: it is missing, older, or of another history.
// To go on with it would forget what is in the target. It has to be put back, or made anew from what the target holds.
type Lost struct {
	Target string
	Wanted Known // what the ledger knows
	Found  Known // what is there; zero if nothing is
}

// Error names both generations.
func (l *Lost) Error() string {
	switch {
	case l.Found == Known{}:
		return fmt.Sprintf("the state of %s is missing; the ledger knows generation %d of it", l.Target, l.Wanted.Generation)
	case l.Found.Generation < l.Wanted.Generation:
		return fmt.Sprintf("the state of %s is of generation %d, older than generation %d, which the ledger knows", l.Target, l.Found.Generation, l.Wanted.Generation)
	}
	return fmt.Sprintf("the state of %s, generation %d, does not follow from generation %d, which the ledger knows", l.Target, l.Found.Generation, l.Wanted.Generation)
}

// ErrOldForm is the error of a state that an earlier version of this program wrote: [Home.Upgrade] has to come first.
var ErrOldForm = errors.New("the state of the target is in the form of an earlier version of this program")

// State is what this migration has in one target, as of one generation. It never changes: a merge returns another one. It
// may be used concurrently, also while this or another process merges.
type State struct {
	home     Home
	manifest manifest
	ahead    bool
	recorded Known // what the ledger knew when this process opened the state

	placements *table // nil if there are none
	patients   *table

	mu     sync.Mutex
	recent *list.List // of *heldBlock, the one used last in front
	blocks map[int]*list.Element
}

// heldBlocks is how many blocks of placements are held for lookups: some 5 MB.
const heldBlocks = 512

// Open opens the state of a target. Where there is none, and known is zero, it is empty. What is wrong with the manifest,
// or with the ends of the files, is a [*stage.Damage] now; what is wrong in between is one when it is read.
//
// A state that is not what is known is a [*Lost]. One that is ahead of it by one merge is not, nor by more of which the
// ledger has not been told at all: the process that merged died, or has not come to tell the ledger yet. [State.Ahead]
// says so. Where the ledger knows none any state is taken.
func (h Home) Open(ctx context.Context, known Known) (*State, error) {
	m, err := h.readManifest(ctx)
	if err != nil {
		return nil, err
	}
	for {
		if err := h.follows(m, known); err != nil {
			return nil, err
		}
		s, err := h.open(ctx, m)
		if !errors.Is(err, fs.ErrNotExist) {
			return s.of(known), err
		}
		// Another process may have merged, and removed what the manifest named.
		now, e := h.readManifest(ctx)
		if e != nil {
			return nil, e
		}
		if now == m {
			return nil, err
		}
		m = now
	}
}

// of marks a state that is ahead of what is known.
func (s *State) of(known Known) *State {
	if s != nil {
		s.ahead, s.recorded = s.manifest.Generation > known.Generation, known
	}
	return s
}

// follows holds a manifest against what the ledger knows.
func (h Home) follows(m manifest, known Known) error {
	switch {
	case known == Known{}, m.known() == known, m.there && m.Recorded == known,
		m.Generation == known.Generation+1 && m.Before == known.Digest:
		return nil
	}
	lost := &Lost{Target: h.Target, Wanted: known}
	if m.there {
		lost.Found = m.known()
	}
	return lost
}

func (m manifest) known() Known { return Known{m.Generation, m.Digest} }

func (h Home) open(ctx context.Context, m manifest) (*State, error) {
	s := &State{home: h, manifest: m, recent: list.New(), blocks: map[int]*list.Element{}}
	for _, part := range []struct {
		m     file
		magic string
		t     **table
	}{{m.Placements, placementsMagic, &s.placements}, {m.Patients, patientsMagic, &s.patients}} {
		if part.m.Name == "" {
			continue
		}
		key, err := h.key(part.m.Name)
		if err == nil {
			*part.t, err = openTable(ctx, h.Place, part.m, part.magic, key)
		}
		if err == nil && int64((*part.t).r.Records()) != m.Count {
			err = (*part.t).r.Damage((*part.t).r.Size(), "the number of placements is wrong")
		}
		if err != nil {
			_ = s.Close()
			return nil, blockfile.Missing(part.m.Name, err)
		}
	}
	return s, nil
}

// Len is the number of placements.
func (s *State) Len() int64 { return s.manifest.Count }

// Generation is how many merges made the state.
func (s *State) Generation() int64 { return s.manifest.Generation }

// Digest is the SHA-256 of the content, hex: two states have one digest exactly when they have the same placements,
// however they were merged.
func (s *State) Digest() string { return s.manifest.Digest }

// Known is what the ledger is to record of this state.
func (s *State) Known() Known { return s.manifest.known() }

// Ahead tells whether the state had more merges, when it was opened, than the ledger knew of.
func (s *State) Ahead() bool { return s.ahead }

// Close releases the files. The state cannot be read after it. It may be called again.
func (s *State) Close() error {
	var err error
	for _, t := range []*table{s.placements, s.patients} {
		if t == nil {
			continue
		}
		if e := t.close(); !errors.Is(e, fs.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// held returns a block of placements.
func (s *State) held(number int) (*heldBlock, error) {
	s.mu.Lock()
	if e := s.blocks[number]; e != nil {
		s.recent.MoveToFront(e)
		s.mu.Unlock()
		return e.Value.(*heldBlock), nil
	}
	s.mu.Unlock()
	// Not under the lock: two goroutines may read one block, but nobody waits for another's disk.
	b, err := s.placements.held(number)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks[number] == nil {
		s.blocks[number] = s.recent.PushFront(b)
		if s.recent.Len() > heldBlocks {
			old := s.recent.Remove(s.recent.Back()).(*heldBlock)
			delete(s.blocks, old.number)
		}
	}
	return b, nil
}

// Lookup finds a placement. Lookups that are near each other in order of type, id and store share a block, and so one
// read.
func (s *State) Lookup(typ string, id stage.ID, store string) (Placement, bool, error) {
	if s.placements == nil {
		return Placement{}, false, nil
	}
	number := s.placements.find(appendKey(nil, typ, &id, store))
	if number < 0 {
		return Placement{}, false, nil
	}
	b, err := s.held(number)
	if err != nil {
		return Placement{}, false, err
	}
	p, ok := s.placements.lookup(b, typ, &id, store)
	return p, ok, nil
}

// All iterates over the placements of a type, or of all types (""), in order of type, id and store. Reading all also holds
// the content against the digest, after the last placement. An error ends the sequence.
func (s *State) All(typ string) iter.Seq2[Placement, error] {
	return func(yield func(Placement, error) bool) {
		err := s.read(typ, func(r *record) bool { return yield(s.placements.placement(r), nil) })
		if err != nil && err != errStopped {
			yield(Placement{}, err)
		}
	}
}

var errStopped = errors.New("the consumer stopped")

// read calls do with the records of a type, or of all (""), until it returns false, which is errStopped.
func (s *State) read(typ string, do func(*record) bool) error {
	t := s.placements
	if t == nil {
		return nil
	}
	past := false
	block := func(number int, payload []byte) error {
		stopped := false
		ok := t.readRecords(payload, func(r *record) bool {
			if typ != "" {
				if name := t.names[r.numbers[0]]; name != typ {
					past = name > typ
					return !past
				}
			}
			stopped = !do(r)
			return !stopped
		})
		if stopped {
			return errStopped
		}
		if !ok {
			return t.unfit(number)
		}
		return nil
	}
	if typ == "" {
		return t.scan(s.manifest.Digest, block)
	}
	for number := max(0, t.find(append([]byte(typ), 0))); number < len(t.refs) && !past; number++ {
		payload, err := t.block(number)
		if err == nil {
			err = block(number, payload)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
