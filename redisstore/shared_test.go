package redisstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

// nodeVariable makes the test binary a node that asks 2,000 times and prints how
// often it was allowed. leaseVariable is its LimiterOptions.Lease.
const (
	nodeVariable  = "APITOKEN_TEST_NODE"
	leaseVariable = "APITOKEN_TEST_LEASE"
)

// scarce refills nothing while a test runs.
var scarce = apitoken.Limit{Quota: 1000, Window: 10_000 * time.Hour}

func TestMain(m *testing.M) {
	logging.Disable() // the client's own, of each connection that it cannot make
	if addr := os.Getenv(nodeVariable); addr != "" {
		node(addr)
		return
	}
	os.Exit(m.Run())
}

func node(addr string) {
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	defer client.Close()
	lease, err := strconv.Atoi(os.Getenv(leaseVariable))
	if err != nil {
		panic(err)
	}
	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute, Lease: lease, LeaseFor: time.Minute})
	if err != nil {
		panic(err)
	}
	fmt.Print(askMany(context.Background(), limiter, 20, 100, func(d apitoken.Decision, err error) {
		if err != nil {
			panic(err)
		}
	}))
}

// askMany asks from goroutines at once, and returns how often it was allowed.
func askMany(ctx context.Context, limiter *redisstore.Limiter, goroutines, each int, check func(apitoken.Decision, error)) int64 {
	var allowed atomic.Int64
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			for range each {
				d, err := limiter.Allow(ctx, of("token", scarce), time.Now())
				check(d, err)
				if d.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	group.Wait()
	return allowed.Load()
}

// Two processes with clients of their own ask 4,000 times for a limit of 1,000. What
// they hold at the end, if they may take leases, is given up.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	for _, lease := range []int{0, 40} {
		t.Run(fmt.Sprint("lease ", lease), func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			var outputs [2]bytes.Buffer
			var wait []func() error
			for i := range outputs {
				cmd := child(t, nodeVariable+"="+s.addr(), fmt.Sprint(leaseVariable, "=", lease))
				cmd.Stdout = &outputs[i]
				require.NoError(t, cmd.Start())
				wait = append(wait, cmd.Wait)
			}
			for _, w := range wait {
				require.NoError(t, w())
			}
			allowed := atoi(t, outputs[0].String()) + atoi(t, outputs[1].String())
			require.LessOrEqual(t, allowed, scarce.Quota)
			require.GreaterOrEqual(t, allowed, scarce.Quota-len(outputs)*lease)
			stats, err := s.client(t).Info(t.Context(), "commandstats").Result()
			require.NoError(t, err)
			t.Logf("%d allowed: %s", allowed, regexp.MustCompile(`cmdstat_evalsha:calls=\d+`).FindString(stats))
		})
	}
}

// Two nodes race with three limits in two hash tags: what is given back is neither
// lost nor given twice.
func TestTwoNodesAllOrNone(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	narrow := apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "ip", Per: apitoken.PerKey, ID: "192.0.2.1"}, Limit: apitoken.Limit{Quota: 50, Window: 10_000 * time.Hour, Per: apitoken.PerKey}, Cost: 1}
	wide := of("token", scarce)
	var allowed atomic.Int64
	var group sync.WaitGroup
	for range 2 {
		limiter, err := redisstore.NewLimiter(s.client(t), redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute})
		require.NoError(t, err)
		for range 10 {
			group.Go(func() {
				for range 20 {
					ds, err := limiter.AllowAll(t.Context(), []apitoken.LimitRequest{wide, narrow}, time.Now())
					if err != nil {
						t.Error(err)
						return
					}
					if ds[0].Allowed && ds[1].Allowed {
						allowed.Add(1)
					}
				}
			})
		}
	}
	group.Wait()
	require.EqualValues(t, 50, allowed.Load(), "the wide one has enough for all at once")
	limiter, err := redisstore.NewLimiter(s.client(t), redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute})
	require.NoError(t, err)
	wide.Cost = 0
	d, err := limiter.Allow(t.Context(), wide, time.Now())
	require.NoError(t, err)
	require.Equal(t, scarce.Quota-50, d.Remaining)
}

