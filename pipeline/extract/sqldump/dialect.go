package sqldump

import (
	"fmt"
	"strings"
)

// dialect is the product whose tool wrote the dump. What differs between them is asked for by name where it matters,
// so that each difference stands beside the code it is about.
type dialect uint8

const (
	mysql dialect = iota
	postgres
	sqlserver
	sqlite
	oracle
)

var dialectNames = [...]string{"mysql", "postgres", "sqlserver", "sqlite", "oracle"}

// Dialects lists the names that Options.Dialect takes.
func Dialects() []string { return dialectNames[:] }

func lookupDialect(name string) (dialect, error) {
	for i, known := range dialectNames {
		if name == known {
			return dialect(i), nil
		}
	}
	known := strings.Join(dialectNames[:], ", ")
	if name == "" {
		return 0, fmt.Errorf("the dialect of the dump is not declared; it must be one of %s", known)
	}
	return 0, fmt.Errorf("dialect %q is not known; known are %s", name, known)
}

// nested says whether comments in /* */ nest.
func (d dialect) nested() bool { return d == postgres || d == sqlserver }

// fold is an unquoted name as the database keeps it.
func (d dialect) fold(name string) string {
	switch d {
	case postgres:
		return strings.ToLower(name)
	case oracle:
		return strings.ToUpper(name)
	}
	return name
}

// tableKey makes names of tables comparable. MySQL on Linux tells upper from lower case in them.
func (d dialect) tableKey(name string) string {
	if d == sqlserver || d == sqlite {
		return strings.ToLower(name)
	}
	return name
}

// columnKey makes names of columns comparable.
func (d dialect) columnKey(name string) string {
	if d == postgres || d == oracle {
		return name // folded already, unless quoted
	}
	return strings.ToLower(name)
}
