package sqldump

import (
	"strings"
	"testing"
)

// TestDatabasesAreKeptApart: tables of two databases, or of two users, are two tables though they have one name.
func TestDatabasesAreKeptApart(t *testing.T) {
	for _, c := range []struct{ name, dialect, text, want string }{
		{"pg_dumpall", "postgres", "\\connect template1\n\\connect a\nCREATE TABLE public.t (x int);\nCOPY public.t (x) FROM stdin;\n1\n\\.\nCREATE TABLE u (x int);\n" +
			"\\connect -reuse-previous=on \"dbname='b'\"\nCREATE TABLE public.t (x int);\nCOPY public.t (x) FROM stdin;\n2\n3\n\\.\n", "a.public.t=1 b.public.t=2 u=0"},
		{"a quoted name", "postgres", "\\c \"A b\"\nCREATE TABLE t (x int);\n\\c c\nCREATE TABLE t (x int, y int);\nINSERT INTO t VALUES (1,2);\n", "A b.t=0 c.t=1"},
		{"one database", "postgres", "\\connect a\nCREATE TABLE public.t (x int);\nCOPY public.t (x) FROM stdin;\n1\n\\.\n", "t=1"},
		{"SQL Server", "sqlserver", "USE [a]\nGO\nCREATE TABLE [dbo].[t]([x] [int])\nGO\nINSERT [dbo].[t] VALUES (1)\nGO\nUSE [b]\nGO\nCREATE TABLE [dbo].[t]([x] [int])\nGO\nINSERT [dbo].[t] VALUES (2)\n", "a.dbo.t=1 b.dbo.t=1"},
		{"SQL Server, one database", "sqlserver", "USE [master]\nGO\nCREATE DATABASE [a]\nGO\nUSE [a]\nGO\nCREATE TABLE [dbo].[t]([x] [int])\nGO\nINSERT [dbo].[t] VALUES (1)\n", "t=1"},
		{"users of Oracle", "oracle", "CONNECT a/secret\nCREATE TABLE t (x NUMBER);\nINSERT INTO t VALUES (1);\nALTER SESSION SET CURRENT_SCHEMA = b;\nCREATE TABLE t (x NUMBER);\nINSERT INTO t VALUES (2);\n", "A.T=1 B.T=1"},
		{"MySQL", "mysql", "USE `a`;\nCREATE TABLE t (x int);\nUSE `b`;\nCREATE TABLE t (x int);\nINSERT INTO t VALUES (1);\n", "a.t=0 b.t=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := dump(t, c.dialect, c.text)
			tables, err := s.Tables(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range tables {
				got = append(got, d.Name+"="+string('0'+byte(s.planned.tables[d.Name].count)))
			}
			if all := strings.Join(got, " "); all != c.want {
				t.Errorf("%s, want %s", all, c.want)
			}
		})
	}
}
