package sqldb

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func chicago(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// cell is a column of one value: its type, the value in SQL, and what must come of it.
type cell struct {
	typ, value, want string
	kind             extract.Kind
}

// check puts each value into a table of its own and reads it.
func check(t *testing.T, db database, all []cell, change ...func(*Options)) {
	t.Helper()
	for i, c := range all {
		must(t, db.run, "CREATE TABLE t"+pad(i)+" (k INTEGER PRIMARY KEY, v "+c.typ+")",
			"INSERT INTO t"+pad(i)+" VALUES (1, "+c.value+"), (2, NULL)")
	}
	s := db.source(t, change...)
	for i, c := range all {
		name := "t" + pad(i)
		if got := table(t, s, name).Kinds[1]; got != c.kind {
			t.Errorf("%s: kind %q, want %q", c.typ, got, c.kind)
		}
		read := rows(t, s, name)
		if read[0].Rule != "" {
			t.Errorf("%s %.60s: refused, %s", c.typ, c.value, read[0].Rule)
			continue
		}
		if diff := cmp.Diff([]string{c.want, ""}, []string{read[0].Cells[1], read[1].Cells[1]}); diff != "" {
			t.Errorf("%s %.60s (-want +got)\n%s", c.typ, c.value, diff)
		}
	}
}

func pad(i int) string { return string([]byte{'0' + byte(i/10), '0' + byte(i%10)}) }

func TestCellsOfPostgres(t *testing.T) {
	db := fresh(t, Postgres)
	must(t, db.run, "CREATE TYPE mood AS ENUM ('sad', 'ok')", "CREATE DOMAIN dose AS numeric(12,3)",
		// What would change the texts is set the other way round.
		`DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET datestyle = ''German'''; 
		EXECUTE 'ALTER DATABASE ' || current_database() || ' SET timezone = ''Asia/Tokyo''';
		EXECUTE 'ALTER DATABASE ' || current_database() || ' SET intervalstyle = ''iso_8601''';
		EXECUTE 'ALTER DATABASE ' || current_database() || ' SET bytea_output = ''escape''';
		EXECUTE 'ALTER DATABASE ' || current_database() || ' SET extra_float_digits = ''-4''' ; END $$`)
	check(t, db, []cell{
		{"smallint", "-7", "-7", extract.Integer},
		{"bigint", "9223372036854775807", "9223372036854775807", extract.Integer},
		{"numeric", "'123456789012345678901234567890.1234567890'", "123456789012345678901234567890.1234567890", extract.Decimal},
		{"numeric(18,10)", "1.5", "1.5000000000", extract.Decimal},
		{"numeric", "'NaN'", "NaN", extract.Decimal},
		{"dose", "0.1", "0.100", extract.Decimal},
		{"double precision", "0.1", "0.1", extract.Decimal},
		{"double precision", "1::float8/3", "0.3333333333333333", extract.Decimal},
		{"real", "0.1", "0.1", extract.Decimal},
		{"boolean", "true", "1", extract.Boolean},
		{"boolean", "false", "0", extract.Boolean},
		{"date", "'2012-05-01'", "2012-05-01", extract.Date},
		{"date", "'infinity'", "infinity", extract.Date},
		{"date", "'0044-03-15 BC'", "0044-03-15 BC", extract.Date},
		{"date", "'12012-05-01'", "12012-05-01", extract.Date},
		{"timestamp", "'2012-05-01 14:00:00.120000'", "2012-05-01T14:00:00.12", extract.DateTime},
		{"timestamp", "'-infinity'", "-infinity", extract.DateTime},
		{"timestamp", "'0044-03-15 12:00:00 BC'", "0044-03-15 12:00:00 BC", extract.DateTime},
		{"timestamptz", "'2012-05-01 14:00:00.5+02'", "2012-05-01T12:00:00.5Z", extract.DateTime},
		{"timestamptz", "'infinity'", "infinity", extract.DateTime},
		{"time", "'14:00:00.500'", "14:00:00.5", extract.Time},
		{"time", "'24:00:00'", "24:00:00", extract.Time},
		{"timetz", "'14:00:00-06'", "14:00:00-06", extract.Text},
		{"bytea", `'\x00ff4142'`, b64("\x00\xffAB"), extract.Bytes},
		{"bytea", `''`, "", extract.Bytes},
		{"uuid", "'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", extract.Text},
		{"json", `'{"b": 1,  "a": 1.50}'`, `{"b": 1,  "a": 1.50}`, extract.Text},
		{"jsonb", `'{"b": 1,  "a": 1.50}'`, `{"a": 1.50, "b": 1}`, extract.Text},
		{"text[]", `'{"a,b",NULL,""}'`, `{"a,b",NULL,""}`, extract.Text},
		{"mood", "'ok'", "ok", extract.Text},
		{"interval", "'1 year 2 mons 3 days 04:05:06'", "1 year 2 mons 3 days 04:05:06", extract.Text},
		{"char(5)", "'ab'", "ab   ", extract.Text},
		{"varchar(50)", "E'Zoë 🧬\\r\\n\\t''x'''", "Zoë 🧬\r\n\t'x'", extract.Text},
		{"bit(3)", "B'101'", "101", extract.Text},
		{"inet", "'10.0.0.1/8'", "10.0.0.1/8", extract.Text},
		{"oid", "4294967295", "4294967295", extract.Integer},
	})
}

func TestInstantsAreShownInTheZone(t *testing.T) {
	each(t, func(t *testing.T, db database) {
		typ, value := "timestamptz", "'2012-05-01 14:00:00+00'"
		if db.engine == MySQL {
			must(t, db.run, "SET time_zone = '+02:00'")
			typ, value = "timestamp NULL", "'2012-05-01 16:00:00'"
		}
		if db.engine == SQLite {
			typ = "TIMESTAMP"
		}
		check(t, db, []cell{{typ, value, "2012-05-01T09:00:00-05:00", extract.DateTime}},
			func(o *Options) { o.Zone = chicago(t) })
	})
}

func TestCellsOfMariaDB(t *testing.T) {
	db := fresh(t, MySQL)
	must(t, db.run, "SET sql_mode = ''", "SET time_zone = '-06:00'")
	check(t, db, []cell{
		{"tinyint(1)", "1", "1", extract.Integer},
		{"tinyint(1)", "2", "2", extract.Integer},
		{"bigint", "-9223372036854775808", "-9223372036854775808", extract.Integer},
		{"bigint unsigned", "18446744073709551615", "18446744073709551615", extract.Integer},
		{"int(8) zerofill", "42", "42", extract.Integer},
		{"bit(1)", "b'1'", "1", extract.Boolean},
		{"bit(3)", "b'101'", "5", extract.Integer},
		{"bit(64)", "b'1000000000000000000000000000000000000000000000000000000000000001'", "9223372036854775809", extract.Integer},
		{"decimal(30,10)", "'12345678901234567890.1234567890'", "12345678901234567890.1234567890", extract.Decimal},
		{"double", "1e6", "1000000", extract.Decimal},
		{"double", "0.1", "0.1", extract.Decimal},
		{"float", "0.1", "0.1", extract.Decimal},
		{"date", "'2012-05-01'", "2012-05-01", extract.Date},
		{"date", "'0000-00-00'", "0000-00-00", extract.Date},
		{"date", "'2012-05-00'", "2012-05-00", extract.Date},
		{"datetime(6)", "'2012-05-01 14:00:00.120000'", "2012-05-01T14:00:00.12", extract.DateTime},
		{"datetime", "'0000-00-00 00:00:00'", "0000-00-00T00:00:00", extract.DateTime},
		{"timestamp NULL", "'2012-05-01 14:00:00'", "2012-05-01T20:00:00Z", extract.DateTime},
		{"timestamp NULL", "'0000-00-00 00:00:00'", "0000-00-00T00:00:00", extract.DateTime},
		{"time(3)", "'14:00:00.500'", "14:00:00.5", extract.Time},
		{"time", "'-838:59:59'", "-838:59:59", extract.Time},
		{"year", "2012", "2012", extract.Integer},
		{"blob", "x'00ff4142'", b64("\x00\xffAB"), extract.Bytes},
		{"varbinary(10)", "'ab'", b64("ab"), extract.Bytes},
		{"varchar(50) charset latin1", "'Zoë'", "Zoë", extract.Text},
		{"text", "'Zoë 🧬\\r\\n\\t''x\\'\\\\'", "Zoë 🧬\r\n\t'x'\\", extract.Text},
		{"char(5)", "'ab'", "ab", extract.Text},
		{"enum('a','b')", "'b'", "b", extract.Text},
		{"set('a','b')", "'a,b'", "a,b", extract.Text},
		{"json", `'{"a": 1.50}'`, `{"a": 1.50}`, extract.Text},
		{"uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", extract.Text},
	})
}

func TestCellsOfSQLite(t *testing.T) {
	db := fresh(t, SQLite)
	check(t, db, []cell{
		{"INTEGER", "-9223372036854775808", "-9223372036854775808", extract.Integer},
		{"INTEGER", "'abc'", "abc", extract.Integer},
		{"INTEGER", "1.5", "1.5", extract.Integer},
		{"REAL", "0.1", "0.1", extract.Decimal},
		{"REAL", "3", "3.0", extract.Decimal},
		{"REAL", "1e300", "1e+300", extract.Decimal},
		{"DECIMAL(10,2)", "'12345678901234567890.10'", "12345678901234567000.0", extract.Decimal}, // SQLite itself makes it a float
		{"BOOLEAN", "1", "1", extract.Boolean},
		{"BOOLEAN", "2", "2", extract.Boolean},
		{"DATE", "'2012-05-01'", "2012-05-01", extract.Date},
		{"DATE", "'01.05.2012'", "01.05.2012", extract.Date},
		{"DATETIME", "'2012-05-01 14:00:00'", "2012-05-01T14:00:00", extract.DateTime},
		{"TIMESTAMP", "'2012-05-01 14:00:00.500+02:00'", "2012-05-01T12:00:00.5Z", extract.DateTime},
		{"DATETIME", "1335880800", "1335880800", extract.DateTime},
		{"TIME", "'14:00:00.500'", "14:00:00.5", extract.Time},
		{"BLOB", "x'00ff4142'", b64("\x00\xffAB"), extract.Bytes},
		{"BLOB", "'abcd'", b64("abcd"), extract.Bytes},
		{"BLOB", "1234", b64("1234"), extract.Bytes},
		{"BLOB", "1.5", b64("1.5"), extract.Bytes},
		{"TEXT", "'2012-05-01 14:00:00'", "2012-05-01 14:00:00", extract.Text},
		{"VARCHAR(50)", "'Zoë 🧬' || char(13, 10)", "Zoë 🧬\r\n", extract.Text},
		{"", "'anything'", "anything", extract.Unknown},
		{"", "7", "7", extract.Unknown},
	})
}

func TestWhatIsNoTextIsRefused(t *testing.T) {
	db := fresh(t, SQLite)
	must(t, db.run, "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)",
		"INSERT INTO t VALUES (1, 'ok'), (2, x'ff00'), (3, 'a' || char(0) || 'b'), (4, CAST(x'ff41' AS TEXT)), (5, 'ok')")
	s := db.source(t)
	rules := map[int64]string{}
	for _, r := range rows(t, s, "t") {
		rules[r.Ordinal] = r.Rule + " " + r.Column
	}
	want := map[int64]string{1: " ", 2: extract.RuleBytesInText + " v", 3: extract.RuleNULByte + " v",
		4: extract.RuleInvalidEncoding + " v", 5: " "}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	my := fresh(t, MySQL)
	must(t, my.run, "CREATE TABLE t (k INT PRIMARY KEY, v TEXT)", `INSERT INTO t VALUES (1, 'a\0b'), (2, 'ok')`)
	read := rows(t, my.source(t), "t")
	if read[0].Rule != extract.RuleNULByte || read[1].Rule != "" {
		t.Errorf("a NUL in MariaDB: %q, then %q", read[0].Rule, read[1].Rule)
	}
}

// A server that keeps bytes without an encoding may send what is not UTF-8.
func TestPostgresWithoutAnEncoding(t *testing.T) {
	db := fresh(t, Postgres)
	must(t, db.run, "CREATE DATABASE "+"raw_"+strings.ReplaceAll(t.Name(), "/", "_")+
		" ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	name := strings.ToLower("raw_" + t.Name())
	t.Cleanup(func() { must(t, db.run, "DROP DATABASE "+name+" WITH (FORCE)") })
	at := strings.LastIndexByte(db.dsn, '/')
	db.dsn = db.dsn[:at+1] + name + db.dsn[strings.IndexByte(db.dsn, '?'):]
	must(t, open(t, "pgx", db.dsn), "CREATE TABLE t (k int, v text)", `INSERT INTO t VALUES (1, E'Zo\xeb'), (2, 'ok')`)
	read := rows(t, db.source(t), "t")
	if len(read) != 2 || read[0].Rule != extract.RuleInvalidEncoding || read[1].Rule != "" {
		t.Errorf("%d rows, the first refused by %q", len(read), read[0].Rule)
	}
}
