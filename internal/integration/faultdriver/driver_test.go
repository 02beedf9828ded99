package faultdriver_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/tokenry/apitoken/internal/integration/faultdriver"
)

// newDB returns a database with two accounts, through a plan and without one. It
// is warm: its connection is open.
func newDB(t *testing.T) (db, plain *sql.DB, plan *faultdriver.Plan) {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "test.db") + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate"
	inner, err := sqlite.NewConnector(dsn)
	require.NoError(t, err)
	plan = new(faultdriver.Plan)
	db, plain = faultdriver.OpenDB(inner, plan), sql.OpenDB(inner)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		require.NoError(t, db.Close())
		require.NoError(t, plain.Close())
	})
	_, err = plain.ExecContext(t.Context(), `CREATE TABLE accounts (name TEXT PRIMARY KEY, amount BIGINT NOT NULL CHECK (amount >= 0));
		INSERT INTO accounts VALUES ('a', 10), ('b', 0)`)
	require.NoError(t, err)
	require.NoError(t, db.PingContext(t.Context()))
	plan.Reset(nil)
	return db, plain, plan
}

const (
	readAll = `SELECT name, amount FROM accounts ORDER BY name`
	change  = `UPDATE accounts SET amount = amount + ? WHERE name = ?`
	enter   = `INSERT INTO accounts VALUES (?, ?) RETURNING amount`
)

// accounts reads all accounts as a text.
func accounts(ctx context.Context, db *sql.DB) (string, error) {
	rows, err := db.QueryContext(ctx, readAll)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var all string
	for rows.Next() {
		var name string
		var amount int64
		if err := rows.Scan(&name, &amount); err != nil {
			return "", err
		}
		all += fmt.Sprintf("%s %d ", name, amount)
	}
	return all, rows.Err()
}

// move takes from one account and gives to two others, in a transaction with
// every operation there is. With careless set it looks at no error but the
// commit's.
func move(ctx context.Context, db *sql.DB, careless bool) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	check := func(err error) bool { return err != nil && !careless }
	give, err := tx.PrepareContext(ctx, change)
	if check(err) {
		return err
	}
	for _, c := range []struct {
		name string
		by   int64
	}{{"a", -7}, {"b", 3}} {
		if give == nil {
			continue
		}
		res, err := give.ExecContext(ctx, c.by, c.name)
		if check(err) {
			return err
		}
		if res == nil {
			continue
		}
		if n, err := res.RowsAffected(); check(err) || n != 1 && !careless {
			return errors.Join(err, errors.New("no such account"))
		}
	}
	var got int64
	if err := tx.QueryRowContext(ctx, enter, "c", int64(4)).Scan(&got); check(err) {
		return err
	}
	return tx.Commit()
}

// The states of the accounts.
const (
	before = "a 10 b 0 "
	after  = "a 3 b 3 c 4 "
)

func TestTrace(t *testing.T) {
	t.Parallel()
	db, plain, plan := newDB(t)
	require.NoError(t, move(t.Context(), db, false))
	var trace []string
	for _, op := range plan.Ops() {
		trace = append(trace, op.String())
		require.Equal(t, op.Kind != faultdriver.OpBegin, op.InTx)
	}
	require.Equal(t, []string{
		"1 begin",
		"2 prepare " + change,
		"3 exec " + change, "4 result " + change,
		"5 exec " + change, "6 result " + change,
		"7 query " + enter, "8 next " + enter, "9 close " + enter,
		"10 commit",
	}, trace)
	require.Empty(t, plan.Struck())
	got, err := accounts(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, after, got)

	plan.Reset(nil)
	_, err = accounts(t.Context(), db)
	require.NoError(t, err)
	require.Equal(t, []string{"query", "next", "next", "next", "next", "close"}, kinds(plan.Ops()), "the end of the rows is one too")

	plan.Reset(nil)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, tx.Rollback())
	require.NoError(t, db.PingContext(t.Context()))
	require.Equal(t, []string{"begin", "rollback", "ping"}, kinds(plan.Ops()))
}

