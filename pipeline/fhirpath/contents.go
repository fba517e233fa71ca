package fhirpath

// Contents are the types of the values whose content the expression's result depends on, beyond which values are there:
// the operands of comparisons and arithmetic, the input of matches() and its kind. Values that are only asked whether
// they exist, counted, filtered by type or passed on are not among them. A type that says nothing (no kinds, no FHIR type)
// stands for values that could be anything. Of toString().length() of a date, nothing but the length matters, so it is
// [Lengths] that has its type.
//
// Who keeps verdicts needs to know them: over resources that are alike but for the content of other types, an expression
// has one result.
func (e *Expr) Contents() []StaticType { return e.contents }

// Lengths are the types of the values of which the result depends on the length of their text.
func (e *Expr) Lengths() []StaticType { return e.lengths }

// Rooted tells whether the result depends on more than the focus: %resource, %rootResource, resolve().
func (e *Expr) Rooted() bool { return e.rooted }

// lookless are the functions that ask which values are there, and not what is in them; their arguments are looked at on
// their own.
var lookless = map[string]bool{
	"exists": true, "empty": true, "not": true, "count": true, "hasValue": true, "getValue": true, "all": true, "where": true,
	"select": true, "iif": true, "is": true, "as": true, "ofType": true, "first": true, "last": true, "tail": true, "skip": true,
	"take": true, "single": true, "children": true, "descendants": true, "extension": true, "trace": true, "allTrue": true,
	"anyTrue": true, "allFalse": true, "anyFalse": true, "repeat": true, "defineVariable": true,
}

// contents walks over an expression that was compiled, for [Expr.Contents].
type contents struct {
	k       *compiler
	content []StaticType
	length  []StaticType
}

func (w *contents) note(n *node) {
	if n == nil || n.op == opLiteral || n.op == opEmpty {
		return
	}
	st := w.k.types[n]
	if st.Literal {
		return
	}
	w.content = append(w.content, st)
}

func (w *contents) visit(n *node) {
	if n == nil {
		return
	}
	w.visit(n.left)
	w.visit(n.right)
	for _, a := range n.args {
		w.visit(a)
	}
	switch n.op {
	case opLiteral, opEmpty, opThis, opIndex, opTotal, opVariable, opIdent, opType:
	case opIndexer:
		w.note(n.right)
	case opUnary:
		w.note(n.left)
	case opCall:
		if lookless[n.text] {
			return
		}
		if inner := n.left; n.text == "length" && inner != nil && inner.op == opCall && inner.text == "toString" {
			// What toString() noted is the last that was noted.
			if i := len(w.content) - 1; i >= 0 {
				w.length = append(w.length, w.content[i])
				w.content = w.content[:i]
			}
			return
		}
		if n.left == nil {
			w.content = append(w.content, w.k.inputs[n])
		}
		w.note(n.left)
		for _, a := range n.args {
			w.note(a)
		}
	default:
		switch n.text {
		case "and", "or", "xor", "implies", ".":
			return
		}
		w.note(n.left)
		w.note(n.right)
	}
}
