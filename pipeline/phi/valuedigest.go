package phi

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// ValueDigest is a digest of a value that can be kept and shown beside a resource: HMAC-SHA-256, 16 bytes, hexadecimal.
// It is equal for equal values of one resource, in every run, and cannot be guessed without the keys. The resource (its
// type and id) is part of it, so that nobody sees which patients share a value. Its key comes from the id key, which
// stays as long as the ids do. A nil value is one that is not there, and has the digest "". Safe for concurrent use.
func (k *Keyring) ValueDigest(resource string, value []byte) (string, error) {
	if value == nil {
		return "", nil
	}
	key, err := hkdf.Key(sha256.New, k.idKey, nil, "chartlift 1 "+k.migration+" value digest", keyBytes)
	if err != nil {
		return "", fmt.Errorf("derive the key of digests: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write(append(appendField(nil, resource), value...))
	return hex.EncodeToString(mac.Sum(nil)[:digestSize]), nil
}
