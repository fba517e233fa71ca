package mapping

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// faultFormula is a fault at the start of a formula.
func (c *compiler) faultFormula(f *formula, hint, format string, args ...any) {
	x := f.place
	x.Message, x.Hint = fmt.Sprintf(format, args...), hint
	c.faults = append(c.faults, x)
}

// compileFormula compiles a formula of the template and notes what it reads.
func (t *templates) compileFormula(n *yaml.Node, at place, path string) *formula {
	t.now = t.now[:0]
	f := t.f.compile(n, at.env, path, at.inFlow)
	if f == nil {
		return nil
	}
	for _, r := range f.refs {
		if !slices.Contains(t.m.Refers, r.target.file.name) {
			t.m.Refers = append(t.m.Refers, r.target.file.name)
		}
	}
	return f
}

// formula compiles a formula that gives the value of an element.
func (t *templates) formula(p *plan, n *yaml.Node, at place) {
	p.kind = planScalar
	if p.typ.Kind != fhir.KindPrimitive {
		p.kind = planComplex
	}
	if p.typ.Name == "xhtml" {
		t.c.fault(t.b.file, n, "leave the narrative out", "%s is a narrative: it cannot be a formula, since data could become markup", p.elem.Path)
		return
	}
	if !slices.Contains(t.paths, p.path) {
		t.paths = append(t.paths, p.path)
	}
	f := t.compileFormula(n, at, p.path)
	if f == nil {
		return
	}
	if !t.fits(f, p) {
		return
	}
	p.f = f
	f.index = len(t.c.program.formulas)
	t.c.program.formulas = append(t.c.program.formulas, programFormula{mapping: t.b.file.name, formula: f})
	t.feed(p, f)
	if p.kind == planScalar {
		p.form = &primitive{typ: p.typ, kinds: kindsOf(p.typ), raw: rawType(p.typ), codes: requiredCodes(p.elem),
			ref: p.elem.Path == "Reference.reference"}
		if p.form.ref {
			p.drop = t.drops(strings.TrimSuffix(p.path, ".reference"))
		}
		p.w = t.writer(p)
		return
	}
	p.drop = t.drops(p.path)
	for _, r := range f.refs {
		if p.typ.Name == "Reference" && len(p.elem.Targets) > 0 && r.target.typ != "" && !allowedTarget(p.elem.Targets, r.target.typ) {
			t.c.faultFormula(f, "it takes "+strings.Join(p.elem.Targets, ", "), "%s cannot refer to %s, which mapping %s makes", p.elem.Path, r.target.typ, r.target.file.name)
		}
	}
	p.shape = shapeKey{typ: p.typ, rules: at.rules, free: at.free}
	p.coded = requiredCodes(p.elem)
	p.w = t.writer(p)
}

func allowedTarget(targets []string, typ string) bool {
	for _, t := range targets {
		if t == "Resource" || fhir.Lookup(typ).Is(t) {
			return true
		}
	}
	return false
}

// kindsOf are the kinds of values that a primitive type is written from.
func kindsOf(typ *fhir.Type) uint16 {
	set := func(kinds ...fhirpath.Kind) uint16 { return uint16(fhirpath.Set(kinds...)) }
	switch typ.Name {
	case "boolean":
		return set(fhirpath.KindBoolean)
	case "integer", "positiveInt", "unsignedInt":
		return set(fhirpath.KindInteger)
	case "decimal":
		return set(fhirpath.KindDecimal, fhirpath.KindInteger)
	case "date":
		return set(fhirpath.KindDate)
	case "dateTime":
		return set(fhirpath.KindDate, fhirpath.KindDateTime)
	case "instant":
		return set(fhirpath.KindDateTime)
	case "time":
		return set(fhirpath.KindTime)
	}
	return set(fhirpath.KindString)
}

// fits checks the type of a formula's result against the element, and says what to write instead.
func (t *templates) fits(f *formula, p *plan) bool {
	st := f.expr.Static()
	if st.Only() && st.Kinds == 0 && st.FHIR == nil && len(st.Choice) == 0 {
		return true // empty, or known only while it runs
	}
	if p.typ.Kind == fhir.KindPrimitive {
		if st.Kinds == 0 || uint16(st.Kinds)&kindsOf(p.typ) != 0 {
			return true
		}
		t.c.faultFormula(f, t.scalarHint(st, p.typ), "%s is %s, but the formula gives %s", p.elem.Path, article(p.typ.Name), describe(st))
		return false
	}
	if st.FHIR != nil {
		if canHold(p.typ, st.FHIR) {
			return true
		}
	} else if st.Kinds == 0 || st.Kinds.Has(fhirpath.KindObject) {
		return true
	}
	t.c.faultFormula(f, complexHint(st, p.typ), "%s is %s, but the formula gives %s", p.elem.Path, article(p.typ.Name), describe(st))
	return false
}

// canHold tells whether an element of one type takes a value of another: Age is a Quantity with rules of its own.
func canHold(element, value *fhir.Type) bool {
	return value.Is(element.Name) || value.Name == "Quantity" && element.Is("Quantity")
}

