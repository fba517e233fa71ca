//go:build unix

package glob

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe would be opened for ever; what it gives is gone when it has been read.
func TestPipesAreNoFiles(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "a.csv"), 0o600); err != nil {
		t.Skip(err)
	}
	if _, err := Find(dir, "*.csv"); err == nil || !strings.Contains(err.Error(), "a.csv is a named pipe") {
		t.Errorf("found with %v", err)
	}
}
