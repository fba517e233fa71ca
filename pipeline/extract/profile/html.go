package profile

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.gohtml
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"remarks": func(p *Profile, t Table) []string { return t.remarks(p) },
	"types":   func(c Column) string { return c.typesText() },
	"blanks":  func(c Column) int64 { return c.Blanks() },
	"refused": func(t Table) int64 { return t.RefusedRows() },
}).Parse(pageText))

// HTML writes the profile as one page without scripts and without anything from elsewhere.
func HTML(w io.Writer, p *Profile) error { return page.Execute(w, p) }
