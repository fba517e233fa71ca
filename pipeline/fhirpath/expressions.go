package fhirpath

import (
	"regexp"
	"regexp/syntax"
	"strings"
)

// Limits of regular expressions: of their text, and of their compiled form, which can be much larger.
const (
	maxPattern = 4096
	maxProgram = 50_000
)

// addExpressions adds matches, matchesFull and replaceMatches. The expressions are RE2: linear in time, without
// look-around and back-references, which are refused.
func (k *compiler) addExpressions(all map[string]builtin) {
	text := Set(KindString)
	matcher := func(whole bool) func(k *compiler, n *node, in *code) *code {
		return func(k *compiler, n *node, in *code) *code {
			n, find, ok := k.pattern(n, 1, whole)
			if !ok {
				return faulty(n)
			}
			return k.scalar(n, in, KindBoolean, text, text, func(c *Context, v, a, _ Value) (Value, error) {
				p, err := find(a.written())
				if err == nil {
					err = p.spend(c, v.written())
				}
				if err != nil {
					return Value{}, err
				}
				return Boolean(p.re.MatchString(v.written())), nil
			})
		}
	}
	all["matches"] = builtin{1, 2, matcher(false)}
	all["matchesFull"] = builtin{1, 2, matcher(true)}
	all["replaceMatches"] = builtin{2, 3, func(k *compiler, n *node, in *code) *code {
		n, find, ok := k.pattern(n, 2, false)
		if !ok {
			return faulty(n)
		}
		return k.scalar(n, in, KindString, text, text, func(c *Context, v, a, b Value) (Value, error) {
			if a.written() == "" {
				return v.plain(), nil
			}
			p, err := find(a.written())
			if err == nil {
				err = p.spend(c, v.written())
			}
			if err != nil {
				return Value{}, err
			}
			if len(v.written())*(len(b.written())+1) > maxText {
				return Value{}, &Error{Code: codeText}
			}
			return String(p.re.ReplaceAllString(v.written(), template(b.written()))), nil
		})
	}}
}

// template is a substitution as Go writes it. $1 and ${name} refer to groups; any other dollar stands for itself, and
// what follows the digits is not part of the group's name.
func template(substitution string) string {
	if strings.IndexByte(substitution, '$') < 0 {
		return substitution
	}
	return references.ReplaceAllStringFunc(substitution, func(s string) string {
		switch {
		case s == "$":
			return "$$"
		case s[1] == '{':
			return s
		}
		return "${" + s[1:] + "}"
	})
}

var references = regexp.MustCompile(`\$(\d+|\{\w+\})?`)

// expression is a compiled regular expression and what it costs: the size of its program.
type expression struct {
	re   *regexp.Regexp
	size int
}

// spend counts the work of a match: the program may run once for each byte of the text.
func (e expression) spend(c *Context, text string) error {
	if c.steps -= 1 + e.size/8 + len(text)*e.size/1024; c.steps < 0 {
		return &Error{Code: codeSteps}
	}
	return nil
}

// pattern compiles the regular expression of a call, now if it is constant, else when it is met; last is the number of
// arguments without the flags. It returns the call without its flags.
func (k *compiler) pattern(n *node, last int, whole bool) (*node, func(text string) (expression, error), bool) {
	mode := "(?s"
	if len(n.args) > last {
		flags := k.operand(n.args[last])
		if !flags.constant && !flags.st.Literal || len(flags.vals) > 0 && flags.vals[0].kind() != KindString {
			k.fault(n.args[last], "the flags of "+n.text+"() are a constant text", "'i' looks past letter case, 'm' makes ^ and $ match at each line")
			return n, nil, false
		}
		for _, v := range flags.vals {
			if strings.Trim(v.written(), "im") != "" {
				k.fault(n.args[last], "unknown flag of "+n.text+"()", "'i' looks past letter case, 'm' makes ^ and $ match at each line")
				return n, nil, false
			}
			mode += v.written()
		}
		call := *n
		call.args = n.args[:last]
		n = &call
	}
	build := func(text string) (expression, error) {
		if len(text) > maxPattern {
			return expression{}, &Error{Code: "regex-too-long"}
		}
		form := mode + ":" + text + ")"
		if whole {
			form = `\A` + form + `\z`
		}
		_, alone := syntax.Parse(text, syntax.Perl) // what closes our group is not an expression of its own
		tree, err := syntax.Parse(form, syntax.Perl)
		if err != nil || alone != nil {
			return expression{}, &Error{Code: "regex-not-supported"}
		}
		program, err := syntax.Compile(tree.Simplify())
		if err != nil || len(program.Inst) > maxProgram {
			return expression{}, &Error{Code: "regex-not-supported"}
		}
		re, err := regexp.Compile(form)
		if err != nil {
			return expression{}, &Error{Code: "regex-not-supported"}
		}
		return expression{re, len(program.Inst)}, nil
	}
	arg := n.args[0]
	if arg.op != opLiteral || arg.value.kind() != KindString {
		return n, build, true
	}
	e, err := build(arg.value.written())
	if err != nil {
		k.fault(arg, "this regular expression cannot be used", "RE2 syntax: no look-around, no back-references, at most 4096 bytes")
		return n, build, true
	}
	return n, func(string) (expression, error) { return e, nil }, true
}
