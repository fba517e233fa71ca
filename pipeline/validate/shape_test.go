package validate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
	"github.com/chartlift/chartlift/pipeline/terminology"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// resources are the JSON resources of a packed set, by name.
func resources(t testing.TB, path string, keep func(name string) bool) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for name, data := range readArchive(t, path) {
		if strings.HasSuffix(name, ".json") && keep(name) {
			out[name] = data
		}
	}
	return out
}

func guide(t testing.TB, version string) *fhir.Package {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-"+version+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := fhir.ReadPackage(f, version)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// comparable is an issue without its place in the text, which a Judge does not know.
func comparable(issues []validate.Issue) []string {
	var out []string
	for _, x := range issues {
		out = append(out, x.String())
	}
	return out
}

// TestJudgeEqualsChecker: over real resources, and over many that were changed at one place each, in an order in which
// most are of a shape that was met before, a Judge finds what a Checker finds.
func TestJudgeEqualsChecker(t *testing.T) {
	us := guide(t, "6.1.0")
	v := validate.New(terminology.NewStore(fhir.Core(), us), us, fhir.Core())
	checker, judge := v.Checker(), v.Judge()
	sets := []map[string][]byte{
		resources(t, sharedtest.Path(t, "data", "fhir-r4-examples", "examples.tar.gz"), func(string) bool { return true }),
		resources(t, sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-6.1.0.tgz"), func(name string) bool {
			return strings.Contains(name, "/example/") && !strings.Contains(name, "/.")
		}),
	}
	rounds := 20
	if testing.Short() {
		rounds = 8
	}
	random := rand.New(rand.NewPCG(1, 2))
	compared, errors := 0, 0
	for _, set := range sets {
		names := []string{}
		for name := range set {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			n, err := fhir.Parse(set[name])
			if err != nil {
				t.Fatal(err)
			}
			typ := fhir.Lookup(n.ResourceType())
			for round := range rounds {
				changed := n.Clone()
				if round > 1 {
					mutate(random, changed)
				}
				text := changed.AppendCanonical(nil)
				want := comparable(checker.Text(text))
				got := comparable(judge.Resource(typ, text))
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("%s, round %d (-checker +judge):\n%s\n%s", name, round, d, text)
				}
				compared++
				if len(want) > 0 {
					errors++
				}
			}
		}
	}
	if errors < compared/20 {
		t.Errorf("of %d resources only %d had an issue: the changes change too little", compared, errors)
	}
	t.Logf("%d resources compared, %d with issues", compared, errors)
}

// mutate changes one value somewhere: another text, number or date of the same form, one of another form, or nothing at
// all in its place.
func mutate(random *rand.Rand, n *fhir.Node) {
	var leaves []*fhir.Node
	var objects []*fhir.Node
	var walk func(n *fhir.Node)
	walk = func(n *fhir.Node) {
		switch n.Kind {
		case fhir.Object:
			objects = append(objects, n)
			for _, m := range n.Members {
				if m.Name != "resourceType" {
					walk(m.Value)
				}
			}
		case fhir.Array:
			for _, item := range n.Items {
				walk(item)
			}
		default:
			leaves = append(leaves, n)
		}
	}
	walk(n)
	leaf := leaves[random.IntN(len(leaves))]
	switch random.IntN(8) {
	case 0:
		o := objects[random.IntN(len(objects))]
		if len(o.Members) > 1 {
			i := random.IntN(len(o.Members))
			o.Members = slices.Delete(o.Members, i, i+1)
		}
	case 1:
		leaf.Text = ""
	case 2:
		leaf.Text += " "
	default:
		switch {
		case leaf.Kind == fhir.Number:
			leaf.Text = fmt.Sprint(random.IntN(2000) - 5)
		case leaf.Kind == fhir.String && len(leaf.Text) >= 4 && leaf.Text[0] >= '0' && leaf.Text[0] <= '9':
			leaf.Text = fmt.Sprintf("%04d", 1900+random.IntN(200)) + leaf.Text[4:]
		case leaf.Kind == fhir.String && len(leaf.Text) > 0:
			at := random.IntN(len(leaf.Text))
			leaf.Text = leaf.Text[:at] + string(rune('a'+random.IntN(26))) + leaf.Text[at:]
			if random.IntN(6) == 0 {
				leaf.Text += "\"\n\\"
			}
		case leaf.Kind == fhir.Boolean:
			leaf.Text = map[string]string{"true": "false", "false": "true"}[leaf.Text]
		}
	}
}

// TestJudgeCounts: what cannot be checked is counted once for each resource, the first of its shape included.
func TestJudgeCounts(t *testing.T) {
	v := validate.New(terminology.NewStore(fhir.Core()), fhir.Core())
	j := v.Judge()
	for _, start := range []string{"2020", "2021", "2030"} { // the last one ends before it starts
		j.Resource(fhir.Lookup("Encounter"), []byte(`{"resourceType":"Encounter","status":"finished","class":{"code":"AMB","system":"http://terminology.hl7.org/CodeSystem/v3-ActCode"},`+
			`"period":{"start":"`+start+`","end":"2022"},"extension":[{"url":"http://example.org/x","valueString":"y"}]}`))
	}
	for _, u := range v.NotChecked() {
		if u.Name == "http://example.org/x" {
			if u.Count != 3 {
				t.Errorf("counted %d times, in 3 resources", u.Count)
			}
			return
		}
	}
	t.Error("an extension without a definition is not listed")
}
