package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/csv"
	"github.com/chartlift/chartlift/pipeline/extract/sqldb"
	"github.com/chartlift/chartlift/pipeline/extract/sqldump"
	"github.com/chartlift/chartlift/pipeline/extract/workbook"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// Source is one source: where its tables come from and how their text is to be understood. One of the kinds is set.
type Source struct {
	Name  string
	Kind  string         // csv, workbook, dump, or the engine of a database
	Zone  *time.Location // of times that carry none; nil if the plan declares none
	Blank []string       // what counts as empty besides white space

	CSV      *csv.Options
	Workbook *workbook.Options
	Dump     *sqldump.Options
	Database *sqldb.Options

	pin string // all that the plan says about it, but for secrets
}

// kinds of sources, each with the keys that it has beside timezone and blank.
var sourceKinds = []string{"csv", "workbook", "dump", "postgres", "mysql", "sqlserver", "oracle", "sqlite"}

// sourceReader reads the sources of a plan.
type sourceReader struct{ in *reader }

func (r sourceReader) sources(n *yaml.Node) {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.in.fault(n, "", "sources must name at least one source")
		return
	}
	for _, p := range document.Pairs(n) {
		s := Source{Name: p.Key}
		var kinds []string
		if p.Value.Kind == yaml.MappingNode {
			for _, q := range document.Pairs(p.Value) {
				if slices.Contains(sourceKinds, q.Key) {
					kinds = append(kinds, q.Key)
				}
			}
		}
		switch len(kinds) {
		case 0:
			r.in.fault(p.Node, "one of "+strings.Join(sourceKinds, ", "), "source %s names nothing to read", p.Key)
			s.Kind = "csv" // whatever else is wrong with it is told too
		case 1:
			s.Kind = kinds[0]
		default:
			r.in.fault(p.Node, "make them two sources", "source %s names two things to read: %s", p.Key, strings.Join(kinds, ", "))
			continue
		}
		known := map[string]func(*yaml.Node){
			"timezone": func(n *yaml.Node) { s.Zone = r.zone(n) },
			"blank":    func(n *yaml.Node) { s.Blank = r.in.texts(n, "blank") },
		}
		switch s.Kind {
		case "csv":
			s.CSV = &csv.Options{Name: s.Name, Dir: r.in.plan.Dir}
			r.csvKeys(s.CSV, known)
		case "workbook":
			s.Workbook = &workbook.Options{Name: s.Name, Dir: r.in.plan.Dir}
			r.workbookKeys(s.Workbook, known)
		case "dump":
			s.Dump = &sqldump.Options{Name: s.Name, Dir: r.in.plan.Dir}
			r.dumpKeys(s.Dump, known)
		default:
			s.Database = &sqldb.Options{Name: s.Name, Engine: sqldb.Engine(s.Kind)}
			r.databaseKeys(s.Database, s.Kind, known)
		}
		r.in.keys(p.Value, "source "+p.Key+" ("+s.Kind+")", known)
		if s.Dump != nil {
			s.Dump.Zone = s.Zone
			if s.Dump.Dialect == "" {
				r.in.fault(p.Node, "one of "+strings.Join(sqldump.Dialects(), ", "), "source %s does not name the dump's dialect", p.Key)
			}
		}
		if s.Database != nil {
			s.Database.Zone = s.Zone
		}
		s.pin = sourcePin(s.Kind, p.Value)
		r.in.plan.Sources = append(r.in.plan.Sources, s)
	}
}

// sourcePin is what the plan says about a source. Where a database is and who asks may be a secret, and may change
// without the data changing.
func sourcePin(kind string, n *yaml.Node) string {
	var b strings.Builder
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		switch n.Kind {
		case yaml.MappingNode:
			b.WriteByte('{')
			for _, p := range document.Pairs(n) {
				fmt.Fprintf(&b, "%q:", p.Key)
				if p.Key == kind && slices.Contains(sourceKinds[3:], kind) {
					b.WriteByte(';')
					continue
				}
				walk(p.Value)
			}
			b.WriteByte('}')
		case yaml.SequenceNode:
			b.WriteByte('[')
			for _, c := range n.Content {
				walk(c)
			}
			b.WriteByte(']')
		default:
			fmt.Fprintf(&b, "%q;", n.Value)
		}
	}
	walk(n)
	return b.String()
}

