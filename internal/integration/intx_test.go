package integration_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/pgxstore"
	"github.com/tokenry/apitoken/sqlstore"
)

// hostDB is a host's database through the API that the host uses.
type hostDB interface {
	store(t *testing.T) apitoken.Store
	begin(ctx context.Context) (hostTx, error)
	exec(ctx context.Context, query string) error
	count(ctx context.Context, query string) (int, error)
}

// hostTx is a transaction of the host's own, at the level of its session.
type hostTx interface {
	in(ctx context.Context) context.Context
	exec(ctx context.Context, query string) error
	count(ctx context.Context, query string) (int, error)
	commit(ctx context.Context) error
	rollback(ctx context.Context) error
}

// hostEngine is where hosts may keep their tokens.
type hostEngine struct {
	name    string
	dialect sqlstore.Dialect
	level   servers.Isolation
	pgx     bool
	open    func(t *testing.T, connections int) hostDB // a new database; 0 connections = as many as are needed
}

func hostEngines() []hostEngine {
	all := []hostEngine{{"SQLite", sqlstore.SQLite, servers.ServerDefault, false, func(t *testing.T, connections int) hostDB {
		return openSQL(t, servers.SQLiteDriver, servers.SQLite(t), sqlstore.SQLite, connections)
	}}}
	for _, level := range []servers.Isolation{servers.ReadCommitted, servers.RepeatableRead, servers.Serializable} {
		all = append(all,
			hostEngine{"PostgreSQL " + string(level), sqlstore.PostgreSQL, level, false, func(t *testing.T, connections int) hostDB {
				return openSQL(t, servers.PostgresDriver, servers.Postgres(t, level), sqlstore.PostgreSQL, connections)
			}},
			hostEngine{"pgx " + string(level), sqlstore.PostgreSQL, level, true, func(t *testing.T, connections int) hostDB {
				return pgxDB{pgxPool(t, servers.Postgres(t, level), pgx.QueryExecModeCacheStatement, connections)}
			}},
			hostEngine{"MariaDB " + string(level), sqlstore.MariaDB, level, false, func(t *testing.T, connections int) hostDB {
				return openSQL(t, servers.MariaDBDriver, servers.MariaDB(t, level), sqlstore.MariaDB, connections)
			}},
		)
	}
	return all
}

type sqlDB struct {
	db      *sql.DB
	dialect sqlstore.Dialect
}

func openSQL(t *testing.T, driver, dsn string, dialect sqlstore.Dialect, connections int) sqlDB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	db.SetMaxOpenConns(connections)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return sqlDB{db, dialect}
}

