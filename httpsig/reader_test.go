package httpsig_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpsig"
)

const (
	badSignature = "401 bad_signature"
	malformed    = "401 malformed_proof"
)

// Both algorithms, and each way to cover the target.
func TestAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	for name, c := range map[string]*client{"key": w.keyClient(t, ann()), "secret": w.secretClient(t, ann())} {
		alg := map[string]string{"key": "ecdsa-p256-sha256", "secret": "hmac-sha256"}[name]
		require.Empty(t, w.answer(c.good("/a?x=1", `{"n":1}`)), name)
		require.Equal(t, `{"n":1}`, w.body, "the handler reads the body again")
		const target = "/a/b%2Fc?x=1&x=2&y="
		method, host := []string{"@method", "POST"}, []string{"@authority", host}
		body := []string{"content-digest", digest("{}"), "content-type", "application/json"}
		for _, values := range [][]string{
			join(method, host, body, []string{"@path", "/a/b%2Fc", "@query", "?x=1&x=2&y="}),
			join(body, host, []string{"@request-target", target}, method),
			join(method, []string{"@target-uri", "http://" + host[1] + target}, body, []string{"@scheme", "http", "host", host[1], "content-length", "2"}),
		} {
			params := c.params() + fmt.Sprintf(`;alg=%q;tag="mine";expires=%d`, alg, w.Clock.Now().Unix()+1)
			require.Empty(t, w.answer(c.signed(post(target, "{}"), params, values...)), "%s %q", name, values)
		}
		require.Empty(t, w.answer(c.signed(get("/a"), c.params(), "@method", "GET", "@authority", host[1], "@path", "/a", "@query", "?")), name)
	}
	bearer := w.Authorize(post("/", "{}"), apitoken.IssueRequest{})
	require.Empty(t, w.answer(bearer))
	require.Equal(t, "400 two_credentials", w.answer(w.keyClient(t, ann()).put(bearer, "sig1", `("@method")`, nil)))
}

