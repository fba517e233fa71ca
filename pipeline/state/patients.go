package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"iter"

	"github.com/chartlift/chartlift/pipeline/internal/blockfile"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// The second file of a state holds the key of each placement behind its patient, in that order. A record is:
//
//	u8 same  [patient[20]  uvarint type]  id[20]  uvarint store
//
// where type and store are numbers of names, and what stands in brackets is left out if it is that of the record before
// (same = 1), which never is so at the start of a block.

const patientsMagic = "CLSTPAT2"

// owned is a record of the file: a placement's key, and whose it is.
type owned struct {
	patient stage.ID
	typ     string
	id      stage.ID
	store   string
}

func (o *owned) appendKey(dst []byte) []byte {
	return appendKey(append(dst, o.patient[:]...), o.typ, &o.id, o.store)
}

// parseOwned reads what appendKey wrote.
func parseOwned(b []byte) (o owned, ok bool) {
	if len(b) < len(o.patient) {
		return o, false
	}
	copy(o.patient[:], b)
	o.typ, o.id, o.store, ok = parseKey(b[len(o.patient):])
	return o, ok
}

// patientsWriter writes the file.
type patientsWriter struct {
	out  *tableWriter
	last owned
}

func (w *patientsWriter) add(o *owned) error {
	fresh, err := w.out.begin()
	if err != nil {
		return err
	}
	if fresh {
		w.out.first = o.appendKey(w.out.first[:0])
	}
	if !fresh && o.patient == w.last.patient && o.typ == w.last.typ {
		w.out.block = append(w.out.block, 1)
	} else {
		w.out.block = append(w.out.block, 0)
		w.out.block = append(w.out.block, o.patient[:]...)
		w.out.block = binary.AppendUvarint(w.out.block, w.out.number(o.typ))
	}
	w.out.block = append(w.out.block, o.id[:]...)
	w.out.block = binary.AppendUvarint(w.out.block, w.out.number(o.store))
	w.last = *o
	return nil
}

// readOwned calls do with the records of a block until it returns false, and tells whether what it read was well formed.
func (t *table) readOwned(payload []byte, do func(*owned) bool) bool {
	c := blockfile.Cursor{B: payload}
	var o owned
	for first := true; c.Off < len(c.B); first = false {
		if c.Byte() == 0 {
			copy(o.patient[:], c.Take(len(o.patient)))
			o.typ = t.text(&c)
		} else if first {
			return false
		}
		copy(o.id[:], c.Take(len(o.id)))
		o.store = t.text(&c)
		if c.Bad {
			return false
		}
		if !do(&o) {
			return true
		}
	}
	return true
}

// text reads the number of a name.
func (t *table) text(c *blockfile.Cursor) string {
	n := c.Uvarint()
	if n >= uint64(len(t.names)) {
		c.Bad = true
		return ""
	}
	return t.names[n]
}

// ByPatient iterates over the placements of a patient, in order of type, id and store; the zero patient has those of
// shared resources. It reads one block of keys, and one block of placements for each, of which some are held in memory.
// An error ends the sequence.
func (s *State) ByPatient(patient stage.ID) iter.Seq2[Placement, error] {
	return func(yield func(Placement, error) bool) {
		if s.patients == nil {
			return
		}
		stopped := errors.New("the consumer stopped")
		err := s.ownedBy(patient, func(o *owned) error {
			p, ok, err := s.Lookup(o.typ, o.id, o.store)
			if err == nil && (!ok || p.Patient != patient) {
				err = &blockfile.Damage{File: s.patients.name, What: "it does not fit the file of the placements"}
			}
			if err == nil && !yield(p, nil) {
				err = stopped
			}
			return err
		})
		if err != nil && err != stopped {
			yield(Placement{}, err)
		}
	}
}

// ownedBy calls do with the keys of a patient's placements, until it returns an error.
func (s *State) ownedBy(patient stage.ID, do func(*owned) error) (err error) {
	t := s.patients
	for number := max(0, t.find(patient[:])); number < len(t.refs); number++ {
		payload, e := t.block(number)
		if e != nil {
			return e
		}
		past := false
		ok := t.readOwned(payload, func(o *owned) bool {
			c := bytes.Compare(o.patient[:], patient[:])
			if c == 0 {
				err = do(o)
			}
			past = c > 0
			return !past && err == nil
		})
		if err == nil && !ok {
			err = t.unfit(number)
		}
		if err != nil || past {
			return err
		}
	}
	return nil
}

// mergePatients writes the file anew: the records of the old one (nil: none) and those that the sorter adds, without those
// that it takes away.
func mergePatients(w *patientsWriter, old *table, changes *stage.Sorter) error {
	next, stop := iter.Pull2(changes.Sorted())
	defer stop()
	var change owned
	var key []byte // of change; nil: there is no further one
	var adds bool
	advance := func() error {
		pair, err, ok := next()
		if key = key[:0]; !ok || err != nil {
			key = nil
			return err
		}
		key = append(key, pair.Key...)
		adds = bytes.Equal(pair.Value, added)
		if change, ok = parseOwned(key); !ok {
			return io.ErrUnexpectedEOF
		}
		return nil
	}
	put := func() error {
		if adds {
			if err := w.add(&change); err != nil {
				return err
			}
		}
		return advance()
	}
	if err := advance(); err != nil {
		return err
	}
	var oldKey []byte
	one := func(o *owned) error {
		oldKey = o.appendKey(oldKey[:0])
		for key != nil {
			c := bytes.Compare(key, oldKey)
			if c > 0 {
				break
			}
			if err := put(); err != nil || c == 0 {
				return err
			}
		}
		return w.add(o)
	}
	if old != nil {
		err := old.scan("", func(number int, payload []byte) (err error) {
			ok := old.readOwned(payload, func(o *owned) bool {
				err = one(o)
				return err == nil
			})
			if err == nil && !ok {
				err = old.unfit(number)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for key != nil {
		if err := put(); err != nil {
			return err
		}
	}
	return nil
}

// added and taken are what a change does to the second file.
var added, taken = []byte{1}, []byte{0}
