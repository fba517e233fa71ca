package stage

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/chartlift/chartlift/pipeline/extract"
	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/phi"
)

const (
	quarantineMagic  = "CLQUARN3"
	quarantineSuffix = ".quarantine"
)

// Quarantine keeps rows that were refused, encrypted as a whole: nobody has decided yet what in them is PHI. Each lies
// under the key of its patient too, so that shredding reaches it, or under that of the shared scope if nobody knows whose
// it is. It is not for concurrent use. Its first error stays.
type Quarantine struct {
	place Place
	id    string
	keys  Keys
	err   error
	done  bool

	out   *chunkWriter
	held  int
	raw   []byte
	loose []byte
	row   []byte
}

// QuarantinedRow is a refused row.
type QuarantinedRow struct {
	Place    extract.Place
	Patient  string     // id of the patient whose it is; "" if nobody knows
	Rule     string     // why it was refused
	Row      phi.Secret // as given to Add; empty if Shredded
	Shredded bool       // the key of the patient was destroyed
}

// quarantineMeta is the head of a quarantine file.
type quarantineMeta struct {
	ID   string `json:"id"`
	Salt string `json:"salt"`
}

// NewQuarantine makes a quarantine; its file is made by the first Add. The id names the file and its key: letters,
// digits, '.', '-' and '_'. A fault of it is an error of Add.
func NewQuarantine(p Place, k Keys, id string) *Quarantine {
	return &Quarantine{place: p, id: id, keys: k}
}

func (q *Quarantine) open(ctx context.Context) error {
	if err := CheckName(q.id); err != nil {
		return err
	}
	meta, err := json.Marshal(quarantineMeta{q.id, newSalt()})
	if err != nil {
		return err
	}
	name := q.id + quarantineSuffix
	aead, err := q.keys.BatchKey(name)
	if err != nil {
		return err
	}
	q.out, err = newChunkWriter(ctx, q.place, name, quarantineMagic, meta, aead)
	q.loose = make([]byte, plainHead)
	return err
}

// Add keeps a row, with its place, the id of its patient ("" if nobody knows it) and the reason code of its refusal. It is
// copied. The context of the first Add bounds the writing of the file.
func (q *Quarantine) Add(ctx context.Context, place extract.Place, patient, rule string, row []byte) error {
	if q.err != nil {
		return q.err
	}
	if q.done {
		return fmt.Errorf("quarantine %s: %w", q.id, errClosed)
	}
	if len(row) > maxPart {
		return fmt.Errorf("quarantine %s: a row of more than %d bytes", q.id, maxPart)
	}
	if q.out == nil {
		if err := q.open(ctx); err != nil {
			q.err = fmt.Errorf("quarantine %s: %w", q.id, err)
			return q.err
		}
	}
	var err error
	if q.row, err = q.keys.SealRow(q.row[:0], patient, rowData(q.id, place), row); err != nil {
		q.err = fmt.Errorf("quarantine %s: %w", q.id, err)
		return q.err
	}
	if q.held > 0 && len(q.raw)+len(q.row) > chunkBytes {
		if err := q.flush(false); err != nil {
			return err
		}
	}
	q.raw = blockfile.AppendText(q.raw, place.Table)
	q.raw = blockfile.AppendText(q.raw, place.File)
	q.raw = binary.AppendVarint(q.raw, place.Line)
	q.raw = blockfile.AppendText(q.raw, patient)
	q.raw = blockfile.AppendText(q.raw, rule)
	q.raw = binary.AppendUvarint(q.raw, uint64(len(q.row)))
	q.raw = append(q.raw, q.row...)
	q.held++
	return nil
}

// rowData is what a row is bound to beside its patient: the file and its place in the source.
func rowData(id string, place extract.Place) []byte {
	data := blockfile.AppendText(nil, id)
	data = blockfile.AppendText(data, place.Table)
	data = blockfile.AppendText(data, place.File)
	return binary.AppendVarint(data, place.Line)
}

