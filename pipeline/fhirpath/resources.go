package fhirpath

import (
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// addResources adds tree navigation and what FHIR adds to FHIRPath (fhirpath.html#functions).
func (k *compiler) addResources(all map[string]builtin) {
	boolean := StaticType{Kinds: Set(KindBoolean), MayBeEmpty: true}
	any := StaticType{MayBeEmpty: true, Unordered: true}
	all["children"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return gather(n, in, any, func(c *Context, values, out []Value) ([]Value, error) {
			for _, v := range values {
				out = c.children(v, out)
			}
			return out, nil
		})
	}}
	all["descendants"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return gather(n, in, any, func(c *Context, values, out []Value) ([]Value, error) {
			var err error
			for _, v := range values {
				if out, err = c.descendants(v, out, n.nameOff); err != nil {
					break
				}
			}
			return out, err
		})
	}}
	all["extension"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		url := k.operand(n.args[0])
		if !k.wants(n, url, Set(KindString), "the argument of extension()") {
			return faulty(n)
		}
		st := StaticType{Kinds: Set(KindObject), FHIR: fhir.Lookup("Extension"), MayBeEmpty: true}
		return several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
			want, err := url.one(c, f)
			if err != nil || want.none() {
				return out, err
			}
			buf, err := in.many(c, f, c.take())
			if err != nil {
				return out, err
			}
			for _, v := range buf {
				list := v.extensions()
				for i := range list {
					if list[i].Get("url").Str() == want.written() {
						out = append(out, valueOf(list[i], st.FHIR))
					}
				}
			}
			err = c.spend(len(buf), out, n.nameOff)
			c.give(buf)
			return out, err
		})
	}}
	all["hasValue"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return reduce(n, in, boolean, func(_ *Context, values []Value) (Value, error) {
			return Boolean(len(values) == 1 && values[0].kind() < KindQuantity), nil
		})
	}}
	all["getValue"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		st := in.st
		st.FHIR, st.Choice, st.MayBeEmpty = nil, nil, true
		return reduce(n, in, st, func(_ *Context, values []Value) (Value, error) {
			if len(values) == 1 && values[0].kind() < KindQuantity {
				return values[0].plain(), nil
			}
			return Value{}, nil
		})
	}}
	all["resolve"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		k.usesRoot = true
		return gathered(n, in, StaticType{Kinds: Set(KindObject), MayBeEmpty: true}, func(c *Context, values, out []Value) ([]Value, error) {
			for _, v := range values {
				if found := c.resolve(v); !found.none() {
					out = append(out, found)
				}
			}
			return out, nil
		})
	}}
	all["checkModifiers"] = builtin{0, -1, (*compiler).checkModifiers}
	all["conformsTo"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.scalar(n, in, KindBoolean, 0, Set(KindString), conformsTo)
	}}
	codes := k.terminology()
	all["memberOf"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.scalar(n, alone(n, in), KindBoolean, Set(KindString, KindObject), Set(KindString), func(c *Context, v, url, _ Value) (Value, error) {
			return c.decided(memberOf(codes, v, url.written())), nil
		})
	}}
	for _, name := range []string{"subsumes", "subsumedBy"} {
		all[name] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
			return k.scalar(n, in, KindBoolean, Set(KindString, KindObject), Set(KindString, KindObject), func(c *Context, v, o, _ Value) (Value, error) {
				if name == "subsumedBy" {
					v, o = o, v
				}
				return c.decided(subsumes(codes, v, o)), nil
			})
		}}
	}
	all["htmlChecks"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return k.scalar(n, in, KindBoolean, Set(KindString), 0, func(_ *Context, v, _, _ Value) (Value, error) {
			allowed, content := fhir.CheckNarrative(v.written())
			return Boolean(allowed && content), nil
		})
	}}
}

// children appends the elements of a value, in the order of its JSON.
func (c *Context) children(v Value, out []Value) []Value {
	if v.element() == nil || v.kind() == KindQuantity {
		return out
	}
	for i := range v.element().Members {
		m := &v.element().Members[i]
		name, only := strings.CutPrefix(m.Name, "_")
		if only && v.element().Get(name) != nil || name == "resourceType" {
			continue
		}
		_, t := v.model().Element(name)
		if only {
			out = appendNode(c, nil, m.Value, t, out)
			continue
		}
		var under *fhir.Node
		if t != nil && t.Kind == fhir.KindPrimitive {
			under = v.element().Get("_" + name)
		}
		out = appendNode(c, m.Value, under, t, out)
	}
	return out
}

func (c *Context) descendants(v Value, out []Value, off int) ([]Value, error) {
	start := len(out)
	out = c.children(v, out)
	if err := c.spend(1+len(out)-start, out, off); err != nil {
		return out, err
	}
	for i, end := start, len(out); i < end; i++ {
		var err error
		if out, err = c.descendants(out[i], out, off); err != nil {
			return out, err
		}
	}
	return out, nil
}

// extensions are the extension nodes of a value.
func (v Value) extensions() []*fhir.Node {
	if v.kind() == KindQuantity {
		return nil
	}
	list := v.element().Get("extension")
	if list == nil {
		return nil
	}
	return list.Items
}
