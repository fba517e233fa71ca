package terminology

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"strings"
)

// Open is a source code that a map does not know yet.
type Open struct {
	Code    string
	Comment string
}

// WriteOpen writes source codes as lines of a concept map that a person is to complete: the target is blank, so that
// [ReadCSV] refuses each line until it is filled in. remarks stand before the header. A code that no concept map can hold
// is refused.
func WriteOpen(w io.Writer, remarks []string, codes []Open) error {
	b := bufio.NewWriter(w)
	for _, r := range remarks {
		fmt.Fprintln(b, "#", strings.Map(printable, r))
	}
	out := csv.NewWriter(b)
	rows := [][]string{columns}
	for _, c := range codes {
		if what := codeFault(c.Code); what != "" {
			return fmt.Errorf("write a concept map: a source code %s", what)
		}
		rows = append(rows, []string{escape(c.Code), "", "", "", "", escape(c.Comment)})
	}
	if err := out.WriteAll(rows); err != nil {
		return err
	}
	return b.Flush()
}

// Holds tells whether a concept map can hold a source code: not one that is blank or has white space around it.
func Holds(code string) bool { return codeFault(code) == "" }

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}

// isLive tells texts that a spreadsheet would take for a formula, whatever apostrophes stand before them.
func isLive(text string) bool {
	rest := strings.TrimLeft(text, "'")
	return rest != "" && strings.ContainsRune("=+-@\t\r", rune(rest[0]))
}

// escape puts an apostrophe before what a spreadsheet would take for a formula.
func escape(text string) string {
	if isLive(text) {
		return "'" + text
	}
	return text
}

// unescape takes the apostrophe away again.
func unescape(text string) string {
	if text != "" && text[0] == '\'' && isLive(text) {
		return text[1:]
	}
	return text
}
