// Package crash lets a test kill this program at a chosen point: before or after each step that makes something
// durable, and on both sides of each request to a target. It is a test facility and does nothing unless the environment
// variable CHARTLIFT_CRASH names a point:
//
//	CHARTLIFT_CRASH='segment: renamed'     the process kills itself when it comes there
//	CHARTLIFT_CRASH='segment: renamed:3'   … for the third time
//
// The death is the hardest that the system offers (SIGKILL): nothing deferred runs and nothing buffered is written, as
// with kill -9 or a power cut. What is not enumerated here ([Points]) cannot be asked for; the test that kills at every
// point, and proves that each was reached, lies in cmd/chartlift.
package crash

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Variable is the environment variable that names the point.
const Variable = "CHARTLIFT_CRASH"

// Point is a place in the program, by the name that Variable gives.
type Point string

// The points of the run itself, between two durable steps of which either has points of its own.
const (
	RunOutcomes   Point = "run: outcomes known, no segment yet"
	RunSegment    Point = "run: segment written"
	RunBatch      Point = "run: batch recorded"
	RunState      Point = "run: state merged"
	RunAccount    Point = "run: account closed"
	KeysWritten   Point = "keys: records written"
	KeysSynced    Point = "keys: records synced"
	KeysCommit    Point = "keys: commit written"
	KeysDone      Point = "keys: commit synced"
	KeysMade      Point = "keys: key-encryption key made, no keyring yet"
	KeysRoot      Point = "keys: new root key in the keyring, no key under it"
	KeysRewritten Point = "keys: store written anew, not in its place"
	KeysReplaced  Point = "keys: store written anew, in its place"
	StateWritten  Point = "state: written, not switched to"
	StateSwitch   Point = "state: switched to, the old one still there"
	ExportFiles   Point = "export: files written, none in its place"
	ExportRename  Point = "export: one file in its place"
	ReportFile    Point = "report: written, not in its place"
	ReportRename  Point = "report: in its place"
)

var single = []Point{
	RunOutcomes, RunSegment, RunBatch, RunState, RunAccount, KeysWritten, KeysSynced, KeysCommit, KeysDone, KeysMade,
	KeysRoot, KeysRewritten, KeysReplaced,
	StateWritten, StateSwitch, ExportFiles, ExportRename, ReportFile, ReportRename,
}

// Step is a side of something that is done in steps.
type Step string

// The steps of a file that is made durable, of a commit, and of a request.
const (
	Made    Step = "made"    // a temporary file, empty
	Written Step = "written" // all bytes handed to the system
	Synced  Step = "synced"
	Renamed Step = "renamed" // in its place
	Durable Step = "durable" // its folder is synced too

	Before Step = "before"
	After  Step = "after"
)

var (
	fileSteps = []Step{Made, Written, Synced, Renamed, Durable}
	twoSides  = []Step{Before, After}
)

// files are the kinds of durable files of the stage, by how their names end.
var files = []struct{ kind, suffix string }{
	{"batch", ".batch"}, {"index", ".index"}, {"exclusions", ".excluded"}, {"quarantine", ".quarantine"},
}

const (
	kindSegment  = "segment"
	kindManifest = "manifest"
	kindState    = "state file"
)

// commits are the transactions of the ledger that a run makes, as the ledger names them. It has others, which are of
// the same form and begin nothing that another has not.
var commits = []string{
	"open ledger", "begin run", "resume run", "add tasks", "claim task", "finish task", "start batch", "record",
	"add time to run", "set state of run", "close verification", "reopen verification",
}

// requests are what is asked of a target, as load names it.
var requests = []string{"metadata", "read marker", "write marker", "send bundle", "read", "list", "delete", "mark"}

// Points lists every point there is.
func Points() []Point {
	points := slices.Clone(single)
	kinds := []string{kindSegment, kindManifest, kindState}
	for _, f := range files {
		kinds = append(kinds, f.kind)
	}
	for _, kind := range kinds {
		for _, step := range fileSteps {
			points = append(points, file(kind, step))
		}
	}
	for _, op := range commits {
		for _, side := range twoSides {
			points = append(points, commit(op, side))
		}
	}
	for _, op := range requests {
		for _, side := range twoSides {
			points = append(points, request(op, side))
		}
	}
	slices.Sort(points)
	return points
}

func file(kind string, step Step) Point { return Point(kind + ": " + string(step)) }
func commit(op string, side Step) Point {
	return Point("ledger: " + string(side) + " the commit of " + op)
}
func request(op string, side Step) Point { return Point("target: " + string(side) + " " + op) }

// plan is the point that was asked for, and how often it is still to be passed.
type plan struct {
	point Point
	left  atomic.Int64
}

// armed is nil, and everything below then returns at once, unless the environment asks for a crash.
var armed = parse(os.Getenv(Variable))

func parse(text string) *plan {
	if text == "" {
		return nil
	}
	p := &plan{point: Point(text)}
	p.left.Store(1)
	if at := strings.LastIndexByte(text, ':'); at >= 0 {
		if n, err := strconv.ParseInt(text[at+1:], 10, 32); err == nil && n > 0 {
			p.point = Point(text[:at])
			p.left.Store(n)
		}
	}
	return p
}

// Check says what is wrong with what the environment asks for: a misspelled point would let a test pass that tests
// nothing.
func Check() error {
	if armed != nil && !slices.Contains(Points(), armed.point) {
		return fmt.Errorf("%s: there is no point %q", Variable, armed.point)
	}
	return nil
}

// At is a point of its own.
func At(p Point) {
	if armed != nil {
		armed.pass(p)
	}
}

// File is a step of making a file durable, under the name that it has in the end.
func File(path string, step Step) {
	if armed == nil {
		return
	}
	if kind := kindOf(path); kind != "" {
		armed.pass(file(kind, step))
	}
}

// kindOf is the kind of a file of the stage; "" for others.
func kindOf(path string) string {
	name := path[strings.LastIndexAny(path, `/\`)+1:]
	for _, f := range files {
		if strings.HasSuffix(name, f.suffix) {
			return f.kind
		}
	}
	switch {
	case strings.Contains(name, ".out."):
		return kindSegment
	case name == "state":
		return kindManifest
	case strings.HasPrefix(name, "state."):
		return kindState
	}
	return ""
}

// Commit is a side of a transaction of the ledger.
func Commit(op string, side Step) {
	if armed != nil {
		armed.pass(commit(op, side))
	}
}

// Request is a side of a request to a target.
func Request(op string, side Step) {
	if armed != nil {
		armed.pass(request(op, side))
	}
}

func (p *plan) pass(at Point) {
	if p.point == at && p.left.Add(-1) == 0 {
		die()
	}
}

// die ends the process as kill -9 does. It does not return: the signal may take a moment to arrive.
func die() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}
