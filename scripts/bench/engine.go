package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/run"
)

// engine is Chartlift itself: over the plan in w.Dir, from the CSV to sealed, packed and checked batches with everything
// on, on one core and without sending. The records of patients and encounters, which the plan has too, count as well.
func engine(ctx context.Context, w workload, started func()) (int64, error) {
	return engineWith(ctx, w, 1, started)
}

// engine2 is the engine with two workers.
func engine2(ctx context.Context, w workload, started func()) (int64, error) {
	return engineWith(ctx, w, 2, started)
}

func engineWith(ctx context.Context, w workload, workers int, started func()) (made int64, err error) {
	if w.Binary != "" {
		return asBinary(ctx, w, started)
	}
	file := filepath.Join(w.Dir, "migration.yaml")
	if _, err := plan.InitKeys(ctx, file); err != nil {
		return 0, err
	}
	s, err := plan.Open(ctx, file, plan.Options{Access: plan.Tables | plan.Keys | plan.Write, Operator: "bench"})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	started()
	summary, err := run.Run(ctx, s, run.Options{Dry: true, Workers: workers})
	if err != nil {
		return 0, err
	}
	if summary.Refusals > 0 {
		return 0, fmt.Errorf("%d records were refused", summary.Refusals)
	}
	for _, r := range summary.Resources {
		made += r.Made
	}
	return made, nil
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
