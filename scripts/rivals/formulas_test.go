package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestFormulas: all sides evaluate every formula, and answer alike where the answer is a plain value.
func TestFormulas(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"formulas", "-rounds", "1", "-json"}, &out); err != nil {
		t.Fatal(err)
	}
	var results []result
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 10 {
		t.Errorf("%d formulas", len(results))
	}
	for _, r := range results {
		if r.Chartlift <= 0 || r.CEL <= 0 {
			t.Errorf("%s: %+v", r.Formula, r)
		}
	}
	if err := run([]string{"nothing"}, &out); err == nil || !strings.Contains(err.Error(), "formulas") {
		t.Errorf("got %v", err)
	}
}

// TestAnswers: a side that answers something else is not measured.
func TestAnswers(t *testing.T) {
	wrong := typical[0]
	wrong.answers = "Body Weight"
	if _, err := celSide(records(), wrong); err == nil {
		t.Error("cel: a wrong answer was taken")
	}
	if _, err := gofhirSide(records()[0], wrong); err == nil {
		t.Error("gofhir: a wrong answer was taken")
	}
	p, table, err := ourProgram()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ours(p, table, records(), wrong); err == nil {
		t.Error("ours: a wrong answer was taken")
	}
}

func TestInterleave(t *testing.T) {
	busy := func(d time.Duration) func() error {
		return func() error {
			for start := time.Now(); time.Since(start) < d; {
			}
			return nil
		}
	}
	times, err := interleave(5, []func() error{busy(20 * time.Microsecond), nil, busy(200 * time.Microsecond)})
	if err != nil || times[0] < 20*time.Microsecond || times[1] != 0 || times[2] < 200*time.Microsecond {
		t.Errorf("%v, %v", times, err)
	}
	failing := func() error { return errors.New("no") }
	if _, err := interleave(1, []func() error{failing}); err == nil {
		t.Error("a failure was passed over")
	}
}
