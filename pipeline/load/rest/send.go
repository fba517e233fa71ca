package rest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sync"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/load"
)

// mostThrottles is how often one bundle or entry is sent again because the target said "not now", while others get
// through. After that it is left in doubt for the next run.
const mostThrottles = 30

// item is one resource on its way.
type item struct {
	load.Item
	at          key    // where it lies; without an id while the server has given none
	base        string // the version that the next write builds on; "" none
	condition   bool   // it is created under a condition, so that a repetition makes no second one and overwrites nothing
	introducing bool   // its first form is sent
	outcome     load.Outcome
	failures    int  // times it was in doubt
	throttles   int  // times it was told to wait
	unseen      bool // it is not to be sent before a look
	definite    bool // the last failure was the server's own word about this very resource
	elsewhere   bool // the server answered with an id that nobody sent
}

// settle is the outcome of an item that will not be sent again. looked is what the last look found.
func (it *item) settle(looked load.FoundStatus) {
	o := &it.outcome
	switch {
	case it.elsewhere, it.definite && looked != load.Unknown:
		// The server said no, and what was sent is not there; or it stored it where nobody asked it to, and a
		// repetition would store it there once more.
		o.Kind = load.Rejected
	default:
		o.Kind = load.InDoubt
	}
}

// sender delivers resources to one server. Safe for concurrent use.
type sender struct {
	conn        *connection
	forms       *forms
	preflight   *preflight
	reader      *reader
	bundleSize  int       // entries
	bundleBytes int       // unless one resource alone has more
	bodies      sync.Pool // *body
}

// send delivers the items; see [load.Sender]. resume: they may be there already. introducing: in their first forms.
func (t *sender) send(ctx context.Context, items []load.Item, resume, introducing bool) ([]load.Outcome, error) {
	outcomes := make([]load.Outcome, len(items))
	all := make([]*item, len(items))
	for i, it := range items {
		typ, ours := it.Sealed.Type(), it.Sealed.ID()
		outcomes[i] = load.Outcome{Type: typ, Ours: ours, ID: it.ID}
		if typ == "" {
			return outcomes, fmt.Errorf("send resource %d of %d: %w", i+1, len(items), load.ErrNotSealed)
		}
		if introducing && it.First == nil {
			return outcomes, fmt.Errorf("introduce resource %d of %d: it has no first form", i+1, len(items))
		}
		if it.ID == "" {
			outcomes[i].ID = ours
		}
		if !addressable(typ, ours) || !addressable(typ, outcomes[i].ID) || it.Version != "" && !fhir.ValidID(it.Version) {
			return outcomes, fmt.Errorf("send resource %d of %d: neither type, id nor version of R4", i+1, len(items))
		}
	}
	if len(items) == 0 {
		return outcomes, nil
	}
	t.conn.pace.Again()
	if err := t.preflight.confirm(ctx); err != nil {
		return outcomes, err
	}
	for i, it := range items {
		all[i] = &item{Item: it, base: it.Version, introducing: introducing}
		if t.forms.creates(it) {
			outcomes[i].ID = ""
			all[i].condition = t.forms.conditional(outcomes[i].Type)
		}
		all[i].at, all[i].outcome = key{outcomes[i].Type, outcomes[i].ID}, outcomes[i]
	}
	err := t.sendBundles(ctx, all, resume)
	for i, it := range all {
		outcomes[i] = it.outcome
	}
	return outcomes, err
}

