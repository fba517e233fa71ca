package sqldump

import (
	"fmt"
	"strings"
	"testing"
)

// TestMergingInserts: an INSERT that drops or replaces rows is read where no key repeats, as mysqldump --replace writes;
// where one does, the table is unreadable, by name and place.
func TestMergingInserts(t *testing.T) {
	const keyed = "CREATE TABLE t (id int NOT NULL, a varchar(9), b varchar(9), PRIMARY KEY (id), UNIQUE KEY ab (a,b));\n"
	for _, c := range []struct {
		name, dialect, text string
		fails               bool
	}{
		{"REPLACE of a row that is there", "mysql", keyed + "INSERT INTO t VALUES (1,'a','b');\nREPLACE INTO t VALUES (1,'x','y');", true},
		{"REPLACE of none", "mysql", keyed + "REPLACE INTO t VALUES (1,'a','b'),(2,'a','c');\nREPLACE INTO t VALUES (3,NULL,'b'),(4,NULL,'b');", false},
		{"REPLACE by another key", "mysql", keyed + "REPLACE INTO t VALUES (1,'a','b');\nREPLACE INTO t VALUES (2,'A ','b');", true},
		{"INSERT IGNORE of a row that is there", "mysql", keyed + "INSERT INTO t VALUES (1,'a','b');\nINSERT IGNORE INTO t VALUES (1,'x','y');", true},
		{"INSERT IGNORE of none", "mysql", keyed + "INSERT IGNORE INTO t VALUES (1,'a','b');\nINSERT IGNORE INTO t VALUES (2,'x','y');", false},
		{"no key", "mysql", "CREATE TABLE t (id int, KEY (id));\nREPLACE INTO t VALUES (1),(1);", false},
		{"a key that comes later", "mysql", "CREATE TABLE t (id int);\nREPLACE INTO t VALUES (1);\nREPLACE INTO t VALUES (1);ALTER TABLE t ADD PRIMARY KEY (id);", true},
		{"columns of which nobody says the key", "mysql", "REPLACE INTO t (id) VALUES (1);\nREPLACE INTO t (id) VALUES (2);", true},
		{"INSERT OR REPLACE", "sqlite", "CREATE TABLE t (id INTEGER PRIMARY KEY, a);\nINSERT OR REPLACE INTO t VALUES (1,2);\nINSERT OR REPLACE INTO t VALUES (1,3);", true},
		{"INSERT OR IGNORE", "sqlite", "CREATE TABLE t (id TEXT UNIQUE, a);\nINSERT OR IGNORE INTO t VALUES ('x',2);\nINSERT OR IGNORE INTO t VALUES ('x',3);", true},
		{"INSERT OR ABORT", "sqlite", "CREATE TABLE t (id TEXT, a);\nINSERT OR ABORT INTO t VALUES ('x',2),('X',3);", false},
		{"ON CONFLICT DO NOTHING, an index", "postgres", "CREATE TABLE t (id int, a text);\nCREATE UNIQUE INDEX i ON public.t USING btree (id);\nINSERT INTO t VALUES (1,'x') ON CONFLICT DO NOTHING;\nINSERT INTO t VALUES (1,'y') ON CONFLICT (id) DO NOTHING;", true},
		{"ON CONFLICT DO NOTHING, none", "postgres", "CREATE TABLE t (id int CONSTRAINT k PRIMARY KEY, a text);\nINSERT INTO t VALUES (1,'x') ON CONFLICT DO NOTHING;\nINSERT INTO t VALUES (2,'x') ON CONFLICT DO NOTHING;", false},
		{"ON CONFLICT DO NOTHING, an index of some rows", "postgres", "CREATE TABLE t (id int, a text);\nCREATE UNIQUE INDEX i ON t (id) WHERE a IS NULL;\nINSERT INTO t VALUES (1,'x'),(1,'y') ON CONFLICT DO NOTHING;", false},
		{"a key behind the data, as pg_dump writes it", "postgres", "CREATE TABLE t (id int, a text);\nINSERT INTO t VALUES (1,'x') ON CONFLICT DO NOTHING;\nINSERT INTO t VALUES (1,'y') ON CONFLICT DO NOTHING;\nALTER TABLE ONLY t\n    ADD CONSTRAINT k PRIMARY KEY (id);", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int64{0, 1} {
				rows, err := read(t, Options{Dialect: c.dialect, ShardSize: size}, c.text, "t")
				if failed := err != nil && strings.Contains(err.Error(), "changes table t"); failed != c.fails || !failed && err != nil {
					t.Errorf("shards of %d: %v, %v", size, rows, err)
				}
			}
		})
	}
}

// TestVersionedInsert: a piece that begins within /*! */ ends with it.
func TestVersionedInsert(t *testing.T) {
	for _, size := range []int64{0, 1} {
		got, err := read(t, Options{Dialect: "mysql", ShardSize: size}, "CREATE TABLE t (a int);\n/*!40000 INSERT INTO t VALUES (5) */;\nINSERT INTO t VALUES (1);\n/*!50000 INSERT INTO t VALUES (2),(3) */;", "t")
		if fmt.Sprint(got) != "[5 1 2 3]" || err != nil {
			t.Errorf("%v, %v", got, err)
		}
	}
}
