package httpauth_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// A handler gets the body that was signed, whole, and the request that it was given
// to is left as it was.
func TestBoundJWT(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	for _, tc := range []struct {
		name, method, target, body string
		change                     func(claims object)
	}{
		{"without a body", "GET", "/v1/devices?sort=name", "", nil},
		{"with a body", "POST", "/v1/devices", `{"name":"ü"}`, nil},
		{"digest of no body", "DELETE", "/v1/devices/7", "", func(c object) { c["body_sha256"] = digestOf("") }},
		{"audiences", "GET", "/", "", func(c object) { c["aud"] = []string{"https://other.example", audience} }},
		{"issuer and subject", "GET", "/", "", func(c object) { c["iss"], c["sub"] = w.key.id, w.key.id }},
		{"not before", "GET", "/", "", func(c object) { c["nbf"] = c["iat"] }},
		{"another claim", "GET", "/", "", func(c object) { c["role"], c["Method"], c["ALG"] = "admin", "PUT", []int{1} }},
		{"shortest life", "GET", "/", "", func(c object) { c["exp"] = c["iat"].(int64) + 1 }},
		{"shortest jti", "GET", "/", "", func(c object) { c["jti"] = "ääääääää" }},
		{"longest jti", "GET", "/", "", func(c object) { c["jti"] = strings.Repeat("ä", 128) }},
		{"encoded path", "GET", "/a%2Fb/%c3%bc?q=%20&q=+&=", "", nil},
		{"absolute target", "GET", "http://example.com/v1?a", "", nil},
		{"method of the host's", "REPORT", "/", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for i, c := range []client{w.key, w.secret} {
				claims := c.claims(tc.method, tc.target, tc.body, w.Clock.Now())
				claims["jti"] = fmt.Sprint(tc.name, ", ", c.alg)
				if tc.change != nil {
					tc.change(claims)
				}
				if claims["iss"] != nil && i == 1 {
					continue
				}
				r := boundRequest(tc.method, tc.target, tc.body, c.sign(toJSON(c.jwtHeader()), toJSON(claims)))
				before := *r
				rec, err := w.sendBound(r)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("jwt acme/ann %s %s %q <nil>", tc.method, tc.target, tc.body), rec.Body.String())
				require.Equal(t, before.Body, r.Body)
				require.Equal(t, before.Context(), r.Context())
			}
		})
	}
}

// A JWT is for one request: whatever is changed of that, it is refused, before any
// key is looked up where that needs none.
func TestBoundJWTSubstitution(t *testing.T) {
	t.Parallel()
	const method, target, body = "PUT", "/a/b?x=1&x=2&y=3", `{"a":1}`
	for _, tc := range []struct {
		name                 string
		method, target, body string
		want                 error
	}{
		{"another method", "POST", target, body, apitoken.ErrMalformedProof},
		{"method in lower case", "put", target, body, apitoken.ErrMalformedProof},
		{"a slash more", method, "/a/b/?x=1&x=2&y=3", body, apitoken.ErrMalformedProof},
		{"a slash more in front", method, "//a/b?x=1&x=2&y=3", body, apitoken.ErrMalformedProof},
		{"an encoded slash", method, "/a%2Fb?x=1&x=2&y=3", body, apitoken.ErrMalformedProof},
		{"an encoded letter", method, "/%61/b?x=1&x=2&y=3", body, apitoken.ErrMalformedProof},
		{"dots", method, "/a/./b?x=1&x=2&y=3", body, apitoken.ErrMalformedProof},
		{"upper case", method, "/A/b?x=1&x=2&y=3", body, apitoken.ErrMalformedProof},
		{"query in another order", method, "/a/b?x=2&x=1&y=3", body, apitoken.ErrMalformedProof},
		{"query with a duplicate", method, "/a/b?x=1&x=2&y=3&y=3", body, apitoken.ErrMalformedProof},
		{"query with less", method, "/a/b?x=1&y=3", body, apitoken.ErrMalformedProof},
		{"no query", method, "/a/b", body, apitoken.ErrMalformedProof},
		{"an empty pair", method, "/a/b?x=1&x=2&y=3&", body, apitoken.ErrMalformedProof},
		{"absolute", method, "http://example.com" + target, body, apitoken.ErrMalformedProof},
		{"another body", method, target, `{"a":2}`, apitoken.ErrBodyDigest},
		{"a longer body", method, target, body + " ", apitoken.ErrBodyDigest},
		{"no body", method, target, "", apitoken.ErrBodyDigest},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newSignedWorld(t)
			text := w.key.sign(toJSON(w.key.jwtHeader()), toJSON(w.key.claims(method, target, body, w.Clock.Now())))
			w.Store.Reset()
			rec, err := w.sendBound(boundRequest(tc.method, tc.target, tc.body, text))
			require.ErrorIs(t, err, tc.want)
			requireGolden401(t, rec)
			if tc.want == apitoken.ErrMalformedProof {
				require.Empty(t, w.Store.Calls())
			}
			_, err = w.sendBound(boundRequest(method, target, body, text))
			require.NoError(t, err, "a refused copy uses nothing up")
		})
	}
}

