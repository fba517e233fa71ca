package mapping

import (
	"strings"
	"testing"
	"testing/fstest"
)

// FuzzInclude: whatever stands in a mapping, a fragment and a pack.yaml, they are read and compiled without a panic and
// within bounds, and each fault has a place in one of the files.
func FuzzInclude(f *testing.F) {
	mapping := obs("skip: {include: f}\nconstants: {a: x}\n", "  method: {include: {f: {x: = NOTE & %a, y: [1]}}}\n  note: [{include: [f, g]}]\n")["observation.yaml"]
	f.Add(mapping, "takes: {x: , y: = %x}\ngives: {text: = %x & %y & 'z', coding: = %y}\n", "constants: {b: = 1 + 1}\ndefaults: {meta: {source: 'urn:x'}, optional: [Z]}\n")
	f.Add(mapping, "gives: {include: f}\n", "defaults: {profile: {Observation: 'http://x'}, patient: = ref('patient', PATIENT), unused: {A: b}}\n")
	f.Add(mapping, "takes: [x]\ngives: [= %x, {include: {f: {x: {include: f}}}}]\n", "constants: {c: [a, = @2020, {}]}\n")
	f.Add("include: f\n", "gives: {from: obs, to: Observation, key: [CODE], patient: none, resource: {include: g}}\n", "x")
	f.Add("to: ValueSet\nresource: {compose: {include: []}, include: {f: , g: 1}}\n", "gives:\n", "")
	f.Fuzz(func(t *testing.T, mapping, fragment, settings string) {
		if len(mapping)+len(fragment)+len(settings) > 1<<13 {
			t.Skip("the bounds are tested apart")
		}
		files := map[string]string{"patient.yaml": patientMapping, "observation.yaml": mapping, "fragments/f.yaml": fragment, "fragments/g.yaml": "gives: {text: g}\n", "pack.yaml": settings}
		fsys := fstest.MapFS{}
		for name, text := range files {
			fsys[name] = &fstest.MapFile{Data: []byte(text)}
		}
		pack, faults := Read(fsys, "pack")
		pack.Own = true
		_, notices, more := Compile([]*Pack{pack}, Options{Migration: "m", IDKey: []byte("0123456789abcdef"), Sources: []Source{{Name: "ehr", Tables: testTables}}})
		for _, n := range notices {
			if n.Line > 0 {
				more = append(more, n.Fault)
			}
		}
		for _, x := range append(faults, more...) {
			text, ok := files[strings.TrimPrefix(x.File, "pack/")]
			if !ok || x.Line < 0 || x.Line > len(splitLines(text))+1 { // YAML counts the end of the file as a line
				t.Errorf("%s has no place in the files", x)
			}
		}
	})
}
