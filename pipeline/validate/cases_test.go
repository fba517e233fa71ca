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
	"matchetype":    "compares two resources, which is not validation",
	"cdshooks":      "logical models of CDS Hooks",
	"shc":           "SMART health cards",
	"measure":       "answers of a MeasureReport against its Measure",
	"questionnaire": "answers of a QuestionnaireResponse against its Questionnaire",
	"sd":            "the making of snapshots, and rules about definitions",
	"tx":            "asks a terminology server",
}

// otherwise are the cases on which this validator and HL7's do not agree, each with the reason.
var otherwise = map[string]string{
	"AuditEvent-slice23-second":    "its extension is not at hand without the profile: not checked here, an error there",
	"target-ref-profile-empty":     "extensions that are not at hand: not checked here, an error there; and a display of ICD-10",
	"obs-percent":                  "R4 4.0.1 requires the unit of a vital sign's component; they judge by a later edition of the profile",
	"bundle-bad-by-param":          "the profile of an entry is given as an option of the case",
	"ext-derived-circle":           "the case is about the definition's own derivation; the same file without it has no error",
	"list-bad-reference":           "XXX/_history/1 is not a reference of R4 (references.html#literal); a warning there",
	"patient_as_operator_issue-r4": "`value as String` yields a FHIR string there; here System.String is another type (FHIRPath 2.0, section 10), so the rule has no result",
	"pat-security-bad-string1":     "tags in a string are an error only under an option",
}

// TestCasesWithDefinitions: agreement with HL7's validator on the cases that bring profiles, extensions, value sets or
// packages, and on those in XML, which are read into the tree of their JSON.
func TestCasesWithDefinitions(t *testing.T) {
	files := archive(t, "data", "fhir-validator-cases", "cases.tar.gz")
	of := supporting(t, files)
	usCore6, _ := usCore(t, "6.1.0")
	unread := map[string]bool{"shlink": true, "test-ndjson": true, "xml-bad-entities": true} // a link, NDJSON, entities
	met := map[string]bool{}
	agree, all := map[string]int{}, map[string]int{}
	for _, x := range hl7Cases(t) {
		if x.needs == "" && x.format == "json" || outOfScope[x.module] != "" {
			continue
		}
		n, err := readCase(x.input, files["input/"+x.input])
		if err != nil {
			if !unread[x.name] || !x.errors {
				t.Errorf("%s: %v", x.name, err)
			}
			continue
		}
		v := validator(casePackages(t, x, n, files, of, usCore6)...)
		issues := v.Checker().Resource(n)
		all[x.format]++
		if validate.HasError(issues) == x.errors {
			agree[x.format]++
			continue
		}
		met[x.name] = true
		if otherwise[x.name] != "" {
			continue
		}
		t.Errorf("%s (%s, needs %q): errors: %v, want %v", x.name, x.input, x.needs, !x.errors, x.errors)
		for i := range issues {
			t.Log(issues[i].String())
		}
		t.Log(v.NotChecked())
	}
	for name, why := range otherwise {
		if !met[name] {
			t.Errorf("%s agrees, and is listed as one that does not: %s", name, why)
		}
	}
	for format, floor := range map[string][2]int{"json": {31, 35}, "xml": {46, 50}} {
		t.Logf("%s: %d of %d agree", format, agree[format], all[format])
		if agree[format] < floor[0] || all[format] != floor[1] {
			t.Errorf("%s: %d of %d agree, want %d of %d", format, agree[format], all[format], floor[0], floor[1])
		}
	}
}

// casePackages are the packages that a case is checked by. What it needs only for its profile is not loaded: the index
// has the outcome without it.
func casePackages(t *testing.T, x hl7Case, n *fhir.Node, files map[string][]byte, of map[string]*fhir.Node, usCore *fhir.Package) []*fhir.Package {
	t.Helper()
	var out []*fhir.Package
	if strings.Contains(x.needs, "supporting") || strings.Contains(x.needs, "profiles") {
		p, err := fhir.NewPackage("case", "", needed(n, of, x.input)...)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	if x.module == "package-versioning" { // the packages of the version that the case names
		for name, data := range files {
			if version, ok := strings.CutSuffix(name, ".tgz"); ok && strings.Contains(x.name, version[strings.LastIndexByte(version, '#')+1:]) {
				p, err := fhir.ReadPackage(bytes.NewReader(data), name)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, p)
			}
		}
	} else if strings.Contains(x.needs, "packages") {
		out = append(out, usCore)
	}
	return out
}

// TestCasesByTheirProfile checks cases by the profile that each is for. What is wanted follows from the profile and the
// resource: the outcomes at hand are those without it.
func TestCasesByTheirProfile(t *testing.T) {
	files := archive(t, "data", "fhir-validator-cases", "cases.tar.gz")
	of := supporting(t, files)
	for _, x := range []struct{ input, profile, rules string }{
		{"bundle-slice-good.xml", "bundle-slice-profile-master.xml", ""},
		{"bundle-slice-bad2.xml", "bundle-slice-profile-master.xml", "slice slice-min"}, // the Patient conforms to no slice of a closed list
		{"type-subtype-slicing1.json", "type-subtype-slicing-sd.json", ""},
		{"type-subtype-slicing3.json", "type-subtype-slicing-sd.json", "max slice-min"},
		{"res-inv-example-good.json", "res-inv-profile-bundle.json", ""},
		{"res-inv-example-bad.json", "res-inv-profile-bundle.json", "uab-1"}, // %resource is the entry's
		{"mycommunication.invalid.json", "mycommunication.structureDefinition.xml", "target"},
		{"obs-value-min.json", "obs-value-min-profile.json", "range"},
		{"obs-value-min-g.json", "obs-value-min-profile.json", "range"}, // compared across units
		{"fixed-quantity-binding-observation-2.json", "fixed-quantity-binding-structuredef.json", "binding"},
		{"extension-slicing-instance.xml", "extension-slicing.xml", ""},
		{"slice-by-polymorphic-type.xml", "slice-by-polymorphic-type-profile.xml", ""},
		{"slicing-types-by-string.xml", "slicing-types-by-string-profile.xml", ""},
		{"patient-min-fixed.json", "patient-min-profile-fixed.xml", ""},
	} {
		data, ok := files["input/"+x.input]
		if !ok || of[x.profile] == nil {
			t.Errorf("%s or %s is not in the archive", x.input, x.profile)
			continue
		}
		n, err := readCase(x.input, data)
		if err != nil {
			t.Errorf("%s: %v", x.input, err)
			continue
		}
		p, err := fhir.NewPackage("case", "", append(needed(of[x.profile], of, x.input), of[x.profile])...)
		if err != nil {
			t.Fatal(err)
		}
		v := validator(p)
		url := of[x.profile].Get("url").Str()
		if !v.HasProfile(url) {
			t.Errorf("%s: the profile cannot be used", x.profile)
		}
		issues := v.Checker().Resource(n, url)
		if got := strings.Join(errorRules(issues), " "); got != x.rules {
			t.Errorf("%s: errors of %q, want %q", x.input, got, x.rules)
		}
		for _, u := range v.NotChecked() {
			if u.Kind == "slice" && !strings.HasPrefix(x.input, "res-inv") {
				t.Errorf("%s: %v", x.input, u)
			}
		}
	}
}
