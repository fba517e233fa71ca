package sqldump

import (
	"encoding/binary"
	"time"
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
			if d := s.solid(); d == '\'' || d == '"' && !s.ansiQuotes {
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
	cast := s.isKeyword("CAST") || s.isKeyword("TRY_CAST")
	convert := s.isKeyword("CONVERT") || s.isKeyword("TRY_CONVERT")
	f := s.dialect.function(s.word)
	if s.solid() != '(' {
		return x, expression
	}
	s.pos++
	v.open++
	switch {
	case cast:
		return v.cast(nesting)
	case convert:
		return v.convert(nesting)
	}
	return v.call(f, x, nesting)
}

// isKeyword says whether the word read last is the keyword.
func (s *scanner) isKeyword(keyword string) bool { return equalFold(s.word, keyword) }

// typedLiteral reads what stands behind DATE, TIME or TIMESTAMP: a string, as in the SQL standard.
func (v *values) typedLiteral() (value, flaw) {
	s := v.s
	date := s.isKeyword("DATE")
	for class[s.solid()]&isWordStart != 0 { // WITH TIME ZONE
		s.word = s.word[:0]
		s.readWord()
		if !s.isKeyword("WITH") && !s.isKeyword("TIME") && !s.isKeyword("ZONE") && !s.isKeyword("WITHOUT") {
			return value{}, expression
		}
	}
	if s.solid() != '\'' {
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
	x, f := v.operand(v.s.solid(), nesting+1)
	if f != flawless {
		return x, f
	}
	if class[v.s.solid()]&isWordStart == 0 {
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
	if s.solid() != ',' {
		return value{}, expression
	}
	s.pos++
	x, f := v.value(nesting + 1)
	if f != flawless {
		return x, f
	}
	if s.solid() == ',' {
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
