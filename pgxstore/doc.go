// Package pgxstore keeps tokens in the host's own PostgreSQL database, through a
// pgx pool.
//
//	pool, err := pgxpool.New(ctx, dsn)
//	store, err := pgxstore.New(pool, pgxstore.Options{})
//	err = store.Migrate(ctx)
//	tokens, err := apitoken.New(store, apitoken.Options{Prefix: "acme"})
//
// It is what package sqlstore is, over pgx instead of database/sql: the same
// statements on the same tables, so that a host may change from one to the other,
// or use both at once. Hosts with a *sql.DB need it not. What sqlstore says of
// PostgreSQL holds here: 13 or later, a database whose encoding is UTF8, short
// transactions at READ COMMITTED.
//
// pgx prepares statements by itself, once for each connection. Behind a pooler that
// gives each transaction another connection set default_query_exec_mode=exec in the
// DSN.
package pgxstore
