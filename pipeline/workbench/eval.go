package workbench

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
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
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
	env := &fhirpath.Env{Strict: true, Terminology: plan.StoreOf(nil, nil)}
	var focus fhirpath.Value
	if data != nil {
		node, err := fhir.Parse(data)
		if err != nil {
			return nil, plan.Usagef("the file is not JSON: %w", err)
		}
		if env.Type = fhir.Lookup(node.ResourceType()); env.Type == nil {
			return nil, plan.Usagef("the file holds no R4 resource: its resourceType is not one")
		}
		focus = fhirpath.Object(node, env.Type)
	}
	e, problems := fhirpath.Compile(expr, env)
	if e == nil {
		return nil, plan.Usagef("%s", problemText(expr, problems))
	}
	values, err := e.Append(c, focus, nil)
	if err != nil {
		return nil, plan.Usagef("%w", evalFailure(err))
	}
	return evalValues(values), nil
}

// EvalRecord evaluates a formula over the n-th record (from 1) of a table, as a mapping of that table would.
func EvalRecord(ctx context.Context, s *plan.Session, table string, n int64, expr string) ([]EvalValue, error) {
	t, err := s.Table(table)
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
	record, err := recordAt(ctx, s.SourceOf(t), t, n)
	if err != nil {
		return nil, err
	}
	return evalWith(ctx, s, evaluator, record)
}

// recordAt is a copy of the n-th record of a table.
func recordAt(ctx context.Context, source extract.Source, t *extract.Table, n int64) (*extract.Record, error) {
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
			case err != nil && plan.IsFault(err):
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
				return nil, plan.Usagef("record %d of table %s is malformed; `chartlift dry-run` says how", n, t.Name)
			}
		}
	}
	return nil, plan.Usagef("table %s has no record %d", t.Name, n)
}

// evalWith evaluates over a record, with the tables that the formula looks in.
func evalWith(ctx context.Context, s *plan.Session, e *mapping.Evaluator, r *extract.Record) (values []EvalValue, err error) {
	if len(e.Indexes()) > 0 {
		j, err := openAll(ctx, s, e.Indexes())
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, j.Close()) }()
		e.SetFinder(j.Finder())
	}
	got, err := e.Run(r)
	if err != nil {
		return nil, plan.Usagef("%w", err)
	}
	return evalValues(got), nil
}

// openAll reads the tables of the indexes whole, outside of any run. Close it.
func openAll(ctx context.Context, s *plan.Session, indexes []*mapping.Index) (*run.Joined, error) {
	return run.Join(ctx, s.Tables, indexes, s.Scratch(""), run.DefaultMemory, 1, func(b *run.Beside) ([]extract.Shard, run.ReadShard, error) {
		source := s.SourceOf(b.Table)
		shards, err := source.Shards(ctx, b.Table)
		return shards, func(ctx context.Context, shard extract.Shard) iter.Seq2[*extract.Record, error] {
			return source.Read(ctx, shard, nil)
		}, err
	})
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
