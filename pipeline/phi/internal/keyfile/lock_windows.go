package keyfile

import (
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// Lock takes an exclusive lock without waiting. It ends with the file. One byte far behind the end is locked,
// because a lock of Windows also keeps others from reading what it covers.
func Lock(f *os.File) error {
	at := &windows.Overlapped{OffsetHigh: math.MaxInt32}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
}
