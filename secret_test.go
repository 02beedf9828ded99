package apitoken_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// canary is a secret text whose appearance anywhere is a leak, also in
// hexadecimal, quoted or as numbers.
const canary = "CanaryQ7vXw2ZtK9"

func canaryForms() []string {
	return []string{
		canary,
		fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprintf("% x", canary),
		strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
		"Q2FuYXJ5UTd2WHcyWnRLO", // base64
		canary[:8], canary[8:],
	}
}

func requireNoCanary(t *testing.T, where, output string) {
	t.Helper()
	for _, form := range canaryForms() {
		require.NotContains(t, output, form, where)
	}
}

type exported struct {
	Name string
	Key  apitoken.Secret
}

type unexported struct {
	name string
	key  apitoken.Secret
}

type embedded struct {
	apitoken.Secret
	Other int
}

type boxed struct{ any any }

// holders are values that hold the canary in every way Go has.
func holders() map[string]any {
	s := apitoken.NewSecret(canary)
	p := &s
	issued := apitoken.Issued{Token: apitoken.View{Token: apitoken.Token{ID: "id", Name: "ci"}}, Secret: s}
	req := apitoken.IssueRequest{Name: "ci", Legacy: apitoken.LegacyCredential{ID: "uuid", Secret: s}}
	return map[string]any{
		"direct":                   s,
		"pointer":                  p,
		"pointer to pointer":       &p,
		"exported field":           exported{"n", s},
		"pointer to struct":        &exported{"n", s},
		"unexported field":         unexported{"n", s},
		"pointer to unexported":    &unexported{"n", s},
		"embedded":                 embedded{s, 1},
		"slice":                    []apitoken.Secret{s, s},
		"array":                    [2]apitoken.Secret{s, s},
		"map value":                map[string]apitoken.Secret{"k": s},
		"map of structs":           map[string]unexported{"k": {"n", s}},
		"slice of any":             []any{s, p, unexported{"n", s}},
		"interface field":          boxed{s},
		"interface field, nested":  boxed{&boxed{unexported{"n", s}}},
		"anonymous struct":         struct{ k apitoken.Secret }{s},
		"Issued":                   issued,
		"pointer to Issued":        &issued,
		"slice of Issued":          []apitoken.Issued{issued},
		"IssueRequest":             req,
		"pointer to IssueRequest":  &req,
		"LegacyCredential":         req.Legacy,
		"func":                     func() apitoken.Secret { return s },
		"fmt.Stringer":             fmt.Stringer(s),
		"error that holds it":      errors.Join(holderError{s}),
		"wrapped error":            fmt.Errorf("wrapped: %w", holderError{s}),
		"formatted into a message": fmt.Sprintf("%v %s %+v", s, p, issued),
	}
}

type holderError struct{ key apitoken.Secret }

func (e holderError) Error() string {
	return fmt.Sprintf("bad key %v in %+v", e.key, struct{ k any }{e.key})
}

// S1.4, P9: no verb of fmt, with any flags, shows the text of a Secret.
func TestSecretIsRedactedByFmt(t *testing.T) {
	t.Parallel()
	verbs := []string{
		"%v", "%+v", "%#v", "%s", "%+s", "%#s", "%q", "%#q", "%+q", "%x", "%X", "% x", "%#x", "%# X",
		"%d", "%+d", "%b", "%o", "%O", "%c", "%U", "%#U", "%e", "%f", "%g", "%t", "%p", "%#p", "%T", "%w", "%z",
		"%200v", "%-200s", "%.3v", "%.100q", "%[1]v", "%[1]*[1]v", "%!",
	}
	for name, v := range holders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, verb := range verbs {
				requireNoCanary(t, verb, fmt.Sprintf(verb, v))
				requireNoCanary(t, verb+" in Errorf", fmt.Errorf("failed: "+verb, v).Error())
			}
			requireNoCanary(t, "Sprint", fmt.Sprint(v))
			requireNoCanary(t, "Sprintln", fmt.Sprintln(v, v))
			requireNoCanary(t, "Appendf", string(fmt.Appendf(nil, "%v", v)))
			var b bytes.Buffer
			log.New(&b, "", log.LstdFlags).Println(v)
			requireNoCanary(t, "log", b.String())
		})
	}
}

// S1.4, P9
func TestSecretIsRedactedByEncoders(t *testing.T) {
	t.Parallel()
	for name, v := range holders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := func(b []byte, err error) string { return fmt.Sprint(string(b), err) }
			requireNoCanary(t, "json", text(json.Marshal(v)))
			requireNoCanary(t, "json indented", text(json.MarshalIndent(map[string]any{"v": v}, "", " ")))
			requireNoCanary(t, "xml", text(xml.Marshal(v)))
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			requireNoCanary(t, "gob", text(b.Bytes(), err))
			b.Reset()
			err = template.Must(template.New("").Parse(`<p title="{{.}}">{{.}} {{printf "%s %+v" . .}}</p><script>var v = {{.}}</script>`)).Execute(&b, v)
			requireNoCanary(t, "html/template", text(b.Bytes(), err))
		})
	}
}

