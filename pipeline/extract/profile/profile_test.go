package profile

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/xuri/excelize/v2"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/extract/csv"
)

// profiled profiles CSV files with those texts, by table. They are split into shards of that many bytes; 0 is the default.
func profiled(t interface {
	Helper()
	Fatal(...any)
	TempDir() string
}, files map[string]string, shard int64, o Options) *Profile {
	t.Helper()
	return profiledIn(t, t.TempDir(), files, shard, o)
}

func profiledIn(t interface {
	Helper()
	Fatal(...any)
}, dir string, files map[string]string, shard int64, o Options) *Profile {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name+".csv"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := csv.Open(csv.Options{Name: "ehr", Dir: dir, Files: []string{"*.csv"}, ShardSize: shard})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p, err := Run(context.Background(), []Source{{Source: s, Tables: tables, Blank: []string{"-/-"}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lines makes a table of one column.
func lines(header string, cells ...string) string {
	var b strings.Builder
	b.WriteString(header + ",ROW\n")
	for i, c := range cells {
		fmt.Fprintf(&b, "\"%s\",r%d\n", strings.ReplaceAll(c, `"`, `""`), i)
	}
	return b.String()
}

func columnOf(t *testing.T, header string, cells ...string) *Column {
	t.Helper()
	p := profiled(t, map[string]string{"things": lines(header, cells...)}, 0, Options{})
	return &p.Tables[0].Columns[0]
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		header string
		cells  []string
		want   map[string]int64
	}{
		{"X", []string{"12", "-3", "007", "1.50", "1e5", "-.5", "1,5", "<0.01", ">= 1000"}, map[string]int64{TypeInteger: 3, TypeDecimal: 3, TypeDecimalComma: 1, TypeComparator: 2}},
		{"X", []string{"y", "N", "yes"}, map[string]int64{TypeBoolean: 3}},
		{"X", []string{"M", "F"}, map[string]int64{TypeCode: 2}},
		{"X", []string{"0", "1", "1"}, map[string]int64{TypeBoolean: 3}},
		{"X", []string{"0", "0"}, map[string]int64{TypeInteger: 2}},
		{"X", []string{"0", "1", "2"}, map[string]int64{TypeInteger: 3}},
		{"X", []string{"f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "14:30", "A04.1", "Bob went", "bob", "1-2-3-4"}, map[string]int64{TypeUUID: 1, TypeTime: 1, TypeCode: 2, TypeText: 2}},
		{"X", []string{"20260131", "1960"}, map[string]int64{TypeInteger: 2}},
		{"BIRTH_DATE", []string{"20260131", "1960", "20261331"}, map[string]int64{TypeDate: 2, TypeInteger: 1}},
		{"X", []string{"2026-01-31", "20260131120000", "2026-02-30"}, map[string]int64{TypeDate: 1, TypeDateTime: 1, TypeCode: 1}},
	} {
		if diff := cmp.Diff(c.want, columnOf(t, c.header, c.cells...).Types); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.cells, diff)
		}
	}
}

func TestDateForms(t *testing.T) {
	for _, c := range []struct {
		cells     []string
		want      []DateForm
		ambiguous int64
	}{
		{[]string{"05/18/2025", "05/06/2025", "07/07/2025"}, []DateForm{{"MM/dd/yyyy", 3, 1, false, false}, {"dd/MM/yyyy", 2, 0, false, false}}, 1},
		{[]string{"5/18/2025", "12/31/2025"}, []DateForm{{"M/d/yyyy", 2, 2, false, false}}, 0},
		{[]string{"18.05.2025", "18.05.25"}, []DateForm{{"dd.MM.yyyy", 1, 1, false, false}, {"dd.MM.yy", 1, 0, false, false}, {"yy.MM.dd", 1, 0, false, false}}, 1},
		{[]string{"01/02/03"}, []DateForm{{"MM/dd/yy", 1, 0, false, false}, {"dd/MM/yy", 1, 0, false, false}, {"yy/MM/dd", 1, 0, false, false}}, 1},
		{[]string{"2021-08-23T03:26:50Z", "2021-08-23T03:26:50+01:00"}, []DateForm{{"yyyy-MM-ddTHH:mm:ssXXX", 2, 2, true, true}}, 0},
		{[]string{"2021-08-23 03:26:50.5 -0500"}, []DateForm{{"yyyy-MM-dd HH:mm:ss.S XX", 1, 1, true, true}}, 0},
		{[]string{"12/31/2025 9:05 PM", "12/30/2025 10:05 AM"}, []DateForm{{"M/d/yyyy h:mm a", 2, 2, true, false}}, 0},
		{[]string{"02-JAN-26", "02-Feb-2026"}, []DateForm{{"dd-MMM-yy", 1, 1, false, false}, {"dd-MMM-yyyy", 1, 1, false, false}}, 0},
		{[]string{"January 2, 2026", "2 March 2026"}, []DateForm{{"MMMM d, yyyy", 1, 1, false, false}, {"d MMMM yyyy", 1, 1, false, false}}, 0},
		{[]string{"00/00/0000", "31/02/2025", "2025-13-01", "25:00"}, []DateForm{}, 0},
		{[]string{"20260131120000"}, []DateForm{{"yyyyMMddHHmmss", 1, 1, true, false}}, 0},
	} {
		got := columnOf(t, "X", c.cells...)
		if diff := cmp.Diff(c.want, got.Dates); diff != "" || got.AmbiguousDates != c.ambiguous {
			t.Errorf("%v: %d ambiguous, wanted %d (-want +got):\n%s", c.cells, got.AmbiguousDates, c.ambiguous, diff)
		}
	}
}

func TestBlanksLengthsAndOddities(t *testing.T) {
	c := columnOf(t, "X", "", "  ", "-/-", " ab", "ab ", "007", "Ã©clair", "a\u200eb", "x\ufffdy", "bell\a", "zoë", "N/A", "12/31/9999", "ZZTEST7")
	want := Column{Name: "X", Filled: 11, Empty: 1, White: 1, Blank: map[string]int64{"-/-": 1},
		Distinct: Distinct{Count: 11, Exact: true}, Length: Length{3, 10, 4.5, 14}, AmbiguousDates: 0,
		Dates:         []DateForm{{Layout: "MM/dd/yyyy", Fits: 1, Only: 1}},
		LeadingBlanks: Spot{1, 5}, TrailingBlanks: Spot{1, 6}, LeadingZeros: Spot{1, 7}, Mojibake: Spot{1, 8}, Bidi: Spot{1, 9}, Replaced: Spot{1, 10}, Controls: Spot{1, 11},
		Sentinels: map[string]int64{"N/A": 1, "9999-12-31": 1, "ZZTEST…": 1},
		Types:     map[string]int64{TypeInteger: 1, TypeDate: 1, TypeCode: 2, TypeText: 7}, PHI: []Suspect{}, Values: []Value{}, Hidden: Hidden{11, HiddenFew}}
	if diff := cmp.Diff(want, *c, cmpopts.IgnoreUnexported(Column{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRefusedRecordsAreCountedByRule(t *testing.T) {
	p := profiled(t, map[string]string{"visits": "A,B\n1,2\n1\n3,4\n1,2,3\n5,\"x\"y\n6,\xff\n1\n9\n"}, 0, Options{})
	want := []Refused{
		{"invalid-encoding", 1, []Place{{7, "B"}}},
		{"ragged-row", 4, []Place{{3, ""}, {5, ""}, {8, ""}}},
		{"text-after-quote", 1, []Place{{6, "B"}}},
	}
	if diff := cmp.Diff(want, p.Tables[0].Refused); diff != "" || p.Tables[0].Rows != 2 {
		t.Errorf("%d rows (-want +got):\n%s", p.Tables[0].Rows, diff)
	}
}

func TestPHIByNameAndForm(t *testing.T) {
	for _, c := range []struct {
		header, cell string
		want         []string // category and evidence
	}{
		{"LAST_NAME", "Ravenel", []string{"A name"}},
		{"VaccineName", "Flu", nil},
		{"postalCode", "60901", []string{"B name"}},
		{"X", "2026-01-31", []string{"C form"}},
		{"last_seen", "2026-01-31", []string{"C form"}},
		{"X", "call (312) 555-0110 now", []string{"D form"}},
		{"X", "+49 30 1234567", []string{"D form"}},
		{"X", "0002-1433-80", nil},
		{"fax_no", "1", []string{"E name"}},
		{"X", "write to zoe@example.org.", []string{"F form"}},
		{"X", "123-45-6789", []string{"G form"}},
		{"X", "1123-45-67890", nil},
		{"MRN", "1", []string{"H name"}},
		{"SUBSCRIBER_ID", "1", []string{"I name"}},
		{"acct", "1", []string{"J name"}},
		{"DriversLicense", "1", []string{"K name"}},
		{"VIN", "1", []string{"L name"}},
		{"device_id", "1", []string{"M name"}},
		{"X", "see https://example.org/p", []string{"N form"}},
		{"X", "192.168.1.7", []string{"O form"}},
		{"X", "fe80::1", []string{"O form"}},
		{"FINGERPRINT", "1", []string{"P name"}},
		{"photo", "1", []string{"Q name"}},
		{"comment", "ok", []string{"* name"}},
		{"X", "she came in with pain in the left knee since the day before", []string{"* length"}},
		{"STATE", "IL", nil},
		{"GENDER", "F", nil},
	} {
		var got []string
		for _, s := range columnOf(t, c.header, c.cell).PHI {
			got = append(got, s.Category+" "+s.Evidence)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s with such a value: %v, wanted %v", c.header, got, c.want)
		}
	}
}

// clinic is a made-up source: patients with a number, visits of them, and some faults.
func clinic(rows int) map[string]string {
	var patients, visits, codes strings.Builder
	patients.WriteString("MRN,SEX\n")
	visits.WriteString("VISIT,PATIENT,DAY,KIND\n")
	codes.WriteString("CODE,DAY,PLACE\n")
	for i := range rows {
		if i%2 == 0 {
			fmt.Fprintf(&patients, "P%05d,%d\n", i/2, 1+i/2%2)
		}
		fmt.Fprintf(&visits, "V%05d,P%05d,2026-01-%02d,%c\n", i, i*11%(rows/2+3), 1+i%28, 'A'+rune(i%3))
		fmt.Fprintf(&codes, "C%d,D%d,%d\n", i%20, i/20, i%7)
	}
	fmt.Fprintf(&visits, "V%05d,P00000,2026-01-01,A\n", 0) // a number that is there already
	return map[string]string{"patients": patients.String(), "visits": visits.String(), "codes": codes.String()}
}

func TestKeysAndReferences(t *testing.T) {
	p := profiled(t, clinic(200), 0, Options{})
	keys := map[string][]Key{}
	for _, tb := range p.Tables {
		keys[tb.Name] = tb.Keys
	}
	if diff := cmp.Diff(map[string][]Key{
		"codes":    {{Columns: []string{"CODE", "DAY"}}},
		"patients": {{Columns: []string{"MRN"}}},
		"visits":   {{Columns: []string{"VISIT"}, Repeated: 1}},
	}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
	// 103 numbers are drawn from by steps of eleven; three of them are nobody's.
	orphans := map[int]bool{}
	for i := range 200 {
		if n := i * 11 % 103; n >= 100 {
			orphans[n] = true
		}
	}
	want := []Reference{{"ehr", "visits", "PATIENT", "ehr", "patients", "MRN", true, int64(len(orphans)), 0, true}}
	for i := range 200 {
		if orphans[i*11%103] {
			want[0].OrphanRows++
		}
	}
	if diff := cmp.Diff(want, p.References); diff != "" || len(orphans) == 0 {
		t.Errorf("%d orphans planted; references (-want +got):\n%s", len(orphans), diff)
	}
}

func TestTheProfileDoesNotDependOnWorkersAndShards(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		files := clinic(rapid.IntRange(1, 400).Draw(t, "rows"))
		cells := rapid.SliceOfN(rapid.SampledFrom([]string{"", " x", "y ", "1,5", "01/02/2026", "13/02/2026", "2026-01-31", "a@b.org", "N/A", "-/-", strings.Repeat("long ", 20), "é\a"}), 0, 300).Draw(t, "cells")
		files["odd"] = lines("ODD", cells...)
		var want []byte
		for _, o := range []struct {
			workers int
			shard   int64
		}{{1, 0}, {1, 512}, {4, 700}, {3, 2048}} {
			p := profiledIn(t, dir, files, o.shard, Options{Workers: o.workers})
			got, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			} else if !bytes.Equal(want, got) {
				t.Fatalf("with %d workers and shards of %d bytes (-want +got):\n%s", o.workers, o.shard, cmp.Diff(string(want), string(got)))
			}
		}
		for _, tb := range mustDecode(t, want).Tables {
			for _, c := range tb.Columns {
				if c.Filled+c.Blanks() != tb.Rows {
					t.Fatalf("%s.%s: %d filled and %d blank are not %d rows", tb.Name, c.Name, c.Filled, c.Blanks(), tb.Rows)
				}
				var typed int64
				for _, n := range c.Types {
					typed += n
				}
				if typed != c.Filled {
					t.Fatalf("%s.%s: %d values have a type, of %d", tb.Name, c.Name, typed, c.Filled)
				}
			}
		}
	})
}

func mustDecode(t *rapid.T, data []byte) *Profile {
	var p Profile
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	return &p
}

// The estimate of distinct values, and that of orphans, stay within a few of their own stated errors; the memory within
// its bound. The values are drawn with a seed, so the test says the same every time.
func TestSketchIsBoundedAndAsGoodAsItSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, distinct := range []int{1, 999, 1024, 1025, 5_000, 200_000} {
		s, half := newSketch(1024), newSketch(1024)
		for i := range distinct {
			h := hash(fmt.Sprintf("%d-%d", distinct, i))
			for range 1 + random.IntN(2) {
				s.add(h, 1)
			}
			if i%2 == 0 {
				half.add(h, 1)
			}
		}
		if len(s.counts) > 1024 {
			t.Errorf("%d values: the sample holds %d", distinct, len(s.counts))
		}
		off := float64(s.distinct()-int64(distinct)) / float64(distinct)
		if s.exact() != (distinct <= 1024) || s.exact() && off != 0 || off > 4*s.deviation() || off < -4*s.deviation() {
			t.Errorf("%d values: said are %d ±%.2f", distinct, s.distinct(), s.deviation())
		}
		s.merge(&half) // values that it has seen already
		if again := s.distinct(); float64(again-int64(distinct)) != off*float64(distinct) {
			t.Errorf("%d values: after a merge with half of them %d", distinct, again)
		}
		one := newSketch(1024)
		one.add(hash(fmt.Sprintf("%d-0", distinct)), 1)
		one.merge(&s) // which has thrown away more
		if one.distinct() != s.distinct() {
			t.Errorf("%d values: merged into another sketch %d, alone %d", distinct, one.distinct(), s.distinct())
		}
	}
}

func TestManyValuesAreCountedInBoundedMemory(t *testing.T) {
	c := newColumn("X", nil, 1024)
	for i := range int64(50_000) {
		c.add(fmt.Sprintf("value %d", i), at{i + 1, i + 2}, 0, false)
	}
	if c.values != nil || len(c.sketch.counts) > 1024 || len(c.dates)+len(c.sentinels)+len(c.types) > 10 {
		t.Errorf("a column of many values keeps %d values and %d hashes", len(c.values), len(c.sketch.counts))
	}
}

// planted is a table for each column of which a value is unmistakable. Some stand in enough rows to be shown, but the
// column looks like PHI, or too few patients have them.
func planted() (files map[string]string, secrets []string) {
	secret := func(s string) string {
		secrets = append(secrets, s)
		return s
	}
	var b strings.Builder
	b.WriteString("MRN,LAST_NAME,SSN,NOTE,CITY,CODE,RARE,TEL,BORN,WEIRD\n")
	for i := range 40 {
		row := []string{
			secret(fmt.Sprintf("QXM%04d", i)), secret("Zzyzxton"), secret(fmt.Sprintf("888-77-%04d", 1000+i)), secret(fmt.Sprintf("Quuxnote number %d", i)), secret("Xanaduville"),
			"OK", "common", secret("312-555-0" + fmt.Sprint(100+i)), "1961-02-28", "=cmd",
		}
		if i < 4 { // four patients have it
			row[6] = secret("Rarequirk")
		}
		b.WriteString(strings.Join(row, ",") + "\n")
	}
	var notes strings.Builder
	notes.WriteString("PATIENT,LABEL\n")
	for range 30 { // one patient, many rows
		notes.WriteString("QXM0001," + secret("Solequirk") + "\n")
	}
	return map[string]string{"patients": b.String(), "notes": notes.String()}, secrets
}

func TestNoPlantedValueShows(t *testing.T) {
	files, secrets := planted()
	dir := t.TempDir()
	for _, all := range []bool{false, true} {
		p := profiled(t, files, 0, Options{ShowValues: all})
		written, err := Write(filepath.Join(dir, fmt.Sprint(all)), p)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, path := range written {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			texts[filepath.Base(path)] = string(data)
		}
		texts["profile.xlsx"] = cellsOf(t, texts["profile.xlsx"])
		var b bytes.Buffer
		if err := Text(&b, p); err != nil {
			t.Fatal(err)
		}
		texts["text"] = b.String()
		texts["%+v"] = fmt.Sprintf("%+v", *p)
		for name, text := range texts {
			if !strings.Contains(text, "common") {
				t.Errorf("%s lacks what may be shown: the search proves nothing", name)
			}
			hits := 0
			for _, s := range secrets {
				for _, form := range []string{s, base64.StdEncoding.EncodeToString([]byte(s)), hex.EncodeToString([]byte(s)), url.QueryEscape(s)} {
					if strings.Contains(text, form) {
						hits++
					}
				}
			}
			if !all && hits > 0 {
				t.Errorf("%s shows %d planted values", name, hits)
			}
			if all && hits == 0 && name != "text" {
				t.Errorf("%s shows no value although it was asked to", name)
			}
		}
	}
}

// cellsOf is the text of all cells of all sheets, hidden ones too, and the properties.
func cellsOf(t *testing.T, data string) string {
	t.Helper()
	f, err := excelize.OpenReader(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	for _, sheet := range f.GetSheetList() {
		rows, err := f.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			b.WriteString(strings.Join(r, "\t") + "\n")
		}
	}
	props, err := f.GetDocProps()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "%+v", *props)
	return b.String()
}

func TestTextsFromDataAreInert(t *testing.T) {
	hostile := []string{"=1+1", "<script>alert(1)</script>", "\x1b[31mred", "@x"}
	header := "\"=HYPERLINK(1)\",\"<b>bold</b>\",\"\x1b[2Jgone\"\n"
	var b strings.Builder
	b.WriteString(header)
	for i := range 40 {
		fmt.Fprintf(&b, "%s,x,y\n", hostile[i%len(hostile)])
	}
	p := profiled(t, map[string]string{"t": b.String()}, 0, Options{})
	if len(p.Tables[0].Columns[0].Values) != len(hostile) {
		t.Fatalf("the values are not in the profile: %+v", p.Tables[0].Columns[0].Values)
	}
	var text, html, book bytes.Buffer
	if err := Text(&text, p); err != nil {
		t.Fatal(err)
	}
	if err := HTML(&html, p); err != nil {
		t.Fatal(err)
	}
	if err := Workbook(&book, p); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text.String(), "\x1b") {
		t.Error("the text holds an escape sequence")
	}
	if strings.Contains(html.String(), "<script>") || strings.Contains(html.String(), "<b>") {
		t.Error("the page holds a tag from the data")
	}
	f, err := excelize.OpenReader(&book)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := 0
	for _, sheet := range f.GetSheetList() {
		rows, err := f.GetRows(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for r, row := range rows {
			for c, cell := range row {
				name, err := excelize.CoordinatesToCellName(c+1, r+1)
				if err != nil {
					t.Fatal(err)
				}
				formula, err := f.GetCellFormula(sheet, name)
				if err != nil || formula != "" || strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "@") {
					t.Errorf("%s!%s may be taken for a formula (%v)", sheet, name, err)
				}
				if strings.HasPrefix(cell, "'=") {
					found++
				}
			}
		}
	}
	if found == 0 {
		t.Error("no hostile cell is in the workbook: the search proves nothing")
	}
}

func TestRunStopsWhenItIsToldTo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.csv"), []byte("A,B\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := csv.Open(csv.Options{Name: "s", Dir: dir, Files: []string{"a.csv"}})
	if err != nil {
		t.Fatal(err)
	}
	tables, err := s.Tables(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if p, err := Run(ctx, []Source{{Source: s, Tables: tables}}, Options{}); p != nil || err == nil {
		t.Errorf("a profile in spite of a context that is done: %v", err)
	}
}

func FuzzValue(f *testing.F) {
	for _, s := range []string{"01/02/03", "2026-01-31T10:00:00.123+01:00", "Jan 2, 2026", "1e5", "123-45-6789", "+1 312 555 0110", "é", "\xff", "12/31/9999 11:59 PM", "a@b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		c := newColumn("date", nil, 1024)
		c.add(cell, at{1, 2}, 0, false)
		c.settle()
		out := c.shown()
		if out.Filled+out.Blanks() != 1 {
			t.Errorf("%d filled and %d blank of one value", out.Filled, out.Blanks())
		}
		var typed int64
		for _, n := range out.Types {
			typed += n
		}
		if typed != out.Filled {
			t.Errorf("%d types of %d values", typed, out.Filled)
		}
	})
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"PATIENT_ID": "patient id", "patientId": "patient id", "Patient ID": "patient id", "MRNumber": "mr number", "address2": "address 2", "": "", "__": "", "Straße": "straße",
	} {
		if got := strings.Join(Words(name), " "); got != want {
			t.Errorf("Words(%q) is %q, wanted %q", name, got, want)
		}
	}
	for plural, want := range map[string]string{"allergies": "allergy", "diagnoses": "diagnosis", "addresses": "address", "visits": "visit", "status": "status", "class": "class", "diagnosis": "diagnosis"} {
		if got := Singular(plural); got != want {
			t.Errorf("Singular(%q) is %q, wanted %q", plural, got, want)
		}
	}
}

