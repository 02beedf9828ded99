package jws_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken/internal/jws"
)

func object(t testing.TB, text string) jws.Object {
	t.Helper()
	o, err := jws.ParseObject([]byte(text))
	require.NoError(t, err, text)
	return o
}

// many writes n members after one another, each name followed by value.
func many(n int, value string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"n%d":%s`, i, value)
	}
	return b.String()
}

// nested writes n levels, the innermost empty.
func nested(n int) string {
	return strings.Repeat(`{"a":`, n-1) + `{}` + strings.Repeat(`}`, n-1)
}

func TestParseObject(t *testing.T) {
	t.Parallel()
	o := object(t, " \t\r\n{ \"a\" : 1.5e-3 , \"\" :\"\", \"b\":{\"a\":1,\"b\":[{\"a\":1},{\"a\":2}]}, \"\\u0063\":[ ], \"ü\":null,\"A\":true,\"d\":\" \\\"} \"}\n")
	require.Equal(t, 7, o.Len())
	for name, want := range map[string]string{
		"a": `1.5e-3`, "": `""`, "b": `{"a":1,"b":[{"a":1},{"a":2}]}`, "c": `[ ]`, "ü": `null`, "A": `true`, "d": `" \"} "`,
	} {
		got, ok := o.Raw(name)
		require.True(t, ok, name)
		require.True(t, o.Has(name))
		require.Equal(t, want, string(got))
	}
	for _, name := range []string{"B", "C", `\u0063`, "Ü", "e", " a"} {
		got, ok := o.Raw(name)
		require.False(t, ok, name)
		require.Nil(t, got)
		require.False(t, o.Has(name))
	}

	// Names count in their own object only.
	for _, text := range []string{
		`{"a":{"a":{"a":1}}}`, `{"a":{"b":{"x":1,"y":2},"x":{"y":3},"y":{"x":4}}}`, `{"a":[{"b":1},{"b":2}],"b":{"a":{"b":1}}}`,
		`{"a":{` + many(20, `{"x":1}`) + `,"x":{"n0":1}}}`, `{"a":{"n0":{` + many(20, `1`) + `},"n1":2}}`,
	} {
		require.NotZero(t, object(t, text).Len())
	}

	require.Zero(t, object(t, `{}`).Len())
	require.Equal(t, 64, object(t, `{`+many(64, `1`)+`}`).Len())
	require.Equal(t, 1, object(t, `{"data":{`+many(10_000, `{}`)+`}}`).Len())
	require.Equal(t, 1, object(t, nested(32)).Len())
	require.Equal(t, 1, object(t, `{"a":`+strings.Repeat(`[`, 31)+strings.Repeat(`]`, 31)+`}`).Len())
	require.False(t, jws.Object{}.Has("a"))
}

func TestParseObjectRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		``:                     jws.ErrNotObject,
		` `:                    jws.ErrNotObject,
		`[]`:                   jws.ErrNotObject,
		`null`:                 jws.ErrNotObject,
		`"a"`:                  jws.ErrNotObject,
		`1`:                    jws.ErrNotObject,
		"\ufeff{}":             jws.ErrNotObject,
		"\v{}":                 jws.ErrNotObject,
		"\u00a0{}":             jws.ErrNotObject,
		"\x00{}":               jws.ErrNotObject,
		`{}{}`:                 jws.ErrNotObject,
		`{} x`:                 jws.ErrNotObject,
		`{},`:                  jws.ErrNotObject,
		`{}]`:                  jws.ErrNotObject,
		"{}\x00":               jws.ErrNotObject,
		`{} // why`:            jws.ErrNotObject,
		`{`:                    jws.ErrJSON,
		`{"a"`:                 jws.ErrJSON,
		`{"a":`:                jws.ErrJSON,
		`{"a":1`:               jws.ErrJSON,
		`{"a":1,`:              jws.ErrJSON,
		`{"a":1,}`:             jws.ErrJSON,
		`{,}`:                  jws.ErrJSON,
		`{,"a":1}`:             jws.ErrJSON,
		`{"a":1;"b":2}`:        jws.ErrJSON,
		`{"a":1 "b":2}`:        jws.ErrJSON,
		`{"a" 1}`:              jws.ErrJSON,
		`{"a"}`:                jws.ErrJSON,
		`{a:1}`:                jws.ErrJSON,
		`{'a':1}`:              jws.ErrJSON,
		`{1:1}`:                jws.ErrJSON,
		`{null:1}`:             jws.ErrJSON,
		`{"a":}`:               jws.ErrJSON,
		`{"a":,}`:              jws.ErrJSON,
		`{"a":nul}`:            jws.ErrJSON,
		`{"a":nulll}`:          jws.ErrJSON,
		`{"a":True}`:           jws.ErrJSON,
		`{"a":tru`:             jws.ErrJSON,
		`{"a":NaN}`:            jws.ErrJSON,
		`{"a":Infinity}`:       jws.ErrJSON,
		`{"a":01}`:             jws.ErrJSON,
		`{"a":-}`:              jws.ErrJSON,
		`{"a":+1}`:             jws.ErrJSON,
		`{"a":.5}`:             jws.ErrJSON,
		`{"a":5.}`:             jws.ErrJSON,
		`{"a":5e}`:             jws.ErrJSON,
		`{"a":5e+}`:            jws.ErrJSON,
		`{"a":0x10}`:           jws.ErrJSON,
		`{"a":1_000}`:          jws.ErrJSON,
		`{"a":1/**/}`:          jws.ErrJSON,
		`{"a":[}`:              jws.ErrJSON,
		`{"a":[1,]}`:           jws.ErrJSON,
		`{"a":[,1]}`:           jws.ErrJSON,
		`{"a":[1 2]}`:          jws.ErrJSON,
		`{"a":[1}`:             jws.ErrJSON,
		`{"a":[1`:              jws.ErrJSON,
		`{"a":"`:               jws.ErrJSON,
		`{"a":"\`:              jws.ErrJSON,
		`{"a":"\"}`:            jws.ErrJSON,
		`{"a":"\x41"}`:         jws.ErrJSON,
		`{"a":"\'"}`:           jws.ErrJSON,
		`{"a":"\U0041"}`:       jws.ErrJSON,
		`{"a":"\u004"}`:        jws.ErrJSON,
		`{"a":"\u004g"}`:       jws.ErrJSON,
		`{"a":"\u`:             jws.ErrJSON,
		`{"a":"\ud83d\u004g"}`: jws.ErrJSON,
		"{\"a\":\"\n\"}":       jws.ErrJSON,
		"{\"a\":\"\x00\"}":     jws.ErrJSON,
		"{\"a\":\"\x1f\"}":     jws.ErrJSON,
		"{\"a\x01\":1}":        jws.ErrJSON,
		"{\"a\":\v1}":          jws.ErrJSON,

		"{\"a\":\"\xff\"}":         jws.ErrUTF8,
		"{\"\xc3\":1}":             jws.ErrUTF8,
		"{\"a\":\"\xed\xa0\xbd\"}": jws.ErrUTF8, // a surrogate in UTF-8
		"{\"a\":\"\xc0\xae\"}":     jws.ErrUTF8, // a longer form of a dot
		"{}\xff":                   jws.ErrUTF8,
		`{"a":"\ud83d"}`:           jws.ErrUTF8,
		`{"a":"\ude00"}`:           jws.ErrUTF8,
		`{"a":"\ude00\ud83d"}`:     jws.ErrUTF8,
		`{"a":"\ud83d\ud83d"}`:     jws.ErrUTF8,
		`{"a":"\ud83d\u0041"}`:     jws.ErrUTF8,
		`{"a":"\ud83d\n"}`:         jws.ErrUTF8,
		`{"a":"\ud83dde00"}`:       jws.ErrUTF8,
		`{"\ud83d":1}`:             jws.ErrUTF8,

		`{"a":1,"a":1}`:                                jws.ErrDuplicate,
		`{"a":1,"b":2,"a":3}`:                          jws.ErrDuplicate,
		`{"a":1,"\u0061":2}`:                           jws.ErrDuplicate,
		`{"\ud83d\ude00":1,"😀":2}`:                     jws.ErrDuplicate,
		`{"/":1,"\/":2}`:                               jws.ErrDuplicate,
		`{"":1,"":2}`:                                  jws.ErrDuplicate,
		`{"a":{"b":1,"b":2}}`:                          jws.ErrDuplicate,
		`{"a":[0,[{"b":1,"c":{},"b":2}]]}`:             jws.ErrDuplicate,
		`{"a":{"b":{"x":1},"c":1,"b":2}}`:              jws.ErrDuplicate,
		`{"a":{` + many(15, `{"n0":1}`) + `,"n0":1}}`:  jws.ErrDuplicate,
		`{"a":{` + many(16, `{"n0":1}`) + `,"n0":1}}`:  jws.ErrDuplicate,
		`{"a":{` + many(17, `{"n0":1}`) + `,"n16":1}}`: jws.ErrDuplicate,
		`{"a":{` + many(500, `1`) + `,"n499":1}}`:      jws.ErrDuplicate,

		nested(33): jws.ErrTooDeep,
		`{"a":` + strings.Repeat(`[`, 32) + strings.Repeat(`]`, 32) + `}`: jws.ErrTooDeep,
		`{"a":` + strings.Repeat(`[`, 1<<20):                              jws.ErrTooDeep,
		strings.Repeat(`{"a":`, 1<<20):                                    jws.ErrTooDeep,
		`{` + many(65, `1`) + `}`:                                         jws.ErrTooMany,
	} {
		o, err := jws.ParseObject([]byte(text))
		require.ErrorIs(t, err, want, "%.60q", text)
		require.Zero(t, o.Len())
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	o := object(t, `{"plain":"a b","empty":"","escapes":"\"\\\/\b\f\n\r\t\u0041\u00fc\u20AC\ud83d\ude00\u0000","number":1,"null":null,"list":["a"],"object":{}}`)
	for name, want := range map[string]string{"plain": "a b", "empty": "", "escapes": "\"\\/\b\f\n\r\tAü€😀\x00"} {
		got, err := o.String(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, name := range []string{"number", "null", "list", "object"} {
		_, err := o.String(name)
		require.ErrorIs(t, err, jws.ErrNotText, name)
	}
	for _, name := range []string{"Plain", "none"} {
		_, err := o.String(name)
		require.ErrorIs(t, err, jws.ErrMissing, name)
	}
}

func TestStrings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`"a"`:                         {"a"},
		`""`:                          {""},
		`[]`:                          {},
		`[ ]`:                         {},
		`["a"]`:                       {"a"},
		` [ "a" , "\u0062]," , "" ] `: {"a", "b],", ""},
	} {
		got, err := object(t, `{"aud":`+text+`}`).Strings("aud")
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{`1`, `null`, `true`, `{}`, `[1]`, `["a",null]`, `[["a"]]`, `["a",{"b":"c"}]`} {
		got, err := object(t, `{"aud":`+text+`}`).Strings("aud")
		require.ErrorIs(t, err, jws.ErrNotText, text)
		require.Nil(t, got)
	}
	_, err := object(t, `{"Aud":"a"}`).Strings("aud")
	require.ErrorIs(t, err, jws.ErrMissing)
}

func TestInt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		`0`: 0, `-1`: -1, `1638572152000`: 1638572152000,
		`9223372036854775807`: 9223372036854775807, `-9223372036854775808`: -9223372036854775808,
	} {
		o := object(t, `{"n":`+text+`}`)
		got, err := o.Int("n")
		require.NoError(t, err)
		require.Equal(t, want, got)
		got, err = o.IntOrDigits("n")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{
		`1.0`, `1e3`, `1E3`, `0.5`, `-0.0`, `9223372036854775808`, `-9223372036854775809`, `1` + strings.Repeat(`0`, 400),
		`null`, `true`, `[1]`, `{"n":1}`,
	} {
		o := object(t, `{"n":`+text+`}`)
		_, err := o.Int("n")
		require.ErrorIs(t, err, jws.ErrNotInteger, text)
		_, err = o.IntOrDigits("n")
		require.ErrorIs(t, err, jws.ErrNotInteger, text)
	}
	_, err := object(t, `{"N":1}`).Int("n")
	require.ErrorIs(t, err, jws.ErrMissing)
	_, err = object(t, `{"N":1}`).IntOrDigits("n")
	require.ErrorIs(t, err, jws.ErrMissing)
}

