package sqlengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/hosttx"
)

// HostTx is a transaction of the host's, as a context carries it.
type HostTx struct {
	Tx     any
	broken atomic.Bool
}

// hostConn is the host's transaction, for one call.
type hostConn struct {
	Conn
	tx *HostTx
	d  *Dialect
}

// host returns the host's transaction that ctx carries, nil if none. One that this
// database cannot join is an error: to write beside it would be worse.
func (e *Engine) host(ctx context.Context) (*hostConn, error) {
	v := hosttx.From(ctx)
	if v == nil {
		return nil, nil
	}
	tx, ok := v.(*HostTx)
	if !ok {
		return nil, e.outage("transaction", fmt.Errorf("the context carries a %T: use this package's InTx", v))
	}
	conn, ok := e.db.Join(tx.Tx)
	switch {
	case !ok:
		return nil, e.outage("transaction", fmt.Errorf("the context carries a %T: use this package's InTx", tx.Tx))
	case tx.broken.Load():
		return nil, e.outage("transaction", errBroken)
	}
	return &hostConn{conn, tx, e.d}, nil
}

var errBroken = errors.New("an earlier statement of this transaction failed and could not be undone: roll it back")

// maxTries bounds how often a write is tried that was rolled back because of
// others.
const maxTries = 3

// write runs fn in a transaction: the host's, if ctx carries one, else one of its
// own, which is tried anew when the database gave it up for another's sake. fn may
// run several times. When it fails nothing of it is left.
func (e *Engine) write(ctx context.Context, what string, fn func(Conn) error) error {
	return e.told(what, e.attempt(ctx, fn))
}

func (e *Engine) attempt(ctx context.Context, fn func(Conn) error) error {
	host, err := e.host(ctx)
	if err != nil {
		return err
	}
	if host != nil {
		return host.nested(ctx, fn)
	}
	for range maxTries {
		if err = e.once(ctx, fn); faultOf(err) != faultConflict {
			break
		}
	}
	return err
}

// writeUnique is write for what has to be unique. Where something is taken, taken
// says what, once fn is undone; if it finds nothing, whoever had it is gone again.
func (e *Engine) writeUnique(ctx context.Context, what string, fn func(Conn) error, taken func(Conn) (*apitoken.DuplicateError, error)) error {
	var err error
	for range maxTries {
		if err = e.attempt(ctx, fn); faultOf(err) != faultDuplicate {
			return e.told(what, err)
		}
		c, failed := e.reader(ctx)
		if failed != nil {
			return failed
		}
		dup, failed := taken(c)
		switch {
		case failed != nil:
			return e.outage(what, failed)
		case dup != nil:
			return dup
		}
	}
	// In a snapshot of the host's that is older than what has it, it is never found.
	return e.outage(what, errors.Join(apitoken.ErrUnavailable, err))
}

// told leaves what the contract names as it is, and makes all else an outage.
func (e *Engine) told(what string, err error) error {
	if err == nil || answers(err) {
		return err
	}
	if faultOf(err) == faultConflict {
		err = errors.Join(apitoken.ErrUnavailable, err)
	}
	return e.outage(what, err)
}

// answers reports whether err is an answer that the contract names, and no outage.
func answers(err error) bool {
	_, dup := err.(*apitoken.DuplicateError)
	return dup || err == apitoken.ErrNotFound || err == apitoken.ErrConflict
}

// once runs fn in a transaction of its own.
func (e *Engine) once(ctx context.Context, fn func(Conn) error) error {
	tx, err := e.db.Begin(ctx)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		undo, cancel := afterwards(ctx)
		defer cancel()
		_ = tx.Rollback(undo) // what is not committed is not there; the first error tells more
		return err
	}
	return tx.Commit(ctx)
}

// nested runs fn in the host's transaction, so that when it fails nothing of it is
// left there and the host can go on.
func (h *hostConn) nested(ctx context.Context, fn func(Conn) error) error {
	if err := h.mark(ctx); err != nil {
		return err
	}
	err := fn(h)
	if err == nil {
		if _, err = h.Exec(ctx, release); err == nil {
			return nil
		}
	}
	undo, cancel := afterwards(ctx)
	defer cancel()
	_, failed := h.Exec(undo, rollbackTo)
	if failed == nil {
		_, failed = h.Exec(undo, release)
	}
	if failed == nil {
		return err
	}
	h.tx.broken.Store(true)
	if answers(err) {
		return failed // whoever is told of a conflict goes on
	}
	return errors.Join(err, failed)
}

// mark sets the savepoint, and makes sure that the transaction is still there.
// MariaDB rolls all of it back at a deadlock and SQLite at some errors, also those of
// statements of the host's own, which we do not see; what is written then would
// stand alone, and stay when the host rolls back. PostgreSQL refuses the savepoint.
func (h *hostConn) mark(ctx context.Context) error {
	if h.d == SQLite {
		switch _, err := h.Exec(ctx, begin); {
		case err == nil:
			undo, cancel := afterwards(ctx)
			defer cancel()
			_, err = h.Exec(undo, rollback)
			h.tx.broken.Store(true)
			return errors.Join(errGone, err)
		case !strings.Contains(err.Error(), "within a transaction"):
			return err
		}
	}
	if _, err := h.Exec(ctx, savepoint); err != nil {
		return err
	}
	if h.d == MariaDB {
		if _, err := h.Exec(ctx, rollbackTo); err != nil {
			if ctx.Err() == nil {
				h.tx.broken.Store(true)
			}
			return errors.Join(errGone, err)
		}
	}
	return nil
}

var errGone = errors.New("the host's transaction is not open any more: the database rolled it back at an earlier error, or a statement ended it")

var (
	savepoint  = &Statement{Text: "SAVEPOINT apitoken"}
	rollbackTo = &Statement{Text: "ROLLBACK TO SAVEPOINT apitoken"}
	release    = &Statement{Text: "RELEASE SAVEPOINT apitoken"}
	begin      = &Statement{Text: "BEGIN"}
	rollback   = &Statement{Text: "ROLLBACK"}
)

// afterwards is a context to clean up with, when ctx may have ended.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}