// What is not formed as it should be reaches no Verifier.
func TestBoundJWTIsMalformed(t *testing.T) {
	t.Parallel()
	v := new(fakeVerifier)
	c := client{"0123456789abcdefABCDEF", "ES256", fixedKey(1)}
	valid := func() (header, claims object) {
		claims = object{"iat": int64(1_800_000_000), "exp": int64(1_800_000_300), "jti": "12345678", "aud": audience, "method": "GET", "uri": "/"}
		return c.jwtHeader(), claims
	}
	h, cl := valid()
	good := c.sign(toJSON(h), toJSON(cl))
	claim := func(name string, value any) string {
		h, cl := valid()
		cl[name] = value
		return c.sign(toJSON(h), toJSON(cl))
	}
	header := func(name string, value any) string {
		h, cl := valid()
		h[name] = value
		return c.sign(toJSON(h), toJSON(cl))
	}
	raw := func(name, value string) string {
		h, cl := valid()
		delete(cl, name)
		return c.sign(toJSON(h), strings.TrimSuffix(toJSON(cl), "}")+`,"`+name+`":`+value+"}")
	}
	without := func(name string) string {
		h, cl := valid()
		delete(h, name)
		delete(cl, name)
		return c.sign(toJSON(h), toJSON(cl))
	}
	parts := strings.Split(good, ".")
	for name, text := range map[string]string{
		"no alg": without("alg"), "empty alg": header("alg", ""), "alg is a number": header("alg", 1), "Alg": c.sign(`{"Alg":"ES256","kid":"a"}`, toJSON(cl)),
		"no kid": without("kid"), "kid is a list": header("kid", []string{"a"}),
		"crit": header("crit", []string{"exp"}), "b64": header("b64", false), "jwk": header("jwk", object{}), "jku": header("jku", "https://evil.example"),
		"x5u": header("x5u", "https://evil.example"), "x5c": header("x5c", []string{}),
		"alg twice":        c.sign(`{"alg":"ES256","alg":"HS256","kid":"a"}`, toJSON(cl)),
		"header is a list": c.sign(`[]`, toJSON(cl)), "header with more": c.sign(toJSON(h)+"{}", toJSON(cl)),
		"claims are a list": c.sign(toJSON(h), `[]`), "no claims": c.sign(toJSON(h), ``), "claims with more": c.sign(toJSON(h), toJSON(cl)+"{}"),
		"claims not UTF-8": c.sign(toJSON(h), "{\"a\":\"\xff\"}"),
		"no iat":           without("iat"), "iat with a fraction": raw("iat", "1800000000.0"), "iat with an exponent": raw("iat", "18e8"),
		"iat is a text": claim("iat", "1800000000"), "iat is null": claim("iat", nil), "iat 0": claim("iat", 0), "iat negative": claim("iat", -1),
		"iat in milliseconds": claim("iat", int64(1_800_000_000_000)), "iat too large": raw("iat", "9223372036854775808"),
		"no exp": without("exp"), "exp at once": claim("exp", 1_800_000_000), "exp before iat": claim("exp", 1_799_999_999),
		"exp too late": claim("exp", 1_800_000_301), "exp at the end of time": raw("exp", "9223372036854775807"), "exp is negative": raw("exp", "-9223372036854775808"),
		"nbf after iat": claim("nbf", 1_800_000_001), "nbf is a text": claim("nbf", "1800000000"),
		"no jti": without("jti"), "jti too short": claim("jti", "1234567"), "jti too long": claim("jti", strings.Repeat("a", 129)), "jti is a number": claim("jti", 12345678),
		"no aud": without("aud"), "aud of another": claim("aud", "https://api.example.evil"), "aud with a slash": claim("aud", audience+"/"),
		"aud is empty": claim("aud", ""), "aud has none": claim("aud", []string{}), "aud with a number": claim("aud", []any{audience, 1}), "aud is null": claim("aud", nil),
		"aud in upper case": claim("aud", strings.ToUpper(audience)),
		"no method":         without("method"), "method is another": claim("method", "HEAD"), "method is null": claim("method", nil),
		"no uri": without("uri"), "uri is another": claim("uri", "/a"), "uri is a list": claim("uri", []string{"/"}), "uri is twice there": raw("a", `1,"uri":"/","b":1`),
		"iss of another": claim("iss", "somebody"), "sub of another": claim("sub", "somebody"), "sub is null": claim("sub", nil),
		"digest in upper case": claim("body_sha256", strings.ToUpper(digestOf(""))), "digest too short": claim("body_sha256", "00"),
		"digest is not hexadecimal": claim("body_sha256", strings.Repeat("g", 64)), "digest is null": claim("body_sha256", nil), "digest is empty": claim("body_sha256", ""),
		"no signature": parts[0] + "." + parts[1] + ".", "no header": "." + parts[1] + "." + parts[2], "padding": parts[0] + "=." + parts[1] + "." + parts[2],
		"standard base64": parts[0] + "." + parts[1] + ".+/" + parts[2][2:], "dots alone": "..",
		"header too long": c.sign(`{"a":"`+strings.Repeat("a", 6000)+`"}`, "{}"),
	} {
		var refused error
		opts := bound()
		var auth *httpauth.Auth
		opts.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			refused = err
			auth.WriteError(w, r, err)
		}
		auth = httpauth.New(v, opts)
		rec := answer(auth.Middleware(fine), boundRequest("GET", "/", "", text))
		require.Empty(t, v.calls(), name)
		require.ErrorIs(t, refused, apitoken.ErrUnauthenticated, name)
		require.Equal(t, golden401[strings.LastIndex(golden401, "\r\n")+2:], rec.Body.String(), name)
		requireGolden401(t, rec)
		if name != "header too long" { // more than is looked at to tell what it is
			require.ErrorIs(t, refused, apitoken.ErrMalformedProof, name)
			require.Equal(t, "malformed_proof", apitoken.ReasonOf(refused), name)
			require.Greater(t, len(refused.Error()), len(apitoken.ErrMalformedProof.Error())+2, "%s: the operator is told why", name)
		}
	}
	require.Equal(t, 204, answer(httpauth.New(v, bound()).Middleware(fine), boundRequest("GET", "/", "", good)).Code)
	require.Len(t, v.calls(), 1)
	proof := v.calls()[0].Proof
	require.Equal(t, apitoken.SchemeJWT, proof.Scheme)
	require.Equal(t, c.id, proof.Token)
	require.Equal(t, "ES256", proof.Algorithm)
	require.Equal(t, parts[0]+"."+parts[1], string(proof.Signed))
	require.Equal(t, parts[2], base64.RawURLEncoding.EncodeToString(proof.Signature))
	require.EqualValues(t, 1_800_000_000, proof.Created.Unix())
	require.EqualValues(t, 1_800_000_300, proof.Expires.Unix())
	require.Equal(t, "12345678", proof.Nonce)
	require.False(t, proof.Repeatable)
}

