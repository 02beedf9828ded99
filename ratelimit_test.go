package apitoken_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// limiting is a limiter with a hand on the clock.
type limiting struct {
	*apitoken.MemoryLimiter
	t   *testing.T
	now time.Time
}

func newLimiting(t *testing.T, buckets int) *limiting {
	return &limiting{apitoken.NewMemoryLimiter(buckets), t, noon}
}

// one asks for one request.
func one(key string, limit apitoken.Limit) apitoken.LimitRequest {
	return apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "api", ID: key}, Limit: limit, Cost: 1}
}

func (l *limiting) ask(key string, limit apitoken.Limit) apitoken.Decision {
	l.t.Helper()
	d, err := l.Allow(l.t.Context(), one(key, limit), l.now)
	require.NoError(l.t, err)
	return d
}

// count asks until it is refused and returns how often it was not.
func (l *limiting) count(key string, limit apitoken.Limit) int {
	l.t.Helper()
	for n := range 1 << 20 {
		if !l.ask(key, limit).Allowed {
			return n
		}
	}
	l.t.Fatal("never refused")
	return 0
}

func (l *limiting) advance(d time.Duration) { l.now = l.now.Add(d) }

// S1.19: max(1, floor(limit × percent ÷ 100)), 0 when the limit is 0.
func TestLimitShare(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ quota, percent, want int }{
		{100, 50, 50}, {100, 100, 100}, {100, 1, 1}, {1, 50, 1}, {3, 50, 1}, {3, 67, 2}, {3, 66, 1}, {199, 50, 99},
		{10, 1, 1}, {99, 1, 1}, {200, 1, 2}, {0, 100, 0}, {0, 1, 0}, {1, 1, 1}, {1, 100, 1},
		{math.MaxInt32, 100, math.MaxInt32}, {math.MaxInt32, 50, math.MaxInt32 / 2},
		{math.MaxInt, 100, math.MaxInt}, {math.MaxInt, 50, math.MaxInt / 2}, // 'no limit' stays one
	} {
		got := apitoken.Limit{Quota: tc.quota, Window: time.Minute, Burst: tc.quota}.Share(tc.percent)
		require.Equal(t, apitoken.Limit{Quota: tc.want, Window: time.Minute, Burst: tc.want}, got, "%d %% of %d", tc.percent, tc.quota)
	}
	got := apitoken.Limit{Quota: 100, Window: time.Minute}.Share(50)
	require.Zero(t, got.Burst, "a burst that follows the quota goes on following it")

	r := rand.New(rand.NewPCG(5, 5))
	for range 100_000 {
		n, percent := int(r.Uint64()>>(1+r.IntN(62)))&math.MaxInt, 1+r.IntN(100)
		exact := new(big.Int).Mul(big.NewInt(int64(n)), big.NewInt(int64(percent)))
		want := max(1, int(exact.Div(exact, big.NewInt(100)).Int64()))
		if n == 0 {
			want = 0
		}
		require.Equal(t, want, apitoken.Limit{Quota: n}.Share(percent).Quota, "%d %% of %d", percent, n)
	}
}

func TestLimiterBurstsAndRefills(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 6400)
	limit := apitoken.Limit{Quota: 10, Window: 10 * time.Second}
	for want := 9; want >= 0; want-- {
		d := l.ask("a", limit)
		require.Equal(t, apitoken.Decision{Limit: "api", Quota: 10, Window: 10 * time.Second, Allowed: true, Remaining: want, Reset: time.Duration(10-want) * time.Second}, d)
	}
	require.Equal(t, apitoken.Decision{Limit: "api", Quota: 10, Window: 10 * time.Second, Reset: 10 * time.Second, RetryAfter: time.Second}, l.ask("a", limit))
	require.True(t, l.ask("b", limit).Allowed, "each token has a bucket of its own")

	l.advance(time.Second - 2)
	d := l.ask("a", limit)
	require.False(t, d.Allowed)
	require.Equal(t, time.Duration(2), d.RetryAfter)
	l.advance(2)
	require.Equal(t, 1, l.count("a", limit), "one each second")
	l.advance(3500 * time.Millisecond)
	require.Equal(t, 3, l.count("a", limit))
	require.Equal(t, 500*time.Millisecond, l.ask("a", limit).RetryAfter, "the half that was left counts")
	l.advance(time.Hour)
	require.Equal(t, 10, l.count("a", limit), "never more than the burst")
}

func TestLimiterBurstOfItsOwn(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 6400)
	limit := apitoken.Limit{Quota: 60, Window: time.Minute, Burst: 5}
	require.Equal(t, 5, l.count("a", limit))
	l.advance(2 * time.Second)
	require.Equal(t, 2, l.count("a", limit))
	limit.Burst = 120
	require.Equal(t, 120, l.count("b", limit))
}

