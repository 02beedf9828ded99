package pgxstore

import (
	"context"
	"errors"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/hosttx"
	"github.com/tokenry/apitoken/internal/sqlengine"
)

// Options tune a [Store]. The zero Options are right for most.
type Options struct {
	// TablePrefix begins the names of all tables and indexes: a to z, 0 to 9 and _, a
	// letter first, at most 30. Two prefixes in one database are two stores. Defaults
	// to "apitoken_".
	TablePrefix string
	// Schema is where the tables are: the same characters, at most 63. It must exist.
	// Defaults to the connection's own.
	Schema string
}

// Store is an [apitoken.Store], [apitoken.Revisions] and [apitoken.ReplayGuard] in
// a PostgreSQL database of the host's. Make one with [New]. It is safe for
// concurrent use.
type Store struct{ *sqlengine.Engine }

var (
	_ apitoken.Store       = (*Store)(nil)
	_ apitoken.Revisions   = (*Store)(nil)
	_ apitoken.ReplayGuard = (*Store)(nil)
)

// New returns a Store on pool, which stays the host's: New asks it nothing, and
// nobody closes it here. [Store.Migrate] makes the tables.
//
// The error names each option that is wrong.
func New(pool *pgxpool.Pool, opts Options) (*Store, error) {
	engine, err := sqlengine.New(&database{pool}, sqlengine.Options{
		Name: "pgxstore", Prefix: opts.TablePrefix, Schema: opts.Schema, Dialect: sqlengine.PostgreSQL,
	})
	if pool == nil {
		err = errors.Join(errors.New("pgxstore: pool: is nil: make a pool first"), err)
	}
	if err != nil {
		return nil, err
	}
	return &Store{engine}, nil
}

// InTx returns a context with which every call of a Manager, of a [Store] and of
// decorators such as cachestore runs in tx: it reads what tx has written, and what
// it writes, events included, is there when the host commits, and not if it does
// not. Nothing of it is cached meanwhile.
//
//	tx, err := pool.Begin(ctx)
//	issued, err := tokens.Issue(pgxstore.InTx(ctx, tx), actor, req)
//	err = tx.Commit(ctx) // only then hand out issued.Secret
//
// A call that fails leaves nothing of itself in tx, thanks to a savepoint that is
// called apitoken, and the host may go on; only after an error that is
// [apitoken.ErrUnavailable] roll tx back and begin anew. Above READ COMMITTED a token
// that others have changed since tx began is such an error. A tx that is not open any
// more, or of another type, is an error, and nothing is written beside it.
//
// Calls with one tx come one after the other. tx must be of the database that the
// Store was made with. Use it for managing calls, not to verify requests.
func InTx(ctx context.Context, tx pgx.Tx) context.Context {
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
// package works with. Call it when the server starts.
func (s *Store) Validate(ctx context.Context) error { return s.Engine.Validate(ctx) }
