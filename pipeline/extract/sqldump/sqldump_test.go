package sqldump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// read returns the rows of one table of a dump as `cell|cell`, or the rule that refuses them, and the error if there is
// one.
func read(t testing.TB, o Options, text, table string) ([]string, error) {
	t.Helper()
	o.Name, o.Dir = "x", t.TempDir()
	if o.Files == nil {
		o.Files = []string{"d.sql"}
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "d.sql"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		return nil, err
	}
	var shown []string
	for _, d := range tables {
		if d.Name != table {
			continue
		}
		rows, err := extracttest.Rows(t.Context(), s, d)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Rule != "" {
				shown = append(shown, strings.TrimSuffix("!"+r.Rule+" "+r.Column, " "))
				continue
			}
			shown = append(shown, strings.Join(r.Cells, "|"))
		}
		return shown, nil
	}
	return nil, fmt.Errorf("no table %s", table)
}

func TestRows(t *testing.T) {
	chicago, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dialect, text string
		o                   Options
		want                []string
		fails               string
	}{
		{name: "literals of MySQL", dialect: "mysql", text: "CREATE TABLE t (a int, b varchar(9), c bit(1), d bit(8), e blob, f text);\n" +
			`INSERT INTO t VALUES (-1,'a\'b',b'1',b'101',0xFF,"it's"),(+2,_utf8mb4'x' 'y','` + "\x01" + `',0x10,X'00',NULL),(0x1F,'a\0',0,'',_binary '\0\'',N'n');`,
			want: []string{"-1|a'b|1|5|/w==|it's", "2|xy|1|16|AA==|", "!nul-byte b"}},
		{name: "columns in another order", dialect: "mysql", text: "CREATE TABLE t (a int, b text, c text);INSERT INTO t (c, a) VALUES ('x', 1);REPLACE INTO t (B) VALUES ('y')",
			want: []string{"1||x", "|y|"}},
		{name: "no CREATE TABLE", dialect: "mysql", text: "INSERT INTO t (a, b) VALUES (1, 'x');\nINSERT INTO t (b, c) VALUES ('y', 2);", want: []string{"1|x|", "|y|2"}},
		{name: "neither columns nor CREATE TABLE", dialect: "mysql", text: "\nINSERT INTO t VALUES (1);", fails: "d.sql:2: rows of table t"},
		{name: "instants", dialect: "mysql", o: Options{Zone: chicago}, text: "CREATE TABLE t (a timestamp NULL, b datetime);\n" +
			"INSERT INTO t VALUES ('2020-01-01 12:00:00','2020-01-01 12:00:00');\n/*!40103 SET TIME_ZONE='+00:00' */;\n" +
			"INSERT INTO t VALUES ('2020-01-01 12:00:00','2020-01-01 12:00:00'),('0000-00-00 00:00:00',NULL);",
			want: []string{"2020-01-01T12:00:00|2020-01-01T12:00:00", "2020-01-01T06:00:00-06:00|2020-01-01T12:00:00", "0000-00-00T00:00:00|"}},
		{name: "character set", dialect: "mysql", text: "SET NAMES latin1;CREATE TABLE t (a text, b blob);INSERT INTO t VALUES ('\xe9\x80','\xe9');", want: []string{"é€|6Q=="}},
		{name: "character set of the plan", dialect: "mysql", o: Options{Encoding: "windows-1251"}, text: "SET NAMES latin1;CREATE TABLE t (a text);INSERT INTO t VALUES ('\xe9');", want: []string{"й"}},
		{name: "unknown character set", dialect: "mysql", text: "SET NAMES gbk;", fails: "d.sql:1: the dump declares its character set"},
		{name: "bytes that are not text", dialect: "mysql", text: "CREATE TABLE t (a text, b int);INSERT INTO t VALUES ('\xff',1),('a',2);", want: []string{"!invalid-encoding a", "a|2"}},
		{name: "expressions", dialect: "mysql", text: "CREATE TABLE t (a int, b int);INSERT INTO t VALUES (1,NOW()),(1+1,(SELECT max(')') FROM u)),(3,DEFAULT),(4,4),(((((((((((((((((((((5)))))))))))))))))))),5);",
			want: []string{"!sql-expression b", "!sql-expression a", "!sql-expression b", "4|4", "!sql-expression a"}},
		{name: "ragged", dialect: "mysql", text: "CREATE TABLE t (a int, b int);INSERT INTO t VALUES (1),(1,2,3),(1,2),();", want: []string{"!ragged-row", "!ragged-row", "1|2", "!ragged-row"}},
		{name: "caps", dialect: "mysql", o: Options{MaxField: 5, MaxRecord: 100, MaxColumns: 3}, text: "CREATE TABLE t (a text, b int);INSERT INTO t VALUES ('123456',1),(1,2,3,4),('" +
			strings.Repeat("x", 1_000_000) + "',1),('12345',2);", want: []string{"!field-too-long a", "!too-many-columns", "!record-too-long", "12345|2"}},
		{name: "INSERT SELECT", dialect: "mysql", text: "CREATE TABLE t (a int);INSERT INTO t VALUES (1);INSERT INTO t SELECT 2 UNION ALL SELECT 3;INSERT INTO t (a) (SELECT 1);INSERT INTO t SET a=4;\n" +
			"LOAD DATA LOCAL INFILE 'x;y' INTO TABLE t FIELDS TERMINATED BY ';';INSERT INTO t VALUES (9);", want: []string{"1", "!sql-statement", "!sql-statement", "!sql-statement", "!sql-statement", "9"}},
		{name: "a quote too many", dialect: "mysql", text: "CREATE TABLE t (a int, b text);\nINSERT INTO t VALUES (1,'it's');\nINSERT INTO t VALUES (2,'x');\n", want: []string{"!text-after-quote b", "2|x"}},
		{name: "cut in a string", dialect: "mysql", text: "CREATE TABLE t (a int, b text);INSERT INTO t VALUES (1,'x'),(2,'y", want: []string{"1|x", "!unterminated-quote b"}},
		{name: "cut in a tuple", dialect: "mysql", text: "CREATE TABLE t (a int, b int);INSERT INTO t VALUES (1,1),(2,", want: []string{"1|1", "!sql-truncated"}},
		{name: "cut behind a comma", dialect: "mysql", text: "CREATE TABLE t (a int);INSERT INTO t VALUES (1),", want: []string{"1", "!sql-truncated"}},
		{name: "cut before VALUES", dialect: "mysql", text: "CREATE TABLE t (a int);INSERT INTO t VALUES (1);INSERT INTO t (a", want: []string{"1", "!sql-truncated"}},
		{name: "cut in CREATE TABLE", dialect: "mysql", text: "CREATE TABLE t (a int, b", fails: "not whole"},
		{name: "cut between statements", dialect: "mysql", text: "-- MySQL dump 10.13\nCREATE TABLE t (a int);INSERT INTO t VALUES (1);\n", fails: "Dump completed"},
		{name: "UPDATE", dialect: "mysql", text: "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\nUPDATE t SET a=2;", fails: "d.sql:3: UPDATE changes table t"},
		{name: "DELETE of some", dialect: "postgres", text: "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\nDELETE FROM public.t WHERE a=1;", fails: "d.sql:3: DELETE changes table t"},
		{name: "MERGE", dialect: "sqlserver", text: "CREATE TABLE t (a int)\nINSERT t VALUES (1)\nMERGE INTO t USING u ON 1=1 WHEN MATCHED THEN DELETE;", fails: "d.sql:3: MERGE changes table t"},
		{name: "upsert", dialect: "mysql", text: "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a=2;", fails: "changes table t"},
		{name: "UPDATE of another table, and before the rows", dialect: "mysql", text: "CREATE TABLE t (a int);UPDATE t SET a=1;CREATE TABLE u (a int);INSERT INTO t VALUES (1);UPDATE u SET a=2;", want: []string{"1"}},
		{name: "TRUNCATE, DELETE of all, DROP", dialect: "mysql", text: "CREATE TABLE t (a int);INSERT INTO t VALUES (1);TRUNCATE t;INSERT INTO t VALUES (2);DELETE FROM t;INSERT INTO t VALUES (3);" +
			"DROP TABLE IF EXISTS `t`;CREATE TABLE t (a int, b int);INSERT INTO t VALUES (4,4);", want: []string{"4|4"}},
		{name: "created twice", dialect: "mysql", text: "CREATE TABLE t (a int);CREATE TABLE t (b int);", fails: "a second time"},
		{name: "ROLLBACK", dialect: "sqlite", text: "BEGIN TRANSACTION;CREATE TABLE t (a int);INSERT INTO t VALUES(1);ROLLBACK; -- due to errors\n", fails: "ROLLBACK"},
		{name: "no COMMIT", dialect: "sqlite", text: "BEGIN TRANSACTION;CREATE TABLE t (a int);INSERT INTO t VALUES(1);\n", fails: "inside a transaction"},
		{name: "ALTER TABLE", dialect: "mysql", text: "CREATE TABLE t (a int);ALTER TABLE t ADD COLUMN b text FIRST, ADD c int AFTER b, ADD KEY (a);INSERT INTO t VALUES ('b',3,1);" +
			"ALTER TABLE t ADD PRIMARY KEY (a), MODIFY a int NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=5;", want: []string{"b|3|1"}},
		{name: "ALTER TABLE with rows", dialect: "mysql", text: "CREATE TABLE t (a int, b int);INSERT INTO t VALUES (1,2);\nALTER TABLE t DROP COLUMN b;", fails: "d.sql:2: ALTER TABLE … DROP COLUMN"},
		{name: "ANSI_QUOTES", dialect: "mysql", text: "SET sql_mode='ANSI_QUOTES';CREATE TABLE \"t\" (\"a b\" int);INSERT INTO \"t\" (\"a b\") VALUES (1);", want: []string{"1"}},
		{name: "stored code", dialect: "mysql", text: "CREATE TABLE t (a int);DELIMITER $$\nCREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1); UPDATE t SET a=1; END$$\nDELIMITER ;\nINSERT INTO t VALUES (2);", want: []string{"2"}},
		{name: "stored code without an end", dialect: "mysql", text: "DELIMITER $$\nCREATE PROCEDURE p() BEGIN INSERT INTO t VALUES (1);", fails: "d.sql:2: the file ends inside"},
		{name: "open comment", dialect: "mysql", text: "CREATE TABLE t (a int);/* no end\nINSERT INTO t VALUES (1);", fails: "string or a comment"},
		{name: "generated column", dialect: "postgres", text: "CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int GENERATED ALWAYS AS IDENTITY);INSERT INTO t VALUES (1, DEFAULT, 3);INSERT INTO t VALUES (4, 5);",
			want: []string{"1|3", "4|5"}},
		{name: "literals of PostgreSQL", dialect: "postgres", text: "CREATE TABLE t (a text, b bytea, c timestamp with time zone, d uuid, e boolean);" +
			`INSERT INTO t VALUES (E'a\nb\u00e9\x41\101', '\x00ff', '2020-01-01 00:00:00+02', 'ABCDEF00-0000-0000-0000-000000000000', TRUE);` +
			`INSERT INTO t VALUES ('a\b'::character varying, 'a\\\000'::bytea, 'infinity', NULL, 'f'), ($x$it's $$ here$x$, NULL, NULL, NULL, NULL), (U&'\00e9' || 'x', NULL, NULL, NULL, 'yes');`,
			want: []string{"a\nbéAA|AP8=|2019-12-31T22:00:00Z|abcdef00-0000-0000-0000-000000000000|1", "a\\b|YVwA|infinity||0", "it's $$ here||||", "éx||||yes"}},
		{name: "backslashes of PostgreSQL", dialect: "postgres", text: "SET standard_conforming_strings = off;CREATE TABLE t (a text);INSERT INTO t VALUES ('a\\'b');", want: []string{"a'b"}},
		{name: "COPY", dialect: "postgres", text: "CREATE TABLE t (a int, b text, c text);\nCOPY public.t (a, c, b) FROM stdin;\n1\t\\N\tx\\ty\\\\\\101\r\n2\n3\t\\\\N\t\\N\n\\.\nSELECT 1;\n",
			want: []string{"1|x\ty\\A|", "!ragged-row", `3||\N`}},
		{name: "COPY without an end", dialect: "postgres", text: "COPY t (a, b) FROM stdin;\n1\t2\n3\t", want: []string{"1|2", "!sql-truncated"}},
		{name: "COPY that ends with a line", dialect: "postgres", text: "COPY t (a, b) FROM stdin;\n1\t2\n", want: []string{"1|2", "!sql-truncated"}},
		{name: "COPY of CSV", dialect: "postgres", text: "COPY t (a, b) FROM stdin WITH (FORMAT csv);\n1,2\n\\.\nINSERT INTO t (a) VALUES (5);", want: []string{"!sql-statement", "5|"}},
		{name: "schemas", dialect: "postgres", text: "CREATE TABLE x.t (a int);CREATE TABLE public.t (a int);SET search_path = x, pg_catalog;INSERT INTO t VALUES (1);INSERT INTO public.t VALUES (2);", want: nil, fails: "no table t"},
		{name: "another file", dialect: "postgres", text: "\\i other.sql\n", fails: "d.sql:1: the dump reads another file"},
		{name: "dates of SQL Server", dialect: "sqlserver", text: "CREATE TABLE [dbo].[t]([a] [datetime], [b] [date], [c] [datetimeoffset](7), [d] [smalldatetime], [e] [datetime2](7), [f] [time](7))\nGO\n" +
			"INSERT [dbo].[t] VALUES (CAST(0x0000A86E00C5C100 AS DateTime), CAST(0x123B0B00 AS Date), CAST(N'2019-08-16T09:37:51.0000000-04:00' AS DateTimeOffset), CAST(0xA86E02D0 AS SmallDateTime), CAST(0x0700000000007B400B AS DateTime2), CAST(0x0700E0349564 AS Time))\n" +
			"INSERT [dbo].[t] VALUES ('20190816 10:00:00', '20190816', NULL, CONVERT(smalldatetime, '2019-08-16 10:00:00', 120), CONVERT(datetime2, '16.08.2019', 104), NULL)\n",
			want: []string{"2018-01-20T12:00:00|2016-02-25|2019-08-16T13:37:51Z|2018-01-20T12:00:00|2019-12-11T00:00:00|12:00:00", "!sql-expression e"}},
		{name: "batches", dialect: "sqlserver", text: "SET NOCOUNT ON\nIF OBJECT_ID('t') IS NOT NULL DROP TABLE t\nCREATE TABLE t (a int, b bit)\nINSERT INTO t (a, b) VALUES (1, 1), (2, 0)\nINSERT t (a, b) VALUES (3, NULL)\nPRINT 'x'\n" +
			"IF NOT EXISTS (SELECT * FROM t WHERE a = 1) INSERT t (a, b) VALUES (4, 1)\nINSERT t (a, b) VALUES (5, 1)\nIF 1 = 1\nBEGIN\n  INSERT t (a, b) VALUES (6, 1)\nEND\nINSERT t (a, b) SELECT 7, 1 UNION ALL\nSELECT 8, 1\nGO\n" +
			"INSERT t (a, b) VALUES (9, 'true')\nGO 1\n",
			want: []string{"1|1", "2|0", "3|", "!sql-statement", "5|1", "!sql-statement", "!sql-statement", "9|1"}},
		{name: "text of SQL Server", dialect: "sqlserver", text: "CREATE TABLE t (a nvarchar(9), b nvarchar(9))\nINSERT t VALUES (N'it''s' + CHAR(13) + NCHAR(10), 0x41)\nINSERT t VALUES (N'x', N'\nGO\n')",
			want: []string{"!bytes-in-text b", "x|\nGO\n"}},
		{name: "SQLite", dialect: "sqlite", text: "CREATE TABLE t(a INTEGER, b TEXT, c, d DATETIME, e INT AS (a));INSERT INTO t VALUES(1,replace('a\\nb','\\n',char(10)),X'00ff','2020-01-01 10:00:00Z');" +
			"INSERT INTO t(rowid,a,b) VALUES(7,2,unistr('\\u00e9\\U0001F600'));INSERT INTO t VALUES(1,X'41',NULL,NULL);",
			want: []string{"1|a\nb|AP8=|2020-01-01T10:00:00Z", "2|é😀||", "!bytes-in-text b"}},
		{name: "Oracle", dialect: "oracle", text: "SET DEFINE OFF\nREM it's\nCREATE TABLE hr.t (a NUMBER, b VARCHAR2(9), c DATE, d RAW(2), e TIMESTAMP WITH TIME ZONE);\n" +
			"Insert into HR.T (A,B,C,D,E) values (.5,q'{it's}',to_date('03-FEB-99','DD-MON-RR'),'0AFF',TIMESTAMP '2020-01-01 00:00:00 +02:00');\n" +
			"INSERT ALL\n INTO hr.t (a, c) VALUES (1, DATE '2020-02-29')\n INTO hr.t (a, b) VALUES (2, 'x' || CHR(10) || 'y')\nSELECT * FROM dual;\n" +
			"INSERT INTO hr.t (a, c) VALUES (3, TO_DATE('01/02/03', 'DD/MM/YY'));\nINSERT INTO hr.t (a, c) VALUES (4, SYSDATE);\nINSERT INTO hr.t (d, b) VALUES (HEXTORAW('ab'), EMPTY_CLOB());\n/\n",
			want: []string{".5|it's|1999-02-03T00:00:00|Cv8=|2019-12-31T22:00:00Z", "1||2020-02-29T00:00:00||", "2|x\ny|||", "!sql-expression C", "!sql-expression C", "|||qw==|"}},
		{name: "PL/SQL that inserts", dialect: "oracle", text: "CREATE TABLE T (a NUMBER);\nINSERT INTO t VALUES (1);\nBEGIN\n  INSERT INTO t VALUES (2);\nEND;\n/\n", fails: "a block of PL/SQL"},
		{name: "PL/SQL that inserts, before other rows", dialect: "oracle", text: "CREATE TABLE T (a NUMBER);\nBEGIN\n  INSERT INTO t VALUES (2);\nEND;\n/\nINSERT INTO t VALUES (1);\n", fails: "a block of PL/SQL"},
		{name: "COPY in another dialect", dialect: "mysql", text: "CREATE TABLE t (a int);\nCOPY public.t (a) FROM stdin;\n1\n\\.\n", fails: "d.sql:2: COPY … FROM stdin"},
		{name: "a name of another dialect", dialect: "postgres", text: "CREATE TABLE t (a int);\nINSERT INTO `t` VALUES (1);", fails: "d.sql:2: what this INSERT writes to"},
		{name: "a name in the wrong quotes", dialect: "mysql", text: "CREATE TABLE t (a int);\nINSERT INTO \"t\" VALUES (1);", fails: "d.sql:2: what this INSERT writes to"},
		{name: "a dump of MariaDB by another name", dialect: "sqlite", text: "/*M!999999\\- enable the sandbox mode */\n-- MariaDB dump 10.19\nCREATE TABLE t (a text);INSERT INTO t VALUES ('x');\n-- Dump completed\n", fails: "`dialect: mysql`"},
		{name: "a dump of PostgreSQL by another name", dialect: "mysql", text: "--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (a text);INSERT INTO t VALUES ('x');\n-- PostgreSQL database dump complete\n", fails: "`dialect: postgres`"},
		{name: "a dump of SQLite by another name", dialect: "postgres", text: "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t(a INTEGER);\nINSERT INTO t VALUES(1);\nCOMMIT;\n", fails: "`dialect: sqlite`"},
		{name: "cut between statements of pg_dump", dialect: "postgres", text: "--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (a int);INSERT INTO t VALUES (1);\n", fails: "dump complete"},
		{name: "cut in a cluster's dump", dialect: "postgres", text: "--\n-- PostgreSQL database cluster dump\n--\nCREATE TABLE t (a int);INSERT INTO t VALUES (1);\n", fails: "dump complete"},
		{name: "WITH before INSERT", dialect: "postgres", text: "CREATE TABLE t (a int);WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x;", want: []string{"!sql-statement"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := "t"
			if c.dialect == "oracle" {
				table = "T"
			}
			for _, size := range []int64{0, 1} {
				c.o.Dialect, c.o.ShardSize = c.dialect, size
				got, err := read(t, c.o, c.text, table)
				if c.fails != "" {
					if err == nil || !strings.Contains(err.Error(), c.fails) {
						t.Errorf("rows %q, error %v; want one with %q", got, err, c.fails)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("shard size %d (-want +got)\n%s", size, diff)
				}
			}
		})
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := Open(Options{Name: "x", Dialect: "db2", Encoding: "ebcdic", Files: []string{"none.sql"}, MaxField: -1})
	for _, part := range []string{`"db2" is not known; known are mysql`, `"ebcdic" is not known`, "none.sql: no such file", "negative"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v lacks %q", err, part)
		}
	}
}

