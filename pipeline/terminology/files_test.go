package terminology

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// folder makes a file system of pairs of path and text.
func folder(files ...string) fstest.MapFS {
	all := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		all[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return all
}

// brought is a store of files alone.
func brought(t testing.TB, fsys fs.FS, paths ...string) *Store {
	t.Helper()
	d, faults := ReadFiles(t.Context(), fsys, paths...)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s := NewStore()
	s.Add(d)
	return s
}

const wards = "\ufeff# The wards of the old house.\r\n# system: http://h.example/wards\r\n# version: 2026-01\r\n\r\ncode,parent,display\r\nW1,W,\"Ward 1, north\"\r\nW,,All wards\r\nW11,W1,\r\n"

func TestSystemCSV(t *testing.T) {
	s := brought(t, folder("wards.csv", wards), "wards.csv")
	c := s.CodeSystem("http://h.example/wards")
	if c == nil || c != s.CodeSystem("http://h.example/wards|2026-01") || s.CodeSystem("http://h.example/wards|2025") != nil {
		t.Fatal("the code system is not found by its URI")
	}
	if !c.Complete() || c.Len() != 3 || c.Version() != "2026-01" || c.URL() != "http://h.example/wards" {
		t.Errorf("%v %d %s %s", c.Complete(), c.Len(), c.Version(), c.URL())
	}
	if name, ok := c.Display("W1"); !ok || name != "Ward 1, north" {
		t.Errorf("display %q", name)
	}
	if name, ok := c.Display("W11"); ok {
		t.Errorf("display %q", name)
	}
	for pair, want := range map[[2]string]string{{"W", "W11"}: Subsumes, {"W11", "W"}: SubsumedBy, {"W1", "W1"}: Equivalent, {"W", "w"}: ""} {
		if got, ok := c.Subsumes(pair[0], pair[1]); got != want || ok != (want != "") {
			t.Errorf("%v: %q", pair, got)
		}
	}
	if !c.Has("W") || c.Has("w") || c.Has("") {
		t.Errorf("codes are compared wrongly")
	}
}

func TestFragmentCSV(t *testing.T) {
	c := brought(t, folder("f.csv", "#content: fragment\n#system: urn:x\ncode\na\nb\n"), "f.csv").CodeSystem("urn:x")
	if c.Complete() || c.has("a") != In || c.has("c") != NotKnown {
		t.Errorf("complete %v, a %v, c %v", c.Complete(), c.has("a"), c.has("c"))
	}
	if _, ok := c.Subsumes("a", "b"); ok {
		t.Errorf("of a fragment it is known that one code is not below another")
	}
}

const systemJSON = `{"resourceType":"CodeSystem","url":"http://x/cs","version":"1","content":"complete","valueSet":"http://x/all","caseSensitive":false,
"concept":[{"code":"A","display":"Alpha","concept":[{"code":"B"}]}]}`

func TestFilesOfJSON(t *testing.T) {
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	if _, err := zip.Write([]byte(`{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient"}},{"resource":{"resourceType":"ValueSet","url":"http://x/b","compose":{"include":[{"system":"http://x/cs"}]}}}]}`)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	line := func(url string) string {
		return `{"resourceType":"ValueSet","url":"` + url + `","compose":{"include":[{"system":"http://x/cs","concept":[{"code":"a"}]}]}}`
	}
	s := brought(t, folder("d/cs.json", systemJSON, "d/b.json.gz", zipped.String(), "d/l.ndjson", line("http://x/1")+"\n\n"+line("http://x/2")+"\n",
		"d/m.json", line("http://x/3")+"\r\n"+line("http://x/4"), "d/readme.txt", "about"), "d", "d/m.json")
	for _, url := range []string{"http://x/all", "http://x/b", "http://x/1", "http://x/2", "http://x/3", "http://x/4"} {
		v := s.ValueSet(url)
		want := NotIn
		if url < "http://x/9" == false {
			want = In
		}
		if v.Why() != "" || v.Has("http://x/cs", "", "a") != In || v.HasCode("b") != want || v.Has("http://x/cs", "", "c") != NotIn {
			t.Errorf("%s: %q %v %v", url, v.Why(), v.Has("http://x/cs", "", "a"), v.HasCode("b"))
		}
	}
}

// TestLinksInFolders follows a link to a file, and lists one that leads nowhere.
func TestLinksInFolders(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "wards.csv")
	if err := os.WriteFile(outside, []byte(wards), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"link.csv": outside, "lost.csv": filepath.Join(dir, "nowhere"), "folder": dir} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	d, faults := ReadFiles(t.Context(), os.DirFS(dir), ".")
	if len(faults) > 0 || len(d.Systems()) != 1 {
		t.Fatal(faults)
	}
	if diff := cmp.Diff([]string{"folder", "lost.csv"}, d.Ignored()); diff != "" {
		t.Errorf("left aside (-want +got)\n%s", diff)
	}
}

func TestDigestOfFiles(t *testing.T) {
	read := func(fsys fs.FS, paths ...string) *Definitions {
		d, faults := ReadFiles(t.Context(), fsys, paths...)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return d
	}
	a := read(folder("wards.csv", wards, "cs.json", systemJSON, "readme.md", "x"), ".")
	b := read(folder("x/1.csv", wards, "x/2.json", systemJSON), "x/2.json", "x/1.csv")
	c := read(folder("wards.csv", wards+"W12,W1,\n", "cs.json", systemJSON), ".")
	if a.Digest() != b.Digest() || a.Digest() == c.Digest() || len(a.Digest()) != 64 {
		t.Errorf("digests %s %s %s", a.Digest(), b.Digest(), c.Digest())
	}
	if diff := cmp.Diff([]string{"http://x/s"}, read(folder("s.json", set("s", `"include":[{"system":"s"}]`)), ".").ValueSets()); diff != "" {
		t.Errorf("value sets (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"readme.md"}, a.Ignored()); diff != "" || len(a.Systems()) != 2 {
		t.Errorf("left aside (-want +got)\n%s", diff)
	}
}

func TestFileFaults(t *testing.T) {
	rxnorm := func(cui, sab string) string {
		return cui + "|ENG|P|L|PF|S|Y|A|SA|SC|SD|" + sab + "|IN|C|name|0|N|4096|\n"
	}
	for _, c := range []struct {
		name  string
		files []string
		want  []string
	}{
		{"CSV", []string{"a.csv", "# systen: http://x\n# system: no uri\n# content: whole\n# content: whole\ncode,displya\na,A\n"}, []string{
			`a.csv:1:3: "systen:" is none of the settings of a code system (did you mean "system"?)`,
			`a.csv:2:11: the code system's URI has white space in it`,
			`a.csv:4:3: "content" is given twice`,
			`a.csv:4:12: "whole" does not say how much of the code system is there (complete or fragment)`,
			`a.csv:5:6: a code system has no column "displya" (did you mean "display"?)`,
		}},
		{"lines of CSV", []string{"a.csv", "# system: urn:x\ncode,display,parent\na,A,z\n,B,\n c,C,\na,A,\nd,\ne,\"x\"y,\nf,\xff,\ng,G,h\nh,H,g\n"}, []string{
			`a.csv:3:5: the parent is not a code of this file`,
			`a.csv:4:1: the code is blank`,
			`a.csv:5:1: the code has white space around it`,
			`a.csv:6:1: the code is given twice`,
			`a.csv:7: the line has 2 values, the header 3 (a value with a comma stands in quotes)`,
			`a.csv:8:5: not valid CSV: extraneous or missing " in quoted-field`,
			`a.csv:9:3: the text is not UTF-8 (save the file as UTF-8)`,
			`a.csv:10:5: the code is its own ancestor`,
			`a.csv:11:5: the code is its own ancestor`,
		}},
		{"no system, no code", []string{"a.csv", "code\n"}, []string{
			`a.csv:1:1: the code system's URI is blank (write it above the header: # system: http://…)`,
		}},
		{"another order, no system", []string{"a.csv", "\"display\", code\nA,a\n"}, []string{
			`a.csv:1:1: the code system's URI is blank (write it above the header: # system: http://…)`,
		}},
		{"no code", []string{"a.csv", "# system: urn:x\ncode\n"}, []string{`a.csv: there is no code in it`}},
		{"no header", []string{"a.csv", "# system: urn:x\n"}, []string{`a.csv:2: there is no header line`}},
		{"JSON", []string{"a.json", "{\"resourceType\":\n]", "b.json", `{"resourceType":"CodeSystem","content":"complete"}`,
			"c.json", `{"resourceType":"CodeSystem","url":"urn:c","content":"complet"}`, "d.json", `{"resourceType":"CodeSystem","url":"urn:d","content":"not-present"}`,
			"e.json", `{"resourceType":"ValueSet","url":"urn:e"}`, "f.json", `{"resourceType":"ConceptMap","url":"urn:f"}`,
			"g.json", `{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"ValueSet","url":"urn:g"}}]}`, "h.json", `{"resourceType":"Bundle"}`,
			"i.ndjson", "{\"resourceType\":\"Patient\"}\n{]\n"}, []string{
			`a.json:2:1: not valid JSON: `,
			`b.json:1:1: the url of the CodeSystem is blank`,
			`c.json:1:54: the content of the CodeSystem is none of not-present, example, fragment, complete, supplement (did you mean "complete"?)`,
			`d.json:1:54: the CodeSystem has the content "not-present", so it lists no codes of its own`,
			`e.json:1:1: the ValueSet says nothing of what is in it (it needs compose or expansion)`,
			`f.json:1:1: the resource is neither a CodeSystem nor a ValueSet (concept maps lie beside the mappings that use them)`,
			`g.json:1:47: the ValueSet says nothing of what is in it (it needs compose or expansion)`,
			`h.json:1:1: the Bundle has no CodeSystem that lists codes and no ValueSet`,
			`i.ndjson:1:1: the resource is neither a CodeSystem nor a ValueSet`,
			`i.ndjson:2:2: not valid JSON: `,
		}},
		{"two of one", []string{"a.csv", "# system: urn:x\ncode\na\n", "b.csv", "# system: urn:x\ncode\nb\n"}, []string{
			`b.csv: a.csv defines the code system urn:x too (name only one of them)`,
		}},
		{"of no kind", []string{"a.txt", "codes", "b.tgz", "x", "c.ZIP", "PK"}, []string{
			`a.txt: the file is of no kind that has code systems or value sets (known are `, `b.tgz: the file is of no kind that has code systems or value sets (a FHIR package belongs under guides:)`,
			`c.ZIP: the file is of no kind that has code systems or value sets (unpack the archive and name its folder)`}},
		{"packed", []string{"a.csv.gz", "no gzip at all"}, []string{`a.csv.gz: cannot be read: gzip: invalid header`}},
		{"LOINC", []string{"Loinc.csv", "\"LOINC_NUM\",\"COMPONENT\"\n"}, []string{`Loinc.csv:1: the column "LONG_COMMON_NAME" is missing`, `Loinc.csv:1: the column "STATUS" is missing`}},
		{"RxNorm", []string{"RXNCONSO.RRF", rxnorm("1", "RXNORM") + "1|2\n" + rxnorm("x", "RXNORM") + rxnorm("y", "MTHSPL")}, []string{
			`RXNCONSO.RRF:2: the line has 1 values instead of 18`, `RXNCONSO.RRF:3:1: the RXCUI is not a number`}},
		{"SNOMED CT alone", []string{"sct2_Concept_Snapshot_INT_20260101.txt", conceptHead + concepts("1")}, []string{
			`sct2_Concept_Snapshot_INT_20260101.txt: the file of the descriptions (sct2_Description_Snapshot…) is missing for SNOMED CT`,
			`sct2_Concept_Snapshot_INT_20260101.txt: the file of the relationships (sct2_Relationship_Snapshot_…) is missing for SNOMED CT`}},
		{"SNOMED CT", []string{"c.txt", conceptHead + concepts("1", "1", "x") + "2\t2026\n", "d.txt", descriptionHead, "r.txt", relationshipHead + isaRow("1", "7") + isaRow("8", "1"), "sct2_TextDefinition_Snapshot-en_INT_20260101.txt", descriptionHead}, []string{
			`c.txt:3:1: the concept is given twice (give the files of one snapshot)`, `c.txt:4:1: the id is not a number`, `c.txt:5: the line has 2 values instead of 5`,
			`r.txt:2: the line is about a concept that no file of concepts has, and so are 1 more (an extension needs the files of the International Edition too)`,
			`sct2_TextDefinition_Snapshot-en_INT_20260101.txt: the file is of no kind that has code systems or value sets (of SNOMED CT's release the files of concepts, descriptions and relationships count)`}},
		{"a full release", []string{"sct2_Concept_Full_INT_20260101.txt", conceptHead}, []string{
			`sct2_Concept_Full_INT_20260101.txt: the file is of no kind that has code systems or value sets (of SNOMED CT the files of the snapshot are needed, not of the full release or the delta)`}},
		{"not there", nil, []string{`absent.csv: cannot be read: file does not exist`}},
	} {
		var paths []string
		for i := 0; i < len(c.files); i += 2 {
			paths = append(paths, c.files[i])
		}
		if paths == nil {
			paths = []string{"absent.csv"}
		}
		d, faults := ReadFiles(t.Context(), folder(c.files...), paths...)
		if d != nil {
			t.Errorf("%s: definitions in spite of faults", c.name)
		}
		for i := range max(len(faults), len(c.want)) {
			got, want := "nothing", "nothing"
			if i < len(faults) {
				got = strings.ReplaceAll(faults[i].String(), "`", `"`)
			}
			if i < len(c.want) {
				want = c.want[i]
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s:\n got %s\nwant %s", c.name, got, want)
			}
		}
	}
	if _, faults := ReadFiles(t.Context(), folder("d/x.txt", "x"), "d"); len(faults) != 1 || faults[0].Message != "the folder has no code systems or value sets" {
		t.Errorf("a folder of other files: %v", faults)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	many := strings.Repeat(",x\n", 1000)
	for _, file := range []string{"a.csv", "a.ndjson"} {
		text := "# system: urn:x\ncode,display\n" + many
		if file == "a.ndjson" {
			text = "{}\n" + strings.Repeat("{\n", 1000)
		}
		_, faults := ReadFiles(t.Context(), folder(file, text), file)
		if len(faults) < maxFaults || len(faults) > maxFaults+3 {
			t.Errorf("%s: %d faults", file, len(faults))
		}
	}
	open := "# system: urn:x\ncode,display\na,\"" + strings.Repeat("x\n", 4*mostLine)
	if _, faults := ReadFiles(t.Context(), folder("a.csv", open), "a.csv"); len(faults) == 0 || !strings.Contains(faults.Error(), "perhaps a quote is missing") {
		t.Errorf("a quote that does not end: %v", faults)
	}
	long := conceptHead + strings.Repeat("1", mostLine+1)
	if _, faults := ReadFiles(t.Context(), folder("c.txt", long), "c.txt"); len(faults) == 0 || !strings.Contains(faults.Error(), "longer than") {
		t.Errorf("a line without an end: %v", faults)
	}
}

// TestCVX brings the CDC's list of vaccines, which the shared data has as SQL, as CSV.
func TestCVX(t *testing.T) {
	data, err := os.ReadFile(sharedtest.Path(t, "data", "terminology", "cvx_codes.sql"))
	if err != nil {
		t.Fatal(err)
	}
	const cvx, set = "http://hl7.org/fhir/sid/cvx", "http://hl7.org/fhir/ValueSet/vaccine-code"
	out := "# system: " + cvx + "\ncode,display\n"
	for _, row := range regexp.MustCompile(`(?m)^\(NULL, "([^"]*)", "[^"]*", (\d+), 100,`).FindAllStringSubmatch(string(data), -1) {
		number, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		out += fmt.Sprintf("%02d,%q\n", number, row[1]) // the table lost the leading zeros
	}
	d, faults := ReadFiles(t.Context(), folder("cvx.csv", out), "cvx.csv")
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	s := NewStore(fhir.Core())
	if v := s.ValueSet(set); v.Has(cvx, "", "08") != In || v.Has(cvx, "", "1999") != NotKnown || !strings.Contains(v.Why(), cvx) {
		t.Errorf("without the list: %v, %v, %s", v.Has(cvx, "", "08"), v.Has(cvx, "", "1999"), v.Why())
	}
	s.Add(d)
	if n := s.CodeSystem(cvx).Len(); n < 140 {
		t.Errorf("%d codes", n)
	}
	if v := s.ValueSet(set); v.Has(cvx, "", "08") != In || v.Has(cvx, "", "1999") != NotIn || v.Why() != "the codes of urn:oid:1.2.36.1.2001.1005.17 are not at hand" {
		t.Errorf("with the list: %v, %v, %s", v.Has(cvx, "", "08"), v.Has(cvx, "", "1999"), v.Why())
	}
}
