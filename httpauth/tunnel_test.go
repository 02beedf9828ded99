package httpauth_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// checksBody is a Verifier that believes every signature.
func checksBody() *fakeVerifier {
	return &fakeVerifier{decide: func(req apitoken.VerifyRequest) error { return req.Proof.CheckBody(context.Background()) }}
}

// The published example, byte for byte. Its key is the secret as it is displayed,
// not decoded, although it is base64.
func TestTunnelPublishedVector(t *testing.T) {
	t.Parallel()
	var vector struct {
		KID          string
		Secret       string
		IssuedAt     int64
		SigningInput string
		Signature    string
	}
	text, err := os.ReadFile("testdata/jws-tunnel-hs256.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &vector))
	signature := func(key []byte) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(vector.SigningInput))
		return encode(mac.Sum(nil))
	}
	require.Equal(t, vector.Signature, signature([]byte(vector.Secret)))
	decoded, err := base64.StdEncoding.DecodeString(vector.Secret)
	require.NoError(t, err)
	require.NotEqual(t, vector.Signature, signature(decoded))

	v := checksBody()
	var got *http.Request
	h := httpauth.New(v, httpauth.Options{}).Tunnel(httpauth.TunnelOptions{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r }))
	require.Equal(t, 200, answer(h, tunnelRequest(vector.SigningInput+"."+vector.Signature)).Code)
	proof := v.calls()[0].Proof
	require.Equal(t, apitoken.SchemeJWS, proof.Scheme)
	require.Equal(t, apitoken.ID(vector.KID), proof.Token)
	require.Equal(t, "HS256", proof.Algorithm)
	require.Equal(t, vector.SigningInput, string(proof.Signed))
	require.Equal(t, vector.Signature, encode(proof.Signature))
	require.Equal(t, vector.IssuedAt, proof.Created.UnixMilli())
	require.True(t, proof.Expires.IsZero())
	require.Empty(t, proof.Nonce)
	require.False(t, proof.Repeatable)

	require.Equal(t, "GET", got.Method)
	require.Equal(t, "/v3/reporting/applications?orderBy=esn%2CdeviceName%3Adesc%2CdeviceUid%3Aasc", got.RequestURI)
	require.Equal(t, "/v3/reporting/applications", got.URL.Path)
	require.Equal(t, "esn,deviceName:desc,deviceUid:asc", got.URL.Query().Get("orderBy"))
	require.Equal(t, http.Header{"Content-Type": {"application/json"}}, got.Header)
	require.Equal(t, http.NoBody, got.Body)
}

// The inner request is what was signed, routed as any other, and verified.
func TestTunnel(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	for _, tc := range []struct {
		name, method, uri, query string
		payload, body            string
		change                   func(header object)
	}{
		{"no body", "GET", "/v1/devices", "a=1&a=2", `{}`, ``, nil},
		{"an empty object", "DELETE", "/v1/devices/7", "", `{"data":{}}`, ``, nil},
		{"an empty object with spaces", "DELETE", "/v1/devices/7", "", ` { "data" : { } } `, ``, nil},
		{"an empty text", "PUT", "/", "", `{"data":""}`, ``, nil},
		{"an object", "POST", "/v1/devices", "", `{"data":{"b": 1.0,"a":"ü\u00fc\/"}}`, `{"b": 1.0,"a":"ü\u00fc\/"}`, nil},
		{"a list", "PUT", "/v1/devices", "", "{\"data\":\n [1, 2 ]\n}", `[1, 2 ]`, nil},
		{"an empty list", "PUT", "/v1/devices", "", `{"data":[]}`, `[]`, nil},
		{"a text", "PUT", "/v1/devices", "", `{"data":"a"}`, `"a"`, nil},
		{"a large number", "PUT", "/v1/devices", "", `{"data":12345678901234567890.10}`, `12345678901234567890.10`, nil},
		{"null", "PUT", "/v1/devices", "", `{"data":null}`, `null`, nil},
		{"time as a text", "GET", "/v1/devices", "", `{}`, ``, func(h object) { h["issuedAt"] = fmt.Sprint(h["issuedAt"]) }},
		{"no type and no query", "GET", "/v1/devices", "", `{}`, ``, func(h object) { delete(h, "content-type"); delete(h, "query-string") }},
		{"typ and others", "GET", "/v1/devices", "", `{}`, ``, func(h object) { h["typ"], h["x"] = "JWT", []object{{"jwk": 1}} }},
		{"encoded", "GET", "/v1/a%2Fb%3F%23/%c3%bc;v=1,2/+~:@", "q=%20&r=+&s=a/b?c", `{}`, ``, nil},
		{"two dots in a name", "GET", "/v1/..a/b../...", "", `{}`, ``, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for i, c := range []client{w.key, w.secret} {
				// Requests of two cases may be alike: each has its own instant.
				header := c.tunnelHeader(tc.method, tc.uri, tc.query, w.Clock.Now().Add(time.Duration(len(tc.name)*2+i)*time.Second))
				if tc.change != nil {
					tc.change(header)
				}
				r := tunnelRequest(" \r\n" + c.sign(toJSON(header), tc.payload) + "\n\t")
				before := r.Body
				rec, err := w.sendTunnel(httpauth.TunnelOptions{}, r)
				require.NoError(t, err)
				target := tc.uri
				if tc.query != "" {
					target += "?" + tc.query
				}
				require.Equal(t, fmt.Sprintf("jws acme/ann %s %s %q <nil>", tc.method, target, tc.body), rec.Body.String())
				require.Equal(t, before, r.Body)
			}
		})
	}
}

