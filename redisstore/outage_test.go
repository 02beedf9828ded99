package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/redisstore"
)

// line is a connection to Redis that the test cuts.
type line struct {
	server *miniredis.Miniredis
	tries  atomic.Int64
	mu     sync.Mutex
	err    error         // what each command gets
	hold   chan struct{} // what each command waits for
	log    bytes.Buffer
	told   []bool
}

func newLine(t *testing.T, opts redisstore.LimiterOptions) (*line, *redisstore.Limiter) {
	t.Helper()
	l := &line{server: miniredis.NewMiniRedis()}
	require.NoError(t, l.server.Start())
	t.Cleanup(l.server.Close)
	l.server.SetTime(epoch)
	client := redis.NewClient(&redis.Options{Addr: l.server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	client.AddHook(l)
	opts.Timeout = time.Minute
	opts.Logger = slog.New(slog.NewTextHandler(&l.log, nil))
	opts.OnChange = func(reachable bool, err error) {
		if reachable != (err == nil) {
			panic("an error while it is reachable, or none while it is not")
		}
		l.told = append(l.told, reachable)
	}
	limiter, err := redisstore.NewLimiter(client, opts)
	require.NoError(t, err)
	return l, limiter
}

var errCut = errors.New("the line is cut")

func (l *line) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *line) wait() chan struct{} {
	hold := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
	return hold
}

func (l *line) DialHook(next redis.DialHook) redis.DialHook { return next }

func (l *line) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (l *line) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if greeting(cmd) {
			return next(ctx, cmd)
		}
		l.tries.Add(1)
		l.mu.Lock()
		err, hold := l.err, l.hold
		l.hold = nil
		l.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{Nodes: func() int { return 3 }, RetryEvery: 10 * time.Second})
	now := epoch
	req := of("token", perMinute(60, 9))
	allow := func(local bool) apitoken.Decision {
		t.Helper()
		d, err := limiter.Allow(t.Context(), req, now)
		require.NoError(t, err)
		require.Equal(t, local, d.Local)
		return d
	}
	require.Equal(t, 8, allow(false).Remaining)
	require.True(t, limiter.Reachable())

	l.set(errCut)
	require.Equal(t, 2, allow(true).Remaining, "a third of 9, less 1")
	require.False(t, limiter.Reachable())
	tries := l.tries.Load()
	require.True(t, allow(true).Allowed)
	require.True(t, allow(true).Allowed)
	for range 100 {
		d := allow(true)
		require.False(t, d.Allowed)
		require.Equal(t, 3*time.Second, d.RetryAfter, "20 in a minute")
		require.Equal(t, 60, d.Quota)
	}
	require.Equal(t, tries, l.tries.Load(), "nobody tried")
	now = now.Add(10*time.Second - 1)
	allow(true)
	require.Equal(t, tries, l.tries.Load())
	now = now.Add(1)
	for range 10 {
		allow(true)
	}
	require.Equal(t, tries+1, l.tries.Load(), "one tried")

	l.set(nil)
	allow(true)
	now = now.Add(10 * time.Second)
	require.Equal(t, 7, allow(false).Remaining, "the bucket is what it was: Redis has another clock")
	require.True(t, limiter.Reachable())
	require.Equal(t, []bool{false}, l.told, "it has to stay")
	l.set(errCut)
	allow(true)
	l.set(nil)
	now = now.Add(10 * time.Second)
	allow(false)
	now = now.Add(10*time.Second - 1)
	allow(false)
	require.Equal(t, []bool{false}, l.told)
	now = now.Add(1)
	allow(false)
	require.Equal(t, []bool{false, true}, l.told)
	require.Equal(t, 2, strings.Count(l.log.String(), "\n"), l.log.String())
	require.Contains(t, l.log.String(), errCut.Error())

	// The clock of this node is set back while Redis is away.
	l.set(errCut)
	allow(true)
	now = now.Add(-time.Hour)
	l.set(nil)
	allow(false)
}

func TestOutageParts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		nodes func() int
		limit apitoken.Limit
		want  int
	}{
		{"no nodes given", nil, perMinute(60, 9), 9},
		{"none is one", func() int { return 0 }, perMinute(60, 9), 9},
		{"the quota where there is no burst", func() int { return 4 }, perMinute(60, 0), 15},
		{"rounded down", func() int { return 4 }, perMinute(60, 7), 1},
		{"one at least", func() int { return 100 }, perMinute(60, 7), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, limiter := newLine(t, redisstore.LimiterOptions{Nodes: c.nodes})
			l.set(errCut)
			allowed := 0
			for range 100 {
				ds, err := limiter.AllowAll(t.Context(), []apitoken.LimitRequest{of("token", c.limit)}, epoch)
				require.NoError(t, err)
				require.True(t, ds[0].Local)
				if ds[0].Allowed {
					allowed++
				}
			}
			require.Equal(t, c.want, allowed)
		})
	}
	t.Run("a cost that only the whole has", func(t *testing.T) {
		t.Parallel()
		l, limiter := newLine(t, redisstore.LimiterOptions{Nodes: func() int { return 3 }, RetryEvery: 2 * time.Second})
		l.set(errCut)
		req := of("token", perMinute(60, 9))
		req.Cost = 4
		d, err := limiter.Allow(t.Context(), req, epoch)
		require.NoError(t, err)
		require.False(t, d.Allowed)
		require.False(t, d.Never)
		require.Equal(t, 2*time.Second, d.RetryAfter)
	})
}

