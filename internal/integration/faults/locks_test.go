package faults_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/faultdriver"
	"github.com/tokenry/apitoken/sqlstore"
)

// TestPreparingKeepsNobodyWaiting: while the first call prepares the statements and
// hangs there, others go on, whatever they ask for.
func TestPreparingKeepsNobodyWaiting(t *testing.T) {
	t.Parallel()
	_, _, dsn := engines[0].open(t)
	plan := new(faultdriver.Plan)
	db, err := faultdriver.Open(engines[0].driver, dsn, plan)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{})
	require.NoError(t, err)
	plan.Reset(faultdriver.At(2, faultdriver.Hang)) // of connect, prepare, …
	hangs, release := context.WithCancel(t.Context())
	defer release()
	first := make(chan error, 1)
	go func() {
		_, err := store.Get(hangs, created().Token.ID)
		first <- err
	}()
	require.Equal(t, faultdriver.OpPrepare, (<-plan.Hanging()).Kind)

	_, err = store.Get(t.Context(), created().Token.ID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	rec := created()
	require.NoError(t, store.Create(sqlstore.InTx(t.Context(), tx), rec, nil), "in a host's transaction")
	require.NoError(t, tx.Commit())
	require.NoError(t, store.Delete(t.Context(), rec.Token.ID, 1, apitoken.Guard{}, nil))

	release()
	require.ErrorIs(t, <-first, context.Canceled)
	_, err = store.Get(t.Context(), rec.Token.ID)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
}

// TestPreparingTakesNoConnectionFromItsHolder: with one connection, which a
// transaction of the host's holds, another call waits for it to prepare; the
// transaction goes on meanwhile.
func TestPreparingTakesNoConnectionFromItsHolder(t *testing.T) {
	t.Parallel()
	_, _, dsn := engines[0].open(t)
	db, err := faultdriver.Open(engines[0].driver, dsn, new(faultdriver.Plan))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	store, err := sqlstore.New(db, sqlstore.SQLite, sqlstore.Options{})
	require.NoError(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	waiting := make(chan error, 1)
	go func() {
		_, err := store.Get(t.Context(), created().Token.ID)
		waiting <- err
	}()
	for db.Stats().WaitCount == 0 { // until it waits for the connection
		runtime.Gosched()
	}
	require.NoError(t, store.Create(sqlstore.InTx(t.Context(), tx), created(), nil))
	require.NoError(t, tx.Commit())
	require.NoError(t, <-waiting, "it finds what was committed")
}
