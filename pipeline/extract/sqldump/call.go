package sqldump

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"
	"unicode/utf8"
)

// wordOperand reads an operand that begins with a word: a string with a prefix, a keyword, or a call.
func (v *values) wordOperand(nesting int) (value, flaw) {
	s := v.s
	x := value{start: len(v.arena), end: len(v.arena)}
	s.word = s.word[:0]
	s.readWord()
	c := s.at(0)
	if p := s.prefix(); p != prefixNone {
		switch {
		case c == '\'' || c == '"' && s.dialect == mysql && s.word[0] == '_':
			return v.literal(p)
		case s.dialect == mysql && s.word[0] == '_': // _utf8mb4 'x', _binary 0x00
			if d := s.blank(); d == '\'' || d == '"' && !s.ansiQuotes {
				return v.literal(p)
			} else if class[d]&isDigit != 0 {
				y := v.number()
				if y.kind == valueNumber {
					return y, expression
				}
				return y, flawless
			}
			return x, expression
		}
	}
	switch {
	case s.word[0]|0x20 == 'u' && len(s.word) == 1 && c == '&' && s.at(1) == '\'' && s.dialect == postgres:
		s.pos++
		return v.literal(prefixUnicode)
	case s.isKeyword("NULL"):
		return x, flawless
	case s.isKeyword("DEFAULT"):
		x.kind = valueDefault
		return x, flawless
	case s.isKeyword("TRUE"), s.isKeyword("FALSE"):
		x.kind = valueBool
		v.addByte('0' + byte(5-len(s.word)))
		x.end = len(v.arena)
		return x, flawless
	case s.isKeyword("DATE"), s.isKeyword("TIME"), s.isKeyword("TIMESTAMP"):
		return v.typedLiteral()
	}
	name := string(bytes.ToUpper(s.word))
	if s.blank() != '(' {
		return x, expression
	}
	s.pos++
	v.open++
	switch name {
	case "CAST", "TRY_CAST":
		return v.cast(nesting)
	case "CONVERT", "TRY_CONVERT":
		return v.convert(nesting)
	}
	return v.call(name, x, nesting)
}

// isKeyword says whether the word read last is the keyword.
func (s *scanner) isKeyword(keyword string) bool { return equalFold(s.word, keyword) }

// typedLiteral reads what stands behind DATE, TIME or TIMESTAMP: a string, as in the SQL standard.
func (v *values) typedLiteral() (value, flaw) {
	s := v.s
	date := s.isKeyword("DATE")
	for class[s.blank()]&isWordStart != 0 { // WITH TIME ZONE
		s.word = s.word[:0]
		s.readWord()
		if !s.isKeyword("WITH") && !s.isKeyword("TIME") && !s.isKeyword("ZONE") && !s.isKeyword("WITHOUT") {
			return value{}, expression
		}
	}
	if s.blank() != '\'' {
		return value{}, expression
	}
	x, f := v.literal(prefixNone)
	if date && s.dialect == oracle && f == flawless && x.end-x.start == len("2006-01-02") {
		v.add([]byte(" 00:00:00")) // a DATE of Oracle always has a time
		x.end = len(v.arena)
	}
	return x, f
}

// cast reads CAST(x AS type), behind its parenthesis.
func (v *values) cast(nesting int) (value, flaw) {
	x, f := v.operandBeforeWord(nesting)
	if f != flawless {
		return x, f
	}
	if !v.s.isKeyword("AS") || !v.typeName() {
		return x, expression
	}
	if !v.typed(&x) {
		return x, expression
	}
	return x, v.close()
}

// operandBeforeWord reads an operand and the word behind it.
func (v *values) operandBeforeWord(nesting int) (value, flaw) {
	x, f := v.operand(v.s.blank(), nesting+1)
	if f != flawless {
		return x, f
	}
	if class[v.s.blank()]&isWordStart == 0 {
		return x, expression
	}
	v.s.word = v.s.word[:0]
	v.s.readWord()
	return x, flawless
}