func TestIntOrDigits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{`"0"`: 0, `"1638572152000"`: 1638572152000, `"9223372036854775807"`: 9223372036854775807} {
		o := object(t, `{"n":`+text+`}`)
		got, err := o.IntOrDigits("n")
		require.NoError(t, err)
		require.Equal(t, want, got)
		_, err = o.Int("n")
		require.ErrorIs(t, err, jws.ErrNotInteger, "only where strings are asked for")
	}
	for _, text := range []string{
		`""`, `"-1"`, `"+1"`, `" 1"`, `"1 "`, `"01"`, `"1.0"`, `"1e3"`, `"0x1"`, `"1_0"`, `"\u0031"`, `"١"`, `"9223372036854775808"`, `"a"`,
	} {
		_, err := object(t, `{"n":`+text+`}`).IntOrDigits("n")
		require.ErrorIs(t, err, jws.ErrNotInteger, text)
	}
}

// What is refused is not repeated.
func TestErrorsDoNotEcho(t *testing.T) {
	t.Parallel()
	const secret = "zq7Kf0xV"
	for _, text := range []string{
		`{"` + secret + `":1,"` + secret + `":2}`, `{"a":"` + secret, secret, `{} ` + secret, `{"a":` + secret + `}`,
		"{\"" + secret + "\":\"\xff\"}",
	} {
		_, err := jws.ParseObject([]byte(text))
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
		_, err = jws.Parse([]byte(text), jws.Limits{})
		require.Error(t, err)
		require.NotContains(t, err.Error(), secret)
	}
	o := object(t, `{"n":"`+secret+`","m":1}`)
	_, err := o.IntOrDigits("n")
	require.NotContains(t, err.Error(), secret)
}