// sendBundles cuts the items into bundles and delivers some at a time. Each item belongs to one goroutine until the
// pool has come to its end. The pool blocks when it is full, so no more plaintext is in memory than is being sent.
func (t *sender) sendBundles(ctx context.Context, all []*item, resume bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := pool.New().WithMaxGoroutines(t.conn.parallel).WithErrors().WithFirstError()
	hand := func(items []*item, b *body) {
		p.Go(func() error {
			err := t.deliver(ctx, items, b, resume)
			if err != nil {
				cancel() // the first error is the one that is told
			}
			return err
		})
	}
	var opened error
	for rest := all; len(rest) > 0 && ctx.Err() == nil; {
		b := t.bodies.Get().(*body)
		group, n, err := t.fill(b, rest, t.bundleBytes)
		if err != nil {
			t.bodies.Put(b)
			opened = err
			cancel()
			break
		}
		hand(group, b)
		rest = rest[n:]
	}
	if err := p.Wait(); err != nil && opened == nil {
		return err
	}
	if opened != nil {
		return opened
	}
	return ctx.Err()
}

// body is the text of a bundle and the memory it takes, used again and again.
type body struct {
	bundle []byte
	whole  []byte // one resource
}

// entryOverhead is what an entry needs besides the resource, generously.
const entryOverhead = 400

// fill writes a bundle of the first of the items that have room in so many bytes, at least one, and returns those that
// are in it and how many it has gone through. What cannot be sent is settled and left out.
func (t *sender) fill(b *body, items []*item, most int) (group []*item, n int, err error) {
	w := fhir.NewBundle(b.bundle[:0], r4.BundleTypeBatch, fhir.BundleHead{})
	for ; n < len(items) && w.Entries() < t.bundleSize; n++ {
		it := items[n]
		var edit load.Edit
		if it.introducing {
			edit = it.First
		}
		b.whole, err = t.forms.append(it.Item, edit, b.whole[:0])
		var dangling *unresolved
		switch {
		case errors.As(err, &dangling):
			it.hold(dangling.path)
			continue
		case err != nil:
			return nil, n, fmt.Errorf("form of %s/%s: %w", it.at.typ, it.Sealed.ID(), err)
		}
		if w.Entries() > 0 && w.Len()+len(b.whole)+entryOverhead > most {
			break
		}
		w.Request(it.request(), b.whole)
		group = append(group, it)
	}
	b.bundle, err = w.Close()
	return group, n, err
}

// request is how an item is written: over the version it builds on and no other, or as something new.
func (it *item) request() fhir.Request {
	if it.at.id == "" {
		r := fhir.PostRequest(it.at.typ)
		if it.condition {
			r.IfNoneExist = tagQuery(it.Sealed.ID())
		}
		return r
	}
	r := fhir.PutRequest(it.at.typ, it.at.id)
	if it.base != "" {
		r.IfMatch = fhir.VersionETag(it.base)
	}
	return r
}

// tagQuery is the search for what carries our id in its tag.
func tagQuery(ours string) string { return "_tag=" + url.QueryEscape(fhir.IDTagSystem+"|"+ours) }

// deliver sends one bundle's worth of items and does not return before each has its outcome, or the run cannot go on.
//
// The queue holds groups still to be sent. A group that fails as a whole is sent again a few times and then halved, the
// halves going to the end of the queue: so a poisoned entry is found in a number of requests that grows with the
// logarithm of the bundle's size, and its neighbours get through meanwhile.
func (t *sender) deliver(ctx context.Context, items []*item, b *body, resume bool) error {
	defer t.bodies.Put(b)
	queue := [][]*item{items}
	built := true // b holds the first group
	var unseen, rest []*item
	for _, it := range items {
		if resume || it.at.id == "" && !it.condition {
			unseen = append(unseen, it)
		} else {
			rest = append(rest, it)
		}
	}
	if len(unseen) > 0 {
		open, err := t.look(ctx, unseen)
		if err != nil {
			return err
		}
		queue, built = [][]*item{append(rest, open...)}, false
	}
	refreshed := false
	for len(queue) > 0 {
		group := queue[0]
		queue = queue[1:]
		if unseen, seen := partition(group); len(unseen) > 0 {
			next, err := t.doubtful(ctx, unseen)
			if err != nil {
				return err
			}
			queue, built = append(append(queue, seen), next...), false
			continue
		}
		if !built {
			// A group is part of a bundle that had room, so all of it has.
			var err error
			if group, _, err = t.fill(b, group, math.MaxInt); err != nil {
				return err
			}
		}
		built = false
		if len(group) == 0 {
			continue
		}
		next, err := t.sendGroup(ctx, group, b.bundle, &refreshed)
		if err != nil {
			return err
		}
		queue = append(queue, next...)
	}
	return nil
}

