package workbook

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// catalog is what Tables found. It does not change.
type catalog struct {
	tables  map[string]*sheetTable
	list    []*extract.Table
	notices []Notice
}

// load reads all workbooks once. Only success is kept: after an error or a cancelled context the next call tries anew.
func (s *Source) load(ctx context.Context) (*catalog, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read workbooks of %s: %w", s.options.Name, err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.catalog != nil {
		return s.catalog, nil
	}
	l := loader{source: s, catalog: catalog{tables: map[string]*sheetTable{}}, found: map[string]bool{}}
	for _, f := range s.files {
		if err := l.file(ctx, f); err != nil {
			if ctx.Err() != nil {
				return nil, fmt.Errorf("read workbooks of %s: %w", s.options.Name, ctx.Err())
			}
			l.faults = append(l.faults, fmt.Errorf("%s: %w", f.Shown, err))
		}
	}
	readable := len(l.faults) == 0 // else the sheet may be in a file that could not be read
	for _, so := range s.options.Sheets {
		if !l.found[so.Sheet] && readable {
			l.faults = append(l.faults, fmt.Errorf("no workbook has a sheet %q; there are %s", so.Sheet, quoted(l.names)))
		}
	}
	if len(l.faults) == 0 && len(l.catalog.list) == 0 {
		l.faults = l.unusable
		if len(l.faults) == 0 {
			l.faults = []error{errors.New("no sheet holds anything")}
		}
	}
	if len(l.faults) > 0 {
		return nil, fmt.Errorf("workbook source %s: %w", s.options.Name, errors.Join(l.faults...))
	}
	slices.SortFunc(l.catalog.list, func(a, b *extract.Table) int { return strings.Compare(a.Name, b.Name) })
	s.catalog = &l.catalog
	return s.catalog, nil
}

// loader gathers a catalog and all faults on the way.
type loader struct {
	source   *Source
	catalog  catalog
	faults   []error
	unusable []error         // of sheets that the plan does not name: faults only if nothing else is there
	found    map[string]bool // sheets of the plan
	names    []string        // of all sheets
}

// file reads one workbook. Its error is one of the whole file.
func (l *loader) file(ctx context.Context, f file) error {
	o := l.source.options
	p, err := openPack(f.Path, o.MaxUnpacked)
	if err != nil {
		return err
	}
	defer p.close()
	structure, err := p.read(ctx, o.MaxShared, o.MaxField)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	defer func() { l.missing(f, listed) }()
	for _, sheet := range structure.sheets {
		if listed[sheet.name] {
			return fmt.Errorf("two sheets are called %q", sheet.name)
		}
		listed[sheet.name] = true
		l.names = append(l.names, sheet.name)
		part := p.parts[strings.ToLower(sheet.part)]
		plans, named := l.plans(sheet.name)
		notice := func(rule string, detail string) {
			l.catalog.notices = append(l.catalog.notices, Notice{File: f.Shown, Sheet: sheet.name, Rule: rule, Count: 1, Detail: detail})
		}
		if len(plans) == 0 {
			notice(NoticeNotRead, "")
			continue
		}
		if part == nil {
			if named {
				l.faults = append(l.faults, fmt.Errorf("%s: sheet %q is not a worksheet", f.Shown, sheet.name))
			} else {
				notice(NoticeNoTable, "it is not a worksheet")
			}
			continue
		}
		for _, so := range plans {
			st := &sheetTable{file: f, sheet: sheet, plan: so, structure: structure, maxField: o.MaxField,
				part: part.Name, crc: part.CRC32, size: int64(part.UncompressedSize64)}
			faults, err := st.understand(ctx, p, part, o)
			if err != nil {
				return fmt.Errorf("sheet %q: %w", sheet.name, err)
			}
			var all []error
			for _, fault := range faults {
				all = append(all, fmt.Errorf("%s: sheet %q: %s", f.Shown, sheet.name, fault))
			}
			switch {
			case st.empty && !named:
				notice(NoticeEmptySheet, "")
			case len(faults) > 0 && named:
				l.faults = append(l.faults, all...)
			case len(faults) > 0:
				l.unusable = append(l.unusable, all...)
				notice(NoticeNoTable, strings.Join(faults, "; "))
			default:
				l.add(f, st)
			}
		}
	}
	return nil
}

// missing notices the sheets of the plan that a workbook does not have. That another has them is checked at the end.
func (l *loader) missing(f file, listed map[string]bool) {
	for _, so := range l.source.options.Sheets {
		if !listed[so.Sheet] {
			l.catalog.notices = append(l.catalog.notices, Notice{File: f.Shown, Sheet: so.Sheet, Rule: NoticeNoSheet, Count: 1})
		}
	}
}

// plans are the options of a sheet; named says that they come from the plan.
func (l *loader) plans(sheet string) (plans []SheetOptions, named bool) {
	if len(l.source.options.Sheets) == 0 {
		return []SheetOptions{{Sheet: sheet}}, false
	}
	for _, so := range l.source.options.Sheets {
		if so.Sheet == sheet {
			plans = append(plans, so)
			l.found[sheet] = true
		}
	}
	return plans, true
}

func (l *loader) add(f file, st *sheetTable) {
	name := f.prefix + tableName(st.plan)
	if other := l.catalog.tables[name]; other != nil {
		l.faults = append(l.faults, fmt.Errorf("table %q is in %s and in %s; give the files other names, or read them as two sources", name, other.file.Shown, f.Shown))
		return
	}
	st.table = &extract.Table{Source: l.source.options.Name, Name: name, File: f.Shown, Columns: st.names}
	l.catalog.tables[name] = st
	l.catalog.list = append(l.catalog.list, st.table)
	for _, n := range st.notices {
		n.File, n.Sheet, n.Table = f.Shown, st.sheet.name, name
		l.catalog.notices = append(l.catalog.notices, n)
	}
}

func quoted(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%q", n))
	}
	return strings.Join(out, ", ")
}

// each reads the sheet's rows, one by one, to its end.
func (st *sheetTable) each(ctx context.Context, p *pack, part *zip.File, f func(*row) error) (*sheetReader, error) {
	r, err := p.open(ctx, part)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	rows := newSheetReader(r, st.maxField)
	for {
		more, err := rows.next()
		if err != nil {
			return nil, err
		}
		if !more {
			return rows, nil
		}
		if err := f(&rows.row); err != nil {
			return nil, err
		}
	}
}
