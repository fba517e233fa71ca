// Package csv reads folders of CSV files: one table per file, in byte-range shards, malformed records refused one by
// one.
//
// # What is read
//
// The form is RFC 4180 as Go's encoding/csv reads it in strict mode: a field that begins with a quote ends at the next
// quote that is not doubled, delimiters and line ends inside it are text; a quote anywhere else in a field is a fault.
// A line end is LF or CRLF, mixed at will; a CR elsewhere is text. Unlike encoding/csv, CRLF inside a quoted field
// stays CRLF, since cells are kept as found. An empty line is no record, and still counts as a line. A byte order mark
// is dropped. The last line needs no end.
//
// # What is refused, and where reading goes on
//
// A malformed record is answered as an extract.Fault. The rule for where it ends keeps one stray quote from swallowing
// the rest of the file:
//
//   - Where the quotes of a record are in order (ragged row, NUL, bytes that are no text, field too long), the record
//     ends where its quotes say, and reading goes on behind it.
//   - Where they are not (a quote inside an unquoted field, text behind a closing quote, a quote that never closes, a
//     record over the cap), the refused record is its first physical line, and reading goes on at the next line. What
//     was meant as one record of several lines may so become several faults, never a silent loss: each line that holds
//     anything is in exactly one record, accepted or refused.
//
// # Why shards and the whole file agree
//
// Where a record ends depends only on the bytes from its start on, within the cap on records. One planning pass walks
// over the file from record to record with the same code that reads it (a line with an even number of quotes is one
// record, whatever is in it, so mostly it looks for line ends only) and cuts at the first record behind each multiple
// of the shard size; so each shard begins at a record and knows its line and ordinal. It does not cut within the reach
// of a quote that closed nowhere, so that a shard names the same rules as the whole file does.
package csv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// NoQuote as Options.Quote says that no byte quotes: every delimiter and line end counts.
const NoQuote rune = -1

// Defaults of Options.
const (
	DefaultShardSize  = 8 << 20  // large enough that opening a file does not show, small enough to keep all cores busy
	DefaultMaxField   = 1 << 20  // encoding/csv has no cap: one stray quote makes a field of a gigabyte
	DefaultMaxRecord  = 16 << 20 // also the most that the reader buffers
	DefaultMaxColumns = 4096     // twice of what databases allow in a table
)

// Options of one CSV source. The zero value of each is its default.
type Options struct {
	Name  string   // the source's name in the plan
	Dir   string   // folder that Files are relative to; "" is the working folder
	Files []string // paths or globs (filepath.Match); a glob that matches nothing is an error

	Encoding  string // by name, see Encodings; "" is UTF-8
	Delimiter rune   // 0 is a comma; one byte of ASCII
	Quote     rune   // 0 is `"`; NoQuote for none
	LineEnd   rune   // 0 is LF or CRLF; '\r' for files of old Macs, whose lines end with CR alone

	Header  int      // physical line of the header; lines before it are skipped. 0 is the first line with something in it
	Columns []string // names of the columns, if the files have no header

	ShardSize  int64 // bytes
	MaxField   int   // bytes of one field, without its outer quotes
	MaxRecord  int   // bytes of one record without its last line end
	MaxColumns int   // columns of a table, and cells of a row
}

// Source reads CSV files. It implements extract.Source.
type Source struct {
	options Options
	charset charset
	files   []file
}

// file is one table's file.
type file struct {
	table string
	path  string // to open it
	shown string // as people see it: relative to Options.Dir if the glob was
}

var _ extract.Source = (*Source)(nil)

