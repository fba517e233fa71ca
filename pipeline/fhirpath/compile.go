package fhirpath

import (
	"cmp"
	"slices"

	"github.com/chartlift/chartlift/pipeline/internal/document"
)

// Expr is a compiled expression. It is immutable and may be used by many goroutines, each with a [Context] of its own.
type Expr struct {
	source       string
	env          *Env
	code         *code
	columns      []int
	outerColumns []int
	read         []Read
	slots        int
	contents     []StaticType
	lengths      []StaticType
	rooted       bool
	ownsRecord   bool // the focus is the record itself
	light        bool // reads nothing of the context but what it is given
	bare         int  // the column that it is, or -1
}

// Compile parses an expression and types it over the environment. Faults of the syntax come one at a time, all others
// at once; if any problem is not a finding, the Expr is nil. Problems are in order of their place.
func Compile(source string, env *Env) (*Expr, []Problem) {
	if env == nil {
		env = &Env{}
	}
	tree, fault := parse(source, env.Record)
	if fault != nil {
		return nil, []Problem{{Offset: fault.off, Length: fault.end - fault.off, Message: fault.message, Hint: fault.hint}}
	}
	k := &compiler{env: env, source: source}
	k.scope = &scope{this: k.focusType()}
	if !env.Record {
		k.types, k.inputs = map[*node]StaticType{}, map[*node]StaticType{}
	}
	cd := k.compile(tree)
	slices.SortStableFunc(k.problems, func(a, b Problem) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, p := range k.problems {
		if !p.Finding {
			return nil, k.problems
		}
	}
	slices.Sort(k.columns)
	slices.Sort(k.outerColumns)
	w := contents{k: k}
	if !env.Record {
		w.visit(tree)
	}
	e := &Expr{source: source, env: env, code: cd, bare: -1, columns: k.columns, outerColumns: k.outerColumns, read: k.read, slots: k.slots,
		contents: w.content, lengths: w.length, rooted: k.usesRoot,
		ownsRecord: env.Record && env.Outer == nil, light: !k.usesRoot && k.slots == 0}
	if i, ok := e.Column(); ok {
		e.bare = i
	}
	return e, k.problems
}

// Source is the expression as written.
func (e *Expr) Source() string { return e.source }

// Static is what is known of the result before it is evaluated.
func (e *Expr) Static() StaticType { return e.code.st }

// Columns are the columns of the environment that the expression reads, sorted; OuterColumns those of the record
// around it.
func (e *Expr) Columns() []int { return slices.Clone(e.columns) }

// OuterColumns are the columns of the outermost Env.Outer that the expression reads, sorted.
func (e *Expr) OuterColumns() []int { return slices.Clone(e.outerColumns) }

// Read is a column that an expression reads: of Env, which is the pointer that was passed in (the environment itself,
// one of its Children or an Outer).
type Read struct {
	Env    *Env
	Column int
}

// Reads are all columns that the expression reads, of whichever environment, in the order in which they were met.
func (e *Expr) Reads() []Read { return slices.Clone(e.read) }

// Constant returns the values if they do not depend on the focus.
func (e *Expr) Constant() ([]Value, bool) { return e.code.vals, e.code.constant }

// Append evaluates the expression over the focus and appends the result to out.
func (e *Expr) Append(c *Context, focus Value, out []Value) ([]Value, error) {
	outer, depth := e.begin(c, focus)
	out, err := e.code.many(c, focus, out)
	c.end(outer, depth)
	return out, err
}

// One evaluates an expression of at most one value: the zero Value if it is empty, the error "several-values" if there
// are several. It allocates nothing where Static().Single.
func (e *Expr) One(c *Context, focus Value) (Value, error) {
	if e.light { // the hot path of a mapping
		depth := e.start(c, focus.record())
		v, err := e.code.one(c, focus)
		c.active--
		c.depth = depth
		return v, err
	}
	outer, depth := e.begin(c, focus)
	v, err := e.code.one(c, focus)
	c.end(outer, depth)
	return v, err
}

// True tells whether the result is exactly true: empty and false are false.
func (e *Expr) True(c *Context, focus Value) (bool, error) {
	if e.light && e.code.cond != nil && focus.record() != nil {
		depth := e.start(c, focus.record())
		t, err := e.code.cond(c, focus.record())
		c.active--
		c.depth = depth
		return t == yes, err
	}
	v, err := e.One(c, focus)
	return err == nil && v.kind() == KindBoolean && v.num != 0, err
}

// start is begin for an expression that reads nothing of the context.
func (e *Expr) start(c *Context, r *Row) (depth int) {
	if c.active == 0 {
		if c.steps = c.MaxSteps; c.steps == 0 {
			c.steps = defaultSteps
		}
	}
	if e.ownsRecord && r != nil {
		c.Record = r
	}
	c.active++
	return c.depth
}

func (e *Expr) begin(c *Context, focus Value) (outer Value, depth int) {
	outer, depth = c.root, c.depth
	if c.active == 0 {
		if c.steps = c.MaxSteps; c.steps == 0 {
			c.steps = defaultSteps
		}
		c.index, c.total, c.holders = 0, nil, nil
	}
	c.active++
	c.root = focus
	if e.ownsRecord && focus.record() != nil {
		c.Record = focus.record()
	}
	for len(c.slots) < e.slots {
		c.slots = append(c.slots, nil)
	}
	return outer, depth
}

func (c *Context) end(outer Value, depth int) {
	c.root, c.depth = outer, depth
	c.active--
}

// The compiled form of an expression: both ways to call it are always there; one is without slices where the type
// says Single, else it collects and refuses several values.
type (
	oneFunc  func(c *Context, f Value) (Value, error)
	manyFunc func(c *Context, f Value, out []Value) ([]Value, error)
)

type code struct {
	st       StaticType
	one      oneFunc
	many     manyFunc
	constant bool
	vals     []Value
	n        *node
	text     textFunc // short form of a text over a row, or nil
	cond     condFunc // short form of a condition over a row, or nil
	row      rowFunc  // short form of a single value over a row, or nil
	col      column   // of a bare column: for narrowing
	tail     *tail    // of a call of a function that asked for it
}

// column names a column of an environment; level 0 is the environment of the focus.
type column struct {
	env   *Env
	index int
}

// scope is what $this and names mean at a place in the expression.
type scope struct {
	this   StaticType
	total  *StaticType // of aggregate
	item   bool        // inside a function that iterates: $index is known
	list   *int        // $this is a collection, kept in this slot: in the value of defineVariable()
	parent *scope
}

type defined struct {
	name string
	slot int
	st   StaticType
}

type compiler struct {
	env          *Env
	source       string
	problems     []Problem
	scope        *scope
	vars         []defined
	slots        int
	filled       []column // columns that are known not to be blank here
	columns      []int
	outerColumns []int
	read         []Read
	functions    map[string]builtin
	usesRoot     bool                 // needs to know the focus of the whole expression
	trial        bool                 // only to learn a type
	types        map[*node]StaticType // over resources: what is known of each part,
	inputs       map[*node]StaticType // and of $this where it stands
}

// focusType is what is known of the focus.
func (k *compiler) focusType() StaticType {
	switch {
	case k.env.Item != nil:
		st := *k.env.Item
		st.Single = true
		return st
	case k.env.Type != nil:
		st := StaticFHIR(k.env.Type)
		st.MayBeEmpty = false
		return st
	case k.env.Record:
		return StaticType{Kinds: Set(KindRow), Env: k.env, Single: true}
	}
	return StaticType{Single: true}
}

func (k *compiler) fault(n *node, message, hint string) {
	k.report(Problem{Offset: n.off, Length: n.end - n.off, Message: message, Hint: hint})
}

// faultName places a fault at the name or operator of a node.
func (k *compiler) faultName(n *node, message, hint string) {
	k.report(Problem{Offset: n.nameOff, Length: n.nameEnd - n.nameOff, Message: message, Hint: hint})
}

func (k *compiler) finding(n *node, message, hint string) {
	k.report(Problem{Offset: n.off, Length: n.end - n.off, Message: message, Hint: hint, Finding: true})
}

func (k *compiler) report(p Problem) {
	if len(k.problems) < 100 && !slices.Contains(k.problems, p) {
		k.problems = append(k.problems, p)
	}
}

// text is the source of a node, for messages.
func (k *compiler) text(n *node) string {
	if n.off < 0 || n.end > len(k.source) || n.off >= n.end {
		return ""
	}
	if s := k.source[n.off:n.end]; len(s) <= 60 {
		return s
	}
	return k.source[n.off:n.off+40] + "…"
}

func near(name string, candidates []string) string {
	if best := document.Nearest(name, candidates); best != "" {
		return "did you mean " + best + "?"
	}
	return ""
}

// emptyCode is {}, and what a faulty expression compiles to so that the rest can be checked.
func emptyCode(n *node) *code {
	return &code{st: StaticType{Single: true, MayBeEmpty: true, Literal: true}, n: n, constant: true,
		one:  func(*Context, Value) (Value, error) { return Value{}, nil },
		many: func(_ *Context, _ Value, out []Value) ([]Value, error) { return out, nil }}
}

// faulty stands for an expression with a fault: of any type, so that one fault is told once.
func faulty(n *node) *code {
	cd := emptyCode(n)
	cd.constant, cd.st.Literal = false, false
	return cd
}

// single makes the code of an expression of at most one value.
func single(n *node, st StaticType, one oneFunc) *code {
	st.Single = true
	return &code{st: st, n: n, one: one, many: func(c *Context, f Value, out []Value) ([]Value, error) {
		v, err := one(c, f)
		if err != nil || v.none() {
			return out, err
		}
		return append(out, v), nil
	}}
}

// several makes the code of an expression of any number of values.
func several(n *node, st StaticType, many manyFunc) *code {
	st.Single = false
	off := n.off
	return &code{st: st, n: n, many: many, one: func(c *Context, f Value) (Value, error) {
		buf, err := many(c, f, c.take())
		if err != nil {
			return Value{}, err
		}
		var v Value
		switch len(buf) {
		case 0:
		case 1:
			v = buf[0]
		default:
			err = &Error{Code: codeSeveral, Offset: off}
		}
		c.give(buf)
		return v, err
	}}
}

func constantCode(n *node, st StaticType, vals []Value) *code {
	st.Literal = true
	if len(vals) == 0 {
		cd := emptyCode(n)
		cd.st.Kinds = st.Kinds
		return cd
	}
	st.MayBeEmpty, st.Blank = false, false
	st.Kinds = 0
	for _, v := range vals {
		st.Kinds |= Set(v.kind())
	}
	if len(vals) == 1 {
		v := vals[0]
		cd := single(n, st, func(*Context, Value) (Value, error) { return v, nil })
		switch v.kind() {
		case KindString:
			cd.text = func(*Context, *Row) (string, bool, error) { return v.written(), true, nil }
		case KindBoolean:
			t := truthOf(v)
			cd.cond = func(*Context, *Row) (truth, error) { return t, nil }
		}
		cd.constant, cd.vals = true, vals
		return cd
	}
	cd := several(n, st, func(_ *Context, _ Value, out []Value) ([]Value, error) { return append(out, vals...), nil })
	cd.constant, cd.vals = true, vals
	return cd
}

// maxFolded bounds what a constant may become while compiling.
const maxFolded = 1000

// fold evaluates an expression whose operands are constants. If it fails, it is left to fail while evaluating.
func fold(cd *code, operands ...*code) *code {
	for _, o := range operands {
		if !o.constant {
			return cd
		}
	}
	c := NewContext()
	c.steps = 100_000
	vals, err := cd.many(c, Value{}, nil)
	if err != nil || len(vals) > maxFolded {
		return cd
	}
	size := 0
	for _, v := range vals {
		if size += len(v.written()); size > maxExpression {
			return cd
		}
	}
	folded := constantCode(cd.n, cd.st, vals)
	return folded
}

// compile turns a node into code. It always returns code; faults are in k.problems.
func (k *compiler) compile(n *node) *code {
	cd := k.compileNode(n)
	if k.types != nil {
		k.types[n], k.inputs[n] = cd.st, k.scope.this
	}
	return cd
}

func (k *compiler) compileNode(n *node) *code {
	switch n.op {
	case opLiteral:
		return constantCode(n, StaticType{Kinds: Set(n.value.kind()), Single: true}, []Value{n.value})
	case opEmpty:
		return emptyCode(n)
	case opThis:
		return k.this(n)
	case opIndex:
		if k.env.Record && !k.inItem() {
			k.fault(n, "$index has no meaning here", "it counts the items within where(), select() and the like")
			return faulty(n)
		}
		return single(n, StaticType{Kinds: Set(KindInteger)}, func(c *Context, _ Value) (Value, error) { return Integer(c.index), nil })
	case opTotal:
		return k.total(n)
	case opVariable:
		return k.variable(n)
	case opIdent:
		return k.ident(n)
	case opCall:
		return k.call(n)
	case opIndexer:
		return k.indexer(n)
	case opUnary:
		return k.unary(n)
	case opType:
		return k.typeOperator(n)
	case opOrder: // of a function that is not the standard's sort()
		return k.compile(n.left)
	}
	return k.binary(n)
}

// operand compiles a part of an expression whose variables and knowledge of blanks end with it.
func (k *compiler) operand(n *node) *code {
	vars, filled := len(k.vars), len(k.filled)
	cd := k.compile(n)
	k.vars, k.filled = k.vars[:vars], k.filled[:filled]
	return cd
}

// lambda compiles an argument that is evaluated for each item.
func (k *compiler) lambda(n *node, item StaticType) *code {
	item.Single, item.MayBeEmpty, item.Blank = true, false, false
	k.scope = &scope{this: item, item: true, total: k.scope.total, parent: k.scope}
	cd := k.operand(n)
	k.scope = k.scope.parent
	return cd
}

func (k *compiler) inItem() bool {
	for s := k.scope; s != nil; s = s.parent {
		if s.item {
			return true
		}
	}
	return false
}

func (k *compiler) this(n *node) *code {
	if list := k.scope.list; list != nil {
		slot := *list
		return several(n, k.scope.this, func(c *Context, _ Value, out []Value) ([]Value, error) {
			return append(out, c.slots[slot]...), nil
		})
	}
	return single(n, k.scope.this, func(_ *Context, f Value) (Value, error) { return f, nil })
}

func (k *compiler) total(n *node) *code {
	if k.scope.total == nil {
		k.fault(n, "$total has no meaning here", "it is what aggregate() has summed up so far")
		return faulty(n)
	}
	return several(n, *k.scope.total, func(c *Context, _ Value, out []Value) ([]Value, error) {
		return append(out, c.total...), nil
	})
}

func (k *compiler) indexer(n *node) *code {
	left := k.compile(n.left)
	index := k.operand(n.right)
	k.ordered(left, n.right, "[…]")
	if !index.st.Kinds.Has(KindInteger) {
		k.fault(n.right, "an index is an Integer", "as in name[0]")
		return faulty(n)
	}
	st := left.st
	st.MayBeEmpty = true
	off := n.right.off
	cd := single(n, st, func(c *Context, f Value) (Value, error) {
		i, err := index.one(c, f)
		if err != nil || i.none() {
			return Value{}, err
		}
		if i.kind() != KindInteger {
			return Value{}, &Error{Code: codeType, Offset: off}
		}
		buf, err := left.many(c, f, c.take())
		if err != nil {
			return Value{}, err
		}
		var v Value
		if i.num >= 0 && i.num < int64(len(buf)) {
			v = buf[i.num]
		}
		c.give(buf)
		return v, nil
	})
	return fold(cd, left, index)
}

// ordered refuses a function that depends on the order of a collection that has none.
func (k *compiler) ordered(input *code, at *node, name string) {
	if k.env.Strict && input.st.Unordered {
		k.fault(at, name+" depends on an order that children() and descendants() do not have", "name the elements, or sort() first")
	}
}
