// Package kek holds the kinds of key-encryption key (KEK): the one key that opens all others of a migration, and that a
// hospital keeps where it keeps such keys.
//
// A kind is a file here, one case in [Open], and one call of kektest.Run. A key management service never gives its key
// away, so a KEK is asked to wrap and unwrap, and nothing is derived from it. It is asked a few times per process, not
// per patient: what it wraps is a key of 32 bytes that wraps the rest on this machine.
package kek

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"strings"
)

// Wrapper is a key-encryption key. It may be used concurrently.
//
// Wrap and Unwrap may take as long as a service on the network does, and obey ctx. Whatever goes wrong is an error, and
// the caller stops: nothing is ever written unwrapped instead. Errors, to be found with errors.Is: [ErrNotWrapped],
// [ErrDenied], [ErrDisabled], [ErrThrottled], [ErrUnreachable], and that of ctx. They never hold plaintext, and what a
// service said only as far as it cannot name a patient or a secret.
type Wrapper interface {
	// Wrap encrypts a key of at most [MaxPlaintext] bytes. Two calls have two results.
	Wrap(ctx context.Context, plaintext, aad []byte) ([]byte, error)
	// Unwrap returns what was wrapped with the same key and the same additional data, or ErrNotWrapped. A service that
	// knows no additional data has a kind here that binds it all the same.
	Unwrap(ctx context.Context, ciphertext, aad []byte) ([]byte, error)
	// URI names the key to people, as the plan writes it.
	URI() string
}

// MaxPlaintext is how many bytes every kind can wrap: RSA-OAEP under 2048 bits, as in Azure, takes 190, and a digest of
// the additional data may have to go with them.
const MaxPlaintext = 128

// Errors of a KEK, to branch on.
var (
	// ErrNotWrapped: not wrapped by this key with this additional data, or changed since.
	ErrNotWrapped = errors.New("not wrapped by this key-encryption key for this purpose, or changed since")
	// ErrDenied: whoever runs this program may not use the key.
	ErrDenied = errors.New("the use of the key-encryption key is denied")
	// ErrDisabled: the key is disabled, expired or waits to be destroyed.
	ErrDisabled = errors.New("the key-encryption key is disabled")
	// ErrThrottled: the service wants fewer calls, and went on saying so. A later start may succeed.
	ErrThrottled = errors.New("the key-encryption key's service is throttling")
	// ErrUnreachable: the service cannot be reached. A later start may succeed.
	ErrUnreachable = errors.New("the key-encryption key's service cannot be reached")
)

// schemes of the kinds to come.
var toCome = []string{"gcp-kms", "aws-kms", "azure-kms", "hcvault"}

// Open opens the key that a URI names: file:PATH, from the working folder. An error that wraps fs.ErrNotExist: there is
// no such key.
func Open(ctx context.Context, uri string) (Wrapper, error) {
	if err := known(uri); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("key-encryption key: %w", err)
	}
	return openFile(uri)
}

// Make makes the key that a URI names, if it is of a kind that this program can make and is not there. made tells
// whether it did.
func Make(ctx context.Context, uri string) (made bool, err error) {
	if err := known(uri); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("key-encryption key: %w", err)
	}
	return makeFile(uri)
}

// Path is the path of a key that lies in a file; "" for other kinds.
func Path(uri string) string {
	path, err := filePath(uri)
	if err != nil {
		return ""
	}
	return path
}

// known refuses a URI of a scheme that has no kind.
func known(uri string) error {
	scheme, _, ok := strings.Cut(uri, ":")
	if !ok || scheme == "" {
		return fmt.Errorf("key %q: not a URI; write file:PATH", uri)
	}
	if scheme == "file" {
		return nil
	}
	for _, s := range toCome {
		if s == scheme {
			return fmt.Errorf("key of scheme %s: this version takes the key-encryption key from a file alone (file:PATH)", scheme)
		}
	}
	return fmt.Errorf("key of unknown scheme %q: this version takes the key-encryption key from a file (file:PATH)", scheme)
}

// NewAEAD is AES-256-GCM that makes its own random nonce and puts it before the ciphertext (FIPS 140-3, SP 800-38D); nil
// is passed for the nonce. One key may encrypt 2^32 messages; a patient has some thousands, the shared scope some
// millions.
func NewAEAD(key []byte) (cipher.AEAD, error) {
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
