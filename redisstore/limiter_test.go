package redisstore_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

// Each step goes to the Redis limiter and to the limiter in memory.
func TestAllowAsInMemory(t *testing.T) {
	t.Parallel()
	type step struct {
		after time.Duration
		limit apitoken.Limit
		cost  int
		want  bool
		left  int
	}
	ten, second := perMinute(60, 10), time.Second
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"cost above one", []step{{0, ten, 7, true, 3}, {0, ten, 4, false, 3}, {0, ten, 3, true, 0}}},
		{"exactly at the instant", []step{{0, ten, 10, true, 0}, {second - time.Microsecond, ten, 1, false, 0}, {time.Microsecond, ten, 1, true, 0}}},
		{"thirds", []step{{0, perMinute(7, 0), 7, true, 0}, {time.Minute, perMinute(7, 0), 7, true, 0}, {time.Minute, perMinute(7, 0), 7, true, 0}}},
		{"never more than full", []step{{0, ten, 10, true, 0}, {time.Hour, ten, 1, true, 9}}},
		{"lowered at once", []step{{0, ten, 1, true, 9}, {0, perMinute(60, 2), 2, true, 0}, {0, perMinute(60, 2), 1, false, 0}}},
		{"raised refills nothing", []step{{0, ten, 10, true, 0}, {0, perMinute(6000, 1000), 1, false, 0}, {10 * time.Millisecond, perMinute(6000, 1000), 1, true, 0}}},
		{"lowered and raised", []step{{0, ten, 5, true, 5}, {0, perMinute(60, 1), 1, true, 0}, {0, ten, 1, false, 0}}},
		{"slower after a refusal", []step{
			{0, perMinute(60000, 10), 10, true, 0}, {0, perMinute(1, 10), 1, false, 0}, {second, perMinute(1, 10), 1, false, 0}, {time.Minute, perMinute(1, 10), 1, true, 0},
		}},
		{"peek", []step{{0, ten, 0, true, 10}, {0, ten, 10, true, 0}, {0, ten, 0, true, 0}}},
		{"limit of one", []step{{0, perMinute(1, 1), 1, true, 0}, {0, perMinute(1, 1), 1, false, 0}, {time.Minute, perMinute(1, 1), 1, true, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, memory := newFake(t, redisstore.LimiterOptions{}), apitoken.NewMemoryLimiter(100_000)
			other := newFake(t, redisstore.LimiterOptions{}) // which is asked for several at once
			for i, s := range c.steps {
				f.pass(s.after)
				other.pass(s.after)
				req := of("token", s.limit)
				req.Cost = s.cost
				got := f.allow(t, req)
				require.Equal(t, got, other.allowAll(t, req)[0], "step %d", i)
				require.Equal(t, s.want, got.Allowed, "step %d", i)
				if s.want {
					require.Equal(t, s.left, got.Remaining, "step %d", i)
				}
				want, err := memory.Allow(t.Context(), req, f.now)
				require.NoError(t, err)
				require.InDelta(t, want.RetryAfter, got.RetryAfter, float64(time.Microsecond), "step %d", i)
				require.InDelta(t, want.Reset, got.Reset, float64(time.Microsecond), "step %d", i)
				want.RetryAfter, want.Reset = got.RetryAfter, got.Reset
				require.Equal(t, want, got, "step %d", i)
			}
		})
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	for id, percent := range map[string]int{"one": 1, "third": 33, "all": 100} {
		limit := perMinute(200, 0).Share(percent)
		req := of(id, limit)
		for range 2 * percent {
			require.True(t, f.allow(t, req).Allowed)
		}
		require.False(t, f.allow(t, req).Allowed, id)
	}
}

