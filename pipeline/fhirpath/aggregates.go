package fhirpath

// addAggregates adds sum, avg, min and max (FHIRPath's continuous build, for trial use). All items must be of one
// family of types.
func (k *compiler) addAggregates(all map[string]builtin) {
	number := Set(KindInteger, KindDecimal)
	sum := func(c *Context, values []Value, off int) (Value, error) {
		total := c.quantity(values[0]).plain()
		for _, v := range values[1:] {
			var err error
			if total, err = c.calculate('+', total, v, off); err != nil || total.none() {
				return Value{}, err
			}
		}
		if !isNumber(total.kind()) && total.kind() != KindQuantity {
			return Value{}, &Error{Code: codeType, Offset: off}
		}
		return total, nil
	}
	add := func(name string, kinds Kinds, f func(c *Context, values []Value, off int) (Value, error)) {
		all[name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			if !k.wants(n, in, kinds, name+"()") {
				return faulty(n)
			}
			st := StaticType{MayBeEmpty: true}
			if in.st.Kinds != 0 && !in.st.Kinds.Has(KindObject) {
				st.Kinds = in.st.Kinds
			}
			if name == "avg" && st.Kinds != 0 {
				st.Kinds = st.Kinds&^Set(KindInteger) | Set(KindDecimal)
			}
			off := n.nameOff
			return reduce(n, in, st, func(c *Context, values []Value) (Value, error) {
				if len(values) == 0 {
					return Value{}, nil
				}
				return f(c, values, off)
			})
		}}
	}
	add("sum", number|Set(KindQuantity), sum)
	add("avg", number|Set(KindQuantity), func(c *Context, values []Value, off int) (Value, error) {
		total, err := sum(c, values, off)
		if err != nil || total.none() {
			return Value{}, err
		}
		return c.calculate('/', total, Integer(int64(len(values))), off)
	})
	extreme := func(wanted int) func(c *Context, values []Value, off int) (Value, error) {
		return func(c *Context, values []Value, off int) (Value, error) {
			best := values[0]
			if _, _, ok := c.compare(best, best); !ok {
				return Value{}, &Error{Code: codeType, Offset: off}
			}
			for _, v := range values[1:] {
				order, decided, ok := c.compare(v, best)
				switch {
				case !ok:
					return Value{}, &Error{Code: codeType, Offset: off}
				case !decided:
					return Value{}, nil
				case order == wanted:
					best = v
				}
			}
			return best, nil
		}
	}
	ordered := number | Set(KindString, KindDate, KindDateTime, KindTime, KindQuantity)
	add("min", ordered, extreme(-1))
	add("max", ordered, extreme(1))
}
