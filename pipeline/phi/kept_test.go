package phi

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// plant puts an unmistakable value into every primitive that may hold text, so that what is left of them in a clinical
// part can be found again. It returns the type and element of each, by value.
func plant(n *fhir.Node, t *fhir.Type, where map[string]string) *fhir.Node {
	out := &fhir.Node{Kind: n.Kind, Text: n.Text}
	if r := n.ResourceType(); r != "" {
		t = resourceType(r)
	}
	for _, m := range n.Members {
		e, typ := t.Element(strings.TrimPrefix(m.Name, "_"))
		if typ == nil {
			out.Members = append(out.Members, m)
			continue
		}
		visit := func(v *fhir.Node) *fhir.Node {
			text := typ.Name == "string" || typ.Name == "markdown" || typ.Name == "xhtml" || typ.Name == "base64Binary" ||
				typ.Name == "url" || typ.Name == "uri" && !(t.Name == "Extension" || e.Name == "system")
			switch {
			case v.Kind == fhir.Object:
				return plant(v, typ, where)
			case v.Kind == fhir.String && text:
				value := fmt.Sprintf("planted-%d-end", len(where))
				where[value] = t.Name + "." + e.Name
				return fhir.NewString(value)
			}
			return v
		}
		value := m.Value
		if value.Kind == fhir.Array {
			value = fhir.NewArray()
			for _, item := range m.Value.Items {
				value.Items = append(value.Items, visit(item))
			}
		} else {
			value = visit(value)
		}
		out.Members = append(out.Members, fhir.Member{Name: m.Name, Value: value})
	}
	return out
}

// TestWhatStaysReadable compares what texts the policies leave in HL7's examples with a list that people have read.
func TestWhatStaysReadable(t *testing.T) {
	k := testKeys(t)
	for _, policy := range []string{"limited-data-set", "safe-harbor-elements"} {
		t.Run(policy, func(t *testing.T) {
			s := NewSealer("test", k, testPolicy(t, policy))
			kept := map[string]bool{}
			planted := 0
			eachExample(t, func(name string, n *fhir.Node) {
				where := map[string]string{}
				clinical := string(roundTrip(t, k, s, name, plant(n, nil, where)).AppendCanonical(nil))
				planted += len(where)
				for value, at := range where {
					if strings.Contains(clinical, value) {
						kept[at] = true
					}
				}
			})
			if planted < 3000 {
				t.Errorf("only %d values were planted", planted)
			}
			got := strings.Join(slices.Sorted(maps.Keys(kept)), "\n") + "\n"
			golden := filepath.Join("testdata", policy+".readable.txt")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
