package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"sync"
)

//go:embed record.gohtml
var recordText string

//go:embed record.css
var recordStyle string

type recordPage struct {
	Records []*Record
	Style   template.CSS
	Policy  string
}

// Title names the records.
func (p recordPage) Title() string {
	if len(p.Records) == 0 {
		return "No record"
	}
	r := p.Records[0]
	title := fmt.Sprintf("%s:%d", r.Table, r.Line)
	if n := len(p.Records); n > 1 {
		title += fmt.Sprintf(" and %d more", n-1)
	}
	return title
}

var recordTemplate = sync.OnceValues(func() (*template.Template, error) {
	return template.New("record").Funcs(template.FuncMap{"at": at}).Parse(recordText)
})

// WriteRecords writes the page to a file that only its owner may read; it takes the place of an older one when it is whole.
func WriteRecords(path string, records []*Record) error {
	return writeFile(path, 0o600, func(w io.Writer) error { return RecordHTML(w, records) })
}

// RecordHTML writes explanations as one page that needs nothing else, no script, and asks no server for anything.
func RecordHTML(w io.Writer, records []*Record) error {
	t, err := recordTemplate()
	if err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	css := style + recordStyle
	digest := sha256.Sum256([]byte(css))
	p := recordPage{records, template.CSS(css),
		"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'"}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	return nil
}
