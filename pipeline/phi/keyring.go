package phi

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
)

// Errors of keys and of opening, to branch on.
var (
	// ErrKeyBesideData: keys must lie apart from the data they protect.
	ErrKeyBesideData = errors.New("keys must lie apart from stage and ledger")
	// ErrWrongKEK: the key-encryption key is not the one that the keyring was made with, or the keyring was changed.
	ErrWrongKEK = errors.New("the key-encryption key does not open this keyring")
	// ErrNoKey: the key store has no key for the patient; it is older than the data, or the patient was shredded.
	ErrNoKey = errors.New("the key store has no key for this patient")
	// ErrOtherKey: the data was sealed under another key of the same patient: key store and data are not of one history.
	ErrOtherKey = errors.New("sealed under another key than the key store has for this patient")
	// ErrNotAuthentic: the ciphertext is not what was sealed for this type, id, patient and content: changed, swapped
	// with another's, or an older one.
	ErrNotAuthentic = errors.New("the encrypted part does not belong to this resource and content")
	// ErrDigest: the PHI part is genuine, but with this clinical part it does not make the resource that was sealed.
	ErrDigest = errors.New("the two parts do not make the resource that was sealed")
)

// Keyring holds the keys of one migration. It may be used concurrently. It prints as [redacted].
//
// The key-encryption key (KEK) wraps two keys in the file MIGRATION.keyring beside it: the root key and the id key. The
// root wraps a random data key per patient, in the file MIGRATION.keys. From a data key come the key that encrypts the
// PHI parts and the one that digests are made with.
type Keyring struct {
	marker
	*ring
}

// ring is a Keyring out of sight of fmt, which follows one pointer into an unexported field of a foreign struct.
type ring struct {
	migration string
	idKey     []byte
	batch     []byte // what the keys of batch files are derived from
	tokens    []byte // the key of method token
	proofKey  []byte // of the proof of a restore
	proofPath string
	name      string
	store     *keyStore

	mu     sync.Mutex
	recent *lru[*patientKey]
}

// keyringFile is the form of MIGRATION.keyring.
type keyringFile struct {
	Format    int    `json:"format"`
	Migration string `json:"migration"`
	Root      string `json:"root"` // wrapped under the KEK, base64
	ID        string `json:"id"`   // likewise
}

const (
	wrapDomain = "chartlift wrapped key 1"
	// maxKeyCache is how many opened patient keys are kept, about 2 KB each.
	maxKeyCache = 4096
)

// keyringPaths are the files of a migration beside the KEK.
func keyringPaths(kek, migration string) (ring, store string, err error) {
	if migration == "" || len(migration) > 100 || strings.HasPrefix(migration, ".") {
		return "", "", fmt.Errorf("migration %q: a name of 1 to 100 letters, digits, `-`, `_` and `.` is needed to name its keys", migration)
	}
	for i := range len(migration) {
		if c := migration[i]; !isName(c) && c != '-' && c != '.' {
			return "", "", fmt.Errorf("migration %q: a name of letters, digits, `-`, `_` and `.` is needed to name its keys", migration)
		}
	}
	base := filepath.Join(filepath.Dir(kek), migration)
	return base + ".keyring", base + ".keys", nil
}

// InitKeys makes the keys of a migration: the KEK, if its file is not there, and the keyring beside it with a new root
// key and id key. What exists is never changed; if all of it does, InitKeys checks that it opens. The KEK must not lie
// inside one of the forbidden folders ([ErrKeyBesideData]). kekURI is file:PATH, from the working folder.
func InitKeys(kekURI, migration string, forbidden ...string) error {
	path, err := kekPath(kekURI)
	if err != nil {
		return err
	}
	ringPath, storePath, err := keyringPaths(path, migration)
	if err != nil {
		return err
	}
	if err := outside(path, forbidden); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("folder of keys: %w", err)
	}
	_, ringErr := os.Stat(ringPath)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if ringErr == nil {
			return fmt.Errorf("%s is here, but the key-encryption key it was made with is not at %s: restore it; a new one could not open it", ringPath, path)
		}
		text := base64.StdEncoding.EncodeToString(newKey()) + "\n"
		if err := createFile(path, []byte(text)); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the key-encryption key: %w", err)
		}
	}
	kek, err := readKEK(path)
	if err != nil {
		return err
	}
	crash.At(crash.KeysMade)
	if errors.Is(ringErr, fs.ErrNotExist) {
		if _, err := os.Stat(storePath); err == nil {
			return fmt.Errorf("%s is here without its keyring %s: restore it; a new one could not open it", storePath, ringPath)
		}
		err := writeKeyring(ringPath, kek, migration)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the keyring: %w", err)
		}
	}
	_, _, err = readKeyring(ringPath, kek, migration)
	return err
}

func writeKeyring(path string, kek []byte, migration string) error {
	aead, err := newAEAD(kek)
	if err != nil {
		return err
	}
	wrap := func(purpose string) string {
		return base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, newKey(), wrapAAD(migration, purpose, nil)))
	}
	text, err := json.MarshalIndent(keyringFile{1, migration, wrap("root"), wrap("id")}, "", "  ")
	if err != nil {
		return err
	}
	return createFile(path, append(text, '\n'))
}

func wrapAAD(migration, purpose string, id []byte) []byte {
	b := appendField(nil, wrapDomain)
	b = appendField(b, migration)
	b = appendField(b, purpose)
	return append(b, id...)
}

