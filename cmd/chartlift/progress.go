package main

import (
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/chartlift/chartlift/pipeline/plan"
)

// progress shows bars on a terminal and nothing elsewhere: a log file full of bars helps nobody.
func (a *app) progress() plan.Progress {
	if a.quiet || a.json || !isTerminal(a.stderr) {
		return plan.Silent{}
	}
	return &bars{out: a.stderr}
}

// bars is one bar for each stage of the work, with rate and time left.
type bars struct {
	out  io.Writer
	mu   sync.Mutex
	pool *mpb.Progress
	bar  *mpb.Bar
}

// Stage implements plan.Progress.
func (b *bars) Stage(name, unit string, total int64) {
	b.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool = mpb.New(mpb.WithOutput(b.out), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
	counters := decor.CountersNoUnit("%d / %d "+unit, decor.WCSyncSpace)
	speed := decor.AverageSpeed(0, "%.0f/s", decor.WCSyncSpace)
	if unit == "bytes" {
		counters = decor.CountersKibiByte("% .1f / % .1f", decor.WCSyncSpace)
		speed = decor.AverageSpeed(decor.SizeB1024(0), "% .1f", decor.WCSyncSpace)
	}
	b.bar = b.pool.AddBar(total,
		mpb.PrependDecorators(decor.Name(name, decor.WC{W: 12, C: decor.DindentRight}), counters),
		mpb.AppendDecorators(speed, decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace), " done")),
	)
}

// Add implements plan.Progress.
func (b *bars) Add(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		b.bar.IncrInt64(n)
	}
}

// Done implements plan.Progress.
func (b *bars) Done() {
	b.mu.Lock()
	bar, pool := b.bar, b.pool
	b.bar, b.pool = nil, nil
	b.mu.Unlock()
	if bar == nil {
		return
	}
	if bar.Current() > 0 {
		bar.SetTotal(-1, true) // what was done is all there was
	} else {
		bar.Abort(true) // a bar that never moved does not complete by itself
	}
	pool.Wait()
}