// What is no JWT is what it was without the reader, and what is one is nothing new
// where there is no reader.
func TestBoundJWTIsToldByItsDots(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		authorization string
		token         string // as the Verifier gets it; "" = a proof or nothing
		without       error  // without the reader
		with          error
	}{
		{"Bearer acme_1", "acme_1", nil, nil},
		{"Bearer a.b", "a.b", nil, nil},
		{"Bearer a.b.c.d", "a.b.c.d", nil, nil},
		{"SSWS a.b.c", "a.b.c", nil, nil},
		{"Bearer a.b.c", "", nil, apitoken.ErrMalformedProof},
		{"bEARER   a.b.c", "", nil, apitoken.ErrMalformedProof},
		{"Bearer a.b.c d", "", apitoken.ErrUnreadableHeader, apitoken.ErrUnreadableHeader},
		{"Bearer a.b.c,Bearer d", "", apitoken.ErrUnreadableHeader, apitoken.ErrUnreadableHeader},
		{"Bearer", "", apitoken.ErrUnreadableHeader, apitoken.ErrUnreadableHeader},
		{"Basic a.b.c", "", apitoken.ErrNoCredential, apitoken.ErrNoCredential},
		{"Bearer a.b." + strings.Repeat("c", 8<<10), "", apitoken.ErrMalformedToken, apitoken.ErrMalformedToken},
	} {
		got, err := present(httpauth.Options{}, request("Authorization", tc.authorization))
		require.ErrorIs(t, err, tc.without, tc.authorization)
		if tc.without == nil {
			require.Equal(t, strings.TrimLeft(tc.authorization[strings.IndexByte(tc.authorization, ' '):], " "), got.Token)
		}
		got, err = present(bound(), request("Authorization", tc.authorization))
		require.ErrorIs(t, err, tc.with, tc.authorization)
		if tc.token == "" {
			require.Nil(t, got, tc.authorization)
		} else {
			require.Equal(t, tc.token, got.Token)
		}
	}
}

