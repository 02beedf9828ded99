package faultdriver_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken/internal/integration/faultdriver"
)

// oldConn is a connection of a driver as they once were.
type oldConn struct{ closed *atomic.Int64 }

func (c oldConn) Prepare(string) (driver.Stmt, error) { return oldStmt(c), nil }
func (c oldConn) Close() error                        { c.closed.Add(1); return nil }
func (c oldConn) Begin() (driver.Tx, error)           { return nil, errors.New("has no transactions") }

type oldStmt struct{ closed *atomic.Int64 }

func (s oldStmt) Close() error                             { s.closed.Add(1); return nil }
func (oldStmt) NumInput() int                              { return -1 }
func (oldStmt) Exec([]driver.Value) (driver.Result, error) { return driver.ResultNoRows, nil }
func (oldStmt) Query([]driver.Value) (driver.Rows, error)  { return &oneRow{}, nil }

// leanConn is one that has what it must and nothing more.
type leanConn struct {
	oldConn
	stmt driver.Stmt
}

func (c leanConn) PrepareContext(context.Context, string) (driver.Stmt, error) { return c.stmt, nil }
func (c leanConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	return leanTx{}, nil
}
func (c leanConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), nil
}
func (c leanConn) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	return &oneRow{args: args}, nil
}
func (c leanConn) Ping(context.Context) error         { return nil }
func (c leanConn) ResetSession(context.Context) error { return nil }

type leanTx struct{}

func (leanTx) Commit() error   { return nil }
func (leanTx) Rollback() error { return nil }

// leanStmt is a statement that checks its own values.
type leanStmt struct{ oldStmt }

func (leanStmt) ExecContext(context.Context, []driver.NamedValue) (driver.Result, error) {
	return driver.RowsAffected(1), nil
}
func (leanStmt) QueryContext(_ context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return &oneRow{args: args}, nil
}
func (leanStmt) CheckNamedValue(v *driver.NamedValue) error {
	v.Value = "checked"
	return nil
}

// oneRow shows its first argument.
type oneRow struct {
	args []driver.NamedValue
	done bool
}

func (r *oneRow) Columns() []string { return []string{"x"} }
func (r *oneRow) Close() error      { return nil }
func (r *oneRow) Next(dest []driver.Value) error {
	if r.done {
		return io.EOF
	}
	r.done = true
	dest[0] = r.args[0].Value
	return nil
}

// fakeDriver hands out one connection again and again.
type fakeDriver struct{ conn driver.Conn }

func (d fakeDriver) Open(string) (driver.Conn, error)             { return d.conn, nil }
func (d fakeDriver) Connect(context.Context) (driver.Conn, error) { return d.conn, nil }
func (d fakeDriver) Driver() driver.Driver                        { return d }

// TestOldDrivers: what is not faithful is refused, not wrong.
func TestOldDrivers(t *testing.T) {
	t.Parallel()
	closed := new(atomic.Int64)
	db := faultdriver.OpenDB(fakeDriver{oldConn{closed}}, new(faultdriver.Plan))
	require.ErrorContains(t, db.PingContext(t.Context()), "oldConn lacks an interface")
	require.EqualValues(t, 1, closed.Load())

	closed.Store(0)
	db = faultdriver.OpenDB(fakeDriver{leanConn{oldConn{closed}, oldStmt{closed}}}, new(faultdriver.Plan))
	_, err := db.PrepareContext(t.Context(), "x")
	require.ErrorContains(t, err, "oldStmt lacks an interface")
	require.EqualValues(t, 1, closed.Load())
	require.NoError(t, db.Close())
}

