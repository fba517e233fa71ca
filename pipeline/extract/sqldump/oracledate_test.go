package sqldump

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/extract/extracttest"
)

// dates reads values of a column for moments out of a script of Oracle: cells, or rules behind a `!`.
func dates(t *testing.T, values []string) (got []string) {
	t.Helper()
	text := "CREATE TABLE T (D TIMESTAMP WITH TIME ZONE);\n"
	for _, v := range values {
		text += "INSERT INTO T VALUES (" + v + ");\n"
	}
	path := filepath.Join(t.TempDir(), "d.sql")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Files: []string{path}, Dialect: "oracle"})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := extracttest.ShardRows(t.Context(), s, extracttest.Shards(t, s)[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Rule != "" {
			got = append(got, "!"+r.Rule)
		} else {
			got = append(got, r.Cells[0])
		}
	}
	return got
}

func TestDateModels(t *testing.T) {
	const refused = "!" + extract.RuleExpression
	var values, want []string
	for _, c := range []struct{ text, model, want string }{
		{"2021-02-03", "YYYY-MM-DD", "2021-02-03T00:00:00"},
		{"2021-2-3", "yyyy-mm-dd", "2021-02-03T00:00:00"},
		{"20210203 0405", "YYYYMMDD HH24MI", "2021-02-03T04:05:00"},
		{"03-FEB-21 04.05.06.120000000 PM", "DD-MON-RR HH.MI.SSXFF AM", "2021-02-03T16:05:06.12"},
		{"03-Feb-50 12.05.06 a.m.", "DD-MON-RR HH12.MI.SS A.M.", "1950-02-03T00:05:06"},
		{"FEBRUARY  03, 2049", "MONTH DD, RRRR", "2049-02-03T00:00:00"},
		{"MARCH 03, 2021", "MONTH DD, YYYY", "2021-03-03T00:00:00"},
		{"MARCH    -2021-3", "MONTH-YYYY-DD", "2021-03-03T00:00:00"},
		{"03MAY2021", "DDMONYYYY", "2021-05-03T00:00:00"},
		{"03 MAY 2021", "DD MON YYYY", "2021-05-03T00:00:00"},
		{"2021-02-03T04:05:06.5 +05:30", `YYYY-MM-DD"T"HH24:MI:SS.FF3 TZH:TZM`, "2021-02-02T22:35:06.5Z"},
		{"2021-02-03 00:00:00 -08", "YYYY-MM-DD HH24:MI:SS TZH", "2021-02-03T08:00:00Z"},
		{"2021-02-03", "YYYY-MM-DD.", "2021-02-03T00:00:00"},
		{"2021-02-03 04:05:06.", "YYYY-MM-DD HH24:MI:SSXFF", "2021-02-03T04:05:06"},
		// What is not of the model, or no date.
		{"2021-02-03 ", "YYYY-MM-DD", refused},
		{"21-02-03", "YYYY-MM-DD", refused},
		{"2021-02", "YYYY-MM-DD", refused},
		{"2021-13-03", "YYYY-MM-DD", refused},
		{"2021-02-00", "YYYY-MM-DD", refused},
		{"2021-02-03 24:00", "YYYY-MM-DD HH24:MI", refused},
		{"2021-02-03 13 PM", "YYYY-MM-DD HH12 PM", refused},
		{"2021-02-03 10", "YYYY-MM-DD HH12 PM", refused},
		{"03-FÉV-2021", "DD-MON-YYYY", refused},
		{"2021a02a03", "YYYY-MM-DD", refused},
		// Models that leave something to the day of the import, or are none.
		{"21-02-03", "YY-MM-DD", refused},
		{"2021-02", "YYYY-MM", refused},
		{"02-03", "MM-DD", refused},
		{"2021-02-03 2021", "YYYY-MM-DD YYYY", refused},
		{"2021-02-03 30", "YYYY-MM-DD TZM", refused},
		{"2021-034", "YYYY-DDD", refused},
		{"2021-02-03T", `YYYY-MM-DD"T`, refused},
		{"2021-02-03" + strings.Repeat(" ", 200), "YYYY-MM-DD" + strings.Repeat(" ", 200), refused},
		{"", "", refused},
	} {
		values = append(values, "TO_TIMESTAMP_TZ('"+c.text+"', '"+c.model+"')")
		want = append(want, c.want)
	}
	if d := cmp.Diff(want, dates(t, values)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// Models that a reader meets again are not taken apart again; they must not be taken for each other, however many there
// are.
func TestManyDateModels(t *testing.T) {
	var values, want []string
	for i := range 40 {
		p := []string{"-", "/", ".", " ", ":", ";", ",", "~", "=", "!"}[i%10]
		values = append(values, "TO_DATE('03"+p+"02"+p+"2021', 'DD"+p+"MM"+p+"YYYY')", "TO_DATE('03"+p+"02"+p+"2021', 'mm"+p+"dd"+p+"yyyy')")
		want = append(want, "2021-02-03T00:00:00", "2021-03-02T00:00:00")
	}
	if d := cmp.Diff(want, dates(t, values)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
