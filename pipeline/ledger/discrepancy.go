package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"strconv"
)

// Kind is the kind of a discrepancy.
type Kind string

// The kinds of discrepancy.
const (
	Missing     Kind = "missing"     // loaded, and not in the target
	Different   Kind = "different"   // in the target with other content than was sent
	Unexpected  Kind = "unexpected"  // in the target, ours by its mark, and not in the state
	Vanished    Kind = "vanished"    // in the state, and no record of the source makes it any more
	Refused     Kind = "refused"     // a record that could not be mapped
	Rejected    Kind = "rejected"    // a resource that the target would not take
	Orphan      Kind = "orphan"      // it refers to something that does not exist
	Duplicate   Kind = "duplicate"   // two where there must be one
	Rekeyed     Kind = "rekeyed"     // the same content under a new key
	EditedSince Kind = "editedSince" // somebody changed it in the target after it was loaded
)

// Kinds lists the kinds of discrepancy in the order in which people are shown them.
func Kinds() []Kind {
	return []Kind{Missing, Different, Unexpected, Vanished, Refused, Rejected, Orphan, Duplicate, Rekeyed, EditedSince}
}

// Domain is a clinical domain; a lower number is shown earlier.
type Domain int

// The domains, in the order that clinicians use when they weigh an error.
const (
	Allergies Domain = iota + 1
	Medications
	Identity
	Problems
	Immunizations
	Results
	Rest
)

// Domains lists the domains in clinical order.
func Domains() []Domain {
	return []Domain{Allergies, Medications, Identity, Problems, Immunizations, Results, Rest}
}

// String is the domain's name in reports.
func (d Domain) String() string {
	switch d {
	case Allergies:
		return "allergies"
	case Medications:
		return "medications"
	case Identity:
		return "identity"
	case Problems:
		return "problems"
	case Immunizations:
		return "immunizations"
	case Results:
		return "results"
	case Rest:
		return "rest"
	default:
		return "domain " + strconv.Itoa(int(d))
	}
}

// MarshalText writes the name.
func (d Domain) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Severity is how much a discrepancy weighs.
type Severity string

// The severities. High are the domains whose built-in gates are 0; medium are immunizations and results.
const (
	High   Severity = "high"
	Medium Severity = "medium"
	Low    Severity = "low"
)

// Severities lists the severities, the gravest first.
func Severities() []Severity { return []Severity{High, Medium, Low} }

// Severity of a domain. An unknown domain is high: better seen than overlooked.
func (d Domain) Severity() Severity {
	switch d {
	case Immunizations, Results:
		return Medium
	case Rest:
		return Low
	default:
		return High
	}
}

// DomainOf is the clinical domain of an R4 resource type. Of a medication it cannot see whether it is active, so all
// medications are in that domain.
func DomainOf(resourceType string) Domain {
	switch resourceType {
	case "AllergyIntolerance":
		return Allergies
	case "MedicationRequest", "MedicationStatement", "MedicationAdministration", "MedicationDispense", "Medication":
		return Medications
	case "Patient", "Person", "RelatedPerson":
		return Identity
	case "Condition":
		return Problems
	case "Immunization", "ImmunizationRecommendation", "ImmunizationEvaluation":
		return Immunizations
	case "Observation", "DiagnosticReport", "Specimen":
		return Results
	default:
		return Rest
	}
}

// Discrepancy is a difference found by reconciling. It holds no value of a patient.
type Discrepancy struct {
	// Key is stable: the same discrepancy has it in every run, and it changes when a value does. Empty: derived from
	// kind, type, id, path, code, Sent and Found (and the place, where there is no id).
	Key    string `json:"key"`
	Kind   Kind   `json:"kind"`
	Domain Domain `json:"domain"` // zero: DomainOf(Type)
	Type   string `json:"type"`   // R4 type; empty for a record that became none
	ID     string `json:"id"`     // the resource's id, a pseudonym
	Path   string `json:"path"`   // element path; empty: the whole resource
	Table  string `json:"table"`
	Line   int64  `json:"line"`
	// Code says what was noticed: a note of the comparison, the refusal's rule, the target's issue code.
	Code string `json:"code"`
	// Sent and Found are keyed digests of the two values, short and hexadecimal; empty where there is none. A bare hash
	// of a value could be guessed.
	Sent  string `json:"sentDigest,omitempty"`
	Found string `json:"foundDigest,omitempty"`
}

