package httpsig_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpsig"
)

var update = flag.Bool("update", false, "write the vectors in testdata anew")

const goldenFile = "testdata/http-signatures.json"

// golden is the form of the file: for programs in any language that sign requests,
// or check them. Its tokens are those of the vectors of package httpauth.
type golden struct {
	About  string        `json:"about"`
	Now    time.Time     `json:"now"`
	Origin string        `json:"origin"`
	Tokens []goldenToken `json:"tokens"`
	Cases  []goldenCase  `json:"cases"`
}

type goldenToken struct {
	ID         apitoken.ID `json:"token_id"`
	Tenant     string      `json:"tenant"`
	Algorithm  string      `json:"algorithm"`
	Secret     string      `json:"secret,omitempty"`
	PrivateKey string      `json:"private_key,omitempty"`
	PublicKey  string      `json:"public_key,omitempty"`
}

type goldenCase struct {
	Name   string              `json:"name"`
	Method string              `json:"method"`
	Target string              `json:"target"`
	Header map[string][]string `json:"header"`
	Body   string              `json:"body,omitempty"`
	Sent   int                 `json:"sent"`
	Base   string              `json:"signature_base,omitempty"`
	Status int                 `json:"status"`
	Reason string              `json:"reason,omitempty"`
	Token  apitoken.ID         `json:"token_id,omitempty"`
}

const goldenSecret = "acme_sk_vector0000000000000001BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB3iEAEw"

func goldenKey(t *testing.T, n byte) *ecdsa.PrivateKey {
	t.Helper()
	raw := make([]byte, 32)
	raw[0], raw[31] = 1, n
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	require.NoError(t, err)
	return key
}

