// Package sqldump reads SQL dumps: the files that mysqldump, mariadb-dump, pg_dump, sqlite3, SQL Server Management Studio
// and Oracle's tools write. Rows are read out of INSERT and COPY as data; nothing is executed.
//
// # What is read
//
// The files of a source are read in their order as one database: a schema and its data may lie in different ones. Tables
// and the kinds of their columns come from CREATE TABLE (and ALTER TABLE … ADD COLUMN), or, if there is none, from the
// list of columns in INSERTs. A table is named without its schema, unless two have the same name; names that are not
// quoted are folded as the database folds them (Oracle upper, PostgreSQL lower case), so a mapping for the live
// database serves. Generated columns are left out: their values are not in a dump. A column that an INSERT does not
// name is NULL in it, whatever its default. Values are literals, casts of them, concatenations, and the few calls that
// dumps are written with (TO_DATE, HEXTORAW, unistr, …); cells have the form that extract.Kind describes. A session's
// settings are followed as far as they say how to read on: character set, time zone, sql_mode, delimiter,
// standard_conforming_strings, search_path, and the database of USE.
//
// Comments, stored code, permissions, indexes and queries are passed.
//
// # What is refused
//
// A row that cannot be read is an extract.Fault with its place and rule, and reading goes on with the next: a wrong
// number of values, an expression, text that is not text in the character set, a value over a cap (which is streamed past,
// not held). INSERT … SELECT, LOAD DATA and rows under an IF of T-SQL add rows that are not in the dump, or only perhaps:
// they are refused as one record. Where a string closes at the wrong place nobody can tell text from code, and reading
// goes on at the next line that begins like a statement. Where a statement or a COPY block is cut off by the end of the
// file, that is a fault in the table that it is for.
//
// DROP TABLE, TRUNCATE and a DELETE of all rows are followed: what they took away is not read. Other statements that
// change rows already written (UPDATE, DELETE … WHERE, MERGE, an upsert, ALTER TABLE … DROP COLUMN) cannot be, since
// nothing is executed; reading on as if they were not there would yield rows that the database did not have. So Shards
// and Read of that table, and of no other, return an error with the file and line of the statement.
//
// What is wrong with the dump as a whole (another product's tool wrote it than the plan says, it ends inside a CREATE
// TABLE or a transaction, lacks the last line of mysqldump or pg_dump, reads another file, names rows of a table that
// nobody created, or of none by the rules of the dialect) is an error of Tables.
//
// # Shards
//
// One pass over all files, by the code that also reads, learns where the rows of each table lie. A shard is a range of
// bytes with the state that the reader must begin with: within which statement, and in which settings. Rows of other
// tables within it are passed; so it stays few shards where tables take turns, and memory does not grow with rows.
//
// Files that end in .gz and .zst are unpacked while they are read. Up to 64 MiB of unpacked text stay in memory, so a
// table of a small packed dump costs no second unpacking. A larger packed file is one shard for each table, and reading
// it unpacks what lies before; plaintext is never written to disk. A large dump is read faster unpacked. What unpacks to more than Options.MaxUnpacked bytes, and to more than Options.MaxRatio times its
// size, is an error where the bound is reached.
package sqldump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
	"github.com/chartlift/chartlift/pipeline/internal/glob"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// Defaults of Options, as for CSV.
const (
	DefaultShardSize  = 8 << 20
	DefaultMaxField   = 1 << 20
	DefaultMaxRecord  = 16 << 20
	DefaultMaxColumns = 4096

	DefaultMaxUnpacked = 2 << 30
	DefaultMaxRatio    = 500
)

// Options of one dump. The zero value of each is its default, but for Dialect, which has none.
type Options struct {
	Name  string   // the source's name in the plan
	Dir   string   // folder that Files are relative to; "" is the working folder
	Files []string // paths or globs (filepath.Match), read in order as one database; a glob that matches nothing is an error

	Dialect  string         // one of Dialects
	Encoding string         // by name, see Encodings; "" is what the mark at the file's start or the dump itself says, else UTF-8
	Zone     *time.Location // in which instants are shown; nil is UTC

	ShardSize  int64 // bytes
	MaxField   int   // bytes of one value
	MaxRecord  int   // bytes of one row; also about the most that the reader holds
	MaxColumns int   // columns of a table, and values of a row

	MaxUnpacked int64 // bytes that a packed file may unpack to, however small it is
	MaxRatio    int64 // beyond that: how many times its own size
}

