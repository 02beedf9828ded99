package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/httpsig"
	"github.com/tokenry/apitoken/memstore"
)

const (
	signedHost = "api.example"
	signedPath = "/v1/devices?sort=name"
)

// signedAt is the time of all that is signed here; it stands still.
var signedAt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// signedBed is a token with an uploaded key.
type signedBed struct {
	service *apitoken.Service
	key     *ecdsa.PrivateKey
	id      apitoken.ID
}

func newSignedBed(b *testing.B) *signedBed {
	b.Helper()
	fail := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	fail(err)
	service, err := apitoken.New(memstore.New(), apitoken.Options{
		Prefix: "acme", Clock: apitoken.ClockFunc(func() time.Time { return signedAt }), ReplayGuard: forgetful{},
		Kinds: map[apitoken.Kind]apitoken.Policy{"key": {Schemes: []apitoken.Scheme{apitoken.SchemeJWT, apitoken.SchemeHTTPSignature}}},
	})
	fail(err)
	issued, err := service.Issue(b.Context(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{
		Name: "signs", PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
	fail(err)
	return &signedBed{service, key, issued.Token.ID}
}

// forgetful accepts a signature as often as it comes, so that one can be verified
// again and again.
type forgetful struct{}

func (forgetful) Remember(context.Context, apitoken.SignedUse) (bool, error) { return true, nil }

// jwt makes a JWT bound to a request for signedPath.
func (bed *signedBed) jwt(b *testing.B, at time.Time) string {
	b.Helper()
	t := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iat": at.Unix(), "exp": at.Add(time.Minute).Unix(), "jti": "0123456789abcdef", "aud": signedHost, "method": http.MethodGet, "uri": signedPath,
	})
	t.Header["kid"] = string(bed.id)
	text, err := t.SignedString(bed.key)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// rawES256 is the verification of one signature, and nothing else.
func rawES256(b *testing.B) {
	bed := newSignedBed(b)
	digest := sha256.Sum256([]byte(bed.jwt(b, signedAt)))
	signature, err := ecdsa.SignASN1(rand.Reader, bed.key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !ecdsa.VerifyASN1(&bed.key.PublicKey, digest[:], signature) {
			b.Fatal("refused")
		}
	}
}

// serveSigned sends one signed request again and again.
func serveSigned(b *testing.B, bed *signedBed, h http.Header, want int) {
	auth := httpauth.New(bed.service, httpauth.Options{Proofs: []httpauth.ProofReader{
		httpauth.NewBoundJWT(httpauth.BoundJWTOptions{Audience: signedHost}),
		httpsig.New(httpsig.Options{Hosts: []string{"https://" + signedHost}}),
	}})
	handler := auth.Middleware(done)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, signedPath, nil)
	r.Host, r.Header = signedHost, h
	w := &status{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		w.code = http.StatusOK
		handler.ServeHTTP(w, r)
		if w.code != want {
			b.Fatal(w.code)
		}
	}
}

// status is a ResponseWriter that keeps the status.
type status struct {
	header http.Header
	code   int
}

func (s *status) Header() http.Header         { return s.header }
func (s *status) Write(b []byte) (int, error) { return len(b), nil }
func (s *status) WriteHeader(code int)        { s.code = code }

func verifyBoundJWT(b *testing.B) {
	bed := newSignedBed(b)
	serveSigned(b, bed, http.Header{"Authorization": {"Bearer " + bed.jwt(b, signedAt)}}, http.StatusOK)
}

// refuseOldJWT is signed an hour ago.
func refuseOldJWT(b *testing.B) {
	bed := newSignedBed(b)
	serveSigned(b, bed, http.Header{"Authorization": {"Bearer " + bed.jwt(b, signedAt.Add(-time.Hour))}}, http.StatusUnauthorized)
}

func verifyHTTPSignature(b *testing.B) {
	bed := newSignedBed(b)
	var sent http.Header
	transport, err := httpsig.NewTransport(httpsig.TransportOptions{
		Token: bed.id, Key: bed.key, Clock: apitoken.ClockFunc(func() time.Time { return signedAt }),
		Base: roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = r.Header.Clone()
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
		}),
	})
	if err != nil {
		b.Fatal(err)
	}
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "https://"+signedHost+signedPath, nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	serveSigned(b, bed, sent, http.StatusOK)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// verifyES256JWT verifies the same JWT as golang-jwt's documentation begins, without
// the request that it is bound to.
func verifyES256JWT(b *testing.B) {
	bed := newSignedBed(b)
	text := bed.jwt(b, signedAt)
	keyFunc := func(*jwt.Token) (any, error) { return &bed.key.PublicKey, nil }
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(signedHost), jwt.WithTimeFunc(func() time.Time { return signedAt }))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parser.Parse(text, keyFunc); err != nil {
			b.Fatal(err)
		}
	}
}

// verifyES256Jose verifies the same JWT with go-jose.
func verifyES256Jose(b *testing.B) {
	bed := newSignedBed(b)
	text := strings.Clone(bed.jwt(b, signedAt))
	b.ReportAllocs()
	for b.Loop() {
		token, err := josejwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			b.Fatal(err)
		}
		var claims josejwt.Claims
		if err := token.Claims(&bed.key.PublicKey, &claims); err != nil {
			b.Fatal(err)
		}
		if err := claims.ValidateWithLeeway(josejwt.Expected{AnyAudience: josejwt.Audience{signedHost}, Time: signedAt}, 0); err != nil {
			b.Fatal(err)
		}
	}
}