// One bucket for each token and API.
func TestLimiterKeys(t *testing.T) {
	t.Parallel()
	l := apitoken.NewMemoryLimiter(64 * 64)
	limit := apitoken.Limit{Quota: 1, Window: time.Hour}
	for _, key := range []apitoken.LimitKey{
		{Name: "x", ID: "a"}, {Name: "y", ID: "a"}, {Name: "x", ID: "b"}, {ID: "ax"}, {Name: "ax"},
		{Name: "x", ID: "a", Per: apitoken.PerOwner}, {Name: "x", ID: "a", Per: apitoken.PerOwner, Tenant: "acme"},
		{Name: "x", ID: "acme", Per: apitoken.PerOwner}, {Name: "x", Per: apitoken.PerTenant, Tenant: "a"},
	} {
		for _, want := range []bool{true, false} {
			d, err := l.Allow(t.Context(), apitoken.LimitRequest{Key: key, Limit: limit, Cost: 1}, noon)
			require.NoError(t, err)
			require.Equal(t, want, d.Allowed, "%v", key)
			require.Equal(t, key.Name, d.Limit)
		}
	}
}

func TestLimiterOfZero(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 6400)
	d := l.ask("a", apitoken.Limit{Quota: 0, Window: time.Minute, Burst: 5})
	require.Equal(t, apitoken.Decision{Limit: "api", Window: time.Minute, RetryAfter: time.Minute, Never: true}, d)
	require.Zero(t, l.Buckets())
}

// A limit that makes no sense must not let requests pass: with a window of zero
// the rate would be infinite.
func TestLimiterRefusesNonsense(t *testing.T) {
	t.Parallel()
	l := apitoken.NewMemoryLimiter(64)
	for _, limit := range []apitoken.Limit{
		{Quota: 10}, {Quota: 10, Window: -time.Second}, {Quota: -1, Window: time.Second}, {Quota: 1, Window: time.Second, Burst: -1},
	} {
		d, err := l.Allow(t.Context(), one("a", limit), noon)
		require.Error(t, err, "%+v", limit)
		require.False(t, d.Allowed)
	}
}

// Waiting as long as the limiter says is enough, and three nanoseconds less is
// not: package rate counts in whole ones.
func TestLimiterRetryAfterIsExact(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 9))
	for i := range 3000 {
		l := newLimiting(t, 6400)
		l.now = l.now.Add(time.Duration(r.Int64N(int64(time.Hour))))
		limit := apitoken.Limit{
			Quota:  1 + r.IntN(1000),
			Window: []time.Duration{time.Second, time.Minute, 7 * time.Second, time.Hour, 30 * 24 * time.Hour}[r.IntN(5)],
			Burst:  1 + r.IntN(5),
		}
		for range 3 {
			l.count("a", limit)
			wait := l.ask("a", limit).RetryAfter
			require.Positive(t, wait, "%d: %+v", i, limit)
			require.LessOrEqual(t, wait, limit.Window/time.Duration(limit.Quota)+1)
			l.advance(wait - 3)
			require.False(t, l.ask("a", limit).Allowed, "%d: %+v: sooner than after %s", i, limit, wait)
			l.advance(3)
			require.True(t, l.ask("a", limit).Allowed, "%d: %+v: not after %s", i, limit, wait)
			l.advance(time.Duration(r.Int64N(int64(limit.Window))))
		}
	}
}

func TestLimiterOfHugeFigures(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 6400)
	d := l.ask("none", apitoken.Limit{Quota: math.MaxInt, Window: time.Second})
	require.True(t, d.Allowed)
	require.Positive(t, d.Remaining)
	slow := apitoken.Limit{Quota: 1, Window: 100 * 365 * 24 * time.Hour, Burst: 1000}
	require.Equal(t, 1000, l.count("slow", slow))
	require.Positive(t, l.ask("slow", slow).RetryAfter)
}

