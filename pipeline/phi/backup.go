package phi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
	"github.com/chartlift/chartlift/pipeline/phi/kek"
	"github.com/chartlift/chartlift/pipeline/phi/keystore"
)

// A backup is one file that holds the keyring, as it lies on disk, and the entries of the key store, encrypted once more
// under a random key that the key-encryption key wraps. Who has the file alone has nothing; who has it and a copy of the
// KEK has everything. So the KEK is never in it, and its copy is to be kept elsewhere.
//
//	header  "CLBACKUP2\n", id of the backup (16 random bytes), length of the wrapped key (2), wrapped key
//	frames  length (4), AES-256-GCM with a random nonce before it. Additional data: migration, id, number, whether last
//	        first: JSON of [backupHead]; then the records of the entries, at most a megabyte each
//
// A backup takes what is durable, and so may be made while a run adds keys. Earlier versions wrote "CLBACKUP1\n", derived
// the key from the bytes of the KEK's file, and had the bytes of the key store in the frames: these are read, too.
const (
	backupMagic    = "CLBACKUP2\n"
	backupMagic1   = "CLBACKUP1\n"
	backupPurpose  = "backup"
	backupFrame    = 10_000 * keystore.RecordBytes
	maxBackupFrame = 1<<20 + maxKeyring*2
	backupDomain   = "chartlift backup 1"
)

// Errors of backups.
var (
	// ErrBackup: the file is no backup, is damaged or cut short, is of another migration, or was made under another KEK.
	ErrBackup = errors.New("not a whole backup of this migration's keys under this key-encryption key")
	// ErrOtherKeys: the keys that are here are not those of the backup.
	ErrOtherKeys = errors.New("the keys that are here are not those of the backup")
)

// Backup says which keys a backup holds.
type Backup struct {
	ID          string    `json:"backup"`      // random, hex
	Fingerprint string    `json:"fingerprint"` // of the keyring
	Made        time.Time `json:"made"`
	Keys        int       `json:"keys"` // patient keys, that of the shared scope included
}

type backupHead struct {
	Backup
	Keyring []byte `json:"keyring"` // the file as it is
	Store   int64  `json:"store"`   // bytes of the records that follow
}

// WriteBackup backs up the keys of a migration into a new file, which must not lie inside one of the forbidden folders.
// It does not disturb a process that adds keys meanwhile.
func WriteBackup(ctx context.Context, p KeyPlace, path string, now time.Time, forbidden ...string) (b Backup, err error) {
	if err := keyfile.Outside(path, forbidden); err != nil {
		return b, err
	}
	at, err := p.files()
	if err != nil {
		return b, err
	}
	wrapper, err := kek.Open(ctx, p.KEK)
	if err != nil {
		return b, err
	}
	k, err := openRing(ctx, at, wrapper, p.Migration)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	head := backupHead{Backup: Backup{Fingerprint: k.Fingerprint(), Made: now.UTC().Truncate(time.Second)}}
	if head.Keyring, err = keyfile.Read(at.ring, maxKeyring); err != nil {
		return b, fmt.Errorf("keyring: %w", err)
	}
	for e, err := range k.store.Each(ctx) {
		if err != nil {
			return b, err
		}
		if head.Store += keystore.RecordBytes; !e.Shredded {
			head.Keys++
		}
		if int(e.Root) >= len(k.roots) {
			return b, fmt.Errorf("backup: %w", ErrRotated)
		}
	}
	var id [16]byte
	_, _ = rand.Read(id[:])
	head.ID = hex.EncodeToString(id[:])
	key := newKey()
	wrapped, err := wrapper.Wrap(ctx, key, wrapAAD(p.Migration, backupPurpose, id[:]))
	if err != nil {
		return b, fmt.Errorf("backup: %w", err)
	}
	f, err := newFrames(key, p.Migration, id[:])
	if err != nil {
		return b, err
	}
	err = keyfile.Create(path, func(w io.Writer) error {
		start := append([]byte(backupMagic), id[:]...)
		start = append(binary.BigEndian.AppendUint16(start, uint16(len(wrapped))), wrapped...)
		if _, err := w.Write(start); err != nil {
			return err
		}
		text, err := json.Marshal(head)
		if err != nil {
			return err
		}
		if err := f.write(w, text, head.Store == 0); err != nil {
			return err
		}
		return f.writeEntries(ctx, w, k.store, head.Store)
	})
	if errors.Is(err, fs.ErrExist) {
		return b, fmt.Errorf("backup %s: is there already; a backup is never written over: %w", path, fs.ErrExist)
	}
	if err != nil {
		return b, fmt.Errorf("backup: %w", err)
	}
	return head.Backup, nil
}

// writeEntries writes so many bytes of records of the store.
func (f *frames) writeEntries(ctx context.Context, w io.Writer, store keystore.Store, left int64) error {
	var buf []byte
	for e, err := range store.Each(ctx) {
		if err != nil {
			return err
		}
		if left == 0 {
			return nil // put since they were counted
		}
		buf = e.AppendRecord(buf)
		left -= keystore.RecordBytes
		if len(buf) < backupFrame && left > 0 {
			continue
		}
		if err := f.write(w, buf, left == 0); err != nil {
			return err
		}
		buf = buf[:0]
	}
	if left > 0 {
		return errors.New("the key store has fewer entries than before")
	}
	return nil
}

// frames encrypts and decrypts the frames of one backup, in their order.
type frames struct {
	aead   cipher.AEAD
	prefix []byte
	number uint64
}

