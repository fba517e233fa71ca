package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// What a mapping writes is checked before it is handed on (package validate). Much of it cannot be wrong: paths, types,
// cardinalities, choices and required codes were checked while compiling or are checked as they are written. The rest,
// invariants, extensible value sets and profiles, is asked of each resource, once for each shape of it.
//
// What breaks R4 is refused: a server would refuse it too. What breaks only a profile that the mapping claims is kept, since
// the record is sound, and is a finding. A warning is counted.

// IssueCount is an issue of validation, over all resources of a mapping.
type IssueCount struct {
	Mapping  string
	Severity validate.Severity
	Rule     string // of package validate, or the key of an invariant
	Path     string // FHIRPath within the resource
	Profile  string // that asks it; "" for R4 itself
	First    extract.Place
	Count    int64
}

type issueKey struct {
	mapping  int
	severity validate.Severity
	rule     string
	path     string
	profile  string
}

type issueCount struct {
	first extract.Place
	n     int64
}

// judgement is the part of a worker that checks.
type judgement struct {
	judge  *validate.Judge
	issues map[issueKey]*issueCount
	deep   *validate.Checker
	share  float64
}

// SetDeep has the worker check a share of its resources (from 0 to 1) once more, from the written bytes alone, with no
// regard to what the compiler knows and what shapes remember. A verdict that differs is an error of the program, which
// Map returns.
func (w *Worker) SetDeep(share float64) {
	if w.p.validator == nil || share <= 0 {
		w.deep = nil
		return
	}
	w.deep, w.share = w.p.validator.Trial(), share
}

// judged checks the resource that stands in the buffer. False if it is refused.
func (w *Worker) judged(at extract.Place) bool {
	b := w.m.body
	issues := w.judge.Resource(b.typ, w.buf)
	if w.deep != nil && w.sampled() {
		w.deeper(issues, at)
	}
	sound := true
	for i := range issues {
		x := &issues[i]
		path := elementPath(w.m.Type, x)
		key := issueKey{w.m.index, x.Severity, x.Rule, path, x.Profile}
		c := w.issues[key]
		if c == nil {
			c = &issueCount{first: at}
			w.issues[key] = c
		}
		c.n++
		if sound && x.Severity == validate.Error && x.Profile == "" {
			w.refuse(Invalid, nil, path)
			w.result.Detail = x.Rule
			sound = false
		}
	}
	return sound
}

// elementPath is the place of an issue within a resource of the type, down to the element that is missing.
func elementPath(typ string, x *validate.Issue) string {
	path := strings.TrimPrefix(strings.TrimPrefix(x.Path, typ), ".")
	switch {
	case path == "":
		return x.Missing
	case x.Missing != "" && x.Missing[0] != ':':
		return path + "." + x.Missing
	}
	return path + x.Missing
}

// sampled tells whether the resource is one of those that are checked deeply: by its id, so that the same input gives the
// same sample.
func (w *Worker) sampled() bool {
	return w.share >= 1 || float64(uint32(w.id[0])<<24|uint32(w.id[1])<<16|uint32(w.id[2])<<8|uint32(w.id[3])) < w.share*(1<<32)
}

// deeper checks the resource independently and compares.
func (w *Worker) deeper(issues []validate.Issue, at extract.Place) {
	plain := func(list []validate.Issue) []string {
		var out []string
		for i := range list {
			out = append(out, list[i].String())
		}
		slices.Sort(out)
		return out
	}
	if got, want := plain(issues), plain(w.deep.Text(w.buf)); !slices.Equal(got, want) {
		w.broken = errors.Join(w.broken, fmt.Errorf("%s: the deep validation of what mapping %s wrote does not agree with the fast one: %q against %q",
			at, w.m.Name, want, got))
	}
}

// TakeIssues returns what validation found since the last call.
func (w *Worker) TakeIssues() []IssueCount {
	var out []IssueCount
	for k, c := range w.issues {
		out = append(out, IssueCount{Mapping: w.p.Mappings[k.mapping].Name, Severity: k.severity, Rule: k.rule, Path: k.path,
			Profile: k.profile, First: c.first, Count: c.n})
	}
	clear(w.issues)
	slices.SortFunc(out, func(a, b IssueCount) int {
		return cmp.Or(strings.Compare(a.Mapping, b.Mapping), cmp.Compare(a.Severity, b.Severity), strings.Compare(a.Rule, b.Rule),
			strings.Compare(a.Path, b.Path), strings.Compare(a.Profile, b.Profile))
	})
	return out
}

// NotChecked lists what the validation of all workers could not check for want of a definition.
func (p *Program) NotChecked() []validate.Unchecked {
	if p.validator == nil {
		return nil
	}
	return p.validator.NotChecked()
}
