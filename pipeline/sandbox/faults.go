package sandbox

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// faultKind says when a fault is thought of.
type faultKind uint8

const (
	wholeRequest faultKind = iota // once per request
	eachEntry                     // once per resource written or read, alone or in a Bundle
	eachWrite                     // for a resource that is written, the same for the same resource every time
	eachSearch                    // once per page of a search
)

// faultNames are the faults there are, besides the HTTP statuses.
var faultNames = map[string]faultKind{
	"slow":              wholeRequest,
	"hang":              wholeRequest,
	"drop-before":       wholeRequest,
	"drop-after-commit": wholeRequest,
	"half-answer":       wholeRequest,
	"html":              wholeRequest,
	"entry-missing":     wholeRequest,
	"entry-added":       wholeRequest,
	"entry-reordered":   wholeRequest,
	"no-location":       wholeRequest,
	"entry":             eachEntry,
	"reject":            eachWrite,
	"poison":            eachWrite,
	"lose":              eachWrite,
	"cut-string":        eachWrite,
	"drop-extension":    eachWrite,
	"wrong-id":          eachWrite,
	"search-lag":        eachSearch,
	"page-loop":         eachSearch,
	"page-repeat":       eachSearch,
	"total-wrong":       eachSearch,
	"total-absent":      eachSearch,
}

// fault is one item of a fault specification.
type fault struct {
	name        string
	kind        faultKind
	status      int           // of NNN, entry=NNN and reject
	probability float64       // 0 to 1
	nth         int           // only the nth occasion; 0: any
	times       int           // at most so often; 0: no limit
	typ         string        // only resources of this type; "": any
	method      string        // only requests with this method; "": any
	retryAfter  string        // as the header is to read; "": none
	delay       time.Duration // of slow
	length      int           // of cut-string, search-lag

	occasions, done int           // guarded by faults.mu
	decided         map[name]bool // what was decided for resources that are written, where it depends on their order
}

// faults decide which faults befall a request. Safe for concurrent use.
type faults struct {
	seed uint64
	list []*fault

	mu sync.Mutex
}

// parseFaults reads a fault specification; the package comment describes it.
func parseFaults(spec string) (*faults, error) {
	f := &faults{seed: 1}
	if strings.TrimSpace(spec) == "" {
		return f, nil
	}
	for item := range strings.SplitSeq(spec, ",") {
		if err := f.add(strings.TrimSpace(item)); err != nil {
			return nil, fmt.Errorf("faults: %q: %w", item, err)
		}
	}
	return f, nil
}

func (f *faults) add(item string) error {
	head, rest, _ := strings.Cut(item, ":")
	called, argument, hasArgument := strings.Cut(head, "=")
	if called == "seed" {
		seed, err := strconv.ParseUint(argument, 10, 64)
		if err != nil || rest != "" {
			return errors.New("seed is a whole number")
		}
		f.seed = seed
		return nil
	}
	one := &fault{name: called, probability: 1}
	if status, err := strconv.Atoi(called); err == nil {
		if status < 400 || status > 599 || hasArgument {
			return errors.New("a status is between 400 and 599")
		}
		one.name, one.status = "status", status
	} else {
		kind, known := faultNames[called]
		if !known {
			return errors.New("there is no such fault")
		}
		one.kind = kind
		if err := one.argument(argument, hasArgument); err != nil {
			return err
		}
	}
	if rest != "" {
		for i, part := range strings.Split(rest, ":") {
			if err := one.setting(part, i == 0); err != nil {
				return err
			}
		}
	}
	f.list = append(f.list, one)
	return nil
}

// argument reads what stands behind `=`.
func (one *fault) argument(text string, given bool) (err error) {
	switch one.name {
	case "slow":
		if one.delay, err = time.ParseDuration(text); err != nil || one.delay <= 0 || one.delay > time.Hour {
			return errors.New("slow needs a duration: slow=20ms")
		}
	case "entry":
		if one.status, err = strconv.Atoi(text); err != nil || one.status < 400 || one.status > 599 {
			return errors.New("entry needs a status between 400 and 599")
		}
	case "reject":
		typ, nth, numbered := strings.Cut(text, "/")
		if t := fhir.Lookup(typ); t == nil || t.Kind != fhir.KindResource {
			return errors.New("reject needs a type of R4: reject=Patient/3")
		}
		one.typ, one.status = typ, http.StatusUnprocessableEntity
		if numbered {
			if one.nth, err = strconv.Atoi(nth); err != nil || one.nth < 1 {
				return errors.New("reject counts from 1")
			}
		}
	case "cut-string", "search-lag":
		if !given {
			return nil
		}
		if one.length, err = strconv.Atoi(text); err != nil || one.length < 1 {
			return errors.New("a whole number is needed")
		}
	default:
		if given {
			return errors.New("the fault takes no argument")
		}
	}
	return nil
}

