package fhirpath

// addCollections adds existence, subsetting and combining (FHIRPath 2.0, 5.1, 5.3, 5.4).
func (k *compiler) addCollections(all map[string]builtin) {
	boolean := StaticType{Kinds: Set(KindBoolean)}
	all["empty"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code { return presence(n, in, false) }}
	all["exists"] = builtin{0, 1, func(k *compiler, n *node, in *code) *code {
		if len(n.args) == 0 {
			return presence(n, in, true)
		}
		return k.quantifier(n, in, func(t truth) (done, result bool) { return t == yes, true }, false)
	}}
	all["all"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.quantifier(n, in, func(t truth) (done, result bool) { return t != yes, false }, true)
	}}
	all["count"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return reduce(n, in, StaticType{Kinds: Set(KindInteger)}, func(_ *Context, values []Value) (Value, error) {
			return Integer(int64(len(values))), nil
		})
	}}
	for name, f := range map[string]struct {
		ask   truth // each value is asked whether it is this
		every bool  // of all, or of any
	}{"allTrue": {yes, true}, "anyTrue": {yes, false}, "allFalse": {no, true}, "anyFalse": {no, false}} {
		all[name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			if !k.wants(n, in, Set(KindBoolean), n.text+"()") {
				return faulty(n)
			}
			return reduce(n, in, boolean, func(_ *Context, values []Value) (Value, error) {
				for _, v := range values {
					// What is not a Boolean is neither true nor false.
					if is := v.kind() == KindBoolean && truthOf(v) == f.ask; is != f.every {
						return Boolean(is), nil
					}
				}
				return Boolean(f.every), nil
			})
		}}
	}
	all["subsetOf"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.pair(n, in, boolean, func(c *Context, a, b, out []Value) ([]Value, error) { return c.contained(a, b, out) })
	}}
	all["supersetOf"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.pair(n, in, boolean, func(c *Context, a, b, out []Value) ([]Value, error) { return c.contained(b, a, out) })
	}}
	all["distinct"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return gather(n, in, in.st, func(c *Context, values, out []Value) ([]Value, error) {
			return c.appendDistinct(values, out, len(out), n.nameOff)
		})
	}}
	all["isDistinct"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return reduce(n, in, boolean, func(c *Context, values []Value) (Value, error) {
			for i, v := range values {
				for _, w := range values[:i] {
					if err := c.Step(); err != nil {
						return Value{}, err
					}
					if c.same(v, w) {
						return Boolean(false), nil
					}
				}
			}
			return Boolean(true), nil
		})
	}}
	k.addSubsets(all)
	k.addCombining(all)
}

// presence is exists() and empty().
func presence(n *node, in *code, want bool) *code {
	st := StaticType{Kinds: Set(KindBoolean)}
	if in.text != nil {
		return fold(ofCond(n, st, presenceOf(in.text, want)), in)
	}
	if in.st.Single {
		return fold(single(n, st, func(c *Context, f Value) (Value, error) {
			v, err := in.one(c, f)
			return Boolean(v.none() != want), err
		}), in)
	}
	return reduce(n, in, st, func(_ *Context, values []Value) (Value, error) { return Boolean((len(values) > 0) == want), nil })
}

// quantifier is exists(criteria) and all(criteria).
func (k *compiler) quantifier(n *node, in *code, decide func(truth) (done, result bool), otherwise bool) *code {
	criteria := k.lambda(n.args[0], in.st)
	k.position(criteria)
	return fold(single(n, StaticType{Kinds: Set(KindBoolean)}, func(c *Context, f Value) (Value, error) {
		buf, err := in.many(c, f, c.take())
		if err != nil {
			return Value{}, err
		}
		outer, result := c.index, otherwise
		for i, v := range buf {
			c.index = int64(i)
			t, err := criteria.one(c, v)
			if err != nil {
				return Value{}, err
			}
			if done, r := decide(truthOf(t)); done {
				result = r
				break
			}
		}
		c.index = outer
		err = c.spend(len(buf), nil, n.nameOff)
		c.give(buf)
		return Boolean(result), err
	}), in, criteria)
}

// pair makes the code of a function of two collections: the input, and the argument over $this.
func (k *compiler) pair(n *node, in *code, st StaticType, f func(c *Context, a, b, out []Value) ([]Value, error)) *code {
	other := k.operand(n.args[0])
	cd := several(n, st, func(c *Context, focus Value, out []Value) ([]Value, error) {
		a, err := in.many(c, focus, c.take())
		if err != nil {
			return out, err
		}
		b, err := other.many(c, focus, c.take())
		if err != nil {
			return out, err
		}
		out, err = f(c, a, b, out)
		if err == nil {
			err = c.spend(len(a)+len(b), out, n.nameOff)
		}
		c.give(b)
		c.give(a)
		return out, err
	})
	if st.Kinds.Only(KindBoolean) {
		cd.st.Single = true
	}
	return fold(cd, in, other)
}

