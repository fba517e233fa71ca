package fhir

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// eachExample calls use for each of the standard's example resources that are at hand.
func eachExample(t *testing.T, use func(name string, data []byte)) {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", "fhir-r4-examples", "examples.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(header.Name, ".json") {
			continue
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		count++
		use(header.Name, data)
	}
	if count != 238 {
		t.Errorf("%d examples, want 238", count)
	}
}

// TestExamplesRoundTrip reads and writes all examples: the same value as encoding/json sees, before and after.
func TestExamplesRoundTrip(t *testing.T) {
	eachExample(t, func(name string, data []byte) {
		n, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		want, err := decodeStd(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(plainValue(n), want) {
			t.Errorf("%s: another value than encoding/json's", name)
		}
		canonical := n.AppendCanonical(nil)
		if got, err := decodeStd(canonical); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the canonical form is another value (%v)", name, err)
		}
		again, err := Parse(canonical)
		if err != nil || !bytes.Equal(again.AppendCanonical(nil), canonical) || !again.Equal(n) {
			t.Errorf("%s: the canonical form of the canonical form differs (%v)", name, err)
		}
	})
}

// shuffled writes a value with the members of each object in a drawn order.
func shuffled(n *Node, random *rand.Rand) []byte {
	out := n.Clone()
	var turn func(n *Node)
	turn = func(n *Node) {
		random.Shuffle(len(n.Members), func(i, j int) { n.Members[i], n.Members[j] = n.Members[j], n.Members[i] })
		for _, m := range n.Members {
			turn(m.Value)
		}
		for _, item := range n.Items {
			turn(item)
		}
	}
	turn(out)
	return inOrder(out, nil)
}

// inOrder writes members in the order that they have.
func inOrder(n *Node, dst []byte) []byte {
	switch n.Kind {
	case Object:
		dst = append(dst, '{')
		for i, m := range n.Members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = inOrder(m.Value, append(AppendString(dst, m.Name), ':'))
		}
		return append(dst, '}')
	case Array:
		dst = append(dst, '[')
		for i, item := range n.Items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = inOrder(item, dst)
		}
		return append(dst, ']')
	}
	return n.AppendCanonical(dst)
}

// TestExamplesInAnyOrder: whatever the order of the members, the value and its canonical form are the same, decimals and
// the extensions of primitives included.
func TestExamplesInAnyOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	moved, decimals, beside := 0, 0, 0
	eachExample(t, func(name string, data []byte) {
		n, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		want := n.AppendCanonical(nil)
		text := shuffled(n, random)
		if !bytes.Equal(text, want) {
			moved++
		}
		again, err := Parse(text)
		if err != nil || !again.Equal(n) || !bytes.Equal(again.AppendCanonical(nil), want) {
			t.Errorf("%s: in another order it is another value (%v)", name, err)
		}
		decimals += bytes.Count(want, []byte(`.0,`)) + bytes.Count(want, []byte(`.0}`))
		beside += bytes.Count(want, []byte(`"_`))
	})
	if moved < 230 || decimals == 0 || beside == 0 {
		t.Errorf("%d examples moved, %d decimals end with a zero, %d primitives have something beside them", moved, decimals, beside)
	}
}

// TestExamplesAreKnown walks every element of every example through the definitions: known, of a kind of JSON that
// fits its type, not more or fewer than allowed, primitives in their form, required codes in their sets. The examples
// are valid, so what does not fit is a fault of the table.
func TestExamplesAreKnown(t *testing.T) {
	elements, faults := 0, 0
	eachExample(t, func(name string, data []byte) {
		n, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		w := walker{report: func(path, problem string) {
			// The one example that is not valid: its items of type display have no linkId, which R4 requires.
			if name == "Questionnaire-qs1.json" && strings.HasSuffix(path, ".linkId") {
				faults++
				return
			}
			t.Errorf("%s: %s: %s", name, path, problem)
		}}
		w.resource(n, n.ResourceType())
		elements += w.elements
	})
	if faults != 32 {
		t.Errorf("%d items without linkId in Questionnaire-qs1.json, want the 32 that it has", faults)
	}
	t.Logf("%d elements", elements)
}

// walker compares a resource with the definitions.
type walker struct {
	report   func(path, problem string)
	elements int
}

