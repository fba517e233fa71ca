package validate_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// site is a value within a resource where a defect can be planted.
type site struct {
	holder   *fhir.Node // the object that has the member
	property string
	list     *fhir.Node // if the value is an entry of an array
	index    int
	node     *fhir.Node
	element  *fhir.Element // nil: the resource itself
	typ      *fhir.Type
	path     string
}

// replace puts another value in the place.
func (s *site) replace(n *fhir.Node) {
	if s.list != nil {
		s.list.Items[s.index] = n
		return
	}
	s.holder.Set(s.property, n)
}

// whole is the path of the element, all of its values.
func (s *site) whole() string {
	if s.list == nil {
		return s.path
	}
	return s.path[:strings.LastIndexByte(s.path, '[')]
}

// sites lists the values of a resource that the definitions know.
func sites(n *fhir.Node, t *fhir.Type, path string, out []site) []site {
	if own := fhir.Lookup(n.ResourceType()); own != nil && t.Kind == fhir.KindResource {
		t = own
	}
	for _, m := range n.Members {
		e, typ := t.Element(m.Name)
		if typ == nil {
			continue
		}
		at := path + "." + e.Name
		if e.Choice {
			at += ".ofType(" + typ.Name + ")"
		}
		values := []*fhir.Node{m.Value}
		if m.Value.Kind == fhir.Array {
			values = m.Value.Items
		}
		for i, v := range values {
			if v.Kind == fhir.Null {
				continue
			}
			s := site{holder: n, property: m.Name, node: v, element: e, typ: typ, path: at}
			if m.Value.Kind == fhir.Array {
				s.list, s.index, s.path = m.Value, i, at+"["+strconv.Itoa(i)+"]"
			}
			out = append(out, s)
			if v.Kind == fhir.Object {
				out = sites(v, typ, s.path, out)
			}
		}
	}
	return out
}

func text(s string) *fhir.Node { return fhir.NewString(s) }

func isPrimitive(s *site) bool { return s.typ.Kind == fhir.KindPrimitive && s.typ.Name != "xhtml" }

// badForms has for each primitive a value that is of the right sort of JSON and not of its form.
var badForms = map[string]*fhir.Node{
	"base64Binary": text("=a"), "canonical": text("a b"), "code": text(" a"), "date": text("2021-02-29"),
	"dateTime": text("2020-01-01T10:00:00"), "id": text("a_b"), "instant": text("2020-01-01"), "integer": fhir.NewNumber("1.5"),
	"markdown": text("\x01"), "oid": text("urn:oid:7.1"), "positiveInt": fhir.NewNumber("0"), "string": text("\x02"),
	"time": text("24:00:00"), "unsignedInt": fhir.NewNumber("-1"), "uri": text("a b"), "url": text("a\tb"), "uuid": text("urn:uuid:1"),
}

// planting is a kind of defect: where it can be planted, and how. It returns the path at which it must be found, and the
// rule.
type planting struct {
	name  string
	least int // so many must be planted over the examples
	fits  func(s *site) bool
	plant func(s *site) (path, rule string)
}

// otherType is a type of resource that a reference may not point to.
func otherType(targets []string) string {
	for _, name := range []string{"Slot", "TestScript", "Binary"} {
		if !slices.Contains(targets, name) {
			return name
		}
	}
	return ""
}

