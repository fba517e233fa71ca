package validate

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/terminology"
)

// Validator checks resources against R4, packages of profiles, and what the store knows of codes. It is safe for
// concurrent use, each goroutine through a [Checker] of its own.
type Validator struct {
	packages []*fhir.Package
	codes    *terminology.Store

	types     sync.Map // *fhir.Type → *typeRules
	profiles  sync.Map // url → *profile; nil *profile: not at hand
	compiling sync.Mutex
	open      map[string]bool // profiles that are being compiled; under compiling

	comparisons sync.Map     // operator and type → *fhirpath.Expr
	unchecked   sync.Map     // uncheckedKey → *uncheckedCount
	names       atomic.Int64 // things in unchecked
}

type uncheckedKey struct{ kind, name string }

type uncheckedCount struct {
	why string
	n   atomic.Int64
}

// maxUnchecked bounds how many things that are not at hand are told apart.
const maxUnchecked = 10_000

// New makes a validator. Packages are asked in their order; R4's own ([fhir.Core]) should be the last. The store should
// hold the same packages.
func New(codes *terminology.Store, packages ...*fhir.Package) *Validator {
	return &Validator{packages: packages, codes: codes, open: map[string]bool{}}
}

// Checker makes the memory of one goroutine.
func (v *Validator) Checker() *Checker { return newChecker(v) }

// Trial makes a checker that does not count what cannot be checked: for what is only a draft.
func (v *Validator) Trial() *Checker {
	c := newChecker(v)
	c.trial = true
	return c
}

// HasProfile tells whether resources can be checked by a profile: it is at hand, with all that it is based on.
func (v *Validator) HasProfile(url string) bool {
	return v.profile(url) != nil || coreType(url) != nil
}

// noProfile is the count of a profile, or an extension, that nothing can be checked by.
func (v *Validator) noProfile(kind, url string) *uncheckedCount {
	why := "its definition is not at hand"
	if sd := v.definition(url); sd != nil {
		why = "its definition is not one of R4 that can be used"
		if sd.At("snapshot", "element") == nil {
			why = "it has no snapshot, and what it is based on is not at hand"
		}
	}
	return v.note(kind, url, why)
}

// NotChecked lists what could not be checked so far, sorted.
func (v *Validator) NotChecked() []Unchecked {
	var list []Unchecked
	v.unchecked.Range(func(key, value any) bool {
		k, c := key.(uncheckedKey), value.(*uncheckedCount)
		if n := c.n.Load(); n > 0 {
			list = append(list, Unchecked{Kind: k.kind, Name: k.name, Why: c.why, Count: n})
		}
		return true
	})
	slices.SortFunc(list, compareUnchecked)
	return list
}

// comparison is `$this < %limit`, or the other way, over a type.
func (v *Validator) comparison(operator string, t *fhir.Type) *fhirpath.Expr {
	type key struct {
		operator string
		typ      *fhir.Type
	}
	if x, ok := v.comparisons.Load(key{operator, t}); ok {
		return x.(*fhirpath.Expr)
	}
	expr, _ := fhirpath.Compile("$this "+operator+" %limit", &fhirpath.Env{Type: t, Variables: map[string]fhirpath.StaticType{"limit": fhirpath.StaticFHIR(t)}})
	v.comparisons.Store(key{operator, t}, expr)
	return expr
}

// note finds or makes the count of something that cannot be checked.
func (v *Validator) note(kind, name, why string) *uncheckedCount {
	key := uncheckedKey{kind, name}
	if c, ok := v.unchecked.Load(key); ok {
		return c.(*uncheckedCount)
	}
	if v.names.Add(1) > maxUnchecked { // names come from what is checked, too
		key = uncheckedKey{kind, "(others)"}
	}
	c, _ := v.unchecked.LoadOrStore(key, &uncheckedCount{why: why})
	return c.(*uncheckedCount)
}

// definition finds the StructureDefinition of a canonical, with or without a version.
func (v *Validator) definition(url string) *fhir.Node {
	for _, p := range v.packages {
		if n := p.Find("StructureDefinition", url); n != nil {
			return n
		}
	}
	return nil
}

const structurePrefix = "http://hl7.org/fhir/StructureDefinition/"

// coreType is the type of R4 that a canonical names, or nil: the definition of the type itself, which every resource of
// it is checked against anyway.
func coreType(url string) *fhir.Type {
	name, ok := strings.CutPrefix(withoutVersion(url), structurePrefix)
	if !ok {
		return nil
	}
	return fhir.Lookup(name)
}

func withoutVersion(url string) string {
	url, _, _ = strings.Cut(url, "|")
	return url
}
