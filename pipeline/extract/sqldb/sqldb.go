// Package sqldb reads live databases: PostgreSQL, MySQL and MariaDB, SQL Server, Oracle and SQLite.
//
// # One state of the database
//
// All that a Source yields comes from one snapshot, taken by Open, as far as the engine has such a thing:
//
//	PostgreSQL   a REPEATABLE READ, READ ONLY transaction that exports its snapshot; every connection imports it
//	MySQL        START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY (InnoDB; tables of other engines get a notice)
//	SQLite       a read transaction: in rollback-journal mode it keeps writers from committing until Close
//	SQL Server   SNAPSHOT isolation if the database allows it, else READ COMMITTED, with a notice
//	Oracle       SET TRANSACTION READ ONLY
//
// Only PostgreSQL can show one snapshot to several connections. There a table is split into shards, read in parallel. With
// the others a table is one shard, and Reads take turns on the one connection that has the snapshot: a Read waits until
// the one before it has come to its end or was broken off. Whoever starts a Read inside the loop of another one of the
// same Source waits for ever; two Sources do not wait for each other.
//
// Until Close the tables cannot be altered or dropped (PostgreSQL, MySQL), and the server keeps old versions of rows.
//
// The sessions are read-only where the engine knows that, but a function that a query of the user calls may still do what
// the account is allowed to: an account that can only read is the real guard.
//
// # Cells
//
// Cells have the one form that extract.Kind describes, made from what the engine itself writes, never by way of a float
// unless the column is one. Session settings that would change the text (time zone, date style, float digits) are fixed.
// Instants are shown in Options.Zone. SQLite's values have types of their own: one that does not agree with its column's
// declared type stays as found, but bytes in a column of another type are refused (extract.RuleBytesInText).
//
// A database has no lines: Record.Line is the ordinal. Ordinals are those of the order in which the table is read: the
// physical one in PostgreSQL, that of the primary key or of the storage elsewhere, and that of the query for a query,
// which therefore needs an ORDER BY to be read equally twice.
//
// The digest of a shard is the SHA-256 over its cells, NULLs told from empty texts, each led by its length.
package sqldb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// Engine is a kind of database server.
type Engine string

// The engines. MySQL stands for MariaDB too.
const (
	Postgres  Engine = "postgres"
	MySQL     Engine = "mysql"
	SQLite    Engine = "sqlite"
	SQLServer Engine = "sqlserver"
	Oracle    Engine = "oracle"
)

// Defaults of Options.
const (
	DefaultShardSize   = 8 << 20  // as csv's: large enough that a query more does not show, small enough for all cores
	DefaultMaxField    = 16 << 20 // photos and scanned letters fit
	DefaultConnections = 8        // a legacy server must go on serving others
	DefaultConnect     = 30 * time.Second
)

// Options of one database. The zero value of each is its default, where it has one.
type Options struct {
	Name   string // the source's name in the plan
	Engine Engine
	DSN    DSN     // see Engine.Form
	Tables []Table // what to read; empty: all base tables of the default schema (MySQL: database)

	Zone        *time.Location // in which instants are shown; nil is UTC
	ShardSize   int64          // bytes of a table in one shard (PostgreSQL)
	MaxField    int            // bytes of one cell as the database holds it; a longer one is refused (extract.RuleFieldTooLong)
	Connections int            // how many at once, besides the one that keeps the snapshot (PostgreSQL)
	Timeouts    Timeouts
}

// Table is one table of a source.
type Table struct {
	Name  string // as mappings name it; without Query also the database's name of a table or view of the default schema
	Query string // a SELECT whose rows are the table; sent as it is
}

// Timeouts bound what a server may make us wait for.
type Timeouts struct {
	Connect   time.Duration // until a connection is there and has its snapshot
	Statement time.Duration // for one statement, for a Read until its last record was taken; 0 is no bound
}

// Source reads one database. It implements extract.Source; Close must be called.
type Source struct {
	options Options
	session session
	host    string // shown in errors
	turn    chan struct{}
	tables  []*extract.Table // once listed
	plans   map[string]*plan
}

var _ extract.Source = (*Source)(nil)

// plan is how a table is read.
type plan struct {
	table   *extract.Table
	query   string // of the user, or "" for the table itself
	columns []column
}

// column is one of a table's, and how its cells are made.
type column struct {
	name string
	kind extract.Kind
	form form
}

// piece is a part of a table.
type piece struct {
	position string
	records  int64 // at least where another piece follows
	bytes    int64 // about
}

