package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// mostIssues is how many faults of one resource are told.
const mostIssues = 20

// problem is one fault of a resource: an IssueType, a fixed sentence, and where, as FHIRPath.
type problem struct {
	code r4.IssueType
	text string
	path string
}

// checker checks a resource's structure against the definitions of R4: known elements, their cardinality, the JSON form
// of their type, the form of primitive values. What needs more (bindings, invariants, profiles) is left to validators.
type checker struct{ problems []problem }

// trail is the way down to a value. It is turned into text only where there is a fault.
type trail struct {
	up    *trail
	name  string
	index int // -1: no entry of a list
}

func (t *trail) String() string {
	text := t.name
	if t.index >= 0 {
		text += "[" + strconv.Itoa(t.index) + "]"
	}
	if t.up != nil {
		text = t.up.String() + "." + text
	}
	return text
}

func (c *checker) fault(at *trail, code r4.IssueType, format string, args ...any) {
	if len(c.problems) < mostIssues {
		c.problems = append(c.problems, problem{code, fmt.Sprintf(format, args...), at.String()})
	}
}

// check returns what is wrong with the resource, which must be of the type.
func check(n *fhir.Node, typ string) []problem {
	var c checker
	at := &trail{name: typ, index: -1}
	t := fhir.Lookup(typ)
	if t == nil || t.Kind != fhir.KindResource || t.Abstract {
		c.fault(at, r4.IssueTypeNotSupported, "no type of resource that R4 has")
		return c.problems
	}
	if n.Kind != fhir.Object || n.ResourceType() != typ {
		c.fault(at, r4.IssueTypeInvalid, "the resource's type is not the one of the URL")
		return c.problems
	}
	c.object(n, t, at)
	return c.problems
}

// object checks the members of a resource, a datatype or a group.
func (c *checker) object(n *fhir.Node, t *fhir.Type, at *trail) {
	if len(n.Members) == 0 {
		c.fault(at, r4.IssueTypeStructure, "an object is empty")
		return
	}
	var room [24]*fhir.Element
	seen := room[:0]
	for i := range n.Members {
		m := &n.Members[i]
		if m.Name == "resourceType" && t.Kind == fhir.KindResource {
			continue
		}
		bare, shadow := strings.CutPrefix(m.Name, "_")
		e, of := t.Element(bare)
		here := trail{at, m.Name, -1}
		if e == nil || of == nil || shadow && of.Kind != fhir.KindPrimitive {
			c.unknown(m.Name, at)
			continue
		}
		if slices.Contains(seen, e) {
			if other := otherChoice(n, e, bare); other {
				c.fault(&here, r4.IssueTypeStructure, "a choice has more than one type")
			}
		} else {
			seen = append(seen, e)
		}
		c.member(n, m, e, of, shadow, &here)
	}
	for _, e := range t.Elements {
		if e.Min > 0 && !slices.Contains(seen, e) {
			c.fault(&trail{at, e.Name, -1}, r4.IssueTypeRequired, "a required element is missing")
		}
	}
}

// unknown is the fault of a name that R4 does not have here. The name is the client's text: it is told only if it looks
// like a name.
func (c *checker) unknown(member string, at *trail) {
	name := member
	for i := range len(name) {
		if b := name[i]; b != '_' && (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') || i > 60 {
			name = ""
			break
		}
	}
	if name == "" {
		c.fault(at, r4.IssueTypeStructure, "an element is unknown")
		return
	}
	c.fault(&trail{at, name, -1}, r4.IssueTypeStructure, "the element is unknown")
}

// otherChoice tells whether the object has the choice also under another type than the one named.
func otherChoice(n *fhir.Node, e *fhir.Element, name string) bool {
	if !e.Choice {
		return false
	}
	for _, of := range e.Types {
		if other := e.JSONName(of); other != name && (n.Get(other) != nil || n.Get("_"+other) != nil) {
			return true
		}
	}
	return false
}

