package fhir

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Package is a set of conformance resources: a FHIR package of the registry, or the standard's own ([Core]). It is
// immutable and may be used by many goroutines. The nil package has nothing in it.
type Package struct {
	Name, Version string // "hl7.fhir.us.core", "6.1.0"

	digest  string
	doubled []string
	byType  map[string]map[string][]*definition // type → url without version → definitions, newest last
}

// definition is one resource, parsed when it is asked for.
type definition struct {
	version     string
	file        string // of the archive
	packed      []byte // zstd
	start, size int    // of the resource in what packed unpacks to

	once sync.Once
	node *Node
}

// The types of resources that a package is read for.
var definitionTypes = []string{"StructureDefinition", "ValueSet", "CodeSystem", "ConceptMap", "SearchParameter"}

// Limits of a package. The largest of the registry have some ten thousand files and a gigabyte.
const (
	mostEntries  = 200_000
	mostUnpacked = 4 << 30
	mostFile     = 128 << 20
	freeUnpacked = 64 << 20 // so much any package may unpack to, however small it is
	mostRatio    = 200      // beyond, so many times its own size
)

// ReadPackage reads a FHIR package as the registry publishes it (confluence.hl7.org/display/FHIR/NPM+Package+Specification):
// a gzipped tar whose resources are the files package/*.json. Those of its subfolders, examples among them, are no
// definitions and are not read; of the rest the StructureDefinitions, ValueSets, CodeSystems, ConceptMaps and SearchParameters are
// kept.
// A CodeSystem may name the value set of all its codes; the package then has that too, whether or not it is spelled out.
//
// An error, which begins with name, says what is wrong with which file of the archive: a path that leaves the archive,
// a link, JSON that cannot be read, a package of another version of FHIR, or a size beyond what any package has. Two files
// that define one canonical in one version differently are not an error, since published packages have such; the one whose
// name comes last counts, and [Package.Doubled] tells.
func ReadPackage(r io.Reader, name string) (*Package, error) {
	p, err := readPackage(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

func readPackage(r io.Reader) (*Package, error) {
	in := &counted{r: r}
	zip, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("is not a gzipped archive: %w", err)
	}
	b, err := newPackageReader()
	if err != nil {
		return nil, err
	}
	defer b.pack.Close()
	unpacked := &bounded{r: zip, in: in}
	archive := tar.NewReader(unpacked)
	for entries := 0; ; entries++ {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot be read as an archive: %w", err)
		}
		if entries == mostEntries {
			return nil, fmt.Errorf("has more than %d files", mostEntries)
		}
		if err := b.entry(head, archive); err != nil {
			return nil, fmt.Errorf("%s: %w", head.Name, err)
		}
	}
	if _, err := io.Copy(io.Discard, unpacked); err != nil { // the check sum stands at the end
		return nil, fmt.Errorf("cannot be read to its end: %w", err)
	}
	return b.finish()
}

// packageReader collects what a package is made of.
type packageReader struct {
	p     *Package
	pack  *zstd.Encoder
	head  bool                         // package.json was there
	texts map[string][sha256.Size]byte // type, url and version → digest of the text
	sums  map[string][sha256.Size]byte // file → digest of its text, of the definitions
	whole map[string]string            // value set → the code system that says that it is all of its codes
}

func newPackageReader() (*packageReader, error) {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &packageReader{p: &Package{}, pack: pack, texts: map[string][sha256.Size]byte{}, sums: map[string][sha256.Size]byte{}, whole: map[string]string{}}, nil
}

// NewPackage makes a package of resources, as [ReadPackage] does of an archive: what is not a definition of a type that is
// kept is left out, and of two that define one canonical in one version the last counts ([Package.Doubled] tells).
func NewPackage(name, version string, resources ...*Node) (*Package, error) {
	b, err := newPackageReader()
	if err != nil {
		return nil, err
	}
	defer b.pack.Close()
	b.p.Name, b.p.Version, b.head = name, version, true
	for i, n := range resources {
		b.definition(fmt.Sprintf("%09d", i), n, n.AppendCanonical(nil))
	}
	return b.finish()
}

