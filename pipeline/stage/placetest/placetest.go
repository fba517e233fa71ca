// Package placetest is the contract of [stage.Place]: what every kind of place must do. [Memory] is a kind for tests, which
// is built as a bucket is: nothing in it is renamed, appended to or synced.
package placetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chartlift/chartlift/pipeline/stage"
)

// reporter is what a check needs of a test.
type reporter interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Fresh makes an empty place for a test. stored lists what is kept for the place itself, visible or not: a suite cannot
// see through the interface whether a draft has left something behind.
type Fresh func(t *testing.T) (p stage.Place, stored func() []string)

// check is a part of the contract.
type check struct {
	name string
	run  func(t reporter, p stage.Place, stored func() []string)
}

var checks = []check{
	{"a file comes back", comesBack},
	{"a draft is seen by nobody", unseen},
	{"drafts are published together", together},
	{"a file takes the place of another", replaced},
	{"what is absent", absent},
	{"a file is removed", removed},
	{"names are checked", namesChecked},
	{"names are listed in order", listed},
	{"places below are apart", below},
	{"writers of one name", oneName},
	{"drafts that are given up", givenUp},
	{"drafts of killed processes", killed},
	{"drafts of another place", foreign},
}

// Run holds a kind of place against the contract.
func Run(t *testing.T, fresh Fresh) {
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			p, stored := fresh(t)
			check.run(t, p, stored)
		})
	}
}

// draft begins a file with a content.
func draft(t reporter, p stage.Place, name, content string) stage.Draft {
	t.Helper()
	d, err := p.Create(t.Context(), name)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	if n, err := io.WriteString(d, content); err != nil || n != len(content) {
		t.Fatalf("write %s: %d of %d bytes, %v", name, n, len(content), err)
	}
	return d
}

func write(t reporter, p stage.Place, name, content string) {
	t.Helper()
	if err := p.Publish(t.Context(), draft(t, p, name, content)); err != nil {
		t.Fatalf("publish %s: %v", name, err)
	}
}

func content(t reporter, p stage.Place, name string) string {
	t.Helper()
	f, err := p.Open(t.Context(), name)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil || int64(len(b)) != f.Size() {
		t.Fatalf("read %s: %d of %d bytes, %v", name, len(b), f.Size(), err)
	}
	return string(b)
}

// names checks what the place lists, and that it agrees with itself.
func names(t reporter, p stage.Place, want ...string) {
	t.Helper()
	got, err := p.List(t.Context(), "")
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	for _, name := range got {
		if ok, err := p.Exists(t.Context(), name); err != nil || !ok {
			t.Errorf("%s is listed and does not exist: %v", name, err)
		}
	}
}

// missing checks that there is no file of a name.
func missing(t reporter, p stage.Place, name string) {
	t.Helper()
	if ok, err := p.Exists(t.Context(), name); ok || err != nil {
		t.Errorf("%s exists: %v, %v", name, ok, err)
	}
	if f, err := p.Open(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open %s: %v", name, err)
		if err == nil {
			_ = f.Close()
		}
	}
}

