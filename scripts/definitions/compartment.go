package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// compartment is the elements of a resource that put it into a patient's compartment.
type compartment struct {
	resource string
	paths    []string
}

// simplePath is what is left of a search parameter's expression for one resource once the test for the kind of target
// is taken off.
var simplePath = regexp.MustCompile(`^[a-z][A-Za-z]*(\.[a-z][A-Za-z]*)*$`)

const targetTest = ".where(resolve() is Patient)"

// patientCompartment follows the compartment's search parameters to the elements they read, in the order of the
// definition.
func patientCompartment(b *bundles) ([]compartment, error) {
	var out []compartment
	for _, r := range b.patient.Resource {
		c := compartment{resource: r.Code}
		for _, code := range r.Param {
			paths, err := b.parameterPaths(r.Code, code)
			if err != nil {
				return nil, fmt.Errorf("compartment of Patient: %s: parameter %s: %w", r.Code, code, err)
			}
			for _, path := range paths {
				if !slices.Contains(c.paths, path) {
					c.paths = append(c.paths, path)
				}
			}
		}
		if len(c.paths) > 0 {
			out = append(out, c)
		}
	}
	return out, nil
}

func (b *bundles) parameterPaths(resource, code string) ([]string, error) {
	for _, p := range b.parameters {
		if p.Code != code || !slices.Contains(p.Base, resource) {
			continue
		}
		var paths []string
		for part := range strings.SplitSeq(p.Expression, "|") {
			path, ok := strings.CutPrefix(strings.TrimSpace(part), resource+".")
			if !ok {
				continue
			}
			path = strings.TrimSuffix(path, targetTest)
			if !simplePath.MatchString(path) {
				return nil, fmt.Errorf("expression %q is no path", part)
			}
			paths = append(paths, path)
		}
		if len(paths) == 0 {
			return nil, fmt.Errorf("expression %q has no path", p.Expression)
		}
		return paths, nil
	}
	return nil, fmt.Errorf("not defined")
}