// Nothing of the outer request comes through but what is named, and who and where
// the client is.
func TestTunnelInnerRequest(t *testing.T) {
	t.Parallel()
	const proxy, peer = "10.0.0.1", "203.0.113.9"
	v := checksBody()
	var labelled int
	auth := httpauth.New(v, httpauth.Options{
		TrustedProxies: prefixes(proxy + "/32"), Headers: []string{"X-Api-Token"},
		OnVerified: func(ctx context.Context, p apitoken.Principal) { labelled++ },
	})
	c := client{"0123456789abcdefABCDEF", "HS256", []byte("a secret of 24 characters")}
	var got *http.Request
	inner := http.NewServeMux()
	inner.Handle("PUT /v1/{name}", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		actor, ok := auth.Actor(r)
		require.True(t, ok)
		require.Equal(t, peer, actor.Address.String())
		require.NoError(t, r.ParseForm())
		require.Equal(t, "1", r.Form.Get("a"))
		_, err := io.WriteString(w, r.PathValue("name"))
		require.NoError(t, err)
	})))
	h := auth.Tunnel(httpauth.TunnelOptions{Headers: []string{"accept", "X-Request-Id", "X-Absent"}}, inner)

	r := tunnelRequest(c.sign(toJSON(c.tunnelHeader("PUT", "/v1/a%2Fb", "a=1", time.Unix(1_800_000_000, 0))), `{"data":[1]}`))
	r.RemoteAddr, r.Host = proxy+":4711", "api.example"
	for name, value := range map[string]string{
		"X-Forwarded-For": peer, "Accept": "text/plain", "X-Request-Id": "7", "Cookie": "session=1", "Origin": "https://app.example",
		"X-Other": "1", "User-Agent": "test", "Content-Length": "999", "Transfer-Encoding": "chunked", "Proxy-Authorization": "Basic YTpi",
	} {
		r.Header.Set(name, value)
	}
	outer := r.Header.Clone()
	rec := answer(h, r)
	require.Equal(t, "200 a/b", fmt.Sprint(rec.Code, " ", rec.Body))
	require.Equal(t, 1, labelled)
	require.Len(t, v.calls(), 1)
	require.Equal(t, "https://app.example", v.calls()[0].Origin)
	require.Equal(t, peer, v.calls()[0].Address.String())

	require.Equal(t, http.Header{
		"Accept": {"text/plain"}, "X-Request-Id": {"7"}, "X-Forwarded-For": {peer},
		"Content-Type": {"application/json"}, "Content-Length": {"3"},
	}, got.Header)
	require.EqualValues(t, 3, got.ContentLength)
	require.Equal(t, "/v1/a%2Fb?a=1", got.RequestURI)
	require.Equal(t, "/v1/a/b", got.URL.Path)
	require.Equal(t, "/v1/a%2Fb", got.URL.RawPath)
	require.Equal(t, "api.example", got.Host)
	require.Equal(t, r.RemoteAddr, got.RemoteAddr)
	require.Equal(t, "HTTP/1.1", got.Proto)
	require.Equal(t, "PUT /v1/{name}", got.Pattern)
	require.Empty(t, got.TransferEncoding)
	got.Header["X-Request-Id"][0] = "8"
	require.Equal(t, outer, r.Header, "the outer header is another")
}

