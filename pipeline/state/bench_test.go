package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// large is the n-th of many placements, sorted by n: a third of each type, ids spread like those of an HMAC, a hundred of
// each patient, batches of five thousand.
func large(n, of int, run string) Placement {
	typ := n * 3 / of
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	sum := sha256.Sum256(b[:])
	p := Placement{
		Type: types[typ], Digest: [16]byte(sum[:]), Version: strconv.Itoa(1 + n%3), Made: run, Written: run, Seen: run, Position: int64(sum[0])<<4 | int64(sum[1]>>4),
		Wave: "main", Table: types[typ], Line: int64(n), Status: Stored, Batch: fmt.Sprintf("%s.%s.%s.main.%d", run, types[typ], types[typ], int(binary.BigEndian.Uint32(sum[4:]))%max(1, of/5000)),
	}
	copy(p.ID[:], b[2:])
	copy(p.ID[6:], sum[:])
	copy(p.Patient[:], binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(sum[8:])%uint32(of/100+1)))
	copy(p.Patient[4:], "patient")
	return p
}

// largeOf yields every step-th of many placements, as a run writes them.
func largeOf(run string, of, step int) iter.Seq2[Placement, error] {
	return func(yield func(Placement, error) bool) {
		for n := 0; n < of; n += step {
			p := large(n, of, run)
			if !yield(p, nil) {
				return
			}
		}
	}
}

// TestMergeOfMillions merges a tenth as many changes into a state of CHARTLIFT_STATE placements, and prints how long each
// step takes and how much memory the process has needed up to then:
//
//	CHARTLIFT_STATE=10000000 go test -run MergeOfMillions -v -timeout 30m ./pipeline/state
func TestMergeOfMillions(t *testing.T) {
	of, err := strconv.Atoi(os.Getenv("CHARTLIFT_STATE"))
	if err != nil {
		t.Skip("a benchmark: CHARTLIFT_STATE says of how many placements")
	}
	h := homeIn(t, stage.NewDisk(t.TempDir()))
	scratch := stage.NewScratch(t.TempDir())
	step := func(what string, do func()) {
		start := time.Now()
		do()
		t.Logf("%-34s %7.1f s   peak %s", what, time.Since(start).Seconds(), peak())
	}
	s := open(t, h, Known{})
	run := func(what, run string, changes iter.Seq2[Placement, error]) {
		step(what, func() {
			next, err := s.Merge(t.Context(), run, scratch, changes)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			s = next
		})
	}
	run(fmt.Sprintf("%d made", of), "run-1", largeOf("run-1", of, 1))
	run(fmt.Sprintf("%d changed", of/10), "run-2", largeOf("run-2", of, 10))
	t.Logf("%d bytes of placements, %d by patient", s.manifest.Placements.Bytes, s.manifest.Patients.Bytes)
	step("differences", func() {
		count := map[Kind]int{}
		for c, err := range s.Diff("run-2", func(Placement) bool { return true }) {
			if err != nil {
				t.Fatal(err)
			}
			count[c.Kind]++
		}
		if count[Changed] != of/10 || count[Gone] != of-of/10 {
			t.Error(count)
		}
	})
	step("100,000 looked up at random", func() {
		for i := range 100_000 {
			p := large(i*7919%of, of, "")
			if _, ok, err := s.Lookup(p.Type, p.ID, ""); err != nil || !ok {
				t.Fatal(ok, err)
			}
		}
	})
	step("1,000 patients", func() {
		for i := range 1000 {
			if p := large(i*7919%of, of, ""); len(collect(t, s.ByPatient(p.Patient))) == 0 {
				t.Fatal("a patient without placements")
			}
		}
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// peak is the most memory that the process has had, where the system tells; else what the heap has taken.
func peak() string {
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(text)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf("%d kB", m.HeapSys>>10)
}
