package csv

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// NoQuote as Options.Quote says that no byte quotes: every delimiter and line end counts.
const NoQuote rune = -1

// NoHeader as Options.Header says that the files begin with their first record.
const NoHeader = -1

// Defaults of Options.
const (
	DefaultShardSize   = 8 << 20  // large enough that opening a file does not show, small enough to keep all cores busy
	DefaultMaxField    = 1 << 20  // encoding/csv has no cap: one stray quote makes a field of a gigabyte
	DefaultMaxRecord   = 16 << 20 // also the most that the reader buffers
	DefaultMaxColumns  = 4096     // twice of what databases allow in a table
	DefaultMaxUnpacked = 2 << 30  // some seconds of unpacking
	DefaultMaxRatio    = 500      // exports pack 5 to 100 times smaller; what only wastes time, 1,000 times and more
)

// Options of one CSV source. The zero value of each is its default. The package comment says what each means in a plan.
type Options struct {
	Name  string   // the source's name in the plan
	Dir   string   // folder that Files are relative to; "" is the working folder
	Files []string // paths or globs (filepath.Match); one that matches nothing is an error

	Encoding     string // by name, see Encodings; "" is UTF-8
	Delimiter    rune   // 0 is a comma; one byte of ASCII
	Quote        rune   // 0 is `"`; NoQuote for none
	QuoteAtStart bool   // a quote inside a field that did not begin with one is text
	Escape       rune   // 0 is none; one byte of ASCII that takes the meaning from the character behind it
	Comment      rune   // 0 is none; records that begin with it are left out, and counted (see Source.Comments)
	LineEnd      rune   // 0 is LF or CRLF; '\r' for files of old Macs, whose lines end with CR alone

	Skip   int // physical lines at the start of each file that are left out, whatever they hold
	Header int // physical line of the header; 0 is the first line with something in it; NoHeader

	Columns []string          // of every table, see Layout
	Fixed   []Field           // of every table, see Layout
	Tables  map[string]Layout // of single tables, by name, in the place of the two above

	ExtraBlank   bool // cells behind the last column are let pass if they hold nothing but blanks
	MissingBlank bool // a row or line that ends early counts as one that goes on with blanks

	ShardSize   int64 // bytes
	MaxField    int   // bytes of one field, without its outer quotes
	MaxRecord   int   // bytes of one record without its last line end
	MaxColumns  int   // columns of a table, and cells of a row
	MaxUnpacked int64 // bytes that a packed file may unpack to, however small it is
	MaxRatio    int64 // beyond that: how many times its own size
}

// Layout names the columns of a table. Where both are empty, the header alone does.
type Layout struct {
	// Columns names all columns in order. Without a header it is needed. With one it mends it: a name may differ from
	// the header's only where the header's is blank or doubled, so that no column is ever taken for another.
	Columns []string
	// Fixed says that columns lie at fixed places of each line. Such files have no header, delimiter or quotes.
	Fixed []Field
}

// Field is a column of fixed width.
type Field struct {
	Name   string
	Start  int // the place of its first character in the line, from 1
	Length int // in characters (code points), not bytes
}

// Character reads a character of the dialect as a plan writes it: itself, or one of the names tab, space, backslash,
// \t, none (which is NoQuote).
func Character(text string) (rune, error) {
	switch text {
	case "tab", `\t`:
		return '\t', nil
	case "space":
		return ' ', nil
	case "backslash":
		return '\\', nil
	case "none":
		return NoQuote, nil
	}
	r, n := utf8.DecodeRuneInString(text)
	if n == 0 || n != len(text) || r >= utf8.RuneSelf || r == 0 || r == '\r' || r == '\n' {
		return 0, errors.New("must be one ASCII character, or tab, space, backslash, none")
	}
	return r, nil
}

// unpacking is how much a packed file may unpack to.
func (o *Options) unpacking() packed.Limit {
	return packed.Limit{Unpacked: o.MaxUnpacked, Ratio: o.MaxRatio}
}

