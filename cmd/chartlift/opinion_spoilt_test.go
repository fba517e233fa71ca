package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the mappings make has few errors, so that two validators that see nothing would agree, too. Here each resource
// gets one that was planted.

const (
	spoiltSize = 400
	// spoiltShare is the share of spoilt resources of which both say the same: an error, or none.
	spoiltShare = 0.95
)

// place is where a value stands in a resource: a member of an object, or an entry of a list below that member.
type place struct {
	in   map[string]any
	name string
	path string
	at   []any // nil for the member itself
	i    int
}

func (p place) value() any {
	if p.at != nil {
		return p.at[p.i]
	}
	return p.in[p.name]
}

func (p place) set(v any) {
	if p.at != nil {
		p.at[p.i] = v
		return
	}
	p.in[p.name] = v
}

// places lists every value of a resource, always in the same order; what identifies it is left out.
func places(object map[string]any, path string) (list []place) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if name == "resourceType" || path == "" && (name == "id" || name == "meta") {
			continue
		}
		p := place{in: object, name: name, path: strings.TrimPrefix(path+"."+name, ".")}
		list = append(list, p)
		switch v := p.value().(type) {
		case map[string]any:
			list = append(list, places(v, p.path)...)
		case []any:
			for i, entry := range v {
				list = append(list, place{in: object, name: name, path: p.path, at: v, i: i})
				if o, ok := entry.(map[string]any); ok {
					list = append(list, places(o, p.path)...)
				}
			}
		}
	}
	return list
}

var (
	dayForm       = regexp.MustCompile(`^\d{4}-\d\d-\d\d`)
	referenceForm = regexp.MustCompile(`^[A-Z][A-Za-z]+/`)
)

// spoils are the ways to spoil a value; false if it is not of that kind.
var spoils = []struct {
	name string
	do   func(p place) bool
}{
	{"a member that R4 does not know", func(p place) bool {
		object, ok := p.value().(map[string]any)
		if ok {
			object["planted"] = "x"
		}
		return ok
	}},
	{"an element taken out", func(p place) bool {
		if p.at != nil || strings.Contains(p.path, ".") {
			return false
		}
		delete(p.in, p.name)
		return true
	}},
	{"an element inside taken out", func(p place) bool {
		if p.at != nil || !strings.Contains(p.path, ".") {
			return false
		}
		delete(p.in, p.name)
		return true
	}},
	{"a code that is none", func(p place) bool {
		_, ok := p.value().(string)
		ok = ok && slices.Contains([]string{"status", "intent", "gender", "use", "system", "code", "mode", "priority"}, p.name)
		if ok {
			p.set("planted")
		}
		return ok
	}},
	{"a day that is none", func(p place) bool {
		text, ok := p.value().(string)
		ok = ok && dayForm.MatchString(text)
		if ok {
			p.set("2021-02-30" + text[10:])
		}
		return ok
	}},
	{"a reference to another type", func(p place) bool {
		text, ok := p.value().(string)
		ok = ok && p.name == "reference" && referenceForm.MatchString(text)
		if ok {
			p.set(referenceForm.ReplaceAllString(text, "Substance/"))
		}
		return ok
	}},
	{"a list where one is wanted", func(p place) bool {
		_, list := p.value().([]any)
		if p.at != nil || list {
			return false
		}
		p.set([]any{p.value()})
		return true
	}},
	{"one where a list is wanted", func(p place) bool {
		list, ok := p.value().([]any)
		if ok {
			p.set(list[0])
		}
		return ok
	}},
	{"an empty text", func(p place) bool {
		_, ok := p.value().(string)
		if ok {
			p.set("")
		}
		return ok
	}},
	{"a number or truth as text", func(p place) bool {
		switch v := p.value().(type) {
		case json.Number:
			p.set(v.String())
			return true
		case bool:
			p.set(fmt.Sprint(v))
			return true
		}
		return false
	}},
	{"a text as a number", func(p place) bool {
		_, ok := p.value().(string)
		if ok {
			p.set(json.Number("7"))
		}
		return ok
	}},
	{"an empty object", func(p place) bool {
		_, ok := p.value().(map[string]any)
		if ok {
			p.set(map[string]any{})
		}
		return ok
	}},
	{"a second value of a choice", func(p place) bool {
		head, ok := strings.CutSuffix(p.name, "DateTime")
		if ok && p.at == nil {
			p.in[head+"String"] = "planted"
		}
		return ok
	}},
}

// spoil plants one error in each of some resources of the sample, each kind as often as the others.
func spoil(t *testing.T, sample []sampled) (out []sampled) {
	t.Helper()
	random := rand.New(rand.NewPCG(sampleSeed, spoiltSize))
	for n, i := range random.Perm(len(sample)) {
		if len(out) == spoiltSize {
			break
		}
		s := sample[i]
		resource := decode[map[string]any](t, s.text)
		kind := spoils[n%len(spoils)]
		list := places(resource, "")
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		at := slices.IndexFunc(list, kind.do)
		if at < 0 {
			continue
		}
		text, err := json.Marshal(resource)
		if err != nil {
			t.Fatal(err)
		}
		s.id, s.text = strings.ReplaceAll(kind.name, " ", "-")+" "+list[at].path+" "+s.id, string(text)
		out = append(out, s)
	}
	return out
}

// agreeSpoilt is about one planted error in each of some hundred resources: both find one, or both find none, of nearly
// all.
func (v *validators) agreeSpoilt(t *testing.T, sample []sampled) {
	if len(sample) < spoiltSize {
		t.Fatalf("%d resources could be spoilt, want %d", len(sample), spoiltSize)
	}
	theirs, ours := v.both(t, "spoilt", sample)
	same, found := 0, 0
	for i, s := range sample {
		if len(theirs[i]) > 0 {
			found++
		}
		if (len(theirs[i]) > 0) == (len(ours[i]) > 0) {
			same++
			continue
		}
		t.Logf("%s: %s: theirs %v, ours %v", s.stratum(), s.id, theirs[i], ours[i])
	}
	if found < len(sample)/2 {
		t.Errorf("they find an error in %d of %d spoilt resources: what was planted is none, or they were not asked", found, len(sample))
	}
	if share := float64(same) / float64(len(sample)); share < spoiltShare {
		t.Errorf("of %d spoilt resources both say the same of %.3f, want %.3f", len(sample), share, spoiltShare)
	}
}

// Each kind of planted error changes a resource, and is there.
func TestSpoil(t *testing.T) {
	text := `{"resourceType":"Observation","id":"o","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1-8","userSelected":true}]},` +
		`"subject":{"reference":"Patient/p"},"effectiveDateTime":"2020-01-02T03:04:05Z","valueQuantity":{"value":1.50,"code":"mg"}}`
	var sample []sampled
	for i := range spoiltSize {
		sample = append(sample, sampled{set: "made up", typ: "Observation", id: fmt.Sprint(i), text: text})
	}
	spoilt := spoil(t, sample)
	if len(spoilt) != spoiltSize {
		t.Errorf("%d of %d could be spoilt", len(spoilt), spoiltSize)
	}
	whole, err := json.Marshal(decode[map[string]any](t, text))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, s := range spoilt {
		kind, _, _ := strings.Cut(s.id, " ")
		kinds[kind] = true
		if s.text == string(whole) {
			t.Errorf("%s changed nothing", s.id)
		}
	}
	if len(kinds) != len(spoils) {
		t.Errorf("%d kinds of %d were planted", len(kinds), len(spoils))
	}
}
