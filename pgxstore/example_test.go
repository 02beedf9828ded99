package pgxstore_test

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/pgxstore"
)

func ExampleNew() {
	ctx := context.Background()
	pool := orPanic(pgxpool.New(ctx, "postgres://acme@localhost/acme"))
	store := orPanic(pgxstore.New(pool, pgxstore.Options{}))
	if err := store.Migrate(ctx); err != nil {
		panic(err)
	}
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme"}))
	go tokens.Run(ctx)
}

// A customer signs up: there are the customer and the first token, or neither.
func ExampleInTx() {
	var pool *pgxpool.Pool     // the one that the Store was made with
	var tokens apitoken.Issuer // over the Store, a cache before it or not
	signUp := func(ctx context.Context, customer, user string) (apitoken.Secret, error) {
		var none apitoken.Secret
		tx, err := pool.Begin(ctx)
		if err != nil {
			return none, err
		}
		defer tx.Rollback(ctx) // does nothing after Commit
		if _, err := tx.Exec(ctx, "INSERT INTO customers (name) VALUES ($1)", customer); err != nil {
			return none, err
		}
		actor := apitoken.Actor{ID: user, Tenant: customer}
		issued, err := tokens.Issue(pgxstore.InTx(ctx, tx), actor, apitoken.IssueRequest{Name: "first"})
		if err != nil {
			return none, err
		}
		if err := tx.Commit(ctx); err != nil {
			return none, err
		}
		return issued.Secret, nil // not earlier: until the commit nobody knows the token
	}
	_ = signUp
}

func orPanic[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
