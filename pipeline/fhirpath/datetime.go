package fhirpath

import "time"

// Precisions of dates and times, as kept in Value.meta.
const (
	precYear uint8 = 1 + iota
	precMonth
	precDay
	precHour
	precMinute
	precSecond
	precFraction
)

// Dates and times are kept as ticks of 100 ns, dates since 0001-01-01 and times since midnight, in their own zone. A
// tick is as fine as an int64 can be over ten thousand years; finer fractions are kept in the text only.
const (
	tickSecond = int64(10_000_000)
	tickMinute = 60 * tickSecond
	tickHour   = 60 * tickMinute
	tickDay    = 24 * tickHour
)

// daysOf counts the days from 0001-01-01 to a day of the proleptic Gregorian calendar.
func daysOf(y, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*(m-3)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 306
}

// civilOf is the inverse of daysOf.
func civilOf(days int64) (y, m, d int) {
	z := days + 306
	era := z / 146097
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = int(doy - (153*mp+2)/5 + 1)
	m = int(mp + 3)
	y = int(yoe + era*400)
	if m > 12 {
		m -= 12
		y++
	}
	return y, m, d
}

func daysIn(y, m int) int {
	switch m {
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// digits reads n decimal digits at s[i:].
func digits(s string, i, n int) (int, bool) {
	if i+n > len(s) {
		return 0, false
	}
	v := 0
	for _, c := range []byte(s[i : i+n]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	return v, true
}

// scanDate reads YYYY(-MM(-DD)?)? at the start of s and returns the rest.
func scanDate(s string) (ticks int64, prec uint8, rest string, ok bool) {
	y, ok := digits(s, 0, 4)
	if !ok || y == 0 {
		return 0, 0, s, false
	}
	if len(s) < 5 || s[4] != '-' {
		return daysOf(y, 1, 1) * tickDay, precYear, s[4:], true
	}
	m, ok := digits(s, 5, 2)
	if !ok || m < 1 || m > 12 {
		return 0, 0, s, false
	}
	if len(s) < 8 || s[7] != '-' {
		return daysOf(y, m, 1) * tickDay, precMonth, s[7:], true
	}
	d, ok := digits(s, 8, 2)
	if !ok || d < 1 || d > daysIn(y, m) {
		return 0, 0, s, false
	}
	return daysOf(y, m, d) * tickDay, precDay, s[10:], true
}

// scanTime reads HH(:mm(:ss(.f+)?)?)? at the start of s and returns the rest. A leap second (60) is allowed, as FHIR
// does.
func scanTime(s string) (ticks int64, prec uint8, rest string, ok bool) {
	h, ok := digits(s, 0, 2)
	if !ok || h > 23 {
		return 0, 0, s, false
	}
	ticks = int64(h) * tickHour
	if len(s) < 3 || s[2] != ':' {
		return ticks, precHour, s[2:], true
	}
	m, ok := digits(s, 3, 2)
	if !ok || m > 59 {
		return 0, 0, s, false
	}
	ticks += int64(m) * tickMinute
	if len(s) < 6 || s[5] != ':' {
		return ticks, precMinute, s[5:], true
	}
	sec, ok := digits(s, 6, 2)
	if !ok || sec > 60 {
		return 0, 0, s, false
	}
	ticks += int64(sec) * tickSecond
	if len(s) < 9 || s[8] != '.' {
		return ticks, precSecond, s[8:], true
	}
	i, unit := 9, tickSecond/10
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		ticks += int64(s[i]-'0') * unit
		unit /= 10
	}
	if i == 9 {
		return 0, 0, s, false
	}
	return ticks, precFraction, s[i:], true
}

// scanZone reads Z or ±hh:mm at the start of s.
func scanZone(s string) (minutes int, rest string, ok bool) {
	if s == "" {
		return 0, s, false
	}
	if s[0] == 'Z' {
		return 0, s[1:], true
	}
	if s[0] != '+' && s[0] != '-' || len(s) < 6 || s[3] != ':' {
		return 0, s, false
	}
	h, ok1 := digits(s, 1, 2)
	m, ok2 := digits(s, 4, 2)
	if !ok1 || !ok2 || h > 14 || m > 59 {
		return 0, s, false
	}
	minutes = h*60 + m
	if s[0] == '-' {
		minutes = -minutes
	}
	return minutes, s[6:], true
}

func parseDate(s string) (Value, bool) {
	ticks, prec, rest, ok := scanDate(s)
	if !ok || rest != "" {
		return Value{}, false
	}
	return Value{meta: metaOf(KindDate, prec), num: ticks}.withText(s), true
}

func parseDateTime(s string) (Value, bool) {
	if v, ok := fullDateTime(s); ok {
		return v, true
	}
	ticks, prec, rest, ok := scanDate(s)
	if !ok {
		return Value{}, false
	}
	v := Value{meta: metaOf(KindDateTime, prec), num: ticks}.withText(s)
	if rest == "" {
		return v, true
	}
	if rest[0] != 'T' {
		return Value{}, false
	}
	if rest == "T" {
		return v.withText(s[:len(s)-1]), true
	}
	if prec != precDay {
		return Value{}, false
	}
	t, prec, rest, ok := scanTime(rest[1:])
	if !ok {
		return Value{}, false
	}
	v.num += t
	v.meta = v.meta&^0xff00 | uint64(prec)<<8
	if rest == "" {
		return v, true
	}
	zone, rest, ok := scanZone(rest)
	if !ok || rest != "" {
		return Value{}, false
	}
	return v.withZone(zone), true
}

// fullDateTime reads what most are: all of a date, hours, minutes and seconds without a fraction, and a zone or none.
func fullDateTime(s string) (Value, bool) {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return Value{}, false
	}
	c, ok0 := pair(s[0], s[1])
	y, ok1 := pair(s[2], s[3])
	m, ok2 := pair(s[5], s[6])
	d, ok3 := pair(s[8], s[9])
	h, ok4 := pair(s[11], s[12])
	mi, ok5 := pair(s[14], s[15])
	sec, ok6 := pair(s[17], s[18])
	y += c * 100
	if !(ok0 && ok1 && ok2 && ok3 && ok4 && ok5 && ok6) || y == 0 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) || h > 23 || mi > 59 || sec > 60 {
		return Value{}, false
	}
	v := Value{meta: metaOf(KindDateTime, precSecond),
		num: daysOf(y, m, d)*tickDay + int64(h)*tickHour + int64(mi)*tickMinute + int64(sec)*tickSecond}.withText(s)
	switch {
	case len(s) == 19:
		return v, true
	case len(s) == 20 && s[19] == 'Z':
		return v.withZone(0), true
	}
	zone, rest, ok := scanZone(s[19:])
	return v.withZone(zone), ok && rest == ""
}

