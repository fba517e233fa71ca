package sqldb

import (
	"context"
	"database/sql/driver"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/chartlift/chartlift/pipeline/extract"
)

type mysqlDialect struct{}

func (mysqlDialect) connector(dsn string, t Timeouts) (driver.Connector, string, error) {
	config, err := mysqlConfig(dsn)
	if err != nil {
		return nil, "", errDSN
	}
	config.Timeout = t.Connect
	config.MultiStatements, config.ParseTime, config.AllowAllFiles, config.InterpolateParams = false, false, false, false
	config.Logger = &mysql.NopLogger{} // errors come back to us; in a log they would quote what they please
	if err := config.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return nil, "", errDSN
	}
	c, err := mysql.NewConnector(config)
	return c, config.Addr, err
}

// mysqlConfig reads a connection string in the driver's own form, or as a URL.
func mysqlConfig(dsn string) (*mysql.Config, error) {
	if !strings.HasPrefix(dsn, "mysql://") && !strings.HasPrefix(dsn, "mariadb://") {
		return mysql.ParseDSN(dsn)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr, c.DBName = u.User.Username(), "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	c.Passwd, _ = u.User.Password()
	if u.RawQuery == "" {
		return mysql.ParseDSN(c.FormatDSN()) // adds the default port
	}
	query := u.RawQuery
	text, own, _ := strings.Cut(c.FormatDSN(), "?")
	if own != "" {
		query = own + "&" + query
	}
	return mysql.ParseDSN(text + "?" + query)
}

func (mysqlDialect) begin(ctx context.Context, l *link) (string, []string, error) {
	for _, text := range []string{
		"SET SESSION sql_mode = ''", // strings, quoted names and CHAR look as the manual says, whatever the server's default
		"SET SESSION time_zone = '+00:00'",
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
		"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
	} {
		if err := l.exec(ctx, text); err != nil {
			return "", nil, err
		}
	}
	database, err := l.texts(ctx, "SELECT DATABASE()")
	if err != nil {
		return "", nil, err
	}
	if database[0][0] == "" {
		return "", nil, plain("the connection string names no database")
	}
	// MariaDB alone says where in its binary log the snapshot stands.
	status, err := l.texts(ctx, "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return "", nil, err
	}
	place := map[string]string{}
	for _, s := range status {
		place[strings.ToLower(s[0])] = s[1]
	}
	if place["binlog_snapshot_file"] == "" {
		return "", nil, nil
	}
	return "mariadb " + place["binlog_snapshot_file"] + ":" + place["binlog_snapshot_position"], nil, nil
}

func (mysqlDialect) catalog() string {
	return `SELECT table_name, CASE WHEN table_type LIKE '%VIEW' THEN 'view' ELSE 'table' END,
		CASE WHEN table_type LIKE '%VIEW' OR engine = 'InnoDB' THEN ''
		ELSE 'its engine has no snapshots, so what is written while it is read may be seen' END
		FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW')`
}

func (mysqlDialect) keys() string {
	return `SELECT table_name, column_name FROM information_schema.key_column_usage
		WHERE table_schema = DATABASE() AND constraint_name = 'PRIMARY' ORDER BY table_name, ordinal_position`
}

// bits: a BIT(1) is a Boolean, as it is in a dump. The driver does not tell how many bits a column has, so in a query it
// is an Integer; the cells are the same.
func (mysqlDialect) bits() string {
	return `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = DATABASE() AND column_type = 'bit(1)'`
}

func (mysqlDialect) shape(table, query string) string {
	if query == "" {
		return "SELECT * FROM " + MySQL.quote(table) + " LIMIT 0"
	}
	// The driver reads a result to its end before it lets go of it, so the query itself is not run for its columns.
	return "SELECT * FROM (" + query + "\n) AS q LIMIT 0"
}

func (mysqlDialect) column(t columnType) column {
	switch strings.TrimPrefix(t.typ, "UNSIGNED ") {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR":
		return column{kind: extract.Integer, form: formPlain}
	case "BIT":
		return column{kind: extract.Integer, form: formBits}
	case "DECIMAL", "FLOAT", "DOUBLE":
		return column{kind: extract.Decimal, form: formPlain}
	case "DATE":
		return column{kind: extract.Date, form: formDate}
	case "DATETIME":
		return column{kind: extract.DateTime, form: formDateTime}
	case "TIMESTAMP":
		return column{kind: extract.DateTime, form: formUTC}
	case "TIME":
		return column{kind: extract.Time, form: formTime}
	case "BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY", "VARBINARY", "GEOMETRY", "VECTOR":
		return column{kind: extract.Bytes, form: formBytes}
	}
	return unkinded
}

func (mysqlDialect) read(p *plan, key []string, _ bool) string {
	if p.query != "" {
		return p.query
	}
	return orderedRead(MySQL, p, key)
}

// orderedRead reads a table in the order of its primary key, so that it is the same twice.
func orderedRead(e Engine, p *plan, key []string) string {
	text := "SELECT " + e.list("", p.table.Columns) + " FROM " + e.quote(p.table.Name)
	if len(key) > 0 {
		text += " ORDER BY " + e.list("", key)
	}
	return text
}

func (mysqlDialect) value(r *row, i int, f form, v driver.Value) error { return r.value(i, f, v) }
