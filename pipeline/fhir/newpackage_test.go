package fhir

import "testing"

// TestNewPackage: a package of resources is what the same ones in an archive would be.
func TestNewPackage(t *testing.T) {
	parse := func(s string) *Node {
		n, err := Parse([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	set := parse(`{"resourceType":"ValueSet","url":"http://x.org/s","version":"1.0.1","status":"draft"}`)
	older := parse(`{"resourceType":"ValueSet","url":"http://x.org/s","version":"1.0.0","status":"draft"}`)
	system := parse(`{"resourceType":"CodeSystem","url":"http://x.org/c","valueSet":"http://x.org/all","content":"complete"}`)
	patient := parse(`{"resourceType":"Patient"}`)
	p, err := NewPackage("mine", "1", set, older, system, patient)
	if err != nil {
		t.Fatal(err)
	}
	q, err := NewPackage("mine", "1", set, older, system)
	if err != nil {
		t.Fatal(err)
	}
	if p.Digest() != q.Digest() || p.Digest() == "" || len(p.Doubled()) > 0 {
		t.Error("the digest hangs on what is not a definition")
	}
	if p.Len() != 4 || (*Package)(nil).Len() != 0 { // with the value set that the code system names
		t.Errorf("%d definitions", p.Len())
	}
	for url, want := range map[string]string{"http://x.org/s": "1.0.1", "http://x.org/s|1.0.0": "1.0.0", "http://x.org/s|1.0": "1.0.1", "http://x.org/s|1": "1.0.1"} {
		if got := p.Find("ValueSet", url).Get("version").Str(); got != want {
			t.Errorf("%s: version %q, want %q", url, got, want)
		}
	}
	for _, url := range []string{"http://x.org/s|2", "http://x.org/s|1.0.", "http://x.org/s|1.0.10", "http://x.org/none"} {
		if p.Find("ValueSet", url) != nil {
			t.Errorf("%s is found", url)
		}
	}
	if p.Find("ValueSet", "http://x.org/all") == nil {
		t.Error("the value set of all codes of the system is not there")
	}
	twice, err := NewPackage("mine", "1", set, parse(`{"resourceType":"ValueSet","url":"http://x.org/s","version":"1.0.1","status":"active"}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(twice.Doubled()) != 1 || twice.Find("ValueSet", "http://x.org/s").Get("status").Str() != "active" {
		t.Error("of two definitions the last counts, and it is told")
	}
	if twice.Digest() == p.Digest() {
		t.Error("another package has the same digest")
	}
}