func (q *Quarantine) flush(last bool) error {
	var err error
	q.loose, err = q.out.chunk(q.held, last, q.loose, q.raw)
	if err != nil {
		q.err = fmt.Errorf("quarantine %s: %w", q.id, err)
		q.out.draft.Discard()
		return q.err
	}
	q.loose, q.raw, q.held = q.loose[:plainHead], q.raw[:0], 0
	return nil
}

// Close makes the file durable. Without a row nothing is written. Called again it returns the same.
func (q *Quarantine) Close(ctx context.Context) error {
	if q.err != nil || q.done {
		return q.err
	}
	q.done = true
	if q.out == nil {
		return nil
	}
	if err := q.flush(true); err != nil {
		return err
	}
	q.raw, q.loose, q.row = nil, nil, nil
	if err := q.keys.Sync(); err != nil { // before a durable file relies on them
		q.err = fmt.Errorf("quarantine %s: make the keys durable: %w", q.id, err)
		q.out.draft.Discard()
		return q.err
	}
	if err := q.place.Publish(ctx, q.out.draft); err != nil {
		q.err = fmt.Errorf("quarantine %s: %w", q.id, err)
	}
	return q.err
}

// Abort removes what was written. After Close it does nothing.
func (q *Quarantine) Abort() error {
	if q.done {
		return nil
	}
	q.done = true
	if q.err == nil {
		q.err = fmt.Errorf("quarantine %s: %w", q.id, errClosed)
	}
	if q.out != nil {
		q.out.draft.Discard()
	}
	return nil
}

// ReadQuarantine reads the rows in order of Add. Without the file the error is fs.ErrNotExist: nothing was refused, or
// the file was lost; the ledger knows. Damage is a [*Damage] and ends the sequence.
func ReadQuarantine(ctx context.Context, p Place, k Keys, id string) iter.Seq2[QuarantinedRow, error] {
	return func(yield func(QuarantinedRow, error) bool) {
		r, err := openQuarantine(ctx, p, k, id)
		if err != nil {
			yield(QuarantinedRow{}, err)
			return
		}
		defer r.close()
		for {
			start := r.off
			records, _, raw, err := r.next(nil)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(QuarantinedRow{}, err)
				return
			}
			c := blockfile.Cursor{B: raw}
			for range records {
				row := QuarantinedRow{Place: extract.Place{Table: string(c.Text()), File: string(c.Text())}}
				row.Place.Line = c.Varint()
				row.Patient = string(c.Text())
				row.Rule = string(c.Text())
				sealed := c.Text()
				if c.Bad {
					break
				}
				row.Row, err = k.OpenRow(row.Patient, rowData(id, row.Place), sealed)
				if row.Shredded = errors.Is(err, phi.ErrShredded); err != nil && !row.Shredded {
					yield(QuarantinedRow{}, fmt.Errorf("quarantine %s: row of %s: %w", id, row.Place, err))
					return
				}
				if !yield(row, nil) {
					return
				}
			}
			if !c.Done() {
				yield(QuarantinedRow{}, r.damage(start, errContent.Error()))
				return
			}
		}
	}
}

func openQuarantine(ctx context.Context, p Place, k Keys, id string) (*chunkReader, error) {
	if err := CheckName(id); err != nil {
		return nil, fmt.Errorf("quarantine: %w", err)
	}
	name := id + quarantineSuffix
	aead, err := k.BatchKey(name)
	if err != nil {
		return nil, fmt.Errorf("quarantine %s: %w", id, err)
	}
	r, err := openChunks(ctx, p, name, quarantineMagic, aead, -1)
	if err != nil {
		return nil, err
	}
	var meta quarantineMeta
	if err := json.Unmarshal(r.meta, &meta); err != nil || meta.ID != id {
		r.close()
		return nil, r.damage(blockfile.MagicBytes, "the head is that of another file")
	}
	return r, nil
}