// answerOf is the error of an operation that meets f.
func answerOf(f faultdriver.Fault) error {
	switch {
	case f.Hang:
		return context.Canceled
	case f.Err == nil:
		return faultdriver.ErrFault
	}
	return f.Err
}

func kinds(ops []faultdriver.Op) []string {
	var all []string
	for _, op := range ops {
		all = append(all, string(op.Kind))
	}
	return all
}

// TestEveryFaultAtEveryOperation: code that looks at every error is told of each
// fault, never does half, and repeats what failed; its connection comes back.
func TestEveryFaultAtEveryOperation(t *testing.T) {
	t.Parallel()
	counted, _, plan := newDB(t)
	require.NoError(t, move(t.Context(), counted, false))
	for _, op := range plan.Ops() {
		for _, f := range append(faultdriver.All(), faultdriver.Conflicts()...) {
			t.Run(fmt.Sprintf("%s %s", op, f.Name), func(t *testing.T) {
				t.Parallel()
				db, plain, plan := newDB(t)
				plan.Reset(faultdriver.At(op.N, f))
				ctx, cancel := plan.Until(t.Context())
				defer cancel()
				err := move(ctx, db, false)
				require.NoError(t, db.PingContext(t.Context()), "the connection came back")
				require.Zero(t, db.Stats().InUse)
				require.Len(t, plan.Struck(), 1)
				require.Empty(t, plan.Endless())
				require.Equal(t, f.Drop || f.Hang, slices.Contains(kinds(plan.Ops()), "connect"), "and is a new one if it was lost")

				want, state := answerOf(f), before
				if op.Kind == faultdriver.OpBegin && want == driver.ErrBadConn {
					want, state = nil, after // database/sql did it again by itself
				}
				if op.Kind == faultdriver.OpCommit && f.Done {
					state = after
				}
				if want == nil {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, want)
				}
				got, err := accounts(t.Context(), plain)
				require.NoError(t, err)
				require.Equal(t, state, got)

				plan.Reset(nil)
				if state == before {
					require.NoError(t, move(t.Context(), db, false))
				}
				require.NotContains(t, kinds(plan.Ops()), "connect", "what was lost was replaced before")
				got, err = accounts(t.Context(), db)
				require.NoError(t, err)
				require.Equal(t, after, got)
			})
		}
	}
}

// TestCarelessCodeIsFound: code that does not look at its errors does half, with
// faults that leave the transaction as it is; where the database gave it up, the
// commit says so.
func TestCarelessCodeIsFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		f     faultdriver.Fault
		n     int
		want  error
		state string
	}{
		{faultdriver.Fail, 3, nil, "a 10 b 3 c 4 "},
		{faultdriver.FailDone, 3, nil, after},
		{faultdriver.Fail, 2, nil, "a 10 b 0 c 4 "},
		{faultdriver.Fail, 7, nil, "a 3 b 3 "},
		{faultdriver.FailDone, 7, nil, after},
		{faultdriver.Drop, 5, driver.ErrBadConn, before},
		{faultdriver.DropDone, 5, driver.ErrBadConn, before},
		{faultdriver.Serialization, 5, faultdriver.ErrAborted, before},
		{faultdriver.MySQLDeadlock, 3, faultdriver.ErrAborted, before},
		{faultdriver.Busy, 3, nil, "a 10 b 3 c 4 "},
	} {
		t.Run(fmt.Sprintf("%d %s", c.n, c.f.Name), func(t *testing.T) {
			t.Parallel()
			db, plain, plan := newDB(t)
			plan.Reset(faultdriver.At(c.n, c.f))
			err := move(t.Context(), db, true)
			if c.want == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.want)
			}
			got, err := accounts(t.Context(), plain)
			require.NoError(t, err)
			require.Equal(t, c.state, got)
		})
	}
}

