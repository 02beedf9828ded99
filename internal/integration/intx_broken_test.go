package integration_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/internal/hosttx"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/pgxstore"
	"github.com/tokenry/apitoken/sqlstore"
)

var inTxFailures = []scenario{
	{"takes its own", nil, inTxTakesItsOwn},
	{"is over", nil, inTxIsOver},
	{"is gone", nil, inTxIsGone},
	{"deadlocks", several, inTxDeadlocks},
	{"gives up", several, inTxGivesUp},
	{"outlives a context", nil, inTxOutlivesAContext},
	{"conflicts", snapshots, inTxConflicts},
}

// storeCalls are all calls of a store, for a token that is there and one that is not.
func storeCalls(s apitoken.Store, there *apitoken.Record) map[string]func(ctx context.Context) error {
	now, id, tenant := apitokentest.Start, there.Token.ID, there.Token.Tenant
	next, added := there.Clone(), there.Clone()
	next.Token.Version++
	added.Token.ID, added.Alias, added.IdempotencyKey = "Z"+id[1:], "", ""
	query := apitoken.StoreQuery{Tenant: tenant, AllKinds: true, Now: now, Limit: 10}
	lease := apitoken.Lease{Holder: "holder", Now: now, Until: now.Add(time.Hour)}
	event := []apitoken.Event{{ID: "event", Type: apitoken.EventEdited, Tenant: tenant, Version: 9}}
	return map[string]func(ctx context.Context) error{
		"Create":  func(ctx context.Context) error { return s.Create(ctx, added, event) },
		"Swap":    func(ctx context.Context) error { return s.Swap(ctx, next, apitoken.Guard{}, event) },
		"Replace": func(ctx context.Context) error { return s.Replace(ctx, added, next, apitoken.Guard{}, event) },
		"Delete": func(ctx context.Context) error {
			return s.Delete(ctx, id, there.Token.Version, apitoken.Guard{}, event)
		},
		"Touch": func(ctx context.Context) error {
			return s.Touch(ctx, []apitoken.Use{{ID: id, Count: 1, LastUsed: now}})
		},
		"Claim": func(ctx context.Context) error { _, err := s.Claim(ctx, lease, 10); return err },
		"Settle": func(ctx context.Context) error {
			return s.Settle(ctx, "holder", []apitoken.Settlement{{EventID: "event", Done: true}})
		},
		"SwapSettings": func(ctx context.Context) error {
			return s.SwapSettings(ctx, apitoken.Settings{Tenant: "other", Version: 1}, nil)
		},
		"Remember": func(ctx context.Context) error {
			_, err := s.(apitoken.ReplayGuard).Remember(ctx, apitoken.SignedUse{Until: now})
			return err
		},
		"Get":        func(ctx context.Context) error { _, err := s.Get(ctx, id); return err },
		"GetByAlias": func(ctx context.Context) error { _, err := s.GetByAlias(ctx, "alias"); return err },
		"List":       func(ctx context.Context) error { _, err := s.List(ctx, query); return err },
		"Counts":     func(ctx context.Context) error { _, err := s.Counts(ctx, query); return err },
		"Due":        func(ctx context.Context) error { _, err := s.Due(ctx, now, apitoken.DuePosition{}, 10); return err },
		"Events":     func(ctx context.Context) error { _, err := s.Events(ctx, tenant, id, "", 10); return err },
		"Settings":   func(ctx context.Context) error { _, err := s.Settings(ctx, tenant); return err },
		"Stats":      func(ctx context.Context) error { _, err := s.Stats(ctx, now); return err },
		"Revisions": func(ctx context.Context) error {
			_, err := s.(apitoken.Revisions).Revisions(ctx, []apitoken.ID{id})
			return err
		},
		"Migrate": func(ctx context.Context) error {
			return s.(interface {
				Migrate(ctx context.Context) error
			}).Migrate(ctx)
		},
	}
}

// changes are those of them that write.
var changes = []string{"Create", "Swap", "Replace", "Delete", "Touch", "Claim", "Settle", "SwapSettings", "Remember"}

// requireOutage demands that err is no answer.
func requireOutage(t *testing.T, err error, what string) {
	t.Helper()
	require.Error(t, err, what)
	for _, family := range []error{apitoken.ErrNotFound, apitoken.ErrConflict, apitoken.ErrInvalid, apitoken.ErrUnauthenticated, apitoken.ErrForbidden} {
		require.NotErrorIs(t, err, family, what)
	}
}

