package bench

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// serve sends the handler requests that present the credentials in turn.
func serve(b *testing.B, h http.Handler, credentials []string) {
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/api/me", nil)
	value := []string{""}
	r.Header["Authorization"] = value
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		value[0] = credentials[i]
		h.ServeHTTP(discard{}, r)
		if i++; i == len(credentials) {
			i = 0
		}
	}
}

// discard is a ResponseWriter for handlers that should write nothing.
type discard struct{}

func (discard) Header() http.Header         { panic("bench: the request was refused") }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             { panic("bench: the request was refused") }

func bearers(bed *bed) []string {
	var out []string
	for _, token := range bed.tokens {
		out = append(out, "Bearer "+token)
	}
	return out
}

var done = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})

// middleware verifies each request in full.
func middleware(b *testing.B) {
	bed := newBed(b, Tokens)
	serve(b, httpauth.New(bed.verifier, httpauth.Options{}).Require(bed.need)(done), bearers(bed))
}

// middlewareAlone has a Verifier that costs nothing, which leaves the cost of
// package httpauth.
func middlewareAlone(b *testing.B) {
	bed := newBed(b, Tokens)
	serve(b, httpauth.New(acceptAll{}, httpauth.Options{}).Require(bed.need)(done), bearers(bed))
}

type acceptAll struct{ apitoken.Verifier }

func (acceptAll) Verify(context.Context, apitoken.VerifyRequest) (apitoken.Principal, error) {
	return apitoken.Principal{}, nil
}

// valueMiddleware is the least a middleware can do that hands a Principal on.
func valueMiddleware(b *testing.B) {
	serve(b, contextOnly(done), bearers(newBed(b, Tokens)))
}

type principalKey struct{}

// contextOnly must not be inlined: the compiler would see that next keeps
// nothing, and leave the copy of the request on the stack, which it can for no
// real handler.
//
//go:noinline
func contextOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), principalKey{}, apitoken.Principal{Owner: r.RemoteAddr})
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
