package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

const base = "http://host/fhir"

func object(pairs ...any) *fhir.Node {
	n := fhir.NewObject()
	for i := 0; i < len(pairs); i += 2 {
		n.Set(pairs[i].(string), pairs[i+1].(*fhir.Node))
	}
	return n
}

// drawResource makes an Observation in which each rule but those of the server has a place to apply.
func drawResource(t *rapid.T) *fhir.Node {
	text := func(label string) *fhir.Node {
		return fhir.NewString(rapid.StringMatching(`[A-Za-z0-9äß<&" ]{1,30}`).Draw(t, label))
	}
	number := func() *fhir.Node {
		return fhir.NewNumber(rapid.StringMatching(`-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?`).Draw(t, "number"))
	}
	reference := func(typ string) *fhir.Node {
		return object("reference", fhir.NewString(typ+"/"+rapid.StringMatching(`[a-z0-9]{1,20}`).Draw(t, typ)))
	}
	instant := func() *fhir.Node {
		zone := rapid.SampledFrom([]string{"Z", "+00:00", "-05:00", "+05:30"}).Draw(t, "zone")
		return fhir.NewString(fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d%s%s", rapid.IntRange(1901, 2099).Draw(t, "year"), rapid.IntRange(1, 12).Draw(t, "month"),
			rapid.IntRange(1, 28).Draw(t, "day"), rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 59).Draw(t, "second"),
			rapid.SampledFrom([]string{"", ".5", ".123"}).Draw(t, "fraction"), zone))
	}
	quantity := func() *fhir.Node { return object("value", number(), "unit", text("unit")) }
	n := object("resourceType", fhir.NewString("Observation"), "id", fhir.NewString("o1"), "status", fhir.NewString("final"),
		"code", object("text", text("code")), "subject", reference("Patient"), "effectiveDateTime", instant(), "valueQuantity", quantity())
	if rapid.Bool().Draw(t, "meta") {
		n.Set("meta", object("tag", fhir.NewArray(object("code", text("tag")))))
	}
	if rapid.Bool().Draw(t, "issued") {
		n.Set("issued", instant())
	}
	list := func(name string, item func() *fhir.Node) {
		items := fhir.NewArray()
		for range rapid.IntRange(0, 3).Draw(t, name) {
			items.Items = append(items.Items, item())
		}
		if len(items.Items) > 0 {
			n.Set(name, items)
		}
	}
	list("performer", func() *fhir.Node { return reference("Practitioner") })
	list("note", func() *fhir.Node { return object("text", text("note"), "time", instant()) })
	list("component", func() *fhir.Node { return object("code", object("text", text("code")), "valueQuantity", quantity()) })
	list("contained", func() *fhir.Node {
		return object("resourceType", fhir.NewString("Specimen"), "id", text("id"), "receivedTime", instant(), "subject", reference("Patient"))
	})
	return n
}

// site is one node of a resource, which set replaces or, with nil, takes out.
type site struct {
	path, name string
	node       *fhir.Node
	set        func(*fhir.Node)
}

// sites lists all nodes below n but its type and id.
func sites(n *fhir.Node, path string) []site {
	var all []site
	for _, m := range n.Members {
		if m.Name == "resourceType" || m.Name == "id" {
			continue
		}
		s := site{path + "." + m.Name, m.Name, m.Value, func(v *fhir.Node) { n.Set(m.Name, v) }}
		all = append(append(all, s), sites(m.Value, s.path)...)
	}
	for i, item := range n.Items {
		s := site{path + "[" + strconv.Itoa(i) + "]", "", item, func(v *fhir.Node) { n.Items[i] = v }}
		all = append(append(all, s), sites(item, s.path)...)
	}
	return all
}

// rewrites are what servers do under each named rule, to a resource that others do not see.
var rewrites = map[string]func(*rapid.T, *fhir.Node){
	RuleServerMeta: func(t *rapid.T, n *fhir.Node) {
		if n.Get("meta") == nil {
			n.Set("meta", fhir.NewObject())
		}
		name := rapid.SampledFrom(serverMeta).Draw(t, "member of meta")
		n.Get("meta").Set(name, fhir.NewString("2026-01-01T00:00:00Z"))
	},
	RuleServerNarrative: func(_ *rapid.T, n *fhir.Node) {
		n.Set("text", object("status", fhir.NewString("generated"), "div", fhir.NewString("<div/>")))
	},
	RuleTimeZone: func(t *rapid.T, n *fhir.Node) {
		rewrite(t, n, isInstant, func(text string) string {
			at, _ := time.Parse(time.RFC3339Nano, text)
			for _, zone := range []int{-7 * 3600, 0} {
				if _, offset := at.Zone(); offset != zone {
					at = at.In(time.FixedZone("", zone))
					break
				}
			}
			return at.Format(time.RFC3339Nano)
		})
	},
	RuleFraction: func(t *rapid.T, n *fhir.Node) {
		rewrite(t, n, isInstant, func(text string) string {
			clock, zone := text[:19], text[19:]
			fraction := ".0"
			if zone[0] == '.' {
				end := strings.IndexAny(zone, "Z+-")
				fraction, zone = zone[:end]+"00", zone[end:]
			}
			return clock + fraction + zone
		})
	},
	RuleDecimalForm: func(t *rapid.T, n *fhir.Node) {
		rewrite(t, n, func(s site) bool { return s.node.Kind == fhir.Number }, func(text string) string {
			if strings.Contains(text, ".") {
				return text + "0"
			}
			return text + rapid.SampledFrom([]string{".0", "e0", ".00E+0"}).Draw(t, "form")
		})
	},
	RuleReferenceForm: func(t *rapid.T, n *fhir.Node) {
		rewrite(t, n, func(s site) bool { return s.name == "reference" }, func(text string) string {
			return rapid.SampledFrom([]string{base + "/" + text, text + "/_history/3", base + "/" + text + "/_history/3"}).Draw(t, "reference")
		})
	},
}

