package integration_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// defaults are the engines at their servers' own isolation level.
func defaults() []engine {
	return []engine{
		{"SQLite", servers.SQLiteDriver, sqlstore.SQLite, servers.SQLite},
		{"PostgreSQL", servers.PostgresDriver, sqlstore.PostgreSQL, func(t testing.TB) string { return servers.Postgres(t) }},
		{"MariaDB", servers.MariaDBDriver, sqlstore.MariaDB, func(t testing.TB) string { return servers.MariaDB(t) }},
	}
}

// bare returns a store without looking at its tables, and its pool.
func (e engine) bare(t testing.TB, dsn string, opts sqlstore.Options) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open(e.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.New(db, e.dialect, opts)
	require.NoError(t, err)
	return store, db
}

// onEach runs test on each engine.
func onEach(t *testing.T, test func(t *testing.T, e engine)) {
	t.Parallel()
	for _, e := range defaults() {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// works issues a token and reads it back.
func works(t *testing.T, store apitoken.Store) apitoken.ID {
	t.Helper()
	tokens, err := apitoken.New(store, apitoken.Options{Prefix: "acme"})
	require.NoError(t, err)
	issued, err := tokens.Issue(t.Context(), apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"})
	require.NoError(t, err)
	_, err = tokens.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	require.NoError(t, err)
	return issued.Token.ID
}

// Of ten processes that migrate at once all succeed.
func TestMigrateAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		for range 5 {
			dsn := e.dsn(t)
			var wg sync.WaitGroup
			errs := make([]error, 10)
			start := make(chan struct{})
			for i := range errs {
				store, _ := e.bare(t, dsn, sqlstore.Options{})
				wg.Go(func() {
					<-start
					errs[i] = errors.Join(store.Migrate(t.Context()), store.Validate(t.Context()))
				})
			}
			close(start)
			wg.Wait()
			require.NoError(t, errors.Join(errs...))
			store, db := e.bare(t, dsn, sqlstore.Options{})
			var rows int
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM apitoken_schema").Scan(&rows))
			require.Equal(t, 2, rows)
			works(t, store)
		}
	})
}

// A schema that is not there, older or newer is a clear error; a store on a newer
// one changes nothing in it.
func TestValidateSchema(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		ctx := t.Context()
		store, db := e.bare(t, e.dsn(t), sqlstore.Options{})
		check := func(have int, says string) {
			t.Helper()
			version, err := store.Version(ctx)
			require.NoError(t, err)
			require.Equal(t, have, version)
			err = store.Validate(ctx)
			schema, ok := errors.AsType[*sqlstore.SchemaError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, sqlstore.SchemaError{Have: have, Want: 2}, *schema)
			require.ErrorContains(t, err, says)
		}
		check(0, "there are no tables: call Migrate")
		_, err := store.Get(ctx, "0123456789012345678901")
		require.Error(t, err)
		require.NotErrorIs(t, err, apitoken.ErrNotFound, "no table is no answer")
		require.NoError(t, store.Migrate(ctx))
		require.NoError(t, store.Validate(ctx))
		require.NoError(t, store.Migrate(ctx), "again")
		works(t, store)
		_, err = db.ExecContext(ctx, "INSERT INTO apitoken_schema (version) VALUES (7)")
		require.NoError(t, err)
		check(7, "a newer program has migrated it")
		_, ok := errors.AsType[*sqlstore.SchemaError](store.Migrate(ctx))
		require.True(t, ok)
		works(t, store)
	})
}

// goose applies the same files, up, down and up again.
func TestGoose(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		ctx := t.Context()
		store, db := e.bare(t, e.dsn(t), sqlstore.Options{})
		files, err := store.Migrations()
		require.NoError(t, err)
		dialect := map[sqlstore.Dialect]goose.Dialect{
			sqlstore.SQLite: goose.DialectSQLite3, sqlstore.PostgreSQL: goose.DialectPostgres, sqlstore.MariaDB: goose.DialectMySQL,
		}[e.dialect]
		provider, err := goose.NewProvider(dialect, db, files)
		require.NoError(t, err)
		_, err = provider.Up(ctx)
		require.NoError(t, err)
		require.NoError(t, store.Validate(ctx))
		works(t, store)
		_, err = provider.DownTo(ctx, 0)
		require.NoError(t, err)
		version, err := store.Version(ctx)
		require.NoError(t, err)
		require.Zero(t, version)
		_, err = provider.Up(ctx)
		require.NoError(t, err)
		require.NoError(t, store.Migrate(ctx), "there is nothing left to do")
		works(t, store)
	})
}

