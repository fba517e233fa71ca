// Package sharedtest holds what tests of several packages ask for: the real data that they measure themselves by, and how
// much of an exhaustive sweep they are to try ([Drawn]).
//
// The data lies outside the project, in a folder that a plain clone does not have. A test that needs it is then
// skipped, visibly; with CHARTLIFT_REQUIRE=data (as in CI) the same skip is a failure, so that it cannot hide.
package sharedtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Path returns the path of a file or folder below the folder of shared data: $CHARTLIFT_SHARED, or else `../shared`
// seen from the module's root. It skips the test, or fails it under CHARTLIFT_REQUIRE=data, when there is none.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("CHARTLIFT_SHARED")
	if root == "" {
		root = filepath.Join(ModuleRoot(t), "..", "shared")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		Missing(t, "data", "the shared data %s is not here", filepath.Join(elem...))
	}
	return path
}

// Missing skips the test because something it needs is absent, or fails it when CHARTLIFT_REQUIRE (a comma-separated
// list) names that kind of thing: `data` or `services`.
func Missing(t testing.TB, kind, format string, args ...any) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("CHARTLIFT_REQUIRE"), ","), kind) {
		t.Fatalf(format+" (required by CHARTLIFT_REQUIRE)", args...)
	}
	t.Skipf(format, args...)
}

// ModuleRoot is the folder of go.mod.
func ModuleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working folder")
		}
		dir = parent
	}
}
