package sqldump

import (
	"bytes"
	"math/big"
	"unicode/utf8"
)

// wholeType stands for max among the sizes of a type.
const wholeType = 1 << 30

// fit makes a value what a cast to the type in scanner.word and typeArgs leaves of it: a text is cut to its length, a
// number rounded to its scale, half away from zero, as the SQL standard and each of the products have it. It returns
// false where the reader does not know. Types without a size leave the value as it is written.
func (v *values) fit(x *value) bool {
	if x.kind == valueNull || x.kind == valueDefault || v.over {
		return true
	}
	text := v.arena[x.start:x.end]
	word := string(v.s.word)
	sizes := v.typeArgs
	switch word {
	case "CHAR", "NCHAR", "VARCHAR", "NVARCHAR", "VARCHAR2", "NVARCHAR2", "CHARACTER", "BPCHAR":
		n := wholeType
		if len(sizes) > 0 {
			n = sizes[0]
		} else if v.s.dialect == sqlserver {
			n = 30 // "When n isn't specified when using the CAST and CONVERT functions, the default length is 30"
		}
		return v.cut(x, text, n)
	case "DECIMAL", "NUMERIC", "DEC", "NUMBER", "FIXED":
		scale := 0
		switch {
		case v.s.dialect == sqlite:
			return true // it does not look at the size
		case len(sizes) > 1:
			scale = sizes[1]
		case len(sizes) == 0 && (v.s.dialect == postgres || v.s.dialect == oracle):
			return true
		}
		return v.round(x, text, scale)
	case "MONEY", "SMALLMONEY":
		return v.s.dialect != sqlserver || v.round(x, text, 4)
	case "INT", "INTEGER", "BIGINT", "SMALLINT", "TINYINT", "SIGNED", "UNSIGNED", "INT2", "INT4", "INT8":
		return !bytes.ContainsAny(text, ".eE") || x.kind == valueBytes // some products cut, others round
	}
	return true
}

// cut leaves the first n characters of a text.
func (v *values) cut(x *value, text []byte, n int) bool {
	if len(text) <= n {
		return true
	}
	if x.kind != valueText || v.s.charset == nil {
		return false // what a number looks like as text, the database decides
	}
	end := n
	if v.s.charset.Table == nil { // there, one byte is one character
		for end = 0; n > 0 && end < len(text); n-- {
			_, size := utf8.DecodeRune(text[end:])
			end += size
		}
	}
	v.arena = v.arena[:x.start+end]
	x.end = len(v.arena)
	return true
}

// round rounds a decimal number to a scale; one with fewer digits stays as it is.
func (v *values) round(x *value, text []byte, scale int) bool {
	if x.kind != valueNumber && x.kind != valueText {
		return x.kind == valueBool
	}
	digits := bytes.TrimLeft(text, "+-")
	whole, fraction, _ := bytes.Cut(digits, []byte("."))
	if len(digits)+1 < len(text) || !digital(whole) || !digital(fraction) || len(whole)+len(fraction) == 0 {
		return bytes.ContainsAny(text, "eE") && v.roundReal(x, text, scale)
	}
	if len(fraction) <= scale {
		return true
	}
	return v.roundReal(x, text, scale)
}

// roundReal is round for a number in whatever form.
func (v *values) roundReal(x *value, text []byte, scale int) bool {
	const most = 128
	r, ok := new(big.Rat), false
	if len(text) <= most && scale <= most {
		if _, small := parseFloat(text, 64); small { // no exponent of millions
			r, ok = r.SetString(string(text))
		}
	}
	if !ok {
		return false
	}
	kind := x.kind
	*x = v.result(x.start, []byte(r.FloatString(scale))) // rounds half away from zero
	x.kind = kind
	return true
}
