package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/stage"
)

// sortBudget is about how many bytes a merge holds in memory to sort by patient what it changes.
const sortBudget = 32 << 20

// Merge puts the changes of a run over the state and returns the next generation. Changes come sorted by type, id and
// store, each once (see [Changes]). scratch is on this machine for what does not fit into memory.
//
// A change is a placement of which the run says what it knows:
//
//   - Written is the run if the run wrote the resource: Digest, Patient, Version, Batch, Position and Server (unless "")
//     are then those of the change. Otherwise all of them stay, so Batch and Position go on telling where the bytes lie
//     that were last sent. A resource that the run found unchanged has not been written; but if it tells a
//     Digest, and the state does not have it as stored with this one, then whoever sent it died before he could say so, and the run is taken for its writer.
//     To take away (Undone, Shredded) is not to write.
//   - Seen is the run if the source has a record for it. Otherwise Seen stays.
//   - Wave, Table and Line are taken if it was written or seen.
//   - Status is taken, with three exceptions. Removed: the placement is forgotten. Kept: it stays as it is, which is for a
//     resource that was seen and not sent (held back, edited since); where there is none, none is made. Rejected stays
//     without effect where a resource of ours was there before, for it still is; what is in doubt since this very run
//     made it is rejected, though.
//   - InDoubt without a Version leaves the version: it is still the one to hold a write against.
//   - Made and Replaced of a change count only where nothing of ours is there: no placement, or one that is rejected,
//     undone or shredded. There a write makes the resource, Made is the run, and Replaced the version that the write
//     replaced. Elsewhere both stay. A change that was neither written nor seen is taken as it stands where no placement is.
//
// The same changes of the same run once more change nothing. Memory does not depend on how many placements or changes
// there are. The new files are durable before the manifest is switched to them in one step; the old ones are removed
// after that, but s stays readable until it is closed. After an error Open opens the old state, unless the very last
// step failed: then it may be either, both whole.
func (s *State) Merge(ctx context.Context, run string, scratch *stage.Scratch, changes iter.Seq2[Placement, error]) (*State, error) {
	next, err := s.merge(ctx, run, scratch, changes)
	if err != nil {
		return nil, fmt.Errorf("merge the state: %w", err)
	}
	return next, nil
}

func (s *State) merge(ctx context.Context, run string, scratch *stage.Scratch, changes iter.Seq2[Placement, error]) (*State, error) {
	if run == "" {
		return nil, errors.New("of no run")
	}
	now, err := s.home.readManifest(ctx)
	if err != nil {
		return nil, err
	}
	if now.known() != s.manifest.known() {
		return nil, fmt.Errorf("another merge came first, to generation %d", now.Generation)
	}
	if !now.there {
		// From now on files without a manifest are damage, not an empty state.
		if err := s.home.writeManifest(ctx, now); err != nil {
			return nil, err
		}
	}
	m := manifest{Generation: now.Generation + 1, Before: now.Digest, Recorded: s.recorded, Patients: now.Patients, there: true}
	w := writing{home: s.home, manifest: &m}
	defer w.discard()
	owners := stage.NewSorter(scratch, sortBudget)
	err = w.placements(ctx, func(w *placementsWriter) error {
		return (&merging{state: s, run: run, out: w, owners: owners}).all(changes)
	})
	if err == nil {
		err = w.patients(ctx, s.patients, owners)
	}
	if err = errors.Join(err, owners.Close()); err != nil {
		return nil, err
	}
	if err := w.publish(ctx); err != nil {
		return nil, err
	}
	next, err := s.home.open(ctx, m)
	if err == nil {
		next.recorded = s.recorded
	}
	return next, err
}

// writing is the writing of a generation.
type writing struct {
	home     Home
	manifest *manifest
	drafts   []stage.Draft
}

// discard gives up what was not published.
func (w *writing) discard() {
	for _, d := range w.drafts {
		d.Discard()
	}
}

// table writes a table; fill fills it. It is durable only after publish.
func (w *writing) table(ctx context.Context, name, magic string, fill func(*tableWriter) error) (f file, digest string, count int64, err error) {
	key, err := w.home.key(name)
	if err != nil {
		return f, "", 0, err
	}
	draft, err := w.home.Place.Create(ctx, name)
	if err != nil {
		return f, "", 0, err
	}
	w.drafts = append(w.drafts, draft)
	buffered := bufio.NewWriterSize(draft, 256<<10)
	t, err := newTableWriter(buffered, magic, key)
	if err == nil {
		err = fill(t)
	}
	if err == nil {
		digest, err = t.close()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return f, "", 0, err
	}
	return t.file(name), digest, int64(t.count), nil
}

