package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// CaseOptions says which cases to run, and whether to write their files anew.
type CaseOptions struct {
	Mapping string // only those of this mapping; "": of all
	Case    string // only those of this name; "": all
	Update  bool   // return the files of cases with what the mappings make now; see CaseUpdate
}

// CaseReport is how the cases went.
type CaseReport struct {
	Results  []CaseResult
	Coverage []Coverage   // of each mapping whose cases all ran, by name
	Updates  []CaseUpdate // under CaseOptions.Update: the files that change
}

// CaseResult is how one case went.
type CaseResult struct {
	Pack, Mapping, Case string
	Place               string // file:line of the case
	Differences         []Difference
	Difference          string   // the same in lines such as `code.coding[0].code: want "a", got "b"`; "" if it passed
	Updated             bool     // its `want:` is written anew
	Kept                string   // why it is not, under CaseOptions.Update, although the case failed
	Made                [][]byte // the resources of the case, as JSON
}

// Difference is one thing that is other than the case wants it. Cases hold made-up values, so they are shown.
type Difference struct {
	Path      string // of the element; "" where it is about the record
	Line      int    // of the case's file
	Want, Got string
}

// String is the difference on one line.
func (d Difference) String() string {
	if d.Path == "" {
		return fmt.Sprintf("want %s, but %s", d.Want, d.Got)
	}
	return fmt.Sprintf("%s: want %s, got %s", d.Path, d.Want, d.Got)
}

// Coverage is how much of a mapping its cases exercise.
type Coverage struct {
	Pack, Mapping     string
	Cases             int
	Formulas, Written int // of the template; those that some case makes write something
	Rules, Acted      int // of skip, refuse and find; those that act in some case
	Missing           []Uncovered
}

// Uncovered is a formula that no case makes write something, or a rule that acts in no case.
type Uncovered struct {
	Kind  string // formula, skip, refuse or find
	Name  string // of the rule, or the element's path in the template
	Place string // file:line:column
	Text  string // the formula
}

// Unfinished lists the cases that say no outcome. Only CaseOptions.Update takes these.
func (p *Pack) Unfinished() (faults Faults) {
	for _, c := range p.cases {
		for _, t := range c.cases {
			if t.open != nil {
				faults = append(faults, *t.open)
			}
		}
	}
	return faults
}

// RunCases runs the cases of the packs, whose mappings may refer to each other. Tables are made up from what the
// mappings read, so no data is needed; cells not named are blank. The error is the [Faults] of mappings and cases
// themselves; then no case was run.
func RunCases(packs []*Pack, o CaseOptions) (*CaseReport, error) {
	var faults Faults
	if !o.Update {
		for _, p := range packs {
			faults = append(faults, p.Unfinished()...)
		}
	}
	s := &caseSuite{packs: packs, programs: map[string]*Program{}}
	out := &CaseReport{}
	var names, titles []string
	for _, p := range packs {
		for _, cf := range p.cases {
			names = append(names, cf.mapping)
			if o.Mapping != "" && cf.mapping != o.Mapping {
				continue
			}
			covered := newCovered()
			update := &fileUpdate{file: cf}
			for i := range cf.cases {
				t := &cf.cases[i]
				titles = append(titles, t.name)
				if o.Case != "" && t.name != o.Case {
					continue
				}
				r, found := s.caseRun(cf, t)
				if r == nil {
					faults = append(faults, found...)
					break
				}
				result, got := r.run()
				faults = append(faults, r.faults...)
				covered.add(r.trace.out)
				if o.Update && result.Difference != "" && len(r.faults) == 0 {
					update.add(r, &result, got)
				}
				out.Results = append(out.Results, result)
			}
			if program := s.programs[""]; o.Case == "" && program != nil && program.Mapping(cf.mapping) != nil {
				out.Coverage = append(out.Coverage, covered.of(program.Mapping(cf.mapping), len(cf.cases)))
			}
			if len(update.edits) > 0 && len(faults) == 0 {
				if u := update.finish(s, out.Results); u != nil {
					out.Updates = append(out.Updates, *u)
				}
			}
		}
	}
	if o.Case == "" && o.Mapping == "" && len(faults) == 0 {
		out.Coverage = append(out.Coverage, s.uncased()...)
	}
	if len(faults) > 0 {
		return nil, faults.Sort()
	}
	if len(out.Results) == 0 && (o.Mapping != "" || o.Case != "") {
		f := Fault{File: "command line", Message: fmt.Sprintf("there is no case %q", o.Case), Hint: document.Hint(o.Case, titles)}
		if o.Mapping != "" && !slices.Contains(names, o.Mapping) {
			f.Message, f.Hint = fmt.Sprintf("there are no cases of a mapping %q", o.Mapping), document.Hint(o.Mapping, names)
		}
		return nil, Faults{f}
	}
	slices.SortFunc(out.Coverage, func(a, b Coverage) int { return strings.Compare(a.Pack+"/"+a.Mapping, b.Pack+"/"+b.Mapping) })
	return out, nil
}

// caseSuite compiles the packs, once for each zone that a case asks for.
type caseSuite struct {
	packs    []*Pack
	programs map[string]*Program
}

