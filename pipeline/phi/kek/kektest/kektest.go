// Package kektest is the contract that each kind of key-encryption key keeps.
package kektest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/phi/kek"
)

// Run checks a kind. open opens a key; called again with the same name, the same key anew, as another process would.
func Run(t *testing.T, open func(t *testing.T, name string) kek.Wrapper) {
	ctx, plain, aad := t.Context(), []byte("0123456789abcdef0123456789abcdef"), []byte("north-2026 ring")
	wrap := func(t *testing.T, k kek.Wrapper, plain, aad []byte) []byte {
		t.Helper()
		wrapped, err := k.Wrap(ctx, plain, aad)
		if err != nil {
			t.Fatal(err)
		}
		return wrapped
	}
	t.Run("round trip", func(t *testing.T) {
		for _, plain := range [][]byte{plain, {7}, bytes.Repeat([]byte{0}, kek.MaxPlaintext)} {
			for _, aad := range [][]byte{aad, nil, bytes.Repeat([]byte("long "), 1000)} {
				wrapped := wrap(t, open(t, "a"), plain, aad)
				if len(plain) > 8 && bytes.Contains(wrapped, plain) {
					t.Error("the plaintext is in the ciphertext")
				}
				got, err := open(t, "a").Unwrap(ctx, wrapped, aad)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes with %d of additional data: %v", len(plain), len(aad), err)
				}
			}
		}
	})
	t.Run("each wrapping is another", func(t *testing.T) {
		k := open(t, "a")
		if bytes.Equal(wrap(t, k, plain, aad), wrap(t, k, plain, aad)) {
			t.Error("two wrappings of one key are equal")
		}
	})
	t.Run("not what was wrapped", func(t *testing.T) {
		k := open(t, "a")
		wrapped := wrap(t, k, plain, aad)
		refused := func(what string, k kek.Wrapper, wrapped, aad []byte) {
			t.Helper()
			got, err := k.Unwrap(ctx, wrapped, aad)
			if !errors.Is(err, kek.ErrNotWrapped) || got != nil {
				t.Errorf("%s: %d bytes, %v", what, len(got), err)
			}
			if err != nil && strings.Contains(err.Error(), string(plain)) {
				t.Errorf("%s: the error shows the key", what)
			}
		}
		refused("other additional data", k, wrapped, []byte("south-2026 ring"))
		refused("no additional data", k, wrapped, nil)
		refused("another key", open(t, "b"), wrapped, aad)
		refused("nothing", k, nil, aad)
		refused("cut short", k, wrapped[:len(wrapped)-1], aad)
		refused("lengthened", k, append(bytes.Clone(wrapped), 0), aad)
		for i := range wrapped {
			flipped := bytes.Clone(wrapped)
			flipped[i] ^= 1
			refused(fmt.Sprintf("byte %d flipped", i), k, flipped, aad)
		}
	})
	t.Run("too long", func(t *testing.T) {
		if _, err := open(t, "a").Wrap(ctx, make([]byte, kek.MaxPlaintext+1), aad); err == nil {
			t.Error("more than every kind can wrap was taken")
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		k := open(t, "a")
		wrapped := wrap(t, k, plain, aad)
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		if got, err := k.Wrap(ctx, plain, aad); !errors.Is(err, context.Canceled) || got != nil {
			t.Errorf("wrap: %v", err)
		}
		if got, err := k.Unwrap(ctx, wrapped, aad); !errors.Is(err, context.Canceled) || got != nil {
			t.Errorf("unwrap: %v", err)
		}
	})
	t.Run("prints no key", func(t *testing.T) {
		k := open(t, "a")
		if k.URI() == "" {
			t.Error("no URI")
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
			if got := fmt.Sprintf(verb, k); got != k.URI() {
				t.Errorf("%s prints %q", verb, got)
			}
		}
	})
}
