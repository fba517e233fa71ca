package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// TestServerIDsOfSynthea takes a real export into servers that give ids of their own, under each delivery: all of it
// arrives, no reference leads nowhere, nothing is there twice, a second run writes nothing and a delta just what changed.
// All patients are taken in a sweep, some of them else.
func TestServerIDsOfSynthea(t *testing.T) {
	archive := sharedtest.Path(t, "data", "synthea-ca-2022", "csv.tar.gz")
	for delivery, phi := range map[string]string{
		"identified": "{policy: limited-data-set, delivery: identified}",
		"sealed":     "{policy: limited-data-set, delivery: sealed}",
		"split":      "{policy: safe-harbor-elements, delivery: split, as-of: 2022-06-30}",
	} {
		t.Run(delivery, func(t *testing.T) {
			h := newHospitalWith(t, sandbox.Options{ServerIDs: true})
			var identity *hospital
			text := fmt.Sprintf(`migration: server-ids
sources:
  ehr: {csv: export/csv/*.csv}
mappings: [synthea]
phi: %s
targets:
  clinical: {sandbox: %q}
`, phi, h.server.URL+"/fhir")
			if delivery == "split" {
				identity = newHospitalWith(t, sandbox.Options{ServerIDs: true})
				text += fmt.Sprintf("  identity: {sandbox: %q}\n", identity.server.URL+"/fhir")
			}
			h.plan(text)
			unpack(t, archive, filepath.Join(h.dir, "export"))
			if csv := filepath.Join(h.dir, "export", "csv"); testing.Short() {
				openExport(t, csv).keep(3)
			} else if !sharedtest.Sweeps() {
				openExport(t, csv).keep(8)
			}
			h.mustRun(exitDone, exitDone, "keys", "init")
			h.liveWithServerIDs(identity)
		})
	}
}

// keep leaves the rows of so many patients, and what belongs to none.
func (e *export) keep(n int) {
	e.t.Helper()
	kept := map[string]bool{}
	for line := 2; line < len(e.tables["patients"]) && len(kept) < n; line += 7 {
		kept[*e.cell("patients", line, "Id")] = true
	}
	without := map[string]map[int]bool{}
	for table, rows := range e.tables {
		column := slices.IndexFunc(rows[0], func(c string) bool { return c == "PATIENT" || c == "PATIENTID" || table == "patients" && c == "Id" })
		if column < 0 {
			continue
		}
		without[table] = map[int]bool{}
		for i, row := range rows[1:] {
			without[table][i+2] = !kept[row[column]]
		}
	}
	e.write(without)
}

func (h *hospital) liveWithServerIDs(identity *hospital) {
	h.t.Helper()
	writes := func() int64 {
		n := h.sandbox.Writes()
		if identity != nil {
			n += identity.sandbox.Writes()
		}
		return n
	}
	first := h.again("run")
	made := map[string]int64{}
	var all int64
	for typ, w := range first.got() {
		if w.Loaded != w.Made || w.Matched != w.Made || w.Made == 0 {
			h.t.Errorf("%s: %+v", typ, w)
		}
		made[typ] = w.Made
		all += w.Made
	}
	types := slices.Sorted(maps.Keys(made))
	content, _ := h.content(types) // which looks for what is there twice, and for references that lead nowhere
	if int64(len(content)) != all {
		h.t.Errorf("%d resources are there of %d", len(content), all)
	}
	if identity != nil {
		whole, _ := identity.content(types)
		if len(whole) == 0 {
			h.t.Error("nothing is in the identity store")
		}
		h.t.Logf("%d of them have a whole in the identity store", len(whole))
	}

	before := writes()
	second := h.again("run")
	if n := writes() - before; n != 0 {
		h.t.Errorf("the second run wrote %d versions", n)
	}
	for typ, w := range second.got() {
		if w.Unchanged != made[typ] || w.Matched != made[typ] {
			h.t.Errorf("the second run, %s: %+v of %d", typ, w, made[typ])
		}
	}

	random := rand.New(rand.NewPCG(2022, 3))
	e := openExport(h.t, filepath.Join(h.dir, "export", "csv"))
	d := drawDelta(e, h.places(), random, 0.01)
	before = writes()
	third := h.again("run")
	want := d.want(made)
	if diff := cmp.Diff(want, third.got()); diff != "" {
		h.t.Errorf("the delta (-want +got):\n%s", diff)
	}
	var loaded int64
	for _, w := range third.got() {
		loaded += w.Loaded
	}
	if n := writes() - before; identity == nil && n != loaded || n < loaded || n > 2*loaded {
		h.t.Errorf("the delta wrote %d versions, %d were loaded", n, loaded)
	}
	h.t.Logf("%d resources, %d changed, %d removed, %d refused; %d versions written", all, len(d.changed), len(d.removed), len(d.refused), writes()-before)
	h.checkVanished(d)
	again, _ := h.content(types)
	if len(again) != len(content) {
		h.t.Errorf("%d resources are there after the delta, %d before", len(again), len(content))
	}
	for name, text := range again {
		if content[name] == text {
			continue
		}
		if !d.changed[name] {
			h.t.Errorf("%s is another, and nothing of it has changed", name)
		}
	}

	before = writes()
	h.again("run")
	if n := writes() - before; n != 0 {
		h.t.Errorf("the last run wrote %d versions", n)
	}
}
