package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tokenry/apitoken/internal/sqlengine"
)

// database runs an engine's statements on a *sql.DB.
type database struct {
	db         *sql.DB
	tx         sql.TxOptions
	unprepared bool
	fixed      []*sqlengine.Statement

	preparing sync.Mutex
	prepared  atomic.Pointer[statements] // all fixed ones, or nil
}

type statements map[*sqlengine.Statement]*sql.Stmt

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Exec implements [sqlengine.Conn].
func (d *database) Exec(ctx context.Context, st *sqlengine.Statement, args ...any) (int64, error) {
	stmt, err := d.statement(ctx, st)
	if err != nil {
		return 0, err
	}
	return exec(ctx, d.db, stmt, st, args)
}

// Query implements [sqlengine.Conn].
func (d *database) Query(ctx context.Context, st *sqlengine.Statement, args ...any) (sqlengine.Rows, error) {
	stmt, err := d.statement(ctx, st)
	if err != nil {
		return nil, err
	}
	return query(ctx, d.db, stmt, st, args)
}

// Begin implements [sqlengine.Database].
func (d *database) Begin(ctx context.Context) (sqlengine.Tx, error) {
	// Before the transaction, since it takes another connection. If it fails, as it
	// does before there are tables, the transaction sends texts.
	_, _ = d.statements(ctx)
	tx, err := d.db.BeginTx(ctx, &d.tx)
	if err != nil {
		return nil, err
	}
	return &transaction{d, tx}, nil
}

// Join implements [sqlengine.Database].
func (d *database) Join(tx any) (sqlengine.Conn, bool) {
	host, ok := tx.(*sql.Tx)
	if !ok || host == nil {
		return nil, false
	}
	return &transaction{d, host}, true
}

// statement returns st prepared, nil if it is to be sent as text.
func (d *database) statement(ctx context.Context, st *sqlengine.Statement) (*sql.Stmt, error) {
	if !st.Fixed {
		return nil, nil
	}
	all, err := d.statements(ctx)
	return all[st], err
}

// statements returns the fixed statements, and prepares them at the first call
// that can. It is not done with New, since the tables may not be there yet. No call
// waits for another that prepares, which may hang, or wait for the connection that
// this one holds: it sends texts meanwhile.
func (d *database) statements(ctx context.Context) (statements, error) {
	if d.unprepared {
		return nil, nil
	}
	if all := d.prepared.Load(); all != nil {
		return *all, nil
	}
	if !d.preparing.TryLock() {
		return nil, nil
	}
	defer d.preparing.Unlock()
	if all := d.prepared.Load(); all != nil { // by another call meanwhile
		return *all, nil
	}
	all := make(statements, len(d.fixed))
	for _, st := range d.fixed {
		stmt, err := d.db.PrepareContext(ctx, st.Text)
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all[st] = stmt
	}
	d.prepared.Store(&all)
	return all, nil
}

func (d *database) close() error {
	d.preparing.Lock()
	defer d.preparing.Unlock()
	if all := d.prepared.Swap(nil); all != nil {
		return all.close()
	}
	return nil
}

func (all statements) close() error {
	var err error
	for _, stmt := range all {
		err = errors.Join(err, stmt.Close())
	}
	return err
}

// transaction is a *sql.Tx of this package's or of the host's.
type transaction struct {
	d  *database
	tx *sql.Tx
}

// Exec implements [sqlengine.Conn].
func (t *transaction) Exec(ctx context.Context, st *sqlengine.Statement, args ...any) (int64, error) {
	return exec(ctx, t.tx, t.statement(ctx, st), st, args)
}

// Query implements [sqlengine.Conn].
func (t *transaction) Query(ctx context.Context, st *sqlengine.Statement, args ...any) (sqlengine.Rows, error) {
	return query(ctx, t.tx, t.statement(ctx, st), st, args)
}

// Commit implements [sqlengine.Tx].
func (t *transaction) Commit(context.Context) error { return t.tx.Commit() }

// Rollback implements [sqlengine.Tx].
func (t *transaction) Rollback(context.Context) error { return t.tx.Rollback() }

// statement returns st prepared for the transaction. It prepares nothing itself: in
// a transaction that would take a second connection, of which there may be none.
func (t *transaction) statement(ctx context.Context, st *sqlengine.Statement) *sql.Stmt {
	if all := t.d.prepared.Load(); all != nil && (*all)[st] != nil {
		return t.tx.StmtContext(ctx, (*all)[st])
	}
	return nil
}

func exec(ctx context.Context, q querier, stmt *sql.Stmt, st *sqlengine.Statement, args []any) (int64, error) {
	var result sql.Result
	var err error
	if stmt != nil {
		result, err = stmt.ExecContext(ctx, args...)
	} else {
		result, err = q.ExecContext(ctx, st.Text, args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func query(ctx context.Context, q querier, stmt *sql.Stmt, st *sqlengine.Statement, args []any) (sqlengine.Rows, error) {
	var rows *sql.Rows
	var err error
	if stmt != nil {
		rows, err = stmt.QueryContext(ctx, args...)
	} else {
		rows, err = q.QueryContext(ctx, st.Text, args...)
	}
	if err != nil {
		return nil, err // not a nil *sql.Rows in an interface
	}
	return rows, nil
}