// session is what an engine does, all within one snapshot. Its errors may be of the driver; see Source.fail.
type session interface {
	// list returns the names of the base tables of the default schema.
	list(ctx context.Context) ([]string, error)
	// describe returns the columns of a table or view of the default schema, or of the query if that is not "".
	describe(ctx context.Context, table, query string) ([]column, error)
	// cut splits a table into pieces, at least one, in the order in which they are read.
	cut(ctx context.Context, p *plan) ([]piece, error)
	// open begins to read a piece.
	open(ctx context.Context, p *plan, position string) (cursor, error)
	snapshot() string
	notices() []string
	close()
}

// cursor walks over rows. It is used by one goroutine.
type cursor interface {
	// next fills the row and says whether there was one more.
	next(r *row) (bool, error)
	// close releases what the cursor holds, wherever it stands.
	close()
}

// errNoTable says that a table is not in the default schema.
var errNoTable = errors.New("it is not a table or view of the default schema; for another schema give a query")

// Open connects and takes the snapshot, within Timeouts.Connect. The error lists all that is wrong with the options; it
// names the server's host, never the user or the password.
func Open(ctx context.Context, o Options) (*Source, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("source %s: %w", o.Name, err)
	}
	s := &Source{options: o.defaults(), turn: make(chan struct{}, 1)}
	connecting, cancel := context.WithTimeout(ctx, s.options.Timeouts.Connect)
	defer cancel()
	var err error
	if o.Engine == Postgres {
		s.session, s.host, err = openPostgres(connecting, s.options)
	} else {
		s.session, s.host, err = openSerial(connecting, s.options)
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, errDSN):
		return nil, fmt.Errorf("source %s: the connection string has not the form %s", o.Name, o.Engine.Form())
	case ctx.Err() == nil && connecting.Err() != nil:
		return nil, fmt.Errorf("source %s: connect to %s at %s: no answer within %s", o.Name, o.Engine, s.host,
			s.options.Timeouts.Connect)
	}
	return nil, s.fail(ctx, "connect to "+string(o.Engine)+" at "+s.host, err)
}

// errDSN says that a connection string cannot be parsed. The parsers' own errors quote it.
var errDSN = errors.New("malformed connection string")

// Form is how a connection string of the engine looks.
func (e Engine) Form() string {
	switch e {
	case Postgres:
		return "postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full"
	case MySQL:
		return "mysql://USER:PASSWORD@HOST:PORT/DATABASE?tls=true, or USER:PASSWORD@tcp(HOST:PORT)/DATABASE"
	case SQLServer:
		return "sqlserver://USER:PASSWORD@HOST:PORT?database=DATABASE&encrypt=true"
	case Oracle:
		return "oracle://USER:PASSWORD@HOST:PORT/SERVICE, without trace options"
	case SQLite:
		return "PATH of an existing file"
	}
	return ""
}

