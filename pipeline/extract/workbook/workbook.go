// Package workbook reads Excel workbooks (.xlsx, .xlsm): one table per sheet, one shard per table, records that cannot
// be read refused one by one.
//
// # In the plan
//
//	labs:
//	  workbook: export/*.xlsx          # a path or glob, or a list of them
//	  header: 4                        # row of the header in every sheet; default: the first row with something in it
//	  sheets:                          # default: every sheet that is not empty, hidden ones included
//	    Patients:                      # the sheet's name in the workbook
//	      table: patients              # its name in mappings; default: the sheet's
//	      header: [1, 2]               # rows of the header; the texts of several are joined with a blank
//	      range: A4:H200               # the table lies here; A4:H has no last row
//	      columns: [id, name]          # names of the columns, from the left; without header: the sheet has none
//	      ignore: [Age]                # columns that are not read
//	      fill down: [Patient]         # columns whose value holds for the rows below, until the next
//	      end: blank row               # or {column: Id, value: "Total*"}, or never
//	      unpivot:                     # a column per test becomes a record per value
//	        keep: [Patient, Taken]     # columns that every record has
//	        header: [Test, Unit, Code] # what the rows of the header say of the others
//	        value: Value
//
// If more than one file is named, tables are called file.sheet (file.table), so that two can never be taken for one.
//
// # What a cell says
//
// The value as stored and the number format decide, never the text that Excel would show:
//
//   - Text: as it is, white space and line breaks included, runs of rich text joined.
//   - Number: a decimal, never in scientific notation: as stored if it has at most 15 digits or is whole, else the
//     shortest that means the same, without the drift of binary arithmetic (see appendFloat). Percent and currency
//     formats change nothing: 12 % is 0.12. Formats of zeros (00000, 000-00-0000) are followed, so a ZIP code keeps its
//     zeros.
//   - Date and time, if the number format is one: in the form of extract.Kind, rounded to the millisecond. A date format
//     over a number with a time in it gives both, so nothing is lost. [h]:mm is a duration: HH:mm:ss, hours beyond 24.
//   - Boolean: TRUE or FALSE, as Excel shows it in English, not 1 or 0: columns of a workbook have no kind.
//   - A formula: its stored result. Without one the record is refused (stale-formula); only a column in which no record
//     has one is left out as a whole, with a notice, because no cell of it says anything.
//   - An error (#N/A): the record is refused (error-cell).
//
// # What is a record
//
// Each row behind the header with something in it. A blank row is none, and does not end the table, for then what
// stands behind a gap would be lost. But total lines and lines of the printer stand behind one, and must not become
// patients: if the plan names no end, then up to five rows at the end of the sheet, behind a blank row, each with fewer
// cells filled than any row before them, and no more than those, are a footer: not read, and reported (Notices) with
// row and count. `end: never` reads them too. A total line right below the last record is a record like any: for that, name
// the end. A cell beyond the last column of the header makes its row ragged. Hidden sheets, rows and columns are read
// and counted.
//
// # Why the sheet is read by this package
//
// excelize streams rows without styles; asking it for the style of each cell loads the whole sheet, and it unpacks
// large sheets into temporary files, where patient data must never lie. So excelize reads what a workbook says about
// itself (sheets, styles, formats, epoch) from a package that holds nothing else, and the cells are read here, straight
// from the zip, in constant memory besides the shared strings. Tables reads every sheet twice to know its columns and
// notices; Read reads it once more.
package workbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/glob"
)

// Defaults of Options.
const (
	DefaultMaxField    = 1 << 20   // Excel itself ends at 32,767 characters
	DefaultMaxColumns  = 4096      // as in CSV
	DefaultMaxUnpacked = 4 << 30   // a full sheet of a million rows and thirty columns is about 2 GiB
	DefaultMaxShared   = 512 << 20 // shared strings are held in memory
)

// Options of one source of workbooks. The zero value of each is its default.
type Options struct {
	Name   string   // the source's name in the plan
	Dir    string   // folder that Files are relative to; "" is the working folder
	Files  []string // paths or globs (filepath.Match); a glob that matches nothing is an error
	Header int      // row of the header, for sheets that say nothing else; 0 is the first row with something in it
	Sheets []SheetOptions

	MaxField    int   // bytes of one cell's text
	MaxColumns  int   // of a table
	MaxUnpacked int64 // bytes of one workbook's parts, unpacked
	MaxShared   int64 // bytes of one workbook's shared strings in memory
}

// SheetOptions say how a sheet is a table. A sheet may be named more than once, for tables that lie beside each other.
type SheetOptions struct {
	Sheet    string   // its name in the workbook
	Table    string   // its name in mappings; "" is the sheet's
	Header   []int    // rows of the header, ascending; none: Options.Header, or with a Range the first row in it
	Range    string   // such as A4:H200, A4:H, A:H; "" is the whole sheet
	Columns  []string // names of the columns from the left of the range, instead of those in the header; if no Header is given either, the sheet has none
	Ignore   []string // columns that are not read
	FillDown []string // columns in which a blank cell takes the value above
	End      End
	Unpivot  *Unpivot
}

