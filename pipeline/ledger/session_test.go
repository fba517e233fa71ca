package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func (at place) worker(t testing.TB) *Ledger {
	t.Helper()
	o := at.options()
	o.Worker = true
	return at.openAs(t, o)
}

// expire ends the lease of a ledger's session, as time would.
func (at place) expire(t testing.TB, l *Ledger) {
	t.Helper()
	at.statements(t, "UPDATE sessions SET expires = 1 WHERE owner = '"+l.owner+"'")
}

// Who loses his lease to another operator can write nothing more, and is told so.
func TestOperatorIsFencedOnceAnotherTookOver(t *testing.T) {
	at := onServer(t)
	first := at.open(t)
	run := begin(t, first)
	must(t, first.AddTasks(t.Context(), run.ID, []Task{{Kind: Extract, Subject: "a"}}))
	task, _, err := first.Claim(t.Context(), run.ID, TaskFilter{})
	must(t, err)

	at.expire(t, first)
	must(t, first.Append(t.Context(), "note", "nobody has taken over, so it goes on"))
	must(t, first.renew(t.Context(), time.Hour))
	if l, err := Open(t.Context(), at.source, at.options()); !errors.Is(err, ErrLocked) {
		t.Fatalf("a renewed lease was taken: %v, %v", l, err)
	}

	at.expire(t, first)
	second := at.open(t)
	must(t, first.renew(t.Context(), time.Hour)) // too late
	for name, err := range map[string]error{
		"finish": first.Finish(t.Context(), task, Report{}), "record": first.Record(t.Context(), run.ID, Report{}),
		"append": first.Append(t.Context(), "late", ""), "state": first.SetState(t.Context(), run.ID, Finished, 0, ""),
	} {
		if !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v, want ErrFenced", name, err)
		}
	}
	if _, err := second.Resume(t.Context(), run.ID, run.Pins); err != nil {
		t.Fatal(err)
	}
	again, ok, err := second.Claim(t.Context(), run.ID, TaskFilter{})
	if err != nil || !ok || again.ID != task.ID || again.Fence != task.Fence+1 {
		t.Fatalf("claimed %+v, %v, %v", again, ok, err)
	}
	must(t, second.Finish(t.Context(), again, Report{}))
	must(t, first.Close()) // does not end the session of the second
	must(t, second.Append(t.Context(), "note", "still ours"))
	for r, err := range second.Audit(t.Context()) {
		if must(t, err); r.Action == "late" {
			t.Error("the fenced operator wrote")
		}
	}
}

// The lease is renewed by itself while the ledger is open.
func TestLeaseIsRenewed(t *testing.T) {
	at := onServer(t)
	o := at.options()
	o.Lease = 300 * time.Millisecond
	l := at.openAs(t, o)
	expires := func() (n int64) {
		must(t, l.reader.row(t.Context(), "SELECT expires FROM sessions WHERE owner = ?", l.owner).Scan(&n))
		return n
	}
	for first := expires(); expires() <= first; {
		if err := t.Context().Err(); err != nil {
			t.Fatal(err)
		}
	}
	must(t, l.Close())
	at.open(t) // nobody waits for a lease that was given back
}

// A worker that dies in the middle keeps its tasks as long as its lease lasts; then another finishes them, and what the
// dead one says late is refused.
func TestTasksOfTheDeadAreTakenOver(t *testing.T) {
	at := onServer(t)
	l := at.open(t)
	run := begin(t, l)
	must(t, l.AddTasks(t.Context(), run.ID, []Task{{Kind: Load, Subject: "a"}, {Kind: Load, Subject: "b"}, {Kind: Load, Subject: "c"}}))
	slow, quick := at.worker(t), at.worker(t)
	held, err := slow.ClaimSome(t.Context(), run.ID, TaskFilter{Kind: Load}, 2)
	if err != nil || len(held) != 2 || held[0].Subject != "a" || held[1].Subject != "b" {
		t.Fatal(held, err)
	}
	take := func(want string) Task {
		t.Helper()
		task, ok, err := quick.Claim(t.Context(), run.ID, TaskFilter{Kind: Load})
		if err != nil || ok != (want != "") || task.Subject != want {
			t.Fatalf("claimed %+v, %v, %v; want %q", task, ok, err, want)
		}
		return task
	}
	must(t, quick.Finish(t.Context(), take("c"), Report{}))
	take("") // the others are being worked on
	if _, err := l.Resume(t.Context(), run.ID, run.Pins); err != nil {
		t.Fatal(err)
	}
	take("") // and a resume takes nothing from who lives
	if _, err := quick.ClaimTask(t.Context(), held[0].ID); !errors.Is(err, ErrFenced) {
		t.Errorf("a held task was claimed by name: %v", err)
	}
	must(t, slow.Finish(t.Context(), held[0], Report{}))
	at.expire(t, slow)
	task := take("b")
	if err := slow.Finish(t.Context(), held[1], Report{Refusals: make3Refusals()}); !errors.Is(err, ErrFenced) {
		t.Errorf("the late one finished: %v", err)
	}
	must(t, quick.Finish(t.Context(), task, Report{}))
	s, err := l.Summary(t.Context(), run.ID)
	must(t, err)
	if progress, err := l.Progress(t.Context(), run.ID); err != nil || len(progress) != 1 || progress[0].Done != 3 || s.Refusals != 0 {
		t.Errorf("%+v, %v, %d refusals", progress, err, s.Refusals)
	}
}

