package workbench

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sourcegraph/conc/stream"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/plan"
	"github.com/chartlift/chartlift/pipeline/validate"
)

// ValidateOptions says what files are judged by.
type ValidateOptions struct {
	Guides   []string // FHIR packages (.tgz), folders of definitions, or single ones (.json)
	Codes    []string // files and folders of code systems and value sets
	Profiles []string // asked of every resource beside those that it claims
	Stdin    io.Reader
	Workers  int // 0: one per core
	Progress plan.Progress
}

// Validated is the verdict on one resource of a file.
type Validated struct {
	File   string
	Line   int // of the first byte of the resource; 1 for a file of one resource
	Type   string
	Issues []ValidatedIssue
}

// ValidatedIssue is an issue with its place in the file.
type ValidatedIssue struct {
	Line, Column int
	validate.Issue
}

// largestResource bounds what is taken for one resource, in bytes: a Bundle may be large, a file without an end is none.
const largestResource = 1 << 30

// newValidator makes a validator of R4, guides, and code systems and value sets in files.
func newValidator(ctx context.Context, guides, files []string) (*validate.Validator, error) {
	packages, err := plan.ReadGuides(guides)
	if err != nil {
		return nil, err
	}
	codes, faults := plan.ReadCodes(ctx, files)
	if len(faults) > 0 {
		return nil, faults
	}
	return plan.ValidatorOf(plan.StoreOf(packages, codes), packages), nil
}

// ValidateFiles judges every resource of the files, JSON or NDJSON, either of them gzipped, in order; "-" is stdin. What
// could not be judged is answered at the end.
func ValidateFiles(ctx context.Context, files []string, o ValidateOptions, emit func(*Validated) error) ([]validate.Unchecked, error) {
	if o.Progress == nil {
		o.Progress = plan.Silent{}
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	v, err := newValidator(ctx, o.Guides, o.Codes)
	if err != nil {
		return nil, err
	}
	for _, url := range o.Profiles {
		if !v.HasProfile(url) {
			return nil, plan.Usagef("there is no definition of the profile %s in R4 or in the guides", url)
		}
	}
	r := &fileValidator{v: v, o: o, checkers: make(chan *validate.Checker, o.Workers), emit: emit}
	for range o.Workers {
		r.checkers <- v.Checker()
	}
	o.Progress.Stage("validate", "bytes", sizeOf(files))
	defer o.Progress.Done()
	for _, name := range files {
		if err := r.file(ctx, name); err != nil {
			return nil, err
		}
	}
	return v.NotChecked(), nil
}

func sizeOf(files []string) (total int64) {
	for _, name := range files {
		if info, err := os.Stat(name); err == nil {
			total += info.Size()
		}
	}
	return total
}

type fileValidator struct {
	v        *validate.Validator
	o        ValidateOptions
	checkers chan *validate.Checker
	emit     func(*Validated) error
}

func (r *fileValidator) file(ctx context.Context, name string) error {
	in := r.o.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return plan.Usagef("%w", err)
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return plan.Usagef("%s is a folder; name the files, such as %s", name, filepath.Join(name, "*.json"))
		}
		in = f
	}
	buf := bufio.NewReaderSize(&meter{r: in, progress: r.o.Progress}, 1<<20)
	if magic, _ := buf.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		zip, err := gzip.NewReader(buf)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		buf = bufio.NewReaderSize(zip, 1<<20)
	}
	if err := r.resources(ctx, name, buf); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// meter tells the progress what was read.
type meter struct {
	r        io.Reader
	progress plan.Progress
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.progress.Add(int64(n))
	return n, err
}

// resources reads one resource, or one a line if the first line is a whole one and more follow.
func (r *fileValidator) resources(ctx context.Context, name string, in *bufio.Reader) error {
	line, first, err := firstLine(in)
	if err != nil {
		return err
	}
	if _, parseErr := fhir.Parse(first); parseErr != nil {
		rest, err := readUpTo(in, largestResource-len(first))
		if err != nil {
			return err
		}
		return r.emit(r.judge(name, line, append(first, rest...)))
	}
	lines := stream.New().WithMaxGoroutines(r.o.Workers)
	var failed error
	for n := line; len(first) > 0; n++ {
		if err := ctx.Err(); err != nil {
			lines.Wait()
			return err
		}
		if text := bytes.TrimSpace(first); len(text) > 0 {
			at := n
			lines.Go(func() stream.Callback {
				verdict := r.judge(name, at, text)
				return func() {
					if failed == nil {
						failed = r.emit(verdict)
					}
				}
			})
		}
		if first, err = readLine(in); err != nil {
			break
		}
	}
	lines.Wait()
	return errors.Join(failed, err)
}

// firstLine is the first line that is not blank, and its number.
func firstLine(in *bufio.Reader) (n int, line []byte, err error) {
	for n = 1; ; n++ {
		line, err = readLine(in)
		if err != nil || len(line) == 0 || len(bytes.TrimSpace(line)) > 0 {
			return n, line, err
		}
	}
}

var errTooLong = fmt.Errorf("a resource of more than %d bytes", largestResource)

// readLine reads a line with its end; none at the end of the file.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > largestResource:
			return nil, errTooLong
		case err == nil, errors.Is(err, io.EOF):
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func readUpTo(in io.Reader, most int) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	if err == nil && len(data) > most {
		err = errTooLong
	}
	return data, err
}

// judge judges one resource.
func (r *fileValidator) judge(file string, line int, text []byte) *Validated {
	out := &Validated{File: file, Line: line}
	text = bytes.TrimPrefix(text, []byte("\uFEFF")) // a mark that a JSON text should not have, and that says nothing
	node, err := fhir.Parse(text)
	if err != nil {
		x := ValidatedIssue{Line: line, Column: 1, Issue: validate.NotJSON(err)}
		var at *fhir.SyntaxError
		if errors.As(err, &at) {
			x.Line, x.Column = line+at.Line-1, at.Column
		}
		out.Issues = append(out.Issues, x)
		return out
	}
	out.Type = node.ResourceType()
	if fhir.Lookup(out.Type) == nil {
		out.Type = "" // whatever it says, it is none
	}
	c := <-r.checkers
	for _, x := range c.Resource(node, r.o.Profiles...) {
		l, column := fhir.PlaceOf(text, x.At)
		out.Issues = append(out.Issues, ValidatedIssue{Line: line + l - 1, Column: column, Issue: x})
	}
	r.checkers <- c
	return out
}
