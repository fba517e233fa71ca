package report

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chartlift/chartlift/pipeline/fhir"
	"github.com/chartlift/chartlift/pipeline/ledger"
	"github.com/chartlift/chartlift/pipeline/load"
	"github.com/chartlift/chartlift/pipeline/reconcile"
)

// Every code that the program can put into a discrepancy has words of its own, and says what to do next. The codes are
// read out of the packages that make discrepancies, so that a new one fails here.
func TestEveryCodeOfADiscrepancyIsExplained(t *testing.T) {
	codes := map[ledger.Kind][]string{
		ledger.Missing:     {load.Missing.String(), load.Gone.String()},
		ledger.Different:   {reconcile.Lost, reconcile.Added, reconcile.Changed, reconcile.Damaged},
		ledger.EditedSince: {reconcile.CodeOtherVersion, reconcile.CodeNotApplied},
		ledger.Rejected:    fhir.ValueSet("http://hl7.org/fhir/ValueSet/issue-type").Codes(),
	}
	add := func(kind ledger.Kind, found []string, least int) {
		t.Helper()
		if len(found) < least {
			t.Errorf("%s: found %q in the source, and there are at least %d", kind, found, least)
		}
		codes[kind] = append(codes[kind], found...)
	}
	// A complaint of Google's enters in lower case with hyphens, see load.Reason.
	add(ledger.Rejected, hyphened(texts(t, "load", "rpcCodes")), 16)
	add(ledger.Rejected, texts(t, "load", "Code[A-Z].*"), 10)
	add(ledger.Different, texts(t, "reconcile", "faults"), 8)
	add(ledger.EditedSince, texts(t, "reconcile", "Code[A-Z].*"), 2)
	add(ledger.Vanished, texts(t, "run", "code[A-Z].*"), 4)
	add(ledger.Unexpected, literals(t, "run", "Discrepancy", "Code"), 1)
	for _, code := range codes[ledger.Different] {
		codes[ledger.Different] = append(codes[ledger.Different], code+reconcile.ByOther)
	}
	for kind, list := range codes {
		for _, code := range list {
			e := ExplainDiscrepancy(kind, code)
			if e.Title == code || e.Title == "" || !strings.HasSuffix(e.Meaning, ".") || !strings.HasSuffix(e.Action, ".") || strings.Contains(e.Meaning, "the mapping itself defines") {
				t.Errorf("%s, %s is explained as %+v", kind, code, e)
			}
		}
	}
	for _, code := range codes[ledger.Missing] {
		if e := ExplainDiscrepancy(ledger.Missing, code); !strings.Contains(e.Action, "`chartlift run --repair`") {
			t.Errorf("%s: %q does not name the command that helps", code, e.Action)
		}
	}
	for _, code := range codes[ledger.Different] {
		e := ExplainDiscrepancy(ledger.Different, code)
		if repairs := strings.Contains(e.Action, "--repair"); repairs == strings.HasSuffix(code, reconcile.ByOther) && code != "other-ciphertext" {
			t.Errorf("%s: %q; a repair sends again what nobody has changed, and only that", code, e.Action)
		}
	}
}

// So do the rules of refusals and findings that are the program's own.
func TestEveryRuleOfTheProgramIsExplained(t *testing.T) {
	var rules []string
	add := func(found []string, least int) {
		t.Helper()
		if len(found) < least {
			t.Errorf("found %q in the source, and there are at least %d", found, least)
		}
		rules = append(rules, found...)
	}
	add(texts(t, "extract", "Rule[A-Z].*"), 18)
	add(texts(t, "extract/workbook", "(Rule|Notice)[A-Z].*"), 24)
	add(texts(t, "mapping", "(Find|Rule)[A-Z].*"), 11)
	add(texts(t, "plan", "find[A-Z].*"), 3)
	add(texts(t, "run", "(find|skipped)[A-Z].*"), 3)
	add(literals(t, "mapping", "Notice", "Rule"), 2)
	add(literals(t, "plan", "Notice", "Rule"), 1)
	add(remarks(t, "mapping"), 12)
	for _, rule := range rules {
		if e := Explain(rule); e.Title == rule || strings.Contains(e.Meaning, "the mapping itself defines") {
			t.Errorf("%s is explained as %+v", rule, e)
		}
	}
}

// What the mapping calls its own rules is explained as such, whatever the program calls its discrepancies.
func TestExplainDiscrepancy(t *testing.T) {
	for _, test := range []struct {
		kind              ledger.Kind
		code, title, says string
	}{
		{ledger.Refused, "missing", "missing", "the mapping itself defines"},
		{ledger.Refused, "bad-date", "Not a date", "declared date layouts"},
		{ledger.Missing, "missing", "Not found", "does not know the id"},
		{ledger.Different, reconcile.Changed + reconcile.ByOther, "Another value, by somebody else", "Nothing overwrites it"},
		{ledger.Rekeyed, "now " + id(1), "Rekeyed", "corrected key"},
		{ledger.Rejected, "of-their-own", "of-their-own", "has no words for"},
	} {
		if e := ExplainDiscrepancy(test.kind, test.code); e.Title != test.title || !strings.Contains(e.Meaning, test.says) {
			t.Errorf("%s, %s: got %+v", test.kind, test.code, e)
		}
	}
}

func hyphened(list []string) (out []string) {
	for _, text := range list {
		out = append(out, strings.ReplaceAll(strings.ToLower(text), "_", "-"))
	}
	return out
}

// sources parses the files of a package below pipeline, without its tests.
func sources(t *testing.T, pkg string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", pkg, "*.go"))
	must(t, err)
	var list []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		list = append(list, f)
	}
	return list
}

// texts are the strings in what a package declares under names of a form: the whole name matches the expression.
func texts(t *testing.T, pkg, name string) (out []string) {
	t.Helper()
	form := regexp.MustCompile("^(" + name + ")$")
	for _, f := range sources(t, pkg) {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				if v, ok := s.(*ast.ValueSpec); ok && slices.ContainsFunc(v.Names, func(n *ast.Ident) bool { return form.MatchString(n.Name) }) {
					for _, value := range v.Values {
						out = append(out, quoted(t, value)...)
					}
				}
			}
		}
	}
	return out
}

// literals are the texts that a package writes into one field of values of a type.
func literals(t *testing.T, pkg, typ, field string) (out []string) {
	t.Helper()
	for _, f := range sources(t, pkg) {
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CompositeLit)
			if !ok || nameOf(c.Type) != typ {
				return true
			}
			for _, e := range c.Elts {
				if pair, ok := e.(*ast.KeyValueExpr); ok && nameOf(pair.Key) == field {
					out = append(out, quoted(t, pair.Value)...)
				}
			}
			return true
		})
	}
	return out
}

// remarks are the rules that a package's compiler is told in calls of notice (after the severity) and remark.
func remarks(t *testing.T, pkg string) (out []string) {
	t.Helper()
	at := map[string]int{"notice": 1, "remark": 0}
	for _, f := range sources(t, pkg) {
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				if i, ok := at[nameOf(c.Fun)]; ok && i < len(c.Args) {
					out = append(out, quoted(t, c.Args[i])...)
				}
			}
			return true
		})
	}
	return out
}

// nameOf is the name that an expression ends in.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// quoted are the string literals within an expression.
func quoted(t *testing.T, e ast.Expr) (out []string) {
	t.Helper()
	ast.Inspect(e, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			must(t, err)
			out = append(out, text)
		}
		return true
	})
	return out
}
