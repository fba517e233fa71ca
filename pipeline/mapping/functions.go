package mapping

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// The datatypes that functions make.
var (
	typeCoding     = fhir.Lookup("Coding")
	typeConcept    = fhir.Lookup("CodeableConcept")
	typeQuantity   = fhir.Lookup("Quantity")
	typeReference  = fhir.Lookup("Reference")
	typeIdentifier = fhir.Lookup("Identifier")
)

// functions are the functions beyond FHIRPath, as one formula of one mapping sees them.
func (c *compiler) functions(f *formulaCompiler) map[string]fhirpath.Function {
	return map[string]fhirpath.Function{
		"date":       {Min: 0, Max: 16, Compile: compileDate},
		"dateTime":   {Min: 0, Max: 16, Compile: f.compileDateTime},
		"decimal":    {Min: 0, Max: 0, Compile: compileDecimal},
		"integer":    {Min: 0, Max: 0, Compile: compileInteger},
		"quantity":   {Min: 0, Max: 2, Compile: f.compileQuantity},
		"coding":     {Min: 1, Max: 2, Compile: compileCoding},
		"concept":    {Min: 0, Max: 1, Compile: compileConcept},
		"translate":  {Min: 1, Max: 1, Compile: f.compileTranslate},
		"translated": {Min: 1, Max: 2, Compile: f.compileTranslated},
		"ref":        {Min: 2, Max: 64, Compile: f.compileRef},
		"identifier": {Min: 1, Max: 1, Compile: compileIdentifier},
		"lookup":     {Min: 3, Max: 17, Compile: f.compileLookup},
	}
}

// single makes the pieces of a function of one value, which returns empty for an empty input.
func single(call *fhirpath.Call, result fhirpath.StaticType, f func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error)) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	call.Single = f
	result.MayBeEmpty = call.Input.MayBeEmpty
	result.Blank = call.Input.Blank
	return nil, result, nil
}

// wants faults a call whose input can never be of one of the kinds.
func wants(call *fhirpath.Call, hint string, kinds ...fhirpath.Kind) []fhirpath.Problem {
	if call.Input.Kinds == 0 {
		return nil
	}
	for _, k := range kinds {
		if call.Input.Kinds.Has(k) {
			return nil
		}
	}
	return []fhirpath.Problem{call.Problem(fmt.Sprintf("%s() reads %s, not %s", call.Name, kindList(fhirpath.Set(kinds...)), describe(call.Input)), hint)}
}

// textOf is the text of an input that should be a String.
func textOf(v fhirpath.Value) (string, bool) {
	if v.Kind() == fhirpath.KindString {
		return v.Str(), true
	}
	return "", false
}

// layouts compiles the arguments of date and dateTime. Zones among them are returned apart.
func layouts(call *fhirpath.Call, zones bool) (out []*layout, zone *time.Location, problems []fhirpath.Problem) {
	for _, a := range call.Args {
		text, ok := a.Literal()
		if !ok {
			problems = append(problems, a.Problem("a layout must be a constant text in quotes", "such as 'dd.MM.yyyy'"))
			continue
		}
		if text == "UTC" || isZoneName(text) {
			z, err := time.LoadLocation(text)
			switch {
			case !zones:
				problems = append(problems, a.Problem("a date has no zone", "leave it out"))
			case err != nil:
				problems = append(problems, a.Problem(fmt.Sprintf("there is no time zone %q", text), "a name of the IANA database, such as America/Chicago"))
			case zone != nil:
				problems = append(problems, a.Problem("a second time zone", ""))
			default:
				zone = z
			}
			continue
		}
		l, at, err := compileLayout(text)
		switch {
		case err != nil:
			problems = append(problems, fhirpath.Problem{Offset: a.Offset + 1 + at, Length: max(1, a.Length-2-at), Message: err.Error(), Hint: "letters are yyyy MM dd HH mm ss, MMM for Jan, a for AM"})
		default:
			out = append(out, l)
		}
	}
	return out, zone, problems
}

