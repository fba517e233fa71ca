package reconcile

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// fakeStore is a server in memory.
type fakeStore struct {
	name, delivery string
	keys           *phi.Keyring
	held           map[string]load.Found
}

func (s *fakeStore) Name() string     { return s.name }
func (s *fakeStore) Identity() string { return base }
func (s *fakeStore) Delivery() string { return s.delivery }

func (s *fakeStore) Holds(r phi.Sealed) bool {
	return s.delivery != load.DeliveryIdentity || r.Marked()
}

func (s *fakeStore) Read(_ context.Context, _ string, ids []string) ([]load.Found, error) {
	var all []load.Found
	for _, id := range ids {
		f, ok := s.held[id]
		if !ok {
			f = load.Found{ID: id, Status: load.Missing}
		}
		all = append(all, f)
	}
	return all, nil
}

// put writes what the store is sent of a resource.
func (s *fakeStore) put(t *testing.T, r phi.Sealed) {
	t.Helper()
	var form []byte
	var err error
	switch s.delivery {
	case load.DeliverySealed:
		form, err = phi.AppendWire(nil, r)
	case load.DeliveryClinical:
		form = r.Clinical()
	default:
		form, err = s.keys.Whole(r, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.held[r.ID()] = load.Found{ID: r.ID(), Body: form}
	s.edit(t, r.ID(), func(*fhir.Node) {})
}

// edit changes a resource in the store, which dates it and gives it a new version: 1, then 11, then 111.
func (s *fakeStore) edit(t *testing.T, id string, change func(*fhir.Node)) {
	t.Helper()
	n := parse(t, string(s.held[id].Body))
	change(n)
	if n.Get("meta") == nil {
		n.Set("meta", fhir.NewObject())
	}
	version := s.held[id].Version + "1"
	n.Get("meta").Set("versionId", fhir.NewString(version))
	n.Get("meta").Set("lastUpdated", fhir.NewString("2026-06-10T12:00:00Z"))
	s.held[id] = load.Found{ID: id, Status: load.Present, Version: version, Body: n.AppendCanonical(nil)}
}

// world is a migration whose resources go to some stores.
type world struct {
	t      *testing.T
	uri    string
	keys   *phi.Keyring
	sealer *phi.Sealer
	stores []*fakeStore
	live   time.Time
}

func newWorld(t *testing.T, stores ...*fakeStore) *world {
	t.Helper()
	w := &world{t: t, uri: "file:" + filepath.Join(t.TempDir(), "kek"), stores: stores}
	if err := phi.InitKeys(t.Context(), phi.KeyPlace{KEK: w.uri, Migration: "test"}); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

// open opens the keys, as each process does.
func (w *world) open() {
	w.t.Helper()
	keys, err := phi.OpenKeys(w.t.Context(), phi.KeyPlace{KEK: w.uri, Migration: "test"})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = keys.Close() })
	policy, err := phi.LoadPolicy("limited-data-set", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.keys, w.sealer = keys, phi.NewSealer("test", keys, policy)
	for _, s := range w.stores {
		s.keys = keys
		if s.held == nil {
			s.held = map[string]load.Found{}
		}
	}
}

func (w *world) seal(text string) phi.Sealed {
	w.t.Helper()
	s, err := w.sealer.SealNode(&phi.Resource{Patient: "p"}, parse(w.t, text))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// load seals a resource and puts it into each store that is to hold it.
func (w *world) load(text string) phi.Sealed {
	w.t.Helper()
	s := w.seal(text)
	for _, store := range w.stores {
		if store.Holds(s) {
			store.put(w.t, s)
		}
	}
	return s
}

// compare reads back what was written in version 1.
func (w *world) compare(written Written, sealed ...phi.Sealed) Findings {
	w.t.Helper()
	var stores []Store
	var in []Written
	for _, s := range w.stores {
		stores, in = append(stores, s), append(in, written)
	}
	var sent []Sent
	for _, s := range sealed {
		sent = append(sent, Sent{Sealed: s, In: in})
	}
	f, err := NewReader(stores, w.keys, w.live).Compare(w.t.Context(), sealed[0].Type(), sent)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// brief is what a test says of discrepancies: kind, path and code.
func brief(list []ledger.Discrepancy) []string {
	var all []string
	for _, d := range list {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s: %s", d.Kind, d.Path, d.Code)))
	}
	return all
}

func dose(value string) func(*fhir.Node) {
	return func(n *fhir.Node) {
		n.Get("dosage").Item(0).Get("doseAndRate").Item(0).Get("doseQuantity").Set("value", fhir.NewNumber(value))
	}
}

const (
	medication = `{"resourceType":"MedicationStatement","id":"m1","status":"active","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"854901"}]},
"subject":{"reference":"Patient/p1"},"dosage":[{"doseAndRate":[{"doseQuantity":{"value":1,"unit":"tablet"}}]}]}`
	patient = `{"resourceType":"Patient","id":"p1","meta":{"tag":[{"code":"m"}]},"name":[{"family":"Alder","given":["Ann"]}],"gender":"female","birthDate":"1980-02-03"}`
)

var (
	wrote = Written{Version: "1", Exact: true}
	live  = time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC)
)

func identified() *fakeStore  { return &fakeStore{delivery: load.DeliveryIdentified} }
func sealedStore() *fakeStore { return &fakeStore{delivery: load.DeliverySealed} }

func split() (clinical, identity *fakeStore) {
	return &fakeStore{name: load.StoreClinical, delivery: load.DeliveryClinical}, &fakeStore{name: load.StoreIdentity, delivery: load.DeliveryIdentity}
}

// TestTwoWrongDosesAreTwoDiscrepancies: who accepts a dose of 2 has not accepted 10; and 2 again is the first, for
// another process too. Nobody sees from the digests that two patients share a dose.
func TestTwoWrongDosesAreTwoDiscrepancies(t *testing.T) {
	store := identified()
	w := newWorld(t, store)
	list := []phi.Sealed{w.load(medication), w.load(strings.Replace(medication, `"m1"`, `"m2"`, 1))}
	read := func(value string) [2]ledger.Discrepancy {
		t.Helper()
		for _, s := range list {
			store.edit(t, s.ID(), dose(value))
		}
		f := w.compare(wrote, list...)
		if len(f.Discrepancies) != 2 {
			t.Fatalf("dose %s: %v", value, brief(f.Discrepancies))
		}
		return [2]ledger.Discrepancy(f.Discrepancies)
	}
	two, ten := read("2"), read("10")
	if err := w.keys.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	again := read("2")
	if again != two {
		t.Errorf("dose 2 is another discrepancy the second time:\n%v\n%v", two, again)
	}
	if two[0].Found == ten[0].Found || two[0].Sent != ten[0].Sent {
		t.Errorf("doses 2 and 10 are\n%+v\n%+v", two[0], ten[0])
	}
	for _, d := range two {
		if len(d.Sent) != 32 || len(d.Found) != 32 || d.Sent == d.Found {
			t.Errorf("digests %q and %q", d.Sent, d.Found)
		}
	}
	if two[0].Sent == two[1].Sent || two[0].Found == two[1].Found {
		t.Error("equal values of two resources have one digest")
	}
}

// TestSomebodyElsesVersion: another version with other content was made by somebody else; live only names it. Another
// version with our content is a match.
func TestSomebodyElsesVersion(t *testing.T) {
	const path = "MedicationStatement.dosage[0].doseAndRate[0].doseQuantity.value"
	for _, c := range []struct {
		name    string
		version string // of our last write
		live    time.Time
		change  func(*fhir.Node)
		verdict Verdict
		want    []string
	}{
		{"ours, as sent", "11", time.Time{}, func(*fhir.Node) {}, Matched, nil},
		{"theirs, as sent", "1", time.Time{}, func(*fhir.Node) {}, Matched, nil},
		{"theirs, as sent, people work there", "1", live, func(*fhir.Node) {}, Matched, nil},
		{"ours, changed", "11", live, dose("2"), Different, []string{"different " + path + ": changed"}},
		{"nobody knows whose, changed", "", live, dose("2"), Different, []string{"different " + path + ": changed"}},
		{"theirs, changed, nobody works there yet", "1", time.Time{}, dose("2"), Different, []string{"different " + path + ": changed/other-version"}},
		{"theirs, changed before people worked there", "1", live.AddDate(0, 1, 0), dose("2"), Different, []string{"different " + path + ": changed/other-version"}},
		{"theirs, changed", "1", live, dose("2"), EditedSince, []string{"editedSince : other-version"}},
	} {
		store := identified()
		w := newWorld(t, store)
		w.live = c.live
		s := w.load(medication)
		store.edit(t, s.ID(), c.change)
		f := w.compare(Written{Version: c.version}, s)
		if diff := cmp.Diff(c.want, brief(f.Discrepancies)); diff != "" || f.Verdicts[0] != c.verdict {
			t.Errorf("%s: verdict %d, want %d (-want +got)\n%s", c.name, f.Verdicts[0], c.verdict, diff)
		}
		for _, d := range f.Discrepancies {
			if d.Sent == "" || d.Found == "" || d.Sent == d.Found {
				t.Errorf("%s: digests %q and %q", c.name, d.Sent, d.Found)
			}
		}
	}
}

// TestAnEditSavedAgainIsTheSame: the key of an edit hangs on what is there, not on how often it was written.
func TestAnEditSavedAgainIsTheSame(t *testing.T) {
	for _, store := range []*fakeStore{identified(), sealedStore()} {
		w := newWorld(t, store)
		w.live = live
		s := w.load(medication)
		store.edit(t, s.ID(), dose("2"))
		first := w.compare(wrote, s)
		store.edit(t, s.ID(), func(*fhir.Node) {})
		// The next run seals the same content anew, and does not send it.
		again := w.compare(Written{Version: "1"}, w.seal(medication))
		if diff := cmp.Diff(first.Discrepancies, again.Discrepancies); diff != "" || len(first.Discrepancies) != 1 {
			t.Errorf("%s: (-first +again)\n%s", store.delivery, diff)
		}
		store.edit(t, s.ID(), dose("3"))
		if other := w.compare(wrote, s); other.Discrepancies[0].Found == first.Discrepancies[0].Found {
			t.Errorf("%s: another edit has the same digest", store.delivery)
		}
	}
}

// TestChangeNotApplied: what was not sent, since somebody had changed the resource, is an edit that stays, with both
// sides, whether people work in the target or not. Damage to the encrypted part is damage all the same.
func TestChangeNotApplied(t *testing.T) {
	notApplied := Written{Version: "1", Edited: true}
	corrected := strings.Replace(patient, "Alder", "Elder", 1)
	for _, c := range []struct {
		name    string
		change  func(*fhir.Node)
		now     string // what the source says now
		verdict Verdict
		want    []string // for store "" under deliveries identified and sealed
	}{
		{"both changed it", func(n *fhir.Node) { n.Set("gender", fhir.NewString("other")) }, corrected, EditedSince, []string{"editedSince : not-applied"}},
		{"they saved it as it was", func(*fhir.Node) {}, corrected, EditedSince, []string{"editedSince : not-applied"}},
		{"they made it what the source says now", func(n *fhir.Node) { n.Set("gender", fhir.NewString("other")) }, strings.Replace(patient, "female", "other", 1), Matched, nil},
	} {
		for _, store := range []*fakeStore{identified(), sealedStore()} {
			w := newWorld(t, store)
			s := w.load(patient)
			store.edit(t, s.ID(), c.change)
			if c.verdict == Matched && store.delivery == load.DeliverySealed {
				continue // they cannot seal
			}
			f := w.compare(notApplied, w.seal(c.now))
			if diff := cmp.Diff(c.want, brief(f.Discrepancies)); diff != "" || f.Verdicts[0] != c.verdict {
				t.Errorf("%s, %s: verdict %d, want %d (-want +got)\n%s", store.delivery, c.name, f.Verdicts[0], c.verdict, diff)
			}
			for _, d := range f.Discrepancies {
				if d.Sent == "" || d.Found == "" {
					t.Errorf("%s, %s: digests %q and %q", store.delivery, c.name, d.Sent, d.Found)
				}
			}
		}
	}

	store := sealedStore()
	w := newWorld(t, store)
	s := w.load(patient)
	store.edit(t, s.ID(), func(n *fhir.Node) { n.Set("extension", nil) })
	f := w.compare(notApplied, w.seal(corrected))
	if diff := cmp.Diff([]string{"different Patient.extension: ciphertext-lost/other-version"}, brief(f.Discrepancies)); diff != "" || f.Verdicts[0] != Different {
		t.Errorf("verdict %d (-want +got)\n%s", f.Verdicts[0], diff)
	}
	delete(store.held, s.ID())
	if f = w.compare(notApplied, s); f.Verdicts[0] != Missing || f.Discrepancies[0].Sent == "" || f.Discrepancies[0].Found != "" {
		t.Errorf("deleted: verdict %d, %+v", f.Verdicts[0], f.Discrepancies)
	}
}

// TestSealed: what is wrong with an encrypted part has a name; what a server writes in another form has not.
func TestSealed(t *testing.T) {
	cipher := func(n *fhir.Node) *fhir.Node { return n.Get("extension").Item(0).Get("valueBase64Binary") }
	var other string // the encrypted part of another patient
	for _, c := range []struct {
		name   string
		change func(*fhir.Node)
		want   []string
	}{
		{"as sent", func(*fhir.Node) {}, nil},
		{"lost", func(n *fhir.Node) { n.Set("extension", nil) }, []string{"different Patient.extension: ciphertext-lost"}},
		{"twice", func(n *fhir.Node) { x := n.Get("extension"); x.Items = append(x.Items, x.Items[0]) }, []string{"different Patient.extension: ciphertext-twice"}},
		{"cut", func(n *fhir.Node) { cipher(n).Text = cipher(n).Text[:20] }, []string{"different Patient.extension: ciphertext-damaged"}},
		{"another's", func(n *fhir.Node) { cipher(n).Text = other }, []string{"different Patient.extension: foreign-ciphertext"}},
		{"clinical part changed", func(n *fhir.Node) { n.Set("gender", fhir.NewString("other")) }, []string{"different Patient.gender: changed"}},
	} {
		store := sealedStore()
		w := newWorld(t, store)
		other = cipher(parse(t, string(store.held[w.load(strings.Replace(patient, `"p1"`, `"p2"`, 1)).ID()].Body))).Text
		s := w.load(patient)
		store.edit(t, s.ID(), c.change)
		f := w.compare(Written{Version: "11", Exact: true}, s)
		if diff := cmp.Diff(c.want, brief(f.Discrepancies)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
		if want := map[string]int64{RuleServerMeta: 1}; c.want == nil && cmp.Diff(want, f.Normalised) != "" {
			t.Errorf("%s: rules %v", c.name, f.Normalised)
		}
	}
	// Another sealing of the same content: right where an earlier run sent it, somebody else's where this one did.
	store := sealedStore()
	w := newWorld(t, store)
	w.load(patient)
	s := w.seal(patient)
	if f := w.compare(Written{Version: "1"}, s); f.Verdicts[0] != Matched {
		t.Errorf("sealed by an earlier run: %v", brief(f.Discrepancies))
	}
	if f := w.compare(wrote, s); len(f.Discrepancies) != 1 || f.Discrepancies[0].Code != "other-ciphertext" {
		t.Errorf("not what this run sent: %v", brief(f.Discrepancies))
	}
	// An older content of the resource.
	if f := w.compare(Written{Version: "1"}, w.seal(strings.Replace(patient, "Alder", "Elder", 1))); len(f.Discrepancies) != 1 || f.Discrepancies[0].Code != "stale-digest" {
		t.Errorf("older: %v", brief(f.Discrepancies))
	}
	// What is missing is known by all that it was, the encrypted part included, in whichever sealing.
	delete(store.held, s.ID())
	missing := func(text string) string { return w.compare(wrote, w.seal(text)).Discrepancies[0].Sent }
	if first, again := missing(patient), missing(patient); first != again || first == missing(strings.Replace(patient, "Alder", "Elder", 1)) {
		t.Error("the digest of what is missing is not that of its content")
	}
	// A number that the server writes otherwise joins to another digest, and is equal by its rule.
	m := w.load(strings.Replace(medication, `"value":1,`, `"value":1.50,`, 1))
	store.edit(t, m.ID(), dose("1.5"))
	if f := w.compare(wrote, m); f.Verdicts[0] != Matched || f.Normalised[RuleDecimalForm] != 1 || f.Normalised[RuleServerMeta] != 1 {
		t.Errorf("decimal form: %v, %v", brief(f.Discrepancies), f.Normalised)
	}
}

// TestSplit: each store has its own form and version, the worse verdict counts, and the path says where.
func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name     string
		clinical func(*fhir.Node)
		identity func(*fhir.Node)
		versions [2]string
		verdict  Verdict
		want     []string
	}{
		{"as sent", func(*fhir.Node) {}, func(*fhir.Node) {}, [2]string{"11", "11"}, Matched, nil},
		{"clinical changed", func(n *fhir.Node) { n.Set("gender", fhir.NewString("other")) }, func(*fhir.Node) {}, [2]string{"11", "11"},
			Different, []string{"different clinical: Patient.gender: changed"}},
		{"identity changed by somebody", func(*fhir.Node) {}, func(n *fhir.Node) { n.Get("name").Item(0).Set("family", fhir.NewString("Other")) }, [2]string{"11", "1"},
			EditedSince, []string{"editedSince identity: other-version"}},
		{"one damaged, one edited", func(n *fhir.Node) { n.Set("gender", nil) }, func(n *fhir.Node) { n.Set("gender", nil) }, [2]string{"11", "1"},
			Different, []string{"different clinical: Patient.gender: lost", "editedSince identity: other-version"}},
		{"identity lost", func(*fhir.Node) {}, nil, [2]string{"11", "11"}, Missing, []string{"missing identity: missing"}},
	} {
		clinical, identity := split()
		w := newWorld(t, clinical, identity)
		w.live = live
		s := w.load(patient)
		clinical.edit(t, s.ID(), c.clinical)
		if c.identity == nil {
			delete(identity.held, s.ID())
		} else {
			identity.edit(t, s.ID(), c.identity)
		}
		in := []Written{{Version: c.versions[0]}, {Version: c.versions[1]}}
		f, err := NewReader([]Store{clinical, identity}, w.keys, live).Compare(t.Context(), "Patient", []Sent{{Sealed: s, In: in}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, brief(f.Discrepancies)); diff != "" || f.Verdicts[0] != c.verdict {
			t.Errorf("%s: verdict %d, want %d (-want +got)\n%s", c.name, f.Verdicts[0], c.verdict, diff)
		}
		want := map[string]int64{}
		if c.verdict == Matched {
			want[RuleServerMeta] = 1 // one resource, though both stores added theirs
		}
		if diff := cmp.Diff(want, f.Normalised); diff != "" {
			t.Errorf("%s: rules (-want +got)\n%s", c.name, diff)
		}
	}
}

// TestNotRead: what the store did not show is not compared, and never counts as a match.
func TestNotRead(t *testing.T) {
	for name, found := range map[string][]load.Found{
		"no answer":  nil,
		"unknown":    {{Status: load.Unknown}},
		"unreadable": {{Status: load.Present, Body: []byte("{")}},
	} {
		store := &answers{identified(), found, nil}
		w := newWorld(t, store.fakeStore)
		f, err := NewReader([]Store{store}, w.keys, live).Compare(t.Context(), "Patient", []Sent{{Sealed: w.load(patient)}})
		if err != nil {
			t.Fatal(err)
		}
		var c ledger.VerifiedCount
		f.Verdicts[0].Count(&c)
		if diff := cmp.Diff(ledger.VerifiedCount{NotCompared: 1}, c); diff != "" || len(f.Discrepancies)+len(f.Normalised) > 0 {
			t.Errorf("%s: %+v\n%s", name, f, diff)
		}
		store.err = errors.New("unavailable")
		if _, err := NewReader([]Store{store}, w.keys, live).Compare(t.Context(), "Patient", []Sent{{Sealed: w.load(patient)}}); !errors.Is(err, store.err) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// answers is a store that answers each read alike.
type answers struct {
	*fakeStore
	found []load.Found
	err   error
}

func (s *answers) Read(context.Context, string, []string) ([]load.Found, error) {
	return s.found, s.err
}

// TestManyDifferences: of a resource that differs altogether some elements are listed and the rest is one, whose digest
// changes with any of them.
func TestManyDifferences(t *testing.T) {
	var notes []string
	for i := range 30 {
		notes = append(notes, fmt.Sprintf(`{"text":"note %d"}`, i))
	}
	text := strings.Replace(medication, `"dosage"`, `"note":[`+strings.Join(notes, ",")+`],"dosage"`, 1)
	store := identified()
	w := newWorld(t, store)
	s := w.load(text)
	change := func(last string) []ledger.Discrepancy {
		store.edit(t, s.ID(), func(n *fhir.Node) {
			for i, note := range n.Get("note").Items {
				note.Set("text", fhir.NewString(fmt.Sprintf("other %d", i)))
			}
			n.Get("note").Items[29].Set("text", fhir.NewString(last))
		})
		return w.compare(Written{}, s).Discrepancies
	}
	a, b := change("a"), change("b")
	if len(a) != mostDifferences+1 || len(b) != len(a) {
		t.Fatalf("%d and %d discrepancies", len(a), len(b))
	}
	if diff := cmp.Diff(a[:mostDifferences], b[:mostDifferences]); diff != "" || a[mostDifferences].Path != "" || a[mostDifferences].Found == b[mostDifferences].Found {
		t.Errorf("%s\nlast %+v and %+v", diff, a[mostDifferences], b[mostDifferences])
	}
}

// TestIDsOfTheServer: a resource is read by the store's id, and compared by ours.
func TestIDsOfTheServer(t *testing.T) {
	store := identified()
	w := newWorld(t, store)
	s := w.load(medication)
	theirs := store.held[s.ID()]
	theirs.Body = []byte(strings.NewReplacer(`"m1"`, `"4711"`, "Patient/p1", "Patient/815").Replace(string(theirs.Body)))
	store.held = map[string]load.Found{"4711": theirs}
	ours := func(n *fhir.Node) (*fhir.Node, error) {
		return fhir.Parse([]byte(strings.NewReplacer(`"4711"`, `"m1"`, "Patient/815", "Patient/p1").Replace(string(n.AppendCanonical(nil)))))
	}
	if f := w.compare(Written{Version: "1", ID: "4711", Ours: ours}, s); f.Verdicts[0] != Matched {
		t.Errorf("verdict %d, %v", f.Verdicts[0], brief(f.Discrepancies))
	}
	store.edit(t, "4711", dose("2"))
	if f := w.compare(Written{Version: "1", ID: "4711", Ours: ours}, s); f.Verdicts[0] != Different || len(f.Discrepancies) != 1 || f.Discrepancies[0].ID != "m1" {
		t.Errorf("verdict %d, %v", f.Verdicts[0], brief(f.Discrepancies))
	}
}

// TestRejected: the discrepancy names the store and changes with the content.
func TestRejected(t *testing.T) {
	w := newWorld(t, identified())
	r := NewReader(nil, w.keys, live)
	reject := func(s phi.Sealed) ledger.Discrepancy {
		d, err := r.Rejected(s, load.StoreIdentity, "invalid")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, again, other := reject(w.seal(patient)), reject(w.seal(patient)), reject(w.seal(strings.Replace(patient, "Alder", "Elder", 1)))
	if a.Kind != ledger.Rejected || a.Path != load.StoreIdentity || a.Code != "invalid" || a.Sent == "" || a.Found != "" {
		t.Errorf("%+v", a)
	}
	if a != again || a.Sent == other.Sent {
		t.Errorf("%+v\n%+v\n%+v", a, again, other)
	}
}
