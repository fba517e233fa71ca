package run

import (
	"os"
	"runtime"
	"runtime/debug"
)

// collectAt lets the heap grow to five times what is live before garbage is collected, rather than to twice that. What a
// run holds is small and does not grow with its input (buffers of some batches, keys of recent patients), and most of
// what it makes dies young; collecting it as often as Go does by default costs a tenth of the time.
const collectAt = 400

// keepBelow is where garbage is collected all the same: five times what is live at the busiest moment would be twice
// this, for nothing. What the program holds when the run begins (definitions, concept maps) comes on top, twice.
const keepBelow = 128 << 20

// tuneMemory sets the collector for a run that will hold so many bytes of other tables, and answers how to set it back.
// Who sets GOGC or GOMEMLIMIT knows better.
func tuneMemory(besides int64) (back func()) {
	percent, limit := -2, int64(-1)
	if os.Getenv("GOGC") == "" {
		percent = debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		limit = debug.SetMemoryLimit(keepBelow + 2*int64(m.HeapAlloc) + besides)
	}
	return func() {
		if percent != -2 {
			debug.SetGCPercent(percent)
		}
		if limit != -1 {
			debug.SetMemoryLimit(limit)
		}
	}
}
