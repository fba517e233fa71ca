package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"html"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/ledger"
)

var update = flag.Bool("update", false, "rewrite golden files")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	if faults := ledger.Balance(sample().Summary); faults != nil {
		t.Fatalf("the sample does not balance: %q", faults)
	}
	dir := t.TempDir()
	must(t, Write(dir, []string{"html", "json", "html"}, sample()))
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 2 {
		t.Errorf("left in the folder: %v", entries)
	}
	for _, name := range []string{"report.html", "report.json"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		golden(t, name, text)
	}
	var text bytes.Buffer
	must(t, Text(&text, sample()))
	golden(t, "report.txt", text.Bytes())
	for name, d := range map[string]Data{"clean": clean(ledger.Real), "rehearsal": clean(ledger.Dry), "delta": delta()} {
		var page, text bytes.Buffer
		must(t, HTML(&page, d))
		golden(t, name+".html", page.Bytes())
		must(t, Text(&text, d))
		golden(t, name+".txt", text.Bytes())
	}
}

// The same content gives the same bytes.
func TestSameBytes(t *testing.T) {
	for name, write := range map[string]func(*bytes.Buffer) error{
		"json": func(b *bytes.Buffer) error { return JSON(b, sample()) },
		"html": func(b *bytes.Buffer) error { return HTML(b, sample()) },
		"text": func(b *bytes.Buffer) error { return Text(b, sample()) },
	} {
		var first bytes.Buffer
		must(t, write(&first))
		for range 5 {
			var again bytes.Buffer
			must(t, write(&again))
			if !bytes.Equal(first.Bytes(), again.Bytes()) {
				t.Errorf("%s differs from one writing to the next", name)
			}
		}
	}
}

// report.json has the keys of the summary, unchanged, and the lists; every list is there, also in an empty report.
func TestJSONKeys(t *testing.T) {
	for name, d := range map[string]Data{"full": sample(), "clean": clean(ledger.Real), "nothing": {Summary: &ledger.Summary{}}} {
		var out bytes.Buffer
		must(t, JSON(&out, d))
		var got map[string]json.RawMessage
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		summary, err := json.Marshal(d.Summary)
		must(t, err)
		var want map[string]json.RawMessage
		must(t, json.Unmarshal(summary, &want))
		for key := range want {
			var compact bytes.Buffer
			must(t, json.Compact(&compact, got[key]))
			if compact.String() != string(want[key]) {
				t.Errorf("%s: %s differs from the summary's", name, key)
			}
		}
		for _, key := range []string{"refusals", "findings", "discrepancyList", "mappings", "formulas", "unmapped", "unbalanced", "notChecked", "facts"} {
			var list []map[string]any
			if !strings.HasPrefix(string(got[key]), "[") {
				t.Errorf("%s: %s is %s", name, key, got[key])
			}
			if key == "refusals" || key == "findings" {
				must(t, json.Unmarshal(got[key], &list))
				for _, entry := range list {
					for _, field := range []string{"table", "line", "column", "rule"} {
						if _, ok := entry[field]; !ok {
							t.Errorf("%s: an entry of %s has no %s", name, key, field)
						}
					}
				}
			}
		}
	}
}

