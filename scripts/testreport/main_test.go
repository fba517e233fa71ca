package main

import (
	"strings"
	"testing"
)

const (
	ours  = `"Package":"github.com/chartlift/chartlift/pipeline/x"`
	begin = `{"Action":"start",` + ours + `}` + "\n"
)

func TestReport(t *testing.T) {
	for _, test := range []struct {
		name, in   string
		ok         bool
		has, lacks []string
	}{
		{"passes", begin + `{"Action":"output",` + ours + `,"Test":"TestA","Output":"=== RUN TestA\n"}
{"Action":"pass",` + ours + `,"Test":"TestA"}
{"Action":"output",` + ours + `,"Output":"PASS\n"}
{"Action":"output",` + ours + `,"Output":"ok  \tpipeline/x\t1.2s\n"}
{"Action":"pass",` + ours + `}
`, true, []string{"ok  \tpipeline/x\t1.2s\n"}, []string{"TestA", "PASS", "skipped", "sampled"}},
		{"skips and samples", begin + `{"Action":"output",` + ours + `,"Test":"TestA","Output":"    a_test.go:12: no data here\n"}
{"Action":"output",` + ours + `,"Test":"TestA","Output":"--- SKIP: TestA (0.00s)\n"}
{"Action":"skip",` + ours + `,"Test":"TestA"}
{"Action":"output",` + ours + `,"Test":"TestB/c","Output":"    sweep.go:1: a sample, 3 of 9 cases: X=1 tries all\n"}
{"Action":"output",` + ours + `,"Test":"TestB/d","Output":"    sweep.go:1: a sample, 3 of 20 cases: X=1 tries all\n"}
{"Action":"pass",` + ours + `,"Test":"TestB/c"}
{"Action":"pass",` + ours + `}
`, true, []string{"skipped: 1\n  no data here:\n    pipeline/x TestA\n", "sampled: 1\n  pipeline/x TestB: 6 of 29 cases: X=1 tries all\n"}, []string{"---"}},
		{"fails", begin + `{"Action":"output",` + ours + `,"Test":"TestA","Output":"    a_test.go:12: wrong\n"}
{"Action":"fail",` + ours + `,"Test":"TestA"}
{"Action":"output",` + ours + `,"Output":"FAIL\tpipeline/x\t1.2s\n"}
{"Action":"fail",` + ours + `}
`, false, []string{"a_test.go:12: wrong\n", "FAIL\tpipeline/x\t1.2s\n"}, nil},
		{"a panic", begin + `{"Action":"output",` + ours + `,"Test":"TestA","Output":"panic: x\n"}
{"Action":"fail",` + ours + `}
`, false, []string{"panic: x\n"}, nil},
		{"does not build", `{"ImportPath":"x","Action":"build-output","Output":"x.go:1: undefined\n"}
{"ImportPath":"x","Action":"build-fail"}
` + begin + `{"Action":"fail",` + ours + `}
`, false, []string{"x.go:1: undefined\n"}, nil},
		{"breaks off", begin, false, []string{"1 did not"}, nil},
		{"nothing", "", false, []string{"0 packages ended"}, nil},
		{"not JSON", "go: no such flag\n", false, []string{"go: no such flag\n"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := report(strings.NewReader(test.in), &out)
			if err != nil || ok != test.ok {
				t.Errorf("ok: %t, %v", ok, err)
			}
			for _, want := range test.has {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			for _, not := range test.lacks {
				if strings.Contains(out.String(), not) {
					t.Errorf("%q in\n%s", not, out.String())
				}
			}
		})
	}
}