// Redis is killed while two nodes ask, and comes back empty.
func TestKilledAndRestarted(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const nodes = 2
	var logs [nodes]bytes.Buffer
	var clients [nodes]*redis.Client
	var limiters [nodes]*redisstore.Limiter
	for i := range limiters {
		var err error
		clients[i] = s.client(t)
		limiters[i], err = redisstore.NewLimiter(clients[i], redisstore.LimiterOptions{
			Nodes: func() int { return nodes }, RetryEvery: 200 * time.Millisecond, Timeout: 5 * time.Second,
			Logger: slog.New(slog.NewTextHandler(&logs[i], nil)),
		})
		require.NoError(t, err)
	}

	var shared atomic.Int64 // allowed by a Redis
	var local, localAnswers [nodes]atomic.Int64
	var answered atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for i := range limiters {
		for range 5 {
			group.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					d, err := limiters[i].Allow(t.Context(), of("token", scarce), time.Now())
					if err != nil {
						t.Error(err)
						return
					}
					answered.Add(1)
					switch {
					case d.Local:
						localAnswers[i].Add(1)
						if d.Allowed {
							local[i].Add(1)
						}
					case d.Allowed:
						shared.Add(1)
					}
				}
			})
		}
	}
	more := func(n int64, counter *atomic.Int64) {
		t.Helper()
		want := counter.Load() + n
		require.Eventually(t, func() bool { return counter.Load() >= want }, time.Minute, time.Millisecond)
	}
	more(2000, &answered)
	require.Zero(t, localAnswers[0].Load()+localAnswers[1].Load())
	require.EqualValues(t, scarce.Quota, shared.Load())
	s.kill()
	for i := range localAnswers {
		more(2500, &localAnswers[i])
	}
	s.start()
	for _, limiter := range limiters {
		require.Eventually(t, limiter.Reachable, time.Minute, time.Millisecond)
	}
	more(3000, &answered)
	close(stop)
	group.Wait()

	require.LessOrEqual(t, shared.Load(), int64(2*scarce.Quota), "a full bucket before, and one after")
	for i := range local {
		require.LessOrEqual(t, local[i].Load(), int64(scarce.Quota/nodes), "a part of the limit")
		lines := strings.Count(logs[i].String(), "\n")
		require.LessOrEqual(t, lines, 4, logs[i].String())
		require.GreaterOrEqual(t, lines, 1)
	}
	t.Logf("%d answers, %d of them local; allowed: %d by Redis, %d and %d locally", answered.Load(), localAnswers[0].Load()+localAnswers[1].Load(), shared.Load(), local[0].Load(), local[1].Load())
}

// The script does on Redis itself what it does on the double.
func TestRealServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	client := s.client(t)
	limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{OnOutage: redisstore.Refuse, Timeout: time.Minute})
	require.NoError(t, err)
	req := of("token", scarce)
	for _, step := range []struct {
		limit     apitoken.Limit
		cost      int
		allowed   bool
		remaining int
	}{
		{scarce, 0, true, 1000}, {scarce, 400, true, 600}, {scarce, 601, false, 600},
		{apitoken.Limit{Quota: 100, Window: scarce.Window}, 1, true, 99}, {scarce, 100, false, 99}, {scarce, 99, true, 0},
		{apitoken.Limit{Quota: math.MaxInt, Window: scarce.Window}, math.MaxInt, false, -1},
	} {
		req.Limit, req.Cost = step.limit, step.cost
		d, err := limiter.Allow(t.Context(), req, time.Time{})
		require.NoError(t, err)
		require.Equal(t, step.allowed, d.Allowed)
		if step.remaining >= 0 {
			require.Equal(t, step.remaining, d.Remaining)
		}
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	ttl, err := client.PTTL(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.Positive(t, ttl)

	value, err := client.Get(t.Context(), keys[0]).Bytes()
	require.NoError(t, err)
	require.Len(t, value, 5*8, "five doubles")

	req.Key.ID, req.Cost = "slowest", 1
	req.Limit = apitoken.Limit{Quota: 1, Window: 1<<63 - 1, Burst: 1 << 30}
	d, err := limiter.Allow(t.Context(), req, time.Time{})
	require.NoError(t, err)
	require.True(t, d.Allowed, "and Redis takes the time to live")

	guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{Timeout: time.Minute})
	require.NoError(t, err)
	use := apitoken.SignedUse{Now: epoch, Until: epoch.Add(time.Minute)}
	for _, want := range []bool{true, false} {
		fresh, err := guard.Remember(t.Context(), use)
		require.NoError(t, err)
		require.Equal(t, want, fresh)
	}
}

// The stand-in for the library of Redis makes and reads the same doubles.
func TestStructs(t *testing.T) {
	t.Parallel()
	client := startServer(t).client(t)
	const find = "rawget(_G, 'struct')"
	require.Contains(t, redisstore.StructLua, find)
	script := redis.NewScript(strings.Replace(redisstore.StructLua, find, "nil", 1) + `
		local redis = ` + find + `
		local n, m = redis.unpack('<dd', ARGV[1])
		local a, b = struct.unpack('<dd', 'x' .. ARGV[1], 2)
		return {struct.pack('<Bdd', 7, n, m), struct.pack('<dd', a, b), redis.pack('<dd', a, b)}`)
	bytes := func(f float64) string { return string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))) }
	numbers := rapid.OneOf(
		rapid.SampledFrom([]float64{0, 1, -1, 0.1, 1 << 53, 1<<53 - 1, math.MaxFloat64, 0x1p-1022, math.MaxInt64}),
		rapid.Float64().Filter(func(f float64) bool { return f == 0 || math.Abs(f) >= 0x1p-1022 }),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := bytes(numbers.Draw(t, "n")+0) + bytes(numbers.Draw(t, "m")+0) // +0: the sign of a zero means nothing
		got, err := script.Run(context.Background(), client, nil, text).StringSlice()
		require.NoError(t, err)
		require.Equal(t, []string{"\a" + text, text, text}, got)
	})
}
