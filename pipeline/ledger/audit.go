package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// AuditRecord is one entry of the audit log: who did what, without patient data.
type AuditRecord struct {
	Seq      int64  `json:"seq"` // from 0, without gaps; it decides the order
	Time     string `json:"time"`
	Operator string `json:"operator"`
	Action   string `json:"action"`
	Detail   string `json:"detail"`
}

// Checkpoint fixes the audit log as it stood: its size and the root of the Merkle tree over it (RFC 6962, as in
// x/mod/sumdb/tlog). Kept outside the ledger, it shows later that nothing before it was changed or cut off.
type Checkpoint struct {
	Size int64
	Root tlog.Hash
}

// String is the checkpoint in the text form of x/mod/sumdb/tlog.
func (c Checkpoint) String() string {
	return string(tlog.FormatTree(tlog.Tree{N: c.Size, Hash: c.Root}))
}

// ParseCheckpoint reads what String wrote.
func ParseCheckpoint(text string) (Checkpoint, error) {
	tree, err := tlog.ParseTree([]byte(text))
	if err != nil {
		return Checkpoint{}, errors.New("malformed checkpoint of an audit log")
	}
	return Checkpoint{Size: tree.N, Root: tree.Hash}, nil
}

// TamperedError names the first thing that is wrong with an audit log.
type TamperedError struct {
	// Seq is the record concerned; -1: the log as a whole.
	Seq    int64
	Reason string
}

// Error names the record and what is wrong.
func (e *TamperedError) Error() string {
	if e.Seq < 0 {
		return "the audit log was tampered with: " + e.Reason
	}
	return fmt.Sprintf("the audit log was tampered with: record %d: %s", e.Seq, e.Reason)
}

// Append adds a record to the audit log, in the name of the ledger's operator. action is a few words from the
// program, detail must hold no patient data. What the other methods of the ledger do is recorded by themselves, in
// the transaction that does it.
func (l *Ledger) Append(ctx context.Context, action, detail string) error {
	return l.write(ctx, "append to audit log", func(tx handle) error { return l.audit(ctx, tx, action, detail) })
}

// leaf is the text of a record that is hashed. Its form must never change: it is part of every hash.
func (r AuditRecord) leaf() ([]byte, error) { return json.Marshal(r) }

// audit appends within a transaction.
func (l *Ledger) audit(ctx context.Context, tx handle, action, detail string) error {
	// Numbers have no gaps, so two transactions cannot append at one time.
	if statement := l.engine.exclusively("audit"); statement != "" {
		if _, err := tx.exec(ctx, statement); err != nil {
			return err
		}
	}
	var size int64
	if err := tx.row(ctx, "SELECT count(*) FROM audit").Scan(&size); err != nil {
		return err
	}
	// Invalid UTF-8 would be hashed as one text and read back as another, and PostgreSQL stores no NUL.
	clean := func(s string) string { return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�") }
	record := AuditRecord{Seq: size, Time: l.stamp(), Operator: clean(l.operator), Action: clean(action), Detail: clean(detail)}
	text, err := record.leaf()
	if err != nil {
		return err
	}
	hashes, err := tlog.StoredHashes(size, text, storedHashes(ctx, tx))
	if err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "INSERT INTO audit (seq, time, operator, action, detail) VALUES (?, ?, ?, ?, ?)",
		record.Seq, record.Time, record.Operator, record.Action, record.Detail); err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, size)
	for i, hash := range hashes {
		if _, err := tx.exec(ctx, "INSERT INTO audit_hashes (position, hash) VALUES (?, ?)", first+int64(i), hash[:]); err != nil {
			return err
		}
	}
	return nil
}

// storedHashes reads nodes of the tree by their stored index.
func storedHashes(ctx context.Context, q handle) tlog.HashReader {
	return tlog.HashReaderFunc(func(positions []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(positions))
		for i, position := range positions {
			var hash []byte
			err := q.row(ctx, "SELECT hash FROM audit_hashes WHERE position = ?", position).Scan(&hash)
			if errors.Is(err, sql.ErrNoRows) {
				return nil, &TamperedError{Seq: -1, Reason: fmt.Sprintf("hash %d is gone", position)}
			}
			if err != nil {
				return nil, err
			}
			copy(list[i][:], hash)
		}
		return list, nil
	})
}

