package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/chartlift/chartlift/pipeline/sandbox"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"chartlift": main})
}

// TestScripts runs testdata/*.txtar, each in a folder of its own and with a server of its own at $SANDBOX. Beside
// testscript's own commands there are:
//
//	clinic                    lays testdata/clinic into the folder; files that are there stay
//	exits N chartlift …       the command must end with exactly this code
//	json FILE PATH VALUE      FILE (or stdout) is exactly one JSON document, and holds VALUE at PATH (a.b.0; len counts)
//	server [FAULTS]           an empty server in place of the one that was there; integrity before the faults: one that
//	                          refuses references to what is not there; server-ids: one that chooses the ids itself
//	request STATUS METHOD PATH [FILE [HEADER…]]   the server must answer so; its answer is stdout, headers first
//	writes N                  so many versions of resources were made in the server
//	damage set|delete|copy …  TYPE [PATH VALUE | ID]: somebody changes a resource in the server
//	hold N                    the N-th request from here that writes waits until `interrupt`
//	interrupt                 waits for that request, then sends SIGINT to the command in the background
//	exited N                  the interrupted command, waited for, must have ended with this code
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			w := &world{}
			if err := w.renew(""); err != nil {
				return err
			}
			web := httptest.NewServer(w)
			env.Defer(func() {
				web.CloseClientConnections()
				web.Close()
				_ = w.server().Close()
			})
			env.Setenv("SANDBOX", web.URL+"/fhir")
			env.Setenv("CHARTLIFT_OPERATOR", "tester")
			env.Values[worldKey{}] = w
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"clinic": layClinic, "exits": exits, "json": checkJSON, "server": renewServer, "writes": checkWrites, "request": request,
			"damage": damageTarget, "hold": hold, "interrupt": interrupt, "exited": exited,
		},
	})
}

type worldKey struct{}

// world is what surrounds a script: a server, and a gate before it.
type world struct {
	mu      sync.Mutex
	current *sandbox.Server
	gate    *gate
	last    *exec.Cmd
}

// gate stops the n-th request that writes, until whoever sent it has gone.
type gate struct {
	left int
	held chan struct{}
}

func (w *world) server() *sandbox.Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

func (w *world) renew(faults string) error {
	rest, integrity := strings.CutPrefix(faults, "integrity")
	rest, serverIDs := strings.CutPrefix(rest, "server-ids")
	s, err := sandbox.New(sandbox.Options{Faults: rest, Integrity: integrity, ServerIDs: serverIDs})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nil {
		_ = w.current.Close()
	}
	w.current = s
	return nil
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if w.stops(r) {
		// The body must be read, else the server does not notice that the client has gone.
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		return
	}
	w.server().ServeHTTP(rw, r)
}

func (w *world) stops(r *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gate == nil || r.Method == http.MethodGet {
		return false
	}
	if w.gate.left--; w.gate.left == 0 {
		close(w.gate.held)
	}
	return w.gate.left <= 0
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func usage(ts *testscript.TestScript, neg, fits bool, text string) {
	if neg || !fits {
		ts.Fatalf("usage: %s", text)
	}
}

func layClinic(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 0, "clinic")
	from := os.DirFS(filepath.Join("testdata", "clinic"))
	to := ts.MkAbs(".")
	ts.Check(copyMissing(to, from))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) > 1, "exits N COMMAND…")
	want := number(ts, args[0])
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if code != want {
		ts.Fatalf("%s: exit %d, wanted %d", strings.Join(args[1:], " "), code, want)
	}
}

