package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
)

// The form of the file is described in pipeline/fhir/table.go.
const (
	magic      = "CLFHIR1\n"
	headerSize = len(magic) + sha256.Size
)

var strengths = []string{"", "required", "extensible", "preferred", "example"}

// encoder writes the payload. Strings and invariants are written once each and referred to by number.
type encoder struct {
	body       []byte
	strings    []string
	stringAt   map[string]int
	invariants []rule
	ruleAt     map[rule]int
}

func (e *encoder) number(n int) { e.body = binary.AppendUvarint(e.body, uint64(n)) }

func (e *encoder) string(s string) {
	at, ok := e.stringAt[s]
	if !ok {
		at = len(e.strings)
		e.stringAt[s] = at
		e.strings = append(e.strings, s)
	}
	e.number(at)
}

func (e *encoder) list(list []string) {
	e.number(len(list))
	for _, s := range list {
		e.string(s)
	}
}

func (e *encoder) rules(list []rule) {
	e.number(len(list))
	for _, r := range list {
		at, ok := e.ruleAt[r]
		if !ok {
			at = len(e.invariants)
			e.ruleAt[r] = at
			e.invariants = append(e.invariants, r)
		}
		e.number(at)
	}
}

func (e *encoder) flag(b bool) {
	if b {
		e.number(1)
	} else {
		e.number(0)
	}
}

func encode(t *types, sets []codeSet, compartments []compartment) ([]byte, error) {
	e := &encoder{stringAt: map[string]int{}, ruleAt: map[rule]int{}}
	e.number(len(sets))
	setAt := map[string]int{}
	for i, set := range sets {
		setAt[set.url] = i + 1
		e.string(set.url)
		e.number(len(set.systems))
		for _, s := range set.systems {
			e.string(s.system)
			e.list(s.codes)
		}
	}
	setPart := e.take()

	typeAt := map[string]int{}
	e.number(len(t.list))
	for i, typ := range t.list {
		typeAt[typ.name] = i
		e.string(typ.name)
		e.number(typ.kind)
		e.flag(typ.abstract)
		if typ.base == "" {
			e.number(0)
		} else if at, ok := typeAt[typ.base]; ok {
			e.number(at + 1)
		} else {
			return nil, fmt.Errorf("type %s: base %s comes later", typ.name, typ.base)
		}
		e.string(typ.pattern)
		e.rules(typ.invariants)
	}
	for _, typ := range t.list {
		e.number(len(typ.elements))
		for _, el := range typ.elements {
			if err := e.element(el, typeAt, setAt); err != nil {
				return nil, err
			}
		}
	}
	e.number(len(compartments))
	for _, c := range compartments {
		e.string(c.resource)
		e.list(c.paths)
	}
	typePart := e.take()

	e.number(len(e.invariants))
	for _, r := range e.invariants {
		e.string(r.Key)
		e.string(r.Severity)
		e.string(r.Human)
		e.string(r.Expression)
	}
	rulePart := e.take()

	e.number(len(e.strings))
	for _, s := range e.strings {
		e.number(len(s))
		e.body = append(e.body, s...)
	}
	payload := slices.Concat(e.take(), setPart, rulePart, typePart)

	var out bytes.Buffer
	out.WriteString(magic)
	sum := sha256.Sum256(payload)
	out.Write(sum[:])
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zip.Write(payload); err != nil {
		return nil, err
	}
	if err := zip.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// take is what was written since the last take.
func (e *encoder) take() []byte {
	part := e.body
	e.body = nil
	return part
}

func (e *encoder) element(el *element, typeAt, setAt map[string]int) error {
	e.string(el.name)
	e.string(el.path)
	flags := 0
	for i, set := range []bool{el.choice, el.modifier, el.summary} {
		if set {
			flags |= 1 << i
		}
	}
	e.number(flags)
	e.number(el.min)
	e.number(el.max + 1)
	e.number(len(el.types))
	for _, name := range el.types {
		e.number(typeAt[name])
	}
	if el.binding == nil {
		e.number(0)
	} else {
		strength := slices.Index(strengths, el.binding.Strength)
		if strength < 1 {
			return fmt.Errorf("element %s: binding strength %q is not known", el.path, el.binding.Strength)
		}
		e.number(strength)
		e.string(el.binding.ValueSet)
		if el.binding.Strength == "required" {
			e.number(setAt[el.binding.ValueSet])
		} else {
			e.number(0)
		}
	}
	e.list(el.targets)
	e.list(el.profiles)
	e.rules(el.invariants)
	return nil
}
