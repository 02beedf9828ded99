package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

// The host imports the driver: github.com/jackc/pgx/v5/stdlib.
func ExampleNew_postgreSQL() {
	ctx := context.Background()
	db := orPanic(sql.Open("pgx", "postgres://acme@localhost/acme"))
	store := orPanic(sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.Options{Schema: "tokens"})) // CREATE SCHEMA tokens
	if err := store.Migrate(ctx); err != nil {
		panic(err)
	}
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme"}))
	go tokens.Run(ctx)
}

// The host imports the driver: github.com/go-sql-driver/mysql. The time-outs end a
// call whose server does not answer.
func ExampleNew_mariaDB() {
	ctx := context.Background()
	db := orPanic(sql.Open("mysql", "acme@tcp(localhost)/acme?timeout=5s&readTimeout=30s&writeTimeout=30s"))
	store := orPanic(sqlstore.New(db, sqlstore.MariaDB, sqlstore.Options{}))
	if err := store.Migrate(ctx); err != nil {
		panic(err)
	}
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme"}))
	go tokens.Run(ctx)
}

// The host imports the driver: modernc.org/sqlite. Validate says what is missing
// from the DSN.
func ExampleNew_sqlite() {
	ctx := context.Background()
	db := orPanic(sql.Open("sqlite", "file:tokens.db"+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"))
	store := orPanic(sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{}))
	if err := store.Migrate(ctx); err != nil {
		panic(err)
	}
	if err := store.Validate(ctx); err != nil {
		panic(err)
	}
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme"}))
	go tokens.Run(ctx)
}

// A customer signs up: there are the customer and the first token, or neither.
func ExampleInTx() {
	var db *sql.DB             // the one that the Store was made with
	var tokens apitoken.Issuer // over the Store, a cache before it or not
	signUp := func(ctx context.Context, customer, user string) (apitoken.Secret, error) {
		var none apitoken.Secret
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return none, err
		}
		defer tx.Rollback() // does nothing after Commit
		if _, err := tx.ExecContext(ctx, "INSERT INTO customers (name) VALUES (?)", customer); err != nil {
			return none, err
		}
		actor := apitoken.Actor{ID: user, Tenant: customer}
		issued, err := tokens.Issue(sqlstore.InTx(ctx, tx), actor, apitoken.IssueRequest{Name: "first"})
		if err != nil {
			return none, err
		}
		if err := tx.Commit(); err != nil {
			return none, err
		}
		return issued.Secret, nil // not earlier: until the commit nobody knows the token
	}
	_ = signUp
}

// A host whose servers may not create tables writes the migrations into a folder, for
// goose or by hand.
func ExampleStore_Migrations() {
	var store *sqlstore.Store
	files, err := store.Migrations()
	if err != nil {
		panic(err)
	}
	if err := os.CopyFS("migrations", files); err != nil {
		panic(err)
	}
}

// A server that starts before its database was migrated says so.
func ExampleStore_Validate() {
	db := sql.OpenDB(new(fake)) // has no tables
	store := orPanic(sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.Options{}))
	var schema *sqlstore.SchemaError
	if err := store.Validate(context.Background()); errors.As(err, &schema) {
		fmt.Println("have", schema.Have, "and need more:", schema.Have < schema.Want)
	}
	// Output: have 0 and need more: true
}

func orPanic[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
