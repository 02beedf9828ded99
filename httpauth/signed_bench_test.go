package httpauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

// The row 'Signed request' of the speed table, for both JWS schemes: beside the raw
// verification of one signature and golang-jwt's of the same text, in one run. The
// guard is off, so that one text can be sent again and again.
func BenchmarkSigned(b *testing.B) {
	w := newSignedWorld(b, func(o *apitoken.Options) { o.ReplayGuard = forgetful{} })
	done := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	auth := httpauth.New(w.Service, bound())
	tunnel := auth.Tunnel(httpauth.TunnelOptions{}, done)
	jwts := auth.Middleware(done)
	key := w.key.key.(*ecdsa.PrivateKey)
	wrongID := client{apitoken.ID(strings.Repeat("0", 22)), "ES256", key}

	b.Run("raw-ecdsa", func(b *testing.B) {
		text := sorts[0].make(w.key, apitokentest.Start)
		sum := sha256.Sum256([]byte(text))
		sig, err := ecdsa.SignASN1(nil, key, sum[:])
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], sig) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("golang-jwt", func(b *testing.B) {
		text := sorts[1].make(w.key, apitokentest.Start)
		parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(audience),
			jwt.WithTimeFunc(func() time.Time { return apitokentest.Start }))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parser.Parse(text, func(*jwt.Token) (any, error) { return &key.PublicKey, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, bc := range []struct {
		name   string
		h      http.Handler
		text   string
		target string // of a JWT
		want   int
	}{
		{"tunnel", tunnel, sorts[0].make(w.key, apitokentest.Start), "", 200},
		{"tunnel-hs256", tunnel, sorts[0].make(w.secret, apitokentest.Start), "", 200},
		{"jwt", jwts, sorts[1].make(w.key, apitokentest.Start), "/v1/devices?sort=name", 200},
		{"jwt-hs256", jwts, sorts[1].make(w.secret, apitokentest.Start), "/v1/devices?sort=name", 200},
		{"refuse-path", jwts, sorts[1].make(w.key, apitokentest.Start), "/v1/other", 401},
		{"refuse-time", tunnel, sorts[0].make(w.key, apitokentest.Start.Add(-time.Hour)), "", 401},
		{"refuse-method", tunnel, w.key.sign(toJSON(w.key.tunnelHeader("PATCH", "/", "", apitokentest.Start)), "{}"), "", 401},
		{"refuse-key-id", tunnel, sorts[0].make(wrongID, apitokentest.Start), "", 401},
	} {
		b.Run(bc.name, func(b *testing.B) {
			body := strings.NewReader(bc.text)
			r := httptest.NewRequestWithContext(serverContext(b.Context()), http.MethodPost, tunnelPath, body)
			if bc.target != "" {
				r = httptest.NewRequestWithContext(serverContext(b.Context()), http.MethodGet, bc.target, nil)
				r.Header.Set("Authorization", "Bearer "+bc.text)
			}
			sent := r.Body
			rec := httptest.NewRecorder()
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(bc.text)
				r.Body = sent
				rec.Code = 200
				rec.Body.Reset()
				bc.h.ServeHTTP(nobody{rec}, r)
				if rec.Code != bc.want {
					b.Fatal(rec.Code)
				}
			}
		})
	}
}

// nobody notes the status alone.
type nobody struct{ *httptest.ResponseRecorder }

func (n nobody) WriteHeader(code int)        { n.Code = code }
func (n nobody) Write(p []byte) (int, error) { return len(p), nil }

// forgetful accepts every signature again.
type forgetful struct{}

func (forgetful) Remember(context.Context, apitoken.SignedUse) (bool, error) { return true, nil }
