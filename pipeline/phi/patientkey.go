package phi

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
)

// keyID names one data key: 16 random bytes, made with it.
type keyID = [16]byte

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
	aead, err := newAEAD(both[:keyBytes])
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

func (k *Keyring) key(patient string, create bool) (*patientKey, error) {
	k.mu.Lock()
	key, ok := k.recent.get(patient)
	k.mu.Unlock()
	if ok {
		return key, nil
	}
	id, data, err := k.store.data(patient, create)
	if err != nil {
		return nil, err
	}
	if key, err = newPatientKey(id, data); err != nil {
		return nil, err
	}
	clear(data)
	k.mu.Lock()
	k.recent.put(patient, key)
	k.mu.Unlock()
	return key, nil
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
