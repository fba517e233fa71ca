package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/phi"
)

func TestSendAndReadBack(t *testing.T) {
	b := newBench(t, func(o *Options) { o.BundleSize = 7 })
	batch := b.sealed(30)
	outcomes, err := b.target.Send(t.Context(), fresh(batch))
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if want := (load.Outcome{Type: "Patient", Ours: fmt.Sprintf("p%03d", i), ID: fmt.Sprintf("p%03d", i), Kind: load.Created, Version: "1", Status: 201}); o != want {
			t.Fatalf("outcome %d is %+v, want %+v", i, o, want)
		}
	}
	if got := b.requests.Load(); got != 5 {
		t.Errorf("%d requests, want 5", got)
	}
	whole, err := b.ring.Whole(batch[3], nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := b.target.Read(t.Context(), "Patient", []string{"p003", "nobody", "p004"})
	if err != nil {
		t.Fatal(err)
	}
	if found[0].Status != load.Present || found[1].Status != load.Missing || found[2].Status != load.Present || found[2].ID != "p004" {
		t.Errorf("found %v", found)
	}
	sent, err := fhir.Parse(whole)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(b.versioned(sent, 1).AppendCanonical(nil)), string(found[0].Body)); diff != "" {
		t.Errorf("what was read back differs (-want +got):\n%s", diff)
	}
	text, _ := json.Marshal(found)
	if all := fmt.Sprintf("%v %+v %#v %s %s", found, found[0], found[0], found, text); strings.Contains(all, secretName) {
		t.Errorf("a value is printed: %s", all)
	}
	outcomes, err = b.target.Send(t.Context(), fresh(batch[:2]))
	if err != nil || outcomes[0].Kind != load.Updated || outcomes[0].Version != "2" {
		t.Errorf("a second time: %+v, %v", outcomes, err)
	}
}

// TestEachEntryIsJudgedByItself gives every entry a fate of its own (F09, F10).
func TestEachEntryIsJudgedByItself(t *testing.T) {
	b := newBench(t, nil)
	seen := map[string]bool{}
	b.each = func(e entry) string {
		if e.method != http.MethodPut {
			return ""
		}
		once := !seen[e.id]
		seen[e.id] = true
		switch e.id {
		case "p001":
			return refusal(422, "invalid", "Patient.birthDate")
		case "p002":
			return refusal(412, "multiple-matches", "")
		case "p003":
			return refusal(404, "nonsense "+secretName, "")
		case "p004": // throttled once
			if once {
				return refusal(429, "throttled", "")
			}
		case "p005": // a fault of the server, once
			if once {
				return refusal(500, "exception", "")
			}
		case "p006": // always
			return refusal(500, "exception", "Patient.name.where(family='"+secretName+"')")
		case "p007": // the answer speaks of somebody else
			return accepted("201", "Patient/stranger", 1)
		case "p008": // another write was faster
			return refusal(409, "conflict", "")
		case "p009": // says yes, but names nothing; and did it
			b.store(e)
			return `{"response":{"status":"201"}}`
		case "p010":
			return `{"response":{"status":"very well"}}`
		case "p011":
			return `{}`
		case "p012":
			return refusal(403, "forbidden", "")
		case "p013":
			return refusal(413, "too-costly", "")
		case "p014":
			return refusal(400, "throttled", "") // as some vendors say it; always
		case "p015":
			return `{"response":{"status":"304 Not Modified","etag":"W/\"4\""}}`
		}
		return ""
	}
	outcomes, err := b.send(17)
	if err != nil {
		t.Fatal(err)
	}
	want := []load.Outcome{
		{Kind: load.Created, Status: 201, Version: "1"},
		{Kind: load.Rejected, Status: 422, Code: "invalid", Path: "Patient.birthDate"},
		{Kind: load.Rejected, Status: 412, Code: load.CodeDuplicate},
		{Kind: load.Rejected, Status: 404},
		{Kind: load.Created, Status: 201, Version: "1"},
		{Kind: load.Created, Status: 201, Version: "1"},
		{Kind: load.Rejected, Status: 500, Code: "exception", Path: "Patient.name"},
		{Kind: load.Rejected, Status: 201, Code: load.CodeMismatch},
		{Kind: load.Rejected, Status: 409, Code: "conflict"},
		{Kind: load.Created, Status: 200, Version: "1"},
		{Kind: load.InDoubt, Code: load.CodeUnread},
		{Kind: load.InDoubt, Code: load.CodeUnread},
		{Kind: load.Rejected, Status: 403, Code: "forbidden"},
		{Kind: load.Rejected, Status: 413, Code: load.CodeTooLarge},
		{Kind: load.InDoubt, Status: 400, Code: "throttled"},
		{Kind: load.Unchanged, Status: 304, Version: "4"},
		{Kind: load.Created, Status: 201, Version: "1"},
	}
	for i := range want {
		want[i].Type, want[i].Ours, want[i].ID = "Patient", fmt.Sprintf("p%03d", i), fmt.Sprintf("p%03d", i)
	}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	if b.puts["Patient/p000"] != 1 || b.puts["Patient/p016"] != 1 {
		t.Error("an entry that had succeeded was sent again")
	}
	for _, line := range b.logs.All() {
		if text := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(text, secretName) {
			t.Errorf("a value is in the log: %s", text)
		}
	}
}

