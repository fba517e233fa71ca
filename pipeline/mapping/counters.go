package mapping

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// FormulaCount is how one formula of a template fared: the sum per formula of the design, section 3.
type FormulaCount struct {
	Mapping string
	Path    string // element path in the template
	Place   string // file:line:column of the formula
	Reason  string // under `allow empty`; "" makes Empties > 0 a finding
	Reads   int64  // times a cell it reads held something
	Writes  int64  // times, of those, that it wrote something
	Empties int64  // times, of those, that it wrote nothing
}

// UnmappedCount is a value that a concept map does not know. The value itself may be PHI.
type UnmappedCount struct {
	Map      string // pack/map
	Code     string // keyed digest of the value, hexadecimal: names it in files and logs
	Value    string // only for those who may see it: from five patients on and from columns that the policy keeps
	Count    int64
	Patients int64 // distinct patients, counted up to PatientCap
}

// String names the value by its digest.
func (u UnmappedCount) String() string { return u.Map + ":" + u.Code }

// GoString is String: the value stays out of %#v.
func (u UnmappedCount) GoString() string { return u.String() }

// PatientCap is where the counting of distinct patients of one unmapped value ends.
const PatientCap = 64

// unmappedCap is how many distinct values of one map are kept apart; the rest is counted as one, without a value.
const unmappedCap = 20_000

type formulaCount struct{ read, empty int64 }

type unmappedCount struct {
	count    int64
	patients map[ID]struct{}
}

func (u *unmappedCount) add(o *unmappedCount) {
	u.count += o.count
	for id := range o.patients {
		if len(u.patients) < PatientCap {
			u.patients[id] = struct{}{}
		}
	}
}

// tally is what has been counted: by formula, and by map and value.
type tally struct {
	formulas []formulaCount
	unknown  []map[string]*unmappedCount
}

func newTally(p *Program) tally {
	return tally{formulas: make([]formulaCount, len(p.formulas)), unknown: make([]map[string]*unmappedCount, len(p.maps))}
}

// unmapped finds or makes the count of a value.
func (t *tally) unmapped(slot int, value string) *unmappedCount {
	if t.unknown[slot] == nil {
		t.unknown[slot] = map[string]*unmappedCount{}
	}
	known := t.unknown[slot]
	u := known[value]
	if u == nil && len(known) >= unmappedCap {
		value = ""
		u = known[value]
	}
	if u == nil {
		u = &unmappedCount{patients: map[ID]struct{}{}}
		known[strings.Clone(value)] = u
	}
	return u
}

// add adds another tally.
func (t *tally) add(o *tally) {
	for i := range o.formulas {
		t.formulas[i].read += o.formulas[i].read
		t.formulas[i].empty += o.formulas[i].empty
	}
	for i, known := range o.unknown {
		for value, u := range known {
			t.unmapped(i, value).add(u)
		}
	}
}

// unmapped counts a value that a map does not know.
func (w *Worker) unmapped(slot *mapSlot, value string) {
	u := w.tally.unmapped(slot.index, value)
	u.count++
	if !w.patient.IsZero() && len(u.patients) < PatientCap {
		u.patients[w.patient] = struct{}{}
	}
}

// TranslationCount is how often codes were translated into something that does not mean the same.
type TranslationCount struct {
	Map          string // pack/map
	Relationship string // of R4's ConceptMapEquivalence, or `choice` for codes with several targets to choose from
	Count        int64
}

// looseKey is what translations are counted by.
type looseKey struct {
	slot         *mapSlot
	relationship string
}

// loosely counts a translation that does not mean the same.
func (w *Worker) loosely(slot *mapSlot, relationship string) { w.loose[looseKey{slot, relationship}]++ }

// TakeTranslations returns the translations that do not mean the same since the last call, by map and relationship.
func (w *Worker) TakeTranslations() []TranslationCount {
	var out []TranslationCount
	for key, n := range w.loose {
		out = append(out, TranslationCount{key.slot.pack + "/" + key.slot.m.Name, key.relationship, n})
	}
	clear(w.loose)
	slices.SortFunc(out, func(a, b TranslationCount) int {
		return cmp.Or(strings.Compare(a.Map, b.Map), strings.Compare(a.Relationship, b.Relationship))
	})
	return out
}

// TakeCounters returns what the worker has counted since the last call, for the ledger's account of one task, and adds
// it to the program's total. Formulas that read nothing are left out.
func (w *Worker) TakeCounters() ([]FormulaCount, []UnmappedCount) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if w.p.total.formulas == nil {
		w.p.total = newTally(w.p)
	}
	w.p.total.add(&w.tally)
	formulas, unmapped := w.p.counts(&w.tally)
	w.tally = newTally(w.p)
	return formulas, unmapped
}

// Counters is the total of all workers since the program was compiled, most frequent unmapped values first. Call it while
// no worker is mapping.
func (p *Program) Counters() ([]FormulaCount, []UnmappedCount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := newTally(p)
	if p.total.formulas != nil {
		sum.add(&p.total)
	}
	for _, w := range p.workers {
		sum.add(&w.tally)
	}
	return p.counts(&sum)
}

func (p *Program) counts(t *tally) (formulas []FormulaCount, unmapped []UnmappedCount) {
	for i, f := range p.formulas {
		c := t.formulas[i]
		if c.read == 0 {
			continue
		}
		place := f.place
		place.Message, place.From = "", ""
		formulas = append(formulas, FormulaCount{Mapping: f.mapping, Path: f.path, Place: strings.TrimSuffix(place.String(), ": "), Reason: f.allowed,
			Reads: c.read, Writes: c.read - c.empty, Empties: c.empty})
	}
	for i, slot := range p.maps {
		for value, u := range t.unknown[i] {
			mac := hmac.New(sha256.New, p.idKey)
			mac.Write(appendPart(appendPart(appendPart(nil, "chartlift unmapped 1"), slot.m.Name), value))
			unmapped = append(unmapped, UnmappedCount{Map: slot.pack + "/" + slot.m.Name, Code: hex.EncodeToString(mac.Sum(nil)[:12]), Value: value,
				Count: u.count, Patients: int64(len(u.patients))})
		}
	}
	slices.SortFunc(unmapped, func(a, b UnmappedCount) int {
		if a.Count != b.Count {
			return int(min(1, max(-1, b.Count-a.Count)))
		}
		if d := strings.Compare(a.Map, b.Map); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
	return formulas, unmapped
}
