package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/hosttx"
	"github.com/tokenry/apitoken/internal/sqlengine"
)

// Dialect is the engine behind a *sql.DB.
type Dialect int

// The dialects. The zero Dialect is none.
const (
	SQLite     Dialect = iota + 1 // 3.38 or later
	PostgreSQL                    // 13 or later
	MariaDB                       // 10.6 or later
)

func (d Dialect) engine() *sqlengine.Dialect {
	switch d {
	case SQLite:
		return sqlengine.SQLite
	case PostgreSQL:
		return sqlengine.PostgreSQL
	case MariaDB:
		return sqlengine.MariaDB
	}
	return nil
}

// Options tune a [Store]. The zero Options are right for most.
type Options struct {
	// TablePrefix begins the names of all tables and indexes: a to z, 0 to 9 and _, a
	// letter first, at most 30. Two prefixes in one database are two stores. Defaults
	// to "apitoken_".
	TablePrefix string
	// Schema is where the tables are: a schema of PostgreSQL, a database of MariaDB;
	// the same characters, at most 63. It must exist. SQLite has none. Defaults to the
	// connection's own.
	Schema string
	// Unprepared sends each statement with its text instead of preparing it once for
	// each connection: for poolers that hand out another connection for each
	// transaction and keep no prepared statements.
	Unprepared bool
}

// Store is an [apitoken.Store], [apitoken.Revisions] and [apitoken.ReplayGuard] in
// a database of the host's. Make one with [New]. It is safe for concurrent use.
type Store struct {
	*sqlengine.Engine
	db *database
}

var (
	_ apitoken.Store       = (*Store)(nil)
	_ apitoken.Revisions   = (*Store)(nil)
	_ apitoken.ReplayGuard = (*Store)(nil)
)

// New returns a Store on db, which stays the host's: New asks it nothing, and
// nobody closes it here. [Store.Migrate] makes the tables.
//
// The error names each option that is wrong.
func New(db *sql.DB, dialect Dialect, opts Options) (*Store, error) {
	pool := &database{db: db, unprepared: opts.Unprepared}
	if dialect != SQLite {
		pool.tx.Isolation = sql.LevelReadCommitted // SQLite has one level
	}
	engine, err := sqlengine.New(pool, sqlengine.Options{
		Name: "sqlstore", Prefix: opts.TablePrefix, Schema: opts.Schema, Dialect: dialect.engine(),
	})
	if db == nil {
		err = errors.Join(errors.New("sqlstore: db: is nil: open a database first"), err)
	}
	if err != nil {
		return nil, err
	}
	pool.fixed = engine.Fixed()
	return &Store{Engine: engine, db: pool}, nil
}

// InTx returns a context with which every call of a Manager, of a [Store] and of
// decorators such as cachestore runs in tx: it reads what tx has written, and what
// it writes, events included, is there when the host commits, and not if it does
// not. Nothing of it is cached meanwhile.
//
//	tx, err := db.BeginTx(ctx, nil)
//	issued, err := tokens.Issue(sqlstore.InTx(ctx, tx), actor, req)
//	err = tx.Commit() // only then hand out issued.Secret
//
// A call that fails leaves nothing of itself in tx, thanks to a savepoint that is
// called apitoken, and the host may go on; only after an error that is
// [apitoken.ErrUnavailable] roll tx back and begin anew. Above READ COMMITTED a token
// that others have changed since tx began is such an error. A tx that is not open any
// more, or of another type, is an error, and nothing is written beside it.
//
// Calls with one tx come one after the other. tx must be of the database that the
// Store was made with. Use it for managing calls, not to verify requests.
func InTx(ctx context.Context, tx *sql.Tx) context.Context {
	return hosttx.With(ctx, &sqlengine.HostTx{Tx: tx})
}

// SchemaError says that the tables are not of the version that this package works
// with. [Store.Validate] and [Store.Migrate] return it.
type SchemaError = sqlengine.SchemaError

// Migrate makes the tables, or brings them to the version that this package works
// with. Any number of processes may call it at once; a schema that is up to date
// costs one query. It needs the right to create tables; a host that keeps that from
// its servers applies [Store.Migrations] itself.
func (s *Store) Migrate(ctx context.Context) error { return s.Engine.Migrate(ctx) }

// Migrations returns the schema's versions as files for goose
// (github.com/pressly/goose) and tools that read its form, with the names that the
// Options give the tables.
func (s *Store) Migrations() (fs.FS, error) { return s.Engine.Migrations() }

// Version returns the version of the schema, 0 = there are no tables.
func (s *Store) Version(ctx context.Context) (int, error) { return s.Engine.Version(ctx) }

// Validate returns a [SchemaError] unless the schema is of the version that this
// package works with, and on SQLite an error that says which setting of the
// connection could lose a change that was acknowledged. Call it when the server
// starts.
func (s *Store) Validate(ctx context.Context) error {
	err := s.Engine.Validate(ctx)
	if s.Dialect() == sqlengine.SQLite {
		err = errors.Join(err, s.db.validateSQLite(ctx))
	}
	return err
}

// Close closes the prepared statements, not the database.
func (s *Store) Close() error {
	if err := s.db.close(); err != nil {
		return fmt.Errorf("sqlstore: close: %w", err)
	}
	return nil
}
