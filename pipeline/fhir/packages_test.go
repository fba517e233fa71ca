package fhir

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// archive makes a package of pairs of path and text. A path that ends with `@` is a link.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	for i := 0; i < len(files); i += 2 {
		head := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if name, link := strings.CutSuffix(files[i], "@"); link {
			head = &tar.Header{Name: name, Linkname: files[i+1], Typeflag: tar.TypeSymlink}
		}
		if err := out.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		if head.Size > 0 {
			if _, err := out.Write([]byte(files[i+1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const manifest = `{"name":"made.up","version":"1.0.0","fhirVersions":["4.0.1"]}`

func TestReadPackage(t *testing.T) {
	set := func(version, mark string) string {
		return `{"resourceType":"ValueSet","url":"http://x/vs","version":"` + version + `","name":"` + mark + `"}`
	}
	files := []string{
		"package/package.json", "\uFEFF" + manifest, "package/b.json", set("2.9.0", "old"), "package/a.json", set("2.10.0", "new"),
		"package/.index.json", "no JSON", "package/readme.txt", "no JSON", "package/example/e.json", "no JSON", "package/other/o.json", "no JSON",
		"package/p.json", `{"resourceType":"Patient","url":"http://x/p"}`, "package/c.json", `{"resourceType":"CodeSystem","url":"http://x/cs","valueSet":"http://x/all"}`,
		"package/d.json", `{"resourceType":"CodeSystem","url":"http://x/cs2","valueSet":"http://x/vs|2.9.0"}`,
		"package/again.json", set("2.9.0", "old"), "package/n.json", `{"resourceType":"ConceptMap"}`,
	}
	p, err := ReadPackage(bytes.NewReader(archive(t, files...)), "p.tgz")
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "made.up" || p.Version != "1.0.0" || len(p.Digest()) != 64 {
		t.Errorf("%s %s %s", p.Name, p.Version, p.Digest())
	}
	for url, want := range map[string]string{
		"http://x/vs": "new", "http://x/vs|2.9.0": "old", "http://x/vs|2.10.0": "new", "http://x/vs|2.11": "", "http://x/v": "",
	} {
		if got := p.Find("ValueSet", url).Get("name").Str(); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	if all := p.Find("ValueSet", "http://x/all"); all.At("compose", "include").Item(0).Get("system").Str() != "http://x/cs" {
		t.Errorf("the value set of all codes of a system is not there")
	}
	if p.Find("CodeSystem", "http://x/cs|7") == nil {
		t.Errorf("a resource without a version is not found by one")
	}
	if p.Find("Patient", "http://x/p") != nil || len(p.URLs("ValueSet")) != 2 || len(p.URLs("Patient")) != 0 {
		t.Errorf("what is kept: %v", p.URLs("ValueSet"))
	}
	if p.Find("ValueSet", "http://x/vs") != p.Find("ValueSet", "http://x/vs|2.10.0") {
		t.Errorf("parsed twice")
	}
	var none *Package
	if none.Find("ValueSet", "x") != nil || none.URLs("ValueSet") != nil || none.Digest() != "" {
		t.Errorf("the nil package has something in it")
	}

	// Repacked in another order it is the same package; changed in one place another.
	var turned []string
	for i := len(files) - 2; i >= 0; i -= 2 {
		turned = append(turned, files[i], files[i+1])
	}
	again, err := ReadPackage(bytes.NewReader(archive(t, turned...)), "q.tgz")
	if err != nil || again.Digest() != p.Digest() {
		t.Errorf("the same package has another digest (%v)", err)
	}
	files[5] = set("2.10.0", "changed")
	changed, err := ReadPackage(bytes.NewReader(archive(t, files...)), "p.tgz")
	if err != nil || changed.Digest() == p.Digest() {
		t.Errorf("a changed package has the same digest (%v)", err)
	}
}

// TestDoubledDefinitions has two files that define one code system in one version: the last name counts, in any order.
func TestDoubledDefinitions(t *testing.T) {
	system := func(name string) string {
		return `{"resourceType":"CodeSystem","url":"http://x","version":"1","name":"` + name + `"}`
	}
	for _, files := range [][]string{
		{"package/package.json", manifest, "package/a.json", system("a"), "package/b.json", system("b"), "package/c.json", `{"resourceType":"CodeSystem","url":"http://y"}`},
		{"package/b.json", system("b"), "package/a.json", system("a"), "package/package.json", manifest},
	} {
		p, err := ReadPackage(bytes.NewReader(archive(t, files...)), "p.tgz")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Doubled(); len(got) != 1 || got[0] != "CodeSystem http://x|1" || p.Find("CodeSystem", "http://x").Get("name").Str() != "b" {
			t.Errorf("%q, and %s counts", got, p.Find("CodeSystem", "http://x").Get("name").Str())
		}
	}
	if Core().Doubled() != nil {
		t.Errorf("R4 has %v", Core().Doubled())
	}
}

func TestReadPackageRefuses(t *testing.T) {
	const head = "package/package.json"
	for _, c := range []struct {
		name, want string
		files      []string
	}{
		{"nothing", "no package/package.json", nil},
		{"JSON", "p.tgz: package/a.json: is not valid JSON: 2:1: ", []string{head, manifest, "package/a.json", "{\n]"}},
		{"a doubled member", "package/a.json: is not valid JSON", []string{head, manifest, "package/a.json", `{"a":1,"a":2}`}},
		{"up and out", "../x.json: the path leaves the archive", []string{head, manifest, "../x.json", "{}"}},
		{"up within", "the path leaves the archive", []string{head, manifest, "package/../../x.json", "{}"}},
		{"the root", "the path leaves the archive", []string{head, manifest, "/etc/x.json", "{}"}},
		{"backslashes", "the path leaves the archive", []string{head, manifest, `package\..\..\x.json`, "{}"}},
		{"a link", "is a link", []string{head, manifest, "package/a.json@", "/etc/passwd"}},
		{"another FHIR", "for FHIR 5.0.0, not for R4", []string{head, `{"name":"x","fhirVersions":["5.0.0"]}`}},
		{"no name", "no name", []string{head, `{}`}},
	} {
		p, err := ReadPackage(bytes.NewReader(archive(t, c.files...)), "p.tgz")
		if err == nil || p != nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "p.tgz: ") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	good := archive(t, head, manifest, "package/a.json", `{"resourceType":"CodeSystem","url":"http://x"}`)
	for _, data := range [][]byte{nil, []byte("no archive"), good[:len(good)/2], good[:len(good)-9]} {
		if _, err := ReadPackage(bytes.NewReader(data), "p.tgz"); err == nil {
			t.Errorf("%d bytes are read as a package", len(data))
		}
	}
}

// TestPackageBomb unpacks 130 MB of zeros out of some 130 KB.
func TestPackageBomb(t *testing.T) {
	bomb := archive(t, "package/package.json", manifest, "package/z.json", strings.Repeat(" ", 100<<20), "package/y.txt", strings.Repeat(" ", 30<<20))
	if _, err := ReadPackage(bytes.NewReader(bomb), "p.tgz"); err == nil || !strings.Contains(err.Error(), "more than any FHIR package") {
		t.Errorf("%d bytes: %v", len(bomb), err)
	}
}

func TestCompareVersions(t *testing.T) {
	order := []string{"", "1", "1.2", "1.2.0", "1.10.0", "2.0.0", "2.0.0-ballot", "2018-08-12", "2023"}
	for i, a := range order {
		for j, b := range order {
			if got := compareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
}

func TestUSCorePackages(t *testing.T) {
	for file, want := range map[string]struct {
		name, version, profile string
		structures             int
	}{
		"hl7.fhir.us.core-3.1.1.tgz": {"hl7.fhir.us.core", "3.1.1", "us-core-patient", 30},
		"hl7.fhir.us.core-6.1.0.tgz": {"hl7.fhir.us.core", "6.1.0", "us-core-patient", 59},
	} {
		f, err := os.Open(sharedtest.Path(t, "data", "us-core", file))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		p, err := ReadPackage(f, file)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: read in %v", file, time.Since(start))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(p.URLs("StructureDefinition")); n != want.structures || p.Name != want.name || p.Version != want.version {
			t.Errorf("%s %s with %d structure definitions", p.Name, p.Version, n)
		}
		url := "http://hl7.org/fhir/us/core/StructureDefinition/" + want.profile
		if n := p.Find("StructureDefinition", url+"|"+want.version); n == nil || n.At("snapshot", "element") == nil {
			t.Errorf("%s: %s has no snapshot", file, url)
		}
		for _, typ := range definitionTypes {
			for _, url := range p.URLs(typ) {
				if p.Find(typ, url).Get("url").Str() != url {
					t.Errorf("%s %s is not found", typ, url)
				}
			}
		}
	}
}

func FuzzReadPackage(f *testing.F) {
	f.Add(archive(f, "package/package.json", manifest, "package/a.json", `{"resourceType":"ValueSet","url":"http://x"}`))
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ReadPackage(bytes.NewReader(data), "p.tgz")
		if (p == nil) != (err != nil) {
			t.Errorf("%v, %v", p != nil, err)
		}
	})
}