func isInstant(s site) bool {
	return s.name == "effectiveDateTime" || s.name == "issued" || s.name == "time" || s.name == "receivedTime"
}

// rewrite writes some values of a kind in another form, at least one. None twice, so that forms do not run together.
func rewrite(t *rapid.T, n *fhir.Node, kind func(site) bool, form func(string) string) {
	var all []site
	for _, s := range sites(n, "Observation") {
		if kind(s) {
			all = append(all, s)
		}
	}
	for i := range rapid.IntRange(1, len(all)).Draw(t, "values") {
		s := all[i]
		s.set(&fhir.Node{Kind: s.node.Kind, Text: form(s.node.Text)})
	}
}

// TestNormalisedIsEqual: a resource that a server wrote in other forms is equal, with just those rules named.
func TestNormalisedIsEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := drawResource(t)
		got := sent.Clone()
		var want []string
		for _, rule := range slices.Sorted(maps.Keys(rewrites)) {
			// Both change instants: one of them at a time, so that each is the one to be named.
			if rule == RuleTimeZone && slices.Contains(want, RuleFraction) || !rapid.Bool().Draw(t, rule) {
				continue
			}
			rewrites[rule](t, got)
			want = append(want, rule)
		}
		c := Compare(sent, got, base)
		if len(c.Differences) > 0 {
			t.Fatalf("%v: %v", want, c.Differences)
		}
		if diff := cmp.Diff(want, c.Rules); diff != "" && len(want)+len(c.Rules) > 0 {
			t.Fatalf("rules (-want +got)\n%s", diff)
		}
	})
}

// TestChangedIsDifferent: one real change is a difference, at its place, whatever else the server wrote in other forms.
func TestChangedIsDifferent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := drawResource(t)
		got := sent.Clone()
		s := rapid.SampledFrom(sites(got, "Observation")).Draw(t, "place")
		want := Difference{Path: s.path, Kind: Changed}
		lost := s.name != "" && rapid.Bool().Draw(t, "lost")
		switch {
		case lost:
			s.set(nil)
			want.Kind = Lost
		case s.node.Kind == fhir.Number:
			s.set(fhir.NewNumber("1" + strings.TrimPrefix(s.node.Text, "-") + "1"))
		case s.node.Kind == fhir.String && len([]rune(s.node.Text)) > 1 && rapid.Bool().Draw(t, "cut"):
			s.set(fhir.NewString(string([]rune(s.node.Text)[:1])))
			want.Kind = Damaged
		case s.node.Kind == fhir.String:
			s.set(fhir.NewString("~" + s.node.Text))
		case s.node.Kind == fhir.Array:
			s.node.Items = append(s.node.Items, s.node.Items[0].Clone())
			want = Difference{Path: fmt.Sprintf("%s[%d]", s.path, len(s.node.Items)-1), Kind: Added}
		default:
			s.node.Set("extension", fhir.NewArray())
			want = Difference{Path: s.path + ".extension", Kind: Added}
		}
		for _, rule := range []string{RuleServerMeta, RuleServerNarrative} {
			if rapid.Bool().Draw(t, rule) {
				rewrites[rule](t, got)
			}
		}
		c := Compare(sent, got, base)
		if lost && s.path == "Observation.meta" && got.Get("meta") != nil {
			want.Path += ".tag" // the server wrote a meta of its own
		}
		if len(c.Differences) != 1 || c.Differences[0].Path != want.Path || c.Differences[0].Kind != want.Kind {
			t.Fatalf("want %v, got %v", want, c.Differences)
		}
		d := c.Differences[0]
		if (d.sent == nil) != (want.Kind == Added) || (d.got == nil) != (want.Kind == Lost) || d.sent.Equal(d.got) {
			t.Fatalf("%v: the two values are not those that differ", d)
		}
	})
}
