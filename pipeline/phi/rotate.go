package phi

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/phi/internal/keyfile"
	"github.com/chartlift/chartlift/pipeline/phi/kek"
	"github.com/chartlift/chartlift/pipeline/phi/keystore"
)

// Rotation is what rotating the root key did.
type Rotation struct {
	Fingerprint string `json:"fingerprint"` // of the keyring: it stays
	Root        int    `json:"root"`        // number of the newest root key, counted from 1
	Keys        int    `json:"keys"`        // patient keys that were wrapped again
	Resumed     bool   `json:"resumed"`     // a rotation that had been cut off was finished, and no other begun
}

// RotateKeys gives the keyring a new root key and wraps every patient's key again under it. The older root keys stay in
// the keyring, since files of package stage that were made under them are to be opened; nothing new is encrypted under
// them. The patients' keys stay what they are.
//
// First the keyring holds the new root, then the key store changes as a whole: whenever the process dies, everything
// opens, and RotateKeys called again finishes what was begun. While another process adds keys it is refused; one that
// has the keys open goes on with what it knows, and stops with [ErrRotated] where that does not do. A backup made before
// does not open what is sealed from here on, so its proof ends.
func RotateKeys(ctx context.Context, p KeyPlace) (r Rotation, err error) {
	err = changeKeyring(ctx, p, func(at keyFiles, wrapper kek.Wrapper, k *Keyring) error {
		secrets, _, err := readKeyring(ctx, at.ring, wrapper, p.Migration)
		if err != nil {
			return err
		}
		if r.Resumed, err = k.wrappedByOlder(ctx); err != nil {
			return err
		}
		if !r.Resumed {
			secrets.roots = append(secrets.roots, newKey())
			text, err := encodeKeyring(ctx, wrapper, p.Migration, secrets)
			if err == nil {
				err = keyfile.Replace(at.ring, keyfile.Bytes(text))
			}
			if err != nil {
				return fmt.Errorf("keyring: %w", err)
			}
		}
		crash.At(crash.KeysRoot)
		renewed, _, err := newRing(secrets, p.Migration)
		if err != nil {
			return err
		}
		r.Fingerprint, r.Root = renewed.name, len(renewed.roots)
		return k.store.Rewrap(ctx, func(e keystore.Entry) (keystore.Entry, error) {
			data, err := renewed.unwrap(e)
			if err != nil {
				return e, fmt.Errorf("key store %s: a key that does not open: %w", k.store.Name(), err)
			}
			renewed.wrap(&e, data)
			clear(data)
			r.Keys++
			return e, nil
		})
	})
	if err != nil {
		return Rotation{}, fmt.Errorf("rotate: %w", err)
	}
	return r, nil
}

// wrappedByOlder tells whether there are keys under a root key that is not the newest.
func (k *Keyring) wrappedByOlder(ctx context.Context) (bool, error) {
	for e, err := range k.store.Each(ctx) {
		if err != nil || !e.Shredded && int(e.Root) < len(k.roots)-1 {
			return err == nil, err
		}
	}
	return false, nil
}

// RewrapKeys puts the keyring under another key-encryption key, which is made if it is a file that is not there, and
// from then on alone opens it. The keys in it stay what they are. Backups made before are under the old one still. The
// new KEK must not lie inside one of the forbidden folders ([ErrKeyBesideData]).
func RewrapKeys(ctx context.Context, p KeyPlace, to string, forbidden ...string) error {
	if err := errors.Join(KeyPlace{KEK: to, Migration: p.Migration}.outside(forbidden)...); err != nil {
		return err
	}
	err := changeKeyring(ctx, p, func(at keyFiles, wrapper kek.Wrapper, _ *Keyring) error {
		secrets, _, err := readKeyring(ctx, at.ring, wrapper, p.Migration)
		if err != nil {
			return err
		}
		if _, err := kek.Make(ctx, to); err != nil {
			return err
		}
		next, err := kek.Open(ctx, to)
		if err != nil {
			return err
		}
		text, err := encodeKeyring(ctx, next, p.Migration, secrets)
		if err != nil {
			return err
		}
		f, err := parseKeyring(at.ring, text)
		if err != nil {
			return err
		}
		if _, err := f.open(ctx, next); err != nil { // before the old one goes
			return err
		}
		return keyfile.Replace(at.ring, keyfile.Bytes(text))
	})
	if err != nil {
		return fmt.Errorf("wrap under another key-encryption key: %w", err)
	}
	return nil
}

// changeKeyring opens the keys as the only process that may change them.
func changeKeyring(ctx context.Context, p KeyPlace, change func(keyFiles, kek.Wrapper, *Keyring) error) (err error) {
	at, err := p.files()
	if err != nil {
		return err
	}
	wrapper, err := kek.Open(ctx, p.KEK)
	if err != nil {
		return err
	}
	_, before, err := readKeyring(ctx, at.ring, wrapper, p.Migration)
	if err != nil {
		return err
	}
	k, err := openRing(ctx, at, wrapper, p.Migration)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	if err := k.store.Lock(ctx); err != nil {
		return err
	}
	if _, now, err := readKeyring(ctx, at.ring, wrapper, p.Migration); err != nil {
		return err
	} else if !bytes.Equal(before, now) {
		return ErrRotated
	}
	return change(at, wrapper, k)
}
