package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestValidate: both sides judge every set; ours finds no error in what a migration writes.
func TestValidate(t *testing.T) {
	if _, err := os.Stat(filepath.Join("..", "..", "..", "shared", "data", usCoreAt)); err != nil && os.Getenv("CHARTLIFT_SHARED") == "" {
		t.Skip("the shared data is not here")
	}
	var out bytes.Buffer
	if err := run([]string{"validate", "-rounds", "1", "-json"}, &out); err != nil {
		t.Fatal(err)
	}
	var results []judged
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != 4 {
		t.Fatalf("%d sets", len(results))
	}
	for _, r := range results {
		if r.Judge <= 0 || r.Checker <= 0 || r.GoFHIR <= 0 || r.Resources < 100 {
			t.Errorf("%+v", r)
		}
	}
	for _, r := range results[2:] {
		if r.Errors > 0 {
			t.Errorf("%s: %d resources with an error", r.Set, r.Errors)
		}
	}
}