func comesBack(t reporter, p stage.Place, _ func() []string) {
	large := strings.Repeat("0123456789abcdef", 1<<17)
	for name, text := range map[string]string{"empty": "", "one": "x", "large.batch": large} {
		write(t, p, name, text)
		if content(t, p, name) != text {
			t.Errorf("%s has another content", name)
		}
	}
	d, err := p.Create(t.Context(), "pieces")
	if err != nil {
		t.Fatalf("%v", err)
	}
	for i := range 1000 {
		if _, err := fmt.Fprintf(d, "%04d", i); err != nil {
			t.Fatalf("%v", err)
		}
	}
	if err := p.Publish(t.Context(), d); err != nil {
		t.Fatalf("%v", err)
	}
	f, err := p.Open(t.Context(), "pieces")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	if f.Size() != 4000 {
		t.Errorf("%d bytes", f.Size())
	}
	var wait sync.WaitGroup
	for at := range 8 {
		wait.Go(func() {
			var b [4]byte
			for i := at; i < 1000; i += 8 {
				if _, err := f.ReadAt(b[:], int64(4*i)); err != nil || string(b[:]) != fmt.Sprintf("%04d", i) {
					t.Errorf("at %d: %q, %v", 4*i, b, err)
				}
			}
		})
	}
	wait.Wait()
	var b [8]byte
	if n, err := f.ReadAt(b[:], 3996); n != 4 || err != io.EOF {
		t.Errorf("over the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(b[:], 4000); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func unseen(t reporter, p stage.Place, _ func() []string) {
	d := draft(t, p, "a", "new")
	missing(t, p, "a")
	names(t, p)
	if err := p.Publish(t.Context(), d); err != nil {
		t.Fatalf("%v", err)
	}
	names(t, p, "a")
	d = draft(t, p, "a", "newer")
	if got := content(t, p, "a"); got != "new" {
		t.Errorf("before Publish: %q", got)
	}
	d.Discard()
	if got := content(t, p, "a"); got != "new" {
		t.Errorf("after Discard: %q", got)
	}
}

// together publishes several drafts; a fault of one leaves a beginning of the list at most.
func together(t reporter, p stage.Place, stored func() []string) {
	if err := p.Publish(t.Context()); err != nil {
		t.Errorf("nothing: %v", err)
	}
	drafts := []stage.Draft{draft(t, p, "c", "1"), draft(t, p, "a", "2"), draft(t, p, "b", "3")}
	if err := p.Publish(t.Context(), drafts...); err != nil {
		t.Fatalf("%v", err)
	}
	names(t, p, "a", "b", "c")
	if got := content(t, p, "c") + content(t, p, "a") + content(t, p, "b"); got != "123" {
		t.Errorf("contents %q", got)
	}
	drafts = []stage.Draft{draft(t, p, "x", "1"), draft(t, p, "y", "2"), draft(t, p, "z", "3")}
	drafts[1].Discard()
	if err := p.Publish(t.Context(), drafts...); err == nil {
		t.Errorf("a draft that was given up is published")
	}
	for _, name := range []string{"y", "z"} {
		missing(t, p, name)
	}
	if err := p.Publish(t.Context(), drafts[2]); err == nil {
		t.Errorf("a draft of a Publish that failed is published")
	}
	left := slices.DeleteFunc(stored(), func(name string) bool { return slices.Contains([]string{"a", "b", "c", "x"}, name) })
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func replaced(t reporter, p stage.Place, stored func() []string) {
	old, fresh := strings.Repeat("old", 100_000), strings.Repeat("fresh", 100_000)
	write(t, p, "a", old)
	f, err := p.Open(t.Context(), "a")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	write(t, p, "a", fresh)
	if got := content(t, p, "a"); got != fresh {
		t.Errorf("the old content is there")
	}
	if err := p.Remove(t.Context(), "a"); err != nil {
		t.Fatalf("%v", err)
	}
	b := make([]byte, len(old))
	if _, err := f.ReadAt(b, 0); err == nil && string(b) != old {
		t.Errorf("an open file reads what took its place")
	}
	if len(stored()) != 0 {
		t.Errorf("left: %v", stored())
	}
}

func absent(t reporter, p stage.Place, stored func() []string) {
	for _, p := range []stage.Place{p, p.Sub("none"), p.Sub("none").Sub("none")} {
		missing(t, p, "a")
		names(t, p)
		if err := errors.Join(p.Remove(t.Context(), "a"), p.Clean(t.Context())); err != nil {
			t.Errorf("%v", err)
		}
	}
	if len(stored()) != 0 {
		t.Errorf("left: %v", stored())
	}
}

func removed(t reporter, p stage.Place, _ func() []string) {
	write(t, p, "a", "1")
	write(t, p, "b", "2")
	for range 2 {
		if err := p.Remove(t.Context(), "a"); err != nil {
			t.Errorf("%v", err)
		}
	}
	missing(t, p, "a")
	names(t, p, "b")
	write(t, p, "a", "3")
	names(t, p, "a", "b")
}

func namesChecked(t reporter, p stage.Place, stored func() []string) {
	long := strings.Repeat("n", 150)
	write(t, p, long, "1")
	names(t, p, long)
	for _, name := range []string{
		"", ".", "..", ".a", "a/b", "/a", `a\b`, "../a", "a b", "é", "a\x00", "a\n", "a:b", "a%2fb", "b.tmp", long + "n",
	} {
		_, create := p.Create(t.Context(), name)
		f, open := p.Open(t.Context(), name)
		if open == nil {
			_ = f.Close()
		}
		_, exists := p.Exists(t.Context(), name)
		_, create2 := p.Sub(name).Create(t.Context(), "a")
		_, open2 := p.Sub(name).Open(t.Context(), "a")
		_, exists2 := p.Sub("a").Sub(name).Sub("a").Exists(t.Context(), "a")
		_, list := p.Sub(name).List(t.Context(), "")
		for what, err := range map[string]error{
			"create": create, "open": open, "exists": exists, "remove": p.Remove(t.Context(), name),
			"create below": create2, "open below": open2, "exists below": exists2, "list": list,
			"remove below": p.Sub(name).Remove(t.Context(), "a"), "clean": p.Sub(name).Clean(t.Context()),
			"publish": p.Sub(name).Publish(t.Context()),
		} {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %q: %v", what, name, err)
			}
		}
	}
	if got := stored(); len(got) != 1 {
		t.Errorf("stored: %v", got)
	}
}

func listed(t reporter, p stage.Place, _ func() []string) {
	all := []string{"B.out.0001", "b.out.0001", "b.out.0002", "b.out.0010", "b2.out.0001", "b-1", "b_1", "a", "Z"}
	for _, name := range all {
		write(t, p, name, "")
	}
	slices.Sort(all)
	names(t, p, all...)
	for _, prefix := range []string{"b", "b.out.", "b.out.0010", "B", "c", "b.out.00100"} {
		var want []string
		for _, name := range all {
			if strings.HasPrefix(name, prefix) {
				want = append(want, name)
			}
		}
		got, err := p.List(t.Context(), prefix)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", prefix, got, err)
		}
	}
}

func below(t reporter, p stage.Place, _ func() []string) {
	a, b, aa := p.Sub("a"), p.Sub("b"), p.Sub("a").Sub("a")
	for text, p := range map[string]stage.Place{"top": p, "in a": a, "in b": b, "in a/a": aa} {
		write(t, p, "f", text)
	}
	for text, p := range map[string]stage.Place{"top": p, "in a": a, "in b": b, "in a/a": aa, "in a/a ": p.Sub("a").Sub("a")} {
		names(t, p, "f")
		if got := content(t, p, "f"); got != strings.TrimSpace(text) {
			t.Errorf("%s: %q", text, got)
		}
	}
	missing(t, p, "a") // a place is no file
	if err := a.Remove(t.Context(), "f"); err != nil {
		t.Fatalf("%v", err)
	}
	missing(t, a, "f")
	names(t, a)
	names(t, p, "f")
	names(t, aa, "f")
	// Clean looks at its own place only: below it somebody may be writing.
	d := draft(t, aa, "g", "1")
	if err := errors.Join(p.Clean(t.Context()), a.Clean(t.Context())); err != nil {
		t.Fatalf("%v", err)
	}
	if err := aa.Publish(t.Context(), d); err != nil {
		t.Fatalf("%v", err)
	}
	names(t, aa, "f", "g")
}

// oneName lets a process that lost its lease, and does not know yet, write beside the one that took over.
func oneName(t reporter, p stage.Place, stored func() []string) {
	const writers, rounds = 8, 5
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for range rounds {
				d, err := p.Create(t.Context(), "a")
				if err != nil {
					t.Errorf("create: %v", err)
					return
				}
				for range 50 {
					if _, err := d.Write(bytes.Repeat([]byte{'a' + byte(w)}, 1000)); err != nil {
						t.Errorf("write: %v", err)
					}
				}
				if err := p.Publish(t.Context(), d); err != nil {
					t.Errorf("publish: %v", err)
				}
				f, err := p.Open(t.Context(), "a")
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				b := make([]byte, f.Size())
				if _, err := f.ReadAt(b, 0); err == nil && (len(b) != 50_000 || strings.Trim(string(b), string(b[0])) != "") {
					t.Errorf("a mix of %d bytes", len(b))
				}
				_ = f.Close()
			}
		})
	}
	wait.Wait()
	if got := stored(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("stored: %v", got)
	}
}

