package csv

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// file is one table's file, or the member of an archive.
type file struct {
	table  string
	path   string // to open it
	member string // of an archive
	packed packed
	shown  string // as people see it: relative to Options.Dir if the glob was
}

// find expands the globs.
func (s *Source) find() error {
	if len(s.options.Files) == 0 {
		return errors.New("no file is named")
	}
	var faults []error
	seen := map[string]bool{} // what an entry before has named
	for _, entry := range s.options.Files {
		found, err := s.expand(entry)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", entry, err))
		}
		for _, f := range found {
			if !seen[f.shown] {
				s.files = append(s.files, f)
			}
		}
		for _, f := range found { // only now, so that two members of one name are seen to be two
			seen[f.shown] = true
		}
	}
	slices.SortFunc(s.files, func(a, b file) int {
		return cmp.Or(strings.Compare(a.table, b.table), strings.Compare(a.shown, b.shown))
	})
	for i := 1; i < len(s.files); i++ {
		if s.files[i].table == s.files[i-1].table {
			faults = append(faults, fmt.Errorf("table %s is in two files: %s and %s",
				s.files[i].table, s.files[i-1].shown, s.files[i].shown))
		}
	}
	return errors.Join(append(faults, s.missingTables()...)...)
}

// expand lists the files that one entry of Options.Files names.
func (s *Source) expand(entry string) ([]file, error) {
	pattern, glob := splitMember(filepath.FromSlash(entry))
	full := pattern
	if !filepath.IsAbs(full) {
		full = filepath.Join(escapeGlob(s.options.Dir), full)
	}
	found, err := filepath.Glob(full)
	if err != nil {
		return nil, err
	}
	var files []file
	var faults []error
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		shown := path
		if !filepath.IsAbs(pattern) {
			if rel, err := filepath.Rel(cmp.Or(s.options.Dir, "."), path); err == nil {
				shown = rel
			}
		}
		shown = filepath.ToSlash(shown)
		if isZip(path) {
			members, err := s.members(path, shown, glob)
			files = append(files, members...)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", shown, err))
			}
			continue
		}
		_, p := packing(path)
		files = append(files, file{table: tableName(path), path: path, packed: p, shown: shown})
	}
	if len(files)+len(faults) == 0 {
		return nil, errors.New("no such file")
	}
	return files, errors.Join(faults...)
}

// escapeGlob makes a folder's name match only itself.
func escapeGlob(dir string) string {
	if runtime.GOOS == "windows" { // no escape there, and [ is rare in a folder's name
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// tableName is the file's name without its extension, and without .gz or .zst before that.
func tableName(path string) string {
	name := filepath.Base(path)
	name, _ = packing(name)
	if ext := filepath.Ext(name); ext != "" && ext != name {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}
