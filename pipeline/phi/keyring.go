package phi

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
	"sync/atomic"

	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
	"github.com/chartlift/chartlift/pipeline/phi/kek"
	"github.com/chartlift/chartlift/pipeline/phi/keystore"
)

// Errors of keys and of opening, to branch on. What a key-encryption key itself can say is in package kek.
var (
	// ErrKeyBesideData: keys must lie apart from the data they protect.
	ErrKeyBesideData = keyfile.ErrBesideData
	// ErrWrongKEK: the key-encryption key is not the one that the keyring was made with, or the keyring was changed.
	ErrWrongKEK = errors.New("the key-encryption key does not open this keyring")
	// ErrNoKey: the key store has no key for the patient: it is older than the data.
	ErrNoKey = keystore.ErrNone
	// ErrShredded: the patient's key was destroyed on purpose; nobody can open what it sealed, and no new one is made.
	ErrShredded = keystore.ErrShredded
	// ErrRotated: another process gave the keyring a new root key since this one opened it. Started again, it opens.
	ErrRotated = errors.New("the root key was rotated meanwhile: start again")
	// ErrOtherKey: the data was sealed under another key of the same patient: key store and data are not of one history.
	ErrOtherKey = errors.New("sealed under another key than the key store has for this patient")
	// ErrNotAuthentic: the ciphertext is not what was sealed for this type, id, patient and content: changed, swapped
	// with another's, or an older one.
	ErrNotAuthentic = errors.New("the encrypted part does not belong to this resource and content")
	// ErrDigest: the PHI part is genuine, but with this clinical part it does not make the resource that was sealed.
	ErrDigest = errors.New("the two parts do not make the resource that was sealed")
)

// keyBytes is the length of every key: AES-256.
const keyBytes = 32

// newKey is a random key.
func newKey() []byte {
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the program instead
	return key
}

// Keyring holds the keys of one migration. It may be used concurrently. It prints as [redacted].
//
// The key-encryption key (KEK) opens the file MIGRATION.keyring, which holds the id key and the root keys. A root wraps
// a random data key per patient, in the key store. From a data key come the key that encrypts the PHI parts and the one
// that digests are made with. The newest root wraps new keys and encrypts new files of package stage; older ones open
// what was made under them. What must stay the same for good follows from the first: ids, tokens, handles.
type Keyring struct {
	marker
	*ring
}

// ring is a Keyring out of sight of fmt, which follows one pointer into an unexported field of a foreign struct.
type ring struct {
	migration string
	idKey     []byte
	roots     []root // oldest first
	tokens    []byte // the key of method token
	proofKey  []byte // of the proof of a restore
	proofPath string
	name      string
	store     keystore.Store

	mu      sync.Mutex
	recent  *lru[*patientKey]
	handles hash.Hash // HMAC under the key of handles
}

// root is what follows from one root key.
type root struct {
	wrap  cipher.AEAD // of data keys
	batch []byte      // what the keys of batch files are derived from
}

// maxKeyCache is how many opened patient keys are kept, about 2 KB each.
const maxKeyCache = 4096

// InitKeys makes the keys of a migration: the KEK, if it is a file that is not there, and a keyring with a new root key
// and id key. What exists is never changed; if all of it does, InitKeys checks that it opens. None of it may lie inside
// one of the forbidden folders ([ErrKeyBesideData]).
func InitKeys(ctx context.Context, p KeyPlace, forbidden ...string) error {
	at, err := p.files()
	if err != nil {
		return err
	}
	if err := errors.Join(p.outside(forbidden)...); err != nil {
		return err
	}
	return initKeyring(ctx, p, at)
}

// OpenKeys opens the keys of a migration that [InitKeys] made. The key store is read, and checked, at once; damage in it
// is named. The KEK is asked here and never again. Close the keyring at the end. An error that wraps fs.ErrNotExist: the
// keys were not made yet, or are lost.
func OpenKeys(ctx context.Context, p KeyPlace) (*Keyring, error) {
	at, err := p.files()
	if err != nil {
		return nil, err
	}
	wrapper, err := kek.Open(ctx, p.KEK)
	if err != nil {
		return nil, err
	}
	return openRing(ctx, at, wrapper, p.Migration)
}

// openRing opens the keyring and the key store in the files of a place.
func openRing(ctx context.Context, at keyFiles, wrapper kek.Wrapper, migration string) (*Keyring, error) {
	secrets, _, err := readKeyring(ctx, at.ring, wrapper, migration)
	if err != nil {
		return nil, err
	}
	k, mark, err := newRing(secrets, migration)
	if err != nil {
		return nil, err
	}
	k.proofPath = at.proof
	store, err := keystore.OpenFile(at.store, [32]byte(mark))
	if err != nil {
		return nil, err
	}
	k.store = store
	return k, nil
}

