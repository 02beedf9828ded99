package signer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/signer"
)

const (
	tokenID   = apitoken.ID("0123456789ABCDEFGHIJKL")
	bearer    = "acme_0123456789ABCDEFGHIJKLabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQsum012"
	secretKey = "acme_sk_0123456789ABCDEFGHIJKLabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQsum012"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC)

// base is a RoundTripper that answers 204 and keeps what it was given, with the
// bodies read.
type base struct {
	requests []*http.Request
	bodies   []string
}

func (b *base) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	b.requests, b.bodies = append(b.requests, r), append(b.bodies, string(body))
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func (b *base) last() (*http.Request, string) {
	return b.requests[len(b.requests)-1], b.bodies[len(b.bodies)-1]
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func newTransport(t testing.TB, opts signer.Options) *signer.Transport {
	t.Helper()
	if opts.Clock == nil {
		opts.Clock = apitokentest.NewClock(noon)
	}
	transport, err := signer.New(opts)
	require.NoError(t, err)
	return transport
}

func newRequest(t testing.TB, method, url, body string) *http.Request {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, in)
	require.NoError(t, err)
	return r
}

// parts takes a compact JWS apart and checks its signature with either key.
func parts(t testing.TB, jws string, public crypto.PublicKey) (header, payload string) {
	t.Helper()
	part := strings.Split(jws, ".")
	require.Len(t, part, 3)
	decoded := make([][]byte, 3)
	for i := range part {
		var err error
		decoded[i], err = base64.RawURLEncoding.Strict().DecodeString(part[i])
		require.NoError(t, err)
	}
	var method jwt.SigningMethod = jwt.SigningMethodHS256
	if _, ok := public.(*ecdsa.PublicKey); ok {
		method = jwt.SigningMethodES256
		require.Len(t, decoded[2], 64)
	}
	require.NoError(t, method.Verify(part[0]+"."+part[1], decoded[2], public))
	return string(decoded[0]), string(decoded[1])
}

// credentials are both sorts of key, with what checks their signatures.
func credentials(t testing.TB) map[string]struct {
	opts   signer.Options
	public crypto.PublicKey
} {
	key := newKey(t)
	return map[string]struct {
		opts   signer.Options
		public crypto.PublicKey
	}{
		"ES256": {signer.Options{Token: tokenID, Key: key}, key.Public()},
		"HS256": {signer.Options{Token: tokenID, Secret: apitoken.NewSecret(secretKey)}, []byte(secretKey)},
	}
}

// The vector that is published for the scheme: another order of the members or
// another reading of the secret gives another signature. The source is the public
// documentation of the Absolute v3 API.
func TestTunnelPublishedVector(t *testing.T) {
	t.Parallel()
	var sent base
	transport := newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWS,
		Token:  "ce9778bf-exam-p1ec-afe3-91e9355603a3",
		Secret: apitoken.NewSecret("a1bdcd23e45fHn6JNxU/CulSiR7feComPEMcQp8k9bKFDfLE6v+//ROJcbVLaZ1qsaZpygsecretKeyExample=="),
		Base:   &sent,
		Clock:  apitokentest.NewClock(time.UnixMilli(1638572152000)),
	})
	_, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/v3/reporting/applications?orderBy=esn%2CdeviceName%3Adesc%2CdeviceUid%3Aasc", ""))
	require.NoError(t, err)
	r, body := sent.last()
	require.Equal(t, "POST https://api.example.com/jws/validate", r.Method+" "+r.URL.String())
	require.Equal(t, "eyJhbGciOiJIUzI1NiIsImtpZCI6ImNlOTc3OGJmLWV4YW0tcDFlYy1hZmUzLTkxZTkzNTU2MDNhMyIsIm1ldGhvZCI6IkdFVCIsImNvbnRlbnQtdHlwZSI6ImFwcGxpY2F0aW9uL2pzb24iLCJ1cmkiOiIvdjMvcmVwb3J0aW5nL2FwcGxpY2F0aW9ucyIsInF1ZXJ5LXN0cmluZyI6Im9yZGVyQnk9ZXNuJTJDZGV2aWNlTmFtZSUzQWRlc2MlMkNkZXZpY2VVaWQlM0Fhc2MiLCJpc3N1ZWRBdCI6MTYzODU3MjE1MjAwMH0.e30"+
		".szxYnuRrK1GlCUWu7rKp2VXobmmZXG3US92gnuYKrrA", body)
}

