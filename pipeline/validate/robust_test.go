package validate_test

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// circles are profiles that lead to each other through references, types and contents.
const circles = `[
{"resourceType":"StructureDefinition","url":"http://example.org/a","type":"Patient","kind":"resource","derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient",
 "differential":{"element":[
 {"id":"Patient.link.other","path":"Patient.link.other","type":[{"code":"Reference","targetProfile":["http://example.org/b","http://example.org/c"]}]}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/b","type":"Patient","kind":"resource","derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient",
 "differential":{"element":[{"id":"Patient.active","path":"Patient.active","min":1},
 {"id":"Patient.link.other","path":"Patient.link.other","type":[{"code":"Reference","targetProfile":["http://example.org/a","http://example.org/c"]}]}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/c","type":"Patient","kind":"resource","derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Patient",
 "differential":{"element":[{"id":"Patient.gender","path":"Patient.gender","min":1},
 {"id":"Patient.link","path":"Patient.link","slicing":{"discriminator":[{"type":"profile","path":"other.resolve()"}],"rules":"closed"}},
 {"id":"Patient.link:b","path":"Patient.link","sliceName":"b"},
 {"id":"Patient.link:b.other","path":"Patient.link.other","type":[{"code":"Reference","targetProfile":["http://example.org/b"]}]}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/name","type":"HumanName","kind":"complex-type","derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/HumanName",
 "differential":{"element":[{"id":"HumanName","path":"HumanName"},{"id":"HumanName.extension:x","path":"HumanName.extension","sliceName":"x","type":[{"code":"Extension","profile":["http://example.org/ext"]}]}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/ext","type":"Extension","kind":"complex-type","derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Extension",
 "differential":{"element":[{"id":"Extension.value[x]","path":"Extension.value[x]","type":[{"code":"HumanName","profile":["http://example.org/name"]}]}]}},
{"resourceType":"StructureDefinition","url":"http://example.org/items","type":"Questionnaire","kind":"resource","derivation":"constraint","baseDefinition":"http://hl7.org/fhir/StructureDefinition/Questionnaire",
 "differential":{"element":[{"id":"Questionnaire.item","path":"Questionnaire.item"},{"id":"Questionnaire.item.text","path":"Questionnaire.item.text","min":1},
 {"id":"Questionnaire.item.item","path":"Questionnaire.item.item","contentReference":"#Questionnaire.item"}]}}
]`