// isZoneName tells zones from layouts: America/Chicago has a slash between words of more than four letters.
func isZoneName(s string) bool {
	i := strings.IndexByte(s, '/')
	if i < 1 {
		return false
	}
	for _, c := range []byte(s[:i]) {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			return false
		}
	}
	first := s[0]
	return first >= 'A' && first <= 'Z' && i >= 3 && s[:i] != strings.Repeat(s[:1], i)
}

// readLayouts reads a text by the first layout that fits; another that fits differently is a refusal.
func readLayouts(list []*layout, s string, m *moment) (*layout, Code) {
	var found *layout
	var other moment
	for _, l := range list {
		if found == nil {
			if l.read(s, m) {
				found = l
			}
		} else if l.read(s, &other) && (!other.same(m) || l.date != found.date) {
			return nil, AmbiguousDate
		}
	}
	if found == nil {
		return nil, BadDate
	}
	return found, ""
}

func compileDate(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	problems := wants(call, "", fhirpath.KindString, fhirpath.KindDate, fhirpath.KindDateTime)
	list, _, more := layouts(call, false)
	if problems = append(problems, more...); len(problems) > 0 {
		return nil, fhirpath.StaticOf(fhirpath.KindDate), problems
	}
	bad, ambiguous, kind := call.Error(string(BadDate)), call.Error(string(AmbiguousDate)), call.Error(string(WrongType))
	if len(list) == 0 {
		call.Mark = dateMark{bad}
	}
	return single(call, fhirpath.StaticOf(fhirpath.KindDate), func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		switch in.Kind() {
		case fhirpath.KindDate:
			return in, nil
		case fhirpath.KindDateTime:
			return dateValue(in.Text()[:min(10, len(in.Text()))], bad)
		}
		s, ok := textOf(in)
		if !ok {
			return fhirpath.Value{}, kind
		}
		var m moment
		var buf [16]byte
		if len(list) == 0 {
			precision, ok := readISO(s, &m)
			if !ok {
				return fhirpath.Value{}, bad
			}
			if len(s) >= 10 {
				return dateValue(s[:10], bad)
			}
			return dateValue(c.Text(m.appendDate(buf[:0], precision)), bad)
		}
		l, code := readLayouts(list, s, &m)
		switch code {
		case "":
			return dateValue(c.Text(m.appendDate(buf[:0], l.date)), bad)
		case AmbiguousDate:
			return fhirpath.Value{}, ambiguous
		}
		return fhirpath.Value{}, bad
	})
}

func dateValue(text string, bad error) (fhirpath.Value, error) {
	v, err := fhirpath.Date(text)
	if err != nil {
		return v, bad
	}
	return v, nil
}

func dateTimeValue(text string, bad error) (fhirpath.Value, error) {
	v, err := fhirpath.DateTime(text)
	if err != nil {
		return v, bad
	}
	return v, nil
}

func (f *formulaCompiler) compileDateTime(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	problems := wants(call, "", fhirpath.KindString, fhirpath.KindDate, fhirpath.KindDateTime)
	list, zone, more := layouts(call, true)
	problems = append(problems, more...)
	result := fhirpath.StaticOf(fhirpath.KindDateTime)
	if len(problems) > 0 {
		return nil, result, problems
	}
	if zone == nil {
		zone = f.zone
	}
	slot := f.c.zoneSlot(zone)
	errs := map[Code]error{}
	for _, code := range []Code{BadDate, AmbiguousDate, NoZone, NonexistentTime, AmbiguousTime, WrongType} {
		errs[code] = call.Error(string(code))
	}
	bad := errs[BadDate]
	if len(list) == 0 {
		call.Mark = dateTimeMark{slot, errs}
	}
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		switch in.Kind() {
		case fhirpath.KindDateTime:
			return in, nil
		case fhirpath.KindDate:
			return dateTimeValue(in.Text(), bad)
		}
		s, ok := textOf(in)
		if !ok {
			return fhirpath.Value{}, errs[WrongType]
		}
		var m moment
		var buf [48]byte
		precision, withTime := 0, false
		if len(list) == 0 {
			// Most export what FHIR itself writes: a date, seconds and UTC. A leap second goes the other way.
			if len(s) == 20 && s[10] == 'T' && s[19] == 'Z' && s[17] < '6' {
				return dateTimeValue(s, bad)
			}
			if precision, ok = readISO(s, &m); !ok {
				return fhirpath.Value{}, bad
			}
			// What has FHIR's own form already is taken as it is written.
			if !m.hasTime || hasOwnForm(s, &m) {
				return dateTimeValue(s, bad)
			}
			withTime = true
		} else {
			l, code := readLayouts(list, s, &m)
			if code != "" {
				return fhirpath.Value{}, errs[code]
			}
			precision, withTime = l.date, m.hasTime
		}
		if !withTime {
			return dateTimeValue(c.Text(m.appendDate(buf[:0], precision)), bad)
		}
		text, code := m.appendDateTime(buf[:0], c.User.(*Worker).zone(slot))
		if code != "" {
			return fhirpath.Value{}, errs[code]
		}
		return dateTimeValue(c.Text(text), bad)
	})
}

