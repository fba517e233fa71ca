package sqldump

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSession: what a statement says of those behind it.
func TestSession(t *testing.T) {
	vienna, err := time.LoadLocation("Europe/Vienna")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dialect, text string
		want                []string
		fails               string
	}{
		{name: "a zone by its name", dialect: "mysql", text: "CREATE TABLE t (a timestamp, b datetime);SET time_zone = 'America/New_York';\n" +
			"INSERT INTO t VALUES ('2018-07-04 09:15:00.50','2018-07-04 09:15:00'),('2018-11-04 01:30:00',NULL),('2018-03-11 02:30:00',NULL),('0000-00-00 00:00:00',NULL);\n" +
			"SET time_zone='SYSTEM';INSERT INTO t VALUES ('2018-07-04 09:15:00',NULL);SET time_zone='US/Central';INSERT INTO t VALUES ('2018-07-04 09:15:00',NULL);",
			want: []string{"2018-07-04T15:15:00.5+02:00|2018-07-04T09:15:00", "!sql-expression a", "!sql-expression a", "0000-00-00T00:00:00|", "2018-07-04T09:15:00|", "2018-07-04T16:15:00+02:00|"}},
		{name: "a zone by its offset", dialect: "mysql", text: "CREATE TABLE t (a timestamp);SET time_zone='-5:30';INSERT INTO t VALUES ('2018-07-04 09:00:00');", want: []string{"2018-07-04T16:30:00+02:00"}},
		{name: "a zone that nobody knows", dialect: "mysql", text: "CREATE TABLE t (a timestamp);\nSET time_zone='Mars/Olympus';INSERT INTO t VALUES ('2018-07-04 09:15:00');", fails: "d.sql:2: the dump sets a time zone"},
		{name: "a zone of PostgreSQL", dialect: "postgres", text: "CREATE TABLE t (a timestamptz, b timestamp);SET timezone TO 'America/New_York';INSERT INTO t VALUES ('2018-07-04 09:15:00', '2018-07-04 09:15:00'),('2018-07-04 09:15:00+00',NULL);\n" +
			"SET TIME ZONE 'UTC';INSERT INTO t VALUES ('2018-07-04 09:15:00',NULL);", want: []string{"2018-07-04T15:15:00+02:00|2018-07-04T09:15:00", "2018-07-04T11:15:00+02:00|", "2018-07-04T11:15:00+02:00|"}},
		{name: "names of MySQL in double quotes", dialect: "mysql", text: "CREATE TABLE \"t\" (no int, \"TEXT\" varchar(9) DEFAULT \"x\", \"date\" date, \"or\\\"der\" datetime, PRIMARY KEY (\"no\"));\n" +
			"INSERT INTO \"t\" VALUES (1,\"a\",'2020-01-02','2020-01-02 03:04:05');INSERT INTO t (\"no\",\"date\") VALUES (2,'2020-01-03');", want: []string{"1|a|2020-01-02|2020-01-02T03:04:05", "2|x|2020-01-03|"}},
		{name: "names of SQLite in quotes", dialect: "sqlite", text: "CREATE TABLE 't' ('a' INTEGER, \"b\" TEXT, [c], `d`);INSERT INTO t VALUES (1,2,3,4);", want: []string{"1|2|3|4"}},
		{name: "a string for a column", dialect: "postgres", text: "\nCREATE TABLE t ('a' int);", fails: "d.sql:2: a string stands where the name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(t, Options{Dialect: c.dialect, Zone: vienna}, c.text, "t")
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Fatalf("got %v, %v; want an error with %s", got, err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestZonesOfModels: Oracle's TZR is an offset or a region.
func TestZonesOfModels(t *testing.T) {
	for _, c := range []struct{ model, text, want string }{
		{"DD-MON-RR HH.MI.SSXFF AM TZR", "03-FEB-19 10.11.12.500000000 AM -06:00", "2019-02-03 10:11:12.500000000-06:00"},
		{"DD-MON-RR HH.MI.SSXFF AM TZR", "03-JUL-19 10.11.12.000000000 PM AMERICA/NEW_YORK", "2019-07-03 22:11:12.000000000-04:00"},
		{"YYYY-MM-DD HH24:MI:SS TZR", "2019-07-03 10:11:12 US/CENTRAL", "2019-07-03 10:11:12-05:00"},
		{"YYYY-MM-DD HH24:MI:SS TZR", "2019-07-03 10:11:12 UTC", "2019-07-03 10:11:12+00:00"},
		{"YYYY-MM-DD HH24:MI:SS TZR", "2019-07-03 10:11:12 AFRICA/DAR_ES_SALAAM", "2019-07-03 10:11:12+03:00"},
		{"YYYY-MM-DD HH24:MI:SS TZR", "2019-11-03 01:30:00 US/CENTRAL", ""}, // twice
		{"YYYY-MM-DD HH24:MI:SS TZR", "2019-03-10 02:30:00 US/CENTRAL", ""}, // never
		{"YYYY-MM-DD HH24:MI:SS TZR", "2019-07-03 10:11:12 MARS/OLYMPUS", ""},
		{"SYYYY-MM-DD", " 2019-07-03", "2019-07-03 00:00:00"},
		{"SYYYY-MM-DD", "-0044-03-15", ""},
	} {
		got, ok := newDateModel(c.model).append(nil, []byte(c.text))
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s as %s: %s, %v", c.text, c.model, got, ok)
		}
	}
}
