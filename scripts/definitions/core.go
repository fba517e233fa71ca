package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/chartlift/chartlift/pipeline/fhir"
)

// The form of the file is described in pipeline/fhir/core.go.
const coreMagic = "CLCORE1\n"

// chunkSize is about how much text is packed together: enough to find what repeats, and little enough to unpack for the
// sake of one resource.
const chunkSize = 128 << 10

// coreResource is a conformance resource of the standard, cut down to what decides.
type coreResource struct {
	typ, url, version string
	node              *fhir.Node
	text              []byte
}

// The bundles with the standard's own extensions, profiles, value sets, code systems and search parameters.
var coreBundles = []string{"extension-definitions", "profiles-others", "valuesets", "v3-codesystems", "v2-tables", "search-parameters"}

// compileCore reads the bundles and makes the package of the standard's own definitions.
func compileCore(dir string) (data []byte, remarks []string, err error) {
	var list []*coreResource
	given, sets := map[string]bool{}, map[string]bool{}
	for _, name := range coreBundles {
		err := eachResource(dir, name, func(typ string, raw json.RawMessage) error {
			cut := cuts[typ]
			if cut == nil {
				return nil
			}
			node, err := fhir.Parse(raw)
			if err != nil {
				return err
			}
			r := &coreResource{typ: typ, node: cut(node)}
			splitVersion(r.node, "url")
			r.url, r.version = r.node.Get("url").Str(), r.node.Get("version").Str()
			if r.url == "" {
				return fmt.Errorf("%s %s has no url", typ, node.ID())
			}
			key := typ + " " + r.url + "|" + r.version
			if given[key] {
				return fmt.Errorf("%s is there twice", key)
			}
			given[key] = true
			sets[r.url] = sets[r.url] || typ == "ValueSet"
			list = append(list, r)
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	for _, r := range list {
		set, _, _ := strings.Cut(r.node.Get("valueSet").Str(), "|")
		if r.typ != "CodeSystem" || set == "" || sets[set] {
			continue
		}
		sets[set] = true
		list = append(list, &coreResource{typ: "ValueSet", url: set, node: fhir.AllCodes(set, r.url)})
	}
	slices.SortFunc(list, func(a, b *coreResource) int {
		if c := strings.Compare(a.typ, b.typ); c != 0 {
			return c
		}
		if c := strings.Compare(a.url, b.url); c != 0 {
			return c
		}
		return strings.Compare(a.version, b.version)
	})
	remarks, err = addExpansions(dir, list)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range list {
		r.text = r.node.AppendCanonical(nil)
	}
	data, err = encodeCore(list)
	return data, remarks, err
}

// encodeCore packs the resources, in their order.
func encodeCore(list []*coreResource) ([]byte, error) {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	var chunks [][]byte
	var open, entries []byte
	put := func(s string) {
		entries = binary.AppendUvarint(entries, uint64(len(s)))
		entries = append(entries, s...)
	}
	flush := func() {
		if len(open) > 0 {
			chunks = append(chunks, pack.EncodeAll(open, nil))
			open = open[:0]
		}
	}
	digest := sha256.New()
	for _, r := range list {
		if len(open) > 0 && len(open)+len(r.text) > chunkSize {
			flush()
		}
		entries = binary.AppendUvarint(entries, uint64(len(chunks)))
		entries = binary.AppendUvarint(entries, uint64(len(r.text)))
		put(r.typ)
		put(r.url)
		put(r.version)
		open = append(open, r.text...)
		_, _ = digest.Write(binary.AppendUvarint(nil, uint64(len(r.text)))) // a hash never fails
		_, _ = digest.Write(r.text)
	}
	flush()
	index := binary.AppendUvarint(nil, uint64(len(chunks)))
	for _, c := range chunks {
		index = binary.AppendUvarint(index, uint64(len(c)))
	}
	index = binary.AppendUvarint(index, uint64(len(list)))
	index = pack.EncodeAll(append(index, entries...), nil)

	var out bytes.Buffer
	out.WriteString(coreMagic)
	out.Write(digest.Sum(nil))
	out.Write(binary.AppendUvarint(nil, uint64(len(index))))
	out.Write(index)
	for _, c := range chunks {
		out.Write(c)
	}
	return out.Bytes(), nil
}

// cuts says for each type of resource how it is cut down to what decides something.
var cuts = map[string]func(*fhir.Node) *fhir.Node{
	"StructureDefinition": cutStructure, "ValueSet": cutValueSet, "CodeSystem": cutCodeSystem,
	"SearchParameter": func(n *fhir.Node) *fhir.Node { return keep(n, "resourceType", "url", "version", "type") },
}

// keep is a copy of an object with the named members only.
func keep(n *fhir.Node, names ...string) *fhir.Node {
	out := &fhir.Node{Kind: fhir.Object}
	for _, m := range n.Members {
		if slices.Contains(names, m.Name) {
			out.Members = append(out.Members, m)
		}
	}
	return out
}

// splitVersion moves a version out of the URL under that name, where three tables of HL7 v2 have it, in R4's bundle
// (`…/v2-0006|2.1`), into a member of its own.
func splitVersion(n *fhir.Node, name string) {
	if url, version, ok := strings.Cut(n.Get(name).Str(), "|"); ok {
		n.Set(name, fhir.NewString(url)).Set("version", fhir.NewString(version))
	}
}

// replace puts a cut list in the place of a member, if it is there and a list.
func replace(n *fhir.Node, name string, cut func(*fhir.Node) *fhir.Node) {
	list := n.Get(name)
	if list == nil {
		return
	}
	out := &fhir.Node{Kind: fhir.Array}
	for _, item := range list.Items {
		if made := cut(item); made != nil {
			out.Items = append(out.Items, made)
		}
	}
	if len(out.Items) == 0 {
		out = nil
	}
	n.Set(name, out)
}

func cutStructure(n *fhir.Node) *fhir.Node {
	out := keep(n, "resourceType", "url", "version", "name", "type", "kind", "abstract", "derivation", "baseDefinition",
		"context", "contextInvariant", "fhirVersion")
	snapshot := keep(n.Get("snapshot"), "element")
	replace(snapshot, "element", cutElement)
	return out.Set("snapshot", snapshot)
}

// elementMembers are what decides of an ElementDefinition; fixed[x], pattern[x], minValue[x] and maxValue[x] besides.
var elementMembers = strings.Fields(`id path sliceName sliceIsConstraining slicing min max base contentReference type
	maxLength constraint binding mustSupport isModifier`)

func cutElement(n *fhir.Node) *fhir.Node {
	out := &fhir.Node{Kind: fhir.Object}
	for _, m := range n.Members {
		kept := slices.Contains(elementMembers, m.Name)
		for _, choice := range []string{"fixed", "pattern", "minValue", "maxValue"} {
			kept = kept || strings.HasPrefix(m.Name, choice)
		}
		if kept {
			out.Members = append(out.Members, m)
		}
	}
	if slicing := out.Get("slicing"); slicing != nil {
		out.Set("slicing", keep(slicing, "discriminator", "ordered", "rules"))
	}
	replace(out, "constraint", func(c *fhir.Node) *fhir.Node { return keep(c, "key", "severity", "human", "expression") })
	if binding := out.Get("binding"); binding != nil {
		cut := keep(binding, "strength", "valueSet", "extension")
		replace(cut, "extension", func(x *fhir.Node) *fhir.Node {
			if x.Get("url").Str() != structurePrefix+"elementdefinition-maxValueSet" {
				return nil
			}
			return x
		})
		out.Set("binding", cut)
	}
	return out
}

func cutValueSet(n *fhir.Node) *fhir.Node {
	out := keep(n, "resourceType", "url", "version", "name")
	if compose := n.Get("compose"); compose != nil {
		cut := keep(compose, "inactive", "include", "exclude")
		for _, side := range []string{"include", "exclude"} {
			replace(cut, side, func(x *fhir.Node) *fhir.Node {
				x = keep(x, "system", "version", "concept", "filter", "valueSet")
				splitVersion(x, "system")
				replace(x, "concept", func(c *fhir.Node) *fhir.Node { return keep(c, "code") })
				return x
			})
		}
		out.Set("compose", cut)
	}
	return out
}

func cutCodeSystem(n *fhir.Node) *fhir.Node {
	out := keep(n, "resourceType", "url", "version", "name", "content", "caseSensitive", "hierarchyMeaning", "valueSet",
		"supplements", "property", "concept")
	replace(out, "property", func(p *fhir.Node) *fhir.Node { return keep(p, "code", "uri", "type") })
	replace(out, "concept", cutConcept)
	return out
}

func cutConcept(n *fhir.Node) *fhir.Node {
	out := keep(n, "code", "display", "property", "concept")
	replace(out, "property", func(p *fhir.Node) *fhir.Node {
		if p.Get("code").Str() == "deprecationDate" {
			return nil
		}
		return p
	})
	replace(out, "concept", cutConcept)
	return out
}
