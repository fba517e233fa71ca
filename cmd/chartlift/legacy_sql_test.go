package main

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite" // restores a dump into a database of its own

	"github.com/chartlift/chartlift/mappings"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// These tests take one legacy schema through the command line: as dumps of four dialects, and live in three engines. The
// mappings are those of testdata/legacy/emr, the same for all.

// dsnVariable is where the plans of these tests find the connection string.
const dsnVariable = "CHARTLIFT_TEST_DSN"

// Every dialect of the dump, and every engine that one of them is restored into, makes the same resources, as many as
// there are rows, and those of one are what Synthea's own FHIR of these patients says.
func TestOneMappingForEveryDialectAndEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of thousands of resources, of nine sources")
	}
	dir := sharedtest.Path(t, "data", "legacy-sql-made")
	want := legacyRows(t)
	dump := func(file, dialect string) string {
		return fmt.Sprintf("{dump: %q, dialect: %s, timezone: UTC}", filepath.Join(dir, file+".sql.gz"), dialect)
	}
	made := func(t *testing.T, keys, source string) (*hospital, map[string]string) {
		h := newLegacy(t, keys, source)
		a := h.summary(exitDone, exitDone, "dry-run", "--json") // no finding, no refusal
		for table, rows := range want {
			if got := a.Tables[table]; got.Read != rows || got.Mapped != rows {
				t.Errorf("%s: %d rows, account %+v", table, rows, got)
			}
		}
		h.mustRun(exitDone, exitDone, "export", "-o", filepath.Join(h.dir, "out"), "--identified")
		return h, sameOfAllDialects(t, filepath.Join(h.dir, "out"))
	}

	keys := filepath.Join(t.TempDir(), "keys")
	h, reference := made(t, keys, dump("postgres-copy", "postgres"))
	h.mustRun(exitDone, exitDone, "test")
	compareWithSynthea(t, filepath.Join(h.dir, "out"))
	byType := map[string]int64{}
	for name := range reference {
		typ, _, _ := strings.Cut(name, "/")
		byType[typ]++
	}
	for typ, table := range map[string]string{"Patient": "pt_master", "Encounter": "visit", "Condition": "problem", "MedicationRequest": "rx",
		"AllergyIntolerance": "allergy", "Immunization": "imm", "Procedure": "proc_hist", "Observation": "result"} {
		if byType[typ] != want[table] {
			t.Errorf("%s: %d resources of %d rows", typ, byType[typ], want[table])
		}
	}
	if byType["DocumentReference"] == 0 {
		t.Error("no chart note arrived")
	}

	for _, c := range []struct{ name, engine, file, dialect string }{
		{"dump of PostgreSQL, INSERT", "", "postgres-column-inserts", "postgres"},
		{"dump of MariaDB", "", "mariadb-default", "mysql"},
		{"dump of MariaDB, hex", "", "mariadb-hex-complete-rowwise", "mysql"},
		{"dump of SQLite", "", "sqlite-dump", "sqlite"},
		{"script of SQL Server", "", "ssms-style-utf16le", "sqlserver"},
		{"SQLite", "sqlite", "sqlite-dump", ""},
		{"PostgreSQL", "postgres", "postgres-copy", ""},
		{"MariaDB", "mysql", "mariadb-default", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := ""
			if c.engine == "" {
				source = dump(c.file, c.dialect)
			} else {
				db := restoreLegacy(t, c.engine, filepath.Join(dir, c.file+".sql.gz"))
				t.Setenv(dsnVariable, db.dsn)
				source = db.source()
			}
			_, got := made(t, keys, source)
			differ := 0
			for name, text := range reference {
				if got[name] == text {
					continue
				}
				if differ++; differ <= 3 {
					t.Errorf("%s (-COPY +%s)\n%s", name, c.name, cmp.Diff(text, got[name]))
				}
			}
			if differ > 0 || len(got) != len(reference) {
				t.Errorf("of %d resources %d differ; %d were made", len(reference), differ, len(got))
			}
		})
	}
}

