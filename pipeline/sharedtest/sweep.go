package sharedtest

import (
	"hash/fnv"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// sweepsVariable asks for every case of the exhaustive sweeps, as `make test-sweeps` does; without it each run draws some.
// seedVariable draws the same ones again.
const (
	sweepsVariable = "CHARTLIFT_SWEEPS"
	seedVariable   = "CHARTLIFT_SEED"
)

// Sweeps tells whether exhaustive sweeps are to try everything: CHARTLIFT_SWEEPS=1.
func Sweeps() bool { return os.Getenv(sweepsVariable) == "1" }

// Drawn returns the numbers of the cases that a sweep over `of` cases tries, in order: each of 0 to of-1 when everything
// is to be tried, else `some` of them, the first and the last among them, others in each run (a fourth under -short).
// It logs how many that is, and how to draw the same again.
func Drawn(t testing.TB, of, some int) []int {
	t.Helper()
	if testing.Short() {
		some = (some + 3) / 4
	}
	all := make([]int, of)
	for i := range all {
		all[i] = i
	}
	if Sweeps() || some >= of {
		return all
	}
	seed := seed()
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Name()))
	list := draw(rand.New(rand.NewPCG(seed, h.Sum64())), all, some)
	t.Logf("a sample, %d of %d cases: %s=1 tries all, %s=%d these", len(list), of, sweepsVariable, seedVariable, seed)
	return list
}

// draw leaves so many of the numbers, the first and the last among them if there is room for two.
func draw(random *rand.Rand, all []int, some int) []int {
	if some < 2 {
		return []int{all[random.IntN(len(all))]}
	}
	list := []int{all[0], all[len(all)-1]}
	for _, i := range random.Perm(len(all) - 2)[:some-2] {
		list = append(list, all[i+1])
	}
	slices.Sort(list)
	return list
}

// seed is the same for all tests of a process.
var seed = sync.OnceValue(func() uint64 {
	if n, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64); err == nil {
		return n
	}
	return uint64(time.Now().UnixNano()) % 1_000_000
})
