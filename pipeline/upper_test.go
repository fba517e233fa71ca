package pipeline

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/sharedtest"
)

// upper is the upper floor: from here on nobody may know everything. A type that does too much, or that lends its methods
// to another by being embedded, shows nobody what he may touch.
var upper = []string{"state", "load", "ledger", "reconcile", "report", "review", "sandbox", "plan", "run", "workbench"}

// mostMethods is how many methods a type of the upper floor may have.
const mostMethods = 20

// large are types with more methods, each with its reason.
var large = map[string]string{
	"ledger.Ledger":   "one database; callers name the few methods they need as interfaces of their own",
	"plan.reader":     "one method for each key of the plan",
	"load/rest.Store": "one protocol; to be cut",
	"sandbox.Server":  "one method for each interaction of R4's REST API, over one store",
}

// lent are types of the upper floor that are embedded in others, each with its reason.
var lent = map[string]string{
	"load/rest.connection": "what every request of a target goes through",
	"ledger.TableRow":      "the sums of a row",
	"sandbox.Server":       "an interaction inside a Bundle is one of the server",
	"sandbox.version":      "a version with its number",
}

// overgrown lists the types of parsed files that have too many methods or are embedded in another type of their package.
func overgrown(dir string, files map[string]*ast.File) (faults []string) {
	methods := map[string]int{}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[typeName(fn.Recv.List[0].Type)]++
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if at := dir + "." + name; methods[name] > mostMethods && large[at] == "" {
			faults = append(faults, fmt.Sprintf("%s has %d methods", at, methods[name]))
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				if name := typeName(field.Type); len(field.Names) == 0 && methods[name] > 1 && lent[dir+"."+name] == "" {
					faults = append(faults, fmt.Sprintf("%s.%s is embedded, and lends its %d methods", dir, name, methods[name]))
				}
			}
			return true
		})
	}
	return faults
}

// typeName is the name of a type of this package, without its pointer and parameters; "" for one of another package.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

func TestNobodyKnowsEverything(t *testing.T) {
	root := filepath.Join(sharedtest.ModuleRoot(t), "pipeline")
	for _, top := range upper {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				if os.IsNotExist(err) {
					return nil
				}
				return err
			}
			files := map[string]*ast.File{}
			names, err := filepath.Glob(filepath.Join(path, "*.go"))
			if err != nil {
				return err
			}
			set := token.NewFileSet()
			for _, name := range names {
				if strings.HasSuffix(name, "_test.go") {
					continue
				}
				if files[name], err = parser.ParseFile(set, name, nil, 0); err != nil {
					return err
				}
			}
			rel, err := filepath.Rel(root, path)
			for _, fault := range overgrown(filepath.ToSlash(rel), files) {
				t.Error(fault)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestOvergrownTypesAreFound(t *testing.T) {
	var text strings.Builder
	text.WriteString("package x\ntype a struct{}\ntype b struct{ *a }\n")
	for i := range mostMethods + 1 {
		fmt.Fprintf(&text, "func (a *a) m%d() {}\n", i)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "x.go", text.String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := overgrown("x", map[string]*ast.File{"x.go": f}); len(got) != 2 {
		t.Errorf("two planted faults, found %d: %v", len(got), got)
	}
}