// contained appends whether every value of a is in b.
func (c *Context) contained(a, b, out []Value) ([]Value, error) {
	for _, v := range a {
		found, err := c.has(b, v)
		if err != nil {
			return out, err
		}
		if !found {
			return append(out, Boolean(false)), nil
		}
	}
	return append(out, Boolean(true)), nil
}

// has tells whether the collection has the value.
func (c *Context) has(values []Value, v Value) (bool, error) {
	for _, w := range values {
		if err := c.Step(); err != nil {
			return false, err
		}
		if c.same(v, w) {
			return true, nil
		}
	}
	return false, nil
}

// mayBeEmpty is the type of what may leave values out.
func mayBeEmpty(st StaticType) StaticType {
	st.MayBeEmpty = true
	return st
}

func (k *compiler) addSubsets(all map[string]builtin) {
	pick := func(choose func(values []Value) Value) func(k *compiler, n *node, in *code) *code {
		return func(k *compiler, n *node, in *code) *code {
			k.ordered(in, n, n.text+"()")
			if in.st.Single {
				return in
			}
			return reduce(n, in, in.st, func(_ *Context, values []Value) (Value, error) {
				if len(values) == 0 {
					return Value{}, nil
				}
				return choose(values), nil
			})
		}
	}
	all["first"] = builtin{0, 0, pick(func(values []Value) Value { return values[0] })}
	all["last"] = builtin{0, 0, pick(func(values []Value) Value { return values[len(values)-1] })}
	all["single"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		return fold(single(n, in.st, in.one), in)
	}}
	all["tail"] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
		k.ordered(in, n, "tail()")
		return gather(n, in, mayBeEmpty(in.st), func(_ *Context, values, out []Value) ([]Value, error) {
			if len(values) > 1 {
				out = append(out, values[1:]...)
			}
			return out, nil
		})
	}}
	slice := func(cut func(values []Value, i int) []Value) func(k *compiler, n *node, in *code) *code {
		return func(k *compiler, n *node, in *code) *code {
			k.ordered(in, n, n.text+"()")
			count := k.operand(n.args[0])
			if !k.wants(n, count, Set(KindInteger), "the argument of "+n.text+"()") {
				return faulty(n)
			}
			st := in.st
			st.MayBeEmpty = true
			return fold(several(n, st, func(c *Context, f Value, out []Value) ([]Value, error) {
				i, err := count.one(c, f)
				if err != nil || i.none() {
					return out, err
				}
				if i.kind() != KindInteger {
					return out, &Error{Code: codeType, Offset: n.nameOff}
				}
				buf, err := in.many(c, f, c.take())
				if err != nil {
					return out, err
				}
				out = append(out, cut(buf, int(min(max(i.num, 0), int64(len(buf)))))...)
				err = c.spend(len(buf), out, n.nameOff)
				c.give(buf)
				return out, err
			}), in, count)
		}
	}
	all["skip"] = builtin{1, 1, slice(func(values []Value, i int) []Value { return values[i:] })}
	all["take"] = builtin{1, 1, slice(func(values []Value, i int) []Value { return values[:i] })}
	all["intersect"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.pair(n, in, mayBeEmpty(in.st), func(c *Context, a, b, out []Value) ([]Value, error) {
			start := len(out)
			for _, v := range a {
				found, err := c.has(b, v)
				if err != nil {
					return out, err
				}
				if !found {
					continue
				}
				if found, err = c.has(out[start:], v); err != nil {
					return out, err
				}
				if !found {
					out = append(out, v)
				}
			}
			return out, nil
		})
	}}
	all["exclude"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.pair(n, in, mayBeEmpty(in.st), func(c *Context, a, b, out []Value) ([]Value, error) {
			for _, v := range a {
				found, err := c.has(b, v)
				if err != nil {
					return out, err
				}
				if !found {
					out = append(out, v)
				}
			}
			return out, nil
		})
	}}
}

func (k *compiler) addCombining(all map[string]builtin) {
	all["union"] = builtin{1, 1, func(k *compiler, n *node, in *code) *code {
		return k.union(n, in, k.operand(n.args[0]))
	}}
	all["combine"] = builtin{1, 2, func(k *compiler, n *node, in *code) *code {
		other := k.operand(n.args[0])
		if len(n.args) == 2 { // whether to keep the order: it is kept in any case
			if order := k.operand(n.args[1]); !k.wants(n, order, Set(KindBoolean), "the second argument of combine()") {
				return faulty(n)
			}
		}
		return fold(several(n, joinTypes(in.st, other.st), func(c *Context, f Value, out []Value) ([]Value, error) {
			out, err := in.many(c, f, out)
			if err != nil {
				return out, err
			}
			if out, err = other.many(c, f, out); err == nil {
				err = c.spend(1, out, n.nameOff)
			}
			return out, err
		}), in, other)
	}}
}
