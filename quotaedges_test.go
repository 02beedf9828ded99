package apitoken_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/memstore"
)

// Uses of a week that are written when it has ended elsewhere, by a node whose clock is
// a minute behind, do not take the place of those of the week that has begun.
func TestQuotaAfterALateWrite(t *testing.T) {
	t.Parallel()
	sunday := time.Date(2027, 3, 7, 23, 59, 30, 0, time.UTC)
	w := newQuotaWorld(t, apitoken.Quotas{Week: 3})
	i := w.issue(plain)
	slow, fast := w.Service, w.Node()
	w.Clock.Set(sunday.Add(-36 * time.Hour))
	require.NoError(t, w.verify(i.Secret))
	w.Store.FailCall(0)
	require.Error(t, slow.Flush(t.Context()))
	w.Store.Reset()
	w.Clock.Set(sunday.Add(time.Minute))
	n, _ := w.usedUp(fast, i)
	require.Equal(t, 3, n)
	require.NoError(t, fast.Flush(t.Context()))
	w.Clock.Set(sunday)
	require.NoError(t, slow.Flush(t.Context()))
	w.Clock.Set(sunday.Add(2 * time.Minute))
	n, _ = w.usedUp(w.Node(), i)
	require.Zero(t, n)
}

// A write whose outcome is unclear is repeated, and its uses count twice: nobody is let
// in who should not be.
func TestQuotaAfterALostAnswer(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 10})
	i := w.issue(plain)
	for range 4 {
		require.NoError(t, w.verify(i.Secret))
	}
	w.Store.LoseAnswer(1)
	require.Error(t, w.Service.Flush(t.Context()))
	w.Store.Reset()
	require.NoError(t, w.Service.Flush(t.Context()))
	n, _ := w.usedUp(w.Service, i)
	require.Equal(t, 2, n)
}

// A token gets a quota while its uses are written: they are neither missed nor counted
// twice.
func TestQuotaThatBegins(t *testing.T) {
	t.Parallel()
	for _, quota := range []int{6, 7} {
		limited := false
		w := newWorld(t, func(o *apitoken.Options) {
			o.QuotasFor = func(context.Context, apitoken.Principal) (apitoken.Quotas, bool, error) {
				return apitoken.Quotas{Day: quota}, limited, nil
			}
		})
		i := w.issue(plain)
		use := func() {
			for range 3 {
				require.NoError(t, w.verify(i.Secret))
			}
		}
		use()
		for range 2 {
			require.NoError(t, w.Service.Flush(t.Context()))
		}
		use()
		limited = true
		w.Store.On(func(c apitokentest.Call) error {
			if c.Method != "Get" || !c.Done {
				return nil
			}
			w.Store.On(nil)
			return w.Service.Flush(t.Context()) // between what the store says and its reader
		})
		n, _ := w.usedUp(w.Service, i)
		require.Equal(t, quota-6, n)
		require.NoError(t, w.Service.Flush(t.Context()))
		require.EqualValues(t, quota, w.stored(i.Token.ID).Token.Usage.Day.Uses)
	}
}

// A store that panics leaves nothing behind that keeps others out.
func TestQuotaAfterAPanic(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 3}, func(o *apitoken.Options) { o.MaxPendingUses = 1 })
	i, other := w.issue(plain), w.issue(plain)
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Get" {
			panic("a bug of the host's store")
		}
		return nil
	})
	require.Panics(t, func() { _ = w.verify(i.Secret) })
	w.Store.On(nil)
	require.NoError(t, w.Service.Flush(t.Context()))
	require.NoError(t, w.verify(other.Secret))
}

// Explain says what Verify would: while uses are written, without room to count, and
// for quotas that go by what the principal may do.
func TestQuotaIsExplainedAsItIs(t *testing.T) {
	t.Parallel()
	accepted := func(w *world, i apitoken.Issued) bool {
		return must(w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: i.Secret.Reveal()}})).Accepted
	}
	t.Run("during a flush", func(t *testing.T) {
		t.Parallel()
		w := newQuotaWorld(t, apitoken.Quotas{Day: 1})
		i := w.issue(plain)
		require.NoError(t, w.verify(i.Secret))
		w.Store.On(func(c apitokentest.Call) error {
			if c.Method == "Touch" {
				w.Store.On(nil)
				require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrRateLimited)
				require.False(t, accepted(w, i))
			}
			return nil
		})
		require.NoError(t, w.Service.Flush(t.Context()))
	})
	t.Run("full recorder", func(t *testing.T) {
		t.Parallel()
		w := newQuotaWorld(t, apitoken.Quotas{Day: 3}, func(o *apitoken.Options) { o.MaxPendingUses = 1 })
		hog, i := w.issue(user), w.issue(plain)
		require.True(t, accepted(w, i))
		require.NoError(t, w.verify(hog.Secret))
		require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrUnavailable)
		require.False(t, accepted(w, i))
	})
	t.Run("by permission", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, func(o *apitoken.Options) {
			o.QuotasFor = func(_ context.Context, p apitoken.Principal) (apitoken.Quotas, bool, error) {
				return apitoken.Quotas{Day: 1}, !p.Can("devices:manage"), nil
			}
		})
		i := w.issue(user) // has what its owner has
		w.Owners.Set("acme", "ann", apitoken.Standing{Active: true, Permissions: viewer, Roles: []string{"super_admin"}, Resources: apitoken.Resources{All: true}})
		require.NoError(t, w.verify(i.Secret))
		require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrRateLimited)
		require.False(t, accepted(w, i))
	})
}