func (o Options) check() error {
	var faults []string
	if o.Engine.Form() == "" {
		faults = append(faults, fmt.Sprintf("engine %q is none of postgres, mysql, sqlite, sqlserver, oracle", string(o.Engine)))
	}
	if o.DSN.text() == "" {
		faults = append(faults, "the connection string is empty")
	}
	if o.ShardSize < 0 || o.MaxField < 0 || o.Connections < 0 || o.Timeouts.Connect < 0 || o.Timeouts.Statement < 0 {
		faults = append(faults, "a size, number or timeout is negative")
	}
	seen := map[string]bool{}
	for _, t := range o.Tables {
		if strings.TrimSpace(t.Name) == "" {
			faults = append(faults, "a table has no name")
			continue
		}
		if seen[t.Name] {
			faults = append(faults, fmt.Sprintf("table %q is listed twice", t.Name))
		}
		seen[t.Name] = true
		if t.Query != "" {
			if err := checkQuery(o.Engine, t.Query); err != nil {
				faults = append(faults, fmt.Sprintf("table %q: %v", t.Name, err))
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

func (o Options) defaults() Options {
	if o.ShardSize == 0 {
		o.ShardSize = DefaultShardSize
	}
	if o.MaxField == 0 {
		o.MaxField = DefaultMaxField
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Timeouts.Connect == 0 {
		o.Timeouts.Connect = DefaultConnect
	}
	return o
}

// Close ends the transactions and connections. Reads that are under way fail, or still come to their end; none begins
// after it. It may be called twice.
func (s *Source) Close() error {
	s.session.close()
	return nil
}

// Snapshot names the state that is read, as the server knows it: a transaction snapshot of PostgreSQL, a place in the
// binary log of MariaDB. It is "" where the engine has no name for it; then only the digests tell two states apart.
func (s *Source) Snapshot() string { return s.session.snapshot() }

// Notices are remarks on what the snapshot does not hold together, as sentences.
func (s *Source) Notices() []string { return s.session.notices() }

// Tables lists the tables with their columns. They are looked up once: the snapshot does not change.
func (s *Source) Tables(ctx context.Context) ([]*extract.Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.plans != nil {
		return s.tables, nil
	}
	wanted := s.options.Tables
	if len(wanted) == 0 {
		names, err := s.session.list(ctx)
		if err != nil {
			return nil, s.fail(ctx, "list the tables", err)
		}
		for _, name := range names {
			wanted = append(wanted, Table{Name: name})
		}
		if len(wanted) == 0 {
			return nil, fmt.Errorf("source %s: the default schema has no tables that this user sees", s.options.Name)
		}
	}
	plans := map[string]*plan{}
	var tables []*extract.Table
	var faults []error
	for _, w := range wanted {
		columns, err := s.session.describe(ctx, w.Name, w.Query)
		switch {
		case errors.Is(err, errNoTable):
		case err != nil && (ctx.Err() != nil || errors.Is(err, ErrLost)):
			return nil, s.fail(ctx, fmt.Sprintf("look at table %q", w.Name), err)
		case err != nil:
			err = s.shown(err)
		default:
			err = checkColumns(columns)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("table %q: %w", w.Name, err))
			continue
		}
		t := &extract.Table{Source: s.options.Name, Name: w.Name}
		for _, c := range columns {
			t.Columns = append(t.Columns, c.name)
			t.Kinds = append(t.Kinds, c.kind)
		}
		tables = append(tables, t)
		plans[w.Name] = &plan{table: t, query: w.Query, columns: columns}
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("source %s: %w", s.options.Name, errors.Join(faults...))
	}
	slices.SortFunc(tables, func(a, b *extract.Table) int { return strings.Compare(a.Name, b.Name) })
	s.tables, s.plans = tables, plans
	return tables, nil
}

// checkColumns lists all blank and doubled names.
func checkColumns(columns []column) error {
	var faults []string
	first := map[string]int{}
	for i, c := range columns {
		if strings.TrimSpace(c.name) == "" {
			faults = append(faults, fmt.Sprintf("column %d has no name: name it with AS", i+1))
			continue
		}
		if j, ok := first[c.name]; ok {
			faults = append(faults, fmt.Sprintf("column %d has the name of column %d, %q: name one with AS", i+1, j+1, c.name))
			continue
		}
		first[c.name] = i
	}
	if len(columns) == 0 {
		faults = append(faults, "it has no columns")
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

// plan finds how a table is read. A table that went through JSON is as good as our own.
func (s *Source) plan(ctx context.Context, t *extract.Table) (*plan, error) {
	if _, err := s.Tables(ctx); err != nil {
		return nil, err
	}
	p := s.plans[t.Name] // not written again once Tables has filled it
	if p == nil || t.Source != s.options.Name {
		return nil, fmt.Errorf("source %s has no table %q", s.options.Name, t.Name)
	}
	if !slices.Equal(p.table.Columns, t.Columns) {
		return nil, fmt.Errorf("source %s: table %q has other columns than when it was cut into shards", s.options.Name, t.Name)
	}
	return p, nil
}

// Shards splits a table of PostgreSQL into ranges of pages, of about Options.ShardSize. To know their ordinals it counts
// the records of each. A query, a view, and any table of another engine is one shard.
func (s *Source) Shards(ctx context.Context, t *extract.Table) ([]extract.Shard, error) {
	p, err := s.plan(ctx, t)
	if err != nil {
		return nil, err
	}
	pieces, err := s.session.cut(ctx, p)
	if err != nil {
		return nil, s.fail(ctx, fmt.Sprintf("cut table %q", t.Name), err)
	}
	shards := make([]extract.Shard, len(pieces))
	ordinal := int64(1)
	for i, piece := range pieces {
		shards[i] = extract.Shard{Table: p.table, Index: i, Position: piece.position, Bytes: piece.bytes, FirstLine: ordinal,
			FirstOrdinal: ordinal}
		ordinal += piece.records
	}
	return shards, nil
}

// Read yields the records of a shard; see extract.Source. It is refused with ErrLost once the snapshot is gone.
func (s *Source) Read(ctx context.Context, shard extract.Shard, done *extract.Digest) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		if done != nil {
			*done = extract.Digest{}
		}
		if err := s.read(ctx, shard, done, yield); err != nil {
			yield(nil, err)
		}
	}
}

// fail is the one way by which errors of a server leave the package, but for shown.
func (s *Source) fail(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("source %s: %s: %w", s.options.Name, op, s.shown(err))
}

// shown is an error without the words of the server, unless it is ours.
func (s *Source) shown(err error) error {
	if known(err) || errors.Is(err, errPlain) {
		return err
	}
	return s.options.Engine.foreign(err)
}
