package redisstore_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

// leased is a node whose clock is that of the Redis.
func (f *fake) leased(t require.TestingT, limiter *redisstore.Limiter, req apitoken.LimitRequest) apitoken.Decision {
	d, err := limiter.Allow(f.ctx, req, f.now)
	require.NoError(t, err)
	require.False(t, d.Local)
	return d
}

// asked returns how many commands were sent for f.
func (f *fake) asked(what func()) int {
	f.sent.reset()
	what()
	return len(f.sent.commands)
}

func TestLease(t *testing.T) {
	t.Parallel()
	f, memory := newFake(t, redisstore.LimiterOptions{Lease: 100}), apitoken.NewMemoryLimiter(100_000)
	req := of("token", apitoken.Limit{Quota: 10_000, Window: 24 * time.Hour})
	asked := f.asked(func() {
		for i := range 2000 {
			if i == 1000 {
				f.pass(999 * time.Millisecond)
			}
			got := f.leased(t, f.limiter, req)
			want, err := memory.Allow(t.Context(), req, epoch)
			require.NoError(t, err)
			require.True(t, got.Allowed)
			require.InDelta(t, want.Remaining, got.Remaining, 1, "a single node knows all")
			require.InDelta(t, want.Reset, got.Reset, float64(time.Second))
		}
	})
	require.Less(t, asked, 35, "2, 6, 18, 54, and then 100 and 1 at once")
	require.Greater(t, asked, 20)
}

func TestLeaseEnds(t *testing.T) {
	t.Parallel()
	day := apitoken.Limit{Quota: 10_000, Window: 10_000 * time.Hour}
	for _, c := range []struct {
		name string
		pass time.Duration
		ends bool
	}{
		{"in time", time.Second - 1, false},
		{"at the end", time.Second, true},
		{"a clock that was set back a little", -time.Millisecond, false},
		{"or by much", -time.Hour, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, redisstore.LimiterOptions{Lease: 100})
			req := of("token", day)
			for range 6 { // ask, ask for 2 more, two of those, ask for 6 more, one of those
				f.leased(t, f.limiter, req)
			}
			require.Equal(t, 10_000-11, f.left(t, req), "in Redis")
			f.now = f.now.Add(c.pass) // of the node alone
			asked := f.asked(func() { require.True(t, f.leased(t, f.limiter, req).Allowed) })
			if !c.ends {
				require.Zero(t, asked)
				return
			}
			require.Equal(t, 1, asked)
			require.Equal(t, 10_000-11-2, f.left(t, req), "5 are given up, and 1 that was used is lent again")
			require.Zero(t, f.asked(func() { f.leased(t, f.limiter, req) }))
			require.Equal(t, 1, f.asked(func() { f.leased(t, f.limiter, req) }))
		})
	}
}

// Who comes less often than a lease lasts is counted exactly.
func TestLeaseIsForTheBusy(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{Lease: 100, LeaseFor: time.Second})
	req := of("token", apitoken.Limit{Quota: 10_000, Window: 10_000 * time.Hour})
	for i := range 50 {
		req.Cost = 3
		require.Equal(t, 10_000-3*(i+1), f.leased(t, f.limiter, req).Remaining)
		require.Equal(t, 10_000-3*(i+1), f.left(t, req))
		f.pass(time.Second)
	}
}

// The last tenth of ten is not lent.
func TestLeaseOfLittle(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{Lease: 1000})
	req := of("token", apitoken.Limit{Quota: 100, Window: 10_000 * time.Hour})
	for i := range 100 {
		d := f.leased(t, f.limiter, req)
		require.True(t, d.Allowed)
		require.Equal(t, 99-i, d.Remaining)
		require.GreaterOrEqual(t, f.left(t, req), (99-i)*9/10-1)
	}
	d := f.leased(t, f.limiter, req)
	require.False(t, d.Allowed)
	require.Equal(t, 100*time.Hour, d.RetryAfter.Round(time.Second))
}

func TestLeaseAndCost(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{Lease: 100})
	req := of("token", apitoken.Limit{Quota: 1_000_000, Window: 10_000 * time.Hour})
	used := 0
	for i := range 200 {
		req.Cost = 1 + i*37%300
		used += req.Cost
		remaining := f.leased(t, f.limiter, req).Remaining
		require.LessOrEqual(t, remaining, 1_000_000-used)
		require.GreaterOrEqual(t, remaining, 1_000_000-used-100, "less what is held")
		held := 1_000_000 - used - f.left(t, req)
		require.GreaterOrEqual(t, held, 0)
		require.LessOrEqual(t, held, 100)
	}
}

func TestLeaseAndEdit(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{Lease: 100})
	req := of("token", apitoken.Limit{Quota: 10_000, Window: 10_000 * time.Hour})
	for range 12 {
		f.leased(t, f.limiter, req)
	}
	req.Limit.Quota = 5
	require.Equal(t, 1, f.asked(func() { require.Equal(t, 4, f.leased(t, f.limiter, req).Remaining) }))
	req.Limit.Quota = 0
	require.False(t, f.leased(t, f.limiter, req).Allowed)
	req.Limit.Quota = 10_000
	require.Equal(t, 3, f.leased(t, f.limiter, req).Remaining)
	f.allowAll(t, req)
	require.Equal(t, 1, f.asked(func() { f.allowAll(t, req) }), "several limits at once are never lent")
	require.Equal(t, 1, f.asked(func() { f.left(t, req) }), "nor is a look")
}

