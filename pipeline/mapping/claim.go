package mapping

import (
	"cmp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// A mapping claims profiles, and its constants name codes. What is wrong with them for every record can be told before
// one is read: the fullest resource that the template can make is written, with something of the right type in the place
// of each formula, and validated. An issue that hangs on a formula's value is left for the run; the others are certain.

// claims validates the fullest resource of a mapping.
func (t *templates) claims() {
	v := t.c.o.Validator
	if v == nil || t.b.root == nil || len(t.c.faults) > 0 {
		return // of a template with faults the parts may be missing
	}
	k := &fullest{}
	k.value(t.b.root)
	n, err := fhir.Parse(k.buf)
	if err != nil {
		return // a constant that is not UTF-8 is a fault elsewhere
	}
	said := map[string]bool{}
	issues := v.Trial().Resource(n)
	for i := range issues {
		x := &issues[i]
		if !k.certain(n, x) {
			continue
		}
		node := t.locate(x.Path)
		text := x.Message + " (" + x.Rule + ")"
		if x.Profile != "" {
			text += "; so says the profile " + x.Profile
		}
		path := cmp.Or(elementPath(t.m.Type, x), t.m.Type)
		if said[path+text] {
			continue
		}
		said[path+text] = true
		switch {
		case x.Severity == validate.Error && x.Profile == "":
			t.c.fault(t.b.file, node, "", "%s: %s", path, text)
		case x.Severity == validate.Error:
			t.c.notice(IsFinding, FindProfile, t.b.file, node, "no record of this mapping can conform; write what is asked, or do not claim the profile", "%s: %s", path, text)
		default:
			t.c.notice(Remark, "validation-warning", t.b.file, node, "", "%s: %s", path, text)
		}
	}
}

// locate is the part of the template at a path of the resource, or the nearest above it that the template has; the
// profile that is claimed for what the template does not have at all.
func (t *templates) locate(path string) *yaml.Node {
	n := t.b.file.resource
	if profiles := t.b.file.profiles; len(profiles) > 0 && (!strings.Contains(path, ".") || strings.Contains(path, ".meta.profile")) {
		return profiles[0].node
	}
	for _, part := range strings.Split(path, ".")[1:] {
		name, index := part, -1
		if open := strings.IndexByte(part, '['); open >= 0 {
			name = part[:open]
			index, _ = strconv.Atoi(strings.TrimSuffix(part[open+1:], "]"))
		}
		if typ, ok := strings.CutPrefix(name, "ofType("); ok { // the choice's type stands in a part of its own
			name = strings.TrimSuffix(typ, ")")
		}
		var next *yaml.Node
		for _, p := range document.Pairs(n) {
			if p.Key == name || len(p.Key) > len(name) && strings.HasPrefix(p.Key, name) && p.Key[len(name)] >= 'A' && p.Key[len(name)] <= 'Z' {
				next = p.Value
				break
			}
		}
		if next == nil {
			break
		}
		if n = next; n.Kind == yaml.SequenceNode && index >= 0 && index < len(n.Content) {
			n = n.Content[index]
		}
	}
	return n
}

// fullest writes the resource in which every formula gives something.
type fullest struct {
	buf  []byte
	open [][2]int // the ranges that stand for formulas
}

// stand writes what stands for the value of a formula.
func (k *fullest) stand(text string) {
	start := len(k.buf)
	k.buf = append(k.buf, text...)
	k.open = append(k.open, [2]int{start, len(k.buf)})
}

func (k *fullest) value(p *plan) {
	switch p.kind {
	case planConst:
		k.buf = append(k.buf, p.text...)
	case planID:
		k.stand(`"x"`)
	case planObject:
		k.buf = append(k.buf, '{')
		for i, m := range p.members {
			if i > 0 {
				k.buf = append(k.buf, ',')
			}
			if m.kind != planConst { // the text of constants has their names
				k.buf = append(k.buf, m.name...)
			}
			k.value(m)
		}
		k.buf = append(k.buf, '}')
	case planList:
		k.buf = append(k.buf, '[')
		for i, e := range p.entries {
			if i > 0 {
				k.buf = append(k.buf, ',')
			}
			k.value(e.plan)
		}
		k.buf = append(k.buf, ']')
	case planScalar:
		k.stand(sampleOf(p.typ.Name))
	case planComplex:
		if p.typ.Name == "Reference" && p.f != nil && len(p.f.refs) == 1 {
			k.buf = append(k.buf, `{"reference":"`+p.f.refs[0].target.typ+`/x"}`...) // its type is certain
			return
		}
		k.stand(sampleOf(p.typ.Name))
	}
}

// samples are values of the forms of types; those that are none of these are texts, or objects of which nothing is known.
var samples = map[string]string{
	"boolean": "true", "integer": "1", "positiveInt": "1", "unsignedInt": "1", "decimal": "1",
	"date": `"2000-01-01"`, "dateTime": `"2000-01-01T00:00:00Z"`, "instant": `"2000-01-01T00:00:00Z"`, "time": `"00:00:00"`,
	"base64Binary": `"AAAA"`, "uri": `"urn:x"`, "url": `"urn:x"`, "canonical": `"urn:x"`, "oid": `"urn:oid:1.2"`,
	"uuid": `"urn:uuid:00000000-0000-0000-0000-000000000000"`, "xhtml": `"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"`,
	"Coding": `{"code":"x","system":"urn:x"}`, "CodeableConcept": `{"coding":[{"code":"x","system":"urn:x"}],"text":"x"}`,
	"Identifier": `{"system":"urn:x","value":"x"}`, "Quantity": `{"code":"x","system":"urn:x","unit":"x","value":1}`,
	"Reference": `{"display":"x"}`, "Period": `{"start":"2000-01-01"}`, "Extension": `{"url":"urn:x","valueString":"x"}`,
}

func sampleOf(typ string) string {
	if s, ok := samples[typ]; ok {
		return s
	}
	if t := fhir.Lookup(typ); t != nil && t.Kind == fhir.KindPrimitive {
		return `"x"`
	}
	return `{"extension":[{"url":"urn:x","valueString":"x"}]}`
}

// certain tells whether an issue holds whatever the formulas give.
func (k *fullest) certain(root *fhir.Node, x *validate.Issue) bool {
	switch x.Rule {
	case validate.RuleChoice, validate.RuleMax, validate.RuleProfile:
		return false // the template may write one or the other
	}
	if x.Severity == validate.Error && x.Profile == "" && x.Rule != validate.RuleCode {
		return false // R4's own rules are decided where the template is compiled, or by the run
	}
	about := nodeAt(root, x.At)
	if about == nil {
		return false
	}
	switch x.Rule {
	case validate.RuleMin:
		return !k.within(x.At) // what is missing from an object of the template is missing from each
	case validate.RuleSliceMin:
		// It hangs on what is in the list, if the template has it.
		name := x.Path[strings.LastIndexByte(x.Path, '.')+1:]
		for i := range about.Members {
			if m := &about.Members[i]; strings.HasPrefix(m.Name, name) {
				return !k.touched(m.Value)
			}
		}
		return !k.within(x.At)
	case validate.RuleTypeOf, validate.RuleTarget, validate.RuleDefinition:
		return !k.within(x.At) || x.Rule == validate.RuleTypeOf
	}
	return !k.touched(about)
}

// within tells whether a place lies in what stands for a formula.
func (k *fullest) within(at int) bool {
	for _, o := range k.open {
		if at >= o[0] && at < o[1] {
			return true
		}
	}
	return false
}

// touched tells whether a value is, or holds, what stands for a formula.
func (k *fullest) touched(n *fhir.Node) bool {
	if n == nil || k.within(n.Offset()) {
		return true
	}
	for i := range n.Members {
		if k.touched(n.Members[i].Value) {
			return true
		}
	}
	for _, item := range n.Items {
		if k.touched(item) {
			return true
		}
	}
	return false
}

// nodeAt finds the value that begins at an offset.
func nodeAt(n *fhir.Node, at int) *fhir.Node {
	if n == nil || n.Offset() == at {
		return n
	}
	for i := range n.Members {
		if found := nodeAt(n.Members[i].Value, at); found != nil {
			return found
		}
	}
	for _, item := range n.Items {
		if found := nodeAt(item, at); found != nil {
			return found
		}
	}
	return nil
}
