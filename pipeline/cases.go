package pipeline

import (
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/mapping"
)

// RunCases runs the cases of the packs named, or of the plan's mappings if none is named. It needs no source.
func RunCases(planFile string, packs []string) ([]mapping.CaseResult, error) {
	plan := &Plan{File: "command line", Mappings: packs}
	if len(packs) == 0 {
		var err error
		if plan, err = ReadPlan(planFile); err != nil {
			return nil, err
		}
	}
	for i, name := range plan.Mappings {
		if strings.ContainsAny(name, `/\`) && !filepath.IsAbs(name) {
			abs, err := filepath.Abs(name)
			if err != nil {
				return nil, err
			}
			plan.Mappings[i] = abs
		}
	}
	read, faults := readPacks(plan)
	if len(faults) > 0 {
		return nil, faults.Sort()
	}
	return mapping.RunCases(read)
}
