package sqldb

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/sijms/go-ora/v2/network"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// What the drivers of SQL Server and Oracle give, by the types that they name.
func TestValuesOfEnginesWithoutAServer(t *testing.T) {
	noon := time.Date(2012, 5, 1, 12, 0, 0, 120_000_000, time.FixedZone("", 2*3600))
	local := time.Date(2012, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		engine Engine
		typ    columnType
		value  driver.Value
		kind   extract.Kind
		want   string
	}{
		{SQLServer, columnType{typ: "BIT"}, true, extract.Boolean, "1"},
		{SQLServer, columnType{typ: "BIT"}, false, extract.Boolean, "0"},
		{SQLServer, columnType{typ: "BIGINT"}, int64(math.MinInt64), extract.Integer, "-9223372036854775808"},
		{SQLServer, columnType{typ: "DECIMAL"}, []byte("12345678901234567890.1000"), extract.Decimal, "12345678901234567890.1000"},
		{SQLServer, columnType{typ: "MONEY"}, []byte("-0.1000"), extract.Decimal, "-0.1000"},
		{SQLServer, columnType{typ: "FLOAT"}, 0.1, extract.Decimal, "0.1"},
		{SQLServer, columnType{typ: "REAL"}, float32(0.1), extract.Decimal, "0.1"},
		{SQLServer, columnType{typ: "FLOAT"}, 1e6, extract.Decimal, "1000000"},
		{SQLServer, columnType{typ: "DATE"}, local, extract.Date, "2012-05-01"},
		{SQLServer, columnType{typ: "TIME"}, noon, extract.Time, "12:00:00.12"},
		{SQLServer, columnType{typ: "DATETIME2"}, local, extract.DateTime, "2012-05-01T12:00:00"},
		{SQLServer, columnType{typ: "DATETIMEOFFSET"}, noon, extract.DateTime, "2012-05-01T10:00:00.12Z"},
		{SQLServer, columnType{typ: "UNIQUEIDENTIFIER"}, []byte{0xbf, 0x5d, 0x90, 0x01, 0x4e, 0x5d, 0x46, 0x47, 0xa3, 0x2b, 1, 2, 3, 4, 5, 0xff},
			extract.Text, "01905dbf-5d4e-4746-a32b-0102030405ff"},
		{SQLServer, columnType{typ: "VARBINARY"}, []byte{0, 0xff}, extract.Bytes, "AP8="},
		{SQLServer, columnType{typ: "NVARCHAR"}, "Zoë", extract.Text, "Zoë"},
		{SQLServer, columnType{typ: "XML"}, "<a/>", extract.Text, "<a/>"},
		{SQLServer, columnType{typ: "NVARCHAR"}, nil, extract.Text, ""},
		{Oracle, columnType{typ: "NUMBER", scaled: true, precision: 10}, "42", extract.Integer, "42"},
		{Oracle, columnType{typ: "NUMBER", scaled: true, precision: 10, scale: 2}, "42.1", extract.Decimal, "42.1"},
		{Oracle, columnType{typ: "NUMBER", scaled: true, precision: 38, scale: 0xff}, "12345678901234567890123456789012345678",
			extract.Decimal, "12345678901234567890123456789012345678"},
		{Oracle, columnType{typ: "IBDouble"}, 0.1, extract.Decimal, "0.1"},
		{Oracle, columnType{typ: "DATE"}, local, extract.DateTime, "2012-05-01T12:00:00"},
		{Oracle, columnType{typ: "TimeStampTZ_DTY"}, noon, extract.DateTime, "2012-05-01T10:00:00.12Z"},
		{Oracle, columnType{typ: "RAW"}, []byte{0, 0xff}, extract.Bytes, "AP8="},
		{Oracle, columnType{typ: "CHAR"}, "Zoë  ", extract.Text, "Zoë  "},
	} {
		d := dialects[c.engine]
		col := d.column(c.typ)
		r := newRow(1, Options{MaxField: 100})
		r.begin()
		if err := d.value(r, 0, col.form, c.value); err != nil {
			t.Fatal(err)
		}
		if col.kind != c.kind || r.cells[0] != c.want || r.rule != "" {
			t.Errorf("%s %s: %q of kind %q, rule %q; want %q of kind %q", c.engine, c.typ.typ, r.cells[0], col.kind, r.rule, c.want, c.kind)
		}
	}
}

func TestAnUnknownValueOfADriverIsAnError(t *testing.T) {
	r := newRow(1, Options{MaxField: 100})
	err := r.value(0, formText, struct{ s string }{"S3cr3t"})
	if err == nil || strings.Contains(err.Error(), "S3cr3t") {
		t.Errorf("error %v", err)
	}
}

func TestMessagesOfServersAreLeftBehind(t *testing.T) {
	for e, foreign := range map[Engine]error{
		SQLServer: mssql.Error{Number: 8134, Message: "S3cr3t"}, Oracle: &network.OracleError{ErrCode: 1722, ErrMsg: "S3cr3t"},
		MySQL: errors.New("S3cr3t"),
	} {
		if got := fmt.Sprintf("%v %+v", e.foreign(foreign), e.foreign(foreign)); strings.Contains(got, "S3cr3t") {
			t.Errorf("%s: %s", e, got)
		}
	}
	if got := Oracle.foreign(&network.OracleError{ErrCode: 1555}).Error(); !strings.Contains(got, "start anew") {
		t.Error(got)
	}
}

// A NULL and an empty text are different states of a database, and so are "ab","c" and "a","bc".
func TestDigestTellsCellsApart(t *testing.T) {
	seen := map[[32]byte]int{}
	for i, values := range [][]driver.Value{{nil, ""}, {"", nil}, {"", ""}, {nil, nil}, {"ab", "c"}, {"a", "bc"}, {"abc", ""},
		{strings.Repeat("x", 200_000), ""}, {strings.Repeat("x", 100_000), strings.Repeat("x", 100_000)},
		{strings.Repeat("x", 300), strings.Repeat("é", 101)}} {
		r := newRow(2, Options{MaxField: 150_000})
		s := newSum()
		r.begin()
		for j, v := range values {
			if err := r.value(j, formText, v); err != nil {
				t.Fatal(err)
			}
		}
		s.add(r)
		d := s.digest()
		if j, ok := seen[d.Sum]; ok {
			t.Errorf("rows %d and %d have one digest", j, i)
		}
		seen[d.Sum] = i
	}
}

func FuzzCells(f *testing.F) {
	f.Add([]byte("2012-05-01 14:00:00.5+00"))
	f.Add([]byte("0000-00-00 00:00:00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newRow(1, Options{MaxField: 1000, Zone: nil})
		for form := range formGUID + 1 {
			r.begin()
			before := string(b)
			r.set(0, form, b)
			if string(b) != before {
				t.Fatalf("form %d changes the driver's buffer", form)
			}
			if r.rule == "" && form != formPlain && strings.IndexByte(r.cells[0], 0) >= 0 {
				t.Fatalf("form %d lets a NUL through", form)
			}
		}
		if utc, slow := string(appendDateTime(nil, b, time.UTC)), string(extract.AppendDateTime(nil, b, time.UTC)); utc != slow &&
			!strings.HasPrefix(utc, slow[:min(10, len(slow))]) {
			t.Fatalf("%q: quick %q, slow %q", b, utc, slow)
		}
	})
}
