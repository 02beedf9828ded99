package integration_test

import (
	"database/sql"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
	"github.com/tokenry/apitoken/storetest"
)

// engine is a database as the tests reach it.
type engine struct {
	name    string
	driver  string
	dialect sqlstore.Dialect
	dsn     func(t testing.TB) string // of a new, empty database
}

// engines are all of them, at every isolation level that each has.
func engines() []engine {
	all := []engine{{"SQLite", "sqlite", sqlstore.SQLite, servers.SQLite}}
	for _, level := range []servers.Isolation{servers.ReadCommitted, servers.RepeatableRead, servers.Serializable} {
		all = append(all,
			engine{"PostgreSQL " + string(level), "pgx", sqlstore.PostgreSQL, func(t testing.TB) string { return servers.Postgres(t, level) }},
			engine{"MariaDB " + string(level), "mysql", sqlstore.MariaDB, func(t testing.TB) string { return servers.MariaDB(t, level) }},
		)
	}
	return all
}

// open returns a store with the schema, and its pool.
func (e engine) open(t testing.TB) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	return e.openAt(t, e.dsn(t))
}

func (e engine) openAt(t testing.TB, dsn string) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open(e.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := sqlstore.New(db, e.dialect, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.Validate(t.Context()))
	return store, db
}

// empty deletes all rows.
func empty(t testing.TB, db *sql.DB) {
	t.Helper()
	for _, table := range []string{"tokens", "events", "outbox", "settings", "replays"} {
		_, err := db.ExecContext(t.Context(), "DELETE FROM apitoken_"+table)
		require.NoError(t, err)
	}
}

var levels = flag.Bool("levels", false, "the long proof of TestStore, TestPgxStore, TestStoreInTx and TestInTx: at every isolation level")

// skipsLevel reports a level that the suite leaves out by default, where it runs at
// the highest: most goes wrong there.
func skipsLevel(name string) bool {
	return !*levels && (strings.Contains(name, string(servers.ReadCommitted)) || strings.Contains(name, string(servers.RepeatableRead)))
}

func TestStore(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		if skipsLevel(e.name) {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			store, db := e.open(t)
			storetest.Run(t, func(t *testing.T) apitoken.Store {
				empty(t, db)
				return store
			})
		})
	}
}