// newRing derives what a keyring works with from its secrets, and the mark of its store.
func newRing(secrets *ringSecrets, migration string) (k *Keyring, mark []byte, err error) {
	k = &Keyring{ring: &ring{migration: migration, recent: newLRU[*patientKey](maxKeyCache)}}
	derive := func(purpose string, from []byte) (key []byte) {
		if err == nil {
			key, err = hkdf.Key(sha256.New, from, nil, "chartlift 1 "+migration+" "+purpose, keyBytes)
		}
		return key
	}
	first := secrets.roots[0]
	k.idKey = derive("id", secrets.id)
	k.tokens = derive("token", first)
	k.proofKey = derive("proof", first)
	name := derive("fingerprint", append(bytes.Clone(first), secrets.id...))
	handle, storeKey := derive("handle", first), derive("key store", first)
	for _, secret := range secrets.roots {
		wrap, batch := derive("wrap", secret), derive("batch", secret)
		if err != nil {
			break
		}
		var aead cipher.AEAD
		aead, err = kek.NewAEAD(wrap)
		k.roots = append(k.roots, root{aead, batch})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("derive keys: %w", err)
	}
	k.name = hex.EncodeToString(name[:16])
	k.handles = hmac.New(sha256.New, handle)
	mac := hmac.New(sha256.New, storeKey)
	mac.Write([]byte(migration))
	return k, mac.Sum(nil), nil
}

// Migration is the name of the migration that the keys belong to.
func (k *Keyring) Migration() string { return k.migration }

// Fingerprint names the keyring, hex, without telling anything about its keys: two keyrings with one fingerprint derive
// the same ids and open the same data.
func (k *Keyring) Fingerprint() string { return k.name }

// IDKey is the key that resource ids are derived with. It must not be changed or shown.
func (k *Keyring) IDKey() []byte { return k.idKey }

// BatchKey is the cipher of one file of package stage, derived from the newest root key and the file's name in the
// ledger. It makes its own nonces; pass nil for them. It also opens what was encrypted under an older root key; for that
// the plaintext must not be written over the ciphertext.
func (k *Keyring) BatchKey(batchID string) (cipher.AEAD, error) {
	all := make([]cipher.AEAD, 0, len(k.roots))
	for i := len(k.roots) - 1; i >= 0; i-- {
		key, err := hkdf.Key(sha256.New, k.roots[i].batch, nil, "chartlift file 1 "+batchID, keyBytes)
		if err != nil {
			return nil, fmt.Errorf("derive the key of a file: %w", err)
		}
		aead, err := kek.NewAEAD(key)
		if err != nil {
			return nil, err
		}
		all = append(all, aead)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return &fileCipher{AEAD: all[0], all: all}, nil
}

// fileCipher encrypts under the newest root key and opens what was encrypted under any.
type fileCipher struct {
	cipher.AEAD
	all  []cipher.AEAD // newest first
	last atomic.Int32  // the one that opened the last piece: all of a file are of one
}

// Open is that of cipher.AEAD.
func (c *fileCipher) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	last := int(c.last.Load())
	plain, err := c.all[last].Open(dst, nonce, ciphertext, aad)
	for i := 0; err != nil && i < len(c.all); i++ {
		if i == last {
			continue
		}
		var e error
		if plain, e = c.all[i].Open(dst, nonce, ciphertext, aad); e == nil {
			c.last.Store(int32(i))
			return plain, nil
		}
	}
	return plain, err
}

// Sync makes the patient keys durable that were made since the last call. A batch that uses a new key must not become
// durable before. An error is final: the store takes no keys any more, since what the disk holds is not known.
func (k *Keyring) Sync() error { return k.store.Sync(unbound()) }

// Torn is how many entries at the end of the key store were unfinished when it was opened: keys that were made and not
// yet used by any durable batch when a process died. They are discarded.
func (k *Keyring) Torn() int { return k.store.Torn() }

// Has tells whether the key store knows the patient, and makes no key. A patient who was shredded is known.
func (k *Keyring) Has(patient string) (bool, error) {
	switch _, err := k.store.Get(unbound(), k.handle(patient)); {
	case errors.Is(err, ErrNoKey):
		return false, nil
	case err != nil && !errors.Is(err, ErrShredded):
		return false, err
	}
	return true, nil
}

// Shred destroys the keys of patients, durable on return, and leaves a tombstone for each, so that no new key is ever
// made: from then on, what is theirs is ErrShredded. It returns how many keys there were. A Sealer that has used such a
// key may have it in memory still, so nothing may be sealed meanwhile. Backups made before hold the keys: they are to be
// destroyed, too.
func (k *Keyring) Shred(ctx context.Context, patients ...string) (destroyed int, err error) {
	handles := make([]keystore.Handle, 0, len(patients))
	for _, p := range patients {
		if p == "" {
			return 0, errors.New("shred: the scope of no patient is not a patient")
		}
		handles = append(handles, k.handle(p))
	}
	destroyed, err = k.store.Tombstone(ctx, handles...)
	k.mu.Lock()
	k.recent = newLRU[*patientKey](maxKeyCache)
	k.mu.Unlock()
	return destroyed, err
}

// StorePath says where the key store is, to name it to people.
func (k *Keyring) StorePath() string { return k.store.Name() }

// Close releases the key store. Keys that were not synced may be lost.
func (k *Keyring) Close() error { return k.store.Close() }

func (k *Keyring) tokenSum(text string) []byte {
	mac := hmac.New(sha256.New, k.tokens)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
