package workbook

import (
	"strconv"
	"testing"
)

func TestNumberFormats(t *testing.T) {
	for _, c := range []struct {
		code string
		v    float64
		want formKind
	}{
		{"General", 1, asNumber}, {"0", 1, asNumber}, {"0.00", 1, asNumber}, {"#,##0", 1, asNumber}, {"0%", 1, asNumber},
		{"0.00E+00", 1, asNumber}, {"##0.0e-0", 1, asNumber}, {"# ?/?", 1, asNumber}, {"@", 1, asNumber}, {`"day"0`, 1, asNumber},
		{`0" days"`, 1, asNumber}, {`0\d`, 1, asNumber}, {"[Red]0.0;[Blue]-0.0", 1, asNumber}, {"_-* #,##0_-", 1, asNumber}, {"_d0", 1, asNumber},
		{"[$-409]General", 1, asNumber}, {`[$$-409]#,##0.00`, 1, asNumber}, {"", 1, asNumber}, {"[", 1, asNumber}, {`"open`, 1, asNumber}, {`0\`, 1, asNumber},
		{"yyyy-mm-dd", 1, asDate}, {"mm/dd/yyyy", 1, asDate}, {"d. mmmm yyyy;@", 1, asDate}, {"[$-409]d. mmmm yyyy;@", 1, asDate},
		{"[$-F800]dddd, mmmm dd, yyyy", 1, asDate}, {"mmm", 1, asDate}, {"mm", 1, asDate}, {"MM", 1, asDate}, {"m", 1, asDate}, {`yyyy"年"m"月"d"日"`, 1, asDate},
		{`[$-411]ggge"年"m"月"`, 1, asDate}, {`dd\-mmm\-yy`, 1, asDate}, {"yyyymmdd", 1, asDate}, {`d" h"`, 1, asDate},
		{"yyyy-mm-dd hh:mm", 1, asDateTime}, {"yyyy-mm-dd h:mm:ss", 1, asDateTime}, {"m/d/yy h:mm AM/PM", 1, asDateTime}, {`mm/dd/yy\ hh:mm\ AM/PM`, 1, asDateTime},
		{`yyyy\-mm\-dd"T"hh:mm:ss.000"Z"`, 1, asDateTime}, {"hh:mm dd/mm", 1, asDateTime}, {"h:mm mmm", 1, asDateTime},
		{"hh:mm", 1, asTime}, {"mm:ss", 1, asTime}, {"mm:ss.0", 1, asTime}, {"h AM/PM", 1, asTime}, {"h:mm a/p", 1, asTime}, {"s", 1, asTime}, {`m" min "s`, 1, asTime},
		{"[h]:mm", 1, asElapsed}, {"[hh]:mm:ss", 1, asElapsed}, {"[mm]:ss", 1, asElapsed}, {"[s]", 1, asElapsed}, {"[$-409][h]:mm", 1, asElapsed},
		{"00000", 1, asZeros}, {"000-00-0000", 1, asZeros}, {"00000-0000", 1, asZeros}, {`000\-00\-0000`, 1, asZeros}, {"(000) 000-0000", 1, asZeros},
		{"00000;@", 1, asZeros}, {"00000.0", 1, asNumber}, {"#00000", 1, asNumber},
		{"[<=99999]00000;00000-0000", 1, asZeros}, {"[<=9999999]###-####;(###) ###-####", 1, asNumber},
		{"[<1]h:mm;yyyy-mm-dd", 0.5, asTime}, {"[<1]h:mm;yyyy-mm-dd", 2, asDate}, {"[=1]h:mm;[<>1]0", 1, asTime}, {"[=1]h:mm;[<>1]0", 2, asNumber},
		{"[>2]h:mm;0", 3, asTime}, {"[>=2]h:mm;0", 1, asNumber},
		{"0;yyyy", -1, asDate}, {"0;yyyy", 1, asNumber}, {"yyyy;0;h:mm", 0, asTime}, {"yyyy;0;h:mm", 1, asDate}, {"yyyy;0;h:mm", -1, asNumber},
	} {
		if got := parseFormat(c.code).of(c.v).kind; got != c.want {
			t.Errorf("%q for %v is of kind %d, want %d", c.code, c.v, got, c.want)
		}
	}
	for _, c := range []struct {
		code string
		v    uint64
		want string
	}{
		{"00000", 0, "00000"}, {"00000", 1234, "01234"}, {"00000", 123456, "123456"}, {"00000-0000", 12345678, "01234-5678"},
		{"(000) 000-0000", 5551234, "(000) 555-1234"}, {`"MRN-"0000`, 12, "MRN-0012"}, {"[<=99999]00000;00000-0000", 501, "00501"}, {"[<=99999]00000;00000-0000", 5010001, "00501-0001"},
	} {
		s := parseFormat(c.code).of(float64(c.v))
		if got := string(appendZeros(nil, c.v, s.zeros)); got != c.want {
			t.Errorf("%d in %q is %q, want %q", c.v, c.code, got, c.want)
		}
	}
}

// Formats without a code, by number, in a workbook.
func TestBuiltInFormats(t *testing.T) {
	styles := `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><cellXfs>`
	row, want := "", "2 "
	for i, c := range []struct {
		id      string
		v, want string
	}{
		{"0", "44431.5", "44431.5"}, {"1", "44431", "44431"}, {"9", "0.5", "0.5"}, {"14", "44431", "2021-08-23"}, {"15", "44431", "2021-08-23"},
		{"17", "44431", "2021-08-23"}, {"18", "0.5", "12:00:00"}, {"21", "0.5", "12:00:00"}, {"22", "44431.5", "2021-08-23T12:00:00"},
		{"45", "0.5", "12:00:00"}, {"46", "1.5", "36:00:00"}, {"47", "0.5", "12:00:00"}, {"31", "44431", "2021-08-23"}, {"32", "0.5", "12:00:00"},
		{"34", "0.5", "12:00:00"}, {"34", "44431", "2021-08-23"}, {"55", "44431.5", "2021-08-23T12:00:00"}, {"49", "00501", "00501"}, {"4711", "1", "1"},
	} {
		styles += `<xf numFmtId="` + c.id + `"/>`
		ref := columnName(i + 1)
		row += `<c r="` + ref + `2" s="` + strconv.Itoa(i) + `"><v>` + c.v + `</v></c>`
		if i > 0 {
			want += "|"
		}
		want += c.want
	}
	names := make([]string, 19)
	for i := range names {
		names[i] = "c" + strconv.Itoa(i)
	}
	text := raw{sheets: []string{r(1, names...) + `<row r="2">` + row + "</row>"}, extra: map[string]string{"xl/styles.xml": styles + "</cellXfs></styleSheet>"}}.bytes(t)
	_, rows, _ := read(t, text, Options{})
	diff(t, "cells", []string{want}, short(rows))
}
