// Command rivals measures Chartlift beside other engines that do the same work, in turns, in one process. It is a module of its
// own, so that what it compares with stays out of Chartlift's go.mod.
//
//	go run -C scripts/rivals . formulas        ten formulas over a record: cel-go and gofhir/fhirpath
//	go run -C scripts/rivals . validate        deep validation of a resource: gofhir/validator
//	go run -C scripts/rivals . formulas -json  the same as JSON
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// comparisons are what can be measured, by the name on the command line.
var comparisons = map[string]func(args []string, stdout io.Writer) error{"formulas": formulas, "validate": deep}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	if len(args) == 0 || comparisons[args[0]] == nil {
		names := make([]string, 0, len(comparisons))
		for name := range comparisons {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("name what to compare: %s", strings.Join(names, ", "))
	}
	return comparisons[args[0]](args[1:], stdout)
}

// settings are the flags that all comparisons have.
type settings struct {
	rounds int
	json   bool
}

func parse(name string, args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.IntVar(&s.rounds, "rounds", 301, "rounds in which the sides take turns; the median counts")
	flags.BoolVar(&s.json, "json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.rounds < 1 || flags.NArg() > 0 {
		return s, fmt.Errorf("%s takes -rounds of at least 1 and -json", name)
	}
	return s, nil
}

// slice is how long a side works before the next one has its turn: so short that most slices see a quiet machine, also
// where other programs run beside.
const slice = 300 * time.Microsecond

// interleave runs the sides in turns and answers the median time of one run of each. A side that is nil is left out.
func interleave(rounds int, sides []func() error) ([]time.Duration, error) {
	turns := make([]int, len(sides))
	times := make([][]time.Duration, len(sides))
	for i, work := range sides {
		if work == nil {
			continue
		}
		// Warm up, and find out how many runs fill a slice.
		for turns[i] = 1; ; turns[i] *= 2 {
			took, err := repeat(work, turns[i])
			if err != nil {
				return nil, err
			}
			if took >= slice/2 {
				break
			}
		}
	}
	for range rounds {
		for i, work := range sides {
			if work == nil {
				continue
			}
			took, err := repeat(work, turns[i])
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], took/time.Duration(turns[i]))
		}
	}
	medians := make([]time.Duration, len(sides))
	for i, list := range times {
		if len(list) > 0 {
			slices.Sort(list)
			medians[i] = list[len(list)/2]
		}
	}
	return medians, nil
}

func repeat(work func() error, n int) (time.Duration, error) {
	start := time.Now()
	for range n {
		if err := work(); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