// S1.4, P9
func TestSecretIsRedactedBySlog(t *testing.T) {
	t.Parallel()
	handlers := map[string]func(w io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true})
		},
		"json": func(w io.Writer) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})
		},
	}
	for handler, make := range handlers {
		for name, v := range holders() {
			t.Run(handler+"/"+name, func(t *testing.T) {
				t.Parallel()
				var b bytes.Buffer
				l := slog.New(make(&b))
				l.Debug("any", "v", v)
				l.Info("attr", slog.Any("v", v))
				l.Warn("group", slog.Group("g", "v", v, slog.Group("h", slog.Any("w", v))))
				l.With("v", v).WithGroup("g").Error("with", "w", v)
				l.Error("message " + fmt.Sprint(v))
				l.Error("no key", v)
				require.NotEmpty(t, b.String())
				requireNoCanary(t, handler, b.String())
			})
		}
	}
}

// S1.4, P9
func TestSecretIsRedactedInPanics(t *testing.T) {
	t.Parallel()
	for name, v := range holders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				r := recover()
				require.NotNil(t, r)
				requireNoCanary(t, "recovered", fmt.Sprintf("panic: %v [recovered] %+v %#v", r, r, r))
			}()
			panic(v)
		})
	}
}

// recordingT takes the text of failed assertions.
type recordingT struct{ strings.Builder }

func (r *recordingT) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }
func (r *recordingT) FailNow()                          {}

// S1.4, P9: testify prints values with a dumper that goes past methods and into
// unexported fields, and a diff of two dumps.
func TestSecretIsRedactedInFailedAssertions(t *testing.T) {
	t.Parallel()
	other := apitoken.NewSecret("another text")
	for name, v := range holders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r recordingT
			require.Equal(&r, v, exported{"other", other})
			require.Equal(&r, []any{v}, []any{unexported{"other", other}})
			require.EqualValues(&r, other, v)
			require.Nil(&r, v)
			require.Empty(&r, v)
			require.Contains(&r, []any{v}, 7)
			require.ElementsMatch(&r, []any{v, v}, []any{1})
			require.IsType(&r, 7, v)
			require.Panics(&r, func() {}, v)
			require.Fail(&r, "message", "%v %+v", v, v)
			require.Greater(t, strings.Count(r.String(), "Error Trace"), 7, "the assertions must fail")
			requireNoCanary(t, "testify", r.String())
		})
	}
}

// A test of the tests above: a plain string in the same places is found.
func TestCanaryIsFoundWhereItLeaks(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "% x"} {
		output := fmt.Sprintf(verb, struct{ k string }{canary})
		found := false
		for _, form := range canaryForms() {
			found = found || strings.Contains(output, form)
		}
		require.True(t, found, verb)
	}
	b, err := json.Marshal([]byte(canary))
	require.NoError(t, err)
	require.Contains(t, string(b), canaryForms()[5])
}

func TestSecretReveals(t *testing.T) {
	t.Parallel()
	s := apitoken.NewSecret(canary)
	require.Equal(t, canary, s.Reveal())
	require.False(t, s.IsZero())
	copied := s
	require.Equal(t, canary, copied.Reveal())

	for _, zero := range []apitoken.Secret{{}, apitoken.NewSecret("")} {
		require.True(t, zero.IsZero())
		require.Empty(t, zero.Reveal())
		require.Equal(t, s.String(), zero.String(), "whether there is a secret is not shown either")
	}
}

func TestSecretPlaceholders(t *testing.T) {
	t.Parallel()
	s := apitoken.NewSecret(canary)
	require.Equal(t, "[redacted] [redacted] [redacted] [redacted]", fmt.Sprintf("%v %s %d %q", s, s, s, s))
	require.Equal(t, "[redacted]", s.GoString())
	require.Equal(t, "[redacted]", s.LogValue().String())
	b, err := json.Marshal(apitoken.Issued{Secret: s})
	require.NoError(t, err)
	require.Contains(t, string(b), `"Secret":"[redacted]"`)
	bin, err := s.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, "[redacted]", string(bin))
}

// What was printed cannot be read back as if it were the secret.
func TestSecretIsNotReadBackFromItsPlaceholder(t *testing.T) {
	t.Parallel()
	var s apitoken.Secret
	//lint:ignore SA9005 that nothing can be decoded into a Secret is what this shows
	require.Error(t, json.Unmarshal([]byte(`"[redacted]"`), &s))
	var b bytes.Buffer
	require.NoError(t, gob.NewEncoder(&b).Encode(apitoken.NewSecret(canary)))
	require.Error(t, gob.NewDecoder(&b).Decode(&s))
	require.True(t, s.IsZero())
}
