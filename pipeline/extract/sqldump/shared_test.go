package sqldump

import (
	"bytes"
	"encoding/csv"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// content is a whole database as rows by table, none of which is refused.
type content struct {
	tables map[string]*extract.Table
	rows   map[string][][]string
}

func load(t testing.TB, o Options) content {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := content{map[string]*extract.Table{}, map[string][][]string{}}
	for _, table := range tables {
		rows, err := extracttest.Rows(t.Context(), s, table)
		if err != nil {
			t.Fatal(err)
		}
		c.tables[table.Name] = table
		for _, r := range rows {
			if r.Rule != "" {
				t.Errorf("%s:%d is refused: %s in %q", table.Name, r.Line, r.Rule, r.Column)
				continue
			}
			c.rows[table.Name] = append(c.rows[table.Name], r.Cells)
		}
	}
	return c
}

func (c content) counts() map[string]int {
	n := map[string]int{}
	for name, rows := range c.rows {
		n[name] = len(rows)
	}
	return n
}

// column returns the cells of one column.
func (c content) column(t testing.TB, table, column string) []string {
	t.Helper()
	i := c.tables[table].Column(column)
	if i < 0 {
		t.Fatalf("table %s has no column %s", table, column)
	}
	var cells []string
	for _, r := range c.rows[table] {
		cells = append(cells, r[i])
	}
	return cells
}

// typed is a cell as a value that all dialects agree on, by the kind that the most exact of them says. They differ in
// what they keep: with an offset or without, with how many digits.
func typed(kind extract.Kind, cell string) string {
	if cell == "" {
		return ""
	}
	switch kind {
	case extract.DateTime:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05"} {
			if at, err := time.Parse(layout, cell); err == nil {
				return at.UTC().Format(time.RFC3339Nano)
			}
		}
	case extract.Decimal:
		if r, ok := new(big.Rat).SetString(cell); ok {
			return r.FloatString(10) // DECIMAL(18,10); SQLite has a float of it
		}
	}
	// The tools that loaded two of the databases took the CR out of the notes: their files have none.
	return strings.ReplaceAll(cell, "\r\n", "\n")
}

