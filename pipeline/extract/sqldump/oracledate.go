package sqldump

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// parseOracle reads a text by a format model of TO_DATE or TO_TIMESTAMP and answers it as yyyy-MM-dd HH:mm:ss, with the
// fraction and offset if it has them. What the model leaves open (Oracle takes the current month for a missing one)
// and two-digit years without the rule of RR are not read: they would depend on the day of the import.
func parseOracle(text []byte, model string) ([]byte, bool) {
	var year, month, day, hour, minute, second int
	var fraction, offset string
	var afternoon, halfDay, hasYear, hasMonth, hasDay bool
	model = strings.ToUpper(model)
	rest := text
	number := func(most int) (int, bool) {
		n := 0
		for n < len(rest) && n < most && class[rest[n]]&isDigit != 0 {
			n++
		}
		value, err := strconv.Atoi(string(rest[:n]))
		rest = rest[n:]
		return value, err == nil
	}
	ok := true
	for ok && model != "" {
		take := func(element string) bool {
			found := strings.HasPrefix(model, element)
			if found {
				model = model[len(element):]
			}
			return found
		}
		switch {
		case take("YYYY"), take("RRRR"):
			width := len(rest)
			year, ok = number(4)
			ok = ok && width-len(rest) == 4
			hasYear = true
		case take("RR"):
			year, ok = number(2)
			if year < 50 {
				year += 2000
			} else {
				year += 1900
			}
			hasYear = true
		case take("MONTH"), take("MON"):
			month, rest = cutMonth(rest)
			ok, hasMonth = month > 0, true
		case take("MM"):
			month, ok = number(2)
			hasMonth = true
		case take("DD"):
			day, ok = number(2)
			hasDay = true
		case take("HH24"):
			hour, ok = number(2)
		case take("HH12"), take("HH"):
			hour, ok = number(2)
			halfDay = true
			ok = ok && hour >= 1 && hour <= 12
		case take("MI"):
			minute, ok = number(2)
		case take("SS"):
			second, ok = number(2)
		case take("FF"):
			if model != "" && model[0] >= '1' && model[0] <= '9' {
				model = model[1:]
			}
			n := 0
			for n < len(rest) && n < 9 && class[rest[n]]&isDigit != 0 {
				n++
			}
			if n > 0 {
				fraction = "." + string(rest[:n])
			}
			rest = rest[n:]
		case take("AM"), take("PM"), take("A.M."), take("P.M."):
			half := strings.ReplaceAll(strings.ToUpper(string(rest[:min(4, len(rest))])), ".", "")
			ok = strings.HasPrefix(half, "AM") || strings.HasPrefix(half, "PM")
			afternoon = strings.HasPrefix(half, "PM")
			if ok && rest[1] == '.' {
				rest = rest[min(4, len(rest)):]
			} else if ok {
				rest = rest[2:]
			}
		case take("TZH"):
			if ok = len(rest) > 0 && (rest[0] == '+' || rest[0] == '-'); ok {
				sign := rest[0]
				rest = rest[1:]
				var n int
				n, ok = number(2)
				offset = fmt.Sprintf("%c%02d", sign, n)
			}
		case take("TZM"):
			var n int
			n, ok = number(2)
			offset += fmt.Sprintf(":%02d", n)
		case take("X"):
			ok = len(rest) > 0 && (rest[0] == '.' || rest[0] == ',')
			rest = rest[min(1, len(rest)):]
		case model[0] == '"':
			quoted, behind, closed := strings.Cut(model[1:], `"`)
			ok = closed && len(rest) >= len(quoted)
			rest, model = rest[min(len(quoted), len(rest)):], behind
		case class[model[0]]&isWordPart == 0: // punctuation, whichever
			model = model[1:]
			if ok = len(rest) > 0 && class[rest[0]]&isWordPart == 0 || model == ""; ok && len(rest) > 0 {
				rest = rest[1:]
			}
		default:
			ok = false
		}
	}
	if halfDay {
		hour %= 12
		if afternoon {
			hour += 12
		}
	}
	if !ok || len(rest) > 0 || !hasYear || !hasMonth || !hasDay || month < 1 || month > 12 || day < 1 || day > 31 ||
		hour > 23 || minute > 59 || second > 59 || afternoon && !halfDay {
		return nil, false
	}
	return fmt.Appendf(nil, "%04d-%02d-%02d %02d:%02d:%02d%s%s", year, month, day, hour, minute, second, fraction, offset), true
}

// cutMonth cuts the English name of a month, or its first three letters, off the front: 0 if there is none. Names in
// other languages depend on the session of the import.
func cutMonth(text []byte) (month int, rest []byte) {
	n := 0
	for n < len(text) && class[text[n]]&isWordStart != 0 {
		n++
	}
	name := bytes.ToUpper(text[:n])
	for i, full := range []string{"JANUARY", "FEBRUARY", "MARCH", "APRIL", "MAY", "JUNE", "JULY", "AUGUST", "SEPTEMBER",
		"OCTOBER", "NOVEMBER", "DECEMBER"} {
		if string(name) == full || string(name) == full[:3] {
			return i + 1, bytes.TrimLeft(text[n:], " ") // TO_CHAR pads the name
		}
	}
	return 0, text
}
