package httpauth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// A handler of managing calls answers whatever error comes back: here with what is
// wrong with each field.
func ExampleWriteError() {
	tokens, _ := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	create := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor := apitoken.Actor{ID: "ann", Tenant: "acme"} // from the host's own session
		issued, err := tokens.Issue(r.Context(), actor, apitoken.IssueRequest{Name: r.FormValue("name"), Share: 101})
		if err != nil {
			httpauth.WriteError(w, r, err)
			return
		}
		_ = httpauth.WriteSecret(w, issued)
	})

	w := httptest.NewRecorder()
	create.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/tokens", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	fmt.Println(w.Body)
	// Output:
	// 422 application/problem+json
	// {"title":"Unprocessable Entity","status":422,"detail":"the request is not valid","reason":"invalid","errors":[{"field":"name","problem":"is required: say what the token is for"},{"field":"share","problem":"is 101: give a percentage of 1 to 100"}]}
}

// The secret of a new token, once, in an answer that no cache keeps.
func ExampleWriteSecret() {
	tokens, _ := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	issued, err := tokens.Issue(context.Background(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	if err := httpauth.WriteSecret(w, issued); err != nil {
		// The holder may not have got it, and it cannot be shown again.
		_ = tokens.Revoke(context.Background(), apitoken.Actor{ID: "ann", Tenant: "acme"}, issued.Token.ID, "its secret was lost on the way")
	}
	fmt.Println(w.Code, w.Header().Get("Cache-Control"))
	// Output:
	// 201 no-store
}

// The client learns nothing, the operator everything.
func ExampleOptions_errorHandler() {
	tokens, token := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	refused := map[string]int{} // a counter of your metrics
	auth := httpauth.New(tokens, httpauth.Options{
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			refused[apitoken.ReasonOf(err)]++
			httpauth.WriteError(w, r, err)
		},
	})
	h := auth.Middleware(http.NotFoundHandler())

	get(h, "/", "")
	get(h, "/", token[:len(token)-1])
	fmt.Println(refused)
	// Output:
	// 401 {"title":"Unauthorized","status":401,"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}
	//
	// 401 {"title":"Unauthorized","status":401,"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}
	//
	// map[malformed_token:1 no_credential:1]
}
