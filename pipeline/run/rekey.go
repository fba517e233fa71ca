package run

import (
	"context"
	"errors"
	"io/fs"
	"strconv"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/stage"
	"github.com/chartlift/chartlift/pipeline/state"
)

// alike is how much of two resources must be the same for one to be the other under a new key: a correction of what the
// key is made of changes little else. Two different things of one kind and patient have less in common.
const alike = 0.8

// rekeyed finds, among what vanished, what has come back under a new key: by its old id the new one.
func (s *vanishing) rekeyed(ctx context.Context, refused *refusedKeys) (map[stage.ID]stage.ID, error) {
	out := map[stage.ID]stage.ID{}
	c := contents{of: s, batches: map[string]map[string]ledger.Batch{}}
	for group, err := range s.state.Candidates(s.run.ID, s.staged(s.run.ID).Scratch, func(p state.Placement) bool { return s.inScope(p) && !refused.ids[p.ID] }) {
		if err != nil {
			return nil, err
		}
		gone, err := c.all(ctx, group.Gone)
		if err != nil {
			return nil, err
		}
		fresh, err := c.all(ctx, group.New)
		if err != nil {
			return nil, err
		}
		for _, m := range state.Pair(len(gone), len(fresh), alike, func(g, f int) float64 { return likeness(gone[g], fresh[f]) }) {
			out[group.Gone[m.Gone].ID] = group.New[m.New].ID
		}
	}
	return out, nil
}

// contents reads what placements stand for, from the batches of whichever run wrote them.
type contents struct {
	of      *vanishing
	batches map[string]map[string]ledger.Batch // by run and id
}

// leaves are the values of a resource by their paths, without what says which resource it is.
type leaves map[string]string

func (c *contents) all(ctx context.Context, list []state.Placement) ([]leaves, error) {
	out := make([]leaves, len(list))
	for i, p := range list {
		var err error
		if out[i], err = c.one(ctx, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// one reads one resource; nil if its batch is not there any more.
func (c *contents) one(ctx context.Context, p state.Placement) (leaves, error) {
	if p.Position < 0 {
		return nil, nil
	}
	if c.batches[p.Written] == nil {
		list, err := c.of.ledger.Batches(ctx, p.Written, ledger.BatchFilter{})
		if err != nil && !errors.Is(err, ledger.ErrNoRun) {
			return nil, err
		}
		c.batches[p.Written] = map[string]ledger.Batch{}
		for _, b := range list {
			c.batches[p.Written][b.ID] = b
		}
	}
	b, ok := c.batches[p.Written][p.Batch]
	if !ok {
		return nil, nil
	}
	at := c.of.staged(p.Written)
	for sealed, err := range stage.Pick(ctx, at.Place, at.Keys, infoOf(p.Written, b), []int{int(p.Position)}) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		n, _, err := openWhole(at.Keys, sealed)
		if err != nil {
			return nil, err
		}
		l := leaves{}
		l.gather("", n)
		return l, nil
	}
	return nil, nil
}

func (l leaves) gather(path string, n *fhir.Node) {
	switch n.Kind {
	case fhir.Object:
		for _, m := range n.Members {
			if path == "" && (m.Name == "id" || m.Name == "meta") {
				continue
			}
			l.gather(path+"."+m.Name, m.Value)
		}
	case fhir.Array:
		for i, item := range n.Items {
			l.gather(path+"."+strconv.Itoa(i), item)
		}
	default:
		l[path] = n.Text
	}
}

// likeness is the share of values that two resources have in common, of those of the larger.
func likeness(a, b leaves) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	same := 0
	for path, text := range a {
		if other, ok := b[path]; ok && other == text {
			same++
		}
	}
	return float64(same) / float64(max(len(a), len(b)))
}
