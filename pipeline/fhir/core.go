package fhir

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The embedded package is made by scripts/definitions from HL7's bundles, cut down to what validation reads; `make
// definitions` makes it again. Its form:
//
//	"CLCORE1\n", digest (32 bytes), length of the packed index, index, chunks
//
// with all numbers as unsigned varints, index and chunks each a zstd frame of its own, and in the index, a text being
// its length and its bytes:
//
//	chunks:    count, then packed length of each
//	resources: count, then number of the chunk, length, type, url, version
//
// The resources of a chunk follow each other as JSON in the canonical form. The digest is the SHA-256 over the length
// and the JSON of each resource. Only the index is read on first use; a resource is unpacked when it is asked for.
//
//go:embed core.bin
var embeddedCore []byte

const coreMagic = "CLCORE1\n"

var core = sync.OnceValues(func() (*Package, error) {
	p, err := openCore(embeddedCore)
	if err != nil {
		return &Package{}, fmt.Errorf("embedded R4 package: %w", err)
	}
	return p, nil
})

// Core is the package of the standard's own conformance resources: the extensions and profiles that R4 defines, and its
// value sets and code systems with those of HL7 v2 and v3, and its search parameters, cut down to what validation reads. The definitions of R4's
// types are not in it; [Lookup] has them. A value set that cannot be worked out from the code systems in it carries
// HL7's expansion where that is whole, and one marked as not closed where it is at least a part.
//
// Opening takes about a millisecond, at the first call. A damaged table gives an empty package; [LoadDefinitions] tells.
func Core() *Package {
	p, _ := core()
	return p
}

// unpacker is shared: DecodeAll may be called concurrently.
var unpacker = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(mostFile+1))
})

func unpack(packed []byte) ([]byte, error) {
	u, err := unpacker()
	if err != nil {
		return nil, err
	}
	return u.DecodeAll(packed, nil)
}

var errCore = errors.New("package is cut or malformed")

func openCore(data []byte) (*Package, error) {
	if len(data) < len(coreMagic)+sha256.Size || string(data[:len(coreMagic)]) != coreMagic {
		return nil, errCore
	}
	p := &Package{Name: "hl7.fhir.r4.core", Version: Version, digest: hex.EncodeToString(data[len(coreMagic) : len(coreMagic)+sha256.Size])}
	data = data[len(coreMagic)+sha256.Size:]
	size, n := binary.Uvarint(data)
	if n <= 0 || size > uint64(len(data)-n) {
		return nil, errCore
	}
	index, err := unpack(data[n : n+int(size)])
	if err != nil {
		return nil, err
	}
	data = data[n+int(size):]
	d := &decoder{data: index}
	chunks := make([][]byte, d.count())
	for i := range chunks {
		size := d.number()
		if size > len(data) {
			return nil, errCore
		}
		chunks[i], data = data[:size], data[size:]
	}
	all, start, before := string(d.data), 0, -1
	total := len(d.data)
	text := func() string {
		size := d.count()
		at := total - len(d.data)
		d.data = d.data[size:]
		return all[at : at+size]
	}
	for range d.count() {
		at := d.number()
		chunk := pick(d, chunks, at)
		if at != before {
			start, before = 0, at
		}
		def := &definition{packed: chunk, start: start, size: d.number()}
		start += def.size
		typ, url := text(), text()
		def.version = text()
		p.add(typ, url, def)
	}
	if d.failed || len(d.data) != 0 || len(data) != 0 {
		return nil, errCore
	}
	p.finish()
	return p, nil
}
