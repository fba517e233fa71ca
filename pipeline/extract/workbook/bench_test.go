package workbook

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/chartlift/chartlift/pipeline/extract"
)

// visits writes made-up visits: identifiers, dates, a code and a note, as shared strings and as numbers with styles.
func visits(b *testing.B, rows int) string {
	f := excelize.NewFile()
	defer f.Close()
	date, err := f.NewStyle(&excelize.Style{NumFmt: 22})
	if err != nil {
		b.Fatal(err)
	}
	w, err := f.NewStreamWriter("Sheet1")
	if err != nil {
		b.Fatal(err)
	}
	write := func(row int, cells ...any) {
		if err := w.SetRow(fmt.Sprintf("A%d", row), cells); err != nil {
			b.Fatal(err)
		}
	}
	write(1, "Id", "Start", "Stop", "Patient", "Class", "Code", "Description", "Cost")
	start := time.Date(2020, 1, 1, 3, 26, 50, 0, time.UTC)
	for i := range rows {
		at := start.Add(time.Duration(i) * time.Minute)
		write(i+2, fmt.Sprintf("33dc326d-4b64-921b-4afe-%012d", i), excelize.Cell{StyleID: date, Value: at}, excelize.Cell{StyleID: date, Value: at.Add(time.Hour)},
			fmt.Sprintf("593aaa05-d864-1df7-5b96-%012d", i/7), "wellness", 410620009, "Well child visit (procedure)", 146.76)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "visits.xlsx")
	if err := f.SaveAs(path); err != nil {
		b.Fatal(err)
	}
	return path
}

// BenchmarkRead reads a workbook of 50,000 rows beside bare excelize, which returns raw values and no styles.
func BenchmarkRead(b *testing.B) {
	const rows = 50_000
	path := visits(b, rows)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	whole := func(b *testing.B, s *Source, done *extract.Digest) {
		tables, err := s.Tables(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		shards, err := s.Shards(b.Context(), tables[0])
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for _, err := range s.Read(b.Context(), shards[0], done) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != rows {
			b.Fatalf("%d rows", n)
		}
	}
	open := func(b *testing.B) *Source {
		s, err := Open(Options{Name: "ehr", Files: []string{path}})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	b.Run("ours, open to end", func(b *testing.B) {
		b.SetBytes(info.Size())
		for b.Loop() {
			whole(b, open(b), new(extract.Digest))
		}
	})
	b.Run("ours, read only", func(b *testing.B) {
		b.SetBytes(info.Size())
		b.ReportAllocs()
		s := open(b)
		for b.Loop() {
			whole(b, s, new(extract.Digest))
		}
	})
	b.Run("excelize, open to end", func(b *testing.B) {
		b.SetBytes(info.Size())
		for b.Loop() {
			f, err := excelize.OpenFile(path)
			if err != nil {
				b.Fatal(err)
			}
			all, err := f.Rows("Sheet1")
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for all.Next() {
				if _, err := all.Columns(excelize.Options{RawCellValue: true}); err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != rows+1 {
				b.Fatalf("%d rows", n)
			}
			_ = all.Close()
			_ = f.Close()
		}
	})
}
