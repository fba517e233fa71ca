// Package glob finds the files that an entry of a plan names.
package glob

import (
	"cmp"
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
// the pattern is none; a pattern that matches nothing is not an error.
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
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		shown := path
		if rel, err := filepath.Rel(cmp.Or(dir, "."), path); err == nil && !absolute {
			shown = rel
		}
		files = append(files, File{Path: path, Shown: filepath.ToSlash(shown)})
	}
	return files, nil
}

// escape makes a folder's name match only itself.
func escape(dir string) string {
	if runtime.GOOS == "windows" { // no escape there, and [ is rare in a folder's name
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
