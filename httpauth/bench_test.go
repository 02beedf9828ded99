package httpauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
)

// The row 'net/http middleware' of the speed table: the layer beside middleware
// that only puts a value into the context, in one run. 'alone' has a Verifier that
// does nothing, which leaves the cost of this package; 'memstore' is a whole
// verification among 1,000 tokens.
func BenchmarkMiddleware(b *testing.B) {
	service, secrets := thousandTokens(b)
	done := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, bc := range []struct {
		name    string
		handler http.Handler
	}{
		{"context-only", contextOnly(done)},
		{"alone", httpauth.New(acceptAll{}, httpauth.Options{}).Middleware(done)},
		{"memstore", httpauth.New(service, httpauth.Options{}).Middleware(done)},
		{"memstore-proxy", httpauth.New(service, httpauth.Options{
			Headers:        []string{"X-Api-Token"},
			TrustedProxies: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
			FailedAttempts: httpauth.FailedAttempts{Limit: 10},
		}).Middleware(done)},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			requests := make([]*http.Request, len(secrets))
			for i, secret := range secrets {
				r := httptest.NewRequestWithContext(serverContext(b.Context()), http.MethodGet, "/api/me", nil)
				r.Header.Set("Authorization", "Bearer "+secret)
				r.Header.Set("X-Forwarded-For", "203.0.113.9")
				requests[i] = r
			}
			w, i := httptest.NewRecorder(), 0
			for b.Loop() {
				bc.handler.ServeHTTP(w, requests[i])
				if i++; i == len(requests) {
					i = 0
				}
			}
			if w.Code != http.StatusOK {
				b.Fatal(w.Code)
			}
		})
	}
}

// acceptAll costs nothing.
type acceptAll struct{ apitoken.Verifier }

func (acceptAll) Verify(context.Context, apitoken.VerifyRequest) (apitoken.Principal, error) {
	return apitoken.Principal{}, nil
}

type user struct{ tenant, owner string }

type userKey struct{}

// contextOnly is the yardstick. It must not be inlined: the compiler would see
// that next keeps nothing, and leave the copy of the request on the stack, which
// it can for no real handler.
//
//go:noinline
func contextOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), userKey{}, &user{"acme", r.RemoteAddr})
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// serverContext has the depth of the context of a request that net/http serves.
func serverContext(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, http.ServerContextKey, &http.Server{})
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, netip.Addr{})
	return ctx
}

func thousandTokens(b *testing.B) (*apitoken.Service, []string) {
	b.Helper()
	service, err := apitoken.New(memstore.New(), apitoken.Options{Prefix: "acme"})
	if err != nil {
		b.Fatal(err)
	}
	secrets := make([]string, 1000)
	for i := range secrets {
		issued, err := service.Issue(b.Context(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		secrets[i] = issued.Secret.Reveal()
	}
	return service, secrets
}