// pair is the number that two digits write.
func pair(a, b byte) (int, bool) {
	a, b = a-'0', b-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

func parseTime(s string) (Value, bool) {
	ticks, prec, rest, ok := scanTime(s)
	if !ok || rest != "" {
		return Value{}, false
	}
	return Value{meta: metaOf(KindTime, prec), num: ticks}.withText(s), true
}

func (v Value) withZone(minutes int) Value {
	v.meta = v.meta&^(0xfff<<20) | flagZone | uint64(uint16(int16(minutes)<<4))<<16
	return v
}

// last is the last tick of the span that a date or time covers: 2014-05 lasts to the end of May. Seconds are points,
// since FHIRPath treats seconds and their fractions as one precision.
func (v Value) last() int64 {
	switch v.prec() {
	case precYear:
		y, _, _ := civilOf(v.num / tickDay)
		return daysOf(y+1, 1, 1)*tickDay - 1
	case precMonth:
		y, m, _ := civilOf(v.num / tickDay)
		return v.num + int64(daysIn(y, m))*tickDay - 1
	case precDay:
		return v.num + tickDay - 1
	case precHour:
		return v.num + tickHour - 1
	case precMinute:
		return v.num + tickMinute - 1
	}
	return v.num
}

// A time without a zone may be of any zone on earth, from 14 hours before UTC's to 12 after.
const (
	zoneEast = 14 * tickHour
	zoneWest = 12 * tickHour
)

// compareTime orders two dates, dateTimes or times. It is decided only where every moment that the one may mean lies
// before, after or at every moment that the other may mean: partial dates cover a span, and a time without a zone
// compared with one that has a zone covers 26 hours more.
func compareTime(a, b Value) (order int, decided bool) {
	zones := a.has(flagZone) || b.has(flagZone)
	if a.prec() == b.prec() && !zones {
		return compareInt(a.num, b.num), true
	}
	aLo, aHi, bLo, bHi := a.num, a.last(), b.num, b.last()
	if zones {
		aLo, aHi = a.utc(aLo, aHi)
		bLo, bHi = b.utc(bLo, bHi)
	}
	switch {
	case aHi < bLo:
		return -1, true
	case aLo > bHi:
		return 1, true
	case aLo == bLo && aHi == bHi && (!zones || a.has(flagZone) && b.has(flagZone)):
		return 0, true
	}
	return 0, false
}

func (v Value) utc(lo, hi int64) (int64, int64) {
	if v.has(flagZone) {
		shift := int64(v.zone()) * tickMinute
		return lo - shift, hi - shift
	}
	return lo - zoneEast, hi + zoneWest
}

func compareInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// equivalentTime is the ~ of dates and times: same precision, same moment.
func equivalentTime(a, b Value) bool {
	pa, pb := min(a.prec(), precSecond), min(b.prec(), precSecond)
	if pa != pb || a.has(flagZone) != b.has(flagZone) {
		return false
	}
	order, decided := compareTime(a, b)
	return decided && order == 0
}

// appendDate writes the ticks with the precision and n digits of fraction; for a Time kind without the date.
func appendTime(dst []byte, k Kind, ticks int64, prec uint8, fraction int) []byte {
	if k != KindTime {
		y, m, d := civilOf(ticks / tickDay)
		dst = appendPadded(dst, y, 4)
		if prec >= precMonth {
			dst = appendPadded(append(dst, '-'), m, 2)
		}
		if prec >= precDay {
			dst = appendPadded(append(dst, '-'), d, 2)
		}
		if k == KindDate || prec <= precDay {
			return dst
		}
		dst = append(dst, 'T')
	}
	t := ticks % tickDay
	dst = appendPadded(dst, int(t/tickHour), 2)
	if prec >= precMinute {
		dst = appendPadded(append(dst, ':'), int(t/tickMinute%60), 2)
	}
	if prec >= precSecond {
		dst = appendPadded(append(dst, ':'), int(t/tickSecond%60), 2)
	}
	if prec >= precFraction && fraction > 0 {
		dst = append(dst, '.')
		t %= tickSecond
		for unit := tickSecond / 10; fraction > 0; fraction-- {
			if unit == 0 {
				dst = append(dst, '0')
				continue
			}
			dst = append(dst, byte('0'+t/unit))
			t %= unit
			unit /= 10
		}
	}
	return dst
}

func appendZone(dst []byte, minutes int) []byte {
	if minutes < 0 {
		dst = append(dst, '-')
		minutes = -minutes
	} else {
		dst = append(dst, '+')
	}
	dst = appendPadded(dst, minutes/60, 2)
	return appendPadded(append(dst, ':'), minutes%60, 2)
}

func appendPadded(dst []byte, n, width int) []byte {
	var buf [20]byte
	i := len(buf)
	for width > 0 || n > 0 {
		i--
		buf[i] = byte('0' + n%10)
		n /= 10
		width--
	}
	return append(dst, buf[i:]...)
}

// fractionDigits counts the digits of the fraction in a written time.
func fractionDigits(text string) int {
	for i := 0; i < len(text); i++ {
		if text[i] == '.' {
			n := 0
			for i++; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
				n++
			}
			return n
		}
	}
	return 0
}