// Audit yields the audit log in its order. An error ends the stream.
func (l *Ledger) Audit(ctx context.Context) iter.Seq2[AuditRecord, error] {
	scan := func(rows scanner) (AuditRecord, error) {
		var r AuditRecord
		err := rows.Scan(&r.Seq, &r.Time, &r.Operator, &r.Action, &r.Detail)
		return r, err
	}
	return stream(ctx, l, "read audit log", scan, "SELECT seq, time, operator, action, detail FROM audit ORDER BY seq")
}

// VerifyAudit computes the hash of every record and every node of the tree anew and compares them with what is
// stored, and the tree's root at their sizes with the checkpoints given. It returns the checkpoint of the whole log.
//
// It finds a record that was changed, removed, inserted or moved. Someone who rewrites records and all hashes of the
// file, or cuts off its end with them, is found only by a checkpoint kept elsewhere. Errors: *TamperedError.
func (l *Ledger) VerifyAudit(ctx context.Context, checkpoints ...Checkpoint) (Checkpoint, error) {
	const op = "verify audit log"
	snapshot, err := l.Snapshot(ctx) // records and hashes are of one moment while another process appends
	if err != nil {
		return Checkpoint{}, err
	}
	defer func() { _ = snapshot.Close() }() // it only read
	tx := snapshot.reader
	stored, err := allHashes(ctx, tx)
	if err != nil {
		return Checkpoint{}, during(op, err)
	}
	size, err := checkRecords(ctx, tx, stored)
	if err != nil {
		return Checkpoint{}, during(op, err)
	}
	reader := tlog.HashReaderFunc(func(positions []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(positions))
		for i, position := range positions {
			list[i] = stored[position]
		}
		return list, nil
	})
	for _, c := range checkpoints {
		if c.Size < 0 || c.Size > size {
			return Checkpoint{}, during(op, &TamperedError{Seq: -1, Reason: fmt.Sprintf("it has %d records, a checkpoint was taken at %d", size, c.Size)})
		}
		root, err := tlog.TreeHash(c.Size, reader)
		if err != nil {
			return Checkpoint{}, during(op, err)
		}
		if root != c.Root {
			return Checkpoint{}, during(op, &TamperedError{Seq: -1, Reason: fmt.Sprintf("its first %d records are not those of the checkpoint", c.Size)})
		}
	}
	root, err := tlog.TreeHash(size, reader)
	return Checkpoint{Size: size, Root: root}, during(op, err)
}

// allHashes reads the tree's nodes, which must be there without a gap.
func allHashes(ctx context.Context, tx handle) ([]tlog.Hash, error) {
	var list []tlog.Hash
	for row, err := range tx.rows(ctx, "SELECT position, hash FROM audit_hashes ORDER BY position") {
		if err != nil {
			return nil, err
		}
		var position int64
		var hash []byte
		if err := row.Scan(&position, &hash); err != nil {
			return nil, err
		}
		if position != int64(len(list)) || len(hash) != tlog.HashSize {
			return nil, &TamperedError{Seq: -1, Reason: fmt.Sprintf("hash %d is gone", len(list))}
		}
		list = append(list, tlog.Hash(hash))
	}
	return list, nil
}

// checkRecords computes the tree anew from the records and returns their number.
func checkRecords(ctx context.Context, tx handle, stored []tlog.Hash) (int64, error) {
	var size int64
	var computed []tlog.Hash
	reader := tlog.HashReaderFunc(func(positions []int64) ([]tlog.Hash, error) {
		list := make([]tlog.Hash, len(positions))
		for i, position := range positions {
			list[i] = computed[position]
		}
		return list, nil
	})
	for row, err := range tx.rows(ctx, "SELECT seq, time, operator, action, detail FROM audit ORDER BY seq") {
		if err != nil {
			return 0, err
		}
		var r AuditRecord
		if err := row.Scan(&r.Seq, &r.Time, &r.Operator, &r.Action, &r.Detail); err != nil {
			return 0, err
		}
		if r.Seq != size {
			return 0, &TamperedError{Seq: size, Reason: "it is gone"}
		}
		text, err := r.leaf()
		if err != nil {
			return 0, err
		}
		hashes, err := tlog.StoredHashes(size, text, reader)
		if err != nil {
			return 0, err
		}
		for _, hash := range hashes {
			if len(computed) >= len(stored) || stored[len(computed)] != hash {
				return 0, &TamperedError{Seq: size, Reason: "it is not what was written"}
			}
			computed = append(computed, hash)
		}
		size++
	}
	if len(computed) != len(stored) {
		return 0, &TamperedError{Seq: size, Reason: "it is gone"}
	}
	return size, nil
}
