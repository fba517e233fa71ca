package extract

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBlanksOfColumns(t *testing.T) {
	b := BlankIn{"a": {"y": {"NULL"}, "z": {"-"}}, "b": {"x": {"0"}}}
	tables := []*Table{{Name: "a", Columns: []string{"x", "y"}}, {Name: "c", Columns: []string{"x"}}}
	if d := cmp.Diff([][]string{nil, {"NULL"}}, b.Columns(tables[0])); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := b.Columns(tables[1]); got != nil {
		t.Errorf("of a table without any: %v", got)
	}
	err := b.Check(tables)
	for _, want := range []string{"there is no column a.z", "there is no table b"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one with %q", err, want)
		}
	}
	if err := (BlankIn{"a": {"x": {"-"}}}).Check(tables); err != nil {
		t.Error(err)
	}
}
