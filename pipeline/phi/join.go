package phi

import (
	"fmt"
	"slices"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// Join puts the pieces back into a clinical part, also one that a server has written anew: with white space, members in
// another order, meta of its own. The mark in meta.security goes away; what else the server added stays. The clinical
// part is not changed. An error says at which path the clinical part has lost what a piece belongs into.
func Join(clinical *fhir.Node, pieces []Piece) (*fhir.Node, error) {
	root := clinical.Clone()
	for i := range pieces {
		p := &pieces[i]
		if p.form&formStand == formMark {
			unmark(root, p.Path)
			continue
		}
		value, err := fhir.Parse(p.Value.Reveal())
		if err != nil {
			return nil, fmt.Errorf("join at %s: %w", p.Path, err)
		}
		if err := put(root, p, value); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// put places one piece.
func put(root *fhir.Node, p *Piece, value *fhir.Node) error {
	lost := func() error {
		return fmt.Errorf("join at %s: what it belongs into is not in the clinical part", p.Path)
	}
	parent := root
	rest := p.Path
	var last part
	for {
		last, rest = firstPart(rest)
		if rest == "" {
			break
		}
		if last.list {
			parent = parent.Item(last.index)
		} else {
			parent = parent.Get(last.name)
		}
		if parent == nil {
			return lost()
		}
	}
	how := stand(p.form & formStand)
	switch {
	case last.list && parent.Kind != fhir.Array, !last.list && parent.Kind != fhir.Object:
		return lost()
	case last.list && how == standSame:
		if last.index >= len(parent.Items) {
			return lost()
		}
		parent.Items[last.index] = value
	case last.list:
		if last.index > len(parent.Items) {
			return lost()
		}
		parent.Items = slices.Insert(parent.Items, last.index, value)
	default:
		if how == standSibling {
			parent.Set("_"+last.name, nil)
		}
		parent.Set(last.name, value)
	}
	return nil
}

// unmark takes the mark out of meta.security, and as much of what is empty then as was not there before.
func unmark(root *fhir.Node, path string) {
	meta := root.Get("meta")
	security := meta.Get("security")
	if security == nil || security.Kind != fhir.Array {
		return
	}
	i := slices.IndexFunc(security.Items, func(c *fhir.Node) bool {
		return c.Get("system").Str() == fhir.ObservationValue && c.Get("code").Str() == "REDACTED"
	})
	if i < 0 {
		return
	}
	security.Items = slices.Delete(security.Items, i, i+1)
	if len(security.Items) == 0 && path != pathLabel {
		meta.Set("security", nil)
	}
	if len(meta.Members) == 0 && path == pathMeta {
		root.Set("meta", nil)
	}
}
