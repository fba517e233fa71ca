package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "1:1: the text ends where a value should stand"},
		{"blank", " \n ", "2:2: the text ends where a value should stand"},
		{"trailing", "{} {}", "1:4: something follows the value"},
		{"nul after", "{}\x00", "1:3: something follows the value"},
		{"duplicate", "{\n\"a\":1,\n\"a\":2}", "3:6: two members of this object have the same name"},
		{"duplicate by escape", `{"a":1,"\u0061":2}`, "1:18: two members of this object have the same name"},
		{"duplicate below", `{"x":[{"a":1,"b":2,"a":3}]}`, "1:25: two members of this object have the same name"},
		{"invalid UTF-8", "{\"a\":\n\"x\xff\"}", "2:3: a byte that is not UTF-8"},
		{"surrogate in UTF-8", "\"\xed\xa0\x80\"", "1:2: a byte that is not UTF-8"},
		{"lone high", `"\ud800"`, "1:2: half a surrogate pair"},
		{"lone low", `"a\udc00"`, "1:3: half a surrogate pair"},
		{"high then other", `"\ud800\u0041"`, "1:2: half a surrogate pair"},
		{"high then high", `"\ud800\ud800"`, "1:2: half a surrogate pair"},
		{"bad escape", `"\x"`, "1:2: an escape that JSON does not have"},
		{"short escape", `"\u12"`, "1:2: an escape that JSON does not have"},
		{"control", "\"a\tb\"", "1:3: a control character in a string"},
		{"open string", `"abc`, "1:5: the text ends within a string"},
		{"open escape", `"abc\`, "1:5: the text ends within a string"},
		{"leading zero", "01", "1:1: not a number of JSON"},
		{"plus", "+1", "1:1: no value begins like this"},
		{"point", "1.", "1:1: not a number of JSON"},
		{"exponent", "1e", "1:1: not a number of JSON"},
		{"two signs", "1-2", "1:1: not a number of JSON"},
		{"NaN", "NaN", "1:1: no value begins like this"},
		{"word", "truth", "1:1: no value begins like this"},
		{"comma at end", "[1,]", "1:4: no value begins like this"},
		{"comma in object", `{"a":1,}`, "1:8: the name of a member should stand here"},
		{"no colon", `{"a" 1}`, "1:6: `:` should stand here"},
		{"colon at end", `{"a"`, "1:5: `:` should stand here"},
		{"open array", `[1`, "1:3: `,` or `]` should stand here"},
		{"open object", `{"a":1`, "1:7: `,` or `}` should stand here"},
		{"comment", "/**/1", "1:1: no value begins like this"},
		{"mark", "\ufeff{}", "1:1: a byte order mark"},
		{"too deep", deep(MaxDepth + 1), "1:201: nested too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse([]byte(c.text))
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || err.Error() != c.want {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	if _, err := Parse([]byte(deep(MaxDepth))); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
}

func TestParseWideObjects(t *testing.T) {
	wide := func(n int, last string) []byte {
		var b strings.Builder
		b.WriteByte('{')
		for i := range n {
			fmt.Fprintf(&b, `"m%d":%d,`, i, i)
		}
		fmt.Fprintf(&b, `"%s":0}`, last)
		return []byte(b.String())
	}
	for _, n := range []int{3, 23, 24, 25, 1000} {
		if _, err := Parse(wide(n, "last")); err != nil {
			t.Errorf("%d members: %v", n, err)
		}
		if _, err := Parse(wide(n, "m1")); err == nil {
			t.Errorf("%d members: a doubled one was accepted", n)
		}
	}
}

func TestErrorsAndPrintsHoldNoValue(t *testing.T) {
	const secret = "Kowalczyk"
	for _, text := range []string{
		`{"family":"` + secret + `","family":1}`, `"` + secret, `{"` + secret + `":tru}`, secret, `["` + secret + `\q"]`,
	} {
		if _, err := Parse([]byte(text)); err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
			t.Errorf("error %v", err)
		}
	}
	n, err := Parse([]byte(`{"family":"` + secret + `","given":["` + secret + `"]}`))
	if err != nil {
		t.Fatal(err)
	}
	holder := struct {
		N *Node
		V Node
		M []Member
	}{n, *n, n.Members}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if out := fmt.Sprintf(verb, holder); strings.Contains(out, secret) {
			t.Errorf("%s prints the value", verb)
		}
		if out := fmt.Sprintf(verb, n.Get("family")); out != "[redacted]" {
			t.Errorf("%s prints %s", verb, out)
		}
	}
	if out, _ := json.Marshal(holder); strings.Contains(string(out), secret) {
		t.Errorf("JSON holds the value")
	}
}

