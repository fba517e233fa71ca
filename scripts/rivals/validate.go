package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"

	gofhirfuncs "github.com/gofhir/fhirpath/funcs"
	"github.com/gofhir/validator/pkg/logger"
	rival "github.com/gofhir/validator/pkg/validator"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// The data lies beside the project (see pipeline/sharedtest): R4's definitions, its examples, and US Core.
var (
	definitionsAt = []string{"profiles-types", "profiles-resources", "profiles-others", "extension-definitions", "valuesets", "v3-codesystems", "v2-tables"}
	usCoreAt      = filepath.Join("us-core", "hl7.fhir.us.core-6.1.0.tgz")
)

// judged is a line of the table: microseconds from the bytes of a resource to the verdict, on one core.
type judged struct {
	Set       string  `json:"set"`
	Resources int     `json:"resources"`
	Judge     float64 `json:"judge"`   // by shapes, as in a run
	Checker   float64 `json:"checker"` // every resource anew, as `chartlift validate` and --deep
	GoFHIR    float64 `json:"gofhir"`
	OverJudge float64 `json:"gofhirOverJudge"`
	OverCheck float64 `json:"gofhirOverChecker"`

	Errors, GoFHIRErrors int // resources with an error, by either side
}

// resourceSet is what all sides judge.
type resourceSet struct {
	name      string
	packages  []*fhir.Package // beside R4
	tgz       string
	resources [][]byte
}

// deep compares deep validation with gofhir/validator over the same bytes.
func deep(args []string, stdout io.Writer) error {
	s, err := parse("validate", args)
	if err != nil {
		return err
	}
	data := os.Getenv("CHARTLIFT_SHARED")
	if data == "" {
		data = filepath.Join("..", "..", "..", "shared")
	}
	data = filepath.Join(data, "data")
	sets, err := resourceSets(data)
	if err != nil {
		return err
	}
	packages, err := os.MkdirTemp("", "rivals")
	if err != nil {
		return err
	}
	defer os.RemoveAll(packages)
	if err := corePackage(data, filepath.Join(packages, "hl7.fhir.r4.core#4.0.1", "package")); err != nil {
		return err
	}
	var results []judged
	for _, set := range sets {
		r, err := set.compare(s.rounds, packages)
		if err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
		results = append(results, r)
	}
	if s.json {
		out := json.NewEncoder(stdout)
		out.SetIndent("", " ")
		return out.Encode(results)
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(stdout, "µs per resource from bytes to verdict, one core, medians of %d rounds in turns\n", s.rounds)
	fmt.Fprintln(w, "judge\tchecker\tgofhir\tgofhir/judge\tgofhir/checker\tresources\twith errors\tgofhir's\t  set")
	for _, r := range results {
		fmt.Fprintf(w, "%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%d\t%d\t%d\t  %s\n", r.Judge, r.Checker, r.GoFHIR, r.OverJudge, r.OverCheck, r.Resources, r.Errors, r.GoFHIRErrors, r.Set)
	}
	return w.Flush()
}

// compare measures one set: every side judges all of it in one turn.
func (set *resourceSet) compare(rounds int, packages string) (judged, error) {
	v := validate.New(terminology.NewStore(append([]*fhir.Package{fhir.Core()}, set.packages...)...), append(slices.Clone(set.packages), fhir.Core())...)
	checker, judge := v.Checker(), v.Judge()
	options := []rival.Option{rival.WithVersion("4.0.1"), rival.WithPackagePath(packages)}
	if set.tgz != "" {
		options = append(options, rival.WithPackageTgz(set.tgz))
	}
	logger.SetDefault(logger.New(io.Discard, logger.LevelNone)) // what it logs is not measured
	gofhirfuncs.SetTraceLogger(gofhirfuncs.NullTraceLogger{})
	other, err := rival.New(options...)
	if err != nil {
		return judged{}, err
	}
	r := judged{Set: set.name, Resources: len(set.resources)}
	types := make([]*fhir.Type, len(set.resources))
	for i, data := range set.resources {
		n, err := fhir.Parse(data)
		if err != nil {
			return judged{}, err
		}
		types[i] = fhir.Lookup(n.ResourceType())
		if validate.HasError(checker.Text(data)) {
			r.Errors++
		}
		result, err := other.Validate(context.Background(), data)
		if err != nil {
			return judged{}, err
		}
		if result.ErrorCount() > 0 {
			r.GoFHIRErrors++
		}
	}
	sides := []func() error{
		func() error {
			for i, data := range set.resources {
				judge.Resource(types[i], data)
			}
			return nil
		},
		func() error {
			for _, data := range set.resources {
				checker.Text(data)
			}
			return nil
		},
		func() error {
			for _, data := range set.resources {
				if _, err := other.Validate(context.Background(), data); err != nil {
					return err
				}
			}
			return nil
		},
	}
	runtime.GC()
	times, err := interleave(rounds, sides)
	if err != nil {
		return judged{}, err
	}
	each := func(i int) float64 { return float64(times[i].Nanoseconds()) / 1000 / float64(len(set.resources)) }
	r.Judge, r.Checker, r.GoFHIR = each(0), each(1), each(2)
	r.OverJudge, r.OverCheck = r.GoFHIR/r.Judge, r.GoFHIR/r.Checker
	return r, nil
}

// resourceSets are R4's examples, US Core's, and resources as a migration writes them.
func resourceSets(data string) ([]*resourceSet, error) {
	examples, err := jsonOf(filepath.Join(data, "fhir-r4-examples", "examples.tar.gz"), "")
	if err != nil {
		return nil, err
	}
	guide := filepath.Join(data, usCoreAt)
	profiled, err := jsonOf(guide, "package/example/")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(guide)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := fhir.ReadPackage(f, guide)
	if err != nil {
		return nil, err
	}
	return []*resourceSet{
		{name: "R4's examples", resources: examples},
		{name: "US Core's examples", packages: []*fhir.Package{p}, tgz: guide, resources: profiled},
		{name: "migrated, R4", resources: migrated("")},
		{name: "migrated, US Core", packages: []*fhir.Package{p}, tgz: guide, resources: migrated("http://hl7.org/fhir/us/core/StructureDefinition/")},
	}, nil
}

// jsonOf are the JSON files of an archive below a prefix, in the order of their names.
func jsonOf(path, prefix string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name, ok := strings.CutPrefix(head.Name, prefix)
		if !ok || filepath.Ext(name) != ".json" || strings.HasPrefix(filepath.Base(name), ".") {
			continue
		}
		if files[name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
	var out [][]byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, files[name])
	}
	return out, nil
}

