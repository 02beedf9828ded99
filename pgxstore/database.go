package pgxstore

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tokenry/apitoken/internal/sqlengine"
)

// database runs an engine's statements on a pool.
type database struct{ pool *pgxpool.Pool }

// querier is what a pool and a transaction have in common.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Exec implements [sqlengine.Conn].
func (d *database) Exec(ctx context.Context, st *sqlengine.Statement, args ...any) (int64, error) {
	return exec(ctx, d.pool, st, args)
}

// Query implements [sqlengine.Conn].
func (d *database) Query(ctx context.Context, st *sqlengine.Statement, args ...any) (sqlengine.Rows, error) {
	return query(ctx, d.pool, st, args)
}

// Begin implements [sqlengine.Database].
func (d *database) Begin(ctx context.Context) (sqlengine.Tx, error) {
	tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return nil, err
	}
	return &transaction{tx}, nil
}

// Join implements [sqlengine.Database].
func (d *database) Join(tx any) (sqlengine.Conn, bool) {
	host, ok := tx.(pgx.Tx)
	if !ok {
		return nil, false
	}
	return &transaction{host}, true
}

// transaction is a pgx.Tx of this package's or of the host's.
type transaction struct{ tx pgx.Tx }

// Exec implements [sqlengine.Conn].
func (t *transaction) Exec(ctx context.Context, st *sqlengine.Statement, args ...any) (int64, error) {
	return exec(ctx, t.tx, st, args)
}

// Query implements [sqlengine.Conn].
func (t *transaction) Query(ctx context.Context, st *sqlengine.Statement, args ...any) (sqlengine.Rows, error) {
	return query(ctx, t.tx, st, args)
}

// Commit implements [sqlengine.Tx].
func (t *transaction) Commit(ctx context.Context) error { return t.tx.Commit(ctx) }

// Rollback implements [sqlengine.Tx].
func (t *transaction) Rollback(ctx context.Context) error { return t.tx.Rollback(ctx) }

func exec(ctx context.Context, q querier, st *sqlengine.Statement, args []any) (int64, error) {
	tag, err := q.Exec(ctx, st.Text, args...)
	if err != nil {
		return 0, err
	}
	return tag.RowsAffected(), nil
}

func query(ctx context.Context, q querier, st *sqlengine.Statement, args []any) (sqlengine.Rows, error) {
	r, err := q.Query(ctx, st.Text, args...)
	if err != nil {
		return nil, err // r is not nil then
	}
	return rows{r}, nil
}

// rows closes as those of database/sql do.
type rows struct{ pgx.Rows }

// Close implements [sqlengine.Rows]. What went wrong Err tells, asked before.
func (r rows) Close() error {
	r.Rows.Close()
	return nil
}
