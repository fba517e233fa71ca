package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// A byte flipped or a tail cut in each kind of durable file: the next command that needs it names the file and refuses,
// or says what it has mended. Nothing is ever skipped in silence.

// kindsOfFiles are the durable files, by pattern, and the commands that have to notice.
var kindsOfFiles = []struct {
	name, pattern string
	started       bool // needs a run that was killed before it loaded anything
	commands      [][]string
	named         string // what the message names, if not the file
	goneUnseen    bool   // a file of which nothing else says that it was there
	tornMended    bool   // a torn end is mended, and named
}{
	{name: "batch", pattern: "stage/run-1/*.batch", commands: [][]string{{"reconcile"}, {"export", "-o", "OUT"}}},
	{name: "batch before loading", pattern: "stage/run-1/*.batch", started: true, commands: [][]string{{"run"}}},
	{name: "index", pattern: "stage/run-1/*.index", started: true, commands: [][]string{{"run"}}},
	{name: "segment", pattern: "stage/run-1/*.out.*", commands: [][]string{{"reconcile"}}, named: ".out"},
	{name: "exclusions", pattern: "stage/run-1/*.excluded", commands: [][]string{{"reconcile"}, {"export", "-o", "OUT"}}},
	{name: "quarantine", pattern: "stage/run-1/*.quarantine", commands: [][]string{{"reconcile"}}, goneUnseen: true},
	{name: "state", pattern: "stage/state/*/state.*[0-9]", commands: [][]string{{"run"}, {"reconcile"}}, named: "state"},
	{name: "state by patient", pattern: "stage/state/*/state.*.patients", commands: [][]string{{"run"}}, named: "state"},
	{name: "manifest", pattern: "stage/state/*/state", commands: [][]string{{"run"}, {"reconcile"}}},
	{name: "ledger", pattern: "ledger.db", commands: [][]string{{"status"}, {"run"}, {"reconcile"}, {"report", "-o", "OUT"}}},
	{name: "keyring", pattern: "../keys/*.keyring", commands: [][]string{{"run"}, {"reconcile"}}},
	{name: "key store", pattern: "../keys/*.keys", commands: [][]string{{"run"}, {"reconcile"}}, tornMended: true},
}

func TestDamageIsNamed(t *testing.T) {
	finished := newRiverside(t)
	finished.mustRun(exitDone, exitDone, "keys", "init")
	finished.mustRun(exitDone, exitReview, "run")
	started := newRiverside(t)
	started.mustRun(exitDone, exitDone, "keys", "init")
	if e := started.start(t.Context(), "target: before send bundle", "run"); !e.killed {
		t.Fatal(e)
	}
	for _, kind := range kindsOfFiles {
		t.Run(kind.name, func(t *testing.T) {
			h := finished
			if kind.started {
				h = started
			}
			files, err := filepath.Glob(filepath.Join(h.dir, ".chartlift", filepath.FromSlash(kind.pattern)))
			if err != nil || len(files) == 0 {
				t.Fatal("no such file", err)
			}
			file, err := filepath.Rel(h.dir, files[len(files)/2])
			if err != nil {
				t.Fatal(err)
			}
			list := damages(int64(len(readFile(t, filepath.Join(h.dir, file)))))
			for _, i := range sharedtest.Drawn(t, len(list)*len(kind.commands), 2) {
				d, command := list[i/len(kind.commands)], kind.commands[i%len(kind.commands)]
				if d.gone && kind.goneUnseen {
					continue
				}
				copied := h.copied(t)
				d.do(t, filepath.Join(copied.dir, file))
				args := append(slices.Clone(command), "--quiet")
				for i, a := range args {
					if a == "OUT" {
						args[i] = filepath.Join(copied.dir, "out")
					}
				}
				code, stdout, stderr := copied.command(args...)
				name := kind.named
				if name == "" {
					name = filepath.Base(file)
				}
				if !strings.Contains(stderr, name) {
					t.Errorf("%s, %s: the message does not name %s: exit %d\n%s", d.name, command[0], name, code, stderr)
				}
				if refused := code == exitFailed || code == exitUsage; !refused && !(kind.tornMended && d.torn) {
					t.Errorf("%s, %s: exit %d\n%s%s", d.name, command[0], code, stdout, stderr)
				}
				if left, err := filepath.Glob(filepath.Join(copied.dir, "out", "*")); err != nil || len(left) > 0 && code != exitDone {
					t.Errorf("%s, %s: files are left of an export that failed: %v %v", d.name, command[0], left, err)
				}
			}
		})
	}
}

// damage is one way to spoil a file.
type damage struct {
	name       string
	torn, gone bool
	do         func(*testing.T, string)
}

func damages(size int64) []damage {
	list := []damage{
		{name: "cut in half", do: func(t *testing.T, path string) { truncate(t, path, size/2+1) }},
		{name: "last byte cut", torn: true, do: func(t *testing.T, path string) { truncate(t, path, size-1) }},
		{name: "emptied", do: func(t *testing.T, path string) { truncate(t, path, 0) }},
		{name: "removed", gone: true, do: func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, at := range []int64{0, size / 3, size / 2, size - 2} {
		list = append(list, damage{name: "a byte flipped", torn: at == size-2, do: func(t *testing.T, path string) {
			data := []byte(readFile(t, path))
			data[at] ^= 0x20
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}})
	}
	return list
}

func truncate(t *testing.T, path string, size int64) {
	t.Helper()
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

// copied is the same hospital in another folder, before the same server.
func (h *hospital) copied(t *testing.T) *hospital {
	t.Helper()
	c := &hospital{t: t, dir: t.TempDir(), server: h.server}
	if err := os.CopyFS(c.dir, os.DirFS(h.dir)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(filepath.Join(c.dir, "keys"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
