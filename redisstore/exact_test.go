package redisstore_test

import (
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

// exact is a bucket in fractions, which lose nothing.
type exact struct {
	have  *big.Rat
	limit apitoken.Limit
	at    time.Time
}

func rat(n int) *big.Rat { return new(big.Rat).SetInt64(int64(n)) }

func float(r *big.Rat) float64 {
	f, _ := r.Float64()
	return f
}

func lesser(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

// refilled returns what d refills.
func refilled(l apitoken.Limit, d time.Duration) *big.Rat {
	return new(big.Rat).Mul(rat(l.Quota), big.NewRat(int64(d), int64(l.Window)))
}

// now returns the bucket at an instant, by a request's limit.
func (e exact) now(limit apitoken.Limit, now time.Time) exact {
	if e.have == nil {
		return exact{rat(limit.Size()), limit, now}
	}
	have := lesser(rat(e.limit.Size()), new(big.Rat).Add(e.have, refilled(e.limit, now.Sub(e.at))))
	return exact{lesser(have, rat(limit.Size())), limit, now}
}

// Buckets of doubles agree with those of fractions, but for what lies within a
// billionth of the size of the bucket from the border.
func TestAgainstFractions(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	limits := rapid.Custom(func(t *rapid.T) apitoken.Limit {
		l := apitoken.Limit{
			Quota:  rapid.OneOf(rapid.IntRange(1, 100), rapid.IntRange(1, 1_000_000_000)).Draw(t, "quota"),
			Window: rapid.SampledFrom([]time.Duration{time.Second, 7 * time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "window"),
		}
		if rapid.Bool().Draw(t, "bursts") {
			l.Burst = rapid.IntRange(1, 1000).Draw(t, "burst")
		}
		return l
	})
	rapid.Check(t, func(rt *rapid.T) {
		f.FlushAll()
		var model exact
		limit := limits.Draw(rt, "limit")
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0:
				limit = limits.Draw(rt, "limit")
			case 1, 2, 3:
				f.pass(time.Duration(rapid.IntRange(0, 10_000_000).Draw(rt, "micros")) * time.Microsecond)
			case 4:
				f.pass(time.Duration(rapid.IntRange(0, 200_000).Draw(rt, "seconds")) * time.Second)
			}
			cost := rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(0, limit.Size())).Draw(rt, "cost")
			if cost > limit.Size() {
				continue
			}
			if model.have != nil && len(f.Keys()) == 0 {
				// Who was not seen since the bucket was full is new, by whatever limit.
				require.Equal(rt, float64(model.limit.Size()), float(model.now(model.limit, f.now).have))
				model = exact{}
			}
			req := of("token", limit)
			req.Cost = cost
			// A call for several buckets has a script of its own, for the same buckets.
			var got apitoken.Decision
			if rapid.Bool().Draw(rt, "alone") {
				got = f.allow(t, req)
			} else {
				got = f.allowAll(t, req)[0]
			}

			at := model.now(limit, f.now)
			lacks := new(big.Rat).Sub(rat(cost), at.have)
			slack := new(big.Rat).Mul(rat(limit.Size()), big.NewRat(1, 1_000_000_000))
			if new(big.Rat).Abs(lacks).Cmp(slack) > 0 {
				require.Equal(rt, lacks.Sign() < 0, got.Allowed, "lacks %s", lacks.FloatString(12))
			}
			if !got.Allowed {
				// As promised, and not a moment later than need be.
				wait := refilled(limit, got.RetryAfter)
				require.LessOrEqual(rt, new(big.Rat).Sub(lacks, slack).Cmp(wait), 0)
				early := refilled(limit, got.RetryAfter-2*time.Microsecond)
				require.LessOrEqual(rt, early.Cmp(new(big.Rat).Add(lacks, slack)), 0)
			} else {
				at.have.Sub(at.have, rat(cost))
			}
			left := float(at.have)
			require.InDelta(rt, left, float64(got.Remaining), 1+left*1e-9)
			full := new(big.Rat).Sub(rat(limit.Size()), at.have)
			require.LessOrEqual(rt, new(big.Rat).Sub(full, slack).Cmp(refilled(limit, got.Reset)), 0)
			if cost > 0 && (model.have != nil || got.Allowed) {
				model = at
			}
		}
	})
}

// Nothing is ever promised too early: who waits for RetryAfter is allowed.
func TestPromiseIsKept(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	rapid.Check(t, func(rt *rapid.T) {
		f.FlushAll()
		limit := apitoken.Limit{
			Quota:  rapid.IntRange(1, 1_000_000).Draw(rt, "quota"),
			Window: time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(24*time.Hour)).Draw(rt, "window")),
			Burst:  rapid.IntRange(1, 1000).Draw(rt, "burst"),
		}
		for range 20 {
			req := of("token", limit)
			req.Cost = rapid.IntRange(1, limit.Burst).Draw(rt, "cost")
			d, err := f.limiter.Allow(t.Context(), req, time.Time{})
			require.NoError(rt, err)
			if d.Allowed {
				continue
			}
			f.pass(d.RetryAfter)
			d, err = f.limiter.Allow(t.Context(), req, time.Time{})
			require.NoError(rt, err)
			require.True(rt, d.Allowed)
		}
	})
}
