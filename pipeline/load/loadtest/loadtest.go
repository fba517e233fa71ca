// Package loadtest is the contract of the interfaces of package load, as suites that every kind of target runs against a
// server of its own: a real one, the sandbox, or one by hand. [Run] runs those whose interface the store implements.
package loadtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// Migration is the name under which the suites load.
const Migration = "loadtest"

// Hand is somebody who works in the server beside us. Edit replaces the birth date of a Patient by another, Remove deletes
// it; both by the server's id.
type Hand interface {
	Edit(t testing.TB, id, birthDate string)
	Remove(t testing.TB, id string)
}

// Subject is what is tested: Open makes a store of the kind, of delivery identified and with nothing in it, and gives a
// hand beside it.
type Subject struct {
	Open func(t testing.TB, opener load.Opener, resolve load.Resolve) (load.Store, Hand)
}

// Run runs every suite whose interface the store implements; a store must at least be a Sender and Reader.
func Run(t *testing.T, s Subject) {
	t.Run("sender", func(t *testing.T) { runSender(t, open(t, s)) })
	t.Run("introduce", func(t *testing.T) { runIntroduce(t, open(t, s)) })
	t.Run("marker", func(t *testing.T) { runMarker(t, open(t, s)) })
	if _, ok := open(t, s).store.(load.Lister); ok {
		t.Run("lister", func(t *testing.T) { runLister(t, open(t, s)) })
	}
	if _, ok := open(t, s).store.(load.History); ok {
		t.Run("history", func(t *testing.T) { runHistory(t, open(t, s)) })
	}
	if _, ok := open(t, s).store.(load.Undoer); ok {
		t.Run("undoer", func(t *testing.T) { runUndoer(t, open(t, s)) })
	}
}

// bench is a store with a batch that nobody has loaded yet.
type bench struct {
	store interface {
		load.Store
		load.Sender
		load.Reader
	}
	hand  Hand
	items []load.Item
	whole [][]byte
}

// newKeys are keys of the migration, and a sealer for them.
func newKeys(t *testing.T) (*phi.Keyring, *phi.Sealer) {
	t.Helper()
	uri := "file:" + filepath.Join(t.TempDir(), "kek")
	if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: uri, Migration: Migration}); err != nil {
		t.Fatal(err)
	}
	ring, err := phi.OpenKeys(t.Context(), phi.KeyPlace{KEK: uri, Migration: Migration})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	policy, err := phi.LoadPolicy("limited-data-set", os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	return ring, phi.NewSealer(Migration, ring, policy)
}

// patients are a batch, each with a first form, and what was sealed.
func patients(t *testing.T, sealer *phi.Sealer) (items []load.Item, whole [][]byte) {
	t.Helper()
	for i := range 8 {
		n, err := fhir.Parse(fmt.Appendf(nil, `{"birthDate":"1970-01-02","id":"loadtest-p%d","meta":{"tag":[{"code":%q,"system":%q}]},"name":[{"family":"Test %d"}],"resourceType":"Patient"}`, i, Migration, fhir.TagSystem, i))
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := sealer.SealNode(&phi.Resource{Type: "Patient", ID: n.ID(), Patient: "p"}, n)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, load.Item{Sealed: sealed, First: func(_ phi.Sealed, form []byte) ([]byte, error) {
			return []byte(strings.Replace(string(form), `"birthDate":"1970-01-02",`, "", 1)), nil
		}})
		whole = append(whole, n.AppendCanonical(nil))
	}
	return items, whole
}

