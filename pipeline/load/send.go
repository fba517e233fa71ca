package load

import (
	"context"
	"fmt"
	"math"
	"net/http"

	r4 "github.com/samply/golang-fhir-models/fhir-models/fhir"
	"github.com/sourcegraph/conc/pool"
	"go.uber.org/zap"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
)

// mostThrottles is how often one bundle or entry is sent again because the target said "not now", while others get
// through. After that it is left in doubt for the next run.
const mostThrottles = 30

// item is one resource on its way.
type item struct {
	key
	at        int // in the batch
	outcome   Outcome
	failures  int  // times it was in doubt
	throttles int  // times it was told to wait
	definite  bool // the last failure was the target's own word about this very resource
	elsewhere bool // the target answered with an id that nobody sent
	edit      Edit // of what is sent; nil: the whole form
}

// settle is the outcome of an item that will not be sent again. looked is what the last look found.
func (it *item) settle(looked FoundStatus) {
	o := &it.outcome
	switch {
	case it.elsewhere, it.definite && looked != Unknown:
		// The target said no, and what was sent is not there; or it stored it where nobody asked it to, and a
		// repetition would store it there once more.
		o.Kind = Rejected
	default:
		o.Kind = InDoubt
	}
}

// Send delivers the resources; see [Target].
func (t *restTarget) Send(ctx context.Context, batch []phi.Sealed) ([]Outcome, error) {
	return t.send(ctx, batch, false, nil)
}

// Resume delivers resources that may be there already; see [Target].
func (t *restTarget) Resume(ctx context.Context, batch []phi.Sealed) ([]Outcome, error) {
	return t.send(ctx, batch, true, nil)
}

// Introduce sends a first form of what is missing; see [Target].
func (t *restTarget) Introduce(ctx context.Context, batch []phi.Sealed, edit Edit) ([]Outcome, error) {
	return t.send(ctx, batch, true, edit)
}

func (t *restTarget) send(ctx context.Context, batch []phi.Sealed, resume bool, edit Edit) ([]Outcome, error) {
	outcomes := make([]Outcome, len(batch))
	all := make([]*item, len(batch))
	for i, s := range batch {
		outcomes[i] = Outcome{Type: s.Type(), ID: s.ID()}
		if s.Type() == "" {
			return outcomes, fmt.Errorf("send resource %d of %d: %w", i+1, len(batch), ErrNotSealed)
		}
		if !addressable(s.Type(), s.ID()) {
			return outcomes, fmt.Errorf("send resource %d of %d: neither type nor id of R4", i+1, len(batch))
		}
		all[i] = &item{key: key{s.Type(), s.ID()}, at: i, outcome: outcomes[i], edit: edit}
	}
	if len(batch) == 0 {
		return outcomes, nil
	}
	t.pace.again()
	if err := t.confirm(ctx); err != nil {
		return outcomes, err
	}
	err := t.sendBundles(ctx, batch, all, resume)
	for i, it := range all {
		outcomes[i] = it.outcome
	}
	return outcomes, err
}

