package pipeline

import (
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// ranks is the order of the journey: a package imports packages above it in this list, never below. Helpers without
// knowledge of any stage lie in internal and come first; pipeline itself and cmd come last.
var ranks = []string{
	"internal", "sharedtest", "fhir", "ucum", "fhirpath", "extract", "terminology", "validate", "phi", "mapping", "stage", "state", "load",
	"ledger", "reconcile", "report", "review", "sandbox", "plan", "run", "workbench", "", "cmd",
}

// exceptions are arrows against the order, each with its reason.
var exceptions = map[string]string{}

// edges are the outside libraries that stay near one place each, and the packages that may import them.
var edges = map[string][]string{
	"github.com/jackc/pgx/v5":              {"ledger", "extract/sqldb"},
	"github.com/xuri/excelize/v2":          {"extract/workbook", "extract/profile", "report"},
	"github.com/samply/golang-fhir-models": {"fhir", "load/rest", "sandbox", "validate"},
	"modernc.org/sqlite":                   {"ledger", "extract/sqldb"},
	"go.yaml.in/yaml/v4":                   {"internal/document", "mapping", "phi", "plan"},
	"github.com/spf13/cobra":               {"cmd"},
	"github.com/vbauerster/mpb/v8":         {"cmd"},
	"github.com/google/go-cmp":             {"extract/extracttest"},
	"pgregory.net/rapid":                   {},
	"github.com/rogpeppe/go-internal/":     {},
	"github.com/klauspost/compress":        {"fhir", "phi", "stage", "sandbox", "internal/packed"},
	"github.com/go-sql-driver/mysql":       {"extract/sqldb"},
	"github.com/microsoft/go-mssqldb":      {"extract/sqldb"},
	"github.com/sijms/go-ora/v2":           {"extract/sqldb"},
	"github.com/dustin/go-humanize":        {"cmd"},
	"golang.org/x/mod":                     {"ledger"},
	"golang.org/x/sys":                     {"ledger", "cmd", "stage", "internal/filelock"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./cmd/...", "./pipeline/...")
	cmd.Dir = sharedtest.ModuleRoot(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

const module = "github.com/chartlift/chartlift/"

// place is the path below pipeline ("" for pipeline itself), or "cmd"; ok is false for packages without a rank.
func place(importPath string) (string, bool) {
	rest, ours := strings.CutPrefix(importPath, module)
	switch {
	case !ours:
		return "", false
	case strings.HasPrefix(rest, "cmd/"):
		return "cmd", true
	case rest == "pipeline":
		return "", true
	default:
		return strings.CutPrefix(rest, "pipeline/")
	}
}

func rank(place string) int {
	top, _, _ := strings.Cut(place, "/")
	return slices.Index(ranks, top)
}

// wrong lists what breaks the order or leaves an edge.
func wrong(packages []goPackage) []string {
	var faults []string
	for _, p := range packages {
		from, ok := place(p.ImportPath)
		if !ok {
			continue
		}
		if rank(from) < 0 {
			faults = append(faults, fmt.Sprintf("pipeline/%s has no rank", from))
			continue
		}
		for _, imported := range p.Imports {
			if to, ok := place(imported); ok {
				arrow := from + " -> " + to
				if rank(to) > rank(from) && exceptions[arrow] == "" {
					faults = append(faults, arrow+" points against the order")
				}
				continue
			}
			for library, allowed := range edges {
				if strings.HasPrefix(imported, library) && !slices.Contains(allowed, from) {
					faults = append(faults, fmt.Sprintf("%s imports %s, which stays in %v", from, library, allowed))
				}
			}
		}
	}
	slices.Sort(faults)
	return faults
}

func TestImportsFollowTheJourney(t *testing.T) {
	for _, fault := range wrong(listPackages(t)) {
		t.Error(fault)
	}
}

func TestImportsAgainstTheJourneyAreFound(t *testing.T) {
	planted := []goPackage{
		{module + "pipeline/phi", []string{module + "pipeline/load"}},
		{module + "pipeline/mapping", []string{"github.com/jackc/pgx/v5/pgxpool"}},
		{module + "pipeline/util", nil},
		{module + "pipeline/extract/csv", []string{module + "pipeline/extract", "github.com/google/go-cmp/cmp"}},
	}
	if got := wrong(planted); len(got) != 4 {
		t.Errorf("four planted faults, found %d: %v", len(got), got)
	}
}
