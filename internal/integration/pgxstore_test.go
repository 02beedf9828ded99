package integration_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/pgxstore"
	"github.com/tokenry/apitoken/sqlstore"
	"github.com/tokenry/apitoken/storetest"
)

// pgxPool returns a pool that ends with t, where every connection must have been
// given back by then.
func pgxPool(t testing.TB, dsn string, mode pgx.QueryExecMode, connections int) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = mode
	if connections > 0 {
		config.MaxConns = int32(connections)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() {
			pool.Close() // waits for every connection that is in use
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(time.Minute):
			t.Errorf("%d connections were not given back", pool.Stat().AcquiredConns())
		}
	})
	return pool
}

// openPgx returns a store with the schema, and its pool.
func openPgx(t testing.TB, dsn string, mode pgx.QueryExecMode) (*pgxstore.Store, *pgxpool.Pool) {
	t.Helper()
	pool := pgxPool(t, dsn, mode, 20)
	store, err := pgxstore.New(pool, pgxstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.Validate(t.Context()))
	return store, pool
}

func TestPgxStore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		level servers.Isolation
		mode  pgx.QueryExecMode
	}{
		{"READ COMMITTED", servers.ReadCommitted, pgx.QueryExecModeCacheStatement},
		{"REPEATABLE READ", servers.RepeatableRead, pgx.QueryExecModeCacheStatement},
		{"SERIALIZABLE", servers.Serializable, pgx.QueryExecModeCacheStatement},
		{"nothing prepared, for poolers", servers.ServerDefault, pgx.QueryExecModeExec},
	} {
		if skipsLevel(test.name) {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store, pool := openPgx(t, servers.Postgres(t, test.level), test.mode)
			storetest.Run(t, func(t *testing.T) apitoken.Store {
				for _, table := range []string{"tokens", "events", "outbox", "settings", "replays"} {
					_, err := pool.Exec(t.Context(), "DELETE FROM apitoken_"+table)
					require.NoError(t, err)
				}
				return store
			})
		})
	}
}

func TestPgxNew(t *testing.T) {
	t.Parallel()
	pool := pgxPool(t, servers.Postgres(t), pgx.QueryExecModeCacheStatement, 1)
	store, err := pgxstore.New(nil, pgxstore.Options{TablePrefix: "a b", Schema: "A"})
	require.Nil(t, store)
	for _, fault := range []string{"pgxstore: pool: is nil", `pgxstore: TablePrefix: "a b": use a to z`, `pgxstore: Schema: "A": use a to z`} {
		require.ErrorContains(t, err, fault)
	}
	_, err = pgxstore.New(pool, pgxstore.Options{TablePrefix: "1"})
	require.ErrorContains(t, err, "TablePrefix")
	require.NotContains(t, err.Error(), "pool")
}

