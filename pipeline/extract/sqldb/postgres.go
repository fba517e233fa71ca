package sqldb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// The statements of PostgreSQL.
const (
	// What would change the text of a cell, the order of a scan or what the query may do is fixed; of names that an old
	// server does not know, none is set. A database without an encoding sends its bytes as they are, and the records whose
	// bytes are not UTF-8 are refused one by one; asked for UTF-8 it would end the query instead. Row security off means that a policy that would hide rows is an error instead:
	// what pg_dump does too.
	postgresSettings = `SELECT pg_catalog.set_config(v.name, v.value, false) FROM (VALUES
		('client_encoding', CASE pg_catalog.current_setting('server_encoding') WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END),
		('datestyle', 'ISO, YMD'), ('intervalstyle', 'postgres'), ('timezone', 'UTC'),
		('extra_float_digits', '3'), ('standard_conforming_strings', 'on'), ('row_security', 'off'),
		('synchronize_seqscans', 'off'), ('max_parallel_workers_per_gather', '0'),
		('default_transaction_read_only', 'on'), ('idle_in_transaction_session_timeout', '0'),
		('statement_timeout', '%d'), ('xmloption', 'content'))
		AS v (name, value) WHERE EXISTS (SELECT FROM pg_catalog.pg_settings s WHERE pg_catalog.lower(s.name) = v.name)`
	postgresBegin  = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`
	postgresExport = `SELECT pg_catalog.pg_export_snapshot(), pg_catalog.txid_current_snapshot()::text,
		pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('block_size'), pg_catalog.current_schema()`
	postgresList = `SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = pg_catalog.current_schema() AND c.relkind IN ('r', 'p')
		AND NOT COALESCE((pg_catalog.to_jsonb(c)->>'relispartition')::boolean, false)`
	postgresFind = `SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = pg_catalog.current_schema() AND c.relname = $1 AND c.relkind IN ('r', 'p', 'm', 'v', 'f')`
	// The heaps of a table: itself, or of a partitioned table all leaves. A table that others inherit from is read ONLY:
	// its children are tables of their own, as they are in a dump.
	postgresHeaps = `WITH RECURSIVE tree AS (
			SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = pg_catalog.current_schema() AND c.relname = $1 AND c.relkind IN ('r', 'p', 'm', 'v', 'f')
		UNION ALL
			SELECT c.oid, c.relkind FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid AND tree.relkind = 'p'
			JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid)
		SELECT n.nspname, c.relname, c.relkind::text,
			CASE WHEN c.relkind IN ('r', 'm') THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END
		FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind <> 'p' ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`
)

// rangeScans is the first version that finds a range of pages without reading all others.
const rangeScans = 140000

// maxMessage is the most that one record may be on the wire: more ends the Read, so that memory stays bounded.
const maxMessage = 256 << 20

// Object ids of types. PostgreSQL, src/include/catalog/pg_type.dat.
var postgresTypes = map[uint32]column{
	16: {kind: extract.Boolean, form: formBoolean}, 17: {kind: extract.Bytes, form: formBytes},
	20: {kind: extract.Integer, form: formPlain}, 21: {kind: extract.Integer, form: formPlain},
	23: {kind: extract.Integer, form: formPlain}, 26: {kind: extract.Integer, form: formPlain},
	700: {kind: extract.Decimal, form: formPlain}, 701: {kind: extract.Decimal, form: formPlain},
	1700: {kind: extract.Decimal, form: formPlain}, 1082: {kind: extract.Date, form: formDate},
	1083: {kind: extract.Time, form: formTime}, 1114: {kind: extract.DateTime, form: formDateTime},
	1184: {kind: extract.DateTime, form: formDateTime},
}

func postgresColumn(f pgconn.FieldDescription) column {
	c, ok := postgresTypes[f.DataTypeOID]
	if !ok {
		c = column{kind: extract.Text, form: formText}
	}
	c.name = f.Name
	return c
}

// postgres is a snapshot of PostgreSQL and the connections that read in it.
type postgres struct {
	config     *pgconn.Config
	connect    time.Duration
	settings   string
	keeper     *pgconn.PgConn // keeps the snapshot and does nothing else, so that no cancelled query can end it
	id         string         // by which other connections import it
	name       string
	version    int
	block      int64
	shardPages int64
	places     chan struct{} // one for each connection that may be open

	mu     sync.Mutex
	idle   []*pgconn.PgConn
	closed bool
}

func openPostgres(ctx context.Context, o Options) (session, string, error) {
	config, err := pgconn.ParseConfig(o.DSN.text())
	if err != nil {
		return nil, "", errDSN
	}
	host := net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	config.ConnectTimeout = o.Timeouts.Connect
	config.DialFunc = (&net.Dialer{Timeout: o.Timeouts.Connect, KeepAlive: 15 * time.Second}).DialContext
	config.OnNotice = nil
	build := config.BuildFrontend
	config.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
		f := build(r, w)
		f.SetMaxBodyLen(maxMessage)
		return f
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "chartlift"
	}
	s := &postgres{config: config, connect: o.Timeouts.Connect, places: make(chan struct{}, o.Connections),
		settings: fmt.Sprintf(postgresSettings, o.Timeouts.Statement.Milliseconds())}
	if s.keeper, err = s.dial(ctx); err != nil {
		return nil, host, err
	}
	row, err := oneRow(ctx, s.keeper, postgresExport)
	if err != nil {
		s.close()
		return nil, host, err
	}
	s.id, s.name = row[0], "postgres "+row[1]
	s.version, _ = strconv.Atoi(row[2])
	s.block, _ = strconv.ParseInt(row[3], 10, 64)
	if s.block <= 0 || row[4] == "" {
		s.close()
		return nil, host, plain("the connection has no default schema: set search_path in the connection string")
	}
	s.shardPages = max(1, o.ShardSize/s.block)
	return s, host, nil
}

// dial opens a connection and begins its transaction.
func (s *postgres) dial(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := pgconn.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{s.settings, postgresBegin} {
		if _, err := c.Exec(ctx, statement).ReadAll(); err != nil {
			s.hangUp(c)
			return nil, err
		}
	}
	return c, nil
}

func (s *postgres) hangUp(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // for a farewell to a server that may be gone
	defer cancel()
	_ = c.Close(ctx)
}

// acquire returns a connection in the snapshot, when there is a place for it.
func (s *postgres) acquire(ctx context.Context) (*pgconn.PgConn, error) {
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	closed := s.closed
	var c *pgconn.PgConn
	if n := len(s.idle); n > 0 {
		c, s.idle = s.idle[n-1], s.idle[:n-1]
	}
	s.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := s.join(ctx, closed)
	if err != nil {
		<-s.places
		return nil, err
	}
	return c, nil
}

// join opens a connection that imports the snapshot.
func (s *postgres) join(ctx context.Context, closed bool) (*pgconn.PgConn, error) {
	if closed {
		return nil, ErrLost
	}
	ctx, cancel := context.WithTimeout(ctx, s.connect)
	defer cancel()
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+s.id+"'").ReadAll(); err != nil {
		s.hangUp(c)
		if Postgres.code(err) != "" { // the server is there and does not know the snapshot: who keeps it is gone
			return nil, ErrLost
		}
		return nil, err
	}
	return c, nil
}

// release takes a connection back; one whose transaction was broken is not used again.
func (s *postgres) release(c *pgconn.PgConn) {
	s.mu.Lock()
	keep := !s.closed && !c.IsClosed() && c.TxStatus() == 'T'
	if keep {
		s.idle = append(s.idle, c)
	}
	s.mu.Unlock()
	if !keep {
		s.hangUp(c)
	}
	<-s.places
}

func (s *postgres) close() {
	s.mu.Lock()
	idle := append(s.idle, s.keeper)
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range idle {
		s.hangUp(c)
	}
}

func (s *postgres) snapshot() string  { return s.name }
func (s *postgres) notices() []string { return nil }

// with lends a connection to f.
func (s *postgres) with(ctx context.Context, f func(*pgconn.PgConn) error) error {
	c, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release(c)
	return f(c)
}

// texts runs a query whose rows are few.
func texts(ctx context.Context, c *pgconn.PgConn, query string, args ...string) ([][]string, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	result := c.ExecParams(ctx, query, values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]string, len(result.Rows))
	for i, row := range result.Rows {
		for _, cell := range row {
			rows[i] = append(rows[i], string(cell))
		}
	}
	return rows, nil
}

func oneRow(ctx context.Context, c *pgconn.PgConn, query string) ([]string, error) {
	rows, err := texts(ctx, c, query)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, plain("the server answered %d rows where one was asked for", len(rows))
	}
	return rows[0], nil
}

func (s *postgres) list(ctx context.Context) (names []string, err error) {
	err = s.with(ctx, func(c *pgconn.PgConn) error {
		rows, err := texts(ctx, c, postgresList)
		for _, row := range rows {
			names = append(names, row[0])
		}
		return err
	})
	return names, err
}

// heap is a relation of which records are read by page.
type heap struct {
	schema, name string
	paged        bool
	bytes        int64
}

func (s *postgres) heaps(ctx context.Context, c *pgconn.PgConn, table string) ([]heap, error) {
	rows, err := texts(ctx, c, postgresHeaps, table)
	if err != nil {
		return nil, err
	}
	heaps := make([]heap, len(rows))
	for i, row := range rows {
		heaps[i] = heap{schema: row[0], name: row[1], paged: row[2] == "r" || row[2] == "m"}
		heaps[i].bytes, _ = strconv.ParseInt(row[3], 10, 64)
	}
	return heaps, nil
}

func (s *postgres) describe(ctx context.Context, table, query string) (columns []column, err error) {
	err = s.with(ctx, func(c *pgconn.PgConn) error {
		if query == "" {
			found, err := texts(ctx, c, postgresFind, table)
			if err != nil {
				return err
			}
			if len(found) == 0 {
				return errNoTable
			}
			query = "SELECT *" + pages{Schema: found[0][0], Relation: table}.from()
		}
		d, err := c.Prepare(ctx, "", query, nil)
		if err != nil {
			return err
		}
		if len(d.ParamOIDs) > 0 {
			return plain("the query has parameters ($1); write their values into it")
		}
		for _, f := range d.Fields {
			columns = append(columns, postgresColumn(f))
		}
		return nil
	})
	return columns, err
}

// pages is the position of a piece: pages of a heap, all of it from a page on, or, without pages, all rows of a view or
// of a query.
type pages struct {
	Schema   string `json:"schema,omitempty"`
	Relation string `json:"relation,omitempty"`
	Paged    bool   `json:"paged,omitempty"`
	From     int64  `json:"from,omitempty"`
	To       int64  `json:"to,omitempty"`      // the first page behind; 0: to the end
	Records  *int64 `json:"records,omitempty"` // how many there must be
}

func (p pages) where() string {
	if !p.Paged {
		return ""
	}
	where := fmt.Sprintf(" WHERE ctid >= '(%d,0)'", p.From)
	if p.To > 0 {
		where += fmt.Sprintf(" AND ctid < '(%d,0)'", p.To)
	}
	return where
}

// from is the FROM clause. ONLY does not go with views.
func (p pages) from() string {
	only := ""
	if p.Paged {
		only = "ONLY "
	}
	return " FROM " + only + Postgres.quote(p.Schema) + "." + Postgres.quote(p.Relation) + p.where()
}

func (p pages) text() string {
	text, _ := json.Marshal(p) // of strings and numbers: cannot fail
	return string(text)
}

func (s *postgres) cut(ctx context.Context, p *plan) (pieces []piece, err error) {
	if p.query != "" {
		return []piece{{position: pages{}.text()}}, nil
	}
	err = s.with(ctx, func(c *pgconn.PgConn) error {
		heaps, err := s.heaps(ctx, c, p.table.Name)
		if err != nil {
			return err
		}
		var all []pages
		for _, h := range heaps {
			at := pages{Schema: h.schema, Relation: h.name, Paged: h.paged}
			if s.version >= rangeScans && h.paged {
				for ; (at.From+s.shardPages)*s.block < h.bytes; at.From += s.shardPages {
					at.To = at.From + s.shardPages
					all = append(all, at)
					pieces = append(pieces, piece{bytes: s.shardPages * s.block})
				}
				at.To = 0
			}
			all = append(all, at)
			pieces = append(pieces, piece{bytes: h.bytes - at.From*s.block})
		}
		if len(all) == 0 { // a partitioned table without partitions
			pieces = []piece{{position: pages{}.text()}}
		}
		for i, at := range all {
			if len(all) > 1 {
				row, err := oneRow(ctx, c, "SELECT pg_catalog.count(*)"+at.from())
				if err != nil {
					return err
				}
				n, err := strconv.ParseInt(row[0], 10, 64)
				if err != nil {
					return plain("the server counted no number")
				}
				pieces[i].records, at.Records = n, &n
			}
			pieces[i].position = at.text()
		}
		return nil
	})
	return pieces, err
}

func (s *postgres) open(ctx context.Context, p *plan, position string) (cursor, error) {
	var at pages
	if err := json.Unmarshal([]byte(position), &at); err != nil {
		return nil, plain("the shard's position is malformed")
	}
	query := p.query
	switch {
	case query != "":
	case at.Relation == "":
		return nothing{}, nil
	default:
		query = "SELECT " + Postgres.list("", p.table.Columns) + at.from()
	}
	c, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	formats := make([]int16, len(p.columns))
	for i, col := range p.columns {
		if col.form == formBytes {
			formats[i] = 1 // binary: half of the hexadecimal text
		}
	}
	cur := &postgresCursor{session: s, conn: c, columns: p.columns, left: -1}
	if at.Records != nil {
		cur.left = *at.Records
	}
	ctx, cur.cancel = context.WithCancel(ctx)
	cur.result = c.ExecParams(ctx, query, nil, nil, nil, formats)
	return cur, nil
}

// postgresCursor reads one result.
type postgresCursor struct {
	session *postgres
	conn    *pgconn.PgConn
	cancel  context.CancelFunc
	result  *pgconn.ResultReader
	columns []column
	left    int64 // how many records must still come; negative if nobody has counted
	ended   bool
}

func (c *postgresCursor) next(r *row) (bool, error) {
	if !c.result.NextRow() {
		c.ended = true
		_, err := c.result.Close()
		var long *pgproto3.ExceededMaxBodyLenErr
		switch {
		case errors.As(err, &long):
			return false, plain("a record is larger than %d bytes: leave its largest column out with a query", int64(maxMessage))
		case err != nil:
			return false, err
		case c.left > 0:
			return false, plain("it has fewer records than when it was cut into shards: extraction must start anew")
		}
		return false, nil
	}
	if c.left == 0 {
		return false, plain("it has more records than when it was cut into shards: extraction must start anew")
	}
	if c.left > 0 {
		c.left--
	}
	values := c.result.Values()
	if len(values) != len(c.columns) {
		return false, plain("it has other columns than when it was looked at")
	}
	for i, v := range values {
		if v == nil {
			r.setNull(i)
			continue
		}
		r.set(i, c.columns[i].form, v)
	}
	return true, nil
}

// close ends the query. If rows are still to come it breaks the connection off instead of waiting for them.
func (c *postgresCursor) close() {
	if !c.ended {
		c.cancel()
		_, _ = c.result.Close()
	}
	c.cancel()
	c.session.release(c.conn)
}

// nothing is the cursor of a table without rows.
type nothing struct{}

func (nothing) next(*row) (bool, error) { return false, nil }
func (nothing) close()                  {}
