package csv

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/glob"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// file is one table's file, or the member of an archive.
type file struct {
	glob.File
	table  string
	member string // of an archive
	packed packed.Kind
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
			if !seen[f.Shown] {
				s.files = append(s.files, f)
			}
		}
		for _, f := range found { // only now, so that two members of one name are seen to be two
			seen[f.Shown] = true
		}
	}
	slices.SortFunc(s.files, func(a, b file) int {
		return cmp.Or(strings.Compare(a.table, b.table), strings.Compare(a.Shown, b.Shown))
	})
	for i := 1; i < len(s.files); i++ {
		if s.files[i].table == s.files[i-1].table {
			faults = append(faults, fmt.Errorf("table %s is in two files: %s and %s",
				s.files[i].table, s.files[i-1].Shown, s.files[i].Shown))
		}
	}
	return errors.Join(append(faults, s.missingTables()...)...)
}

// expand lists the files that one entry of Options.Files names.
func (s *Source) expand(entry string) ([]file, error) {
	pattern, members := splitMember(entry)
	found, err := glob.Find(s.options.Dir, pattern)
	if err != nil {
		return nil, err
	}
	var files []file
	var faults []error
	for _, f := range found {
		if isZip(f.Path) {
			in, err := s.members(f, members)
			files = append(files, in...)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", f.Shown, err))
			}
			continue
		}
		kind, _ := packed.By(f.Path)
		files = append(files, file{File: f, table: tableName(f.Path), packed: kind})
	}
	if len(files)+len(faults) == 0 {
		return nil, errors.New("no such file")
	}
	return files, errors.Join(faults...)
}

// tableName is the file's name without its extension, and without .gz or .zst before that.
func tableName(path string) string {
	_, name := packed.By(filepath.Base(path))
	if ext := filepath.Ext(name); ext != "" && ext != name {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}
