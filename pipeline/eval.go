package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/fhirpath"
	"github.com/chartlift/chartlift/pipeline/mapping"
)

// EvalValue is one value of a result: the name of its type as FHIR spells it, and FHIRPath's toString() of it, or JSON
// for a complex one. It holds what the data holds.
type EvalValue struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// EvalResource evaluates an expression over a resource's JSON; no data is an empty input. A refused expression is
// ErrUsage, with its place.
// now is what now() and today() answer; mappings have no clock, so that the same input gives the same bytes.
func EvalResource(expr string, data []byte, now time.Time) ([]EvalValue, error) {
	c := fhirpath.NewContext()
	c.Now = now
	env := &fhirpath.Env{Strict: true, Terminology: storeOf(nil, nil)}
	var focus fhirpath.Value
	if data != nil {
		node, err := fhir.Parse(data)
		if err != nil {
			return nil, usagef("the file is not JSON: %w", err)
		}
		if env.Type = fhir.Lookup(node.ResourceType()); env.Type == nil {
			return nil, usagef("the file holds no R4 resource: its resourceType is not one")
		}
		focus = fhirpath.Object(node, env.Type)
	}
	e, problems := fhirpath.Compile(expr, env)
	if e == nil {
		return nil, usagef("%s", problemText(expr, problems))
	}
	values, err := e.Append(c, focus, nil)
	if err != nil {
		return nil, usagef("%w", evalFailure(err))
	}
	return evalValues(values), nil
}

// EvalRecord evaluates a formula over the n-th record (from 1) of a table, as a mapping of that table would.
func (s *Session) EvalRecord(ctx context.Context, table string, n int64, expr string) ([]EvalValue, error) {
	t, err := s.table(table)
	if err != nil {
		return nil, err
	}
	evaluator, _, faults := s.Program.Evaluator(t, strings.TrimPrefix(strings.TrimSpace(expr), "="))
	if len(faults) > 0 {
		for i := range faults {
			faults[i].File = "formula"
		}
		return nil, faults
	}
	// The reading has ended before the formula looks in other tables: some databases have one connection for both.
	record, err := s.recordAt(ctx, t, n)
	if err != nil {
		return nil, err
	}
	return s.evalWith(ctx, evaluator, record)
}

// recordAt is a copy of the n-th record of a table.
func (s *Session) recordAt(ctx context.Context, t *extract.Table, n int64) (*extract.Record, error) {
	source := s.sources[t.Source]
	shards, err := source.Shards(ctx, t)
	if err != nil {
		return nil, err
	}
	for i, shard := range shards {
		if i+1 < len(shards) && shards[i+1].FirstOrdinal <= n {
			continue
		}
		for r, err := range source.Read(ctx, shard, nil) {
			switch {
			case err != nil && isFault(err):
				continue
			case err != nil:
				return nil, err
			case r.Ordinal == n:
				found := &extract.Record{Table: t, Line: r.Line, Ordinal: r.Ordinal}
				for _, c := range r.Cells {
					found.Cells = append(found.Cells, strings.Clone(c))
				}
				return found, nil
			case r.Ordinal > n:
				return nil, usagef("record %d of table %s is malformed; `chartlift dry-run` says how", n, t.Name)
			}
		}
	}
	return nil, usagef("table %s has no record %d", t.Name, n)
}

// evalWith evaluates over a record, with the tables that the formula looks in.
func (s *Session) evalWith(ctx context.Context, e *mapping.Evaluator, r *extract.Record) (values []EvalValue, err error) {
	if len(e.Indexes()) > 0 {
		j, err := s.openAll(ctx, e.Indexes())
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, j.Close()) }()
		e.SetFinder(j.finder())
	}
	got, err := e.Run(r)
	if err != nil {
		return nil, usagef("%w", err)
	}
	return evalValues(got), nil
}

// openAll reads the tables of the indexes whole, outside of any run. Close it.
func (s *Session) openAll(ctx context.Context, indexes []*mapping.Index) (*joined, error) {
	return s.openJoined(ctx, indexes, s.Plan.Stage, DefaultMemory, 1, func(b *beside) ([]extract.Shard, reading, error) {
		source := s.sources[b.table.Source]
		shards, err := source.Shards(ctx, b.table)
		return shards, func(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error] {
			return source.Read(ctx, shard, nil)
		}, err
	})
}

// table finds a table by name, or by source/name.
func (s *Session) table(name string) (*extract.Table, error) {
	var found []*extract.Table
	for _, t := range s.tables {
		if t.Name == name || t.Source+"/"+t.Name == name {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, usagef("there is no table %s", name)
	}
	return nil, usagef("more than one source has a table %s: write SOURCE/%s", name, name)
}

func evalValues(values []fhirpath.Value) []EvalValue {
	out := []EvalValue{}
	for _, v := range values {
		text := v.Text()
		if v.Kind() == fhirpath.KindObject {
			text = string(v.Node().AppendCanonical(nil))
		}
		out = append(out, EvalValue{evalType(v.Type()), text})
	}
	return out
}

// evalType spells FHIRPath's own types as FHIR spells the same primitive: System.DateTime and dateTime are one thing to
// whoever tries a formula.
func evalType(name string) string {
	short, system := strings.CutPrefix(name, "System.")
	if !system || short == "Quantity" {
		return strings.TrimPrefix(short, "FHIR.")
	}
	return strings.ToLower(short[:1]) + short[1:]
}

// problemText shows the problems of an expression, each with the character it begins at.
func problemText(expr string, problems []fhirpath.Problem) string {
	var lines []string
	for _, p := range problems {
		if p.Finding {
			continue
		}
		at := min(max(p.Offset, 0), len(expr))
		line := fmt.Sprintf("expression:%d: %s", utf8.RuneCountInString(expr[:at])+1, p.Message)
		if p.Hint != "" {
			line += " (" + p.Hint + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// evalFailure keeps the reason of a failed evaluation.
func evalFailure(err error) error { return fmt.Errorf("the expression fails: %w", err) }
