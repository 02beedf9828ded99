package httpauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// cors stands for the middleware that answers browsers' preflights.
func cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Headers", "Authorization")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// INCORRECT, then right. A browser asks with a preflight whether it may send the
// Authorization header, so the preflight itself has none. Where the token is asked
// for outside of CORS, the preflight gets 401 without CORS headers, and no page can
// call the API at all. CORS goes outside.
func ExampleAuth_Middleware_incorrectOutsideOfCORS() {
	tokens, _ := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{})
	preflight := func(h http.Handler) {
		r := httptest.NewRequest(http.MethodOptions, "/devices", nil)
		r.Header.Set("Origin", "https://app.example")
		r.Header.Set("Access-Control-Request-Method", "GET")
		r.Header.Set("Access-Control-Request-Headers", "authorization")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Printf("%d %q\n", w.Code, w.Header().Get("Access-Control-Allow-Origin"))
	}
	devices := http.NotFoundHandler()

	preflight(auth.Middleware(cors(devices))) // INCORRECT
	preflight(cors(auth.Middleware(devices)))
	// Output:
	// 401 ""
	// 204 "https://app.example"
}

// INCORRECT, then right. A layer gives the principal to what is inside of it, in a
// new context; what is outside keeps the old one. So an access log around the layer
// never learns who it was. It can ask OnVerified, or go inside.
func ExampleFromContext_incorrectOutsideOfTheLayer() {
	tokens, token := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{})
	accessLog := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			p, ok := httpauth.FromContext(r.Context())
			fmt.Printf("%q %t\n", p.Owner, ok)
		})
	}
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })

	get(accessLog(auth.Middleware(hello)), "/", token) // INCORRECT
	get(auth.Middleware(accessLog(hello)), "/", token)
	// Output:
	// "" false
	// 200 hello
	// "ann" true
	// 200 hello
}