// Layers inside add what they ask for, and the request is one use.
func TestTunnelCountsOnce(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t, func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"devices": {Quota: 2, Window: time.Minute}}
	})
	limited := w.Issue(apitoken.IssueRequest{Symmetric: true, Permissions: []string{"devices:view"}})
	c := client{limited.Token.ID, "HS256", []byte(limited.Secret.Reveal())}
	auth := httpauth.New(w.Service, httpauth.Options{Catalog: catalog, Logger: w.Options.Logger})
	inner := http.NewServeMux()
	inner.Handle("GET /devices", auth.Middleware(auth.Limit("devices")(auth.RequirePermission("devices:view")(fine))))
	inner.Handle("GET /scripts", auth.RequirePermission("scripts:run")(fine))
	h := auth.Tunnel(httpauth.TunnelOptions{}, inner)
	at := w.Clock.Now()
	send := func(uri string) *httptest.ResponseRecorder {
		at = at.Add(time.Millisecond)
		return answer(h, tunnelRequest(c.sign(toJSON(c.tunnelHeader("GET", uri, "", at)), "{}")))
	}
	require.Equal(t, 204, send("/devices").Code)
	rec := send("/scripts")
	require.Equal(t, 403, rec.Code)
	require.Equal(t, []any{"scripts:run"}, body(t, rec)["missing"])
	require.Equal(t, 404, send("/none").Code)
	require.Equal(t, 204, send("/devices").Code)
	require.Equal(t, 429, send("/devices").Code)

	require.NoError(t, w.Service.Flush(t.Context()))
	view, err := w.Service.Get(t.Context(), w.Actor("ann"), c.id)
	require.NoError(t, err)
	require.EqualValues(t, 5, view.Usage.Uses)
}

// As docs/signing.md shows it: one mux for those who come through the tunnel, who sign
// otherwise and who send a token along.
func TestTunnelIntoItsOwnMux(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	opts := bound()
	opts.Logger = w.Options.Logger
	auth := httpauth.New(w.Service, opts)
	mux := http.NewServeMux()
	mux.Handle("/v1/", auth.Middleware(echo))
	mux.Handle("POST /jws/validate", auth.Tunnel(httpauth.TunnelOptions{}, mux))

	const seen = ` acme/ann GET /v1/devices?sort=name "" <nil>`
	rec := answer(mux, tunnelRequest(sorts[0].make(w.key, w.Clock.Now())))
	require.Equal(t, "jws"+seen, rec.Body.String())
	rec = answer(mux, boundRequest("GET", "/v1/devices?sort=name", "", sorts[1].make(w.key, w.Clock.Now())))
	require.Equal(t, "jwt"+seen, rec.Body.String())
	r := httptest.NewRequest("GET", "/v1/devices?sort=name", nil)
	r.Header.Set("Authorization", "Bearer "+w.bearer.Secret.Reveal())
	require.Equal(t, "bearer"+seen, answer(mux, r).Body.String())
	require.Equal(t, 401, answer(mux, httptest.NewRequest("GET", "/v1/devices?sort=name", nil)).Code)
	header := w.key.tunnelHeader("POST", tunnelPath, "", w.Clock.Now())
	rec = answer(mux, tunnelRequest(w.key.sign(toJSON(header), `{"data":"a.b.c"}`)))
	requireGolden401(t, rec)
}

// Another Auth inside knows nothing of the tunnel's.
func TestTunnelVerifiesForItsOwnAuth(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	other := httpauth.New(w.Service, httpauth.Options{Logger: w.Options.Logger})
	rec, err := w.send(httpauth.Options{}, func(a *httpauth.Auth) http.Handler {
		return a.Tunnel(httpauth.TunnelOptions{}, other.Middleware(fine))
	}, tunnelRequest(sorts[0].make(w.key, w.Clock.Now())))
	require.NoError(t, err)
	require.Equal(t, 401, rec.Code)
}

