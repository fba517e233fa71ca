package fhirpath

// Tail is the call that an expression ends in, seen from outside: who declared the function can do its work in another
// way, such as writing the result to its place at once instead of building it as a value first. What it does instead
// must be what the call does: evaluate Input, then the Args over the same focus, and return nothing for an empty Input
// unless the function asked for OnEmpty.
type Tail struct {
	Mark  any   // what the function's Compile left in Call.Mark
	Bare  bool  // nothing stands before the call: Input is the focus
	Input *Expr // what stands before the call
	Args  []*Expr
}

// Tail returns the call that the expression ends in, if its function left a mark, takes its input as one value, and
// nothing in the expression asks for its context.
func (e *Expr) Tail() (Tail, bool) {
	t := e.code.tail
	if t == nil || !e.light {
		return Tail{}, false
	}
	out := Tail{Mark: t.mark, Bare: t.bare, Input: e.part(t.in)}
	for _, a := range t.args {
		out.Args = append(out.Args, e.part(a.code))
	}
	return out, true
}

// part is a part of the expression that is evaluated over the expression's own focus.
func (e *Expr) part(cd *code) *Expr {
	return &Expr{source: e.source, env: e.env, code: cd, bare: -1, ownsRecord: e.ownsRecord, light: e.light}
}

// Env is the environment that the expression was compiled in.
func (e *Expr) Env() *Env { return e.env }

// Column tells whether the expression is a bare column of its own environment, and which: its value is the cell of the
// focus, a String, or empty for a blank one.
func (e *Expr) Column() (int, bool) {
	return e.code.col.index, e.code.col.env != nil && e.code.col.env == e.env
}

// tail is a call that may be the last of an expression.
type tail struct {
	mark any
	bare bool
	in   *code
	args []*Arg
}