// Tables that lie in several files count lines through; a schema and its data may lie in two.
// A dump of pg_dump that was split into several files has its last line in the last of them. One that lacks it is named,
// also before another dump.
func TestTheTrailerMayStandInALaterFile(t *testing.T) {
	const header, trailer = "--\n-- PostgreSQL database dump\n--\n", "-- PostgreSQL database dump complete\n"
	for _, c := range []struct{ a, b, fails string }{
		{header + "CREATE TABLE t (a int);\n", "INSERT INTO t VALUES (1);\n" + trailer, ""},
		{header + "CREATE TABLE t (a int);\n", "INSERT INTO t VALUES (1);\n", "a.sql:5: "},
		{header + "CREATE TABLE t (a int);\n", header + "INSERT INTO t VALUES (1);\n" + trailer, "a.sql:5: "},
		{header + "CREATE TABLE t (a int);\n" + trailer, header + "INSERT INTO t VALUES (1);\n", "b.sql:5: "},
	} {
		dir := t.TempDir()
		for name, text := range map[string]string{"a.sql": c.a, "b.sql": c.b} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(Options{Name: "x", Dir: dir, Files: []string{"a.sql", "b.sql"}, Dialect: "postgres"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Tables(t.Context())
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%v, want %q", err, c.fails)
		}
	}
}

func TestSeveralFilesAreOneDatabase(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"1.sql": "CREATE TABLE t (a int);\nCREATE TABLE u (a int);\nINSERT INTO t VALUES (1);\n", "2.sql": "\nINSERT INTO t VALUES (2);\nINSERT INTO u VALUES (NOW());\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Options{Name: "x", Dir: dir, Files: []string{"*.sql"}, Dialect: "mysql"})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []extracttest.Row
	for _, table := range tables {
		rows, err := extracttest.Rows(t.Context(), s, table)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rows...)
	}
	want := []extracttest.Row{{Table: "t", Cells: []string{"1"}, Line: 3, Ordinal: 1}, {Table: "t", Cells: []string{"2"}, Line: 6, Ordinal: 2},
		{Table: "u", Line: 3, Ordinal: 1, Column: "a", Rule: extract.RuleExpression}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if tables[0].File != "" || tables[1].File != "2.sql" {
		t.Errorf("files %q and %q", tables[0].File, tables[1].File)
	}
}

// What was planned and what is read are the same file, or nothing is read.
func TestChangedFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.sql")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("CREATE TABLE t (a int);INSERT INTO t VALUES (1),(2);")
	s, err := Open(Options{Name: "x", Files: []string{path}, Dialect: "mysql"})
	if err != nil {
		t.Fatal(err)
	}
	shards := extracttest.Shards(t, s)
	write("CREATE TABLE t (a int);INSERT INTO t VALUES (1),(2),(3);")
	if rows, err := extracttest.ShardRows(t.Context(), s, shards[0], nil); !errors.Is(err, extract.ErrChanged) {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	again, err := Open(Options{Name: "x", Files: []string{path}, Dialect: "mysql"})
	if err != nil {
		t.Fatal(err)
	}
	if rows, err := extracttest.ShardRows(t.Context(), again, shards[0], nil); !errors.Is(err, extract.ErrChanged) {
		t.Errorf("another source: %d rows, %v", len(rows), err)
	}
}