// member checks one member of the object n, under its name or, shadow, under `_name`.
func (c *checker) member(n *fhir.Node, m *fhir.Member, e *fhir.Element, of *fhir.Type, shadow bool, here *trail) {
	if !e.Repeats() {
		switch {
		case m.Value.Kind == fhir.Array:
			c.fault(here, r4.IssueTypeStructure, "a list where one value is allowed")
		case shadow:
			c.shadow(m.Value, of, here)
		default:
			c.value(m.Value, of, here)
		}
		return
	}
	if m.Value.Kind != fhir.Array {
		c.fault(here, r4.IssueTypeStructure, "one value where a list is needed")
		return
	}
	if len(m.Value.Items) == 0 {
		c.fault(here, r4.IssueTypeStructure, "a list is empty")
		return
	}
	if e.Max != fhir.Unbounded && len(m.Value.Items) > e.Max {
		c.fault(here, r4.IssueTypeStructure, "too many entries")
	}
	for i, item := range m.Value.Items {
		here.index = i
		switch {
		case item.Kind == fhir.Null:
			// A null keeps the place of an entry that has only extensions, or none (json.html#primitive).
			twin := n.Get("_" + m.Name)
			if shadow {
				twin = n.Get(m.Name[1:])
			}
			if other := twin.Item(i); of.Kind != fhir.KindPrimitive || other == nil || other.Kind == fhir.Null {
				c.fault(here, r4.IssueTypeStructure, "an entry is null")
			}
		case shadow:
			c.shadow(item, of, here)
		default:
			c.value(item, of, here)
		}
	}
}

// shadow checks the id and extensions of a primitive.
func (c *checker) shadow(n *fhir.Node, of *fhir.Type, here *trail) {
	if n.Kind != fhir.Object {
		c.fault(here, r4.IssueTypeStructure, "%s where an object is needed", n.Kind)
		return
	}
	c.object(n, of, here)
}

// value checks one value.
func (c *checker) value(n *fhir.Node, of *fhir.Type, here *trail) {
	if of.Kind == fhir.KindPrimitive {
		if want := jsonKind(of); n.Kind != want {
			c.fault(here, r4.IssueTypeStructure, "a JSON %s where %s is written as a %s", n.Kind, of.Name, want)
		} else if !of.Valid(n.Text) {
			c.fault(here, r4.IssueTypeValue, "not of the form of %s", of.Name)
		}
		return
	}
	if n.Kind != fhir.Object {
		c.fault(here, r4.IssueTypeStructure, "a JSON %s where an object is needed", n.Kind)
		return
	}
	if of.Kind == fhir.KindResource {
		inner := fhir.Lookup(n.ResourceType())
		if inner == nil || inner.Kind != fhir.KindResource || inner.Abstract || !inner.Is(of.Name) {
			c.fault(here, r4.IssueTypeStructure, "no resource of a type that R4 has here")
			return
		}
		of = inner
	}
	c.object(n, of, here)
}

// jsonKind is the kind of JSON value that a primitive type is written as (json.html#primitive).
func jsonKind(t *fhir.Type) fhir.NodeKind {
	switch t.Name {
	case "boolean":
		return fhir.Boolean
	case "integer", "positiveInt", "unsignedInt", "decimal":
		return fhir.Number
	}
	return fhir.String
}

// appendNode appends JSON with members in the order of the node, without white space.
func appendNode(dst []byte, n *fhir.Node) []byte {
	switch n.Kind {
	case fhir.Object:
		dst = append(dst, '{')
		for i := range n.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendMember(dst, &n.Members[i])
		}
		return append(dst, '}')
	case fhir.Array:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendNode(dst, item)
		}
		return append(dst, ']')
	}
	return n.AppendCanonical(dst)
}

func appendMember(dst []byte, m *fhir.Member) []byte {
	dst = fhir.AppendString(dst, m.Name)
	dst = append(dst, ':')
	return appendNode(dst, m.Value)
}

// newDraft writes the resource's text under the id: members and numbers as they came, meta without what the server
// adds itself.
func newDraft(n *fhir.Node, called name) *draft {
	d := &draft{name: called, node: n}
	dst := make([]byte, 0, 1024)
	dst = append(dst, `{"resourceType":`...)
	dst = fhir.AppendString(dst, called.typ)
	dst = append(dst, `,"id":`...)
	dst = fhir.AppendString(dst, called.id)
	dst = append(dst, `,"meta":{`...)
	d.mark = len(dst)
	meta := n.Get("meta")
	if meta != nil {
		first := true
		for i := range meta.Members {
			if m := &meta.Members[i]; m.Name != "versionId" && m.Name != "lastUpdated" {
				if !first {
					dst = append(dst, ',')
				}
				first = false
				dst = appendMember(dst, m)
			}
		}
	}
	dst = append(dst, '}')
	for i := range n.Members {
		if m := &n.Members[i]; m.Name != "resourceType" && m.Name != "id" && m.Name != "meta" {
			dst = append(dst, ',')
			dst = appendMember(dst, m)
		}
	}
	d.text = append(dst, '}')
	return d
}
