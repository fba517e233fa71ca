// Package csv reads folders of CSV files, and of files with columns of fixed width: one table per file, in byte-range
// shards, malformed records refused one by one.
//
// # What is read
//
// The form is RFC 4180 as Go's encoding/csv reads it in strict mode: a field that begins with a quote ends at the next
// quote that is not doubled, delimiters and line ends inside it are text; a quote anywhere else in a field is a fault.
// A line end is LF or CRLF, mixed at will; a CR elsewhere is text. Unlike encoding/csv, CRLF inside a quoted field
// stays CRLF, since cells are kept as found. An empty line is not a record, and still counts as a line. A byte order mark
// is dropped. The last line needs no end.
//
// Files that end in .gz and .zst are unpacked while they are read. Members of zip archives are named behind a `!`:
// `export.zip!visits.csv`, `export.zip!*.csv`; the archive alone means its members that end in .csv, .tsv and .txt.
//
// What differs from that is said in the plan, never found out while reading (SuggestEncoding and SuggestForm help to
// write it). Its keys, each a field of Options:
//
//	delimiter: ";"           a character, or tab (Character reads these)
//	quote: "'"               a character, or none
//	quotes: at start         QuoteAtStart: 5" is text in a field that did not begin with a quote; behind blanks it is
//	                         still refused, since it may have been meant to quote
//	escape: backslash        the character behind one is text: delimiter, quote, line end, escape. `\N` stays `\N`. Before
//	                         any other it is refused
//	comment: "#"             records whose first character it is are left out and counted
//	line-end: cr             LineEnd '\r'
//	skip: 3                  lines at the start that are left out, whatever they hold
//	header: 4                physical line of the header; none (NoHeader); without the key, the first line that is not
//	                         blank, skipped or a comment
//	columns: [id, name]      names of the columns: instead of a header, or to mend blank and doubled names in one
//	fixed:                   columns of fixed width, in characters, from 1
//	  id: {start: 1, length: 8}
//	tables:                  columns or fixed for single tables
//	  visits: {columns: [id, name, name2]}
//	extra: blank             ExtraBlank: cells behind the last column are let pass if blank; blank names at the end of a
//	                         header are dropped
//	missing: blank           MissingBlank: rows that end early go on with blanks, but for a last one without a line end
//
// A line of fixed width is one record. Its characters are code points of the declared encoding; of a writer that counted
// bytes of UTF-8, the lines with other characters than ASCII come out too short and are refused. Blanks at the end of a
// cell are padding and cut off, those at its start stay. Text in a gap between two columns is refused: name a column
// for it.
//
// # What is refused, and where reading goes on
//
// A malformed record is returned as an extract.Fault. The rule for where it ends keeps one stray quote from swallowing
// the rest of the file:
//
//   - Where the quotes of a record are in order (ragged row, NUL, bytes that are not text, field too long), the record
//     ends where its quotes say, and reading goes on behind it.
//   - Where they are not (a quote inside an unquoted field, text behind a closing quote, a quote that never closes, a
//     record over the cap), the refused record is its first physical line, and reading goes on at the next line. What
//     was meant as one record of several lines may so become several faults, never a silent loss: each line that holds
//     anything is in exactly one record, accepted or refused, or is a counted comment.
//   - Lines that such a search for a closing quote went over are searched no second time: one of them that is whole in
//     itself is read, one that leaves a quote open is refused. (With an escape or `quotes: at start`; else it cannot
//     come to that.)
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
	"sync"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/charset"
)

// Source reads CSV files. It implements extract.Source.
type Source struct {
	options Options
	charset *charset.Charset
	files   []file

	mu       sync.Mutex
	comments map[string]map[int]int64 // by table and shard
}

var _ extract.Source = (*Source)(nil)

// Open checks the options and finds the files. Their headers are read by Tables. The error lists all that is wrong
// with the options, or with the files.
//
// A table is named for its file without extension: visits.csv, visits.csv.gz, visits.csv.zst and x.zip!visits.csv all
// hold `visits`, so only one of them may be there.
//
// A packed file may unpack to Options.MaxUnpacked bytes, or Options.MaxRatio times its own size if that is more. An
// archive that says it holds more is refused here, a file that turns out to is an error where the bound is reached.
func Open(o Options) (*Source, error) {
	s := &Source{options: o, comments: map[string]map[int]int64{}}
	faults := s.options.complete()
	c, err := charset.Lookup(o.Encoding)
	if err != nil {
		faults = append(faults, err)
	}
	s.charset = c
	if len(faults) > 0 {
		return nil, fmt.Errorf("csv source %s: %w", o.Name, errors.Join(faults...))
	}
	if err := s.find(); err != nil {
		return nil, fmt.Errorf("csv source %s: %w", o.Name, err)
	}
	return s, nil
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
		tables = append(tables, &extract.Table{Source: s.options.Name, Name: f.table, File: f.Shown, Columns: columns})
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

// Shards splits the table's file into pieces of about Options.ShardSize bytes. It reads the file once, unless the file is
// smaller than that. A packed file is one shard.
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
