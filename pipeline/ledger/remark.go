package ledger

import (
	"context"
	"iter"
	"slices"
	"strings"
)

// Refusal is a record that could not be mapped: its place and the rule, never its value.
type Refusal struct {
	Table   string `json:"table"`
	Line    int64  `json:"line"`   // physical line, the header is 1; 0: the table as a whole
	Column  string `json:"column"` // empty: the record as a whole
	Rule    string `json:"rule"`
	Mapping string `json:"mapping"`
}

// FindingSeverity says whether a finding needs a person.
type FindingSeverity string

// The severities of a finding. A notice does not change the exit code.
const (
	NoticeSeverity  FindingSeverity = "notice"
	FindingNeedsEye FindingSeverity = "finding"
)

// Finding is a remark that does not stop the record.
type Finding struct {
	Table    string          `json:"table"`
	Line     int64           `json:"line"` // as in Refusal; 0 for remarks of `check`
	Column   string          `json:"column"`
	Rule     string          `json:"rule"`
	Mapping  string          `json:"mapping"`
	Severity FindingSeverity `json:"severity"`
}

// Formula counts what became of a mapping's formula: how often it read a cell with something in it, and how often it
// then wrote something or nothing. Reads = Writes + Empties.
type Formula struct {
	Mapping string // the mapping's name
	Path    string // the element, e.g. "code"
	Place   string // file:line:column of the formula
	Reason  string // of `allow empty:`; without it, Empties above zero are a finding
	Reads   int64
	Writes  int64
	Empties int64
}

// Issue is what validation found in what a mapping made, over all its resources. Counts of one issue are added; of places
// the first is kept.
type Issue struct {
	Mapping  string `json:"mapping"`
	Severity string `json:"severity"` // error or warning, or Unchecked
	Rule     string `json:"rule"`     // of package validate, or the key of an invariant
	Path     string `json:"path"`     // within the resource
	Profile  string `json:"profile"`  // that asks it; "" for R4 itself, of which an error refuses the record
	Table    string `json:"table"`    // with Line, the first record of it
	Line     int64  `json:"line"`
	Count    int64  `json:"count"`
}

// Unchecked is the severity of an Issue that tells what could not be judged for want of a definition: Mapping is then its
// kind, Path its name, and Profile says why.
const Unchecked = "unchecked"

// Unmapped is a code that no concept map knows. Counts of one code are added; of patients the largest is kept, so
// Patients is "at least", because one patient may turn up in two shards.
type Unmapped struct {
	Map      string // the concept map's name
	Code     string // a keyed digest of the code, the same in every shard
	Value    string // the code itself, only where the policy and the number of patients allow it
	Count    int64
	Patients int64
}

// Translation counts codes that were translated into something that does not mean the same.
type Translation struct {
	Map          string // the concept map's name
	Relationship string // of FHIR R4's ConceptMapEquivalence, or `choice`
	Count        int64
}

func (r *Report) recordRefusals(ctx context.Context, tx handle, run int64) error {
	rows := newInserter("INSERT INTO refusals (run, tbl, line, col, rule, mapping) VALUES", 6, "")
	for _, f := range r.Refusals {
		if err := rows.add(ctx, tx, run, f.Table, f.Line, f.Column, f.Rule, f.Mapping); err != nil {
			return err
		}
	}
	return rows.flush(ctx, tx)
}

func (r *Report) recordFindings(ctx context.Context, tx handle, run int64) error {
	rows := newInserter("INSERT INTO findings (run, tbl, line, col, rule, mapping, severity) VALUES", 7, "")
	for _, f := range r.Findings {
		if err := rows.add(ctx, tx, run, f.Table, f.Line, f.Column, f.Rule, f.Mapping, string(f.Severity)); err != nil {
			return err
		}
	}
	return rows.flush(ctx, tx)
}

func (r *Report) recordFormulas(ctx context.Context, tx handle, run int64) error {
	for _, f := range r.Formulas {
		if _, err := tx.exec(ctx, `INSERT INTO formulas (run, mapping, path, place, reason, reads, writes, empties) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (run, mapping, path, place) DO UPDATE SET reason = excluded.reason, reads = formulas.reads + excluded.reads,
			writes = formulas.writes + excluded.writes, empties = formulas.empties + excluded.empties`,
			run, f.Mapping, f.Path, f.Place, f.Reason, f.Reads, f.Writes, f.Empties); err != nil {
			return err
		}
	}
	for _, x := range r.Issues {
		if _, err := tx.exec(ctx, `INSERT INTO issues (run, mapping, severity, rule, path, profile, tbl, line, n) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (run, mapping, severity, rule, path, profile) DO UPDATE SET n = issues.n + excluded.n,
			line = CASE WHEN (excluded.tbl, excluded.line) < (issues.tbl, issues.line) THEN excluded.line ELSE issues.line END,
			tbl = CASE WHEN excluded.tbl < issues.tbl THEN excluded.tbl ELSE issues.tbl END`,
			run, x.Mapping, x.Severity, x.Rule, x.Path, x.Profile, x.Table, x.Line, x.Count); err != nil {
			return err
		}
	}
	for _, u := range r.Unmapped {
		if _, err := tx.exec(ctx, `INSERT INTO unmapped (run, map, code, value, n, patients) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (run, map, code) DO UPDATE SET n = unmapped.n + excluded.n,
			patients = CASE WHEN excluded.patients > unmapped.patients THEN excluded.patients ELSE unmapped.patients END,
			value = CASE WHEN excluded.value <> '' THEN excluded.value ELSE unmapped.value END`,
			run, u.Map, u.Code, u.Value, u.Count, u.Patients); err != nil {
			return err
		}
	}
	for _, t := range r.Translations {
		if _, err := tx.exec(ctx, `INSERT INTO translations (run, map, relationship, n) VALUES (?, ?, ?, ?)
			ON CONFLICT (run, map, relationship) DO UPDATE SET n = translations.n + excluded.n`, run, t.Map, t.Relationship, t.Count); err != nil {
			return err
		}
	}
	for _, u := range r.UnmappedOfRun {
		// As many as are known, at most as many as there are codes, and never fewer than before.
		if _, err := tx.exec(ctx, `UPDATE unmapped SET
			patients = CASE WHEN ? > n THEN n WHEN ? > patients THEN ? ELSE patients END,
			value = CASE WHEN ? <> '' THEN ? ELSE value END WHERE run = ? AND map = ? AND code = ?`,
			u.Patients, u.Patients, u.Patients, u.Value, u.Value, run, u.Map, u.Code); err != nil {
			return err
		}
	}
	return nil
}