type readerFunc func(w http.ResponseWriter, r *http.Request) (*apitoken.Proof, error)

func (f readerFunc) ReadProof(w http.ResponseWriter, r *http.Request) (*apitoken.Proof, error) {
	return f(w, r)
}
func (f readerFunc) Challenge(h http.Header) { h.Add("Accept-Signature", "sig=()") }

// Exactly one credential, whatever the sorts (P19). A signature that cannot be read
// is one too.
func TestProofsAreCredentials(t *testing.T) {
	t.Parallel()
	broken := fmt.Errorf("%w: a test", apitoken.ErrMalformedProof)
	reader := readerFunc(func(_ http.ResponseWriter, r *http.Request) (*apitoken.Proof, error) {
		switch r.Header.Get("Signature") {
		case "":
			return nil, nil
		case "broken":
			return nil, broken
		case "out":
			return nil, apitoken.ErrUnavailable
		}
		return &apitoken.Proof{Nonce: "from the test"}, nil
	})
	opts := everyHeader
	opts.Proofs = []httpauth.ProofReader{reader, httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: audience})}
	c := client{"0123456789abcdefABCDEF", "ES256", fixedKey(1)}
	goodJWT := "Bearer " + c.sign(toJSON(c.jwtHeader()), `{"iat":1800000000,"exp":1800000300,"jti":"12345678","aud":"`+audience+`","method":"GET","uri":"/"}`)
	const badJWT = "Bearer a.b.c"
	for _, tc := range []struct {
		name    string
		headers []string
		err     error
		proof   bool
	}{
		{"signature", []string{"Signature", "a"}, nil, true},
		{"JWT", []string{"Authorization", goodJWT}, nil, true},
		{"broken signature", []string{"Signature", "broken"}, broken, false},
		{"broken JWT", []string{"Authorization", badJWT}, apitoken.ErrMalformedProof, false},
		{"outage", []string{"Signature", "out"}, apitoken.ErrUnavailable, false},
		{"bearer token", []string{"Authorization", "Bearer acme_1"}, nil, false},
		{"nothing", nil, apitoken.ErrNoCredential, false},
		{"Basic", []string{"Authorization", "Basic YTpi"}, apitoken.ErrNoCredential, false},
		{"signature and bearer token", []string{"Signature", "a", "Authorization", "Bearer acme_1"}, apitoken.ErrTwoCredentials, false},
		{"signature and Basic", []string{"Signature", "a", "Authorization", "Basic YTpi"}, apitoken.ErrTwoCredentials, false},
		{"signature and JWT", []string{"Signature", "a", "Authorization", goodJWT}, apitoken.ErrTwoCredentials, false},
		{"signature and broken JWT", []string{"Signature", "a", "Authorization", badJWT}, apitoken.ErrTwoCredentials, false},
		{"broken signature and JWT", []string{"Signature", "broken", "Authorization", goodJWT}, apitoken.ErrTwoCredentials, false},
		{"broken signature and bearer token", []string{"Signature", "broken", "Authorization", "Bearer acme_1"}, apitoken.ErrTwoCredentials, false},
		{"signature and token header", []string{"Signature", "a", "X-Api-Token", "acme_1"}, apitoken.ErrTwoCredentials, false},
		{"signature and half a pair", []string{"Signature", "a", "X-Legacy-UUID", "id"}, apitoken.ErrTwoCredentials, false},
		{"JWT and token header", []string{"Authorization", goodJWT, "X-Api-Token", "acme_1"}, apitoken.ErrTwoCredentials, false},
		{"JWT and a pair", []string{"Authorization", goodJWT, "X-Legacy-UUID", "id", "X-Legacy-Secret", "s"}, apitoken.ErrTwoCredentials, false},
		{"JWT twice", []string{"Authorization", goodJWT, "Authorization", goodJWT}, apitoken.ErrTwoCredentials, false},
		{"JWT and bearer token", []string{"Authorization", goodJWT, "Authorization", "Bearer acme_1"}, apitoken.ErrTwoCredentials, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := present(opts, request(tc.headers...))
			if tc.err != nil {
				require.ErrorIs(t, err, tc.err)
				require.Nil(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.proof, got.Proof != nil)
			require.Equal(t, tc.proof, got.Token == "")
		})
	}
}

