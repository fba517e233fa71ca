package profile

import "strings"

// sentinels are texts that stand for something else in many systems: no value, no end, a test. They are looked for as
// they are, letter case aside. What a mapping does with one is for a rule with a name.
var sentinels = func() map[string]string {
	m := map[string]string{}
	for _, s := range []string{
		"N/A", "NA", "#N/A", "NULL", `\N`, "NIL", "NONE", "NAN", "UNKNOWN", "UNK", "UNSPECIFIED", "NOT AVAILABLE", "NOT APPLICABLE", "NOT KNOWN",
		"TBD", "XXX", "-", "--", ".", "?", "*", "TEST", "DUMMY", "DELETED", "DO NOT USE",
		"-1", "-9", "-99", "-999", "-9999", "99999", "999999", "9999999", "99999999", "999999999", "000000000",
		"999-99-9999", "000-00-0000", "111-11-1111", "123-45-6789", "123456789",
		"0000-00-00", "0000-00-00 00:00:00", "00/00/0000", "00.00.0000", "0001-01-01 00:00:00",
	} {
		m[strings.ToLower(s)] = s
	}
	return m
}()

// sentinelDays are days that systems write for `never`, `for ever` and `unknown`: their least and greatest dates, and the
// days from which they count.
var sentinelDays = map[[3]int]string{
	{1, 1, 1}: "0001-01-01", {1753, 1, 1}: "1753-01-01", {1800, 1, 1}: "1800-01-01", {1899, 12, 30}: "1899-12-30", {1899, 12, 31}: "1899-12-31",
	{1900, 1, 1}: "1900-01-01", {1901, 1, 1}: "1901-01-01", {1970, 1, 1}: "1970-01-01", {2079, 6, 6}: "2079-06-06", {2099, 12, 31}: "2099-12-31",
	{2100, 1, 1}: "2100-01-01", {2999, 12, 31}: "2999-12-31", {9999, 12, 31}: "9999-12-31",
}

// longestSentinel spares longer texts the look-up.
const longestSentinel = 20

// sentinelOf is the name of the sentinel that a text is: a text of our own lists, never the cell. Dates are checked by
// the day they mean, in whatever form.
func sentinelOf(s string, readings []reading) string {
	for _, r := range readings {
		if r.form.order == yearOnly || r.form.order == yearMonth {
			continue // 1970 is a year like others
		}
		if name, ok := sentinelDays[[3]int{r.year, r.month, r.day}]; ok {
			return name
		}
	}
	if len(s) > longestSentinel {
		return ""
	}
	if name, ok := sentinels[strings.ToLower(s)]; ok {
		return name
	}
	if len(s) > 2 && strings.EqualFold(s[:2], "zz") && strings.Contains(strings.ToLower(s), "test") {
		return "ZZTEST…"
	}
	return ""
}