func TestOutageRefused(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{OnOutage: redisstore.Refuse})
	l.set(errCut)
	req := of("token", perMinute(60, 9))
	_, err := limiter.Allow(t.Context(), req, epoch)
	require.ErrorIs(t, err, errCut)
	tries := l.tries.Load()
	_, err = limiter.Allow(t.Context(), req, epoch)
	require.ErrorContains(t, err, "Redis cannot be used")
	ds, err := limiter.AllowAll(t.Context(), []apitoken.LimitRequest{req}, epoch)
	require.Error(t, err)
	require.Nil(t, ds)
	require.Equal(t, tries, l.tries.Load())
}

// While one tries, the others do not wait for it.
func TestOneTriesAtATime(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{})
	l.set(errCut)
	req := of("token", perMinute(6000, 0))
	_, err := limiter.Allow(t.Context(), req, epoch)
	require.NoError(t, err)
	tries := l.tries.Load()
	hold := l.wait()
	done := make(chan error)
	go func() {
		_, err := limiter.Allow(t.Context(), req, epoch.Add(time.Minute))
		done <- err
	}()
	require.Eventually(t, func() bool { return l.tries.Load() == tries+1 }, time.Minute, time.Millisecond)
	for range 50 {
		d, err := limiter.Allow(t.Context(), req, epoch.Add(time.Hour))
		require.NoError(t, err)
		require.True(t, d.Local)
	}
	require.Equal(t, tries+1, l.tries.Load())
	close(hold)
	require.NoError(t, <-done)
}

// An old failure says nothing of a Redis that came back since.
func TestLateFailure(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{})
	req := of("token", perMinute(6000, 0))
	l.set(errCut)
	hold := l.wait()
	done := make(chan error)
	go func() {
		_, err := limiter.Allow(t.Context(), req, epoch)
		done <- err
	}()
	require.Eventually(t, func() bool { return l.tries.Load() == 1 }, time.Minute, time.Millisecond)
	_, err := limiter.Allow(t.Context(), req, epoch)
	require.NoError(t, err)
	l.set(nil)
	_, err = limiter.Allow(t.Context(), req, epoch.Add(time.Minute))
	require.NoError(t, err)
	require.True(t, limiter.Reachable())
	close(hold)
	require.NoError(t, <-done)
	require.True(t, limiter.Reachable())
	_, err = limiter.Allow(t.Context(), req, epoch.Add(2*time.Minute))
	require.NoError(t, err)
	require.Equal(t, []bool{false, true}, l.told)
}

func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	l, limiter := newLine(t, redisstore.LimiterOptions{})
	req := of("token", perMinute(60, 9))
	ctx, cancel := context.WithCancel(t.Context())
	hold := l.wait()
	done := make(chan error)
	go func() {
		_, err := limiter.Allow(ctx, req, epoch)
		done <- err
	}()
	require.Eventually(t, func() bool { return l.tries.Load() == 1 }, time.Minute, time.Millisecond)
	cancel()
	close(hold)
	require.Equal(t, context.Canceled, <-done)
	_, err := limiter.Allow(ctx, req, epoch)
	require.Equal(t, context.Canceled, err)
	_, err = limiter.AllowAll(ctx, []apitoken.LimitRequest{req}, epoch)
	require.Equal(t, context.Canceled, err)
	past, cancel := context.WithDeadline(t.Context(), epoch.AddDate(-10, 0, 0))
	defer cancel()
	_, err = limiter.Allow(past, req, epoch)
	require.Equal(t, context.DeadlineExceeded, err)
	require.True(t, limiter.Reachable())
	require.Empty(t, l.told)
}

// A server that takes connections and never answers costs one Timeout.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, listener.Close()) })
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() }()
				}
			}()
			client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), ContextTimeoutEnabled: heeds, ReadTimeout: time.Hour})
			limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{Timeout: 20 * time.Millisecond, RetryEvery: time.Minute, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			guard, err := redisstore.NewReplayGuard(client, redisstore.ReplayOptions{Timeout: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			for range 1000 {
				d, err := limiter.Allow(t.Context(), of("token", perMinute(60, 9)), epoch)
				require.NoError(t, err)
				require.True(t, d.Local)
				fresh, err := guard.Remember(t.Context(), apitoken.SignedUse{Now: epoch, Until: epoch.Add(time.Minute)})
				require.Error(t, err)
				require.False(t, fresh)
			}
			require.NoError(t, client.Close())
		})
	}
}

// An address that swallows everything costs one Timeout too.
func TestUnreachableAddress(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"a client that heeds contexts": true, "one that does not": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := make(chan struct{})
			client := redis.NewClient(&redis.Options{Addr: "192.0.2.1:6379", ContextTimeoutEnabled: heeds, DialTimeout: time.Hour, Dialer: func(context.Context, string, string) (net.Conn, error) {
				<-end
				return nil, errCut
			}})
			t.Cleanup(func() { close(end); _ = client.Close() })
			limiter, err := redisstore.NewLimiter(client, redisstore.LimiterOptions{Timeout: 20 * time.Millisecond, RetryEvery: time.Minute, Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			for i := range 100 {
				d, err := limiter.Allow(t.Context(), of("token", perMinute(60, 0)), epoch.Add(time.Duration(i)*time.Second))
				require.NoError(t, err)
				require.True(t, d.Local)
			}
		})
	}
}
