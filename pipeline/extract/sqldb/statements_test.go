package sqldb

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
)

var update = flag.Bool("update", false, "rewrite golden files")

// What is sent to each engine, those included that no test here can reach.
func TestStatements(t *testing.T) {
	var b strings.Builder
	for _, e := range []Engine{MySQL, SQLite, SQLServer, Oracle} {
		d := dialects[e]
		fmt.Fprintf(&b, "== %s\n-- catalog\n%s\n-- keys\n%s\n", e, d.catalog(), d.keys())
		p := &plan{table: &extract.Table{Name: "a`b\"c]d;e", Columns: []string{"k 1", "naïve`\"]"}}}
		fmt.Fprintf(&b, "-- shape\n%s\n-- read\n%s\n-- read a view\n%s\n-- read by key\n%s\n", d.shape(p.table.Name, ""), d.read(p, nil, false), d.read(p, nil, true), d.read(p, []string{"k 1", "k2"}, false))
		p.query = "SELECT 1 AS \"k 1\", 2 -- why"
		fmt.Fprintf(&b, "-- shape of a query\n%s\n-- read a query\n%s\n", d.shape("", p.query), d.read(p, []string{"k 1"}, false))
	}
	at := pages{Schema: `s"x`, Relation: "r;y", Paged: true, From: 10, To: 20}
	fmt.Fprintf(&b, "== %s\n%s\n", Postgres, at.from())
	at.To = 0
	fmt.Fprintf(&b, "%s\n", at.from())
	at.Paged = false
	fmt.Fprintf(&b, "%s\n%s\n", at.from(), at.text())
	const golden = "testdata/statements.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
