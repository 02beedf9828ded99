package storetest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/storetest"
)

// subjectVariable names the broken store that TestSubject runs the suite on, in
// a process of its own: a suite that fails there is a suite that works.
const subjectVariable = "STORETEST_SUBJECT"

func TestSubject(t *testing.T) {
	name := os.Getenv(subjectVariable)
	storetest.Run(t, func(*testing.T) apitoken.Store {
		good := memstore.New()
		for _, b := range brokenStores {
			if b.name == name {
				return b.breakIt(good)
			}
		}
		return good
	})
}

func TestBrokenStoresFail(t *testing.T) {
	t.Parallel()
	for _, b := range brokenStores {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=1m", "-test.run=^TestSubject$/^"+strings.ReplaceAll(b.topic, " ", "_")+"$")
			cmd.Env = append(os.Environ(), subjectVariable+"="+b.name)
			out, err := cmd.CombinedOutput()
			require.Error(t, err, "the suite passed: %s", out)
			require.Regexp(t, "the contract says: .*"+regexp.QuoteMeta(b.says), string(out))
			require.NotContains(t, string(out), "panic:")
		})
	}
}

// TestGoodStorePasses guards TestBrokenStoresFail: without a broken store the
// same command must pass, and run something.
func TestGoodStorePasses(t *testing.T) {
	t.Parallel()
	var topics []string
	for _, b := range brokenStores {
		topics = append(topics, strings.ReplaceAll(b.topic, " ", "_"))
	}
	slices.Sort(topics)
	for _, topic := range slices.Compact(topics) {
		out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^TestSubject$/^"+topic+"$").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestSubject/"+topic)
	}
}

// TestRecordsAreOptional: a store without them is a store.
func TestRecordsAreOptional(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) apitoken.Store { return struct{ apitoken.Store }{memstore.New()} })
}

// TestClausesAreTheContract: what failures quote is written in package apitoken,
// word for word.
func TestClausesAreTheContract(t *testing.T) {
	t.Parallel()
	var contract strings.Builder
	for _, name := range []string{"../store.go", "../storequery.go", "../event.go", "../proof.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		for _, group := range f.Comments {
			contract.WriteString(strings.Join(strings.Fields(group.Text()), " ") + "\n")
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "contract.go", nil, 0)
	require.NoError(t, err)
	clauses := 0
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			text, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			require.Contains(t, contract.String(), text)
			clauses++
		}
		return true
	})
	require.Greater(t, clauses, 30)
}