// foreign is a transaction that nobody asks anything.
type foreign struct{ pgx.Tx }

// inTxTakesItsOwn: a transaction that the store cannot join is an error. To
// write beside it would be worse.
func inTxTakesItsOwn(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	rec, err := s.raw.Get(s.ctx(), there.Token.ID)
	require.NoError(t, err)
	tx := s.begin()
	carried := map[string]context.Context{
		"nothing known":        hosttx.With(s.ctx(), "a transaction"),
		"no sql.Tx":            sqlstore.InTx(s.ctx(), nil),
		"no pgx.Tx":            pgxstore.InTx(s.ctx(), nil),
		"one within the other": hosttx.With(tx.in(s.ctx()), 1),
	}
	if s.pgx {
		carried["a sql.Tx"] = sqlstore.InTx(s.ctx(), new(sql.Tx))
	} else {
		carried["a pgx.Tx"] = pgxstore.InTx(s.ctx(), foreign{})
	}
	before := s.rows()
	for what, ctx := range carried {
		for name, call := range storeCalls(s.raw, rec) {
			requireOutage(t, call(ctx), name+" with "+what)
		}
		_, err := s.tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "ci"})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		require.ErrorIs(t, s.tokens.Revoke(ctx, ann, there.Token.ID, ""), apitoken.ErrUnavailable, what)
		require.ErrorIs(t, s.verify(ctx, s.tokens, there.Secret), apitoken.ErrUnavailable, what)
	}
	require.NoError(t, tx.commit(s.ctx()))
	require.Equal(t, before, s.rows())
	require.NoError(t, s.verify(s.ctx(), s.tokens, there.Secret))
}

// inTxIsOver: after the end of a transaction its context is good for nothing.
func inTxIsOver(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	rec, err := s.raw.Get(s.ctx(), there.Token.ID)
	require.NoError(t, err)
	before := s.rows()
	for what, end := range map[string]func(tx hostTx) error{
		"commit":   func(tx hostTx) error { return tx.commit(s.ctx()) },
		"rollback": func(tx hostTx) error { return tx.rollback(s.ctx()) },
	} {
		tx := s.begin()
		ctx := tx.in(s.ctx())
		_, err = s.tokens.Get(ctx, ann, there.Token.ID)
		require.NoError(t, err)
		require.NoError(t, end(tx))
		for name, call := range storeCalls(s.raw, rec) {
			requireOutage(t, call(ctx), name+" after "+what)
		}
		_, err := s.tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "ci"})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, what)
		require.ErrorIs(t, s.verify(ctx, s.tokens, there.Secret), apitoken.ErrUnavailable, what)
	}
	require.Equal(t, before, s.rows())
}

// inTxIsGone: a statement of the host's own has ended the transaction, and the
// host did not notice. What is written now would stay whatever the host does.
func inTxIsGone(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	s.drain()
	rec, err := s.raw.Get(s.ctx(), there.Token.ID)
	require.NoError(t, err)
	before := s.rows()
	for _, end := range []func(tx hostTx, ctx context.Context) error{hostTx.commit, hostTx.rollback} {
		tx := s.begin()
		earlier := tx.in(s.ctx())
		_, err := s.tokens.Get(earlier, ann, there.Token.ID)
		require.NoError(t, err)
		name := fmt.Sprint("another", customer.Add(1))
		switch s.dialect {
		case sqlstore.SQLite:
			require.NoError(t, tx.exec(s.ctx(), "INSERT INTO customers (name) VALUES ('"+name+"')"))
			require.Error(t, tx.exec(s.ctx(), "INSERT OR ROLLBACK INTO customers (name) VALUES ('"+name+"')"))
		case sqlstore.MariaDB:
			require.NoError(t, tx.exec(s.ctx(), "CREATE TABLE "+name+" (n int)"))
		case sqlstore.PostgreSQL:
			require.Error(t, tx.exec(s.ctx(), "INSERT INTO missing (n) VALUES (1)"))
		}
		calls := storeCalls(s.raw, rec)
		for _, name := range changes {
			requireOutage(t, calls[name](tx.in(s.ctx())), name)
			requireOutage(t, calls[name](earlier), name)
		}
		_, err = s.tokens.Issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{Name: "ci"})
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.ErrorIs(t, s.tokens.Revoke(tx.in(s.ctx()), ann, there.Token.ID, ""), apitoken.ErrUnavailable)
		_ = end(tx, s.ctx()) // the engines disagree on whether there is anything to end
		require.Equal(t, before, s.rows())
		require.NoError(t, s.verify(s.ctx(), s.other, there.Secret))
	}
}