// TestRollbackFaults: a rollback that fails leaves nothing behind for the next
// user of the connection.
func TestRollbackFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faultdriver.All() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			db, plain, plan := newDB(t)
			plan.Reset(faultdriver.At(4, f))
			ctx, cancel := plan.Until(t.Context())
			defer cancel()
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, change, -7, "a")
			require.NoError(t, err)
			_, err = tx.ExecContext(ctx, change, -7, "a")
			require.ErrorContains(t, err, "CHECK", "the driver's own errors come through")
			require.Error(t, tx.Rollback())
			require.Equal(t, []string{"begin", "exec", "exec", "rollback"}, kinds(plan.Ops()))
			require.Len(t, plan.Struck(), 1)
			got, err := accounts(t.Context(), plain)
			require.NoError(t, err)
			require.Equal(t, before, got)
			require.NoError(t, move(t.Context(), db, false))
			require.Equal(t, f != faultdriver.FailDone, slices.Contains(kinds(plan.Ops()), "connect"), "it is lost, unless it was rolled back")
		})
	}
}

// TestRowsFail: a query that fails between two rows says so through rows.Err and
// gives the connection back.
func TestRowsFail(t *testing.T) {
	t.Parallel()
	db, _, plan := newDB(t)
	_, err := accounts(t.Context(), db)
	require.NoError(t, err)
	for _, op := range plan.Ops() {
		for _, f := range faultdriver.All() {
			t.Run(fmt.Sprintf("%s %s", op, f.Name), func(t *testing.T) {
				t.Parallel()
				db, _, plan := newDB(t)
				plan.Reset(faultdriver.At(op.N, f))
				ctx, cancel := plan.Until(t.Context())
				defer cancel()
				got, err := accounts(ctx, db)
				if op.Kind == faultdriver.OpQuery && f.Err == driver.ErrBadConn {
					require.NoError(t, err)
					require.Equal(t, before, got)
				} else {
					require.Error(t, err)
				}
				require.NoError(t, db.PingContext(t.Context()))
				require.Zero(t, db.Stats().InUse)
				require.Len(t, plan.Struck(), 1)
			})
		}
	}
}

// TestServerGone: with every operation failing from here on, those that connect
// too, all that is asked fails, and works again when the server is back.
func TestServerGone(t *testing.T) {
	t.Parallel()
	for _, f := range []faultdriver.Fault{faultdriver.Fail, faultdriver.BadConn, faultdriver.Drop} {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			db, _, plan := newDB(t)
			plan.Reset(faultdriver.From(1, f))
			require.ErrorIs(t, move(t.Context(), db, false), answerOf(f))
			_, err := accounts(t.Context(), db)
			require.ErrorIs(t, err, answerOf(f))
			if f.Drop {
				require.Contains(t, kinds(plan.Struck()), "connect")
			}
			plan.Reset(nil)
			require.NoError(t, move(t.Context(), db, false))
		})
	}
}

// TestConnectFaults: a connection whose making fails is not kept.
func TestConnectFaults(t *testing.T) {
	t.Parallel()
	for _, f := range faultdriver.All() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			db, _, plan := newDB(t)
			db.SetMaxIdleConns(-1) // each call connects
			plan.Reset(faultdriver.At(1, f))
			ctx, cancel := plan.Until(t.Context())
			defer cancel()
			_, err := accounts(ctx, db)
			if f.Err == driver.ErrBadConn {
				require.NoError(t, err)
			} else {
				require.Error(t, err)
			}
			require.Equal(t, faultdriver.OpConnect, plan.Struck()[0].Kind)
			require.NoError(t, db.PingContext(t.Context()))
			require.Zero(t, db.Stats().OpenConnections)
		})
	}
}

