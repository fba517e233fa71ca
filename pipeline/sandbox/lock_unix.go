//go:build unix

package sandbox

import (
	"errors"
	"os"
	"syscall"
)

// lock keeps two sandboxes off one file. The system frees it the moment the process dies.
func lock(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("another sandbox has it open")
	}
	return err
}