// inTxDeadlocks: two transactions stop two tokens in opposite order. MariaDB
// rolls back all of one of them; of PostgreSQL's the savepoint remains.
func inTxDeadlocks(t *testing.T, s *site, ann apitoken.Actor) {
	tokens := [2]apitoken.Issued{s.issue(s.ctx(), ann, existing), s.issue(s.ctx(), ann, existing)}
	s.drain()
	before := s.rows()
	var txs [2]hostTx
	var ctxs [2]context.Context
	var queries [2]string
	for i := range txs {
		txs[i] = s.begin()
		ctxs[i] = txs[i].in(s.ctx())
		queries[i] = s.add(txs[i])
		require.NoError(t, s.tokens.Revoke(ctxs[i], ann, tokens[i].Token.ID, fmt.Sprint("by ", i)))
	}
	// The one that fails first is the victim; it may keep the other waiting until
	// it has ended.
	type end struct {
		tx  int
		err error
	}
	ends := make(chan end, 2)
	for i := range txs {
		go func() { ends <- end{i, s.tokens.Revoke(ctxs[i], ann, tokens[1-i].Token.ID, fmt.Sprint("by ", i))} }()
	}
	first := <-ends
	victim, other := first, end{}
	if first.err == nil { // MariaDB lets the other one go on at once
		victim, other = <-ends, first
	}
	require.ErrorIs(t, victim.err, apitoken.ErrUnavailable)
	tx := txs[victim.tx]
	_, again := s.tokens.Issue(ctxs[victim.tx], ann, apitoken.IssueRequest{Name: "ci"})
	_, anew := s.tokens.Issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{Name: "ci"})
	if s.dialect == sqlstore.MariaDB {
		require.ErrorIs(t, again, apitoken.ErrUnavailable, "the same context")
		require.ErrorIs(t, anew, apitoken.ErrUnavailable, "another context with the same transaction")
		_ = tx.commit(s.ctx())
	} else {
		require.NoError(t, again)
		require.NoError(t, anew)
		require.NoError(t, tx.rollback(s.ctx()))
	}
	if first.err != nil {
		other = <-ends
	}
	require.NoError(t, other.err)
	require.NoError(t, txs[other.tx].commit(s.ctx()))

	for table, n := range map[string]int{"customers": 1, "apitoken_events": 2, "apitoken_outbox": 2} {
		before[table] += n
	}
	require.Equal(t, before, s.rows())
	for i := range txs {
		n, err := s.db.count(s.ctx(), queries[i])
		require.NoError(t, err)
		require.Equal(t, i == other.tx, n == 1, "the host's own row")
		rec, err := s.raw.Get(s.ctx(), tokens[i].Token.ID)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("by ", other.tx), rec.Token.Reason)
	}
}

// waiting counts the statements on this database that wait for a lock.
var waiting = map[sqlstore.Dialect]string{
	sqlstore.PostgreSQL: "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
	sqlstore.MariaDB: "SELECT count(*) FROM information_schema.innodb_trx x JOIN information_schema.processlist p ON p.id = x.trx_mysql_thread_id " +
		"WHERE x.trx_state = 'LOCK WAIT' AND p.db = DATABASE()",
}

// looking is held by whoever reads innodb_trx, for all databases of a server:
// MariaDB shows what it showed last unless nobody has looked for 100 ms, so that
// whoever looks again at once never sees a change.
var looking sync.Mutex

const lookEvery = 120 * time.Millisecond

// awaitWaiter returns when a statement on this database waits for a lock.
func (s *site) awaitWaiter() {
	s.t.Helper()
	ctx, stop := context.WithTimeout(s.ctx(), time.Minute)
	defer stop()
	for n := 0; n == 0; {
		var err error
		n, err = s.waiters(ctx)
		require.NoError(s.t, err)
	}
}

