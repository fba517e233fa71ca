package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

func parse(t *testing.T, text string) *fhir.Node {
	t.Helper()
	n, err := fhir.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCut keeps what decides, and nothing else.
func TestCut(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"resourceType":"StructureDefinition","id":"x","url":"u","text":{"status":"generated"},"differential":{},"mapping":[],"type":"Patient","snapshot":{"id":"s","element":[
			{"id":"Patient.x:a","path":"Patient.x","short":"no","min":0,"max":"*","sliceName":"a","slicing":{"discriminator":[{"type":"value","path":"code"}],"description":"no","rules":"open"},
			 "fixedCode":"f","patternCoding":{"code":"p"},"minValueDate":"2000","maxValueInteger":7,"maxLength":9,"meaningWhenMissing":"no","defaultValueCode":"no","mustSupport":true,
			 "type":[{"code":"Extension","profile":["p"]}],"constraint":[{"key":"k","severity":"error","human":"h","expression":"true","xpath":"no","source":"no"}],
			 "binding":{"strength":"required","description":"no","valueSet":"v","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet","valueCanonical":"m"},{"url":"other"}]}}]}}`,
			`{"resourceType":"StructureDefinition","snapshot":{"element":[{"binding":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet","valueCanonical":"m"}],"strength":"required","valueSet":"v"},` +
				`"constraint":[{"expression":"true","human":"h","key":"k","severity":"error"}],"fixedCode":"f","id":"Patient.x:a","max":"*","maxLength":9,"maxValueInteger":7,"min":0,"minValueDate":"2000","mustSupport":true,"path":"Patient.x","patternCoding":{"code":"p"},"sliceName":"a",` +
				`"slicing":{"discriminator":[{"path":"code","type":"value"}],"rules":"open"},"type":[{"code":"Extension","profile":["p"]}]}]},"type":"Patient","url":"u"}`},
		{`{"resourceType":"ValueSet","url":"u","title":"no","compose":{"lockedDate":"no","inactive":false,"include":[{"system":"s|2.1","concept":[{"code":"a","display":"no"}]}],"exclude":[{"valueSet":["v"]}]},"expansion":{}}`,
			`{"compose":{"exclude":[{"valueSet":["v"]}],"inactive":false,"include":[{"concept":[{"code":"a"}],"system":"s","version":"2.1"}]},"resourceType":"ValueSet","url":"u"}`},
		{`{"resourceType":"CodeSystem","url":"u","content":"complete","property":[{"code":"p","description":"no","type":"code"}],"concept":[{"code":"a","definition":"no","display":"A","property":[{"code":"deprecationDate","valueDateTime":"2000"}],"concept":[{"code":"b","designation":[],"property":[{"code":"p","valueCode":"x"}]}]}]}`,
			`{"concept":[{"code":"a","concept":[{"code":"b","property":[{"code":"p","valueCode":"x"}]}],"display":"A"}],"content":"complete","property":[{"code":"p","type":"code"}],"resourceType":"CodeSystem","url":"u"}`},
	} {
		n := parse(t, c.in)
		if got := string(cuts[n.ResourceType()](n).AppendCanonical(nil)); got != c.want {
			t.Errorf("cut to\n%s\nwant\n%s", got, c.want)
		}
	}
}

// TestMissing tells what stands in the way of working out a value set.
func TestMissing(t *testing.T) {
	d := decider{sets: map[string]*fhir.Node{}, systems: map[string]bool{"s": true, "part": false}}
	for name, compose := range map[string]string{
		"whole": `{"include":[{"system":"s"}]}`, "list": `{"include":[{"system":"far","concept":[{"code":"a"}]}]}`, "far": `{"include":[{"system":"far"},{"system":"s"}]}`,
		"part": `{"include":[{"system":"part"}]}`, "exclude": `{"include":[{"system":"s"}],"exclude":[{"system":"far","filter":[{}]}]}`, "import": `{"include":[{"valueSet":["far|1","whole"]}]}`,
		"lost": `{"include":[{"valueSet":["gone"]}]}`, "loop": `{"include":[{"valueSet":["loop"]}]}`, "units": `{"include":[{"system":"http://unitsofmeasure.org"}]}`,
		"some units": `{"include":[{"system":"http://unitsofmeasure.org","filter":[{}]}]}`,
	} {
		d.sets[name] = parse(t, `{"compose":`+compose+`}`)
	}
	for name, want := range map[string]string{
		"whole": "", "list": "", "far": "far", "part": "part", "exclude": "far", "import": "far", "lost": "gone", "loop": "loop", "units": "", "some units": "http://unitsofmeasure.org",
	} {
		if got := strings.Join(d.missing(name, 0), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestEncodeCoreIsDeterministic(t *testing.T) {
	list := func(text string) []*coreResource {
		return []*coreResource{{typ: "ValueSet", url: "a", text: bytes.Repeat([]byte(text), chunkSize)}, {typ: "ValueSet", url: "b", text: []byte("{}")}}
	}
	a, err := encodeCore(list("x"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := encodeCore(list("x"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := encodeCore(list("y"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) || !samePayload(a, b) || samePayload(a, c) {
		t.Errorf("the same resources give other bytes, or other ones the same digest")
	}
}
