package ledger

import (
	"context"
	"math"
	"time"
)

// Summary is the account of one run over all its resumes. Its JSON has exactly the keys that `run`, `dry-run`,
// `status` and `reconcile` print, always all of them; what is marked `json:"-"` is for reports and for Balance.
type Summary struct {
	Run     string  `json:"run"`
	State   State   `json:"state"`
	Seconds float64 `json:"seconds"` // of work, to the millisecond
	Rate    float64 `json:"rate"`    // records read per second of work, rounded to a whole number
	// Tables account for the records of each source table.
	Tables map[string]TableRow `json:"tables"`
	// Resources account for what was made, per R4 type.
	Resources map[string]ResourceRow `json:"resources"`
	// Verified accounts for what is in the target, per R4 type.
	Verified map[string]VerifiedRow `json:"verified"`
	// Discrepancies count by kind and severity; every kind and severity is there, with 0.
	Discrepancies map[Kind]map[Severity]int64 `json:"discrepancies"`
	Gates         []Gate                      `json:"gates"`

	Kind       RunKind                   `json:"-"`
	Wave       string                    `json:"-"`
	Target     string                    `json:"-"`
	Reason     string                    `json:"-"`
	Resumes    int                       `json:"-"`
	Elapsed    time.Duration             `json:"-"`
	Reconciled bool                      `json:"-"` // everything loaded was read back
	Mappings   []MappingRow              `json:"-"` // by mapping and table
	Formulas   []Formula                 `json:"-"`
	Issues     []Issue                   `json:"-"`
	Unmapped   []Unmapped                `json:"-"`
	Domains    map[Domain]map[Kind]int64 `json:"-"` // discrepancies by clinical domain
	Normalised map[string]int64          `json:"-"` // resources equal only after a named rule, by rule
	Bytes      int64                     `json:"-"` // of all batches
	Batches    int64                     `json:"-"`
	Refusals   int64                     `json:"-"`
	Findings   int64                     `json:"-"` // without notices
	Notices    int64                     `json:"-"`

	// Translations count codes that were translated into something that does not mean the same.
	Translations []Translation `json:"-"`
}

// TableRow accounts for the records of a table: read = mapped + skipped + refused + otherWave.
type TableRow struct {
	Read      int64            `json:"read"`
	Mapped    int64            `json:"mapped"`
	Skipped   map[string]int64 `json:"skipped"` // by the rule's name
	Refused   map[string]int64 `json:"refused"` // by reason code
	OtherWave int64            `json:"otherWave"`
}

// MappingRow accounts for the records of a table as one mapping saw them. Rows of a child table are joined or never
// joined.
type MappingRow struct {
	Mapping, Table string
	TableRow
	Joined, NeverJoined int64
}

// ResourceRow accounts for the resources of a type:
// made = loaded + unchanged + merged + rejected + in doubt + held + pending.
type ResourceRow struct {
	Made      int64 `json:"made"`
	Loaded    int64 `json:"loaded"`
	Unchanged int64 `json:"unchanged"`
	Merged    int64 `json:"merged"`
	Rejected  int64 `json:"rejected"`
	InDoubt   int64 `json:"inDoubt"`
	Held      int64 `json:"held"`
	Pending   int64 `json:"pending"`
	// Vanished stand beside the sum: they are in the state, and no record of this run makes them. Rekeyed are those of
	// them that look like another one's old self.
	Vanished int64 `json:"vanished"`
	Rekeyed  int64 `json:"rekeyed"`
	// NotApplied are those of Unchanged that keep somebody's edit in place of our change.
	NotApplied int64 `json:"notApplied"`
}

// VerifiedRow accounts for the resources of a type in the target:
// loaded + unchanged = matched + different + missing + edited since + not compared. Unexpected ones stand beside.
type VerifiedRow struct {
	Matched     int64 `json:"matched"`
	Different   int64 `json:"different"`
	Missing     int64 `json:"missing"`
	Unexpected  int64 `json:"unexpected"`
	EditedSince int64 `json:"editedSince"`
	NotCompared int64 `json:"notCompared"`
}

