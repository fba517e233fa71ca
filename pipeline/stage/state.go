package stage

import (
	"bufio"
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sort"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

// StateEntry is one resource that this migration has in a target.
type StateEntry struct {
	Type        string
	ID, Patient ID
	Digest      [16]byte
	Version     string // of the target
	Batch       string // that it was loaded from
	Table       string
	Line        int64
	Status      uint8 // the caller's; 0 in a merge removes the entry
}

// Append appends the entry in a form that ParseStateEntry reads, for a Sorter.
func (e StateEntry) Append(dst []byte) []byte {
	dst = appendText(dst, e.Type)
	dst = append(dst, e.ID[:]...)
	dst = append(dst, e.Patient[:]...)
	dst = append(dst, e.Digest[:]...)
	dst = append(dst, e.Status)
	dst = appendText(dst, e.Version)
	dst = appendText(dst, e.Batch)
	dst = appendText(dst, e.Table)
	return binary.AppendVarint(dst, e.Line)
}

var errEntry = errors.New("these bytes are not an entry of a state")

// ParseStateEntry reads what Append wrote. It copies what it keeps.
func ParseStateEntry(b []byte) (StateEntry, error) {
	c := cursor{b: b}
	e := StateEntry{Type: string(c.take(c.length(1)))}
	copy(e.ID[:], c.take(len(e.ID)))
	copy(e.Patient[:], c.take(len(e.Patient)))
	copy(e.Digest[:], c.take(len(e.Digest)))
	e.Status = c.byte()
	e.Version = string(c.take(c.length(1)))
	e.Batch = string(c.take(c.length(1)))
	e.Table = string(c.take(c.length(1)))
	e.Line = c.varint()
	if !c.done() {
		return StateEntry{}, errEntry
	}
	return e, nil
}

// cachedBlocks is how many blocks of a state are kept for Lookup: some 15 MB.
const cachedBlocks = 128

// State is what this migration has in one target: entries sorted by (Type, ID), in a file that is never changed. It may
// be used concurrently.
type State struct {
	disk     disk
	dir      string
	manifest stateManifest
	r        *blockReader // nil if there is no file yet
	refs     []stateBlockRef

	mu     sync.Mutex
	recent *list.List // of *cachedBlock, the one used last in front
	blocks map[int]*list.Element
}

type cachedBlock struct {
	number  int
	entries []StateEntry
}

// OpenState opens the state in a folder; it is empty if there is none. What is wrong with the manifest, or with the
// ends of the file, is a [*Damage] now; what is wrong in between is one when it is read, and the SHA-256 of the file is
// checked whenever it is read whole, as every Merge does.
func OpenState(dir string) (*State, error) { return openState(osDisk{}, dir) }

func openState(d disk, dir string) (*State, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	return openStateOf(d, dir, m)
}

func openStateOf(d disk, dir string, m stateManifest) (*State, error) {
	s := &State{disk: d, dir: dir, manifest: m, recent: list.New(), blocks: map[int]*list.Element{}}
	if m.File == "" {
		return s, nil
	}
	path := filepath.Join(dir, m.File)
	r, err := openBlocksIn(path, stateMagic, nil)
	if err != nil {
		return nil, missing(path, err)
	}
	if r.size != m.Bytes {
		r.close()
		return nil, r.damage(min(r.size, m.Bytes), "the file is longer or shorter than it was")
	}
	if s.refs, err = readDirectory(r); err != nil {
		r.close()
		return nil, err
	}
	if int64(r.records) != m.Count {
		r.close()
		return nil, r.damage(r.size-endBytes, "the number of entries is wrong")
	}
	s.r = r
	return s, nil
}

// Len is the number of entries.
func (s *State) Len() int64 { return s.manifest.Count }

// Digest is the SHA-256 of the content, hex: two states have one digest exactly when they have the same entries.
func (s *State) Digest() string {
	if s.manifest.SHA256 == "" {
		return emptyDigest()
	}
	return s.manifest.SHA256
}

// emptyDigest is the digest of a state without entries.
func emptyDigest() string {
	sum := sha256.New()
	if w, err := newStateWriter(sum); err == nil { // a hash does not fail
		_ = w.close()
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Close releases the file. The state cannot be read after it.
func (s *State) Close() error {
	if s.r == nil {
		return nil
	}
	err := s.r.f.Close()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// findBlock is the number of the last block that begins at or before a key; -1 if there is none.
func (s *State) findBlock(typ string, id *ID) int {
	return sort.Search(len(s.refs), func(i int) bool {
		return compareKeys(s.refs[i].typ, &s.refs[i].id, typ, id) > 0
	}) - 1
}

func (s *State) load(number int) ([]StateEntry, error) {
	ref := &s.refs[number]
	payload, err := s.r.readAt(ref.off, ref.length, uint64(number))
	if err != nil {
		return nil, err
	}
	entries, ok := readStateBlock(payload)
	if !ok || len(entries) == 0 || compareKeys(entries[0].Type, &entries[0].ID, ref.typ, &ref.id) != 0 ||
		number+1 < len(s.refs) && !before(&entries[len(entries)-1], &s.refs[number+1]) {
		return nil, s.r.damage(ref.off, errStateBlock)
	}
	return entries, nil
}

const errStateBlock = "what is in a block does not fit together"

func before(e *StateEntry, ref *stateBlockRef) bool {
	return compareKeys(e.Type, &e.ID, ref.typ, &ref.id) < 0
}

func (s *State) cached(number int) ([]StateEntry, error) {
	s.mu.Lock()
	if e := s.blocks[number]; e != nil {
		s.recent.MoveToFront(e)
		entries := e.Value.(*cachedBlock).entries
		s.mu.Unlock()
		return entries, nil
	}
	s.mu.Unlock()
	// Not under the lock: two goroutines may read one block, but nobody waits for another's disk.
	entries, err := s.load(number)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocks[number] == nil {
		s.blocks[number] = s.recent.PushFront(&cachedBlock{number, entries})
		if s.recent.Len() > cachedBlocks {
			old := s.recent.Remove(s.recent.Back()).(*cachedBlock)
			delete(s.blocks, old.number)
		}
	}
	return entries, nil
}

// Lookup finds an entry. Lookups that are near each other in order of (Type, ID) share a block, and so one read.
func (s *State) Lookup(typ string, id ID) (StateEntry, bool, error) {
	number := s.findBlock(typ, &id)
	if number < 0 {
		return StateEntry{}, false, nil
	}
	entries, err := s.cached(number)
	if err != nil {
		return StateEntry{}, false, err
	}
	i := sort.Search(len(entries), func(i int) bool {
		return compareKeys(entries[i].Type, &entries[i].ID, typ, &id) >= 0
	})
	if i == len(entries) || entries[i].ID != id || entries[i].Type != typ {
		return StateEntry{}, false, nil
	}
	return entries[i], true, nil
}

// All iterates over the entries of a type, or of all types (""), in order of (Type, ID). Reading all also checks the
// SHA-256 of the file, after the last entry. An error ends the sequence.
func (s *State) All(typ string) iter.Seq2[StateEntry, error] {
	return func(yield func(StateEntry, error) bool) {
		if s.r == nil {
			return
		}
		var err error
		if typ == "" {
			err = s.readAll(func(e *StateEntry) bool { return yield(*e, nil) })
		} else {
			err = s.readType(typ, func(e *StateEntry) bool { return yield(*e, nil) })
		}
		if err != nil && err != errStopped {
			yield(StateEntry{}, err)
		}
	}
}

var errStopped = errors.New("the consumer stopped")

func (s *State) readType(typ string, yield func(*StateEntry) bool) error {
	for number := max(0, s.findBlock(typ, &ID{})); number < len(s.refs) && s.refs[number].typ <= typ; number++ {
		entries, err := s.load(number)
		if err != nil {
			return err
		}
		for i := range entries {
			if entries[i].Type == typ && !yield(&entries[i]) {
				return errStopped
			}
		}
	}
	return nil
}

// readAll reads the file from its start. It has a reader of its own, on the same open file: the name may be gone.
func (s *State) readAll(yield func(*StateEntry) bool) error {
	sum := sha256.New()
	r, err := readBlocks(s.r.f, s.r.name, stateMagic, sum)
	if err != nil {
		return err
	}
	var last StateEntry
	count := int64(0)
	for number := 0; ; number++ {
		start := r.off
		payload, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if number == len(s.refs) {
			continue // the directory
		}
		entries, ok := readStateBlock(payload)
		if !ok || len(entries) == 0 || count > 0 && compareKeys(last.Type, &last.ID, entries[0].Type, &entries[0].ID) >= 0 {
			return r.damage(start, errStateBlock)
		}
		for i := range entries {
			if !yield(&entries[i]) {
				return errStopped
			}
		}
		last = entries[len(entries)-1]
		count += int64(len(entries))
	}
	if count != s.manifest.Count {
		return r.damage(r.off, fmt.Sprintf("%d entries, not %d", count, s.manifest.Count))
	}
	if hex.EncodeToString(sum.Sum(nil)) != s.manifest.SHA256 {
		return r.damage(r.off, "the SHA-256 of the file is not the one in its manifest")
	}
	return nil
}

// Merge writes a new state: this one with entries put over it. They come sorted by (Type, ID), each once; one with
// Status 0 removes what is there. The new file is durable before the manifest is switched to it by an atomic rename;
// the old one is removed after that, but the old State stays readable until it is closed. After an error the old state
// is still the one that OpenState opens, unless the very last step failed, the sync of the folder: then it may be
// either, both whole.
func (s *State) Merge(entries iter.Seq2[StateEntry, error]) (*State, error) {
	now, err := readManifest(s.dir)
	if err != nil {
		return nil, err
	}
	first := stateManifest{Format: 1, Generation: 1}
	if now != s.manifest && (s.manifest.Generation != 0 || now != first) {
		return nil, fmt.Errorf("merge the state: another merge came first, to generation %d", now.Generation)
	}
	if now.Generation == 0 {
		// From now on a data file without a manifest is damage, not an empty state.
		if err := writeManifest(s.disk, s.dir, first); err != nil {
			return nil, fmt.Errorf("merge the state: %w", err)
		}
		now = first
	}
	m := stateManifest{Format: 1, Generation: now.Generation + 1}
	m.File = stateFileName(m.Generation)
	sum := &countingHash{Hash: sha256.New()}
	err = writeFile(s.disk, filepath.Join(s.dir, m.File), func(out io.Writer) error {
		buffered := bufio.NewWriterSize(io.MultiWriter(out, sum), 64<<10)
		w, err := newStateWriter(buffered)
		if err == nil {
			err = s.mergeInto(w, entries)
		}
		if err == nil {
			err = w.close()
		}
		if err != nil {
			return err
		}
		m.Count = int64(w.count)
		return buffered.Flush()
	})
	if err != nil {
		return nil, fmt.Errorf("merge the state: %w", err)
	}
	m.Bytes, m.SHA256 = sum.n, hex.EncodeToString(sum.Sum(nil))
	crash.At(crash.StateWritten)
	if err := writeManifest(s.disk, s.dir, m); err != nil {
		return nil, fmt.Errorf("merge the state: %w", err)
	}
	crash.At(crash.StateSwitch)
	if err := removeOldStates(s.disk, s.dir, m.File); err != nil {
		return nil, fmt.Errorf("merge the state: %w", err)
	}
	return openStateOf(s.disk, s.dir, m)
}

type countingHash struct {
	hash.Hash
	n int64
}

func (h *countingHash) Write(b []byte) (int, error) {
	h.n += int64(len(b))
	return h.Hash.Write(b)
}

func (s *State) mergeInto(w *stateWriter, entries iter.Seq2[StateEntry, error]) error {
	next, stop := iter.Pull2(entries)
	defer stop()
	var fresh StateEntry // the next new entry
	more, started := false, false
	advance := func() error {
		last := fresh
		e, err, ok := next()
		if more = ok; !ok || err != nil {
			return err
		}
		if e.Type == "" || started && compareKeys(last.Type, &last.ID, e.Type, &e.ID) >= 0 {
			return errors.New("the new entries are not sorted by type and id, each once")
		}
		fresh, started = e, true
		return nil
	}
	put := func() error {
		if fresh.Status != 0 {
			if err := w.add(&fresh); err != nil {
				return err
			}
		}
		return advance()
	}
	if err := advance(); err != nil {
		return err
	}
	if s.r != nil {
		var failed error
		err := s.readAll(func(old *StateEntry) bool {
			for more {
				c := compareKeys(fresh.Type, &fresh.ID, old.Type, &old.ID)
				if c > 0 {
					break
				}
				if failed = put(); failed != nil {
					return false
				}
				if c == 0 {
					return true
				}
			}
			failed = w.add(old)
			return failed == nil
		})
		if failed != nil {
			return failed
		}
		if err != nil {
			return err
		}
	}
	for more {
		if err := put(); err != nil {
			return err
		}
	}
	return nil
}

// removeOldStates removes all state files but one. A system that keeps open files from being removed keeps those; the
// next merge removes them.
func removeOldStates(d disk, dir, keep string) error {
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if isStateFile(n.Name()) && n.Name() != keep {
			_ = d.Remove(filepath.Join(dir, n.Name()))
		}
	}
	return nil
}