func circlesPackage(t testing.TB) *fhir.Package {
	t.Helper()
	list, err := fhir.Parse([]byte(circles))
	if err != nil {
		t.Fatal(err)
	}
	p, err := fhir.NewPackage("circles", "1", list.Items...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// repeated is a text around copies of a part.
func repeated(before, part string, n int, after string) string {
	return before + strings.TrimSuffix(strings.Repeat(part+",", n), ",") + after
}

// TestHostile: what is made to be dear ends, in time that grows with its size.
func TestHostile(t *testing.T) {
	v := validator(circlesPackage(t))
	c := v.Checker()
	var web strings.Builder // every Patient links to every other, by profiles that ask for each other
	web.WriteString(`{"resourceType":"Bundle","type":"collection","entry":[`)
	for i := range 40 {
		if i > 0 {
			web.WriteByte(',')
		}
		fmt.Fprintf(&web, `{"fullUrl":"http://x.org/Patient/%d","resource":{"resourceType":"Patient","id":"%d","meta":{"profile":["http://example.org/a"]},"active":true,"link":[`, i, i)
		for j := range 40 {
			if j > 0 {
				web.WriteByte(',')
			}
			fmt.Fprintf(&web, `{"type":"refer","other":{"reference":"Patient/%d"}}`, j)
		}
		web.WriteString(`]}}`)
	}
	web.WriteString(`]}`)
	var crowd strings.Builder
	crowd.WriteString(`{"resourceType":"Bundle","type":"collection","entry":[`)
	for i := range 100_000 {
		if i > 0 {
			crowd.WriteByte(',')
		}
		fmt.Fprintf(&crowd, `{"fullUrl":"http://x.org/Basic/%d","resource":{"resourceType":"Basic","id":"%d","code":{"text":"x"},"subject":{"reference":"Basic/%d"}}}`, i, i, (i+1)%100_000)
	}
	crowd.WriteString(`]}`)
	for name, x := range map[string]struct {
		text   string
		errors bool
	}{
		"brackets":                   {strings.Repeat("[", 1_000_000), true},
		"objects":                    {strings.Repeat(`{"a":`, 100_000), true},
		"extensions in extensions":   {`{"resourceType":"Patient","extension":[` + strings.Repeat(`{"url":"a","extension":[`, 400) + `{"url":"a","valueBoolean":true}` + strings.Repeat(`]}`, 400) + `]}`, true},
		"items in items":             {`{"resourceType":"Questionnaire","status":"draft","meta":{"profile":["http://example.org/items"]},"item":[` + strings.Repeat(`{"linkId":"1","type":"group","text":"x","item":[`, 300) + `{"linkId":"2","type":"display","text":"x"}` + strings.Repeat(`]}`, 300) + `]}`, true},
		"resources in Bundles":       {strings.Repeat(`{"resourceType":"Bundle","type":"collection","entry":[{"fullUrl":"urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0","resource":`, 200) + `{"resourceType":"Patient"}` + strings.Repeat(`}]}`, 200), true},
		"resources in Parameters":    {strings.Repeat(`{"resourceType":"Parameters","parameter":[{"name":"a","resource":`, 200) + `{"resourceType":"Patient"}` + strings.Repeat(`}]}`, 200), true},
		"many names":                 {repeated(`{"resourceType":"Patient","name":[`, `{"family":"x"}`, 100_000, `]}`), false},
		"many unknown elements":      {repeated(`{"resourceType":"Patient","name":[`, `{"x":1}`, 100_000, `]}`), true},
		"many contained":             {repeated(`{"resourceType":"Patient","contained":[`, `{"resourceType":"Patient","id":"a"}`, 50_000, `]}`), true},
		"many codings":               {repeated(`{"resourceType":"Basic","code":{"coding":[`, `{"system":"http://loinc.org","code":"1-8"}`, 100_000, `]}}`), false},
		"many items":                 {repeated(`{"resourceType":"Questionnaire","status":"draft","item":[`, `{"linkId":"1","type":"string"}`, 20_000, `]}`), true},
		"a circle of profiles":       {web.String(), false},
		"a hundred thousand entries": {crowd.String(), false},
		"a long text":                {`{"resourceType":"Patient","name":[{"family":"` + strings.Repeat("x", 1<<20) + `"}]}`, false},
		"a long narrative":           {`{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">` + strings.Repeat("<b>", 100_000) + `"}}`, true},
		"names in a circle":          {`{"resourceType":"Patient","name":[{"family":"x","extension":[` + strings.Repeat(`{"url":"http://example.org/ext","valueHumanName":{"family":"x","extension":[`, 30) + `{"url":"http://example.org/ext","valueHumanName":{"family":"x"}}` + strings.Repeat(`]}}`, 30) + `]}]}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			issues := c.Text([]byte(x.text))
			runtime.ReadMemStats(&after)
			times := (after.TotalAlloc - before.TotalAlloc) / uint64(len(x.text))
			t.Logf("%d bytes, %d issues, memory for %d times the text", len(x.text), len(issues), times)
			if times > 400 {
				t.Errorf("it took memory for %d times the text", times)
			}
			if validate.HasError(issues) != x.errors {
				t.Errorf("errors: %v", !x.errors)
				for i := range min(5, len(issues)) {
					t.Log(issues[i].String())
				}
			}
		})
	}
	for _, u := range v.NotChecked() {
		if u.Kind != "value set" {
			t.Log("not checked:", u)
		}
	}
}

// withoutNotes compares issues; what is not checked is another matter.
var sameIssues = cmpopts.EquateEmpty()

// TestCheckerForgets: a Checker that checked all the examples checks each as a fresh one does, in any order.
func TestCheckerForgets(t *testing.T) {
	p, files := usCore(t, "6.1.0")
	maps.Copy(files, examples(t))
	v := validator(p)
	used := v.Checker()
	names := slices.Sorted(maps.Keys(files))
	first := map[string][]validate.Issue{}
	for _, name := range names {
		first[name] = slices.Clone(used.Text(files[name]))
	}
	slices.Reverse(names)
	for _, name := range names {
		if diff := cmp.Diff(first[name], used.Text(files[name]), sameIssues); diff != "" {
			t.Errorf("%s: judged again (-first +again):\n%s", name, diff)
		}
		if diff := cmp.Diff(first[name], v.Checker().Text(files[name]), sameIssues); diff != "" {
			t.Errorf("%s: judged by a fresh one (-first +fresh):\n%s", name, diff)
		}
	}
}

// TestSharedValidator: goroutines on one Validator, which compiles while they check, get what one alone gets.
func TestSharedValidator(t *testing.T) {
	p, files := usCore(t, "6.1.0")
	alone := validator(p).Checker()
	want := map[string][]validate.Issue{}
	for name, data := range files {
		want[name] = slices.Clone(alone.Text(data))
	}
	v := validator(p)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			c := v.Checker()
			for name, data := range files { // each in an order of its own
				if diff := cmp.Diff(want[name], c.Text(data), sameIssues); diff != "" {
					t.Errorf("%s (-alone +shared):\n%s", name, diff)
				}
			}
		})
	}
	group.Wait()
}

// FuzzText: whatever the text, there is a verdict, the same the second time, and its places are in the text.
func FuzzText(f *testing.F) {
	for _, base := range bases {
		f.Add([]byte(base))
	}
	f.Add([]byte(conforming))
	f.Add([]byte(`{"resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-nationality","extension":[{}]}],"_gender":[null]}`))
	c := validator(madePackage(f), circlesPackage(f)).Checker()
	f.Fuzz(func(t *testing.T, data []byte) {
		first := slices.Clone(c.Text(data))
		if diff := cmp.Diff(first, c.Text(data), sameIssues); diff != "" {
			t.Fatal(diff)
		}
		for i := range first {
			if x := &first[i]; x.At < 0 || x.At > len(data) || x.Severity == 0 || x.Rule == "" || x.Message == "" {
				t.Fatalf("%+v", *x)
			}
		}
	})
}