func newFrames(key []byte, migration string, id []byte) (*frames, error) {
	aead, err := kek.NewAEAD(key)
	if err != nil {
		return nil, err
	}
	return &frames{aead: aead, prefix: appendField(appendField([]byte(nil), migration), id)}, nil
}

func (f *frames) aad(last bool) []byte {
	b := binary.BigEndian.AppendUint64(bytes.Clone(f.prefix), f.number)
	f.number++
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

func (f *frames) write(w io.Writer, plain []byte, last bool) error {
	sealed := f.aead.Seal(nil, nil, plain, f.aad(last))
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(sealed)))); err != nil {
		return err
	}
	_, err := w.Write(sealed)
	return err
}

// read reads a frame. last tells from the length of its plaintext whether it is to be the last.
func (f *frames) read(r io.Reader, last func(n int64) bool) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("frame %d: cut short: %w", f.number, ErrBackup)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxBackupFrame {
		return nil, fmt.Errorf("frame %d: %w", f.number, ErrBackup)
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return nil, fmt.Errorf("frame %d: cut short: %w", f.number, ErrBackup)
	}
	number := f.number
	plain, err := f.aead.Open(nil, nil, sealed, f.aad(last(int64(n)-int64(f.aead.Overhead()))))
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", number, ErrBackup)
	}
	return plain, nil
}

// backupReader reads a backup. Every byte is authenticated before it is used.
type backupReader struct {
	path string
	file *os.File
	r    *bufio.Reader
	f    *frames
	head backupHead
}

// openBackup reads a backup up to its entries.
func openBackup(ctx context.Context, path string, wrapper kek.Wrapper, migration string) (b *backupReader, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	b = &backupReader{path: path, file: file, r: bufio.NewReaderSize(file, 1<<16)}
	defer func() {
		if err != nil {
			_ = file.Close()
			b = nil
		}
	}()
	id, key, start, err := b.key(ctx, wrapper, migration)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if b.f, err = newFrames(key, migration, id); err != nil {
		return nil, err
	}
	// Whether the first frame is the last follows from what it says, so the length of the file tells.
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	text, err := b.f.read(b.r, func(n int64) bool { return info.Size() == start+4+n+int64(b.f.aead.Overhead()) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(text, &b.head); err != nil || b.head.ID != hex.EncodeToString(id) || b.head.Store < 0 || b.head.Store%keystore.RecordBytes != 0 {
		return nil, fmt.Errorf("%s: of another version: %w", path, ErrBackup)
	}
	return b, nil
}

// key reads the header: the id of the backup, its key, and where its frames start.
func (b *backupReader) key(ctx context.Context, wrapper kek.Wrapper, migration string) (id, key []byte, start int64, err error) {
	head := make([]byte, len(backupMagic)+16)
	if _, err := io.ReadFull(b.r, head); err != nil {
		return nil, nil, 0, ErrBackup
	}
	magic, id, start := string(head[:len(backupMagic)]), head[len(backupMagic):], int64(len(head))
	switch magic {
	case backupMagic1:
		file, ok := wrapper.(*kek.File)
		if !ok {
			return nil, nil, 0, errors.New("made by an earlier version, under a key-encryption key in a file: name that with --kek")
		}
		key, err := file.Derive(id, backupDomain+" "+migration)
		return id, key, start, err
	case backupMagic:
	default:
		return nil, nil, 0, ErrBackup
	}
	var size [2]byte
	if _, err := io.ReadFull(b.r, size[:]); err != nil {
		return nil, nil, 0, ErrBackup
	}
	wrapped := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(b.r, wrapped); err != nil {
		return nil, nil, 0, ErrBackup
	}
	key, err = wrapper.Unwrap(ctx, wrapped, wrapAAD(migration, backupPurpose, id))
	if errors.Is(err, kek.ErrNotWrapped) || err == nil && len(key) != keyBytes {
		err = ErrBackup
	}
	return id, key, start + int64(len(size)+len(wrapped)), err
}

// restoreTo puts the entries into a store that is empty, durably, and checks that nothing follows them.
func (b *backupReader) restoreTo(ctx context.Context, store keystore.Store) error {
	var rest []byte // frames of earlier versions end within a record
	for at := int64(0); at < b.head.Store; {
		if err := ctx.Err(); err != nil {
			return err
		}
		plain, err := b.f.read(b.r, func(n int64) bool { return at+n == b.head.Store })
		if err != nil {
			return fmt.Errorf("%s: %w", b.path, err)
		}
		if at += int64(len(plain)); at > b.head.Store || len(plain) == 0 {
			return fmt.Errorf("%s: %w", b.path, ErrBackup)
		}
		for rest = append(rest, plain...); len(rest) >= keystore.RecordBytes; rest = rest[keystore.RecordBytes:] {
			e, ok, err := keystore.ParseRecord(rest[:keystore.RecordBytes])
			if err != nil {
				return fmt.Errorf("%s: %w: %w", b.path, err, ErrBackup)
			}
			if !ok {
				continue // the header, or a commit, of a file of an earlier version
			}
			if _, err := store.PutIfAbsent(ctx, e); err != nil && !errors.Is(err, ErrShredded) {
				return err
			}
		}
		rest = bytes.Clone(rest)
	}
	if _, err := b.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than a backup: %w", b.path, ErrBackup)
	}
	return store.Sync(ctx)
}

func (b *backupReader) close() error { return b.file.Close() }
