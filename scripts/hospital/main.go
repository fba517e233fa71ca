// Command hospital makes the export of Riverside General, a small hospital that never was: nine tables as its legacy
// system would write them, with planted faults, and the list of what was planted. The plan and the mappings beside them
// are written by hand; this program writes export/*.csv and expected.json only.
//
//	go run ./scripts/hospital -o fixtures/riverside
//
// The same program writes the same bytes, always: names and numbers come from a small generator of its own, and no clock
// is read. Persons, places, numbers and notes are invented; telephone numbers are of the kind kept for fiction, mail
// addresses end in example.org, and no number is a social security number that was ever given out.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

func run(args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("hospital", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("o", "fixtures/riverside", "the `folder` to write into")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "hospital: unexpected argument %q\n", flags.Arg(0))
		return 2
	}
	if err := write(*out); err != nil {
		fmt.Fprintf(stderr, "hospital: %v\n", err)
		return 1
	}
	return 0
}

// write makes the hospital and writes its files under dir.
func write(dir string) error {
	h := newHospital()
	expected, err := h.expected()
	if err != nil {
		return err
	}
	export := filepath.Join(dir, "export")
	if err := os.MkdirAll(export, 0o755); err != nil {
		return err
	}
	for _, t := range h.tables() {
		if err := os.WriteFile(filepath.Join(export, t.name+".csv"), t.bytes(), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "expected.json"), expected, 0o644)
}
