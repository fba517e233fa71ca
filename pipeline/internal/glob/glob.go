// Package glob finds the files that an entry of a plan names.
package glob

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// File is a file that was found.
type File struct {
	Path  string // to open it
	Shown string // as people see it: relative to the folder if the pattern was, with slashes
}

// Find lists the files that a pattern (of filepath.Match, with slashes) matches, folders aside, sorted by path. The
// pattern is relative to dir, which is taken as it is, whatever characters it has; "" is the working folder. An error if
// the pattern is none, or if it matches a pipe or a device; a pattern that matches nothing is not an error.
func Find(dir, pattern string) ([]File, error) {
	full := filepath.FromSlash(pattern)
	absolute := filepath.IsAbs(full)
	if !absolute {
		full = filepath.Join(escape(dir), full)
	}
	found, err := filepath.Glob(full)
	if err != nil {
		return nil, err
	}
	var files []File
	for _, path := range found {
		if info, err := os.Stat(path); err == nil {
			if info.IsDir() {
				continue
			}
			if err := Regular(path, info); err != nil {
				return nil, err
			}
		}
		shown := path
		if rel, err := filepath.Rel(cmp.Or(dir, "."), path); err == nil && !absolute {
			shown = rel
		}
		files = append(files, File{Path: path, Shown: filepath.ToSlash(shown)})
	}
	return files, nil
}

// Regular refuses what is neither a file nor a folder. To open a pipe that nobody writes to never ends, and what a pipe or
// a device gives is gone when it has been read, while sources are read more than once. The error names the base of path.
func Regular(path string, info fs.FileInfo) error {
	what := ""
	switch mode := info.Mode(); {
	case mode.IsRegular() || mode.IsDir():
		return nil
	case mode&fs.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&fs.ModeSocket != 0:
		what = "a socket"
	default:
		what = "a device"
	}
	return fmt.Errorf("%s is %s, not a file: sources are read more than once, so write it to a file first", filepath.Base(path), what)
}

// escape makes a folder's name match only itself.
func escape(dir string) string {
	if runtime.GOOS == "windows" { // no escape there, and [ is rare in a folder's name
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
