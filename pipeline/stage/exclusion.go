package stage

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
)

const (
	exclusionMagic  = "CLEXCLD1"
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
func WriteExclusions(dir, name string, list []Exclusion) error {
	return writeExclusions(osDisk{}, dir, name, list)
}

func writeExclusions(d disk, dir, name string, list []Exclusion) error {
	if err := CheckName(name); err != nil {
		return fmt.Errorf("exclusions: %w", err)
	}
	meta, err := json.Marshal(exclusionMeta{name})
	if err != nil {
		return err
	}
	err = writeFile(d, filepath.Join(dir, name+exclusionSuffix), func(out io.Writer) error {
		w, err := newBlockWriter(out, exclusionMagic, meta)
		if err != nil {
			return err
		}
		// A block is runs of one batch: its name, how many, and (position, reason) of each.
		var block, run []byte
		for len(list) > 0 {
			batch, n := list[0].Batch, 0
			run = run[:0]
			for n < len(list) && list[n].Batch == batch && len(run) < exclusionBlock {
				if list[n].Position < 0 {
					return fmt.Errorf("position %d of batch %s is none", list[n].Position, batch)
				}
				run = binary.AppendUvarint(run, uint64(list[n].Position))
				run = append(run, list[n].Reason)
				n++
			}
			list = list[n:]
			block = appendText(block, batch)
			block = binary.AppendUvarint(block, uint64(n))
			block = append(block, run...)
			if len(block) >= exclusionBlock || len(list) == 0 {
				if err := w.block(block); err != nil {
					return err
				}
				block = block[:0]
			}
		}
		return w.end(0, 0)
	})
	if err != nil {
		return fmt.Errorf("exclusions %s: %w", name, err)
	}
	return nil
}

// ReadExclusions reads a list. Without the file the error is fs.ErrNotExist; damage is a [*Damage].
func ReadExclusions(dir, name string) ([]Exclusion, error) {
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("exclusions: %w", err)
	}
	r, err := openBlocks(filepath.Join(dir, name+exclusionSuffix), exclusionMagic, nil)
	if err != nil {
		return nil, err
	}
	defer r.close()
	var meta exclusionMeta
	if err := json.Unmarshal(r.meta, &meta); err != nil || meta.Name != name {
		return nil, r.damage(magicBytes, "the head is that of another list")
	}
	var list []Exclusion
	for {
		start := r.off
		payload, err := r.next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		for c := (cursor{b: payload}); c.off < len(c.b); {
			batch := string(c.take(c.length(1)))
			for range c.length(2) {
				list = append(list, Exclusion{batch, int(c.uvarint()), c.byte()})
			}
			if c.bad {
				return nil, r.damage(start, "what is in a block does not fit together")
			}
		}
	}
}
