package fhir

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

func TestTypes(t *testing.T) {
	if err := LoadDefinitions(); err != nil {
		t.Fatal(err)
	}
	if n := len(Resources()); n != 146 || !slices.IsSorted(Resources()) {
		t.Errorf("%d resources, want R4's 146, sorted", n)
	}
	if len(DefinitionsDigest()) != 64 {
		t.Errorf("digest %q", DefinitionsDigest())
	}
	patient := Lookup("Patient")
	var line []string
	for typ := patient; typ != nil; typ = typ.Base {
		line = append(line, typ.Name)
	}
	if diff := cmp.Diff([]string{"Patient", "DomainResource", "Resource"}, line); diff != "" {
		t.Errorf("bases (-want +got)\n%s", diff)
	}
	var names []string
	for _, e := range patient.Elements {
		names = append(names, e.Name)
	}
	want := strings.Fields(`id meta implicitRules language text contained extension modifierExtension identifier active name
		telecom gender birthDate deceased address maritalStatus multipleBirth photo contact communication
		generalPractitioner managingOrganization link`)
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("elements of Patient (-want +got)\n%s", diff)
	}
	if Lookup("Nothing") != nil || Lookup("") != nil {
		t.Errorf("a type that R4 does not have")
	}
	code := Lookup("code")
	if code.Kind != KindPrimitive || !code.Is("string") || !code.Is("Element") || code.Is("uri") || code.Pattern != `[^\s]+(\s[^\s]+)*` {
		t.Errorf("code: %v %q", code.Kind, code.Pattern)
	}
	if (*Type)(nil).Is("Patient") {
		t.Errorf("nil is a Patient")
	}
	for name, abstract := range map[string]bool{"Element": true, "BackboneElement": true, "Resource": true, "DomainResource": true, "Patient": false, "Extension": false} {
		if Lookup(name).Abstract != abstract {
			t.Errorf("%s: abstract is not %v", name, abstract)
		}
	}
	if q := Lookup("SimpleQuantity"); q == nil || !q.Is("Quantity") {
		t.Errorf("SimpleQuantity is not a Quantity")
	}
}

func TestElements(t *testing.T) {
	observation := Lookup("Observation")
	value, typ := observation.Element("value")
	if value == nil || typ != nil || !value.Choice || value.Path != "Observation.value[x]" || len(value.Types) != 11 {
		t.Fatalf("value[x]: %+v %v", value, typ)
	}
	quantity, typ := observation.Element("valueQuantity")
	if quantity != value || typ != Lookup("Quantity") || value.JSONName(typ) != "valueQuantity" || value.JSONName(Lookup("dateTime")) != "valueDateTime" {
		t.Errorf("valueQuantity")
	}
	if value.JSONName(Lookup("Money")) != "" || value.JSONName(nil) != "" {
		t.Errorf("a choice that is not allowed has a name")
	}
	for _, name := range []string{"valueMoney", "Value", "value[x]", "_value", "resourceType", ""} {
		if e, _ := observation.Element(name); e != nil {
			t.Errorf("%s is an element", name)
		}
	}
	if e, _ := (*Type)(nil).Element("id"); e != nil {
		t.Errorf("nil has elements")
	}
	element := func(typ, name string) *Element {
		t.Helper()
		e, _ := Lookup(typ).Element(name)
		if e == nil {
			t.Fatalf("%s.%s is not there", typ, name)
		}
		return e
	}
	status := element("Observation", "status")
	if status.Min != 1 || status.Max != 1 || status.Repeats() || !status.Modifier || !status.Summary || status.Types[0].Name != "code" {
		t.Errorf("Observation.status: %+v", status)
	}
	if b := status.Binding; !b.Required() || b.ValueSet != "http://hl7.org/fhir/ValueSet/observation-status" || !b.Codes.HasCode("final") || b.Codes.HasCode("Final") {
		t.Errorf("Observation.status: binding %+v", b)
	}
	if b := element("Observation", "code").Binding; b == nil || b.Strength != "example" || b.Codes != nil || b.Required() {
		t.Errorf("Observation.code: binding %+v", b)
	}
	if e := element("Observation", "category"); e.Max != Unbounded || !e.Repeats() {
		t.Errorf("Observation.category: max %d", e.Max)
	}
	if diff := cmp.Diff([]string{"Device", "Group", "Location", "Patient"}, element("Observation", "subject").Targets); diff != "" {
		t.Errorf("Observation.subject: targets (-want +got)\n%s", diff)
	}
	if e := element("Observation", "focus"); len(e.Targets) != 0 {
		t.Errorf("Observation.focus: targets %v, want any", e.Targets)
	}
	if a, b := element("Patient", "id"), element("HumanName", "id"); a.Types[0].Name != "id" || b.Types[0].Name != "string" {
		t.Errorf("ids are of %s and %s", a.Types[0].Name, b.Types[0].Name)
	}
	if e := element("Extension", "url"); e.Types[0].Name != "uri" || e.Min != 1 {
		t.Errorf("Extension.url: %+v", e)
	}
	if e := element("Extension", "value"); len(e.Types) != 50 {
		t.Errorf("Extension.value[x] has %d types, want 50", len(e.Types))
	}
	if e := element("Patient", "contained"); e.Types[0] != Lookup("Resource") {
		t.Errorf("contained is of %s", e.Types[0].Name)
	}
	if e := element("Narrative", "div"); e.Types[0].Name != "xhtml" {
		t.Errorf("div is of %s", e.Types[0].Name)
	}
	item, typ := Lookup("Questionnaire.item").Element("item")
	if item == nil || typ != Lookup("Questionnaire.item") || typ.Kind != KindBackbone || !typ.Is("BackboneElement") || item.Path != "Questionnaire.item.item" {
		t.Errorf("Questionnaire.item.item does not refer to itself")
	}
	if repeat := Lookup("Timing.repeat"); repeat == nil || repeat.Kind != KindBackbone || repeat.Is("BackboneElement") || !repeat.Is("Element") {
		t.Errorf("Timing.repeat")
	}
	if e := element("Dosage.doseAndRate", "dose"); !slices.Contains(e.Profiles, "http://hl7.org/fhir/StructureDefinition/SimpleQuantity") {
		t.Errorf("dose: profiles %v", e.Profiles)
	}
}

