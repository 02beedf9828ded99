package httpauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

const (
	audience   = "https://api.example"
	tunnelPath = "/jws/validate"
)

// client is a holder of a token that signs, with golang-jwt.
type client struct {
	id  apitoken.ID
	alg string
	key any // []byte of a secret key, or *ecdsa.PrivateKey
}

type object = map[string]any

func encode(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// sign makes a compact JWS of these texts as they stand.
func (c client) sign(header, payload string) string {
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	signature, err := jwt.GetSigningMethod(c.alg).Sign(input, c.key)
	if err != nil {
		panic(err)
	}
	return input + "." + encode(signature)
}

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (c client) jwtHeader() object { return object{"alg": c.alg, "kid": c.id, "typ": "JWT"} }

// claims are those of a request, made at an instant.
func (c client) claims(method, uri, body string, at time.Time) object {
	claims := object{
		"iat": at.Unix(), "exp": at.Unix() + 300, "jti": "request-" + fmt.Sprint(at.UnixNano()),
		"aud": audience, "method": method, "uri": uri,
	}
	if body != "" {
		claims["body_sha256"] = digestOf(body)
	}
	return claims
}

func (c client) tunnelHeader(method, uri, query string, at time.Time) object {
	return object{
		"alg": c.alg, "kid": c.id, "method": method, "content-type": "application/json",
		"uri": uri, "query-string": query, "issuedAt": at.UnixMilli(),
	}
}

func digestOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// boundRequest is a request that carries a JWT.
func boundRequest(method, target, body, text string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+text)
	return r
}

func tunnelRequest(text string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, tunnelPath, strings.NewReader(text))
	r.Header.Set("Content-Type", "text/plain")
	return r
}

// fixedKey is the same in every run. It protects nothing.
func fixedKey(n byte) *ecdsa.PrivateKey {
	raw := make([]byte, 32)
	raw[0], raw[31] = 1, n
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		panic(err)
	}
	return key
}

func publicPEM(key *ecdsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(key)}))
}

func publicDER(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err)
	}
	return der
}

// signedWorld has a token of each sort that signs, in two tenants.
type signedWorld struct {
	*apitokentest.Env
	secret, key           client // of acme
	otherSecret, otherKey client // of another tenant
	bearer                apitoken.Issued
}

func signingOptions() apitoken.Options {
	keyring, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "k1", Key: apitoken.NewSecret(strings.Repeat("k", 32))})
	if err != nil {
		panic(err)
	}
	return apitoken.Options{
		Catalog: catalog, Keyring: keyring,
		Kinds: map[apitoken.Kind]apitoken.Policy{"token": {
			Schemes: []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeJWS, apitoken.SchemeJWT},
		}},
	}
}

func newSignedWorld(t testing.TB, change ...func(*apitoken.Options)) *signedWorld {
	t.Helper()
	opts := signingOptions()
	for _, f := range change {
		f(&opts)
	}
	w := &signedWorld{Env: apitokentest.New(t, opts)}
	w.bearer = w.Issue(apitoken.IssueRequest{})
	for i, actor := range []apitoken.Actor{w.Actor(apitokentest.User), {ID: "bob", Tenant: "other"}} {
		symmetric := w.IssueAs(actor, apitoken.IssueRequest{Symmetric: true})
		private := fixedKey(byte(i + 1))
		asymmetric := w.IssueAs(actor, apitoken.IssueRequest{PublicKey: publicPEM(private)})
		secret := client{symmetric.Token.ID, "HS256", []byte(symmetric.Secret.Reveal())}
		key := client{asymmetric.Token.ID, "ES256", private}
		if i == 0 {
			w.secret, w.key = secret, key
		} else {
			w.otherSecret, w.otherKey = secret, key
		}
	}
	return w
}

// send has a request handled, and returns the answer and why it was refused.
func (w *signedWorld) send(opts httpauth.Options, build func(*httpauth.Auth) http.Handler, r *http.Request) (*httptest.ResponseRecorder, error) {
	var refused error
	var auth *httpauth.Auth
	opts.ErrorHandler = func(rw http.ResponseWriter, r *http.Request, err error) {
		refused = err
		auth.WriteError(rw, r, err)
	}
	if opts.Logger == nil {
		opts.Logger = w.Options.Logger
	}
	auth = httpauth.New(w.Service, opts)
	return answer(build(auth), r), refused
}