func TestTunnel(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, method, path, contentType, body string
		header, payload                       string // of the header only what differs
	}{
		{"nothing but a path", "GET", "/v1/devices", "", "",
			`"method":"GET","content-type":"application/json","uri":"/v1/devices","query-string":""`, `{}`},
		{"no path", "GET", "", "", "",
			`"method":"GET","content-type":"application/json","uri":"/","query-string":""`, `{}`},
		{"a method that is not named", "", "/", "", "",
			`"method":"GET","content-type":"application/json","uri":"/","query-string":""`, `{}`},
		{"escapes as they are sent", "DELETE", "/a%2Fb/%C3%A4/?q=%20&q=<a>&r=a+b", "", "",
			`"method":"DELETE","content-type":"application/json","uri":"/a%2Fb/%C3%A4/","query-string":"q=%20&q=<a>&r=a+b"`, `{}`},
		{"a body", "POST", "/v1/devices", "application/merge-patch+json", ` {"b":1, "a":[1.0]}` + "\n",
			`"method":"POST","content-type":"application/merge-patch+json","uri":"/v1/devices","query-string":""`, `{"data": {"b":1, "a":[1.0]}` + "\n}"},
	} {
		for name, c := range credentials(t) {
			t.Run(tc.name+" with "+name, func(t *testing.T) {
				t.Parallel()
				var sent base
				c.opts.Scheme, c.opts.TunnelPath, c.opts.Base = apitoken.SchemeJWS, "/tunnel", &sent
				in := newRequest(t, tc.method, "https://api.example.com"+tc.path, tc.body)
				in.Method = tc.method
				in.Header.Set("Accept", "application/json")
				if tc.contentType != "" {
					in.Header.Set("Content-Type", tc.contentType)
				}
				_, err := newTransport(t, c.opts).RoundTrip(in)
				require.NoError(t, err)

				out, body := sent.last()
				require.Equal(t, "POST https://api.example.com/tunnel", out.Method+" "+out.URL.String())
				require.Equal(t, http.Header{"Accept": {"application/json"}, "Content-Type": {"application/jose"}}, out.Header)
				require.Equal(t, int64(len(body)), out.ContentLength)
				header, payload := parts(t, body, c.public)
				require.Equal(t, fmt.Sprintf(`{"alg":%q,"kid":%q,%s,"issuedAt":%d}`, name, tokenID, tc.header, noon.UnixMilli()), header)
				require.Equal(t, tc.payload, payload)
			})
		}
	}
}