func TestNodeReading(t *testing.T) {
	n, err := Parse([]byte(` {"resourceType":"Patient","id":"p1","active":true,"n":-0.010e+5,"meta":{"versionId":"3"},` +
		`"name":[{"family":"A\u00e9\ud83d\ude00\/\n"}],"x":null,"e":{},"f":[]} `))
	if err != nil {
		t.Fatal(err)
	}
	if n.ResourceType() != "Patient" || n.ID() != "p1" || n.At("meta", "versionId").Str() != "3" {
		t.Errorf("type, id or version")
	}
	if got := n.Get("name").Item(0).Get("family").Str(); got != "Aé😀/\n" {
		t.Errorf("family %q", got)
	}
	if got := n.Get("n"); got.Kind != Number || got.Text != "-0.010e+5" || got.Str() != "" {
		t.Errorf("number %q", got.Text)
	}
	if n.Get("x").Kind != Null || n.Get("e").Kind != Object || n.Get("f").Kind != Array || n.Get("active").Text != "true" {
		t.Errorf("kinds")
	}
	var none *Node
	if none.Get("a").At("b", "c").Item(0).Str() != "" || n.Item(0) != nil || n.Get("name").Item(1) != nil || n.Get("name").Item(-1) != nil {
		t.Errorf("what is not there is there")
	}
	const want = `{"active":true,"e":{},"f":[],"id":"p1","meta":{"versionId":"3"},"n":-0.010e+5,"name":[{"family":"Aé😀/\n"}],"resourceType":"Patient","x":null}`
	if got := string(n.AppendCanonical([]byte(">"))); got != ">"+want {
		t.Errorf("canonical\n%s\nwant\n%s", got, want)
	}
	if n.Members[0].Name != "resourceType" {
		t.Errorf("writing changed the order of the members")
	}
}

func TestNodeBuilding(t *testing.T) {
	n := NewObject(Member{"b", NewNumber("1.50")}, Member{"a", NewArray(NewBoolean(true), NewString("x"))})
	copied := n.Clone()
	n.Set("b", NewString("y")).Set("c", NewBoolean(false)).Set("a", nil).Set("nothing", nil)
	if got := string(n.AppendCanonical(nil)); got != `{"b":"y","c":false}` {
		t.Errorf("built %s", got)
	}
	if got := string(copied.AppendCanonical(nil)); got != `{"a":[true,"x"],"b":1.50}` {
		t.Errorf("copy %s", got)
	}
	if n.Equal(copied) || !n.Equal(n.Clone()) {
		t.Errorf("equal")
	}
	for text, want := range map[string]bool{
		`{"b":1.50,"a":[true,"x"]}`:  true,
		`{"b":1.5,"a":[true,"x"]}`:   false,
		`{"b":1.50,"a":["x",true]}`:  false,
		`{"b":1.50,"aa":[true,"x"]}`: false,
	} {
		other, err := Parse([]byte(text))
		if err != nil || copied.Equal(other) != want || other.Equal(copied) != want {
			t.Errorf("%s: equal is not %v (%v)", text, want, err)
		}
	}
}

func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                                `""`,
		"plain é 😀":                       `"plain é 😀"`,
		"\"\\/":                           `"\"\\/"`,
		"\b\f\n\r\t\x00\x1f\x7f":          `"\b\f\n\r\t\u0000\u001f` + "\x7f" + `"`,
		"<>&\u2028":                       "\"<>&\u2028\"",
		"a\xffb":                          "\"a\ufffdb\"",
		"\xed\xa0\x80" /* a surrogate */ : "\"\ufffd\ufffd\ufffd\"",
	} {
		if got := string(AppendString(nil, in)); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil || back != s {
			t.Fatalf("%q came back as %q (%v)", s, back, err)
		}
	})
}

