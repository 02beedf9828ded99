package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	throttledmem "github.com/throttled/throttled/v2/store/memstore"
	"github.com/tokenry/apitoken"
	ulule "github.com/ulule/limiter/v3"
	ululemem "github.com/ulule/limiter/v3/drivers/store/memory"
	"golang.org/x/time/rate"
)

// limiterKeys is how many keys the limiters with many have.
const limiterKeys = 100_000

// plenty is a limit that nothing here reaches.
const plenty = 1_000_000_000

// decider takes one from the bucket of the key with the number i. Ours is given the
// instant: a verification reads the clock once for all its checks. The others read
// clocks of their own.
type decider func(ctx context.Context, i int, now time.Time) bool

// limiterKey is as long as the ID of a token.
func limiterKey(i int) string { return fmt.Sprintf("%022d", i) }

func keysOf(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = limiterKey(i)
	}
	return keys
}

func ourLimiter(_ *testing.B, n int) decider {
	l := apitoken.NewMemoryLimiter(4 * limiterKeys)
	keys := keysOf(n)
	limit := apitoken.Limit{Quota: plenty, Window: time.Second}
	return func(ctx context.Context, i int, now time.Time) bool {
		key := apitoken.LimitKey{Name: "api", Tenant: "acme", ID: keys[i]}
		d, err := l.Allow(ctx, apitoken.LimitRequest{Key: key, Limit: limit, Cost: 1}, now)
		return err == nil && d.Allowed
	}
}

func sethvargo(b *testing.B, n int) decider {
	// With a second it would give one token back at the end of it, however many it has.
	store, err := memorystore.New(&memorystore.Config{Tokens: plenty, Interval: 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close(context.Background()) })
	keys := keysOf(n)
	return func(ctx context.Context, i int, _ time.Time) bool {
		_, _, _, ok, err := store.Take(ctx, keys[i])
		return ok && err == nil
	}
}

// xTimeRate is x/time/rate in a map, without any bound.
func xTimeRate(_ *testing.B, n int) decider {
	var mu sync.Mutex
	limiters := make(map[string]*rate.Limiter)
	keys := keysOf(n)
	return func(_ context.Context, i int, _ time.Time) bool {
		mu.Lock()
		l, ok := limiters[keys[i]]
		if !ok {
			l = rate.NewLimiter(plenty, plenty)
			limiters[keys[i]] = l
		}
		mu.Unlock()
		return l.Allow()
	}
}

func ululeLimiter(_ *testing.B, n int) decider {
	l := ulule.New(ululemem.NewStore(), ulule.Rate{Period: time.Second, Limit: plenty})
	keys := keysOf(n)
	return func(ctx context.Context, i int, _ time.Time) bool {
		c, err := l.Get(ctx, keys[i])
		return err == nil && !c.Reached
	}
}

func throttledLimiter(b *testing.B, n int) decider {
	store, err := throttledmem.NewCtx(4 * limiterKeys)
	if err != nil {
		b.Fatal(err)
	}
	l, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerSec(1_000_000), MaxBurst: 100_000_000})
	if err != nil {
		b.Fatal(err)
	}
	keys := keysOf(n)
	return func(ctx context.Context, i int, _ time.Time) bool {
		limited, _, err := l.RateLimitCtx(ctx, keys[i], 1)
		return err == nil && !limited
	}
}

// limitOne is a workload of one key.
func limitOne(newLimiter func(*testing.B, int) decider) func(*testing.B) {
	return func(b *testing.B) {
		decide, ctx, now := newLimiter(b, 1), b.Context(), time.Now()
		b.ReportAllocs()
		for b.Loop() {
			now = now.Add(100)
			if !decide(ctx, 0, now) {
				b.Fatal("refused")
			}
		}
	}
}

// limitMany is a workload of many keys, in no order, on all processors.
func limitMany(newLimiter func(*testing.B, int) decider) func(*testing.B) {
	return func(b *testing.B) {
		decide := newLimiter(b, limiterKeys)
		for i := range limiterKeys { // all are known
			decide(b.Context(), i, time.Now())
		}
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			ctx, r, now := b.Context(), rand.New(rand.NewPCG(1, rand.Uint64())), time.Now()
			for pb.Next() {
				now = now.Add(100)
				if !decide(ctx, r.IntN(limiterKeys), now) {
					b.Error("refused")
					return
				}
			}
		})
	}
}
