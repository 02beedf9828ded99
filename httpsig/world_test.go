package httpsig_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/httpsig"
)

const host = "api.example.com"

// options are of a Service whose tokens may be used in this way and as bearer
// tokens.
func options(clock apitoken.Clock) apitoken.Options {
	ring, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "k1", Key: apitoken.NewSecret("32 bytes to seal with, for tests")})
	if err != nil {
		panic(err)
	}
	return apitoken.Options{
		Clock: clock, Keyring: ring,
		Kinds: map[apitoken.Kind]apitoken.Policy{"ci": {Schemes: []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeHTTPSignature}}},
	}
}

// world is a server with one signed route, and its clients.
type world struct {
	*apitokentest.Env
	handler http.Handler
	refused error // of the last request, nil = it was let through
	body    string
	token   apitoken.ID
}

func newWorld(t testing.TB, opts httpsig.Options) *world {
	t.Helper()
	clock := apitokentest.NewClock(apitokentest.Start)
	w := &world{Env: apitokentest.New(t, options(clock))}
	w.Clock = clock
	w.serve(opts)
	return w
}

// serve puts the middleware over the present Service.
func (w *world) serve(opts httpsig.Options) {
	if len(opts.Hosts) == 0 && opts.ExternalURL == "" {
		opts.Hosts = []string{host}
	}
	var auth *httpauth.Auth
	auth = httpauth.New(w.Service, httpauth.Options{
		Proofs: []httpauth.ProofReader{httpsig.New(opts)},
		Logger: slog.New(slog.DiscardHandler),
		ErrorHandler: func(rw http.ResponseWriter, r *http.Request, err error) {
			w.refused = err
			auth.WriteError(rw, r, err)
		},
	})
	w.handler = auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p, _ := httpauth.FromContext(r.Context())
		w.refused, w.body, w.token = nil, string(body), p.Token
	}))
}

// answer is what becomes of a request: "" = it was let through, else the reason.
func (w *world) answer(r *http.Request) string {
	rw := httptest.NewRecorder()
	w.handler.ServeHTTP(rw, r)
	if rw.Code == http.StatusOK {
		return ""
	}
	return fmt.Sprint(rw.Code, " ", apitoken.ReasonOf(w.refused))
}

// client signs by hand, so that it can do it wrong.
type client struct {
	id    apitoken.ID
	key   *ecdsa.PrivateKey
	hmac  []byte
	clock *apitokentest.Clock
}

func (w *world) keyClient(t testing.TB, actor apitoken.Actor) *client {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	issued := w.IssueAs(actor, apitoken.IssueRequest{PublicKey: publicPEM(t, key)})
	return &client{id: issued.Token.ID, key: key, clock: w.Clock}
}

func (w *world) secretClient(t testing.TB, actor apitoken.Actor) *client {
	t.Helper()
	issued := w.IssueAs(actor, apitoken.IssueRequest{Symmetric: true})
	return &client{id: issued.Token.ID, hmac: []byte(issued.Secret.Reveal()), clock: w.Clock}
}

func publicPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func (c *client) sign(base string) []byte {
	if c.key == nil {
		mac := hmac.New(sha256.New, c.hmac)
		mac.Write([]byte(base))
		return mac.Sum(nil)
	}
	sum := sha256.Sum256([]byte(base))
	der, err := c.key.Sign(nil, sum[:], crypto.SHA256) // RFC 6979: the same in each run
	if err != nil {
		panic(err)
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &pair); err != nil {
		panic(err)
	}
	raw := make([]byte, 64)
	pair.R.FillBytes(raw[:32])
	pair.S.FillBytes(raw[32:])
	return raw
}

// malleated is the other signature that verifies: (r, n-s).
func malleated(raw []byte) []byte {
	out := bytes.Clone(raw)
	s := new(big.Int).SetBytes(raw[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(out[32:])
	return out
}

// params are those of a good signature of the client.
func (c *client) params() string {
	return fmt.Sprintf(`;created=%d;keyid=%q;nonce=%q`, c.clock.Now().Unix(), c.id, rand.Text())
}

// signed puts a signature on r. values are the covered components and what the
// client says they are, one after the other.
func (c *client) signed(r *http.Request, params string, values ...string) *http.Request {
	var base, list strings.Builder
	for i := 0; i < len(values); i += 2 {
		fmt.Fprintf(&base, "%q: %s\n", values[i], values[i+1])
		fmt.Fprintf(&list, " %q", values[i])
	}
	input := "(" + strings.TrimPrefix(list.String(), " ") + ")" + params
	return c.put(r, "sig1", input, c.sign(base.String()+`"@signature-params": `+input))
}

func (c *client) put(r *http.Request, label, input string, signature []byte) *http.Request {
	r.Header.Add("Signature-Input", label+"="+input)
	r.Header.Add("Signature", label+"=:"+base64.StdEncoding.EncodeToString(signature)+":")
	return r
}

// post is a POST with a body and its digest.
func post(target, body string) *http.Request {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Host, r.RequestURI = host, target
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Digest", digest(body))
	return r
}

func get(target string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.Host = host
	return r
}

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// good signs a POST in full.
func (c *client) good(target, body string) *http.Request {
	return c.signed(post(target, body), c.params(),
		"@method", "POST", "@target-uri", "http://"+host+target, "content-digest", digest(body), "content-type", "application/json")
}

func ann() apitoken.Actor { return apitoken.Actor{ID: apitokentest.User, Tenant: apitokentest.Tenant} }

func bob() apitoken.Actor { return apitoken.Actor{ID: "bob", Tenant: "other"} }

// guard is a replay guard whose answer a test chooses.
type guard struct{ err error }

func (g *guard) Remember(context.Context, apitoken.SignedUse) (bool, error) {
	return g.err == nil, g.err
}
