package terminology

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
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
		if n := r.parse(file, 0, data); n != nil {
			r.resource(file, "", n, true)
		}
		return
	}
	before := len(r.faults)
	for line := 1; len(data) > 0; line++ {
		var text []byte
		text, data, _ = bytes.Cut(data, []byte("\n"))
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		if n := r.parse(file, line, text); n != nil {
			r.resource(file, fmt.Sprintf("line %d", line), n, true)
		}
		if len(r.faults)-before >= maxFaults {
			r.fault(file, line, 0, "", "perhaps more: reading stopped after %d faults", maxFaults)
			return
		}
	}
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

// parse parses a document, which begins on that line if it is not 0.
func (r *fileReader) parse(file string, line int, data []byte) *fhir.Node {
	n, err := fhir.Parse(data)
	if err == nil {
		return n
	}
	var syntax *fhir.SyntaxError
	if errors.As(err, &syntax) {
		r.fault(file, max(line, 1)+syntax.Line-1, syntax.Column, "", "not valid JSON: %s", syntax.Problem)
	}
	return nil
}

// resource takes in a CodeSystem, a ValueSet, or those of a Bundle. at says where in the file it stands. Other resources
// are left aside in a Bundle; alone they are a fault.
func (r *fileReader) resource(file, at string, n *fhir.Node, alone bool) {
	where := at
	if where != "" {
		where += ": "
	}
	url, version := n.Get("url").Str(), n.Get("version").Str()
	switch typ := n.ResourceType(); typ {
	case "Bundle":
		found := len(r.d.systems) + len(r.d.sets) + len(r.faults)
		for i, e := range items(n, "entry") {
			r.resource(file, fmt.Sprintf("%sentry[%d].resource", where, i), e.Get("resource"), false)
		}
		if len(r.d.systems)+len(r.d.sets)+len(r.faults) == found {
			r.fault(file, 0, 0, "", "%sthe Bundle has no CodeSystem that lists codes and no ValueSet", where)
		}
	case "CodeSystem", "ValueSet":
		if what := uriFault(url); what != "" {
			r.fault(file, 0, 0, "", "%sthe url of the %s %s", where, typ, what)
			return
		}
		if typ == "CodeSystem" {
			r.codeSystem(file, at, n, alone)
			return
		}
		if n.Get("compose") == nil && n.Get("expansion") == nil {
			r.fault(file, 0, 0, "it needs compose or expansion", "%sthe ValueSet says nothing of what is in it", where)
			return
		}
		if r.fresh(file, at, "value set", url, version) {
			r.d.sets = append(r.d.sets, n)
		}
	default:
		if alone {
			hint := map[string]string{"ConceptMap": "concept maps lie beside the mappings that use them",
				"StructureDefinition": "profiles come in FHIR packages, under guides:"}[typ]
			r.fault(file, 0, 0, hint, "%sthe resource is neither a CodeSystem nor a ValueSet", where)
		}
	}
}

// contentModes are the codes of R4's codesystem-content-mode.
var contentModes = []string{"not-present", "example", "fragment", "complete", "supplement"}

func (r *fileReader) codeSystem(file, at string, n *fhir.Node, alone bool) {
	where := at
	if where != "" {
		where += ": "
	}
	content := n.Get("content").Str()
	if !contains(contentModes, content) {
		r.fault(file, 0, 0, document.Hint(content, contentModes), "%sthe content of the CodeSystem is none of %s", where, strings.Join(contentModes, ", "))
		return
	}
	c := compileSystem(n)
	if c == nil {
		if alone {
			r.fault(file, 0, 0, "", "%sthe CodeSystem has the content `%s`, so it lists no codes of its own", where, content)
		}
		return
	}
	r.addSystem(file, at, c)
	if set, _ := split(n.Get("valueSet").Str()); set != "" {
		r.d.whole = append(r.d.whole, fhir.AllCodes(set, c.url))
	}
}