// S1.20: editing the share acts at once and refills nothing.
func TestLimiterEditRefillsNothing(t *testing.T) {
	t.Parallel()
	limit := apitoken.Limit{Quota: 100, Window: 100 * time.Second}
	t.Run("empty stays empty", func(t *testing.T) {
		t.Parallel()
		l := newLimiting(t, 6400)
		require.Equal(t, 50, l.count("a", limit.Share(50)))
		for _, percent := range []int{100, 1, 100, 50, 99} {
			require.Zero(t, l.count("a", limit.Share(percent)), "%d %%", percent)
		}
		require.Equal(t, time.Second, l.ask("a", limit).RetryAfter, "the new rate counts at once")
		l.advance(10 * time.Second)
		require.Equal(t, 10, l.count("a", limit))
	})
	t.Run("half full stays so", func(t *testing.T) {
		t.Parallel()
		l := newLimiting(t, 6400)
		for range 20 {
			l.ask("a", limit.Share(50))
		}
		require.Equal(t, 30, l.count("a", limit), "the 30 that were left")
	})
	t.Run("lowering takes what is too much", func(t *testing.T) {
		t.Parallel()
		l := newLimiting(t, 6400)
		l.ask("a", limit)
		require.Equal(t, 10, l.count("a", limit.Share(10)))
		require.Zero(t, l.count("a", limit))
	})
	t.Run("time before the edit counts by the old rate", func(t *testing.T) {
		t.Parallel()
		l := newLimiting(t, 6400)
		l.count("a", limit.Share(10))
		l.advance(50 * time.Second) // 5 at 10 in 100 s
		require.Equal(t, 5, l.count("a", limit))
	})
}

// A clock that is set back neither refills a bucket nor stops it until the old
// time has come again.
func TestLimiterClockSetBack(t *testing.T) {
	t.Parallel()
	limit := apitoken.Limit{Quota: 10, Window: 10 * time.Second}
	for _, back := range []time.Duration{2 * time.Second, time.Hour, 365 * 24 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			l := newLimiting(t, 6400)
			require.Equal(t, 10, l.count("a", limit))
			l.advance(1500 * time.Millisecond)
			require.Equal(t, 1, l.count("a", limit))
			l.advance(-back)
			require.Zero(t, l.count("a", limit), "no more than had come before")
			l.advance(3 * time.Second)
			require.Equal(t, 3, l.count("a", limit), "it goes on from where the clock is")
			l.advance(-back)
			require.Zero(t, l.count("a", limit))
			l.advance(time.Second)
			require.Equal(t, 1, l.count("a", limit))
		})
	}
}

// What a bucket had gained before the clock was set back is not lost.
func TestLimiterClockSetBackKeepsWhatWasGained(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 6400)
	limit := apitoken.Limit{Quota: 10, Window: 10 * time.Second}
	require.Equal(t, 10, l.count("a", limit))
	l.advance(4 * time.Second)
	require.True(t, l.ask("a", limit).Allowed)
	l.advance(-time.Hour)
	require.Equal(t, 3, l.count("a", limit))
	l.advance(900 * time.Millisecond)
	require.False(t, l.ask("a", limit).Allowed)
	l.advance(-time.Hour)
	require.False(t, l.ask("a", limit).Allowed)
	l.advance(100 * time.Millisecond)
	require.True(t, l.ask("a", limit).Allowed)
}

// Requests that run side by side bring their instants out of order. That is no
// clock set back: the time between must not be refilled again and again.
func TestLimiterDisorderRefillsNothing(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 64)
	limit := apitoken.Limit{Quota: 1000, Window: time.Second}
	l.count("a", limit)
	allowed := 0
	for range 1000 { // 1 ms on, 0.9 ms back: 100 ms in all
		l.advance(time.Millisecond)
		allowed += l.count("a", limit)
		l.advance(-900 * time.Microsecond)
		allowed += l.count("a", limit)
	}
	require.InDelta(t, 100, allowed, 2)
}

var hostileKeys = flag.Int("keys", 1_000_000, "how many hostile keys the limiter is given")

// P14: keys without end do not grow it, and do not make it search. Not parallel:
// it weighs the heap, to which other tests would add.
func TestLimiterIsBounded(t *testing.T) {
	const buckets = 6400
	l := newLimiting(t, buckets)
	limit := apitoken.Limit{Quota: 10, Window: 10 * time.Second}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	refused := 0
	for i := range *hostileKeys {
		_, err := l.Allow(t.Context(), one(fmt.Sprintf("hostile%d", i), limit), l.now)
		if err != nil {
			refused++
		}
	}
	require.LessOrEqual(t, l.Buckets(), buckets)
	require.Equal(t, *hostileKeys-l.Buckets(), refused, "no bucket is full: new keys are refused, none is forgotten")
	require.Less(t, int64(heap())-int64(before), int64(16<<20))

	l.advance(time.Second) // all are full again
	for i := range 10 * buckets {
		_, err := l.Allow(t.Context(), one(fmt.Sprintf("later%d", i), limit), l.now)
		if i == 0 {
			require.NoError(t, err)
		}
	}
	require.LessOrEqual(t, l.Buckets(), buckets)
}

