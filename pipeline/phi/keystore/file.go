package keystore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

// A store in a file: records of fixed size behind a header of the same size, appended and never changed.
//
//	header  "CLKEYS1\n", record size (4), mark of the keyring (32), zeros, CRC-32C (4)
//
// A record of kind commit is written, and synced again, once the records before it are durable. So a broken record before
// the last commit is damage, and one after it is the torn end of a write that no durable batch relies on. Where entries
// change, a new file takes the place of the old one as a whole.
const (
	storeMagic = "CLKEYS1\n"
	recordSize = RecordBytes
)

// storeFile is what a store needs of a file; tests put faults into it.
type storeFile interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(int64) error
	Sync() error
	Close() error
}

// opener opens the store's file.
type opener interface {
	read() (storeFile, error)  // fs.ErrNotExist if there is none
	write() (storeFile, error) // for appending, as the only one; made if it is not there
	next() (storeFile, error)  // an empty file that is to take its place
	// replace puts next into the place of old, durably, and returns it, still held as the only one. The old one stays open,
	// if the system allows that.
	replace(old, next storeFile) (storeFile, error)
}

// Damage is what is wrong with a store in a file, and where.
type Damage struct {
	File   string
	Offset int64
	What   string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("key store %s: %s at byte %d: restore it from its backup", d.File, d.What, d.Offset)
}

// File is a [Store] in a file. One process at a time may put entries into it; others may read it meanwhile.
type File struct {
	opener opener
	path   string
	header [recordSize]byte

	mu       sync.Mutex
	record   [recordSize]byte
	file     storeFile // nil: no file yet
	writable bool
	index    handleIndex
	durable  int    // records in the file that a commit stands behind, the header not counted
	written  int    // records in the file
	pending  []byte // records not yet in the file
	fresh    bool   // there are entries without a commit
	torn     int
	failed   error
}

var _ Store = (*File)(nil)

// OpenFile opens the store in a file, which need not be there: the first put makes it. The file is read, and checked, at
// once; damage is a [*Damage]. mark is told to no one and says whose store it is: one with another mark is refused.
func OpenFile(path string, mark [32]byte) (*File, error) { return openFile(disk(path), path, mark) }

func openFile(o opener, path string, mark [32]byte) (*File, error) {
	s := &File{opener: o, path: path}
	copy(s.header[:], storeMagic)
	binary.BigEndian.PutUint32(s.header[8:], recordSize)
	copy(s.header[12:], mark[:])
	putCRC(s.header[:])
	file, err := o.read()
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("key store: %w", err)
	}
	s.file = file
	if err := s.load(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return s, nil
}