func bound() httpauth.Options {
	return httpauth.Options{Proofs: []httpauth.ProofReader{httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: audience})}}
}

// echo answers with who sent what.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p, _ := httpauth.FromContext(r.Context())
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s/%s %s %s %q %v", p.Scheme, p.Tenant, p.Owner, r.Method, r.RequestURI, body, err)
})

func (w *signedWorld) sendBound(r *http.Request) (*httptest.ResponseRecorder, error) {
	return w.send(bound(), func(a *httpauth.Auth) http.Handler { return a.Middleware(echo) }, r)
}

func (w *signedWorld) sendTunnel(opts httpauth.TunnelOptions, r *http.Request) (*httptest.ResponseRecorder, error) {
	return w.send(httpauth.Options{}, func(a *httpauth.Auth) http.Handler { return a.Tunnel(opts, a.Middleware(echo)) }, r)
}

// sort is one of the two ways to send a signed request.
type sort struct {
	name string
	make func(c client, at time.Time) string // signs GET /v1/devices?sort=name
	send func(w *signedWorld, text string) (*httptest.ResponseRecorder, error)
}

var sorts = []sort{
	{
		"tunnel",
		func(c client, at time.Time) string {
			return c.sign(toJSON(c.tunnelHeader("GET", "/v1/devices", "sort=name", at)), "{}")
		},
		func(w *signedWorld, text string) (*httptest.ResponseRecorder, error) {
			return w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(text))
		},
	},
	{
		"bound JWT",
		func(c client, at time.Time) string {
			return c.sign(toJSON(c.jwtHeader()), toJSON(c.claims("GET", "/v1/devices?sort=name", "", at)))
		},
		func(w *signedWorld, text string) (*httptest.ResponseRecorder, error) {
			return w.sendBound(boundRequest("GET", "/v1/devices?sort=name", "", text))
		},
	},
}

// eachSort runs a test for both schemes.
func eachSort(t *testing.T, test func(t *testing.T, s sort)) {
	for _, s := range sorts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// requireGolden401 compares with the one 401 for a credential, byte for byte (P17).
func requireGolden401(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", w.Code, http.StatusText(w.Code))
	require.NoError(t, w.Header().Write(&b))
	fmt.Fprintf(&b, "Content-Length: %d\r\nConnection: close\r\n\r\n%s", w.Body.Len(), w.Body)
	require.Equal(t, golden401, b.String())
}

// Both sorts of key work with both schemes (S2.10, S2.11).
func TestSignedRequestIsAccepted(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		for _, c := range []client{w.secret, w.key} {
			rec, err := s.send(w, s.make(c, w.Clock.Now()))
			require.NoError(t, err)
			require.Contains(t, rec.Body.String(), ` acme/ann GET /v1/devices?sort=name "" <nil>`)
		}
		rec, err := s.send(w, s.make(w.otherKey, w.Clock.Now()))
		require.NoError(t, err)
		require.Contains(t, rec.Body.String(), " other/bob GET ")
	})
}

// Who signs with what is not the token's is refused, and looks like anybody who is
// refused (P17): algorithm, key and key ID cannot be chosen by the request.
func TestSignedByAnother(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		private := w.key.key.(*ecdsa.PrivateKey)
		point, err := private.PublicKey.Bytes()
		require.NoError(t, err)
		publicOf := func(key any) client { return client{w.key.id, "HS256", key} }
		for _, tc := range []struct {
			name string
			c    client
			want error
		}{
			{"secret of another tenant's token", client{w.secret.id, "HS256", w.otherSecret.key}, apitoken.ErrBadSignature},
			{"key of another tenant's token", client{w.key.id, "ES256", w.otherKey.key}, apitoken.ErrBadSignature},
			{"another tenant's key ID", client{w.otherKey.id, "ES256", w.key.key}, apitoken.ErrBadSignature},
			{"another token's key ID", client{w.secret.id, "ES256", w.key.key}, apitoken.ErrAlgorithm},
			{"ES256 for a token with a secret", client{w.secret.id, "ES256", w.key.key}, apitoken.ErrAlgorithm},
			{"HS256 with the public key's DER", publicOf(publicDER(private)), apitoken.ErrAlgorithm},
			{"HS256 with the public key's PEM", publicOf([]byte(publicPEM(private))), apitoken.ErrAlgorithm},
			{"HS256 with the public key's point", publicOf(point), apitoken.ErrAlgorithm},
			{"HS256 with zeros", publicOf(make([]byte, 32)), apitoken.ErrAlgorithm},
			{"HS384", client{w.secret.id, "HS384", w.secret.key}, apitoken.ErrAlgorithm},
			{"none", client{w.secret.id, "none", jwt.UnsafeAllowNoneSignatureType}, apitoken.ErrMalformedProof},
			{"bearer token's key ID", client{w.bearer.Token.ID, "HS256", []byte(w.bearer.Secret.Reveal())}, apitoken.ErrAlgorithm},
			{"half of the secret", client{w.secret.id, "HS256", w.secret.key.([]byte)[10:]}, apitoken.ErrBadSignature},
			{"unknown key ID", client{apitoken.ID(strings.Repeat("0", 22)), "ES256", w.key.key}, apitoken.ErrUnknownToken},
			{"key ID that cannot be", client{"../../etc/passwd", "ES256", w.key.key}, apitoken.ErrUnknownToken},
			{"no key ID", client{"", "ES256", w.key.key}, apitoken.ErrUnknownToken},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				rec, err := s.send(w, s.make(tc.c, w.Clock.Now()))
				require.ErrorIs(t, err, tc.want)
				requireGolden401(t, rec)
			})
		}
	})
}

