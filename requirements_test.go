package apitoken_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

var updateRequirements = flag.Bool("update-requirements", false,
	"write the tests that carry a requirement's number into docs/requirements.md")

// TestRequirements holds docs/requirements.md to the tests of the whole
// repository, nested modules included.
func TestRequirements(t *testing.T) {
	t.Parallel()
	const file = "docs/requirements.md"
	tests, err := scanTests(os.DirFS("."))
	require.NoError(t, err)
	doc, err := os.ReadFile(file)
	require.NoError(t, err)
	if *updateRequirements {
		doc = []byte(fillRequirements(string(doc), tests))
		require.NoError(t, os.WriteFile(file, doc, 0o644))
	}
	rows := parseRequirements(string(doc))
	for _, fault := range checkRequirements(rows, tests, requirementNumbers()) {
		t.Error(fault)
	}
	t.Log(countRequirements(rows))
}

func TestRequirementsChecker(t *testing.T) {
	t.Parallel()
	const proof = "package pay_test\n\n// S1.1\nfunc TestPay() {\n\t// S1.2-S1.3: both\n}\n\nfunc TestIdle() {}\n"
	const complete = "| S1.1 | text | `pay.TestPay` (a_test.go) |\n" +
		"| S1.2 | text | `pay.TestPay` (a_test.go); planned: rate limits |\n" +
		"| S1.3 | text | planned: sqlstore |\n"
	for _, tc := range []struct {
		name, source   string
		broken, intact string // the line of complete that is replaced, and by what
		want           string // "" = no fault
	}{
		{name: "complete", source: proof},
		{"number missing", proof, "| S1.3 | text | planned: sqlstore |\n", "", "S1.3 is missing"},
		{"number twice", proof, "| S1.3 |", "| S1.2 |", "S1.2 is listed twice"},
		{"unknown number", proof, "| S1.3 |", "| S1.4 |", "S1.4 is no requirement"},
		{"neither test nor plan", proof, "planned: sqlstore", "", "neither a test nor a plan: S1.3:"},
		{"unknown plan", proof, "planned: sqlstore", "planned: someday", `S1.3: "someday" is not work that is planned`},
		{"no such test", proof, "pay.TestPay", "pay.TestPaid", "S1.1: pay.TestPaid does not exist in a_test.go"},
		{"no such file", proof, "(a_test.go)", "(b_test.go)", "S1.1: pay.TestPay does not exist in b_test.go"},
		{"other package", proof, "pay.TestPay", "play.TestPay", "S1.1: play.TestPay does not exist in a_test.go"},
		{"test without the number", proof, "pay.TestPay", "pay.TestIdle", "S1.1: pay.TestIdle in a_test.go does not carry the number in a comment"},
		{"number only in a string", strings.Replace(proof, "// S1.2-S1.3: both", `_ = "// S1.2-S1.3"`, 1), "", "", "S1.2: pay.TestPay in a_test.go does not carry the number in a comment"},
		{"number outside the test", strings.Replace(proof, "// S1.1\n", "// S1.1\n\n", 1), "", "", "S1.1: pay.TestPay in a_test.go does not carry the number in a comment"},
		{"cell that does not parse", proof, "`pay.TestPay` (a_test.go)", "TestPay", `S1.1: cannot read "TestPay"`},
		{"comment with an unknown number", strings.Replace(proof, "S1.3", "S1.9", 1), "", "", "a_test.go: S1.9 is no requirement"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tests, err := scanTests(fstest.MapFS{"a_test.go": {Data: []byte(tc.source)}})
			require.NoError(t, err)
			doc := complete
			if tc.broken != "" {
				require.Contains(t, doc, tc.broken)
				doc = strings.Replace(doc, tc.broken, tc.intact, 1)
			}
			faults := checkRequirements(parseRequirements(doc), tests, []string{"S1.1", "S1.2", "S1.3"})
			if tc.want == "" {
				require.Empty(t, faults)
				return
			}
			require.Contains(t, strings.Join(faults, "\n"), tc.want)
		})
	}
}

