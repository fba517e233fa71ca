package phi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// eachLeaf calls visit with each value that is neither object nor list.
func eachLeaf(n *fhir.Node, path string, visit func(path string)) {
	switch n.Kind {
	case fhir.Object:
		for _, m := range n.Members {
			eachLeaf(m.Value, appendName(path, m.Name), visit)
		}
	case fhir.Array:
		for i, item := range n.Items {
			eachLeaf(item, fmt.Sprintf("%s[%d]", path, i), visit)
		}
	default:
		visit(path)
	}
}

// TestRuleIsTheOneThatDecides names the rule of every value of HL7's examples, and looks that the value is cut exactly
// where the rule of that name says that it is.
func TestRuleIsTheOneThatDecides(t *testing.T) {
	k := testKeys(t)
	for _, name := range Shipped() {
		p := testPolicy(t, name)
		s := NewSealer("test", k, p)
		methods := map[string]Method{}
		for _, r := range p.rules {
			methods[r.text] = r.method
		}
		named := 0
		eachExample(t, func(file string, n *fhir.Node) {
			whole := n.AppendCanonical(nil)
			r := &Resource{ID: "x", Whole: whole}
			canonical, err := fhir.Parse(whole)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Cut(r); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			cuts := slices.Clone(r.Cuts)
			eachLeaf(canonical, "", func(path string) {
				rule := p.Rule(r.Type, canonical, path)
				method, known := methods[rule]
				if !known {
					method = Keep
					if rule == unnamedText {
						method = Seal
					} else if rule == hullText {
						return // what stands around a contained resource goes with it
					}
				} else {
					named++
				}
				cut := slices.ContainsFunc(cuts, func(c Cut) bool {
					rest, below := strings.CutPrefix(path, c.Path)
					return below && (rest == "" || rest[0] == '.' || rest[0] == '[') && c.Method != Soft && c.Method != Keep
				})
				if cut == (method == Keep) && !soft(cuts, path) {
					t.Errorf("%s under %s: %s is cut: %t, and its rule %q says %s", file, name, path, cut, rule, method)
				}
			})
		})
		if named < 1000 && name != "identified" {
			t.Errorf("%s: only %d values were decided by a rule with a name", name, named)
		}
	}
}

// soft tells whether a value is kept only beside something else.
func soft(cuts []Cut, path string) bool {
	return slices.ContainsFunc(cuts, func(c Cut) bool { return c.Method == Soft && strings.HasPrefix(path, c.Path) })
}

// TestPreviewIsWhatSealDoes looks that each piece of a preview was taken out, and that what it says stands there.
func TestPreviewIsWhatSealDoes(t *testing.T) {
	k := testKeys(t)
	s := NewSealer("test", k, testPolicy(t, "safe-harbor-elements"))
	n, err := fhir.Parse([]byte(`{"resourceType":"Patient","id":"x","birthDate":"1950-02-03","name":[{"family":"Zzyzx"}],"address":[{"postalCode":"60601","city":"Zzyville"}],"contact":[{"name":{"family":"Zzother"}}],"active":true}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &Resource{ID: "x", Patient: "x", Whole: n.AppendCanonical(nil)}
	if err := s.Cut(r); err != nil {
		t.Fatal(err)
	}
	list, err := s.Preview(r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range list {
		got = append(got, fmt.Sprintf("%s %s %s", b.Path, b.Method, b.Stand.Reveal()))
	}
	if err := s.Cut(r); err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`address[0].city seal `, `address[0].postalCode zip3 "postalCode":"606"`, `birthDate age90 "birthDate":"1950"`, `contact seal `, `name seal `}
	if !slices.Equal(got, want) {
		t.Errorf("preview %q\nwant %q\nsealed %s", got, want, sealed.Clinical())
	}
	if printed := fmt.Sprintf("%v %+v", list, list[1]); strings.Contains(printed, "606") {
		t.Errorf("a preview prints values: %s", printed)
	}
}
