package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// Status says what of a placement is in its store. The numbers are written to disk.
type Status uint8

// Statuses. Of a change (see [State.Merge]) two more have a meaning: Removed and Kept.
const (
	Removed  Status = 0   // in a change: the placement is forgotten
	Stored   Status = 1   // it is there, in the form and version of the placement
	Rejected Status = 2   // the store refused it, and nothing of ours is there
	InDoubt  Status = 3   // it was sent, and nobody knows yet whether it arrived
	Vanished Status = 4   // it is there, and the source has no record for it any more
	Undone   Status = 5   // a rollback or a deletion took it away
	Shredded Status = 6   // the key of its patient was destroyed
	Kept     Status = 255 // in a change: the status stays, and where there is no placement none is made
)

var statusNames = map[Status]string{
	Removed: "removed", Stored: "stored", Rejected: "rejected", InDoubt: "in doubt", Vanished: "vanished", Undone: "undone",
	Shredded: "shredded", Kept: "kept",
}

// String returns the name of the status.
func (s Status) String() string {
	if name, ok := statusNames[s]; ok {
		return name
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// There tells whether a resource of ours is, or may be, in the store.
func (s Status) There() bool { return s == Stored || s == InDoubt || s == Vanished }

// onDisk tells whether a placement may have the status.
func (s Status) onDisk() bool { return s >= Stored && s <= Shredded }

// NoPosition is the position of a placement whose batch is known, and whose position in it is not: it comes from a state
// that an earlier version of this program wrote.
const NoPosition = -1

// Placement is one resource of this migration in one store of a target. Its key is Type, ID and Store.
type Placement struct {
	Store    string // "" where the target has one store
	Type     string
	ID       stage.ID // ours
	Server   string   // the server's id, if it is another than ours
	Patient  stage.ID // under whose key its bytes are sealed; zero for a shared resource
	Digest   [16]byte // of the form that was sent
	Version  string   // after our last write; "" if the store tells none
	Replaced string   // the version that our first write replaced; "" if it made the resource

	Made    string // the run that made it; "" if nothing of ours was ever there
	Written string // the run that last wrote it
	Seen    string // the run that last had a record for it

	Batch    string // of the run that last wrote it: where the bytes lie that were sent
	Position int64  // in the batch, from 0; or NoPosition
	Wave     string
	Table    string
	Line     int64
	Status   Status
}

// over returns what a change that a run made leaves of a placement (nil: there is none); ok is false if nothing is left.
// The rules are those of [State.Merge]. To apply a change again changes nothing.
func (c *Placement) over(old *Placement, run string) (p Placement, ok bool) {
	wrote, saw := c.Written == run && c.Status != Undone && c.Status != Shredded, c.Seen == run
	told := c.Digest != [16]byte{}
	if told && saw && c.Status == Stored && (old == nil || !old.Status.There() || old.Status == InDoubt || c.Digest != old.Digest) {
		wrote = true
	}
	switch {
	case c.Status == Removed || c.Status == Kept && old == nil:
		return Placement{}, false
	case old == nil:
		p = *c
		if wrote {
			p.Made, p.Written = madeBy(run, c.Status), run
		}
		return p, true
	}
	p = *old
	if saw {
		p.Seen = run
	}
	if wrote || saw {
		p.Wave, p.Table, p.Line = c.Wave, c.Table, c.Line
	}
	there := old.Status.There()
	if c.Status == Rejected && old.Status == InDoubt && old.Made == run {
		there = false // it was in doubt whether this run had made it, and now it is known that it has not
	}
	switch {
	case c.Status == Kept || c.Status == Rejected && there:
		return p, true // what is in the store is what was there before
	case !wrote:
		p.Status = c.Status
		return p, true
	}
	p.Status, p.Digest, p.Patient = c.Status, c.Digest, c.Patient
	p.Written, p.Batch, p.Position = run, c.Batch, c.Position
	if c.Status != InDoubt || c.Version != "" {
		p.Version = c.Version
	}
	if !there || old.Made == "" {
		p.Made, p.Replaced, p.Server = madeBy(run, c.Status), c.Replaced, c.Server
	} else if c.Server != "" {
		p.Server = c.Server
	}
	return p, true
}

// madeBy is the run that made a placement which a run was the first to write.
func madeBy(run string, s Status) string {
	if s.There() {
		return run
	}
	return ""
}

// compare orders placements by type, id and store.
func compare(a, b *Placement) int { return compareKeys(a.Type, &a.ID, a.Store, b.Type, &b.ID, b.Store) }

func compareKeys(aType string, aID *stage.ID, aStore, bType string, bID *stage.ID, bStore string) int {
	if c := cmp.Compare(aType, bType); c != 0 {
		return c
	}
	if c := bytes.Compare(aID[:], bID[:]); c != 0 {
		return c
	}
	return cmp.Compare(aStore, bStore)
}

// appendKey appends the key of a placement. Byte by byte, keys have the order of placements: a type has no zero byte.
func appendKey(dst []byte, typ string, id *stage.ID, store string) []byte {
	dst = append(append(dst, typ...), 0)
	return append(append(dst, id[:]...), store...)
}

// parseKey reads what appendKey wrote; type and store are copied.
func parseKey(b []byte) (typ string, id stage.ID, store string, ok bool) {
	at := bytes.IndexByte(b, 0)
	if at < 1 || len(b)-at-1 < len(id) {
		return "", id, "", false
	}
	typ, b = string(b[:at]), b[at+1:]
	copy(id[:], b)
	return typ, id, string(b[len(id):]), true
}

// append appends a placement in a form that parse reads.
func (p *Placement) append(dst []byte) []byte {
	dst = append(dst, p.ID[:]...)
	dst = append(dst, p.Patient[:]...)
	dst = append(dst, p.Digest[:]...)
	dst = append(dst, byte(p.Status))
	for _, text := range p.texts() {
		dst = blockfile.AppendText(dst, *text)
	}
	dst = binary.AppendVarint(dst, p.Position)
	return binary.AppendVarint(dst, p.Line)
}

// texts are the fields that hold text: first those that many placements have in common.
func (p *Placement) texts() [named + 3]*string {
	return [...]*string{&p.Type, &p.Store, &p.Made, &p.Written, &p.Seen, &p.Batch, &p.Wave, &p.Table, &p.Server, &p.Version, &p.Replaced}
}

// named is how many of the texts of a placement stand in the table of names of a file.
const named = 8

var errPlacement = errors.New("these bytes are not a placement")

// parse reads what append wrote. It copies what it keeps.
func (p *Placement) parse(b []byte) error {
	c := blockfile.Cursor{B: b}
	p.fixed(&c)
	for _, text := range p.texts() {
		*text = string(c.Text())
	}
	p.Position, p.Line = c.Varint(), c.Varint()
	if !c.Done() {
		return errPlacement
	}
	return nil
}

// fixed reads the part that always has the same length.
func (p *Placement) fixed(c *blockfile.Cursor) {
	copy(p.ID[:], c.Take(len(p.ID)))
	copy(p.Patient[:], c.Take(len(p.Patient)))
	copy(p.Digest[:], c.Take(len(p.Digest)))
	p.Status = Status(c.Byte())
}

// check tells what is wrong with a change.
func (c *Placement) check() error {
	switch {
	case c.Type == "" || strings.IndexByte(c.Type, 0) >= 0:
		return errors.New("a change without a type")
	case !c.Status.onDisk() && c.Status != Removed && c.Status != Kept:
		return fmt.Errorf("a change to %s", c.Status)
	}
	return nil
}