func TestNever(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		req  apitoken.LimitRequest
	}{
		{"a limit of zero", of("token", apitoken.Limit{Window: time.Hour})},
		{"a limit of zero with a burst", of("token", apitoken.Limit{Window: time.Hour, Burst: 5})},
		{"more than a full bucket", apitoken.LimitRequest{Key: of("token", apitoken.Limit{}).Key, Limit: apitoken.Limit{Quota: 9, Window: time.Hour, Burst: 3}, Cost: 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, redisstore.LimiterOptions{})
			f.sent.reset()
			d := f.allow(t, c.req)
			require.False(t, d.Allowed)
			require.True(t, d.Never)
			require.Equal(t, time.Hour, d.RetryAfter)
			ds := f.allowAll(t, c.req, c.req)
			require.True(t, ds[0].Never && ds[1].Never)
			require.Empty(t, f.sent.commands)

			other := of("other", perMinute(5, 0))
			ds = f.allowAll(t, other, c.req)
			require.True(t, ds[0].Allowed, "it would be")
			require.True(t, ds[1].Never)
			require.Empty(t, f.Keys(), "nothing is taken from the other")
		})
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	for name, change := range map[string]func(req *apitoken.LimitRequest){
		"negative cost":  func(req *apitoken.LimitRequest) { req.Cost = -1 },
		"negative quota": func(req *apitoken.LimitRequest) { req.Limit.Quota = -1 },
		"no window":      func(req *apitoken.LimitRequest) { req.Limit.Window = 0 },
	} {
		req := of("token", perMinute(5, 0))
		change(&req)
		_, err := f.limiter.Allow(t.Context(), req, epoch)
		require.Error(t, err, name)
		_, err = f.limiter.AllowAll(t.Context(), []apitoken.LimitRequest{req}, epoch)
		require.Error(t, err, name)
	}
	require.True(t, f.limiter.Reachable())
}

// At these rates a time in nanoseconds, or a time of arrival, would be too coarse.
func TestHighRate(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	limit := apitoken.Limit{Quota: 1_000_000_000, Window: time.Second}
	req := of("token", limit)
	req.Cost = 1_000_000_000
	require.Equal(t, 0, f.allow(t, req).Remaining)
	for range 1000 {
		f.pass(time.Microsecond)
		req.Cost = 1000
		require.True(t, f.allow(t, req).Allowed)
		req.Cost = 1
		require.False(t, f.allow(t, req).Allowed)
	}
	req.Limit = apitoken.Limit{Quota: math.MaxInt, Window: time.Nanosecond}
	req.Cost = 1
	require.Equal(t, math.MaxInt32, f.left(t, of("none", req.Limit)))
	require.True(t, f.allow(t, of("none", req.Limit)).Allowed)
}

func TestSlowRate(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	req := of("token", apitoken.Limit{Quota: 1, Window: math.MaxInt64, Burst: math.MaxInt32})
	req.Cost = math.MaxInt32
	require.True(t, f.allow(t, req).Allowed)
	require.Equal(t, 100*365*24*time.Hour, f.allow(t, req).RetryAfter)
	require.Len(t, f.Keys(), 1)
}

func TestSetBackClock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		steps []time.Duration
		want  []bool
	}{
		// The bucket has 1 and gets one each second.
		{"disorder refills nothing twice", []time.Duration{0, time.Second, -999 * time.Millisecond, 999 * time.Millisecond, time.Second}, []bool{true, true, false, false, true}},
		{"an hour back goes on from there", []time.Duration{0, time.Second, -time.Hour, 999 * time.Millisecond, time.Millisecond}, []bool{true, true, false, false, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, other := newFake(t, redisstore.LimiterOptions{}), newFake(t, redisstore.LimiterOptions{})
			for i, step := range c.steps {
				f.pass(step)
				other.pass(step)
				req := of("token", perMinute(60, 1))
				require.Equal(t, c.want[i], f.allow(t, req).Allowed, "step %d", i)
				require.Equal(t, c.want[i], other.allowAll(t, req)[0].Allowed, "step %d, several at once", i)
			}
		})
	}
}

// A late request that is allowed does not bring back the instant of the bucket.
func TestDisorderThatTakes(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	req := of("token", perMinute(60, 3))
	for i, step := range []time.Duration{time.Second, -999 * time.Millisecond, 999 * time.Millisecond} {
		f.pass(step)
		require.True(t, f.allow(t, req).Allowed, "step %d", i)
	}
	f.pass(500 * time.Millisecond)
	require.False(t, f.allow(t, req).Allowed)
}