var plantings = []planting{
	{"unknown element", 200, func(s *site) bool { return s.node.Kind == fhir.Object },
		func(s *site) (string, string) {
			s.node.Set("legacyNumber", text("1"))
			return s.path, validate.RuleElement
		}},
	{"element under the bare name of a choice", 20, func(s *site) bool { return s.element.Choice },
		func(s *site) (string, string) {
			s.holder.Set(s.element.Name, s.node).Set(s.property, nil)
			return s.path[:strings.LastIndex(s.path, "."+s.element.Name+".ofType(")], validate.RuleElement
		}},
	{"missing required element", 100, func(s *site) bool { return s.element.Min > 0 && s.holder.Get("_"+s.property) == nil },
		func(s *site) (string, string) {
			s.holder.Set(s.property, nil)
			path := s.whole()
			return path[:strings.LastIndex(path, "."+s.element.Name)], validate.RuleMin
		}},
	{"array where one value belongs", 200, func(s *site) bool { return s.list == nil },
		func(s *site) (string, string) {
			s.replace(fhir.NewArray(s.node))
			return s.path, validate.RuleShape
		}},
	{"one value where an array belongs", 200, func(s *site) bool { return s.list != nil },
		func(s *site) (string, string) {
			s.holder.Set(s.property, s.node)
			return s.whole(), validate.RuleShape
		}},
	{"number or text where the other belongs", 200, isPrimitive,
		func(s *site) (string, string) {
			if s.node.Kind == fhir.String {
				s.replace(fhir.NewNumber("1"))
			} else {
				s.replace(text(s.node.Text))
			}
			return s.path, validate.RuleShape
		}},
	{"object where a primitive belongs", 200, isPrimitive,
		func(s *site) (string, string) {
			s.replace(fhir.NewObject(fhir.Member{Name: "value", Value: s.node}))
			return s.path, validate.RuleShape
		}},
	{"primitive where an object belongs", 200, func(s *site) bool { return s.typ.Kind == fhir.KindDataType || s.typ.Kind == fhir.KindBackbone },
		func(s *site) (string, string) {
			s.replace(text("x"))
			return s.path, validate.RuleShape
		}},
	{"null", 200, func(s *site) bool { return isPrimitive(s) && s.holder.Get("_"+s.property) == nil },
		func(s *site) (string, string) {
			s.replace(&fhir.Node{})
			return s.path, validate.RuleEmpty
		}},
	{"empty text", 200, func(s *site) bool { return isPrimitive(s) && s.node.Kind == fhir.String },
		func(s *site) (string, string) {
			s.replace(text(""))
			return s.path, validate.RuleForm
		}},
	{"empty array", 200, func(s *site) bool { return s.list != nil },
		func(s *site) (string, string) {
			s.holder.Set(s.property, fhir.NewArray()).Set("_"+s.property, nil)
			return s.whole(), validate.RuleEmpty
		}},
	{"empty object", 200, func(s *site) bool { return s.typ.Kind == fhir.KindDataType || s.typ.Kind == fhir.KindBackbone },
		func(s *site) (string, string) {
			s.replace(fhir.NewObject())
			return s.path, validate.RuleEmpty
		}},
	{"object with nothing but an id", 200, func(s *site) bool { return s.typ.Kind == fhir.KindDataType || s.typ.Kind == fhir.KindBackbone },
		func(s *site) (string, string) {
			s.replace(fhir.NewObject(fhir.Member{Name: "id", Value: text("a")}))
			return s.path, validate.RuleEmpty
		}},
	{"bad form of a primitive", 200, func(s *site) bool { return badForms[s.typ.Name] != nil },
		func(s *site) (string, string) {
			s.replace(badForms[s.typ.Name])
			return s.path, validate.RuleForm
		}},
	{"text beside a primitive", 200, isPrimitive,
		func(s *site) (string, string) {
			if s.list != nil {
				items := make([]*fhir.Node, len(s.list.Items))
				for i := range items {
					items[i] = &fhir.Node{}
				}
				items[s.index] = text("x")
				s.holder.Set("_"+s.property, fhir.NewArray(items...))
			} else {
				s.holder.Set("_"+s.property, text("x"))
			}
			return s.path, validate.RuleShape
		}},
	{"extension of a primitive without a value", 200, func(s *site) bool { return isPrimitive(s) && s.list == nil },
		func(s *site) (string, string) {
			s.holder.Set("_"+s.property, fhir.NewObject(fhir.Member{Name: "extension", Value: fhir.NewArray(fhir.NewObject(fhir.Member{Name: "url", Value: text("http://example.org/x")}))}))
			return s.path + ".extension[0]", "ext-1"
		}},
	{"second variant of a choice", 50, func(s *site) bool { return s.element.Choice && secondVariant(s) != nil },
		func(s *site) (string, string) {
			t := secondVariant(s)
			s.holder.Set(s.element.JSONName(t), plain[t.Name])
			return s.path[:strings.LastIndex(s.path, ".ofType(")] + ".ofType(" + t.Name + ")", validate.RuleChoice
		}},
	{"code outside of the required value set", 150, func(s *site) bool {
		return s.typ.Name == "code" && s.element.Binding.Required() && s.element.Binding.Codes != nil
	},
		func(s *site) (string, string) {
			s.replace(text("legacy"))
			return s.path, validate.RuleBinding
		}},
	{"concept outside of the required value set", 10, func(s *site) bool {
		return s.typ.Name == "CodeableConcept" && s.element.Binding.Required() && s.element.Binding.Codes != nil
	},
		func(s *site) (string, string) {
			s.replace(fhir.NewObject(fhir.Member{Name: "coding", Value: fhir.NewArray(fhir.NewObject(fhir.Member{Name: "system", Value: text("http://example.org/legacy")}, fhir.Member{Name: "code", Value: text("a")}))}))
			return s.path, validate.RuleBinding
		}},
	{"code that its code system does not have", 100, func(s *site) bool {
		return s.typ.Name == "Coding" && s.node.Get("version") == nil && known(s.node.Get("system").Str())
	},
		func(s *site) (string, string) {
			s.node.Set("code", text("1_legacy"))
			return s.path, validate.RuleCode
		}},
	{"reference to a type that is not allowed", 100, func(s *site) bool {
		return s.typ.Name == "Reference" && len(s.element.Targets) > 0 && otherType(s.element.Targets) != ""
	},
		func(s *site) (string, string) {
			s.replace(fhir.NewObject(fhir.Member{Name: "reference", Value: text(otherType(s.element.Targets) + "/1")}))
			return s.path, validate.RuleTarget
		}},
	{"stated type that is not allowed", 100, func(s *site) bool {
		return s.typ.Name == "Reference" && len(s.element.Targets) > 0 && otherType(s.element.Targets) != ""
	},
		func(s *site) (string, string) {
			s.replace(fhir.NewObject(fhir.Member{Name: "type", Value: text(otherType(s.element.Targets))}, fhir.Member{Name: "display", Value: text("x")}))
			return s.path, validate.RuleTarget
		}},
	{"reference to nothing within the resource", 100, func(s *site) bool { return s.typ.Name == "Reference" },
		func(s *site) (string, string) {
			s.node.Set("reference", text("#nowhere"))
			return s.path, "ref-1"
		}},
	{"reference that is none", 100, func(s *site) bool { return s.typ.Name == "Reference" },
		func(s *site) (string, string) {
			s.node.Set("reference", text("Doe, John"))
			return s.path, validate.RuleReference
		}},
	{"extension without a value", 30, func(s *site) bool { return s.typ.Name == "Extension" },
		func(s *site) (string, string) {
			s.replace(fhir.NewObject(fhir.Member{Name: "url", Value: s.node.Get("url")}))
			return s.path, "ext-1"
		}},
	{"extension with a value and extensions", 30, func(s *site) bool { return s.typ.Name == "Extension" },
		func(s *site) (string, string) {
			inner := fhir.NewObject(fhir.Member{Name: "url", Value: text("http://example.org/x")}, fhir.Member{Name: "valueBoolean", Value: fhir.NewBoolean(true)})
			s.replace(fhir.NewObject(fhir.Member{Name: "url", Value: s.node.Get("url")}, fhir.Member{Name: "extension", Value: fhir.NewArray(inner)}, fhir.Member{Name: "valueBoolean", Value: fhir.NewBoolean(true)}))
			return s.path, "ext-1"
		}},
	{"script in the narrative", 100, func(s *site) bool { return s.typ.Name == "xhtml" },
		func(s *site) (string, string) {
			s.replace(text(`<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>`))
			return s.path, "txt-1"
		}},
	{"narrative without content", 100, func(s *site) bool { return s.typ.Name == "xhtml" },
		func(s *site) (string, string) {
			s.replace(text(`<div xmlns="http://www.w3.org/1999/xhtml"> <p/> </div>`))
			return s.path, "txt-2"
		}},
}