func TestWorkersNeedAServerAndALedger(t *testing.T) {
	o := place{}.options()
	o.Worker = true
	if l, err := Open(t.Context(), inFile(t).source, o); err == nil || l != nil {
		t.Errorf("a second process was let at a file: %v", err)
	}
	if l, err := Open(t.Context(), onServer(t).source, o); !errors.Is(err, fs.ErrNotExist) || l != nil {
		t.Errorf("a worker made a ledger: %v, %v", l, err)
	}
}

// workEnv makes the test binary a worker on the ledger at its value; claimEnv says how many tasks it claims before it
// waits to be killed, 0: it works until none is left.
const (
	workEnv  = "CHARTLIFT_TEST_WORK_ON"
	claimEnv = "CHARTLIFT_TEST_CLAIM"
)

// work claims and finishes tasks, and says each on a line of its own before it finishes it.
func work(source string) int {
	ctx := context.Background()
	o := place{}.options()
	o.Worker = true
	l, err := Open(ctx, source, o)
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	var most int
	_, _ = fmt.Sscan(os.Getenv(claimEnv), &most) // absent: 0
	for done := 0; ; done++ {
		tasks, err := l.ClaimSome(ctx, "run-1", TaskFilter{Kind: Load}, 50)
		if err != nil {
			fmt.Println("error:", err)
			return 1
		}
		for _, task := range tasks {
			fmt.Println(task.ID, task.Fence)
		}
		if most > 0 && done*50 >= most {
			fmt.Println("holding")
			_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
			return 1
		}
		if len(tasks) == 0 {
			return 0
		}
		for _, task := range tasks {
			if err := l.Finish(ctx, task, Report{}); err != nil {
				fmt.Println("error:", err)
				return 1
			}
		}
	}
}

// Eight processes share ten thousand tasks on one server: none is claimed twice while its claimant lives. One is killed
// with tasks in hand, and once its lease has ended they are claimed by others, and all is done.
func TestEightProcessesShareTheTasks(t *testing.T) {
	at := onServer(t)
	l := at.open(t)
	run := begin(t, l)
	n := 10_000
	if testing.Short() {
		n = 1_000
	}
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i] = Task{Kind: Load, Subject: fmt.Sprint("batch ", i)}
	}
	must(t, l.AddTasks(t.Context(), run.ID, tasks))
	type said struct {
		id, fence int64
	}
	lines := make(chan string)
	start := func(env ...string) (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), append(env, workEnv+"="+at.source)...)
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		must(t, err)
		t.Cleanup(func() { _ = stdin.Close() })
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		return cmd, bufio.NewScanner(stdout)
	}
	all := func(workers int, seen map[said]bool) {
		t.Helper()
		ended := make(chan error)
		for range workers {
			cmd, out := start()
			go func() {
				for out.Scan() {
					lines <- out.Text()
				}
				ended <- cmd.Wait()
			}()
		}
		for left := workers; left > 0; {
			select {
			case line := <-lines:
				var s said
				if _, err := fmt.Sscan(line, &s.id, &s.fence); err != nil || seen[s] {
					t.Errorf("a worker said %q", line)
				}
				seen[s] = true
			case err := <-ended:
				if left--; err != nil {
					t.Error(err)
				}
			}
		}
	}
	seen := map[said]bool{}
	victim, out := start(claimEnv + "=100")
	held := map[int64]bool{}
	for out.Scan() && out.Text() != "holding" {
		var s said
		if _, err := fmt.Sscan(out.Text(), &s.id, &s.fence); err != nil {
			t.Fatal(out.Text())
		}
		seen[s], held[s.id] = true, true
	}
	must(t, victim.Process.Kill())
	_ = victim.Wait() // it was killed
	all(7, seen)
	done, err := l.Tasks(t.Context(), run.ID, TaskFilter{State: TaskDone})
	must(t, err)
	left, err := l.Tasks(t.Context(), run.ID, TaskFilter{State: TaskRunning})
	must(t, err)
	if len(left) == 0 || len(done)+len(left) != n || len(seen) != n {
		t.Fatalf("%d tasks done, %d in the hands of the dead, %d claims, of %d", len(done), len(left), len(seen), n)
	}
	for _, task := range left {
		if !held[task.ID] {
			t.Errorf("task %d is held, and not by the dead one", task.ID)
		}
	}
	at.statements(t, "UPDATE sessions SET expires = 1 WHERE owner = '"+left[0].Owner+"'")
	all(1, seen)
	if done, err := l.Tasks(t.Context(), run.ID, TaskFilter{State: TaskDone}); err != nil || len(done) != n || len(seen) != n+len(left) {
		t.Errorf("%d tasks done, %d claims, %v", len(done), len(seen), err)
	}
	if err := l.Finish(t.Context(), left[0], Report{}); !errors.Is(err, ErrFenced) {
		t.Errorf("the dead one finished late: %v", err)
	}
}

