package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
)

// inProcess is where Chartlift's own path is wired in, as a side like the yardstick: over the plan in w.Dir, from the
// CSV to the sealed and packed batch with everything on (checks, validation, sealing), in this process, and without
// sending. It opens and compiles the plan, calls started, does the work on one core, and answers the number of
// resources made (those of patients and encounters, which the plan has too, may be among them). While it is nil the
// engine is measured only as a built binary, with -binary.
var inProcess side

// engine is Chartlift itself.
func engine(ctx context.Context, w workload, started func()) (int64, error) {
	switch {
	case w.Binary != "":
		return asBinary(ctx, w, started)
	case inProcess != nil:
		return inProcess(ctx, w, started)
	}
	return 0, errNotWired
}

// asBinary runs `chartlift dry-run` over the plan. Its start and the compilation of the plan are in the time.
func asBinary(ctx context.Context, w workload, started func()) (int64, error) {
	binary, err := filepath.Abs(w.Binary)
	if err != nil {
		return 0, err
	}
	chartlift := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Dir = w.Dir
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			if exit.ExitCode() == 3 { // finished, with something to review
				return out, nil
			}
			return nil, fmt.Errorf("chartlift %s: exit %d: %s", args[0], exit.ExitCode(), exit.Stderr)
		}
		return out, err
	}
	if _, err := chartlift("keys", "init"); err != nil {
		return 0, err
	}
	started()
	out, err := chartlift("dry-run", "--json")
	if err != nil {
		return 0, err
	}
	var summary struct {
		State     string `json:"state"`
		Resources map[string]struct {
			Made int64 `json:"made"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(out, &summary); err != nil {
		return 0, fmt.Errorf("chartlift dry-run --json: %w", err)
	}
	if summary.State != "finished" {
		return 0, fmt.Errorf("chartlift dry-run ended as %q", summary.State)
	}
	var n int64
	for _, r := range summary.Resources {
		n += r.Made
	}
	return n, nil
}
