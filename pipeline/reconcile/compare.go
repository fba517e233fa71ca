package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// The named rules under which two forms of one value are equal. Each is a change that R4 lets a server make without
// changing what the resource says; anything else is a difference.
const (
	RuleServerMeta      = "server-meta"      // meta.versionId, lastUpdated and source are the server's (resource.html#meta)
	RuleMetaOrder       = "meta-order"       // meta.profile, security and tag are sets (resource.html#meta)
	RuleServerNarrative = "server-narrative" // a generated narrative where none was sent (narrative.html)
	RuleTimeZone        = "time-zone"        // the same instant, written with another offset (datatypes.html#dateTime)
	RuleFraction        = "second-fraction"  // trailing zeros of a second's fraction
	RuleDecimalForm     = "decimal-form"     // the same number, written otherwise: 1.50 and 1.5, .71 and 0.71
	RuleReferenceForm   = "reference-form"   // a literal reference made absolute under the server's base, or versioned
)

// How an element differs.
const (
	Lost    = "lost"    // sent, and not there
	Added   = "added"   // there, and not sent
	Changed = "changed" // another value
	Damaged = "damaged" // the value is the beginning of what was sent: cut short
)

// Difference is one element that differs, by its path in the resource (FHIRPath, list indexes included). It prints
// without the two values.
type Difference struct {
	Path string // "Patient.name[0].family"
	Kind string // Lost, Added, Changed or Damaged

	sent, got *fhir.Node // nil where there is none
}

// Format prints path and kind, under every verb.
func (d Difference) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "%s: %s", d.Path, d.Kind) }

// Comparison is what comparing a resource as sent with the same resource as read back gave: equal where there is no
// difference, if need be after the rules.
type Comparison struct {
	Rules       []string     // named rules that had to be applied, sorted, each once
	Differences []Difference // in the order of the resource's members
}

// Compare compares a resource as sent with what the target holds. base is the target's base URL without a slash at
// its end. Lists keep their order in FHIR, so a changed order is a difference, but in those of meta. Safe for concurrent use.
func Compare(sent, got *fhir.Node, base string) Comparison {
	c := comparer{base: base}
	typ := fhir.Lookup(sent.ResourceType())
	name := "Resource"
	if typ != nil {
		name = typ.Name
	}
	c.object(sent, got, typ, name, true)
	slices.Sort(c.rules)
	return Comparison{Rules: slices.Compact(c.rules), Differences: c.differences}
}

type comparer struct {
	base        string
	rules       []string
	differences []Difference
}

func (c *comparer) differ(path, kind string, sent, got *fhir.Node) {
	c.differences = append(c.differences, Difference{path, kind, sent, got})
}

func (c *comparer) object(sent, got *fhir.Node, typ *fhir.Type, path string, root bool) {
	for _, m := range sent.Members {
		below := path + "." + m.Name
		other := got.Get(m.Name)
		if other == nil {
			c.differ(below, Lost, m.Value, nil)
			continue
		}
		c.value(m.Value, other, memberType(typ, m), below, root && m.Name == "meta")
	}
	for _, m := range got.Members {
		if sent.Get(m.Name) != nil {
			continue
		}
		switch {
		case root && m.Name == "meta":
			c.value(&fhir.Node{Kind: fhir.Object}, m.Value, memberType(typ, m), path+".meta", true)
		case root && m.Name == "text" && m.Value.Get("status").Str() == "generated":
			c.rules = append(c.rules, RuleServerNarrative)
		default:
			c.differ(path+"."+m.Name, Added, nil, m.Value)
		}
	}
}

// memberType is the type of a member's value; nil where the definitions know none.
func memberType(typ *fhir.Type, m fhir.Member) *fhir.Type {
	if m.Name == "contained" || m.Name == "resource" {
		return fhir.Lookup(m.Value.ResourceType())
	}
	_, t := typ.Element(m.Name)
	return t
}

// serverMeta are the members of meta that belong to the server.
var serverMeta = []string{"versionId", "lastUpdated", "source"}

func (c *comparer) value(sent, got *fhir.Node, typ *fhir.Type, path string, meta bool) {
	if sent.Kind != got.Kind {
		c.differ(path, Changed, sent, got)
		return
	}
	switch sent.Kind {
	case fhir.Object:
		if meta {
			sent, got = c.dropServerMeta(sent), c.inOrderOf(sent, c.dropServerMeta(got))
		}
		if typ == nil {
			typ = fhir.Lookup(sent.ResourceType())
		}
		c.object(sent, got, typ, path, false)
	case fhir.Array:
		for i, s := range sent.Items {
			below := path + "[" + strconv.Itoa(i) + "]"
			if i >= len(got.Items) {
				c.differ(below, Lost, s, nil)
				continue
			}
			c.value(s, got.Items[i], typ, below, false)
		}
		for i := len(sent.Items); i < len(got.Items); i++ {
			c.differ(path+"["+strconv.Itoa(i)+"]", Added, nil, got.Items[i])
		}
	default:
		if sent.Text != got.Text {
			c.text(sent, got, typ, path)
		}
	}
}

