package integration_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
)

// Three nodes with one database, two of them behind a cache, spend a quota together.
// What is written all know; beyond the quota goes at most what was not.
func TestQuotaOnNodes(t *testing.T) {
	onEach(t, func(t *testing.T, e engine) {
		const quota, unwritten = 300, 20
		ctx := t.Context()
		clock := apitokentest.NewClock(apitokentest.Start)
		opts := apitoken.Options{Clock: clock, Kinds: map[apitoken.Kind]apitoken.Policy{"free": {Quotas: apitoken.Quotas{Day: quota, Month: 2 * quota}}}}
		dsn := e.dsn(t)
		var nodes []*apitoken.Service
		for i := range 3 {
			db, _ := e.openAt(t, dsn)
			var store apitoken.Store = db
			if i > 0 {
				cached, err := cachestore.New(db, cachestore.Options{Clock: clock})
				require.NoError(t, err)
				store = cached
			}
			node, err := apitoken.New(store, opts)
			require.NoError(t, err)
			nodes = append(nodes, node)
		}
		issued, err := nodes[0].Issue(ctx, apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"})
		require.NoError(t, err)
		ask := func(node *apitoken.Service) bool {
			_, err := node.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
			if err != nil && !errors.Is(err, apitoken.ErrRateLimited) {
				t.Error(err)
			}
			return err == nil
		}
		spend := func() int64 {
			var allowed atomic.Int64
			var wg sync.WaitGroup
			for _, node := range nodes {
				wg.Go(func() {
					for range quota {
						for range unwritten {
							if ask(node) {
								allowed.Add(1)
							}
						}
						if err := node.Flush(ctx); err != nil {
							t.Error(err)
						}
						clock.Advance(time.Millisecond)
						if !ask(node) {
							return
						}
						allowed.Add(1)
					}
				})
			}
			wg.Wait()
			for _, node := range nodes {
				require.NoError(t, node.Flush(ctx))
			}
			return allowed.Load()
		}
		got := spend()
		require.GreaterOrEqual(t, got, int64(quota))
		most := int64(quota + 2*(unwritten+1)*2) // two others, and what came while they wrote
		require.LessOrEqual(t, got, most)
		view, err := nodes[1].Get(ctx, apitoken.Actor{ID: "ann", Tenant: "acme"}, issued.Token.ID)
		require.NoError(t, err)
		require.Equal(t, apitoken.PeriodUses{From: apitokentest.Start.Truncate(24 * time.Hour), Uses: got}, view.Usage.Day)

		clock.Advance(time.Minute) // beyond the age of any cache
		for _, node := range nodes {
			require.False(t, ask(node), "all know")
		}
		clock.Advance(24 * time.Hour)
		next := spend()
		require.GreaterOrEqual(t, next, 2*quota-got, "what the month has left")
		require.LessOrEqual(t, next, most)
	})
}