// Several tables may have one row for each patient; a column refers to the table that is the patients. Numbers that
// merely lie in the same range refer to nothing.
func TestReferencesLeadToTheTableThatIsMeant(t *testing.T) {
	var people, homes, visits, rooms strings.Builder
	people.WriteString("person_id,x\n")
	homes.WriteString("person_id,home\n")
	visits.WriteString("visit_no,person_id,beds,room\n")
	rooms.WriteString("id,kind\n")
	for i := range 60 {
		fmt.Fprintf(&people, "%d,a\n", i)
		fmt.Fprintf(&homes, "%d,h%d\n", i, i%7)
		fmt.Fprintf(&rooms, "%d,k%d\n", i, i%3)
		for k := range 3 {
			fmt.Fprintf(&visits, "v%d,%d,%d,%d\n", 3*i+k, i, i, i)
		}
	}
	p := profiled(t, map[string]string{"homes": homes.String(), "person": people.String(), "visits": visits.String(), "rooms": rooms.String()}, 0, Options{})
	var got []string
	for _, r := range p.References {
		got = append(got, r.Table+": "+r.String())
	}
	want := []string{"homes: person_id -> person.person_id", "visits: person_id -> person.person_id", "visits: room -> rooms.id"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A column of many values keeps no value, and all its counts; in whatever pieces it is read.
func TestColumnsOfManyValuesKeepTheirCounts(t *testing.T) {
	var cells []string
	for i := range 900 {
		cells = append(cells, fmt.Sprintf("free text %d", i))
		switch i % 100 {
		case 0:
			cells = append(cells, "N/A", "01/02/2026", "13/02/2026", "bob@example.org")
		case 50:
			cells = append(cells, " x", "x ", "007", "Ã©", "\ufffd", "b\a", "a\u200eb", "", " ", "-/-")
		}
	}
	for _, shard := range []int64{0, 512, 3000} {
		p := profiled(t, map[string]string{"things": lines("X", cells...)}, shard, Options{})
		c := p.Tables[0].Columns[0]
		got := []int64{c.Filled, c.Empty, c.White, c.Blank["-/-"], c.Sentinels["N/A"], c.AmbiguousDates, c.LeadingBlanks.Count, c.TrailingBlanks.Count, c.LeadingZeros.Count,
			c.Mojibake.Count, c.Replaced.Count, c.Controls.Count, c.Bidi.Count, c.Types[TypeDate], c.Distinct.Count, c.PHI[0].Count}
		if diff := cmp.Diff([]int64{900 + 9*(4+7), 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 18, 900 + 4 + 7, 9}, got); diff != "" || c.PHI[0].Category != "F" {
			t.Errorf("in pieces of %d bytes (-want +got):\n%s", shard, diff)
		}
		if len(c.Values) > 0 || c.Hidden.Reason != HiddenMany {
			t.Errorf("%d values of many are shown, the others hidden as %s", len(c.Values), c.Hidden.Reason)
		}
	}
}

// Where the keys are too many to hold, what refers to them is checked by a sample: the orphans are estimated, and said to
// be. A column that refers to patients is a record number, whatever its name.
func TestReferencesIntoMoreKeysThanCanBeHeld(t *testing.T) {
	var patients, notes strings.Builder
	patients.WriteString("token,x\n")
	for i := range 100_000 {
		fmt.Fprintf(&patients, "t-%x-%d,a\n", i*7919, i)
	}
	notes.WriteString("about,n\n")
	const values, orphans = 30_000, 300
	for i := range 2 * values {
		if i %= values; i < orphans {
			fmt.Fprintf(&notes, "gone-%d,b\n", i)
		} else {
			fmt.Fprintf(&notes, "t-%x-%d,b\n", i*7919, i)
		}
	}
	p := profiled(t, map[string]string{"patients": patients.String(), "notes": notes.String()}, 1<<20, Options{})
	if len(p.References) != 1 {
		t.Fatalf("%d references: %v", len(p.References), p.References)
	}
	r := p.References[0]
	if r.Exact || r.ByName || r.Orphans < orphans*8/10 || r.Orphans > orphans*12/10 || r.OrphanRows != 2*r.Orphans {
		t.Errorf("about %d orphans are planted: %+v", orphans, r)
	}
	var evidence []string
	for _, s := range p.Tables[0].Column("about").PHI {
		evidence = append(evidence, s.Category+" "+s.Evidence)
	}
	if !slices.Contains(evidence, "H refers") {
		t.Errorf("the column that refers to patients is %v", evidence)
	}
	if k := p.Tables[1].Keys; len(k) != 1 || !k[0].Sampled {
		t.Errorf("the key of many values is %+v", k)
	}
}