// TestPgxSchema: ten processes migrate at once, and whoever comes too early, or with
// a newer program, is told.
func TestPgxSchema(t *testing.T) {
	t.Parallel()
	ctx, dsn := t.Context(), servers.Postgres(t)
	pool := pgxPool(t, dsn, pgx.QueryExecModeCacheStatement, 20)
	_, err := pool.Exec(ctx, `CREATE SCHEMA "order"`)
	require.NoError(t, err)
	for _, opts := range []pgxstore.Options{{}, {TablePrefix: "mine_"}, {Schema: "order"}, {Schema: "order", TablePrefix: "mine_"}} {
		store, err := pgxstore.New(pool, opts)
		require.NoError(t, err)
		version, err := store.Version(ctx)
		require.NoError(t, err)
		require.Zero(t, version)
		schema, ok := errors.AsType[*pgxstore.SchemaError](store.Validate(ctx))
		require.True(t, ok)
		require.Zero(t, schema.Have)
		_, err = store.Get(ctx, "0123456789012345678901")
		requireOutage(t, err, "no table")

		errs := make([]error, 10)
		var parties []func()
		for i := range errs {
			parties = append(parties, func() { errs[i] = store.Migrate(ctx) })
		}
		together(parties...)
		require.NoError(t, errors.Join(errs...))
		require.NoError(t, store.Validate(ctx))
		works(t, store)
	}
	_, err = pool.Exec(ctx, "INSERT INTO apitoken_schema (version) VALUES (1000)")
	require.NoError(t, err)
	store, err := pgxstore.New(pool, pgxstore.Options{})
	require.NoError(t, err)
	for _, err := range []error{store.Validate(ctx), store.Migrate(ctx)} {
		schema, ok := errors.AsType[*pgxstore.SchemaError](err)
		require.True(t, ok)
		require.Equal(t, 1000, schema.Have)
	}
	files, err := store.Migrations()
	require.NoError(t, err)
	names, err := fs.Glob(files, "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
}

// TestPgxSharesTables: a host may use both packages at once.
func TestPgxSharesTables(t *testing.T) {
	t.Parallel()
	ctx, dsn := t.Context(), servers.Postgres(t)
	viaPgx, _ := openPgx(t, dsn, pgx.QueryExecModeCacheStatement)
	db, err := sql.Open(servers.PostgresDriver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	viaSQL, err := sqlstore.New(db, sqlstore.PostgreSQL, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, viaSQL.Validate(ctx))

	stores := []apitoken.Store{viaPgx, viaSQL}
	for i, one := range stores {
		other := stores[1-i]
		rec := newRecord(fmt.Sprintf("Shared%016d", i))
		rec.Alias, rec.IssueSum = fmt.Sprint("alias", i), []byte{0, 1, 254, 255}
		rec.Token.Networks = []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}
		rec.Token.Metadata = map[string]string{"key": "größer\n"}
		rec.Token.ExpiresAt = created.Add(time.Hour)
		require.NoError(t, one.Create(ctx, rec.Clone(), nil))
		got, err := other.Get(ctx, rec.Token.ID)
		require.NoError(t, err)
		require.Equal(t, rec.Token, got.Token)
		require.Equal(t, []any{rec.Primary, rec.Alias, rec.IssueSum, rec.Op}, []any{got.Primary, got.Alias, got.IssueSum, got.Op})
		require.NoError(t, other.Touch(ctx, []apitoken.Use{{ID: rec.Token.ID, Count: 2, LastUsed: created.Add(time.Minute)}}))
		got.Token.Version++
		require.NoError(t, other.Swap(ctx, got.Clone(), apitoken.Guard{}, []apitoken.Event{eventOf(got, apitoken.EventEdited)}))
		back, err := one.GetByAlias(ctx, rec.Alias)
		require.NoError(t, err)
		require.EqualValues(t, 2, back.Token.Version)
		require.EqualValues(t, 2, back.Token.Usage.Uses)
		events, err := one.Events(ctx, rec.Token.Tenant, rec.Token.ID, "", 10)
		require.NoError(t, err)
		require.Len(t, events, 1)
	}
}

// TestPgxOutage: a connection that ends and a pool that is closed are outages, and
// nothing is 'not found' because of them.
func TestPgxOutage(t *testing.T) {
	t.Parallel()
	ctx, dsn := t.Context(), servers.Postgres(t)
	store, pool := openPgx(t, dsn, pgx.QueryExecModeCacheStatement)
	rec := newRecord("Outage0000000000000000")
	require.NoError(t, store.Create(ctx, rec.Clone(), nil))
	killer := pgxPool(t, dsn, pgx.QueryExecModeExec, 1)
	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	inside := pgxstore.InTx(ctx, tx)
	require.NoError(t, store.Touch(inside, []apitoken.Use{{ID: rec.Token.ID, Count: 1, LastUsed: created}}))
	_, err = killer.Exec(ctx, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
	require.NoError(t, err)
	for name, call := range storeCalls(store, rec) {
		requireOutage(t, call(inside), name)
	}
	require.Error(t, tx.Commit(ctx))
	// Each call takes one of the connections that were lost, until they are used up.
	for range int(pool.Stat().TotalConns()) + 1 {
		if _, err = store.Get(ctx, rec.Token.ID); err == nil {
			break
		}
		requireOutage(t, err, "a lost connection")
	}
	require.NoError(t, err)
	got, err := store.Get(ctx, rec.Token.ID)
	require.NoError(t, err)
	require.Zero(t, got.Token.Usage.Uses)
	pool.Close()
	for name, call := range storeCalls(store, rec) {
		requireOutage(t, call(ctx), name)
	}
}
