package httpauth_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"hash/crc32"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

const vectorFile = "testdata/vectors/signed-requests.json"

// vectors is the form of the file: for programs in any language that sign requests,
// or check them.
type vectors struct {
	About    string         `json:"about"`
	Now      time.Time      `json:"now"`
	Audience string         `json:"audience"`
	Tunnel   string         `json:"tunnel_path"`
	Tokens   []vectorToken  `json:"tokens"`
	Cases    []vectorResult `json:"cases"`
}

// vectorToken is a token that the server knows. Its keys are published here.
type vectorToken struct {
	ID         apitoken.ID `json:"token_id"`
	Tenant     string      `json:"tenant"`
	Algorithm  string      `json:"algorithm"`
	Secret     string      `json:"secret,omitempty"`
	PrivateKey string      `json:"private_key,omitempty"`
	PublicKey  string      `json:"public_key,omitempty"`
}

// vectorResult is a request and what a server that has just started says of it: the
// status, for its operator the reason and, of what it accepts, what its handler gets.
// Where sent is 2 the request is sent twice, and the verdict is of the second time.
type vectorResult struct {
	Name    string         `json:"name"`
	Scheme  string         `json:"scheme"`
	Request vectorRequest  `json:"request"`
	Sent    int            `json:"sent"`
	Status  int            `json:"status"`
	Reason  string         `json:"reason,omitempty"`
	Token   apitoken.ID    `json:"token_id,omitempty"`
	Handler *vectorRequest `json:"handler,omitempty"`
}

