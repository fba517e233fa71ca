package run

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// mend writes the resources anew that refer to nothing and whose mapping says `references: drop`: without the
// reference, with a finding. The new ones go into a batch of their own; the old ones are excluded.
func (c *checker) mend(ctx context.Context) (ledger.Report, error) {
	x := c.of.making.maker()
	x.start("mended")
	byBatch := map[int][]int{}
	for at := range c.dropped {
		byBatch[at.batch] = append(byBatch[at.batch], at.position)
	}
	batches := make([]int, 0, len(byBatch))
	for b := range byBatch {
		batches = append(batches, b)
	}
	slices.Sort(batches)
	for _, b := range batches {
		if err := c.mendBatch(ctx, x, b, byBatch[b]); err != nil {
			return ledger.Report{}, err
		}
	}
	report, err := x.finish(ctx)
	report.Resources = nil // made already, once
	return report, err
}

func (c *checker) mendBatch(ctx context.Context, x *maker, batch int, positions []int) error {
	slices.Sort(positions)
	info := c.infos[batch]
	m := c.of.program.Mapping(info.Mapping)
	refs := map[int][]stage.Ref{}
	keys := map[int]stage.Key{}
	for e, err := range stage.IndexOf(ctx, c.of.making.staged.Place, c.of.making.staged.Keys, info) {
		if err != nil {
			return err
		}
		if _, found := slices.BinarySearch(positions, e.Position); found {
			refs[e.Position] = slices.Clone(e.Refs)
			keys[e.Position] = stage.Key{ID: e.ID, Patient: e.Patient, Ordinal: e.Ordinal}
		}
	}
	position := -1
	for sealed, err := range stage.Read(ctx, c.of.making.staged.Place, c.of.making.staged.Keys, info) {
		if err != nil {
			return err
		}
		position++
		if _, found := slices.BinarySearch(positions, position); !found {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		drop := map[string]bool{}
		for _, id := range c.dropped[dropKey{batch, position}] {
			drop[mapping.ID(id).String()] = true
		}
		node, row, err := openWhole(c.of.making.staged.Keys, sealed)
		if err != nil {
			return err
		}
		mended, paths := withoutReferences(node, drop)
		place := sealed.Place()
		if mended == nil {
			c.strike(&stage.Entry{Batch: batch, Position: position, ID: keys[position].ID, Line: place.Line}, ExcludedMissing)
			continue
		}
		again, err := x.sealer.SealNode(&phi.Resource{Type: sealed.Type(), ID: sealed.ID(), Patient: sealed.Patient(), Place: place, Row: row}, mended)
		if err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
		key := keys[position]
		for _, ref := range refs[position] {
			if !drop[mapping.ID(ref.ID).String()] {
				key.Refs = append(key.Refs, ref)
			}
		}
		if err := x.put(ctx, m, info.Wave, again, key); err != nil {
			return err
		}
		c.strike(&stage.Entry{Batch: batch, Position: position}, ExcludedReplaced)
		for _, path := range paths {
			x.report.Findings = append(x.report.Findings, ledger.Finding{
				Table: info.Table, Line: place.Line, Column: path, Rule: mapping.FindDroppedRef, Mapping: m.Name, Severity: ledger.FindingNeedsEye,
			})
		}
	}
	return nil
}

// openWhole joins a sealed resource into a tree.
func openWhole(keys *phi.Keyring, sealed phi.Sealed) (*fhir.Node, []byte, error) {
	whole, err := keys.Whole(sealed, nil)
	if err != nil {
		return nil, nil, err
	}
	node, err := fhir.Parse(whole)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: a staged resource is not JSON: %w", sealed.Place(), err)
	}
	_, _, row, err := keys.Parts(sealed)
	return node, row, err
}

// withoutReferences leaves out every Reference to one of the ids, and whatever is empty without it. A required element
// that would be missing then makes the result nil: such a resource is refused.
func withoutReferences(n *fhir.Node, ids map[string]bool) (*fhir.Node, []string) {
	d := dropper{ids: ids}
	out := d.object(n, fhir.Lookup(n.ResourceType()), n.ResourceType())
	if d.required {
		return nil, nil
	}
	return out, d.paths
}

type dropper struct {
	ids      map[string]bool
	paths    []string
	required bool
	around   bool // what a reference is required in is left out, too
}

func (d *dropper) object(n *fhir.Node, typ *fhir.Type, path string) *fhir.Node {
	if typ.Is("Reference") {
		if _, id, ok := strings.Cut(n.Get("reference").Str(), "/"); ok && d.ids[id] {
			d.paths = append(d.paths, path)
			return nil
		}
	}
	out := &fhir.Node{Kind: fhir.Object}
	for _, m := range n.Members {
		element, below := typ.Element(m.Name)
		value := d.value(m.Value, below, path+"."+m.Name)
		if value != nil {
			out.Members = append(out.Members, fhir.Member{Name: m.Name, Value: value})
		} else if element != nil && element.Min > 0 {
			if d.around {
				return nil
			}
			d.required = true
		}
	}
	if len(out.Members) == 0 {
		return nil
	}
	return out
}

func (d *dropper) value(n *fhir.Node, typ *fhir.Type, path string) *fhir.Node {
	switch n.Kind {
	case fhir.Object:
		return d.object(n, typ, path)
	case fhir.Array:
		out := &fhir.Node{Kind: fhir.Array}
		for _, item := range n.Items {
			if v := d.value(item, typ, path); v != nil {
				out.Items = append(out.Items, v)
			}
		}
		if len(out.Items) == 0 {
			return nil
		}
		return out
	}
	return n
}

// pull turns a sequence into a function that is asked for the next one.
func pull[V any](seq iter.Seq2[V, error]) (func() (V, error, bool), func()) { return iter.Pull2(seq) }
