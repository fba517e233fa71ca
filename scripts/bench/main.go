// Command bench runs the engine beside the yardstick of design.md section 6, interleaved, on one core: `make bench`.
//
// The yardstick (yardstick.go) is a loop written by hand for one table and does nothing but what must be done to a row.
// The engine (engine.go) is Chartlift over the same rows with everything on. Both run in a child process of their own
// each time, so that neither warms up nor bloats the other, and take turns, so that a noisy machine disturbs both alike.
// Printed are the medians, their ratio by time on the wall and by time on the processor (which others on the machine
// disturb less), the highest resident memory of any round, how much faster two workers are on two cores, and the shares
// of the parts, which come from a profile of one more round (shares.go).
//
//	go run ./scripts/bench -table observations,patients -rows 100000,1000000 -rounds 5
package main

import (
	"cmp"
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
	if err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options of the command line.
type options struct {
	tables  string
	rows    string
	rounds  int
	dir     string
	binary  string
	only    string
	profile string
	shares  bool
	readers bool   // measure the readers instead
	child   string // internal: the side that this process is
}

// workload is what a side works on.
type workload struct {
	Dir       string // the folder of migration.yaml; for each round a fresh copy without ledger or stage
	Table     string // path of the measured table
	Rows      int64  // rows in it
	TableName string
	Binary    string // the built chartlift, if the engine is to run as that
}

// side does the work over a workload and answers how many resources it made. It calls started when its set-up is done
// and the clock shall run.
type side func(ctx context.Context, w workload, started func()) (resources int64, err error)

var sides = map[string]side{"yardstick": yardstick, "engine": engine, "engine2": engine2}

// order is that of a round and of the printed table.
var order = []string{"yardstick", "engine", "engine2"}

// measurement is what a child says about its round.
type measurement struct {
	Resources int64   `json:"resources"`
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu"` // seconds on processors, of all threads; 0 where the system does not tell
	PeakBytes int64   `json:"peakBytes"`
}

func (m measurement) rate() float64 { return float64(m.Resources) / m.Seconds }

func (m measurement) perCPU() float64 { return float64(m.Resources) / m.CPU }

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.tables, "table", "observations", "tables to measure, a list, or all")
	flags.StringVar(&o.rows, "rows", "100000,1000000", "rows of the table, a list")
	flags.IntVar(&o.rounds, "rounds", 5, "rounds per side; the median counts")
	flags.StringVar(&o.dir, "dir", "", "folder for the generated files (default: a temporary one, removed at the end)")
	flags.StringVar(&o.binary, "binary", "", "run the engine as this chartlift binary instead of inside the child")
	flags.StringVar(&o.only, "only", "", "run one side: yardstick, engine, or engine2 (two workers on two cores)")
	flags.BoolVar(&o.shares, "shares", true, "profile one more round of the engine and print the share of each part")
	flags.BoolVar(&o.readers, "readers", false, "measure each reader beside its yardstick instead, from the module's folder")
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
	if o.readers {
		return measureReaders(ctx, o.rounds, stdout, stderr)
	}
	var measured []*table
	for name := range strings.SplitSeq(o.tables, ",") {
		if name == "all" {
			for i := range tables {
				measured = append(measured, &tables[i])
			}
			continue
		}
		t, err := tableOf(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		measured = append(measured, t)
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
	fmt.Fprintf(stdout, "%s %s/%s, %d cores, %s; GOMAXPROCS=1 (engine2: 2), %d rounds, median (lowest to highest)\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly), o.rounds)
	fmt.Fprintln(out, "table\trows\tside\tresources/s\tlowest\thighest\tseconds\tcpu s\tpeak MiB\tratio\tcpu ratio\t")
	var profiles []string
	for _, t := range measured {
		for _, n := range sizes {
			text, err := size(ctx, o, t, n, out, stderr)
			if err != nil {
				return err
			}
			profiles = append(profiles, text)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for _, text := range profiles {
		fmt.Fprint(stdout, text)
	}
	return nil
}

// size measures all sides over one number of rows of a table, and answers the shares of the engine's parts as text.
func size(ctx context.Context, o options, t *table, rows int64, out, stderr io.Writer) (string, error) {
	base := filepath.Join(o.dir, t.name, strconv.FormatInt(rows, 10))
	if err := generate(ctx, filepath.Join(base, "data"), t, rows); err != nil {
		return "", fmt.Errorf("generate %d rows: %w", rows, err)
	}
	results := map[string][]measurement{}
	for round := range o.rounds {
		turn := slices.Clone(order)
		if round%2 == 1 {
			slices.Reverse(turn) // whoever comes second may find a warmer or a more throttled machine
		}
		for _, name := range turn {
			if o.only != "" && o.only != name || name == "engine2" && runtime.NumCPU() < 2 {
				continue
			}
			fmt.Fprintf(stderr, "%s, %d rows, round %d of %d: %s\n", t.name, rows, round+1, o.rounds, name)
			m, err := measure(ctx, o, t, base, name, round, rows, o.profile)
			if err != nil {
				return "", err
			}
			results[name] = append(results[name], m)
		}
	}
	var first measurement // of the side that the ratio is to
	for _, name := range order {
		all := results[name]
		if len(all) == 0 {
			continue
		}
		var peak int64
		for _, m := range all {
			peak = max(peak, m.PeakBytes)
		}
		slices.SortFunc(all, func(a, b measurement) int { return cmp.Compare(a.perCPU(), b.perCPU()) })
		cpu := all[len(all)/2]
		slices.SortFunc(all, func(a, b measurement) int { return cmp.Compare(a.rate(), b.rate()) })
		mid := all[len(all)/2]
		mid.CPU = float64(mid.Resources) / cpu.perCPU()
		ratio, cpuRatio := "", ""
		switch {
		case name == "yardstick":
			first = mid
		case name == "engine2" && len(results["engine"]) > 0: // its ratio is to one worker
			one := results["engine"][len(all)/2]
			ratio = fmt.Sprintf("x%.2f", mid.rate()/one.rate())
		case first.Seconds > 0:
			ratio = fmt.Sprintf("%.2f", mid.rate()/first.rate())
			if first.CPU > 0 && mid.CPU > 0 {
				cpuRatio = fmt.Sprintf("%.2f", mid.perCPU()/first.perCPU())
			}
		}
		fmt.Fprintf(out, "%s\t%d\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%s\t%s\t%s\t\n", t.name, rows, name, mid.rate(), all[0].rate(),
			all[len(all)-1].rate(), mid.Seconds, mid.CPU, mebibytes(peak), ratio, cpuRatio)
	}
	if !o.shares || o.binary != "" || o.only != "" && o.only != "engine" {
		return "", nil
	}
	profile := filepath.Join(base, "profile")
	m, err := measure(ctx, o, t, base, "engine", o.rounds, rows, profile)
	if err != nil {
		return "", err
	}
	return sharesOf(profile+".engine", fmt.Sprintf("%s, %d rows", t.name, rows), m.Resources)
}

func mebibytes(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.0f", float64(n)/(1<<20))
}

// measure runs one round of one side in a process of its own.
func measure(ctx context.Context, o options, t *table, base, name string, round int, rows int64, profile string) (measurement, error) {
	var m measurement
	dir := filepath.Join(base, fmt.Sprintf("%s-%d", name, round))
	if err := writePlan(dir, t); err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return m, err
	}
	w, err := json.Marshal(workload{Dir: dir, Table: filepath.Join(base, "data", t.name+".csv"), TableName: t.name, Rows: rows, Binary: o.binary})
	if err != nil {
		return m, err
	}
	cmd := exec.CommandContext(ctx, self, "-child", name, "-cpuprofile", profile, string(w))
	cores := "1"
	if name == "engine2" {
		cores = "2"
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+cores)
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
	start, busy := time.Now(), processorTime()
	n, err := f(ctx, w, func() { start, busy = time.Now(), processorTime() })
	m := measurement{Resources: n, Seconds: time.Since(start).Seconds(), CPU: (processorTime() - busy).Seconds(), PeakBytes: peak()}
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
