package sqldump

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNotices: a statement that may have written rows is named, a table that cannot be read is set aside alone, and what
// dumps are made of is passed without a word.
func TestNotices(t *testing.T) {
	const rows = "CREATE TABLE t (a int);\nINSERT INTO t VALUES (1);\n"
	for _, c := range []struct{ name, dialect, text, want string }{
		{"CALL", "mysql", rows + "CALL add_patient(1);\n", "d.sql:3 statement: CALL"},
		{"PREPARE", "mysql", rows + "PREPARE s FROM 'INSERT INTO t VALUES (2)';\n", "d.sql:3 statement: PREPARE"},
		{"EXECUTE", "sqlserver", rows + "EXEC dbo.fill\n", "d.sql:3 statement: EXEC"},
		{"a damaged INSERT", "mysql", rows + "NSERT INTO t VALUES (2);\n", "d.sql:3 statement: what begins here"},
		{"a message of mysqldump", "mysql", "mysqldump: [Warning] Using a password; can be insecure.\n" + rows, "d.sql:1 statement: what begins here"},
		{"UPDATE", "postgres", rows + "CREATE TABLE u (a int);\nINSERT INTO u VALUES (1);\nUPDATE u SET a = 2;\n", "d.sql:0 unreadable-table: table u"},
		{"no last line", "mysql", "-- MySQL dump 10.13\n" + rows + "CREATE TABLE u (a int);\nINSERT INTO u VALUES (1);\n", "d.sql:0 unreadable-table: table u"},
		{"a column that only the database has", "mysql", "CREATE TABLE t (a int, b int AS (a + 1));\nINSERT INTO t VALUES (1);\n", "d.sql:0 computed-column: table t: the dump has no values of the columns that the database computes: b"},
		{"what MySQL's dumps are made of", "mysql", "SET NAMES utf8mb4;\nLOCK TABLES `t` WRITE;\n" + rows + "/*!40000 ALTER TABLE `t` ENABLE KEYS */;\nUNLOCK TABLES;\nFLUSH TABLES;\nDELIMITER ;;\nCREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN CALL f(1); END ;;\nDELIMITER ;\nSHOW WARNINGS;\n", ""},
		{"what PostgreSQL's are", "postgres", rows + "COMMENT ON TABLE t IS 'x';\nGRANT ALL ON TABLE t TO u;\nREVOKE ALL ON TABLE t FROM u;\nSELECT pg_catalog.setval('s', 1);\nVACUUM;\n\\restrict x\n\\connect x\n\\unrestrict x\nREFRESH MATERIALIZED VIEW v;\n", ""},
		{"what SQL Server's are", "sqlserver", "USE [x]\nGO\nSET ANSI_NULLS ON\nGO\nPRINT N'x'\n" + rows + "GRANT SELECT ON t TO u\nDBCC CHECKIDENT('t')\nIF 1 = 1 PRINT 'x'\nGO\n", ""},
		{"what SQLite's are", "sqlite", "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n" + rows + "ANALYZE sqlite_schema;\nCOMMIT;\n", ""},
		{"what Oracle's are", "oracle", "REM INSERTING into T\nSET DEFINE OFF;\n" + rows + "PROMPT it's done\nCOMMENT ON TABLE t IS 'x';\nALTER SESSION SET NLS_DATE_FORMAT='YYYY';\nSELECT 1 FROM dual;\nCOMMIT;\n", ""},
		{"mysqldump 9 without a last line", "mysql", "-- MySQL dump 9.11\n" + rows, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dump(t, c.dialect, c.text)
			notices, err := s.Notices(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, n := range notices {
				got = append(got, n.File+":"+string('0'+byte(n.Line))+" "+n.Rule+": "+n.Message)
			}
			if all := strings.Join(got, "\n"); !strings.HasPrefix(all, c.want) && !strings.Contains(all, "\n"+c.want) || c.want == "" && all != "" {
				t.Errorf("%s\nwant %s", all, c.want)
			}
			tables, err := s.Tables(t.Context())
			if err != nil || strings.HasPrefix(tables[0].Name, "t") && s.Unreadable(t.Context(), tables[0]) != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

func dump(t *testing.T, dialect, text string) *Source {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "d.sql"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Name: "x", Dir: dir, Files: []string{"d.sql"}, Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestForeignFiles: a file that is no dump is refused by what it is.
func TestForeignFiles(t *testing.T) {
	tar := func(name string) string {
		return name + strings.Repeat("\x00", 257-len(name)) + "ustar\x00" + strings.Repeat("\x00", 300)
	}
	for _, c := range []struct{ text, want string }{
		{"PGDMP\x01\x0e\x00", "pg_restore -f"},
		{tar("toc.dat"), "pg_restore -f"},
		{tar("x.sql"), "tar archive"},
		{"\r\n<!DOCTYPE html><html><body>Log in</body></html>", "HTML"},
		{"SQLite format 3\x00\x10\x00", ".dump"},
		{"TAPE\x00\x00\x03\x00", "backup of SQL Server"},
		{"XBSTCK01\x00P", "mariabackup"},
		{"\x03\x03\x69EXPORT:V11.02.00", "Oracle (exp)"},
		{"\x1f\x8b\x08\x00", ".gz"},
		{"mysqldump: Got error: 1045: Access denied for user 'x'@'y' when trying to connect\n", "no statement of SQL"},
		{"pg_dump: error: connection to server failed: FATAL:  role \"x\" does not exist\n", "no statement of SQL"},
	} {
		_, err := dump(t, "mysql", c.text).Tables(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "d.sql") {
			t.Errorf("%.20q: %v, want %s", c.text, err, c.want)
		}
	}
	for _, healthy := range []string{"", "-- nothing\n", "\xef\xbb\xbf/* PGDMP */ CREATE TABLE t (a int);", "CREATE TABLE t (a int);\n"} {
		if _, err := dump(t, "mysql", healthy).Tables(t.Context()); err != nil {
			t.Errorf("%q: %v", healthy, err)
		}
	}
}

// TestWideWithoutMark: UTF-16 is told by its zeros.
func TestWideWithoutMark(t *testing.T) {
	const text = "CREATE TABLE t (a int, b nvarchar(9))\r\nINSERT t VALUES (1, N'é')\r\n"
	big := make([]byte, 0, 2*len(text))
	little := []byte(utf16le(text))
	for len(little) > 0 && little[0] == 0xff { // its mark
		little = little[2:]
	}
	for i := 0; i+1 < len(little); i += 2 {
		big = append(big, little[i+1], little[i])
	}
	for _, encoded := range []string{string(little), string(big)} {
		got, err := read(t, Options{Dialect: "sqlserver"}, encoded, "t")
		if err != nil || strings.Join(got, ",") != "1|é" {
			t.Errorf("%v, %v", got, err)
		}
	}
}
