package plan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// ReadGuides reads what resources are judged by beside R4. Each name is a FHIR package as the registry has it, a folder of
// definitions as JSON (as an author's tools write them, or a package unpacked), or one definition. All faults at once.
func ReadGuides(names []string) ([]*fhir.Package, error) {
	var out []*fhir.Package
	var errs []error
	for _, name := range names {
		p, err := readGuide(name)
		if err != nil {
			errs = append(errs, Usagef("guide: %w", err))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

func readGuide(name string) (*fhir.Package, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return readGuideFolder(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		return fhir.ReadPackage(in, name)
	}
	if !strings.EqualFold(filepath.Ext(name), ".json") {
		return nil, fmt.Errorf("%s: is no FHIR package (.tgz), no folder, and no .json", name)
	}
	return newGuide(name, []string{name})
}

// readGuideFolder reads the definitions of a folder; of a package unpacked they are in `package` below it. Other JSON is
// left out, but must be JSON.
func readGuideFolder(name string) (*fhir.Package, error) {
	dir := name
	if _, err := os.Stat(filepath.Join(name, "package", "package.json")); err == nil {
		dir = filepath.Join(name, "package")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.EqualFold(filepath.Ext(e.Name()), ".json") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return newGuide(name, files)
}

// newGuide makes a package of files.
func newGuide(name string, files []string) (*fhir.Package, error) {
	var nodes []*fhir.Node
	var errs []error
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n, err := fhir.Parse(bytes.TrimPrefix(data, []byte("\uFEFF")))
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%w", file, err)) // file:line:column: what is wrong
			continue
		}
		if version := n.Get("fhirVersion").Str(); n.ResourceType() == "StructureDefinition" && version != "" && !strings.HasPrefix(version, "4.0") {
			errs = append(errs, fmt.Errorf("%s: the definition is for FHIR %s, not for R4 (%s)", file, version, fhir.Version))
			continue
		}
		nodes = append(nodes, n)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	p, err := fhir.NewPackage(filepath.Base(name), "", nodes...)
	if err != nil {
		return nil, err
	}
	for _, what := range p.Doubled() {
		errs = append(errs, fmt.Errorf("%s: defines %s twice, and differently", name, what))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if p.Len() == 0 {
		return nil, fmt.Errorf("%s: holds no StructureDefinition, ValueSet, CodeSystem, ConceptMap or SearchParameter with a url", name)
	}
	return p, nil
}
