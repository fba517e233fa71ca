package fhir

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// The embedded table is made by scripts/definitions from HL7's bundles; `make definitions` makes it again. Its form:
//
//	"CLFHIR1\n", SHA-256 of the payload (32 bytes), gzip of the payload
//
// and the payload, all numbers as unsigned varints, `s` being a number of the string list:
//
//	strings:      count, then length and bytes of each
//	code sets:    count, then url s, systems: count, then system s, codes: count, then code s
//	invariants:   count, then key s, severity s, human s, expression s
//	types:        count, then name s, kind, abstract (0, 1), base (number of the type + 1, 0 for none), pattern s,
//	              invariants: count, then number of the invariant
//	elements:     for each type in turn: count, then name s, path s, flags (1 choice, 2 modifier, 4 summary), min,
//	              max + 1 (0 for unbounded), types: count, then number of the type; binding strength (0 none, 1 required,
//	              2 extensible, 3 preferred, 4 example), if not none: value set s, code set (number + 1, 0 for none);
//	              targets: count, then s; profiles: count, then s; invariants: count, then number of the invariant
//	compartments: count, then resource s, paths: count, then s
//
// Types come after their bases. The table is decoded on first use, in a few milliseconds, and not before.
//
//go:embed definitions.bin.gz
var embedded []byte

const tableMagic = "CLFHIR1\n"

var strengths = [...]string{"", "required", "extensible", "preferred", "example"}

type table struct {
	types        map[string]*Type
	resources    []string
	codeSets     map[string]*CodeSet
	compartments map[string][]string
}

// definitions is the decoded table. A table that cannot be decoded is empty; a test of this package guards that the
// embedded one can.
var definitions = sync.OnceValues(func() (*table, error) {
	t, err := decodeTable(embedded)
	if err != nil {
		return &table{}, fmt.Errorf("embedded R4 definitions: %w", err)
	}
	return t, nil
})

// LoadDefinitions decodes the embedded definitions, and opens the package of [Core], now instead of on first use. The
// error is one of the program's making: what is embedded is damaged.
func LoadDefinitions() error {
	_, table := definitions()
	_, pack := core()
	return errors.Join(table, pack)
}

// Lookup finds a type by its name: "Patient", "HumanName", "code", "Patient.contact". Nil if R4 has none of that name.
func Lookup(name string) *Type {
	t, _ := definitions()
	return t.types[name]
}

// Resources lists the concrete resource types, sorted.
func Resources() []string {
	t, _ := definitions()
	return slices.Clone(t.resources)
}

// ValueSet is the expansion of a value set by its URL (a version after `|` is not looked at), or nil. Only the sets
// of required bindings that can be listed are at hand.
func ValueSet(url string) *CodeSet {
	t, _ := definitions()
	return t.codeSets[withoutVersion(url)]
}

// Compartment lists the elements that put a resource into the compartment of the patient they refer to, as paths below
// the resource: for Observation subject and performer (compartmentdefinition-patient.html). A Patient is in its own
// compartment besides. Nil for resources that are in none.
func Compartment(resource string) []string {
	t, _ := definitions()
	return slices.Clone(t.compartments[resource])
}

// DefinitionsDigest is the SHA-256, in hex, of the embedded definitions. It changes exactly when the definitions do.
func DefinitionsDigest() string {
	if len(embedded) < len(tableMagic)+sha256.Size {
		return ""
	}
	return hex.EncodeToString(embedded[len(tableMagic) : len(tableMagic)+sha256.Size])
}

func withoutVersion(url string) string {
	for i := 0; i < len(url); i++ {
		if url[i] == '|' {
			return url[:i]
		}
	}
	return url
}

var errTable = errors.New("table is cut or malformed")

func decodeTable(data []byte) (*table, error) {
	if len(data) < len(tableMagic)+sha256.Size || string(data[:len(tableMagic)]) != tableMagic {
		return nil, errTable
	}
	data = data[len(tableMagic):]
	zip, err := gzip.NewReader(bytes.NewReader(data[sha256.Size:]))
	if err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(zip)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(payload) != [sha256.Size]byte(data[:sha256.Size]) {
		return nil, errors.New("table does not match its digest")
	}
	d := &decoder{data: payload}
	t := d.table()
	if d.failed || len(d.data) != 0 {
		return nil, errTable
	}
	return t, nil
}

// decoder reads the payload. After a fault it yields zeros, and failed says so.
type decoder struct {
	data       []byte
	failed     bool
	strings    []string
	codeSets   []*CodeSet
	invariants []Invariant
	types      []*Type
}

func (d *decoder) fail() int {
	d.failed, d.data = true, nil
	return 0
}