func (w *walker) resource(n *Node, path string) {
	typ := Lookup(n.ResourceType())
	if typ == nil || typ.Kind != KindResource || typ.Abstract {
		w.report(path, "no resource of R4")
		return
	}
	w.object(n, typ, path)
}

func (w *walker) object(n *Node, typ *Type, path string) {
	if n.Kind != Object {
		w.report(path, "a "+n.Kind.String()+" where an object should be")
		return
	}
	seen := map[*Element]int{}
	for _, m := range n.Members {
		if m.Name == "resourceType" && typ.Kind == KindResource {
			continue
		}
		name, beside := strings.CutPrefix(m.Name, "_")
		at := path + "." + m.Name
		e, of := typ.Element(name)
		if e == nil || of == nil {
			w.report(at, "not known")
			continue
		}
		if beside && of.Kind != KindPrimitive {
			w.report(at, "something beside what is not a primitive")
			continue
		}
		values := []*Node{m.Value}
		if e.Repeats() != (m.Value.Kind == Array) {
			w.report(at, "an array, or not one, against the definition")
			continue
		} else if e.Repeats() {
			values = m.Value.Items
		}
		seen[e] = max(seen[e], len(values))
		for i, value := range values {
			here := at
			if e.Repeats() {
				here = fmt.Sprintf("%s[%d]", at, i)
			}
			w.value(value, e, of, beside, here)
		}
	}
	for _, e := range typ.Elements {
		if got := seen[e]; got < e.Min || e.Max != Unbounded && got > e.Max {
			w.report(path+"."+e.Name, fmt.Sprintf("%d values, allowed %d..%d", got, e.Min, e.Max))
		}
	}
}

func (w *walker) value(n *Node, e *Element, of *Type, beside bool, path string) {
	w.elements++
	switch {
	case beside && n.Kind == Null, of.Kind == KindPrimitive && n.Kind == Null && e.Repeats():
	case beside:
		w.object(n, Lookup("Element"), path)
	case of.Kind == KindPrimitive:
		want := String
		switch {
		case of.Name == "boolean":
			want = Boolean
		case of.Name == "decimal" || of.Is("integer"):
			want = Number
		}
		if n.Kind != want {
			w.report(path, "a "+n.Kind.String())
		}
		if !of.Valid(n.Text) {
			w.report(path, "not in the form of "+of.Name)
		}
		if of.Is("code") && e.Binding.Required() && e.Binding.Codes != nil && !e.Binding.Codes.HasCode(n.Text) {
			w.report(path, "not in "+e.Binding.ValueSet)
		}
	case of.Kind == KindResource:
		w.resource(n, path)
	default:
		w.object(n, of, path)
	}
}

// TestWalkerFinds plants a defect of each kind, to show that the walk above would see it.
func TestWalkerFinds(t *testing.T) {
	for text, want := range map[string]string{
		`{"resourceType":"Patients"}`:                                                 "Patients: no resource of R4",
		`{"resourceType":"Patient","nam":[]}`:                                         "Patient.nam: not known",
		`{"resourceType":"Patient","name":{}}`:                                        "Patient.name: an array, or not one, against the definition",
		`{"resourceType":"Patient","_name":[{}]}`:                                     "Patient._name: something beside what is not a primitive",
		`{"resourceType":"Patient","birthDate":"1990-02-30"}`:                         "Patient.birthDate: not in the form of date",
		`{"resourceType":"Patient","gender":"m"}`:                                     "Patient.gender: not in http://hl7.org/fhir/ValueSet/administrative-gender",
		`{"resourceType":"Patient","active":"true"}`:                                  "Patient.active: a string",
		`{"resourceType":"Patient","contact":[{"name":{"x":1}}]}`:                     "Patient.contact[0].name.x: not known",
		`{"resourceType":"Patient","link":[{"type":"refer"}]}`:                        "Patient.link[0].other: 0 values, allowed 1..1",
		`{"resourceType":"Patient","deceasedBoolean":true,"deceasedDateTime":"2000"}`: "",
		`{"resourceType":"Basic","code":{},"contained":[{"resourceType":"X"}]}`:       "Basic.contained[0]: no resource of R4",
		`{"resourceType":"Basic","code":{},"_created":{"value":1}}`:                   "Basic._created.value: not known",
	} {
		n, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var got string
		w := walker{report: func(path, problem string) { got = path + ": " + problem }}
		w.resource(n, n.ResourceType())
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