// convert reads CONVERT(type, x, style) of SQL Server, or CONVERT(x USING charset) of MySQL.
func (v *values) convert(nesting int) (value, flaw) {
	s := v.s
	if s.dialect == mysql {
		x, f := v.operandBeforeWord(nesting)
		if f != flawless {
			return x, f
		}
		if !s.isKeyword("USING") || !v.typeName() {
			return x, expression
		}
		return x, v.close()
	}
	if s.dialect != sqlserver || !v.typeName() {
		return value{}, expression
	}
	target := string(s.word)
	if s.blank() != ',' {
		return value{}, expression
	}
	s.pos++
	x, f := v.value(nesting + 1)
	if f != flawless {
		return x, f
	}
	if s.blank() == ',' {
		s.pos++
		style, f := v.value(nesting + 1)
		if f != flawless {
			return x, f
		}
		known := readableStyles[string(v.arena[style.start:style.end])]
		v.arena = v.arena[:style.start]
		if !known {
			return x, expression
		}
	}
	s.word = append(s.word[:0], target...)
	if !v.typed(&x) {
		return x, expression
	}
	return x, v.close()
}

// readableStyles are the styles of CONVERT whose text is a form of ISO 8601, and the default.
var readableStyles = map[string]bool{"0": true, "20": true, "21": true, "23": true, "24": true, "25": true, "108": true,
	"114": true, "120": true, "121": true, "126": true, "127": true}

// typed gives bytes that SQL Server's script generator writes in place of a date or time the form of one. The type is
// in scanner.word.
func (v *values) typed(x *value) bool {
	if x.kind != valueBytes || v.s.dialect != sqlserver || v.over {
		return true
	}
	text, ok := binaryTime(string(v.s.word), v.arena[x.start:x.end])
	if !ok {
		return false
	}
	if text != nil {
		v.arena = append(v.arena[:x.start], text...)
		x.end, x.kind = len(v.arena), valueText
	}
	return true
}

// binaryTime decodes how SQL Server keeps dates and times; nil for other types. The forms are those of its storage: for
// datetime days since 1900 and three-hundredths of a second, both big-endian; for the later types the precision, the
// time in its unit, and days since the year 1, little-endian.
func binaryTime(typ string, b []byte) (text []byte, ok bool) {
	day := func(days int64) time.Time { return time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(days)) }
	since1900 := func(days int32) time.Time {
		return time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, int(days))
	}
	little := func(b []byte) (n int64) {
		for i := len(b) - 1; i >= 0; i-- {
			n = n<<8 | int64(b[i])
		}
		return n
	}
	clock := func(b []byte) (time.Duration, bool) {
		if len(b) < 4 || b[0] > 7 {
			return 0, false
		}
		unit := time.Second
		for range b[0] {
			unit /= 10
		}
		d := little(b[1:])
		return time.Duration(d) * unit, d < int64(24*time.Hour/unit)
	}
	const form = "2006-01-02 15:04:05.999999999"
	switch typ {
	case "DATETIME":
		if len(b) != 8 {
			return nil, false
		}
		ticks := binary.BigEndian.Uint32(b[4:])
		t := since1900(int32(binary.BigEndian.Uint32(b))).Add(time.Duration((int64(ticks)*10+1)/3) * time.Millisecond)
		return t.AppendFormat(nil, form), ticks < 300*86400
	case "SMALLDATETIME":
		if len(b) != 4 {
			return nil, false
		}
		minutes := binary.BigEndian.Uint16(b[2:])
		t := since1900(int32(binary.BigEndian.Uint16(b))).Add(time.Duration(minutes) * time.Minute)
		return t.AppendFormat(nil, form), minutes < 24*60
	case "DATE":
		if len(b) != 3 && (len(b) != 4 || b[3] != 0) {
			return nil, false
		}
		return day(little(b[:3])).AppendFormat(nil, "2006-01-02"), true
	case "TIME":
		d, ok := clock(b)
		return day(0).Add(d).AppendFormat(nil, "15:04:05.999999999"), ok
	case "DATETIME2":
		if len(b) < 7 {
			return nil, false
		}
		d, ok := clock(b[:len(b)-3])
		return day(little(b[len(b)-3:])).Add(d).AppendFormat(nil, form), ok
	case "DATETIMEOFFSET":
		if len(b) < 9 {
			return nil, false
		}
		n := len(b)
		d, ok := clock(b[:n-5])
		minutes := int16(little(b[n-2:]))
		t := day(little(b[n-5 : n-2])).Add(d).In(time.FixedZone("", int(minutes)*60)) // the time is kept in UTC
		return t.AppendFormat(nil, form+" -07:00"), ok
	}
	return nil, true
}

