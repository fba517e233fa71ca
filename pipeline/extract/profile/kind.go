package profile

import "strings"

// Types of values, as far as their text tells. Each value that is not blank has one.
const (
	TypeInteger      = "integer"       // 12, -3, 007
	TypeDecimal      = "decimal"       // 1.50, -.5, 1e5
	TypeDecimalComma = "decimal comma" // 1,5
	TypeComparator   = "comparator"    // <0.01, >= 1000
	TypeDate         = "date"          // in one of the forms under Column.Dates
	TypeDateTime     = "date-time"     // a date with a time of day
	TypeTime         = "time"          // 14:30
	TypeBoolean      = "boolean"       // y, no, true, F, in a column that holds nothing else; 0 and 1 if there are both and nothing else
	TypeUUID         = "uuid"
	TypeCode         = "code" // one short word with a digit, or in capitals
	TypeText         = "text"
)

var types = []string{TypeInteger, TypeDecimal, TypeDecimalComma, TypeComparator, TypeDate, TypeDateTime, TypeTime, TypeBoolean, TypeUUID, TypeCode, TypeText}

// typeOf finds the type of a text without outer blanks. Its readings as a date are known.
func typeOf(s string, readings []reading) string {
	if len(readings) > 0 {
		if readings[0].form.clock.there {
			return TypeDateTime
		}
		return TypeDate
	}
	if kind := numberType(s); kind != "" {
		return kind
	}
	switch {
	case isBooleanWord(s):
		return TypeBoolean
	case isUUID(s):
		return TypeUUID
	case isTime(s):
		return TypeTime
	case s[0] == '<' || s[0] == '>':
		if kind := numberType(strings.TrimLeft(strings.TrimPrefix(s[1:], "="), " ")); kind == TypeInteger || kind == TypeDecimal {
			return TypeComparator
		}
	}
	if isCode(s) {
		return TypeCode
	}
	return TypeText
}

// numberType is integer, decimal, decimal comma or nothing.
func numberType(s string) string {
	s = strings.TrimPrefix(s, "-")
	whole, rest := cutDigits(s)
	switch {
	case whole == "" && (rest == "" || rest[0] != '.'):
		return ""
	case rest == "":
		return TypeInteger
	}
	comma := rest[0] == ','
	if comma || rest[0] == '.' {
		var fraction string
		if fraction, rest = cutDigits(rest[1:]); fraction == "" {
			return ""
		}
	}
	if rest != "" && !comma && rest[0]|0x20 == 'e' {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest[1:], "-"), "+")
		if !allDigits(rest) {
			return ""
		}
		rest = ""
	}
	switch {
	case rest != "":
		return ""
	case comma:
		return TypeDecimalComma
	}
	return TypeDecimal
}

func isBooleanWord(s string) bool {
	switch len(s) {
	case 1:
		return strings.ContainsAny(s, "yYnNtTfF")
	case 2, 3, 4, 5:
		for _, w := range []string{"yes", "no", "true", "false"} {
			if strings.EqualFold(s, w) {
				return true
			}
		}
	}
	return false
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// longestCode is about the longest identifier that systems of codes use.
const longestCode = 24

func isCode(s string) bool {
	if len(s) > longestCode {
		return false
	}
	digit, small := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digit = true
		case c >= 'a' && c <= 'z':
			small = true
		case c >= 'A' && c <= 'Z', strings.IndexByte("._-/:#", c) >= 0:
		default:
			return false
		}
	}
	return digit || !small
}

// leadingZero says whether a text is a whole number that loses digits when it is read as one.
func leadingZero(s string) bool { return len(s) > 1 && s[0] == '0' && allDigits(s) }
