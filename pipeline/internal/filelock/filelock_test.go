package filelock

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// holderEnv makes the test binary hold the file at its value until it is killed.
const holderEnv = "CHARTLIFT_TEST_HOLD_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderEnv); path != "" {
		os.Exit(hold(path))
	}
	os.Exit(m.Run())
}

func hold(path string) int {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return 1
	}
	if held, err := Try(f); err != nil || !held {
		return 1
	}
	_, _ = io.WriteString(os.Stdout, "holding\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // ends with the test, whose pipe it is
	_ = f.Close()
	return 0
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func want(t *testing.T, f *os.File, held bool, when string) {
	t.Helper()
	if got, err := Try(f); err != nil || got != held {
		t.Errorf("%s: %t, %v; want %t", when, got, err, held)
	}
}

func TestOneHolderInAProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	first, second := open(t, path), open(t, path)
	if _, err := first.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	want(t, first, true, "a free file")
	want(t, second, false, "a held file")
	if text, err := os.ReadFile(path); err != nil || string(text) != "text" {
		t.Errorf("a held file reads %q, %v", text, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, second, true, "after the holder closed it")
	if _, err := Try(first); err == nil {
		t.Error("a closed file was locked")
	}
}

func TestLockEndsWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f := open(t, path)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+path)
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "holding\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	want(t, f, false, "held by another process")
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := holder.Wait(); err == nil {
		t.Error("the holder ended by itself")
	}
	want(t, f, true, "after the holder was killed")
}