// Names come from mapping files, headers and file names: whatever they hold is inert in every form.
func TestHostileNames(t *testing.T) {
	const script, ansi = "<script>alert(1)</script>", "\x1b[2J\u202eevil\r\nGO: all is well"
	d := sample()
	s := d.Summary
	bad := script + `"'>` + ansi + "javascript:alert(1)=cmd"
	d.Migration, d.Generated, s.Target, s.Wave, s.Reason, s.Run = bad, bad, bad, bad, bad, bad
	s.Tables[bad] = ledger.TableRow{Read: 2, Skipped: map[string]int64{bad: 1}, Refused: map[string]int64{bad: 1}}
	s.Resources[bad] = ledger.ResourceRow{Made: 1, Loaded: 1}
	s.Verified[bad] = ledger.VerifiedRow{Matched: 1}
	s.Gates = append(s.Gates, ledger.Gate{Name: bad, Limit: bad, Value: bad})
	s.Formulas = append(s.Formulas, ledger.Formula{Mapping: bad, Path: bad, Place: bad, Reads: 1, Empties: 1})
	s.Unmapped = append(s.Unmapped, ledger.Unmapped{Map: bad, Code: bad, Value: bad, Count: 1})
	s.Normalised[bad] = 1
	d.Facts, d.NotChecked = []Fact{{bad, bad}}, []string{bad}
	d.Refusals = List([]ledger.Refusal{{Table: bad, Line: 1, Column: bad, Rule: bad, Mapping: bad}})
	d.Findings = List([]ledger.Finding{{Table: bad, Column: bad, Rule: bad, Mapping: bad, Severity: ledger.FindingNeedsEye}, {Rule: bad, Severity: ledger.NoticeSeverity}})
	d.Discrepancies = List([]ledger.Discrepancy{{Kind: ledger.Kind(bad), Domain: 99, Type: bad, ID: bad, Path: bad, Table: bad, Code: bad}})
	var page, text, doc bytes.Buffer
	must(t, HTML(&page, d))
	if strings.Contains(page.String(), "<script") || strings.Contains(page.String(), "\"'>\x1b") {
		t.Error("the page holds a live script")
	}
	if n := strings.Count(page.String(), "&lt;script&gt;"); n < 25 {
		t.Errorf("only %d of the planted names are in the page", n)
	}
	must(t, Text(&text, d))
	if strings.ContainsAny(text.String(), "\x1b\r\u202e") || strings.Contains(text.String(), "\nGO: all is well") {
		t.Errorf("the text can steer a terminal:\n%q", text.String())
	}
	must(t, JSON(&doc, d))
	if strings.ContainsAny(doc.String(), "<>\x1b") || !json.Valid(doc.Bytes()) {
		t.Error("the JSON holds live markup, or is none")
	}
}

// The page needs nothing else: no script, no address that a browser would fetch, and a policy that forbids both.
func TestPageIsAlone(t *testing.T) {
	for _, d := range []Data{sample(), clean(ledger.Real), clean(ledger.Dry), {Summary: &ledger.Summary{}}} {
		var out bytes.Buffer
		must(t, HTML(&out, d))
		page := out.String()
		for _, foreign := range []string{"<script", "<link", "<img", "<iframe", "src=", "@import", "url(", " on", "style=\"", "ZgotmplZ"} {
			at := strings.Index(page, foreign)
			if foreign == " on" { // an event handler looks like ` onclick=`
				at = -1
				for _, handler := range []string{" onclick=", " onload=", " onerror="} {
					at = max(at, strings.Index(page, handler))
				}
			}
			if at >= 0 {
				t.Errorf("the page holds %q", foreign)
			}
		}
		for rest := page; ; {
			_, after, ok := strings.Cut(rest, "href=\"")
			if !ok {
				break
			}
			if !strings.HasPrefix(after, "#") {
				t.Errorf("a link leads away: %.40s", after)
			}
			anchor, _, _ := strings.Cut(after[1:], "\"")
			if !strings.Contains(page, `id="`+anchor+`"`) {
				t.Errorf("a link leads nowhere: #%s", anchor)
			}
			rest = after
		}
		for _, wanted := range []string{"default-src &#39;none&#39;", `<html lang="en">`, "<h1>", "<caption>", "width=device-width"} {
			if wanted == "<caption>" && len(d.Summary.Tables) == 0 {
				continue
			}
			if !strings.Contains(page, wanted) {
				t.Errorf("the page lacks %s", wanted)
			}
		}
	}
}

// The policy lets through the style sheet that is in the page, byte for byte.
func TestStylePassesItsPolicy(t *testing.T) {
	var out bytes.Buffer
	must(t, HTML(&out, sample()))
	_, after, _ := strings.Cut(out.String(), "<style>")
	text, _, _ := strings.Cut(after, "</style>")
	digest := sha256.Sum256([]byte(text))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
	if !strings.Contains(html.UnescapeString(out.String()), want) {
		t.Errorf("the page's policy does not allow its own style, want %s", want)
	}
}

