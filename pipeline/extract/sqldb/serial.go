package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// dialect is what differs between the engines that show a snapshot to one connection only. Its methods make SQL text and
// check values, so that they are tested without a server.
type dialect interface {
	// connector parses the connection string. The error says nothing but that it is malformed.
	connector(dsn string, t Timeouts) (c driver.Connector, host string, err error)
	// begin starts the read-only transaction.
	begin(ctx context.Context, l *link) (snapshot string, notices []string, err error)
	// catalog is a query for the tables and views of the default schema: name, `table` or `view`, and a remark on what the
	// snapshot does not hold of it, or ''.
	catalog() string
	// keys is a query for the columns of primary keys: table and column, in order; "" if the order of reading needs none.
	keys() string
	// bits is a query for the columns that hold a single bit, table and column; "" if the name of the type tells.
	bits() string
	// shape is a query that has the columns of a table, or of the user's query, and few rows or none.
	shape(table, query string) string
	// column is the kind of a column, and how its cells are made.
	column(t columnType) column
	// read is the query for the records of a plan, of a table or view, in the order of its primary key if it has one.
	read(p *plan, key []string, view bool) string
	// value makes a cell.
	value(r *row, i int, f form, v driver.Value) error
}

// columnType is what a driver tells of a column.
type columnType struct {
	typ              string
	precision, scale int64
	scaled           bool // precision and scale are known
}

// link is one connection.
type link struct{ driver.Conn }

// query runs a query as database/sql would, without its copies of values and its goroutine per query.
func (l *link) query(ctx context.Context, text string) (driver.Rows, error) {
	if q, ok := l.Conn.(driver.QueryerContext); ok {
		return q.QueryContext(ctx, text, nil)
	}
	stmt, err := l.prepare(ctx, text)
	if err != nil {
		return nil, err
	}
	q, ok := stmt.(driver.StmtQueryContext)
	if !ok {
		return nil, errors.Join(plain("the driver has no queries with a context"), stmt.Close())
	}
	rows, err := q.QueryContext(ctx, nil)
	if err != nil {
		return nil, errors.Join(err, stmt.Close())
	}
	return &stmtRows{rows, stmt}, nil
}

func (l *link) prepare(ctx context.Context, text string) (driver.Stmt, error) {
	if p, ok := l.Conn.(driver.ConnPrepareContext); ok {
		return p.PrepareContext(ctx, text)
	}
	return l.Prepare(text)
}

// stmtRows closes the statement with its rows.
type stmtRows struct {
	driver.Rows
	stmt driver.Stmt
}

func (r *stmtRows) Close() error { return errors.Join(r.Rows.Close(), r.stmt.Close()) }

// exec runs a statement that has no rows.
func (l *link) exec(ctx context.Context, text string) error {
	if e, ok := l.Conn.(driver.ExecerContext); ok {
		_, err := e.ExecContext(ctx, text, nil)
		return err
	}
	stmt, err := l.prepare(ctx, text)
	if err != nil {
		return err
	}
	if e, ok := stmt.(driver.StmtExecContext); ok {
		_, err = e.ExecContext(ctx, nil)
	} else {
		err = plain("the driver has no statements with a context")
	}
	return errors.Join(err, stmt.Close())
}

// texts runs a query whose rows are few and hold names.
func (l *link) texts(ctx context.Context, text string) (all [][]string, err error) {
	rows, err := l.query(ctx, text)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	width := len(rows.Columns())
	values := make([]driver.Value, width)
	r := newRow(width, Options{MaxField: DefaultMaxField})
	for {
		switch err := rows.Next(values); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		}
		r.begin()
		row := make([]string, width)
		for i, v := range values {
			if err := r.value(i, formText, v); err != nil {
				return nil, err
			}
			row[i] = string([]byte(r.cells[i]))
		}
		all = append(all, row)
	}
}

// serial is a snapshot that one connection holds. Who uses it has the turn.
type serial struct {
	engine    Engine
	dialect   dialect
	link      *link
	statement time.Duration
	name      string
	remarks   []string
	turn      chan struct{}
	life      context.Context // of the connection: statements end with it
	end       context.CancelFunc
	hangUp    sync.Once

	// Guarded by the turn.
	lost    bool
	known   map[string]string   // `table` or `view`, by name
	ordered map[string][]string // columns of the primary key, by table
	single  map[string][]string // columns of one bit, by table
}