// reading is what encoding/json finds in an object, walked token by token.
type reading struct {
	depth     int
	duplicate bool
}

func (r *reading) value(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	r.depth = max(r.depth, depth)
	names := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			name, err := dec.Token()
			if err != nil {
				return err
			}
			r.duplicate = r.duplicate || names[name.(string)]
			names[name.(string)] = true
		}
		if err := r.value(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// An object is accepted exactly if encoding/json reads it and none of the stricter
// rules is against it, and both see the same.
func FuzzParseObject(f *testing.F) {
	for _, text := range []string{
		`{}`, ` {"a":1} `, `{"alg":"ES256","kid":"a","issuedAt":"163"}`, `{"a":{"b":[1,{"c":"\u00fc"}]},"d":-1.5e+7}`,
		`{"a":1,"\u0061":2}`, `{"a":[{"b":1,"b":2}]}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83d"}`, "{\"a\":\"\xff\"}",
		`{"a":1}{}`, nested(32), nested(33), `{` + many(64, `1`) + `}`, `{` + many(65, `1`) + `}`, `{"a":{` + many(20, `1`) + `}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var members map[string]json.RawMessage
		var r reading
		good := utf8.Valid(data) && json.Unmarshal(data, &members) == nil && members != nil
		if good {
			dec := json.NewDecoder(bytes.NewReader(data))
			dec.UseNumber()
			require.NoError(t, r.value(dec, 1))
			_, err := dec.Token()
			require.ErrorIs(t, err, io.EOF)
			good = !r.duplicate && r.depth <= 32 && len(members) <= 64
		}

		before := bytes.Clone(data)
		o, err := jws.ParseObject(data)
		require.Equal(t, before, data)
		if err != nil {
			require.Zero(t, o.Len())
			// encoding/json takes halves of surrogate pairs.
			half := bytes.Contains(bytes.ToLower(data), []byte(`\ud`)) && err == jws.ErrUTF8
			require.True(t, !good || half, "%v: %q", err, data)
			return
		}
		require.True(t, good, "%q", data)
		require.Equal(t, len(members), o.Len())
		for name, want := range members {
			got, ok := o.Raw(name)
			require.True(t, ok)
			require.Equal(t, string(want), string(got))

			var text string
			s, err := o.String(name)
			if string(want) != "null" && json.Unmarshal(want, &text) == nil {
				require.NoError(t, err)
				require.Equal(t, text, s)
			} else {
				require.ErrorIs(t, err, jws.ErrNotText)
			}

			var n int64
			i, err := o.Int(name)
			if string(want) != "null" && json.Unmarshal(want, &n) == nil {
				require.NoError(t, err)
				require.Equal(t, n, i)
			} else {
				require.ErrorIs(t, err, jws.ErrNotInteger)
			}

			var list []string
			ss, err := o.Strings(name)
			if text, textErr := o.String(name); textErr == nil {
				require.Equal(t, []string{text}, ss)
			} else if err == nil {
				require.NoError(t, json.Unmarshal(want, &list))
				require.Equal(t, list, ss)
			}
		}
	})
}

func BenchmarkParseObject(b *testing.B) {
	for _, bc := range []struct{ name, text string }{
		{"header", `{"alg":"ES256","kid":"4RYWZjmWrEXvYsvnvp9UW5","method":"GET","content-type":"application/json","uri":"/v3/reporting/applications","query-string":"orderBy=esn","issuedAt":1638572152000}`},
		{"claims", `{"iat":1638572152,"exp":1638572252,"jti":"4RYWZjmWrEXvYsvnvp9UW5","aud":"https://api.example.com","method":"GET","uri":"/v3/reporting/applications?orderBy=esn","body_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`},
		{"10,000 names", `{"data":{` + many(10_000, `1`) + `}}`},
	} {
		data := []byte(bc.text)
		b.Run(bc.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jws.ParseObject(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bc.name+", encoding/json", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var members map[string]json.RawMessage
				if err := json.Unmarshal(data, &members); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