func TestRequirementsFilled(t *testing.T) {
	t.Parallel()
	tests, err := scanTests(fstest.MapFS{
		"b/b_test.go":          {Data: []byte("package b\n\n// S1.1\nfunc ExampleB() {}\n\n// S1.1\nfunc helper() {}\n")},
		"a_test.go":            {Data: []byte("package a_test\n\n// S1.1 S1.2\nfunc TestA() {}\n\n// S1.1\nfunc FuzzA() {}\n")},
		"a.go":                 {Data: []byte("package a\n\n// S1.1\nfunc TestNot() {}\n")},
		"testdata/bad_test.go": {Data: []byte("not Go")},
		".git/bad_test.go":     {Data: []byte("not Go")},
	})
	require.NoError(t, err)
	doc := "prose | S1.1 |\n| S1.1 | a | b | |\n| S1.2 | text | `gone.TestGone` (gone_test.go); planned: sqlstore |\n| S1.3 | text | planned: sqlstore |\n"
	filled := fillRequirements(doc, tests)
	require.Equal(t, "prose | S1.1 |\n"+
		"| S1.1 | a | b | `a.FuzzA` (a_test.go), `a.TestA` (a_test.go), `b.ExampleB` (b/b_test.go) |\n"+
		"| S1.2 | text | `a.TestA` (a_test.go); planned: sqlstore |\n"+
		"| S1.3 | text | planned: sqlstore |\n", filled)
	require.Equal(t, filled, fillRequirements(filled, tests), "filling twice changes nothing")
	require.Equal(t, "1 proven, 1 partly, 1 planned, 0 open, of 3", countRequirements(parseRequirements(filled)))
}

func TestRequirementsNumbers(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string][]string{
		"// S1.11":                          {"S1.11"},
		"// idle (S1.10, S1.11).":           {"S1.10", "S1.11"},
		"// S2.9-S2.11":                     {"S2.9", "S2.10", "S2.11"},
		"// S2.9–S2.10":                     {"S2.9", "S2.10"},
		"/* S3.17 to S3.18, as promised */": {"S3.17", "S3.18"},
		"// S1.11 to 30 days":               {"S1.11"},
		"// S2.11-S2.9":                     {"S2.11-S2.9"},
		"// S1.9-S2.2":                      {"S1.9-S2.2"},
		"// TLS1.3, S1":                     nil,
	} {
		require.Equal(t, want, numbersIn(comment), comment)
	}
}

// plannedWork is what a row may wait for.
var plannedWork = []string{"sqlstore", "rate limits"}

func requirementNumbers() []string {
	var all []string
	for i, n := range []int{31, 35, 22} {
		for k := range n {
			all = append(all, fmt.Sprintf("S%d.%d", i+1, k+1))
		}
	}
	return all
}

// testRef names a top-level test function.
type testRef struct{ file, name string }

func (r testRef) String() string { return fmt.Sprintf("`%s` (%s)", r.name, r.file) }

// testIndex is every test function found, with the numbers in its comments.
type testIndex map[testRef][]string

func (x testIndex) carrying(number string) []testRef {
	var refs []testRef
	for ref, numbers := range x {
		if slices.Contains(numbers, number) {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b testRef) int {
		return cmp.Or(cmp.Compare(path.Dir(a.file), path.Dir(b.file)), cmp.Compare(a.file, b.file), cmp.Compare(a.name, b.name))
	})
	return refs
}

var testName = regexp.MustCompile(`^(Test|Fuzz|Example)([^\p{Ll}]|$)`)

func scanTests(tree fs.FS) (testIndex, error) {
	index := testIndex{}
	return index, fs.WalkDir(tree, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(file, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(tree, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := strings.TrimSuffix(parsed.Name.Name, "_test")
		for _, decl := range parsed.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && testName.MatchString(fn.Name.Name) {
				index[testRef{file, pkg + "." + fn.Name.Name}] = commentNumbers(parsed, fn)
			}
		}
		return nil
	})
}

// commentNumbers returns the numbers in the comments of fn, its doc comment
// included.
func commentNumbers(file *ast.File, fn *ast.FuncDecl) []string {
	from := fn.Pos()
	if fn.Doc != nil {
		from = fn.Doc.Pos()
	}
	var numbers []string
	for _, group := range file.Comments {
		if from <= group.Pos() && group.End() <= fn.End() {
			numbers = append(numbers, numbersIn(group.Text())...)
		}
	}
	return numbers
}

var numberPattern = regexp.MustCompile(`\bS(\d)\.(\d+)(?:\s*(?:-|–|\bto\b)\s*S(\d)\.(\d+))?`)

// numbersIn returns the requirement numbers of a comment, ranges spelled out. A
// range that makes no sense is returned as it is written, for the check to refuse.
func numbersIn(comment string) []string {
	var numbers []string
	for _, m := range numberPattern.FindAllStringSubmatch(comment, -1) {
		first, _ := strconv.Atoi(m[2])
		last, _ := strconv.Atoi(cmp.Or(m[4], m[2]))
		if m[3] != "" && m[3] != m[1] || last < first {
			numbers = append(numbers, m[0])
			continue
		}
		for n := first; n <= last; n++ {
			numbers = append(numbers, fmt.Sprintf("S%s.%d", m[1], n))
		}
	}
	return numbers
}

