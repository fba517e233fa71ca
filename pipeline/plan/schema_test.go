package plan

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// compileSchema compiles a schema as an editor would.
func compileSchema(t *testing.T, kind string) *jsonschema.Schema {
	t.Helper()
	tree, ok := Schema(kind)
	if !ok {
		t.Fatalf("there is no schema %q", kind)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(kind+".json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(kind + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asEditor is what an editor takes a YAML value for.
func asEditor(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for _, p := range document.Pairs(n) {
			out[p.Key] = asEditor(p.Value)
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			out = append(out, asEditor(c))
		}
		return out
	}
	if n.Style != 0 {
		return n.Value
	}
	if document.IsNull(n) {
		return nil
	}
	if n.Value == "true" || n.Value == "false" {
		return n.Value == "true"
	}
	if _, err := strconv.ParseFloat(n.Value, 64); err == nil && json.Valid([]byte(n.Value)) {
		return json.Number(n.Value)
	}
	return n.Value
}

func validateYAML(t *testing.T, s *jsonschema.Schema, name, text string) error {
	t.Helper()
	root, faults := document.Parse(name, []byte(text))
	if root == nil || len(faults) > 0 {
		t.Fatalf("%s: %v", name, faults)
	}
	return s.Validate(asEditor(root))
}

// TestSchemasTakeWhatShips: every mapping, file of cases and plan in the tree fits its schema.
func TestSchemasTakeWhatShips(t *testing.T) {
	schemas := map[string]*jsonschema.Schema{}
	for _, kind := range Schemas() {
		schemas[kind] = compileSchema(t, kind)
	}
	root := sharedtest.ModuleRoot(t)
	seen := map[string]int{}
	err := filepath.WalkDir(root, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(file, ".yaml") {
			return err
		}
		kind, dir := "", path.Dir(filepath.ToSlash(file))
		switch {
		case e.Name() == "migration.yaml":
			kind = "plan"
		case strings.HasSuffix(e.Name(), ".cases.yaml"):
			kind = "cases"
		case e.Name() == "pack.yaml":
			kind = "pack"
		case path.Base(dir) == "fragments":
			kind = "fragment"
		case path.Base(dir) == "mappings" || path.Base(path.Dir(dir)) == "mappings":
			kind = "mapping"
		default:
			return nil
		}
		seen[kind]++
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := validateYAML(t, schemas[kind], file, string(text)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"mapping", "cases", "plan"} {
		if seen[kind] < 3 {
			t.Errorf("%d files of kind %s", seen[kind], kind)
		}
	}
}

// TestSchemasFlag: what is wrong in one file and needs no table is flagged where it stands.
func TestSchemasFlag(t *testing.T) {
	const good = `from: obs
to: Observation
key: [A, B]
patient: = ref('patient', PATIENT)
with: {notes: {table: notes, on: {A: A}}}
constants: {limit: = 5, units: [a, b]}
skip: {include: rules, no a: = A.empty()}
resource:
  status: final
  code: = A.coding('urn:x').concept()
  category: {coding: [{system: 'urn:x', code: 007}]}
  valueQuantity: {value: 1.50, comparator: <, unit: = U}
  effectiveDateTime: 2020-01-01
  note:
    - forEach: = notes
      text: = text
    - include: {note: {text: = B}}
  component: {include: component}
  _issued: {extension: [{url: 'urn:x', valueBoolean: true}]}
  contained: [{resourceType: Device, id: d}]
`
	mappingSchema := compileSchema(t, "mapping")
	if err := validateYAML(t, mappingSchema, "good", good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, at string }{
		{"from: obs", "form: obs", ""},
		{"to: Observation", "to: Observaton", "/to"},
		{"patient: = ref('patient', PATIENT)", "patient: ref('patient', PATIENT)", "/patient"},
		{"table: notes, ", "tabel: notes, ", "/with/notes"},
		{"limit: = 5", "li mit: = 5", "/constants"},
		{"no a: = A.empty()", "no a: A.empty()", "/skip/no a"},
		{"status: final", "status: finall", "/resource/status"},
		{"  status: final\n", "", "/resource"},
		{"valueQuantity:", "value:", "/resource"},
		{"value: 1.50", "value: x", "/resource/valueQuantity/value"},
		{"comparator: <", "comparator: ~", "/resource/valueQuantity/comparator"},
		{"category: {coding", "category: {codign", "/resource/category"},
		{"text: = text", "txt: = text", "/resource/note/0"},
		{"resourceType: Device", "resourceType: Devise", "/resource/contained/0/resourceType"},
		{"effectiveDateTime: 2020-01-01", "effectiveDateTime: [2020-01-01]", "/resource/effectiveDateTime"},
		{"valueBoolean: true", "valueBoolean: yes", "/resource/_issued/extension/0/valueBoolean"},
		{"resource:\n", "resource:\n  id: x\n", "/resource"},
		{"key: [A, B]", "key: [A, A]", "/key"},
	} {
		bad := strings.Replace(good, c.old, c.new, 1)
		if bad == good {
			t.Fatalf("%q is not in the good file", c.old)
		}
		flagged(t, mappingSchema, bad, c.at)
	}
	if err := validateYAML(t, compileSchema(t, "plan"), "good", "migration: x\nsources: {a: {csv: x}}\nmappings: [m]\nphi: {delivery: sealed}\ngates: {refused: 1}\n"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ kind, text, at string }{
		{"plan", "migration: x\nsources: {a: {csv: x, delimeter: y}}\nmappings: [m]\nphi: {delivery: sealed}\n", "/sources/a"},
		{"plan", "migration: x\nsources: {a: {}}\nmappings: [m]\nphi: {delivery: sealed}\n", "/sources/a"},
		{"plan", "migration: x\nsources: {a: {csv: x}}\nmappings: [m]\nphi: {delivery: seald}\n", "/phi/delivery"},
		{"plan", "migration: x\nsources: {a: {csv: x}}\nmappings: [m]\nphi: {delivery: sealed}\ngates: {refusd: 1}\n", ""},
		{"plan", "migration: x\nsources: {a: {csv: x}}\nmappings: [m]\nphi: {delivery: sealed}\nwave: []\n", ""},
		{"cases", "- {name: x, record: {A: 1}, wants: []}\n", "/0"},
		{"cases", "- {name: x, record: {A: 1}, want: [], refused: y}\n", "/0"},
		{"cases", "- {name: x, record: {A: [1]}, refused: y}\n", "/0/record/A"},
		{"pack", "defaults: {duplicate: number}\n", "/defaults"},
		{"pack", "defaults: {duplicates: numbers}\n", "/defaults/duplicates"},
		{"pack", "defaults: {meta: {sorce: x}}\n", "/defaults/meta"},
		{"pack", "defaults: {profile: {Patent: 'http://x'}}\n", "/defaults/profile"},
		{"fragment", "take: [a]\ngives: x\n", ""},
		{"fragment", "takes: [a]\n", ""},
	} {
		flagged(t, compileSchema(t, c.kind), c.text, c.at)
	}
}

// flagged asks for an error at a place of a file.
func flagged(t *testing.T, s *jsonschema.Schema, text, at string) {
	t.Helper()
	err := validateYAML(t, s, "bad", text)
	if err == nil {
		t.Errorf("not flagged:\n%s", text)
		return
	}
	var places []string
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		place := ""
		for _, step := range e.InstanceLocation {
			place += "/" + step
		}
		places = append(places, place)
		for _, c := range e.Causes {
			walk(c)
		}
	}
	walk(err.(*jsonschema.ValidationError))
	if !slices.Contains(places, at) {
		t.Errorf("flagged at %q, not at %q:\n%s", places, at, text)
	}
}

// TestPlanSchemaAsksTheReader: each object of a plan is in the probe, so that the schema has all its keys. A reader that
// learns an object must be asked for it.
func TestPlanSchemaAsksTheReader(t *testing.T) {
	known := planKeys()
	for _, what := range []string{"a plan", "phi", "targets", "target clinical", "auth", "a wave", "end", "unpivot", "sheet s", "column c", "table t"} {
		if len(known[what]) == 0 {
			t.Errorf("the reader was not asked for %q", what)
		}
	}
	for _, kind := range sourceKinds {
		if len(known[fmt.Sprintf("source %s (%s)", kind, kind)]) < 3 {
			t.Errorf("the reader was not asked for source %s", kind)
		}
	}
}

// Every kind is offered, and no other.
func TestSchemaKinds(t *testing.T) {
	if _, ok := Schema("mappings"); ok {
		t.Error("there is a schema of no kind")
	}
	for _, kind := range Schemas() {
		s, ok := Schema(kind)
		if !ok || s["$schema"] != mapping.SchemaDraft || s["title"] == nil {
			t.Errorf("%s: %v", kind, s["$schema"])
		}
	}
}
