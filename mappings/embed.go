// Package mappings holds the mapping packs that ship inside the binary: folders of mapping files with their cases and
// concept maps beside them. There is no Go in a pack; to add one, add a folder and name it below.
package mappings

import (
	"embed"
	"io/fs"
	"slices"
)

//go:embed omop openemr synthea
var packs embed.FS

// Names lists the packs, sorted.
func Names() []string {
	entries, err := packs.ReadDir(".")
	if err != nil { // an embedded file system always has its root
		return nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names
}

// Pack answers the folder of a pack, read only, and whether there is one of that name.
func Pack(name string) (fs.FS, bool) {
	if !slices.Contains(Names(), name) {
		return nil, false
	}
	dir, err := fs.Sub(packs, name)
	return dir, err == nil
}