// TestAnswersThatDoNotFit: a batch's answer with entries missing, added, reordered or unnamed is looked behind (F10).
func TestAnswersThatDoNotFit(t *testing.T) {
	for name, after := range map[string]func([]string) []string{
		"an entry missing":      func(a []string) []string { return a[:len(a)-1] },
		"an entry added":        func(a []string) []string { return append(a, a[0]) },
		"reordered":             func(a []string) []string { a = slices.Clone(a); slices.Reverse(a); return a },
		"no entries":            func([]string) []string { return nil },
		"entries of other form": func(a []string) []string { return slices.Repeat([]string{`{"response":"fine"}`}, len(a)) },
		"no locations": func(a []string) []string {
			return slices.Repeat([]string{`{"response":{"status":"200"}}`}, len(a))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.after = func(e []entry, a []string) []string {
				if put(e) {
					return after(a)
				}
				return a
			}
			outcomes, err := b.send(9)
			if err != nil || kinds(outcomes)["created"]+kinds(outcomes)["updated"] != 9 {
				t.Fatalf("outcomes %v, %v: all are there and were to be found", kinds(outcomes), err)
			}
			b.writtenOnce()
			// And if nothing is there, nothing is claimed. A batch of one is whole in any order, so it is left out.
			if name == "reordered" {
				return
			}
			b.each = func(e entry) string {
				if e.method == http.MethodPut {
					return accepted("201", e.typ+"/"+e.id, 1)
				}
				return refusal(404, "not-found", "")
			}
			clear(b.held)
			outcomes, err = b.send(9)
			if err != nil || kinds(outcomes)["in doubt"] != 9 {
				t.Errorf("nothing was stored: %v, %v", kinds(outcomes), err)
			}
		})
	}
}

// TestAnswersThatAreNone: an HTTP 200 that is no answer to what was asked is never success (F06).
func TestAnswersThatAreNone(t *testing.T) {
	for name, body := range map[string]string{
		"HTML":           "<html><p>Please sign in</p></html>",
		"nothing":        "",
		"half":           `{"resourceType":"Bundle","type":"batch-response","entry":[`,
		"another type":   `{"resourceType":"Patient"}`,
		"our own bundle": `{"resourceType":"Bundle","type":"batch","entry":[{"response":{"status":"201","location":"Patient/p000"}}]}`,
		"twice a member": `{"resourceType":"Bundle","type":"batch-response","type":"batch-response"}`,
		"deep":           strings.Repeat(`{"a":`, 5000),
		"a warning only": issue("informational", ""),
		"too large":      strings.Repeat(" ", 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(o *Options) { o.ResponseBytes = 2 << 20 })
			b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
				return put(entries) && answer(w, 200, body)
			}
			outcomes, err := b.send(4)
			if err != nil || kinds(outcomes)["in doubt"] != 4 {
				t.Errorf("outcomes %v, %v", kinds(outcomes), err)
			}
		})
	}
	t.Run("a length that is wrong", func(t *testing.T) {
		b := newBench(t, nil)
		b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
			if !put(entries) {
				return false
			}
			w.Header().Set("Content-Length", "5000")
			return answer(w, 200, `{"resourceType":"Bundle"}`)
		}
		outcomes, err := b.send(2)
		if err != nil || kinds(outcomes)["in doubt"] != 2 || outcomes[0].Code != load.CodeLost {
			t.Errorf("outcomes %v, %v", outcomes, err)
		}
	})
}

