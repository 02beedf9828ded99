package apitoken_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// exactBucket is the limiter without rounding: what it should be.
type exactBucket struct {
	limit apitoken.Limit
	have  *big.Rat
	at    time.Time
}

func newExactBucket(limit apitoken.Limit, now time.Time) *exactBucket {
	return &exactBucket{limit, whole(limit.Size()), now}
}

func whole(n int) *big.Rat { return new(big.Rat).SetInt64(int64(n)) }

func atMost(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) > 0 {
		return b
	}
	return a
}

// show brings the bucket up to now under a limit: refilled by the old rate, then of
// the new size.
func (b *exactBucket) show(limit apitoken.Limit, now time.Time) {
	gained := new(big.Rat).Mul(whole(b.limit.Quota), big.NewRat(int64(now.Sub(b.at)), int64(b.limit.Window)))
	b.have = atMost(new(big.Rat).Add(b.have, gained), whole(b.limit.Size()))
	b.have = atMost(b.have, whole(limit.Size()))
	b.limit, b.at = limit, now
}

// wait is how long until cost is there, in nanoseconds.
func (b *exactBucket) wait(cost int) float64 {
	missing := new(big.Rat).Sub(whole(cost), b.have)
	f, _ := new(big.Rat).Quo(new(big.Rat).Mul(missing, big.NewRat(int64(b.limit.Window), 1)), whole(b.limit.Quota)).Float64()
	return f
}

// S1.19, S1.20: whatever is asked when, and however the limit is edited in between,
// the limiter decides as one that reckons in fractions does. Only where the two are
// within a part in a billion of a request may they differ.
func TestLimiterAgainstExactReference(t *testing.T) {
	t.Parallel()
	const speck = 1e-9
	near := 0
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 6))
			l := newLimiting(t, 64)
			draw := func() apitoken.Limit {
				limit := apitoken.Limit{
					Quota:  1 + r.IntN([]int{3, 100, 100_000}[r.IntN(3)]),
					Window: []time.Duration{time.Second, time.Minute, 7 * time.Second, time.Hour, 24 * time.Hour}[r.IntN(5)],
					Burst:  r.IntN(2) * (1 + r.IntN(50)),
				}
				return limit.Share(1 + r.IntN(100))
			}
			limit := draw()
			exact := newExactBucket(limit, l.now)
			l.ask("a", limit) // both know the bucket
			exact.have.Sub(exact.have, whole(1))
			for step := range 300 {
				switch r.IntN(10) {
				case 0:
					limit = draw()
				case 1, 2, 3:
					l.advance(time.Duration(r.Int64N(int64(limit.Window))))
				case 4:
					l.advance(time.Duration(r.Int64N(1000)))
				}
				cost := 1
				if r.IntN(4) == 0 {
					cost = r.IntN(limit.Size() + 3)
				}
				exact.show(limit, l.now)
				req := one("a", limit)
				req.Cost = cost
				d, err := l.Allow(t.Context(), req, l.now)
				require.NoError(t, err)
				have, _ := exact.have.Float64()
				require.Equal(t, cost > limit.Size(), d.Never, "step %d", step)
				switch {
				case cost > limit.Size():
					require.False(t, d.Allowed, "step %d", step)
				case math.Abs(have-float64(cost)) < speck:
					near++
				default:
					require.Equal(t, have > float64(cost), d.Allowed, "step %d: %g of %d are there", step, have, cost)
				}
				if d.Allowed {
					exact.have = new(big.Rat).Sub(exact.have, whole(cost))
					have -= float64(cost)
				} else if !d.Never {
					require.InDelta(t, exact.wait(cost), float64(d.RetryAfter), 2+1e-9*float64(limit.Window), "step %d", step)
				}
				require.InDelta(t, have, float64(d.Remaining)+0.5, 0.5+speck, "step %d", step)
				require.InDelta(t, max(0, exact.wait(limit.Size())), float64(d.Reset), 2+1e-9*float64(limit.Window), "step %d", step)
			}
		})
	}
	t.Logf("%d decisions at the very edge", near)
}

// Several buckets at once: the same decisions as one after the other, and where one
// refuses, nothing is taken anywhere.
func TestLimiterAllAtOnceAgainstReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		l := newLimiting(t, 64*8)
		limits, exact := map[string]apitoken.Limit{}, map[string]*exactBucket{}
		for i := range 4 {
			key := fmt.Sprint(i)
			// Powers of two, so that no sum is rounded.
			limits[key] = apitoken.Limit{Quota: 1 << r.IntN(6), Window: 1 << 30}
			exact[key] = newExactBucket(limits[key], l.now)
		}
		for step := range 200 {
			l.advance(time.Duration(r.IntN(4)) << 26)
			var reqs []apitoken.LimitRequest
			for range r.IntN(5) {
				req := one(fmt.Sprint(r.IntN(4)), apitoken.Limit{})
				req.Limit, req.Cost = limits[req.Key.ID], r.IntN(4)
				reqs = append(reqs, req)
			}
			all, taken := true, map[string]int{}
			for _, b := range exact {
				b.show(b.limit, l.now)
			}
			for _, req := range reqs {
				b := exact[req.Key.ID]
				if b.have.Cmp(whole(taken[req.Key.ID]+req.Cost)) < 0 || req.Cost > req.Limit.Size() {
					all = false
				} else {
					taken[req.Key.ID] += req.Cost
				}
			}
			decisions, err := l.AllowAll(t.Context(), reqs, l.now)
			require.NoError(t, err)
			require.Len(t, decisions, len(reqs))
			got := true
			for _, d := range decisions {
				got = got && d.Allowed
			}
			require.Equal(t, all, got, "seed %d, step %d", seed, step)
			if all {
				for key, n := range taken {
					exact[key].have = new(big.Rat).Sub(exact[key].have, whole(n))
				}
			}
		}
	}
}