type requirementRow struct {
	number, text, cell string
	tests              []testRef
	plan               string
}

var (
	rowPattern = regexp.MustCompile(`^\| (S\d\.\d+) \| (.+) \|([^|]*)\|$`)
	refPattern = regexp.MustCompile("`([^`]+)` \\(([^)]+)\\)")
)

func parseRow(line string) (requirementRow, bool) {
	m := rowPattern.FindStringSubmatch(line)
	if m == nil {
		return requirementRow{}, false
	}
	row := requirementRow{number: m[1], text: m[2], cell: strings.TrimSpace(m[3])}
	before, plan, found := strings.Cut(row.cell, "planned: ")
	if found {
		row.plan = plan
	}
	for _, ref := range refPattern.FindAllStringSubmatch(before, -1) {
		row.tests = append(row.tests, testRef{file: ref[2], name: ref[1]})
	}
	return row, true
}

func parseRequirements(doc string) []requirementRow {
	var rows []requirementRow
	for line := range strings.Lines(doc) {
		if row, ok := parseRow(strings.TrimSpace(line)); ok {
			rows = append(rows, row)
		}
	}
	return rows
}

// proof is the last cell of the row, as it is to be written.
func (r requirementRow) proof() string {
	var parts []string
	for _, ref := range r.tests {
		parts = append(parts, ref.String())
	}
	cell := strings.Join(parts, ", ")
	switch {
	case r.plan == "":
		return cell
	case cell == "":
		return "planned: " + r.plan
	}
	return cell + "; planned: " + r.plan
}

// fillRequirements writes the tests that carry each number into its row, and
// leaves plans as they are: whether a row is complete is for a person to say.
func fillRequirements(doc string, tests testIndex) string {
	var out strings.Builder
	for line := range strings.Lines(doc) {
		row, ok := parseRow(strings.TrimSpace(line))
		if !ok {
			out.WriteString(line)
			continue
		}
		row.tests = tests.carrying(row.number)
		fmt.Fprintf(&out, "%s |\n", strings.TrimRight(fmt.Sprintf("| %s | %s | %s", row.number, row.text, row.proof()), " "))
	}
	return out.String()
}

func checkRequirements(rows []requirementRow, tests testIndex, wanted []string) []string {
	var faults []string
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	var open []string
	listed := map[string]bool{}
	for _, row := range rows {
		if listed[row.number] {
			add("%s is listed twice", row.number)
		}
		listed[row.number] = true
		switch {
		case !slices.Contains(wanted, row.number):
			add("%s is no requirement", row.number)
		case row.cell != row.proof():
			add("%s: cannot read %q: write `package.TestName` (file_test.go), several with commas, then ; planned: work", row.number, row.cell)
		case row.cell == "":
			open = append(open, row.number)
		case row.plan != "" && !slices.Contains(plannedWork, row.plan):
			add("%s: %q is not work that is planned: choose one of %q", row.number, row.plan, plannedWork)
		}
		for _, ref := range row.tests {
			numbers, exists := tests[ref]
			switch {
			case !exists:
				add("%s: %s does not exist in %s: run 'make requirements'", row.number, ref.name, ref.file)
			case !slices.Contains(numbers, row.number):
				add("%s: %s in %s does not carry the number in a comment", row.number, ref.name, ref.file)
			}
		}
	}
	if len(open) > 0 {
		add("neither a test nor a plan: %s: put the number into a comment of the test that proves it and run 'make requirements'", strings.Join(open, ", "))
	}
	for _, number := range wanted {
		if !listed[number] {
			add("%s is missing", number)
		}
	}
	var strays []string
	for ref, numbers := range tests {
		for _, number := range numbers {
			if !slices.Contains(wanted, number) {
				strays = append(strays, fmt.Sprintf("%s: %s is no requirement, but %s names it", ref.file, number, ref.name))
			}
		}
	}
	slices.Sort(strays)
	faults = append(faults, strays...)
	return faults
}

func countRequirements(rows []requirementRow) string {
	var proven, partly, planned, open int
	for _, row := range rows {
		switch tested := len(row.tests) > 0; {
		case tested && row.plan == "":
			proven++
		case tested:
			partly++
		case row.plan != "":
			planned++
		default:
			open++
		}
	}
	return fmt.Sprintf("%d proven, %d partly, %d planned, %d open, of %d", proven, partly, planned, open, len(rows))
}