// Open checks the options and finds the files. Their headers are read by Tables. The error lists all that is wrong
// with the options, or with the files.
//
// A table is named for its file without extension: visits.csv, visits.csv.gz and visits.csv.zst all hold `visits`, so
// only one of them may be there. Files that end in .gz and .zst are unpacked while they are read.
func Open(o Options) (*Source, error) {
	s := &Source{options: o}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	c, err := lookupCharset(o.Encoding)
	if err != nil {
		faults = append(faults, err)
	}
	s.charset = c
	d := &s.options
	set(&d.Delimiter, ',')
	set(&d.Quote, '"')
	set(&d.LineEnd, '\n')
	set(&d.ShardSize, DefaultShardSize)
	set(&d.MaxField, DefaultMaxField)
	set(&d.MaxRecord, DefaultMaxRecord)
	set(&d.MaxColumns, DefaultMaxColumns)
	if d.LineEnd != '\n' && d.LineEnd != '\r' {
		fault("the line end must be LF or CR")
	}
	for _, c := range []struct {
		what string
		r    rune
	}{{"delimiter", d.Delimiter}, {"quote", d.Quote}} {
		if c.r == NoQuote && c.what == "quote" {
			continue
		}
		if c.r <= 0 || c.r >= utf8.RuneSelf || c.r == '\r' || c.r == '\n' {
			fault("the %s must be one ASCII character and no line end", c.what)
		}
	}
	if d.Delimiter == d.Quote {
		fault("delimiter and quote are the same character")
	}
	if d.ShardSize < 0 || d.MaxField < 0 || d.MaxRecord < 0 || d.MaxColumns < 0 || d.Header < 0 {
		fault("sizes and the number of the header line must not be negative")
	}
	if d.Header > 0 && len(d.Columns) > 0 {
		fault("columns are named in the plan and a header line is given too")
	}
	if err := checkColumns(d.Columns, d.MaxColumns); len(d.Columns) > 0 && err != nil {
		fault("columns named in the plan: %w", err)
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("csv source %s: %w", o.Name, errors.Join(faults...))
	}
	if err := s.find(); err != nil {
		return nil, fmt.Errorf("csv source %s: %w", o.Name, err)
	}
	return s, nil
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// find expands the globs.
func (s *Source) find() error {
	var faults []error
	if len(s.options.Files) == 0 {
		return errors.New("no file is named")
	}
	seen := map[string]bool{}
	for _, pattern := range s.options.Files {
		full := filepath.FromSlash(pattern)
		if !filepath.IsAbs(full) {
			full = filepath.Join(escapeGlob(s.options.Dir), full)
		}
		found, err := filepath.Glob(full)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", pattern, err))
			continue
		}
		n := 0
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				continue
			}
			n++
			if seen[path] {
				continue
			}
			seen[path] = true
			shown := path
			if !filepath.IsAbs(filepath.FromSlash(pattern)) {
				if rel, err := filepath.Rel(cmpDir(s.options.Dir), path); err == nil {
					shown = rel
				}
			}
			s.files = append(s.files, file{table: tableName(path), path: path, shown: filepath.ToSlash(shown)})
		}
		if n == 0 {
			faults = append(faults, fmt.Errorf("%s: no such file", pattern))
		}
	}
	slices.SortFunc(s.files, func(a, b file) int {
		if c := strings.Compare(a.table, b.table); c != 0 {
			return c
		}
		return strings.Compare(a.shown, b.shown)
	})
	for i := 1; i < len(s.files); i++ {
		if s.files[i].table == s.files[i-1].table {
			faults = append(faults, fmt.Errorf("table %s is in two files: %s and %s",
				s.files[i].table, s.files[i-1].shown, s.files[i].shown))
		}
	}
	return errors.Join(faults...)
}

func cmpDir(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// escapeGlob makes a folder's name match only itself.
func escapeGlob(dir string) string {
	if runtime.GOOS == "windows" { // no escape there, and [ is rare in a folder's name
		return dir
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// tableName is the file's name without its extension, and without .gz or .zst before that.
func tableName(path string) string {
	name := filepath.Base(path)
	name, _ = packing(name)
	if ext := filepath.Ext(name); ext != "" && ext != name {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// Tables reads the header of each file. The error lists every blank and every doubled name of a column, in all files
// at once.
func (s *Source) Tables(ctx context.Context) ([]*extract.Table, error) {
	tables := make([]*extract.Table, 0, len(s.files))
	var faults []error
	for _, f := range s.files {
		columns, err := s.header(ctx, f)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read headers of %s: %w", s.options.Name, ctx.Err())
		}
		if err != nil {
			faults = append(faults, err)
			continue
		}
		tables = append(tables, &extract.Table{Source: s.options.Name, Name: f.table, File: f.shown, Columns: columns})
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return tables, nil
}

// file finds the file of a table.
func (s *Source) file(t *extract.Table) (file, error) {
	if t != nil {
		for _, f := range s.files {
			if f.table == t.Name {
				return f, nil
			}
		}
		return file{}, fmt.Errorf("csv source %s has no table %s", s.options.Name, t.Name)
	}
	return file{}, fmt.Errorf("csv source %s: no table given", s.options.Name)
}

// Shards cuts the table's file into pieces of about Options.ShardSize bytes. It reads the file once, unless the file is
// smaller than that. A packed file and one in UTF-16 are one shard.
func (s *Source) Shards(ctx context.Context, t *extract.Table) ([]extract.Shard, error) {
	f, err := s.file(t)
	if err != nil {
		return nil, err
	}
	return s.plan(ctx, f, t)
}

// Read yields the records of a shard; see extract.Source.
func (s *Source) Read(ctx context.Context, shard extract.Shard, done *extract.Digest) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		f, err := s.file(shard.Table)
		if err == nil {
			err = s.read(ctx, f, shard, done, yield)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}
