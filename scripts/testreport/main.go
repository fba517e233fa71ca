// Command testreport turns the events of `go test -json` on its standard input into what `go test` prints, and adds at the end
// what that hides: the tests that were skipped, with their reasons, and the sweeps of which only a sample was tried. It
// exits with 1 if anything failed or the events break off.
//
//	go test -json ./... | go run ./scripts/testreport
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	ok, err := report(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// event is one line of `go test -json` (go doc test2json).
type event struct{ Action, Package, Test, Output string }

type test struct{ pkg, name string }

// state is what was read so far.
type state struct {
	out      *bufio.Writer
	texts    map[test]string // what tests wrote that have not ended
	running  map[string]bool // packages that have not ended
	packages int
	failed   bool
	skipped  map[string][]string // by reason
	sampled  []test              // top-level tests, each once
	samples  map[test]*sample
}

// sample is how many cases of its sweeps a test tried.
type sample struct {
	tried, of int
	how       string // to try all, or these again
}

// report writes the report; ok tells whether all tests passed.
func report(in io.Reader, out io.Writer) (ok bool, err error) {
	s := &state{out: bufio.NewWriter(out), texts: map[test]string{}, running: map[string]bool{}, skipped: map[string][]string{}, samples: map[test]*sample{}}
	reader := bufio.NewReader(in)
	for {
		line, err := reader.ReadString('\n')
		if line != "" {
			s.line(line)
			_ = s.out.Flush() // as it comes; the error stays with the writer
		}
		if err == io.EOF {
			break
		} else if err != nil {
			return false, err
		}
	}
	var lines []string
	count := 0
	for _, why := range slices.Sorted(maps.Keys(s.skipped)) {
		tests := s.skipped[why]
		count += len(tests)
		lines = append(lines, why+":\n    "+strings.Join(tests, "\n    "))
	}
	s.list("skipped", count, lines)
	lines = nil
	for _, t := range s.sampled {
		lines = append(lines, fmt.Sprintf("%s: %d of %d cases: %s", t, s.samples[t].tried, s.samples[t].of, s.samples[t].how))
	}
	s.list("sampled", len(lines), lines)
	if len(s.running) > 0 || s.packages == 0 {
		fmt.Fprintf(s.out, "the events break off: %d packages ended, %d did not\n", s.packages, len(s.running))
		s.failed = true
	}
	return !s.failed, s.out.Flush()
}

func (s *state) list(what string, count int, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(s.out, "\n%s: %d\n", what, count)
	for _, line := range lines {
		fmt.Fprintf(s.out, "  %s\n", line)
	}
}

func (s *state) line(line string) {
	var e event
	if err := json.Unmarshal([]byte(line), &e); err != nil || e.Action == "" {
		_, _ = s.out.WriteString(line) // of the go command itself
		return
	}
	if e.Test == "" {
		s.pkg(e)
		return
	}
	t := test{e.Package, e.Test}
	switch e.Action {
	case "output":
		s.texts[t] += e.Output
		s.sample(t, said(e.Output))
	case "fail":
		s.failed = true
		_, _ = s.out.WriteString(s.texts[t])
		delete(s.texts, t)
	case "skip":
		why := reason(s.texts[t])
		s.skipped[why] = append(s.skipped[why], t.String())
		delete(s.texts, t)
	case "pass":
		delete(s.texts, t)
	}
}

// pkg takes an event of a whole package, or of its build.
func (s *state) pkg(e event) {
	switch e.Action {
	case "start":
		s.running[e.Package] = true
	case "output", "build-output":
		if e.Output != "PASS\n" { // which go test does not show of packages that pass
			_, _ = s.out.WriteString(e.Output)
		}
	case "build-fail":
		s.failed = true
	case "pass", "fail", "skip":
		s.packages++
		delete(s.running, e.Package)
		if e.Action != "fail" {
			return
		}
		s.failed = true
		for t, text := range s.texts { // of tests that a panic or an exit cut off
			if t.pkg == e.Package {
				_, _ = s.out.WriteString(text)
				delete(s.texts, t)
			}
		}
	}
}

func (t test) String() string {
	return strings.TrimPrefix(t.pkg, "github.com/chartlift/chartlift/") + " " + t.name
}

// aSample is what sharedtest.Drawn logs.
var aSample = regexp.MustCompile(`^a sample, (\d+) of (\d+) cases: (.*)$`)

func (s *state) sample(t test, text string) {
	m := aSample.FindStringSubmatch(text)
	if m == nil {
		return
	}
	t.name, _, _ = strings.Cut(t.name, "/")
	if s.samples[t] == nil {
		s.samples[t] = &sample{how: m[3]}
		s.sampled = append(s.sampled, t)
	}
	tried, _ := strconv.Atoi(m[1]) // digits
	of, _ := strconv.Atoi(m[2])
	s.samples[t].tried += tried
	s.samples[t].of += of
}

var logged = regexp.MustCompile(`^ *[\w.-]+\.go:\d+: (.*)\n$`)

// said is what a test logged in a line of output, without the place; "" if the line is another one.
func said(output string) string {
	if m := logged.FindStringSubmatch(output); m != nil {
		return m[1]
	}
	return ""
}

// reason is the last thing that a skipped test logged.
func reason(text string) string {
	why := "no reason given"
	for line := range strings.Lines(text) {
		if text := said(line); text != "" {
			why = text
		}
	}
	return why
}