// The outer request has no credential of its own, and one tunnel leads into no other.
func TestTunnelTakesOneCredential(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	opts := everyHeader
	opts.Proofs = bound().Proofs
	opts.Proofs = append(opts.Proofs, readerFunc(func(_ http.ResponseWriter, r *http.Request) (*apitoken.Proof, error) {
		if r.Header.Get("Signature") != "" {
			return new(apitoken.Proof), nil
		}
		return nil, nil
	}))
	tunnel := func(a *httpauth.Auth) http.Handler { return a.Tunnel(httpauth.TunnelOptions{}, echo) }
	at := w.Clock.Now()
	next := func() string { at = at.Add(time.Millisecond); return sorts[0].make(w.key, at) }
	for _, header := range [][2]string{
		{"Authorization", "Bearer " + w.bearer.Secret.Reveal()}, {"Authorization", "Bearer a.b.c"}, {"Authorization", "Basic YTpi"}, {"Authorization", ""},
		{"X-Api-Token", "acme_1"}, {"X-Legacy-UUID", "id"}, {"Signature", "a"},
	} {
		r := tunnelRequest(next())
		r.Header.Set(header[0], header[1])
		rec, err := w.send(opts, tunnel, r)
		require.ErrorIs(t, err, apitoken.ErrTwoCredentials, header)
		require.Equal(t, 400, rec.Code)
	}

	// Behind a layer that has verified there was a credential.
	r := tunnelRequest(next())
	r.Header.Set("Authorization", "Bearer "+w.bearer.Secret.Reveal())
	_, err := w.send(httpauth.Options{}, func(a *httpauth.Auth) http.Handler {
		return a.Middleware(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			r.Header.Del("Authorization")
			a.Tunnel(httpauth.TunnelOptions{}, echo).ServeHTTP(rw, r)
		}))
	}, r)
	require.ErrorIs(t, err, apitoken.ErrTwoCredentials)

	// A tunnel that is reached by another path than it was mounted on.
	inside := toJSON(next())
	header := w.secret.tunnelHeader("POST", "/other", "", at)
	_, err = w.send(httpauth.Options{}, func(a *httpauth.Auth) http.Handler {
		mux := http.NewServeMux()
		tunnel := a.Tunnel(httpauth.TunnelOptions{}, mux)
		mux.Handle("POST /other", tunnel)
		return tunnel
	}, tunnelRequest(w.secret.sign(toJSON(header), `{"data":`+inside+`}`)))
	require.ErrorIs(t, err, apitoken.ErrTwoCredentials)
}

