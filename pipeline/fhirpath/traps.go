package fhirpath

import "slices"

// The traps of FHIRPath over records (design.md, section 5). Each has a message of its own, because each is a mistake
// that looks right.

// position checks an expression that stands where a condition belongs.
func (k *compiler) position(cd *code) {
	if k.env.Record && cd.st.Cell {
		text := k.text(cd.n)
		k.fault(cd.n, "a cell is text: as a condition it is true whenever something is in it, even `false` or `0`",
			"write "+text+".exists(), "+text+" ~ 'Y' or "+text+".toBoolean()")
	}
}

// equalityTrap faults comparisons of a cell that can never be what they look like.
func (k *compiler) equalityTrap(n *node, left, right *code) bool {
	if !k.env.Record {
		return k.neverEqual(n, left, right)
	}
	for _, pair := range [][2]*code{{left, right}, {right, left}} {
		cell, other := pair[0], pair[1]
		if !cell.st.Cell {
			continue
		}
		text := k.text(cell.n)
		if other.constant && len(other.vals) == 1 && other.vals[0].kind() == KindString && other.vals[0].written() == "" {
			hint := "write " + text + ".exists()"
			if n.text == "=" || n.text == "~" {
				hint = "write " + text + ".empty()"
			}
			k.fault(n, "a blank cell is empty, never '': this is never "+map[bool]string{true: "true", false: "false"}[n.text[0] != '!'], hint)
			return true
		}
		if other.st.Kinds != 0 && !other.st.Kinds.Has(KindString) {
			k.fault(n, "a cell is text and never equals "+describe(other.st), k.cellHint(text, other.st))
			return true
		}
	}
	return k.neverEqual(n, left, right)
}

// neverEqual faults = between System types that have nothing in common, over records, where all types are known.
func (k *compiler) neverEqual(n *node, left, right *code) bool {
	a, b := left.st, right.st
	if !k.env.Record || a.Kinds == 0 || b.Kinds == 0 || a.Kinds.Has(KindObject) || b.Kinds.Has(KindObject) || a.Kinds&b.Kinds != 0 {
		return false
	}
	for _, family := range families {
		if a.Kinds&family != 0 && b.Kinds&family != 0 {
			return false
		}
	}
	k.fault(n, describe(a)+" never equals "+describe(b), "convert one of them")
	return true
}

// cellHint says how to make a cell what it is compared with.
func (k *compiler) cellHint(text string, other StaticType) string {
	switch {
	case other.Only(KindInteger, KindDecimal, KindQuantity):
		return "write " + text + "." + k.toNumber() + "()"
	case other.Only(KindDate, KindDateTime):
		return "write " + text + "." + k.toDate() + "()"
	case other.Only(KindBoolean):
		return "write " + text + ".toBoolean(), or compare with the text"
	}
	return ""
}

// inequalityTrap faults the ordering of a cell and something that is not text.
func (k *compiler) inequalityTrap(n *node, left, right *code) bool {
	if !k.env.Record {
		return false
	}
	for _, pair := range [][2]*code{{left, right}, {right, left}} {
		cell, other := pair[0], pair[1]
		if !cell.st.Cell || other.st.Kinds == 0 || other.st.Kinds.Has(KindString) {
			continue
		}
		what := describe(other.st)
		if other.st.Only(KindInteger, KindDecimal) {
			what = "a number"
		}
		k.fault(n, "`"+n.text+"` between a cell, which is text, and "+what, k.cellHint(k.text(cell.n), other.st))
		return true
	}
	return false
}

// arithmeticTrap faults sums of a cell and a number.
func (k *compiler) arithmeticTrap(n *node, left, right *code) bool {
	if !k.env.Record {
		return false
	}
	for _, pair := range [][2]*code{{left, right}, {right, left}} {
		cell, other := pair[0], pair[1]
		if !cell.st.Cell || other.st.Kinds == 0 || other.st.Kinds.Has(KindString) {
			continue
		}
		text := k.text(cell.n)
		hint := k.cellHint(text, other.st)
		if n.text == "+" {
			hint += ", or & to join texts"
		}
		what := describe(other.st)
		if other.st.Only(KindInteger, KindDecimal) {
			what = "a number"
		}
		k.fault(n, "`"+n.text+"` between a cell, which is text, and "+what, hint)
		return true
	}
	return false
}

