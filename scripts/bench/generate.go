package main

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// seed makes every run of the benchmark work on the same bytes.
const seed = 20260101

// planFiles is a migration over the generated tables. Its observations say what the yardstick writes.
//
//go:embed plan
var planFiles embed.FS

// writePlan puts the plan into a folder of its own, beside the folder `data`, with the mappings that a table needs.
func writePlan(dir string, t *table) error {
	return fs.WalkDir(planFiles, "plan", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("plan", filepath.FromSlash(path))
		if err != nil {
			return err
		}
		to := filepath.Join(dir, rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		if filepath.Dir(rel) == "mappings" && !slices.Contains(t.mappings, strings.TrimSuffix(d.Name(), ".yaml")) {
			return nil
		}
		text, err := planFiles.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, text, 0o600)
	})
}

// rowsPerPatient and rowsPerEncounter shape the made-up hospital: 120 results per patient, 12 per visit.
const (
	rowsPerPatient   = 120
	rowsPerEncounter = 12
)

// kind is one made-up kind of result.
type kind struct {
	category, code, description, unit string
	low, high                         float64
	decimals                          int
}

var kinds = []kind{
	{"vital-signs", "8302-2", "Body Height", "cm", 140, 200, 1},
	{"vital-signs", "29463-7", "Body Weight", "kg", 40, 140, 1},
	{"vital-signs", "39156-5", "Body Mass Index", "kg/m2", 16, 45, 2},
	{"vital-signs", "8867-4", "Heart rate", "/min", 50, 110, 0},
	{"vital-signs", "9279-1", "Respiratory rate", "/min", 10, 24, 0},
	{"vital-signs", "8310-5", "Body temperature", "Cel", 36, 40, 1},
	{"laboratory", "2339-0", "Glucose", "mg/dL", 60, 220, 1},
	{"laboratory", "38483-4", "Creatinine", "mg/dL", 0, 3, 2},
	{"laboratory", "2947-0", "Sodium", "mmol/L", 130, 148, 1},
	{"laboratory", "6298-4", "Potassium", "mmol/L", 3, 6, 1},
	{"laboratory", "2093-3", "Total Cholesterol", "mg/dL", 120, 300, 1},
	{"laboratory", "718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 9, 18, 1},
}

// term is a made-up choice of a code.
type term struct{ code, description string }

var (
	visits     = []term{{"185349003", "Encounter for check up"}, {"308335008", "Patient encounter procedure"}, {"50849002", "Emergency room admission"}}
	conditions = []term{{"44054006", "Diabetes mellitus type 2"}, {"59621000", "Essential hypertension"}, {"195662009", "Acute viral pharyngitis"},
		{"444814009", "Viral sinusitis"}, {"162864005", "Body mass index 30+ - obesity"}, {"271737000", "Anemia"}}
	medications = []term{{"314076", "lisinopril 10 MG Oral Tablet"}, {"860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet"},
		{"310798", "Hydrochlorothiazide 25 MG Oral Tablet"}, {"198405", "Ibuprofen 100 MG Oral Tablet"}, {"308136", "amLODIPine 2.5 MG Oral Tablet"}}
	towns = []term{{"02108", "Springfield"}, {"02901", "Fairview"}, {"93650", "Riverside"}, {"01001", "Greenville"}}
)

// generate writes made-up tables into a folder, with random numbers of a fixed seed: so many rows of the one that is
// measured, and what it refers to. The rows of one patient stand together, as exports have them. Nothing is written if
// the table is there already.
func generate(ctx context.Context, dir string, t *table, rows int64) error {
	if _, err := os.Stat(filepath.Join(dir, t.name+".csv")); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	files := map[string]*bufio.Writer{}
	var finish []func() error
	for i := range tables {
		x := &tables[i]
		if !slices.Contains(t.mappings, x.mapping()) {
			continue
		}
		f, err := os.Create(filepath.Join(dir, x.name+".csv.part"))
		if err != nil {
			return err
		}
		defer f.Close() // closed below already, unless there was an error
		w := bufio.NewWriterSize(f, 1<<16)
		files[x.name] = w
		fmt.Fprintln(w, strings.Join(x.columns, ",")) // a bufio.Writer keeps its error until Flush
		finish = append(finish, func() error {
			if err := errors.Join(w.Flush(), f.Close()); err != nil {
				return err
			}
			return os.Rename(f.Name(), filepath.Join(dir, x.name+".csv"))
		})
	}
	perPatient, perEncounter := int64(rowsPerPatient), int64(rowsPerEncounter)
	switch t.name {
	case "patients":
		perPatient = 1
	case "encounters":
		perPatient, perEncounter = rowsPerPatient/rowsPerEncounter, 1
	}
	r := rand.New(rand.NewPCG(seed, seed))
	var patient, encounter string
	var at time.Time
	for i := range rows {
		if i%perPatient == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			patient = uuid(r)
			born := time.Date(1930+r.IntN(90), time.Month(1+r.IntN(12)), 1+r.IntN(28), 0, 0, 0, 0, time.UTC)
			town := towns[r.IntN(len(towns))]
			fmt.Fprintf(files["patients"], "%s,%s,%s,Testcase%d,Given%d,%s,%s\n", patient, born.Format(time.DateOnly), []string{"F", "M"}[r.IntN(2)],
				i/perPatient, r.IntN(1000), town.description, town.code)
			at = time.Date(2015+r.IntN(8), time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), 0, time.UTC)
		}
		if t.name == "patients" {
			continue
		}
		if i%perEncounter == 0 {
			encounter = uuid(r)
			at = at.AddDate(0, 1+r.IntN(6), r.IntN(28))
			v := visits[r.IntN(len(visits))]
			fmt.Fprintf(files["encounters"], "%s,%s,%s,%s,%s,%s\n", encounter, at.Format(time.RFC3339), at.Add(30*time.Minute).Format(time.RFC3339), patient, v.code, v.description)
		}
		// The start makes the key of each row its own.
		start := at.Add(time.Duration(i%perEncounter) * time.Minute)
		stop := ""
		if i%3 > 0 {
			stop = start.AddDate(0, 0, 14).Format(time.RFC3339)
		}
		switch t.name {
		case "observations":
			k := kinds[i%int64(len(kinds))]
			fmt.Fprintf(files[t.name], "%s,%s,%s,%s,%s,%s,%.*f,%s,numeric\n", at.Format(time.RFC3339), patient, encounter,
				k.category, k.code, k.description, k.decimals, k.low+r.Float64()*(k.high-k.low), k.unit)
		case "conditions":
			c := conditions[i%int64(len(conditions))]
			fmt.Fprintf(files[t.name], "%s,%s,%s,%s,%s,%s\n", start.Format(time.RFC3339), stop, patient, encounter, c.code, c.description)
		case "medications":
			m, c := medications[i%int64(len(medications))], conditions[i%int64(len(conditions))]
			fmt.Fprintf(files[t.name], "%s,%s,%s,%s,%s,%s,%s,%s\n", start.Format(time.RFC3339), stop, patient, encounter, m.code, m.description, c.code, c.description)
		}
	}
	for _, f := range finish {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// uuid is a made-up key of the form that legacy systems use.
func uuid(r *rand.Rand) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0x3fff|0x8000, b&0xffffffffffff)
}