// complete puts the defaults in and lists all that is wrong.
func (o *Options) complete() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(o.Fixed) > 0 && (o.Delimiter != 0 || o.Quote != 0 || o.QuoteAtStart || o.Escape != 0 || o.Header > 0) {
		fault("columns of fixed width have no delimiter, quote, escape or header line; skip leaves out lines at the start")
	}
	o.Delimiter = cmp.Or(o.Delimiter, ',')
	o.Quote = cmp.Or(o.Quote, '"')
	o.LineEnd = cmp.Or(o.LineEnd, '\n')
	o.ShardSize = cmp.Or(o.ShardSize, DefaultShardSize)
	o.MaxField = cmp.Or(o.MaxField, DefaultMaxField)
	o.MaxRecord = cmp.Or(o.MaxRecord, DefaultMaxRecord)
	o.MaxColumns = cmp.Or(o.MaxColumns, DefaultMaxColumns)
	o.MaxUnpacked = cmp.Or(o.MaxUnpacked, DefaultMaxUnpacked)
	o.MaxRatio = cmp.Or(o.MaxRatio, DefaultMaxRatio)
	if o.LineEnd != '\n' && o.LineEnd != '\r' {
		fault("the line end must be LF or CR")
	}
	if o.QuoteAtStart && o.Quote == NoQuote {
		fault("quotes count only at the start of a field, but there is no quote")
	}
	taken := map[rune]string{}
	for _, c := range []struct {
		what string
		r    rune
		none rune
	}{{"delimiter", o.Delimiter, 0}, {"quote", o.Quote, NoQuote}, {"escape", o.Escape, 0}, {"comment", o.Comment, 0}} {
		switch {
		case c.r == c.none:
		case c.r <= 0 || c.r >= utf8.RuneSelf || c.r == '\r' || c.r == '\n':
			fault("the %s must be one ASCII character and no line end", c.what)
		case c.r >= '0' && c.r <= '9' || c.r >= 'a' && c.r <= 'z' || c.r >= 'A' && c.r <= 'Z':
			fault("the %s must not be a letter or digit", c.what)
		case taken[c.r] == "quote" && c.what == "escape":
			fault("quote and escape are the same character; a quote is escaped by doubling it, without this option")
		case taken[c.r] != "":
			fault("%s and %s are the same character", taken[c.r], c.what)
		default:
			taken[c.r] = c.what
		}
	}
	if o.ShardSize < 0 || o.MaxField < 0 || o.MaxRecord < 0 || o.MaxColumns < 0 || o.MaxUnpacked < 0 || o.MaxRatio < 0 ||
		o.Skip < 0 || o.Header < NoHeader {
		fault("sizes and numbers of lines must not be negative")
	}
	if o.Header > 0 && o.Skip > 0 {
		fault("the header's line and lines to skip are both given; the header's line is enough")
	}
	o.checkLayout("", Layout{o.Columns, o.Fixed}, fault)
	for _, name := range slices.Sorted(maps.Keys(o.Tables)) {
		o.checkLayout("table "+name+": ", o.Tables[name], fault)
	}
	return faults
}

func (o *Options) checkLayout(at string, l Layout, fault func(string, ...any)) {
	if len(l.Columns) > 0 && len(l.Fixed) > 0 {
		fault("%sthe columns are named twice, with and without a width", at)
	}
	if err := checkColumns(l.Columns, o.MaxColumns); err != nil {
		fault("%scolumns named in the plan: %w", at, err)
	}
	if err := checkColumns(names(l.Fixed), o.MaxColumns); err != nil {
		fault("%scolumns named in the plan: %w", at, err)
	}
	if err := checkPlaces(l.Fixed, o.MaxRecord); err != nil {
		fault("%s%w", at, err)
	}
}

// layout is the one that the plan gives for a table.
func (s *Source) layout(table string) Layout {
	if l, ok := s.options.Tables[table]; ok {
		return l
	}
	return Layout{s.options.Columns, s.options.Fixed}
}

// missingTables lists the tables with a layout of their own that no file holds.
func (s *Source) missingTables() []error {
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(s.options.Tables)) {
		if !slices.ContainsFunc(s.files, func(f file) bool { return f.table == name }) {
			have := make([]string, len(s.files))
			for i, f := range s.files {
				have[i] = f.table
			}
			faults = append(faults, fmt.Errorf("the plan describes a table %s, which no file holds; there are %s", name, strings.Join(have, ", ")))
		}
	}
	return faults
}
