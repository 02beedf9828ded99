package integration_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// A hint over LISTEN and NOTIFY makes a revocation count on another node before its
// cache would find out by itself: no time passes in this test.
func TestHints(t *testing.T) {
	t.Parallel()
	dsn := servers.Postgres(t)
	clock := apitokentest.NewClock(time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC))
	announce, err := sql.Open(servers.PostgresDriver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, announce.Close()) })
	node := func(changed func(...apitoken.ID)) (*apitoken.Service, *cachestore.Store) {
		store, _ := engine{"PostgreSQL", servers.PostgresDriver, sqlstore.PostgreSQL, nil}.openAt(t, dsn)
		cache, err := cachestore.New(store, cachestore.Options{Clock: clock, Changed: changed})
		require.NoError(t, err)
		tokens, err := apitoken.New(cache, apitoken.Options{Prefix: "acme", Clock: clock})
		require.NoError(t, err)
		return tokens, cache
	}
	first, _ := node(func(ids ...apitoken.ID) {
		for _, id := range ids {
			_, err := announce.ExecContext(context.WithoutCancel(t.Context()), "SELECT pg_notify('tokens', $1)", string(id))
			require.NoError(t, err)
		}
	})
	second, cache := node(nil)

	listener, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer listener.Close(context.WithoutCancel(t.Context()))
	_, err = listener.Exec(t.Context(), "LISTEN tokens")
	require.NoError(t, err)
	heard := func(id apitoken.ID) {
		hint, err := listener.WaitForNotification(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(id), hint.Payload)
		cache.Forget(apitoken.ID(hint.Payload))
	}

	ann := apitoken.Actor{ID: "ann", Tenant: "acme"}
	issued, err := first.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "ci"})
	require.NoError(t, err)
	heard(issued.Token.ID)
	verify := func() error {
		_, err := second.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		return err
	}
	require.NoError(t, verify())
	require.NoError(t, first.Revoke(t.Context(), ann, issued.Token.ID, "left"))
	require.NoError(t, verify(), "without the hint the cache may answer")
	heard(issued.Token.ID)
	require.ErrorIs(t, verify(), apitoken.ErrUnauthenticated)
}