func readKeyring(path string, kek []byte, migration string) (root, id []byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("keyring: %w (`chartlift keys init` makes it)", err)
	}
	if err := private(path, info); err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("keyring: %w", err)
	}
	var f keyringFile
	if err := json.Unmarshal(text, &f); err != nil || f.Format != 1 {
		return nil, nil, fmt.Errorf("keyring %s: damaged, or of another version", path)
	}
	// Byte for byte: JSON would take a changed blank, or a name in other letters, for the same.
	if again, err := json.MarshalIndent(f, "", "  "); err != nil || string(again)+"\n" != string(text) {
		return nil, nil, fmt.Errorf("keyring %s: damaged: it is not as it was written", path)
	}
	if f.Migration != migration {
		return nil, nil, fmt.Errorf("keyring %s: made for migration %q, not %q", path, f.Migration, migration)
	}
	aead, err := newAEAD(kek)
	if err != nil {
		return nil, nil, err
	}
	unwrap := func(purpose, text string) ([]byte, error) {
		wrapped, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("keyring %s: damaged", path)
		}
		key, err := aead.Open(nil, nil, wrapped, wrapAAD(migration, purpose, nil))
		if err != nil || len(key) != keyBytes {
			return nil, fmt.Errorf("keyring %s: %w", path, ErrWrongKEK)
		}
		return key, nil
	}
	if root, err = unwrap("root", f.Root); err != nil {
		return nil, nil, err
	}
	if id, err = unwrap("id", f.ID); err != nil {
		return nil, nil, err
	}
	return root, id, nil
}

// OpenKeys opens the keys of a migration that [InitKeys] made. The key store is read, and checked, at once; damage in it
// is named. Close the keyring at the end. An error that wraps fs.ErrNotExist: the keys were not made yet, or are lost.
func OpenKeys(kekURI, migration string) (*Keyring, error) {
	path, err := kekPath(kekURI)
	if err != nil {
		return nil, err
	}
	ringPath, storePath, err := keyringPaths(path, migration)
	if err != nil {
		return nil, err
	}
	kek, err := readKEK(path)
	if err != nil {
		return nil, err
	}
	return openRing(ringPath, storePath, kek, migration)
}

// openRing opens the keyring and the key store in the two files.
func openRing(ringPath, storePath string, kek []byte, migration string) (*Keyring, error) {
	root, id, err := readKeyring(ringPath, kek, migration)
	if err != nil {
		return nil, err
	}
	k := &Keyring{ring: &ring{migration: migration, proofPath: strings.TrimSuffix(ringPath, ".keyring") + ".proof",
		recent: newLRU[*patientKey](maxKeyCache)}}
	derive := func(purpose string, from []byte) (key []byte) {
		if err == nil {
			key, err = hkdf.Key(sha256.New, from, nil, "chartlift 1 "+migration+" "+purpose, keyBytes)
		}
		return key
	}
	k.idKey = derive("id", id)
	k.batch = derive("batch", root)
	k.tokens = derive("token", root)
	k.proofKey = derive("proof", root)
	name := derive("fingerprint", append(slices.Clone(root), id...))
	k.name = hex.EncodeToString(name[:min(len(name), 16)])
	wrap, handle, mark := derive("wrap", root), derive("handle", root), derive("key store", root)
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	aead, err := newAEAD(wrap)
	if err != nil {
		return nil, err
	}
	k.store, err = openKeyStore(diskStore(storePath), storePath, migration, aead, handle, mark)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// newAEAD is AES-256-GCM that makes its own random nonce and puts it before the ciphertext (FIPS 140-3, SP 800-38D).
// One key may encrypt 2^32 messages; a patient has some thousands, the shared scope some millions.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("cipher: %w", err)
	}
	return aead, nil
}

// Migration is the name of the migration that the keys belong to.
func (k *Keyring) Migration() string { return k.migration }

// Fingerprint names the keyring, hex, without telling anything about its keys: two keyrings with one fingerprint derive
// the same ids and open the same data.
func (k *Keyring) Fingerprint() string { return k.name }

// IDKey is the key that resource ids are derived with. It must not be changed or shown.
func (k *Keyring) IDKey() []byte { return k.idKey }

// BatchKey is the cipher of one file of package stage, derived from the root key and the file's name in the ledger. It
// makes its own nonces; pass nil for them.
func (k *Keyring) BatchKey(batchID string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.batch, nil, "chartlift file 1 "+batchID, keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive the key of a file: %w", err)
	}
	return newAEAD(key)
}

// Sync makes the patient keys durable that were made since the last call. A batch that uses a new key must not become
// durable before. An error is final: the store takes no keys any more, since what the disk holds is not known.
func (k *Keyring) Sync() error { return k.store.sync() }

// Torn is how many entries at the end of the key store were unfinished when it was opened: keys that were made and not
// yet used by any durable batch when a process died. They are discarded.
func (k *Keyring) Torn() int { return k.store.torn }

// Has tells whether the key store has a key for the patient, and makes none.
func (k *Keyring) Has(patient string) (bool, error) { return k.store.has(patient) }

// StorePath is the file of the key store, to name it to people.
func (k *Keyring) StorePath() string { return k.store.path }

// Close releases the key store. Keys that were not synced may be lost.
func (k *Keyring) Close() error { return k.store.close() }

func (k *Keyring) tokenSum(text string) []byte {
	mac := hmac.New(sha256.New, k.tokens)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
