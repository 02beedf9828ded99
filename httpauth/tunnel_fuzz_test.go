package httpauth_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// through sends a text into a tunnel whose Verifier believes every signature, and
// returns the inner request and its body, nil if it was refused.
func through(t *testing.T, text string) (*http.Request, []byte) {
	t.Helper()
	var got *http.Request
	var sent []byte
	var refused error
	v := checksBody()
	auth := httpauth.New(v, httpauth.Options{ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
		refused = err
		httpauth.WriteError(w, r, err)
	}})
	h := auth.Tunnel(httpauth.TunnelOptions{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		sent, err = io.ReadAll(r.Body)
		require.NoError(t, err)
		got = r
	}))
	rec := answer(h, tunnelRequest(text))
	if got == nil {
		require.ErrorIs(t, refused, apitoken.ErrUnauthenticated)
		require.Equal(t, 401, rec.Code)
		return nil, nil
	}
	require.NoError(t, refused)
	require.Len(t, v.calls(), 1)
	proof := v.calls()[0].Proof
	text = strings.Trim(text, " \t\r\n")
	require.Equal(t, text[:strings.LastIndexByte(text, '.')], string(proof.Signed))
	require.NotEmpty(t, proof.Algorithm)
	return got, sent
}

var plainTarget = regexp.MustCompile(`^(/[A-Za-z0-9_-]+)+$`)
var plainQuery = regexp.MustCompile(`^([a-z]+=([A-Za-z0-9_-]|%20)*(&[a-z]+=[A-Za-z0-9]*)*)?$`)

// What comes out of the tunnel is what a server would have read from the wire, and
// no two readers of the path can differ about it.
func FuzzTunnelURI(f *testing.F) {
	for _, uri := range []string{
		"/v3/reporting/applications", "/", "//a", "/a/../b", "/%2e%2e/a", "/a%2Fb", "/a%5cb", "/a?b", "/a#b", "/a\r\nb", "/jws/validate", "/%6aws/validate/",
		"http://a/b", "*", "/ü", "/%ff", "/a;b=c/d", "/%zz", "/..%2f", "/a/.", "/%00",
	} {
		f.Add(uri, "orderBy=esn%2CdeviceName%3Adesc")
	}
	f.Add("/a", "?a=1")
	f.Add("/a", "a=1#b")
	f.Add("/a", "a= HTTP/1.1\r\nX: 1\r\n\r\n")
	f.Add("/a", "a=%zz&b")
	c := client{"0123456789abcdefABCDEF", "HS256", []byte("a secret of 24 characters")}
	f.Fuzz(func(t *testing.T, uri, query string) {
		got, _ := through(t, c.sign(toJSON(object{
			"alg": "HS256", "kid": c.id, "method": "GET", "uri": uri, "query-string": query, "issuedAt": int64(1_800_000_000_000),
		}), "{}"))
		plain := plainTarget.MatchString(uri) && len(uri) <= 4096 && plainQuery.MatchString(query) && len(query) < 1024 && uri != tunnelPath
		if got == nil {
			require.False(t, plain, "%q %q", uri, query)
			return
		}
		target := uri
		if query != "" {
			target += "?" + query
		}
		require.Equal(t, target, got.RequestURI)
		wire, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: example.com\r\n\r\n")))
		require.NoError(t, err)
		require.Equal(t, wire.RequestURI, got.RequestURI)
		require.Equal(t, wire.URL, got.URL)
		require.Equal(t, wire.Host, got.Host)
		require.Equal(t, query, got.URL.RawQuery)

		p := got.URL.Path
		require.True(t, strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//"))
		require.NotContains(t, p, `\`)
		require.NotEqual(t, tunnelPath, path.Clean(p))
		for segment := range strings.SplitSeq(p, "/") {
			require.NotContains(t, []string{".", ".."}, segment)
		}
		_, err = url.ParseQuery(strings.ReplaceAll(query, ";", ""))
		require.NoError(t, err)
	})
}

// FuzzTunnel compares the tunnel with encoding/json, for what it lets through: it
// reads the same fields, and hands on the bytes of the body as they stand there.
func FuzzTunnel(f *testing.F) {
	header := func(more string) string {
		return `{"alg":"HS256","kid":"a","method":"PUT","content-type":"application/json","uri":"/a","query-string":"","issuedAt":1800000000000` + more + `}`
	}
	for _, more := range []string{"", `,"typ":"JWT"`, `,"crit":[]`, `,"b64":false`, `,"uri":"/b"`, `,"Uri":"/b"`, `,"\u0075ri":"/b"`, `,"a":{"b":1,"b":2}`, ` `, `}`} {
		f.Add([]byte(header(more)), []byte(`{"data":{"a":1}}`), []byte("sig"), "")
	}
	for _, payload := range []string{"", "{}", `{"data":{}}`, `{"data":""}`, `{"data": [1 ,2]}`, `{"data":1,"data":2}`, `{"Data":1}`, `{"data":null}`, `{"d\u0061ta":" "}`, `{"data":{ } }`} {
		f.Add([]byte(header("")), []byte(payload), []byte("sig"), "")
	}
	f.Add([]byte(header("")), []byte("{}"), []byte("sig"), "=")
	f.Add([]byte(header("")), []byte("{}"), []byte("sig"), ".")
	f.Add([]byte(header("")), []byte("{}"), []byte(""), "\n")
	f.Add([]byte(`{"alg":"","kid":"a"}`), []byte("{}"), []byte("sig"), "A")
	f.Fuzz(func(t *testing.T, header, payload, signature []byte, tail string) {
		if len(header)+len(payload) > 1<<16 {
			return
		}
		text := encode(header) + "." + encode(payload) + "." + encode(signature) + tail
		got, sent := through(t, text)
		if got == nil {
			return
		}
		require.Equal(t, 2, strings.Count(text, "."))
		parts := strings.Split(strings.Trim(text, " \t\r\n"), ".")
		last, err := base64.RawURLEncoding.DecodeString(parts[2])
		require.NoError(t, err)
		require.Equal(t, parts[2], encode(last), "one signature has one text")

		var fields map[string]any
		require.NoError(t, json.Unmarshal(header, &fields))
		require.Equal(t, got.Method, fields["method"])
		uri, _, _ := strings.Cut(got.RequestURI, "?")
		require.Equal(t, uri, fields["uri"])
		if fields["query-string"] != nil {
			require.Equal(t, got.URL.RawQuery, fields["query-string"])
		}
		if fields["content-type"] != nil {
			require.Equal(t, got.Header.Get("Content-Type"), fields["content-type"])
		}
		for _, name := range []string{"crit", "b64", "jwk", "jku", "x5c", "x5u"} {
			require.NotContains(t, fields, name)
		}
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(payload, &members))
		data := members["data"]
		var value any
		if data != nil {
			require.NoError(t, json.Unmarshal(data, &value))
		}
		if m, isObject := value.(map[string]any); data == nil || value == "" || isObject && len(m) == 0 {
			require.Empty(t, sent)
			require.Empty(t, got.Header.Get("Content-Length"))
			return
		}
		require.True(t, bytes.Equal(data, sent), "%q %q", data, sent)
		require.EqualValues(t, len(data), got.ContentLength)
	})
}