// caseRun readies a case; nil if it cannot run.
func (s *caseSuite) caseRun(cf *caseFile, t *testCase) (*caseRun, Faults) {
	zone := ""
	if t.zone != nil {
		zone = t.zone.String()
	}
	p, ok := s.programs[zone]
	if !ok {
		var found Faults
		p, _, found = Compile(s.packs, Options{Migration: "case", IDKey: []byte("cases have no secrets"), Sources: madeUp(s.packs, t.zone), NoCoverage: true})
		s.programs[zone] = p
		if p == nil {
			return nil, found
		}
	}
	if p == nil {
		return nil, nil // its faults are told
	}
	m := p.Mapping(cf.mapping)
	if m == nil {
		return nil, Faults{{File: cf.path, Line: 1, Column: 1, Message: fmt.Sprintf("there is no mapping %q beside these cases", cf.mapping), Hint: p.suggest(cf.mapping)}}
	}
	return &caseRun{file: cf, t: t, p: p, m: m, refs: map[string]string{}, lines: map[*fhir.Node]int{}}, nil
}

// uncased is the coverage of the mappings that have no file of cases.
func (s *caseSuite) uncased() (out []Coverage) {
	for _, program := range s.programs {
		for _, m := range program.Mappings {
			has := false
			for _, p := range s.packs {
				has = has || slices.ContainsFunc(p.cases, func(c *caseFile) bool { return c.mapping == m.Name })
			}
			if !has {
				out = append(out, newCovered().of(m, 0))
			}
		}
		break // the mappings are the same in all zones
	}
	return out
}

// caseRun is one case at work.
type caseRun struct {
	file   *caseFile
	t      *testCase
	p      *Program
	m      *Mapping
	refs   map[string]string  // reference → as the case wrote it
	lines  map[*fhir.Node]int // of what is wanted, in the file
	trace  *trace
	faults Faults
}

func (r *caseRun) fault(n *yaml.Node, hint, format string, args ...any) {
	f := document.At(r.file.path, n, format, args...)
	f.Hint = hint
	r.faults = append(r.faults, f)
}

// run runs the case and returns what was made, too.
func (r *caseRun) run() (CaseResult, caseGot) {
	out := CaseResult{Pack: r.file.pack.Name, Mapping: r.m.Name, Case: r.t.name, Place: fmt.Sprintf("%s:%d", r.file.path, r.t.node.Line)}
	r.trace = &trace{out: &Explanation{Mapping: r.m}}
	if r.t.grouped != r.m.Grouped {
		r.fault(r.t.node, "", "the mapping %s wants %s", r.m.Name, map[bool]string{true: "`rows:`, since it groups", false: "`record:`, since it does not group"}[r.m.Grouped])
		return out, caseGot{}
	}
	records := make([]*extract.Record, len(r.t.rows))
	for i, cells := range r.t.rows {
		records[i] = r.record(cells, i)
	}
	var got caseGot
	w := r.p.NewWorker()
	w.SetFinder(r.tables())
	w.trace = r.trace
	var err error
	got.result, err = w.mapAll(r.m, records, 1, func(x *Resource) error {
		n, err := fhir.Parse(x.Whole)
		if err != nil {
			return fmt.Errorf("the resource written is not JSON: %w", err)
		}
		got.resources = append(got.resources, n)
		out.Made = append(out.Made, slices.Clone(x.Whole))
		return nil
	})
	if err != nil {
		out.Difference = err.Error()
		return out, got
	}
	r.trace.settle(got.result)
	r.trace.out.Result = got.result
	maps.Copy(r.refs, r.trace.refs)
	out.Differences = r.compare(got.result, got.resources)
	lines := make([]string, len(out.Differences))
	for i, d := range out.Differences {
		lines[i] = d.String()
	}
	out.Difference = strings.Join(lines, "\n")
	return out, got
}

// caseGot is what a mapping made of a case.
type caseGot struct {
	result    Result
	resources []*fhir.Node
}

// covered gathers what the cases of a mapping exercise, by the places of formulas.
type covered struct{ written, acted map[Fault]bool }

func newCovered() *covered { return &covered{map[Fault]bool{}, map[Fault]bool{}} }

// add takes a case. What a record that was refused would have written counts for nothing.
func (c *covered) add(e *Explanation) {
	if e.Result.Outcome == Mapped {
		for _, r := range e.Resources {
			for _, x := range r.Computed {
				if x.Status == Wrote {
					c.written[x.Place] = true
				}
			}
		}
	}
	for _, r := range e.Rules {
		if r.Acted {
			c.acted[r.Place] = true
		}
	}
}

// of sums up for a mapping.
func (c *covered) of(m *Mapping, cases int) Coverage {
	out := Coverage{Pack: m.Pack, Mapping: m.Name, Cases: cases}
	miss := func(kind, name string, f *formula) {
		out.Missing = append(out.Missing, Uncovered{kind, name, fmt.Sprintf("%s:%d:%d", f.place.File, f.place.Line, f.place.Column), f.text})
	}
	for _, f := range m.program.formulas {
		if f.mapping != m.Name {
			continue
		}
		if out.Formulas++; c.written[f.place] {
			out.Written++
		} else {
			miss("formula", f.path, f.formula)
		}
	}
	for _, list := range []struct {
		kind  string
		rules []rule
	}{{"skip", m.body.skip}, {"refuse", m.body.refuse}, {"find", m.body.find}} {
		for i := range list.rules {
			x := &list.rules[i]
			if out.Rules++; c.acted[x.place] {
				out.Acted++
			} else {
				miss(list.kind, x.name, x.formula)
			}
		}
	}
	return out
}
