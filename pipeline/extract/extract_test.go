package extract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestRecordPrintsRedacted(t *testing.T) {
	r := Record{Table: &Table{Name: "patients"}, Cells: []string{"Zzyzx"}, Line: 3}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, got := range []string{fmt.Sprintf(verb, r), fmt.Sprintf(verb, &r), fmt.Sprintf(verb, []Record{r})} {
			if strings.Contains(got, "Zzyzx") || strings.Contains(got, fmt.Sprintf("%x", "Zzyzx")) {
				t.Errorf("%s shows the cell: %s", verb, got)
			}
		}
	}
	text, err := json.Marshal(map[string]any{"record": &r})
	if err != nil || string(text) != `{"record":"[redacted]"}` {
		t.Errorf("as JSON: %s, %v", text, err)
	}
	core, logs := observer.New(zap.DebugLevel)
	zap.New(core).Info("x", zap.Any("record", r), zap.Any("pointer", &r))
	if got := fmt.Sprint(logs.All()[0].ContextMap()); strings.Contains(got, "Zzyzx") {
		t.Errorf("zap shows the cell: %s", got)
	}
	if got := r.Place().String(); got != "patients:3" {
		t.Errorf("its place is %s", got)
	}
}

func TestFaultSaysPlaceColumnAndRule(t *testing.T) {
	var err error = &Fault{Place: Place{Table: "visits", Line: 7}, Column: "NOTE", Rule: RuleNULByte}
	if got := err.Error(); got != "visits:7: malformed record: nul-byte in column NOTE" {
		t.Error(got)
	}
	var fault *Fault
	if !errors.As(fmt.Errorf("read: %w", err), &fault) || fault.Line != 7 {
		t.Error("a wrapped fault is not found")
	}
}
