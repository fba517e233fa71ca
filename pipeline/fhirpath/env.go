package fhirpath

import (
	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Env is what an expression is compiled over: the columns of a table, or a type of resource. It is read while
// compiling and not kept.
type Env struct {
	Columns    []string           // the cells of the focus, by exact name
	MayBeBlank func(col int) bool // nil: any column may be blank
	Read       func(col int)      // if set, called for each column that is read, while compiling; see also Expr.Reads
	Children   []Child            // collections of rows that belong to the focus

	// Outer is the record around an item (forEach): names that the item does not have are looked up there. The cells
	// are then read from Context.Record, or from Context.Outers where an Outer has an Outer of its own.
	Outer *Env

	Type *fhir.Type  // the type of the focus over resources; nil: any, found while evaluating
	Item *StaticType // the focus where it is neither a row of this Env nor a resource: the item of a forEach

	// Terminology is what memberOf(), subsumes() and subsumedBy() ask. Without one they know the value sets of R4's own
	// required bindings, and that a code subsumes itself.
	Terminology Terminology

	Functions map[string]Function   // beyond FHIRPath 2.0
	Variables map[string]StaticType // the %names that will be set with Context.Set
	Constants map[string]Constant   // the %names whose values are known while compiling
	Strict    bool                  // element names that the type does not have are faults
	Record    bool                  // over a record: the traps of design.md, section 5, are faults and findings
}

// Child is a collection of rows under a name.
type Child struct {
	Name string
	Env  *Env
}

// Constant is a %name with values that are known while compiling: what is built of them alone is computed there, too.
type Constant struct {
	Static StaticType
	Values []Value
}

// Kinds is a set of kinds. Zero means not known.
type Kinds uint16

// Set makes a set of kinds.
func Set(kinds ...Kind) Kinds {
	var s Kinds
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

// Has tells whether the kind is in the set; an unknown set has every kind.
func (s Kinds) Has(k Kind) bool { return s == 0 || s&(1<<k) != 0 }

// Only tells whether the set is known and has no kinds but these.
func (s Kinds) Only(kinds ...Kind) bool { return s != 0 && s&^Set(kinds...) == 0 }

// StaticType is what is known of an expression's result before it is evaluated.
type StaticType struct {
	Kinds  Kinds        // zero: anything
	FHIR   *fhir.Type   // the type of every value, if it is one and of FHIR
	Choice []*fhir.Type // the possible types, if there are several
	Env    *Env         // of rows: their columns
	Single bool         // at most one value

	MayBeEmpty bool // may be empty for whatever reason
	Blank      bool // is empty exactly because a column is blank that may be
	Cell       bool // the text of a column as it was found
	Unordered  bool // children(), descendants(): the order means nothing
	Literal    bool // a constant
}

// StaticOf is the type of a single value of the kind, which may be empty.
func StaticOf(k Kind) StaticType { return StaticType{Kinds: Set(k), Single: true, MayBeEmpty: true} }

// StaticFHIR is the type of a single value of the FHIR type, which may be empty.
func StaticFHIR(t *fhir.Type) StaticType {
	return StaticType{Kinds: Set(kindOf(t)), FHIR: t, Single: true, MayBeEmpty: true}
}

// Only tells whether every value is certainly of one of the kinds.
func (s StaticType) Only(kinds ...Kind) bool { return s.Kinds.Only(kinds...) }

// kindOf is the kind of the values of a FHIR type.
func kindOf(t *fhir.Type) Kind {
	if t == nil || t.Kind != fhir.KindPrimitive {
		return KindObject
	}
	switch t.Name {
	case "boolean":
		return KindBoolean
	case "integer", "positiveInt", "unsignedInt":
		return KindInteger
	case "decimal":
		return KindDecimal
	case "date":
		return KindDate
	case "dateTime", "instant":
		return KindDateTime
	case "time":
		return KindTime
	}
	return KindString
}

// Problem is a fault or a finding of an expression. Offset and Length are in bytes within it.
type Problem struct {
	Offset, Length int
	Message, Hint  string
	Finding        bool // a remark: the expression compiles all the same
}

// Function is a function beyond FHIRPath 2.0. Compile is called once per call in an expression, after its input and
// arguments were compiled; the number of arguments has been checked. The problems it returns have offsets within the
// expression ([Arg.Problem], [Call.Problem]).
type Function struct {
	Min, Max int // number of arguments; Max -1: any number
	Compile  func(call *Call) (Impl, StaticType, []Problem)
}

// Call is a call of a [Function] in an expression.
type Call struct {
	Name           string
	Input          StaticType
	Args           []*Arg
	Env            *Env
	Offset, Length int // of the call, from the function's name to the closing parenthesis

	// Single may be set by Compile: the function for a single input value (never an empty one), returning the zero
	// Value for empty. It is used wherever the input is at most one value, without any slice; Impl may then be nil,
	// and several input values are the error "several-values". The result type must be Single.
	Single func(c *Context, input Value) (Value, error)

	// OnEmpty asks that Single is called for an empty input too, with the zero Value.
	OnEmpty bool

	// Mark may be set by Compile together with Single, for whoever asks for the expression's [Expr.Tail].
	Mark any
}

// Problem makes a fault at the call.
func (call *Call) Problem(message, hint string) Problem {
	return Problem{Offset: call.Offset, Length: call.Length, Message: message, Hint: hint}
}

// Finding makes a remark at the call.
func (call *Call) Finding(message, hint string) Problem {
	return Problem{Offset: call.Offset, Length: call.Length, Message: message, Hint: hint, Finding: true}
}

// Error makes an evaluation error at the call. Code is a reason from a fixed list, never text of a value.
func (call *Call) Error(code string) error { return &Error{Code: code, Offset: call.Offset} }

// Impl is the compiled form of a call. It appends its result for the input to out. Arguments are evaluated with
// [Arg.Append] over [Context.Focus], or over the items of the input for a function that iterates. Input and out must
// not be kept.
type Impl func(c *Context, input []Value, out []Value) ([]Value, error)

// Arg is an argument of a call.
type Arg struct {
	Offset, Length int
	code           *code
	text           string
}

// Static is what is known of the argument.
func (a *Arg) Static() StaticType { return a.code.st }

// Text is the argument as written in the expression.
func (a *Arg) Text() string { return a.text }

// Constant returns the argument's values if they are known while compiling.
func (a *Arg) Constant() ([]Value, bool) { return a.code.vals, a.code.constant }

// Literal returns the argument's text if it is a constant single String.
func (a *Arg) Literal() (string, bool) {
	if !a.code.constant || len(a.code.vals) != 1 || a.code.vals[0].kind() != KindString {
		return "", false
	}
	return a.code.vals[0].written(), true
}

// Append evaluates the argument over the focus ($this within it).
func (a *Arg) Append(c *Context, focus Value, out []Value) ([]Value, error) {
	return a.code.many(c, focus, out)
}

// One evaluates an argument that has at most one value; the zero Value if it is empty. Several values are the error
// "several-values".
func (a *Arg) One(c *Context, focus Value) (Value, error) { return a.code.one(c, focus) }

// Str evaluates an argument that is a text over [Context.Focus]; "" for an empty one. A value of another type is
// written as its [Value.Text].
func (a *Arg) Str(c *Context) (string, error) {
	if a.code.text != nil && (a.code.constant || c.focusRow != nil) {
		s, _, err := a.code.text(c, c.focusRow)
		return s, err
	}
	v, err := a.code.one(c, c.Focus())
	return v.Text(), err
}

// Problem makes a fault at the argument.
func (a *Arg) Problem(message, hint string) Problem {
	return Problem{Offset: a.Offset, Length: a.Length, Message: message, Hint: hint}
}
