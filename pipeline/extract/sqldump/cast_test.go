package sqldump

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestCasts: a value is what a cast leaves of it.
func TestCasts(t *testing.T) {
	for _, c := range []struct {
		name, dialect, text string
		want                []string
	}{
		{"SQL Server", "sqlserver", "CREATE TABLE t (a nvarchar(40), b decimal(18,10))\n" +
			"INSERT t VALUES (CAST(N'longer than ten' AS nvarchar(10)), CAST(-38.38492469751647 AS Decimal(18, 10)))\n" +
			"INSERT t VALUES (CAST('haemoglobin' AS VarChar(5)), CAST(N'13.256' AS Numeric(18, 2)))\n" +
			"INSERT t VALUES (CAST(N'äöüß' AS nvarchar(max)), CAST(13.5 AS Decimal))\n" +
			"INSERT t VALUES (CAST(N'äöüßx' AS nvarchar(4)), CAST(-0.5 AS Decimal(18, 0)))\n" +
			"INSERT t VALUES (CONVERT(nvarchar(3), N'abcdef'), CONVERT(decimal(5, 1), 2.25, 0))\n" +
			"INSERT t VALUES (N'x', CAST(7.24005e+001 AS Decimal(18, 2)))\n" +
			"INSERT t VALUES (CAST(1234567 AS nvarchar(3)), 1)\nINSERT t VALUES (N'x', CAST(1.7 AS Int))\n" +
			"INSERT t VALUES (CAST(N'2020-01-02T00:00:00.000' AS VarChar), CAST(88.00 AS Decimal(18, 2)))\n",
			[]string{"longer tha|-38.3849246975", "haemo|13.26", "äöüß|14", "äöüß|-1", "abc|2.3", "x|72.40", "!sql-expression a", "!sql-expression b", "2020-01-02T00:00:00.000|88.00"}},
		{"PostgreSQL", "postgres", "CREATE TABLE t (a text, b numeric);\nINSERT INTO t VALUES ('abcdef'::character varying(3), 13.256::numeric(5,2)), ('abcdef'::text, CAST('13.256' AS numeric));",
			[]string{"abc|13.26", "abcdef|13.256"}},
		{"MySQL", "mysql", "CREATE TABLE t (a text, b decimal(9,3));\nINSERT INTO t VALUES (CAST('abcdef' AS CHAR(3)), CAST('13.256' AS DECIMAL(5,2))), (CAST('abcdef' AS CHAR), CAST(12 AS SIGNED));",
			[]string{"abc|13.26", "abcdef|12"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(t, Options{Dialect: c.dialect}, c.text, "t")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