// To set a time to live takes Redis longer than all else, so it is done seldom.
func TestKeysVanish(t *testing.T) {
	t.Parallel()
	f, other := newFake(t, redisstore.LimiterOptions{}), newFake(t, redisstore.LimiterOptions{})
	req := of("token", perMinute(60, 10))
	f.left(t, req)
	require.Empty(t, f.Keys(), "a peek writes nothing")
	take := func(cost int, live time.Duration) {
		t.Helper()
		req.Cost = cost
		require.True(t, f.allow(t, req).Allowed)
		require.True(t, other.allowAll(t, req)[0].Allowed)
		require.Equal(t, live, f.TTL(f.Keys()[0]))
		require.Equal(t, live, other.TTL(other.Keys()[0]), "several at once")
	}
	pass := func(d time.Duration) {
		f.pass(d)
		other.pass(d)
	}
	take(3, 8*time.Second) // twice the 3 s until it is full, and 1 more
	take(3, 8*time.Second) // 6 s, and 1 more
	pass(3 * time.Second)
	take(2, 12*time.Second)
	take(5, 12*time.Second) // 10 s until it is full, and 1 more
	pass(time.Microsecond)
	req.Cost = 0
	require.Equal(t, 0, f.allow(t, req).Remaining)
	pass(10 * time.Second)
	take(1, 4*time.Second)
	pass(4*time.Second - time.Millisecond)
	require.Len(t, f.Keys(), 1)
	pass(time.Millisecond)
	require.Empty(t, f.Keys())
	require.Empty(t, other.Keys())
	require.Equal(t, 10, f.left(t, req))

	req.Limit = apitoken.Limit{Quota: 1_000_000, Window: time.Second}
	take(1, 2001*time.Millisecond) // rounded up
}

func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	req, owner := of("token", perMinute(60, 10)), of("user", apitoken.Limit{Quota: 5, Window: time.Hour, Per: apitoken.PerOwner})
	f.allow(t, req)
	require.Equal(t, []string{"evalsha", "eval"}, f.sent.commands, "the server does not know the script yet")
	f.allowAll(t, req)
	for _, what := range []func(){
		func() { f.allow(t, req) },
		func() { f.allowAll(t, req, owner, req) },
		func() { f.left(t, req) },
	} {
		f.sent.reset()
		what()
		require.Equal(t, []string{"evalsha"}, f.sent.commands)
		require.Zero(t, f.sent.pipelines)
	}
	f.sent.reset()
	key := apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "ip", Per: apitoken.PerKey, ID: "192.0.2.1"}, Limit: perMinute(1, 0), Cost: 1}
	f.allowAll(t, req, owner, key)
	require.Empty(t, f.sent.commands)
	require.Equal(t, 1, f.sent.pipelines, "two hash tags")
	f.sent.reset()
	f.allowAll(t, req, owner, key)
	require.Equal(t, 1, f.sent.pipelines)
	require.Equal(t, []string{"evalsha", "eval"}, f.sent.commands, "one more gives back")
}

func TestAllOrNone(t *testing.T) {
	t.Parallel()
	token, owner := of("token", perMinute(60, 10)), of("user", apitoken.Limit{Quota: 3, Window: time.Hour, Per: apitoken.PerOwner})
	key := func(quota int) apitoken.LimitRequest {
		return apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "ip", Per: apitoken.PerKey, ID: "192.0.2.1"}, Limit: perMinute(quota, 0), Cost: 1}
	}
	for _, c := range []struct {
		name string
		reqs []apitoken.LimitRequest
	}{
		{"one tag", []apitoken.LimitRequest{token, owner}},
		{"the narrow one first", []apitoken.LimitRequest{owner, token}},
		{"two tags", []apitoken.LimitRequest{token, key(3)}},
		{"three buckets, two tags", []apitoken.LimitRequest{key(3), token, owner}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, memory := newFake(t, redisstore.LimiterOptions{}), apitoken.NewMemoryLimiter(100_000)
			for range 5 {
				got := f.allowAll(t, c.reqs...)
				want, err := memory.AllowAll(t.Context(), c.reqs, f.now)
				require.NoError(t, err)
				for i := range want {
					require.InDelta(t, want[i].RetryAfter, got[i].RetryAfter, float64(time.Microsecond))
					require.InDelta(t, want[i].Reset, got[i].Reset, float64(time.Microsecond))
					want[i].RetryAfter, want[i].Reset = got[i].RetryAfter, got[i].Reset
				}
				require.Equal(t, want, got)
			}
			require.Equal(t, 7, f.left(t, token), "refused ones took nothing")
		})
	}
}

func TestSameBucketTwice(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	req := of("token", perMinute(60, 5))
	req.Cost = 2
	ds := f.allowAll(t, req, req)
	require.True(t, ds[0].Allowed && ds[1].Allowed)
	require.Equal(t, []int{3, 1}, []int{ds[0].Remaining, ds[1].Remaining})
	req.Cost = 1
	ds = f.allowAll(t, req, req)
	require.True(t, ds[0].Allowed)
	require.False(t, ds[1].Allowed)
	require.Equal(t, 1, f.left(t, req))
	peek := req
	peek.Cost = 0
	ds = f.allowAll(t, peek, req, peek)
	require.Equal(t, []int{1, 0, 0}, []int{ds[0].Remaining, ds[1].Remaining, ds[2].Remaining})
	require.Equal(t, 0, f.left(t, req))
}

