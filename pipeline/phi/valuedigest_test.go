package phi

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestValueDigest: one value of one resource has one digest, in every process; another value, resource or migration has
// another. What is not there has none, which is not that of an empty value.
func TestValueDigest(t *testing.T) {
	uri := "file:" + filepath.Join(t.TempDir(), "kek")
	digest := func(migration, resource string, value []byte) string {
		t.Helper()
		if err := InitKeys(t.Context(), KeyPlace{KEK: uri, Migration: migration}); err != nil {
			t.Fatal(err)
		}
		k, err := OpenKeys(t.Context(), KeyPlace{KEK: uri, Migration: migration})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		d, err := k.ValueDigest(resource, value)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest("north", "Patient/1", []byte("2"))
	if len(first) != 32 || strings.Trim(first, "0123456789abcdef") != "" {
		t.Errorf("digest %q", first)
	}
	if digest("north", "Patient/1", []byte("2")) != first {
		t.Error("another process makes another digest")
	}
	for _, other := range []string{
		digest("north", "Patient/1", []byte("10")), digest("north", "Patient/2", []byte("2")), digest("south", "Patient/1", []byte("2")),
		digest("north", "Patient/", []byte("12")), digest("north", "Patient/1", []byte{}),
	} {
		if other == first || len(other) != 32 {
			t.Errorf("digest %q, not another than %q", other, first)
		}
	}
	if d := digest("north", "Patient/1", nil); d != "" {
		t.Errorf("digest of nothing: %q", d)
	}
}
