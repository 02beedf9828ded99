package httpauth_test

import (
	"fmt"
	"net/http"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
)

// A page for everybody that greets those it knows. A token that is not accepted is
// refused all the same.
func ExampleAuth_Optional() {
	tokens, token := newTokens(apitoken.Options{}, apitoken.IssueRequest{})
	auth := httpauth.New(tokens, httpauth.Options{})
	h := auth.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := httpauth.FromContext(r.Context()); ok {
			fmt.Fprintf(w, "hello, %s", p.Owner)
			return
		}
		fmt.Fprint(w, "hello, stranger")
	}))

	get(h, "/", token)
	get(h, "/", "")
	get(h, "/", "acme_no_such_token")
	// Output:
	// 200 hello, ann
	// 200 hello, stranger
	// 401 {"title":"Unauthorized","status":401,"detail":"this needs one valid API token, in a header","reason":"unauthenticated"}
}
