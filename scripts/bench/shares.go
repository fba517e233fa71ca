package main

import (
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// parts are what the engine's time goes into. A sample of the profile belongs to the part of the innermost function
// that is listed here, so that nothing needs to be counted while the engine runs.
var parts = []struct{ part, function string }{
	{"garbage collection", "runtime.gcBgMarkWorker"},
	{"garbage collection", "runtime.gcAssistAlloc"},
	{"garbage collection", "runtime.bgsweep"},
	{"garbage collection", "runtime.wbBufFlush"},
	{"garbage collection", "runtime.gcStart"},
	{"read: digest of the source", engineName + "extract/csv.(*hashReader)"},
	{"read", engineName + "extract"},
	{"ids", engineName + "mapping.(*hasher)"},
	{"ids", engineName + "mapping.ID"},
	{"formulas", engineName + "fhirpath"},
	{"formulas, checks and JSON", engineName + "mapping"},
	{"formulas, checks and JSON", engineName + "fhir"},
	{"formulas, checks and JSON", engineName + "terminology"},
	{"digest of the resource", engineName + "phi.(*sealKey).digest"},
	{"keys", engineName + "phi.(*keyCache)"},
	{"keys", engineName + "phi.(*Keyring)"},
	{"keys", engineName + "phi.(*keyStore)"},
	{"keys", engineName + "phi.newPatientKey"},
	{"keys", engineName + "phi.newAEAD"},
	{"seal", engineName + "phi"},
	{"pack (zstd)", engineName + "stage.compress"},
	{"check station", engineName + "stage.(*Sorter)"},
	{"check station", engineName + "stage.(*indexMerge)"},
	{"check station", engineName + "stage.mergeIndexes"},
	{"check station", engineName + "stage.(*merger["},
	{"check station", engineName + "stage.(*indexReader)"},
	{"check station", "run.(*checker)"},
	{"batches: index", engineName + "stage.(*indexBuffer)"},
	{"batches: encrypt, digest, write", engineName + "stage"},
	{"ledger", engineName + "ledger"},
	{"ledger", "modernc.org/sqlite"},
	{"the run around them", engineName},
	{"the run around them", "github.com/chartlift/chartlift/pipeline"},
}

const engineName = "github.com/chartlift/chartlift/pipeline/"

// sharesOf reads a CPU profile and tells the share of each part, and nanoseconds per resource.
func sharesOf(path, title string, resources int64) (string, error) {
	p, err := readProfile(path)
	if err != nil {
		return "", fmt.Errorf("read the profile %s: %w", path, err)
	}
	times := map[string]int64{}
	var all int64
	for _, s := range p.samples {
		times[p.part(s.locations)] += s.nanoseconds
		all += s.nanoseconds
	}
	names := make([]string, 0, len(times))
	for name := range times {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b))
	})
	var b strings.Builder
	fmt.Fprintf(&b, "\nengine, %s: shares of %.2f s on the processor\n", title, float64(all)/1e9)
	for _, name := range names {
		fmt.Fprintf(&b, "%6.1f%% %7d ns/resource  %s\n", 100*float64(times[name])/float64(max(all, 1)), times[name]/max(resources, 1), name)
	}
	return b.String(), nil
}

// profile is what is needed of a CPU profile (github.com/google/pprof, proto/profile.proto).
type profile struct {
	samples   []sample
	locations map[uint64][]uint64 // functions, innermost first
	functions map[uint64]uint64   // name
	texts     []string
}

type sample struct {
	locations   []uint64 // innermost first
	nanoseconds int64
}

// part names the part that a stack belongs to. What validation has done by others is its own.
func (p *profile) part(stack []uint64) string {
	for _, at := range stack {
		for _, f := range p.locations[at] {
			if strings.HasPrefix(p.texts[p.functions[f]], engineName+"validate") {
				return "validation"
			}
		}
	}
	for _, at := range stack {
		for _, f := range p.locations[at] {
			name := p.texts[p.functions[f]]
			for _, x := range parts {
				if strings.HasPrefix(name, x.function) || strings.HasPrefix(name, engineHome+x.function) {
					return x.part
				}
			}
		}
	}
	return "Go's runtime and the rest"
}

const engineHome = "github.com/chartlift/chartlift/"

var errProfile = errors.New("it is not in the form of a profile")

func readProfile(path string) (*profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	p := &profile{locations: map[uint64][]uint64{}, functions: map[uint64]uint64{}}
	err = fields(data, func(field int, _ uint64, body []byte) error {
		switch field {
		case 2: // sample: 1 locations, 2 values, of which the last is nanoseconds
			var s sample
			var values []uint64
			err := fields(body, func(field int, v uint64, body []byte) error {
				switch field {
				case 1:
					s.locations = numbers(s.locations, v, body)
				case 2:
					values = numbers(values, v, body)
				}
				return nil
			})
			if len(values) > 0 {
				s.nanoseconds = int64(values[len(values)-1])
			}
			p.samples = append(p.samples, s)
			return err
		case 4: // location: 1 id, 4 lines, each: 1 function
			var id uint64
			var functions []uint64
			err := fields(body, func(field int, v uint64, body []byte) error {
				switch field {
				case 1:
					id = v
				case 4:
					return fields(body, func(field int, v uint64, _ []byte) error {
						if field == 1 {
							functions = append(functions, v)
						}
						return nil
					})
				}
				return nil
			})
			p.locations[id] = functions
			return err
		case 5: // function: 1 id, 2 name
			var id, name uint64
			err := fields(body, func(field int, v uint64, _ []byte) error {
				switch field {
				case 1:
					id = v
				case 2:
					name = v
				}
				return nil
			})
			p.functions[id] = name
			return err
		case 6:
			p.texts = append(p.texts, string(body))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range p.functions {
		if name >= uint64(len(p.texts)) {
			return nil, errProfile
		}
	}
	if len(p.texts) == 0 {
		return nil, errProfile
	}
	return p, nil
}

// numbers appends a repeated number, which is packed or not.
func numbers(dst []uint64, v uint64, packed []byte) []uint64 {
	if packed == nil {
		return append(dst, v)
	}
	for len(packed) > 0 {
		v, n := binary.Uvarint(packed)
		if n <= 0 {
			return dst
		}
		dst, packed = append(dst, v), packed[n:]
	}
	return dst
}

// fields goes through the fields of a message of protocol buffers: a number, or a body.
func fields(b []byte, each func(field int, v uint64, body []byte) error) error {
	for len(b) > 0 {
		key, n := binary.Uvarint(b)
		if n <= 0 {
			return errProfile
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return errProfile
		}
		b = b[n:]
		var body []byte
		switch key & 7 {
		case 0:
		case 2:
			if v > uint64(len(b)) {
				return errProfile
			}
			body, b = b[:v:v], b[v:]
		default:
			return errProfile
		}
		if err := each(int(key>>3), v, body); err != nil {
			return err
		}
	}
	return nil
}