func (b *packageReader) entry(head *tar.Header, r io.Reader) error {
	name := path.Clean(head.Name)
	if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsAny(head.Name, "\\\x00") {
		return errors.New("the path leaves the archive")
	}
	switch head.Typeflag {
	case tar.TypeLink, tar.TypeSymlink:
		return errors.New("is a link, which no FHIR package has")
	case tar.TypeReg:
	default:
		return nil // a folder, or a remark of the archive's form
	}
	dir, file := path.Split(name)
	if dir != "package/" || path.Ext(file) != ".json" || strings.HasPrefix(file, ".") {
		return nil
	}
	if head.Size > mostFile {
		return fmt.Errorf("has %d bytes, and at most %d are read", head.Size, mostFile)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	node, err := Parse(data)
	if err != nil {
		return fmt.Errorf("is not valid JSON: %w", err)
	}
	if file == "package.json" {
		return b.manifest(node)
	}
	b.definition(name, node, data)
	return nil
}

// manifest reads package.json.
func (b *packageReader) manifest(n *Node) error {
	b.head = true
	b.p.Name, b.p.Version = n.Get("name").Str(), n.Get("version").Str()
	if b.p.Name == "" {
		return errors.New("gives the package no name")
	}
	versions := n.Get("fhirVersions")
	if versions == nil {
		versions = n.Get("fhir-version-list") // as packages of before 2019 call it
	}
	if versions == nil || len(versions.Items) == 0 {
		return nil
	}
	var given []string
	for _, v := range versions.Items {
		if strings.HasPrefix(v.Str(), "4.0") {
			return nil
		}
		given = append(given, v.Str())
	}
	return fmt.Errorf("the package is for FHIR %s, not for R4 (%s)", strings.Join(given, ", "), Version)
}

func (b *packageReader) definition(file string, n *Node, text []byte) {
	typ, url, version := n.ResourceType(), n.Get("url").Str(), n.Get("version").Str()
	if !slices.Contains(definitionTypes, typ) || url == "" {
		return
	}
	sum := sha256.Sum256(text)
	b.sums[file] = sum
	key := typ + " " + url + "|" + version
	if before, ok := b.texts[key]; ok && before != sum {
		b.p.doubled = append(b.p.doubled, key)
	}
	b.texts[key] = sum
	if set := withoutVersion(n.Get("valueSet").Str()); typ == "CodeSystem" && set != "" {
		b.whole[set] = url
	}
	b.p.add(typ, url, &definition{version: version, file: file, packed: b.pack.EncodeAll(text, nil), size: len(text)})
}

func (b *packageReader) finish() (*Package, error) {
	if !b.head {
		return nil, errors.New("has no package/package.json, so it is not a FHIR package")
	}
	h := sha256.New()
	for _, text := range []string{b.p.Name, b.p.Version} {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(text)))) // a hash never fails
		_, _ = h.Write([]byte(text))
	}
	for _, file := range slices.Sorted(maps.Keys(b.sums)) {
		sum := b.sums[file]
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(file))))
		_, _ = h.Write([]byte(file))
		_, _ = h.Write(sum[:])
	}
	b.p.digest = hex.EncodeToString(h.Sum(nil))
	for set, system := range b.whole {
		if b.p.byType["ValueSet"][set] == nil {
			text := AllCodes(set, system).AppendCanonical(nil)
			b.p.add("ValueSet", set, &definition{packed: b.pack.EncodeAll(text, nil), size: len(text)})
		}
	}
	b.p.finish()
	return b.p, nil
}

// AllCodes is the ValueSet resource, under that URL, of all codes of a code system.
func AllCodes(url, system string) *Node {
	include := NewObject(Member{Name: "system", Value: NewString(system)})
	return NewObject(
		Member{Name: "resourceType", Value: NewString("ValueSet")},
		Member{Name: "url", Value: NewString(url)},
		Member{Name: "compose", Value: NewObject(Member{Name: "include", Value: NewArray(include)})},
	)
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded ends the unpacking of an archive that only exists to waste time and space.
type bounded struct {
	r   io.Reader
	in  *counted
	out int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.out += int64(n)
	if b.out > mostUnpacked || b.out > freeUnpacked && b.out > b.in.n*mostRatio {
		return 0, errors.New("it unpacks to more than any FHIR package does")
	}
	return n, err
}

// add is for building.
func (p *Package) add(typ, url string, d *definition) {
	if p.byType == nil {
		p.byType = map[string]map[string][]*definition{}
	}
	if p.byType[typ] == nil {
		p.byType[typ] = map[string][]*definition{}
	}
	p.byType[typ][url] = append(p.byType[typ][url], d)
}

// finish puts the versions of each canonical in order.
func (p *Package) finish() {
	slices.Sort(p.doubled)
	p.doubled = slices.Compact(p.doubled)
	for _, byURL := range p.byType {
		for _, list := range byURL {
			slices.SortFunc(list, func(a, b *definition) int {
				return cmp.Or(compareVersions(a.version, b.version), strings.Compare(a.file, b.file))
			})
		}
	}
}

// compareVersions puts 2.10 after 2.9, and any version after none.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if x == y {
			continue
		}
		if isDigits(x) && isDigits(y) {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// Find is the definition of that type ("StructureDefinition", "ValueSet", "CodeSystem", "ConceptMap",
// "SearchParameter") under a canonical
// URL, or nil. With a version after `|` it must be of that version, of one that the version begins (4.0 of 4.0.1), or of
// none; without, the newest is meant. The node is parsed at the first call and shared: read it only.
func (p *Package) Find(typ, url string) *Node {
	if p == nil {
		return nil
	}
	plain := withoutVersion(url)
	list := p.byType[typ][plain]
	var near *definition
	for i := len(list) - 1; i >= 0; i-- {
		d := list[i]
		if len(plain) == len(url) || d.version == "" || d.version == url[len(plain)+1:] {
			return d.parsed()
		}
		if near == nil && strings.HasPrefix(d.version, url[len(plain)+1:]+".") {
			near = d
		}
	}
	if near != nil {
		return near.parsed()
	}
	return nil
}

// parsed is the resource. Its text was parsed before, so there is no error, but for a damaged embedded package, whose
// resources are absent.
func (d *definition) parsed() *Node {
	d.once.Do(func() {
		if text, err := unpack(d.packed); err == nil && d.start+d.size <= len(text) {
			d.node, _ = Parse(text[d.start : d.start+d.size])
		}
	})
	return d.node
}

// Len is the number of definitions.
func (p *Package) Len() int {
	n := 0
	if p != nil {
		for _, byURL := range p.byType {
			for _, list := range byURL {
				n += len(list)
			}
		}
	}
	return n
}

// URLs lists the canonical URLs of a type, without versions, sorted.
func (p *Package) URLs(typ string) []string {
	if p == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(p.byType[typ]))
}

// Doubled lists what several files define differently, as type, a blank, and canonical URL with version, sorted.
func (p *Package) Doubled() []string {
	if p == nil {
		return nil
	}
	return slices.Clone(p.doubled)
}

// Digest is the SHA-256, in hex, of what is in the package: name, version and definitions, however they were packed.
func (p *Package) Digest() string {
	if p == nil {
		return ""
	}
	return p.digest
}
