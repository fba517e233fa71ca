package report_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/report"
)

// What a killed process left is taken away by the next report; what belongs to others stays.
func TestLeftoversAreSwept(t *testing.T) {
	ended := exec.Command(os.Args[0], "-test.run=^$")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	dead := []string{fmt.Sprintf(".report.html.%d.123", ended.Process.Pid), fmt.Sprintf(".report.json.%d.9", ended.Process.Pid)}
	others := []string{
		fmt.Sprintf(".report.html.%d.77", os.Getppid()), // somebody else is writing
		fmt.Sprintf(".report.html.%d.78", os.Getpid()),
		".report.html.swp", ".report.html.1x.5", "report.html.12.34", ".other.12345.6", ".report.html.99999999999999999999.1",
	}
	for _, name := range slices.Concat(dead, others) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, fmt.Sprintf(".report.html.%d.5", ended.Process.Pid)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := report.Write(dir, []string{"json"}, report.Data{Summary: &ledger.Summary{}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range dead {
		if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	for _, name := range append(others, "report.json", fmt.Sprintf(".report.html.%d.5", ended.Process.Pid)) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
}