// TestLostAcknowledgement: the server commits, then the connection breaks. It is looked at, and nothing is sent twice
// (F06).
func TestLostAcknowledgement(t *testing.T) {
	b := newBench(t, nil)
	b.broken = func(n int64) bool { return n == 1 }
	outcomes, err := b.send(5)
	if err != nil || kinds(outcomes)["created"] != 5 {
		t.Fatalf("%v, %v", outcomes, err)
	}
	b.writtenOnce()
}

// TestLostRequest: the request is lost before the server has seen it. What is there in our last version is written over,
// the same bytes again; what is there without our knowledge is somebody's.
func TestLostRequest(t *testing.T) {
	for version, want := range map[string]load.Kind{"1": load.Updated, "": load.Edited, "7": load.Edited} {
		b := newBench(t, nil)
		b.before = func(w http.ResponseWriter, _ *http.Request, n int64, _ []entry) bool { return n == 1 && hangUp(t, w) }
		b.edit(strings.Replace(patient(0), "1970", "1971", 1))
		items := fresh(b.sealed(1))
		items[0].Version = version
		outcomes, err := b.target.Send(t.Context(), items)
		if err != nil || outcomes[0].Kind != want {
			t.Fatalf("version %q: %v, %v", version, outcomes, err)
		}
		if year := b.held["Patient/p000"].Get("birthDate").Str()[:4]; (year == "1970") != (want == load.Updated) {
			t.Errorf("version %q: %s is there", version, year)
		}
	}
}

func TestLastingLossIsInDoubt(t *testing.T) {
	b := newBench(t, func(o *Options) { o.Patience = 24 * time.Hour })
	b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
		return put(entries) && slices.ContainsFunc(entries, func(e entry) bool { return e.id == "p003" }) && hangUp(t, w)
	}
	outcomes, err := b.send(8)
	if err != nil || kinds(outcomes)["created"] != 7 || outcomes[3].Kind != load.InDoubt || outcomes[3].Code != load.CodeLost {
		t.Fatalf("%v, %v", outcomes, err)
	}
}

func TestResumeLooksFirst(t *testing.T) {
	b := newBench(t, nil)
	batch := b.sealed(6)
	if _, err := b.target.Send(t.Context(), fresh(batch[:3])); err != nil {
		t.Fatal(err)
	}
	outcomes, err := b.target.Resume(t.Context(), fresh(batch))
	if err != nil || kinds(outcomes)["created"] != 6 {
		t.Fatalf("%v, %v", outcomes, err)
	}
	b.writtenOnce()
}

// TestPoison: one entry makes its whole bundle fail; halving finds it (F08).
func TestPoison(t *testing.T) {
	for _, status := range []int{400, 422, 500} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			b := newBench(t, nil)
			b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
				return put(entries) && slices.ContainsFunc(entries, func(e entry) bool { return e.id == "p100" }) &&
					answer(w, status, issue("invalid", "Patient.name"))
			}
			outcomes, err := b.send(256)
			if err != nil || kinds(outcomes)["created"] != 255 {
				t.Fatalf("%v, %v", kinds(outcomes), err)
			}
			if o := outcomes[100]; o.Kind != load.Rejected || o.Status != status || o.Code != "invalid" || o.Path != "Patient.name" {
				t.Errorf("the poisoned one: %+v", o)
			}
			if got := b.requests.Load(); got > 60 {
				t.Errorf("%d requests to find one of 256", got)
			}
		})
	}
}

