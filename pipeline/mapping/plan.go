package mapping

import (
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// planKind tells how a part of the template is written.
type planKind uint8

const (
	planConst   planKind = iota // bytes, known while compiling
	planID                      // the resource's id
	planObject                  // an object with formulas somewhere below
	planList                    // a list with formulas somewhere below
	planScalar                  // a formula for a primitive
	planComplex                 // a formula for a datatype
)

// plan is one part of the template, compiled: what to write, and where the policy cuts.
type plan struct {
	kind  planKind
	node  *yaml.Node
	elem  *fhir.Element
	typ   *fhir.Type
	path  string // of the element, without indexes: name.given
	label string // as a piece of a cut's path: the member's name
	name  []byte // `"given":`; nil for entries of lists
	bit   uint64 // of a member, for the checks of its object

	// What the policy does with the member or entry as a whole.
	cut      bool
	method   phi.Method
	required bool
	tracks   bool // there may be cuts below, so the path is kept

	text []byte     // planConst: the value, or several members with their names
	cuts []constCut // planConst: in text
	mark int        // planConst: where meta.security belongs, in text; -1
	late bool       // a dynamic member of meta after security: its start is the mark

	members []*plan // planObject, sorted by name
	checks  []check
	always  bool // the resource itself: written even if all formulas are empty
	coded   *fhir.CodeSet
	decide  *deferred // the policy's decision depends on the value

	entries []*entry // planList
	max     int

	f     *formula // planScalar, planComplex
	w     writer   // of the formula; nil if it is evaluated
	form  *primitive
	shape shapeKey
	drop  bool     // `references: drop`
	later []string // the types of targets that are loaded with the resource or after it
}

// entry is one entry of a list in the template.
type entry struct {
	plan    *plan
	forEach *formula // the entry is written for each of its items
}

// constCut is a cut in constant text.
type constCut struct {
	start, end int
	path       string // below the object that holds the text
	method     phi.Method
	required   bool
}

// check is a rule about the members of an object: which of them at least, or at most, one must be written.
type check struct {
	mask   uint64
	path   string
	least  bool
	atMost bool
}

// deferred is a policy decision that is made when the value is known: the value is read back and cut by the shape.
type deferred struct {
	decision phi.Decision
	typ      *fhir.Type
}

// failed applies the checks of an object to what was written.
func (p *plan) failed(wrote uint64) (Code, string) {
	for _, c := range p.checks {
		n := bits.OnesCount64(wrote & c.mask)
		if c.least && n == 0 {
			return RequiredEmpty, c.path
		}
		if c.atMost && n > 1 {
			return SeveralChoices, c.path
		}
	}
	return "", ""
}

// tracking finds out below which plans cuts can happen.
func (p *plan) tracking() bool {
	p.tracks = p.cut || len(p.cuts) > 0 || p.decide != nil || p.kind == planComplex && !p.shape.free
	for _, m := range p.members {
		p.tracks = m.tracking() || p.tracks
	}
	for _, e := range p.entries {
		p.tracks = e.plan.tracking() || p.tracks
	}
	return p.tracks
}

// object makes the plan of an object from its members: sorted, constants merged, all constant if no member has a
// formula.
func finishObject(p *plan, members []*plan) {
	slices.SortFunc(members, func(a, b *plan) int { return strings.Compare(a.label, b.label) })
	dynamic := p.always
	for _, m := range members {
		dynamic = dynamic || m.kind != planConst
	}
	var merged []*plan
	for _, m := range members {
		if m.kind != planConst {
			merged = append(merged, m)
			continue
		}
		var into *plan
		if n := len(merged); n > 0 && merged[n-1].kind == planConst {
			into = merged[n-1]
			into.text = append(into.text, ',')
		} else {
			into = &plan{kind: planConst, mark: -1}
			merged = append(merged, into)
		}
		into.bit |= m.bit
		start := len(into.text)
		into.text = append(append(into.text, m.name...), m.text...)
		if m.cut {
			into.cuts = append(into.cuts, constCut{start, len(into.text), m.label, m.method, m.required})
		} else {
			for _, c := range m.cuts {
				into.cuts = append(into.cuts, constCut{start + len(m.name) + c.start, start + len(m.name) + c.end, below(m.label, c.path), c.method, c.required})
			}
		}
		if m.mark >= 0 {
			into.mark = start + len(m.name) + m.mark
		}
		if m.late {
			into.mark = start
		}
	}
	if dynamic {
		p.kind, p.members = planObject, merged
		return
	}
	p.kind = planConst
	p.text = []byte{'{'}
	p.mark = -1
	for _, m := range merged {
		for _, c := range m.cuts {
			p.cuts = append(p.cuts, constCut{c.start + 1, c.end + 1, c.path, c.method, c.required})
		}
		if m.mark >= 0 {
			p.mark = m.mark + 1
		}
		p.text = append(p.text, m.text...)
	}
	p.text = append(p.text, '}')
}

// finishList makes the plan of a list: constant if all entries are.
func finishList(p *plan, entries []*entry) {
	for _, e := range entries {
		if e.forEach != nil || e.plan.kind != planConst {
			p.kind, p.entries = planList, entries
			return
		}
	}
	p.kind, p.mark = planConst, -1
	p.text = []byte{'['}
	for i, e := range entries {
		if i > 0 {
			p.text = append(p.text, ',')
		}
		start := len(p.text)
		p.text = append(p.text, e.plan.text...)
		index := "[" + strconv.Itoa(i) + "]"
		if e.plan.cut {
			p.cuts = append(p.cuts, constCut{start, len(p.text), index, e.plan.method, false})
			continue
		}
		for _, c := range e.plan.cuts {
			p.cuts = append(p.cuts, constCut{start + c.start, start + c.end, below(index, c.path), c.method, c.required})
		}
	}
	p.text = append(p.text, ']')
}

// below joins the path of a piece to that of what holds it: name + [0].family.
func below(holder, piece string) string {
	if strings.HasPrefix(piece, "[") {
		return holder + piece
	}
	return holder + "." + piece
}

// primitive is how values of a primitive type are written.
type primitive struct {
	typ   *fhir.Type
	kinds uint16 // of fhirpath.Kind
	raw   bool   // written without quotes
	codes *fhir.CodeSet
	ref   bool // Reference.reference
}
