package ledger

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/internal/filelock"
)

// LockedError says who holds the ledger. It wraps ErrLocked.
type LockedError struct {
	// Path is the lock file, with SQLite.
	Path string
	// Left is what is left of the holder's lease, with PostgreSQL; a holder that lives prolongs it.
	Left time.Duration
	// Holder is what the holder wrote of itself, as far as it could be read: operator and process id.
	Holder string
}

// Error names the holder, and what to do.
func (e *LockedError) Error() string {
	holder := e.Holder
	if holder == "" {
		holder = "unknown"
	}
	if e.Path == "" {
		return fmt.Sprintf("%v (%s): wait for it to end or stop it; if it died, its lease ends in %v", ErrLocked, holder, e.Left.Round(time.Second))
	}
	return fmt.Sprintf("%v (%s): wait for it to end or stop it; the lock at %s frees itself", ErrLocked, holder, e.Path)
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// fileLock holds an OS lock on an open file. The lock belongs to the open file, so the system frees it when the
// process dies, however it dies; the file itself stays, since removing it would let two processes lock two files.
type fileLock struct{ file *os.File }

// maxHolder bounds what is read of a lock file, which others may have written.
const maxHolder = 200

// lockFile takes the lock at path without waiting, or answers a *LockedError.
func lockFile(path, operator string) (*fileLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	held, err := filelock.Try(file)
	if err != nil || !held {
		holder := readHolder(file)
		closeErr := file.Close()
		if err != nil {
			return nil, fmt.Errorf("lock ledger: %w", err)
		}
		if closeErr != nil {
			return nil, fmt.Errorf("lock ledger: %w", closeErr)
		}
		return nil, &LockedError{Path: path, Holder: holder}
	}
	lock := &fileLock{file: file}
	// The note only helps the next operator's error message, yet a disk that cannot take it will not take a run.
	if err := lock.note(fmt.Sprintf("operator %s, process %d", operator, os.Getpid())); err != nil {
		_ = lock.free()
		return nil, fmt.Errorf("lock ledger: %w", err)
	}
	return lock, nil
}

func (l *fileLock) note(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text+"\n"), 0)
	return err
}

// free gives the lock back by closing the file.
func (l *fileLock) free() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("free the ledger's lock: %w", err)
	}
	return nil
}

// readHolder returns the holder's note with everything but printable characters taken out, because it goes to a
// terminal.
func readHolder(file *os.File) string {
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxHolder))
	if err != nil {
		return ""
	}
	return printable(string(text))
}

// printable takes out everything but printable characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return -1
		}
		return r
	}, text)
}