func (r sourceReader) zone(n *yaml.Node) *time.Location {
	name := r.in.text(n, "timezone")
	zone, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		r.in.fault(n, "a name such as America/Chicago", "there is no time zone %q", name)
		return nil
	}
	return zone
}

// word reads one of some words.
func (r sourceReader) csvKeys(o *csv.Options, known map[string]func(*yaml.Node)) {
	character := func(name string, into *rune) {
		known[name] = func(n *yaml.Node) { *into = r.in.character(n, name) }
	}
	known["csv"] = func(n *yaml.Node) { o.Files = r.in.texts(n, "csv") }
	known["encoding"] = func(n *yaml.Node) { o.Encoding = strings.ToLower(r.in.text(n, "encoding")) }
	character("delimiter", &o.Delimiter)
	character("quote", &o.Quote)
	character("escape", &o.Escape)
	character("comment", &o.Comment)
	known["quotes"] = func(n *yaml.Node) { o.QuoteAtStart = r.in.word(n, "quotes", "at start") != "" }
	known["line-end"] = func(n *yaml.Node) {
		if r.in.word(n, "line-end", "cr") != "" {
			o.LineEnd = '\r'
		}
	}
	known["skip"] = func(n *yaml.Node) { o.Skip = r.in.count(n, "skip", 1_000_000) }
	known["header"] = func(n *yaml.Node) {
		if n.Value == "none" {
			o.Header = csv.NoHeader
			return
		}
		o.Header = r.in.count(n, "header", 1_000_000)
	}
	known["columns"] = func(n *yaml.Node) { o.Columns = r.in.texts(n, "columns") }
	known["fixed"] = func(n *yaml.Node) { o.Fixed = r.fixed(n) }
	known["tables"] = func(n *yaml.Node) {
		o.Tables = map[string]csv.Layout{}
		if n.Kind != yaml.MappingNode {
			r.in.fault(n, "tables: {visits: {columns: [ID, DAY]}}", "tables must be names, each with its columns")
			return
		}
		for _, p := range document.Pairs(n) {
			var l csv.Layout
			r.in.keys(p.Value, "table "+p.Key, map[string]func(*yaml.Node){
				"columns": func(n *yaml.Node) { l.Columns = r.in.texts(n, "columns") },
				"fixed":   func(n *yaml.Node) { l.Fixed = r.fixed(n) },
			})
			o.Tables[p.Key] = l
		}
	}
	known["extra"] = func(n *yaml.Node) { o.ExtraBlank = r.in.word(n, "extra", "blank") != "" }
	known["missing"] = func(n *yaml.Node) { o.MissingBlank = r.in.word(n, "missing", "blank") != "" }
}

// fixed reads columns of fixed width: {id: {start: 1, length: 8}, …}.
func (r sourceReader) fixed(n *yaml.Node) (out []csv.Field) {
	if n.Kind != yaml.MappingNode {
		r.in.fault(n, "fixed: {id: {start: 1, length: 8}}", "fixed must be columns, each with start and length")
		return nil
	}
	for _, p := range document.Pairs(n) {
		f := csv.Field{Name: p.Key}
		r.in.keys(p.Value, "column "+p.Key, map[string]func(*yaml.Node){
			"start":  func(n *yaml.Node) { f.Start = r.in.count(n, "start", 1_000_000) },
			"length": func(n *yaml.Node) { f.Length = r.in.count(n, "length", 1_000_000) },
		})
		out = append(out, f)
	}
	return out
}

const maxSheetRow = 1 << 20

