package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tokenry/apitoken/internal/sqlengine"
)

// validateSQLite checks the settings of a connection, which come from the DSN.
func (d *database) validateSQLite(ctx context.Context) error {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqlstore: validate: %w", err)
	}
	defer conn.Close()
	var mode string
	var synchronous, timeout int
	for pragma, dest := range map[string]any{
		"PRAGMA journal_mode": &mode, "PRAGMA synchronous": &synchronous, "PRAGMA busy_timeout": &timeout,
	} {
		if err := conn.QueryRowContext(ctx, pragma).Scan(dest); err != nil {
			return fmt.Errorf("sqlstore: validate: %s: %w", pragma, err)
		}
	}
	immediate, err := beginsImmediate(ctx, conn)
	if err != nil {
		return fmt.Errorf("sqlstore: validate: %w", err)
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("sqlstore: the DSN of SQLite: "+format, args...))
	}
	if mode != "wal" {
		fault("journal_mode is %s: set it to WAL, or readers and writers wait for each other", mode)
	}
	if synchronous < 2 {
		fault("synchronous is %d: set it to FULL (2), or a power failure loses a revoke that was acknowledged", synchronous)
	}
	if timeout <= 0 {
		fault("busy_timeout is %d: set it to some seconds, or a write fails whenever another one runs", timeout)
	}
	if !immediate {
		fault("transactions are deferred: make them immediate, or one that reads before it writes fails whenever another one wrote")
	}
	return errors.Join(faults...)
}

// beginsImmediate reports whether a transaction takes the lock for writing when it
// begins. Nothing tells that directly; but no checkpoint is possible on a
// connection that holds the lock, and one is on a connection that holds none yet.
func beginsImmediate(ctx context.Context, conn *sql.Conn) (bool, error) {
	tx, err := conn.BeginTx(ctx, nil)
	if sqlengine.Contended(err) {
		return true, nil // another connection has the lock, and this one asked for it
	}
	if err != nil {
		return false, err
	}
	var busy, log, moved int
	err = tx.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &log, &moved)
	if undone := tx.Rollback(); undone != nil {
		return false, undone
	}
	if sqlengine.Contended(err) {
		return true, nil
	}
	return false, err
}
