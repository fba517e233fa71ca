// Package keystore keeps the keys of the patients of a migration, each wrapped under a root key of its keyring.
//
// A store knows handles, not patients, and wrapped keys, not keys: who has it alone learns neither who is in it nor how
// to open anything. A key that was destroyed leaves a tombstone, so that it is never made anew and the patient stays
// known as shredded.
//
// A kind is a file here that keeps the contract of [Store]; the one there is today is [File].
package keystore

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
)

// Errors of a store, to branch on.
var (
	// ErrNone: the store knows nothing of the handle.
	ErrNone = errors.New("the key store has no key for this patient")
	// ErrShredded: the key was destroyed on purpose, and what it sealed can never be opened again.
	ErrShredded = errors.New("the key of this patient was destroyed: what it sealed cannot be opened again")
)

// Handle stands for a patient: a keyed digest of the patient's id.
type Handle [16]byte

// ID names a key, at random.
type ID [16]byte

// WrappedBytes is the length of a wrapped key: a nonce, 32 bytes, a tag.
const WrappedBytes = 12 + 32 + 16

// Entry is what a store keeps for one patient.
type Entry struct {
	Handle   Handle
	ID       ID
	Root     uint32 // which root key of the keyring wraps it, counted from 0
	Shredded bool   // a tombstone: Wrapped is zero, and ID is that of the key that was destroyed, if there was one
	Wrapped  [WrappedBytes]byte
}

// Tombstone is the entry without its key.
func (e Entry) Tombstone() Entry { return Entry{Handle: e.Handle, ID: e.ID, Shredded: true} }

// Store keeps entries. It may be used concurrently. An error of Sync, PutIfAbsent or Rewrap other than ErrShredded is
// final: what the store holds is not known then, and it takes nothing more until it is opened again.
type Store interface {
	// Lock makes this process the only one that may change the store, until Close; an error if another one is. What
	// changes the store takes the lock by itself.
	Lock(ctx context.Context) error
	// Get returns the entry of a handle; ErrNone if there is none. For a tombstone it returns that and ErrShredded.
	Get(ctx context.Context, h Handle) (Entry, error)
	// PutIfAbsent puts an entry unless the handle has one, and returns the one that it has then: of several callers, in
	// several processes if the kind allows them, all get the same. ErrShredded, with the tombstone, if that is what it has.
	PutIfAbsent(ctx context.Context, e Entry) (Entry, error)
	// Each yields the durable entries, tombstones included, in the order in which they were first put. The order never
	// changes: what is put later comes later. Entries put meanwhile may be missing.
	Each(ctx context.Context) iter.Seq2[Entry, error]
	// Rewrap puts what change returns in place of each entry, durable on return: all or, if it fails or the process dies,
	// none. A change keeps the handle, and cannot bring a tombstone back.
	Rewrap(ctx context.Context, change func(Entry) (Entry, error)) error
	// Tombstone destroys the keys of handles, as far as the medium allows that, durable on return. A handle without an
	// entry gets a tombstone too. It returns how many keys there were.
	Tombstone(ctx context.Context, handles ...Handle) (destroyed int, err error)
	// Sync makes durable what was put since the last call.
	Sync(ctx context.Context) error
	// Len is how many entries there are, tombstones included, durable or not.
	Len() int
	// Torn is how many unfinished entries of a process that died were left out when the store was opened.
	Torn() int
	// Name says where the store is, to name it to people.
	Name() string
	Close() error
}

// RecordBytes is the length of an entry in a file.
const RecordBytes = 104

// A record: kind (1), zeros (3), number of the root key (4), handle (16), id (16), wrapped key (60), CRC-32C (4).
const (
	recordKey       = 'k'
	recordTombstone = 't'
	recordCommit    = 'c' // of a file: nothing but a kind

	atRoot    = 4
	atHandle  = 8
	atID      = 24
	atWrapped = 40
	atCRC     = 100
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendRecord appends the entry as a record of RecordBytes, for files.
func (e Entry) AppendRecord(dst []byte) []byte {
	start := len(dst)
	kind := byte(recordKey)
	if e.Shredded {
		kind = recordTombstone
	}
	dst = append(dst, kind, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, e.Root)
	dst = append(dst, e.Handle[:]...)
	dst = append(dst, e.ID[:]...)
	dst = append(dst, e.Wrapped[:]...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// ParseRecord reads a record of RecordBytes. ok is false for one that is whole and no entry: the header of a file, or a
// commit in it.
func ParseRecord(record []byte) (e Entry, ok bool, err error) {
	if len(record) != RecordBytes || !intact(record) {
		return e, false, errors.New("a broken record of a key")
	}
	if kind := record[0]; kind != recordKey && kind != recordTombstone {
		return e, false, nil
	}
	return parse(record), true, nil
}

// parse reads a record that is intact and an entry.
func parse(record []byte) (e Entry) {
	e.Shredded = record[0] == recordTombstone
	e.Root = binary.BigEndian.Uint32(record[atRoot:])
	copy(e.Handle[:], record[atHandle:])
	copy(e.ID[:], record[atID:])
	copy(e.Wrapped[:], record[atWrapped:])
	return e
}

func putCRC(record []byte) {
	binary.BigEndian.PutUint32(record[atCRC:], crc32.Checksum(record[:atCRC], castagnoli))
}

func intact(record []byte) bool {
	return binary.BigEndian.Uint32(record[atCRC:]) == crc32.Checksum(record[:atCRC], castagnoli)
}

func isEntry(record []byte) bool {
	return intact(record) && (record[0] == recordKey || record[0] == recordTombstone)
}