// What says another algorithm than it was signed with is refused by that alone.
func TestSignedWithAnotherNameOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	for _, alg := range []string{"ES256", "none", "hs256", "HS256 ", "", "RS256"} {
		header := w.secret.tunnelHeader("GET", "/v1", "", w.Clock.Now())
		header["alg"] = alg
		rec, err := w.sendTunnel(httpauth.TunnelOptions{}, tunnelRequest(w.secret.sign(toJSON(header), "{}")))
		require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
		requireGolden401(t, rec)
		header = w.secret.jwtHeader()
		header["alg"] = alg
		rec, err = w.sendBound(boundRequest("GET", "/v1", "", w.secret.sign(toJSON(header), toJSON(w.secret.claims("GET", "/v1", "", w.Clock.Now())))))
		require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
		requireGolden401(t, rec)
	}
}

// reSign gives a JWS the other signature (r, n-s) of the same request.
func reSign(t *testing.T, text string) string {
	t.Helper()
	i := strings.LastIndexByte(text, '.')
	signature, err := base64.RawURLEncoding.DecodeString(text[i+1:])
	require.NoError(t, err)
	require.Len(t, signature, 64)
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(signature[32:])
	return text[:i+1] + encode(signature)
}

// A signed request is accepted once, whatever is done to its signature (P15).
func TestSignedRequestIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		for _, c := range []client{w.secret, w.key} {
			text := s.make(c, w.Clock.Now())
			if c.alg == "ES256" {
				// The other signature is as good, while neither has been seen.
				_, err := s.send(w, reSign(t, s.make(c, w.Clock.Now().Add(time.Second))))
				require.NoError(t, err)
			}
			_, err := s.send(w, text)
			require.NoError(t, err)
			for range 2 {
				rec, err := s.send(w, text)
				require.ErrorIs(t, err, apitoken.ErrReplayed)
				requireGolden401(t, rec)
			}
			if c.alg == "ES256" {
				rec, err := s.send(w, reSign(t, text))
				require.ErrorIs(t, err, apitoken.ErrReplayed)
				requireGolden401(t, rec)
			}
			// One byte string has one text: the last character of 32 or 64 bytes has
			// bits to spare.
			last := strings.IndexByte(base64url, text[len(text)-1])
			rec, err := s.send(w, text[:len(text)-1]+string(base64url[last^1]))
			require.ErrorIs(t, err, apitoken.ErrMalformedProof)
			requireGolden401(t, rec)
			rec, err = s.send(w, text+"=")
			require.ErrorIs(t, err, apitoken.ErrMalformedProof)
			requireGolden401(t, rec)
		}
	})
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// A second accept needs another jti, however the rest is signed.
func TestNonceIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	send := func(c client, jti, uri string) error {
		claims := c.claims("GET", uri, "", w.Clock.Now())
		claims["jti"] = jti
		_, err := w.sendBound(boundRequest("GET", uri, "", c.sign(toJSON(c.jwtHeader()), toJSON(claims))))
		return err
	}
	require.NoError(t, send(w.key, "12345678", "/a"))
	require.ErrorIs(t, send(w.key, "12345678", "/b"), apitoken.ErrReplayed)
	require.NoError(t, send(w.key, "12345679", "/a"))
	require.NoError(t, send(w.secret, "12345678", "/a"), "another token's")
}