// What is not ours, or of a later version, refuses and is counted anew.
func TestUnreadableBucket(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	req := of("token", perMinute(60, 5))
	f.allow(t, req)
	require.NoError(t, f.Set(f.Keys()[0], "v2 something"))
	require.False(t, f.allowAll(t, req)[0].Allowed)
	require.NoError(t, f.Set(f.Keys()[0], "1 2 3 nothing"))
	require.False(t, f.allow(t, req).Allowed)
	f.pass(time.Second)
	require.True(t, f.allow(t, req).Allowed)
}

func TestKeysTellNothing(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{Prefix: "acme:"})
	names := []string{"tok0000000000000000001", "ann@example.com", "tenant-one", "192.0.2.77", "search"}
	dumped := func() string {
		miniredis.DumpMaxLineLen = 1000
		return f.Dump() + strings.Join(f.Keys(), "\n")
	}
	f.allowAll(t,
		apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "search", Tenant: names[2], ID: names[0]}, Limit: perMinute(9, 0), Cost: 1},
		apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "search", Per: apitoken.PerOwner, Tenant: names[2], ID: names[1]}, Limit: perMinute(9, 0), Cost: 1},
		apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "search", Per: apitoken.PerTenant, Tenant: names[2]}, Limit: perMinute(9, 0), Cost: 1},
		apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "search", Per: apitoken.PerKey, ID: names[3]}, Limit: perMinute(9, 0), Cost: 1},
	)
	keys := f.Keys()
	require.Len(t, keys, 4, "each has its own")
	tags := make(map[string]int)
	for _, key := range keys {
		require.Regexp(t, `^acme:\{[A-Za-z0-9_-]{22}\}[A-Za-z0-9_-]{22}$`, key)
		tags[key[:strings.Index(key, "}")]]++
	}
	require.Len(t, tags, 2, "three of the tenant, one of the key")
	for _, name := range names {
		require.NotContains(t, dumped(), name)
	}

	// The parts of a key cannot be shifted into each other.
	f.FlushAll()
	for _, key := range []apitoken.LimitKey{{Name: "a", ID: "bc"}, {Name: "ab", ID: "c"}, {Name: "a", Tenant: "b", ID: "c"}, {Name: "a", Per: "b", ID: "c"}, {Name: "abc"}} {
		f.allow(t, apitoken.LimitRequest{Key: key, Limit: perMinute(9, 0), Cost: 1})
	}
	require.Len(t, f.Keys(), 5)
}

func TestKeySecret(t *testing.T) {
	t.Parallel()
	f := newFake(t, redisstore.LimiterOptions{})
	keyed, err := redisstore.NewLimiter(f.client, redisstore.LimiterOptions{KeySecret: []byte("the same of all nodes"), Timeout: time.Minute})
	require.NoError(t, err)
	req := of("token", perMinute(9, 0))
	f.allow(t, req)
	_, err = keyed.Allow(t.Context(), req, epoch)
	require.NoError(t, err)
	require.Len(t, f.Keys(), 2)
}

func TestNewFaults(t *testing.T) {
	t.Parallel()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	for want, opts := range map[string]redisstore.LimiterOptions{
		"Prefix":       {Prefix: "a{b}"},
		"KeySecret":    {KeySecret: []byte("short")},
		"Timeout":      {Timeout: -1},
		"RetryEvery":   {RetryEvery: 2 * time.Hour},
		"OnOutage":     {OnOutage: 7},
		"LocalBuckets": {LocalBuckets: -1},
		"Lease ":       {Lease: 1_000_001},
		"LeaseFor":     {LeaseFor: time.Hour},
	} {
		_, err := redisstore.NewLimiter(client, opts)
		require.ErrorContains(t, err, want)
	}
	_, err := redisstore.NewLimiter(nil, redisstore.LimiterOptions{})
	require.ErrorContains(t, err, "client")
	for want, opts := range map[string]redisstore.ReplayOptions{
		"Prefix": {Prefix: "}"}, "Margin": {Margin: time.Millisecond}, "Timeout": {Timeout: time.Hour},
	} {
		_, err := redisstore.NewReplayGuard(client, opts)
		require.ErrorContains(t, err, want)
	}
}