// placements writes the file of placements.
func (w *writing) placements(ctx context.Context, fill func(*placementsWriter) error) (err error) {
	m := w.manifest
	m.Placements, m.Digest, m.Count, err = w.table(ctx, fileName(m.Generation), placementsMagic, func(t *tableWriter) error {
		return fill(&placementsWriter{out: t})
	})
	return err
}

// patients writes the file of patients: the old one (nil: none) with the changes of owners put over it. Without a change
// the old one stays; it is read all the same, since damage to it is to be found now, and not when a patient is sought.
func (w *writing) patients(ctx context.Context, old *table, owners *stage.Sorter) (err error) {
	m := w.manifest
	if m.Patients.Name != "" {
		changed := false
		for _, err := range owners.Sorted() {
			if err != nil {
				return err
			}
			changed = true
			break
		}
		if !changed {
			return old.scan("", func(int, []byte) error { return nil })
		}
	}
	count := int64(0)
	m.Patients, _, count, err = w.table(ctx, fileName(m.Generation)+patientsSuffix, patientsMagic, func(t *tableWriter) error {
		return mergePatients(&patientsWriter{out: t}, old, owners)
	})
	if err == nil && count != m.Count {
		err = fmt.Errorf("%d placements by patient, and %d in all: the old files do not fit each other", count, m.Count)
	}
	return err
}

// publish makes the files durable, switches the manifest to them and removes those of other generations. A system that
// keeps open files from being removed keeps those; the next merge removes them.
func (w *writing) publish(ctx context.Context) error {
	place := w.home.Place
	if err := place.Publish(ctx, w.drafts...); err != nil {
		return err
	}
	crash.At(crash.StateWritten)
	if err := w.home.writeManifest(ctx, *w.manifest); err != nil {
		return err
	}
	crash.At(crash.StateSwitch)
	names, err := place.List(ctx, filePrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		if isFile(name) && name != w.manifest.Placements.Name && name != w.manifest.Patients.Name {
			_ = place.Remove(ctx, name)
		}
	}
	return nil
}

// own tells the second file what a change does to it.
func own(owners *stage.Sorter, op []byte, p *Placement) error {
	o := owned{p.Patient, p.Type, p.ID, p.Store}
	return owners.Add(o.appendKey(nil), op)
}

// merging is one pass over the old placements and the changes.
type merging struct {
	state  *State
	run    string
	out    *placementsWriter
	owners *stage.Sorter

	next   func() (Placement, error, bool)
	change Placement
	more   bool // whether there is a change that was not put yet
}

func (m *merging) all(changes iter.Seq2[Placement, error]) error {
	var stop func()
	m.next, stop = iter.Pull2(changes)
	defer stop()
	if err := m.advance(); err != nil {
		return err
	}
	var failed error
	err := m.state.read("", func(r *record) bool {
		failed = m.old(r)
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	for err == nil && m.more {
		err = m.put(nil)
	}
	return err
}

// advance fetches the next change.
func (m *merging) advance() error {
	last, started := m.change, m.more
	c, err, ok := m.next()
	if m.more = ok; !ok || err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if started && compare(&last, &c) >= 0 {
		return errors.New("the changes are not sorted by type, id and store, each once")
	}
	m.change = c
	return nil
}

// old carries an old placement over, behind the changes that come before it.
func (m *merging) old(r *record) error {
	t := m.state.placements
	for m.more {
		c := -t.compareTo(r, m.change.Type, &m.change.ID, m.change.Store)
		if c > 0 {
			break
		}
		if c == 0 {
			p := t.placement(r)
			return m.put(&p)
		}
		if err := m.put(nil); err != nil {
			return err
		}
	}
	return m.out.copy(t, r)
}

// put puts the change over an old placement (nil: there is none) and fetches the next one.
func (m *merging) put(old *Placement) error {
	p, ok := m.change.over(old, m.run)
	had := old != nil
	if ok && !had && p.Status.There() && p.Digest == [16]byte{} {
		return errors.New("a change says that a resource is there, and not in which form, and nothing else is known of it")
	}
	if had && (!ok || old.Patient != p.Patient) {
		if err := own(m.owners, taken, old); err != nil {
			return err
		}
	}
	if ok && (!had || old.Patient != p.Patient) {
		if err := own(m.owners, added, &p); err != nil {
			return err
		}
	}
	if ok {
		if err := m.out.add(&p); err != nil {
			return err
		}
	}
	return m.advance()
}
