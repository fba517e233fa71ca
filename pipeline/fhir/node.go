package fhir

import (
	"bytes"
	"slices"
	"strings"
)

// NodeKind tells what sort of JSON value a [Node] is.
type NodeKind uint8

// The kinds of JSON values.
const (
	Null NodeKind = iota
	Object
	Array
	String
	Number
	Boolean
)

// String returns the kind as a word.
func (k NodeKind) String() string {
	switch k {
	case Null:
		return "null"
	case Object:
		return "object"
	case Array:
		return "array"
	case String:
		return "string"
	case Number:
		return "number"
	case Boolean:
		return "boolean"
	}
	return "unknown"
}

// Node is one JSON value, with numbers as they were written. A node that others may see is never changed; [Node.Set]
// and its kind are for whoever builds one and has not yet given it away. All reading methods take a nil node as
// something that is not there.
type Node struct {
	Kind    NodeKind
	at      uint32   // where a parsed value begins in its text
	Text    string   // a string, decoded; a number, as written; "true" or "false"
	Members []Member // of an object, in the order of the text
	Items   []*Node  // of an array
}

// Member is a property of an object.
type Member struct {
	Name  string
	Value *Node
}

// Get is the value of the object's member, or nil.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Members {
		if n.Members[i].Name == name {
			return n.Members[i].Value
		}
	}
	return nil
}

// At follows a path of member names: n.At("meta", "versionId"). Arrays on the way are not entered.
func (n *Node) At(names ...string) *Node {
	for _, name := range names {
		n = n.Get(name)
	}
	return n
}

// Offset is the byte at which the value begins in the text that [Parse] read it from; 0 for one that was made, and for
// nil. See [PlaceOf].
func (n *Node) Offset() int {
	if n == nil {
		return 0
	}
	return int(n.at)
}

// PlaceOf is the line and the column, in bytes, both from 1, of an offset in a text.
func PlaceOf(text []byte, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	return 1 + bytes.Count(before, []byte{'\n'}), len(before) - bytes.LastIndexByte(before, '\n')
}

// Item is the i-th entry of an array, or nil.
func (n *Node) Item(i int) *Node {
	if n == nil || i < 0 || i >= len(n.Items) {
		return nil
	}
	return n.Items[i]
}

// Str is the text of a string, "" for anything else.
func (n *Node) Str() string {
	if n == nil || n.Kind != String {
		return ""
	}
	return n.Text
}

// ResourceType is the member resourceType of a resource, "" if there is none.
func (n *Node) ResourceType() string { return n.Get("resourceType").Str() }

// ID is the member id, "" if there is none.
func (n *Node) ID() string { return n.Get("id").Str() }

// NewString makes a string.
func NewString(text string) *Node { return &Node{Kind: String, Text: text} }

// NewNumber makes a number from its literal, which must be one of JSON ([IsNumber]).
func NewNumber(literal string) *Node { return &Node{Kind: Number, Text: literal} }

// NewBoolean makes a boolean.
func NewBoolean(b bool) *Node {
	if b {
		return &Node{Kind: Boolean, Text: "true"}
	}
	return &Node{Kind: Boolean, Text: "false"}
}

// NewObject makes an object of the members, whose names must differ.
func NewObject(members ...Member) *Node { return &Node{Kind: Object, Members: members} }

// NewArray makes an array.
func NewArray(items ...*Node) *Node { return &Node{Kind: Array, Items: items} }

// Set puts the member into the object, in place of one of the same name, and returns the object. A nil value takes the
// member out. Only for nodes that nobody else sees yet.
func (n *Node) Set(name string, value *Node) *Node {
	i := slices.IndexFunc(n.Members, func(m Member) bool { return m.Name == name })
	switch {
	case value == nil && i >= 0:
		n.Members = slices.Delete(n.Members, i, i+1)
	case value == nil:
	case i >= 0:
		n.Members[i].Value = value
	default:
		n.Members = append(n.Members, Member{Name: name, Value: value})
	}
	return n
}

// Clone copies the node and all below it, so that the copy may be changed.
func (n *Node) Clone() *Node {
	if n == nil {
		return nil
	}
	c := &Node{Kind: n.Kind, Text: n.Text}
	if n.Members != nil {
		c.Members = make([]Member, len(n.Members))
		for i, m := range n.Members {
			c.Members[i] = Member{Name: m.Name, Value: m.Value.Clone()}
		}
	}
	if n.Items != nil {
		c.Items = make([]*Node, len(n.Items))
		for i, item := range n.Items {
			c.Items[i] = item.Clone()
		}
	}
	return c
}

// Equal tells whether two nodes are the same value: members in any order, numbers by their literal (1.0 is not 1).
func (n *Node) Equal(o *Node) bool {
	if n == nil || o == nil {
		return n == o
	}
	if n.Kind != o.Kind || n.Text != o.Text || len(n.Members) != len(o.Members) || len(n.Items) != len(o.Items) {
		return false
	}
	for i := range n.Items {
		if !n.Items[i].Equal(o.Items[i]) {
			return false
		}
	}
	for i, m := range n.Members {
		other := o.Members[i]
		if other.Name != m.Name {
			other.Value = o.Get(m.Name)
		}
		if other.Value == nil || !m.Value.Equal(other.Value) {
			return false
		}
	}
	return true
}

// AppendCanonical appends the canonical JSON of the node (json.html#canonical): members sorted bytewise by name, no
// white space, numbers as written, strings with the fewest escapes. A nil node is null.
func (n *Node) AppendCanonical(dst []byte) []byte {
	if n == nil {
		return append(dst, "null"...)
	}
	switch n.Kind {
	case Object:
		members := n.Members
		if !slices.IsSortedFunc(members, compareMembers) {
			members = slices.Clone(members)
			slices.SortFunc(members, compareMembers)
		}
		dst = append(dst, '{')
		for i := range members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, members[i].Name)
			dst = append(dst, ':')
			dst = members[i].Value.AppendCanonical(dst)
		}
		return append(dst, '}')
	case Array:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = item.AppendCanonical(dst)
		}
		return append(dst, ']')
	case String:
		return AppendString(dst, n.Text)
	case Number, Boolean:
		return append(dst, n.Text...)
	}
	return append(dst, "null"...)
}

func compareMembers(a, b Member) int { return strings.Compare(a.Name, b.Name) }