func (r sourceReader) workbookKeys(o *workbook.Options, known map[string]func(*yaml.Node)) {
	known["workbook"] = func(n *yaml.Node) { o.Files = r.in.texts(n, "workbook") }
	known["header"] = func(n *yaml.Node) { o.Header = r.in.count(n, "header", maxSheetRow) }
	known["sheets"] = func(n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			r.in.fault(n, "sheets: {Patients: {table: patients}}", "sheets must be names of sheets")
			return
		}
		for _, p := range document.Pairs(n) {
			so := workbook.SheetOptions{Sheet: p.Key}
			r.in.keys(p.Value, "sheet "+p.Key, map[string]func(*yaml.Node){
				"table":     func(n *yaml.Node) { so.Table = r.in.text(n, "table") },
				"header":    func(n *yaml.Node) { so.Header = r.in.counts(n, "header", maxSheetRow) },
				"range":     func(n *yaml.Node) { so.Range = r.in.text(n, "range") },
				"columns":   func(n *yaml.Node) { so.Columns = r.in.texts(n, "columns") },
				"ignore":    func(n *yaml.Node) { so.Ignore = r.in.texts(n, "ignore") },
				"fill down": func(n *yaml.Node) { so.FillDown = r.in.texts(n, "fill down") },
				"end":       func(n *yaml.Node) { so.End = r.sheetEnd(n) },
				"unpivot":   func(n *yaml.Node) { so.Unpivot = r.unpivot(n) },
			})
			o.Sheets = append(o.Sheets, so)
		}
	}
}

func (r sourceReader) sheetEnd(n *yaml.Node) (end workbook.End) {
	if n.Kind == yaml.ScalarNode {
		switch r.in.word(n, "end", "blank row", "never") {
		case "blank row":
			end.BlankRow = true
		case "never":
			end.Never = true
		}
		return end
	}
	r.in.keys(n, "end", map[string]func(*yaml.Node){
		"column": func(n *yaml.Node) { end.Column = r.in.text(n, "column") },
		"value":  func(n *yaml.Node) { end.Value = r.in.text(n, "value") },
	})
	return end
}

func (r sourceReader) unpivot(n *yaml.Node) *workbook.Unpivot {
	u := &workbook.Unpivot{}
	r.in.keys(n, "unpivot", map[string]func(*yaml.Node){
		"keep":   func(n *yaml.Node) { u.Keep = r.in.texts(n, "keep") },
		"header": func(n *yaml.Node) { u.Header = r.in.texts(n, "header") },
		"value":  func(n *yaml.Node) { u.Value = r.in.text(n, "value") },
	})
	return u
}

func (r sourceReader) dumpKeys(o *sqldump.Options, known map[string]func(*yaml.Node)) {
	known["dump"] = func(n *yaml.Node) { o.Files = r.in.texts(n, "dump") }
	known["dialect"] = func(n *yaml.Node) { o.Dialect = r.in.text(n, "dialect") }
	known["encoding"] = func(n *yaml.Node) { o.Encoding = strings.ToLower(r.in.text(n, "encoding")) }
}

func (r sourceReader) databaseKeys(o *sqldb.Options, kind string, known map[string]func(*yaml.Node)) {
	known[kind] = func(n *yaml.Node) { o.DSN = sqldb.NewDSN(r.dsn(n, kind)) }
	known["tables"] = func(n *yaml.Node) {
		switch n.Kind {
		case yaml.SequenceNode:
			for _, name := range r.in.texts(n, "tables") {
				o.Tables = append(o.Tables, sqldb.Table{Name: name})
			}
		case yaml.MappingNode:
			for _, p := range document.Pairs(n) {
				o.Tables = append(o.Tables, sqldb.Table{Name: p.Key, Query: r.in.text(p.Value, "the query of "+p.Key)})
			}
		default:
			r.in.fault(n, "tables: [patients, visits], or {visits: SELECT …}", "tables must be a list of names, or names with a SELECT each")
		}
	}
	known["connections"] = func(n *yaml.Node) { o.Connections = r.in.count(n, "connections", 64) }
	known["connect-timeout"] = func(n *yaml.Node) { o.Timeouts.Connect = r.in.duration(n, "connect-timeout") }
	known["statement-timeout"] = func(n *yaml.Node) { o.Timeouts.Statement = r.in.duration(n, "statement-timeout") }
}

// passwordForm finds a password that stands in a connection string in clear.
var passwordForm = regexp.MustCompile(`(?i)(?:^|[:/ ;?&])(?:pwd|password)\s*=\s*[^\s;&$]|^(?:[a-z]+://)?[^/@:$]+:[^/@$]+@`)