// partition tells those that are not to be sent before a look from the others.
func partition(group []*item) (unseen, seen []*item) {
	for _, it := range group {
		if it.unseen {
			unseen = append(unseen, it)
		} else {
			seen = append(seen, it)
		}
	}
	return unseen, seen
}

var (
	minimal = http.Header{"Prefer": {"return=minimal"}}
	// representation is asked for where the server gives ids: what an answer is about shows by the tag in the resource.
	representation = http.Header{"Prefer": {"return=representation"}}
)

// sendGroup sends one bundle and deals with the answer. It returns the groups that are to be sent next.
func (t *sender) sendGroup(ctx context.Context, group []*item, body []byte, refreshed *bool) ([][]*item, error) {
	const op = "send bundle"
	prefer := minimal
	if slices.ContainsFunc(group, func(it *item) bool { return it.at.id == "" }) {
		prefer = representation
	}
	r, err := t.conn.ask(ctx, op, http.MethodPost, t.conn.base.String(), body, prefer)
	if err != nil {
		if r != nil && r.doubtful() {
			for _, it := range group {
				it.outcome.Kind, it.outcome.Status, it.outcome.Code = load.InDoubt, r.status, load.CodeLost
			}
		}
		return nil, err
	}
	switch {
	case r.unsent:
		return [][]*item{group}, nil // the pace has made it wait, and gives up in time
	case r.throttled():
		return postpone(group, r.status), nil
	case r.doubtful():
		for _, it := range group {
			it.outcome.Status, it.outcome.Code = r.status, r.code
			it.outcome.Path = ""
			it.definite = r.whole() && len(group) == 1
			if r.whole() {
				it.outcome.Code, it.outcome.Path = r.reason()
			}
		}
		return t.doubtful(ctx, group)
	case r.status >= 200 && r.status < 300:
		answers, ok := readAnswers(r, len(group))
		if !ok {
			for _, it := range group {
				it.outcome.Status, it.outcome.Code, it.outcome.Path, it.definite = r.status, load.CodeUnread, "", false
			}
			return t.doubtful(ctx, group)
		}
		return t.sort(ctx, group, answers, r, refreshed)
	case r.status < 400, r.status == http.StatusNotFound, r.status == http.StatusMethodNotAllowed, r.status == http.StatusGone:
		code, _ := r.reason()
		return nil, &load.Error{Op: op, Status: r.status, Code: code, Err: load.ErrUnsupported}
	}
	// A refusal of the whole: 400, 409, 412, 413, 422 and their like. Something in it is at fault, or it is too large.
	if len(group) > 1 {
		return halves(group), nil
	}
	it := group[0]
	code, path := r.reason()
	verdict := judgeEntry(&entryAnswer{status: r.status, code: code, path: path}, it, false, 1)
	if verdict == doubt {
		return t.doubtful(ctx, group)
	}
	return nil, nil
}

