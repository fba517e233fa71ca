package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// reader is a reader of Chartlift and what it is measured by: two benchmarks of one package, over the same data.
type reader struct {
	name            string
	pkg             string
	ours, yardstick string  // as -test.bench names them
	aim             float64 // of the ratio of their speeds
	needs           string  // environment variable without which there is nothing to measure
}

// readers are measured with their digest on, as a run has it.
var readers = []reader{
	{"csv plain / encoding/csv", "csv", "Read/plain/ours", "Read/plain/encoding_csv", 0.7, ""},
	{"csv quoted / encoding/csv", "csv", "Read/quoted/ours", "Read/quoted/encoding_csv", 0.7, ""},
	{"mysqldump / state machine", "sqldump", "Read/mysqldump/rows_and_digest", "StateMachine/mysqldump", 0.5, ""},
	{"pg_dump COPY / state machine", "sqldump", "Read/pg_dump/rows_and_digest", "StateMachine/pg_dump", 0.5, ""},
	{"SQL Server script / state machine", "sqldump", "Read/script_of_SQL_Server/rows_and_digest", "StateMachine/script_of_SQL_Server", 0.5, ""},
	{"sqlite .dump / state machine", "sqldump", "Read/sqlite/rows_and_digest", "StateMachine/sqlite", 0.5, ""},
	{"Oracle INSERTs / state machine", "sqldump", "Read/script_of_Oracle/rows_and_digest", "StateMachine/script_of_Oracle", 0.5, ""},
	{"xlsx / excelize", "workbook", "Read/ours,_open_to_end", "Read/excelize,_open_to_end", 0.8, ""},
	{"postgres / pgx", "sqldb", "Postgres/0/ours_digest=true", "Postgres/0/pgx", 0.8, "CHARTLIFT_POSTGRES"},
}

// measureReaders runs the benchmarks of the readers, each beside its yardstick in turns, on one core.
func measureReaders(ctx context.Context, rounds int, stdout, stderr io.Writer) error {
	dir, err := os.MkdirTemp("", "chartlift-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binaries := map[string]string{}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "reader / yardstick\tours\tyardstick\tratio\taim\tof rounds")
	for _, r := range readers {
		if r.needs != "" && os.Getenv(r.needs) == "" {
			fmt.Fprintf(w, "%s\tnot measured: %s is not set (scripts/services/with sets it)\n", r.name, r.needs)
			continue
		}
		binary := binaries[r.pkg]
		if binary == "" {
			binary = filepath.Join(dir, r.pkg+".test")
			build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./"+path.Join("pipeline/extract", r.pkg))
			build.Stderr = stderr
			if err := build.Run(); err != nil {
				return fmt.Errorf("compile the benchmarks of %s: %w", r.pkg, err)
			}
			binaries[r.pkg] = binary
		}
		var ours, yardstick, ratios []float64
		for round := range rounds {
			fmt.Fprintf(stderr, "%s, round %d of %d\n", r.name, round+1, rounds)
			a, err := benchmark(ctx, binary, r.pkg, r.ours)
			if err != nil {
				return err
			}
			b, err := benchmark(ctx, binary, r.pkg, r.yardstick)
			if err != nil {
				return err
			}
			ours, yardstick, ratios = append(ours, a), append(yardstick, b), append(ratios, b/a)
		}
		fmt.Fprintf(w, "%s\t%.1f ms\t%.1f ms\t%.2f\t%.1f\t%.2f to %.2f\n", r.name, middle(ours)/1e6, middle(yardstick)/1e6,
			middle(yardstick)/middle(ours), r.aim, slices.Min(ratios), slices.Max(ratios))
	}
	return w.Flush()
}

// benchmark runs one benchmark in a process of its own and answers the nanoseconds of one pass.
func benchmark(ctx context.Context, binary, pkg, name string) (float64, error) {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	parts[0] = "^Benchmark" + strings.TrimPrefix(parts[0], "^")
	cmd := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", strings.Join(parts, "/"), "-test.benchtime", "1s", "-test.cpu", "1")
	cmd.Dir = filepath.Join("pipeline", "extract", pkg)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("benchmark %s of %s: %w\n%s", name, pkg, err, out)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if i := slices.Index(fields, "ns/op"); i > 0 && strings.HasPrefix(fields[0], "Benchmark") {
			return strconv.ParseFloat(fields[i-1], 64)
		}
	}
	return 0, fmt.Errorf("there is no benchmark %s in %s", name, pkg)
}

// middle is the median.
func middle(list []float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
