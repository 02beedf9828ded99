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
// that only puts a value into the context, a pointer or a Principal, in one run.
// 'alone' has a Verifier that does nothing, which leaves the cost of this package;
// 'memstore' is a whole verification among 1,000 tokens.
func BenchmarkMiddleware(b *testing.B) {
	service, credentials := thousandTokens(b)
	done := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, bc := range []struct {
		name    string
		handler http.Handler
	}{
		{"pointer-only", contextOnly(done, func(r *http.Request) any { return &user{"acme", r.RemoteAddr} })},
		{"principal-only", contextOnly(done, func(r *http.Request) any { return apitoken.Principal{Owner: r.RemoteAddr} })},
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
			r := httptest.NewRequestWithContext(serverContext(b.Context()), http.MethodGet, "/api/me", nil)
			r.Header.Set("X-Forwarded-For", "203.0.113.9")
			w, i, line := httptest.NewRecorder(), 0, []string{""}
			r.Header["Authorization"] = line
			for b.Loop() {
				line[0] = credentials[i]
				bc.handler.ServeHTTP(w, r)
				if i++; i == len(credentials) {
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
func contextOnly(next http.Handler, value func(*http.Request) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), userKey{}, value(r))
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
	credentials := make([]string, 1000)
	for i := range credentials {
		issued, err := service.Issue(b.Context(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: fmt.Sprint(i)})
		if err != nil {
			b.Fatal(err)
		}
		credentials[i] = "Bearer " + issued.Secret.Reveal()
	}
	return service, credentials
}