// sendBundles cuts the items into bundles and delivers some at a time. Each item belongs to one goroutine until the
// pool has come to its end. The pool blocks when it is full, so no more plaintext is in memory than is being sent.
func (t *restTarget) sendBundles(ctx context.Context, batch []phi.Sealed, all []*item, resume bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := pool.New().WithMaxGoroutines(t.parallel).WithErrors().WithFirstError()
	hand := func(items []*item, b *body) {
		p.Go(func() error {
			err := t.deliver(ctx, batch, items, b, resume)
			if err != nil {
				cancel() // the first error is the one that is told
			}
			return err
		})
	}
	var opened error
	for rest := all; len(rest) > 0 && ctx.Err() == nil; {
		b, n, err := t.cut(batch, rest)
		if err != nil {
			opened = err
			cancel()
			break
		}
		hand(rest[:n], b)
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

// cut builds the body of a bundle from the first of the items, as many as fit, at least one.
func (t *restTarget) cut(batch []phi.Sealed, items []*item) (*body, int, error) {
	b := t.bodies.Get().(*body)
	n, err := t.fill(b, batch, items, t.bundleBytes)
	if err != nil {
		t.bodies.Put(b)
		return nil, 0, err
	}
	return b, n, nil
}

// entryOverhead is what an entry needs besides the resource, generously.
const entryOverhead = 200

// fill writes a bundle of PUTs, of the first of the items that have room in so many bytes, at least one. The resources
// are not decoded.
func (t *restTarget) fill(b *body, batch []phi.Sealed, items []*item, most int) (int, error) {
	w := fhir.NewBundle(b.bundle[:0], r4.BundleTypeBatch, fhir.BundleHead{})
	for _, it := range items {
		if w.Entries() == t.bundleSize {
			break
		}
		var err error
		if b.whole, err = t.formOf(it, batch, b.whole[:0]); err != nil {
			return 0, fmt.Errorf("form of %s/%s: %w", it.typ, it.id, err)
		}
		if w.Entries() > 0 && w.Len()+len(b.whole)+entryOverhead > most {
			break
		}
		w.Request(fhir.PutRequest(it.typ, it.id), b.whole)
	}
	var err error
	b.bundle, err = w.Close()
	return w.Entries(), err
}

// deliver sends one bundle's worth of items and does not return before each has its outcome, or the run cannot go on.
//
// The queue holds groups still to be sent. A group that fails as a whole is sent again a few times and then halved, the
// halves going to the end of the queue: so a poisoned entry is found in a number of requests that grows with the
// logarithm of the bundle's size, and its neighbours get through meanwhile.
func (t *restTarget) deliver(ctx context.Context, batch []phi.Sealed, items []*item, b *body, resume bool) error {
	queue := [][]*item{items}
	built := true // b holds the first group
	defer t.bodies.Put(b)
	if resume {
		rest, err := t.look(ctx, batch, items)
		if err != nil {
			return err
		}
		queue, built = [][]*item{rest}, len(rest) == len(items)
	}
	refreshed := false
	for len(queue) > 0 {
		group := queue[0]
		queue = queue[1:]
		if len(group) == 0 {
			continue
		}
		if !built {
			// A group is part of a bundle that had room, so all of it has.
			if _, err := t.fill(b, batch, group, math.MaxInt); err != nil {
				return err
			}
		}
		built = false
		next, err := t.sendGroup(ctx, batch, group, b.bundle, &refreshed)
		if err != nil {
			return err
		}
		queue = append(queue, next...)
	}
	return nil
}

var minimal = http.Header{"Prefer": {"return=minimal"}}

// sendGroup sends one bundle and deals with the answer. It returns the groups that are to be sent next.
func (t *restTarget) sendGroup(ctx context.Context, batch []phi.Sealed, group []*item, body []byte, refreshed *bool) ([][]*item, error) {
	const op = "send bundle"
	r, err := t.ask(ctx, op, http.MethodPost, t.base.String(), body, minimal)
	if err != nil {
		if r != nil && r.doubtful() {
			for _, it := range group {
				it.outcome.Kind, it.outcome.Status, it.outcome.Code = InDoubt, r.status, CodeLost
			}
		}
		return nil, err
	}
	switch {
	case r.unsent:
		return [][]*item{group}, nil // the pace has made it wait, and gives up in time
	case r.throttled():
		return t.postpone(group, r.status), nil
	case r.doubtful():
		for _, it := range group {
			it.outcome.Status, it.outcome.Code = r.status, r.code
			it.outcome.Path = ""
			it.definite = r.whole() && len(group) == 1
			if r.whole() {
				it.outcome.Code, it.outcome.Path = r.reason()
			}
		}
		return t.doubtful(ctx, batch, group)
	case r.status >= 200 && r.status < 300:
		answers, ok := readAnswers(r, len(group))
		if !ok {
			for _, it := range group {
				it.outcome.Status, it.outcome.Code, it.outcome.Path, it.definite = r.status, CodeUnread, "", false
			}
			return t.doubtful(ctx, batch, group)
		}
		return t.sort(ctx, batch, group, answers, r, refreshed)
	case r.status < 400, r.status == http.StatusNotFound, r.status == http.StatusMethodNotAllowed, r.status == http.StatusGone:
		code, _ := r.reason()
		return nil, &Error{Op: op, Status: r.status, Code: code, Err: ErrUnsupported}
	}
	// A refusal of the whole: 400, 409, 412, 413, 422 and their like. Something in it is at fault, or it is too large.
	if len(group) > 1 {
		return halves(group), nil
	}
	it := group[0]
	code, path := r.reason()
	verdict := judgeEntry(&entryAnswer{status: r.status, code: code, path: path}, it, false)
	if verdict == doubt {
		return t.doubtful(ctx, batch, group)
	}
	return nil, nil
}

// sort deals with the entries of an answer, each by itself.
func (t *restTarget) sort(ctx context.Context, batch []phi.Sealed, group []*item, answers []entryAnswer, r *reply, refreshed *bool) ([][]*item, error) {
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
				it.outcome.Kind = Pending
			}
		}
		return nil, &Error{Op: "send bundle", Status: r.status, Code: "forbidden", Err: ErrUnauthorized}
	}
	var next [][]*item
	if len(unauthorized) > 0 {
		*refreshed = true
		_, reading, err := t.credentials.get()
		if err != nil {
			return nil, err
		}
		if ok, err := t.credentials.refresh(reading); err != nil {
			return nil, err
		} else if !ok {
			return nil, &Error{Op: "send bundle", Status: http.StatusUnauthorized, Err: ErrUnauthorized}
		}
		next = append(next, unauthorized)
	}
	if len(wait) > 0 {
		t.pace.entriesThrottled(r.started, retryAfter(r.header, t.now()))
		next = append(next, t.postpone(wait, 0)...)
	}
	if len(unsure) > 0 {
		more, err := t.doubtful(ctx, batch, unsure)
		if err != nil {
			return nil, err
		}
		next = append(next, more...)
	}
	return next, nil
}

