package jws_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/jws"
)

// The published token of the JWS tunnel, scheme A.
const (
	publishedInput = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImNlOTc3OGJmLWV4YW0tcDFlYy1hZmUzLTkxZTkzNTU2MDNhMyIsIm1ldGhvZCI6IkdFVCIsImNvbnRlbnQtdHlwZSI6ImFwcGxpY2F0aW9uL2pzb24iLCJ1cmkiOiIvdjMvcmVwb3J0aW5nL2FwcGxpY2F0aW9ucyIsInF1ZXJ5LXN0cmluZyI6Im9yZGVyQnk9ZXNuJTJDZGV2aWNlTmFtZSUzQWRlc2MlMkNkZXZpY2VVaWQlM0Fhc2MiLCJpc3N1ZWRBdCI6MTYzODU3MjE1MjAwMH0.e30"
	published      = publishedInput + ".szxYnuRrK1GlCUWu7rKp2VXobmmZXG3US92gnuYKrrA"
)

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func TestParse(t *testing.T) {
	t.Parallel()
	text := []byte(published)
	c, err := jws.Parse(text, jws.Limits{})
	require.NoError(t, err)
	require.Equal(t, publishedInput, string(c.Signed))
	require.Equal(t, `{}`, string(c.Payload))
	require.Len(t, c.Signature, 32)
	require.Equal(t, published, string(text), "the text is left as it was")

	o, err := jws.ParseObject(c.Header)
	require.NoError(t, err)
	require.NoError(t, jws.CheckHeader(o))
	require.Equal(t, 7, o.Len())
	for name, want := range map[string]string{
		"alg":          "HS256",
		"kid":          "ce9778bf-exam-p1ec-afe3-91e9355603a3",
		"method":       "GET",
		"content-type": "application/json",
		"uri":          "/v3/reporting/applications",
		"query-string": "orderBy=esn%2CdeviceName%3Adesc%2CdeviceUid%3Aasc",
	} {
		got, err := o.String(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	at, err := o.IntOrDigits("issuedAt")
	require.NoError(t, err)
	require.Equal(t, int64(1638572152000), at)
}

// No part of the result can be grown over the next one.
func TestParsePartsDoNotOverlap(t *testing.T) {
	t.Parallel()
	text := []byte(published)
	c, err := jws.Parse(text, jws.Limits{})
	require.NoError(t, err)
	header, payload, signature := bytes.Clone(c.Header), bytes.Clone(c.Payload), bytes.Clone(c.Signature)
	_ = append(c.Header, "xxxxxxxxxxxx"...)
	_ = append(c.Payload, "xxxxxxxxxxxx"...)
	_ = append(c.Signed, "xxxxxxxxxxxx"...)
	require.Equal(t, header, c.Header)
	require.Equal(t, payload, c.Payload)
	require.Equal(t, signature, c.Signature)
	require.Equal(t, published, string(text))
}

// What a payload holds is not for the front end to say.
func TestParseTakesAnyPayload(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"", "a", "\xff\x00", `{"data":{}}`, strings.Repeat("long ", 10_000)} {
		c, err := jws.Parse([]byte(encode("{}")+"."+encode(payload)+".AA"), jws.Limits{})
		require.NoError(t, err)
		require.Equal(t, payload, string(c.Payload))
		require.Equal(t, []byte{0}, c.Signature)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	head, tail, _ := strings.Cut(published, ".")
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"nothing":                   {"", jws.ErrParts},
		"no dot":                    {head, jws.ErrParts},
		"one dot":                   {publishedInput, jws.ErrParts},
		"three dots":                {published + ".", jws.ErrParts},
		"five parts, as in JWE":     {published + ".AA.AA", jws.ErrParts},
		"dots only":                 {"..", jws.ErrNoSignature},
		"no signature":              {publishedInput + ".", jws.ErrNoSignature},
		"padding":                   {head + "." + strings.Replace(tail, "e30", "e30=", 1), jws.ErrBase64},
		"padding at the end":        {published + "=", jws.ErrBase64},
		"a line break":              {published[:40] + "\n" + published[40:], jws.ErrBase64},
		"a carriage return":         {published[:40] + "\r" + published[40:], jws.ErrBase64},
		"a line break at the end":   {published + "\n", jws.ErrBase64},
		"a line break in front":     {"\n" + published, jws.ErrBase64},
		"a space":                   {published[:40] + " " + published[40:], jws.ErrBase64},
		"a space at the end":        {published + " ", jws.ErrBase64},
		"a tab":                     {"\t" + published, jws.ErrBase64},
		"+, standard base64":        {head + ".a+aa.AA", jws.ErrBase64},
		"/, standard base64":        {head + ".a/aa.AA", jws.ErrBase64},
		"a zero byte":               {head + ".a\x00aa.AA", jws.ErrBase64},
		"beyond ASCII":              {head + ".aéa.AA", jws.ErrBase64},
		"a length that cannot be":   {head + ".e30.AAAAA", jws.ErrBase64},
		"spare bits, two left over": {head + ".e30.AB", jws.ErrBase64},
		"spare bits, signature":     {publishedInput + ".szxYnuRrK1GlCUWu7rKp2VXobmmZXG3US92gnuYKrrB", jws.ErrBase64},
		"spare bits, payload":       {head + ".e31.AA", jws.ErrBase64},
		"JSON serialization":        {`{"payload":"e30","signatures":[]}`, jws.ErrParts},
		"too long":                  {published + strings.Repeat("A", 1<<20), jws.ErrTooLong},
		"header too long":           {strings.Repeat("A", 4*(8<<10)/3+4) + ".e30.AA", jws.ErrHeaderTooLong},
	} {
		_, err := jws.Parse([]byte(tc.text), jws.Limits{})
		require.ErrorIs(t, err, tc.want, name)
	}
}

func TestLimitsAreExact(t *testing.T) {
	t.Parallel()
	header := encode(strings.Repeat(" ", 98) + "{}")
	text := []byte(header + ".e30.AA")
	for name, tc := range map[string]struct {
		limits jws.Limits
		want   error
	}{
		"both reached":     {jws.Limits{MaxToken: len(text), MaxHeader: 100}, nil},
		"token too long":   {jws.Limits{MaxToken: len(text) - 1, MaxHeader: 100}, jws.ErrTooLong},
		"header too long":  {jws.Limits{MaxToken: len(text), MaxHeader: 99}, jws.ErrHeaderTooLong},
		"negative is none": {jws.Limits{MaxToken: -1, MaxHeader: -1}, nil},
	} {
		_, err := jws.Parse(text, tc.limits)
		if tc.want == nil {
			require.NoError(t, err, name)
		} else {
			require.ErrorIs(t, err, tc.want, name)
		}
	}

	longest := []byte(encode("{ }") + "." + strings.Repeat("A", 1<<20))
	longest = append(longest[:1<<20-3], ".AA"...)
	_, err := jws.Parse(longest, jws.Limits{})
	require.NoError(t, err)
	_, err = jws.Parse(append(longest, "AA"...), jws.Limits{})
	require.ErrorIs(t, err, jws.ErrTooLong)
}

func TestCheckHeader(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"crit", "b64", "jwk", "jku", "x5c", "x5u", `\u006awk`} {
		for _, value := range []string{`null`, `false`, `[]`, `{"kty":"oct","k":"AA"}`, `"https://example.com"`} {
			o, err := jws.ParseObject([]byte(`{"alg":"ES256","` + name + `":` + value + `}`))
			require.NoError(t, err)
			require.ErrorIs(t, jws.CheckHeader(o), jws.ErrUnsafeHeader, name)
		}
	}
	o, err := jws.ParseObject([]byte(`{"alg":"ES256","typ":"JWT","kid":"a","cty":"json","x5t":"AA","nested":{"jwk":1}}`))
	require.NoError(t, err)
	require.NoError(t, jws.CheckHeader(o))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	all := []*jws.Error{
		jws.ErrTooLong, jws.ErrHeaderTooLong, jws.ErrParts, jws.ErrNoSignature, jws.ErrBase64, jws.ErrUnsafeHeader,
		jws.ErrJSON, jws.ErrUTF8, jws.ErrNotObject, jws.ErrDuplicate, jws.ErrTooDeep, jws.ErrTooMany,
		jws.ErrMissing, jws.ErrNotText, jws.ErrNotInteger,
	}
	seen := map[string]bool{}
	for _, e := range all {
		require.False(t, seen[e.Reason()], e.Reason())
		seen[e.Reason()] = true
		require.Regexp(t, `^jws_[a-z0-9_]+$`, e.Reason())
		require.Equal(t, e.Reason(), apitoken.ReasonOf(e))
	}
	_, err := jws.Object{}.String("kid")
	require.ErrorIs(t, err, jws.ErrMissing)
	require.NotErrorIs(t, err, jws.ErrNotText)
	require.NotErrorIs(t, err, errors.ErrUnsupported)
	require.Contains(t, err.Error(), "kid")
	require.Equal(t, "jws_missing", apitoken.ReasonOf(err))
}

