package fhirpath

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// addTexts adds the functions over text (FHIRPath 2.0, 5.6). Positions and lengths count characters.
func (k *compiler) addTexts(all map[string]builtin) {
	text := Set(KindString)
	simple := func(name string, least, most int, result Kind, argument Kinds, f func(c *Context, v, a, b Value) (Value, error)) {
		all[name] = builtin{least, most, func(k *compiler, n *node, in *code) *code {
			return k.scalar(n, in, result, text, argument, f)
		}}
	}
	predicate := func(name string, f func(s, part string) bool) {
		all[name] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
			cd := k.scalar(n, in, KindBoolean, text, text, func(_ *Context, v, a, _ Value) (Value, error) { return Boolean(f(v.written(), a.written())), nil })
			if arg := n.args[0]; in.text != nil && !cd.constant && arg.op == opLiteral && arg.value.kind() == KindString {
				return ofCond(n, cd.st, partOf(name, in.text, arg.value.written()))
			}
			return cd
		}}
	}
	predicate("startsWith", strings.HasPrefix)
	predicate("endsWith", strings.HasSuffix)
	predicate("contains", strings.Contains)
	mapped := func(name string, f func(s string) string) {
		simple(name, 0, 0, KindString, text, func(_ *Context, v, _, _ Value) (Value, error) { return String(f(v.written())), nil })
	}
	mapped("upper", strings.ToUpper)
	mapped("lower", strings.ToLower)
	mapped("trim", func(s string) string { return strings.Trim(s, " \t\r\n") })
	simple("length", 0, 0, KindInteger, text, func(_ *Context, v, _, _ Value) (Value, error) {
		return Integer(int64(utf8.RuneCountInString(v.written()))), nil
	})
	position := func(name string, find func(s, part string) int) {
		simple(name, 1, 1, KindInteger, text, func(_ *Context, v, a, _ Value) (Value, error) {
			i := find(v.written(), a.written())
			if i > 0 {
				i = utf8.RuneCountInString(v.written()[:i])
			}
			return Integer(int64(i)), nil
		})
	}
	position("indexOf", strings.Index)
	position("lastIndexOf", strings.LastIndex)
	all["substring"] = builtin{1, 2, func(k *compiler, n *node, in *code) *code {
		integer := Set(KindInteger)
		return k.scalarOr(n, in, KindString, text, integer, true, func(_ *Context, v, from, count Value) (Value, error) {
			return substring(v.written(), from.num, count.num, !count.none()), nil
		})
	}}
	simple("replace", 2, 2, KindString, text, func(_ *Context, v, a, b Value) (Value, error) {
		if n := strings.Count(v.written(), a.written()); len(v.written())+n*(len(b.written())-len(a.written())) > maxText {
			return Value{}, &Error{Code: codeText}
		}
		return String(strings.ReplaceAll(v.written(), a.written(), b.written())), nil
	})
	coder := func(name string, f func(s, form string) (string, bool)) {
		simple(name, 1, 1, KindString, text, func(_ *Context, v, a, _ Value) (Value, error) {
			s, ok := f(v.written(), a.written())
			if !ok {
				return Value{}, nil
			}
			if len(s) > maxText {
				return Value{}, &Error{Code: codeText}
			}
			return String(s), nil
		})
	}
	coder("encode", encode)
	coder("decode", decode)
	coder("escape", escape)
	coder("unescape", unescape)
	k.addLists(all)
	k.addExpressions(all)
}

func substring(s string, from, count int64, limited bool) Value {
	if from < 0 {
		return Value{}
	}
	if limited && count <= 0 {
		if from < int64(utf8.RuneCountInString(s)) {
			return String("")
		}
		return Value{}
	}
	start := -1
	var seen int64
	for i := range s {
		if seen == from {
			start = i
		}
		if start >= 0 && limited && seen == from+count {
			return String(s[start:i])
		}
		seen++
	}
	if start < 0 {
		return Value{}
	}
	return String(s[start:])
}

func encode(s, form string) (string, bool) {
	switch form {
	case "hex":
		return hex.EncodeToString([]byte(s)), true
	case "base64":
		return base64.StdEncoding.EncodeToString([]byte(s)), true
	case "urlbase64":
		return base64.URLEncoding.EncodeToString([]byte(s)), true
	case "ascii":
		return strings.Map(func(r rune) rune {
			if r > 127 {
				return '?'
			}
			return r
		}, s), true
	}
	return "", false
}

