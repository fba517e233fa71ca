package pipeline

import (
	"os"
	"runtime/debug"
)

// collectAt lets the heap grow to five times what is live before garbage is collected, rather than to twice that. What a
// run holds is small and does not grow with its input (buffers of some batches, keys of recent patients), and most of
// what it makes dies young; collecting it as often as Go does by default costs a tenth of the time.
const collectAt = 400

// tuneMemory sets the collector for a run and answers how to set it back. Who sets GOGC knows better.
func tuneMemory() (back func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(collectAt)
	return func() { debug.SetGCPercent(before) }
}
