package sqlengine

import "context"

// Database is a pool of connections. Adapters implement it for what their hosts
// have. It is safe for concurrent use.
type Database interface {
	Conn
	// Begin starts a transaction at READ COMMITTED where the engine has levels:
	// every write of an Engine carries its condition with it and is right there, and
	// a higher level would only make it fail more often.
	Begin(ctx context.Context) (Tx, error)
	// Join returns a connection that runs in a transaction of the host's, or false
	// if it is not of a type that this adapter knows.
	Join(tx any) (Conn, bool)
}

// Conn runs statements.
type Conn interface {
	// Exec returns how many rows were changed.
	Exec(ctx context.Context, st *Statement, args ...any) (int64, error)
	Query(ctx context.Context, st *Statement, args ...any) (Rows, error)
}

// Tx is a transaction. Rollback after Commit does nothing.
type Tx interface {
	Conn
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// Rows is a result, as *sql.Rows.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// Statement is a text with its placeholders.
type Statement struct {
	Text  string
	Fixed bool // one of few that are used again and again: worth preparing
}
