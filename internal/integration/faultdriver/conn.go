package faultdriver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
)

// innerConn is what a connection of the driver below must offer.
type innerConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
}

// conn is a connection. database/sql locks it for each call, and never makes the
// old calls that have no context.
type conn struct {
	innerConn
	plan *Plan

	inTx    bool
	aborted bool // the transaction is
	dead    bool // answers nothing any more
}

// validConn is a connection of a driver that can tell whether one is good.
type validConn struct {
	*conn
	validator driver.Validator
}

// IsValid implements [driver.Validator].
func (c *validConn) IsValid() bool { return !c.dead && c.validator.IsValid() }

// ResetSession implements [driver.SessionResetter]. It is not counted: what
// could go wrong there is what [BadConn] does to the operation after it.
func (c *conn) ResetSession(ctx context.Context) error {
	if c.dead {
		return driver.ErrBadConn
	}
	return c.innerConn.ResetSession(ctx)
}

// CheckNamedValue implements [driver.NamedValueChecker].
func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.innerConn.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

// Ping implements [driver.Pinger].
func (c *conn) Ping(ctx context.Context) error {
	return c.do(ctx, operation{kind: OpPing, do: func() error { return c.innerConn.Ping(ctx) }})
}

// BeginTx implements [driver.ConnBeginTx].
func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	var inner driver.Tx
	err := c.do(ctx, operation{
		kind: OpBegin,
		do: func() (err error) {
			inner, err = c.innerConn.BeginTx(ctx, opts)
			return err
		},
		lost: func() { inner.Rollback() },
	})
	if err != nil {
		return nil, err
	}
	c.inTx = true
	return &tx{c, inner, ctx}, nil
}

// ExecContext implements [driver.ExecerContext].
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.exec(ctx, query, func() (driver.Result, error) { return c.innerConn.ExecContext(ctx, query, args) })
}

// QueryContext implements [driver.QueryerContext].
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.query(ctx, query, func() (driver.Rows, error) { return c.innerConn.QueryContext(ctx, query, args) })
}

// PrepareContext implements [driver.ConnPrepareContext].
func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	var made innerStmt
	err := c.do(ctx, operation{
		kind:      OpPrepare,
		statement: query,
		do: func() error {
			inner, err := c.innerConn.PrepareContext(ctx, query)
			if err != nil {
				return err
			}
			var ok bool
			if made, ok = inner.(innerStmt); !ok {
				return errors.Join(fmt.Errorf("faultdriver: %T lacks an interface that drivers of today have", inner), inner.Close())
			}
			return nil
		},
		lost: func() { made.Close() },
	})
	if err != nil {
		return nil, err
	}
	return &stmt{made, c, query}, nil
}

func (c *conn) exec(ctx context.Context, query string, do func() (driver.Result, error)) (driver.Result, error) {
	var inner driver.Result
	err := c.do(ctx, operation{
		kind:      OpExec,
		statement: query,
		do: func() (err error) {
			inner, err = do()
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	return &result{c, inner, ctx, query}, nil
}

func (c *conn) query(ctx context.Context, query string, do func() (driver.Rows, error)) (driver.Rows, error) {
	var inner driver.Rows
	err := c.do(ctx, operation{
		kind:      OpQuery,
		statement: query,
		do: func() (err error) {
			inner, err = do()
			return err
		},
		lost: func() { inner.Close() },
	})
	if err != nil {
		return nil, err
	}
	return &rows{c, inner, ctx, query}, nil
}

// tx is a transaction. What neither commits nor rolls back by the caller's will
// is rolled back: a database does so when a commit fails or the connection ends.
type tx struct {
	conn  *conn
	inner driver.Tx
	ctx   context.Context // bounds the end of the transaction, which has no context of its own
}

// Commit implements [driver.Tx].
func (t *tx) Commit() error {
	err := t.conn.do(t.ctx, operation{
		kind:   OpCommit,
		do:     t.inner.Commit,
		unless: func() { t.inner.Rollback() },
	})
	t.conn.inTx, t.conn.aborted = false, false
	return err
}

// Rollback implements [driver.Tx]. A connection on which it fails is lost, or
// the next user would find itself in this transaction.
func (t *tx) Rollback() error {
	err := t.conn.do(t.ctx, operation{
		kind: OpRollback,
		do:   t.inner.Rollback,
		unless: func() {
			t.inner.Rollback()
			t.conn.dead = true
		},
	})
	t.conn.inTx, t.conn.aborted = false, false
	return err
}