// Summary gives the account of a run, read in one transaction, so that it is of one moment while the run goes on.
// Errors: ErrNoRun.
func (l *Ledger) Summary(ctx context.Context, run string) (*Summary, error) {
	const op = "summarize run"
	l, err := l.Snapshot(ctx) // of one moment, while the run goes on
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // it only read
	r, err := l.Run(ctx, run)
	if err != nil {
		return nil, err
	}
	s := &Summary{
		Run: r.ID, State: r.State, Kind: r.Kind, Wave: r.Wave, Target: r.Target, Reason: r.Reason, Resumes: r.Resumes, Elapsed: r.Elapsed, Reconciled: r.Reconciled,
		Tables: map[string]TableRow{}, Resources: map[string]ResourceRow{}, Verified: map[string]VerifiedRow{},
		Discrepancies: map[Kind]map[Severity]int64{}, Domains: map[Domain]map[Kind]int64{}, Normalised: map[string]int64{}, Gates: []Gate{},
	}
	for _, read := range []func(context.Context, handle, int64) error{s.readRecords, s.readResources, s.readVerified, s.readDiscrepancies, s.readGates, s.readTotals} {
		if err := read(ctx, l.reader, r.Seq); err != nil {
			return nil, during(op, err)
		}
	}
	if s.Issues, err = l.Issues(ctx, run); err != nil {
		return nil, err
	}
	if s.Formulas, err = l.Formulas(ctx, run); err != nil {
		return nil, err
	}
	if s.Unmapped, err = l.Unmapped(ctx, run); err != nil {
		return nil, err
	}
	if s.Translations, err = l.Translations(ctx, run); err != nil {
		return nil, err
	}
	var read int64
	for _, t := range s.Tables {
		read += t.Read
	}
	s.Seconds = math.Round(r.Elapsed.Seconds()*1000) / 1000
	if r.Elapsed > 0 {
		s.Rate = math.Round(float64(read) / r.Elapsed.Seconds())
	}
	return s, nil
}