func TestBoundJWT(t *testing.T) {
	t.Parallel()
	sum := func(body string) string {
		digest := sha256.Sum256([]byte(body))
		return hex.EncodeToString(digest[:])
	}
	for _, tc := range []struct{ name, method, target, body, uri string }{
		{"no body", "GET", "/v1/devices?b=%20&a=<1>", "", "/v1/devices?b=%20&a=<1>"},
		{"no path", "GET", "", "", "/"},
		{"a letter that is escaped on its way", "GET", "/ä", "", "/%C3%A4"},
		{"no path but a query", "HEAD", "?a", "", "/?a"},
		{"escapes and slashes", "DELETE", "//a%2fb/%C3%A4/", "", "//a%2fb/%C3%A4/"},
		{"a body of any form", "PUT", "/v1/devices/", "\x00\xff not JSON\n", "/v1/devices/"},
	} {
		for name, c := range credentials(t) {
			t.Run(tc.name+" with "+name, func(t *testing.T) {
				t.Parallel()
				var sent base
				c.opts.Scheme, c.opts.Audience, c.opts.Base = apitoken.SchemeJWT, "https://api.example.com/<v1>", &sent
				in := newRequest(t, tc.method, "https://api.example.com"+tc.target, tc.body)
				in.Header.Set("Accept", "application/json")
				_, err := newTransport(t, c.opts).RoundTrip(in)
				require.NoError(t, err)

				out, body := sent.last()
				require.Equal(t, in.Method+" "+in.URL.String(), out.Method+" "+out.URL.String())
				require.Equal(t, tc.uri, out.URL.RequestURI())
				require.Equal(t, tc.body, body)
				require.Equal(t, int64(len(body)), out.ContentLength)
				require.Equal(t, []string{"application/json"}, out.Header["Accept"])
				token, ok := strings.CutPrefix(out.Header.Get("Authorization"), "Bearer ")
				require.True(t, ok)
				header, payload := parts(t, token, c.public)
				require.Equal(t, fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"JWT"}`, name, tokenID), header)
				var claims struct {
					ID string `json:"jti"`
				}
				require.NoError(t, json.Unmarshal([]byte(payload), &claims))
				require.GreaterOrEqual(t, len(claims.ID), 22, "128 bits in base64")
				require.Equal(t, fmt.Sprintf(`{"iat":%d,"exp":%d,"jti":%q,"aud":"https://api.example.com/<v1>","method":%q,"uri":%q,"body_sha256":%q}`,
					noon.Unix(), noon.Unix()+120, claims.ID, tc.method, tc.uri, sum(tc.body)), payload)
			})
		}
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	var sent base
	transport := newTransport(t, signer.Options{Secret: apitoken.NewSecret(bearer), Base: &sent})
	_, err := transport.RoundTrip(newRequest(t, "POST", "https://api.example.com/v1?a=b", "text"))
	require.NoError(t, err)
	r, body := sent.last()
	require.Equal(t, "POST https://api.example.com/v1?a=b", r.Method+" "+r.URL.String())
	require.Equal(t, "Bearer "+bearer, r.Header.Get("Authorization"))
	require.Equal(t, "text", body)
}

// The caller's request stays as it is, and what the caller gets back names it and
// not the one that was sent.
func TestNothingSentIsShown(t *testing.T) {
	t.Parallel()
	for _, opts := range schemes(t) {
		t.Run(string(opts.Scheme), func(t *testing.T) {
			t.Parallel()
			var sent base
			opts.Base = &sent
			transport := newTransport(t, opts)
			r := newRequest(t, "POST", "https://api.example.com/v1?a=b", `{"a":1}`)
			r.Header.Set("X-Own", "1")
			resp, err := transport.RoundTrip(r)
			require.NoError(t, err)
			require.Same(t, r, resp.Request)
			require.Equal(t, http.Header{"X-Own": {"1"}}, r.Header)
			require.Equal(t, "POST https://api.example.com/v1?a=b", r.Method+" "+r.URL.String())
			require.Equal(t, int64(7), r.ContentLength)

			key, _ := opts.Key.(*ecdsa.PrivateKey)
			for _, printed := range []string{
				fmt.Sprintf("%v %+v %#v", transport, transport, transport), fmt.Sprintf("%v %+v %#v", opts, opts, opts),
				asJSON(t, transport), asJSON(t, opts),
			} {
				require.NotContains(t, printed, bearer)
				require.NotContains(t, printed, secretKey)
				if key != nil {
					scalar, err := key.Bytes()
					require.NoError(t, err)
					require.NotContains(t, printed, new(big.Int).SetBytes(scalar).String())
				}
			}
		})
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return string(text)
}

// schemes are options for each scheme, with each sort of key.
func schemes(t testing.TB) []signer.Options {
	all := []signer.Options{{Scheme: apitoken.SchemeBearer, Secret: apitoken.NewSecret(bearer)}}
	for _, c := range credentials(t) {
		jws, bound := c.opts, c.opts
		jws.Scheme = apitoken.SchemeJWS
		bound.Scheme, bound.Audience = apitoken.SchemeJWT, "https://api.example.com"
		all = append(all, jws, bound)
	}
	return all
}
