package mapping

import (
	"fmt"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

func (f *formulaCompiler) compileTranslate(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticOf(fhirpath.KindString)
	problems := wants(call, "", fhirpath.KindString)
	slot, more := f.mapArg(call)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, result, problems
	}
	refusals := mapRefusals(call)
	f.c.remarkMap(slot)
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		a, refused := c.User.(*Worker).ask(slot, in.Text())
		switch {
		case refused != "":
			return fhirpath.Value{}, refusals[refused]
		case a.how == asSource:
			return fhirpath.String(a.source), nil
		case a.how == asText || len(a.targets) == 0:
			return fhirpath.Value{}, nil
		case len(a.targets) > 1: // all of them hold, but one is wanted
			return fhirpath.Value{}, refusals[SeveralTargets]
		}
		return fhirpath.String(a.targets[0].Code), nil
	})
}

// mapRefusals are the errors with which a concept map refuses a record.
func mapRefusals(call *fhirpath.Call) map[Code]error {
	errs := map[Code]error{}
	for _, code := range []Code{UnmappedCode, SeveralTargets, NarrowerCode} {
		errs[code] = call.Error(string(code))
	}
	return errs
}

// answer is what a concept map says about one code of a source.
type answer struct {
	how     answerKind
	source  string               // the code as its system writes it
	targets []terminology.Coding // under asTargets: all of them hold
}

type answerKind uint8

const (
	asTargets answerKind = iota // the targets, none if that is so on purpose
	asText                      // no code at all
	asSource                    // the source's own code alone
)

// ask asks a concept map, counts what it does not know, and notes the findings that its answer makes. A code that is not
// "" refuses the record.
func (w *Worker) ask(slot *mapSlot, code string) (a answer, refused Code) {
	m := slot.m
	a.source = code
	e, ok := slot.lookup(w, code)
	instead := m.Unknown
	switch {
	case !ok:
		w.unmapped(slot, code)
		if instead == terminology.Refuse {
			return a, UnmappedCode
		}
		w.find(FindUnmapped)
		if instead == terminology.Fixed {
			a.targets = []terminology.Coding{m.Fixed}
			return a, ""
		}
	case e.Choice:
		a.source = e.Code
		w.loosely(slot, "choice")
		if instead = m.Alternatives; instead == terminology.Refuse {
			return a, SeveralTargets
		}
		w.find(FindSeveral)
	default:
		a.source, a.targets = e.Code, e.Targets
		for i := range e.Targets {
			if r := e.Targets[i].Relationship; r != "equivalent" && r != "equal" && (i == 0 || e.Targets[i-1].Relationship != r) {
				w.loosely(slot, r)
			}
		}
		if e.Narrower() {
			if m.RefuseNarrower {
				return a, NarrowerCode
			}
			w.find(FindNarrower)
		}
		return a, ""
	}
	a.how = asSource
	if instead == terminology.Text {
		a.how = asText
	}
	return a, ""
}

// remarkMap says what the check of a concept map in use should tell, once for each map: lines to look at, and how many of
// its codes have no target that means the same.
func (c *compiler) remarkMap(slot *mapSlot) {
	if slot.remarked {
		return
	}
	slot.remarked = true
	for _, doubt := range slot.m.Doubts {
		doubt.File = slot.m.File
		c.notices = append(c.notices, Notice{Severity: IsFinding, Rule: FindDoubtfulUnit, Subject: slot.m.Name, Fault: doubt})
	}
	counts := slot.m.Relationships()
	remark := func(rule, hint, format string, names ...string) {
		n, list := 0, ""
		for _, name := range names {
			if counts[name] > 0 {
				n += counts[name]
				list += fmt.Sprintf(", %d %s", counts[name], name)
			}
		}
		if n > 0 {
			c.notices = append(c.notices, Notice{Severity: Remark, Rule: rule, Subject: slot.m.Name,
				Fault: Fault{File: slot.m.File, Message: fmt.Sprintf(format, list[2:]), Hint: hint}})
		}
	}
	narrower := "each record that has one is the finding " + FindNarrower
	if slot.m.RefuseNarrower {
		narrower = "records that have one are refused"
	}
	remark("loose-map", "the source's own coding is kept beside them, if the map names its `# system:`", "source codes whose target does not mean the same: %s", "wider", "subsumes", "inexact", "relatedto")
	remark("narrower-map", narrower, "source codes whose target asserts more than they do: %s", "narrower", "specializes")
	remark("choice-map", "the map's `# alternatives:` says "+slot.m.Alternatives.String(), "source codes with several targets to choose from: %s", "choice")
}