// sort deals with the entries of an answer, each by itself.
func (t *sender) sort(ctx context.Context, group []*item, answers []entryAnswer, r *reply, refreshed *bool) ([][]*item, error) {
	var wait, unsure, unauthorized []*item
	forbidden := 0
	for i, v := range judge(answers, group) {
		it := group[i]
		switch v {
		case again:
			wait = append(wait, it)
		case doubt:
			unsure = append(unsure, it)
		case refresh:
			unauthorized = append(unauthorized, it)
		case settled:
			if it.outcome.Status == http.StatusForbidden {
				forbidden++
			}
		}
	}
	if forbidden == len(group) || len(unauthorized) > 0 && *refreshed {
		for _, it := range group {
			if it.outcome.Status == http.StatusForbidden {
				it.outcome.Kind = load.Pending
			}
		}
		return nil, &load.Error{Op: "send bundle", Status: r.status, Code: "forbidden", Err: load.ErrUnauthorized}
	}
	var next [][]*item
	if len(unauthorized) > 0 {
		*refreshed = true
		_, reading, err := t.conn.credentials.get()
		if err != nil {
			return nil, err
		}
		if ok, err := t.conn.credentials.refresh(reading); err != nil {
			return nil, err
		} else if !ok {
			return nil, &load.Error{Op: "send bundle", Status: http.StatusUnauthorized, Err: load.ErrUnauthorized}
		}
		next = append(next, unauthorized)
	}
	if len(wait) > 0 {
		t.conn.pace.EntriesThrottled(r.started, load.RetryAfter(r.header, t.conn.now()))
		next = append(next, postpone(wait, 0)...)
	}
	if len(unsure) > 0 {
		more, err := t.doubtful(ctx, unsure)
		if err != nil {
			return nil, err
		}
		next = append(next, more...)
	}
	return next, nil
}

// postpone keeps what was told to wait for another attempt, unless it was told too often. status is that of the whole
// request, 0 if the entries have their own.
func postpone(group []*item, status int) [][]*item {
	var rest []*item
	for _, it := range group {
		if status != 0 {
			it.outcome.Status, it.outcome.Code, it.outcome.Path = status, "throttled", ""
		}
		if it.throttles++; it.throttles > mostThrottles {
			it.outcome.Kind = load.InDoubt
			continue
		}
		rest = append(rest, it)
	}
	return [][]*item{rest}
}

// doubtful looks for what may have arrived, and says how to go on with what has not.
func (t *sender) doubtful(ctx context.Context, group []*item) ([][]*item, error) {
	for _, it := range group {
		it.failures++
	}
	found, err := t.lookFor(ctx, group)
	if err != nil {
		for _, it := range group {
			it.outcome.Kind = load.InDoubt
		}
		return nil, err
	}
	var rest, tired []*item
	for i, it := range group {
		switch {
		case !it.elsewhere && it.decide(found[i]), it.elsewhere && found[i].same && it.decide(found[i]):
		case it.elsewhere, it.definite && it.refused():
			it.settle(found[i].status)
		case it.failures < t.conn.attempts:
			rest = append(rest, it)
		case len(group) == 1, it.definite:
			it.settle(found[i].status)
		default:
			tired = append(tired, it)
		}
	}
	t.conn.log.Debug("answers in doubt", zap.Int("resources", len(group)), zap.Int("again", len(rest)), zap.Int("halved", len(tired)))
	var next [][]*item
	if len(rest) > 0 {
		if err := t.conn.pace.Pause(ctx, rest[0].failures); err != nil {
			for _, it := range append(rest, tired...) {
				it.outcome.Kind = load.InDoubt
			}
			return nil, err
		}
		next = append(next, rest)
	}
	if len(tired) > 0 {
		next = append(next, halves(tired)...)
	}
	return next, nil
}

// refused tells whether the server said no to what is there as we left it: no repetition will change that.
func (it *item) refused() bool {
	switch it.outcome.Status {
	case http.StatusConflict, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}

// halves cuts a group in two. Each half has one more attempt before it is cut again.
func halves(group []*item) [][]*item {
	middle := len(group) / 2
	return [][]*item{group[:middle], group[middle:]}
}

// look settles what is there already, before anything is sent, and returns the rest.
func (t *sender) look(ctx context.Context, items []*item) ([]*item, error) {
	for _, it := range items {
		it.outcome.Kind = load.InDoubt
	}
	found, err := t.lookFor(ctx, items)
	if err != nil {
		return nil, err
	}
	var rest []*item
	for i, it := range items {
		if !it.decide(found[i]) {
			it.outcome.Kind = load.Pending
			rest = append(rest, it)
		}
	}
	return rest, nil
}
