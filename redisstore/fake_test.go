package redisstore_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fake is a Redis whose time the test sets.
type fake struct {
	*miniredis.Miniredis
	client  *redis.Client
	sent    *sent
	limiter *redisstore.Limiter
	now     time.Time // of Redis
	ctx     context.Context
}

func newFake(t testing.TB, opts redisstore.LimiterOptions) *fake {
	t.Helper()
	f := &fake{Miniredis: miniredis.NewMiniRedis(), now: epoch, ctx: t.Context()}
	require.NoError(t, f.Start())
	t.Cleanup(f.Close)
	f.SetTime(epoch)
	f.ClockTTL(true)
	f.client = redis.NewClient(&redis.Options{Addr: f.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, f.client.Close()) })
	f.sent = &sent{}
	f.client.AddHook(f.sent)
	opts.Timeout = time.Minute // a busy machine is no outage
	var err error
	f.limiter, err = redisstore.NewLimiter(f.client, opts)
	require.NoError(t, err)
	return f
}

// pass lets time go on.
func (f *fake) pass(d time.Duration) {
	f.now = f.now.Add(d)
	f.SetTime(f.now)
}

func (f *fake) allow(t testing.TB, req apitoken.LimitRequest) apitoken.Decision {
	t.Helper()
	// The time of the nodes decides nothing.
	d, err := f.limiter.Allow(t.Context(), req, time.Time{})
	require.NoError(t, err)
	require.False(t, d.Local)
	return d
}

func (f *fake) allowAll(t testing.TB, reqs ...apitoken.LimitRequest) []apitoken.Decision {
	t.Helper()
	ds, err := f.limiter.AllowAll(t.Context(), reqs, time.Time{})
	require.NoError(t, err)
	require.Len(t, ds, len(reqs))
	return ds
}

// left asks for what is left, which takes nothing.
func (f *fake) left(t testing.TB, req apitoken.LimitRequest) int {
	t.Helper()
	req.Cost = 0
	return f.allow(t, req).Remaining
}

// sent counts what goes to Redis.
type sent struct {
	commands  []string
	pipelines int
}

func (s *sent) reset() { *s = sent{} }

func (s *sent) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *sent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !greeting(cmd) {
			s.commands = append(s.commands, cmd.Name())
		}
		return next(ctx, cmd)
	}
}

func (s *sent) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !greeting(cmds[0]) {
			s.pipelines++
		}
		return next(ctx, cmds)
	}
}

// greeting is what the client says on a new connection.
func greeting(cmd redis.Cmder) bool { return cmd.Name() == "hello" || cmd.Name() == "client" }

// of returns a request of a token's bucket, at cost 1.
func of(id string, limit apitoken.Limit) apitoken.LimitRequest {
	return apitoken.LimitRequest{
		Key: apitoken.LimitKey{Name: "api", Per: limit.Per, Tenant: "acme", ID: id}, Limit: limit, Cost: 1,
	}
}

func perMinute(quota, burst int) apitoken.Limit {
	return apitoken.Limit{Quota: quota, Window: time.Minute, Burst: burst}
}
