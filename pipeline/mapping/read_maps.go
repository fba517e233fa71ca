package mapping

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/packed"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// Limits of a concept map. The whole of ICD-10-CM to SNOMED CT is about 20 MB, a GEM file 2 MB.
const (
	maxMapBytes = 256 << 20
	maxMapRatio = 100
)

// readMaps reads the concept maps of a pack, the files that they name, and leads each to the other maps that it names.
func (p *Pack) readMaps(fsys fs.FS, beside []fs.FS) (faults Faults) {
	entries, err := fs.ReadDir(fsys, "maps")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Faults{{File: p.file("maps"), Message: "the folder of concept maps cannot be read: " + plainError(err)}}
	}
	place := func(m string, found Faults) {
		for _, x := range found {
			if x.File == m {
				x.File = p.file("maps/" + m)
			}
			faults = append(faults, x)
		}
	}
	for _, e := range entries {
		kind := path.Ext(e.Name())
		if e.IsDir() || kind != ".csv" && kind != ".json" {
			continue
		}
		shown := p.file("maps/" + e.Name())
		name := strings.TrimSuffix(e.Name(), kind)
		if first := p.Maps[name]; first != nil {
			faults = append(faults, Fault{File: shown, Message: fmt.Sprintf("the concept map %q is there twice, first in %s", name, first.File), Hint: "keep one form of it"})
			continue
		}
		data, fault := readFile(fsys, "maps/"+e.Name(), shown, maxMapBytes)
		if fault != nil {
			faults = append(faults, *fault)
			continue
		}
		var m *terminology.ConceptMap
		var found Faults
		if kind == ".csv" {
			m, found = terminology.ReadCSV(e.Name(), strings.NewReader(string(data)))
		} else {
			m, found = terminology.ReadFHIR(e.Name(), data)
		}
		place(e.Name(), found)
		if m == nil {
			continue
		}
		if file := m.GEM(); file != "" {
			place(e.Name(), p.readGEM(m, file, append([]fs.FS{mapFolder{fsys}}, beside...)))
		}
		m.Name, m.File = name, shown
		p.Maps[name] = m
	}
	urls := map[string]*terminology.ConceptMap{}
	for _, name := range slices.Sorted(maps.Keys(p.Maps)) {
		m := p.Maps[name]
		if first := urls[m.URL]; m.URL != "" && first != nil {
			faults = append(faults, Fault{File: m.File, Message: fmt.Sprintf("the URL %s is that of another concept map too, %s", m.URL, first.File), Hint: "give one of them another"})
		} else {
			urls[m.URL] = m
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.Maps)) {
		m := p.Maps[name]
		found := m.Link(func(name string) *terminology.ConceptMap {
			if other := p.Maps[name]; other != nil {
				return other
			}
			if name == "" {
				return nil
			}
			return urls[name]
		})
		for _, x := range found {
			x.File = m.File
			faults = append(faults, x)
		}
	}
	return faults
}

// mapFolder is the folder maps/ of a pack.
type mapFolder struct{ pack fs.FS }

// Open opens a file of the folder.
func (f mapFolder) Open(name string) (fs.File, error) { return f.pack.Open(path.Join("maps", name)) }

// readGEM finds the GEM file that a concept map names, in the first of the folders that has it, and adds what it says.
func (p *Pack) readGEM(m *terminology.ConceptMap, file string, folders []fs.FS) Faults {
	if !fs.ValidPath(file) || file == "." {
		return m.FaultGEM("put it beside the map or into the plan's folder", "the GEM file %q lies outside of the folders that a map can name", file)
	}
	for _, folder := range folders {
		f, err := folder.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return m.FaultGEM("", "the GEM file %q cannot be opened: %s", file, plainError(err))
		}
		defer f.Close()
		kind, _ := packed.By(file)
		unpacked, err := packed.Reader(kind, f)
		if err != nil {
			return m.FaultGEM("", "the GEM file %q is not packed as its name says", file)
		}
		defer unpacked.Close()
		size := int64(0)
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		var r io.Reader = unpacked
		if kind != packed.Plain {
			r = packed.Limit{Unpacked: maxMapBytes, Ratio: maxMapRatio}.Reader(unpacked, size)
		}
		return m.AddGEM(file, r)
	}
	return m.FaultGEM("CMS offers it for download; put it beside the map or into the plan's folder", "there is no GEM file %q", file)
}