func makeGolden(t *testing.T) golden {
	t.Helper()
	v := golden{
		About: "Requests signed with HTTP Message Signatures (RFC 9421) for apitoken, and what a server at 'origin' that has just started says of each " +
			"when its clock shows 'now'. Where 'sent' is 2 the request is sent twice, and the verdict is of the second time. The keys protect nothing.",
		Now: apitokentest.Start, Origin: "https://api.example",
		Tokens: []goldenToken{{ID: "vector0000000000000001", Tenant: "acme", Algorithm: "HS256", Secret: goldenSecret}},
	}
	secret := &client{id: v.Tokens[0].ID, hmac: []byte(goldenSecret)}
	clients := []*client{secret}
	for i, tenant := range []string{"acme", "other"} {
		private := goldenKey(t, byte(i+2))
		der, err := x509.MarshalPKCS8PrivateKey(private)
		require.NoError(t, err)
		c := &client{id: apitoken.ID(fmt.Sprintf("vector%016d", i+2)), key: private}
		clients = append(clients, c)
		v.Tokens = append(v.Tokens, goldenToken{
			ID: c.id, Tenant: tenant, Algorithm: "ES256", PublicKey: publicPEM(t, private),
			PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		})
	}
	key, other := clients[1], clients[2]

	add := func(name string, c *client, method, target, body, params string, values []string, change func(*goldenCase), reason string) {
		one := goldenCase{Name: name, Method: method, Target: target, Body: body, Header: map[string][]string{}, Sent: 1, Status: 200, Token: c.id}
		if body != "" {
			one.Header["Content-Type"] = []string{"application/json"}
			one.Header["Content-Digest"] = []string{digest(body)}
			values = join(values, []string{"content-digest", digest(body), "content-type", "application/json"})
		}
		var list []string
		for i := 0; i < len(values); i += 2 {
			one.Base += fmt.Sprintf("%q: %s\n", values[i], values[i+1])
			list = append(list, fmt.Sprintf("%q", values[i]))
		}
		input := "(" + strings.Join(list, " ") + ")" + params + fmt.Sprintf(`;nonce="vector %d"`, len(v.Cases))
		one.Base += `"@signature-params": ` + input
		signed := c.put(get("/"), "sig1", input, c.sign(one.Base)).Header
		one.Header["Signature-Input"], one.Header["Signature"] = signed["Signature-Input"], signed["Signature"]
		if change != nil {
			change(&one)
		}
		if reason != "" {
			one.Status, one.Reason, one.Token, one.Base = 401, reason, "", ""
		}
		v.Cases = append(v.Cases, one)
	}
	at := func(c *client, created time.Duration) string {
		return fmt.Sprintf(";created=%d;keyid=%q", v.Now.Add(created).Unix(), c.id)
	}
	const target = "/v1/a%2Fb//c?b=2&a=1&a=%20"
	uri := []string{"@method", "GET", "@target-uri", v.Origin + target}
	parts := []string{"@authority", "api.example", "@method", "PUT", "@path", "/v1/a%2Fb//c", "@query", "?b=2&a=1&a=%20"}
	for _, c := range clients[:2] {
		add("GET of "+string(c.id), c, "GET", target, "", at(c, 0), uri, nil, "")
		add("PUT of "+string(c.id), c, "PUT", target, `{"name":"ü"}`, at(c, 0), parts, nil, "")
	}
	add("request target", key, "GET", "/v1", "", at(key, 0), []string{"@method", "GET", "@authority", "api.example", "@request-target", "/v1"}, nil, "")
	add("no query", key, "GET", "/v1", "", at(key, 0), []string{"@method", "GET", "@authority", "api.example", "@path", "/v1", "@query", "?"}, nil, "")
	add("all parameters", key, "GET", target, "", at(key, 0)+fmt.Sprintf(`;alg="ecdsa-p256-sha256";expires=%d;tag="a \"tag\""`, v.Now.Unix()+1), uri, nil, "")
	add("lines of a field", secret, "GET", target, "", at(secret, 0), join(uri, []string{"x-list", "one, two"}), func(c *goldenCase) {
		c.Header["X-List"] = []string{"  one", "two "}
	}, "")
	add("signed 5 minutes ago", secret, "GET", target, "", at(secret, -5*time.Minute), uri, nil, "")
	add("signed 2 minutes ahead", secret, "GET", target, "", at(secret, 2*time.Minute), uri, nil, "")

	add("signed too long ago", secret, "GET", target, "", at(secret, -5*time.Minute-time.Second), uri, nil, "stale")
	add("signed too far ahead", secret, "GET", target, "", at(secret, 2*time.Minute+time.Second), uri, nil, "stale")
	add("over", secret, "GET", target, "", at(secret, 0)+fmt.Sprintf(";expires=%d", v.Now.Unix()), uri, nil, "stale")
	retarget := func(name, to string) {
		add(name, key, "GET", target, "", at(key, 0), uri, func(c *goldenCase) { c.Target = to }, "bad_signature")
	}
	retarget("decoded path", "/v1/a/b//c?b=2&a=1&a=%20")
	retarget("one slash less", "/v1/a%2Fb/c?b=2&a=1&a=%20")
	retarget("query in another order", "/v1/a%2Fb//c?a=1&a=%20&b=2")
	add("another method", key, "GET", target, "", at(key, 0), uri, func(c *goldenCase) { c.Method = "DELETE" }, "bad_signature")
	add("another body", key, "PUT", target, "{}", at(key, 0), parts, func(c *goldenCase) { c.Body = "[]" }, "body_digest")
	add("body and digest", key, "PUT", target, "{}", at(key, 0), parts, func(c *goldenCase) {
		c.Body, c.Header["Content-Digest"] = "[]", []string{digest("[]")}
	}, "bad_signature")
	add("body that is not covered", key, "GET", target, "", at(key, 0), uri, func(c *goldenCase) { c.Body = "{}" }, "malformed_proof")
	add("another host", key, "GET", target, "", at(key, 0), []string{"@method", "GET", "@target-uri", "https://other.example" + target}, nil, "bad_signature")
	add("path and query without the host", key, "GET", target, "", at(key, 0), []string{"@method", "GET", "@path", "/v1/a%2Fb//c", "@query", "?b=2&a=1&a=%20"}, nil, "malformed_proof")
	add("component twice", key, "GET", target, "", at(key, 0), join(uri, uri[:2]), nil, "malformed_proof")
	add("no created", key, "GET", target, "", fmt.Sprintf(";keyid=%q", key.id), uri, nil, "malformed_proof")
	add("key of another token", &client{id: key.id, key: other.key}, "GET", target, "", at(key, 0), uri, nil, "bad_signature")
	add("algorithm of secrets for a key", key, "GET", target, "", at(key, 0)+`;alg="hmac-sha256"`, uri, nil, "algorithm")
	add("public key as secret", &client{id: key.id, hmac: []byte(v.Tokens[1].PublicKey)}, "GET", target, "", at(key, 0), uri, nil, "bad_signature")
	add("sent twice", key, "GET", target, "", at(key, 0), uri, func(c *goldenCase) { c.Sent = 2 }, "replayed")
	return v
}