func TestTooLargeIsSplit(t *testing.T) {
	b := newBench(t, nil)
	b.before = func(w http.ResponseWriter, _ *http.Request, _ int64, entries []entry) bool {
		return (len(entries) > 3 || put(entries) && entries[0].id == "p005") && answer(w, 413, "")
	}
	outcomes, err := b.send(10)
	if err != nil || kinds(outcomes)["created"]+kinds(outcomes)["rejected"] != 10 {
		t.Fatalf("%v, %v", kinds(outcomes), err)
	}
	if o := outcomes[5]; o.Kind != load.Rejected || o.Code != load.CodeTooLarge {
		t.Errorf("the one that is too large alone: %+v", o)
	}
	b = newBench(t, func(o *Options) { o.BundleBytes = 700 })
	outcomes, err = b.send(10)
	if err != nil || kinds(outcomes)["created"] != 10 || b.requests.Load() < 5 {
		t.Errorf("with a cap on bytes: %v, %v, %d requests", kinds(outcomes), err, b.requests.Load())
	}
}

func TestZeroValueIsRefused(t *testing.T) {
	b := newBench(t, nil)
	if _, err := b.target.Send(t.Context(), fresh(make([]phi.Sealed, 1))); !errors.Is(err, load.ErrNotSealed) {
		t.Errorf("the zero value: %v", err)
	}
	if outcomes, err := b.target.Send(t.Context(), nil); err != nil || len(outcomes) != 0 || b.requests.Load() != 0 {
		t.Errorf("nothing: %v, %v", outcomes, err)
	}
}

func TestCancelled(t *testing.T) {
	b := newBench(t, func(o *Options) { o.BundleSize = 2; o.Parallel = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	b.before = func(_ http.ResponseWriter, r *http.Request, n int64, _ []entry) bool {
		if n < 3 {
			return false
		}
		cancel()
		<-r.Context().Done()
		return true
	}
	outcomes, err := b.target.Send(ctx, fresh(b.sealed(10)))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(map[string]int{"created": 4, "in doubt": 2, "pending": 4}, kinds(outcomes)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSameAsSent(t *testing.T) {
	for _, test := range []struct {
		sent, got string
		want      bool
	}{
		{`{"id":"a","x":1}`, `{"x":1,"id":"a"}`, true},
		{`{"id":"a"}`, `{"id":"a","meta":{"versionId":"1","lastUpdated":"2020-01-01T00:00:00Z","source":"#x"}}`, true},
		{`{"id":"a","meta":{"tag":[{"code":"t"}]}}`, `{"id":"a","meta":{"versionId":"1","tag":[{"code":"t"}]}}`, true},
		{`{"id":"a","meta":{"tag":[{"code":"t"}]}}`, `{"id":"a","meta":{"versionId":"1"}}`, false},
		{`{"id":"a"}`, `{"id":"a","meta":{"security":[{"code":"R"}]}}`, false},
		{`{"meta":{"tag":[{"code":"t"},{"code":"s"}]}}`, `{"meta":{"tag":[{"code":"s"},{"code":"t"}]}}`, true},
		{`{"meta":{"profile":["b","a"]}}`, `{"meta":{"profile":["a","b"]}}`, true},
		{`{"meta":{"profile":["b","a"]}}`, `{"meta":{"profile":["a","a"]}}`, false},
		{`{"meta":{"profile":["a","a"]}}`, `{"meta":{"profile":["b","a"]}}`, false},
		{`{"meta":{"security":[{"code":"R"},{"code":"S"}]}}`, `{"meta":{"security":[{"code":"S"},{"code":"R"}]}}`, true},
		{`{"meta":{"tag":[{"code":"t"}]}}`, `{"meta":{"tag":[{"code":"s"},{"code":"t"}]}}`, false},
		{`{"meta":{"extension":[{"url":"t"},{"url":"s"}]}}`, `{"meta":{"extension":[{"url":"s"},{"url":"t"}]}}`, false},
		{`{"id":"a","v":0.70}`, `{"id":"a","v":0.7}`, false},
		{`{"id":"a","v":[1,2]}`, `{"id":"a","v":[2,1]}`, false},
		{`{"id":"a","v":1}`, `{"id":"a"}`, false},
		{`{"id":"a"}`, `{"id":"a","text":{"div":"x"}}`, false},
	} {
		sent, err1 := fhir.Parse([]byte(test.sent))
		got, err2 := fhir.Parse([]byte(test.got))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if load.SameAsSent(sent, got) != test.want {
			t.Errorf("%s and %s: want %t", test.sent, test.got, test.want)
		}
	}
}