// load reads the file once, from the front, and makes the index.
func (s *File) load() error {
	size, err := s.file.Size()
	if err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	s.index, s.durable, s.written, s.torn, s.fresh = handleIndex{}, 0, 0, 0, false
	buf := make([]byte, 1024*recordSize)
	broken := -1 // the first broken record
	total := int(size/recordSize) - 1
	if total < 0 {
		// Not even a header: nothing was ever committed.
		if size > 0 {
			s.torn = 1
		}
		return nil
	}
	for at := int64(0); at < size-size%recordSize; {
		n := int(min(int64(len(buf)), size-size%recordSize-at))
		if _, err := s.file.ReadAt(buf[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("key store: read: %w", err)
		}
		for i := 0; i < n; i += recordSize {
			record, slot := buf[i:i+recordSize], int((at+int64(i))/recordSize)-1
			switch {
			case slot < 0:
				if !bytes.Equal(record, s.header[:]) {
					if total == 0 && !intact(record) {
						s.torn = 1
						return nil // torn while it was made
					}
					if intact(record) && string(record[:8]) == storeMagic {
						return fmt.Errorf("key store %s: made with another keyring or for another migration", s.path)
					}
					return &Damage{s.path, 0, "a broken header"}
				}
			case !isEntry(record) && !(intact(record) && record[0] == recordCommit):
				if broken < 0 {
					broken = slot
				}
				s.torn++
			case record[0] == recordCommit:
				if broken >= 0 {
					return &Damage{s.path, int64(broken+1) * recordSize, "a broken record"}
				}
				s.durable, s.fresh = slot+1, false
			default:
				s.index.add(record[atHandle:atID], uint32(slot))
				s.fresh = true
			}
		}
		at += int64(n)
	}
	if size%recordSize != 0 {
		s.torn++
	}
	s.written = total
	return nil
}

// repair brings the file into order before the first write: broken records behind the last commit go away, whole ones
// among them are written again.
func (s *File) repair() error {
	if s.torn == 0 {
		return nil
	}
	torn := s.torn
	var kept []byte
	record := make([]byte, recordSize)
	for slot := s.durable; slot < s.written; slot++ {
		if _, err := s.file.ReadAt(record, int64(slot+1)*recordSize); err != nil {
			return fmt.Errorf("key store: read: %w", err)
		}
		if isEntry(record) {
			kept = append(kept, record...)
		}
	}
	end := int64(s.durable+1) * recordSize
	if size, err := s.file.Size(); err != nil || size < recordSize {
		if err != nil {
			return fmt.Errorf("key store: %w", err)
		}
		end = 0
	}
	if s.written == 0 && s.durable == 0 {
		end = 0
	}
	if err := s.file.Truncate(end); err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	if end == 0 {
		if _, err := s.file.WriteAt(s.header[:], 0); err != nil {
			return fmt.Errorf("key store: %w", err)
		}
	}
	if _, err := s.file.WriteAt(kept, int64(s.durable+1)*recordSize); err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	if err := s.load(); err != nil {
		return err
	}
	s.torn = torn
	return nil
}

// open gets the file ready for appending.
func (s *File) open() error {
	if s.writable {
		return nil
	}
	file, err := s.opener.write()
	if err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	s.file = file
	size, err := file.Size()
	if err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	if size == 0 {
		if _, err := file.WriteAt(s.header[:], 0); err != nil {
			return fmt.Errorf("key store: %w", err)
		}
	}
	// Another process may have added keys since this one looked.
	if err := s.load(); err != nil {
		return err
	}
	if err := s.repair(); err != nil {
		return err
	}
	s.writable = true
	return nil
}

// Lock is [Store.Lock].
func (s *File) Lock(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	return s.open()
}

// Get is [Store.Get].
func (s *File) Get(_ context.Context, h Handle) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(h)
}

func (s *File) get(h Handle) (Entry, error) {
	record, found, err := s.find(h)
	switch {
	case err != nil:
		return Entry{}, err
	case !found:
		return Entry{}, ErrNone
	}
	e := parse(record)
	if e.Shredded {
		return e, ErrShredded
	}
	return e, nil
}

// PutIfAbsent is [Store.PutIfAbsent].
func (s *File) PutIfAbsent(_ context.Context, e Entry) (Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return Entry{}, s.failed
	}
	if err := s.open(); err != nil {
		s.failed = err
		return Entry{}, err
	}
	if old, err := s.get(e.Handle); !errors.Is(err, ErrNone) {
		return old, err
	}
	s.index.add(e.Handle[:], uint32(s.written+len(s.pending)/recordSize))
	s.pending = e.AppendRecord(s.pending)
	s.fresh = true
	if len(s.pending) >= 1024*recordSize {
		if err := s.flush(); err != nil {
			return Entry{}, err
		}
	}
	return e, nil
}

// Len is [Store.Len].
func (s *File) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index.used
}

// Torn is [Store.Torn].
func (s *File) Torn() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.torn
}

// Name is the path of the file.
func (s *File) Name() string { return s.path }

