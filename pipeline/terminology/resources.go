package terminology

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/internal/document"
	"github.com/chartlift/chartlift/pipeline/internal/packed"
)

// mostJSON bounds a JSON document, in bytes. Its tree takes some times as much.
const mostJSON = 256 << 20

// readJSON reads resources: one, a Bundle, or one a line.
func (r *fileReader) readJSON(file string, in *bufio.Reader) {
	data, err := io.ReadAll(io.LimitReader(in, mostJSON+1))
	switch {
	case err != nil:
		r.fault(file, 0, 0, "", "cannot be read: %s", cause(err))
		return
	case len(data) > mostJSON:
		r.fault(file, 0, 0, "give it as CSV", "the file has more than %d bytes of JSON", mostJSON)
		return
	}
	if !lines(file, data) {
		r.document(jsonText{file, 1, data})
		return
	}
	before := len(r.faults)
	for line := 1; len(data) > 0; line++ {
		var text []byte
		text, data, _ = bytes.Cut(data, []byte("\n"))
		if len(bytes.TrimSpace(text)) > 0 {
			r.document(jsonText{file, line, text})
		}
		if len(r.faults)-before >= maxFaults {
			r.fault(file, line, 0, "", "perhaps more: reading stopped after %d faults", maxFaults)
			return
		}
	}
}

// jsonText is one JSON document of a file.
type jsonText struct {
	file string
	line int // on which it begins
	data []byte
}

// document reads one.
func (r *fileReader) document(d jsonText) {
	n, err := fhir.Parse(d.data)
	var syntax *fhir.SyntaxError
	switch {
	case errors.As(err, &syntax):
		r.fault(d.file, d.line+syntax.Line-1, syntax.Column, "", "not valid JSON: %s", syntax.Problem)
	case err == nil:
		r.resource(d, n, true)
	}
}

// faultAt is a fault at a node of the document.
func (r *fileReader) faultAt(d jsonText, n *fhir.Node, hint, format string, args ...any) {
	line, column := fhir.PlaceOf(d.data, n.Offset())
	r.fault(d.file, d.line+line-1, column, hint, format, args...)
}

// lines tells whether each line is a resource of its own.
func lines(file string, data []byte) bool {
	_, base := packed.By(file)
	if ext := strings.ToLower(path.Ext(base)); ext == ".ndjson" || ext == ".jsonl" {
		return true
	}
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if len(bytes.TrimSpace(rest)) == 0 {
		return false
	}
	_, err := fhir.Parse(first)
	return err == nil
}

// resource takes in a CodeSystem, a ValueSet, or those of a Bundle. Other resources are left aside in a Bundle; alone they
// are a fault.
func (r *fileReader) resource(d jsonText, n *fhir.Node, alone bool) {
	url := n.Get("url").Str()
	switch typ := n.ResourceType(); typ {
	case "Bundle":
		found := len(r.d.systems) + len(r.d.sets) + len(r.faults)
		for _, e := range items(n, "entry") {
			r.resource(d, e.Get("resource"), false)
		}
		if len(r.d.systems)+len(r.d.sets)+len(r.faults) == found {
			r.faultAt(d, n, "", "the Bundle has no CodeSystem that lists codes and no ValueSet")
		}
	case "CodeSystem", "ValueSet":
		what := uriFault(url)
		switch {
		case what != "":
			r.faultAt(d, n, "", "the url of the %s %s", typ, what)
		case typ == "CodeSystem":
			r.codeSystem(d, n, alone)
		case n.Get("compose") == nil && n.Get("expansion") == nil:
			r.faultAt(d, n, "it needs compose or expansion", "the ValueSet says nothing of what is in it")
		case r.fresh(d.file, "value set", url, n.Get("version").Str()):
			r.d.sets = append(r.d.sets, n)
		}
	default:
		if alone {
			hint := map[string]string{"ConceptMap": "concept maps lie beside the mappings that use them",
				"StructureDefinition": "profiles come in FHIR packages, under guides:"}[typ]
			r.faultAt(d, n, hint, "the resource is neither a CodeSystem nor a ValueSet")
		}
	}
}

// contentModes are the codes of R4's codesystem-content-mode.
var contentModes = []string{"not-present", "example", "fragment", "complete", "supplement"}

func (r *fileReader) codeSystem(d jsonText, n *fhir.Node, alone bool) {
	content := n.Get("content")
	if !contains(contentModes, content.Str()) {
		if content == nil {
			content = n
		}
		r.faultAt(d, content, document.Hint(content.Str(), contentModes), "the content of the CodeSystem is none of %s", strings.Join(contentModes, ", "))
		return
	}
	c := compileSystem(n)
	if c == nil {
		if alone {
			r.faultAt(d, content, "", "the CodeSystem has the content `%s`, so it lists no codes of its own", content.Str())
		}
		return
	}
	r.addSystem(d.file, c)
	if set, _ := split(n.Get("valueSet").Str()); set != "" {
		r.d.whole = append(r.d.whole, fhir.AllCodes(set, c.url))
	}
}