// End says where a table ends. At most one of its rules may be given; the zero value is the default of the package
// comment.
type End struct {
	BlankRow bool   // at the first blank row behind a record
	Never    bool   // at the end of the sheet, whatever stands there
	Column   string // at the first row in which this column says Value
	Value    string // blanks around it do not count; with * at its end: begins with
}

// Unpivot makes a record of each cell that is not blank, outside of Keep.
type Unpivot struct {
	Keep   []string // columns of the sheet that each record has
	Header []string // names of the columns that say what the rows of the sheet's header say; one for each row
	Value  string   // name of the column that holds the cell
}

// Source reads workbooks. It implements extract.Source.
type Source struct {
	options Options
	files   []file

	mutex   sync.Mutex
	catalog *catalog
}

// file is one workbook.
type file struct {
	glob.File
	prefix string // of its tables' names
}

var _ extract.Source = (*Source)(nil)

// Open checks the options and finds the files. The workbooks are read by Tables. The error lists all that is wrong with
// the options and with the kinds of files.
func Open(o Options) (*Source, error) {
	s := &Source{options: o}
	d := &s.options
	d.MaxField = cmp.Or(d.MaxField, DefaultMaxField)
	d.MaxColumns = cmp.Or(d.MaxColumns, DefaultMaxColumns)
	d.MaxUnpacked = cmp.Or(d.MaxUnpacked, DefaultMaxUnpacked)
	d.MaxShared = cmp.Or(d.MaxShared, DefaultMaxShared)
	faults := checkOptions(s.options)
	if len(faults) == 0 {
		faults = s.find()
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("workbook source %s: %w", o.Name, errors.Join(faults...))
	}
	return s, nil
}

// refused are the kinds of files that are not workbooks of this package, by extension.
var refused = map[string]string{
	".xls":  "a workbook of the old format, which holds at most 65,536 rows",
	".xlsb": "a binary workbook",
	".ods":  "an OpenDocument file",
}

// find expands the globs.
func (s *Source) find() (faults []error) {
	if len(s.options.Files) == 0 {
		return []error{errors.New("no file is named")}
	}
	seen := map[string]bool{}
	for _, pattern := range s.options.Files {
		found, err := glob.Find(s.options.Dir, pattern)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", pattern, err))
			continue
		}
		n := 0
		for _, f := range found {
			base := filepath.Base(f.Path)
			if strings.HasPrefix(base, "~$") { // Excel's own lock file, beside a workbook that is open somewhere
				continue
			}
			n++
			if seen[f.Path] {
				continue
			}
			seen[f.Path] = true
			switch ext := strings.ToLower(filepath.Ext(base)); {
			case refused[ext] != "":
				faults = append(faults, fmt.Errorf("%s is %s; %s", f.Shown, refused[ext], adviceSave))
			case ext != ".xlsx" && ext != ".xlsm":
				faults = append(faults, fmt.Errorf("%s is neither .xlsx nor .xlsm; %s, or name it so in the plan that it is not found", f.Shown, adviceSave))
			}
			s.files = append(s.files, file{File: f, prefix: strings.TrimSuffix(base, filepath.Ext(base)) + "."})
		}
		if n == 0 {
			faults = append(faults, fmt.Errorf("%s: no such file", pattern))
		}
	}
	slices.SortFunc(s.files, func(a, b file) int { return strings.Compare(a.Shown, b.Shown) })
	if len(s.files) == 1 {
		s.files[0].prefix = ""
	}
	return faults
}

// Tables reads the sheets: names, columns, and what there is to notice. It reads every sheet to its end, once for a
// Source. The error lists what is wrong with all files, sheets and columns at once.
func (s *Source) Tables(ctx context.Context) ([]*extract.Table, error) {
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.list), nil
}

// Notices lists what Tables found in the workbooks and no record shows, in the order of files and sheets. An error as
// from Tables.
func (s *Source) Notices(ctx context.Context) ([]Notice, error) {
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.notices), nil
}

// Shards returns one shard: a sheet is unpacked from its beginning.
func (s *Source) Shards(ctx context.Context, t *extract.Table) ([]extract.Shard, error) {
	st, err := s.table(ctx, t)
	if err != nil {
		return nil, err
	}
	return []extract.Shard{{Table: t, Position: st.position(), Bytes: st.size, FirstLine: 1, FirstOrdinal: 1}}, nil
}

// Read yields the records of a sheet; see extract.Source. A record's line is the row of the sheet.
func (s *Source) Read(ctx context.Context, shard extract.Shard, done *extract.Digest) iter.Seq2[*extract.Record, error] {
	return func(yield func(*extract.Record, error) bool) {
		if done != nil {
			*done = extract.Digest{}
		}
		st, err := s.table(ctx, shard.Table)
		if err == nil {
			err = s.read(ctx, st, shard, done, yield)
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

// table finds a table by its name.
func (s *Source) table(ctx context.Context, t *extract.Table) (*sheetTable, error) {
	if t == nil {
		return nil, fmt.Errorf("workbook source %s: no table given", s.options.Name)
	}
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	st := c.tables[t.Name]
	if st == nil {
		return nil, fmt.Errorf("workbook source %s has no table %s", s.options.Name, t.Name)
	}
	return st, nil
}
