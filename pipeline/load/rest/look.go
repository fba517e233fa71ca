package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// sighting is what a look at the server found for one item.
type sighting struct {
	key     // where it lies; no id if the server gave none
	status  load.FoundStatus
	version string
	code    string // why the status is Unknown
	unknown string // the reference for which the server has no id, so that nobody knows what was sent

	same  bool // exactly what is to be sent is there
	first bool // the form in which the item was introduced is there
	whole bool // the whole is there, where its first form was to be sent
}

// lookFor looks what the server holds of the items. An error means that the run cannot go on.
func (t *sender) lookFor(ctx context.Context, items []*item) ([]sighting, error) {
	questions := make([]question, len(items))
	for i, it := range items {
		questions[i] = question{key: it.at, ours: it.Sealed.ID()}
	}
	seen, err := t.reader.fetch(ctx, questions)
	if err != nil {
		return nil, err
	}
	sightings := make([]sighting, len(items))
	b := t.bodies.Get().(*body)
	defer t.bodies.Put(b)
	for i, it := range items {
		s := &sightings[i]
		*s = sighting{key: it.at, status: seen[i].status, version: seen[i].version, code: seen[i].code}
		if s.status != load.Present {
			continue
		}
		s.key.id = seen[i].resource.ID()
		whole := it.Item
		if whole.ID = s.key.id; whole.ID == whole.Sealed.ID() {
			whole.ID = ""
		}
		is := func(edit load.Edit) (same bool, err error) {
			if b.whole, err = t.forms.append(whole, edit, b.whole[:0]); err != nil {
				return false, err
			}
			sent, err := fhir.Parse(b.whole)
			return err == nil && load.SameAsSent(sent, seen[i].resource), err
		}
		wholly, err := is(nil)
		first := false
		if it.First != nil && (err == nil || errors.Is(err, load.ErrUnresolved)) {
			late := err // what is introduced may have references that are resolved later
			if first, err = is(it.First); err == nil && !it.introducing {
				err = late
			}
		}
		var dangling *unresolved
		switch {
		case errors.As(err, &dangling):
			s.unknown = dangling.path
		case err != nil:
			return nil, fmt.Errorf("form of %s/%s: %w", it.at.typ, it.Sealed.ID(), err)
		case it.introducing:
			s.same, s.whole = first, wholly
		default:
			s.same, s.first = wholly, first
		}
	}
	return sightings, nil
}

// decide says what a look means for an item whose fate is open. False: the item is to be sent, for the first time or
// again.
//
// What is there as sent has arrived. What is there as we left it is written over. What is there otherwise is somebody's,
// and so is a deletion of what we had written.
func (it *item) decide(s sighting) bool {
	o := &it.outcome
	present := s.status == load.Present
	// To write without having seen what is there could overwrite somebody.
	it.unseen = s.status == load.Unknown && it.base == "" && !it.condition
	if present {
		it.found(s.key)
	}
	switch {
	case s.unknown != "":
		it.hold(s.unknown)
	case s.same:
		it.arrived(s.version)
	case s.code == load.CodeDuplicate:
		o.Kind, o.Status, o.Code, o.Path = load.Rejected, http.StatusOK, load.CodeDuplicate, ""
	case present && it.introducing && (s.whole || it.base != "" && s.version == it.base):
		o.Kind, o.Version, o.Status, o.Code, o.Path = load.Unchanged, s.version, http.StatusOK, "", ""
	case present && it.base != "" && (s.version == it.base || s.version == ""):
		return false
	case present && it.base == "" && s.first:
		it.base = s.version
		return false
	case present:
		it.edited(s.version, load.CodeChanged)
	case s.status != load.Unknown && it.base != "":
		it.edited("", load.CodeDeleted)
	default:
		return false
	}
	return true
}

// found notes under which id the item lies.
func (it *item) found(k key) {
	it.at, it.outcome.ID = k, k.id
	if it.ID = k.id; k.id == it.Sealed.ID() {
		it.ID = ""
	}
}

// arrived settles an item that was found at the server as it was sent.
func (it *item) arrived(version string) {
	o := &it.outcome
	o.Kind, o.Version, o.Replaced, o.Status, o.Code, o.Path = load.Updated, version, it.base, http.StatusOK, "", ""
	if version == "1" {
		o.Kind = load.Created
	}
}

// edited settles an item that somebody else changed, or deleted.
func (it *item) edited(version, code string) {
	o := &it.outcome
	o.Kind, o.Version, o.Code, o.Path = load.Edited, version, code, ""
}

// hold settles an item that refers to something to which the server has given no id.
func (it *item) hold(path string) {
	o := &it.outcome
	o.Kind, o.Version, o.Status, o.Code, o.Path = load.Held, "", 0, load.CodeUnresolved, path
}