func (s *site) waiters(ctx context.Context) (int, error) {
	if s.dialect == sqlstore.MariaDB {
		looking.Lock()
		defer looking.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
	return s.db.count(ctx, waiting[s.dialect])
}

// inTxGivesUp: the context ends while a statement of the call waits for a lock,
// and the connection with it.
func inTxGivesUp(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	s.drain()
	before := s.rows()
	holder, tx := s.begin(), s.begin()
	require.NoError(t, s.tokens.Revoke(holder.in(s.ctx()), ann, there.Token.ID, "first"))
	s.add(tx)
	s.issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{})

	short, cancel := context.WithCancel(s.ctx())
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { err = s.tokens.Revoke(tx.in(short), ann, there.Token.ID, "second") })
	s.awaitWaiter()
	cancel()
	wg.Wait()
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	_, err = s.tokens.Issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{Name: "ci"})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.Error(t, tx.commit(s.ctx()))
	require.NoError(t, holder.commit(s.ctx()))

	before["apitoken_events"]++
	before["apitoken_outbox"]++
	require.Equal(t, before, s.rows())
	rec, err := s.raw.Get(s.ctx(), there.Token.ID)
	require.NoError(t, err)
	require.Equal(t, "first", rec.Token.Reason)
}

// inTxOutlivesAContext: a call whose context has ended fails, and the
// transaction goes on with another.
func inTxOutlivesAContext(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	rec, err := s.raw.Get(s.ctx(), there.Token.ID)
	require.NoError(t, err)
	s.drain()
	want := s.rows()
	tx := s.begin()
	s.add(tx)
	ended, cancel := context.WithCancel(tx.in(s.ctx()))
	s.issue(ended, ann, apitoken.IssueRequest{})
	cancel()
	for name, call := range storeCalls(s.raw, rec) {
		requireOutage(t, call(ended), name)
	}
	_, err = s.tokens.Issue(ended, ann, apitoken.IssueRequest{Name: "ci"})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.ErrorIs(t, s.tokens.Revoke(ended, ann, there.Token.ID, ""), apitoken.ErrUnavailable)
	s.issue(tx.in(s.ctx()), ann, apitoken.IssueRequest{})
	require.NoError(t, tx.commit(s.ctx()))

	for table, n := range map[string]int{"customers": 1, "apitoken_tokens": 2, "apitoken_events": 2, "apitoken_outbox": 2} {
		want[table] += n
	}
	require.Equal(t, want, s.rows())
	require.NoError(t, s.verify(s.ctx(), s.other, there.Secret))
}

// inTxConflicts: a token was changed since the transaction took its snapshot. At
// READ COMMITTED the call decides anew; above it cannot, and must not try for ever.
func inTxConflicts(t *testing.T, s *site, ann apitoken.Actor) {
	there := s.issue(s.ctx(), ann, existing)
	mine, yours := "mine", "yours"
	edit := func(ctx context.Context, node *apitoken.Service, name string) error {
		_, err := node.Edit(ctx, ann, there.Token.ID, apitoken.EditRequest{Name: &name})
		return err
	}
	tx := s.begin()
	_, err := s.tokens.Get(tx.in(s.ctx()), ann, there.Token.ID)
	require.NoError(t, err)
	require.NoError(t, edit(s.ctx(), s.other, yours))
	s.calls.Reset()
	err = edit(tx.in(s.ctx()), s.tokens, mine)
	require.LessOrEqual(t, len(s.calls.Calls()), 7, "%v", s.calls.Calls())
	if s.level == servers.ReadCommitted {
		require.NoError(t, err)
		require.NoError(t, tx.commit(s.ctx()))
	} else {
		require.ErrorIs(t, err, apitoken.ErrUnavailable)
		require.NotErrorIs(t, err, apitoken.ErrConflict)
		require.NoError(t, tx.rollback(s.ctx()))
		view, err := s.other.Get(s.ctx(), ann, there.Token.ID)
		require.NoError(t, err)
		require.Equal(t, yours, view.Name)
		tx = s.begin()
		require.NoError(t, edit(tx.in(s.ctx()), s.tokens, mine))
		require.NoError(t, tx.commit(s.ctx()))
	}
	view, err := s.other.Get(s.ctx(), ann, there.Token.ID)
	require.NoError(t, err)
	require.Equal(t, mine, view.Name)
	require.Equal(t, []string{"token.created", "token.edited", "token.edited"}, s.history(s.ctx(), ann, there.Token.ID))
}
