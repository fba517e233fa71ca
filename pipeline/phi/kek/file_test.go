package kek_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/phi/kek"
	"github.com/chartlift/chartlift/pipeline/phi/kek/kektest"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	kektest.Run(t, func(t *testing.T, name string) kek.Wrapper {
		uri := "file:" + filepath.Join(dir, name)
		if _, err := kek.Make(t.Context(), uri); err != nil {
			t.Fatal(err)
		}
		k, err := kek.Open(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		return k
	})
}

func TestMakeNeverReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "kek")
	made, err := kek.Make(t.Context(), "file:"+path)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if made, err := kek.Make(t.Context(), "file:"+path); err != nil || made {
		t.Error(made, err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Error("the key was changed", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	for uri, want := range map[string]string{
		"gcp-kms://projects/x": "file:PATH", "azure-kms://x": "file:PATH", "vault:x": "unknown scheme", "kek": "file:PATH",
		"file:": "without a path", "file://host/kek": "this machine",
	} {
		if _, err := kek.Open(ctx, uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open %s: %v, want %q", uri, err, want)
		}
		if _, err := kek.Make(ctx, uri); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("make %s: %v, want %q", uri, err, want)
		}
	}
	if _, err := kek.Open(ctx, "file:"+filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	path := filepath.Join(dir, "kek")
	for _, text := range []string{"", "c2hvcnQ=", "not base64", strings.Repeat("A", 2000)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := kek.Open(ctx, "file:"+path); !errors.Is(err, kek.ErrForm) {
			t.Errorf("%q: %v", text, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := kek.Make(cancelled, "file:"+filepath.Join(dir, "new")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if runtime.GOOS == "windows" {
		return // no modes there
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := kek.Open(ctx, "file:"+path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
}