func compileDecimal(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticOf(fhirpath.KindDecimal)
	if problems := wants(call, "", fhirpath.KindString, fhirpath.KindInteger, fhirpath.KindDecimal); problems != nil {
		return nil, result, problems
	}
	bad := call.Error(string(BadNumber))
	call.Mark = decimalMark{bad}
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		s, ok := textOf(in)
		if !ok {
			if in.Kind() == fhirpath.KindDecimal {
				return in, nil
			}
			s = in.Text()
		}
		v, err := fhirpath.Decimal(s)
		if err != nil || v.Text() != s { // JSON knows no plus, and no zeros before a number
			return fhirpath.Value{}, bad
		}
		return v, nil
	})
}

func compileInteger(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticOf(fhirpath.KindInteger)
	if problems := wants(call, "", fhirpath.KindString, fhirpath.KindInteger); problems != nil {
		return nil, result, problems
	}
	bad := call.Error(string(BadNumber))
	form := fhir.Lookup("integer")
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		s, ok := textOf(in)
		if !ok {
			return in, nil
		}
		if !form.Valid(s) {
			return fhirpath.Value{}, bad
		}
		digits, negative := strings.CutPrefix(s, "-")
		v := int64(0)
		for i := range len(digits) {
			v = v*10 + int64(digits[i]-'0')
		}
		if negative {
			v = -v
		}
		return fhirpath.Integer(v), nil
	})
}

// textArgs faults arguments that can never be a text, from the given one on.
func textArgs(call *fhirpath.Call, from int) (problems []fhirpath.Problem) {
	for _, a := range call.Args[from:] {
		st := a.Static()
		if !st.Kinds.Has(fhirpath.KindString) {
			problems = append(problems, a.Problem(fmt.Sprintf("this argument of %s() must be a text, not %s", call.Name, describe(st)), "use .toString()"))
		}
	}
	return problems
}

// system checks an argument that names a code or identifier system.
func systemArg(call *fhirpath.Call, i int) []fhirpath.Problem {
	a := call.Args[i]
	text, ok := a.Literal()
	if !ok {
		return textArgs(call, i)
	}
	if !fhir.Lookup("uri").Valid(text) || !strings.Contains(text, ":") {
		return []fhirpath.Problem{a.Problem(fmt.Sprintf("a system is an absolute URI, not %q", text), "such as http://loinc.org or urn:oid:2.16.840.1.113883.6.96")}
	}
	return nil
}

// arg evaluates a text argument; "" for one that is not there or empty.
func arg(c *fhirpath.Context, call *fhirpath.Call, i int) (string, error) {
	if i >= len(call.Args) {
		return "", nil
	}
	return call.Args[i].Str(c)
}

func compileCoding(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeCoding)
	problems := wants(call, "", fhirpath.KindString)
	problems = append(problems, systemArg(call, 0)...)
	if len(call.Args) > 1 {
		problems = append(problems, textArgs(call, 1)...)
	}
	if len(problems) > 0 {
		return nil, result, problems
	}
	call.Mark = codingMark{}
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		system, err := arg(c, call, 0)
		if err != nil {
			return fhirpath.Value{}, err
		}
		display, err := arg(c, call, 1)
		if err != nil {
			return fhirpath.Value{}, err
		}
		return fhirpath.Object(codingNode(c, system, in.Text(), display), typeCoding), nil
	})
}