func (d sqlDB) store(t *testing.T) apitoken.Store {
	s, err := sqlstore.New(d.db, d.dialect, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

func (d sqlDB) begin(ctx context.Context) (hostTx, error) {
	// Not with ctx, which database/sql would roll the transaction back with.
	tx, err := d.db.BeginTx(context.WithoutCancel(ctx), nil)
	return sqlTx{tx}, err
}

func (d sqlDB) exec(ctx context.Context, query string) error {
	_, err := d.db.ExecContext(ctx, query)
	return err
}

func (d sqlDB) count(ctx context.Context, query string) (n int, err error) {
	err = d.db.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

type sqlTx struct{ tx *sql.Tx }

func (x sqlTx) in(ctx context.Context) context.Context { return sqlstore.InTx(ctx, x.tx) }

func (x sqlTx) exec(ctx context.Context, query string) error {
	_, err := x.tx.ExecContext(ctx, query)
	return err
}

func (x sqlTx) count(ctx context.Context, query string) (n int, err error) {
	err = x.tx.QueryRowContext(ctx, query).Scan(&n)
	return n, err
}

func (x sqlTx) commit(context.Context) error   { return x.tx.Commit() }
func (x sqlTx) rollback(context.Context) error { return x.tx.Rollback() }

type pgxDB struct{ pool *pgxpool.Pool }

func (d pgxDB) store(t *testing.T) apitoken.Store {
	s, err := pgxstore.New(d.pool, pgxstore.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

func (d pgxDB) begin(ctx context.Context) (hostTx, error) {
	tx, err := d.pool.Begin(ctx)
	return pgxTx{tx}, err
}

func (d pgxDB) exec(ctx context.Context, query string) error {
	_, err := d.pool.Exec(ctx, query)
	return err
}

func (d pgxDB) count(ctx context.Context, query string) (n int, err error) {
	err = d.pool.QueryRow(ctx, query).Scan(&n)
	return n, err
}

type pgxTx struct{ tx pgx.Tx }

func (x pgxTx) in(ctx context.Context) context.Context { return pgxstore.InTx(ctx, x.tx) }

func (x pgxTx) exec(ctx context.Context, query string) error {
	_, err := x.tx.Exec(ctx, query)
	return err
}

func (x pgxTx) count(ctx context.Context, query string) (n int, err error) {
	err = x.tx.QueryRow(ctx, query).Scan(&n)
	return n, err
}

func (x pgxTx) commit(ctx context.Context) error   { return x.tx.Commit(ctx) }
func (x pgxTx) rollback(ctx context.Context) error { return x.tx.Rollback(ctx) }

// site is a host with a table of its own beside the tokens: customers.
type site struct {
	hostEngine
	t     *testing.T
	db    hostDB
	raw   apitoken.Store // nothing before it
	cache *cachestore.Store
	// calls counts what reaches raw.
	calls    *apitokentest.FaultStore
	clock    *apitokentest.Clock
	notified *apitokentest.Notifier
	tokens   *apitoken.Service // of the node under test, with a cache or without
	other    *apitoken.Service // another node, without a cache
}

func (s *site) ctx() context.Context { return s.t.Context() }

const customers = "CREATE TABLE customers (name varchar(64) NOT NULL PRIMARY KEY)"

// scenario is a test of a host.
type scenario struct {
	name string
	only func(e hostEngine) bool // nil = on all engines
	run  func(t *testing.T, s *site, ann apitoken.Actor)
}

// several writers at a time.
func several(e hostEngine) bool { return e.dialect != sqlstore.SQLite }

// snapshots are kept, and whoever reads a token does not keep others from changing
// it.
func snapshots(e hostEngine) bool {
	return e.dialect == sqlstore.PostgreSQL || e.dialect == sqlstore.MariaDB && e.level != servers.Serializable
}

// TestInTx runs each scenario on every engine, with a cache before the store and
// without, in a tenant of its own: with -levels at every level, else at the one
// where none is left out.
func TestInTx(t *testing.T) {
	t.Parallel()
	for _, e := range hostEngines() {
		if !*levels && e.level != servers.ServerDefault && e.level != servers.RepeatableRead {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			db := e.open(t, 0)
			raw := db.store(t)
			require.NoError(t, db.exec(t.Context(), customers))
			for _, scene := range slices.Concat(inTxCalls, inTxFailures) {
				if scene.only != nil && !scene.only(e) {
					continue
				}
				t.Run(scene.name, func(t *testing.T) {
					for _, cached := range []bool{false, true} {
						t.Run(fmt.Sprint("cached ", cached), func(t *testing.T) {
							s := newSite(t, e, db, raw, cached)
							s.drain() // what a scenario that failed left
							scene.run(t, s, apitoken.Actor{ID: "ann", Tenant: fmt.Sprint(scene.name, ", cached ", cached)})
						})
					}
				})
			}
		})
	}
}

func newSite(t *testing.T, e hostEngine, db hostDB, raw apitoken.Store, cached bool) *site {
	t.Helper()
	s := &site{
		hostEngine: e, t: t, db: db, raw: raw,
		calls: apitokentest.NewFaultStore(raw), clock: apitokentest.NewClock(apitokentest.Start), notified: new(apitokentest.Notifier),
	}
	store := apitoken.Store(s.calls)
	if cached {
		var err error
		s.cache, err = cachestore.New(s.calls, cachestore.Options{Clock: s.clock})
		require.NoError(t, err)
		store = s.cache
	}
	s.tokens, s.other = s.node(store), s.node(raw)
	return s
}

func (s *site) node(store apitoken.Store) *apitoken.Service {
	s.t.Helper()
	node, err := apitoken.New(store, apitoken.Options{
		Prefix:   "acme",
		Kinds:    map[apitoken.Kind]apitoken.Policy{"token": {Legacy: true}},
		Notifier: s.notified,
		Clock:    s.clock,
		Logger:   slog.New(slog.DiscardHandler),
	})
	require.NoError(s.t, err)
	return node
}

// begin starts a transaction that is rolled back when the test ends, if it is still
// open then.
func (s *site) begin() hostTx {
	s.t.Helper()
	tx, err := s.db.begin(s.ctx())
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = tx.rollback(ctx) // an error if it has ended
	})
	return tx
}

var customer atomic.Int64

// add adds a row of the host's own in tx, and returns a query that counts it.
func (s *site) add(tx hostTx) (query string) {
	s.t.Helper()
	name := fmt.Sprint("customer ", customer.Add(1))
	require.NoError(s.t, tx.exec(s.ctx(), "INSERT INTO customers (name) VALUES ('"+name+"')"))
	return "SELECT count(*) FROM customers WHERE name = '" + name + "'"
}

// rows are how many rows there are in all, for all to see.
func (s *site) rows() map[string]int {
	s.t.Helper()
	rows := make(map[string]int)
	for _, table := range []string{"customers", "apitoken_tokens", "apitoken_events", "apitoken_outbox", "apitoken_settings"} {
		n, err := s.db.count(s.ctx(), "SELECT count(*) FROM "+table)
		require.NoError(s.t, err)
		rows[table] = n
	}
	return rows
}

func (s *site) issue(ctx context.Context, actor apitoken.Actor, req apitoken.IssueRequest) apitoken.Issued {
	s.t.Helper()
	if req.Name == "" {
		req.Name = "ci"
	}
	issued, err := s.tokens.Issue(ctx, actor, req)
	require.NoError(s.t, err)
	return issued
}

func (s *site) verify(ctx context.Context, node *apitoken.Service, secret apitoken.Secret) error {
	_, err := node.Verify(ctx, apitoken.VerifyRequest{Token: secret.Reveal()})
	return err
}

// history are the types of a token's events.
func (s *site) history(ctx context.Context, actor apitoken.Actor, id apitoken.ID) (types []string) {
	s.t.Helper()
	for e, err := range s.tokens.History(ctx, actor, id) {
		require.NoError(s.t, err)
		types = append(types, string(e.Type))
	}
	return types
}
