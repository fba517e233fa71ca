package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// closed is the path of a ledger that was closed in good order.
func closed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := Open(t.Context(), "sqlite:"+path, Options{Migration: "m", Operator: "o"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.BeginRun(t.Context(), RunSpec{Kind: Real, Target: "t", Pins: map[string]string{"a": "b"}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func reopen(t *testing.T, path string) error {
	t.Helper()
	l, err := Open(t.Context(), "sqlite:"+path, Options{Migration: "m", Operator: "o"})
	if err != nil {
		return err
	}
	return l.Close()
}

func TestAnyChangedByteOfAClosedLedgerIsFound(t *testing.T) {
	path := closed(t)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(sound); at += 997 {
		broken := append([]byte(nil), sound...)
		broken[at] ^= 4
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "ledger.db") {
			t.Fatalf("byte %d: %v", at, err)
		}
		if l, err := View(t.Context(), "sqlite:"+path, "m"); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d, viewed: %v, %v", at, err, l)
		}
	}
	for _, size := range []int{0, 1, 4096, len(sound) - 1} {
		if err := os.WriteFile(path, sound[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := reopen(t, path); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut to %d bytes: %v", size, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := reopen(t, path); !errors.Is(err, ErrDamaged) {
		t.Fatalf("removed: %v", err)
	}
	if err := os.WriteFile(path, sound, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reopen(t, path); err != nil {
		t.Fatalf("put back: %v", err)
	}
}

func TestALedgerOfACrashIsCheckedBySQLite(t *testing.T) {
	path := closed(t)
	if err := os.Remove(path + sealSuffix); err != nil { // as a crash leaves it
		t.Fatal(err)
	}
	if err := reopen(t, path); err != nil {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path + sealSuffix); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, sound[:len(sound)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := reopen(t, path); !errors.Is(err, ErrDamaged) {
		t.Fatalf("cut in half: %v", err)
	}
}

func TestAnOpenLedgerHasNoSum(t *testing.T) {
	path := closed(t)
	l, err := Open(t.Context(), "sqlite:"+path, Options{Migration: "m", Operator: "o"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := os.Stat(path + sealSuffix); err == nil {
		t.Error("the sum is there while the ledger is written")
	}
	view, err := View(t.Context(), "sqlite:"+path, "m") // beside the writer
	if err != nil {
		t.Fatal(err)
	}
	if err := view.Close(); err != nil {
		t.Error(err)
	}
}

func TestHalfASumIsSweptAtTheNextOpening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	half := path + sealSuffix + ".7ba54173e5f1.tmp"
	if err := os.WriteFile(half, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := breakSeal(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
}
