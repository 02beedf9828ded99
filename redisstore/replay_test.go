package redisstore_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
	"github.com/tokenry/apitoken/storetest"
)

// timed sets the time of Redis to the latest of the requests.
type timed struct {
	guard *redisstore.ReplayGuard
	redis *miniredis.Miniredis
	mu    sync.Mutex
	now   time.Time
}

func (g *timed) Remember(ctx context.Context, use apitoken.SignedUse) (bool, error) {
	g.mu.Lock()
	if use.Now.After(g.now) {
		g.now = use.Now
		g.redis.SetTime(g.now)
	}
	g.mu.Unlock()
	return g.guard.Remember(ctx, use)
}

func newGuard(t testing.TB, opts redisstore.ReplayOptions) *timed {
	t.Helper()
	f := newFake(t, redisstore.LimiterOptions{})
	client := redis.NewClient(&redis.Options{Addr: f.Addr(), ContextTimeoutEnabled: true, PoolSize: 100})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	opts.Timeout = time.Minute
	guard, err := redisstore.NewReplayGuard(client, opts)
	require.NoError(t, err)
	return &timed{guard: guard, redis: f.Miniredis, now: epoch}
}

// P15
func TestReplayGuard(t *testing.T) {
	t.Parallel()
	storetest.RunReplayGuard(t, func(t *testing.T) apitoken.ReplayGuard { return newGuard(t, redisstore.ReplayOptions{}) })
}

func TestReplayIsKeptLongEnough(t *testing.T) {
	t.Parallel()
	g := newGuard(t, redisstore.ReplayOptions{Margin: 90 * time.Second})
	use := apitoken.SignedUse{Key: [32]byte{1, 2, 3}, Token: "tok0000000000000000001", Created: epoch, Now: epoch, Until: epoch.Add(5*time.Minute + time.Nanosecond)}
	remember := func(want bool) {
		t.Helper()
		fresh, err := g.guard.Remember(t.Context(), use)
		require.NoError(t, err)
		require.Equal(t, want, fresh)
	}
	remember(true)
	end := 5*time.Minute + 90*time.Second
	require.Equal(t, end+time.Millisecond, g.redis.TTL(g.redis.Keys()[0]), "rounded up")
	use.Now = epoch.Add(-time.Hour) // a clock that was set back shortens nothing
	remember(false)
	g.redis.SetTime(epoch.Add(end))
	remember(false)
	g.redis.SetTime(epoch.Add(end + time.Millisecond))
	use.Until = use.Now.Add(-time.Hour) // over, and still kept for the margin
	remember(true)
	require.Equal(t, 90*time.Second, g.redis.TTL(g.redis.Keys()[0]))
	dump := g.redis.Dump()
	for _, text := range []string{string(use.Token), hex.EncodeToString(use.Key[:]), base64.RawURLEncoding.EncodeToString(use.Key[:])} {
		require.NotContains(t, dump, text)
	}
}

// The client tries again when it loses the answer to a SET that was done.
func TestReplayLostAnswer(t *testing.T) {
	t.Parallel()
	g := newGuard(t, redisstore.ReplayOptions{})
	client := redis.NewClient(&redis.Options{Addr: g.redis.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	client.AddHook(twice{})
	guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{Timeout: time.Minute})
	require.NoError(t, err)
	use := apitoken.SignedUse{Now: epoch, Until: epoch.Add(time.Minute)}
	for _, want := range []bool{true, false, false} {
		fresh, err := guard.Remember(t.Context(), use)
		require.NoError(t, err)
		require.Equal(t, want, fresh)
	}
}

// twice sends each SET a second time.
type twice struct{ redis.Hook }

func (twice) DialHook(next redis.DialHook) redis.DialHook { return next }
func (twice) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (twice) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "set" {
			_ = next(ctx, cmd)
		}
		return next(ctx, cmd)
	}
}