// TestValidation: a driver that can tell whether a connection is good keeps one
// whose transaction's context ended, and gives a lost one up at once.
func TestValidation(t *testing.T) {
	t.Parallel()
	db, _, plan := newDB(t)
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	cancel()
	require.NoError(t, db.PingContext(t.Context()))
	require.ErrorIs(t, tx.Rollback(), sql.ErrTxDone)
	require.Equal(t, []string{"begin", "rollback", "ping"}, kinds(plan.Ops()))

	plan.Reset(faultdriver.At(1, faultdriver.Drop))
	_, err = accounts(t.Context(), db)
	require.ErrorIs(t, err, faultdriver.ErrLost)
	require.Zero(t, db.Stats().OpenConnections)
}

// TestRules: which operations meet the fault.
func TestRules(t *testing.T) {
	t.Parallel()
	ops := []faultdriver.Op{
		{N: 1, Kind: faultdriver.OpExec, Statement: "x"}, {N: 2, Kind: faultdriver.OpExec, Statement: "y"}, {N: 3, Kind: faultdriver.OpQuery, Statement: "y"},
		{N: 4, Kind: faultdriver.OpExec, Statement: "x"}, {N: 5, Kind: faultdriver.OpExec, Statement: "y"}, {N: 6, Kind: faultdriver.OpExec, Statement: "y"},
	}
	for name, c := range map[string]struct {
		rule faultdriver.Rule
		want []int
	}{
		"at":     {faultdriver.At(3, faultdriver.Hang), []int{3}},
		"from":   {faultdriver.From(3, faultdriver.Hang), []int{3, 4, 5, 6}},
		"never":  {faultdriver.Repeat(2, 0, faultdriver.Hang), nil},
		"once":   {faultdriver.Repeat(2, 1, faultdriver.Hang), []int{2}},
		"twice":  {faultdriver.Repeat(2, 2, faultdriver.Hang), []int{2, 5}},
		"always": {faultdriver.Repeat(2, 9, faultdriver.Hang), []int{2, 5, 6}},
	} {
		var got []int
		for _, op := range ops {
			if f, struck := c.rule(op); struck {
				require.Equal(t, faultdriver.Hang, f)
				got = append(got, op.N)
			}
		}
		require.Equal(t, c.want, got, name)
	}
}

// TestRepeat: what is retried fails again as often as it was told to.
func TestRepeat(t *testing.T) {
	t.Parallel()
	for times := range 4 {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			t.Parallel()
			db, plain, plan := newDB(t)
			plan.Reset(faultdriver.Repeat(5, times, faultdriver.Serialization))
			tries := 0
			for err := errors.New("none yet"); err != nil; tries++ {
				if err = move(t.Context(), db, false); err != nil {
					var state interface{ SQLState() string }
					require.ErrorAs(t, err, &state)
					require.Equal(t, "40001", state.SQLState())
				}
			}
			require.Equal(t, times+1, tries)
			require.Len(t, plan.Struck(), times)
			got, err := accounts(t.Context(), plain)
			require.NoError(t, err)
			require.Equal(t, after, got)
		})
	}
}

// TestEndless: what nothing can end does not hang, but is told of.
func TestEndless(t *testing.T) {
	t.Parallel()
	db, _, plan := newDB(t)
	plan.Reset(faultdriver.At(1, faultdriver.Hang))
	_, err := accounts(context.WithoutCancel(t.Context()), db)
	require.ErrorIs(t, err, faultdriver.ErrFault)
	require.Equal(t, []string{"query"}, kinds(plan.Endless()))
	plan.Reset(nil)
	require.Empty(t, plan.Endless())
}

// TestHanging: the test learns what hangs, and the hang ends with the context of
// the operation only.
func TestHanging(t *testing.T) {
	t.Parallel()
	db, _, plan := newDB(t)
	plan.Reset(faultdriver.At(4, faultdriver.Hang))
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error)
	go func() {
		_, err := accounts(ctx, db)
		done <- err
	}()
	require.Equal(t, "4 next "+readAll, (<-plan.Hanging()).String())
	select {
	case err := <-done:
		t.Fatal("it ended before its context:", err)
	default:
	}
	cancel(errors.New("enough"))
	require.ErrorIs(t, <-done, context.Canceled)
}

