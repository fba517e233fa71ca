package workbench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// UnmappedOptions says what Unmapped answers.
type UnmappedOptions struct {
	Run        string // "" is the latest, dry or not
	ShowValues bool   // every value, also of few patients and of columns that the policy takes out; audited
	Dir        string // where to write concept maps to be filled in; "" writes none
}

// UnmappedCodes are the codes of one run that no concept map knows.
type UnmappedCodes struct {
	Run   string
	Codes []ledger.Unmapped // the most frequent first; Value is "" for what may not be shown
	Files []string          // written
	// Hidden counts, for each map that has any, the codes whose value may not be shown. Unfit counts those that are shown
	// and can stand in no concept map, because there is white space around them.
	Hidden, Unfit map[string]int
}

// Unmapped lists the codes of a run that no concept map knows. Values are shown where the run has recorded them: from five
// patients on, and from columns that the policy keeps. With ShowValues the source is read again, which must be as the run
// read it, and the act goes into the audit log; the session is then opened with Tables, Keys and Write.
//
// With Dir it writes a file for each map, with the map's own settings and a line for each code that is shown, which is a
// concept map as soon as it is filled in. A file that is there already may have been filled in: nothing is written then.
func Unmapped(ctx context.Context, s *plan.Session, o UnmappedOptions) (*UnmappedCodes, error) {
	of, err := run.Find(ctx, s, o.Run, "")
	if err != nil {
		return nil, err
	}
	out := &UnmappedCodes{Run: of.ID, Hidden: map[string]int{}, Unfit: map[string]int{}}
	if out.Codes, err = s.Ledger.Unmapped(ctx, of.ID); err != nil {
		return nil, err
	}
	if o.ShowValues && len(out.Codes) > 0 {
		if err := s.Ledger.Append(ctx, "unmapped values shown", of.ID); err != nil {
			return nil, err
		}
		if err := recount(ctx, s, of); err != nil {
			return nil, err
		}
		type key struct{ m, code string }
		values := map[key]string{}
		_, unmapped := s.Program.Counters()
		for _, u := range unmapped {
			values[key{u.Map, u.Code}] = u.Value
		}
		for i := range out.Codes {
			u := &out.Codes[i]
			u.Value = values[key{u.Map, u.Code}]
		}
	}
	for _, u := range out.Codes {
		if u.Value == "" {
			out.Hidden[u.Map]++
		}
	}
	if o.Dir != "" {
		return out, writeUnmapped(s, out, o.Dir)
	}
	return out, nil
}

// Patients is a number of patients with an unmapped code as people read it: beyond mapping.PatientCap nobody counts.
func Patients(n int64) string {
	if n >= mapping.PatientCap {
		return fmt.Sprintf("%d or more", n)
	}
	return strconv.FormatInt(n, 10)
}

// openMap is a concept map that codes are missing in.
type openMap struct {
	name  string // pack/map
	m     *terminology.ConceptMap
	codes []terminology.Open
}

// writeUnmapped writes a file for each map.
func writeUnmapped(s *plan.Session, out *UnmappedCodes, dir string) error {
	packs := s.Packs
	if packs == nil {
		var faults plan.Faults
		if packs, faults = plan.ReadPacks(s.Plan); len(faults) > 0 {
			return faults
		}
	}
	var list []*openMap
	for _, u := range out.Codes {
		if u.Value == "" {
			continue
		}
		i := slices.IndexFunc(list, func(o *openMap) bool { return o.name == u.Map })
		if i < 0 {
			m := findMap(packs, u.Map)
			if m == nil {
				return plan.Usagef("the plan has no concept map %s, which the run %s used", u.Map, out.Run)
			}
			i = len(list)
			list = append(list, &openMap{name: u.Map, m: m})
		}
		if !terminology.Holds(u.Value) {
			out.Unfit[u.Map]++
			continue
		}
		list[i].codes = append(list[i].codes, terminology.Open{Code: u.Value, Comment: fmt.Sprintf("count %d; patients %s", u.Count, Patients(u.Patients))})
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { // codes may be of few patients
		return err
	}
	paths := map[string]*openMap{}
	for _, o := range list {
		name := o.m.Name
		for _, other := range list {
			if other != o && other.m.Name == name {
				name = strings.ReplaceAll(o.name, "/", "-")
				break
			}
		}
		path := filepath.Join(dir, plan.FileName(name)+".csv")
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return plan.Usagef("%s is there already, and may have been filled in: name another folder", path)
		}
		paths[path] = o
		out.Files = append(out.Files, path)
	}
	for _, path := range out.Files {
		if err := out.write(path, paths[path]); err != nil {
			return err
		}
	}
	return nil
}

func (out *UnmappedCodes) write(path string, o *openMap) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	remarks := []string{
		fmt.Sprintf("Codes of %s that the concept map %s did not know.", out.Run, o.name),
		fmt.Sprintf("Fill in each line and put the file into the pack's maps/ under a name of its own. It is used if the map %s", o.m.Name),
		"says in its header   unknown: map THAT-NAME   or append the lines to it.",
	}
	if n := out.Hidden[o.name]; n > 0 {
		remarks = append(remarks, fmt.Sprintf("%d more may not be shown here: --show-values writes them too and is audited.", n))
	}
	if n := out.Unfit[o.name]; n > 0 {
		remarks = append(remarks, fmt.Sprintf("%d more have white space around them: mend that in the mapping with .trim().", n))
	}
	return terminology.WriteOpen(f, append(remarks, o.m.Settings()...), o.codes)
}

// findMap finds a concept map by pack/map.
func findMap(packs []*mapping.Pack, name string) *terminology.ConceptMap {
	for _, p := range packs {
		if m, ok := strings.CutPrefix(name, p.Name+"/"); ok && p.Maps[m] != nil {
			return p.Maps[m]
		}
	}
	return nil
}
