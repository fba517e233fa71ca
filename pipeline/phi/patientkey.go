package phi

import (
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/chartlift/chartlift/pipeline/phi/kek"
	"github.com/chartlift/chartlift/pipeline/phi/keystore"
)

// keyID names one data key: 16 random bytes, made with it.
type keyID = keystore.ID

// patientKey is a data key in use. It is safe for concurrent use.
type patientKey struct {
	id   keyID
	aead cipher.AEAD
	mac  []byte // the key of digests
}

func newPatientKey(id keyID, data []byte) (*patientKey, error) {
	// The data key is random, so HKDF's first step (extract) has nothing to add.
	both, err := hkdf.Expand(sha256.New, data, "chartlift patient 1", 2*keyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive a patient's key: %w", err)
	}
	aead, err := kek.NewAEAD(both[:keyBytes])
	if err != nil {
		return nil, err
	}
	return &patientKey{id: id, aead: aead, mac: both[keyBytes:]}, nil
}

// sum is the content digest of a whole resource.
func (k *patientKey) sum(whole []byte) (d [digestSize]byte) {
	mac := hmac.New(sha256.New, k.mac)
	mac.Write(whole)
	copy(d[:], mac.Sum(nil))
	return d
}

// patientKey is the key of a patient that has one.
func (k *Keyring) patientKey(patient string) (*patientKey, error) {
	return k.key(patient, false)
}

// unbound is the context of what is asked of the key store while a resource is sealed or opened: neither is given one.
// A store is asked once for each patient, and a kind that lies behind a network sets its own deadline.
func unbound() context.Context { return context.Background() }

func (k *Keyring) key(patient string, create bool) (*patientKey, error) {
	k.mu.Lock()
	key, ok := k.recent.get(patient)
	k.mu.Unlock()
	if ok {
		return key, nil
	}
	h := k.handle(patient)
	e, err := k.store.Get(unbound(), h)
	if errors.Is(err, ErrNoKey) && create {
		e, err = k.store.PutIfAbsent(unbound(), k.newEntry(h))
	}
	if err != nil {
		return nil, err
	}
	data, err := k.unwrap(e)
	if err != nil {
		return nil, fmt.Errorf("a key in key store %s: %w", k.store.Name(), err)
	}
	if key, err = newPatientKey(e.ID, data); err != nil {
		return nil, err
	}
	clear(data)
	k.mu.Lock()
	k.recent.put(patient, key)
	k.mu.Unlock()
	return key, nil
}

// handle is what a patient is called in the store. The shared scope is no patient.
func (k *Keyring) handle(patient string) (h keystore.Handle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.handles.Reset()
	if patient == "" {
		k.handles.Write([]byte("shared"))
	} else {
		k.handles.Write([]byte("patient "))
		k.handles.Write([]byte(patient))
	}
	copy(h[:], k.handles.Sum(nil))
	return h
}

// newEntry is a new data key for a patient, wrapped under the newest root key.
func (k *Keyring) newEntry(h keystore.Handle) keystore.Entry {
	e := keystore.Entry{Handle: h}
	_, _ = rand.Read(e.ID[:])
	data := newKey()
	k.wrap(&e, data)
	clear(data)
	return e
}

func (k *Keyring) wrap(e *keystore.Entry, data []byte) {
	newest := len(k.roots) - 1
	e.Root = uint32(newest)
	copy(e.Wrapped[:], k.roots[newest].wrap.Seal(nil, nil, data, k.entryAAD(e)))
}

// unwrap opens an entry.
func (k *Keyring) unwrap(e keystore.Entry) ([]byte, error) {
	if int(e.Root) >= len(k.roots) {
		return nil, ErrRotated
	}
	data, err := k.roots[e.Root].wrap.Open(nil, nil, e.Wrapped[:], k.entryAAD(&e))
	if err != nil || len(data) != keyBytes {
		return nil, ErrNotAuthentic
	}
	return data, nil
}

// entryAAD binds a wrapped key to its entry. The handle stands for the patient, so that a restored store can be proven
// to open, key by key, without a list of who is in it.
func (k *Keyring) entryAAD(e *keystore.Entry) []byte {
	return append(wrapAAD(k.migration, "patient", e.Handle[:]), e.ID[:]...)
}

// keyCache is a Sealer's own: no locks, and a hash per key that is set up once.
type keyCache struct {
	ring   *Keyring
	recent *lru[*sealKey]
	last   string
	key    *sealKey
}

type sealKey struct {
	*patientKey
	hash hash.Hash
}

// maxSealKeys is how many keys a Sealer keeps, about 2 KB each.
const maxSealKeys = 4096

func newKeyCache(k *Keyring) *keyCache {
	return &keyCache{ring: k, recent: newLRU[*sealKey](maxSealKeys)}
}

// get is the key of a patient, made if there is none.
func (c *keyCache) get(patient string) (*sealKey, error) {
	if c.key != nil && c.last == patient {
		return c.key, nil
	}
	key, ok := c.recent.get(patient)
	if !ok {
		shared, err := c.ring.key(patient, true)
		if err != nil {
			return nil, err
		}
		key = &sealKey{shared, hmac.New(sha256.New, shared.mac)}
		c.recent.put(patient, key)
	}
	c.last, c.key = patient, key
	return key, nil
}

// digest is sum without garbage.
func (k *sealKey) digest(whole []byte, scratch *[]byte) (d [digestSize]byte) {
	k.hash.Reset()
	k.hash.Write(whole)
	*scratch = k.hash.Sum((*scratch)[:0])
	copy(d[:], *scratch)
	return d
}

// lru is a map of bounded size that forgets what was not used for longest.
type lru[V any] struct {
	max   int
	byKey map[string]*lruEntry[V]
	root  lruEntry[V] // of a ring: next is the newest
}

type lruEntry[V any] struct {
	key        string
	value      V
	prev, next *lruEntry[V]
}

func newLRU[V any](limit int) *lru[V] {
	l := &lru[V]{max: limit, byKey: map[string]*lruEntry[V]{}}
	l.root.prev, l.root.next = &l.root, &l.root
	return l
}

func (l *lru[V]) get(key string) (v V, ok bool) {
	e, ok := l.byKey[key]
	if !ok {
		return v, false
	}
	if l.root.next != e {
		l.unlink(e)
		l.link(e)
	}
	return e.value, true
}

func (l *lru[V]) put(key string, v V) {
	if e, ok := l.byKey[key]; ok {
		e.value = v
		return
	}
	if len(l.byKey) >= l.max {
		oldest := l.root.prev
		l.unlink(oldest)
		delete(l.byKey, oldest.key)
	}
	e := &lruEntry[V]{key: key, value: v}
	l.byKey[key] = e
	l.link(e)
}

func (l *lru[V]) unlink(e *lruEntry[V]) { e.prev.next, e.next.prev = e.next, e.prev }

func (l *lru[V]) link(e *lruEntry[V]) {
	e.prev, e.next = &l.root, l.root.next
	e.prev.next, e.next.prev = e, e
}
