package state

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// Earlier is the run that made and wrote a placement of a state in the old form, which did not say it.
const Earlier = "earlier"

const oldMagic = "CLSTATE1"

// oldManifest is the first line of a manifest in the old form. The second is the SHA-256 of the first.
type oldManifest struct {
	Format     int    `json:"format"`
	Generation int64  `json:"generation"`
	File       string `json:"file"`
	Count      int64  `json:"count"`
	Bytes      int64  `json:"bytes"`
	SHA256     string `json:"sha256"`
}

// isOld tells whether a manifest is in the old form.
func isOld(f io.ReaderAt) bool {
	var b [1]byte
	n, _ := f.ReadAt(b[:], 0)
	return n == 1 && b[0] == '{'
}

// Upgrade writes a state in the old form ([ErrOldForm]) anew; another one it leaves as it is. What the old form did not
// say stays open: Made and Written are [Earlier], Position is [NoPosition], Server, Replaced and Wave are empty. Nobody
// may be merging. After an error the old state is still there, unless the very last step failed, as with a merge. scratch
// is on this machine.
func (h Home) Upgrade(ctx context.Context, scratch *stage.Scratch) error {
	if _, err := h.readManifest(ctx); !errors.Is(err, ErrOldForm) {
		return err
	}
	if err := h.upgrade(ctx, scratch); err != nil {
		return fmt.Errorf("write the state of the earlier version anew: %w", err)
	}
	return nil
}

func (h Home) upgrade(ctx context.Context, scratch *stage.Scratch) error {
	old, err := h.readOldManifest(ctx)
	if err != nil {
		return err
	}
	m := manifest{Generation: old.Generation + 1}
	w := writing{home: h, manifest: &m}
	defer w.discard()
	owners := stage.NewSorter(scratch, sortBudget)
	err = w.placements(ctx, func(out *placementsWriter) error {
		return h.readOld(ctx, old, func(p *Placement) error { return errors.Join(out.add(p), own(owners, added, p)) })
	})
	if err == nil {
		err = w.patients(ctx, nil, owners)
	}
	if err = errors.Join(err, owners.Close()); err != nil {
		return err
	}
	return w.publish(ctx)
}

func (h Home) readOldManifest(ctx context.Context) (m oldManifest, err error) {
	f, err := h.Place.Open(ctx, manifestName)
	if err != nil {
		return m, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, min(f.Size(), 4096)))
	if err = errors.Join(err, f.Close()); err != nil {
		return m, err
	}
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	sum := sha256.Sum256(line)
	if err := json.Unmarshal(line, &m); err != nil || m.Format != 1 || string(rest) != hex.EncodeToString(sum[:])+"\n" {
		return m, &blockfile.Damage{File: manifestName, What: "it is not a manifest of the old form, or its sum is wrong"}
	}
	return m, nil
}

// readOld calls do with the placements of an old state. Its file is a head with a CRC, blocks behind their length and CRC,
// of which the last is a directory, and an end that begins with 0xffffffff; the SHA-256 in the manifest covers all of it.
func (h Home) readOld(ctx context.Context, m oldManifest, do func(*Placement) error) (err error) {
	if m.File == "" {
		return nil
	}
	f, err := h.Place.Open(ctx, m.File)
	if err != nil {
		return blockfile.Missing(m.File, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return err
	}
	damage := &blockfile.Damage{File: m.File, What: "it is not the file that the manifest names, or what is in it does not fit together"}
	if hex.EncodeToString(sum.Sum(nil)) != m.SHA256 {
		return damage
	}
	in := bufio.NewReader(io.NewSectionReader(f, 0, f.Size()))
	if _, _, err := blockfile.ReadHead(in, f.Size(), m.File, oldMagic); err != nil {
		return err
	}
	var block []byte // read, and not known yet to be no directory
	count, start := int64(0), [8]byte{}
	if _, err := io.ReadFull(in, start[:4]); err != nil {
		return damage
	}
	for {
		if _, err := io.ReadFull(in, start[:]); err != nil {
			return damage
		}
		length := binary.LittleEndian.Uint32(start[:])
		if length == 0xffffffff {
			break
		}
		n, ok, err := readOldBlock(block, do)
		if err != nil {
			return err
		}
		count += n
		if block = make([]byte, min(int64(length), f.Size())); !ok {
			return damage
		}
		if _, err := io.ReadFull(in, block); err != nil {
			return damage
		}
	}
	if count != m.Count {
		return damage
	}
	return nil
}

// readOldBlock reads the placements of a block, in order: a table of texts, and entries that name them by number.
func readOldBlock(b []byte, do func(*Placement) error) (n int64, ok bool, err error) {
	if b == nil {
		return 0, true, nil
	}
	c := blockfile.Cursor{B: b}
	texts := make([]string, c.Length(1))
	for i := range texts {
		texts[i] = string(c.Text())
	}
	t := table{names: texts}
	n = int64(c.Length(fixedBytes + 5))
	for range n {
		p := Placement{Made: Earlier, Written: Earlier, Position: NoPosition}
		p.Type = t.text(&c)
		p.fixed(&c)
		p.Version, p.Batch, p.Table, p.Line = t.text(&c), t.text(&c), t.text(&c), c.Varint()
		p.Seen, _, _ = strings.Cut(p.Batch, ".")
		if c.Bad || !p.Status.onDisk() {
			return n, false, nil
		}
		if p.Status == Rejected {
			p.Made = ""
		}
		if err := do(&p); err != nil {
			return n, false, err
		}
	}
	return n, c.Done(), nil
}