func TestTunnelReplayPolicy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		policy httpauth.ReplayPolicy
		once   []string
		again  []string
	}{
		{"all", httpauth.ReplayAll, []string{"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "REPORT"}, nil},
		{"unsafe", httpauth.ReplayUnsafe, []string{"PUT", "POST", "PATCH", "DELETE", "REPORT"}, []string{"GET", "HEAD", "OPTIONS"}},
		{"off", httpauth.ReplayOff, nil, []string{"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE", "REPORT"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newSignedWorld(t)
			opts := httpauth.TunnelOptions{Replay: tc.policy, Methods: append(append([]string{}, tc.once...), tc.again...)}
			send := func(text string) error {
				_, err := w.sendTunnel(opts, tunnelRequest(text))
				return err
			}
			for i, methods := range [][]string{tc.once, tc.again} {
				for _, method := range methods {
					text := w.key.sign(toJSON(w.key.tunnelHeader(method, "/", "", w.Clock.Now())), "{}")
					require.NoError(t, send(text), method)
					if i == 0 {
						require.ErrorIs(t, send(text), apitoken.ErrReplayed, method)
					} else {
						require.NoError(t, send(text), method)
					}
				}
			}
			stale := w.key.sign(toJSON(w.key.tunnelHeader(opts.Methods[0], "/", "", w.Clock.Now().Add(-6*time.Minute))), "{}")
			require.ErrorIs(t, send(stale), apitoken.ErrStale, "fresh it has to be all the same")
		})
	}
}

// What is signed is the request: to change any of it breaks the signature.
func TestTunnelSubstitution(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	c := w.key
	original := c.tunnelHeader("PUT", "/a/b", "x=1&x=2", w.Clock.Now())
	const payload = `{"data":{"a":1}}`
	text := c.sign(toJSON(original), payload)
	signature := text[strings.LastIndexByte(text, '.')+1:]
	for name, change := range map[string]func(h object) string{
		"method":                   func(h object) string { h["method"] = "DELETE"; return payload },
		"a slash more":             func(h object) string { h["uri"] = "/a/b/"; return payload },
		"an encoded slash":         func(h object) string { h["uri"] = "/a%2Fb"; return payload },
		"an encoded letter":        func(h object) string { h["uri"] = "/%61/b"; return payload },
		"query in another order":   func(h object) string { h["query-string"] = "x=2&x=1"; return payload },
		"query with a duplicate":   func(h object) string { h["query-string"] = "x=1&x=2&x=2"; return payload },
		"no query":                 func(h object) string { delete(h, "query-string"); return payload },
		"query moved into the uri": func(h object) string { h["uri"], h["query-string"] = "/a/b?x=1&x=2", ""; return payload },
		"type":                     func(h object) string { h["content-type"] = "text/xml"; return payload },
		"time":                     func(h object) string { h["issuedAt"] = w.Clock.Now().UnixMilli() + 1; return payload },
		"time as a text":           func(h object) string { h["issuedAt"] = fmt.Sprint(w.Clock.Now().UnixMilli()); return payload },
		"another token":            func(h object) string { h["kid"] = w.otherKey.id; return payload },
		"algorithm":                func(h object) string { h["alg"] = "HS256"; return payload },
		"body":                     func(h object) string { return `{"data":{"a":2}}` },
		"body written otherwise":   func(h object) string { return `{"data":{"a": 1}}` },
		"no body":                  func(h object) string { return `{}` },
	} {
		header := object{}
		for k, v := range original {
			header[k] = v
		}
		changed := change(header)
		rec, err := w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(encode([]byte(toJSON(header)))+"."+encode([]byte(changed))+"."+signature))
		require.ErrorIs(t, err, apitoken.ErrUnauthenticated, name)
		requireGolden401(t, rec)
	}
	_, err := w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(text))
	require.NoError(t, err, "refused copies use nothing up")
}

