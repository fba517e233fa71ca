package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/phi"
	"github.com/chartlift/chartlift/pipeline/sandbox"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// TestDeliveries takes a real export the whole way under the deliveries that keep patient data out of the clinical
// target: everything arrives and is proven, a second run loads nothing, what hands do in a server is found and named,
// what target clinical holds has none of the PHI and is still good for care, and with the keys all of it comes back.
func TestDeliveries(t *testing.T) {
	if testing.Short() {
		t.Skip("tens of thousands of resources, over HTTP, twice")
	}
	sharedtest.Path(t, "data", "synthea-ca-2022")
	t.Run("sealed", func(t *testing.T) {
		t.Parallel()
		h := newDelivery(t, "{policy: limited-data-set, delivery: sealed}", nil)
		first := h.arrives()
		content, _ := h.content(slices.Sorted(maps.Keys(first.Resources)))
		h.hidden(content)
		h.readable(content, "limited-data-set")
		h.comesBack(content)
		h.loadsNothingTwice(first)
		h.tamperSealed(first)
	})
	t.Run("split", func(t *testing.T) {
		t.Parallel()
		identity := newHospital(t)
		h := newDelivery(t, "{policy: safe-harbor-elements, delivery: split, as-of: 2022-06-30}", identity.server)
		first := h.arrives()
		types := slices.Sorted(maps.Keys(first.Resources))
		content, _ := h.content(types)
		h.hidden(content)
		h.readable(content, "safe-harbor-elements")
		whole, _ := identity.content(types)
		h.wholes(content, whole)
		h.loadsNothingTwice(first)
		h.tamperSplit(first, identity)
	})
}

// newDelivery is a hospital whose plan has the phi given, and a second target if there is one.
func newDelivery(t *testing.T, phi string, identity *httptest.Server) *hospital {
	t.Helper()
	h := newHospital(t)
	unpack(t, sharedtest.Path(t, "data", "synthea-ca-2022", "csv.tar.gz"), filepath.Join(h.dir, "export"))
	text := fmt.Sprintf(`migration: delivery
sources:
  ehr: {csv: export/csv/*.csv}
mappings: [synthea]
phi: %s
targets:
  clinical: {sandbox: %q}
`, phi, h.server.URL+"/fhir")
	if identity != nil {
		text += fmt.Sprintf("  identity: {sandbox: %q}\n", identity.URL+"/fhir")
	}
	h.plan(text)
	h.mustRun(exitDone, exitDone, "keys", "init")
	return h
}

// arrives runs, and everything that was made must be there as it was sent.
func (h *hospital) arrives() account {
	h.t.Helper()
	a := h.summary(exitDone, exitReview, "run", "--json")
	for typ, r := range a.Resources {
		if v := a.Verified[typ]; r.Made == 0 || r.Loaded != r.Made || v.Matched != r.Loaded || v.Different+v.Missing+v.Unexpected+v.NotCompared != 0 {
			h.t.Errorf("%s: made %d, loaded %d, verified %+v", typ, r.Made, r.Loaded, v)
		}
	}
	return a
}

func (h *hospital) loadsNothingTwice(first account) {
	h.t.Helper()
	second := h.summary(exitDone, exitReview, "run", "--json")
	for typ, r := range second.Resources {
		if v := second.Verified[typ]; r.Loaded != 0 || r.Unchanged != first.Resources[typ].Loaded || v.Matched != r.Unchanged {
			h.t.Errorf("second run, %s: loaded %d, unchanged %d of %d, verified %+v", typ, r.Loaded, r.Unchanged, first.Resources[typ].Loaded, v)
		}
	}
}

