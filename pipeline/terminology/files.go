package terminology

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/digest"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// Definitions are code systems and value sets that users bring as files ([ReadFiles]), for [Store.Add].
type Definitions struct {
	systems []*CodeSystem
	sets    []*fhir.Node
	whole   []*fhir.Node // value sets of all codes of a system, as the system names them
	ignored []string
	digest  string
}

// Systems are the code systems, in the order of the files.
func (d *Definitions) Systems() []*CodeSystem { return slices.Clone(d.systems) }

// ValueSets are the canonical URLs of the value sets, in the order of the files.
func (d *Definitions) ValueSets() []string {
	urls := make([]string, len(d.sets))
	for i, n := range d.sets {
		urls[i] = n.Get("url").Str()
	}
	return urls
}

// Ignored are the files of folders that hold nothing of the kind, sorted: documents, other tables of a release.
func (d *Definitions) Ignored() []string { return slices.Clone(d.ignored) }

// Digest is the SHA-256, in hex, of what the files hold, whatever they are called and in whichever order they were given.
func (d *Definitions) Digest() string { return d.digest }

// limit bounds what a packed file may unpack to. SNOMED CT's descriptions have some hundred megabytes.
var limit = packed.Limit{Unpacked: 1 << 30, Ratio: 100}

// ReadFiles reads code systems and value sets from files, or from all files below a folder that are of a known kind:
//
//   - FHIR R4 CodeSystem and ValueSet in JSON: a resource, a Bundle, or NDJSON
//   - CSV with the header `code,display,parent` (the latter two may be left out) below the line `# system: URI`
//   - SNOMED CT: the RF2 snapshot's files of concepts, descriptions and relationships, together. Retired concepts are
//     codes too; the displays are the fully specified names. Of an expression of several concepts nothing is known
//   - LOINC: Loinc.csv, with the properties that R4 names. Of answers, lists and parts nothing is known
//   - RxNorm: RXNCONSO.RRF, the concepts that have a name of RxNorm's own, with the property TTY
//
// each also with gzip (.gz) or zstd (.zst). What kind a file is shows by its beginning, not by its name, except for
// RXNCONSO.RRF, which has no header. A file given by name that is of no known kind is a fault; one found in a folder is
// listed by [Definitions.Ignored]. The large ones are streamed.
//
// All faults are found at once, each with file and line; the definitions are nil if there is one. Two files that define
// the same system in the same version are a fault too.
func ReadFiles(ctx context.Context, fsys fs.FS, paths ...string) (*Definitions, Faults) {
	r := &fileReader{ctx: ctx, fsys: fsys, d: &Definitions{}, by: map[string]string{}, snomed: newSnomed()}
	for _, p := range paths {
		r.find(p)
	}
	// The three kinds of SNOMED CT's files are read in the order in which each needs what came before.
	slices.SortStableFunc(r.files, func(a, b source) int { return int(a.kind) - int(b.kind) })
	for _, f := range r.files {
		r.read(f)
	}
	if r.snomed.used() {
		r.addSystem(r.snomed.file, r.snomed.finish(r))
	}
	if len(r.faults) > 0 {
		return nil, r.faults.Sort()
	}
	slices.Sort(r.sums)
	all := sha256.New()
	for _, sum := range r.sums {
		_, _ = io.WriteString(all, sum) // a hash never fails
	}
	r.d.digest = hex.EncodeToString(all.Sum(nil))
	slices.Sort(r.d.ignored)
	return r.d, nil
}

// kind is what a file is.
type kind uint8

const (
	unrecognised kind = iota
	jsonFile
	csvFile
	loincFile
	rxnormFile
	snomedConcepts
	snomedDescriptions
	snomedRelationships
)

// source is a file to read.
type source struct {
	name string
	kind kind
}

type fileReader struct {
	ctx    context.Context
	fsys   fs.FS
	files  []source
	d      *Definitions
	by     map[string]string // what is defined → file
	sums   []string          // of the files
	snomed *snomed
	faults Faults
}

