package mapping

import (
	"strings"
)

// explain gives YAML's own faults the words of this language: the commonest is a formula that should be quoted.
func explain(faults Faults, lines []string) Faults {
	for i := range faults {
		f := &faults[i]
		if f.Line < 1 || f.Line > len(lines) || !strings.HasPrefix(f.Message, "not YAML: ") {
			continue
		}
		line := lines[f.Line-1]
		start := formulaStart(line)
		if start < 0 || strings.Contains(f.Message, "tab character") {
			explainLayout(f, lines)
			continue
		}
		quote := "write it as '= …', with '' for each ' in it, or in the next line after `|`"
		if at := strings.Index(line[start:], ": "); at >= 0 {
			f.Column = runes(line[:start+at]) + 1
			f.Message, f.Hint = "a formula that holds `: ` must be quoted: YAML takes what stands before it for a key", quote
		} else if strings.HasSuffix(strings.TrimRight(line, " \r"), ":") {
			f.Column = runes(strings.TrimRight(line, " \r"))
			f.Message, f.Hint = "a formula that ends in `:` must be quoted", quote
		} else if strings.ContainsAny(line[:start], "{[") {
			f.Column = runes(line[:start]) + 1
			f.Message, f.Hint = "a formula inside {} or [] that holds a comma or a bracket must be quoted", quote
		} else {
			explainLayout(f, lines)
		}
	}
	return faults
}

// formulaStart is where an unquoted formula begins in a line, or -1.
func formulaStart(line string) int {
	for i := 0; i < len(line); i++ {
		if line[i] != '=' {
			continue
		}
		before := strings.TrimRight(line[:i], " ")
		if before == "" || strings.HasSuffix(before, ":") || strings.HasSuffix(before, "-") || strings.HasSuffix(before, "[") || strings.HasSuffix(before, ",") || strings.HasSuffix(before, "{") {
			return i
		}
		return -1
	}
	return -1
}

// explainLayout gives a word about what is not a fault of a formula: tabs, indentation and quotes that do not end.
func explainLayout(f *Fault, lines []string) {
	line := lines[f.Line-1]
	switch {
	case strings.Contains(f.Message, "tab character"):
		f.Column = runes(line[:max(0, strings.IndexByte(line, '\t'))]) + 1
		f.Message, f.Hint = "a tab: YAML is indented with blanks", "two blanks for each level"
	case strings.Contains(f.Message, "mapping values are not allowed"):
		before := f.Line - 2
		for before >= 0 && strings.TrimSpace(lines[before]) == "" {
			before--
		}
		if before >= 0 && indentOf(line) > indentOf(lines[before]) && !strings.HasSuffix(strings.TrimSpace(lines[before]), ":") {
			f.Column = indentOf(line) + 1
			f.Message, f.Hint = "the line is indented deeper than the one before it, which has a value already", "let both begin in one column"
		}
	case strings.Contains(f.Message, "unexpected end of stream"):
		for i, text := range lines {
			if at := openQuote(text); at >= 0 {
				f.Line, f.Column = i+1, runes(text[:at])+1
				f.Message, f.Hint = "a quote that begins here does not end", "within '…' each ' is written twice"
				return
			}
		}
	}
}

// openQuote is where a value begins with a quote that does not end in its line, or -1.
func openQuote(line string) int {
	for i := 0; i < len(line); i++ {
		if c := line[i]; (c == '\'' || c == '"') && (i == 0 || strings.ContainsRune(" {[,", rune(line[i-1]))) {
			end := strings.IndexByte(line[i+1:], c)
			if end < 0 {
				return i
			}
			i += end + 1
		}
	}
	return -1
}