// dropServerMeta takes away what is the server's, and notes the rule if it was there.
func (c *comparer) dropServerMeta(meta *fhir.Node) *fhir.Node {
	kept := withoutServerMeta(meta)
	if len(kept.Members) < len(meta.Members) {
		c.rules = append(c.rules, RuleServerMeta)
	}
	return kept
}

// inOrderOf gives the sets of meta the order in which they were sent, and notes the rule where it was another.
func (c *comparer) inOrderOf(sent, got *fhir.Node) *fhir.Node {
	for i, m := range got.Members {
		if as := sent.Get(m.Name); as != nil && !as.Equal(m.Value) && load.SameMetaSet(m.Name, as, m.Value) {
			got.Members[i].Value = as
			c.rules = append(c.rules, RuleMetaOrder)
		}
	}
	return got
}

// withoutServerMeta is a resource's meta without what is the server's.
func withoutServerMeta(meta *fhir.Node) *fhir.Node {
	kept := &fhir.Node{Kind: fhir.Object}
	for _, m := range meta.Members {
		if !slices.Contains(serverMeta, m.Name) {
			kept.Members = append(kept.Members, m)
		}
	}
	return kept
}

func (c *comparer) text(sent, got *fhir.Node, typ *fhir.Type, path string) {
	rule := ""
	switch {
	case sent.Kind == fhir.Number:
		if sameNumber(sent.Text, got.Text) {
			rule = RuleDecimalForm
		}
	case sent.Kind == fhir.String && (typ.Is("dateTime") || typ.Is("instant")):
		rule = sameInstant(sent.Text, got.Text)
	case sent.Kind == fhir.String && strings.HasSuffix(path, ".reference"):
		if sameReference(sent.Text, got.Text, c.base) {
			rule = RuleReferenceForm
		}
	}
	switch {
	case rule != "":
		c.rules = append(c.rules, rule)
	case sent.Kind == fhir.String && got.Text != "" && strings.HasPrefix(sent.Text, got.Text):
		c.differ(path, Damaged, sent, got)
	default:
		c.differ(path, Changed, sent, got)
	}
}

// sameNumber tells whether two JSON numbers are the same decimal, whatever their form. No float is involved.
func sameNumber(a, b string) bool {
	x, xok := plainNumber(a)
	y, yok := plainNumber(b)
	return xok && yok && x == y
}

type number struct {
	negative bool
	digits   string // without zeros at either end; "" is zero
	exponent int    // of the last digit
}

func plainNumber(s string) (number, bool) {
	var n number
	mantissa, exponent, found := strings.Cut(strings.ToLower(s), "e")
	if found {
		e, err := strconv.Atoi(exponent)
		if err != nil || e > 1e6 || e < -1e6 {
			return n, false
		}
		n.exponent = e
	}
	n.negative = strings.HasPrefix(mantissa, "-")
	mantissa = strings.TrimLeft(mantissa, "+-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	n.exponent -= len(fraction)
	digits := strings.TrimLeft(whole+fraction, "0")
	n.digits = strings.TrimRight(digits, "0")
	n.exponent += len(digits) - len(n.digits)
	if n.digits == "" {
		return number{}, true
	}
	return n, true
}

// sameInstant names the rule under which two date-times are the same point in time, or "". Both must carry a time and
// a zone: a date alone has no zone, and a missing zone is a loss, never another form.
func sameInstant(a, b string) string {
	x, xerr := time.Parse(time.RFC3339Nano, a)
	y, yerr := time.Parse(time.RFC3339Nano, b)
	if xerr != nil || yerr != nil || !x.Equal(y) {
		return ""
	}
	_, xo := x.Zone()
	_, yo := y.Zone()
	if xo == yo {
		if strings.HasSuffix(a, "Z") != strings.HasSuffix(b, "Z") {
			return RuleTimeZone
		}
		return RuleFraction
	}
	return RuleTimeZone
}

// sameReference tells whether got is sent, made absolute under the server's base or tied to a version.
func sameReference(sent, got, base string) bool {
	got = strings.TrimPrefix(got, base+"/")
	if i := strings.Index(got, "/_history/"); i > 0 {
		got = got[:i]
	}
	return sent == got
}