// zoneText is the zone as written: "", "Z" or ±hh:mm.
func (v Value) zoneText() string {
	switch {
	case !v.has(flagZone):
		return ""
	case v.written()[len(v.written())-1] == 'Z':
		return "Z"
	}
	return v.written()[len(v.written())-6:]
}

// withTicks is the date or time with other ticks, in the same form.
func (c *Context) withTicks(v Value, ticks int64) Value {
	var buf [48]byte
	b := appendTime(buf[:0], v.kind(), ticks, v.prec(), fractionDigits(v.written()))
	b = append(b, v.zoneText()...)
	return Value{meta: v.meta, num: ticks}.withText(c.Text(b))
}

// maxTicks is the first tick after the year 9999.
var maxTicks = daysOf(10000, 1, 1) * tickDay

// addTime adds a number of calendar units to a date or time. Months and years end on the last day of the month where
// the day does not exist (FHIRPath 2.0, 6.6.7). A unit finer than the value's precision is converted to it, and what
// does not fill one is left away. False where the result has no date.
func (c *Context) addTime(v Value, unit timeUnit, n int64) (Value, bool) {
	if v.kind() == KindTime {
		ticks, ok := ticksOf(unit, n)
		if !ok {
			return Value{}, false
		}
		ticks = truncateTo(v.prec(), ticks)
		t := (v.num + ticks%tickDay) % tickDay
		if t < 0 {
			t += tickDay
		}
		return c.withTicks(v, t), true
	}
	if unit == unitYear || unit == unitMonth || v.prec() <= precMonth {
		months, ok := monthsOf(unit, n)
		if !ok {
			return Value{}, false
		}
		if v.prec() == precYear {
			months -= months % 12
		}
		y, m, d := civilOf(v.num / tickDay)
		total := int64(y)*12 + int64(m-1) + months
		if total < 12 || total >= 120000 {
			return Value{}, false
		}
		y, m = int(total/12), int(total%12)+1
		d = min(d, daysIn(y, m))
		return c.withTicks(v, daysOf(y, m, d)*tickDay+v.num%tickDay), true
	}
	ticks, ok := ticksOf(unit, n)
	if !ok {
		return Value{}, false
	}
	t := v.num + truncateTo(v.prec(), ticks)
	if t < 0 || t >= maxTicks {
		return Value{}, false
	}
	return c.withTicks(v, t), true
}

