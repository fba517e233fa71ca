package sqldb

import (
	"context"
	"database/sql/driver"
	"net/url"
	"strings"

	"modernc.org/sqlite"

	"github.com/chartlift/chartlift/pipeline/extract"
)

type sqliteDialect struct{}

func (sqliteDialect) connector(dsn string, _ Timeouts) (driver.Connector, string, error) {
	if strings.HasPrefix(dsn, "file:") || dsn == ":memory:" || strings.IndexByte(dsn, 0) >= 0 {
		return nil, "", errDSN
	}
	// As a URI, so that it is opened for reading only and never made.
	path := url.URL{Scheme: "file", Opaque: (&url.URL{Path: dsn}).EscapedPath(), RawQuery: "mode=ro&_query_only=1&_busy_timeout=5000"}
	c, err := sqlite.NewConnector(path.String())
	return c, "the path given", err
}

func (sqliteDialect) begin(ctx context.Context, l *link) (string, []string, error) {
	if err := l.exec(ctx, "BEGIN"); err != nil {
		return "", nil, err
	}
	_, err := l.texts(ctx, "SELECT count(*) FROM sqlite_schema") // the first read takes the snapshot
	return "", nil, err
}

func (sqliteDialect) catalog() string {
	return `SELECT name, type, '' FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`
}

func (sqliteDialect) keys() string { return "" }

func (sqliteDialect) bits() string { return "" }

func (sqliteDialect) shape(table, query string) string {
	if query == "" {
		return "SELECT * FROM " + SQLite.quote(table) + " LIMIT 0"
	}
	return query // in a subquery SQLite gives doubled names others
}

// column follows the declared type: the names of dates and the like first, then the affinity.
// sqlite.org/datatype3.html, section 3.1.
func (sqliteDialect) column(t columnType) column {
	typ, _, _ := strings.Cut(strings.ToUpper(t.typ), "(")
	typ = strings.TrimSpace(typ)
	switch typ {
	case "":
		return column{kind: extract.Unknown, form: formText} // an expression, or a column of any type
	case "BOOLEAN", "BOOL":
		return column{kind: extract.Boolean, form: formText}
	case "DATE":
		return column{kind: extract.Date, form: formText}
	case "TIME":
		return column{kind: extract.Time, form: formTime}
	case "DATETIME", "TIMESTAMP":
		return column{kind: extract.DateTime, form: formDateTime}
	}
	for _, c := range sqliteAffinities {
		if strings.Contains(typ, c.name) {
			return column{kind: c.kind, form: c.form}
		}
	}
	return unkinded
}

// sqliteAffinities are the parts of declared types, by rank.
var sqliteAffinities = []column{
	{"INT", extract.Integer, formText}, {"CHAR", extract.Text, formText}, {"CLOB", extract.Text, formText},
	{"TEXT", extract.Text, formText}, {"BLOB", extract.Bytes, formBytes}, {"REAL", extract.Decimal, formText},
	{"FLOA", extract.Decimal, formText}, {"DOUB", extract.Decimal, formText}, {"NUM", extract.Decimal, formText},
	{"DEC", extract.Decimal, formText},
}

// read puts a plus before each column: the value stays what it is, but the driver no longer sees the declared type, by
// which it would turn texts into times. The name of the table stands before that of the column, because SQLite takes an
// unknown name in double quotes for a string.
func (sqliteDialect) read(p *plan, _ []string, _ bool) string {
	text := "SELECT " + SQLite.list("+q.", p.table.Columns) + " FROM "
	if p.query != "" {
		return text + "(" + p.query + "\n) AS q"
	}
	return text + SQLite.quote(p.table.Name) + " AS q"
}

func (sqliteDialect) value(r *row, i int, f form, v driver.Value) error {
	start := len(r.arena)
	switch v := v.(type) {
	case []byte:
		if f == formBytes {
			break
		}
		r.set(i, formBytes, v)
		r.refuse(i, extract.RuleBytesInText)
		return nil
	case float64:
		// SQLite writes a whole number with a point, and so do its dumps.
		r.arena = appendFloat(r.arena, v, 64)
		if text := view(r.arena[start:]); strings.Trim(text, "-0123456789") == "" {
			r.arena = append(r.arena, ".0"...)
		}
		text := r.arena[start:]
		if f == formBytes {
			r.set(i, f, text)
			return nil
		}
		r.cells[i], r.null[i] = view(text), false
		r.size += len(text)
		return nil
	case int64:
		if f == formBytes { // as CAST(… AS BLOB) does
			if err := r.value(i, formText, v); err != nil {
				return err
			}
			size := r.size - len(r.cells[i])
			r.set(i, f, []byte(r.cells[i]))
			r.size = size + len(r.arena[start:]) - len(r.cells[i])
			return nil
		}
	}
	return r.value(i, f, v)
}