// Source reads the files of one dump. It implements extract.Source.
type Source struct {
	options  Options
	dialect  dialect
	declared *charset.Charset // nil if the plan declares none
	files    []file

	planning chan struct{} // held while planned is looked at
	planned  *plan
}

var _ extract.Source = (*Source)(nil)

// Open checks the options and finds the files; Tables reads them. The error lists all that is wrong.
func Open(o Options) (*Source, error) {
	s := &Source{options: o, planning: make(chan struct{}, 1)}
	var faults []error
	var err error
	if s.dialect, err = lookupDialect(o.Dialect); err != nil {
		faults = append(faults, err)
	}
	if o.Encoding != "" {
		if s.declared, err = charset.Lookup(o.Encoding); err != nil {
			faults = append(faults, err)
		}
	}
	d := &s.options
	if d.ShardSize < 0 || d.MaxField < 0 || d.MaxRecord < 0 || d.MaxColumns < 0 || d.MaxUnpacked < 0 || d.MaxRatio < 0 {
		faults = append(faults, errors.New("sizes must not be negative"))
	}
	d.ShardSize = cmp.Or(d.ShardSize, DefaultShardSize)
	d.MaxField = cmp.Or(d.MaxField, DefaultMaxField)
	d.MaxRecord = cmp.Or(d.MaxRecord, DefaultMaxRecord)
	d.MaxColumns = cmp.Or(d.MaxColumns, DefaultMaxColumns)
	d.MaxUnpacked = cmp.Or(d.MaxUnpacked, DefaultMaxUnpacked)
	d.MaxRatio = cmp.Or(d.MaxRatio, DefaultMaxRatio)
	if err := s.find(); err != nil {
		faults = append(faults, err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("sql dump %s: %w", o.Name, errors.Join(faults...))
	}
	return s, nil
}

// find expands the globs, in order. A file that two of them match is read once, where it comes first.
func (s *Source) find() error {
	if len(s.options.Files) == 0 {
		return errors.New("no file is named")
	}
	var faults []error
	seen := map[string]bool{}
	for _, pattern := range s.options.Files {
		found, err := glob.Find(s.options.Dir, pattern)
		if err == nil && len(found) == 0 {
			err = errors.New("no such file")
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", pattern, err))
		}
		for _, f := range found {
			if !seen[f.Path] {
				seen[f.Path] = true
				kind, _ := packed.By(f.Path)
				s.files = append(s.files, file{f, kind})
			}
		}
	}
	return errors.Join(faults...)
}

// Tables reads all files, once, and returns the tables that the database has behind the last of them. The error lists
// what is wrong with the dump, each fault as file:line: what.
func (s *Source) Tables(ctx context.Context) ([]*extract.Table, error) {
	p, err := s.plan(ctx)
	if err != nil {
		return nil, err
	}
	return append([]*extract.Table(nil), p.listed...), nil
}

// table finds a table in the plan.
func (s *Source) table(p *plan, t *extract.Table) (*table, error) {
	if t == nil {
		return nil, fmt.Errorf("sql dump %s: no table given", s.options.Name)
	}
	found := p.tables[t.Name]
	if found == nil {
		return nil, fmt.Errorf("sql dump %s has no table %s", s.options.Name, t.Name)
	}
	if found.blocked != nil {
		return nil, fmt.Errorf("sql dump %s: %w", s.options.Name, found.blocked)
	}
	return found, nil
}

// Shards returns where the rows of a table lie, in pieces of about Options.ShardSize bytes.
func (s *Source) Shards(ctx context.Context, t *extract.Table) ([]extract.Shard, error) {
	p, err := s.plan(ctx)
	if err != nil {
		return nil, err
	}
	found, err := s.table(p, t)
	if err != nil {
		return nil, err
	}
	var shards []extract.Shard
	for i, g := range found.pieces() {
		shards = append(shards, p.shard(t, i, g))
	}
	return shards, nil
}

// Read yields the records of a shard; see extract.Source.
func (s *Source) Read(ctx context.Context, shard extract.Shard, done *extract.Digest) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		if err := s.read(ctx, shard, done, yield); err != nil {
			yield(nil, err)
		}
	}
}
