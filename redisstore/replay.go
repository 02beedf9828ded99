package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenry/apitoken"
)

// ReplayOptions of [NewReplayGuard]. The zero value is usable.
type ReplayOptions struct {
	// Prefix and KeySecret are as in [LimiterOptions]. Another prefix or secret
	// forgets what was accepted.
	Prefix    string
	KeySecret []byte

	// Margin is how much longer than asked for a signature is kept: at least as
	// much as the clocks of two nodes may be apart, or one of them be set back.
	// Defaults to 2 minutes; 1 second to 1 hour.
	Margin time.Duration

	// Timeout and RetryEvery are as in [LimiterOptions]; the instants by which the
	// guard tries again are those of the requests. Defaults to 500 ms and 1 second.
	Timeout    time.Duration
	RetryEvery time.Duration

	// Logger and OnChange are as in [LimiterOptions].
	Logger   *slog.Logger
	OnChange func(reachable bool, err error)
}

// ReplayGuard is an [apitoken.ReplayGuard] that all nodes with one Redis share. Make
// it with [NewReplayGuard]. It is safe for concurrent use.
type ReplayGuard struct {
	remote *remote
	names  naming
	margin time.Duration
}

var _ apitoken.ReplayGuard = (*ReplayGuard)(nil)

// NewReplayGuard returns a guard that remembers through client, which remains the
// caller's to close. It does not connect. What is said of the client at [NewLimiter]
// holds here.
func NewReplayGuard(client redis.UniversalClient, opts ReplayOptions) (*ReplayGuard, error) {
	if opts.Timeout == 0 {
		opts.Timeout = 500 * time.Millisecond
	}
	names, err := newNaming(opts.Prefix, opts.KeySecret)
	remote, err2 := newRemote(client, "replay guard", opts.Timeout, opts.RetryEvery, opts.Logger, opts.OnChange)
	if opts.Margin == 0 {
		opts.Margin = 2 * time.Minute
	}
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	if opts.Margin < time.Second || opts.Margin > time.Hour {
		return nil, fmt.Errorf("redisstore: Margin is %s: give 1s to 1h, or 0 for 2m", opts.Margin)
	}
	return &ReplayGuard{remote: remote, names: names, margin: opts.Margin}, nil
}

// Reachable says whether the last that was heard of Redis was an answer, for health
// checks. Nothing is asked for it.
func (g *ReplayGuard) Reachable() bool { return g.remote.reachable() }

// Remember implements [apitoken.ReplayGuard]: SET with NX and PX, and for a key that
// is kept a GET, which tells apart a replay from the client's own second try after
// it lost the answer to the first. Redis counts the time by its own clock, and
// from the moment of the call; use.Now and use.Until only say for how long. While
// Redis cannot be used every call is an error.
func (g *ReplayGuard) Remember(ctx context.Context, use apitoken.SignedUse) (fresh bool, err error) {
	key, mark := g.names.replay(use.Key), rand.Text()
	keep := max(0, use.Until.Sub(use.Now)) + g.margin + time.Millisecond - 1 // rounded up, for PX
	fresh, err = ask(ctx, g.remote, use.Now, func(ctx context.Context) (bool, error) {
		set, err := g.remote.client.SetNX(ctx, key, mark, keep.Truncate(time.Millisecond)).Result()
		if err != nil || set {
			return set, err
		}
		kept, err := g.remote.client.Get(ctx, key).Result()
		if errors.Is(err, redis.Nil) {
			return false, nil // it ended in between
		}
		return kept == mark, err
	})
	if err != nil {
		return false, away(err)
	}
	return fresh, nil
}