// A list that breaks off leaves no report, and the one before stays as it was.
func TestNoHalfReport(t *testing.T) {
	dir := t.TempDir()
	must(t, Write(dir, Formats(), sample()))
	before := map[string][]byte{}
	for _, name := range []string{"report.json", "report.html"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		before[name] = text
	}
	broken := errors.New("the ledger broke")
	for _, format := range Formats() {
		for list, d := range map[string]Data{
			"refusals":      {Summary: sample().Summary, Refusals: breakOff(ledger.Refusal{Rule: "r"}, broken)},
			"findings":      {Summary: sample().Summary, Findings: breakOff(ledger.Finding{Rule: "r"}, broken)},
			"discrepancies": {Summary: sample().Summary, Discrepancies: breakOff(ledger.Discrepancy{Kind: ledger.Missing, Domain: 1}, broken)},
		} {
			if err := Write(dir, []string{format}, d); !errors.Is(err, broken) {
				t.Errorf("%s, %s: got %v", format, list, err)
			}
		}
	}
	for name, want := range before {
		got, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s was touched", name)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
	if err := Write(dir, []string{"json", "docx"}, sample()); err == nil || !strings.Contains(err.Error(), "docx") {
		t.Errorf("an unknown format: %v", err)
	}
	if err := Write(dir, []string{"json"}, Data{}); err == nil {
		t.Error("a report of nothing was written")
	}
	if err := Write(filepath.Join(dir, "report.json"), []string{"json"}, sample()); err == nil {
		t.Error("a file was taken for a folder")
	}
}

func breakOff[T any](first T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if yield(first, nil) {
			yield(zero, err)
		}
	}
}

// A report over a ledger: what was recorded is what is reported.
func TestLoad(t *testing.T) {
	ctx := t.Context()
	l, err := ledger.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), ledger.Options{Migration: "riverside", Operator: "jo"})
	must(t, err)
	defer l.Close()
	run, err := l.BeginRun(ctx, ledger.RunSpec{Kind: ledger.Dry})
	must(t, err)
	must(t, l.Record(ctx, run.ID, ledger.Report{
		Tables:        []ledger.RecordCount{{Table: "patients", Read: 2, Mapped: 1, Refused: map[string]int64{"bad-date": 1}}},
		Refusals:      []ledger.Refusal{{Table: "patients", Line: 3, Column: "BIRTHDATE", Rule: "bad-date", Mapping: "patient"}},
		Findings:      []ledger.Finding{{Table: "patients", Column: "FAX", Rule: "unused-column", Severity: ledger.FindingNeedsEye}},
		Discrepancies: []ledger.Discrepancy{{Kind: ledger.Refused, Type: "Patient", Table: "patients", Line: 3, Code: "bad-date"}},
	}))
	must(t, l.SetState(ctx, run.ID, ledger.Finished, 0, ""))
	d, err := Load(ctx, l, run.ID)
	must(t, err)
	for range 2 { // lists can be read again
		var page bytes.Buffer
		must(t, HTML(&page, d))
		for _, wanted := range []string{"BIRTHDATE", "unused-column", "<code>patients:3</code>"} {
			if !strings.Contains(page.String(), wanted) {
				t.Errorf("the page lacks %s", wanted)
			}
		}
	}
	if _, err := Load(ctx, l, "run-9"); !errors.Is(err, ledger.ErrNoRun) {
		t.Errorf("got %v", err)
	}
}

// A million refusals make a page of bounded size; report.json has them all.
func TestManyRefusals(t *testing.T) {
	const n = 1_000_000
	d := clean(ledger.Real)
	d.Refusals = func(yield func(ledger.Refusal, error) bool) {
		for i := range int64(n) {
			if !yield(ledger.Refusal{Table: "observations", Line: 2 * i, Column: "VALUE", Rule: "bad-number"}, nil) {
				return
			}
		}
	}
	var page bytes.Buffer
	must(t, HTML(&page, d))
	if page.Len() > 100_000 || !strings.Contains(page.String(), "1,000,000 records") || !strings.Contains(page.String(), "999,800 more") {
		t.Errorf("%d bytes", page.Len())
	}
}
