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
	unmapped, several := call.Error(string(UnmappedCode)), call.Error(string(SeveralTargets))
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		w := c.User.(*Worker)
		targets, ok := slot.lookup(w, in.Text())
		switch {
		case !ok:
			w.unmapped(slot, in.Text())
			switch slot.m.Unknown {
			case terminology.Keep:
				w.find(FindUnmapped)
				return in, nil
			case terminology.Text:
				w.find(FindUnmapped)
				return fhirpath.Value{}, nil
			}
			return fhirpath.Value{}, unmapped
		case len(targets) == 0:
			return fhirpath.Value{}, nil
		case len(targets) > 1:
			return fhirpath.Value{}, several
		}
		return fhirpath.String(targets[0].Code), nil
	})
}

func (f *formulaCompiler) compileTranslated(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeConcept)
	problems := wants(call, "", fhirpath.KindString)
	slot, more := f.mapArg(call)
	problems = append(problems, more...)
	if len(call.Args) > 1 {
		problems = append(problems, textArgs(call, 1)...)
	}
	if slot != nil && slot.m.Unknown == terminology.Keep && slot.m.System == "" {
		problems = append(problems, call.Args[0].Problem("the concept map keeps unknown codes but names no system for them", "add a line `# system: …` to the map"))
	}
	if len(problems) > 0 {
		return nil, result, problems
	}
	unmapped := call.Error(string(UnmappedCode))
	call.Mark = slot
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		display, err := arg(c, call, 1)
		if err != nil {
			return fhirpath.Value{}, err
		}
		list, text, ok := translated(c.User.(*Worker), slot, in.Text(), display)
		if !ok {
			return fhirpath.Value{}, unmapped
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
		problems = append(problems, call.Problem(fmt.Sprintf("the key of mapping %q has %d parts, ref() gives %d", name, want, got), "the key is "+target.keyText()))
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
	index int
	pack  string
	m     *terminology.ConceptMap
}

// lookup asks the map, in the sight of whoever has the record explained.
func (s *mapSlot) lookup(w *Worker, code string) ([]terminology.Coding, bool) {
	targets, ok := s.m.Lookup(code)
	if w.trace != nil {
		w.trace.lookup(s, code, targets, ok)
	}
	return targets, ok
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