// postpone keeps what was told to wait for another attempt, unless it was told too often. status is that of the whole
// request, 0 if the entries have their own.
func (t *restTarget) postpone(group []*item, status int) [][]*item {
	var rest []*item
	for _, it := range group {
		if status != 0 {
			it.outcome.Status, it.outcome.Code, it.outcome.Path = status, "throttled", ""
		}
		if it.throttles++; it.throttles > mostThrottles {
			it.outcome.Kind = InDoubt
			continue
		}
		rest = append(rest, it)
	}
	return [][]*item{rest}
}

// doubtful looks for what may have arrived, and says how to go on with what has not.
func (t *restTarget) doubtful(ctx context.Context, batch []phi.Sealed, group []*item) ([][]*item, error) {
	for _, it := range group {
		it.failures++
	}
	found, err := t.lookFor(ctx, batch, group)
	if err != nil {
		for _, it := range group {
			it.outcome.Kind = InDoubt
		}
		return nil, err
	}
	var rest, tired []*item
	for i, it := range group {
		switch {
		case found[i].arrived:
			it.arrived(found[i].version)
		case it.elsewhere, it.definite && it.outcome.Status == http.StatusConflict:
			it.settle(found[i].status)
		case it.failures < t.attempts:
			rest = append(rest, it)
		case len(group) == 1, it.definite:
			it.settle(found[i].status)
		default:
			tired = append(tired, it)
		}
	}
	t.log.Debug("answers in doubt", zap.Int("resources", len(group)), zap.Int("again", len(rest)), zap.Int("halved", len(tired)))
	var next [][]*item
	if len(rest) > 0 {
		if err := t.pace.pause(ctx, rest[0].failures); err != nil {
			for _, it := range group {
				if !it.outcome.Kind.Stored() && it.outcome.Kind != Rejected {
					it.outcome.Kind = InDoubt
				}
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

// arrived settles an item that was found at the target as it was sent.
func (it *item) arrived(version string) {
	it.outcome.Kind, it.outcome.Version, it.outcome.Code, it.outcome.Path = Updated, version, "", ""
	it.outcome.Status = http.StatusOK
	if version == "1" {
		it.outcome.Kind = Created
	}
}

// halves cuts a group in two. Each half has one more attempt before it is cut again.
func halves(group []*item) [][]*item {
	middle := len(group) / 2
	return [][]*item{group[:middle], group[middle:]}
}

// look settles what is there as sent, before anything is sent, and returns the rest.
func (t *restTarget) look(ctx context.Context, batch []phi.Sealed, items []*item) ([]*item, error) {
	for _, it := range items {
		it.outcome.Kind = InDoubt
	}
	found, err := t.lookFor(ctx, batch, items)
	if err != nil {
		return nil, err
	}
	var rest []*item
	for i, it := range items {
		switch {
		case found[i].arrived:
			it.arrived(found[i].version)
			continue
		case it.edit != nil && found[i].status == Present: // more than its first form is there
			it.outcome.Kind, it.outcome.Version = Unchanged, found[i].version
			continue
		}
		it.outcome.Kind = Pending
		rest = append(rest, it)
	}
	return rest, nil
}

// formOf is what is sent of an item.
func (t *restTarget) formOf(it *item, batch []phi.Sealed, dst []byte) ([]byte, error) {
	form, err := t.Form(batch[it.at], dst)
	if err != nil || it.edit == nil {
		return form, err
	}
	return it.edit(batch[it.at], form)
}

// sighting is what a look found for one item.
type sighting struct {
	status  FoundStatus
	version string
	arrived bool // exactly what was sent is there
}

func (t *restTarget) lookFor(ctx context.Context, batch []phi.Sealed, items []*item) ([]sighting, error) {
	keys := make([]key, len(items))
	for i, it := range items {
		keys[i] = it.key
	}
	seen, err := t.fetch(ctx, keys)
	if err != nil {
		return nil, err
	}
	sightings := make([]sighting, len(items))
	b := t.bodies.Get().(*body)
	defer t.bodies.Put(b)
	for i, it := range items {
		sightings[i].status, sightings[i].version = seen[i].status, seen[i].version
		if seen[i].status != Present {
			continue
		}
		if b.whole, err = t.formOf(it, batch, b.whole[:0]); err != nil {
			return nil, fmt.Errorf("form of %s/%s: %w", it.typ, it.id, err)
		}
		sent, err := fhir.Parse(b.whole)
		if err != nil {
			return nil, fmt.Errorf("%s/%s as sealed: %w", it.typ, it.id, err)
		}
		sightings[i].arrived = SameAsSent(sent, seen[i].resource)
	}
	return sightings, nil
}
