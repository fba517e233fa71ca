package draft

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract/csv"
)

// Source is a source as the plan is to say it, with what was guessed about it.
type Source struct {
	Name  string
	Kind  string   // a key of a source in the plan: csv, workbook, sqlite, postgres, …
	Paths []string // files or globs, relative to the plan's folder; or ${NAME} of the environment

	Settings []Setting // where the defaults do not read the files
	// Guess says what was guessed and why. It holds no text of the files.
	Guess string

	schema bool // a dump that makes tables, so it is read before those that fill them
}

// Setting is a key of a source in the plan that was guessed, and its value as YAML.
type Setting struct{ Key, Value string }

func (s *Source) set(key, value, why string) {
	s.Settings = append(s.Settings, Setting{key, value})
	if s.Guess != "" {
		s.Guess += "; "
	}
	s.Guess += why
}

// sampled is how much of a file is looked at.
const sampled = 1 << 20

// kinds are the kinds of sources by the extension of a file.
var kinds = map[string]string{
	".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv", ".psv": "csv", ".zip": "csv",
	".sql": "dump", ".dump": "dump", ".xlsx": "workbook", ".xlsm": "workbook", ".db": "sqlite", ".sqlite": "sqlite", ".sqlite3": "sqlite",
}

// Sources looks at files, globs, folders, and databases named as env:NAME (an environment variable that holds the
// DSN), and says how a plan in the folder dir reads them. Files that read alike become one source. The error lists all
// that cannot be read so.
func Sources(names []string, dir string) ([]Source, error) {
	g := &guesser{dir: dir}
	var faults []error
	for _, name := range names {
		if err := g.look(name); err != nil {
			faults = append(faults, err)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	for i := range g.sources {
		g.sources[i].Name = "legacy"
		if i > 0 {
			g.sources[i].Name = fmt.Sprintf("legacy-%d", i+1)
		}
	}
	return g.sources, nil
}

type guesser struct {
	dir     string
	sources []Source
}

func (g *guesser) look(name string) error {
	if variable, ok := strings.CutPrefix(name, "env:"); ok {
		return g.database(variable)
	}
	files, pattern, err := expand(name)
	if err != nil {
		return err
	}
	var found []Source
	var faults []error
	for _, f := range files {
		s, err := g.file(f)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", f, err))
			continue
		}
		found = append(found, s)
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	slices.SortStableFunc(found, func(a, b Source) int {
		switch {
		case a.schema && !b.schema:
			return -1
		case b.schema && !a.schema:
			return 1
		}
		return 0
	})
	alike := !slices.ContainsFunc(found, func(s Source) bool { return !s.alike(found[0]) })
	if alike && pattern != "" && found[0].Kind != "dump" { // of dumps the order matters
		found[0].Paths = []string{g.relative(pattern)}
		found = found[:1]
	}
	for _, s := range found {
		g.add(s)
	}
	return nil
}

func (s Source) alike(o Source) bool {
	return s.Kind == o.Kind && s.Kind != "sqlite" && slices.Equal(s.Settings, o.Settings) && s.Guess == o.Guess
}

func (g *guesser) add(s Source) {
	for i := range g.sources {
		if have := &g.sources[i]; have.alike(s) {
			for _, p := range s.Paths {
				if !slices.Contains(have.Paths, p) {
					have.Paths = append(have.Paths, p)
				}
			}
			return
		}
	}
	g.sources = append(g.sources, s)
}

// expand lists the files that a name means, and the glob that means the same, if there is one.
func expand(name string) (files []string, pattern string, err error) {
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		return []string{name}, "", nil
	} else if err == nil {
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, "", err
		}
		endings := map[string]bool{}
		for _, e := range entries {
			if path := filepath.Join(name, e.Name()); e.Type().IsRegular() && kindOf(path) != "" {
				files = append(files, path)
				endings[filepath.Ext(path)] = true
			}
		}
		if len(files) == 0 {
			return nil, "", fmt.Errorf("%s: no file in this folder ends in .csv, .tsv, .txt, .xlsx or the like", name)
		}
		if len(endings) == 1 && !strings.ContainsAny(name, `*?[\`) {
			pattern = filepath.Join(name, "*"+filepath.Ext(files[0]))
		}
		return files, pattern, nil
	}
	found, err := filepath.Glob(name)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		return nil, "", fmt.Errorf("%s: no such file", name)
	}
	return files, name, nil
}

// kindOf is the kind of source that a file is by its name, packed or not; "" if it tells none.
func kindOf(path string) string {
	name := strings.ToLower(filepath.Base(path))
	for _, packed := range []string{".gz", ".zst"} {
		if plain, ok := strings.CutSuffix(name, packed); ok {
			if kind := kinds[filepath.Ext(plain)]; kind == "csv" || kind == "dump" {
				return kind
			}
			return ""
		}
	}
	return kinds[filepath.Ext(name)]
}

func (g *guesser) file(path string) (Source, error) {
	s := Source{Kind: kindOf(path), Paths: []string{g.relative(path)}}
	if s.Kind == "" {
		return s, errors.New("its name does not tell what it is: .csv, .tsv, .txt, .xlsx, .sql, .db and the like do")
	}
	if s.Kind != "csv" && s.Kind != "dump" {
		return s, nil
	}
	sample, err := start(path)
	if err != nil {
		return s, err
	}
	if s.Kind == "dump" {
		return s, s.dump(sample)
	}
	if len(sample) == 0 {
		return s, nil // empty, or packed otherwise: reading it will say so
	}
	return s, s.csv(sample)
}

// encoding guesses the encoding of a sample, and returns it. marked wants a mark or zero bytes as evidence: dumps hold
// bytes that are not text.
func (s *Source) encoding(sample []byte, marked bool) string {
	encodings, evidence := csv.SuggestEncoding(sample)
	if len(encodings) == 0 || encodings[0].Encoding == "utf-8" || encodings[0].Encoding == "us-ascii" {
		return "utf-8"
	}
	encoding := encodings[0].Encoding
	switch {
	case evidence.BOM != "":
		s.set("encoding", scalar(encoding), "encoding by the mark at the start of the file")
	case strings.HasPrefix(encoding, "utf-16"):
		s.set("encoding", scalar(encoding), "encoding by the zero bytes between letters")
	case marked:
		return "utf-8"
	default:
		s.set("encoding", scalar(encoding), "encoding, as the text is not UTF-8: others may read it too, so look at some names")
	}
	return encoding
}

// csv guesses how the start of a CSV file is to be read.
func (s *Source) csv(sample []byte) error {
	form, err := csv.SuggestForm(sample, s.encoding(sample, false))
	if err != nil {
		return err
	}
	if form.Records > 0 && !form.Header {
		return errors.New("its first line does not look like names of columns; name the columns in a plan: `chartlift help sources`")
	}
	if form.LineEnd == '\r' {
		s.set("line-end", "cr", "line ends, as there are no others")
	}
	if form.Columns < 2 {
		return nil
	}
	if form.Delimiter != ',' {
		s.set("delimiter", character(form.Delimiter), "delimiter, as the cells of most records agree")
	}
	if form.Quote != '"' {
		s.set("quote", character(form.Quote), "quote, as the cells of most records agree")
	}
	if form.QuoteAtStart {
		s.set("quotes", "at start", "quotes inside of fields, as the cells of most records agree")
	}
	if form.Escape != 0 {
		s.set("escape", character(form.Escape), "escape, as the cells of most records agree")
	}
	return nil
}

// character writes a character of the dialect as the plan takes it.
func character(c rune) string {
	switch c {
	case csv.NoQuote:
		return "none"
	case '\t':
		return "tab"
	case '\\':
		return "backslash"
	}
	return quoted(string(c))
}

// signs are what only dumps of one dialect hold, the surest first.
var signs = []struct{ text, dialect string }{
	{"-- mysql dump", "mysql"}, {"-- mariadb dump", "mysql"}, {"-- postgresql database dump", "postgres"}, {"pragma foreign_keys", "sqlite"}, {"set identity_insert", "sqlserver"},
	{"set ansi_nulls", "sqlserver"}, {"rem inserting into", "oracle"}, {"varchar2", "oracle"}, {"set define off", "oracle"}, {"engine=innodb", "mysql"}, {"engine=myisam", "mysql"},
	{"nvarchar", "sqlserver"}, {"[dbo]", "sqlserver"}, {" from stdin;", "postgres"}, {"character varying", "postgres"}, {"insert into `", "mysql"}, {"create table `", "mysql"}, {"autoincrement", "sqlite"},
}

// dump guesses the dialect of a dump. Keywords are ASCII, so they show in every encoding once zero bytes are out.
func (s *Source) dump(sample []byte) error {
	s.encoding(sample, true)
	text := strings.ToLower(strings.ReplaceAll(string(sample), "\x00", ""))
	s.schema = strings.Contains(text, "create table")
	for _, sign := range signs {
		if strings.Contains(text, sign.text) {
			s.set("dialect", sign.dialect, "dialect, by words that only it has")
			return nil
		}
	}
	return errors.New("its dialect cannot be told from its start; name it in a plan: `chartlift help sources`")
}

// start reads the start of a file, unpacked if gzip can. What is packed otherwise is not looked at.
func start(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gz":
		if in, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	case ".zst", ".zip":
		return nil, nil
	}
	sample, err := io.ReadAll(io.LimitReader(in, sampled))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil // cut off: reading it will say so
	}
	return sample, err
}

// database names a database by its DSN, which stays in the environment.
func (g *guesser) database(variable string) error {
	dsn := os.Getenv(variable)
	if dsn == "" {
		return fmt.Errorf("env:%s: the environment variable is not set", variable)
	}
	scheme := ""
	if u, err := url.Parse(dsn); err == nil {
		scheme = u.Scheme
	}
	kind := map[string]string{"postgres": "postgres", "postgresql": "postgres", "mysql": "mysql", "sqlserver": "sqlserver", "oracle": "oracle"}[scheme]
	if kind == "" {
		return fmt.Errorf("env:%s: the DSN must begin with postgres://, mysql://, sqlserver:// or oracle://", variable)
	}
	g.sources = append(g.sources, Source{Kind: kind, Paths: []string{"${" + variable + "}"}})
	return nil
}

// relative is a path as the plan names it.
func (g *guesser) relative(path string) string {
	from, err1 := filepath.Abs(g.dir)
	to, err2 := filepath.Abs(path)
	if err1 == nil && err2 == nil {
		if rel, err := filepath.Rel(from, to); err == nil {
			return filepath.ToSlash(rel)
		}
	}
	return filepath.ToSlash(path)
}

// YAML is the part of a plan under `sources:`, indented by two blanks. zone is for times that carry none; "" leaves it
// out.
func YAML(sources []Source, zone string) string {
	var b strings.Builder
	for _, s := range sources {
		fmt.Fprintf(&b, "  %s:\n", scalar(s.Name))
		if len(s.Paths) == 1 {
			fmt.Fprintf(&b, "    %s: %s\n", s.Kind, scalar(s.Paths[0]))
		} else {
			fmt.Fprintf(&b, "    %s:\n", s.Kind)
			for _, p := range s.Paths {
				fmt.Fprintf(&b, "      - %s\n", scalar(p))
			}
		}
		if s.Guess != "" {
			fmt.Fprintf(&b, "    # guess: %s\n", s.Guess)
		}
		for _, x := range s.Settings {
			fmt.Fprintf(&b, "    %s: %s  # guess\n", x.Key, x.Value)
		}
		if zone != "" {
			fmt.Fprintf(&b, "    timezone: %s\n", scalar(zone))
		}
	}
	return b.String()
}

// Form says what was guessed about the source in a few words; "" if nothing was.
func (s Source) Form() string {
	var parts []string
	for _, x := range s.Settings {
		parts = append(parts, x.Key+" "+x.Value)
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ", ") + " (" + s.Guess + ")"
}