// TestConflicts: each says 'try again' as its database does.
func TestConflicts(t *testing.T) {
	t.Parallel()
	for _, f := range faultdriver.Conflicts() {
		require.Error(t, f.Err, f.Name)
		require.NotEmpty(t, f.Name)
		require.False(t, f.Done || f.Hang || f.Drop, f.Name)
	}
	var code interface{ Code() int }
	require.ErrorAs(t, faultdriver.Busy.Err, &code)
	require.Equal(t, 5, code.Code())
	require.ErrorAs(t, faultdriver.BusySnapshot.Err, &code)
	require.Equal(t, 517, code.Code())
	require.ErrorContains(t, faultdriver.MySQLDeadlock.Err, "1213")
	require.ErrorContains(t, faultdriver.MySQLLockWait.Err, "1205")
	require.ErrorContains(t, faultdriver.Deadlock.Err, "40P01")
}

// TestFaithful: without faults all is as without the plan.
func TestFaithful(t *testing.T) {
	t.Parallel()
	db, plain, _ := newDB(t)
	when := time.Date(2027, 3, 1, 12, 0, 0, 123_456_000, time.UTC)
	look := func(db *sql.DB) (out []any) {
		note := func(v any, err error) {
			out = append(out, v)
			if err != nil {
				out = append(out, err.Error())
			}
		}
		rows, err := db.QueryContext(t.Context(), `SELECT ? AS i, ? AS f, ? AS s, ? AS b, ? AS n, ? AS t, ? AS o, name, amount FROM accounts`,
			1, 1.5, "text", []byte{0, 255}, nil, when, sql.NullString{String: "x", Valid: true})
		note(nil, err)
		types, err := rows.ColumnTypes()
		note(nil, err)
		for _, c := range types {
			length, hasLength := c.Length()
			null, hasNull := c.Nullable()
			precision, scale, hasScale := c.DecimalSize()
			out = append(out, c.Name(), c.DatabaseTypeName(), c.ScanType(), length, hasLength, null, hasNull, precision, scale, hasScale)
		}
		for rows.Next() {
			values := make([]any, len(types))
			for i := range values {
				values[i] = new(any)
			}
			note(nil, rows.Scan(values...))
			for _, v := range values {
				out = append(out, *v.(*any))
			}
		}
		note(rows.NextResultSet(), rows.Err())
		note(nil, rows.Close())
		_, err = db.ExecContext(t.Context(), `INSERT INTO accounts VALUES ('a', 1)`)
		note(nil, err)
		_, err = db.ExecContext(t.Context(), `SELECT ?`, struct{}{})
		note(nil, err)
		_, err = db.PrepareContext(t.Context(), `SELEKT`)
		note(nil, err)
		st, err := db.PrepareContext(t.Context(), `SELECT amount FROM accounts WHERE name = @name OR amount = @amount`)
		note(nil, err)
		var amount int64
		note(nil, st.QueryRowContext(t.Context(), sql.Named("name", "a"), sql.Named("amount", 99)).Scan(&amount))
		note(amount, nil)
		note(nil, st.QueryRowContext(t.Context(), sql.Named("name", "none"), sql.Named("amount", 99)).Scan(&amount))
		_, err = st.ExecContext(t.Context(), struct{}{}, 1)
		note(nil, err)
		note(nil, st.Close())
		res, err := db.ExecContext(t.Context(), `UPDATE accounts SET amount = amount`)
		note(nil, err)
		note(res.RowsAffected())
		tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
		note(nil, err)
		_, err = tx.ExecContext(t.Context(), `UPDATE accounts SET amount = 1`)
		note(nil, err)
		note(nil, tx.Rollback())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = db.ExecContext(ended, `SELECT 1`)
		note(nil, err)
		_, err = db.BeginTx(ended, nil)
		note(nil, err)
		return out
	}
	require.Equal(t, look(plain), look(db))
	require.IsType(t, plain.Driver(), db.Driver())
}