// When Redis is lost, a node hands out what it has, and then by its part of the limit.
func TestLeaseInAnOutage(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{Lease: 100, Nodes: func() int { return 1000 }})
	req := of("token", apitoken.Limit{Quota: 10_000, Window: 10_000 * time.Hour})
	for range 6 { // 5 are left: see TestLeaseEnds
		_, err := limiter.Allow(t.Context(), req, epoch)
		require.NoError(t, err)
	}
	l.set(errCut)
	for i := range 20 {
		d, err := limiter.Allow(t.Context(), req, epoch)
		require.NoError(t, err)
		require.Equal(t, i >= 5, d.Local)
		require.Equal(t, i < 5+10, d.Allowed)
	}
	l.set(nil)
	for i := range 3 {
		d, err := limiter.Allow(t.Context(), req, epoch.Add(time.Minute))
		require.NoError(t, err)
		require.True(t, d.Allowed && !d.Local, i)
	}
}

// Of many requests at once, one asks for more than it needs.
func TestLeaseAtOnce(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{Lease: 100})
	req := of("token", apitoken.Limit{Quota: 10_000, Window: 10_000 * time.Hour})
	allow := func(cost int) (apitoken.Decision, error) {
		req := req
		req.Cost = cost
		return limiter.Allow(t.Context(), req, epoch)
	}
	_, err := allow(1)
	require.NoError(t, err)
	hold, tries := l.wait(), l.tries.Load()
	done := make(chan error)
	go func() {
		_, err := allow(1) // and 2 more
		done <- err
	}()
	require.Eventually(t, func() bool { return l.tries.Load() > tries }, time.Minute, time.Millisecond)
	for range 8 {
		_, err := allow(1)
		require.NoError(t, err)
	}
	close(hold)
	require.NoError(t, <-done)
	d, err := allow(0)
	require.NoError(t, err)
	require.Equal(t, 10_000-12, d.Remaining)
}

// P14
func TestLeasesAreBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{Lease: 100, LocalBuckets: 100})
	limit := apitoken.Limit{Quota: 1000, Window: time.Hour}
	for i := range 500 {
		for range 1 + i%2 {
			require.True(t, f.leased(t, f.limiter, of(fmt.Sprint(i), limit)).Allowed)
		}
		require.LessOrEqual(t, f.limiter.Leases(), 101)
	}
}

// Nodes with leases allow no more than the bucket ever had, and no burst that is larger
// by more than what they may hold.
func TestLeasesNeverExceed(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	rapid.Check(t, func(rt *rapid.T) {
		f.FlushAll()
		limit := apitoken.Limit{
			Quota: rapid.IntRange(1, 5000).Draw(rt, "quota"), Window: time.Minute, Burst: rapid.IntRange(1, 500).Draw(rt, "burst"),
		}
		lease := rapid.IntRange(1, 200).Draw(rt, "lease")
		nodes := make([]*redisstore.Limiter, rapid.IntRange(1, 3).Draw(rt, "nodes"))
		for i := range nodes {
			var err error
			nodes[i], err = redisstore.NewLimiter(f.client, redisstore.LimiterOptions{Lease: lease, LeaseFor: 2 * time.Second, Timeout: time.Minute})
			require.NoError(rt, err)
		}
		start, allowed := f.now, 0
		bucket := exact{rat(limit.Size()), limit, start}
		slack := new(big.Rat).Mul(rat(limit.Size()), big.NewRat(1, 1_000_000_000))
		held := new(big.Rat).Add(rat(len(nodes)*lease), slack)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "pass") == 0 {
				f.pass(time.Duration(rapid.IntRange(0, 3_000_000).Draw(rt, "micros")) * time.Microsecond)
			}
			req := of("token", limit)
			req.Cost = min(limit.Size(), rapid.IntRange(1, 20).Draw(rt, "cost"))
			node := nodes[rapid.IntRange(0, len(nodes)-1).Draw(rt, "node")]
			for range rapid.IntRange(1, 6).Draw(rt, "times") {
				d := f.leased(rt, node, req)
				require.GreaterOrEqual(rt, d.Remaining, 0)
				require.LessOrEqual(rt, d.Remaining, limit.Size())
				if !d.Allowed {
					require.Positive(rt, d.RetryAfter)
					continue
				}
				allowed += req.Cost
				most := new(big.Rat).Add(rat(limit.Size()), refilled(limit, f.now.Sub(start)))
				require.LessOrEqual(rt, rat(allowed).Cmp(most.Add(most, slack)), 0)
				bucket = bucket.now(limit, f.now)
				bucket.have.Sub(bucket.have, rat(req.Cost))
				require.GreaterOrEqual(rt, new(big.Rat).Add(bucket.have, held).Sign(), 0)
			}
		}
	})
}
