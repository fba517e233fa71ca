package validate_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// archive reads the files of a gzipped tar of the shared data.
func archive(t testing.TB, elem ...string) map[string][]byte {
	t.Helper()
	return readArchive(t, sharedtest.Path(t, elem...))
}

// readArchive reads the files of a gzipped tar, by name.
func readArchive(t testing.TB, path string) map[string][]byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(zip); ; {
		head, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[head.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// examples are the example resources of R4.
func examples(t testing.TB) map[string][]byte {
	return resources(t, sharedtest.Path(t, "data", "fhir-r4-examples", "examples.tar.gz"), func(string) bool { return true })
}

// usCore is a version of US Core and its examples.
func usCore(t testing.TB, version string) (*fhir.Package, map[string][]byte) {
	t.Helper()
	found := map[string][]byte{}
	for path, data := range resources(t, sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-"+version+".tgz"), func(name string) bool { return strings.HasPrefix(name, "package/example/") }) {
		if file := strings.TrimPrefix(path, "package/example/"); file[0] != '.' {
			found[file] = data
		}
	}
	return guide(t, version), found
}

// validator checks by R4 and packages.
func validator(packages ...*fhir.Package) *validate.Validator {
	return validate.New(terminology.NewStore(append([]*fhir.Package{fhir.Core()}, packages...)...), append(packages, fhir.Core())...)
}

// core is the validator of R4 alone, shared by the tests.
var core = sync.OnceValue(func() *validate.Validator { return validator() })

// errorRules are the rules that a resource breaks, each once, sorted.
func errorRules(issues []validate.Issue) []string {
	var rules []string
	for _, x := range issues {
		if x.Severity == validate.Error {
			rules = append(rules, x.Rule)
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// exception is a file that is in a set of valid resources and is not valid.
type exception struct{ rules, why string }

const (
	emptyNarrative = "its narrative holds nothing but a comment or white space; HL7's validator: txt-2"
	fullURL        = "an entry's fullUrl names another id than the resource has; HL7's validator: BUNDLE_ENTRY_URL_MATCHES_TYPE_ID"
)

// judgeSet checks files and compares the rules that they break with those that are known.
func judgeSet(t *testing.T, v *validate.Validator, files map[string][]byte, known map[string]exception) {
	t.Helper()
	c := v.Checker()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		issues := c.Text(files[name])
		got := strings.Join(errorRules(issues), " ")
		if got == known[name].rules {
			continue
		}
		t.Errorf("%s: errors of %q, want %q (%s)", name, got, known[name].rules, known[name].why)
		for i := range issues {
			if issues[i].Severity == validate.Error {
				t.Log(issues[i].String())
			}
		}
	}
	for name := range known {
		if files[name] == nil {
			t.Errorf("%s is not in the set", name)
		}
	}
}

// TestExamplesOfR4: no error in R4's own examples, but for those that are not valid.
func TestExamplesOfR4(t *testing.T) {
	files := examples(t)
	if len(files) != 238 {
		t.Errorf("%d examples, want 238", len(files))
	}
	judgeSet(t, core(), files, map[string]exception{
		"ActivityDefinition-blood-tubes-supply.json":        {"txt-2", emptyNarrative},
		"ActivityDefinition-heart-valve-replacement.json":   {"txt-2", emptyNarrative},
		"Bundle-10bb101f-a121-4264-a920-67be9cb82c74.json":  {"full-url", fullURL},
		"Bundle-3a0707d3-549e-4467-b8b8-5a2ab3800efe.json":  {"full-url", fullURL},
		"DeviceMetric-example.json":                         {"target", "parent is a DeviceDefinition; R4 allows a Device"},
		"DeviceUseStatement-example.json":                   {"target", "reasonReference is a Procedure, which R4 does not allow"},
		"EventDefinition-example.json":                      {"txt-2", emptyNarrative},
		"Observation-clinical-gender.json":                  {"target", "performer is an Encounter, which R4 does not allow"},
		"Questionnaire-qs1.json":                            {"min", "items of type display have no linkId; HL7's validator: the same 32"},
		"Questionnaire-zika-virus-exposure-assessment.json": {"txt-2", emptyNarrative},
	})
}

// TestExamplesOfUSCore: the examples of both packages conform to the profiles they claim, but for those that do not.
func TestExamplesOfUSCore(t *testing.T) {
	satO2 := exception{"binding", "a component has L/min, which the vital sign's profile does not allow (R4 asks it of every 2708-6); HL7's validator: Terminology_TX_NoValid_12"}
	for version, set := range map[string]struct {
		count int
		known map[string]exception
	}{
		"3.1.1": {84, map[string]exception{
			"Bundle-66c8856b-ba11-4876-8aa8-467aad8c11a2.json": {"full-url", fullURL},
			"Bundle-uscore-mo3.json":                           {"full-url", "a fullUrl is relative; HL7's validator: BUNDLE_ENTRY_URL_ABSOLUTE"},
			"DiagnosticReport-cardiology-report.json":          {"form", "Attachment.hash is (snip), no base64; HL7's validator: TYPE_SPECIFIC_CHECKS_DT_ATT_B64_DECODE_FAIL"},
			"Observation-satO2-fiO2.json":                      satO2,
		}},
		"6.1.0": {183, map[string]exception{
			"Bundle-66c8856b-ba11-4876-8aa8-467aad8c11a2.json": {"full-url", fullURL},
			"Bundle-docref-example-2.json":                     {"full-url", fullURL},
			"Observation-satO2-fiO2.json":                      satO2,
		}},
	} {
		t.Run(version, func(t *testing.T) {
			p, files := usCore(t, version)
			if len(files) != set.count {
				t.Errorf("%d examples, want %d", len(files), set.count)
			}
			judgeSet(t, validator(p), files, set.known)
		})
	}
}

// hl7Case is a case of HL7's validator: how many errors that finds.
type hl7Case struct {
	name, input, module, format, needs string
	errors                             bool
}

// hl7Cases reads the index of the validator's cases.
func hl7Cases(t testing.TB) []hl7Case {
	t.Helper()
	data, err := os.ReadFile(sharedtest.Path(t, "data", "fhir-validator-cases", "index.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	var out []hl7Case
	for _, row := range rows[1:] {
		get := func(name string) string { return row[column[name]] }
		needs := get("needs")
		if (get("self_contained") == "yes") != (needs == "") {
			t.Fatalf("%s: self-contained, and needs %q", get("name"), needs)
		}
		out = append(out, hl7Case{get("name"), get("input"), get("module"), get("format"), needs, get("errors") != "0"})
	}
	return out
}

// TestSelfContainedCases: agreement with HL7's validator on whether a resource has an error.
func TestSelfContainedCases(t *testing.T) {
	known := map[string]string{
		"bad-markdown-no-html":   "HTML in markdown is an error only under an option; bad-markdown is the same file in the default setting",
		"json-comments-2-yes":    "comments in JSON are allowed only under an option; json-comments-2-no is the same file in the default setting",
		"ips-nz-pj":              "displays that LOINC does not have: LOINC is licensed, and a display is a warning",
		"pat-example-extensions": "extensions whose definition is not at hand are not checked, and no error",
	}
	files := archive(t, "data", "fhir-validator-cases", "cases.tar.gz")
	c := core().Checker()
	agree, all := 0, 0
	for _, x := range hl7Cases(t) {
		if x.needs != "" || x.format != "json" {
			continue
		}
		all++
		data, ok := files["input/"+x.input]
		if !ok {
			t.Fatalf("%s: %s is not in the archive", x.name, x.input)
		}
		got := validate.HasError(c.Text(data))
		why, excepted := known[x.name]
		delete(known, x.name)
		switch {
		case got == x.errors && excepted:
			t.Errorf("%s agrees, and is listed as one that does not: %s", x.name, why)
		case got != x.errors && !excepted:
			t.Errorf("%s: errors: %v, want %v", x.name, got, x.errors)
		}
		if got == x.errors {
			agree++
		}
	}
	for name := range known {
		t.Errorf("%s is listed and not in the set", name)
	}
	if agree < 28 || all != 32 {
		t.Errorf("%d of %d agree, want 28 of 32", agree, all)
	}
	t.Logf("%d of %d agree", agree, all)
}
