package fhirpath

import (
	"time"
	"unsafe"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Error is an error while evaluating: a reason code and the byte offset in the expression. It never holds a value.
type Error struct {
	Code   string
	Offset int
}

// Error returns the reason code and its place.
func (e *Error) Error() string { return "evaluate: " + e.Code + " at byte " + itoa(e.Offset) }

// Reason codes of evaluation errors that are not named where they arise.
const (
	codeSeveral  = "several-values"      // a function or operator for one value was given several
	codeType     = "wrong-type"          // a value of a type that the operation is not defined for
	codeOverflow = "number-out-of-range" // a number beyond FHIRPath's Integer or Decimal
	codeSteps    = "too-many-steps"      // the expression did too much work
	codeSize     = "collection-too-large"
	codeText     = "text-too-long"
	codeNow      = "no-clock" // now() in a run that has no clock
)

// Limits of one evaluation, so that a hostile expression ends.
const (
	defaultSteps  = 20_000_000
	maxCollection = 1_000_000
	maxText       = 16 << 20
)

// Context is the scratch memory and the variables of evaluations: one per goroutine, not for concurrent use. Values
// that were made with it, and their texts, live until [Context.Reset].
type Context struct {
	// Record is the record around the item that is the focus, for %record and names of Env.Outer. It is set by
	// [Expr.Append] where the focus is itself the record.
	Record *Row

	// Outers are the items between the focus and the record, innermost first, where forEach is nested.
	Outers []Value

	// Resource and RootResource are %resource and %rootResource; where they are not set, the focus is taken if it is
	// a resource.
	Resource, RootResource Value

	// Now is the time of now(), today() and timeOfDay(); those fail while it is zero.
	Now time.Time

	// Undecided is set when memberOf(), subsumes() or subsumedBy() were empty because the terminology could not tell.
	// Whoever asks sets it back before.
	Undecided bool

	// MaxSteps bounds the work of one evaluation; 0 means 20 million steps, some seconds.
	MaxSteps int

	// Trace, if set, is called by trace(name) with the values that pass.
	Trace func(name string, values []Value)

	// Profiles, if set, decides conformsTo() for profiles beyond R4's types.
	Profiles Profiles

	// User is for the functions of Env.Functions: whatever they need to reach while evaluating.
	User any

	vars     []variable
	slots    [][]Value // defineVariable
	focus    Value     // of the innermost call of an extension function
	focusRow *Row      // the same, if it is a row and the call is in its short form
	root     Value     // %context: the focus of the expression
	index    int64     // $index
	total    []Value   // $total
	steps    int
	active   int

	holders map[*fhir.Node]*fhir.Node // the entry of the Bundle that each node is in, once resolve() asked

	bufs  [][]Value
	depth int

	nodes   arena[fhir.Node]
	leaves  arena[fhir.Node] // texts and numbers: what never has members or items
	aliases arena[fhir.Node]
	bytes   []byte
}

type variable struct {
	name   string
	values []Value
}

// NewContext makes an empty context.
func NewContext() *Context { return &Context{} }

// Reset frees what evaluations made: every Value that came out of one, its text and its nodes are dead. Variables,
// Record, Now and limits stay.
func (c *Context) Reset() {
	if c.nodes.used+c.leaves.used+c.aliases.used > 0 {
		c.nodes.reset()
		c.leaves.reset()
		c.aliases.reset()
	}
	if len(c.bytes) > 0 {
		c.bytes = c.bytes[:0]
	}
}

// Set gives %name its values, which are not copied.
func (c *Context) Set(name string, values []Value) {
	for i := range c.vars {
		if c.vars[i].name == name {
			c.vars[i].values = values
			return
		}
	}
	c.vars = append(c.vars, variable{name, values})
}

// Focus is the $this at the call of an extension function: what arguments without an item of their own are evaluated
// over. Where all arguments are constant it is not kept.
func (c *Context) Focus() Value {
	if c.focusRow != nil {
		return RowValue(c.focusRow)
	}
	return c.focus
}

// Step counts work against the limit of the evaluation; functions that loop call it once per turn. The error says
// that the limit is reached.
func (c *Context) Step() error {
	if c.steps--; c.steps < 0 {
		return &Error{Code: codeSteps}
	}
	return nil
}

// take borrows an empty buffer; give returns it. They nest.
func (c *Context) take() []Value {
	if c.depth == len(c.bufs) {
		c.bufs = append(c.bufs, make([]Value, 0, 8))
	}
	c.depth++
	return c.bufs[c.depth-1][:0]
}

func (c *Context) give(buf []Value) {
	c.depth--
	c.bufs[c.depth] = buf
}

// NewObject makes an empty object in the arena, to be filled with [Context.AddMember].
func (c *Context) NewObject() *fhir.Node { return c.newNode(fhir.Object, "") }

// NewArray makes an empty array in the arena, to be filled with [Context.AddItem].
func (c *Context) NewArray() *fhir.Node { return c.newNode(fhir.Array, "") }

// NewString makes a string in the arena. The text is not copied.
func (c *Context) NewString(s string) *fhir.Node { return c.newLeaf(fhir.String, s) }

// NewNumber makes a number in the arena from its JSON literal.
func (c *Context) NewNumber(literal string) *fhir.Node { return c.newLeaf(fhir.Number, literal) }

// NewBoolean makes a boolean in the arena.
func (c *Context) NewBoolean(b bool) *fhir.Node {
	if b {
		return c.newLeaf(fhir.Boolean, "true")
	}
	return c.newLeaf(fhir.Boolean, "false")
}

// AddMember appends a member to an object of the arena; the object must not have the name yet. A nil value is left
// out.
func (c *Context) AddMember(object *fhir.Node, name string, value *fhir.Node) {
	if value != nil {
		object.Members = append(object.Members, fhir.Member{Name: name, Value: value})
	}
}

// AddString appends a member of text, unless the text is empty.
func (c *Context) AddString(object *fhir.Node, name, text string) {
	if text != "" {
		object.Members = append(object.Members, fhir.Member{Name: name, Value: c.NewString(text)})
	}
}

// AddItem appends to an array of the arena.
func (c *Context) AddItem(array, item *fhir.Node) {
	if item != nil {
		array.Items = append(array.Items, item)
	}
}

// NodeOf is the value as a node: that of a resource's value itself, else a new one of the arena. Nil for no value and
// for rows.
func (c *Context) NodeOf(v Value) *fhir.Node {
	switch v.kind() {
	case KindNone, KindRow:
		return nil
	case KindQuantity:
		n := c.NewObject()
		c.AddMember(n, "value", c.NewNumber(v.number()))
		if v.has(flagCalendar) {
			c.AddString(n, "unit", v.unit())
		} else {
			c.AddString(n, "unit", v.unit())
			c.AddString(n, "system", ucumSystem)
			c.AddString(n, "code", v.unit())
		}
		return n
	}
	if v.element() != nil {
		return v.element()
	}
	switch v.kind() {
	case KindBoolean:
		return c.NewBoolean(v.num != 0)
	case KindInteger, KindDecimal:
		return c.NewNumber(v.Text())
	}
	return c.NewString(v.written())
}

// newNode takes a node from the arena. Its Members and Items keep their capacity from an earlier life, so that
// building the same objects for record after record allocates nothing.
func (c *Context) newNode(k fhir.NodeKind, text string) *fhir.Node {
	n := c.nodes.next()
	n.Kind, n.Text, n.Members, n.Items = k, text, n.Members[:0], n.Items[:0]
	return n
}

func (c *Context) newLeaf(k fhir.NodeKind, text string) *fhir.Node {
	n := c.leaves.next()
	n.Kind, n.Text = k, text
	return n
}

// alias makes a node whose members belong to another one. It comes from an arena of its own, since its members must
// never be appended to.
func (c *Context) alias(n fhir.Node) *fhir.Node {
	p := c.aliases.next()
	*p = n
	return p
}

// Text copies bytes into the arena as a string that lives until [Context.Reset].
func (c *Context) Text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if cap(c.bytes)-len(c.bytes) < len(b) {
		c.bytes = make([]byte, 0, max(16<<10, 2*len(b))) // the full one stays alive as long as strings point into it
	}
	start := len(c.bytes)
	c.bytes = append(c.bytes, b...)
	return unsafe.String(&c.bytes[start], len(b))
}

// Concat joins texts in the arena.
func (c *Context) Concat(parts ...string) string {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if n == 0 {
		return ""
	}
	if cap(c.bytes)-len(c.bytes) < n {
		c.bytes = make([]byte, 0, max(16<<10, 2*n))
	}
	start := len(c.bytes)
	for _, p := range parts {
		c.bytes = append(c.bytes, p...)
	}
	return unsafe.String(&c.bytes[start], n)
}

// arena hands out values from chunks that are used again after a reset.
type arena[T any] struct {
	chunks [][]T
	chunk  []T // the one in use
	number int // of the next one
	used   int // of the one in use
}

const chunkSize = 64

func (a *arena[T]) next() *T {
	if a.used == len(a.chunk) {
		a.turn()
	}
	p := &a.chunk[a.used]
	a.used++
	return p
}

// turn goes on to the next chunk.
func (a *arena[T]) turn() {
	if a.number == len(a.chunks) {
		a.chunks = append(a.chunks, make([]T, chunkSize))
	}
	a.chunk = a.chunks[a.number]
	a.number++
	a.used = 0
}

func (a *arena[T]) reset() {
	if a.number > 1 {
		a.chunk, a.number = a.chunks[0], 1
	}
	a.used = 0
}
