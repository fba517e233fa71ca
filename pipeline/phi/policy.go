package phi

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"go.yaml.in/yaml/v4"
)

//go:embed policies/*.yaml
var shipped embed.FS

// Policy says for every element of every resource what happens with its value. It is immutable and may be used by
// several goroutines at once.
//
// A policy file is a list of rules, each a path with one method:
//
//   - Patient.birthDate: keep
//   - HumanName: seal
//   - Identifier.where(system = 'http://hl7.org/fhir/sid/us-npi'): keep
//
// A path begins with a resource type, a datatype or `*`; `.ofType(T)` picks one type of a choice, `.extension('url')`
// one extension, `.where(…)` the entries that pass a test. A rule covers what it names and all below. Where several
// rules meet, the most specific wins: a path that begins with the resource over one of DomainResource or Resource, that
// over a datatype, a datatype over Element, that over a primitive type, that over `*`; among paths from one and the same
// value the longer one; then the one with a test. Of two datatypes, one inside the other, the rule that protects more
// wins: HumanName: seal covers the period of a name even where Period: keep.
//
// What no rule names is sealed. A `keep` from above does not reach into extensions, elements that R4 does not know,
// narratives, attachments and contained resources: these need a rule that names them (or `*: keep`). Contained resources,
// and those in a Bundle, follow the rules of their own type. resourceType, id, meta.profile, meta.tag, meta.security and
// meta.versionId are structure and always kept.
type Policy struct {
	name    string
	digest  string
	star    Method
	rules   []*rule
	anchors map[*fhir.Type][]*rule
	only    bool // there is no rule but `*: keep`
	asOf    string

	mu     sync.Mutex
	states map[string]*state
}

