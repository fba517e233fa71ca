package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/durable"
)

// SQLite keeps no sums over its pages: a flipped bit in a count or a digest is read as if it had been written. So a
// ledger that is closed in good order leaves the SHA-256 of its file beside it, and the next to open it compares. While
// it is open for writing there is no sum; after a crash there is none either, and SQLite's own check has to do, which
// finds what does not fit together. The log that a crash leaves has sums of its own.

// ErrDamaged says that the ledger's file is not what it was when it was closed, or does not fit together.
var ErrDamaged = errors.New("the ledger is damaged: restore it from its backup")

const sealSuffix = ".sum"

// damaged names the file and what is wrong.
func damaged(path, what string) error {
	return fmt.Errorf("%s: %s: %w", filepath.Base(path), what, ErrDamaged)
}

// checkSeal compares the ledger with its sum; sealed is false if there is none.
func checkSeal(path string) (sealed bool, err error) {
	text, err := os.ReadFile(path + sealSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open ledger: %w", err)
	}
	sum, err := fileSum(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, damaged(path, "the file is missing, and its sum is there")
	}
	if err != nil {
		return true, fmt.Errorf("open ledger: %w", err)
	}
	if bytes.Equal(text, sum) && emptyLog(path) {
		return true, nil
	}
	// A process that opened it in this moment has taken the sum away before it wrote anything.
	if now, err := os.ReadFile(path + sealSuffix); errors.Is(err, fs.ErrNotExist) || err == nil && !bytes.Equal(now, text) {
		return false, nil
	}
	if !emptyLog(path) {
		return true, damaged(path+"-wal", "there is a log that was not there when the ledger was closed")
	}
	return true, damaged(path, "its SHA-256 is not the one that was taken when it was closed")
}

// emptyLog tells whether all of the ledger is in its main file.
func emptyLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}

// fileSum is the line that stands in the file of the sum.
func fileSum(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return append(hex.AppendEncode(nil, h.Sum(nil)), '\n'), nil
}

// breakSeal takes the sum away before the first write. It need not be durable: a sum that comes back after a power cut
// belongs either to the file as it still is, or is found not to.
func breakSeal(path string) error {
	if err := os.Remove(path + sealSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open ledger: %w", err)
	}
	// What a process was writing when it was killed is of no use to anyone; the lock says that nobody writes now.
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filepath.Base(path)+sealSuffix+".") && strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
				return fmt.Errorf("open ledger: %w", err)
			}
		}
	}
	return durable.OS{}.SyncFolder(filepath.Dir(path))
}

// seal writes the sum of a ledger that has just been closed. Where a reader still holds the log open there is none.
func seal(path string) error {
	if !emptyLog(path) {
		return nil
	}
	sum, err := fileSum(path)
	if err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	if err := durable.WriteFile(durable.OS{}, path+sealSuffix, func(w io.Writer) error {
		_, err := w.Write(sum)
		return err
	}); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}