// decodeStd is what encoding/json makes of one value with nothing after it.
func decodeStd(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows")
	}
	return v, nil
}

// plainValue is the node as encoding/json would decode it with UseNumber.
func plainValue(n *Node) any {
	switch n.Kind {
	case Object:
		m := map[string]any{}
		for _, member := range n.Members {
			m[member.Name] = plainValue(member.Value)
		}
		return m
	case Array:
		list := make([]any, len(n.Items))
		for i, item := range n.Items {
			list[i] = plainValue(item)
		}
		return list
	case String:
		return n.Text
	case Number:
		return json.Number(n.Text)
	case Boolean:
		return n.Text == "true"
	}
	return nil
}

// FuzzParse compares with encoding/json: both accept the same texts, apart from what Parse refuses on purpose
// (duplicate names, bytes that are not UTF-8, half surrogate pairs, depth), and see the same values.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-2.50e+3,true,false,null,"x\u00e9\ud83d\ude00\n"],"b":{}}`, `[]`, `"`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`,
		`01`, `-`, `1.e5`, ` [ 1 , 2 ] `, `{"":""}`, "\ufeff1", `tru`, `[1 2]`, `"\u00g0"`, `{"a"}`, "[\x00]", strings.Repeat("[", 300),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := Parse(data)
		std, stdErr := decodeStd(data)
		if err != nil {
			var syntax *SyntaxError
			if !errors.As(err, &syntax) || syntax.Line < 1 || syntax.Column < 1 {
				t.Fatalf("fault without a place: %v", err)
			}
			switch {
			case stdErr != nil:
			case strings.HasPrefix(syntax.Problem, "two members"), strings.HasPrefix(syntax.Problem, "half a"), strings.HasPrefix(syntax.Problem, "nested"):
			case strings.HasPrefix(syntax.Problem, "a byte that is no") && !utf8.Valid(data):
			default:
				t.Fatalf("%v, but encoding/json accepts it", err)
			}
			return
		}
		if stdErr != nil {
			t.Fatalf("accepted, but encoding/json says: %v", stdErr)
		}
		if got := plainValue(n); !reflect.DeepEqual(got, std) {
			t.Fatalf("another value than encoding/json's:\n%s", cmp.Diff(std, got))
		}
		canonical := n.AppendCanonical(nil)
		again, err := Parse(canonical)
		if err != nil || !again.Equal(n) || !n.Equal(again) {
			t.Fatalf("the canonical form is another value (%v)", err)
		}
		if twice := again.AppendCanonical(nil); !bytes.Equal(twice, canonical) {
			t.Fatalf("the canonical form of the canonical form differs")
		}
	})
}

// TestParseRandomDocuments feeds the property of FuzzParse with documents that are well formed, or nearly.
func TestParseRandomDocuments(t *testing.T) {
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		choices := []*rapid.Generator[any]{
			rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil), rapid.Int64().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(),
		}
		if depth > 0 {
			choices = append(choices,
				rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 5).AsAny(),
				rapid.MapOfN(rapid.String(), rapid.Deferred(func() *rapid.Generator[any] { return value(depth - 1) }), 0, 30).AsAny())
		}
		return rapid.OneOf(choices...)
	}
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.MarshalIndent(value(3).Draw(t, "value"), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		n, err := Parse(data)
		if err != nil {
			t.Fatalf("%v", err)
		}
		std, err := decodeStd(data)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(plainValue(n), std) {
			t.Fatalf("another value than encoding/json's")
		}
		// A cut text is never accepted unless the cut was white space or ended a number.
		if cut := rapid.IntRange(0, len(data)-1).Draw(t, "cut"); data[0] == '{' || data[0] == '[' || data[0] == '"' {
			if _, err := Parse(data[:cut]); err == nil {
				t.Fatalf("cut at %d: accepted", cut)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := []byte(`{"resourceType":"Observation","id":"x0","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs","display":"Vital signs"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"8302-2","display":"Body Height"}],"text":"Body Height"},"subject":{"reference":"Patient/abc"},"encounter":{"reference":"Encounter/def"},"effectiveDateTime":"2014-03-12T09:22:16-05:00","valueQuantity":{"value":170.20,"unit":"cm","system":"http://unitsofmeasure.org","code":"cm"}}`)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}
