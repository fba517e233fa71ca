package fhirpath

import (
	"runtime"
	"strings"
	"testing"
)

// TestHostile: whatever an expression asks for, it ends in bounded time and memory, with an error where it asks for too
// much.
func TestHostile(t *testing.T) {
	deep := func(open, inner, close string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(close, n)
	}
	doubling := "'" + strings.Repeat("x", 1000) + "'" + strings.Repeat(".select($this & $this)", 40)
	for name, test := range map[string]struct {
		expression string
		fails      bool
	}{
		"parentheses":                {deep("(", "1", ")", 200_000/2), true},
		"a few parentheses":          {deep("(", "1", ")", 200), false},
		"nested calls":               {deep("iif(true, ", "1", ")", 10_000), true},
		"minus signs":                {strings.Repeat("-", 60_000) + "1", true},
		"a long sum":                 {strings.Repeat("1+", 30_000) + "1", true},
		"a long path":                {"a" + strings.Repeat(".a", 30_000), true},
		"brackets":                   {"a" + strings.Repeat("[0]", 20_000), true},
		"nested selects":             {deep("(1|2).select(", "$this", ")", 240), true},
		"too long":                   {strings.Repeat(" ", 70_000) + "1", true},
		"never closed":               {deep("(", "1", "", 60_000), true},
		"repeat for ever":            {"'x'.repeat($this & 'x')", true},
		"repeatAll for ever":         {"'x'.repeatAll($this)", true},
		"repeat that doubles":        {"1.repeatAll($this.combine($this))", true},
		"text that doubles":          {doubling, true},
		"text by replace":            {"'" + strings.Repeat("a", 1000) + "'" + strings.Repeat(".replace('a', 'aaaaaaaaaa')", 10), true},
		"text by aggregate":          {"'" + strings.Repeat("1,", 40) + "1'.split(',').aggregate($total & 'abcdefghijklmnopqrstuvwxyz' & $total, 'x')", true},
		"collection that doubles":    {"(1|2)" + strings.Repeat(".select($this.combine($this))", 40), true},
		"union of many":              {"(1|2|3|4|5|6|7|8|9|10)" + strings.Repeat(".select((1|2|3|4|5|6|7|8|9|10).select($this * 1.1))", 8) + ".distinct().count()", true},
		"regular expression":         {"'" + strings.Repeat("a", 10_000) + "'.matches('^(a+)+$b')", false},
		"nested repetitions":         {"'a'.matches('((a{1,100}){1,100}){1,100}')", true},
		"large repetitions":          {"'" + strings.Repeat("a", 30_000) + "'" + strings.Repeat(".replace('a', 'aaaaaaaa')", 3) + ".matches('(a?){500}(a{500}){2}b')", true},
		"regular expression of data": {"('(a{1,1000}){1,1000}' & '').matches('x' & '(a{1,1000}){1,1000}')", true},
		"power":                      {"10.power(1000000000)", false},
		"power of a fraction":        {"1.000001.power(9999.5)", false},
		"negative power":             {"0.1.power(-9999)", false},
		"exp":                        {"1000000.exp()", false},
		"exp of a large minus":       {"(-1000000).exp()", false},
		"round":                      {"1.5.round(2147483647)", false},
		"many digits":                {strings.Repeat("9", 700) + ".0 * " + strings.Repeat("9", 700) + ".0", false},
		"ln of many digits":          {strings.Repeat("9", 700) + ".5.ln()", false},
		"number too long":            {strings.Repeat("9", 60_000), true},
		"boundary":                   {"1.5.lowBoundary(2147483647)", false},
		"date":                       {"@2014-01-01 + 2147483647 years", false},
		"time":                       {"@T00:00 + 2147483647 hours", false},
		"unit":                       {"1 '" + strings.Repeat("m.", 2000) + "m' * 2 'm'", false},
		"exponent of a unit":         {"1 'm999999999' * 1 'm999999999'", false},
		"nested units":               {"1 '" + deep("(", "m", ")", 5000) + "' = 1 'm'", false},
		"variables":                  {"1" + strings.Repeat(".defineVariable('a')", 1000), true},
		"skip":                       {"(1|2).skip(-2147483648)", false},
		"index":                      {"(1|2)[2147483647]", false},
		"substring":                  {"'abc'.substring(2147483647, 2147483647)", false},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		e, problems := Compile(test.expression, &Env{})
		failed := e == nil
		if failed && (len(problems) == 0 || problems[0].Offset+problems[0].Length > len(test.expression)) {
			t.Errorf("%s: no place told", name)
		}
		if e != nil {
			_, err := e.Append(NewContext(), String("x"), nil)
			failed = err != nil
		}
		runtime.ReadMemStats(&after)
		made := (after.TotalAlloc - before.TotalAlloc) >> 20
		if failed != test.fails {
			t.Errorf("%s: failed: %v", name, failed)
		}
		if made > 1024 {
			t.Errorf("%s: took %d MiB", name, made)
		}
	}
}
