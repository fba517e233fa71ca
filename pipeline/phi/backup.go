package phi

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A backup is one file that holds the keyring and the key store of a migration, as they lie on disk (wrapped under the
// key-encryption key), and once more encrypted under a key of the KEK. Who has the file alone has nothing; who has it
// and a copy of the KEK has everything. So the KEK is never in it, and its copy is to be kept elsewhere.
//
//	header  "CLBACKUP1\n", id of the backup (16 random bytes)
//	frames  length (4), AES-256-GCM with a random nonce before it. Additional data: migration, id, number, whether last
//	        first: JSON of [backupHead]; then the key store's bytes, at most a megabyte each
//
// The key store is only ever appended to, and a commit in it stands behind all before it. A backup takes what is before
// the last commit, and so may be made while a run adds keys.
const (
	backupMagic  = "CLBACKUP1\n"
	backupFrame  = 1 << 20
	backupDomain = "chartlift backup 1"
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
	Store   int64  `json:"store"`   // bytes of the key store that follow
}

// WriteBackup backs up the keys of a migration into a new file, which must not lie inside one of the forbidden folders.
// It does not disturb a process that adds keys meanwhile.
func WriteBackup(kekURI, migration, path string, now time.Time, forbidden ...string) (b Backup, err error) {
	k, err := OpenKeys(kekURI, migration)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err := outside(path, forbidden); err != nil {
		return b, err
	}
	kekFile, err := kekPath(kekURI)
	if err != nil {
		return b, err
	}
	kek, err := readKEK(kekFile)
	if err != nil {
		return b, err
	}
	ringPath, _, err := keyringPaths(kekFile, migration)
	if err != nil {
		return b, err
	}
	head := backupHead{Backup: Backup{Fingerprint: k.Fingerprint(), Made: now.UTC().Truncate(time.Second)}}
	if head.Keyring, err = os.ReadFile(ringPath); err != nil {
		return b, fmt.Errorf("keyring: %w", err)
	}
	head.Keys, head.Store = k.store.committed()
	var id [16]byte
	_, _ = rand.Read(id[:])
	head.ID = hex.EncodeToString(id[:])
	err = createStream(path, func(w io.Writer) error {
		f, err := newFrames(kek, migration, id[:])
		if err != nil {
			return err
		}
		if _, err := w.Write(append([]byte(backupMagic), id[:]...)); err != nil {
			return err
		}
		text, err := json.Marshal(head)
		if err != nil {
			return err
		}
		if err := f.write(w, text, head.Store == 0); err != nil {
			return err
		}
		buf := make([]byte, backupFrame)
		for at := int64(0); at < head.Store; {
			n := int(min(backupFrame, head.Store-at))
			if _, err := k.store.file.ReadAt(buf[:n], at); err != nil {
				return fmt.Errorf("key store: read: %w", err)
			}
			at += int64(n)
			if err := f.write(w, buf[:n], at == head.Store); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, fs.ErrExist) {
		return b, fmt.Errorf("backup %s: is there already; a backup is never written over: %w", path, fs.ErrExist)
	}
	if err != nil {
		return b, fmt.Errorf("backup: %w", err)
	}
	return head.Backup, nil
}

// committed is how much of the key store is durable: keys, and bytes from the front. Nothing of it is ever changed.
func (s *keyStore) committed() (keys int, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || s.durable == 0 {
		return 0, 0
	}
	return s.keysThen, int64(s.durable+1) * recordSize
}

// frames encrypts and decrypts the frames of one backup, in their order.
type frames struct {
	aead   cipher.AEAD
	prefix []byte
	number uint64
}

func newFrames(kek []byte, migration string, id []byte) (*frames, error) {
	key, err := hkdf.Key(sha256.New, kek, id, backupDomain+" "+migration, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive the key of a backup: %w", err)
	}
	aead, err := newAEAD(key)
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

func (f *frames) read(r io.Reader, last bool) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, fmt.Errorf("frame %d: cut short: %w", f.number, ErrBackup)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > backupFrame+1<<16 {
		return nil, fmt.Errorf("frame %d: %w", f.number, ErrBackup)
	}
	sealed := make([]byte, n)
	if _, err := io.ReadFull(r, sealed); err != nil {
		return nil, fmt.Errorf("frame %d: cut short: %w", f.number, ErrBackup)
	}
	number := f.number
	plain, err := f.aead.Open(nil, nil, sealed, f.aad(last))
	if err != nil {
		return nil, fmt.Errorf("frame %d: %w", number, ErrBackup)
	}
	return plain, nil
}

// readBackup reads a backup through, hands its key store to store, and answers its head. Every byte is authenticated
// before it is used.
func readBackup(path string, kek []byte, migration string, store io.Writer) (head backupHead, err error) {
	file, err := os.Open(path)
	if err != nil {
		return head, fmt.Errorf("backup: %w", err)
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 1<<16)
	start := make([]byte, len(backupMagic)+16)
	if _, err := io.ReadFull(r, start); err != nil || string(start[:len(backupMagic)]) != backupMagic {
		return head, fmt.Errorf("%s: %w", path, ErrBackup)
	}
	id := start[len(backupMagic):]
	f, err := newFrames(kek, migration, id)
	if err != nil {
		return head, err
	}
	// Whether the first frame is the last follows from what it says, so both are tried.
	peek, err := r.Peek(4)
	if err != nil {
		return head, fmt.Errorf("%s: cut short: %w", path, ErrBackup)
	}
	size := int64(binary.BigEndian.Uint32(peek))
	info, err := file.Stat()
	if err != nil {
		return head, fmt.Errorf("backup: %w", err)
	}
	text, err := f.read(r, info.Size() == int64(len(start))+4+size)
	if err != nil {
		return head, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(text, &head); err != nil || head.ID != hex.EncodeToString(id) || head.Store < 0 || head.Store%recordSize != 0 {
		return head, fmt.Errorf("%s: of another version: %w", path, ErrBackup)
	}
	for at := int64(0); at < head.Store; {
		plain, err := f.read(r, at+min(backupFrame, head.Store-at) == head.Store)
		if err != nil {
			return head, fmt.Errorf("%s: %w", path, err)
		}
		if at += int64(len(plain)); at > head.Store || len(plain) == 0 {
			return head, fmt.Errorf("%s: %w", path, ErrBackup)
		}
		if _, err := store.Write(plain); err != nil {
			return head, err
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return head, fmt.Errorf("%s: more than a backup: %w", path, ErrBackup)
	}
	return head, nil
}

// createStream is createFile for what is too large for memory.
func createStream(path string, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // only the owner may read it
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	w := bufio.NewWriterSize(tmp, 1<<20)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}