// setting reads one of the parts behind the colons.
func (one *fault) setting(text string, first bool) error {
	key, value, isKey := strings.Cut(text, "=")
	if !isKey {
		p, err := strconv.ParseFloat(text, 64)
		if !first || err != nil || math.IsNaN(p) || p < 0 || p > 1 {
			return errors.New("a probability is a number from 0 to 1, right after the name")
		}
		one.probability = p
		return nil
	}
	var err error
	switch key {
	case "retry-after":
		one.retryAfter = value
	case "nth":
		if one.nth, err = strconv.Atoi(value); err != nil || one.nth < 1 {
			return errors.New("nth counts from 1")
		}
	case "times":
		if one.times, err = strconv.Atoi(value); err != nil || one.times < 1 {
			return errors.New("times is a number from 1")
		}
	case "type":
		if t := fhir.Lookup(value); t == nil || t.Kind != fhir.KindResource {
			return errors.New("type is a type of R4")
		}
		one.typ = value
	case "method":
		one.method = strings.ToUpper(value)
		if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE"}, one.method) {
			return errors.New("method is GET, HEAD, POST, PUT or DELETE")
		}
	default:
		return errors.New("unknown key (retry-after, nth, times, type, method)")
	}
	return nil
}

// strikes decides whether a fault befalls this occasion, and counts it. identity is empty for faults by occasion.
func (f *faults) strikes(one *fault, identity string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.decide(one, identity)
}

// decide is strikes under the lock.
func (f *faults) decide(one *fault, identity string) bool {
	one.occasions++
	if one.nth > 0 && one.occasions != one.nth || one.times > 0 && one.done >= one.times {
		return false
	}
	if identity == "" {
		identity = strconv.Itoa(one.occasions)
	}
	if one.probability < 1 {
		h := fnv.New64a()
		_, _ = fmt.Fprintf(h, "%d\x00%s\x00%d\x00%d\x00%s", f.seed, one.name, one.status, one.length, identity)
		// FNV's low bits are good enough to be mixed once more: neighbours differ in all bits after the multiplication.
		x := h.Sum64()
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		if float64(x>>11)/(1<<53) >= one.probability {
			return false
		}
	}
	one.done++
	return true
}

// request returns the faults of a whole request, by name.
func (f *faults) request(method string) map[string]*fault {
	var struck map[string]*fault
	for _, one := range f.list {
		if one.kind == wholeRequest && (one.method == "" || one.method == method) && struck[one.name] == nil && f.strikes(one, "") {
			if struck == nil {
				struck = map[string]*fault{}
			}
			struck[one.name] = one
		}
	}
	return struck
}

// entry returns the fault that befalls one resource as it is read or written, or nil.
func (f *faults) entry(method string, n name) *fault {
	for _, one := range f.list {
		if one.kind == eachEntry && (one.method == "" || one.method == method) && (one.typ == "" || one.typ == n.typ) && f.strikes(one, "") {
			return one
		}
	}
	return nil
}

// write tells whether the named fault befalls a resource that is written. Whether it does is settled when the resource
// first comes.
func (f *faults) write(called string, n name) *fault {
	for _, one := range f.list {
		if one.name != called || one.typ != "" && one.typ != n.typ {
			continue
		}
		if f.settled(one, n) {
			return one
		}
	}
	return nil
}

func (f *faults) settled(one *fault, n name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.nth == 0 && one.times == 0 {
		return f.decide(one, n.String())
	}
	struck, known := one.decided[n]
	if !known {
		if one.decided == nil {
			one.decided = map[name]bool{}
		}
		struck = f.decide(one, n.String())
		one.decided[n] = struck
	}
	return struck
}

// search returns the named fault if it befalls this page of a search.
func (f *faults) search(called, typ string) *fault {
	for _, one := range f.list {
		if one.name == called && (one.typ == "" || one.typ == typ) && f.strikes(one, "") {
			return one
		}
	}
	return nil
}
