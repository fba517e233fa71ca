//go:build unix

package main

import (
	"runtime"
	"syscall"
)

// childrenPeak is the highest resident memory of any waited-for child, in bytes.
func childrenPeak() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return u.Maxrss // bytes there, kilobytes elsewhere
	}
	return u.Maxrss << 10
}
