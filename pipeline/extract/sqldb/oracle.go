package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"net/url"
	"strings"

	goora "github.com/sijms/go-ora/v2"

	"github.com/chartlift/chartlift/pipeline/extract"
)

type oracleDialect struct{}

func (oracleDialect) connector(dsn string, t Timeouts) (driver.Connector, string, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "oracle" || u.Hostname() == "" {
		return nil, "", errDSN
	}
	for option := range u.Query() {
		if strings.Contains(strings.ToLower(option), "trace") { // it would write rows into a file
			return nil, "", errDSN
		}
	}
	port := u.Port()
	if port == "" {
		port = "1521"
	}
	c := goora.NewConnector(dsn)
	if o, ok := c.(*goora.OracleConnector); ok {
		o.Dialer(&net.Dialer{Timeout: t.Connect})
	}
	return c, net.JoinHostPort(u.Hostname(), port), nil
}

func (oracleDialect) begin(ctx context.Context, l *link) (string, []string, error) {
	// The driver commits after each statement unless it has begun a transaction of its own.
	if err := l.begin(ctx, sql.LevelDefault); err != nil {
		return "", nil, err
	}
	return "", nil, l.exec(ctx, "SET TRANSACTION READ ONLY")
}

func (oracleDialect) catalog() string {
	return `SELECT table_name, 'table', '' FROM all_tables WHERE owner = SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')
		AND nested = 'NO' AND secondary = 'N' AND temporary = 'N' AND (iot_type IS NULL OR iot_type = 'IOT')
		UNION ALL SELECT view_name, 'view', '' FROM all_views WHERE owner = SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA')`
}

func (oracleDialect) keys() string {
	return `SELECT c.table_name, k.column_name FROM all_constraints c
		JOIN all_cons_columns k ON k.owner = c.owner AND k.constraint_name = c.constraint_name
		WHERE c.owner = SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') AND c.constraint_type = 'P' ORDER BY c.table_name, k.position`
}

func (oracleDialect) bits() string { return "" }

func (oracleDialect) shape(table, query string) string {
	if query == "" {
		return "SELECT * FROM " + Oracle.quote(table) + " WHERE 1 = 0"
	}
	return "SELECT * FROM (" + query + "\n) WHERE 1 = 0"
}

func (oracleDialect) column(t columnType) column {
	switch t.typ {
	case "NUMBER", "FLOAT", "VarNum":
		if t.scaled && t.scale == 0 && t.precision > 0 {
			return column{kind: extract.Integer, form: formPlain}
		}
		return column{kind: extract.Decimal, form: formPlain}
	case "IBFloat", "IBDouble", "BFloat", "BDouble":
		return column{kind: extract.Decimal, form: formPlain}
	case "DATE", "TIMESTAMP", "TimeStampDTY": // DATE of Oracle has a time of day
		return column{kind: extract.DateTime, form: formDateTime}
	case "TimeStampTZ", "TIMESTAMPTZ", "TimeStampTZ_DTY", "TimeStampeLTZ", "TimeStampLTZ_DTY":
		return column{kind: extract.DateTime, form: formUTC}
	case "RAW", "LongRaw", "LongVarRaw", "VarRaw", "OCIBlobLocator":
		return column{kind: extract.Bytes, form: formBytes}
	}
	return unkinded
}

// read reads a table without a primary key in the order of its row addresses: a scan may begin anywhere.
func (oracleDialect) read(p *plan, key []string, view bool) string {
	if p.query != "" {
		return p.query
	}
	text := orderedRead(Oracle, p, key)
	if len(key) == 0 && !view {
		text += " ORDER BY ROWID"
	}
	return text
}

func (oracleDialect) value(r *row, i int, f form, v driver.Value) error { return r.value(i, f, v) }