// hidden looks for what identifies the patients of the export in what the clinical target holds.
func (h *hospital) hidden(content map[string]string) {
	h.t.Helper()
	f, err := os.Open(filepath.Join(h.dir, "export", "csv", "patients.csv"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		h.t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(content)) {
		// Names of practitioners may be those of patients.
		if !strings.HasPrefix(name, "Practitioner") && !strings.HasPrefix(name, "Organization/") {
			all.WriteString(content[name])
		}
	}
	searched := 0
	for _, row := range rows[1:] {
		for i, column := range rows[0] {
			switch column {
			case "Id", "SSN", "DRIVERS", "PASSPORT", "FIRST", "LAST", "MAIDEN", "ADDRESS", "LAT", "LON":
			default:
				continue
			}
			if len(row[i]) < 5 {
				continue
			}
			searched++
			if strings.Contains(all.String(), row[i]) {
				h.t.Errorf("target clinical shows the %s of a patient", column)
			}
		}
	}
	if searched < 400 {
		h.t.Errorf("only %d values were searched for", searched)
	}
}

// readable compares which elements can be read in the clinical target with a list that people have read: sealing
// everything would be no solution.
func (h *hospital) readable(content map[string]string, policy string) {
	h.t.Helper()
	paths := map[string]bool{}
	for name, text := range content {
		n, err := fhir.Parse([]byte(text))
		if err != nil {
			h.t.Fatal(err)
		}
		typ, _, _ := strings.Cut(name, "/")
		readablePaths(n, typ, paths)
	}
	got := strings.Join(slices.Sorted(maps.Keys(paths)), "\n") + "\n"
	golden := filepath.Join("testdata", "readable", policy+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	if diff := cmp.Diff(readFile(h.t, golden), got); diff != "" {
		h.t.Errorf("what can be read under %s (-want +got):\n%s", policy, diff)
	}
	for _, path := range []string{
		"Condition.code.coding.code", "Condition.clinicalStatus.coding.code", "Condition.subject.reference",
		"Observation.code.coding.code", "Observation.valueQuantity.value", "Observation.valueQuantity.unit", "Observation.status",
		"MedicationRequest.medicationCodeableConcept.coding.code", "MedicationRequest.status",
		"AllergyIntolerance.code.coding.code", "Immunization.vaccineCode.coding.code", "Encounter.class.code", "Patient.gender",
	} {
		if !paths[path] {
			h.t.Errorf("%s cannot be read under %s", path, policy)
		}
	}
}

// readablePaths notes the path of every value, without places in lists; of an extension its url stands in the path. The
// encrypted part is none.
func readablePaths(n *fhir.Node, path string, into map[string]bool) {
	switch n.Kind {
	case fhir.Object:
		if u := n.Get("url").Str(); u == fhir.SealedExtension {
			return
		} else if u != "" && strings.HasSuffix(path, ".extension") {
			path += "(" + u[strings.LastIndexByte(u, '/')+1:] + ")"
		}
		for _, m := range n.Members {
			if m.Name != "resourceType" && m.Name != "url" {
				readablePaths(m.Value, path+"."+m.Name, into)
			}
		}
	case fhir.Array:
		for _, item := range n.Items {
			readablePaths(item, path, into)
		}
	default:
		into[path] = true
	}
}

// comesBack opens what the target holds with nothing but the keys and its own references.
func (h *hospital) comesBack(content map[string]string) {
	h.t.Helper()
	keys, err := phi.OpenKeys(h.t.Context(), phi.KeyPlace{KEK: "file:" + filepath.Join(h.dir, "keys", "kek"), Migration: "delivery"})
	if err != nil {
		h.t.Fatal(err)
	}
	defer keys.Close()
	names, rows := 0, 0
	for name, text := range content {
		n, err := fhir.Parse([]byte(text))
		if err != nil {
			h.t.Fatal(err)
		}
		patient := patientOf(n)
		whole, row, err := keys.Unseal(patient, n)
		if err != nil {
			h.t.Fatalf("%s: %v", name, err)
		}
		if whole.At("meta", "security") != nil {
			h.t.Errorf("%s: the whole says that something is missing", name)
		}
		if n.ResourceType() == "Patient" && whole.Get("name").Item(0).Get("family").Str() != "" {
			names++
		}
		if json.Valid(row.Reveal()) {
			rows++
		}
	}
	if names == 0 || names != countOf(content, "Patient/") || rows != len(content) {
		h.t.Errorf("%d names of %d patients, %d source rows of %d resources came back", names, countOf(content, "Patient/"), rows, len(content))
	}
}

// patientOf is the id of the patient whose record a resource is, by its references.
func patientOf(n *fhir.Node) string {
	if n.ResourceType() == "Patient" {
		return n.ID()
	}
	for _, name := range []string{"subject", "patient", "beneficiary"} {
		if id, ok := strings.CutPrefix(n.At(name, "reference").Str(), "Patient/"); ok {
			return id
		}
	}
	return ""
}

func countOf(content map[string]string, prefix string) (n int) {
	for name := range content {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// wholes checks that the identity store holds the whole of every resource from which something was taken out, under the
// same id, and nothing else.
func (h *hospital) wholes(clinical, identity map[string]string) {
	h.t.Helper()
	marked := 0
	for name, text := range clinical {
		if !strings.Contains(text, `"REDACTED"`) {
			if _, there := identity[name]; there {
				h.t.Errorf("%s has no PHI part and is in the identity store", name)
			}
			continue
		}
		marked++
		if whole, there := identity[name]; !there || strings.Contains(whole, `"REDACTED"`) || whole == text {
			h.t.Errorf("%s is not in the identity store as a whole", name)
		}
		if strings.Contains(text, fhir.SealedExtension) {
			h.t.Errorf("%s carries a ciphertext", name)
		}
	}
	if marked != len(identity) || marked == 0 {
		h.t.Errorf("%d resources have a PHI part, %d are in the identity store", marked, len(identity))
	}
}

// found is a discrepancy of the report, as a user of it reads it.
type found struct{ Kind, Type, ID, Path, Code string }

func (h *hospital) discrepancies() []found {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "report")
	h.mustRun(exitDone, exitReview, "report", "-o", dir, "--format", "json")
	var doc struct{ DiscrepancyList []found }
	if err := json.Unmarshal([]byte(readFile(h.t, filepath.Join(dir, "report.json"))), &doc); err != nil {
		h.t.Fatal(err)
	}
	return doc.DiscrepancyList
}

// edit reads a resource from a server, changes it and writes it back.
func edit(t *testing.T, server *httptest.Server, name string, change func(*fhir.Node)) {
	t.Helper()
	editor := &targetEditor{base: server.URL + "/fhir"}
	n, err := editor.do(t.Context(), http.MethodGet, name, nil)
	if err != nil {
		t.Fatal(err)
	}
	n = n.Clone()
	change(n)
	if _, err := editor.do(t.Context(), http.MethodPut, name, n.AppendCanonical(nil)); err != nil {
		t.Fatal(err)
	}
}

// some lists ids of a type in a server.
func some(t *testing.T, server *httptest.Server, typ string, n int) []string {
	t.Helper()
	page, err := (&targetEditor{base: server.URL + "/fhir"}).do(t.Context(), http.MethodGet, fmt.Sprintf("%s?_count=%d", typ, n), nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range entries(page) {
		ids = append(ids, e.Get("resource").ID())
	}
	if len(ids) != n {
		t.Fatalf("%d of %s, want %d", len(ids), typ, n)
	}
	return ids
}

// ciphertext is the value of the extension with the encrypted part.
func ciphertext(n *fhir.Node) *fhir.Node {
	if list := n.Get("extension"); list != nil {
		for _, x := range list.Items {
			if x.Get("url").Str() == fhir.SealedExtension {
				return x.Get("valueBase64Binary")
			}
		}
	}
	return nil
}

// tamperSealed does in the server what hands or a fault might do to encrypted parts; each is found under its name.
func (h *hospital) tamperSealed(first account) {
	h.t.Helper()
	patients := some(h.t, h.server, "Patient", 3)
	editor := &targetEditor{base: h.server.URL + "/fhir"}
	var values []string
	for _, id := range patients {
		n, err := editor.do(h.t.Context(), http.MethodGet, "Patient/"+id, nil)
		if err != nil {
			h.t.Fatal(err)
		}
		values = append(values, ciphertext(n).Text)
	}
	want := map[found]bool{}
	tamper := func(typ, id, path, code string, change func(*fhir.Node)) {
		h.t.Helper()
		edit(h.t, h.server, typ+"/"+id, change)
		want[found{"different", typ, id, path, code}] = true
	}
	// Two patients' ciphertexts, swapped.
	tamper("Patient", patients[0], "Patient.extension", "wrong-key/other-version", func(n *fhir.Node) { ciphertext(n).Text = values[1] })
	tamper("Patient", patients[1], "Patient.extension", "wrong-key/other-version", func(n *fhir.Node) { ciphertext(n).Text = values[0] })
	tamper("Patient", patients[2], "Patient.birthDate", "changed/other-version", func(n *fhir.Node) { n.Set("birthDate", fhir.NewString("1901-01-01")) })
	conditions := some(h.t, h.server, "Condition", 2)
	tamper("Condition", conditions[0], "Condition.extension", "ciphertext-lost/other-version", func(n *fhir.Node) { n.Set("extension", nil) })
	tamper("Condition", conditions[1], "Condition.extension", "foreign-ciphertext/other-version", func(n *fhir.Node) {
		c := ciphertext(n)
		other := "A"
		if c.Text[60] == 'A' {
			other = "B"
		}
		c.Text = c.Text[:60] + other + c.Text[61:]
	})
	h.foundAll(want, first)
	// An older one, put back: the state says what belongs there.
	h.older(patients[2], values[2])
}

// older corrects a patient in the export, loads the correction, and puts the ciphertext from before back.
func (h *hospital) older(id, before string) {
	h.t.Helper()
	path := filepath.Join(h.dir, "export", "csv", "patients.csv")
	f, err := os.Open(path)
	if err != nil {
		h.t.Fatal(err)
	}
	rows, err := csv.NewReader(f).ReadAll()
	_ = f.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	last := slices.Index(rows[0], "LAST")
	for _, row := range rows[1:] {
		row[last] += "corrected"
	}
	out, err := os.Create(path)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := csv.NewWriter(out).WriteAll(rows); err != nil {
		h.t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.mustRun(exitDone, exitReview, "run", "--json")
	edit(h.t, h.server, "Patient/"+id, func(n *fhir.Node) { ciphertext(n).Text = before })
	h.mustRun(exitReview, exitReview, "reconcile", "--json")
	want := found{"different", "Patient", id, "Patient.extension", "stale-digest/other-version"}
	if !slices.Contains(h.discrepancies(), want) {
		h.t.Errorf("an older ciphertext was put back, and is not found: %+v", want)
	}
}

// foundAll reconciles, and exactly what was planted must be found.
func (h *hospital) foundAll(want map[found]bool, first account) {
	h.t.Helper()
	a := h.summary(exitReview, exitReview, "reconcile", "--json")
	planted := map[string]bool{}
	for w := range want {
		planted[w.Type+"/"+w.ID] = true
	}
	var matched, made, bad int64
	for typ, v := range a.Verified {
		matched, made, bad = matched+v.Matched, made+first.Resources[typ].Made, bad+v.Different+v.Missing
		if v.NotCompared+v.Unexpected != 0 {
			h.t.Errorf("%s: %+v", typ, v)
		}
	}
	if bad != int64(len(planted)) || matched != made-bad {
		h.t.Errorf("%d resources are different or missing, %d were planted; %d of %d match", bad, len(planted), matched, made)
	}
	got := map[found]bool{}
	for _, d := range h.discrepancies() {
		if d.Kind == "different" || d.Kind == "missing" {
			got[d] = true
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("(-planted +found)\n%s", diff)
	}
}

// tamperSplit damages either store; the discrepancy says which.
func (h *hospital) tamperSplit(first account, identity *hospital) {
	h.t.Helper()
	patients := some(h.t, h.server, "Patient", 3)
	want := map[found]bool{
		{"different", "Patient", patients[0], "clinical: Patient.gender", "changed/other-version"}:         true,
		{"different", "Patient", patients[1], "identity: Patient.name[0].family", "changed/other-version"}: true,
		{"missing", "Patient", patients[2], "identity", "gone"}:                                            true,
	}
	edit(h.t, h.server, "Patient/"+patients[0], func(n *fhir.Node) { n.Set("gender", fhir.NewString("other")) })
	edit(h.t, identity.server, "Patient/"+patients[1], func(n *fhir.Node) { n.Get("name").Item(0).Set("family", fhir.NewString("Another")) })
	editor := &targetEditor{base: identity.server.URL + "/fhir"}
	if _, err := editor.do(h.t.Context(), http.MethodDelete, "Patient/"+patients[2], nil); err != nil {
		h.t.Fatal(err)
	}
	h.foundAll(want, first)
}

// TestNoDeliveryWithoutProvenBackup: what only our keys can open goes to no real server before somebody has shown that
// the keys can be restored.
func TestNoDeliveryWithoutProvenBackup(t *testing.T) {
	server, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	h := newRiverside(t)
	plan := readFile(t, filepath.Join(h.dir, "migration.yaml"))
	for _, change := range [][2]string{{"sandbox:", "fhir:"}, {"delivery: identified", "delivery: sealed"}} {
		if !strings.Contains(plan, change[0]) {
			t.Fatalf("the plan has no %s", change[0])
		}
		plan = strings.Replace(plan, change[0], change[1], 1)
	}
	h.plan(plan)
	h.mustRun(exitDone, exitDone, "keys", "init")
	code, _, faults := h.command("run")
	if code != exitUsage || !strings.Contains(faults, "keys backup") {
		t.Fatalf("a run without a proven backup: exit %d, %s", code, faults)
	}
	h.mustRun(exitDone, exitReview, "dry-run", "--json")
	backup := filepath.Join(t.TempDir(), "keys.backup")
	if code, _, _ := h.command("keys", "backup", "-o", filepath.Join(h.dir, ".chartlift", "stage", "x")); code != exitUsage {
		t.Errorf("a backup inside the stage: exit %d", code)
	}
	h.mustRun(exitDone, exitDone, "keys", "backup", "-o", backup)
	if code, _, _ := h.command("run"); code != exitUsage {
		t.Errorf("a backup alone is no proof: exit %d", code)
	}
	h.mustRun(exitDone, exitDone, "keys", "restore", backup)
	h.mustRun(exitDone, exitReview, "run", "--json")
	// All keys but the copy of the KEK are lost, and come back.
	keys := filepath.Join(h.dir, "keys")
	names, err := filepath.Glob(filepath.Join(keys, "*.key*"))
	if err != nil || len(names) != 2 {
		t.Fatalf("%v, %v", names, err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, _ := h.command("reconcile"); code != exitUsage {
		t.Errorf("without keys: exit %d", code)
	}
	out := h.mustRun(exitDone, exitDone, "keys", "restore", backup, "--json")
	var restored struct {
		Proven   int
		Placed   []string
		Recorded bool
	}
	if err := json.Unmarshal([]byte(out), &restored); err != nil || restored.Proven == 0 || len(restored.Placed) != 2 || !restored.Recorded {
		t.Errorf("%v: %s", err, out)
	}
	h.mustRun(exitDone, exitReview, "reconcile", "--json")
}
