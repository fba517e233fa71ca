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
	"ledger.Ledger": "one database; callers name the few methods they need as interfaces of their own",
	"plan.reader":   "one method for each key of the plan",
}

// lent are types of the upper floor that are embedded in others, each with its reason.
var lent = map[string]string{
	"ledger.TableRow": "the sums of a row",
}

// overgrown enters the types of parsed files that have too many methods, and those that are embedded in another type of
// their package, with how many methods they have.
func overgrown(dir string, files map[string]*ast.File, many, embedded map[string]int) {
	methods := map[string]int{}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[typeName(fn.Recv.List[0].Type)]++
			}
		}
	}
	for name, n := range methods {
		if n > mostMethods {
			many[dir+"."+name] = n
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok {
				for _, field := range s.Fields.List {
					if name := typeName(field.Type); len(field.Names) == 0 && methods[name] > 1 {
						embedded[dir+"."+name] = methods[name]
					}
				}
			}
			return true
		})
	}
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
	many, embedded := map[string]int{}, map[string]int{}
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
			overgrown(filepath.ToSlash(rel), files, many, embedded)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, rule := range []struct {
		found   map[string]int
		allowed map[string]string
		fault   string
	}{{many, large, "%s has %d methods"}, {embedded, lent, "%s is embedded, and lends its %d methods"}} {
		for _, name := range slices.Sorted(maps.Keys(rule.found)) {
			if rule.allowed[name] == "" {
				t.Errorf(rule.fault, name, rule.found[name])
			}
		}
		for name := range rule.allowed {
			if rule.found[name] == 0 {
				t.Errorf("%s is an exception that nothing needs any more", name)
			}
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
	many, embedded := map[string]int{}, map[string]int{}
	overgrown("x", map[string]*ast.File{"x.go": f}, many, embedded)
	if many["x.a"] != mostMethods+1 || embedded["x.a"] != mostMethods+1 || len(many)+len(embedded) != 2 {
		t.Errorf("two planted faults, found %v and %v", many, embedded)
	}
}