// migrated are resources as mappings write them, with the profiles below a prefix.
func migrated(profiles string) [][]byte {
	meta := func(name string) string {
		if profiles == "" {
			return ""
		}
		return `"meta":{"profile":["` + profiles + name + `"]},`
	}
	const loinc, category = "http://loinc.org", "http://terminology.hl7.org/CodeSystem/"
	var out [][]byte
	for i := range 64 {
		for _, text := range []string{
			`{"code":{"coding":[{"code":"72514-3","display":"Pain severity","system":"` + loinc + `"}],"text":"Pain severity"},"category":[{"coding":[{"code":"survey","system":"` + category + `observation-category"}]}],"effectiveDateTime":"2013-06-%02dT10:07:11Z","encounter":{"reference":"Encounter/e%d"},"id":"o%d",` + meta("us-core-observation-screening-assessment") + `"resourceType":"Observation","status":"final","subject":{"reference":"Patient/p%d"},"valueQuantity":{"code":"{score}","system":"http://unitsofmeasure.org","unit":"{score}","value":3.0}}`,
			`{"birthDate":"1970-01-%02d","gender":"female","id":"p%d","identifier":[{"system":"http://example.org/mrn","value":"%d"}],` + meta("us-core-patient") + `"name":[{"family":"Family%d","given":["Given"]}],"resourceType":"Patient","telecom":[{"system":"phone","value":"555","use":"home"}]}`,
			`{"class":{"code":"AMB","system":"` + category + `v3-ActCode"},"period":{"start":"2013-06-%02dT10:00:00Z","end":"2013-07-01T10:30:00Z"},"id":"e%d","identifier":[{"system":"http://example.org/visit","value":"%d"}],` + meta("us-core-encounter") + `"resourceType":"Encounter","status":"finished","subject":{"reference":"Patient/p%d"},"type":[{"coding":[{"code":"185345009","system":"http://snomed.info/sct"}],"text":"Encounter for symptom"}]}`,
			`{"category":[{"coding":[{"code":"problem-list-item","system":"` + category + `condition-category"}]}],"clinicalStatus":{"coding":[{"code":"active","system":"` + category + `condition-clinical"}]},"verificationStatus":{"coding":[{"code":"confirmed","system":"` + category + `condition-ver-status"}]},"code":{"coding":[{"code":"44054006","system":"http://snomed.info/sct"}],"text":"Diabetes"},"onsetDateTime":"2010-01-%02d","encounter":{"reference":"Encounter/e%d"},"id":"c%d",` + meta("us-core-condition-problems-health-concerns") + `"resourceType":"Condition","subject":{"reference":"Patient/p%d"}}`,
		} {
			out = append(out, fmt.Appendf(nil, text, i%28+1, i, i, i/4))
		}
	}
	return out
}

// corePackage lays R4's definitions out as the package that the rival reads.
func corePackage(data, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name":"hl7.fhir.r4.core","version":"4.0.1","fhirVersion":"4.0.1"}`), 0o644); err != nil {
		return err
	}
	for _, name := range definitionsAt {
		f, err := os.Open(filepath.Join(data, "fhir-r4-definitions", name+".json.gz"))
		if err != nil {
			return err
		}
		err = unbundle(f, dir)
		_ = f.Close() // it was only read
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func unbundle(f io.Reader, dir string) error {
	zip, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	var bundle struct {
		Entry []struct{ Resource json.RawMessage }
	}
	if err := json.NewDecoder(zip).Decode(&bundle); err != nil {
		return err
	}
	for _, entry := range bundle.Entry {
		var head struct{ ResourceType, ID string }
		if err := json.Unmarshal(entry.Resource, &head); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, head.ResourceType+"-"+head.ID+".json"), entry.Resource, 0o644); err != nil {
			return err
		}
	}
	return nil
}
