package load

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of the pace. They are the same for every plain target; what a vendor wants differently goes into its file.
const (
	openAfter     = 5                      // failures in a row after which the circuit is open
	firstBackoff  = 200 * time.Millisecond // doubles with each failure in a row
	longestProbe  = 30 * time.Second       // between two probes while the circuit is open
	firstThrottle = time.Second            // for a 429 or 503 that does not say how long
	startParallel = 2                      // requests at once before anything is known about the target
)

// Pace decides when the next request to a target may start, for all callers together.
//
//   - It lets a growing number of requests run at once: one more for each full round of successes, half as many after
//     a throttling, counted once for all the requests that were under way when it came.
//   - A throttling also closes the gate until the time the target asked for, plus jitter, capped.
//   - After some failures in a row the circuit is open: one request at a time is let through as a probe, at growing
//     intervals. The first success closes it. When nothing has succeeded for the target's patience, everyone is told
//     to give up.
//
// A Pace may be used concurrently.
type Pace struct {
	now      func() time.Time // keeps its monotonic reading: durations do not follow the wall clock
	wait     func(context.Context, time.Duration) error
	random   func() float64
	max      float64
	maxWait  time.Duration
	patience time.Duration

	mu       sync.Mutex
	limit    float64
	busy     int
	gate     time.Time     // nothing starts before
	cut      time.Time     // when limit was last halved
	failures int           // in a row
	since    time.Time     // of the first of them
	changed  chan struct{} // closed, and replaced, when a slot may have become free
}

// PaceOptions configure a pace. Zero values mean the defaults named with each field.
type PaceOptions struct {
	Parallel int           // most requests at once; 8. The pace finds the number that the target bears
	Patience time.Duration // how long a target that fails altogether is waited for; 10 minutes
	MaxWait  time.Duration // longest Retry-After that is obeyed in full; 1 minute

	Now    func() time.Time                                 // nil: time.Now
	Wait   func(ctx context.Context, d time.Duration) error // nil: a timer. Returns ctx's error if that comes first
	Random func() float64                                   // jitter in [0,1); nil: math/rand/v2
}

// NewPace makes a pace that knows nothing of its target yet.
func NewPace(o PaceOptions) *Pace {
	p := &Pace{now: o.Now, wait: o.Wait, random: o.Random, max: 8, maxWait: time.Minute, patience: 10 * time.Minute, changed: make(chan struct{})}
	if o.Parallel > 0 {
		p.max = float64(o.Parallel)
	}
	if o.MaxWait > 0 {
		p.maxWait = o.MaxWait
	}
	if o.Patience > 0 {
		p.patience = o.Patience
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.wait == nil {
		p.wait = timer
	}
	if p.random == nil {
		p.random = rand.Float64
	}
	p.limit = math.Min(startParallel, p.max)
	return p
}

// Acquire waits until a request may start, and returns when it did. Every Acquire that succeeded is followed by one
// Release.
func (p *Pace) Acquire(ctx context.Context) (time.Time, error) {
	for {
		if err := ctx.Err(); err != nil {
			return time.Time{}, err
		}
		p.mu.Lock()
		now := p.now()
		open := p.failures >= openAfter
		if open && now.Sub(p.since) > p.patience {
			n := p.failures
			p.mu.Unlock()
			return time.Time{}, fmt.Errorf("%w: %d failures in a row", ErrUnavailable, n)
		}
		if d := p.gate.Sub(now); d > 0 {
			p.mu.Unlock()
			if err := p.wait(ctx, d); err != nil {
				return time.Time{}, err
			}
			continue
		}
		if p.busy == 0 || !open && p.busy < int(p.limit) {
			p.busy++
			p.mu.Unlock()
			return now, nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case <-changed:
		}
	}
}

// Health is what a request said about the target.
type Health uint8

// What a request says about its target. The zero value says nothing.
const (
	Abandoned Health = iota // cancelled by ourselves
	Healthy                 // the target answered
	Throttled               // it answered that we are too fast
	Failed                  // no answer, or a fault of the server
)

// Release ends a request that started at the given time. after is how long the target asked to wait, negative if it
// did not say.
func (p *Pace) Release(started time.Time, h Health, after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	switch h {
	case Healthy:
		p.failures = 0
		p.limit = math.Min(p.max, p.limit+1/p.limit)
	case Throttled:
		p.fail()
		p.slow(started, after)
	case Failed:
		p.fail()
		p.close(p.backoff(firstBackoff, p.failures, longestProbe))
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// EntriesThrottled is for throttling inside an answer that was otherwise good: slower, but the target is alive.
func (p *Pace) EntriesThrottled(started time.Time, after time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow(started, after)
}

func (p *Pace) fail() {
	if p.failures == 0 {
		p.since = p.now()
	}
	p.failures++
}

func (p *Pace) slow(started time.Time, after time.Duration) {
	if !started.Before(p.cut) {
		p.limit = math.Max(1, p.limit/2)
		p.cut = p.now()
	}
	if after < 0 {
		p.close(p.backoff(firstThrottle, p.failures, p.maxWait))
		return
	}
	// What was asked for, and up to a quarter more so that the waiting do not all come back at one instant.
	after = min(after, p.maxWait)
	p.close(after + time.Duration(p.random()*float64(after)/4))
}

func (p *Pace) close(d time.Duration) {
	if until := p.now().Add(d); until.After(p.gate) {
		p.gate = until
	}
}

// backoff is a random time of between half and the whole of first·2^(n-1), capped.
func (p *Pace) backoff(first time.Duration, n int, longest time.Duration) time.Duration {
	d := first << min(max(n-1, 0), 16)
	d = min(d, longest)
	return d/2 + time.Duration(p.random()*float64(d)/2)
}

// Pause waits before the n-th repetition of something that the target itself answered for.
func (p *Pace) Pause(ctx context.Context, n int) error {
	return p.wait(ctx, p.backoff(firstBackoff, n, longestProbe))
}

// Again starts a new patience, for a caller that comes back after giving up.
func (p *Pace) Again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy == 0 && p.failures >= openAfter && p.now().Sub(p.since) > p.patience {
		p.since = p.now()
	}
}

// RetryAfter reads how long a throttled answer asks to wait: Retry-After in seconds or as a date (RFC 9110 10.2.3), or
// Azure's x-ms-retry-after-ms. Negative: it does not say, or says nothing sensible.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(strings.TrimSpace(h.Get("x-ms-retry-after-ms")), 64); err == nil && ms >= 0 && ms < 1e12 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return -1
	}
	if isDigits(text) {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > math.MaxInt64/int64(time.Second) {
			return math.MaxInt64 // more digits than fit: as long as we are willing to wait
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return -1
	}
	// The server's date is set against the server's own clock where it gives one, so that ours may be off.
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if d := at.Sub(now); d >= 0 {
		return d
	}
	return -1
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// timer waits for d or until ctx is done.
func timer(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