// Dropping changes no decision: what was used up stays used up while a million
// other keys come and go.
func TestLimiterForgetsNobody(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 640)
	slow, fast := apitoken.Limit{Quota: 5, Window: 24 * time.Hour}, apitoken.Limit{Quota: 100, Window: time.Second}
	for i := range 100 {
		require.Equal(t, 5, l.count(fmt.Sprintf("kept%d", i), slow))
	}
	for i := range 200_000 {
		l.advance(time.Millisecond)
		_, err := l.Allow(t.Context(), one(fmt.Sprintf("other%d", i), fast), l.now)
		if err != nil {
			require.ErrorContains(t, err, "make the limiter larger")
		}
	}
	for i := range 100 {
		require.False(t, l.ask(fmt.Sprintf("kept%d", i), slow).Allowed, "%d was forgotten", i)
	}
}

// A bucket whose limit was raised may be full sooner than was noted.
func TestLimiterDropsAfterAnEdit(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 1)
	slow, fast := apitoken.Limit{Quota: 1, Window: 24 * time.Hour}, apitoken.Limit{Quota: 1, Window: time.Second}
	// A limiter of one bucket a shard: find two keys that share one.
	l.ask("first", slow)
	second := ""
	for i := 0; second == ""; i++ {
		key := fmt.Sprintf("second%d", i)
		if _, err := l.Allow(t.Context(), one(key, fast), l.now); err != nil {
			_, again := l.Allow(t.Context(), one("first", slow), l.now)
			require.NoError(t, again)
			l.advance(time.Minute)
			if _, err := l.Allow(t.Context(), one(key, fast), l.now); err != nil {
				second = key // its neighbour is the slow one
			}
		}
	}
	require.False(t, l.ask("first", fast).Allowed, "an edit refills nothing")
	l.advance(time.Second)
	require.True(t, l.ask(second, fast).Allowed)
}

// A full limiter gets going again when its clock was set back.
func TestFullLimiterAfterClockSetBack(t *testing.T) {
	t.Parallel()
	l := newLimiting(t, 64)
	limit := apitoken.Limit{Quota: 1, Window: time.Second}
	for i := range 1000 {
		_, _ = l.Allow(t.Context(), one(fmt.Sprint(i), limit), l.now)
	}
	require.Equal(t, 64, l.Buckets())
	l.advance(-time.Hour)
	for i := range 1000 { // every shard notices
		_, _ = l.Allow(t.Context(), one(fmt.Sprint(i), limit), l.now)
	}
	l.advance(time.Second)
	require.True(t, l.ask("new", limit).Allowed)
}

func TestLimiterConcurrently(t *testing.T) {
	t.Parallel()
	l := apitoken.NewMemoryLimiter(128)
	limit := apitoken.Limit{Quota: 100, Window: time.Hour}
	var wg sync.WaitGroup
	var mu sync.Mutex
	allowed := map[string]int{}
	for g := range 8 {
		wg.Go(func() {
			mine := map[string]int{}
			for i := range 2000 {
				key := fmt.Sprintf("k%d", i%4)
				// Instants out of order, edits and strangers in between.
				now := noon.Add(time.Duration((g*7+i*13)%100) * time.Microsecond)
				d, err := l.Allow(t.Context(), one(key, limit), now)
				if err == nil && d.Allowed {
					mine[key]++
				}
				_, _ = l.Allow(t.Context(), one(fmt.Sprintf("stranger%d-%d", g, i), limit.Share(1+i%100)), now)
			}
			mu.Lock()
			defer mu.Unlock()
			for key, n := range mine {
				allowed[key] += n
			}
		})
	}
	wg.Wait()
	for key, n := range allowed {
		require.LessOrEqual(t, n, 100, key)
	}
	require.LessOrEqual(t, l.Buckets(), 128)
}

func TestLimiterAllocatesNothing(t *testing.T) {
	l := apitoken.NewMemoryLimiter(64)
	limit := apitoken.Limit{Quota: 100, Window: time.Hour}
	req := one("a", limit)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, err := l.Allow(ctx, req, noon); err != nil {
			t.Error(err)
		}
	}))
}

func TestRateLimitError(t *testing.T) {
	t.Parallel()
	err := error(&apitoken.RateLimitError{Decision: apitoken.Decision{Limit: "api", Quota: 10, Window: time.Minute, RetryAfter: 1234567 * time.Nanosecond}})
	require.EqualError(t, err, `apitoken: the limit "api" of 10 requests per 1m0s is reached: retry in 1ms`)
	require.True(t, errors.Is(err, apitoken.ErrRateLimited))
	err = &apitoken.RateLimitError{Decision: apitoken.Decision{Limit: "api", Window: time.Minute}}
	require.ErrorContains(t, err, "raise the limit")
}