// A live database is loaded once, and again only what changed. A run that was cut off goes on over the same rows only.
func TestALiveDatabaseIsLoadedOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("five runs against three engines")
	}
	dir := sharedtest.Path(t, "data", "legacy-sql-made")
	for engine, file := range map[string]string{"sqlite": "sqlite-dump", "postgres": "postgres-column-inserts", "mysql": "mariadb-hex-complete-rowwise"} {
		t.Run(engine, func(t *testing.T) {
			db := restoreLegacy(t, engine, filepath.Join(dir, file+".sql.gz"))
			for _, table := range []string{"result", "proc_hist", "imm", "allergy", "rx", "problem", "visit", "pt_master"} {
				db.exec(t, "DELETE FROM "+table+" WHERE pt_no > 100006")
			}
			t.Setenv(dsnVariable, db.dsn)
			h := newLegacy(t, filepath.Join(t.TempDir(), "keys"), db.source())

			if e := h.start(t.Context(), "target: after send bundle:2", "run"); !e.killed {
				t.Fatal(e)
			}
			const planted = "UNMISTAKABLE"
			db.exec(t, "UPDATE result SET descr = '"+planted+"' WHERE res_no = 1")
			code, out, faults := h.command("run")
			if code != exitUsage || !strings.Contains(faults, "table emr/result") || !strings.Contains(faults, "--accept-change") {
				t.Errorf("a row changed between stop and resume: exit %d\n%s", code, faults)
			}
			if strings.Contains(out+faults, planted) {
				t.Error("the refusal shows what the row holds")
			}
			first := h.summary(exitDone, exitDone, "run", "--accept-change", "--json")
			for typ, r := range first.Resources {
				if r.Made == 0 || r.Loaded+r.Unchanged != r.Made || first.Verified[typ].Matched != r.Made {
					t.Errorf("%s: %+v, matched %d", typ, r, first.Verified[typ].Matched)
				}
			}

			second := h.summary(exitDone, exitDone, "run", "--json")
			for typ, r := range second.Resources {
				if r.Loaded != 0 || r.Unchanged != first.Resources[typ].Made {
					t.Errorf("second run, %s: loaded %d, unchanged %d of %d", typ, r.Loaded, r.Unchanged, first.Resources[typ].Made)
				}
			}

			db.exec(t, "UPDATE problem SET descr = '"+planted+"' WHERE prob_no = 1")
			if e := h.start(t.Context(), "run: outcomes known, no segment yet", "run"); !e.killed {
				t.Fatal(e)
			}
			third := h.summary(exitDone, exitDone, "run", "--json")
			for typ, r := range third.Resources {
				changed := int64(0)
				if typ == "Condition" {
					changed = 1
				}
				if r.Loaded != changed || r.Unchanged != r.Made-changed {
					t.Errorf("one row changed, %s: %+v", typ, r)
				}
			}
			h.holdsNowhere(db.password)
		})
	}
}

// newLegacy is a folder with the plan and mappings of the legacy schema. Hospitals with one folder of keys make the same
// ids: the first of them makes it.
func newLegacy(t *testing.T, keys, source string) *hospital {
	t.Helper()
	h := newHospital(t)
	h.layPack(filepath.Join("testdata", "legacy", "emr", "mappings"), "mappings", "encounter-class", "ethnicity", "gender", "marital", "qualifier", "race", "smoking-status", "state", "units")
	h.plan(fmt.Sprintf(`migration: legacy
sources:
  emr: %s
mappings: [./mappings]
phi: {policy: limited-data-set, delivery: identified}
targets:
  clinical: {sandbox: %q}
`, source, h.server.URL+"/fhir"))
	h.mustRun(exitDone, exitDone, "keys", "init")
	h.sameKeys(keys)
	return h
}