// membershipTrap faults the empty text in a list that a cell is looked for in.
func (k *compiler) membershipTrap(n *node, item, list *code) bool {
	if !k.env.Record || !item.st.Cell || !list.constant {
		return false
	}
	text := k.text(item.n)
	numbers := 0
	for _, v := range list.vals {
		if v.kind() == KindString && v.written() == "" {
			k.fault(list.n, "a blank cell is empty, never '': it is in no list", "write "+text+".empty() or "+text+" in …")
			return true
		}
		if v.kind() != KindString {
			numbers++
		}
	}
	if numbers > 0 {
		k.fault(list.n, "a cell is text and is in no list of other things", "put the values in quotes, or convert "+text)
		return true
	}
	return false
}

// blankOperands remarks on = != + with a column that may be blank: the whole is empty then.
func (k *compiler) blankOperands(n *node, left, right *code) {
	if !k.env.Record {
		return
	}
	var blank *code
	switch {
	case left.st.Blank:
		blank = left
	case right.st.Blank:
		blank = right
	default:
		return
	}
	text := k.text(blank.n)
	switch n.text {
	case "+":
		k.finding(n, "where "+text+" is blank the whole sum is empty", "write & to join texts, or "+text+".exists() to say what then")
	case "=":
		k.finding(n, "where "+text+" is blank this is neither true nor false, but empty", "write ~ for false on a blank, or ask "+text+".exists() before")
	default:
		k.finding(n, "where "+text+" is blank this is neither true nor false, but empty", "write !~ for true on a blank, or ask "+text+".exists() before")
	}
}

// blankCondition remarks on a condition that a blank column makes empty, where that takes a branch in silence. An
// operator has had its own remark.
func (k *compiler) blankCondition(cd *code, function string) {
	if !k.env.Record || !cd.st.Blank || cd.st.Cell {
		return
	}
	if function == "iif" {
		k.finding(cd.n, "where the column is blank the condition is empty, and iif() takes the second branch", "ask .exists() before, or say so with ~")
		return
	}
	k.finding(cd.n, "where the column is blank the condition is empty, and the row is left out", "ask .exists() before, or say so with ~")
}

// filledBy adds to known the columns that are certainly not blank where the condition is true, or, with holds false,
// where it is not.
func (k *compiler) filledBy(n *node, known []column, holds bool) []column {
	if !k.env.Record || n == nil {
		return known
	}
	switch n.op {
	case opBinary:
		switch {
		case n.text == "and" && holds, n.text == "or" && !holds:
			return k.filledBy(n.right, k.filledBy(n.left, known, holds), holds)
		case holds && (n.text == "=" || n.text == "in" || n.text[0] == '<' || n.text[0] == '>'):
			known = k.addFilled(n.left, known)
			if n.text != "in" {
				known = k.addFilled(n.right, known)
			}
		case holds && n.text == "~" && n.right.op == opLiteral:
			known = k.addFilled(n.left, known)
		}
	case opCall:
		switch {
		case n.text == "exists" && holds && len(n.args) == 0, n.text == "empty" && !holds:
			known = k.addFilled(n.left, known)
		case n.text == "not" && len(n.args) == 0:
			// The negation of an empty condition is empty too, so that "not true" is not "false".
			if holds {
				return k.filledBy(n.left, known, false)
			}
			if n.left != nil && n.left.op == opCall && (n.left.text == "exists" || n.left.text == "empty") {
				return k.filledBy(n.left, known, true)
			}
		}
	}
	return known
}

func (k *compiler) addFilled(n *node, known []column) []column {
	if n == nil || n.op != opIdent || n.left != nil {
		return known
	}
	envs := []*Env{k.scope.this.Env}
	for env := k.env; env != nil; env = env.Outer {
		envs = append(envs, env)
	}
	for _, env := range envs {
		if env == nil {
			continue
		}
		if i := slices.Index(env.Columns, n.text); i >= 0 {
			return append(known[:len(known):len(known)], column{env, i})
		}
	}
	return known
}