// A stranger may pass Optional, a signature that is not accepted may not.
func TestOptionalWithProofs(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	optional := func(a *httpauth.Auth) http.Handler { return a.Optional(echo) }
	rec, err := w.send(bound(), optional, request())
	require.NoError(t, err)
	require.Equal(t, 200, rec.Code)
	_, err = w.send(bound(), optional, request("Authorization", "Bearer a.b.c"))
	require.ErrorIs(t, err, apitoken.ErrMalformedProof)
}

// Each scheme may say in a 401 what it asks for; the body is the same as ever.
func TestChallengeOfProofs(t *testing.T) {
	t.Parallel()
	opts := httpauth.Options{Proofs: []httpauth.ProofReader{readerFunc(func(http.ResponseWriter, *http.Request) (*apitoken.Proof, error) { return nil, nil })}}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{apitoken.ErrReplayed, "sig=()"}, {apitoken.ErrNetwork, ""}, {apitoken.ErrUnavailable, ""},
	} {
		rec := answer(httpauth.New(refuseAll(tc.err), opts).Middleware(fine), bearer())
		require.Equal(t, tc.want, rec.Header().Get("Accept-Signature"), tc.err)
	}
	rec := answer(httpauth.New(new(fakeVerifier), opts).Middleware(fine), request())
	require.Equal(t, "sig=()", rec.Header().Get("Accept-Signature"))
	require.Equal(t, goldenNone[strings.LastIndex(goldenNone, "\r\n")+2:], rec.Body.String())

	opts.Proofs = append(opts.Proofs, nil)
	require.ErrorContains(t, opts.Check(), "Options.Proofs[1] is nil")
}

