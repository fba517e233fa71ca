//go:build !unix

package sandbox

import "os"

// lock does nothing where there is no flock: two sandboxes on one file are then for their user to avoid.
func lock(*os.File) error { return nil }
