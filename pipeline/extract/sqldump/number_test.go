package sqldump

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestNumbers: what the database holds of a number, not how the dump writes it.
func TestNumbers(t *testing.T) {
	for _, c := range []struct {
		name, dialect, text string
		want                []string
	}{
		{"floats of MySQL", "mysql", "CREATE TABLE t (a float(6,2), b double(5,1), c float, d double, e decimal(5,2), f float(53));\n" +
			"INSERT INTO t VALUES (70.50,37.0,36.6,36.600000000000001,70.50,0.1),(1e10,-0.0,16777217,1e30,NULL,'2.50');",
			[]string{"70.5|37|36.6|36.6|70.50|0.1", "10000000000|-0|16777216|1e+30||2.5"}},
		{"zeros in front", "mysql", "CREATE TABLE t (a int(8) unsigned zerofill, b varchar(8), c bigint, d year(2));\n" +
			"INSERT INTO t VALUES (00000042,'00000042',-007,00),('00042','0',000,05),(+7,'+7',-0,99);",
			[]string{"42|00000042|-7|0", "42|0|0|5", "7|+7|0|99"}},
		{"bits of MySQL", "mysql", "SET NAMES latin1;CREATE TABLE t (a bit(16), b bit(1), c bit(64));\n" +
			"INSERT INTO t VALUES ('\\0\x05','\x01','\xff\xff\xff\xff\xff\xff\xff\xff'),('AB','\\0',b'101'),('\x02\\'',0x01,9),('',1,'\\\\');",
			[]string{"5|1|18446744073709551615", "16706|0|5", "551|1|9", "0|1|92"}},
		{"floats of SQLite", "sqlite", "CREATE TABLE t (a REAL, b DOUBLE, c NUMERIC, d, e TEXT, f INTEGER);\n" +
			"INSERT INTO t VALUES(36.600000000000001421,0.2999999999999999889,72.400000000000005683,1.5,'0.10000000000000000555',7);\n" +
			"INSERT INTO t VALUES(170,170.0,170.0,170.0,'170.0',170.0);INSERT INTO t VALUES(1e-7,-9.0e+999,1.0e+20,NULL,NULL,NULL);",
			[]string{"36.6|0.3|72.4|1.5|0.10000000000000000555|7", "170.0|170.0|170|170.0|170.0|170", "1e-07|-9.0e+999|100000000000000000000.0|||"}},
		{"floats of SQL Server", "sqlserver", "CREATE TABLE t (a float, b real, c decimal(5, 2), d float(24))\n" +
			"INSERT t VALUES (1.2345000000000000e+004, 7.2400002e+001, 75.50, 1.000000015e-001)\n", []string{"12345|72.4|75.50|0.1"}},
		{"floats of PostgreSQL", "postgres", "CREATE TABLE t (a double precision, b real, c numeric);\n" +
			"INSERT INTO t VALUES (36.6000000000000014, 36.5999985, 36.60), (1e+20, 'NaN', 'NaN'), ('Infinity', 1e-05, 1);\n",
			[]string{"36.6|36.6|36.60", "1e+20|NaN|NaN", "Infinity|1e-05|1"}},
		{"floats of Oracle", "oracle", "CREATE TABLE \"t\" (a BINARY_DOUBLE, b NUMBER, c FLOAT(126));\n" +
			"INSERT INTO \"t\" VALUES (3.6600000000000001E+001, 36.60, 36.60);\n", []string{"36.6|36.60|36.60"}},
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

// TestFloatsReadBack: however many digits a dump writes, the cell is the same float, and no text of it is shorter.
func TestFloatsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Float64Range(-1e18, 1e18).Draw(t, "v")
		text := strconv.AppendFloat(nil, v, 'g', rapid.IntRange(17, 25).Draw(t, "digits"), 64)
		r := &renderer{dialect: mysql}
		got, err := strconv.ParseFloat(string(r.float(nil, text, 64)), 64)
		if err != nil || got != v {
			t.Fatalf("%s became %v: %v", text, got, err)
		}
	})
}