func TestInvariants(t *testing.T) {
	keys := func(list []Invariant) string {
		var keys []string
		for _, i := range list {
			if i.Human == "" || i.Severity != "error" && i.Severity != "warning" {
				t.Errorf("%s: %+v", i.Key, i)
			}
			keys = append(keys, i.Key)
		}
		return strings.Join(keys, " ")
	}
	for name, want := range map[string]string{
		"Observation":     "dom-2 dom-3 dom-4 dom-5 dom-6 obs-6 obs-7",
		"Patient.contact": "ele-1 pat-1",
		"Extension":       "ele-1 ext-1",
		"Quantity":        "ele-1 qty-3",
		"SimpleQuantity":  "ele-1 qty-3 sqty-1",
		"code":            "ele-1",
	} {
		if got := keys(Lookup(name).Invariants); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	low, _ := Lookup("Observation.referenceRange").Element("low")
	if low == nil || keys(low.Invariants) != "" {
		t.Errorf("referenceRange.low: invariants of its type stand at the element")
	}
	div, _ := Lookup("Narrative").Element("div")
	if got := keys(div.Invariants); got != "txt-1 txt-2" {
		t.Errorf("Narrative.div: %s", got)
	}
}

func TestCodeSets(t *testing.T) {
	set := ValueSet("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1")
	if diff := cmp.Diff([]string{"female", "male", "other", "unknown"}, set.Codes()); diff != "" {
		t.Errorf("gender (-want +got)\n%s", diff)
	}
	const system = "http://hl7.org/fhir/administrative-gender"
	if got, ok := set.System("male"); !ok || got != system || !set.Has(system, "male") || set.Has("", "male") || set.Has(system, "m") || set.HasCode("") {
		t.Errorf("male is of %q", got)
	}
	// A code of two systems has no one system.
	types := ValueSet("http://hl7.org/fhir/ValueSet/all-types")
	if types.Len() < 200 || len(types.Systems()) != 3 || !types.HasCode("Patient") || !types.HasCode("Quantity") {
		t.Errorf("all-types: %d codes of %v", types.Len(), types.Systems())
	}
	two := &CodeSet{entries: []codeEntry{{"a", "x"}, {"a", "y"}, {"b", "x"}}}
	if _, ok := two.System("a"); ok || !two.Has("y", "a") || two.Has("y", "b") || len(two.Codes()) != 2 {
		t.Errorf("a code of two systems")
	}
	var none *CodeSet
	if none.HasCode("a") || none.Has("", "") || none.Codes() != nil {
		t.Errorf("a nil set has codes")
	}
	// What cannot be listed is not taken for listed.
	format, _ := Lookup("CapabilityStatement").Element("format")
	if b := format.Binding; b.Strength != "required" || b.Codes != nil {
		t.Errorf("MIME types are listed")
	}
	// Every other required binding is.
	unlisted := map[string]bool{}
	for _, name := range allTypes(t) {
		for _, e := range Lookup(name).Elements {
			if e.Binding.Required() && e.Binding.Codes == nil {
				unlisted[e.Binding.ValueSet] = true
			}
			if e.Binding != nil && !e.Binding.Required() && e.Binding.Codes != nil {
				t.Errorf("%s: codes of a binding that is not required", e.Path)
			}
		}
	}
	want := map[string]bool{
		"http://hl7.org/fhir/ValueSet/mimetypes": true, "http://hl7.org/fhir/ValueSet/ucum-units": true, "http://loinc.org/vs/LL379-9": true,
	}
	if diff := cmp.Diff(want, unlisted); diff != "" {
		t.Errorf("required value sets without codes (-want +got)\n%s", diff)
	}
}

func allTypes(t *testing.T) []string {
	t.Helper()
	table, err := definitions()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range table.types {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func TestCompartment(t *testing.T) {
	for resource, want := range map[string][]string{
		"Observation": {"subject", "performer"},
		"Patient":     {"link.other"},
		"Condition":   {"subject", "asserter"},
		"Appointment": {"participant.actor"},
		"Procedure":   {"subject", "performer.actor"},
		"Medication":  nil,
	} {
		if diff := cmp.Diff(want, Compartment(resource)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", resource, diff)
		}
	}
	// Each path leads to references.
	for _, resource := range Resources() {
		for _, path := range Compartment(resource) {
			typ := Lookup(resource)
			for name := range strings.SplitSeq(path, ".") {
				e, next := typ.Element(name)
				if e == nil {
					t.Fatalf("%s.%s: no element %s", resource, path, name)
				}
				if typ = next; e.Choice {
					typ = e.Types[0]
				}
			}
			if typ.Name != "Reference" {
				t.Errorf("%s.%s is of %s", resource, path, typ.Name)
			}
		}
	}
	Compartment("Observation")[0] = "changed"
	if Compartment("Observation")[0] != "subject" {
		t.Errorf("a caller changed the table")
	}
}

// TestTableIsWhole walks the table: every link leads somewhere, every element is found by each of its JSON names.
func TestTableIsWhole(t *testing.T) {
	elements := 0
	for _, name := range allTypes(t) {
		typ := Lookup(name)
		if typ.Kind == KindPrimitive && typ.valid == nil {
			t.Errorf("%s: its form is not checked", name)
		}
		if typ.Kind != KindPrimitive && typ.Valid("x") {
			t.Errorf("%s: has a form", name)
		}
		for _, e := range typ.Elements {
			elements++
			if len(e.Types) == 0 || e.Max == 0 && name != "SimpleQuantity" && name != "MoneyQuantity" && name != "xhtml" || e.Max != Unbounded && e.Max < e.Min {
				t.Errorf("%s: %d types, %d..%d", e.Path, len(e.Types), e.Min, e.Max)
			}
			for _, of := range e.Types {
				found, foundType := typ.Element(e.JSONName(of))
				if found != e || foundType != of {
					t.Errorf("%s: not found as %s", e.Path, e.JSONName(of))
				}
			}
		}
	}
	t.Logf("%d types, %d elements, %d bytes embedded", len(allTypes(t)), elements, len(embedded))
}

// TestCommittedTable makes what is embedded again, in a process of its own: the committed files are what HL7's
// definitions give, and a changed one is told apart. It takes some seconds.
func TestCommittedTable(t *testing.T) {
	in := sharedtest.Path(t, "data", "fhir-r4-definitions")
	check := func(flags ...string) ([]byte, error) {
		cmd := exec.Command("go", append([]string{"run", "./scripts/definitions", "-check", "-in", in}, flags...)...)
		cmd.Dir = sharedtest.ModuleRoot(t)
		return cmd.CombinedOutput()
	}
	if out, err := check(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for flag, data := range map[string][]byte{"-out": embedded, "-core": embeddedCore} {
		changed := filepath.Join(t.TempDir(), "changed")
		data = bytes.Clone(data)
		data[len(tableMagic)] ^= 1
		if err := os.WriteFile(changed, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := check(flag, changed); err == nil || !strings.Contains(string(out), "is not what") {
			t.Errorf("%s: a changed file passes (%v)\n%s", flag, err, out)
		}
	}
}

// TestDecodeIsCheap: every command decodes the table as it starts. How long that takes is what BenchmarkDecode says.
func TestDecodeIsCheap(t *testing.T) {
	count, bytes := memory(func() {
		if _, err := decodeTable(embedded); err != nil {
			t.Fatal(err)
		}
	})
	if len(embedded) > 1_500_000 || count > 25_000 || bytes > 8<<20 {
		t.Errorf("the table has %d bytes; decoding takes %d allocations, %d bytes", len(embedded), count, bytes)
	}
}

// TestDamagedTable cuts and changes the table: always an error, never a panic.
func TestDamagedTable(t *testing.T) {
	for _, cut := range []int{0, 1, len(tableMagic), len(tableMagic) + sha256.Size, len(embedded) / 2, len(embedded) - 1} {
		if _, err := decodeTable(embedded[:cut]); err == nil {
			t.Errorf("cut at %d: accepted", cut)
		}
	}
	for _, at := range []int{0, len(tableMagic), len(embedded) / 2} {
		damaged := bytes.Clone(embedded)
		damaged[at] ^= 1
		if _, err := decodeTable(damaged); err == nil {
			t.Errorf("changed at %d: accepted", at)
		}
	}
	// With a digest that fits: the payload's own checks.
	payload := []byte{1, 3, 'a', 'b', 'c', 0, 0, 1, 0, 9}
	for n := range payload {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		if _, err := zip.Write(payload[:n+1]); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(payload[:n+1])
		if _, err := decodeTable(slices.Concat([]byte(tableMagic), sum[:], b.Bytes())); err == nil {
			t.Errorf("payload of %d bytes: accepted", n+1)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeTable(embedded); err != nil {
			b.Fatal(err)
		}
	}
}