// Each is [Store.Each]. It must not go on while Rewrap or Tombstone change the store in this process.
func (s *File) Each(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s.mu.Lock()
		file, end := s.file, s.durable
		s.mu.Unlock()
		for record, err := range records(ctx, s.path, file, end) {
			var e Entry
			if err == nil {
				e = parse(record)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// records yields the records of the first slots that are entries. Each is valid until the next.
func records(ctx context.Context, path string, file storeFile, slots int) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		buf := make([]byte, 1024*recordSize)
		for at, end := int64(recordSize), int64(slots+1)*recordSize; at < end; {
			b := buf[:min(int64(len(buf)), end-at)]
			err := ctx.Err()
			if err == nil {
				_, err = file.ReadAt(b, at)
			}
			if err != nil {
				yield(nil, fmt.Errorf("key store: read: %w", err))
				return
			}
			for i := 0; i < len(b); i += recordSize {
				record := b[i : i+recordSize]
				switch {
				case !intact(record):
					yield(nil, &Damage{path, at + int64(i), "a broken record"})
					return
				case isEntry(record) && !yield(record, nil):
					return
				}
			}
			at += int64(len(b))
		}
	}
}

// Rewrap is [Store.Rewrap]. The new entries are written to a file beside this one, which then takes its place.
func (s *File) Rewrap(ctx context.Context, change func(Entry) (Entry, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rewrite(ctx, change, nil)
}

// Tombstone is [Store.Tombstone]. The file without the keys takes the place of the old one, in which they are then
// overwritten: that reaches the medium only as far as file system and device write in place.
func (s *File) Tombstone(ctx context.Context, handles ...Handle) (destroyed int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meant := make(map[Handle]bool, len(handles))
	for _, h := range handles {
		meant[h] = true
	}
	err = s.rewrite(ctx, func(e Entry) (Entry, error) {
		if !meant[e.Handle] {
			return e, nil
		}
		destroyed++
		return e.Tombstone(), nil
	}, func() (absent []Entry, err error) {
		for _, h := range handles {
			if !meant[h] {
				continue
			}
			meant[h] = false // once, if it is named twice
			switch _, err := s.get(h); {
			case errors.Is(err, ErrNone):
				absent = append(absent, Entry{Handle: h, Shredded: true})
			case err != nil && !errors.Is(err, ErrShredded):
				return nil, err
			}
		}
		return absent, nil
	})
	return destroyed, err
}

// rewrite makes a new file of what change returns for each entry, and of more, and puts it into the place of this one.
func (s *File) rewrite(ctx context.Context, change func(Entry) (Entry, error), more func() ([]Entry, error)) (err error) {
	if s.failed != nil {
		return s.failed
	}
	defer func() {
		if err != nil {
			s.failed = err
		}
	}()
	if err := s.open(); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	next, err := s.opener.next()
	if err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	gone, err := s.rewriteTo(ctx, next, change, more)
	if err != nil {
		return errors.Join(err, next.Close())
	}
	crash.At(crash.KeysRewritten)
	old, slots := s.file, s.written
	if s.file, err = s.opener.replace(old, next); err != nil {
		return fmt.Errorf("key store: put the new file into its place: %w", err)
	}
	err = scrub(old, slots, gone)
	if e := old.Close(); err == nil && !errors.Is(e, fs.ErrClosed) {
		err = e
	}
	if err != nil {
		return fmt.Errorf("key store: the file that was replaced: %w", err)
	}
	return s.load()
}

// rewriteTo fills the new file, durably, and returns whose keys are not in it any more.
func (s *File) rewriteTo(ctx context.Context, next storeFile, change func(Entry) (Entry, error), more func() ([]Entry, error)) (gone map[Handle]bool, err error) {
	gone = map[Handle]bool{}
	buf, at := bytes.Clone(s.header[:]), int64(0)
	flush := func() error {
		if _, err := next.WriteAt(buf, at); err != nil {
			return fmt.Errorf("key store: write: %w", err)
		}
		at += int64(len(buf))
		buf = buf[:0]
		return nil
	}
	put := func(e Entry) error {
		if buf = e.AppendRecord(buf); len(buf) < 1024*recordSize {
			return nil
		}
		return flush()
	}
	for record, err := range records(ctx, s.path, s.file, s.written) {
		if err != nil {
			return nil, err
		}
		old := parse(record)
		if !old.Shredded {
			e, err := change(old)
			if err != nil {
				return nil, err
			}
			e.Handle = old.Handle
			if e.Shredded {
				gone[old.Handle] = true
			}
			old = e
		}
		if err := put(old); err != nil {
			return nil, err
		}
	}
	if more != nil {
		list, err := more()
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if err := put(e); err != nil {
				return nil, err
			}
		}
	}
	buf = append(buf, commit()...)
	if err := flush(); err != nil {
		return nil, err
	}
	if err := next.Sync(); err != nil {
		return nil, fmt.Errorf("key store: sync: %w", err)
	}
	return gone, nil
}

// scrub overwrites the keys of handles in a file that was replaced.
func scrub(file storeFile, slots int, gone map[Handle]bool) error {
	if len(gone) == 0 {
		return nil
	}
	record := make([]byte, recordSize)
	for slot := range slots {
		at := int64(slot+1) * recordSize
		if _, err := file.ReadAt(record, at); errors.Is(err, fs.ErrClosed) {
			return nil // a system that replaces no open file
		} else if err != nil {
			return err
		}
		if record[0] != recordKey || !gone[parse(record).Handle] {
			continue
		}
		if _, err := file.WriteAt(parse(record).Tombstone().AppendRecord(nil), at); err != nil {
			return err
		}
	}
	return file.Sync()
}

// find looks a handle up. The record is valid until the next call.
func (s *File) find(h Handle) (record []byte, found bool, err error) {
	for slot := range s.index.slots(h[:]) {
		record := s.record[:]
		if int(slot) >= s.written {
			copy(record, s.pending[(int(slot)-s.written)*recordSize:])
		} else {
			if _, err := s.file.ReadAt(record, int64(slot+1)*recordSize); err != nil {
				return nil, false, fmt.Errorf("key store: read: %w", err)
			}
			if !intact(record) {
				return nil, false, &Damage{s.path, int64(slot+1) * recordSize, "a broken record"}
			}
		}
		if bytes.Equal(record[atHandle:atID], h[:]) {
			return record, true, nil
		}
	}
	return nil, false, nil
}

// flush writes what is pending, without making it durable.
func (s *File) flush() error {
	if s.failed != nil {
		return s.failed
	}
	if len(s.pending) == 0 {
		return nil
	}
	if _, err := s.file.WriteAt(s.pending, int64(s.written+1)*recordSize); err != nil {
		s.failed = fmt.Errorf("key store: write: %w", err)
		return s.failed
	}
	s.written += len(s.pending) / recordSize
	s.pending = s.pending[:0]
	return nil
}

// Sync is [Store.Sync].
func (s *File) Sync(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if !s.fresh {
		return nil
	}
	if err := s.open(); err != nil {
		s.failed = err
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	crash.At(crash.KeysWritten)
	if err := s.file.Sync(); err != nil {
		s.failed = fmt.Errorf("key store: sync: %w", err)
		return s.failed
	}
	crash.At(crash.KeysSynced)
	s.pending = append(s.pending, commit()...)
	if err := s.flush(); err != nil {
		return err
	}
	crash.At(crash.KeysCommit)
	if err := s.file.Sync(); err != nil {
		s.failed = fmt.Errorf("key store: sync: %w", err)
		return s.failed
	}
	crash.At(crash.KeysDone)
	s.durable, s.fresh = s.written, false
	return nil
}

// commit is the record that stands behind all before it.
func commit() []byte {
	record := make([]byte, recordSize)
	record[0] = recordCommit
	putCRC(record)
	return record
}

// Close releases the file. Entries that were not synced may be lost.
func (s *File) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.failed
	if err == nil && s.writable {
		err = s.flush()
	}
	if s.file != nil {
		if e := s.file.Close(); err == nil && e != nil {
			err = fmt.Errorf("key store: close: %w", e)
		}
		s.file = nil
	}
	if s.failed == nil {
		s.failed = errors.New("key store: closed")
	}
	return err
}
