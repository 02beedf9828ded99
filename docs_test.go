package apitoken_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	testFunc      = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)\(`)
	namedTest     = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	placeInCode   = regexp.MustCompile("((?:`[\\w.]+`, )+)([\\w/]+\\.go)")
	goFile        = regexp.MustCompile(`[\w/]+\.go\b`)
	relativeLinks = regexp.MustCompile(`\]\(([^):#]+)\)`)
)

// TestDocs catches documents that name what is no longer there: a test, a file,
// a function in a file, the target of a link.
func TestDocs(t *testing.T) {
	t.Parallel()
	tests := make(map[string]bool)
	var documents []string
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		switch {
		case strings.HasSuffix(path, "_test.go"):
			for _, m := range testFunc.FindAllStringSubmatch(readText(t, path), -1) {
				tests[m[1]] = true
			}
		case strings.HasSuffix(path, ".md"):
			documents = append(documents, path)
		}
		return nil
	}))
	require.NotEmpty(t, documents)
	for _, path := range documents {
		text := readText(t, path)
		for _, m := range relativeLinks.FindAllStringSubmatch(text, -1) {
			require.FileExistsf(t, filepath.Join(filepath.Dir(path), m[1]), "a link of %s", path)
		}
	}
	for _, path := range []string{"docs/threat-model.md", "docs/promises.md"} {
		text := readText(t, path)
		for _, name := range namedTest.FindAllString(text, -1) {
			require.Truef(t, tests[name], "%s names %s, and no test is called so", path, name)
		}
		for _, name := range goFile.FindAllString(text, -1) {
			require.FileExistsf(t, name, "named in %s", path)
		}
		for _, m := range placeInCode.FindAllStringSubmatch(text, -1) {
			for place := range strings.SplitSeq(strings.TrimSuffix(m[1], ", "), ", ") {
				name := strings.Trim(place, "`")
				name = name[strings.LastIndexByte(name, '.')+1:]
				found := regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(readText(t, m[2]))
				require.Truef(t, found, "%s says that %s is in %s", path, place, m[2])
			}
		}
	}
}

// S1.4, S1.9, S2.5: the advice to hosts and holders stands where each of them
// looks.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"README.md", "SECURITY.md", "doc.go"} {
		text := strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(readText(t, path), "//", " ")), " "))
		for number, words := range map[string][]string{
			"S1.4": {"like a password", "password: keep it safe"},
			"S1.9": {"service account"},
			"S2.5": {"choose the least"},
		} {
			found := slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
			require.Truef(t, found, "%s: %s says none of %q", number, path, words)
		}
		for _, words := range []string{"never deactivated", "permissions never change"} {
			require.Containsf(t, text, words, "S1.9: %s", path)
		}
		require.Regexpf(t, "(share it with|with) nobody", text, "S1.4: %s", path)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