// Severity is that of its domain.
func (d Discrepancy) Severity() Severity { return d.Domain.Severity() }

// key derives the stable key; the parts are length-prefixed, so that no two discrepancies run together.
func (d Discrepancy) key() string {
	if d.Key != "" {
		return d.Key
	}
	parts := []string{string(d.Kind), d.Type, d.ID, d.Path, d.Code, d.Sent, d.Found}
	if d.ID == "" {
		parts = append(parts, d.Table, strconv.FormatInt(d.Line, 10))
	}
	var text []byte
	for _, part := range parts {
		text = strconv.AppendInt(text, int64(len(part)), 10)
		text = append(append(text, ':'), part...)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// recordDiscrepancies writes them; the same discrepancy found twice is one.
func (r *Report) recordDiscrepancies(ctx context.Context, tx handle, run int64) error {
	rows := newInserter("INSERT INTO discrepancies (run, key, kind, domain, type, resource, path, tbl, line, code, sent, found) VALUES", 12, "ON CONFLICT (run, key) DO NOTHING")
	for _, d := range r.Discrepancies {
		domain := d.Domain
		if domain == 0 {
			domain = DomainOf(d.Type)
		}
		if err := rows.add(ctx, tx, run, d.key(), string(d.Kind), int(domain), d.Type, d.ID, d.Path, d.Table, d.Line, d.Code, d.Sent, d.Found); err != nil {
			return err
		}
	}
	return rows.flush(ctx, tx)
}

// Discrepancies yields the discrepancies of a run, the gravest domain first, then by kind, type, id and path.
func (l *Ledger) Discrepancies(ctx context.Context, run string) iter.Seq2[Discrepancy, error] {
	scan := func(rows scanner) (Discrepancy, error) {
		var d Discrepancy
		err := rows.Scan(&d.Key, &d.Kind, &d.Domain, &d.Type, &d.ID, &d.Path, &d.Table, &d.Line, &d.Code, &d.Sent, &d.Found)
		return d, err
	}
	return stream(ctx, l, "read discrepancies", scan, `SELECT key, kind, domain, type, resource, path, tbl, line, code, sent, found FROM discrepancies
		WHERE run = (SELECT seq FROM runs WHERE id = ?) ORDER BY domain, kind, type, resource, path, tbl, line, key`, run)
}

// Reopen forgets the last verification of a run: discrepancies, verified counts, gates and verify tasks, so that
// reading back starts anew. What was loaded stays as it is.
func (l *Ledger) Reopen(ctx context.Context, run string) error {
	return l.write(ctx, "reopen verification", func(tx handle) error {
		seq, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		for _, statement := range []string{
			// What vanished was found by holding the source against the state, not by reading back.
			"DELETE FROM discrepancies WHERE run = ? AND kind NOT IN ('vanished', 'rekeyed')",
			"DELETE FROM verified_counts WHERE run = ?",
			"DELETE FROM normalised_counts WHERE run = ?",
			"DELETE FROM gates WHERE run = ?",
			"DELETE FROM tasks WHERE run = ? AND kind = 'verify'",
			"UPDATE batches SET state = 'loaded' WHERE run = ? AND state = 'verified'",
			"UPDATE runs SET reconciled = FALSE WHERE seq = ?",
		} {
			if _, err := tx.exec(ctx, statement, seq); err != nil {
				return err
			}
		}
		return l.audit(ctx, tx, "verification begun", run)
	})
}

// CloseVerification records that everything the run loaded was read back or counted as not compared, with the gates
// as they stand. From then on Balance holds the verified counts against the loaded ones.
func (l *Ledger) CloseVerification(ctx context.Context, run string, gates []Gate) error {
	return l.write(ctx, "close verification", func(tx handle) error {
		seq, err := lockRun(ctx, tx, run)
		if err != nil {
			return err
		}
		if _, err := tx.exec(ctx, "UPDATE runs SET reconciled = TRUE WHERE seq = ?", seq); err != nil {
			return err
		}
		if err := setGates(ctx, tx, seq, gates); err != nil {
			return err
		}
		return l.audit(ctx, tx, "verification closed", run+", "+verdict(gates))
	})
}
