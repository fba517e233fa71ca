package phi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"pgregory.net/rapid"
)

// generator draws resources that R4 might hold, and some that it does not.
type generator struct{ t *rapid.T }

func (g generator) chance(percent int) bool {
	return rapid.IntRange(0, 99).Draw(g.t, "chance") < percent
}

func (g generator) text() string {
	return rapid.SampledFrom([]string{"a", "", "é", `q"uo\te`, "x,y", "{[", "line\nbreak", "https://e.org/?a=b", "]}"}).Draw(g.t, "text")
}

func (g generator) primitive(t *fhir.Type) *fhir.Node {
	switch t.Name {
	case "boolean":
		return fhir.NewBoolean(g.chance(50))
	case "integer", "positiveInt", "unsignedInt":
		return fhir.NewNumber(rapid.SampledFrom([]string{"1", "95", "20"}).Draw(g.t, "integer"))
	case "decimal":
		return fhir.NewNumber(rapid.SampledFrom([]string{"1.50", "89.9", "95", "0.10"}).Draw(g.t, "decimal"))
	case "date", "dateTime", "instant":
		return fhir.NewString(rapid.SampledFrom([]string{"1950-02-03", "1920", "2015-02-07T13:28:17+01:00", "bad"}).Draw(g.t, "date"))
	}
	return fhir.NewString(g.text())
}

func (g generator) resource(depth int) *fhir.Node {
	names := []string{"Patient", "Observation", "MedicationRequest", "Bundle", "Questionnaire", "Composition", "Device", "Nonsense"}
	name := rapid.SampledFrom(names).Draw(g.t, "type")
	n := g.object(resourceType(name), depth, true)
	n.Set("resourceType", fhir.NewString(name))
	n.Set("id", fhir.NewString("x1"))
	return n
}

// object draws an object of the type, some with members that the type does not have. With members to choose from it
// has at least one.
func (g generator) object(t *fhir.Type, depth int, root bool) *fhir.Node {
	n := &fhir.Node{Kind: fhir.Object}
	if g.chance(5) {
		n.Set(rapid.SampledFrom([]string{"unknown", "odd name", "a.b[0]", `q"`, "_unknown", "ünï", ""}).Draw(g.t, "odd"), g.anything(2))
	}
	if t.Name == "Extension" {
		url := rapid.SampledFrom([]string{fhir.DataAbsentReason, "http://e.org/x",
			"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"}).Draw(g.t, "url")
		n.Set("url", fhir.NewString(url))
	}
	want := rapid.IntRange(1, 4).Draw(g.t, "members")
	for range want {
		e := rapid.SampledFrom(t.Elements).Draw(g.t, "element")
		typ := rapid.SampledFrom(e.Types).Draw(g.t, "choice")
		name := e.JSONName(typ)
		if root && e.Name == "id" || e.Name == "url" && t.Name == "Extension" || slices.ContainsFunc(n.Members, func(m fhir.Member) bool {
			return strings.TrimPrefix(m.Name, "_") == name
		}) {
			continue
		}
		g.element(n, name, e, typ, depth)
	}
	if len(n.Members) == 0 && !root {
		n.Set("extension", fhir.NewArray(fhir.NewObject(fhir.Member{Name: "url", Value: fhir.NewString("http://e.org/y")})))
	}
	return n
}

func (g generator) element(n *fhir.Node, name string, e *fhir.Element, t *fhir.Type, depth int) {
	count := 1
	if e.Repeats() {
		count = rapid.IntRange(1, 3).Draw(g.t, "count")
	}
	if g.chance(2) {
		n.Set(name, g.anything(2)) // of the wrong form
		return
	}
	if t.Kind != fhir.KindPrimitive {
		if depth <= 0 {
			return
		}
		items := make([]*fhir.Node, count)
		for i := range items {
			if t.Name == "Resource" {
				items[i] = g.resource(depth - 2)
			} else {
				items[i] = g.object(t, depth-1, false)
			}
		}
		n.Set(name, one(items, e.Repeats()))
		return
	}
	values, extras := make([]*fhir.Node, count), make([]*fhir.Node, count)
	anyValue, anyExtra := false, false
	for i := range values {
		values[i], extras[i] = &fhir.Node{}, &fhir.Node{}
		if g.chance(25) && depth > 0 {
			extras[i] = g.object(fhir.Lookup("Element"), depth-1, false)
			anyExtra = true
		}
		if extras[i].Kind == fhir.Null || g.chance(60) {
			values[i] = g.primitive(t)
			anyValue = true
		}
	}
	if anyValue {
		n.Set(name, one(values, e.Repeats()))
	}
	if anyExtra {
		n.Set("_"+name, one(extras, e.Repeats()))
	}
}

func one(items []*fhir.Node, list bool) *fhir.Node {
	if list {
		return fhir.NewArray(items...)
	}
	return items[0]
}

