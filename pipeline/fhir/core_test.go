package fhir

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"sync"
	"testing"
)

func TestCore(t *testing.T) {
	p := Core()
	if p.Name != "hl7.fhir.r4.core" || p.Version != "4.0.1" || len(p.Digest()) != 64 {
		t.Errorf("%s %s %s", p.Name, p.Version, p.Digest())
	}
	// Three code systems are there in two versions, and four name a value set that is not spelled out.
	for typ, want := range map[string]int{"StructureDefinition": 393 + 44, "ValueSet": 672 + 216 + 428 + 4, "CodeSystem": 495 + 143 + 424 - 3, "ConceptMap": 0} {
		if n := len(p.URLs(typ)); n != want {
			t.Errorf("%d of type %s, want %d", n, typ, want)
		}
	}
	// The digest is that of what is found, so every resource is there, whole.
	h := sha256.New()
	for _, typ := range []string{"CodeSystem", "SearchParameter", "StructureDefinition", "ValueSet"} {
		for _, url := range p.URLs(typ) {
			for _, d := range p.byType[typ][url] {
				n := p.Find(typ, url+"|"+d.version)
				if n.Get("url").Str() != url || n.ResourceType() != typ {
					t.Fatalf("%s %s is found as %s %s", typ, url, n.ResourceType(), n.Get("url").Str())
				}
				text := n.AppendCanonical(nil)
				_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(text)))) // a hash never fails
				_, _ = h.Write(text)
				if typ == "StructureDefinition" {
					checkSnapshot(t, n)
				}
			}
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.Digest() {
		t.Errorf("digest %s, but %s is in it", p.Digest(), got)
	}
}

// checkSnapshot looks that a profile kept what decides, and nothing of its prose.
func checkSnapshot(t *testing.T, n *Node) {
	t.Helper()
	elements := n.At("snapshot", "element")
	if elements == nil || len(elements.Items) == 0 {
		t.Fatalf("%s has no snapshot", n.Get("url").Str())
	}
	for _, e := range elements.Items {
		if e.Get("path") == nil || e.Get("min") == nil || e.Get("max") == nil {
			t.Errorf("%s: an element has no path, min or max", n.Get("url").Str())
		}
		for _, name := range []string{"definition", "comment", "short", "mapping", "requirements"} {
			if e.Get(name) != nil {
				t.Errorf("%s: kept %s", n.Get("url").Str(), name)
			}
		}
	}
}

func TestCoreProfile(t *testing.T) {
	bp := Core().Find("StructureDefinition", "http://hl7.org/fhir/StructureDefinition/bp|4.0.1")
	var systolic, component *Node
	for _, e := range bp.At("snapshot", "element").Items {
		switch e.Get("id").Str() {
		case "Observation.component":
			component = e
		case "Observation.component:SystolicBP.code.coding:SBPCode.code":
			systolic = e
		}
	}
	if systolic.Get("fixedCode").Str() != "8480-6" {
		t.Errorf("systolic pressure has the code %q", systolic.Get("fixedCode").Str())
	}
	if component.At("slicing", "discriminator").Item(0).Get("path").Str() == "" {
		t.Errorf("Observation.component has no slicing")
	}
	if Core().Find("StructureDefinition", "http://hl7.org/fhir/StructureDefinition/bp|3.0.0") != nil {
		t.Errorf("found by another version")
	}
}

// memory is the allocations that f makes, and their bytes. Nothing else may run.
func memory(f func()) (count, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}

// TestCoreIsReadInParts: opening reads the list of what there is, and finding a profile unpacks that one alone. How long
// that takes is what BenchmarkOpenCore says.
func TestCoreIsReadInParts(t *testing.T) {
	var p *Package
	count, bytes := memory(func() {
		var err error
		if p, err = openCore(embeddedCore); err != nil {
			t.Fatal(err)
		}
	})
	if len(embeddedCore) > 1_500_000 || count > 15_000 || bytes > 4<<20 {
		t.Errorf("%d bytes; opening takes %d allocations, %d bytes", len(embeddedCore), count, bytes)
	}
	for _, url := range []string{"vitalsigns", "bp", "patient-birthPlace", "data-absent-reason"} {
		count, bytes := memory(func() {
			if p.Find("StructureDefinition", "http://hl7.org/fhir/StructureDefinition/"+url) == nil {
				t.Fatal(url)
			}
		})
		if count > 200 || bytes > 1<<20 {
			t.Errorf("%s: finding it takes %d allocations, %d bytes", url, count, bytes)
		}
	}
}

func TestCoreConcurrently(t *testing.T) {
	p, err := openCore(embeddedCore)
	if err != nil {
		t.Fatal(err)
	}
	urls := p.URLs("CodeSystem")[:50]
	var all sync.WaitGroup
	nodes := make([][]*Node, 4)
	for i := range nodes {
		all.Go(func() {
			for _, url := range urls {
				nodes[i] = append(nodes[i], p.Find("CodeSystem", url))
			}
		})
	}
	all.Wait()
	for j := range urls {
		for i := range nodes {
			if nodes[i][j] == nil || nodes[i][j] != nodes[0][j] {
				t.Fatalf("%s is another one in goroutine %d", urls[j], i)
			}
		}
	}
}

func TestDamagedCore(t *testing.T) {
	for _, cut := range []int{0, len(coreMagic), len(coreMagic) + sha256.Size, len(embeddedCore) / 2, len(embeddedCore) - 1} {
		if _, err := openCore(embeddedCore[:cut]); err == nil {
			t.Errorf("cut at %d: accepted", cut)
		}
	}
	for _, at := range []int{0, len(coreMagic) + sha256.Size, len(coreMagic) + sha256.Size + 8} {
		damaged := bytes.Clone(embeddedCore)
		damaged[at] ^= 1
		if _, err := openCore(damaged); err == nil {
			t.Errorf("changed at %d: accepted", at)
		}
	}
	damaged := bytes.Clone(embeddedCore)
	damaged[len(damaged)-20] ^= 1
	p, err := openCore(damaged)
	if err != nil {
		t.Fatal(err)
	}
	urls := p.URLs("ValueSet")
	if p.Find("ValueSet", urls[len(urls)-1]) != nil {
		t.Errorf("a damaged resource is found")
	}
}

func BenchmarkOpenCore(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := openCore(embeddedCore); err != nil {
			b.Fatal(err)
		}
	}
}
