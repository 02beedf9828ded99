package apitoken_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTenLines keeps the first thing a host writes short: ten statements, one a
// line, that go the whole way and set no option but the prefix.
func TestTenLines(t *testing.T) {
	t.Parallel()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "example_test.go", nil, parser.ParseComments)
	require.NoError(t, err)
	line := func(pos token.Pos) int { return files.Position(pos).Line }

	var begin, end int
	for _, group := range file.Comments {
		switch strings.TrimSpace(group.Text()) {
		case "Ten lines begin.":
			begin = line(group.Pos())
		case "Ten lines end.":
			end = line(group.Pos())
		}
	}
	require.NotZero(t, begin)
	require.NotZero(t, end)
	require.LessOrEqual(t, end-begin-1, 10, "lines")

	i := slices.IndexFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && f.Name.Name == "Example"
	})
	require.GreaterOrEqual(t, i, 0)
	example := file.Decls[i].(*ast.FuncDecl)
	statements := 0
	names := make(map[string]bool)
	for _, statement := range example.Body.List {
		if at := line(statement.Pos()); at < begin || at > end {
			continue
		}
		statements++
		ast.Inspect(statement, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				names[n.Sel.Name] = true
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok {
					names[key.Name] = true
				}
			case *ast.FuncLit:
				require.Fail(t, "a function within the ten lines would hide some")
			}
			return true
		})
	}
	require.LessOrEqual(t, statements, 10, "statements")
	for _, step := range []string{"New", "Middleware", "Issue", "WriteSecret", "Revoke", "Run"} {
		require.True(t, names[step], "%s is missing: the path does not go the whole way", step)
	}
	for _, rung := range []string{"Kinds", "Policy", "Catalog", "Owners", "Limits", "DefaultKind"} {
		require.False(t, names[rung], "%s is a rung: the path works without it", rung)
	}
}