func codingNode(c *fhirpath.Context, system, code, display string) *fhir.Node {
	n := c.NewObject()
	c.AddString(n, "code", code)
	c.AddString(n, "display", display)
	c.AddString(n, "system", system)
	return n
}

func conceptNode(c *fhirpath.Context, codings *fhir.Node, text string) fhirpath.Value {
	n := c.NewObject()
	if codings != nil && len(codings.Items) > 0 {
		c.AddMember(n, "coding", codings)
	}
	c.AddString(n, "text", text)
	return fhirpath.Object(n, typeConcept)
}

func compileConcept(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeConcept)
	result.MayBeEmpty, result.Blank = call.Input.MayBeEmpty, call.Input.Blank
	in := call.Input
	isCoding := in.FHIR != nil && in.FHIR.Is("Coding")
	if in.Kinds != 0 && !isCoding && !in.Kinds.Has(fhirpath.KindString) && (in.FHIR != nil || !in.Kinds.Has(fhirpath.KindObject)) {
		return nil, result, []fhirpath.Problem{call.Problem("concept() reads a Coding or a text, not "+describe(in), "make it one with .coding(system)")}
	}
	if problems := textArgs(call, 0); problems != nil {
		return nil, result, problems
	}
	kind := call.Error(string(WrongType))
	call.Mark = conceptMark{}
	one := func(c *fhirpath.Context, codings *fhir.Node, text *string, v fhirpath.Value) error {
		switch {
		case v.Kind() == fhirpath.KindString && (*text == "" || *text == v.Text()):
			*text = v.Text()
		case v.FHIRType() == typeCoding:
			c.AddItem(codings, v.Node())
		default:
			return kind
		}
		return nil
	}
	impl := func(c *fhirpath.Context, input []fhirpath.Value, out []fhirpath.Value) ([]fhirpath.Value, error) {
		if len(input) == 0 {
			return out, nil
		}
		text, err := arg(c, call, 0)
		if err != nil {
			return out, err
		}
		codings := c.NewArray()
		for _, v := range input {
			if err := one(c, codings, &text, v); err != nil {
				return out, err
			}
		}
		return append(out, conceptNode(c, codings, text)), nil
	}
	call.Single = func(c *fhirpath.Context, v fhirpath.Value) (fhirpath.Value, error) {
		text, err := arg(c, call, 0)
		if err != nil {
			return fhirpath.Value{}, err
		}
		codings := c.NewArray()
		if err := one(c, codings, &text, v); err != nil {
			return fhirpath.Value{}, err
		}
		return conceptNode(c, codings, text), nil
	}
	return impl, result, nil
}

func compileIdentifier(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeIdentifier)
	problems := wants(call, "", fhirpath.KindString)
	if problems = append(problems, systemArg(call, 0)...); len(problems) > 0 {
		return nil, result, problems
	}
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		system, err := arg(c, call, 0)
		if err != nil {
			return fhirpath.Value{}, err
		}
		n := c.NewObject()
		c.AddString(n, "system", system)
		c.AddString(n, "value", in.Text())
		return fhirpath.Object(n, typeIdentifier), nil
	})
}

// mapArg finds the concept map that an argument names.
func (f *formulaCompiler) mapArg(call *fhirpath.Call) (*mapSlot, []fhirpath.Problem) {
	a := call.Args[0]
	name, ok := a.Literal()
	if !ok {
		return nil, []fhirpath.Problem{a.Problem("the concept map must be named by a constant text in quotes", "")}
	}
	slot := f.mapSlot(name)
	if slot == nil {
		names := slices.Sorted(maps.Keys(f.file.pack.Maps))
		hint := document.Hint(name, names)
		switch {
		case hint != "":
		case len(names) == 0:
			hint = "the pack has no folder maps/ with concept maps"
		default:
			hint = "there are " + strings.Join(names, ", ")
		}
		return nil, []fhirpath.Problem{a.Problem(fmt.Sprintf("there is no concept map %q", name), hint)}
	}
	return slot, nil
}