// call reads the arguments of a call, behind its parenthesis, and does what little dumps call for: no tool leaves the
// evaluation of anything else to the database. x is empty and begins where the arguments will.
func (v *values) call(name string, x value, nesting int) (value, flaw) {
	var args [16]value
	n := 0
	for v.s.blank() != ')' {
		if n == len(args) {
			return x, expression
		}
		arg, f := v.value(nesting + 1)
		if f != flawless {
			return x, f
		}
		args[n] = arg
		n++
		if v.s.blank() == ',' {
			v.s.pos++
		} else if v.s.blank() != ')' {
			return x, expression
		}
	}
	if f := v.close(); f != flawless {
		return x, f
	}
	if v.over {
		return x, flawless // refused anyway
	}
	if !v.evaluate(name, &x, args[:n]) {
		return x, expression
	}
	return x, flawless
}

// evaluate puts the result of a call in the place of its arguments.
func (v *values) evaluate(name string, x *value, args []value) bool {
	text := func(i int) []byte { return v.arena[args[i].start:args[i].end] }
	result := func(kind valueKind, b []byte) bool {
		v.arena = append(v.arena[:x.start], b...)
		x.end, x.kind = len(v.arena), kind
		return true
	}
	for _, a := range args {
		if a.kind == valueDefault || a.kind == valueNull {
			return false
		}
	}
	switch d := v.s.dialect; {
	case d == oracle && len(args) == 0 && (name == "EMPTY_CLOB" || name == "EMPTY_BLOB"):
		return result(valueNull, nil)
	case d == oracle && len(args) == 1 && (name == "TO_CLOB" || name == "TO_NCLOB" || name == "TO_CHAR" || name == "TO_NCHAR" ||
		name == "TO_BLOB" || name == "XMLTYPE" || name == "TO_NUMBER"):
		*x = args[0]
		return true
	case d == oracle && len(args) == 1 && name == "HEXTORAW", d == mysql && len(args) == 1 && name == "UNHEX":
		v.arena = v.arena[:args[0].end]
		if !v.unhex(args[0].start) {
			return false
		}
		*x = value{start: args[0].start, end: len(v.arena), kind: valueBytes}
		return true
	case d == oracle && len(args) >= 2 && (name == "TO_DATE" || name == "TO_TIMESTAMP" || name == "TO_TIMESTAMP_TZ"):
		at, ok := parseOracle(text(0), string(text(1)))
		return ok && result(valueText, at)
	case d == oracle && len(args) == 1 && name == "UNISTR":
		*x = args[0]
		v.arena = v.arena[:x.end]
		ok := v.unescape(x.start, '\\', false)
		x.end = len(v.arena)
		return ok
	case d == sqlite && len(args) == 1 && name == "UNISTR":
		*x = args[0]
		v.arena = v.arena[:x.end]
		ok := v.unescape(x.start, '\\', true)
		x.end = len(v.arena)
		return ok
	case d == sqlite && len(args) == 3 && name == "REPLACE":
		old, with := text(1), text(2)
		if len(old) == 0 {
			return result(valueText, text(0))
		}
		if more := bytes.Count(text(0), old) * (len(with) - len(old)); args[0].end-args[0].start+more > v.limit {
			v.over = true
			return true
		}
		return result(valueText, bytes.ReplaceAll(text(0), old, with))
	case name == "CHAR" && (d == sqlite || d == mysql || d == sqlserver), name == "NCHAR" && d == sqlserver,
		name == "CHR" && (d == oracle || d == postgres):
		var out []byte
		for i := range args {
			r, err := strconv.ParseUint(string(text(i)), 10, 21)
			if err != nil || !utf8.ValidRune(rune(r)) || r >= utf8.RuneSelf && d != sqlite && name != "NCHAR" && d != postgres {
				return false // there it depends on a code page
			}
			out = utf8.AppendRune(out, rune(r))
		}
		return result(valueText, out)
	}
	return false
}

// unescape turns \xxxx in the arena from start on into characters. long: also \uXXXX, \UXXXXXXXX and \+XXXXXX, as
// unistr() of SQLite and U&” have them. A doubled escape is one. Pairs of surrogates are one character.
func (v *values) unescape(start int, escape byte, long bool) bool {
	text := v.arena[start:]
	out := make([]byte, 0, len(text))
	var high rune
	for i := 0; i < len(text); {
		if text[i] != escape {
			if high != 0 {
				return false
			}
			out = append(out, text[i])
			i++
			continue
		}
		i++
		if i < len(text) && text[i] == escape && high == 0 {
			out = append(out, escape)
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
		n, err := strconv.ParseUint(string(text[i:i+digits]), 16, 32)
		if err != nil {
			return false
		}
		i += digits
		r := rune(n)
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
		if n > utf8.MaxRune || !utf8.ValidRune(r) {
			return false
		}
		out = utf8.AppendRune(out, r)
	}
	v.arena = append(v.arena[:start], out...)
	return high == 0
}
