package phi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// asServed is a resource as a server might give it back: members in another order, meta of its own.
func asServed(t failer, wire []byte) *fhir.Node {
	t.Helper()
	n, err := fhir.Parse(wire)
	if err != nil {
		t.Fatalf("the wire form is no JSON: %v\n%s", err, wire)
	}
	c := n.Clone()
	meta := c.Get("meta")
	if meta == nil {
		meta = &fhir.Node{Kind: fhir.Object}
		c.Set("meta", meta)
	}
	meta.Set("versionId", fhir.NewString("7"))
	meta.Set("lastUpdated", fhir.NewString("2026-01-01T00:00:00Z"))
	return reversed(c)
}

// TestWire is the required property over HL7's examples under every policy, through the form that delivery `sealed`
// sends and a server gives back.
func TestWire(t *testing.T) {
	k := testKeys(t)
	for _, policy := range Shipped() {
		t.Run(policy, func(t *testing.T) {
			s := NewSealer("test", k, testPolicy(t, policy))
			sent, unsent := 0, 0
			eachExample(t, func(name string, n *fhir.Node) {
				sealed, err := s.SealNode(&Resource{Patient: "p1", Row: []byte(`{"A":"1"}`)}, n)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				wire, err := AppendWire(nil, sealed)
				if errors.Is(err, ErrNoExtension) {
					if typ := sealed.Type(); typ != "Bundle" && typ != "Parameters" && typ != "Binary" {
						t.Errorf("%s cannot be sent", typ)
					}
					unsent++
					return
				}
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				sent++
				clinical, err := fhir.Parse(sealed.Clinical())
				if err != nil {
					t.Fatal(err)
				}
				got := asServed(t, wire)
				r, err := k.Receive(sealed, clinical, got, true)
				if err != nil || r.Fault != nil || !r.Proven {
					t.Fatalf("%s: %v, fault %v, proven %t", name, err, r.Fault, r.Proven)
				}
				if string(r.Whole.AppendCanonical(nil)) != string(n.AppendCanonical(nil)) {
					t.Fatalf("%s: joined\n%s\nwant\n%s", name, r.Whole.AppendCanonical(nil), n.AppendCanonical(nil))
				}
				if n.At("meta", "versionId") != nil || n.At("meta", "lastUpdated") != nil || n.At("meta", "source") != nil || n.Get("meta") == nil && !sealed.Marked() {
					return // without what was sent nobody can tell a server's meta from one that was sent
				}
				whole, row, err := k.Unseal("p1", got)
				if err != nil || string(row.Reveal()) != `{"A":"1"}` || !whole.Equal(r.Whole) {
					t.Fatalf("%s: unsealed by the keys alone: %v", name, err)
				}
			})
			if sent != 225 || unsent != 13 {
				t.Errorf("%d of 238 examples were sent, %d have a type without extensions", sent, unsent)
			}
		})
	}
}

// TestReceiveNamesWhatIsWrong plants each thing that can happen to an encrypted part in a server.
func TestReceiveNamesWhatIsWrong(t *testing.T) {
	k := testKeys(t)
	s := NewSealer("test", k, testPolicy(t, "limited-data-set"))
	seal := func(id, patient, family string) Sealed {
		n, err := fhir.Parse(fmt.Appendf(nil, `{"resourceType":"Patient","id":%q,"extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex","valueCode":"F"}],"name":[{"family":%q}],"birthDate":"1970-01-02"}`, id, family))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := s.SealNode(&Resource{Patient: patient}, n)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	wire := func(s Sealed) *fhir.Node {
		b, err := AppendWire(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		return asServed(t, b)
	}
	now := seal("a", "p1", "Zzyzx")
	older := seal("a", "p1", "Before")
	again := seal("a", "p1", "Zzyzx")
	other := seal("b", "p1", "Zzyzx")
	foreign := seal("a", "p2", "Zzyzx")
	clinical, err := fhir.Parse(now.Clinical())
	if err != nil {
		t.Fatal(err)
	}
	// with puts what f makes of the extension's value into the resource.
	with := func(f func(string) string) *fhir.Node {
		n := wire(now)
		for _, x := range n.Get("extension").Items {
			if x.Get("url").Str() == fhir.SealedExtension {
				x.Set("valueBase64Binary", fhir.NewString(f(x.Get("valueBase64Binary").Str())))
			}
		}
		return n
	}
	doubled := wire(now)
	list := doubled.Get("extension")
	list.Items = append(list.Items, list.Items[len(list.Items)-1])
	flipped := func(text string) string {
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-1] ^= 1
		return base64.StdEncoding.EncodeToString(b)
	}
	for name, c := range map[string]struct {
		got   *fhir.Node
		exact bool
		want  error
	}{
		"as sent":                        {wire(now), true, nil},
		"another sealing, not sent":      {wire(again), true, ErrResealed},
		"another sealing, sent earlier":  {wire(again), false, nil},
		"an older one":                   {wire(older), false, ErrStale},
		"of another patient":             {wire(foreign), false, ErrOtherKey},
		"of the patient's other one":     {wire(other), false, ErrNotAuthentic},
		"gone":                           {clinical, false, ErrLost},
		"twice":                          {doubled, false, ErrTwice},
		"a bit changed":                  {with(flipped), false, ErrNotAuthentic},
		"cut in the middle of its bytes": {with(func(s string) string { return s[:len(s)/4/2*4] }), false, ErrNotAuthentic},
		"cut to its head":                {with(func(s string) string { return s[:40] }), false, ErrEnvelope},
		"no base64":                      {with(func(s string) string { return s[:41] }), false, ErrEnvelope},
		"empty":                          {with(func(s string) string { return "" }), false, ErrEnvelope},
	} {
		r, err := k.Receive(now, clinical, c.got, c.exact)
		if err != nil || !errors.Is(r.Fault, c.want) || (c.want == nil) != (r.Fault == nil) {
			t.Errorf("%s: fault %v, %v; want %v", name, r.Fault, err, c.want)
		}
		if r.Proven != (c.want == nil || c.want == ErrResealed) {
			t.Errorf("%s: proven %t", name, r.Proven)
		}
		if !r.Clinical.Get("extension").Item(0).Equal(clinical.Get("extension").Item(0)) || r.Clinical.Get("extension").Item(1) != nil {
			t.Errorf("%s: other extensions are lost", name)
		}
	}
	changed := wire(now).Set("birthDate", fhir.NewString("1970-01-03"))
	if r, err := k.Receive(now, clinical, changed, true); err != nil || r.Fault != nil || r.Proven || r.Whole == nil {
		t.Errorf("a changed clinical part: %v, fault %v, proven %t", err, r.Fault, r.Proven)
	}
	if text := fmt.Sprintf("%v %+v", now, clinical); !strings.Contains(text, "redacted") {
		t.Error(text)
	}
}