// dsn reads where a database is: a text with ${NAME}s, or a file that holds it. For SQLite it is the path of the file.
func (r sourceReader) dsn(n *yaml.Node, kind string) string {
	if n.Kind == yaml.MappingNode {
		text := ""
		r.in.keys(n, kind, map[string]func(*yaml.Node){
			"file": func(n *yaml.Node) {
				data, err := os.ReadFile(r.in.path(r.in.text(n, "file")))
				if err != nil {
					r.in.fault(n, "", "the file with the connection string cannot be read")
				}
				text = strings.TrimSpace(string(data))
			},
		})
		return text
	}
	if kind == string(sqldb.SQLite) {
		return r.in.path(r.in.text(n, kind))
	}
	if passwordForm.MatchString(n.Value) {
		r.in.fault(n, "write ${LEGACY_DSN} and set it in the environment, or {file: PATH}", "a secret is never written in the plan")
		return ""
	}
	text := r.in.text(n, kind)
	if u, err := url.Parse(text); err == nil && u.Scheme == "file" && filepath.Ext(u.Path) != "" {
		r.in.fault(n, kind+": {file: PATH}", "a file with the connection string is named in a key of its own")
		return ""
	}
	return text
}

// OpenSource opens a source of the plan. A new kind of source is one case here.
func OpenSource(ctx context.Context, p Source) (extract.Source, error) {
	switch {
	case p.CSV != nil:
		return csv.Open(*p.CSV)
	case p.Workbook != nil:
		return workbook.Open(*p.Workbook)
	case p.Dump != nil:
		return sqldump.Open(*p.Dump)
	}
	return sqldb.Open(ctx, *p.Database)
}

// closeSources closes those that hold connections.
func (s *Session) closeSources() (errs []error) {
	for _, source := range s.sources {
		if c, ok := source.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errs
}

// SourceNotices are what a source says about itself that no record shows: what was left out, and by which rule.
func SourceNotices(ctx context.Context, name string, source extract.Source) (out []mapping.Notice, err error) {
	switch source := source.(type) {
	case *workbook.Source:
		list, err := source.Notices(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			subject := x.Table
			if x.Column != "" {
				subject += "." + x.Column
			}
			n := mapping.Notice{Severity: mapping.Remark, Rule: x.Rule, Subject: subject}
			n.File, n.Message = x.File, strings.TrimPrefix(x.String(), x.File+": ")
			out = append(out, n)
		}
	case *sqldb.Source:
		for i, text := range source.Notices() {
			n := mapping.Notice{Severity: mapping.Remark, Rule: "database", Subject: name + "." + strconv.Itoa(i+1)}
			n.File, n.Message = name, text
			out = append(out, n)
		}
	}
	return out, nil
}

// recordSnapshots writes into the audit log which state of each live database this process reads. A resumed run reads
// another one; its digests, which the run is pinned to, say whether the tables are still the same.

// ReadSources reads as much of a plan as a profile needs.
func ReadSources(path string) (*Plan, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, document.Faults{{File: path, Message: "there is no such plan", Hint: "-f names another one; `chartlift profile FILE…` needs none"}}
	}
	if err != nil {
		return nil, err
	}
	return ParseSources(path, filepath.Dir(path), data)
}

// ParseSources reads as much of the text of a plan as a profile needs. Its paths are relative to dir.
func ParseSources(path, dir string, data []byte) (*Plan, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, faults := document.Parse(path, data)
	if root == nil {
		return nil, append(faults, document.Fault{File: path, Message: "the plan is empty", Hint: "`chartlift help plan` shows one"})
	}
	p := &Plan{File: path, Dir: dir, nodes: map[string]*yaml.Node{}, Ledger: sqliteScheme + filepath.Join(dir, ".chartlift", "ledger.db")}
	r := &reader{plan: p, faults: faults}
	found := false
	for _, pair := range document.Pairs(root) {
		switch pair.Key {
		case "sources":
			found = true
			sourceReader{r}.sources(pair.Value)
		case "ledger":
			p.Ledger = r.ledger(pair.Value)
		case "migration":
			p.Migration = r.text(pair.Value, "migration")
		}
	}
	if !found {
		r.fault(root, "`chartlift help plan` shows a whole one", "the plan has no %q", "sources")
	}
	if len(r.faults) > 0 {
		return nil, r.faults.Sort()
	}
	return p, nil
}