// openRing keeps what it seals as it is, so that a record with a known secret can be
// put into a store.
type openRing struct{}

func (openRing) Primary() string { return "open" }
func (openRing) Wrap(_ context.Context, _ string, plaintext, _ []byte) ([]byte, error) {
	return bytes.Clone(plaintext), nil
}
func (openRing) Unwrap(_ context.Context, _ string, sealed, _ []byte) ([]byte, error) {
	return sealed, nil
}

// goldenWorld has a server that knows the tokens of the file.
func goldenWorld(t *testing.T, v golden) *world {
	t.Helper()
	opts := options(apitokentest.NewClock(v.Now))
	opts.Keyring = openRing{}
	w := &world{Env: apitokentest.New(t, opts)}
	for _, token := range v.Tokens {
		issued := w.IssueAs(apitoken.Actor{ID: "ann", Tenant: token.Tenant}, apitoken.IssueRequest{})
		rec, err := w.Store.Get(t.Context(), issued.Token.ID)
		require.NoError(t, err)
		rec.Token.ID = token.ID
		if token.Algorithm == apitoken.AlgorithmES256 {
			key, err := apitoken.ParsePublicKey(token.PublicKey)
			require.NoError(t, err)
			rec.Primary = apitoken.Slot{Algorithm: token.Algorithm, Prefix: "acme", Blob: key.DER()}
		} else {
			text := strings.TrimPrefix(token.Secret, "acme_sk_"+string(token.ID))[:43]
			rec.Primary = apitoken.Slot{Algorithm: token.Algorithm, KeyID: "open", Prefix: "acme_sk", Blob: []byte(text)}
		}
		require.NoError(t, w.Store.Create(t.Context(), rec, nil))
	}
	w.serve(httpsig.Options{ExternalURL: v.Origin})
	return w
}

// Our own vectors, for other languages: made here with fixed keys, and each checked
// with a real server. 'go test -run Golden ./httpsig -update' writes them anew.
func TestGolden(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(makeGolden(t)))
	if *update {
		require.NoError(t, os.WriteFile(goldenFile, want.Bytes(), 0o644))
	}
	text, err := os.ReadFile(goldenFile)
	require.NoError(t, err)
	require.Equal(t, want.String(), string(text), "run it with -update")
	var v golden
	require.NoError(t, json.Unmarshal(text, &v))
	for _, c := range v.Cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			w := goldenWorld(t, v)
			var got string
			for range c.Sent {
				r := httptest.NewRequest(c.Method, c.Target, strings.NewReader(c.Body))
				r.Host, r.Header = strings.TrimPrefix(v.Origin, "https://"), http.Header(c.Header).Clone()
				got = w.answer(r)
			}
			if c.Status == http.StatusOK {
				require.Empty(t, got)
				require.Equal(t, c.Body, w.body)
				require.Equal(t, c.Token, w.token)
				return
			}
			require.Equal(t, fmt.Sprint(c.Status, " ", c.Reason), got)
		})
	}
}
