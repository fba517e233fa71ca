package validate_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// TestConstraintsAskTheTerminology has a profile whose constraint is about a value set: one code is in it, one is not, and
// of one of a system that is not at hand nobody knows.
func TestConstraintsAskTheTerminology(t *testing.T) {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	for name, text := range map[string]string{
		"package.json": `{"name":"made.up","version":"1","fhirVersions":["4.0.1"]}`,
		"set.json":     `{"resourceType":"ValueSet","url":"http://x/set","compose":{"include":[{"system":"http://near","concept":[{"code":"a"}]},{"system":"http://far"}]}}`,
		"profile.json": `{"resourceType":"StructureDefinition","url":"http://x/profile","name":"P","kind":"resource","abstract":false,"type":"Basic","derivation":"constraint",
			"baseDefinition":"http://hl7.org/fhir/StructureDefinition/Basic","snapshot":{"element":[{"id":"Basic","path":"Basic","min":0,"max":"*",
			"constraint":[{"key":"x-1","severity":"error","human":"The code is in the set.","expression":"code.memberOf('http://x/set')"}]}]}}`,
	} {
		if err := out.WriteHeader(&tar.Header{Name: "package/" + name, Mode: 0o600, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := fhir.ReadPackage(&b, "p")
	if err != nil {
		t.Fatal(err)
	}
	v := validate.New(terminology.NewStore(fhir.Core(), p), p, fhir.Core())
	c := v.Checker()
	for coding, broken := range map[string]bool{`"system":"http://near","code":"a"`: false, `"system":"http://near","code":"b"`: true, `"system":"http://far","code":"a"`: false} {
		found := false
		for _, issue := range c.Text([]byte(`{"resourceType":"Basic","code":{"coding":[{`+coding+`}]}}`), "http://x/profile") {
			if issue.Rule == "x-1" {
				found = true
			} else {
				t.Errorf("%s: %s %s", coding, issue.Rule, issue.Message)
			}
		}
		if found != broken {
			t.Errorf("%s: the constraint is broken: %v", coding, found)
		}
	}
	unknown := int64(0)
	for _, u := range v.NotChecked() {
		if u.Kind == "constraint" && u.Name == "http://x/profile#x-1" {
			unknown += u.Count
		}
	}
	if unknown != 1 {
		t.Errorf("the constraint could not be judged %d times, want 1: %v", unknown, v.NotChecked())
	}
}
