package tokenfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/tokenfile"
)

const (
	id    = "2w7RkZ0123456789abcdef"
	value = "acme_sk_2w7RkZ0123456789abcdefcanary"
)

var good = tokenfile.File{ID: id, Secret: apitoken.NewSecret(value)}

func encode(t *testing.T, f tokenfile.File) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, tokenfile.Encode(&b, f))
	return b.String()
}

func requireGood(t *testing.T, f tokenfile.File) {
	t.Helper()
	require.Equal(t, good.ID, f.ID)
	require.Equal(t, value, f.Secret.Reveal())
}

// S2.29, S1.4: two lines, and words for the holder.
func TestEncode(t *testing.T) {
	t.Parallel()
	text := encode(t, good)
	require.Contains(t, text, "\nToken ID: "+id+"\n")
	require.Contains(t, text, "\nSecret Key: "+value+"\n")
	require.Contains(t, text, "Keep it safe")
	require.Contains(t, text, "Share it with nobody")
	for line := range strings.Lines(text) {
		require.Regexp(t, `^(#|Token ID: |Secret Key: )`, line)
	}
	f, err := tokenfile.Parse(strings.NewReader(text))
	require.NoError(t, err)
	requireGood(t, f)
}

// S2.29: an uploaded key has no secret, and what would break the file is refused
// before anything is written.
func TestEncodeRefuses(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file  tokenfile.File
		field string
	}{
		"uploaded key":    {tokenfile.File{ID: id}, "secret_key"},
		"no ID":           {tokenfile.File{Secret: good.Secret}, "token_id"},
		"no ID of ours":   {tokenfile.File{ID: "a", Secret: good.Secret}, "token_id"},
		"ID with a line":  {tokenfile.File{ID: "2w7RkZ0123456789abcde\n", Secret: good.Secret}, "token_id"},
		"a line":          {tokenfile.File{ID: id, Secret: apitoken.NewSecret("canary\nToken ID: x")}, "secret_key"},
		"a space":         {tokenfile.File{ID: id, Secret: apitoken.NewSecret("canary ")}, "secret_key"},
		"beyond ASCII":    {tokenfile.File{ID: id, Secret: apitoken.NewSecret("canäry")}, "secret_key"},
		"longer than any": {tokenfile.File{ID: id, Secret: apitoken.NewSecret(strings.Repeat("canary", 86))}, "secret_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			err := tokenfile.Encode(&b, tc.file)
			requireField(t, err, tc.field)
			require.Zero(t, b.Len())
			path := filepath.Join(t.TempDir(), "a.token")
			requireField(t, tokenfile.Write(path, tc.file), tc.field)
			require.NoFileExists(t, path)
		})
	}
	require.ErrorIs(t, tokenfile.Encode(failing{}, good), errGone)
}

var errGone = errors.New("gone")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errGone }

func requireField(t *testing.T, err error, field string) {
	t.Helper()
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	fields := apitoken.Fields(err)
	require.Len(t, fields, 1)
	require.Equal(t, field, fields[0].Field)
	require.NotContains(t, err.Error(), "canary")
	require.NotContains(t, err.Error(), "canäry")
}

