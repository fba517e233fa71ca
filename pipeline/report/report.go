// Package report writes down what a run found, for people and for programs: as one HTML page that needs nothing else
// (`report.html`), as JSON (`report.json`), and as an aligned summary for the terminal (Text).
//
//	d, err := report.Load(ctx, l, run.ID)             // from the ledger; lists are read while they are written
//	d.Migration, d.Facts = "riverside-2026", facts
//	err = report.Write(dir, []string{"html", "json"}, d)
//	err = report.Text(os.Stdout, d)
//	v := report.Judge(d.Summary)                      // GO, NO-GO or REVIEW, why, and what to do next
//
// All forms come from the same Data and the same Judge, so they cannot disagree. No report holds a value of a patient:
// records are named by pseudonym and place, and every text goes through html/template's escaping or JSON's. The same
// Data gives the same bytes; a time stands in a report only if the caller puts it there.
package report

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/internal/crash"
	"github.com/chartlift/chartlift/pipeline/ledger"
)

// Data is what a report is made of. Summary is required; a nil list is an empty one. The lists may be read more than
// once, and an error that one of them yields ends the writing.
type Data struct {
	// Migration is the plan's name of it, for the title.
	Migration string
	// Generated says when, in the words of the caller; empty: no time stands in the report.
	Generated     string
	Summary       *ledger.Summary
	Refusals      iter.Seq2[ledger.Refusal, error]
	Findings      iter.Seq2[ledger.Finding, error]
	Discrepancies iter.Seq2[ledger.Discrepancy, error] // the gravest domain first, as the ledger yields them
	// NotChecked names what was written without a check because its definition was not at hand: profiles, extensions,
	// value sets.
	NotChecked []string
	// Facts are shown as they are, in this order: version, target, policy, digests of plan and state.
	Facts []Fact
}

// Fact is a name and a value about how a report came to be.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Load gathers the data of a run from the ledger. The lists are read from it when they are used, so it must stay open.
func Load(ctx context.Context, l *ledger.Ledger, run string) (Data, error) {
	summary, err := l.Summary(ctx, run)
	if err != nil {
		return Data{}, fmt.Errorf("load report: %w", err)
	}
	return Data{
		Summary:       summary,
		Refusals:      l.Refusals(ctx, run),
		Findings:      l.Findings(ctx, run),
		Discrepancies: l.Discrepancies(ctx, run),
	}, nil
}

// List makes a list of Data from a slice.
func List[T any](items []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// orEmpty makes a nil list an empty one.
func orEmpty[T any](list iter.Seq2[T, error]) iter.Seq2[T, error] {
	if list == nil {
		return List[T](nil)
	}
	return list
}

// formats are the writers by the name of their format.
var formats = map[string]struct {
	file  string
	write func(io.Writer, Data) error
}{
	"json": {"report.json", JSON},
	"html": {"report.html", HTML},
}

// Formats lists the names that Write takes.
func Formats() []string { return []string{"html", "json"} }

// Write writes the report in each of the formats into dir, which it makes if need be. A file is complete or, if it
// could not be written, as it was before. Errors: a format that there is not, before anything is written.
func Write(dir string, names []string, d Data) error {
	if d.Summary == nil {
		return errors.New("write report: there is no summary")
	}
	for _, name := range names {
		if _, ok := formats[name]; !ok {
			return fmt.Errorf("write report: there is no format %q (there are %s)", name, strings.Join(Formats(), ", "))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := sweep(dir); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	names = slices.Clone(names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		format := formats[name]
		if err := writeFile(filepath.Join(dir, format.file), 0o644, func(w io.Writer) error { return format.write(w, d) }); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	return nil
}

// writeFile writes to a temporary name beside path and renames it when all is on disk, so that no half report is ever
// taken for a whole one.
func writeFile(path string, mode os.FileMode, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), fmt.Sprintf(".%s.%d.*", filepath.Base(path), os.Getpid()))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(file.Close(), os.ErrClosed), ignore(os.Remove(file.Name()), os.ErrNotExist))
		}
	}()
	buffer := bufio.NewWriter(file)
	if err := write(buffer); err != nil {
		return err
	}
	if err := buffer.Flush(); err != nil {
		return err
	}
	if err := file.Chmod(mode); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	crash.At(crash.ReportFile)
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	crash.At(crash.ReportRename)
	return nil
}

func ignore(err, known error) error {
	if errors.Is(err, known) {
		return nil
	}
	return err
}