func open(t *testing.T, s Subject) *bench {
	t.Helper()
	ring, sealer := newKeys(t)
	b := &bench{}
	store, hand := s.Open(t, ring, func(_, ours string) (string, bool) {
		for _, it := range b.items {
			if it.Sealed.ID() == ours && it.ID != "" {
				return it.ID, true
			}
		}
		return ours, false
	})
	var ok bool
	if b.store, ok = store.(interface {
		load.Store
		load.Sender
		load.Reader
	}); !ok {
		t.Fatal("the store is not a Sender and Reader")
	}
	b.hand = hand
	if _, err := store.Preflight(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.items, b.whole = patients(t, sealer)
	return b
}

// send sends the items and notes where they lie, as a caller does.
func (b *bench) send(t *testing.T) []load.Outcome {
	t.Helper()
	outcomes, err := b.store.Send(t.Context(), b.items)
	if err != nil || len(outcomes) != len(b.items) {
		t.Fatalf("%d outcomes for %d items, %v", len(outcomes), len(b.items), err)
	}
	for i, o := range outcomes {
		if !o.Kind.Stored() || o.Ours != b.items[i].Sealed.ID() || o.ID == "" || o.Version == "" {
			t.Fatalf("%+v", o)
		}
		b.items[i].ID, b.items[i].Version = o.ID, o.Version
	}
	return outcomes
}

// birthDate is what the store holds; "" for nothing.
func (b *bench) birthDate(t *testing.T, id string) string {
	t.Helper()
	found, err := b.store.Read(t.Context(), "Patient", []string{id})
	if err != nil || len(found) != 1 || found[0].Status == load.Unknown {
		t.Fatalf("%v, %v", found, err)
	}
	if found[0].Status != load.Present {
		return ""
	}
	n, err := fhir.Parse(found[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	return n.Get("birthDate").Str()
}

func runSender(t *testing.T, b *bench) {
	first := b.send(t)
	var ids []string
	for _, o := range first {
		ids = append(ids, o.ID)
	}
	found, err := b.store.Read(t.Context(), "Patient", append(ids, "loadtest-nobody"))
	if err != nil || len(found) != len(ids)+1 || found[len(ids)].Status != load.Missing {
		t.Fatalf("%v, %v", found, err)
	}
	for i, it := range b.items {
		got, err := fhir.Parse(found[i].Body)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := b.store.Ours(it, got)
		sent, _ := fhir.Parse(b.whole[i])
		if err != nil || found[i].Version != it.Version || !load.SameAsSent(sent, ours) {
			t.Errorf("%s does not come back as it was sent, %v", it.Sealed.ID(), err)
		}
	}
	b.hand.Edit(t, b.items[1].ID, "1955-05-05")
	b.hand.Remove(t, b.items[2].ID)
	for _, send := range []func() ([]load.Outcome, error){
		func() ([]load.Outcome, error) { return b.store.Send(t.Context(), b.items[1:3]) },
		func() ([]load.Outcome, error) { return b.store.Resume(t.Context(), b.items[1:3]) },
	} {
		outcomes, err := send()
		if err != nil || outcomes[0].Kind != load.Edited || !outcomes[0].There() || outcomes[1].Kind != load.Edited || outcomes[1].There() {
			t.Fatalf("edited and deleted: %+v, %v", outcomes, err)
		}
	}
	if b.birthDate(t, b.items[1].ID) != "1955-05-05" || b.birthDate(t, b.items[2].ID) != "" {
		t.Error("an edit was overwritten")
	}
	outcomes, err := b.store.Resume(t.Context(), b.items[3:4])
	if err != nil || !outcomes[0].Kind.Stored() || outcomes[0].Version != b.items[3].Version {
		t.Errorf("what has arrived was sent again: %+v, %v", outcomes, err)
	}
}

func runIntroduce(t *testing.T, b *bench) {
	outcomes, err := b.store.Introduce(t.Context(), b.items)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if !o.Kind.Stored() || b.birthDate(t, o.ID) != "" {
			t.Fatalf("%+v", o)
		}
		b.items[i].ID, b.items[i].Version = o.ID, o.Version
	}
	b.send(t)
	if got := b.birthDate(t, b.items[0].ID); got != "1970-01-02" {
		t.Errorf("the whole is not there: %q", got)
	}
}

func runMarker(t *testing.T, b *bench) {
	if _, marked, err := b.store.Marker(t.Context()); err != nil || marked {
		t.Fatalf("an empty store: marked %t, %v", marked, err)
	}
	want := load.Marker{Migration: Migration, Ledger: "0123456789abcdef"}
	for range 2 {
		if err := b.store.SetMarker(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, marked, err := b.store.Marker(t.Context()); err != nil || !marked || got != want {
			t.Fatalf("%+v, marked %t, %v", got, marked, err)
		}
	}
}

func runLister(t *testing.T, b *bench) {
	b.send(t)
	want := map[load.Listed]bool{}
	for _, it := range b.items {
		want[load.Listed{ID: it.ID, Ours: it.Sealed.ID()}] = true
	}
	for listed, err := range b.store.(load.Lister).List(t.Context(), "Patient", Migration) {
		if err != nil {
			t.Fatal(err)
		}
		if !want[listed] {
			t.Errorf("%+v is not ours, or comes twice", listed)
		}
		delete(want, listed)
	}
	if len(want) > 0 {
		t.Errorf("%d are not listed", len(want))
	}
}

func runHistory(t *testing.T, b *bench) {
	b.send(t)
	it := b.items[0]
	b.hand.Edit(t, it.ID, "1955-05-05")
	f, err := b.store.(load.History).Version(t.Context(), "Patient", it.ID, it.Version)
	if err != nil || f.Status != load.Present || !strings.Contains(string(f.Body), "1970-01-02") {
		t.Errorf("our version: %v, %v", f, err)
	}
}

func runUndoer(t *testing.T, b *bench) {
	b.send(t)
	b.hand.Edit(t, b.items[1].ID, "1955-05-05")
	var list []load.Existing
	for _, it := range b.items {
		list = append(list, load.Existing{Type: "Patient", ID: it.ID, Version: it.Version})
	}
	u := b.store.(load.Undoer)
	marked, err := u.Mark(t.Context(), list[:2])
	if err != nil || marked[0].Kind != load.Updated || marked[1].Kind != load.Edited {
		t.Fatalf("marked: %+v, %v", marked, err)
	}
	list[0].Version = marked[0].Version
	for range 2 { // once more changes nothing
		deleted, err := u.Delete(t.Context(), list)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range deleted {
			want := load.Deleted
			if i == 1 {
				want = load.Edited
			}
			if o.Kind != want {
				t.Errorf("%+v, want %s", o, want)
			}
		}
	}
	if b.birthDate(t, list[0].ID) != "" || b.birthDate(t, list[1].ID) != "1955-05-05" {
		t.Error("what is there is not what the outcomes say")
	}
}