// TestLeanDrivers: what a driver does not offer is answered as database/sql does
// without it.
func TestLeanDrivers(t *testing.T) {
	t.Parallel()
	closed := new(atomic.Int64)
	inner := fakeDriver{leanConn{oldConn{closed}, leanStmt{oldStmt{new(atomic.Int64)}}}}
	for name, db := range map[string]*sql.DB{"plain": sql.OpenDB(inner), "through a plan": faultdriver.OpenDB(inner, new(faultdriver.Plan))} {
		t.Run(name, func(t *testing.T) {
			db.SetMaxOpenConns(1)
			require.Equal(t, inner, db.Driver())
			rows, err := db.QueryContext(t.Context(), "x", sql.NullInt64{Int64: 7, Valid: true})
			require.NoError(t, err)
			types, err := rows.ColumnTypes()
			require.NoError(t, err)
			require.Equal(t, reflect.TypeFor[any](), types[0].ScanType())
			require.Empty(t, types[0].DatabaseTypeName())
			_, ok := types[0].Length()
			require.False(t, ok)
			_, ok = types[0].Nullable()
			require.False(t, ok)
			_, _, ok = types[0].DecimalSize()
			require.False(t, ok)
			require.True(t, rows.Next())
			var x any
			require.NoError(t, rows.Scan(&x))
			require.EqualValues(t, 7, x, "the default converter was asked")
			require.False(t, rows.Next())
			require.False(t, rows.NextResultSet())
			require.NoError(t, rows.Err())

			st, err := db.PrepareContext(t.Context(), "x")
			require.NoError(t, err)
			require.NoError(t, st.QueryRowContext(t.Context(), 7).Scan(&x))
			require.Equal(t, "checked", x)

			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, tx.Commit())
			before := closed.Load()
			ctx, cancel := context.WithCancel(t.Context())
			tx, err = db.BeginTx(ctx, nil)
			require.NoError(t, err)
			cancel()
			require.NoError(t, db.PingContext(t.Context()), "as soon as the only connection is back")
			require.ErrorIs(t, tx.Rollback(), sql.ErrTxDone)
			require.Equal(t, before+1, closed.Load(), "a connection that cannot be validated is not used again")
		})
	}
}

// TestNothingIsLeftOpen: what was made and whose answer was lost is closed, and so
// is a connection that is lost, by a driver that cannot tell too.
func TestNothingIsLeftOpen(t *testing.T) {
	t.Parallel()
	conns, stmts, plan := new(atomic.Int64), new(atomic.Int64), new(faultdriver.Plan)
	db := faultdriver.OpenDB(fakeDriver{leanConn{oldConn{conns}, leanStmt{oldStmt{stmts}}}}, plan)
	plan.Reset(faultdriver.At(1, faultdriver.FailDone))
	require.ErrorIs(t, db.PingContext(t.Context()), faultdriver.ErrFault)
	require.EqualValues(t, 1, conns.Load())

	plan.Reset(faultdriver.At(2, faultdriver.FailDone))
	_, err := db.PrepareContext(t.Context(), "x")
	require.ErrorIs(t, err, faultdriver.ErrFault)
	require.EqualValues(t, 1, stmts.Load())
	require.EqualValues(t, 1, conns.Load())

	plan.Reset(faultdriver.At(1, faultdriver.DropDone))
	_, err = db.ExecContext(t.Context(), "x")
	require.ErrorIs(t, err, faultdriver.ErrLost)
	require.NoError(t, db.PingContext(t.Context()))
	require.Equal(t, []string{"exec", "connect", "ping"}, kinds(plan.Ops()))
	require.EqualValues(t, 2, conns.Load())
	require.NoError(t, db.Close())
}

// TestOpen: drivers are found by name, those without connectors too.
func TestOpen(t *testing.T) {
	t.Parallel()
	plan := new(faultdriver.Plan)
	for _, name := range []string{"sqlite", "mysql", "pgx"} {
		db, err := faultdriver.Open(name, map[string]string{"sqlite": ":memory:", "mysql": "u@tcp(127.0.0.1:1)/d", "pgx": "postgres://u@127.0.0.1:1/d"}[name], plan)
		require.NoError(t, err)
		plain, err := sql.Open(name, "")
		require.NoError(t, err)
		require.IsType(t, plain.Driver(), db.Driver())
		if name == "sqlite" {
			require.NoError(t, db.PingContext(t.Context()))
		}
		require.NoError(t, db.Close())
	}
	require.Equal(t, []string{"connect", "ping"}, kinds(plan.Ops()))
	_, err := faultdriver.Open("none", "", plan)
	require.ErrorContains(t, err, `unknown driver "none"`)
	_, err = faultdriver.Open("mysql", "no dsn", plan)
	require.ErrorContains(t, err, "DSN")
}
