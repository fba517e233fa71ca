package mapping

import (
	"fmt"

	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/ucum"
)

func (f *formulaCompiler) compileQuantity(call *fhirpath.Call) (fhirpath.Impl, fhirpath.StaticType, []fhirpath.Problem) {
	result := fhirpath.StaticFHIR(typeQuantity)
	problems := wants(call, "", fhirpath.KindString, fhirpath.KindInteger, fhirpath.KindDecimal)
	problems = append(problems, textArgs(call, 0)...)
	if len(problems) > 0 {
		return nil, result, problems
	}
	mark := &quantityMark{units: f.mapSlot("units"), bad: call.Error(string(BadNumber)), errors: map[Code]error{}}
	for _, code := range []Code{SeveralTargets, BadUnit} {
		mark.errors[code] = call.Error(string(code))
	}
	if len(call.Args) > 1 {
		if mark.to, problems = wantedUnit(call.Args[1]); len(problems) == 0 {
			problems = neverConverts(call.Args[0], mark)
		}
		if len(problems) > 0 {
			return nil, result, problems
		}
	}
	if mark.units != nil {
		f.c.remarkMap(mark.units)
	}
	call.Mark = mark
	return single(call, result, func(c *fhirpath.Context, in fhirpath.Value) (fhirpath.Value, error) {
		q, ok := quantity(in.Text())
		if !ok {
			return fhirpath.Value{}, mark.bad
		}
		if len(call.Args) > 0 {
			v, err := call.Args[0].One(c, c.Focus())
			if err != nil {
				return fhirpath.Value{}, err
			}
			q.unit = v.Text()
		}
		if refused := q.lookUp(c.User.(*Worker), mark); refused != "" {
			return fhirpath.Value{}, mark.errors[refused]
		}
		n := c.NewObject()
		c.AddString(n, "code", q.code)
		c.AddString(n, "comparator", q.comparator)
		c.AddString(n, "system", q.system)
		c.AddString(n, "unit", q.unit)
		c.AddMember(n, "value", c.NewNumber(q.value))
		return fhirpath.Object(n, typeQuantity), nil
	})
}

// wantedUnit reads the argument that names the unit to convert to.
func wantedUnit(a *fhirpath.Arg) (*ucum.Unit, []fhirpath.Problem) {
	text, ok := a.Literal()
	if !ok {
		return nil, []fhirpath.Problem{a.Problem("the unit to convert to is a constant text in quotes", "such as 'mg/dL'")}
	}
	to, ok := ucum.Parse(text)
	if !ok {
		return nil, []fhirpath.Problem{a.Problem(fmt.Sprintf("%q is not a unit of UCUM", text), "units are case-sensitive: 'mg/dL', '10*3/uL', 'Cel'")}
	}
	return to, nil
}

// neverConverts faults a constant unit that does not lead to the one that is wanted.
func neverConverts(a *fhirpath.Arg, mark *quantityMark) []fhirpath.Problem {
	code, ok := a.Literal()
	if !ok {
		return nil
	}
	if mark.units != nil {
		e, _ := mark.units.m.Lookup(code)
		if len(e.Targets) != 1 {
			return []fhirpath.Problem{a.Problem(fmt.Sprintf("the concept map units has no unit of UCUM for %q", code), "add a line for it")}
		}
		code = e.Targets[0].Code
	}
	from, ok := ucum.Parse(code)
	if !ok {
		return []fhirpath.Problem{a.Problem(fmt.Sprintf("%q is not a unit of UCUM", code), "")}
	}
	if obstacle := ucum.Obstacle(from, mark.to); obstacle != "" {
		return []fhirpath.Problem{a.Problem(obstacle, "no number could be converted")}
	}
	return nil
}