func (t *templates) scalarHint(st fhirpath.StaticType, typ *fhir.Type) string {
	text := st.Kinds.Has(fhirpath.KindString) && st.FHIR == nil
	switch typ.Name {
	case "boolean":
		return "compare it with something: X = 'Y'; iif(X ~ 'Y', true, false) is never empty"
	case "integer", "positiveInt", "unsignedInt":
		if text {
			return "add .integer()"
		}
		return "an Integer is wanted"
	case "decimal":
		if text {
			return "add .decimal()"
		}
	case "date":
		if text || st.Kinds.Has(fhirpath.KindDateTime) {
			return "add .date(), with a layout if it is not ISO: .date('dd.MM.yyyy')"
		}
	case "dateTime", "instant":
		if text || st.Kinds.Has(fhirpath.KindDate) {
			return "add .dateTime() or .date(), with a layout if it is not ISO: .dateTime('M/d/yyyy HH:mm')"
		}
	case "time":
		if text {
			return "add .toTime()"
		}
	default:
		switch {
		case st.FHIR != nil && st.FHIR.Is("Coding"):
			return "add .code or .display"
		case st.FHIR != nil && st.FHIR.Is("Reference"):
			return "add .reference"
		case st.Kinds.Has(fhirpath.KindBoolean):
			return "iif(condition, 'one text', 'another')"
		case st.Kinds.Has(fhirpath.KindRow):
			return "name a column of the rows"
		case st.FHIR == nil:
			return "add .toString()"
		}
	}
	return ""
}

func complexHint(st fhirpath.StaticType, typ *fhir.Type) string {
	text := st.FHIR == nil && st.Kinds.Has(fhirpath.KindString)
	coding := st.FHIR != nil && st.FHIR.Is("Coding")
	switch {
	case typ.Name == "CodeableConcept" && coding:
		return "add .concept()"
	case typ.Name == "CodeableConcept" && text:
		return "add .coding('system').concept(), or .translated('map')"
	case typ.Name == "Coding" && text:
		return "add .coding('system')"
	case typ.Name == "Coding" && st.FHIR != nil && st.FHIR.Is("CodeableConcept"):
		return "leave .concept() out, or add .coding"
	case typ.Name == "Identifier" && text:
		return "add .identifier('system')"
	case typ.Is("Quantity"):
		return "add .quantity('unit')"
	case typ.Name == "Reference":
		return "= ref('mapping', KEY)"
	}
	return "write an object with its elements"
}

// drops tells whether `references:` says to drop a missing target here.
func (t *templates) drops(path string) bool {
	for _, r := range t.b.file.references {
		if r.name == path {
			return r.value.Value == "drop"
		}
	}
	for _, r := range t.b.file.references {
		if r.name == "" {
			return r.value.Value == "drop"
		}
	}
	return false
}

// feed notes which clinical element a column feeds.
func (t *templates) feed(p *plan, f *formula) {
	if p.typ.Name == "Reference" || p.typ.Name == "Identifier" || len(f.refs) > 0 || strings.HasPrefix(p.path, "identifier") {
		return
	}
	for _, col := range t.now {
		if _, ok := t.feeds[col]; !ok {
			t.feeds[col] = p.path
		}
	}
}

// warnKeys says which key columns are clinical content.
func (t *templates) warnKeys() {
	for _, k := range t.b.file.keyColumns() {
		i := slices.Index(t.b.columns, k.text)
		if path, ok := t.feeds[i]; ok && i >= 0 {
			t.c.notice(Remark, "clinical-key", t.b.file, k.node, "", "the key column %s also feeds %s: a later correction of it would make a new id", k.text, path)
		}
	}
}

// allowed gives formulas the reasons of `allow empty`, and checks the paths of `references`.
func (t *templates) allowed() {
	f := t.b.file
	for _, a := range f.allowEmpty {
		if !slices.Contains(t.paths, a.name) {
			t.c.fault(f, a.key, document.Hint(a.name, t.paths), "allow empty: no formula stands at %q", a.name)
			continue
		}
		for _, x := range t.c.program.formulas {
			if x.mapping == f.name && x.formula.path == a.name {
				x.formula.allowed = a.value.Value
			}
		}
	}
	refs := map[string][]*plan{}
	b := t.b.root
	b.references(refs)
	var paths []string
	for _, list := range refs {
		for _, p := range list {
			paths = append(paths, strings.TrimSuffix(p.path, ".reference"))
		}
	}
	slices.Sort(paths)
	for _, r := range f.references {
		switch {
		case r.name == "" || b == nil:
		case !slices.Contains(paths, r.name):
			hint := document.Hint(r.name, paths)
			if hint == "" && len(paths) > 0 {
				hint = "there is one at " + strings.Join(slices.Compact(paths), ", ")
			}
			t.c.fault(f, r.key, hint, "references: no ref() stands at %q", r.name)
		case r.value.Value == "drop" && requiredAt(b.typ, r.name):
			t.c.notice(Remark, "drop-required", f, r.key, "", "references: %s.%s is required where it stands, so a record is refused if its target is missing, not written without", b.typ.Name, r.name)
		}
	}
}

// requiredAt tells whether the element at a path is required in what holds it.
func requiredAt(typ *fhir.Type, path string) bool {
	var e *fhir.Element
	for _, step := range strings.Split(path, ".") {
		if e, typ = typ.Element(step); e == nil {
			return false
		}
	}
	return e.Min > 0
}

// refers finishes the list of mappings this one refers to.
func (t *templates) refers() {
	if t.b.patient != nil {
		for _, r := range t.b.patient.refs {
			if !slices.Contains(t.m.Refers, r.target.file.name) {
				t.m.Refers = append(t.m.Refers, r.target.file.name)
			}
		}
	}
	slices.Sort(t.m.Refers)
}
