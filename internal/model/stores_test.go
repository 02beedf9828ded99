package model_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/sqlstore"
)

// engine is a kind of store whose answers are compared with those of others.
type engine struct {
	name  string
	empty func() apitoken.Store // the store with nothing in it
}

var memory = engine{"memory", func() apitoken.Store { return memstore.New() }}

func sqlite(t *testing.T) engine {
	return database(t, "SQLite", servers.SQLiteDriver, servers.SQLite(t), sqlstore.SQLite)
}

func postgres(t *testing.T) engine {
	return database(t, "PostgreSQL", servers.PostgresDriver, servers.Postgres(t), sqlstore.PostgreSQL)
}

func mariadb(t *testing.T) engine {
	return database(t, "MariaDB", servers.MariaDBDriver, servers.MariaDB(t), sqlstore.MariaDB)
}

// database is one database for all runs, emptied for each.
func database(t *testing.T, name, driver, dsn string, dialect sqlstore.Dialect) engine {
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	store, err := sqlstore.New(db, dialect, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	return engine{name, func() apitoken.Store {
		for _, table := range []string{"tokens", "events", "outbox", "settings"} {
			_, err := db.ExecContext(t.Context(), "DELETE FROM apitoken_"+table)
			require.NoError(t, err)
		}
		return store
	}}
}