func join(parts ...[]string) (all []string) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// What is refused, and that the operator is told by which name.
func TestRefusedInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{})
	c := w.keyClient(t, ann())
	const list = `("@method" "@target-uri")`
	good := c.params()
	many := strings.Repeat(` "x"`, 33)
	for _, tc := range []struct {
		name, input string
		says        string
	}{
		{"method not covered", `("@target-uri")` + good, "@method"},
		{"target not covered", `("@method")` + good, "@target-uri"},
		{"host not covered", `("@method" "@path" "@query")` + good, "@authority"},
		{"path not covered", `("@method" "@authority" "@query")` + good, "@path"},
		{"query not covered", `("@method" "@authority" "@path")` + good, "@query"},
		{"nothing covered", `()` + good, "@method"},
		{"query-param", `("@method" "@target-uri" "@query-param";name="x")` + good, `"@query-param" has parameters`},
		{"query-param alone", `("@method" "@target-uri" "@query-param")` + good, `"@query-param" is not supported`},
		{"status", `("@method" "@target-uri" "@status")` + good, `"@status" is not supported`},
		{"signature-params", `("@method" "@target-uri" "@signature-params")` + good, `"@signature-params"`},
		{"unknown derived", `("@method" "@target-uri" "@when")` + good, `"@when" is not supported`},
		{"req", `("@method";req "@target-uri")` + good, `"@method" has parameters`},
		{"sf", `("@method" "@target-uri" "accept";sf)` + good, `"accept" has parameters`},
		{"tr", `("@method" "@target-uri" "accept";tr)` + good, `"accept" has parameters`},
		{"duplicate", `("@method" "@target-uri" "@method")` + good, `"@method" is covered twice`},
		{"capitals", `("@method" "@target-uri" "Accept")` + good, `"Accept" is no name`},
		{"no name", `("@method" "@target-uri" "")` + good, `"" is no name`},
		{"absent field", `("@method" "@target-uri" "accept")` + good, `"accept" is covered and the request has no such field`},
		{"absent length", `("@method" "@target-uri" "content-length")` + good, `"content-length"`},
		{"itself", `("@method" "@target-uri" "signature-input")` + good, `"signature-input"`},
		{"the signature", `("@method" "@target-uri" "signature")` + good, `"signature"`},
		{"a token", `(@method)` + good, "is no dictionary"},
		{"a number", `("@method" 1)` + good, "other than names"},
		{"no list", `"@method"` + good, "other than names"},
		{"33 components", `(` + many[1:] + `)` + good, "more than 32 components"},
		{"8 KiB", list + good + `;tag="` + strings.Repeat("x", 8<<10) + `"`, "at most 8192"},
		{"no created", list + fmt.Sprintf(`;keyid=%q;nonce="n"`, c.id), "created is missing"},
		{"created as a string", list + fmt.Sprintf(`;created="1";keyid=%q;nonce="n"`, c.id), `"created" is not of its type`},
		{"created as a decimal", list + fmt.Sprintf(`;created=1.0;keyid=%q;nonce="n"`, c.id), `"created" is not of its type`},
		{"created before 1970", list + fmt.Sprintf(`;created=-1;keyid=%q;nonce="n"`, c.id), `"created" is not of its type`},
		{"expires at Go's zero time", list + good + ";expires=-62135596800", `"expires" is not of its type`},
		{"created of 16 digits", list + fmt.Sprintf(`;created=1234567890123456;keyid=%q;nonce="n"`, c.id), "is no dictionary"},
		{"no keyid", list + `;created=1;nonce="n"`, "keyid is missing"},
		{"no nonce", list + fmt.Sprintf(`;created=1;keyid=%q`, c.id), "nonce is missing"},
		{"empty nonce", list + fmt.Sprintf(`;created=1;keyid=%q;nonce=""`, c.id), "nonce is missing"},
		{"long nonce", list + fmt.Sprintf(`;created=1;keyid=%q;nonce=%q`, c.id, strings.Repeat("x", 257)), "nonce has 257 bytes"},
		{"nonce as bytes", list + fmt.Sprintf(`;created=1;keyid=%q;nonce=:AAAA:`, c.id), `"nonce" is not of its type`},
		{"created twice", list + good + ";created=1", "names something twice"},
		{"unknown parameter", list + good + ";scope=1", `"scope" is not known`},
		{"label twice", list + good + ", sig1=" + list + good, "names something twice"},
		{"five labels", list + good + ", a=1, b=2, c=3, d=4", "more than 4"},
		{"comma at the end", list + good + ",", "is no dictionary"},
		{"no comma", list + good + " a=1", "is no dictionary"},
		{"unended string", `("@method`, "is no dictionary"},
		{"unended list", `("@method"`, "is no dictionary"},
		{"joined strings", `("@method""@target-uri")` + good, "is no dictionary"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := c.put(get("/"), "sig1", tc.input, make([]byte, 64))
			require.Equal(t, malformed, w.answer(r))
			require.ErrorContains(t, w.refused, tc.says)
		})
	}
	r := c.put(get("/"), "sig1", list+good, make([]byte, 64))
	r.Header.Set("Signature", "sig1=:AAAA:, sig1=:AAAA:")
	require.Equal(t, malformed, w.answer(r))
	r.Header.Set("Signature", `sig1="AAAA"`)
	require.Equal(t, malformed, w.answer(r))
	r.Header.Set("Signature", `sig1`)
	require.Equal(t, malformed, w.answer(r))
	r = c.put(get("/"), "sig1", `("@method" "@target-uri" "x-break")`+good, make([]byte, 64))
	r.Header["X-Break"] = []string{"a\n\"@method\": PUT"}
	require.Equal(t, malformed, w.answer(r))
	require.ErrorContains(t, w.refused, "control character")
	der := c.signed(get("/"), good, "@method", "GET", "@target-uri", "http://"+host+"/")
	der.Header.Set("Signature", "sig1=:MAYCAQECAQE=:")
	require.Equal(t, "401 der_signature", w.answer(der))
}