func givenUp(t reporter, p stage.Place, stored func() []string) {
	d := draft(t, p, "a", "1")
	d.Discard()
	d.Discard()
	if _, err := d.Write([]byte("2")); err == nil {
		t.Errorf("a discarded draft is written to")
	}
	if err := p.Publish(t.Context(), d); err == nil {
		t.Errorf("a discarded draft is published")
	}
	if len(stored()) != 0 {
		t.Errorf("left: %v", stored())
	}
	d = draft(t, p, "a", "3")
	if err := p.Publish(t.Context(), d); err != nil {
		t.Fatalf("%v", err)
	}
	d.Discard()
	if _, err := d.Write([]byte("4")); err == nil {
		t.Errorf("a published draft is written to")
	}
	if err := p.Publish(t.Context(), d); err == nil {
		t.Errorf("a draft is published twice")
	}
	if got := content(t, p, "a"); got != "3" {
		t.Errorf("content %q", got)
	}
}

// killed leaves drafts as they are, as a process does that is killed.
func killed(t reporter, p stage.Place, stored func() []string) {
	write(t, p, "a", "1")
	left := []stage.Draft{draft(t, p, "a", "2"), draft(t, p, "b", "3"), draft(t, p, "b", "")}
	if err := p.Clean(t.Context()); err != nil {
		t.Fatalf("%v", err)
	}
	if got := stored(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("stored: %v", got)
	}
	names(t, p, "a")
	if got := content(t, p, "a"); got != "1" {
		t.Errorf("content %q", got)
	}
	for _, d := range left {
		d.Discard()
	}
	write(t, p, "b", "4")
	names(t, p, "a", "b")
}

func foreign(t reporter, p stage.Place, _ func() []string) {
	d := draft(t, p.Sub("a"), "f", "1")
	if err := p.Publish(t.Context(), d); err == nil {
		t.Errorf("a draft is published in another place")
	}
	missing(t, p, "f")
	missing(t, p.Sub("a"), "f")
}
