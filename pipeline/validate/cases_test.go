package validate_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// supporting are the definitions that HL7's cases bring, by file.
func supporting(t *testing.T, files map[string][]byte) map[string]*fhir.Node {
	t.Helper()
	out := map[string]*fhir.Node{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		short, ok := strings.CutPrefix(name, "supporting/")
		if !ok {
			continue
		}
		n, err := readCase(short, files[name])
		if err == nil {
			out[short] = n
		}
	}
	return out
}

// readCase reads JSON or XML.
func readCase(name string, data []byte) (*fhir.Node, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if strings.HasSuffix(name, ".xml") {
		return fromXML(data)
	}
	return fhir.Parse(data)
}

// mentioned collects the texts of a tree that could name a definition.
func mentioned(n *fhir.Node, into map[string]bool) {
	if n == nil {
		return
	}
	if n.Kind == fhir.String && strings.Contains(n.Text, ":") {
		url, _, _ := strings.Cut(n.Text, "|")
		into[url] = true
	}
	for _, item := range n.Items {
		mentioned(item, into)
	}
	for _, m := range n.Members {
		mentioned(m.Value, into)
	}
}

// needed are the definitions that a resource names, and those that these name in turn. The index of the cases does not
// say which files belong to which case: where several define one version of a URL, the one is taken whose name is most
// like the case's.
func needed(n *fhir.Node, of map[string]*fhir.Node, like string) []*fhir.Node {
	byURL := map[string]map[string]string{}
	for _, file := range slices.Sorted(maps.Keys(of)) {
		url, version := of[file].Get("url").Str(), of[file].Get("version").Str()
		if url == "" {
			continue
		}
		if byURL[url] == nil {
			byURL[url] = map[string]string{}
		}
		if other, ok := byURL[url][version]; !ok || common(file, like) > common(other, like) {
			byURL[url][version] = file
		}
	}
	var out []*fhir.Node
	names, done := map[string]bool{}, map[string]bool{}
	mentioned(n, names)
	for more := true; more; {
		more = false
		for url := range maps.Clone(names) {
			for _, file := range byURL[url] {
				if !done[file] {
					done[file], more = true, true
					out = append(out, of[file])
					mentioned(of[file], names)
				}
			}
		}
	}
	return out
}

func common(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// outOfScope are kinds of cases that ask for what this validator does not do.
var outOfScope = map[string]string{
	"matchetype":    "compares two resources, which is no validation",
	"cdshooks":      "logical models of CDS Hooks",
	"shc":           "SMART health cards",
	"measure":       "answers of a MeasureReport against its Measure",
	"questionnaire": "answers of a QuestionnaireResponse against its Questionnaire",
	"sd":            "the making of snapshots, and rules about definitions",
	"tx":            "asks a terminology server",
}

func TestCasesWithDefinitions(t *testing.T) {
	files := archive(t, "data", "fhir-validator-cases", "cases.tar.gz")
	of := supporting(t, files)
	core6, _ := usCore(t, "6.1.0")
	agree, all := map[string]int{}, map[string]int{}
	for _, x := range hl7Cases(t) {
		if x.needs == "" && x.format == "json" || outOfScope[x.module] != "" {
			continue
		}
		data, ok := files["input/"+x.input]
		if !ok {
			t.Logf("%s: no file", x.name)
			continue
		}
		n, err := readCase(x.input, data)
		if err != nil {
			t.Logf("UNREAD %s errors=%v: %v", x.name, x.errors, err)
			continue
		}
		var packages []*fhir.Package
		if strings.Contains(x.needs, "supporting") || strings.Contains(x.needs, "profiles") {
			p, err := fhir.NewPackage("case", "", needed(n, of, x.input)...)
			if err != nil {
				t.Fatal(err)
			}
			packages = append(packages, p)
		}
		if x.module == "package-versioning" {
			for name, data := range files {
				if version, ok := strings.CutSuffix(name, ".tgz"); ok && strings.Contains(x.name, version[strings.LastIndexByte(version, '#')+1:]) {
					p, err := fhir.ReadPackage(bytes.NewReader(data), name)
					if err != nil {
						t.Fatal(err)
					}
					packages = append(packages, p)
				}
			}
		} else if strings.Contains(x.needs, "packages") {
			packages = append(packages, core6)
		}
		v := validator(packages...)
		issues := v.Checker().Resource(n)
		got := validate.HasError(issues)
		sort := x.format + " " + x.needs
		all[sort]++
		if got == x.errors {
			agree[sort]++
			continue
		}
		t.Logf("DISAGREE %s (%s, needs %s, %s): want errors %v", x.name, x.module, x.needs, x.input, x.errors)
		for i := range issues {
			t.Log("   ", issues[i].String())
		}
		for _, u := range v.NotChecked() {
			if u.Kind != "value set" {
				t.Log("    ", u)
			}
		}
	}
	for _, sort := range slices.Sorted(maps.Keys(all)) {
		t.Logf("%s: %d of %d", sort, agree[sort], all[sort])
	}
}
