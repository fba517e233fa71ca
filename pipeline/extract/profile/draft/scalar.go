package draft

import (
	"encoding/json"
	"regexp"
	"strings"
)

// bare is what YAML reads as the text itself, whatever stands around it. Words that YAML takes for something else (no,
// null) and numbers are texts to our readers too, which take the source text of a scalar.
var bare = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./*-]*( [A-Za-z0-9_./-]+)*$`)

// scalar writes a text as a YAML scalar, also inside of {} and [].
func scalar(s string) string {
	if bare.MatchString(s) && !strings.EqualFold(s, "null") && s != "~" {
		return s
	}
	return quoted(s)
}

// quoted is a JSON string, which is a YAML scalar in double quotes.
func quoted(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be written
	return strings.TrimSuffix(b.String(), "\n")
}

// formula writes a formula as a YAML scalar.
func formula(f string) string {
	if strings.Contains(f, ": ") || strings.Contains(f, " #") || strings.ContainsAny(f, "\n\r\t\\`\"") || strings.HasSuffix(f, ":") {
		return quoted("= " + f)
	}
	return "= " + f
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// words of FHIRPath that are not names.
var reserved = map[string]bool{
	"and": true, "as": true, "contains": true, "day": true, "days": true, "div": true, "false": true, "hour": true, "hours": true, "implies": true, "in": true,
	"is": true, "millisecond": true, "milliseconds": true, "minute": true, "minutes": true, "mod": true, "month": true, "months": true, "or": true,
	"second": true, "seconds": true, "true": true, "week": true, "weeks": true, "xor": true, "year": true, "years": true,
}

// name writes a column as FHIRPath names it.
func name(column string) string {
	if plainName.MatchString(column) && !reserved[column] {
		return column
	}
	q := quoted(column)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return "`" + strings.ReplaceAll(q, "`", "\\`") + "`"
}

// text writes a string literal of FHIRPath.
func text(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
