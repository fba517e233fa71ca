package sqldump

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// function does one of the calls that dumps are written with; no tool leaves the evaluation of anything else to the
// database. Its arguments, none of which is NULL or DEFAULT, lie one behind the other at the end of the arena, from `at`
// on, and the result takes their place. It returns false for arguments that it does not take.
type function func(v *values, at int, args []value) (value, bool)

// functions are those of each dialect, by their names in upper case.
var functions = [...][]struct {
	name string
	do   function
}{
	mysql:     {{"UNHEX", fromHex}, {"CHAR", fromASCII}},
	postgres:  {{"CHR", fromCode}},
	sqlserver: {{"CHAR", fromASCII}, {"NCHAR", fromCode}},
	sqlite:    {{"UNISTR", unistrLong}, {"REPLACE", replace}, {"CHAR", fromCode}},
	oracle: {{"EMPTY_CLOB", empty}, {"EMPTY_BLOB", empty}, {"TO_CLOB", same}, {"TO_NCLOB", same}, {"TO_CHAR", same},
		{"TO_NCHAR", same}, {"TO_BLOB", same}, {"XMLTYPE", same}, {"TO_NUMBER", same}, {"HEXTORAW", fromHex}, {"TO_DATE", toDate},
		{"TO_TIMESTAMP", toDate}, {"TO_TIMESTAMP_TZ", toDate}, {"UNISTR", unistr}, {"CHR", fromASCII}},
}

// function finds a function by its name; nil if there is none.
func (d dialect) function(name []byte) function {
	for _, f := range functions[d] {
		if equalFold(name, f.name) {
			return f.do
		}
	}
	return nil
}

// call reads the arguments of a call, behind its parenthesis, and does it. x is empty and begins where the arguments will.
func (v *values) call(f function, x value, nesting int) (value, flaw) {
	const most = 16
	before := len(v.args)
	defer func() { v.args = v.args[:before] }()
	computable := f != nil
	for v.s.solid() != ')' {
		if len(v.args)-before == most {
			return x, expression
		}
		arg, f := v.value(nesting + 1)
		if f != flawless {
			return x, f
		}
		computable = computable && arg.kind != valueDefault && arg.kind != valueNull
		v.args = append(v.args, arg)
		if v.s.solid() == ',' {
			v.s.pos++
		} else if v.s.solid() != ')' {
			return x, expression
		}
	}
	if f := v.close(); f != flawless {
		return x, f
	}
	if v.over {
		return x, flawless // refused anyway
	}
	if !computable {
		return x, expression
	}
	x, ok := f(v, x.start, v.args[before:])
	if !ok {
		return x, expression
	}
	return x, flawless
}

// text is that of a value.
func (v *values) text(x value) []byte { return v.arena[x.start:x.end] }

// result puts a text in the place of the arguments. It must not lie in the arena.
func (v *values) result(at int, text []byte) value {
	v.arena = append(v.arena[:at], text...)
	return value{at, len(v.arena), valueText}
}

func empty(_ *values, at int, args []value) (value, bool) {
	return value{at, at, valueNull}, len(args) == 0
}

func same(_ *values, _ int, args []value) (value, bool) {
	if len(args) != 1 {
		return value{}, false
	}
	return args[0], true
}

func fromHex(v *values, _ int, args []value) (value, bool) {
	return first(args, v.unhex)
}

func unistr(v *values, _ int, args []value) (value, bool) {
	return first(args, func(x *value) bool { return v.unescape(x, false) })
}

func unistrLong(v *values, _ int, args []value) (value, bool) {
	return first(args, func(x *value) bool { return v.unescape(x, true) })
}

// first is the only argument, changed.
func first(args []value, change func(*value) bool) (value, bool) {
	if len(args) != 1 {
		return value{}, false
	}
	ok := change(&args[0])
	return args[0], ok
}

// toDate also takes the settings of a language as a third argument; they do not matter for what is read.
func toDate(v *values, at int, args []value) (value, bool) {
	if len(args) < 2 {
		return value{}, false
	}
	text, ok := v.models.find(v.text(args[1])).append(v.scratch[:0], v.text(args[0]))
	v.scratch = text
	return v.result(at, text), ok
}

// replace puts one text in the place of another, wherever that stands.
func replace(v *values, at int, args []value) (value, bool) {
	if len(args) != 3 {
		return value{}, false
	}
	text, old, with := v.text(args[0]), v.text(args[1]), v.text(args[2])
	n := 0
	if len(old) > 0 {
		n = bytes.Count(text, old)
	}
	if n == 0 {
		v.arena = v.arena[:args[0].end]
		return value{args[0].start, args[0].end, valueText}, true
	}
	if len(text)+n*(len(with)-len(old)) > v.limit {
		v.over = true
		return value{}, true
	}
	out := v.scratch[:0]
	for range n {
		i := bytes.Index(text, old)
		out = append(append(out, text[:i]...), with...)
		text = text[i+len(old):]
	}
	v.scratch = append(out, text...)
	return v.result(at, v.scratch), true
}

// fromCode makes a text of the code points of its characters; fromASCII where the others depend on a code page.
func fromCode(v *values, at int, args []value) (value, bool) {
	return v.characters(at, args, utf8.MaxRune)
}

func fromASCII(v *values, at int, args []value) (value, bool) {
	return v.characters(at, args, utf8.RuneSelf-1)
}

func (v *values) characters(at int, args []value, most rune) (value, bool) {
	text := v.scratch[:0]
	for _, a := range args {
		n, err := strconv.ParseUint(string(v.text(a)), 10, 21)
		if r := rune(n); err != nil || r > most || !utf8.ValidRune(r) {
			return value{}, false
		}
		text = utf8.AppendRune(text, rune(n))
	}
	v.scratch = text
	return v.result(at, text), true
}

// unescape turns \xxxx in a text, the last in the arena, into characters. long: also \uXXXX, \UXXXXXXXX and \+XXXXXX, as
// unistr() of SQLite and U&” have them. A doubled backslash is one. Pairs of surrogates are one character.
func (v *values) unescape(x *value, long bool) bool {
	text := v.text(*x)
	n := 0 // of the text, unescaped: never more than was read
	var high rune
	for i := 0; i < len(text); {
		if text[i] != '\\' {
			if high != 0 {
				return false
			}
			end := len(text)
			if j := bytes.IndexByte(text[i:], '\\'); j >= 0 {
				end = i + j
			}
			n += copy(text[n:], text[i:end])
			i = end
			continue
		}
		i++
		if i < len(text) && text[i] == '\\' && high == 0 {
			text[n] = '\\'
			n++
			i++
			continue
		}
		digits := 4
		if long && i < len(text) {
			switch text[i] {
			case 'u':
				i++
			case 'U':
				digits = 8
				i++
			case '+':
				digits = 6
				i++
			}
		}
		if i+digits > len(text) {
			return false
		}
		code, err := strconv.ParseUint(string(text[i:i+digits]), 16, 32)
		if err != nil {
			return false
		}
		i += digits
		r := rune(code)
		switch {
		case high != 0:
			if r < 0xDC00 || r > 0xDFFF {
				return false
			}
			r = 0x10000 + (high-0xD800)<<10 + (r - 0xDC00)
			high = 0
		case r >= 0xD800 && r < 0xDC00:
			high = r
			continue
		}
		if code > utf8.MaxRune || !utf8.ValidRune(r) {
			return false
		}
		n += utf8.EncodeRune(text[n:], r)
	}
	v.arena = v.arena[:x.start+n]
	x.end = len(v.arena)
	return high == 0
}