// A header that does not describe one request is refused before any token is looked
// up, however well it is signed.
func TestTunnelIsMalformed(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	c := w.key
	at := w.Clock.Now()
	field := func(name string, value any) string {
		h := c.tunnelHeader("GET", "/a", "", at)
		if h[name] = value; value == nil {
			delete(h, name)
		}
		return c.sign(toJSON(h), "{}")
	}
	raw := func(name, value string) string {
		h := c.tunnelHeader("GET", "/a", "", at)
		delete(h, name)
		return c.sign(strings.TrimSuffix(toJSON(h), "}")+`,"`+name+`":`+value+`}`, "{}")
	}
	uri := func(text string) string { return field("uri", text) }
	query := func(text string) string { return field("query-string", text) }
	w.Store.Reset()
	for name, text := range map[string]string{
		"not a JWS": "{}", "a bearer token": w.bearer.Secret.Reveal(), "JSON serialization": `{"payload":"e30","signatures":[]}`,
		"a line break inside": strings.Replace(field("typ", "JWT"), ".", ".\n", 1), "two of them": field("typ", "a") + "\n" + field("typ", "b"),
		"no alg": field("alg", nil), "empty alg": field("alg", ""), "no kid": field("kid", nil), "kid is null": raw("kid", "null"),
		"crit": field("crit", []string{"b64"}), "b64": field("b64", false), "jwk": field("jwk", object{}), "jku": field("jku", "https://evil.example"),
		"x5c": field("x5c", []string{}), "x5u": field("x5u", "https://evil.example"),
		"method twice": raw("x", `1,"method":"PUT"`), "a name twice deep inside": raw("x", `{"a":[{"b":1,"b":2}]}`),
		"no method": field("method", nil), "method in lower case": field("method", "get"), "method not tunnelled": field("method", "PATCH"),
		"CONNECT": field("method", "CONNECT"), "method with more": field("method", "GET /"), "method is a list": field("method", []string{"GET"}), "empty method": field("method", ""),
		"no issuedAt": field("issuedAt", nil), "issuedAt with a fraction": raw("issuedAt", "1800000000000.5"), "issuedAt with an exponent": raw("issuedAt", "18e11"),
		"issuedAt is a date": field("issuedAt", "2027-03-01"), "issuedAt negative": field("issuedAt", -1), "issuedAt 0": field("issuedAt", 0), "issuedAt too large": raw("issuedAt", "9223372036854775807"),
		"issuedAt is a text with more": field("issuedAt", "1800000000000 "), "issuedAt is an empty text": field("issuedAt", ""),
		"type with a break": field("content-type", "a\r\nX-Role: admin"), "type not ASCII": field("content-type", "ü"), "type too long": field("content-type", strings.Repeat("a", 257)), "type is null": raw("content-type", "null"),
		"no uri": field("uri", nil), "empty uri": uri(""), "relative": uri("a"), "absolute": uri("https://evil.example/a"), "host": uri("//evil.example/a"),
		"encoded host": uri("/%2Fevil.example"), "backslash host": uri(`/\evil.example`), "encoded backslash": uri("/%5Cevil.example"), "backslash": uri(`/a\b`),
		"query in the uri": uri("/a?b"), "fragment": uri("/a#b"), "space": uri("/a b"), "tab": uri("/a\tb"), "break": uri("/a\r\nb"), "encoded break": uri("/a%0Ab"),
		"zero byte": uri("/a\x00b"), "encoded zero byte": uri("/a%00b"), "DEL": uri("/a\x7f"), "encoded C1": uri("/a%C2%85b"), "beyond ASCII": uri("/ü"), "not UTF-8": uri("/%ff"),
		"dot": uri("/."), "dots": uri("/.."), "dots inside": uri("/a/../b"), "dots at the end": uri("/a/.."), "dot inside": uri("/a/./b"),
		"encoded dots": uri("/%2e%2e/b"), "half encoded dots": uri("/a/.%2E/b"), "dots behind an encoded slash": uri("/a%2F..%2Fb"), "bad escape": uri("/%zz"), "half an escape": uri("/a%2"),
		"too long": uri("/" + strings.Repeat("a", 4096)), "asterisk": uri("*"),
		"the tunnel": uri(tunnelPath), "the tunnel with a slash": uri(tunnelPath + "/"), "the tunnel, encoded": uri("/%6aws/validate"), "the tunnel, encoded slash": uri("/jws%2Fvalidate"), "the tunnel, two slashes": uri("/jws//validate"),
		"query with a question mark": query("?a=1"), "query with a fragment": query("a=1#b"), "query with a space": query("a b"), "query with a break": query("a\r\nb"),
		"query with a bad escape": query("a=%zz"), "query beyond ASCII": query("a=ü"), "query is null": raw("query-string", "null"), "query is an object": field("query-string", object{"a": 1}),
		"header too long": field("x", strings.Repeat("a", 8<<10)),
	} {
		rec, err := w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(text))
		require.ErrorIs(t, err, apitoken.ErrMalformedProof, name)
		require.Greater(t, len(err.Error()), len(apitoken.ErrMalformedProof.Error())+2, "%s: the operator is told why", name)
		require.NotContains(t, err.Error(), "evil", name)
		requireGolden401(t, rec)
	}
	require.Empty(t, w.Store.Calls())
	_, err := w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(uri("/"+strings.Repeat("a", 4095))))
	require.NoError(t, err)

	// The payload is looked at when the signature is known to be good.
	for i, payload := range []string{
		``, `[]`, `""`, `null`, `{"data":1,"data":2}`, `{"data":{"a":1,"a":2}}`, `{"data":1,"x":2}`, `{"Data":1}`, `{"body":1}`, `{}{}`, `{"data":}`, "{\"data\":\"\xff\"}", `data`,
	} {
		header := toJSON(c.tunnelHeader("PUT", "/a", "", at.Add(time.Duration(i)*time.Millisecond)))
		rec, err := w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(c.sign(header, payload)))
		require.ErrorIs(t, err, apitoken.ErrMalformedProof, payload)
		requireGolden401(t, rec)
		_, err = w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(client{c.id, "ES256", w.otherKey.key}.sign(header, payload)))
		require.ErrorIs(t, err, apitoken.ErrBadSignature, payload)
	}
}