// plain has values for second variants of a choice.
var plain = map[string]*fhir.Node{"string": text("x"), "boolean": fhir.NewBoolean(true), "dateTime": text("2020"), "integer": fhir.NewNumber("1"), "uri": text("http://example.org"), "Period": fhir.NewObject(fhir.Member{Name: "start", Value: text("2020")})}

func secondVariant(s *site) *fhir.Type {
	for _, t := range s.element.Types {
		if t != s.typ && plain[t.Name] != nil && s.holder.Get(s.element.JSONName(t)) == nil {
			return t
		}
	}
	return nil
}

var codes = terminology.NewStore(fhir.Core())

func known(system string) bool {
	cs := codes.CodeSystem(system)
	return system != "" && cs != nil && cs.Complete()
}

// TestPlantedDefects plants defects of each kind in all of R4's and US Core's examples, at places drawn by a fixed seed:
// each must be found where it was planted, by its rule.
func TestPlantedDefects(t *testing.T) {
	usCore6, more := usCore(t, "6.1.0")
	random := rand.New(rand.NewPCG(5, 7))
	planted := map[string]int{}
	forms := map[string]int{}
	for _, set := range []struct {
		v     *validate.Validator
		files map[string][]byte
	}{{core(), examples(t)}, {validator(usCore6), more}} {
		c := set.v.Checker()
		for _, name := range slices.Sorted(maps.Keys(set.files)) {
			data := set.files[name]
			for _, p := range plantings {
				n, err := fhir.Parse(data)
				if err != nil {
					t.Fatal(err)
				}
				all := sites(n, fhir.Lookup(n.ResourceType()), n.ResourceType(), nil)
				var fit []*site
				for i := range all {
					if p.fits(&all[i]) {
						fit = append(fit, &all[i])
					}
				}
				if len(fit) == 0 {
					continue
				}
				s := fit[random.IntN(len(fit))]
				path, rule := p.plant(s)
				planted[p.name]++
				if rule == validate.RuleForm {
					forms[s.typ.Name]++
				}
				if issues := c.Resource(n); !found(issues, path, rule) {
					t.Errorf("%s: %s at %s (%s): not found by the rule %s", name, p.name, path, s.typ.Name, rule)
					for i := range issues {
						if issues[i].Severity == validate.Error {
							t.Log("  ", issues[i].String())
						}
					}
				}
			}
		}
	}
	for _, p := range plantings {
		t.Logf("%s: %d", p.name, planted[p.name])
		if planted[p.name] < p.least {
			t.Errorf("%s: planted %d times, want %d", p.name, planted[p.name], p.least)
		}
	}
	for name := range badForms {
		if forms[name] == 0 && name != "uuid" && name != "oid" && name != "time" { // TestRules has those
			t.Errorf("the bad form of a %s was never planted", name)
		}
	}
}

// found tells whether the error is among the issues.
func found(issues []validate.Issue, path, rule string) bool {
	return slices.ContainsFunc(issues, func(x validate.Issue) bool {
		return x.Severity == validate.Error && x.Rule == rule && x.Path == path
	})
}
