package terminology

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// r4 is a store over the standard alone, compiled once for all tests.
var r4 = sync.OnceValue(func() *Store { return NewStore(fhir.Core()) })

// readGzip reads a file of the shared data.
func readGzip(t testing.TB, elem ...string) []byte {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, elem...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRequiredSetsAgree compares every required binding of R4 with the expansion in the compiled table: the same codings
// and no others, as far as a coding of the one or the other set can show.
func TestRequiredSetsAgree(t *testing.T) {
	sets := requiredSets()
	t.Logf("%d value sets", len(sets))
	if len(sets) < 200 {
		t.Errorf("only %d value sets of required bindings were found", len(sets))
	}
	for url, want := range sets {
		set := r4().ValueSet(url)
		if set == nil || set.Why() != "" {
			t.Errorf("%s: %s", url, set.Why())
			continue
		}
		for _, code := range want.Codes() {
			if set.HasCode(code) != In {
				t.Errorf("%s: %s is %v", url, code, set.HasCode(code))
			}
		}
		for _, system := range set.systems {
			for _, code := range r4().codesOf(system) {
				if got := set.Has(system, "", code); got != verdict(want.Has(system, code)) {
					t.Errorf("%s: %s of %s is %v", url, code, system, got)
				}
			}
		}
		if set.HasCode("no-such-code") != NotIn || set.Has(want.Systems()[0], "", "no-such-code") != NotIn {
			t.Errorf("%s: a code that no system has is not told", url)
		}
	}
}

// requiredSets are the value sets of required bindings in the compiled table, wherever in the standard.
func requiredSets() map[string]*fhir.CodeSet {
	sets, seen := map[string]*fhir.CodeSet{}, map[*fhir.Type]bool{}
	var visit func(typ *fhir.Type)
	visit = func(typ *fhir.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		for _, e := range typ.Elements {
			if e.Binding.Required() && e.Binding.Codes != nil {
				sets[e.Binding.ValueSet] = e.Binding.Codes
			}
			for _, typ := range e.Types {
				visit(typ)
			}
		}
	}
	for _, name := range fhir.Resources() {
		visit(fhir.Lookup(name))
	}
	return sets
}

// codesOf lists the codes of a system, if they are at hand.
func (s *Store) codesOf(system string) (codes []string) {
	if c := s.CodeSystem(system); c != nil {
		for i := range c.concepts {
			codes = append(codes, c.codeAt(int32(i)))
		}
	}
	return codes
}

// expansions reads HL7's expansions.
func expansions(t *testing.T) map[string]*fhir.Node {
	t.Helper()
	bundle, err := fhir.Parse(readGzip(t, "data", "fhir-r4-definitions", "expansions.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*fhir.Node{}
	for _, e := range bundle.Get("entry").Items {
		n := e.Get("resource")
		all[n.Get("url").Str()] = n.Get("expansion")
	}
	return all
}

// differently are the expansions that HL7's server made otherwise than the definition says, each with the reason.
// Besides, it left out codes that are deprecated or retired, which R4 leaves to the server (valueset.html, compose.inactive).
var differently = map[string]string{
	"http://terminology.hl7.org/ValueSet/v3-ActPharmacySupplyType": "codes that are below the root by the property `child` alone are left out",
	"http://hl7.org/fhir/ValueSet/detectedissue-category":          "codes that are below the root by the property `child` alone are left out",
}

// TestExpansionsAgree compares our own evaluation of each definition with HL7's expansion of it, where both are whole.
func TestExpansionsAgree(t *testing.T) {
	compared, open := 0, 0
	for url, expansion := range expansions(t) {
		set := r4().ValueSet(url)
		if set == nil {
			if !strings.HasPrefix(url, "http://dicom.nema.org/") {
				t.Errorf("%s is not defined", url)
			}
			continue
		}
		var theirs ValueSet
		theirs.expand(expansion)
		if set.Why() != "" || set.whole {
			open++
			for system, codes := range theirs.listed {
				for code := range codes {
					if set.Has(system, "", code) == NotIn {
						t.Errorf("%s: %s|%s is not in, but it is in HL7's", url, system, code)
					}
				}
			}
			continue
		}
		if !theirs.whole {
			continue
		}
		compared++
		var faults []string
		for system, codes := range theirs.listed {
			if plain, version := split(system); version != "" {
				delete(theirs.listed, system) // three tables of v2 have a version in their URI
				theirs.listed[plain], system = codes, plain
			}
			for code := range codes {
				if got := set.Has(system, "", code); got != In {
					faults = append(faults, fmt.Sprintf("%s|%s is %v", system, code, got))
				}
			}
		}
		for _, system := range set.systems {
			for _, code := range r4().codesOf(system) {
				if _, ok := theirs.listed[system][code]; !ok && set.Has(system, "", code) != NotIn && !r4().outdated(system, code) {
					faults = append(faults, fmt.Sprintf("%s|%s is %v, but not in HL7's", system, code, set.Has(system, "", code)))
				}
			}
		}
		slices.Sort(faults)
		if (len(faults) > 0) != (differently[url] != "") {
			t.Errorf("%s: %d: %s", url, len(faults), strings.Join(faults[:min(4, len(faults))], ", "))
		}
	}
	t.Logf("%d compared, %d not decided", compared, open)
	if compared < 480 {
		t.Errorf("only %d were compared", compared)
	}
}

// outdated tells a code whose status says that it is deprecated or retired.
func (s *Store) outdated(system, code string) bool {
	c := s.CodeSystem(system)
	p := c.properties["status"]
	return p != nil && slices.ContainsFunc(p.values.of(c.at(code)), func(i int32) bool {
		return p.texts[i] == "deprecated" || p.texts[i] == "retired"
	})
}