// A path that something in front has rewritten is the tunnel's own all the same.
func TestTunnelBehindStripPrefix(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	for uri, want := range map[string]error{
		"/jws/validate": apitoken.ErrMalformedProof, "/api/jws/validate": apitoken.ErrMalformedProof, "/api/v1": nil,
	} {
		r := httptest.NewRequest("POST", "/api"+tunnelPath, strings.NewReader(w.key.sign(toJSON(w.key.tunnelHeader("GET", uri, "", w.Clock.Now())), "{}")))
		_, err := w.send(httpauth.Options{}, func(a *httpauth.Auth) http.Handler {
			return http.StripPrefix("/api", a.Tunnel(httpauth.TunnelOptions{}, echo))
		}, r)
		require.ErrorIs(t, err, want, uri)
	}
}

// Sizes and the outer method are looked at before anything is taken apart (P16).
func TestTunnelOuterRequest(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	tunnel := func(a *httpauth.Auth) http.Handler { return a.Tunnel(httpauth.TunnelOptions{}, echo) }
	for _, method := range []string{"GET", "PUT", "HEAD", "OPTIONS", "post"} {
		r := tunnelRequest("")
		r.Method = method
		rec, _ := w.send(httpauth.Options{}, tunnel, r)
		require.Equal(t, 405, rec.Code)
		require.Equal(t, "POST", rec.Header().Get("Allow"))
		require.Equal(t, "method", body(t, rec)["reason"])
	}
	for _, empty := range []string{"", " \r\n\t"} {
		rec, err := w.send(httpauth.Options{}, tunnel, tunnelRequest(empty))
		require.Equal(t, apitoken.ErrNoCredential, err)
		require.Equal(t, 401, rec.Code)
		require.Equal(t, `Bearer realm="api"`, rec.Header().Get("WWW-Authenticate"))
	}
	text := sorts[0].make(w.key, w.Clock.Now())
	for _, tc := range []struct {
		length int
		known  bool
		want   error
		status int
	}{
		{1<<20 + 1, true, httpauth.ErrBodyTooLarge, 413},
		{1<<20 + 1, false, httpauth.ErrBodyTooLarge, 413},
		{1 << 20, false, nil, 200},
	} {
		r := tunnelRequest(text + strings.Repeat(" ", tc.length-len(text)))
		if !tc.known {
			r.ContentLength = -1
		}
		rec, err := w.send(httpauth.Options{}, tunnel, r)
		require.ErrorIs(t, err, tc.want)
		require.Equal(t, tc.status, rec.Code)
	}

	// As much of a body as one request can carry.
	c := w.secret
	header := encode([]byte(toJSON(c.tunnelHeader("PUT", "/", "", w.Clock.Now()))))
	payload := `{"data":"` + strings.Repeat("a", (1<<20-len(header)-2-43)/4*3-11) + `"}`
	text = c.sign(toJSON(c.tunnelHeader("PUT", "/", "", w.Clock.Now())), payload)
	require.Greater(t, len(text), 1<<20-8)
	rec, err := w.send(httpauth.Options{}, tunnel, tunnelRequest(text))
	require.NoError(t, err)
	require.Greater(t, rec.Body.Len(), 700_000)
}

func TestTunnelPanics(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(new(fakeVerifier), everyHeader)
	for name, opts := range map[string]httpauth.TunnelOptions{
		`Methods[1] "get"`: {Methods: []string{"GET", "get"}}, `Methods[0] ""`: {Methods: []string{""}}, `Methods[0] "CONNECT"`: {Methods: []string{"CONNECT"}},
		"Replay 3 is unknown": {Replay: 3}, "Replay -1 is unknown": {Replay: -1},
		`Headers[0] "authorization"`: {Headers: []string{"authorization"}}, `Headers[1] "Cookie"`: {Headers: []string{"Accept", "Cookie"}},
		`Headers[0] "X-Api-Token"`: {Headers: []string{"X-Api-Token"}}, `Headers[0] "X-Legacy-UUID"`: {Headers: []string{"X-Legacy-UUID"}},
		`Headers[0] "Content-Type"`: {Headers: []string{"Content-Type"}}, `Headers[0] "a b" is no header name`: {Headers: []string{"a b"}},
		"MaxBody is 1048577": {MaxBody: 1<<20 + 1}, "MaxBody is -1": {MaxBody: -1},
	} {
		func() {
			defer func() { require.ErrorContains(t, recover().(error), "httpauth: TunnelOptions."+name) }()
			auth.Tunnel(opts, fine)
		}()
	}
	require.Panics(t, func() { auth.Tunnel(httpauth.TunnelOptions{}, nil) })
}
