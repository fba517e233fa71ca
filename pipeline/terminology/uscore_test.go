package terminology

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// usCore is a store over R4, the part of HL7's terminology that US Core names, and a version of US Core.
func usCore(t testing.TB, version string) (*Store, *fhir.Package) {
	t.Helper()
	f, err := os.Open(sharedtest.Path(t, "data", "us-core", "hl7.fhir.us.core-"+version+".tgz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	guide, err := fhir.ReadPackage(f, "us-core")
	if err != nil {
		t.Fatal(err)
	}
	subset, faults := ReadFiles(t.Context(), os.DirFS(sharedtest.Path(t, "data", "us-core")), "hl7.terminology-subset.json.gz")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s := NewStore(fhir.Core(), guide)
	s.Add(subset)
	return s, guide
}

// TestUSCore decides every value set of US Core, or says which of the sources that the set's README lists is missing.
func TestUSCore(t *testing.T) {
	const (
		codes = "the codes of %s are not at hand"
		vsac  = "http://cts.nlm.nih.gov/fhir/ValueSet/"
	)
	for _, want := range []struct {
		version          string
		decided          int
		systems          []string // not at hand
		bound, included  int      // sets of VSAC that bindings name, and that value sets name besides
		required, others []string // sets bound that are not at hand
	}{
		{"3.1.1", 20, strings.Fields("http://hl7.org/fhir/sid/icd-10-cm http://hl7.org/fhir/sid/icd-9-cm http://loinc.org http://nucc.org/provider-taxonomy " +
			"http://snomed.info/sct http://www.ama-assn.org/go/cpt http://www.cms.gov/Medicare/Coding/ICD10 " +
			"http://www.nlm.nih.gov/research/umls/rxnorm urn:oid:2.16.840.1.113883.6.13 urn:oid:2.16.840.1.113883.6.285"), 0, 0, nil, nil},
		{"6.1.0", 16, strings.Fields("http://hl7.org/fhir/sid/icd-10-cm http://hl7.org/fhir/sid/icd-9-cm http://loinc.org http://snomed.info/sct " +
			"http://www.ada.org/cdt http://www.ama-assn.org/go/cpt http://www.cms.gov/Medicare/Coding/ICD10 http://www.nubc.org/patient-discharge " +
			"https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets https://www.usps.com/"), 9, 9 + 1, // the README counts nine that are included; one is excluded
			[]string{vsac + "2.16.840.1.113762.1.4.1240.3"},
			[]string{"http://phinvads.cdc.gov/fhir/ValueSet/2.16.840.1.114222.4.11.7900", "http://phinvads.cdc.gov/fhir/ValueSet/2.16.840.1.114222.4.11.7901"}},
	} {
		s, guide := usCore(t, want.version)
		decided, systems, included := 0, map[string]bool{}, map[string]bool{}
		for _, url := range guide.URLs("ValueSet") {
			v := s.ValueSet(url)
			if v.Why() == "" {
				decided++
				continue
			}
			for _, reason := range strings.Split(v.Why(), "; ") {
				var name string
				if _, err := fmt.Sscanf(reason, codes, &name); err == nil {
					systems[name] = true
				} else if _, err := fmt.Sscanf(reason, "the value set %s is not at hand", &name); err == nil {
					included[name] = true
				} else {
					t.Errorf("%s %s: %s", want.version, url, reason)
				}
			}
			if v.Has("http://no.such/system", "", "x") == In || v.HasCode("no such code") == In {
				t.Errorf("%s %s has what nothing has", want.version, url)
			}
		}
		if decided != want.decided {
			t.Errorf("%s: %d value sets are decided, want %d", want.version, decided, want.decided)
		}
		if diff := cmp.Diff(want.systems, slices.Sorted(maps.Keys(systems))); diff != "" {
			t.Errorf("%s: code systems not at hand (-want +got)\n%s", want.version, diff)
		}
		required, others := bindings(guide, s)
		bound := 0
		count := func(url string) bool {
			delete(included, url) // what is bound itself is counted there
			bound++
			return true
		}
		others = slices.DeleteFunc(others, func(url string) bool {
			return strings.HasPrefix(url, vsac) && count(url)
		})
		for _, url := range required {
			count(url)
		}
		if diff := cmp.Diff(want.required, required); diff != "" {
			t.Errorf("%s: required sets not at hand (-want +got)\n%s", want.version, diff)
		}
		if diff := cmp.Diff(want.others, others); diff != "" {
			t.Errorf("%s: extensible sets not at hand (-want +got)\n%s", want.version, diff)
		}
		if bound != want.bound || len(included) != want.included {
			t.Errorf("%s: %d sets of VSAC bound and %d included, want %d and %d", want.version, bound, len(included), want.bound, want.included)
		}
	}
}

// bindings lists the value sets of required, and of extensible, bindings that are not at hand.
func bindings(guide *fhir.Package, s *Store) (required, extensible []string) {
	for _, url := range guide.URLs("StructureDefinition") {
		for _, e := range guide.Find("StructureDefinition", url).At("snapshot", "element").Items {
			set := e.At("binding", "valueSet").Str()
			if set == "" || s.ValueSet(set) != nil {
				continue
			}
			switch set, _ = split(set); e.At("binding", "strength").Str() {
			case "required":
				required = append(required, set)
			case "extensible":
				extensible = append(extensible, set)
			}
		}
	}
	slices.Sort(required)
	slices.Sort(extensible)
	return slices.Compact(required), slices.Compact(extensible)
}