func (r *fileReader) fault(file string, line, column int, hint, format string, args ...any) {
	r.faults = append(r.faults, Fault{File: file, Line: line, Column: column, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// kinds is the hint for a file of no known kind.
const kinds = "known are FHIR CodeSystem and ValueSet in JSON, CSV with the columns code, display and parent, SNOMED CT's RF2 snapshot, Loinc.csv and RXNCONSO.RRF"

// find lists a file, or the files below a folder, with their kinds.
func (r *fileReader) find(name string) {
	info, err := fs.Stat(r.fsys, name)
	if err != nil {
		r.fault(name, 0, 0, "", "cannot be read: %s", cause(err))
		return
	}
	if !info.IsDir() {
		r.list(name, true)
		return
	}
	before := len(r.files)
	err = fs.WalkDir(r.fsys, name, func(p string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			r.fault(p, 0, 0, "", "cannot be read: %s", cause(err))
		case entry.Type().IsRegular():
			r.list(p, false)
		case entry.Type()&fs.ModeSymlink != 0:
			if info, err := fs.Stat(r.fsys, p); err == nil && info.Mode().IsRegular() {
				r.list(p, false)
			} else {
				r.d.ignored = append(r.d.ignored, p)
			}
		}
		return r.ctx.Err()
	})
	if err != nil {
		r.fault(name, 0, 0, "", "cannot be read: %s", cause(err))
	} else if len(r.files) == before && len(r.faults) == 0 {
		r.fault(name, 0, 0, kinds, "the folder has no code systems or value sets")
	}
}

// list notes one file. A named one must be of a known kind.
func (r *fileReader) list(name string, named bool) {
	if slices.ContainsFunc(r.files, func(f source) bool { return f.name == name }) {
		return
	}
	in, done, err := r.open(name, nil, 4096)
	if err != nil {
		r.fault(name, 0, 0, "", "cannot be read: %s", cause(err))
		return
	}
	defer done()
	start, err := in.Peek(4096)
	if err != nil && err != io.EOF {
		r.fault(name, 0, 0, "", "cannot be read: %s", cause(err))
		return
	}
	kind, hint := recognise(name, start)
	switch {
	case kind != unrecognised:
		r.files = append(r.files, source{name, kind})
	case named:
		r.fault(name, 0, 0, hint, "the file is of no kind that has code systems or value sets")
	default:
		r.d.ignored = append(r.d.ignored, name)
	}
}

// open opens a file and unpacks it, past a byte order mark. What is read is hashed too, if there is a hash.
func (r *fileReader) open(name string, sum hash.Hash, buffer int) (in *bufio.Reader, done func(), err error) {
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = f.Close() } // it was only read
	info, err := f.Stat()
	if err != nil {
		done()
		return nil, nil, err
	}
	var plain io.Reader = f
	if how, _ := packed.By(name); how != packed.Plain {
		unpacked, err := packed.Reader(how, f)
		if err != nil {
			done()
			return nil, nil, err
		}
		done = func() { _ = unpacked.Close(); _ = f.Close() }
		plain = limit.Reader(unpacked, info.Size())
	}
	in = bufio.NewReaderSize(digest.NewReader(r.ctx, plain, sum), buffer)
	if start, _ := in.Peek(3); string(start) == "\uFEFF" {
		_, _ = in.Discard(3) // what was peeked can be discarded
	}
	return in, done, nil
}

// recognise says by its beginning what a file is.
func recognise(name string, start []byte) (k kind, hint string) {
	_, base := packed.By(path.Base(name))
	line, _, _ := bytes.Cut(bytes.TrimLeft(start, " \t\r\n"), []byte("\n"))
	line = bytes.TrimRight(line, "\r")
	switch {
	case strings.EqualFold(base, "RXNCONSO.RRF"):
		return rxnormFile, ""
	case len(line) > 0 && line[0] == '{':
		return jsonFile, ""
	case strings.HasPrefix(string(line), rf2Columns):
		return recogniseRF2(base, string(line))
	}
	switch strings.ToLower(path.Ext(base)) {
	case ".tgz":
		return unrecognised, "a FHIR package belongs under guides:"
	case ".zip", ".tar", ".rar", ".7z":
		return unrecognised, "unpack the archive and name its folder"
	}
	cells := strings.Split(string(line), ",")
	for i, cell := range cells {
		cells[i] = strings.Trim(strings.TrimSpace(cell), `"`)
	}
	ours := contains(cells, columnCode) && !slices.ContainsFunc(cells, func(cell string) bool { return !contains(systemColumns, cell) })
	switch {
	case cells[0] == columnLOINC:
		return loincFile, ""
	case ours, len(line) > 0 && line[0] == '#' && strings.HasSuffix(strings.ToLower(base), ".csv"):
		return csvFile, ""
	}
	return unrecognised, kinds
}

// read reads one file.
func (r *fileReader) read(f source) {
	sum := sha256.New()
	in, done, err := r.open(f.name, sum, mostLine)
	if err != nil {
		r.fault(f.name, 0, 0, "", "cannot be read: %s", cause(err))
		return
	}
	defer done()
	before := len(r.faults)
	switch f.kind {
	case jsonFile:
		r.readJSON(f.name, in)
	case csvFile:
		r.addSystem(f.name, r.readSystemCSV(f.name, in))
	case loincFile:
		r.addSystem(f.name, r.readLOINC(f.name, in))
	case rxnormFile:
		r.addSystem(f.name, r.readRxNorm(f.name, in))
	default:
		r.snomed.read(r, f, in)
	}
	if len(r.faults) == before {
		r.sums = append(r.sums, hex.EncodeToString(sum.Sum(nil)))
	}
}

// addSystem takes in a code system; nil is one whose faults are noted.
func (r *fileReader) addSystem(file string, c *CodeSystem) {
	if c != nil && r.fresh(file, "code system", c.url, c.version) {
		r.d.systems = append(r.d.systems, c)
	}
}

// fresh tells that nothing else defines what a file does, and else makes a fault.
func (r *fileReader) fresh(file, what, url, version string) bool {
	key := what + " " + url
	if version != "" {
		key += "|" + version
	}
	if other, ok := r.by[key]; ok {
		if other == file {
			other = "this file, before,"
		}
		r.fault(file, 0, 0, "name only one of them", "%s defines the %s too", other, key)
		return false
	}
	r.by[key] = file
	return true
}

// cause is an error without the path, which stands before it anyway.
func cause(err error) string {
	for {
		switch e := err.(type) {
		case *fs.PathError:
			err = e.Err
		default:
			return err.Error()
		}
	}
}

// mostLine bounds a line of a table, in bytes.
const mostLine = 1 << 20

// eachLine calls use for each line, without its end, until it returns false or there are too many faults. The line is
// valid during the call.
func (r *fileReader) eachLine(file string, in *bufio.Reader, use func(line int, text []byte) bool) {
	before := len(r.faults)
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		switch {
		case err == bufio.ErrBufferFull:
			r.fault(file, n, 0, "", "the line is longer than %d bytes", mostLine)
			return
		case err != nil && err != io.EOF:
			r.fault(file, n, 0, "", "cannot be read: %s", cause(err))
			return
		case len(text) > 0 && !use(n, bytes.TrimRight(text, "\r\n")):
			return
		case len(r.faults)-before >= maxFaults:
			r.fault(file, n, 0, "", "perhaps more: reading stopped after %d faults", maxFaults)
			return
		case err == io.EOF:
			return
		}
	}
}
