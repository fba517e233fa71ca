package workbench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// RunCases runs the cases of the packs named, or of the plan's mappings if none is named. It needs no source. Under
// o.Update the files of cases that failed are written anew, in the packs' own folders and nowhere else.
func RunCases(planFile string, packs []string, o mapping.CaseOptions) (*mapping.CaseReport, error) {
	p := &plan.Plan{File: "command line", Mappings: packs}
	if len(packs) == 0 {
		var err error
		if p, err = plan.Read(planFile); err != nil {
			return nil, err
		}
	}
	for i, name := range p.Mappings {
		if strings.ContainsAny(name, `/\`) && !filepath.IsAbs(name) {
			abs, err := filepath.Abs(name)
			if err != nil {
				return nil, err
			}
			p.Mappings[i] = abs
		}
	}
	read, faults := plan.ReadPacks(p)
	if len(faults) > 0 {
		if !o.Update {
			for _, p := range read {
				faults = append(faults, p.Unfinished()...)
			}
		}
		return nil, faults.Sort()
	}
	report, err := mapping.RunCases(read, o)
	if err != nil {
		return nil, err
	}
	for _, u := range report.Updates {
		for i, pack := range read {
			if pack == u.Pack && pack.Own {
				err = errors.Join(err, replaceInside(p.Mappings[i], u.File, u.Old, u.New))
			}
		}
	}
	return report, err
}

// replaceInside puts new content in the place of a file below a folder, whole. What leads out of the folder is refused,
// and so is a file that has changed since it was read.
func replaceInside(dir, name string, old, content []byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	now, err := root.ReadFile(name)
	if err != nil {
		return err
	}
	if string(now) != string(old) {
		return fmt.Errorf("%s has changed while its cases ran; it is left as it is", name)
	}
	info, err := root.Stat(name)
	if err != nil {
		return err
	}
	part := name + ".part"
	f, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = root.Rename(part, name)
	}
	if err != nil {
		_ = root.Remove(part) // the first error is the one to tell
	}
	return err
}
