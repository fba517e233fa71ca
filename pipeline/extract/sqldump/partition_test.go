package sqldump

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPartitions: the rows of partitions are those of the table that they are parts of, and no tables of their own.
func TestPartitions(t *testing.T) {
	for name, text := range map[string]string{
		"attached, as pg_dump writes": "CREATE TABLE public.t (a int NOT NULL, b text) PARTITION BY RANGE (a);\nCREATE TABLE public.t1 (b text, a int NOT NULL);\nCREATE TABLE public.t2 (a int NOT NULL, b text);\n" +
			"ALTER TABLE ONLY public.t ATTACH PARTITION public.t1 FOR VALUES FROM (1) TO (2);\nALTER TABLE ONLY public.t ATTACH PARTITION public.t2 DEFAULT;\n" +
			"COPY public.t1 (b, a) FROM stdin;\nx\t1\n\\.\nCOPY public.t2 (a, b) FROM stdin;\n2\ty\n\\.\n",
		"created as parts, of parts": "CREATE TABLE t (a int, b text) PARTITION BY LIST (a);\nCREATE TABLE t1 PARTITION OF t FOR VALUES IN (1);\nCREATE TABLE t2 PARTITION OF t FOR VALUES IN (2) PARTITION BY LIST (b);\n" +
			"CREATE TABLE t3 PARTITION OF t2 FOR VALUES IN ('y');\nINSERT INTO t1 VALUES (1,'x');\nINSERT INTO t3 VALUES (2,'y');\n",
	} {
		for _, size := range []int64{0, 1} {
			got, err := read(t, Options{Dialect: "postgres", ShardSize: size}, text, "t")
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff([]string{"1|x", "2|y"}, got); diff != "" {
				t.Errorf("%s (-want +got)\n%s", name, diff)
			}
		}
		if tables, err := dump(t, "postgres", text).Tables(t.Context()); err != nil || len(tables) != 1 {
			t.Errorf("%s: %d tables, %v", name, len(tables), err)
		}
	}
	const parent = "CREATE TABLE t (a int);\nCREATE TABLE u (b int) INHERITS (t);\nINSERT INTO t VALUES (1);\n"
	if got, err := read(t, Options{Dialect: "postgres"}, parent, "t"); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := read(t, Options{Dialect: "postgres"}, parent+"INSERT INTO u VALUES (2, 3);\n", "t"); err == nil || !strings.Contains(err.Error(), "inherits from t") {
		t.Errorf("%v", err)
	}
	if got, err := read(t, Options{Dialect: "postgres"}, "CREATE TABLE t (a int) PARTITION BY LIST (a);\nCREATE TABLE u PARTITION OF t DEFAULT;\nINSERT INTO u VALUES (2);\nDELETE FROM u WHERE a = 2;\n", "t"); err == nil {
		t.Errorf("rows of a changed partition: %v", got)
	}
}
