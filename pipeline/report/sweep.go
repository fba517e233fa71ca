package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
)

// temporary is the form of writeFile's temporary names; the number is that of the process.
var temporary = regexp.MustCompile(`^\.report\.[a-z]+\.([0-9]+)\.[0-9]+$`)

// sweep removes what processes that were killed while they wrote a report have left in dir. The files of a process that
// is still there are its own business.
func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		m := temporary.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		pid, err := strconv.Atoi(m[1])
		if err != nil || lives(pid) {
			continue
		}
		if err := ignore(os.Remove(filepath.Join(dir, e.Name())), os.ErrNotExist); err != nil {
			return fmt.Errorf("remove what a killed process left: %w", err)
		}
	}
	return nil
}

// lives tells whether there is a process of that number. In doubt there is.
func lives(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer func() { _ = p.Release() }()
	if runtime.GOOS == "windows" { // which finds none but those that live, and knows no such signal
		return true
	}
	err = p.Signal(syscall.Signal(0))
	return !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH)
}