// timeUnit is a unit of time that can be added to a date.
type timeUnit uint8

const (
	unitNone timeUnit = iota
	unitYear
	unitMonth
	unitWeek
	unitDay
	unitHour
	unitMinute
	unitSecond
	unitMillisecond
	unitTick // 100 ns: for fractions of a second
)

var unitTicks = [...]int64{unitWeek: 7 * tickDay, unitDay: tickDay, unitHour: tickHour, unitMinute: tickMinute,
	unitSecond: tickSecond, unitMillisecond: tickSecond / 1000, unitTick: 1}

// ticksOf converts a number of units; months count 30 days and years 365, as FHIRPath has it for conversions.
func ticksOf(unit timeUnit, n int64) (int64, bool) {
	var one int64
	switch unit {
	case unitYear:
		one = 365 * tickDay
	case unitMonth:
		one = 30 * tickDay
	default:
		one = unitTicks[unit]
	}
	if n > maxTicks/one || n < -maxTicks/one {
		return 0, false
	}
	return n * one, true
}

// monthsOf converts a number of units to whole months, for dates without a day.
func monthsOf(unit timeUnit, n int64) (int64, bool) {
	if n > 1<<40 || n < -1<<40 {
		return 0, false
	}
	switch unit {
	case unitYear:
		return n * 12, true
	case unitMonth:
		return n, true
	}
	ticks, ok := ticksOf(unit, n)
	days := ticks / tickDay
	return days/365*12 + days%365/30, ok
}

// truncateTo leaves away what is finer than the precision.
func truncateTo(prec uint8, ticks int64) int64 {
	switch prec {
	case precDay:
		return ticks - ticks%tickDay
	case precHour:
		return ticks - ticks%tickHour
	case precMinute:
		return ticks - ticks%tickMinute
	case precSecond:
		return ticks - ticks%tickSecond
	}
	return ticks
}

// fromClock is a moment of the clock as a DateTime with milliseconds and the zone of the clock.
func (c *Context) fromClock(t time.Time) Value {
	_, offset := t.Zone()
	y, m, d := t.Date()
	ticks := daysOf(y, int(m), d)*tickDay + int64(t.Hour())*tickHour + int64(t.Minute())*tickMinute +
		int64(t.Second())*tickSecond + int64(t.Nanosecond()/1_000_000)*10_000
	var buf [40]byte
	b := appendTime(buf[:0], KindDateTime, ticks, precFraction, 3)
	b = appendZone(b, offset/60)
	v := Value{meta: metaOf(KindDateTime, precFraction), num: ticks}.withText(c.Text(b))
	return v.withZone(offset / 60)
}