type vectorRequest struct {
	Method string            `json:"method"`
	Target string            `json:"target"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
}

const digits62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// vectorClient is a client whose token, key and signatures are the same in each run.
func vectorClient(alg string, n byte) client {
	id := apitoken.ID(fmt.Sprintf("vector%016d", n))
	if alg == "ES256" {
		return client{id, alg, fixedKey(n)}
	}
	text := "acme_sk_" + string(id) + strings.Repeat(string(rune('A'+n)), 43)
	sum := crc32.ChecksumIEEE([]byte(text))
	var tail [6]byte
	for i := len(tail) - 1; i >= 0; i-- {
		tail[i] = digits62[sum%62]
		sum /= 62
	}
	return client{id, alg, []byte(text + string(tail[:]))}
}

// fixedSignature is ECDSA as of RFC 6979, so that the file is the same in each run;
// servers cannot tell, and clients need not sign so.
func fixedSignature(t *testing.T, c client, input string) (raw, der []byte) {
	t.Helper()
	key, ok := c.key.(*ecdsa.PrivateKey)
	if !ok {
		raw, err := jwt.GetSigningMethod(c.alg).Sign(input, c.key)
		require.NoError(t, err)
		return raw, raw
	}
	sum := sha256.Sum256([]byte(input))
	der, err := key.Sign(nil, sum[:], crypto.SHA256)
	require.NoError(t, err)
	var pair struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(der, &pair)
	require.NoError(t, err)
	raw = make([]byte, 64)
	pair.R.FillBytes(raw[:32])
	pair.S.FillBytes(raw[32:])
	return raw, der
}

func makeVectors(t *testing.T) vectors {
	secret, key := vectorClient("HS256", 1), vectorClient("ES256", 2)
	other := vectorClient("ES256", 3)
	now := apitokentest.Start
	v := vectors{
		About: "Signed requests for apitoken, schemes jws (tunnel) and jwt (request-bound JWT), and what a server says of each when its clock shows 'now'. " +
			"The keys protect nothing.",
		Now: now, Audience: audience, Tunnel: tunnelPath,
	}
	for i, c := range []client{secret, key, other} {
		token := vectorToken{ID: c.id, Tenant: "acme", Algorithm: c.alg}
		if i == 2 {
			token.Tenant = "other"
		}
		if private, ok := c.key.(*ecdsa.PrivateKey); ok {
			der, err := x509.MarshalPKCS8PrivateKey(private)
			require.NoError(t, err)
			token.PrivateKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
			token.PublicKey = publicPEM(private)
		} else {
			token.Secret = string(c.key.([]byte))
		}
		v.Tokens = append(v.Tokens, token)
	}

	text := func(c client, header, payload string) string {
		input := encode([]byte(header)) + "." + encode([]byte(payload))
		raw, _ := fixedSignature(t, c, input)
		return input + "." + encode(raw)
	}
	inDER := func(c client, header, payload string) string {
		input := encode([]byte(header)) + "." + encode([]byte(payload))
		_, der := fixedSignature(t, c, input)
		return input + "." + encode(der)
	}
	add := func(r vectorResult) {
		if r.Sent == 0 {
			r.Sent = 1
		}
		v.Cases = append(v.Cases, r)
	}
	tunnel := func(name, body string, status int, reason string, token apitoken.ID, inner *vectorRequest) {
		add(vectorResult{
			Name: name, Scheme: "jws", Status: status, Reason: reason, Token: token, Handler: inner,
			Request: vectorRequest{Method: "POST", Target: tunnelPath, Header: map[string]string{"Content-Type": "text/plain"}, Body: body},
		})
	}
	tunnelHead := func(c client, method, uri, query string, at time.Time) string {
		return toJSON(c.tunnelHeader(method, uri, query, at))
	}
	inner := func(method, target, body string) *vectorRequest {
		r := &vectorRequest{Method: method, Target: target, Header: map[string]string{"Content-Type": "application/json"}, Body: body}
		return r
	}

	const query = "orderBy=name%3Aasc&limit=10"
	get := tunnelHead(secret, "GET", "/v1/devices", query, now)
	tunnel("GET with a secret", text(secret, get, "{}"), 200, "", secret.id, inner("GET", "/v1/devices?"+query, ""))
	getKey := tunnelHead(key, "GET", "/v1/devices", query, now)
	tunnel("GET with a key", text(key, getKey, `{"data":{}}`), 200, "", key.id, inner("GET", "/v1/devices?"+query, ""))
	put := tunnelHead(key, "PUT", "/v1/a%2Fb", "", now.Add(2*time.Minute))
	tunnel("body, signed 2 minutes ahead", text(key, put, `{"data": {"b":1.0, "a":"ü"}}`), 200, "", key.id, inner("PUT", "/v1/a%2Fb", `{"b":1.0, "a":"ü"}`))
	old := tunnelHead(secret, "DELETE", "/v1/devices/7", "", now.Add(-5*time.Minute))
	tunnel("signed 5 minutes ago, white space around", " "+text(secret, old, `{"data":""}`)+"\r\n", 200, "", secret.id, inner("DELETE", "/v1/devices/7", ""))
	digits := strings.Replace(get, fmt.Sprintf(`"issuedAt":%d`, now.UnixMilli()), fmt.Sprintf(`"issuedAt":"%d"`, now.UnixMilli()), 1)
	tunnel("issuedAt as a text", text(secret, digits, "{}"), 200, "", secret.id, inner("GET", "/v1/devices?"+query, ""))

	tunnel("signed too long ago", text(secret, tunnelHead(secret, "GET", "/", "", now.Add(-5*time.Minute-time.Millisecond)), "{}"), 401, "stale", "", nil)
	tunnel("signed too far ahead", text(secret, tunnelHead(secret, "GET", "/", "", now.Add(2*time.Minute+time.Millisecond)), "{}"), 401, "stale", "", nil)
	tunnel("key of another token", text(client{key.id, "ES256", other.key}, getKey, "{}"), 401, "bad_signature", "", nil)
	tunnel("ES256 for a token with a secret", text(client{secret.id, "ES256", key.key}, tunnelHead(client{secret.id, "ES256", nil}, "GET", "/", "", now), "{}"), 401, "algorithm", "", nil)
	publicText := client{key.id, "HS256", []byte(publicPEM(key.key.(*ecdsa.PrivateKey)))}
	tunnel("HS256 with the public key as secret", text(publicText, tunnelHead(publicText, "GET", "/", "", now), "{}"), 401, "algorithm", "", nil)
	tunnel("signature in ASN.1 DER", inDER(key, getKey, "{}"), 401, "der_signature", "", nil)
	good := text(secret, get, "{}")
	last := strings.IndexByte(base64url, good[len(good)-1])
	tunnel("spare bits at the end", good[:len(good)-1]+string(base64url[last^1]), 401, "malformed_proof", "", nil)
	tunnel("padding", good+"=", 401, "malformed_proof", "", nil)
	changed := strings.Split(text(secret, get, `{"data":{"a":1}}`), ".")
	tunnel("body changed", changed[0]+"."+encode([]byte(`{"data":{"a":2}}`))+"."+changed[2], 401, "bad_signature", "", nil)
	for _, uri := range []string{"//evil.example/a", "/a/../b", "/a/%2e%2e/b", "/a%5Cb", "/a?b=c", "/a%0ab", tunnelPath, "https://evil.example/"} {
		tunnel("uri "+uri, text(secret, tunnelHead(secret, "GET", uri, "", now), "{}"), 401, "malformed_proof", "", nil)
	}
	tunnel("uri twice", text(secret, strings.TrimSuffix(get, "}")+`,"uri":"/v1/devices"}`, "{}"), 401, "malformed_proof", "", nil)
	tunnel("crit", text(secret, strings.TrimSuffix(get, "}")+`,"crit":["exp"]}`, "{}"), 401, "malformed_proof", "", nil)
	tunnel("b64", text(secret, strings.TrimSuffix(get, "}")+`,"b64":false}`, "{}"), 401, "malformed_proof", "", nil)
	tunnel("a member beside data", text(secret, get, `{"data":{},"x":1}`), 401, "malformed_proof", "", nil)
	tunnel("sent twice", text(key, getKey, "{}"), 401, "replayed", "", nil)
	v.Cases[len(v.Cases)-1].Sent = 2
	tunnel("nothing", "", 401, "no_credential", "", nil)

	jwtCase := func(name string, c client, signed, sent vectorRequest, change func(claims object), status int, reason string) {
		claims := c.claims(signed.Method, signed.Target, signed.Body, now)
		claims["jti"] = fmt.Sprintf("vector-%08d", len(v.Cases))
		if change != nil {
			change(claims)
		}
		r := vectorResult{Name: name, Scheme: "jwt", Status: status, Reason: reason, Request: sent}
		if status == 200 {
			r.Token, r.Handler = c.id, &vectorRequest{Method: sent.Method, Target: sent.Target, Body: sent.Body}
		}
		r.Request.Header = map[string]string{"Authorization": "Bearer " + text(c, toJSON(c.jwtHeader()), toJSON(claims))}
		add(r)
	}
	getJWT := vectorRequest{Method: "GET", Target: "/v1/devices?b=2&a=1&a=%20"}
	putJWT := vectorRequest{Method: "PUT", Target: "/v1/a%2Fb", Body: `{"name":"ü"}`}
	same := func(name string, c client, r vectorRequest, change func(object), status int, reason string) {
		jwtCase(name, c, r, r, change, status, reason)
	}
	same("GET with a secret", secret, getJWT, nil, 200, "")
	same("GET with a key", key, getJWT, nil, 200, "")
	same("body with a secret", secret, putJWT, nil, 200, "")
	same("body with a key", key, putJWT, nil, 200, "")
	same("audience in a list", key, getJWT, func(c object) { c["aud"] = []string{"https://other.example", audience} }, 200, "")
	same("issuer and subject", key, getJWT, func(c object) { c["iss"], c["sub"] = key.id, key.id }, 200, "")
	same("audience of another service", key, getJWT, func(c object) { c["aud"] = "https://other.example" }, 401, "malformed_proof")
	same("issuer of another", key, getJWT, func(c object) { c["iss"] = other.id }, 401, "malformed_proof")
	same("6 minutes long", key, getJWT, func(c object) { c["exp"] = now.Unix() + 360 }, 401, "malformed_proof")
	same("over", key, getJWT, func(c object) { c["iat"], c["exp"] = now.Unix()-60, now.Unix() }, 401, "stale")
	same("iat with a fraction", key, getJWT, func(c object) { c["iat"] = float64(now.Unix()) + 0.5 }, 401, "malformed_proof")
	same("jti too short", key, getJWT, func(c object) { c["jti"] = "1234567" }, 401, "malformed_proof")
	same("body without a digest", key, putJWT, func(c object) { delete(c, "body_sha256") }, 401, "body_digest")
	for _, change := range []struct {
		name string
		sent vectorRequest
		want string
	}{
		{"another method", vectorRequest{Method: "DELETE", Target: putJWT.Target, Body: putJWT.Body}, "malformed_proof"},
		{"decoded path", vectorRequest{Method: "PUT", Target: "/v1/a/b", Body: putJWT.Body}, "malformed_proof"},
		{"a query more", vectorRequest{Method: "PUT", Target: "/v1/a%2Fb?x", Body: putJWT.Body}, "malformed_proof"},
		{"another body", vectorRequest{Method: "PUT", Target: putJWT.Target, Body: `{"name":"u"}`}, "body_digest"},
	} {
		jwtCase(change.name, secret, putJWT, change.sent, nil, 401, change.want)
	}
	jwtCase("query in another order", secret, getJWT, vectorRequest{Method: "GET", Target: "/v1/devices?a=1&a=%20&b=2"}, nil, 401, "malformed_proof")
	same("key of another token", client{key.id, "ES256", other.key}, getJWT, nil, 401, "bad_signature")
	same("HS256 with the public key as secret", publicText, getJWT, nil, 401, "algorithm")
	same("sent twice", key, getJWT, nil, 401, "replayed")
	v.Cases[len(v.Cases)-1].Sent = 2
	return v
}

// plainWrapper keeps what it seals as it is, so that a record with a known secret
// can be put into a store.
type plainWrapper struct{}

func (plainWrapper) Primary() string { return "plain" }
func (plainWrapper) Wrap(_ context.Context, _ string, plaintext, _ []byte) ([]byte, error) {
	return bytes.Clone(plaintext), nil
}
func (plainWrapper) Unwrap(_ context.Context, _ string, sealed, _ []byte) ([]byte, error) {
	return sealed, nil
}

// vectorWorld has a server that knows the tokens of the file.
func vectorWorld(t *testing.T, v vectors) *apitokentest.Env {
	t.Helper()
	opts := signingOptions()
	opts.Keyring, opts.Prefix = plainWrapper{}, "acme"
	env := apitokentest.New(t, opts)
	env.Clock.Set(v.Now)
	for _, token := range v.Tokens {
		issued := env.IssueAs(apitoken.Actor{ID: "ann", Tenant: token.Tenant}, apitoken.IssueRequest{})
		rec, err := env.Store.Get(t.Context(), issued.Token.ID)
		require.NoError(t, err)
		rec.Token.ID = token.ID
		if token.Algorithm == "ES256" {
			key, err := apitoken.ParsePublicKey(token.PublicKey)
			require.NoError(t, err)
			rec.Primary = apitoken.Slot{Algorithm: apitoken.AlgorithmES256, Prefix: "acme", Blob: key.DER()}
		} else {
			secret := strings.TrimPrefix(token.Secret, "acme_sk_"+string(token.ID))
			rec.Primary = apitoken.Slot{Algorithm: apitoken.AlgorithmHS256, KeyID: "plain", Prefix: "acme_sk", Blob: []byte(secret[:43])}
		}
		require.NoError(t, env.Store.Create(t.Context(), rec, nil))
	}
	return env
}

// Our own vectors, for other languages: made here with fixed keys, and each checked
// with a real server. 'go test -run Vectors ./httpauth -update' writes them anew.
func TestVectors(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(makeVectors(t)))
	if *update {
		require.NoError(t, os.MkdirAll("testdata/vectors", 0o755))
		require.NoError(t, os.WriteFile(vectorFile, want.Bytes(), 0o644))
	}
	text, err := os.ReadFile(vectorFile)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(text), "run it with -update")

	var v vectors
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(&v))
	for _, tc := range v.Cases {
		t.Run(tc.Scheme+" "+tc.Name, func(t *testing.T) {
			t.Parallel()
			w := &signedWorld{Env: vectorWorld(t, v)}
			var rec *httptest.ResponseRecorder
			var refused error
			var got *http.Request
			var p apitoken.Principal
			var sent string
			handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				got = r
				p, _ = httpauth.FromContext(r.Context())
				var b bytes.Buffer
				_, err := b.ReadFrom(r.Body)
				require.NoError(t, err)
				sent = b.String()
			})
			for range tc.Sent {
				got = nil
				r := httptest.NewRequest(tc.Request.Method, tc.Request.Target, strings.NewReader(tc.Request.Body))
				for name, value := range tc.Request.Header {
					r.Header.Set(name, value)
				}
				rec, refused = w.send(bound(), func(a *httpauth.Auth) http.Handler {
					if tc.Scheme == "jws" {
						return a.Tunnel(httpauth.TunnelOptions{}, handler)
					}
					return a.Middleware(handler)
				}, r)
			}
			require.Equal(t, tc.Status, rec.Code, "%v", refused)
			require.Equal(t, tc.Reason, apitoken.ReasonOf(refused))
			require.Equal(t, tc.Handler != nil, got != nil)
			if got == nil {
				return
			}
			require.Equal(t, tc.Token, p.Token)
			require.Equal(t, tc.Scheme, string(p.Scheme))
			require.Equal(t, tc.Handler.Method, got.Method)
			require.Equal(t, tc.Handler.Target, got.RequestURI)
			require.Equal(t, tc.Handler.Body, sent)
			for name, value := range tc.Handler.Header {
				require.Equal(t, value, got.Header.Get(name))
			}
		})
	}
}
