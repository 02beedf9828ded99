package httpauth_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
)

// newTokens returns a Service, and the value of a token that ann of acme issued.
func newTokens(opts apitoken.Options, req apitoken.IssueRequest) (*apitoken.Service, string) {
	tokens, err := apitoken.New(memstore.New(), opts)
	if err != nil {
		log.Fatal(err)
	}
	req.Name = "ci"
	issued, err := tokens.Issue(context.Background(), apitoken.Actor{
		ID: "ann", Tenant: "acme", Permissions: []string{"devices:view"},
	}, req)
	if err != nil {
		log.Fatal(err)
	}
	return tokens, issued.Secret.Reveal()
}

// get asks for a path as a client with a token does, and prints the answer.
func get(h http.Handler, path, token string) {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Body)
}

// The whole of it: a handler behind tokens.
func Example() {
	tokens, token := newTokens(apitoken.Options{Prefix: "acme"}, apitoken.IssueRequest{})

	auth := httpauth.New(tokens, httpauth.Options{})
	mux := http.NewServeMux()
	mux.Handle("GET /api/me", auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprintf(w, "%s of %s", p.Owner, p.Tenant)
	})))

	get(mux, "/api/me", token)
	get(mux, "/api/me", "")
	// Output:
	// 200 ann of acme
	// 401 {"title":"Unauthorized","status":401,"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}
}