// Two prefixes in one database are two stores, and a schema is a place of its own.
func TestTableNames(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		ctx := t.Context()
		dsn := e.dsn(t)
		all := []sqlstore.Options{{}, {TablePrefix: "a"}, {TablePrefix: "shop_tokens_v2"}, {TablePrefix: strings.Repeat("x", 30)}}
		switch e.dialect {
		case sqlstore.PostgreSQL:
			_, db := e.bare(t, dsn, sqlstore.Options{})
			_, err := db.ExecContext(ctx, `CREATE SCHEMA "order"`)
			require.NoError(t, err)
			all = append(all, sqlstore.Options{Schema: "order"}, sqlstore.Options{Schema: "order", TablePrefix: "b_"})
		case sqlstore.MariaDB:
			_, db := e.bare(t, e.dsn(t), sqlstore.Options{})
			var other string
			require.NoError(t, db.QueryRowContext(ctx, "SELECT DATABASE()").Scan(&other))
			all = append(all, sqlstore.Options{Schema: other}, sqlstore.Options{Schema: other, TablePrefix: "b_"})
		}
		ids := make(map[apitoken.ID]bool)
		for _, opts := range all {
			store, _ := e.bare(t, dsn, opts)
			version, err := store.Version(ctx)
			require.NoError(t, err)
			require.Zero(t, version, "%+v", opts)
			require.NoError(t, store.Migrate(ctx))
			require.NoError(t, store.Validate(ctx))
			for id := range ids {
				_, err := store.Get(ctx, id)
				require.ErrorIs(t, err, apitoken.ErrNotFound, "%+v", opts)
			}
			ids[works(t, store)] = true
		}
		require.Len(t, ids, len(all))
	})
}

// Where a definition of a table commits by itself, a migration that was cut off is
// finished by the next.
func TestMigrationCutOff(t *testing.T) {
	t.Parallel()
	e := defaults()[2]
	text := func(store *sqlstore.Store) string {
		files, err := store.Migrations()
		require.NoError(t, err)
		names, err := fs.Glob(files, "*.sql")
		require.NoError(t, err)
		var all strings.Builder
		for _, name := range names {
			b, err := fs.ReadFile(files, name)
			require.NoError(t, err)
			up, _, _ := strings.Cut(string(b), "-- +goose Down")
			all.WriteString(up)
		}
		return all.String()
	}
	store, _ := e.bare(t, e.dsn(t), sqlstore.Options{})
	statements := strings.Split(text(store), ";\n")
	require.Greater(t, len(statements), 5)
	for n := range statements {
		store, db := e.bare(t, e.dsn(t), sqlstore.Options{})
		for _, statement := range statements[:n] {
			_, err := db.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		require.NoError(t, store.Migrate(t.Context()), "after %d statements", n)
		require.NoError(t, store.Validate(t.Context()))
		works(t, store)
	}
}

// A pooler gives each transaction another connection and keeps no prepared
// statements.
func TestUnprepared(t *testing.T) {
	t.Parallel()
	e := defaults()[1]
	dsn := e.dsn(t)
	joint := "?"
	if strings.Contains(dsn, "?") {
		joint = "&"
	}
	store, db := e.bare(t, dsn+joint+"default_query_exec_mode=exec", sqlstore.Options{Unprepared: true})
	db.SetMaxIdleConns(-1) // each call has a new connection
	require.NoError(t, store.Migrate(t.Context()))
	works(t, store)
	var prepared int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_prepared_statements").Scan(&prepared))
	require.Zero(t, prepared)
}

// One connection is enough: nothing waits for a second one.
func TestOneConnection(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		store, db := e.bare(t, e.dsn(t), sqlstore.Options{})
		db.SetMaxOpenConns(1)
		require.NoError(t, store.Migrate(t.Context()))
		require.NoError(t, store.Validate(t.Context()))
		works(t, store)
	})
}