func decode(s, form string) (string, bool) {
	var b []byte
	var err error
	switch form {
	case "hex":
		b, err = hex.DecodeString(s)
	case "base64":
		b, err = base64.StdEncoding.DecodeString(s)
	case "urlbase64":
		b, err = base64.URLEncoding.DecodeString(s)
	default:
		return "", false
	}
	return string(b), err == nil && utf8.Valid(b)
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

func escape(s, form string) (string, bool) {
	switch form {
	case "html":
		return htmlEscaper.Replace(s), true
	case "json":
		quoted := fhir.AppendString(nil, s)
		return string(quoted[1 : len(quoted)-1]), true
	}
	return "", false
}

func unescape(s, form string) (string, bool) {
	switch form {
	case "html":
		return html.UnescapeString(s), true
	case "json":
		n, err := fhir.Parse([]byte(`"` + s + `"`))
		if err != nil || n.Kind != fhir.String {
			return "", false
		}
		return n.Text, true
	}
	return "", false
}

func (k *compiler) addLists(all map[string]builtin) {
	list := StaticType{Kinds: Set(KindString), MayBeEmpty: true}
	all["toChars"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		if !k.wants(n, in, Set(KindString), "toChars()") {
			return faulty(n)
		}
		return fold(several(n, list, func(c *Context, f Value, out []Value) ([]Value, error) {
			v, err := in.one(c, f)
			if err != nil || v.none() {
				return out, err
			}
			if v.kind() != KindString {
				return out, &Error{Code: codeType, Offset: n.nameOff}
			}
			for rest := v.written(); rest != ""; {
				_, size := utf8.DecodeRuneInString(rest)
				out = append(out, String(rest[:size]))
				rest = rest[size:]
			}
			return out, c.spend(len(v.written()), out, n.nameOff)
		}), in)
	}}
	all["split"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		by := k.operand(n.args[0])
		if !k.wants(n, in, Set(KindString), "split()") || !k.wants(n, by, Set(KindString), "the separator of split()") {
			return faulty(n)
		}
		return fold(several(n, list, func(c *Context, f Value, out []Value) ([]Value, error) {
			v, err := in.one(c, f)
			if err != nil || v.none() {
				return out, err
			}
			sep, err := by.one(c, f)
			if err != nil || sep.none() {
				return out, err
			}
			if v.kind() != KindString || sep.kind() != KindString {
				return out, &Error{Code: codeType, Offset: n.nameOff}
			}
			rest := v.written()
			for {
				i := strings.Index(rest, sep.written())
				if sep.written() == "" && rest != "" {
					_, i = utf8.DecodeRuneInString(rest)
				}
				if i < 0 || sep.written() == "" && i >= len(rest) {
					break
				}
				out = append(out, String(rest[:i]))
				rest = rest[i+len(sep.written()):]
				if err := c.spend(1, out, n.nameOff); err != nil {
					return out, err
				}
			}
			return append(out, String(rest)), nil
		}), in, by)
	}}
	all["join"] = builtin{0, 1, func(k *compiler, n *node, in *code) *code {
		if !k.wants(n, in, Set(KindString), "join()") {
			return faulty(n)
		}
		by := constantCode(n, StaticType{Kinds: Set(KindString), Single: true}, []Value{String("")})
		if len(n.args) == 1 {
			if by = k.operand(n.args[0]); !k.wants(n, by, Set(KindString), "the separator of join()") {
				return faulty(n)
			}
		}
		return fold(single(n, StaticType{Kinds: Set(KindString), MayBeEmpty: true}, func(c *Context, f Value) (Value, error) {
			sep, err := by.one(c, f)
			if err != nil {
				return Value{}, err
			}
			buf, err := in.many(c, f, c.take())
			if err != nil {
				return Value{}, err
			}
			size := 0
			buf = slices.DeleteFunc(buf, Value.valueless)
			for _, v := range buf {
				if v.kind() != KindString {
					return Value{}, &Error{Code: codeType, Offset: n.nameOff}
				}
				if size += len(v.written()) + len(sep.written()); size > maxText {
					return Value{}, &Error{Code: codeText, Offset: n.nameOff}
				}
			}
			var joined Value
			switch len(buf) {
			case 0:
			case 1:
				joined = String(buf[0].written())
			default:
				b := make([]byte, 0, size)
				for i, v := range buf {
					if i > 0 {
						b = append(b, sep.written()...)
					}
					b = append(b, v.written()...)
				}
				joined = String(string(b))
			}
			err = c.spend(len(buf), nil, n.nameOff)
			c.give(buf)
			return joined, err
		}), in, by)
	}}
}
