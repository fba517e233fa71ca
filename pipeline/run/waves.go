package run

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/mapping"
	"github.com/chartlift/chartlift/pipeline/plan"
)

// sharedWave is the wave of what belongs to no patient. It goes first.
const sharedWave = "shared"

// Waves says to which wave a patient belongs. With one wave that takes everyone nothing is kept; else one small entry
// for each patient whom a wave before the last has taken.
type Waves struct {
	list    []string // without shared
	rest    string   // the wave of patients whom no other takes; "" if none
	only    string   // the one wave that was asked for; "" for all
	members map[mapping.ID]uint8
}

// Names lists the waves in the order in which they are cut over.
func (w *Waves) Names() []string { return append([]string{sharedWave}, w.list...) }

// Of names the wave of a resource, and tells whether this run does that wave.
func (w *Waves) Of(m *mapping.Mapping, patient mapping.ID) (string, bool) {
	if m.Shared || patient.IsZero() {
		return sharedWave, true
	}
	wave := w.rest
	if len(w.members) > 0 {
		if i, ok := w.members[patient]; ok {
			wave = w.list[i]
		}
	}
	return wave, wave != "" && (w.only == "" || w.only == wave)
}

// Reads tells whether this run reads what belongs to a patient (zero: to none). A patient whom no other wave takes, and one
// of whom there is no record any more, belong to the wave that takes the rest.
func (w *Waves) Reads(patient mapping.ID) bool {
	if patient.IsZero() || w.only == "" {
		return true
	}
	wave := w.rest
	if i, ok := w.members[patient]; ok {
		wave = w.list[i]
	}
	return wave == w.only
}

// AssignWaves reads the table of the Patient mapping and asks each wave's formula, or looks into its file of keys.
func (r *Reading) AssignWaves(ctx context.Context) error {
	w := &Waves{only: r.options.Wave, members: map[mapping.ID]uint8{}}
	r.Waves = w
	selective := false
	for _, p := range r.options.Waves {
		w.list = append(w.list, p.Name)
		if p.Formula == "" && p.File == "" {
			w.rest = p.Name
		} else {
			selective = true
		}
	}
	if !selective {
		return nil
	}
	if len(w.list) > 255 {
		return plan.Usagef("%s: more than 255 waves", r.options.PlanFile)
	}
	for _, t := range r.Tables {
		for _, m := range t.Rows {
			if m.Self {
				return r.assignFrom(ctx, w, t, m)
			}
		}
	}
	return plan.Usagef("%s: waves by patients need a mapping with `patient: self`", r.options.PlanFile)
}

func (r *Reading) assignFrom(ctx context.Context, w *Waves, t *Table, m *mapping.Mapping) error {
	tests, err := r.waveTests(m)
	if err != nil {
		return err
	}
	worker := r.program.NewWorker()
	for _, shard := range t.Shards {
		for rec, err := range t.Read(ctx, shard) {
			var fault *extract.Fault
			if errors.As(err, &fault) {
				continue
			}
			if err != nil {
				return err
			}
			id, ok := worker.Key(m, rec)
			if !ok {
				continue
			}
			if _, taken := w.members[id]; taken {
				continue
			}
			for i, test := range tests {
				if test == nil {
					continue
				}
				yes, err := test(worker, rec)
				if err != nil {
					return fmt.Errorf("wave %s: %s: %w", w.list[i], rec.Place(), err)
				}
				if yes {
					w.members[id] = uint8(i)
					break
				}
			}
		}
	}
	return nil
}

type waveTest func(*mapping.Worker, *extract.Record) (bool, error)

func (r *Reading) waveTests(m *mapping.Mapping) ([]waveTest, error) {
	tests := make([]waveTest, len(r.options.Waves))
	var faults plan.Faults
	for i, p := range r.options.Waves {
		switch {
		case p.Formula != "":
			condition, problems := r.program.Condition(m, p.Formula)
			for _, f := range problems {
				f.File, f.Line, f.Column = r.options.PlanFile, p.Node.Line, p.Node.Column
				faults = append(faults, f)
			}
			tests[i] = func(w *mapping.Worker, rec *extract.Record) (bool, error) { return w.Test(condition, rec) }
		case p.File != "":
			keys, err := readKeys(p.File)
			if err != nil {
				return nil, fmt.Errorf("wave %s: %w", p.Name, err)
			}
			column := -1
			if len(m.Key) == 1 {
				column = r.columnOf(m, m.Key[0])
			}
			if column < 0 {
				return nil, plan.Usagef("%s: wave %s: a file of keys needs a Patient mapping with one key column", r.options.PlanFile, p.Name)
			}
			tests[i] = func(_ *mapping.Worker, rec *extract.Record) (bool, error) { return keys[rec.Cells[column]], nil }
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return tests, nil
}

func (r *Reading) columnOf(m *mapping.Mapping, column string) int {
	for _, t := range r.source.UsedTables() {
		if t.Name == m.Table && t.Source == m.Source {
			return t.Column(column)
		}
	}
	return -1
}

// readKeys reads a file of patient keys, one a line. It is patient data: it stays in memory and is never shown.
func readKeys(path string) (map[string]bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys := map[string]bool{}
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if line := strings.TrimSpace(scanner.Text()); line != "" {
			keys[line] = true
		}
	}
	return keys, scanner.Err()
}
