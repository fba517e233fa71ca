// Bench runs the engine beside the yardstick of design.md section 6, interleaved, on one core: `make bench`.
//
// The yardstick (yardstick.go) is a loop written by hand for one table of observations and does nothing but what must
// be done to a row. The engine (engine.go) is Chartlift over the same rows with everything on. Both run in a child
// process of their own each time, so that neither warms up nor bloats the other, and take turns, so that a noisy
// machine disturbs both alike. Printed are the medians, their ratio, and the highest resident memory of any round.
//
//	go run ./scripts/bench -rows 100000,1000000 -rounds 5
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options of the command line.
type options struct {
	rows    string
	rounds  int
	dir     string
	binary  string
	only    string
	profile string
	child   string // internal: the side that this process is
}

// workload is what a side works on.
type workload struct {
	Dir    string // the folder of migration.yaml; for each round a fresh copy without ledger or stage
	Table  string // path of observations.csv
	Rows   int64  // rows in it
	Binary string // the built chartlift, if the engine is to run as that
}

// side does the work over a workload and answers how many resources it made. It calls started when its set-up is done
// and the clock shall run.
type side func(ctx context.Context, w workload, started func()) (resources int64, err error)

var sides = map[string]side{"yardstick": yardstick, "engine": engine}

// measurement is what a child says about its round.
type measurement struct {
	Resources int64   `json:"resources"`
	Seconds   float64 `json:"seconds"`
	PeakBytes int64   `json:"peakBytes"`
}

func (m measurement) rate() float64 { return float64(m.Resources) / m.Seconds }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.rows, "rows", "100000,1000000", "rows of observations.csv, a list")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds per side; the median counts")
	flags.StringVar(&o.dir, "dir", "", "folder for the generated files (default: a temporary one, removed at the end)")
	flags.StringVar(&o.binary, "binary", "", "run the engine as this chartlift binary instead of inside the child")
	flags.StringVar(&o.only, "only", "", "run one side: yardstick or engine")
	flags.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of each side's last round to FILE.<side>")
	flags.StringVar(&o.child, "child", "", "internal: be one side of one round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.child != "" {
		return child(ctx, o, flags.Args(), stdout)
	}
	if o.rounds < 1 || o.only != "" && sides[o.only] == nil {
		return fmt.Errorf("-rounds must be at least 1 and -only a side")
	}
	var sizes []int64
	for field := range strings.SplitSeq(o.rows, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(field), 10, 64)
		if err != nil || n < 1 {
			return fmt.Errorf("-rows: %q is no number of rows", field)
		}
		sizes = append(sizes, n)
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "chartlift-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	out := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(stdout, "%s %s/%s, GOMAXPROCS=1, %d rounds, median (lowest to highest)\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, o.rounds)
	fmt.Fprintln(out, "rows\tside\tresources/s\tlowest\thighest\tseconds\tpeak MiB\tratio\t")
	for _, n := range sizes {
		if err := size(ctx, o, n, out, stderr); err != nil {
			return err
		}
	}
	return out.Flush()
}

// size measures both sides over one number of rows.
func size(ctx context.Context, o options, rows int64, out, stderr io.Writer) error {
	base := filepath.Join(o.dir, strconv.FormatInt(rows, 10))
	if err := generate(ctx, filepath.Join(base, "data"), rows); err != nil {
		return fmt.Errorf("generate %d rows: %w", rows, err)
	}
	results := map[string][]measurement{}
	for round := range o.rounds {
		order := []string{"yardstick", "engine"}
		if round%2 == 1 {
			slices.Reverse(order) // whoever comes second may find a warmer or a more throttled machine
		}
		for _, name := range order {
			if o.only != "" && o.only != name {
				continue
			}
			fmt.Fprintf(stderr, "%d rows, round %d of %d: %s\n", rows, round+1, o.rounds, name)
			m, err := measure(ctx, o, base, name, round, rows)
			if err != nil {
				return err
			}
			results[name] = append(results[name], m)
		}
	}
	var medians [2]float64
	for i, name := range []string{"yardstick", "engine"} {
		all := results[name]
		if len(all) == 0 {
			continue
		}
		slices.SortFunc(all, func(a, b measurement) int { return int(a.rate() - b.rate()) })
		mid := all[len(all)/2]
		medians[i] = mid.rate()
		var peak int64
		for _, m := range all {
			peak = max(peak, m.PeakBytes)
		}
		ratio := ""
		if i == 1 && medians[0] > 0 {
			ratio = fmt.Sprintf("%.2f", medians[1]/medians[0])
		}
		fmt.Fprintf(out, "%d\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%s\t\n", rows, name, mid.rate(), all[0].rate(), all[len(all)-1].rate(),
			mid.Seconds, mebibytes(peak), ratio)
	}
	return nil
}

func mebibytes(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.0f", float64(n)/(1<<20))
}

// measure runs one round of one side in a process of its own.
func measure(ctx context.Context, o options, base, name string, round int, rows int64) (measurement, error) {
	var m measurement
	dir := filepath.Join(base, fmt.Sprintf("%s-%d", name, round))
	if err := writePlan(dir); err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	w, err := json.Marshal(workload{Dir: dir, Table: filepath.Join(base, "data", "observations.csv"), Rows: rows, Binary: o.binary})
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, self, "-child", name, "-cpuprofile", o.profile, string(w))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return m, fmt.Errorf("%s over %d rows: %w", name, rows, err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s over %d rows: its figures: %w", name, rows, err)
	}
	if m.Resources < rows || m.Seconds <= 0 {
		return m, fmt.Errorf("%s made %d resources of %d rows", name, m.Resources, rows)
	}
	return m, nil
}

// child is one round of one side.
func child(ctx context.Context, o options, args []string, stdout io.Writer) (err error) {
	f := sides[o.child]
	if f == nil || len(args) != 1 {
		return fmt.Errorf("-child is for internal use")
	}
	var w workload
	if err := json.Unmarshal([]byte(args[0]), &w); err != nil {
		return err
	}
	if o.profile != "" {
		file, err := os.Create(o.profile + "." + o.child)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	start := time.Now()
	n, err := f(ctx, w, func() { start = time.Now() })
	m := measurement{Resources: n, Seconds: time.Since(start).Seconds(), PeakBytes: peak()}
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(m)
}

// peak is the highest resident memory of this process so far and of the children it has waited for, in bytes; 0 where
// the system does not tell.
func peak() int64 {
	most := childrenPeak()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return most
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				most = max(most, n<<10)
			}
		}
	}
	return most
}