// RFC 9530: one known digest at least, and all that are known must match. The body
// is read for those alone whose signature is good.
func TestContentDigest(t *testing.T) {
	t.Parallel()
	const sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"
	const body = `{"hello": "world"}` // its digest is published in RFC 9421, B.2
	for _, tc := range []struct{ name, digest, want string }{
		{"sha-256", digest(body), ""},
		{"sha-512", sha512, ""},
		{"both", digest(body) + ", " + sha512, ""},
		{"an unknown one beside", "md5=:AAAA:, x=1, " + digest(body), ""},
		{"first wrong", digest("x") + ", " + sha512, "401 body_digest"},
		{"second wrong", digest(body) + ", " + strings.Replace(sha512, "WZ", "WY", 1), "401 body_digest"},
		{"none known", "md5=:AAAA:", malformed},
		{"empty", "", malformed},
		{"too short", "sha-256=:AAAA:", malformed},
		{"no bytes", "sha-256", malformed},
		{"a list", "sha-256=(1)", malformed},
		{"no dictionary", "=", malformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, httpsig.Options{})
			c := w.secretClient(t, ann())
			r := post("/", body)
			r.Header.Set("Content-Digest", tc.digest)
			c.signed(r, c.params(), "@method", "POST", "@target-uri", "http://"+host+"/", "content-digest", tc.digest, "content-type", "application/json")
			require.Equal(t, tc.want, w.answer(r))
		})
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, httpsig.Options{MaxBody: 10})
	c := w.keyClient(t, ann())
	target := []string{"@method", "POST", "@target-uri", "http://" + host + "/"}
	require.Equal(t, malformed, w.answer(c.signed(post("/", "{}"), c.params(), join(target, []string{"content-type", "application/json"})...)))
	require.ErrorContains(t, w.refused, "content-digest")
	require.Equal(t, malformed, w.answer(c.signed(post("/", "{}"), c.params(), join(target, []string{"content-digest", digest("{}")})...)))
	require.ErrorContains(t, w.refused, "content-type")

	require.Empty(t, w.answer(c.good("/", "0123456789")))
	require.Equal(t, "413 body_too_large", w.answer(c.good("/", "0123456789A")))
	chunked := c.good("/", "0123456789A")
	chunked.ContentLength = -1
	require.Equal(t, "413 body_too_large", w.answer(chunked))
	chunked = c.good("/", "0123456789")
	chunked.ContentLength = -1
	require.Empty(t, w.answer(chunked))

	// A length that nobody tells beforehand.
	short := func(body string, values ...string) *http.Request {
		r := post("/", body)
		r.ContentLength = -1
		return c.signed(r, c.params(), join(target, values)...)
	}
	require.Empty(t, w.answer(short("")))
	require.Equal(t, "401 body_digest", w.answer(short("x")))
	require.Equal(t, malformed, w.answer(short("x", "content-digest", digest("x"))))
	require.ErrorContains(t, w.refused, "content-type")

	unread := c.good("/", "{}")
	unread.Header.Set("Signature", "sig1=:"+base64.StdEncoding.EncodeToString(make([]byte, 64))+":")
	unread.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { panic("the body is read although the signature is bad") }))
	require.Equal(t, badSignature, w.answer(unread))
	broken := c.good("/", "{}")
	broken.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, errors.New("broken off") }))
	require.Equal(t, "400 unreadable_body", w.answer(broken))

	hidden := httptest.NewRequest("POST", "/", nil)
	hidden.Host = host
	hidden.Body = io.NopCloser(bytes.NewReader([]byte("not signed"))) // its length says that there is none
	require.Equal(t, "401 body_digest", w.answer(c.signed(hidden, c.params(), target...)))
	none := httptest.NewRequest("POST", "/", nil)
	none.Host = host
	none.Body = http.MaxBytesReader(nil, http.NoBody, 10) // as http.MaxBytesHandler leaves it
	require.Empty(t, w.answer(c.signed(none, c.params(), target...)))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