func (g generator) anything(depth int) *fhir.Node {
	switch k := rapid.IntRange(0, 5).Draw(g.t, "kind"); {
	case k == 0 && depth > 0:
		return fhir.NewArray(g.anything(depth-1), g.anything(depth-1))
	case k == 1 && depth > 0:
		return fhir.NewObject(fhir.Member{Name: "k", Value: g.anything(depth - 1)}, fhir.Member{Name: "_k", Value: g.anything(depth - 1)})
	case k == 2:
		return fhir.NewNumber("1.0")
	case k == 3:
		return fhir.NewArray()
	case k == 4:
		return fhir.NewObject()
	}
	return fhir.NewString(g.text())
}

// policy draws a policy of some rules that may meet in any way.
func (g generator) policy() *Policy {
	paths := []string{"*", "string", "code", "uri", "date", "dateTime", "Coding", "Coding.display", "CodeableConcept", "CodeableConcept.text",
		"HumanName", "HumanName.family", "HumanName.given", "Period", "Identifier", "Identifier.where(system = 'a')", "Extension",
		"Extension.where(url = 'http://e.org/x')", "Element.id", "Narrative", "Patient", "Patient.name", "Patient.name.given",
		"Patient.contact", "Patient.contact.name", "Patient.identifier.where(system = 'a').value", "Observation.component",
		"Observation.value.ofType(string)", "Observation.code", "DomainResource.text", "DomainResource.contained", "Reference",
		"Reference.reference", "Patient.birthDate", "Patient.extension('http://e.org/x')", "Annotation", "Quantity", "Age", "Meta.lastUpdated",
		"Composition.section", "Questionnaire.item", "Patient.communication", "Bundle.entry", "Element.extension", "boolean"}
	var text strings.Builder
	for _, p := range paths {
		if !g.chance(40) {
			continue
		}
		methods := []string{"keep", "keep", "seal", "drop"}
		switch p {
		case "date", "dateTime":
			methods = append(methods, "year")
		case "Patient.birthDate", "Age":
			methods = append(methods, "age90")
		case "HumanName.family", "string", "HumanName.given":
			methods = append(methods, "token")
		}
		fmt.Fprintf(&text, "- %q: %s\n", p, rapid.SampledFrom(methods).Draw(g.t, "method"))
	}
	if text.Len() == 0 {
		text.WriteString("- code: keep\n")
	}
	p, err := parsePolicy("random", []byte(text.String()))
	if err != nil {
		g.t.Fatalf("%s: %v", text.String(), err)
	}
	p, err = p.AsOf("2026-06-30")
	if err != nil {
		g.t.Fatal(err)
	}
	return p
}

// TestRandomJoin is the required property over resources and policies that chance makes.
func TestRandomJoin(t *testing.T) {
	k := testKeys(t)
	var policies []*Policy
	for _, name := range Shipped() {
		policies = append(policies, testPolicy(t, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		g := generator{t}
		n := g.resource(5)
		p := rapid.SampledFrom(append(slices.Clone(policies), nil)).Draw(t, "policy")
		if p == nil {
			p = g.policy()
		}
		s := NewSealer("test", k, p)
		clinical := roundTrip(t, k, s, p.Name(), n)
		checkClinical(t, p, n, clinical)
	})
}

// checkClinical checks what must hold of a clinical part whatever the policy is.
func checkClinical(t *rapid.T, p *Policy, whole, clinical *fhir.Node) {
	if clinical.ResourceType() != whole.ResourceType() || clinical.ID() != whole.ID() {
		t.Fatalf("the shell is lost: %s", clinical.AppendCanonical(nil))
	}
	for i, c := range items(whole.Get("contained")) {
		if c.ResourceType() == "" || p.only {
			continue
		}
		if got := clinical.Get("contained").Item(i); got.ResourceType() != c.ResourceType() || got.ID() != c.ID() {
			t.Fatalf("a contained shell is lost: %s", clinical.AppendCanonical(nil))
		}
	}
	if !p.only && whole.Get("text") != nil && clinical.Get("text") != nil && !clinical.Get("text").Equal(whole.Get("text")) {
		t.Fatalf("a narrative is cut in pieces: %s", clinical.AppendCanonical(nil))
	}
	empties(t, whole, clinical)
}

// empties fails on an empty object or list in the clinical part if the whole has none.
func empties(t *rapid.T, whole, clinical *fhir.Node) {
	if !strings.Contains(string(whole.AppendCanonical(nil)), "{}") && strings.Contains(string(clinical.AppendCanonical(nil)), "{}") {
		t.Fatalf("an empty object is left: %s\nof %s", clinical.AppendCanonical(nil), whole.AppendCanonical(nil))
	}
	if !strings.Contains(string(whole.AppendCanonical(nil)), "[]") && strings.Contains(string(clinical.AppendCanonical(nil)), "[]") {
		t.Fatalf("an empty list is left: %s\nof %s", clinical.AppendCanonical(nil), whole.AppendCanonical(nil))
	}
}

func items(n *fhir.Node) []*fhir.Node {
	if n == nil {
		return nil
	}
	return n.Items
}