// Refusals yields the refusals of a run by place, the same for any number of workers. An error ends the stream.
func (l *Ledger) Refusals(ctx context.Context, run string) iter.Seq2[Refusal, error] {
	scan := func(rows scanner) (Refusal, error) {
		var f Refusal
		err := rows.Scan(&f.Table, &f.Line, &f.Column, &f.Rule, &f.Mapping)
		return f, err
	}
	return stream(ctx, l, "read refusals", scan, `SELECT tbl, line, col, rule, mapping FROM refusals
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY tbl, line, col, rule, mapping`, run)
}

// Refused tells which of the lines of a table have a refusal in the run already, so that a record that two mappings
// refuse is counted once in the table's account. Lines without one are not in the map.
func (l *Ledger) Refused(ctx context.Context, run, table string, lines []int64) (map[int64]bool, error) {
	const op = "find refused lines"
	seq, err := seqOf(ctx, l.reader, run)
	if err != nil {
		return nil, during(op, err)
	}
	found := map[int64]bool{}
	for part := range slices.Chunk(lines, rowsPerInsert) {
		args := []any{seq, table}
		for _, line := range part {
			args = append(args, line)
		}
		query := "SELECT DISTINCT line FROM refusals WHERE run = ? AND tbl = ? AND line IN (?" + strings.Repeat(", ?", len(part)-1) + ")"
		scan := func(rows scanner) (line int64, err error) { return line, rows.Scan(&line) }
		for line, err := range stream(ctx, l, op, scan, query, args...) {
			if err != nil {
				return nil, err
			}
			found[line] = true
		}
	}
	return found, nil
}

// Findings yields the findings and notices of a run by place, the same for any number of workers.
func (l *Ledger) Findings(ctx context.Context, run string) iter.Seq2[Finding, error] {
	scan := func(rows scanner) (Finding, error) {
		var f Finding
		err := rows.Scan(&f.Table, &f.Line, &f.Column, &f.Rule, &f.Mapping, &f.Severity)
		return f, err
	}
	return stream(ctx, l, "read findings", scan, `SELECT tbl, line, col, rule, mapping, severity FROM findings
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY tbl, line, col, rule, mapping, severity`, run)
}

// Formulas lists the counted formulas of a run by mapping, place and element.
func (l *Ledger) Formulas(ctx context.Context, run string) ([]Formula, error) {
	scan := func(rows scanner) (Formula, error) {
		var f Formula
		err := rows.Scan(&f.Mapping, &f.Path, &f.Place, &f.Reason, &f.Reads, &f.Writes, &f.Empties)
		return f, err
	}
	return collect(ctx, l, "read formulas", scan, `SELECT mapping, path, place, reason, reads, writes, empties FROM formulas
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY mapping, place, path`, run)
}

// Issues lists what validation found in a run, the most frequent first.
func (l *Ledger) Issues(ctx context.Context, run string) ([]Issue, error) {
	scan := func(rows scanner) (Issue, error) {
		var x Issue
		err := rows.Scan(&x.Mapping, &x.Severity, &x.Rule, &x.Path, &x.Profile, &x.Table, &x.Line, &x.Count)
		return x, err
	}
	return collect(ctx, l, "read issues", scan, `SELECT mapping, severity, rule, path, profile, tbl, line, n FROM issues
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY severity, n DESC, mapping, rule, path, profile`, run)
}

// Unmapped lists the codes of a run that no concept map knows, the most frequent first.
func (l *Ledger) Unmapped(ctx context.Context, run string) ([]Unmapped, error) {
	scan := func(rows scanner) (Unmapped, error) {
		var u Unmapped
		err := rows.Scan(&u.Map, &u.Code, &u.Value, &u.Count, &u.Patients)
		return u, err
	}
	return collect(ctx, l, "read unmapped codes", scan, `SELECT map, code, value, n, patients FROM unmapped
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY n DESC, map, code`, run)
}

// Translations lists what was translated into something that does not mean the same, by map and relationship.
func (l *Ledger) Translations(ctx context.Context, run string) ([]Translation, error) {
	scan := func(rows scanner) (Translation, error) {
		var t Translation
		err := rows.Scan(&t.Map, &t.Relationship, &t.Count)
		return t, err
	}
	return collect(ctx, l, "read translations", scan, `SELECT map, relationship, n FROM translations
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY map, relationship`, run)
}
