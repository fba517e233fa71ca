package fhirpath

// addComponents adds the parts of dates and times, and what lies between two of them (FHIRPath's continuous build, for
// trial use).
func (k *compiler) addComponents(all map[string]builtin) {
	part := func(name string, result Kind, take func(c *Context, v Value) Value) {
		all[name] = builtin{0, 0, func(k *compiler, n *node, in *code) *code {
			return k.scalar(n, in, result, 0, 0, func(c *Context, v, _, _ Value) (Value, error) {
				if !isDate(v.kind()) && v.kind() != KindTime {
					return Value{}, nil
				}
				return take(c, v), nil
			})
		}}
	}
	civil := func(name string, least uint8, of func(y, m, d int) int) {
		part(name, KindInteger, func(_ *Context, v Value) Value {
			if v.kind() == KindTime || v.prec() < least {
				return Value{}
			}
			return Integer(int64(of(civilOf(v.num / tickDay))))
		})
	}
	civil("yearOf", precYear, func(y, _, _ int) int { return y })
	civil("monthOf", precMonth, func(_, m, _ int) int { return m })
	civil("dayOf", precDay, func(_, _, d int) int { return d })
	clock := func(name string, least uint8, whole, unit int64) {
		part(name, KindInteger, func(_ *Context, v Value) Value {
			if v.prec() < least {
				return Value{}
			}
			return Integer(v.num % whole / unit)
		})
	}
	clock("hourOf", precHour, tickDay, tickHour)
	clock("minuteOf", precMinute, tickHour, tickMinute)
	clock("secondOf", precSecond, tickMinute, tickSecond)
	clock("millisecondOf", precFraction, tickSecond, tickSecond/1000)
	part("timezoneOffsetOf", KindDecimal, func(_ *Context, v Value) Value {
		if !v.has(flagZone) {
			return Value{}
		}
		hours := Value{meta: metaOf(KindDecimal, 2), num: int64(v.zone()) * 100 / 60}
		if v.zone()%60 == 0 {
			hours = Value{meta: metaOf(KindDecimal, 1), num: int64(v.zone()/60) * 10}
		}
		return hours
	})
	part("dateOf", KindDate, func(_ *Context, v Value) Value {
		if v.kind() == KindTime {
			return Value{}
		}
		d, _ := parseDate(v.written()[:min(10, len(v.written()))])
		return d
	})
	part("timeOf", KindTime, func(_ *Context, v Value) Value {
		if v.kind() != KindDateTime || v.prec() < precHour {
			return Value{}
		}
		t, _ := parseTime(v.written()[11 : len(v.written())-len(v.zoneText())])
		return t
	})
	between := func(name string, count func(unit timeUnit, a, b Value) int64) {
		all[name] = builtin{2, 2, func(k *compiler, n *node, in *code) *code {
			temporal := Set(KindDate, KindDateTime, KindTime)
			return k.scalar(n, in, KindInteger, temporal, temporal|Set(KindString), func(_ *Context, a, b, word Value) (Value, error) {
				unit := calendarUnit(word.written())
				time := a.kind() == KindTime
				switch {
				case unit == unitNone || word.kind() != KindString:
					return Value{}, &Error{Code: "unit-not-of-time"}
				case time != (b.kind() == KindTime) || time && unit < unitHour || a.kind() == KindDate && b.kind() == KindDate && unit > unitDay:
					return Value{}, &Error{Code: codeType}
				case a.prec() < precOf[unit] || b.prec() < precOf[unit]:
					return Value{}, nil
				}
				if unit >= unitHour && !time {
					if a.has(flagZone) != b.has(flagZone) {
						return Value{}, nil
					}
					a.num, b.num = a.num-int64(a.zone())*tickMinute, b.num-int64(b.zone())*tickMinute
				}
				return integerOrNone(count(unit, a, b)), nil
			})
		}}
	}
	between("duration", wholeUnits)
	between("difference", boundaries)
}

// precOf is the precision that a value needs to count a unit.
var precOf = [...]uint8{unitYear: precYear, unitMonth: precMonth, unitWeek: precDay, unitDay: precDay, unitHour: precHour,
	unitMinute: precMinute, unitSecond: precSecond, unitMillisecond: precFraction}

// wholeUnits counts the whole units from a to b, negative if b is the earlier.
func wholeUnits(unit timeUnit, a, b Value) int64 {
	if unit > unitMonth {
		return (b.num - a.num) / unitTicks[unit]
	}
	if a.num > b.num {
		return -wholeUnits(unit, b, a)
	}
	ya, ma, da := civilOf(a.num / tickDay)
	yb, mb, db := civilOf(b.num / tickDay)
	months := int64(yb-ya)*12 + int64(mb-ma)
	if db < da || db == da && b.num%tickDay < a.num%tickDay {
		months--
	}
	if unit == unitYear {
		return months / 12
	}
	return months
}

// boundaries counts the starts of units that lie between a and b. Weeks start on Sundays.
func boundaries(unit timeUnit, a, b Value) int64 {
	index := func(v Value) int64 {
		y, m, _ := civilOf(v.num / tickDay)
		switch unit {
		case unitYear:
			return int64(y)
		case unitMonth:
			return int64(y)*12 + int64(m)
		case unitWeek: // the first day of the first year was a Monday
			return (v.num/tickDay + 1) / 7
		}
		return floorDiv(v.num, unitTicks[unit])
	}
	return index(b) - index(a)
}

// floorDiv divides ticks, which are negative only where a zone shifts the first day of the calendar.
func floorDiv(a, b int64) int64 {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}
