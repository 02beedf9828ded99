// Package sqlstore keeps tokens in the host's own database, through database/sql:
// SQLite, PostgreSQL or MariaDB. It imports no driver.
//
//	db, err := sql.Open("pgx", dsn)
//	store, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.Options{})
//	err = store.Migrate(ctx)
//	tokens, err := apitoken.New(store, apitoken.Options{Prefix: "acme"})
//
// Every write is one short transaction whose condition is part of the statement
// that writes, so it is right at every isolation level; the Store's own run at READ
// COMMITTED. A transaction that the database gives up for another's sake is tried
// three times. An answer that is lost on its way is an error, and the call is safe
// to repeat.
//
// # PostgreSQL
//
// Tried with the drivers of pgx (module pgxstore serves a pgxpool.Pool directly).
// The database's encoding must be UTF8. Behind a pooler that gives each transaction
// another connection set [Options].Unprepared, and make the driver send statements
// without preparing them: with pgx default_query_exec_mode=exec.
//
// # MariaDB
//
// Tried with github.com/go-sql-driver/mysql. Tables are InnoDB and texts
// utf8mb4_nopad_bin, whatever the server's defaults are. Use a time-out for
// connections, reads and writes in the DSN.
//
// # SQLite
//
// [Store.Validate] checks that the DSN asks for the write-ahead log, for synchronous
// FULL, for a busy timeout and for immediate transactions. With modernc.org/sqlite:
//
//	file:tokens.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate
//
// and with github.com/mattn/go-sqlite3:
//
//	file:tokens.db?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_txlock=immediate
//
// An error while a connection is opened may be 'database is locked' for a moment
// when several processes create the file at once: Migrate tries again.
package sqlstore
