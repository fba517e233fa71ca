package phi

import (
	"bytes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

// The key store: records of fixed size behind a header of the same size, appended and never changed.
//
//	header  "CLKEYS1\n", record size (4), HMAC of the migration under a key of the root (32), zeros, CRC-32C (4)
//	record  kind (1), zeros (7), handle of the patient (16), key id (16), wrapped data key (60), CRC-32C (4)
//
// The handle is an HMAC of the patient's id: the store does not list who is in it. A record of kind commit is written,
// and synced again, once the records before it are durable. So a broken record before the last commit is damage, and one
// after it is the torn end of a write that no durable batch relies on.
const (
	storeMagic = "CLKEYS1\n"
	recordSize = 104

	recordKey    = 'k'
	recordCommit = 'c'

	atHandle  = 8
	atKeyID   = 24
	atWrapped = 40
	atCRC     = 100
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// storeFile is what the key store needs of a file; tests put faults into it.
type storeFile interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(int64) error
	Sync() error
	Close() error
}

// storeOpener opens the store's file: for reading, or for appending as the only one, made if it is not there.
type storeOpener interface {
	read() (storeFile, error) // fs.ErrNotExist if there is none
	write() (storeFile, error)
}

// StoreDamage is what is wrong with the key store, and where.
type StoreDamage struct {
	File   string
	Offset int64
	What   string
}

func (d *StoreDamage) Error() string {
	return fmt.Sprintf("key store %s: %s at byte %d: restore it from its backup", d.File, d.What, d.Offset)
}

// keyStore finds and makes data keys. It is safe for concurrent use.
type keyStore struct {
	opener    storeOpener
	path      string
	migration string
	wrap      cipher.AEAD
	header    [recordSize]byte

	mu       sync.Mutex
	handles  hash.Hash // HMAC under the key of handles
	record   [recordSize]byte
	file     storeFile // nil: no file yet
	writable bool
	index    handleIndex
	durable  int    // records in the file that a commit stands behind, the header not counted
	keysThen int    // keys among them
	written  int    // records in the file
	pending  []byte // records not yet in the file
	fresh    bool   // there are keys without a commit
	torn     int
	failed   error
}

func openKeyStore(opener storeOpener, path, migration string, wrap cipher.AEAD, handleKey, markKey []byte) (*keyStore, error) {
	s := &keyStore{opener: opener, path: path, migration: migration, wrap: wrap, handles: hmac.New(sha256.New, handleKey)}
	copy(s.header[:], storeMagic)
	binary.BigEndian.PutUint32(s.header[8:], recordSize)
	mac := hmac.New(sha256.New, markKey)
	mac.Write([]byte(migration))
	copy(s.header[12:], mac.Sum(nil))
	putCRC(s.header[:])
	file, err := opener.read()
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

func putCRC(record []byte) {
	binary.BigEndian.PutUint32(record[atCRC:], crc32.Checksum(record[:atCRC], castagnoli))
}

func intact(record []byte) bool {
	return binary.BigEndian.Uint32(record[atCRC:]) == crc32.Checksum(record[:atCRC], castagnoli)
}

// load reads the file once, from the front, and makes the index.
func (s *keyStore) load() error {
	size, err := s.file.Size()
	if err != nil {
		return fmt.Errorf("key store: %w", err)
	}
	s.index, s.durable, s.keysThen, s.written, s.torn, s.fresh = handleIndex{}, 0, 0, 0, 0, false
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
					return &StoreDamage{s.path, 0, "a broken header"}
				}
			case !intact(record) || record[0] != recordKey && record[0] != recordCommit:
				if broken < 0 {
					broken = slot
				}
				s.torn++
			case record[0] == recordCommit:
				if broken >= 0 {
					return &StoreDamage{s.path, int64(broken+1) * recordSize, "a broken record"}
				}
				s.durable, s.keysThen, s.fresh = slot+1, s.index.used, false
			default:
				s.index.add(record[atHandle:atKeyID], uint32(slot))
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
func (s *keyStore) repair() error {
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
		if intact(record) && record[0] == recordKey {
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
func (s *keyStore) open() error {
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

// handle is what a patient is called in the store. The shared scope is no patient.
func (s *keyStore) handle(patient string) (h [16]byte) {
	s.handles.Reset()
	if patient == "" {
		s.handles.Write([]byte("shared"))
	} else {
		s.handles.Write([]byte("patient "))
		s.handles.Write([]byte(patient))
	}
	copy(h[:], s.handles.Sum(nil))
	return h
}

// aad binds a wrapped key to its record. The handle stands for the patient, so that a restored store can be proven to
// open, key by key, without a list of who is in it.
func (s *keyStore) aad(handle, id []byte) []byte {
	return append(wrapAAD(s.migration, "patient", handle), id...)
}

// data finds the data key of a patient, or makes one. [ErrNoKey] if there is none and none is to be made.
func (s *keyStore) data(patient string, create bool) (id keyID, key []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.handle(patient)
	record, found, err := s.find(h)
	if err != nil {
		return id, nil, err
	}
	if !found && create {
		if s.failed != nil {
			return id, nil, s.failed
		}
		if err := s.open(); err != nil {
			s.failed = err
			return id, nil, err
		}
		if record, found, err = s.find(h); err != nil {
			return id, nil, err
		}
	}
	if found {
		copy(id[:], record[atKeyID:])
		key, err = s.wrap.Open(nil, nil, record[atWrapped:atCRC], s.aad(h[:], id[:]))
		if err != nil || len(key) != keyBytes {
			return id, nil, fmt.Errorf("a record of key store %s: %w", s.path, ErrNotAuthentic)
		}
		return id, key, nil
	}
	if !create {
		return id, nil, ErrNoKey
	}
	key = newKey()
	_, _ = rand.Read(id[:])
	record = make([]byte, recordSize)
	record[0] = recordKey
	copy(record[atHandle:], h[:])
	copy(record[atKeyID:], id[:])
	copy(record[atWrapped:], s.wrap.Seal(nil, nil, key, s.aad(h[:], id[:])))
	putCRC(record)
	s.index.add(h[:], uint32(s.written+len(s.pending)/recordSize))
	s.pending = append(s.pending, record...)
	s.fresh = true
	if len(s.pending) >= 1024*recordSize {
		if err := s.flush(); err != nil {
			return id, nil, err
		}
	}
	return id, key, nil
}

// has tells whether there is a key for the patient.
func (s *keyStore) has(patient string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found, err := s.find(s.handle(patient))
	return found, err
}

// find looks a handle up. The record is valid until the next call.
func (s *keyStore) find(h [16]byte) (record []byte, found bool, err error) {
	for slot := range s.index.slots(h[:]) {
		record := s.record[:]
		if int(slot) >= s.written {
			copy(record, s.pending[(int(slot)-s.written)*recordSize:])
		} else {
			if _, err := s.file.ReadAt(record, int64(slot+1)*recordSize); err != nil {
				return nil, false, fmt.Errorf("key store: read: %w", err)
			}
			if !intact(record) {
				return nil, false, &StoreDamage{s.path, int64(slot+1) * recordSize, "a broken record"}
			}
		}
		if bytes.Equal(record[atHandle:atKeyID], h[:]) {
			return record, true, nil
		}
	}
	return nil, false, nil
}

// flush writes what is pending, without making it durable.
func (s *keyStore) flush() error {
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

func (s *keyStore) sync() error {
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
	commit := make([]byte, recordSize)
	commit[0] = recordCommit
	putCRC(commit)
	s.pending = append(s.pending, commit...)
	if err := s.flush(); err != nil {
		return err
	}
	crash.At(crash.KeysCommit)
	if err := s.file.Sync(); err != nil {
		s.failed = fmt.Errorf("key store: sync: %w", err)
		return s.failed
	}
	crash.At(crash.KeysDone)
	s.durable, s.keysThen, s.fresh = s.written, s.index.used, false
	return nil
}

func (s *keyStore) close() error {
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
