package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The pages of the manual that state what a package does are that package's own comment: there is one text, and it
// stands beside the code.
func TestManualIsThePackageComment(t *testing.T) {
	for _, page := range []struct{ name, title, pkg, from string }{
		{"mapping", "How to write a mapping", "mapping", "# The language"},
		{"concept-maps", "How to write a concept map", "terminology", "# Concept maps"},
		{"faults", "Faults that the sandbox makes on request", "sandbox", "# Faults"},
	} {
		text := comment(t, filepath.Join("..", "..", "pipeline", page.pkg))
		_, text, found := strings.Cut(text, page.from+"\n")
		if !found {
			t.Fatalf("the comment of package %s has no part %q", page.pkg, page.from)
		}
		want := "# " + page.title + "\n" + strings.ReplaceAll(text, "\n# ", "\n## ")
		path := filepath.Join("help", page.name+".md")
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(want, readFile(t, path)); diff != "" {
			t.Errorf("%s (-want +got; `make golden` mends it):\n%s", path, diff)
		}
	}
}

// comment is the package comment of the package in a folder.
func comment(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		if f.Doc != nil {
			return f.Doc.Text()
		}
	}
	t.Fatalf("no package comment in %s", dir)
	return ""
}

// Every page has a title, and every command an example and a page of help.
func TestEveryCommandHasHelp(t *testing.T) {
	a := &app{stdin: strings.NewReader(""), stdout: os.Stdout, stderr: os.Stderr}
	for _, cmd := range a.root().Commands() {
		if cmd.Hidden || cmd.Name() == "help" || cmd.Name() == "completion" {
			continue
		}
		if cmd.Short == "" {
			t.Errorf("%s says nothing about itself", cmd.Name())
		}
		if cmd.Runnable() && !cmd.HasSubCommands() && (cmd.Example == "" || cmd.Long == "") {
			t.Errorf("%s has no example or no help", cmd.Name())
		}
	}
}
