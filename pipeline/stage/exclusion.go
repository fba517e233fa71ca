package stage

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
)

const (
	exclusionMagic  = "CLEXCLD2"
	exclusionSuffix = ".excluded"
	exclusionBlock  = 64 << 10
)

// Exclusion is a resource of a batch that a check over all batches took out, and why.
type Exclusion struct {
	Batch    string
	Position int   // in the batch, from 0
	Reason   uint8 // the caller's
}

type exclusionMeta struct {
	Name string `json:"name"`
}

// WriteExclusions makes a list durable under a name (letters, digits, '.', '-', '_'), in the order given. It replaces
// what was there. An empty list makes a file too: the check was done.
func WriteExclusions(ctx context.Context, p Place, k Keys, name string, list []Exclusion) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("exclusions: %w", err)
	}
	meta, err := json.Marshal(exclusionMeta{name})
	if err != nil {
		return err
	}
	err = writeBlocks(ctx, p, k, name+exclusionSuffix, exclusionMagic, meta, func(w *blockfile.Writer) (uint64, error) {
		// A block is runs of one batch: its name, how many, and (position, reason) of each.
		var block, run []byte
		for len(list) > 0 {
			batch, n := list[0].Batch, 0
			run = run[:0]
			for n < len(list) && list[n].Batch == batch && len(run) < exclusionBlock {
				if list[n].Position < 0 {
					return 0, fmt.Errorf("position %d of batch %s is none", list[n].Position, batch)
				}
				run = binary.AppendUvarint(run, uint64(list[n].Position))
				run = append(run, list[n].Reason)
				n++
			}
			list = list[n:]
			block = blockfile.AppendText(block, batch)
			block = binary.AppendUvarint(block, uint64(n))
			block = append(block, run...)
			if len(block) >= exclusionBlock || len(list) == 0 {
				if err := w.Block(block); err != nil {
					return 0, err
				}
				block = block[:0]
			}
		}
		return 0, nil
	})
	if err != nil {
		return fmt.Errorf("exclusions %s: %w", name, err)
	}
	return nil
}

// ReadExclusions reads a list. Without the file the error is fs.ErrNotExist; damage is a [*Damage].
func ReadExclusions(ctx context.Context, p Place, k Keys, name string) ([]Exclusion, error) {
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("exclusions: %w", err)
	}
	r, err := openBlocks(ctx, p, k, name+exclusionSuffix, exclusionMagic)
	if err != nil {
		return nil, err
	}
	defer r.close()
	var meta exclusionMeta
	if err := json.Unmarshal(r.Meta(), &meta); err != nil || meta.Name != name {
		return nil, r.Damage(blockfile.MagicBytes, "the head is that of another list")
	}
	var list []Exclusion
	for {
		start := r.Offset()
		payload, err := r.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		for c := (blockfile.Cursor{B: payload}); c.Off < len(c.B); {
			batch := string(c.Text())
			for range c.Length(2) {
				list = append(list, Exclusion{batch, int(c.Uvarint()), c.Byte()})
			}
			if c.Bad {
				return nil, r.Damage(start, "what is in a block does not fit together")
			}
		}
	}
}