// A hundred summaries while a run writes: none waits for the writer, and in each every sum holds.
func TestSummariesWhileARunWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, at place) {
		l := at.open(t)
		run := begin(t, l)
		const types = 3
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			for i := 0; ctx.Err() == nil; i++ {
				typ := fmt.Sprint("Type", i%types)
				id := fmt.Sprint("b", i)
				if err := l.Record(ctx, run.ID, Report{
					Batches: []Batch{batch(id, typ, 5)}, Resources: []ResourceCount{{Type: typ, Made: 6, Merged: 1}},
					Tables:   []RecordCount{{Table: "t", Read: 7, Mapped: 6, Refused: map[string]int64{"bad-date": 1}}},
					Mappings: []RecordCount{{Mapping: "m", Table: "t", Read: 7, Mapped: 6, Refused: map[string]int64{"bad-date": 1}}},
					Refusals: []Refusal{{Table: "t", Line: int64(i), Rule: "bad-date"}},
					Formulas: []Formula{{Mapping: "m", Path: "code", Reads: 3, Writes: 2, Empties: 1}},
				}); err != nil && ctx.Err() == nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
		v := at.view(t)
		for range 100 {
			snapshot, err := v.Snapshot(t.Context())
			must(t, err)
			s, err := snapshot.Summary(t.Context(), run.ID)
			must(t, err)
			if faults := Balance(s); faults != nil || s.Refusals != s.Tables["t"].RefusedSum() || s.Batches*5 != sumOf(s) {
				t.Fatalf("%q, %d refusals of %d, %d batches of %d resources", faults, s.Refusals, s.Tables["t"].RefusedSum(), s.Batches, sumOf(s))
			}
			var listed int64 // of the same moment as the sums
			for _, err := range snapshot.Refusals(t.Context(), run.ID) {
				must(t, err)
				listed++
			}
			if listed != s.Refusals {
				t.Fatalf("%d refusals listed, %d counted", listed, s.Refusals)
			}
			must(t, snapshot.Close())
		}
		stop()
		must(t, <-ended)
	})
}

func sumOf(s *Summary) (pending int64) {
	for _, r := range s.Resources {
		pending += r.Pending
	}
	return pending
}

// No error tells where the server is, who asks it, or the password.
func TestAddressIsASecret(t *testing.T) {
	const address = "127.0.0.1:1"
	for name, source := range map[string]string{
		"nobody listens":   "postgres://ZZUSER:ZZSECRET@" + address + "/ZZBASE?sslmode=disable",
		"not an address":   "postgres://ZZUSER:ZZSECRET@[ZZHOST/ZZBASE",
		"odd port":         "postgres://ZZUSER:ZZSECRET@ZZHOST:port/ZZBASE",
		"several schemas":  "postgres://ZZUSER:ZZSECRET@" + address + "/ZZBASE?search_path=ZZA,ZZB",
		"wrong scheme":     "mysql://ZZUSER:ZZSECRET@ZZHOST/ZZBASE",
		"unknown settings": "postgres://ZZUSER:ZZSECRET@" + address + "/ZZBASE?sslmode=ZZMODE",
	} {
		for _, open := range []func() error{
			func() error { _, err := Open(t.Context(), source, place{}.options()); return err },
			func() error { _, err := View(t.Context(), source, "riverside"); return err },
		} {
			if err := open(); err == nil || strings.Contains(err.Error(), "ZZ") || strings.Contains(err.Error(), address) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestServerSaysNoWithoutSecrets(t *testing.T) {
	at := onServer(t)
	e, err := openPostgres(at.source)
	must(t, err)
	config := e.(*postgresEngine).config
	for name, change := range map[string][2]string{"password": {config.Password, "ZZSECRET"}, "database": {"/" + config.Database, "/ZZBASE"}} {
		_, err := Open(t.Context(), strings.Replace(at.source, change[0], change[1], 1), at.options())
		var answer *SQLError
		if !errors.As(err, &answer) || strings.Contains(err.Error(), "ZZ") || strings.Contains(err.Error(), config.User) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