// Shipped lists the names of the policies inside the program, sorted.
func Shipped() []string {
	entries, err := shipped.ReadDir("policies")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// LoadPolicy reads one of the shipped policies by its name, or a file of rules below dir. What is wrong in a file comes
// as [document.Faults], all at once. A path that leaves dir is refused.
func LoadPolicy(name string, dir fs.FS) (*Policy, error) {
	if slices.Contains(Shipped(), name) {
		data, err := shipped.ReadFile("policies/" + name + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
		return parsePolicy(name, data)
	}
	file := path.Clean(name)
	if dir == nil || !fs.ValidPath(file) {
		return nil, fmt.Errorf("policy %q: neither one of %s nor a file inside the plan's folder", name, strings.Join(Shipped(), ", "))
	}
	data, err := fs.ReadFile(dir, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("policy %q: neither one of %s nor a file%s: %w", name, strings.Join(Shipped(), ", "),
			hintTail(document.Hint(name, Shipped())), err)
	}
	if err != nil {
		return nil, fmt.Errorf("policy %q: %w", name, err)
	}
	return parsePolicy(file, data)
}

func hintTail(hint string) string {
	if hint == "" {
		return ""
	}
	return " (" + hint + ")"
}

// parsePolicy reads the rules. A file is a list of rules, or `extends:` with the name of a shipped policy and `rules:`,
// whose rules replace those of the same path there.
func parsePolicy(name string, data []byte) (*Policy, error) {
	root, faults := document.Parse(name, data)
	p := &Policy{name: name, anchors: map[*fhir.Type][]*rule{}, states: map[string]*state{}}
	byText := map[string]*rule{}
	list := root
	if root != nil && root.Kind == yaml.MappingNode {
		list = nil
		for _, pair := range document.Pairs(root) {
			switch pair.Key {
			case "rules":
				list = pair.Value
			case "extends":
				if !slices.Contains(Shipped(), pair.Value.Value) {
					faults = append(faults, withHint(document.At(name, pair.Value, "no shipped policy %q", pair.Value.Value),
						document.Hint(pair.Value.Value, Shipped())))
					continue
				}
				base, err := LoadPolicy(pair.Value.Value, nil)
				if err != nil {
					return nil, err
				}
				for _, r := range base.rules {
					p.rules = append(p.rules, r)
					byText[canonicalPath(r)] = nil // may be replaced
				}
			default:
				faults = append(faults, withHint(document.At(name, pair.Node, "unknown key %q", pair.Key),
					document.Hint(pair.Key, []string{"rules", "extends"})))
			}
		}
	}
	if list == nil || list.Kind != yaml.SequenceNode {
		faults = append(faults, document.At(name, root, "a policy is a list of rules: `- Patient.birthDate: keep`"))
		return nil, faults.Sort()
	}
	for _, item := range list.Content {
		pairs := document.Pairs(item)
		if len(pairs) != 1 {
			faults = append(faults, document.At(name, item, "a rule is one path and one method: `- Patient.birthDate: keep`"))
			continue
		}
		r, fault := readRule(name, pairs[0])
		if fault != nil {
			faults = append(faults, *fault)
			continue
		}
		key := canonicalPath(r)
		if old, ok := byText[key]; ok && old != nil {
			faults = append(faults, document.At(name, pairs[0].Node, "the rule for %s is there twice", r.text))
			continue
		}
		p.rules = slices.DeleteFunc(p.rules, func(o *rule) bool { return canonicalPath(o) == key })
		byText[key] = r
		p.rules = append(p.rules, r)
	}
	if len(faults) > 0 {
		return nil, faults.Sort()
	}
	p.finish()
	return p, nil
}

func (p *Policy) finish() {
	sum := sha256.New()
	p.only = true
	for i, old := range p.rules {
		r := *old
		r.order = i
		p.rules[i] = &r
		fmt.Fprintf(sum, "%s\x00%s\n", canonicalPath(&r), r.method)
		if r.anchor == nil {
			p.star = r.method
			continue
		}
		p.only = false
		p.anchors[r.anchor] = append(p.anchors[r.anchor], &r)
	}
	p.only = p.only && p.star == Keep
	// What a path means also depends on the definitions and on this engine's reading of it.
	fmt.Fprintf(sum, "%s engine 1", fhir.DefinitionsDigest())
	p.digest = hex.EncodeToString(sum.Sum(nil))
}

// canonicalPath is the path written in one way, so that two spellings of one rule are seen as such.
func canonicalPath(r *rule) string {
	if r.anchor == nil {
		return "*"
	}
	var b strings.Builder
	b.WriteString(r.anchor.Name)
	writeTest := func(t *Test) {
		if t == nil {
			return
		}
		b.WriteString(".where(")
		for i, e := range t.Equals {
			if i > 0 {
				b.WriteString(" and ")
			}
			fmt.Fprintf(&b, "%s = %q", strings.Join(e.Path, "."), e.Value)
		}
		b.WriteString(")")
	}
	writeTest(r.test)
	for _, s := range r.steps {
		b.WriteString("." + s.name)
		if s.typ != nil {
			b.WriteString(".ofType(" + s.typ.Name + ")")
		}
		writeTest(s.test)
	}
	return b.String()
}

func readRule(file string, pair document.Pair) (*rule, *document.Fault) {
	r, wrongPath := parseRule(pair.Key)
	if wrongPath != nil {
		f := withHint(document.At(file, pair.Node, "%s: %s", pair.Key, wrongPath.message), wrongPath.hint)
		return nil, &f
	}
	i := slices.Index(methodNames[:Soft], pair.Value.Value)
	if pair.Value.Kind != yaml.ScalarNode || i < 0 {
		f := withHint(document.At(file, pair.Value, "%s: no method %q; there are %s", pair.Key, pair.Value.Value,
			strings.Join(methodNames[:Soft], ", ")), document.Hint(pair.Value.Value, methodNames[:Soft]))
		return nil, &f
	}
	r.method = Method(i)
	if why := r.unfit(); why != "" {
		f := document.At(file, pair.Value, "%s: %s", pair.Key, why)
		return nil, &f
	}
	return r, nil
}

func withHint(f document.Fault, hint string) document.Fault {
	f.Hint = hint
	return f
}

// AsOf returns the policy with the day (YYYY-MM-DD) on which ages count, for rules with age90 on dates. Without one
// these rules seal.
func (p *Policy) AsOf(day string) (*Policy, error) {
	if len(day) != len("2006-01-02") || !fhir.ValidDate(day) {
		return nil, fmt.Errorf("as-of date %q: write it as YYYY-MM-DD", day)
	}
	return &Policy{name: p.name, digest: p.digest + "@" + day, star: p.star, rules: p.rules, anchors: p.anchors,
		only: p.only, asOf: day, states: map[string]*state{}}, nil
}

// NeedsAsOf tells whether a rule of the policy depends on the day of [Policy.AsOf].
func (p *Policy) NeedsAsOf() bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool {
		return r.method == Age90 && slices.ContainsFunc(r.ends, func(t *fhir.Type) bool { return t.Name == "date" })
	})
}

// Name is the name of a shipped policy, or the file.
func (p *Policy) Name() string { return p.name }

// Digest identifies what the policy does, hex: its rules and the definitions they were read by. Comments and the form
// of the file do not matter.
func (p *Policy) Digest() string { return p.digest }