func number(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 3, "json FILE PATH VALUE")
	d := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		ts.Fatalf("%s is not JSON: %v", args[0], err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("%s holds more than one JSON document", args[0])
	}
	for _, step := range strings.Split(args[1], ".") {
		switch at := v.(type) {
		case map[string]any:
			if step == "len" {
				v = json.Number(strconv.Itoa(len(at)))
				continue
			}
			next, ok := at[step]
			if !ok {
				ts.Fatalf("%s: no %q in %s", args[0], step, args[1])
			}
			v = next
		case []any:
			if step == "len" {
				v = json.Number(strconv.Itoa(len(at)))
				continue
			}
			i := number(ts, step)
			if i >= len(at) {
				ts.Fatalf("%s: %s has %d entries", args[0], args[1], len(at))
			}
			v = at[i]
		default:
			ts.Fatalf("%s: %s leads nowhere", args[0], args[1])
		}
	}
	got, isText := v.(string)
	if !isText {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		ts.Check(enc.Encode(v))
		got = strings.TrimSpace(b.String())
	}
	if want := args[2]; got != want && got != sorted(want) {
		ts.Fatalf("%s: %s is %s, wanted %s", args[0], args[1], got, args[2])
	}
}

// sorted is a JSON document with the keys of its objects in order; the text itself if it is none.
func sorted(text string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return text
	}
	out, err := json.Marshal(v)
	if err != nil {
		return text
	}
	return string(out)
}

func renewServer(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) < 2, "server [FAULTS]")
	ts.Check(worldOf(ts).renew(strings.Join(args, "")))
}

func request(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) >= 3, "request STATUS METHOD PATH [FILE [HEADER…]]")
	body := ""
	if len(args) > 3 {
		body = ts.ReadFile(args[3])
	}
	r, err := http.NewRequest(args[1], ts.Getenv("SANDBOX")+"/"+args[2], strings.NewReader(body))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/fhir+json")
	for _, h := range args[min(len(args), 4):] {
		key, value, _ := strings.Cut(h, ": ")
		r.Header.Set(key, value)
	}
	response, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer response.Body.Close()
	ts.Check(response.Header.Write(ts.Stdout()))
	_, err = io.Copy(ts.Stdout(), response.Body)
	ts.Check(err)
	if response.StatusCode != number(ts, args[0]) {
		ts.Fatalf("%s %s: status %d, wanted %s", args[1], args[2], response.StatusCode, args[0])
	}
}

func checkWrites(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "writes N")
	if got := worldOf(ts).server().Writes(); got != int64(number(ts, args[0])) {
		ts.Fatalf("%d versions of resources were made, wanted %s", got, args[0])
	}
}

func damageTarget(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) > 1, "damage set TYPE PATH VALUE, delete TYPE or copy TYPE ID")
	p := plantedTarget{Do: args[0], Type: args[1]}
	switch {
	case p.Do == "set" && len(args) == 4:
		p.Path, p.Value = args[2], jsonScalar(args[3])
	case p.Do == "copy" && len(args) == 3:
		p.ID = args[2]
	case p.Do == "delete" && len(args) == 2:
	default:
		ts.Fatalf("damage: what is %q?", strings.Join(args, " "))
	}
	ts.Check(p.plant(context.Background(), &targetEditor{base: ts.Getenv("SANDBOX")}))
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "hold N")
	w := worldOf(ts)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = &gate{left: number(ts, args[0]), held: make(chan struct{})}
}

func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 0, "interrupt")
	w := worldOf(ts)
	started := ts.BackgroundCmds()
	if len(started) == 0 || w.gate == nil {
		ts.Fatalf("nothing runs in the background, or nothing is held")
	}
	select {
	case <-w.gate.held:
	case <-time.After(time.Minute):
		ts.Fatalf("the request that was to be held never came")
	}
	w.last = started[len(started)-1]
	ts.Check(w.last.Process.Signal(os.Interrupt))
}

func exited(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, len(args) == 1, "exited N")
	w := worldOf(ts)
	if w.last == nil || w.last.ProcessState == nil {
		ts.Fatalf("no interrupted command was waited for")
	}
	if got := w.last.ProcessState.ExitCode(); got != number(ts, args[0]) {
		ts.Fatalf("exit %d, wanted %s", got, args[0])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = nil
}
