package load

import (
	"context"
	"testing"
	"time"
)

func TestConcurrencyFallsAndRecovers(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := NewPace(PaceOptions{Now: func() time.Time { return at }, Random: func() float64 { return 0 }, Parallel: 8, Wait: func(_ context.Context, d time.Duration) error {
		at = at.Add(d)
		return nil
	}})
	acquire := func() time.Time {
		at, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	recover := func() {
		t.Helper()
		for range 100 {
			p.Release(acquire(), Healthy, -1)
		}
		if p.limit != 8 {
			t.Errorf("after successes the limit is %v, want 8", p.limit)
		}
	}
	recover()
	// All that were under way when the throttling came count as one.
	var started []time.Time
	for range 8 {
		started = append(started, acquire())
	}
	at = at.Add(time.Millisecond)
	for _, at := range started {
		p.Release(at, Throttled, time.Second)
	}
	if p.limit != 4 {
		t.Errorf("after a throttling the limit is %v, want 4", p.limit)
	}
	recover()
}
