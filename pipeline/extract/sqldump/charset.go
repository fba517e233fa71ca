package sqldump

import (
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// declaredCharset is what SET NAMES or client_encoding of a dump means.
func declaredCharset(d dialect, name string) (*charset.Charset, error) {
	plain := charset.Plain(name)
	switch {
	case plain == "utf8mb4" || plain == "utf8mb3" || plain == "unicode" || plain == "sqlascii" || plain == "usascii" ||
		plain == "ascii" || plain == "binary": // with binary, text is written in the charset of its column: UTF-8 or refused
		return charset.UTF8, nil
	case plain == "latin1" && d == mysql:
		plain = "windows1252" // MySQL manual, section "West European Character Sets"
	case d == postgres && strings.HasPrefix(plain, "win"):
		plain = "windows" + strings.TrimPrefix(strings.TrimPrefix(plain, "windows"), "win")
	case plain == "latin2":
		plain = "iso88592"
	case plain == "latin9":
		plain = "iso885915"
	}
	c, err := charset.Lookup(plain)
	if err == nil && c.Wide() {
		err = fmt.Errorf("encoding %q cannot be that of a part of a file", name)
	}
	return c, err
}

// resolve says what a file is written in, by what is declared (nil if nothing is) and by the mark at its start, and how
// long the mark is.
func resolve(declared *charset.Charset, start []byte) (*charset.Charset, int, error) {
	if declared != nil {
		return declared.Resolve(start)
	}
	if marked, n := charset.Marked(start); marked != nil {
		return marked, n, nil
	}
	return charset.UTF8, 0, nil
}
