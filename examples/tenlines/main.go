// Tenlines is the ten-line path of README.md as a whole program, on SQLite.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	_ "modernc.org/sqlite" // registers the driver

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/sqlstore"
)

func main() {
	dir := orPanic(os.MkdirTemp("", "tenlines-"))
	defer os.RemoveAll(dir)
	db := orPanic(sql.Open("sqlite", "file:"+dir+"/tokens.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"))
	defer db.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	mux, w := http.NewServeMux(), httptest.NewRecorder()
	migrate(ctx, db)

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

// migrate makes the tables; a schema that is up to date it leaves alone.
func migrate(ctx context.Context, db *sql.DB) {
	store := orPanic(sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{}))
	if err := errors.Join(store.Migrate(ctx), store.Validate(ctx), store.Close()); err != nil {
		panic(err)
	}
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