// each runs a query and calls f for each of its rows.
func each(ctx context.Context, tx handle, f func(scanner) error, query string, args ...any) error {
	for row, err := range tx.rows(ctx, query, args...) {
		if err != nil {
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
	return nil
}

func (s *Summary) readRecords(ctx context.Context, tx handle, run int64) error {
	row := MappingRow{}
	put := func() {
		switch {
		case row.Table == "":
		case row.Mapping == "":
			s.Tables[row.Table] = row.TableRow
		default:
			s.Mappings = append(s.Mappings, row)
		}
	}
	err := each(ctx, tx, func(rows scanner) error {
		var mapping, table, outcome, reason string
		var n int64
		if err := rows.Scan(&mapping, &table, &outcome, &reason, &n); err != nil {
			return err
		}
		if mapping != row.Mapping || table != row.Table {
			put()
			row = MappingRow{Mapping: mapping, Table: table, TableRow: TableRow{Skipped: map[string]int64{}, Refused: map[string]int64{}}}
		}
		switch outcome {
		case "read":
			row.Read = n
		case "mapped":
			row.Mapped = n
		case "otherWave":
			row.OtherWave = n
		case "joined":
			row.Joined = n
		case "neverJoined":
			row.NeverJoined = n
		case "skipped":
			if n > 0 {
				row.Skipped[reason] = n
			}
		case "refused":
			if n > 0 {
				row.Refused[reason] = n
			}
		}
		return nil
	}, "SELECT mapping, tbl, outcome, reason, n FROM record_counts WHERE run = ? ORDER BY mapping, tbl, outcome, reason", run)
	put()
	return err
}

func (s *Summary) readResources(ctx context.Context, tx handle, run int64) error {
	err := each(ctx, tx, func(rows scanner) error {
		var name string
		var r ResourceRow
		if err := rows.Scan(&name, &r.Made, &r.Merged, &r.Vanished, &r.Rekeyed); err != nil {
			return err
		}
		s.Resources[name] = r
		return nil
	}, "SELECT type, made, merged, vanished, rekeyed FROM resource_counts WHERE run = ?", run)
	if err != nil {
		return err
	}
	// What has no outcome is pending in a batch that was not started, and in doubt in one that was: the process that
	// sent it may have died before it wrote down the answer.
	return each(ctx, tx, func(rows scanner) error {
		var name string
		var loaded, unchanged, rejected, inDoubt, held, notApplied, open, started, batches, bytes int64
		if err := rows.Scan(&name, &loaded, &unchanged, &rejected, &inDoubt, &held, &notApplied, &open, &started, &batches, &bytes); err != nil {
			return err
		}
		r := s.Resources[name]
		r.Loaded, r.Unchanged, r.Rejected, r.InDoubt, r.Held, r.Pending = loaded, unchanged, rejected, inDoubt+started, held, open
		r.NotApplied = notApplied
		s.Resources[name] = r
		s.Batches += batches
		s.Bytes += bytes
		return nil
	}, `SELECT type, sum(loaded), sum(unchanged), sum(rejected), sum(in_doubt), sum(held), sum(not_applied),
		sum(CASE WHEN state = 'staged' THEN count - excluded - held ELSE 0 END),
		sum(CASE WHEN state IN ('loading', 'submitted') THEN count - excluded - loaded - unchanged - rejected - in_doubt - held ELSE 0 END),
		count(*), sum(bytes) FROM batches WHERE run = ? GROUP BY type`, run)
}

func (s *Summary) readVerified(ctx context.Context, tx handle, run int64) error {
	err := each(ctx, tx, func(rows scanner) error {
		var name string
		var v VerifiedRow
		if err := rows.Scan(&name, &v.Matched, &v.Different, &v.Missing, &v.Unexpected, &v.EditedSince, &v.NotCompared); err != nil {
			return err
		}
		s.Verified[name] = v
		return nil
	}, "SELECT type, matched, different, missing, unexpected, edited_since, not_compared FROM verified_counts WHERE run = ?", run)
	if err != nil {
		return err
	}
	err = each(ctx, tx, func(rows scanner) error {
		var rule string
		var n int64
		if err := rows.Scan(&rule, &n); err != nil {
			return err
		}
		s.Normalised[rule] = n
		return nil
	}, "SELECT rule, n FROM normalised_counts WHERE run = ?", run)
	if err != nil || s.Reconciled {
		return err
	}
	// Until the verification is closed, what was loaded and not yet read back is not compared: never a match, and
	// never left out. Once it is closed nothing is filled in, so that Balance can find a gap.
	for name, r := range s.Resources {
		v := s.Verified[name]
		if rest := r.Loaded + r.Unchanged - v.compared() - v.NotCompared; rest > 0 {
			v.NotCompared += rest
		}
		s.Verified[name] = v
	}
	return nil
}

// compared is the number of resources of ours that were read back and judged.
func (v VerifiedRow) compared() int64 { return v.Matched + v.Different + v.Missing + v.EditedSince }

func (s *Summary) readDiscrepancies(ctx context.Context, tx handle, run int64) error {
	for _, kind := range Kinds() {
		s.Discrepancies[kind] = map[Severity]int64{}
		for _, severity := range Severities() {
			s.Discrepancies[kind][severity] = 0
		}
	}
	for _, domain := range Domains() {
		s.Domains[domain] = map[Kind]int64{}
	}
	return each(ctx, tx, func(rows scanner) error {
		var domain Domain
		var kind Kind
		var n int64
		if err := rows.Scan(&domain, &kind, &n); err != nil {
			return err
		}
		s.Discrepancies[kind][domain.Severity()] += n
		s.Domains[domain][kind] = n
		return nil
	}, "SELECT domain, kind, count(*) FROM discrepancies WHERE run = ? GROUP BY domain, kind", run)
}

func (s *Summary) readGates(ctx context.Context, tx handle, run int64) error {
	return each(ctx, tx, func(rows scanner) error {
		var g Gate
		if err := rows.Scan(&g.Name, &g.Limit, &g.Value, &g.Met); err != nil {
			return err
		}
		s.Gates = append(s.Gates, g)
		return nil
	}, "SELECT name, bound, value, met FROM gates WHERE run = ? ORDER BY position", run)
}

func (s *Summary) readTotals(ctx context.Context, tx handle, run int64) error {
	return tx.row(ctx, `SELECT (SELECT count(*) FROM refusals WHERE run = ?),
		(SELECT count(*) FROM findings WHERE run = ? AND severity = 'finding'),
		(SELECT count(*) FROM findings WHERE run = ? AND severity = 'notice')`, run, run, run).Scan(&s.Refusals, &s.Findings, &s.Notices)
}