// A body is read into memory up to a limit, and only once the signature is known to
// be good.
func TestBoundJWTBody(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	opts := httpauth.Options{Proofs: []httpauth.ProofReader{httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: audience, MaxBody: 10})}}
	middleware := func(a *httpauth.Auth) http.Handler { return a.Middleware(echo) }
	signed := func(c client, body string) string {
		claims := c.claims("POST", "/", body, w.Clock.Now())
		claims["jti"] = fmt.Sprintf("%016x", len(body)) + body
		return c.sign(toJSON(c.jwtHeader()), toJSON(claims))
	}
	for _, tc := range []struct {
		name   string
		body   string
		reader io.Reader // nil = the body
		length int64     // 0 = the body's
		want   error
		status int
	}{
		{"as long as can be", "0123456789", nil, 0, nil, 200},
		{"as long as can be, chunked", "9876543210", nil, -1, nil, 200},
		{"too long by its header", "0123456789a", nil, 0, httpauth.ErrBodyTooLarge, 413},
		{"too long, chunked", "0123456789b", nil, -1, httpauth.ErrBodyTooLarge, 413},
		{"too long by its header, not read", "0123456789c", iotest.ErrReader(errors.New("nobody may read this")), 11, httpauth.ErrBodyTooLarge, 413},
		{"breaks off", "0123", iotest.ErrReader(errors.New("reset")), -1, httpauth.ErrUnreadableBody, 400},
	} {
		r := boundRequest("POST", "/", tc.body, signed(w.secret, tc.body))
		if tc.reader != nil {
			r.Body = io.NopCloser(tc.reader)
		}
		if tc.length != 0 {
			r.ContentLength = tc.length
		}
		rec, err := w.send(opts, middleware, r)
		require.ErrorIs(t, err, tc.want, tc.name)
		require.Equal(t, tc.status, rec.Code, tc.name)
		if tc.want != nil {
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			require.Equal(t, apitoken.ReasonOf(tc.want), body(t, rec)["reason"])
		}
	}

	r := boundRequest("POST", "/", "", signed(client{w.secret.id, "HS256", []byte("a secret that was guessed")}, "ab"))
	r.Body = io.NopCloser(iotest.ErrReader(errors.New("nobody may read this")))
	_, err := w.send(opts, middleware, r)
	require.ErrorIs(t, err, apitoken.ErrBadSignature)

	// No digest, and yet a body.
	c := w.secret
	r = boundRequest("POST", "/", "x", c.sign(toJSON(c.jwtHeader()), toJSON(c.claims("POST", "/", "", w.Clock.Now()))))
	rec, err := w.send(opts, middleware, r)
	require.ErrorIs(t, err, apitoken.ErrBodyDigest)
	requireGolden401(t, rec)
}

// A real server, whose connection is closed when the rest of a body is not read.
func TestBoundJWTOverTheWire(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	opts := bound()
	opts.Logger = w.Options.Logger
	srv := httptest.NewServer(http.StripPrefix("/api", httpauth.New(w.Service, opts).Middleware(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %d", r.URL.Path, len(sent))
	}))))
	defer srv.Close()
	send := func(target string, sent []byte) string {
		c := w.key
		claims := c.claims("POST", target, string(sent), w.Clock.Now())
		claims["jti"] = "jti of " + target
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		go func() { // the server need not read all of it
			_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n",
				target, c.sign(toJSON(c.jwtHeader()), toJSON(claims)), len(sent))
			_, _ = conn.Write(sent)
		}()
		var answer [12]byte
		_, err = io.ReadFull(conn, answer[:])
		require.NoError(t, err)
		rest, _ := io.ReadAll(conn)
		return string(answer[:]) + string(rest[max(0, len(rest)-20):])
	}
	got := send("/api/a%2Fb?x=1", bytes.Repeat([]byte("a"), 1<<20))
	require.True(t, strings.HasPrefix(got, "HTTP/1.1 200") && strings.HasSuffix(got, "/a/b 1048576"), got)
	got = send("/api/b", bytes.Repeat([]byte("a"), 1<<20+1))
	require.True(t, strings.HasPrefix(got, "HTTP/1.1 413"), got)
}

func TestNewBoundJWTPanics(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]httpauth.BoundJWTOptions{
		"Audience is empty":         {},
		"Audience needs UTF-8":      {Audience: strings.Repeat("a", 1025)},
		"MaxBody is negative":       {Audience: audience, MaxBody: -1},
		"UTF-8 of at most 1024":     {Audience: "\xff"},
		"MaxBody is negative: give": {MaxBody: -1},
	} {
		func() {
			defer func() { require.ErrorContains(t, recover().(error), want) }()
			httpauth.NewBoundJWT(opts)
		}()
	}
}