func openSerial(ctx context.Context, o Options) (session, string, error) {
	d := dialects[o.Engine]
	connector, host, err := d.connector(o.DSN.text(), o.Timeouts)
	if err != nil {
		return nil, "", errDSN
	}
	conn, err := connect(ctx, connector)
	if err != nil {
		return nil, host, err
	}
	s := &serial{engine: o.Engine, dialect: d, link: &link{conn}, statement: o.Timeouts.Statement, turn: make(chan struct{}, 1)}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	if s.name, s.remarks, err = d.begin(ctx, s.link); err == nil {
		err = s.look(ctx, o.Tables)
	}
	if err != nil {
		s.close()
		return nil, host, err
	}
	return s, host, nil
}

// connect connects in a goroutine, since not every driver heeds the context while it waits for a greeting. A connection
// that comes too late is closed.
func connect(ctx context.Context, c driver.Connector) (driver.Conn, error) {
	type answer struct {
		conn driver.Conn
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		conn, err := c.Connect(ctx)
		answers <- answer{conn, err}
	}()
	select {
	case a := <-answers:
		return a.conn, a.err
	case <-ctx.Done():
		go func() {
			if a := <-answers; a.err == nil {
				_ = a.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// look reads the catalog.
func (s *serial) look(ctx context.Context, wanted []Table) error {
	tables, err := s.link.texts(ctx, s.dialect.catalog())
	if err != nil {
		return err
	}
	s.known = map[string]string{}
	for _, t := range tables {
		s.known[t[0]] = t[1]
		asked := len(wanted) == 0 && t[1] == "table" || slices.Contains(wanted, Table{Name: t[0]})
		if t[2] != "" && asked {
			s.remarks = append(s.remarks, "table "+t[0]+": "+t[2])
		}
	}
	if s.ordered, err = s.columns(ctx, s.dialect.keys()); err != nil {
		return err
	}
	s.single, err = s.columns(ctx, s.dialect.bits())
	return err
}

// columns runs a query for tables and columns.
func (s *serial) columns(ctx context.Context, query string) (map[string][]string, error) {
	all := map[string][]string{}
	if query == "" {
		return all, nil
	}
	rows, err := s.link.texts(ctx, query)
	for _, row := range rows {
		all[row[0]] = append(all[row[0]], row[1])
	}
	return all, err
}

// take waits for the turn.
func (s *serial) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return ErrLost
	}
	if s.lost || s.life.Err() != nil {
		s.give()
		return ErrLost
	}
	return nil
}

// judge notes that the connection is gone, if that is what the error says: without it there is no snapshot.
func (s *serial) judge(err error) error {
	if err == nil || s.engine.code(err) != "" || errors.Is(err, errPlain) || s.engine == SQLite {
		return err
	}
	s.lost = true
	return ErrLost
}

func (s *serial) snapshot() string  { return s.name }
func (s *serial) notices() []string { return s.remarks }

// close ends what is under way, and hangs up as soon as nobody has the turn.
func (s *serial) close() {
	s.end()
	select {
	case s.turn <- struct{}{}:
		s.hangUp.Do(func() { _ = s.link.Close() })
		<-s.turn
	default: // who has it hangs up, see give
	}
}

// give gives the turn back.
func (s *serial) give() {
	<-s.turn
	if s.life.Err() != nil {
		s.close()
	}
}

func (s *serial) list(context.Context) (names []string, err error) {
	for name, typ := range s.known {
		if typ == "table" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (s *serial) describe(ctx context.Context, table, query string) ([]column, error) {
	if query == "" && s.known[table] == "" {
		return nil, errNoTable
	}
	c, err := s.start(ctx, s.dialect.shape(table, query))
	if err != nil {
		return nil, err
	}
	defer c.close()
	names := c.rows.Columns()
	columns := make([]column, len(names))
	for i, name := range names {
		var t columnType
		rows := c.rows
		if wrapped, ok := rows.(*stmtRows); ok {
			rows = wrapped.Rows
		}
		if x, ok := rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
			t.typ = x.ColumnTypeDatabaseTypeName(i)
		}
		if x, ok := rows.(driver.RowsColumnTypePrecisionScale); ok {
			t.precision, t.scale, t.scaled = x.ColumnTypePrecisionScale(i)
		}
		columns[i] = s.dialect.column(t)
		columns[i].name = name
		if query == "" && slices.Contains(s.single[table], name) {
			columns[i].kind = extract.Boolean
		}
	}
	return columns, nil
}

// cut leaves the table whole.
func (s *serial) cut(context.Context, *plan) ([]piece, error) { return []piece{{}}, nil }

func (s *serial) open(ctx context.Context, p *plan, _ string) (cursor, error) {
	c, err := s.start(ctx, s.dialect.read(p, s.ordered[p.table.Name], s.known[p.table.Name] == "view"))
	if err != nil {
		return nil, err
	}
	if len(c.rows.Columns()) != len(p.columns) {
		c.close()
		return nil, plain("it has other columns than when it was looked at")
	}
	c.columns, c.values = p.columns, make([]driver.Value, len(p.columns))
	return c, nil
}

// grace is how long a Read whose context has ended may still wait for the server before the statement is cancelled. With
// MySQL that costs the connection, and with it the snapshot; mostly the next row is there at once.
const grace = time.Second

// start takes the turn and sends a query.
func (s *serial) start(ctx context.Context, text string) (*serialCursor, error) {
	if err := s.take(ctx); err != nil {
		return nil, err
	}
	c := &serialCursor{session: s}
	statement, cancel := context.WithCancelCause(s.life)
	c.cancel = func() { cancel(nil) }
	if s.statement > 0 {
		timer := time.AfterFunc(s.statement, func() { cancel(errTimeout) })
		c.stops = append(c.stops, timer.Stop)
	}
	gone := context.AfterFunc(ctx, func() {
		time.AfterFunc(grace, func() {
			if !c.left.Load() {
				cancel(ctx.Err())
			}
		})
	})
	c.stops = append(c.stops, gone)
	c.statement = statement
	rows, err := s.link.query(statement, text)
	if err != nil {
		err = c.judge(err)
		c.close()
		return nil, err
	}
	c.rows = rows
	return c, nil
}

// serialCursor reads one result.
type serialCursor struct {
	session   *serial
	statement context.Context
	cancel    func()
	stops     []func() bool
	rows      driver.Rows
	columns   []column
	values    []driver.Value
	ended     bool
	left      atomic.Bool // nobody reads any more
}

func (c *serialCursor) judge(err error) error {
	cause := context.Cause(c.statement)
	err = c.session.judge(err)
	if errors.Is(cause, errTimeout) {
		return errTimeout
	}
	return err
}

func (c *serialCursor) next(r *row) (bool, error) {
	switch err := c.rows.Next(c.values); {
	case errors.Is(err, io.EOF):
		c.ended = true
		return false, nil
	case err != nil:
		return false, c.judge(err)
	}
	for i, v := range c.values {
		if err := c.session.dialect.value(r, i, c.columns[i].form, v); err != nil {
			return false, err
		}
	}
	return true, nil
}

// close ends the query and gives the turn back. What MySQL has yet to send after a Read was broken off has to be read to
// its end, or the connection and the snapshot would be lost; whoever broke it off does not wait for that.
func (c *serialCursor) close() {
	c.left.Store(true)
	for _, stop := range c.stops {
		stop()
	}
	end := func() {
		if c.rows != nil {
			_ = c.session.judge(c.rows.Close())
		}
		c.cancel()
		c.session.give()
	}
	if c.ended || c.session.engine != MySQL {
		end()
		return
	}
	go end()
}

// dialects, by engine.
var dialects = map[Engine]dialect{MySQL: mysqlDialect{}, SQLite: sqliteDialect{}, SQLServer: sqlserverDialect{}, Oracle: oracleDialect{}}

// unkinded is a column that holds text.
var unkinded = column{kind: extract.Text, form: formText}
