package integration_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/storetest"
)

// P15, on every engine: tens of connections insert one key at once.
func TestReplayGuard(t *testing.T) {
	t.Parallel()
	for _, e := range engines() {
		if skipsLevel(e.name) {
			continue
		}
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			store, db := e.open(t)
			storetest.RunReplayGuard(t, func(t *testing.T) apitoken.ReplayGuard {
				empty(t, db)
				return store
			})
		})
	}
	for _, level := range []servers.Isolation{servers.ReadCommitted, servers.RepeatableRead, servers.Serializable} {
		name := "pgxstore " + string(level)
		if skipsLevel(name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, pool := openPgx(t, servers.Postgres(t, level), pgx.QueryExecModeCacheStatement)
			storetest.RunReplayGuard(t, func(t *testing.T) apitoken.ReplayGuard {
				_, err := pool.Exec(t.Context(), "DELETE FROM apitoken_replays")
				require.NoError(t, err)
				return store
			})
		})
	}
}