// What is accepted has one text. What has that form is accepted.
func FuzzParse(f *testing.F) {
	f.Add([]byte(published))
	f.Add([]byte(publishedInput + "."))
	f.Add([]byte("e30.e30.AA"))
	f.Add([]byte("e30.e31.AA"))
	f.Add([]byte("e30.\n.AA"))
	f.Add([]byte("e30=..AA"))
	f.Add([]byte("...."))
	f.Fuzz(func(t *testing.T, text []byte) {
		limits := jws.Limits{MaxToken: 600, MaxHeader: 300}
		parts := strings.Split(string(text), ".")
		good := len(parts) == 3 && len(text) <= limits.MaxToken && parts[2] != ""
		for i, part := range parts {
			b, err := base64.RawURLEncoding.DecodeString(part)
			good = good && err == nil && base64.RawURLEncoding.EncodeToString(b) == part && (i > 0 || len(b) <= limits.MaxHeader)
		}

		before := string(text)
		c, err := jws.Parse(text, limits)
		require.Equal(t, before, string(text))
		if !good {
			require.Error(t, err)
			require.Zero(t, c)
			return
		}
		require.NoError(t, err)
		require.Equal(t, before, encode(string(c.Header))+"."+encode(string(c.Payload))+"."+encode(string(c.Signature)))
		require.Equal(t, parts[0]+"."+parts[1], string(c.Signed))
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte(published)
	b.Run("parts", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := jws.Parse(text, jws.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parts, header and payload", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c, err := jws.Parse(text, jws.Limits{})
			if err != nil {
				b.Fatal(err)
			}
			header, err := jws.ParseObject(c.Header)
			if err != nil || jws.CheckHeader(header) != nil {
				b.Fatal(err)
			}
			if _, err := jws.ParseObject(c.Payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}