// Of two copies at once exactly one is accepted (P15).
func TestConcurrentCopies(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		for i := range 50 {
			text := s.make(w.secret, w.Clock.Now().Add(time.Duration(i)*time.Millisecond))
			var outcomes [2]error
			var wg sync.WaitGroup
			for j := range outcomes {
				wg.Go(func() { _, outcomes[j] = s.send(w, text) })
			}
			wg.Wait()
			if outcomes[0] != nil {
				outcomes[0], outcomes[1] = outcomes[1], outcomes[0]
			}
			require.NoError(t, outcomes[0])
			require.ErrorIs(t, outcomes[1], apitoken.ErrReplayed)
		}
	})
}

// Signatures are good from 2 minutes before the clock of the server shows their
// time until 5 minutes after.
func TestFreshness(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		now := w.Clock.Now()
		tick := time.Millisecond
		if s.name == "bound JWT" {
			tick = time.Second
		}
		for _, tc := range []struct {
			name string
			at   time.Time
			want error
		}{
			{"as old as can be", now.Add(-5*time.Minute + time.Second), nil},
			{"too old", now.Add(-5*time.Minute - tick), apitoken.ErrStale},
			{"as far ahead as can be", now.Add(2 * time.Minute), nil},
			{"too far ahead", now.Add(2*time.Minute + tick), apitoken.ErrStale},
			{"decades ahead", now.AddDate(90, 0, 0), apitoken.ErrStale},
			{"so far ahead that the difference overflows", now.AddDate(300, 0, 0), apitoken.ErrMalformedProof},
			{"1970", time.Unix(1, 0), apitoken.ErrStale},
			{"before 1970", time.Unix(-1, 0), apitoken.ErrMalformedProof},
		} {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				rec, err := s.send(w, s.make(w.key, tc.at))
				if tc.want == nil {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, tc.want)
				requireGolden401(t, rec)
			})
		}
	})
}

// The end of the window is exact, to the tick of the server's clock.
func TestFreshnessIsExact(t *testing.T) {
	t.Parallel()
	w := newSignedWorld(t)
	tunnel := sorts[0]
	text := tunnel.make(w.key, w.Clock.Now())
	w.Clock.Advance(5*time.Minute + 1)
	_, err := tunnel.send(w, text)
	require.ErrorIs(t, err, apitoken.ErrStale)
	w.Clock.Advance(-1)
	_, err = tunnel.send(w, text)
	require.NoError(t, err, "at most 5 minutes old")

	// A JWT is good while now is before exp.
	jwts := sorts[1]
	text = jwts.make(w.key, w.Clock.Now())
	w.Clock.Advance(5 * time.Minute)
	_, err = jwts.send(w, text)
	require.ErrorIs(t, err, apitoken.ErrStale)
	w.Clock.Advance(-1)
	_, err = jwts.send(w, text)
	require.NoError(t, err)
}

// A token of a kind that does not sign so, or that is revoked, is refused, and a
// bearer value is still one where the reader of JWTs is set.
func TestSignedRequestOfAnotherKind(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t, func(o *apitoken.Options) {
			o.Kinds["token"] = apitoken.Policy{Schemes: []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeHTTPSignature}}
		})
		rec, err := s.send(w, s.make(w.key, w.Clock.Now()))
		require.ErrorIs(t, err, apitoken.ErrScheme)
		requireGolden401(t, rec)

		rec, err = w.sendBound(request("Authorization", "Bearer "+w.bearer.Secret.Reveal()))
		require.NoError(t, err)
		require.Contains(t, rec.Body.String(), "bearer acme/ann")
		secret := string(w.secret.key.([]byte))
		_, err = w.sendBound(request("Authorization", "Bearer "+secret))
		require.ErrorIs(t, err, apitoken.ErrUnauthenticated, "a secret key is not sent along")
	})
}

func TestSignedRequestOfARevokedToken(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		require.NoError(t, w.Service.Revoke(t.Context(), w.Actor(apitokentest.User), w.key.id, "leaked"))
		rec, err := s.send(w, s.make(w.key, w.Clock.Now()))
		require.ErrorIs(t, err, apitoken.ErrRevoked)
		requireGolden401(t, rec)
	})
}