func (f *formulaCompiler) compileTranslated(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeConcept)
	problems := wants(call, "", fhirpath.KindString)
	slot, more := f.mapArg(call)
	problems = append(problems, more...)
	if len(call.Args) > 1 {
		problems = append(problems, textArgs(call, 1)...)
	}
	if slot != nil && (slot.m.Unknown == terminology.Keep || slot.m.Alternatives == terminology.Keep) && slot.m.System == "" {
		problems = append(problems, call.Args[0].Problem("the concept map keeps the source's codes but names no system for them", "add a line `# system: …` to the map"))
	}
	if len(problems) > 0 {
		return nil, result, problems
	}
	refusals := mapRefusals(call)
	f.c.remarkMap(slot)
	call.Mark = slot
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		display, err := arg(c, call, 1)
		if err != nil {
			return fhirpath.Value{}, err
		}
		list, text, refused := translated(c.User.(*Worker), slot, in.Text(), display)
		if refused != "" {
			return fhirpath.Value{}, refusals[refused]
		}
		codings := c.NewArray()
		for i := range list {
			c.AddItem(codings, codingNode(c, list[i].system, list[i].code, list[i].display))
		}
		return conceptNode(c, codings, text), nil
	})
}

// refTarget is a mapping that a formula refers to.
type refTarget struct {
	file   *file
	typ    string
	prefix []byte // of the id's message
	start  string // "Patient/"
	parts  int    // columns of the key
	item   bool   // and a forEach key
}

func (f *formulaCompiler) compileRef(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeReference)
	name, ok := call.Args[0].Literal()
	if !ok {
		return nil, result, []fhirpath.Problem{call.Args[0].Problem("ref() names its mapping by a constant text in quotes", "such as ref('patient', PATIENT)")}
	}
	target := f.c.target(name)
	if target == nil {
		return nil, result, []fhirpath.Problem{call.Args[0].Problem(fmt.Sprintf("there is no mapping %q", name), document.Hint(name, f.c.mappingNames()))}
	}
	var problems []fhirpath.Problem
	want := target.parts
	if target.item {
		want++
	}
	if got := len(call.Args) - 1; got != want {
		problems = append(problems, call.Problem(fmt.Sprintf("the key of mapping %q has %s, ref() gives %d", name, parts(want), got), "the key is "+target.keyText()))
	}
	for _, a := range call.Args[1:] {
		st := a.Static()
		if !st.Kinds.Has(fhirpath.KindString) && !st.Kinds.Has(fhirpath.KindInteger) {
			problems = append(problems, a.Problem("a part of a key is the text of a column, not "+describe(st), ""))
		}
	}
	f.refs = append(f.refs, refUse{target: target, offset: call.Offset})
	if len(problems) > 0 {
		return nil, result, problems
	}
	args := call.Args[1:]
	memory := f.c.program.refs
	f.c.program.refs++
	// ref() does not look at its input: it stands alone, or after something that is only a condition.
	call.OnEmpty = true
	call.Mark = target
	call.Single = func(c *fhirpath.Context, _ fhirpath.Value) (fhirpath.Value, error) {
		w := c.User.(*Worker)
		msg := append(w.ids.msg[:0], target.prefix...)
		start, some := len(msg), false
		for i, a := range args {
			text, err := a.Str(c)
			if err != nil {
				return fhirpath.Value{}, err
			}
			some = some || text != ""
			if target.item && i == len(args)-1 {
				msg = appendItem(msg, text)
			} else {
				msg = appendPart(msg, text)
			}
		}
		w.ids.msg = msg
		if !some {
			return fhirpath.Value{}, nil
		}
		last := w.remember(memory, msg, start)
		if w.trace != nil {
			w.trace.ref(target, msg[start:], last.id)
		}
		n := c.NewObject()
		var buf [64 + idLength]byte
		c.AddString(n, "reference", c.Text(append(append(buf[:0], target.start...), last.text[:]...)))
		return fhirpath.Object(n, typeReference), nil
	}
	return nil, result, nil
}

// mapSlot is a concept map in use, with its place in the workers' counters.
type mapSlot struct {
	index    int
	pack     string
	m        *terminology.ConceptMap
	remarked bool // while compiling: see remarkMap
}

// lookup asks the map, in the sight of whoever has the record explained.
func (s *mapSlot) lookup(w *Worker, code string) (terminology.Entry, bool) {
	e, ok := s.m.Lookup(code)
	if w.trace != nil {
		w.trace.lookup(s, code, e.Targets, ok)
	}
	return e, ok
}

// inBinding tells whether a Coding's system and code are in a required value set.
func inBinding(codes *fhir.CodeSet, n *fhir.Node) bool {
	return codes.Has(n.Get("system").Str(), n.Get("code").Str())
}

// allMaps are the concept maps of several packs; of two with one name, the first pack's.
func allMaps(packs []*Pack) map[string]*terminology.ConceptMap {
	all := map[string]*terminology.ConceptMap{}
	for _, p := range packs {
		for name, m := range p.Maps {
			if all[name] == nil {
				all[name] = m
			}
		}
	}
	return all
}