// Numbers and instants at the ends of their ranges.
func TestQuotaAtTheEdges(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{time.Unix(0, 0).Add(time.Hour), time.Unix(0, 0).Add(-23 * time.Hour), apitokentest.Start.Add(-11 * time.Hour)} {
		w := newQuotaWorld(t, apitoken.Quotas{Day: math.MaxInt})
		w.Clock.Set(at)
		var d []apitoken.Decision
		_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: w.issue(plain).Secret.Reveal(), Decisions: &d})
		require.NoError(t, err)
		require.Equal(t, []apitoken.Decision{{Limit: apitoken.QuotaDay, Quota: math.MaxInt, Window: day, Allowed: true, Remaining: math.MaxInt - 1, Reset: 23 * time.Hour}}, d)
	}
}

// A limit cannot pass for a quota.
func TestLimitNamedAsAQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *apitoken.Options) {
		o.LimitFor = func(context.Context, apitoken.Principal, string) (apitoken.Limit, bool, error) {
			return apitoken.Limit{Quota: 1, Window: time.Hour}, true, nil
		}
	})
	i := w.issue(plain)
	require.NoError(t, w.ask(i, 0, "uses"))
	oneFamily(t, w.ask(i, 0, apitoken.QuotaDay), apitoken.ErrUnavailable)
}

// What was written is known behind a cache when an entry is as old as it may be, also
// what was written late and is not the last use.
func TestQuotaBehindACache(t *testing.T) {
	t.Parallel()
	ctx, clock, inner := t.Context(), apitokentest.NewClock(apitokentest.Start), memstore.New()
	node := func(s apitoken.Store) *apitoken.Service {
		return must(apitoken.New(s, apitoken.Options{Clock: clock, Kinds: map[apitoken.Kind]apitoken.Policy{"api": {Quotas: apitoken.Quotas{Day: 100}}}}))
	}
	a, b, c := node(inner), node(inner), node(must(cachestore.New(inner, cachestore.Options{Clock: clock, MaxStale: 5 * time.Second})))
	issued := must(a.Issue(ctx, apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"}))
	ask := func(s *apitoken.Service) error {
		_, err := s.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		return err
	}
	for range 90 {
		require.NoError(t, ask(b))
	}
	clock.Advance(time.Second)
	require.NoError(t, ask(a))
	require.NoError(t, a.Flush(ctx))
	require.NoError(t, ask(c))
	require.NoError(t, b.Flush(ctx))
	allowed := 0
	for range 10 {
		clock.Advance(6 * time.Second)
		for range 20 {
			if ask(c) == nil {
				allowed++
			}
		}
	}
	require.Equal(t, 8, allowed)
}

// While a write is under way on the one node, requests come, other flushes begin, days
// pass and the write fails: each decision is that of one that knows every use.
func TestQuotaDuringWrites(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		q := apitoken.Quotas{Day: r.IntN(6), Week: r.IntN(16), Month: r.IntN(40)}
		w := newQuotaWorld(t, q)
		i := w.issue(plain)
		ref := quotaReference{quotas: q, pending: make([][]time.Time, 1)}
		act := func() {
			switch what := r.IntN(10); {
			case what < 6:
				now := w.Clock.Now()
				allows, err := ref.allows(0, now), w.verify(i.Secret)
				if allows != (err == nil) || err != nil && !errors.Is(err, apitoken.ErrRateLimited) {
					t.Fatalf("seed %d at %s: the reference says %t, Verify %v", seed, now, allows, err)
				}
				if allows {
					ref.written = append(ref.written, now)
				}
			case what < 8:
				_ = w.Service.Flush(t.Context())
			default:
				w.Clock.Advance(time.Duration(r.Int64N(int64([]time.Duration{time.Minute, time.Hour, day, 3 * day}[r.IntN(4)]))))
			}
		}
		depth := 0
		w.Store.On(func(c apitokentest.Call) error {
			if c.Method != "Touch" || depth == 3 {
				return nil
			}
			depth++
			for range r.IntN(4) {
				act()
			}
			depth--
			if !c.Done && r.IntN(3) == 0 {
				return apitokentest.ErrFault
			}
			return nil
		})
		for range 150 {
			act()
		}
		w.Store.Reset()
		require.NoError(t, w.Service.Flush(t.Context()))
		require.EqualValues(t, len(ref.written), w.stored(i.Token.ID).Token.Usage.Uses, "seed %d", seed)
	}
}
