package validate

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// binding ties a value to a value set: by a required or an extensible binding, of R4 or of a profile.
type binding struct {
	strength string
	url      string
	profile  string
	codes    *fhir.CodeSet         // R4's own required sets that can be listed
	set      *terminology.ValueSet // any other; nil: not at hand
	units    bool                  // the set holds units and nothing else
	missing  *uncheckedCount
}

const ucumSystem = "http://unitsofmeasure.org"

// baseBinding is the binding of an element of R4, if it is one that is checked.
func (v *Validator) baseBinding(e *fhir.Element) *binding {
	b := e.Binding
	if b != nil && b.ValueSet == "http://hl7.org/fhir/ValueSet/languages" && e.Types[0].Name == "code" {
		// Preferred, with a greatest value set (elementdefinition-maxValueSet) wherever R4 has it.
		return v.newBinding("required", "http://hl7.org/fhir/ValueSet/all-languages", "", nil)
	}
	if b == nil || b.ValueSet == "" || b.Strength != "required" && b.Strength != "extensible" {
		return nil
	}
	return v.newBinding(b.Strength, b.ValueSet, "", b.Codes)
}

func (v *Validator) newBinding(strength, url, profile string, codes *fhir.CodeSet) *binding {
	out := &binding{strength: strength, url: url, profile: profile, codes: codes}
	if codes == nil {
		out.set = v.codes.ValueSet(url)
	}
	out.units = out.set.Of(ucumSystem)
	why := "its definition is not at hand"
	if out.set != nil {
		if why = out.set.Why(); why == "" {
			why = "whether a code is in it cannot be told"
		}
	}
	out.missing = v.note("value set", withoutVersion(url), why)
	return out
}

// has asks the value set for a coding.
func (b *binding) has(system, version, code string) terminology.Verdict {
	if b.codes != nil {
		if b.codes.Has(system, code) {
			return terminology.In
		}
		return terminology.NotIn
	}
	if b.set == nil {
		return terminology.NotKnown
	}
	return b.set.Has(system, version, code)
}

// hasCode asks the value set for a code without a system.
func (b *binding) hasCode(code string) terminology.Verdict {
	if b.codes != nil {
		if b.codes.HasCode(code) {
			return terminology.In
		}
		return terminology.NotIn
	}
	if b.set == nil {
		return terminology.NotKnown
	}
	return b.set.HasCode(code)
}

// verdict is whether the value is in the value set: any coding of a CodeableConcept, the unit of a Quantity. A concept
// without a coding is not in it.
func (b *binding) verdict(x value) terminology.Verdict {
	n := x.node
	switch {
	case n == nil || n.Kind == fhir.Null:
		return terminology.In // what has no value has no code: cardinality is another rule
	case b.units && x.typ != nil && !x.typ.Is("Quantity") && x.typ.Name != "code" && x.typ.Name != "Coding":
		return terminology.In // value[x] with a set of units: it is about quantities
	case n.Kind == fhir.String:
		return b.hasCode(n.Text)
	case n.Kind != fhir.Object:
		return terminology.NotKnown
	case x.typ != nil && x.typ.Name == "CodeableConcept":
		out := terminology.NotIn
		if codings := n.Get("coding"); codings != nil {
			for _, item := range codings.Items {
				switch b.coding(item) {
				case terminology.In:
					return terminology.In
				case terminology.NotKnown:
					out = terminology.NotKnown
				}
			}
		}
		return out
	case x.typ != nil && x.typ.Is("Quantity") && n.Get("code") == nil:
		return terminology.In // no coded unit: whether there must be one is another rule
	}
	return b.coding(n)
}

func (b *binding) coding(n *fhir.Node) terminology.Verdict {
	code := n.Get("code")
	if code == nil {
		return terminology.NotIn
	}
	return b.has(n.Get("system").Str(), n.Get("version").Str(), code.Str())
}

// bound checks a value by a binding.
func (c *Checker) bound(b *binding, x value) {
	if x.node != nil && x.node.Kind == fhir.String {
		c.looked(x)
	}
	switch b.verdict(x) {
	case terminology.In:
		return
	case terminology.NotKnown:
		c.unknown(b.missing)
		return
	}
	if b.strength == "required" {
		c.report(Issue{Severity: Error, Code: "code-invalid", Rule: RuleBinding, Profile: b.profile, Message: "not a code of the required value set " + withoutVersion(b.url)}, x)
		return
	}
	c.report(Issue{Severity: Warning, Code: "code-invalid", Rule: RuleBinding, Profile: b.profile, Message: "not a code of the extensible value set " + withoutVersion(b.url)}, x)
}

// coding checks a Coding against its code system, where that is at hand as a whole.
func (c *Checker) coding(x value) {
	system, code := x.node.Get("system").Str(), x.node.Get("code").Str()
	c.system(system, x)
	if system == "" || code == "" {
		return
	}
	cs := c.v.codes.CodeSystem(system)
	if cs == nil || !cs.Complete() {
		return
	}
	if version := x.node.Get("version").Str(); version != "" && cs.Version() != "" && version != cs.Version() {
		return // another edition may have other codes
	}
	if !cs.Has(code) {
		c.report(Issue{Severity: Error, Code: "code-invalid", Rule: RuleCode, Message: "the code system " + system + " has no such code"}, x)
		return
	}
	if display := x.node.Get("display").Str(); display != "" {
		if want, ok := cs.Display(code); ok && want != "" && !sameWords(display, want) {
			c.report(Issue{Severity: Warning, Code: "invalid", Rule: RuleDisplay, Message: "the display is not the one of the code system " + system}, x)
		}
	}
}

// sameWords compares displays: upper and lower case and runs of white space do not matter.
func sameWords(a, b string) bool {
	return strings.EqualFold(a, b) || strings.EqualFold(strings.Join(strings.Fields(a), " "), strings.Join(strings.Fields(b), " "))
}

// system checks that what names a code system, or where an identifier comes from, is an absolute URI
// (datatypes.html#Coding, #Identifier).
func (c *Checker) system(uri string, x value) {
	if uri != "" && !absolute(uri) {
		c.report(Issue{Severity: Error, Code: "value", Rule: RuleReference, Message: "a system is an absolute URI"}, x)
	}
}

// quantity checks what R4 asks of quantities beyond their elements.
func (c *Checker) quantity(e *elementRule, x value) {
	if e.simple && x.node.Get("comparator") != nil {
		c.report(Issue{Severity: Error, Code: "invariant", Rule: "sqty-1", Message: "The comparator is not used on a SimpleQuantity"}, x)
	}
	if system := x.node.Get("system").Str(); system != "" {
		c.system(system, x)
		if code := x.node.Get("code").Str(); code != "" {
			if cs := c.v.codes.CodeSystem(system); cs != nil && cs.Complete() && !cs.Has(code) {
				c.report(Issue{Severity: Warning, Code: "code-invalid", Rule: RuleCode, Message: "the code system " + system + " has no such unit"}, x)
			}
		}
	}
}
