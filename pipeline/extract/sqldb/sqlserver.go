package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"net"
	"strconv"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/chartlift/chartlift/pipeline/extract"
)

type sqlserverDialect struct{}

func (sqlserverDialect) connector(dsn string, t Timeouts) (driver.Connector, string, error) {
	config, err := msdsn.Parse(dsn)
	if err != nil {
		return nil, "", errDSN
	}
	config.DialTimeout, config.LogFlags = t.Connect, 0
	host := config.Host
	if config.Port != 0 {
		host = net.JoinHostPort(host, strconv.FormatUint(config.Port, 10))
	}
	return mssql.NewConnectorConfig(config), host, nil
}

const (
	sqlserverSnapshots = `SELECT CAST(snapshot_isolation_state AS int) FROM sys.databases WHERE database_id = DB_ID()`
	sqlserverNotice    = "the database does not allow SNAPSHOT isolation, so what is written while it is read may be seen, " +
		"and a record that moves may be seen twice or not at all: allow it (ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON), " +
		"or read a copy"
)

func (sqlserverDialect) begin(ctx context.Context, l *link) (string, []string, error) {
	state, err := l.texts(ctx, sqlserverSnapshots)
	if err != nil {
		return "", nil, err
	}
	isolation, notices := sql.LevelSnapshot, []string(nil)
	if len(state) != 1 || state[0][0] != "1" {
		isolation, notices = sql.LevelReadCommitted, []string{sqlserverNotice}
	}
	return "", notices, l.begin(ctx, isolation)
}

// begin starts a transaction by way of the driver, which must know of it.
func (l *link) begin(ctx context.Context, isolation sql.IsolationLevel) error {
	b, ok := l.Conn.(driver.ConnBeginTx)
	if !ok {
		return plain("the driver has no transactions with a context")
	}
	_, err := b.BeginTx(ctx, driver.TxOptions{Isolation: driver.IsolationLevel(isolation)})
	return err
}

func (sqlserverDialect) catalog() string {
	return `SELECT name, CASE type WHEN 'V' THEN 'view' ELSE 'table' END, '' FROM sys.objects
		WHERE schema_id = SCHEMA_ID() AND type IN ('U', 'V') AND is_ms_shipped = 0`
}

func (sqlserverDialect) keys() string {
	return `SELECT t.name, c.name FROM sys.tables t
		JOIN sys.indexes i ON i.object_id = t.object_id AND i.is_primary_key = 1
		JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.is_included_column = 0
		JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id
		WHERE t.schema_id = SCHEMA_ID() ORDER BY t.name, k.key_ordinal`
}

func (sqlserverDialect) bits() string { return "" }

func (sqlserverDialect) shape(table, query string) string {
	if query == "" {
		return "SELECT TOP 0 * FROM " + SQLServer.quote(table)
	}
	return query // T-SQL takes no WITH and no ORDER BY in a subquery; the rows are cancelled
}

func (sqlserverDialect) column(t columnType) column {
	switch t.typ {
	case "BIT":
		return column{kind: extract.Boolean, form: formPlain}
	case "TINYINT", "SMALLINT", "INT", "BIGINT":
		return column{kind: extract.Integer, form: formPlain}
	case "DECIMAL", "MONEY", "SMALLMONEY", "FLOAT", "REAL":
		return column{kind: extract.Decimal, form: formPlain}
	case "DATE":
		return column{kind: extract.Date, form: formDate}
	case "TIME":
		return column{kind: extract.Time, form: formTime}
	case "DATETIME", "DATETIME2", "SMALLDATETIME":
		return column{kind: extract.DateTime, form: formDateTime}
	case "DATETIMEOFFSET":
		return column{kind: extract.DateTime, form: formUTC}
	case "UNIQUEIDENTIFIER":
		return column{kind: extract.Text, form: formGUID}
	case "BINARY", "VARBINARY", "IMAGE", "GEOMETRY", "GEOGRAPHY", "HIERARCHYID":
		return column{kind: extract.Bytes, form: formBytes}
	case "SQL_VARIANT":
		return column{kind: extract.Unknown, form: formText}
	}
	return unkinded
}

func (sqlserverDialect) read(p *plan, key []string, _ bool) string {
	if p.query != "" {
		return p.query
	}
	return orderedRead(SQLServer, p, key)
}

func (sqlserverDialect) value(r *row, i int, f form, v driver.Value) error { return r.value(i, f, v) }