func (d *decoder) number() int {
	n, size := binary.Uvarint(d.data)
	if size <= 0 || n > 1<<30 {
		return d.fail()
	}
	d.data = d.data[size:]
	return int(n)
}

// count reads the length of a list; each entry takes at least one byte, which bounds what a damaged table can ask for.
func (d *decoder) count() int {
	if n := d.number(); n <= len(d.data) {
		return n
	}
	return d.fail()
}

func pick[T any](d *decoder, list []T, i int) (zero T) {
	if i < 0 || i >= len(list) {
		d.fail()
		return zero
	}
	return list[i]
}

func (d *decoder) string() string { return pick(d, d.strings, d.number()) }

func (d *decoder) list() []string {
	n := d.count()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = d.string()
	}
	return out
}

func (d *decoder) invariantList() []Invariant {
	n := d.count()
	if n == 0 {
		return nil
	}
	out := make([]Invariant, n)
	for i := range out {
		out[i] = pick(d, d.invariants, d.number())
	}
	return out
}

func (d *decoder) table() *table {
	all := string(d.data)
	d.strings = make([]string, d.count())
	for i := range d.strings {
		n := d.count()
		start := len(all) - len(d.data)
		d.strings[i] = all[start : start+n]
		d.data = d.data[n:]
	}
	t := &table{compartments: map[string][]string{}, codeSets: map[string]*CodeSet{}}
	d.codeSets = make([]*CodeSet, d.count())
	for i := range d.codeSets {
		d.codeSets[i] = d.codeSet()
		t.codeSets[d.codeSets[i].url] = d.codeSets[i]
	}
	d.invariants = make([]Invariant, d.count())
	for i := range d.invariants {
		d.invariants[i] = Invariant{Key: d.string(), Severity: d.string(), Human: d.string(), Expression: d.string()}
	}
	d.typeHeads()
	t.types = make(map[string]*Type, len(d.types))
	for _, typ := range d.types {
		t.types[typ.Name] = typ
		if typ.Kind == KindResource && !typ.Abstract {
			t.resources = append(t.resources, typ.Name)
		}
	}
	slices.Sort(t.resources)
	for _, typ := range d.types {
		d.elements(typ)
	}
	for range d.count() {
		resource := d.string()
		t.compartments[resource] = d.list()
	}
	return t
}

func (d *decoder) codeSet() *CodeSet {
	set := &CodeSet{url: d.string()}
	for range d.count() {
		system := d.string()
		for range d.count() {
			set.entries = append(set.entries, codeEntry{code: d.string(), system: system})
		}
	}
	slices.SortFunc(set.entries, codeEntry.compare)
	return set
}

func (d *decoder) typeHeads() {
	d.types = make([]*Type, d.count())
	heads := make([]Type, len(d.types))
	for i := range d.types {
		t := &heads[i]
		t.Name, t.Kind, t.Abstract = d.string(), Kind(d.number()), d.number() == 1
		if base := d.number(); base > i {
			d.fail()
		} else if base > 0 {
			t.Base = d.types[base-1]
		}
		t.Pattern, t.Invariants = d.string(), d.invariantList()
		if t.Kind == KindPrimitive {
			t.valid = formOf(t.Name)
		}
		d.types[i] = t
	}
}

func (d *decoder) elements(t *Type) {
	n := d.count()
	all := make([]Element, n)
	t.Elements = make([]*Element, n)
	t.index = make(map[string]named, n)
	for i := range all {
		e := &all[i]
		e.Name, e.Path = d.string(), d.string()
		flags := d.number()
		e.Choice, e.Modifier, e.Summary = flags&1 != 0, flags&2 != 0, flags&4 != 0
		e.Min, e.Max = d.number(), d.number()-1
		e.Types = make([]*Type, d.count())
		for j := range e.Types {
			e.Types[j] = pick(d, d.types, d.number())
		}
		if strength := pick(d, strengths[:], d.number()); strength != "" {
			e.Binding = &Binding{Strength: strength, ValueSet: d.string()}
			if set := d.number(); set > 0 {
				e.Binding.Codes = pick(d, d.codeSets, set-1)
			}
		}
		e.Targets, e.Profiles, e.Invariants = d.list(), d.list(), d.invariantList()
		if d.failed {
			return
		}
		t.Elements[i] = e
		if !e.Choice {
			if len(e.Types) != 1 {
				d.fail()
				return
			}
			t.index[e.Name] = named{e, e.Types[0]}
			continue
		}
		t.index[e.Name] = named{e, nil}
		for _, typ := range e.Types {
			t.index[choiceName(e.Name, typ.Name)] = named{e, typ}
		}
	}
}
