package apitoken_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/sqlstore"
)

// The ten-line path: everything between the two comments is all that a server
// needs to give its users API tokens. Kinds, permissions, plans and owners are
// rungs to climb when they are needed. In a test memstore.New() takes the place of
// the first line.
//
// It is compiled here and runs in examples/tenlines, which has a driver.
func Example() {
	var db *sql.DB // the host's own, of any driver
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	mux, w := http.NewServeMux(), httptest.NewRecorder()

	// Ten lines begin.
	store := orPanic(sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{})) // or PostgreSQL, MariaDB; store.Migrate(ctx) once
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme"}))
	auth := httpauth.New(tokens, httpauth.Options{})
	mux.Handle("GET /api/me", auth.Middleware(http.HandlerFunc(me)))
	go tokens.Run(ctx)                                   // writes usage, deletes what is due; Verify is right without it
	alice := apitoken.Actor{ID: "alice", Tenant: "acme"} // from the session of who asks
	issued := orPanic(tokens.Issue(ctx, alice, apitoken.IssueRequest{Name: "ci"}))
	err := httpauth.WriteSecret(w, issued) // once, never cached
	before := call(mux, issued.Secret)
	err = errors.Join(err, tokens.Revoke(ctx, alice, issued.Token.ID, "left the company"))
	// Ten lines end.

	fmt.Println("errors:", err)
	fmt.Println("before:", before)
	fmt.Println("revoked:", call(mux, issued.Secret))
}

// me is a handler of the host's: the middleware has verified the request.
func me(w http.ResponseWriter, r *http.Request) {
	p, _ := httpauth.FromContext(r.Context())
	fmt.Fprintf(w, "%s of %s", p.Owner, p.Tenant)
}

// call is a client that presents a token.
func call(server http.Handler, token apitoken.Secret) string {
	r := httptest.NewRequest("GET", "/api/me", nil)
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return fmt.Sprint(w.Code)
	}
	return fmt.Sprint(w.Code, " ", w.Body)
}

func orPanic[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