// layPack lays a folder of mappings into the hospital, and beside them the concept maps that they name. The words of
// these sources are Synthea's, so the maps are those of its pack.
func (h *hospital) layPack(from, name string, maps ...string) {
	h.t.Helper()
	to := filepath.Join(h.dir, name)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		h.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(to, "maps"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	pack, ok := mappings.Pack("synthea")
	if !ok {
		h.t.Fatal("no pack synthea")
	}
	for _, name := range maps {
		data, err := fs.ReadFile(pack, "maps/"+name+".csv")
		if err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, "maps", name+".csv"), data, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

// holdsNowhere searches what the runs left behind.
func (h *hospital) holdsNowhere(secret string) {
	h.t.Helper()
	if secret == "" {
		return // SQLite asks for none
	}
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.Contains(readFile(h.t, path), secret) {
			h.t.Errorf("%s holds the database's password", path)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// compareWithSynthea compares an export with Synthea's own FHIR. The schema has no care plans and devices, and does not
// say the type and category of allergies.
func compareWithSynthea(t *testing.T, out string) {
	t.Helper()
	tool := sharedtest.Path(t, "tools", "synthea_compare.py")
	python, err := exec.LookPath("python3")
	if err != nil {
		sharedtest.Missing(t, "data", "python3, which the comparison needs, is not here")
	}
	theirs := t.TempDir()
	unpack(t, sharedtest.Path(t, "data", "synthea-ca-2022", "fhir.tar.gz"), theirs)
	text, err := exec.Command(python, tool, out, theirs, "--without", "CarePlan", "--without", "Device").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	found := regexp.MustCompile(`(?m)^([0-9.]+) of \d+ facts equal`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no share in:\n%s", text)
	}
	share, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("share %.4f", share)
	if share < 0.998 {
		t.Errorf("share %.4f is below 0.998:\n%s", share, text)
	}
}

// legacyRows is the number of rows of each table.
func legacyRows(t *testing.T) map[string]int64 {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(readFile(t, sharedtest.Path(t, "data", "legacy-sql-made", "rows.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, line := range lines[1:] {
		if out[line[0]], err = strconv.ParseInt(line[1], 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// sameOfAllDialects reads an export, each resource in the form in which the sources must agree, by type and id. Two
// things differ between the dumps themselves:
//
//   - line ends of notes: the tools that loaded MariaDB and SQLite took the CR out, the script of SQL Server has it
//     before every LF;
//   - coordinates: DECIMAL(18,10) in PostgreSQL and MariaDB, a float in SQLite and 17 digits in the script.
func sameOfAllDialects(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, resource := range readExport(t, dir) {
		switch resource["resourceType"] {
		case "DocumentReference":
			eachOf(resource, "data", func(v any) any {
				note, err := base64.StdEncoding.DecodeString(v.(string))
				if err != nil {
					t.Fatalf("%s: no base64: %v", name, err)
				}
				return strings.ReplaceAll(string(note), "\r\n", "\n")
			})
		case "Patient":
			eachOf(resource, "valueDecimal", func(v any) any {
				r, ok := new(big.Rat).SetString(v.(json.Number).String())
				if !ok {
					t.Fatalf("%s: no decimal", name)
				}
				return r.FloatString(10)
			})
		}
		text, err := json.Marshal(resource) // the keys in order
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// eachOf changes every value that has the key, at any depth.
func eachOf(v any, key string, change func(any) any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if k == key {
				v[k] = change(x)
				continue
			}
			eachOf(x, key, change)
		}
	case []any:
		for _, x := range v {
			eachOf(x, key, change)
		}
	}
}

// readExport reads the resources of an export by type and id; none may be there twice.
func readExport(t *testing.T, dir string) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "[A-Z]*.ndjson"))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing was exported", err)
	}
	out := map[string]map[string]any{}
	for _, file := range files {
		d := json.NewDecoder(strings.NewReader(readFile(t, file)))
		d.UseNumber()
		for {
			var resource map[string]any
			if err := d.Decode(&resource); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("%s/%s", resource["resourceType"], resource["id"])
			if _, ok := out[name]; ok {
				t.Fatalf("%s is there twice", name)
			}
			out[name] = resource
		}
	}
	return out
}

// legacyDatabase is a database of one test's own, gone after it.
type legacyDatabase struct {
	engine, dsn, password string
	run                   func(script string) error
}

// source is how a plan names it.
func (db legacyDatabase) source() string {
	return fmt.Sprintf("{%s: %q, timezone: UTC}", db.engine, "${"+dsnVariable+"}")
}

func (db legacyDatabase) exec(t *testing.T, statement string) {
	t.Helper()
	if err := db.run(statement + ";\n"); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

var legacyDatabases atomic.Int64

// restoreLegacy makes a database and restores a dump into it, with the engine's own client.
func restoreLegacy(t *testing.T, engine, dump string) legacyDatabase {
	t.Helper()
	name := fmt.Sprintf("legacy_%d_%d", os.Getpid(), legacyDatabases.Add(1))
	db := legacyDatabase{engine: engine}
	switch engine {
	case "postgres":
		at := legacyService(t, "CHARTLIFT_POSTGRES")
		server, err := url.Parse(at)
		if err != nil {
			t.Fatal("the service's address cannot be parsed")
		}
		db.password, _ = server.User.Password()
		psql := func(dsn string) func(string) error {
			return func(script string) error {
				return feed(exec.Command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", dsn), script)
			}
		}
		// The tables of the dump belong to this role.
		if err := psql(at)(`DO $$ BEGIN CREATE ROLE postgres; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$; CREATE DATABASE ` + name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := psql(at)("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
				t.Error(err)
			}
		})
		server.Path = "/" + name
		db.dsn = server.String()
		db.run = psql(db.dsn)
	case "mysql":
		at := legacyService(t, "CHARTLIFT_MARIADB")
		server, err := url.Parse("mysql://" + strings.NewReplacer("tcp(", "", ")", "").Replace(at))
		if err != nil {
			t.Fatal("the service's address cannot be parsed")
		}
		db.password, _ = server.User.Password()
		mariadb := func(database string) func(string) error {
			return func(script string) error {
				client := exec.Command("mariadb", "--no-defaults", "--binary-mode", "-h", server.Hostname(), "-P", server.Port(),
					"-u", server.User.Username(), database)
				client.Env = append(os.Environ(), "MYSQL_PWD="+db.password)
				return feed(client, script)
			}
		}
		admin := mariadb(strings.TrimPrefix(server.Path, "/"))
		if err := admin("CREATE DATABASE " + name); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := admin("DROP DATABASE " + name); err != nil {
				t.Error(err)
			}
		})
		db.dsn = at[:strings.LastIndexByte(at, '/')+1] + name
		db.run = mariadb(name)
	default:
		db.dsn = filepath.Join(t.TempDir(), "emr.db")
		db.run = func(script string) (err error) {
			c, err := sql.Open("sqlite", db.dsn)
			if err != nil {
				return err
			}
			_, err = c.Exec(script)
			return errors.Join(err, c.Close())
		}
	}
	f, err := os.Open(dump)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	script, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.run(string(script)); err != nil {
		t.Fatalf("%s: %v", filepath.Base(dump), err)
	}
	return db
}

// legacyService is the connection string of a server that scripts/services/with has started.
func legacyService(t *testing.T, variable string) string {
	t.Helper()
	dsn := os.Getenv(variable)
	if dsn == "" {
		sharedtest.Missing(t, "services", "%s is not set: run the tests by way of scripts/services/with", variable)
	}
	return dsn
}

// feed runs a client over a script.
func feed(client *exec.Cmd, script string) error {
	client.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	client.Stdout, client.Stderr = &out, &out
	if err := client.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%.500s", filepath.Base(client.Path), err, out.String())
	}
	return nil
}