func TestSixDialectsOfOneDatabaseAreTheSame(t *testing.T) {
	dir := sharedtest.Path(t, "data", "legacy-sql-made")
	want := map[string]int{}
	f, err := os.Open(filepath.Join(dir, "rows.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	counts, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range counts[1:] {
		if want[r[0]], err = strconv.Atoi(r[1]); err != nil {
			t.Fatal(err)
		}
	}
	var first content
	for i, c := range []struct{ file, dialect string }{
		{"postgres-copy.sql.gz", "postgres"}, {"postgres-column-inserts.sql.gz", "postgres"},
		{"mariadb-default.sql.gz", "mysql"}, {"mariadb-hex-complete-rowwise.sql.gz", "mysql"},
		{"sqlite-dump.sql.gz", "sqlite"}, {"ssms-style-utf16le.sql.gz", "sqlserver"},
	} {
		t.Run(c.file, func(t *testing.T) {
			for _, size := range []int64{0, 20_000} {
				got := load(t, Options{Name: "emr", Dir: dir, Files: []string{c.file}, Dialect: c.dialect, ShardSize: size})
				if diff := cmp.Diff(want, got.counts()); diff != "" {
					t.Errorf("counts (-rows.csv +got)\n%s", diff)
				}
				for _, rows := range got.rows { // each tool has an order of its own
					slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
				}
				if i == 0 && size == 0 {
					first = got
				}
				for name, rows := range first.rows {
					table := first.tables[name]
					if diff := cmp.Diff(table.Columns, got.tables[name].Columns); diff != "" {
						t.Fatalf("%s (-copy +got)\n%s", name, diff)
					}
					differ := map[string]int{}
					for j, row := range rows {
						for k, cell := range row {
							if a, b := typed(table.Kinds[k], cell), typed(table.Kinds[k], got.rows[name][j][k]); a != b {
								differ[table.Columns[k]]++
							}
						}
					}
					if len(differ) > 0 {
						t.Errorf("%s: cells that differ from those of COPY, by column: %v", name, differ)
					}
				}
			}
		})
	}
	notes, photos := first.column(t, "pt_master", "chart_note"), first.column(t, "pt_master", "photo")
	if !slices.ContainsFunc(notes, func(s string) bool { return strings.Contains(s, "\n") }) ||
		!slices.ContainsFunc(notes, func(s string) bool { return strings.ContainsAny(s, "';") }) ||
		!slices.ContainsFunc(photos, func(s string) bool { return len(s) > 50 }) {
		t.Error("the notes and photos are not what they should be, so this compares nothing")
	}
	if kinds := first.tables["pt_master"].Kinds; kinds[first.tables["pt_master"].Column("active")] != extract.Boolean {
		t.Errorf("kinds %v", kinds)
	}
}

func TestSakila(t *testing.T) {
	dir := sharedtest.Path(t, "data", "sql-edge", "sakila")
	got := load(t, Options{Name: "s", Dir: dir, Files: []string{"postgres-sakila-schema.sql", "postgres-copy.sql.gz"}, Dialect: "postgres"})
	want := map[string]int{"language": 6, "country": 109, "city": 600, "address": 603, "actor": 200, "staff": 2, "store": 2,
		"category": 16, "film": 1000, "inventory": 4581, "film_actor": 5462, "film_category": 1000, "customer": 599,
		"rental": 16044, "payment": 16049}
	if diff := cmp.Diff(want, got.counts()); diff != "" {
		t.Errorf("counts (-README +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"81", "SCARLETT", "DAMON", "2006-02-15T04:34:33"}, got.rows["actor"][0]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	alone := load(t, Options{Name: "s", Dir: dir, Files: []string{"postgres-copy.sql.gz"}, Dialect: "postgres"})
	if diff := cmp.Diff(want, alone.counts()); diff != "" {
		t.Errorf("counts without the schema (-README +got)\n%s", diff)
	}
	// The schemas hold triggers, functions and views, and no rows. The columns are the same but for case.
	columns := map[string][]string{}
	for _, dialect := range Dialects() {
		name := dialect + "-sakila-schema.sql"
		if dialect == "sqlserver" {
			name = "sql-server-sakila-schema.sql"
		}
		c := load(t, Options{Name: "s", Dir: dir, Files: []string{name}, Dialect: dialect})
		if len(c.rows) > 0 {
			t.Errorf("%s: rows of %d tables, it has none", dialect, len(c.rows))
		}
		for table, d := range c.tables {
			columns[strings.ToLower(table)] = append(columns[strings.ToLower(table)], strings.ToLower(strings.Join(d.Columns, " ")))
		}
	}
	for _, table := range []string{"actor", "country", "language", "category", "film_actor", "film_category", "inventory", "rental", "store"} {
		if all := columns[table]; len(all) != 5 || len(slices.Compact(slices.Clone(all))) != 1 {
			t.Errorf("%s: %v", table, all)
		}
	}
}

func TestTiDBTypes(t *testing.T) {
	dir := sharedtest.Path(t, "data", "sql-edge", "tidb")
	c := load(t, Options{Name: "vt", Dir: dir, Files: []string{"various_types/*-schema.sql", "various_types/*.sql"}, Dialect: "mysql"})
	want := map[string]int{"binary": 51, "bit": 16, "char": 50, "datetime": 70, "decimal": 50, "double": 41, "empty_strings": 6,
		"enum-set": 26, "json": 92, "precise_types": 1}
	if diff := cmp.Diff(want, c.counts()); diff != "" {
		t.Errorf("counts (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"18446744073709551614", "-9223372036854775806", "99999999999999999999", "18446744073709551614"}},
		c.rows["precise_types"]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", `"`, "", "'", `"`, "'"}, c.column(t, "empty_strings", "a")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	bits := strings.Join(c.column(t, "bit", "pk"), "")
	if bits != "0123012301230123" {
		t.Errorf("bits %s", bits)
	}
	if got := c.rows["datetime"][0]; !slices.Equal(got, []string{"0", "1717-03-14T19:01:39.69846", "1994-01-09T19:00:33.151028"}) {
		t.Errorf("%q", got)
	}
	generated := load(t, Options{Name: "g", Dir: dir, Files: []string{"generated_columns/*-schema.sql", "generated_columns/*.sql"}, Dialect: "mysql"})
	if diff := cmp.Diff([][]string{{"1"}, {"10"}, {"100"}, {"1000"}}, generated.rows["nested"]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	ids := load(t, Options{Name: "r", Dir: dir, Files: []string{"tidb_rowid/*-schema.sql", "tidb_rowid/*.sql"}, Dialect: "mysql"})
	if diff := cmp.Diff(map[string]int{"non_pk": 20, "non_pk_auto_inc": 22, "pre_rebase": 1, "specific_auto_inc": 5}, ids.counts()); diff != "" {
		t.Errorf("counts (-want +got)\n%s", diff)
	}
	for _, folder := range []string{"column_permutation", "too_many_columns", "view", "csv", "issue_410"} {
		if c := load(t, Options{Name: "o", Dir: dir, Files: []string{folder + "/*.sql"}, Dialect: "mysql"}); len(c.tables) == 0 {
			t.Errorf("%s: no tables", folder)
		}
	}
}

func TestOpenEMR(t *testing.T) {
	dir := sharedtest.Path(t, "data", "openemr")
	c := load(t, Options{Name: "e", Dir: dir, Dialect: "mysql", Files: []string{"database.sql.gz", "example_patient_data.sql.gz",
		"example_patient_users.sql.gz", "icd9-codes-insert.sql.gz"}})
	if n := len(c.rows["patient_data"]); n != 14 {
		t.Errorf("%d patients", n)
	}
	if n := len(c.tables); n != 236 { // erx_ttl_touch stands behind two blanks
		t.Errorf("%d tables", n)
	}
	lists := c.column(t, "list_options", "list_id")
	if len(lists) != 4220 || !slices.Contains(lists, "sex") {
		t.Errorf("%d list options", len(lists))
	}
	if born := c.column(t, "patient_data", "DOB"); born[0] != "1973-10-11" {
		t.Errorf("first born %s", born[0])
	}
	if dates := c.column(t, "patient_data", "date"); dates[0] != "2003-11-17T12:06:00" {
		t.Errorf("first date %s", dates[0])
	}
	if n := len(c.rows["codes"]); n < 10_000 {
		t.Errorf("%d codes", n)
	}
}

func TestOpenMRS(t *testing.T) {
	dir := sharedtest.Path(t, "data", "openmrs")
	for file, want := range map[string]struct {
		dialect          string
		tables, concepts int
	}{
		"openmrs-platform.sql.gz":          {"mysql", 102, 2},
		"openmrs_2.5.9.sql.gz":             {"mysql", 178, -1},
		"openmrs-platform-postgres.sql.gz": {"postgres", 110, 2},
	} {
		c := load(t, Options{Name: "m", Dir: dir, Files: []string{file}, Dialect: want.dialect})
		if len(c.tables) != want.tables || want.concepts >= 0 && len(c.rows["concept"]) != want.concepts || len(c.rows["patient"]) != 0 {
			t.Errorf("%s: %d tables, %d concepts, %d patients", file, len(c.tables), len(c.rows["concept"]), len(c.rows["patient"]))
		}
		if len(c.rows["privilege"]) < 100 {
			t.Errorf("%s: %d privileges", file, len(c.rows["privilege"]))
		}
	}
}

func TestClinicOfSQLServer(t *testing.T) {
	c := load(t, Options{Name: "c", Dir: sharedtest.Path(t, "data", "tsql-patients"), Files: []string{"Patients.sql"}, Dialect: "sqlserver"})
	for table, want := range map[string]int{"patient": 16, "province": 64, "diagnosis": 15, "medication": 15, "patientDiagnosis": 7,
		"patientMedication": 9, "patientTreatment": 9, "treatment": 14, "treatmentMedication": 21} {
		if got := len(c.rows[table]); got != want {
			t.Errorf("%s: %d rows, want %d", table, got, want)
		}
	}
	for _, at := range c.column(t, "patientTreatment", "datePrescribed") {
		if _, err := time.Parse("2006-01-02T15:04:05.999", at); err != nil {
			t.Error("a date is not in the form of its kind")
		}
	}
}

// Every dump, cut off at many places: no table has a row that the whole does not have, and either a table or the dump
// says that it is cut off, unless what is lost is not data.
func TestDumpsCutOff(t *testing.T) {
	whole, err := os.ReadFile(sharedtest.Path(t, "data", "tsql-patients", "Patients.sql"))
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.LastIndex(whole, []byte("INSERT [dbo].[treatmentMedication]"))
	end := begin + bytes.IndexByte(whole[begin:], '\r')
	for cut := begin + len("INSERT [dbo].[t"); cut < end; cut++ {
		path := filepath.Join(t.TempDir(), "cut.sql")
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Name: "c", Files: []string{path}, Dialect: "sqlserver"})
		if err != nil {
			t.Fatal(err)
		}
		tables, err := s.Tables(t.Context())
		if err != nil {
			continue
		}
		rules := map[string]int{}
		for _, table := range tables {
			rows, err := extracttest.Rows(t.Context(), s, table)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows {
				rules[r.Rule]++
			}
		}
		if rules[extract.RuleTruncated]+rules[extract.RuleUnterminatedQuote] != 1 {
			t.Fatalf("cut at byte %d: %v", cut, rules)
		}
	}
}