func TestParse(t *testing.T) {
	t.Parallel()
	text := encode(t, good)
	for name, text := range map[string]string{
		"the two lines alone":  "Token ID: " + id + "\nSecret Key: " + value + "\n",
		"the other way round":  "Secret Key: " + value + "\nToken ID: " + id,
		"Windows":              strings.ReplaceAll(text, "\n", "\r\n"),
		"byte-order mark":      "\ufeff" + text,
		"without a last break": strings.TrimSuffix(text, "\n"),
		"words of the holder":  "# für Jörg\n#\n" + text + "# " + value + "\n",
		"as long as can be":    text + "#" + strings.Repeat("a", 8<<10-len(text)-1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := tokenfile.Parse(strings.NewReader(text))
			require.NoError(t, err)
			requireGood(t, f)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	text := encode(t, good)
	const idLine, secretLine = "Token ID: " + id + "\n", "Secret Key: " + value + "\n"
	for name, tc := range map[string]struct{ text, field string }{
		"nothing":                {"", "token_id"},
		"a break alone":          {"\n", "token_id"},
		"words alone":            {"# " + value + "\n", "token_id"},
		"no secret":              {idLine, "secret_key"},
		"no ID":                  {secretLine, "token_id"},
		"empty ID":               {"Token ID: \n" + secretLine, "token_id"},
		"empty secret":           {idLine + "Secret Key: \n", "secret_key"},
		"ID twice":               {text + idLine, "token_id"},
		"secret twice":           {text + secretLine, "secret_key"},
		"empty secret, then one": {idLine + "Secret Key: \n" + secretLine, "secret_key"},
		"two files":              {text + text, "token_id"},
		"an empty line":          {idLine + "\n" + secretLine, "line[2]"},
		"two breaks at the end":  {text + "\n", fmt.Sprintf("line[%d]", strings.Count(text, "\n")+1)},
		"another line":           {text + value + "\n", fmt.Sprintf("line[%d]", strings.Count(text, "\n")+1)},
		"a space in front":       {" " + idLine + secretLine, "line[1]"},
		"another case":           {"token id: " + id + "\n" + secretLine, "line[1]"},
		"no space":               {"Token ID:" + id + "\n" + secretLine, "line[1]"},
		"two spaces":             {"Token ID:  " + id + "\n" + secretLine, "token_id"},
		"a space behind":         {"Token ID: " + id + "\nSecret Key: " + value + " \n", "secret_key"},
		"a tab":                  {"Token ID: " + id + "\nSecret Key: \t" + value + "\n", "secret_key"},
		"old Macintosh":          {strings.ReplaceAll(text, "\n", "\r"), "token_id"},
		"a zero byte":            {idLine + "Secret Key: " + value + "\x00\n", "secret_key"},
		"not UTF-8":              {text + "# \xff\n", "file"},
		"UTF-16":                 {"\xff\xfeT\x00o\x00", "file"},
		"too long":               {text + "#" + strings.Repeat("a", 8<<10), "file"},
		"a private key":          {"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n", "line[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := tokenfile.Parse(strings.NewReader(tc.text))
			requireField(t, err, tc.field)
			require.Zero(t, f.ID)
			require.True(t, f.Secret.IsZero())
		})
	}
	_, err := tokenfile.Parse(iotest.ErrReader(errGone))
	require.ErrorIs(t, err, errGone)
}

// The file is its owner's from the first moment, and takes no other's place.
func TestWrite(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ci.token")
	require.NoError(t, tokenfile.Write(path, good))
	info, err := os.Stat(path)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
	f, warning, err := tokenfile.Read(path)
	require.NoError(t, err)
	require.Empty(t, warning)
	requireGood(t, f)

	before, err := os.ReadFile(path)
	require.NoError(t, err)
	err = tokenfile.Write(path, tokenfile.File{ID: id, Secret: apitoken.NewSecret("other")})
	require.ErrorIs(t, err, os.ErrExist)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.ErrorIs(t, tokenfile.Write(filepath.Join(path, "below"), good), errNotDir(path))
}

// errNotDir is what the system says of a path through a file.
func errNotDir(path string) error {
	_, err := os.Stat(filepath.Join(path, "below"))
	return errors.Unwrap(err)
}

// S2.29: whoever can read a secret can use it, so its holder is told.
func TestReadWarns(t *testing.T) {
	t.Parallel()
	for mode, warns := range map[os.FileMode]bool{
		0o600: false, 0o400: false, 0o700: false, 0o640: true, 0o604: true, 0o644: true, 0o620: true, 0o602: true, 0o660: true,
	} {
		path := filepath.Join(t.TempDir(), "ci.token")
		require.NoError(t, tokenfile.Write(path, good))
		require.NoError(t, os.Chmod(path, mode))
		f, warning, err := tokenfile.Read(path)
		require.NoError(t, err)
		requireGood(t, f)
		if !warns || runtime.GOOS == "windows" {
			require.Empty(t, warning, mode)
			continue
		}
		require.Contains(t, warning, "chmod 600")
		require.Contains(t, warning, fmt.Sprintf("%04o", mode))
		require.NotContains(t, warning, "canary")
	}
}

func TestReadFails(t *testing.T) {
	t.Parallel()
	_, _, err := tokenfile.Read(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, _, err = tokenfile.Read(t.TempDir())
	require.Error(t, err)
	path := filepath.Join(t.TempDir(), "bad.token")
	require.NoError(t, os.WriteFile(path, []byte(value+"\n"), 0o644))
	f, warning, err := tokenfile.Read(path)
	requireField(t, err, "line[1]")
	require.Contains(t, err.Error(), path)
	require.Zero(t, f.ID)
	require.Empty(t, warning)
}

// Printing a file does not show its secret (S1.4).
func TestFileIsNotPrinted(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		require.NotContains(t, fmt.Sprintf(verb, good), "canary")
	}
}

// What is read can be written, and says the same again. What is refused is a
// [apitoken.FieldError] and gives nothing away.
func FuzzParse(f *testing.F) {
	var b bytes.Buffer
	require.NoError(f, tokenfile.Encode(&b, good))
	f.Add(b.String())
	f.Add("Token ID: " + id + "\r\nSecret Key: canary\r\n")
	f.Add("\ufeff#\nSecret Key: canary\nToken ID: " + id)
	f.Add("Token ID: " + id + "\nSecret Key: can ary\n")
	f.Add("Token ID: \nSecret Key: \n\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := tokenfile.Parse(strings.NewReader(text))
		if err != nil {
			require.Len(t, apitoken.Fields(err), 1)
			require.Zero(t, file.ID)
			require.True(t, file.Secret.IsZero())
			require.NotContains(t, err.Error(), "canary")
			return
		}
		require.Contains(t, text, "Token ID: "+string(file.ID))
		require.Contains(t, text, "Secret Key: "+file.Secret.Reveal())
		again, err := tokenfile.Parse(strings.NewReader(encode(t, file)))
		require.NoError(t, err)
		require.Equal(t, file.ID, again.ID)
		require.Equal(t, file.Secret.Reveal(), again.Secret.Reveal())
	})
}
