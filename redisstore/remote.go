package redisstore

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// errAway says that Redis failed a moment ago and is not asked again yet.
var errAway = errors.New("the last try failed a moment ago; the next one follows shortly")

// remote is Redis, which may be away. While it is, one call at a time tries it, and
// not more often than once in a while; all others are told at once.
type remote struct {
	client  redis.UniversalClient
	timeout time.Duration
	every   time.Duration // between two tries
	obeys   bool          // the client heeds the deadlines of contexts
	what    string        // for the log
	logger  *slog.Logger
	change  func(reachable bool, err error)

	mu     sync.Mutex
	epoch  uint64 // counts the changes between reachable and away
	away   bool
	failed time.Time // when the last try began, by the caller's clock
	since  time.Time // when away last changed
	told   bool      // what was told last of away
	trying bool
}

// attempt is a call that was let through.
type attempt struct {
	epoch uint64
	try   bool
}

// obeys says whether a client heeds the deadlines of contexts.
func obeys(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	case *redis.Ring:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// ask calls f, which asks Redis. It returns errAway without a call while Redis is
// away, ctx's own error when ctx ended, and any other error when Redis failed.
func ask[T any](ctx context.Context, r *remote, now time.Time, f func(ctx context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	a, ok := r.enter(now)
	if !ok {
		return none, errAway
	}
	settled := false
	defer func() {
		if !settled { // f panicked: somebody else must be able to try
			r.leave(a)
		}
	}()
	out, err := within(ctx, r, f)
	settled = true
	switch {
	case err == nil:
		r.settle(a, now, nil)
	case ended(ctx) != nil:
		// The caller went away. That says nothing of Redis.
		r.leave(a)
		return none, ended(ctx)
	default:
		r.settle(a, now, err)
	}
	return out, err
}

// ended returns why a context ended. A connection may notice a deadline before the
// context's own timer does. Deadlines are instants of the wall clock, whatever clock
// decides on limits.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// within calls f with the timeout. A client that does not heed contexts is left
// behind in a goroutine, which ends by the client's own timeouts.
func within[T any](ctx context.Context, r *remote, f func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	if r.obeys {
		defer cancel()
		return f(ctx)
	}
	type result struct {
		out T
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer cancel()
		out, err := f(ctx)
		done <- result{out, err}
	}()
	select {
	case got := <-done:
		return got.out, got.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func (r *remote) enter(now time.Time) (attempt, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.away {
		return attempt{epoch: r.epoch}, true
	}
	wait := now.Sub(r.failed)
	if r.trying || wait < r.every && wait > -r.every { // further back is a clock that was set back
		return attempt{}, false
	}
	r.trying = true
	return attempt{epoch: r.epoch, try: true}, true
}

func (r *remote) leave(a attempt) {
	if a.try {
		r.mu.Lock()
		r.trying = false
		r.mu.Unlock()
	}
}

// settle notes how an attempt went. One that began before the last change says
// nothing of how things are now.
func (r *remote) settle(a attempt, now time.Time, err error) {
	r.mu.Lock()
	if a.try {
		r.trying = false
	}
	tell := false
	if a.epoch == r.epoch {
		if err != nil {
			r.failed = now
		}
		if r.away != (err != nil) {
			r.away = err != nil
			r.since = now
			r.epoch++
		}
		// A pool of connections may fail some requests for a while after the first
		// one succeeded: that Redis is back is told when it has stayed.
		stayed := now.Sub(r.since).Abs() >= r.every
		if tell = r.told != r.away && (r.away || stayed); tell {
			r.told = r.away
		}
	}
	r.mu.Unlock()
	if tell {
		r.tell(err)
	}
}

func (r *remote) tell(err error) {
	if err != nil {
		r.logger.Error("apitoken: Redis cannot be used", "by", r.what, "error", err)
	} else {
		r.logger.Info("apitoken: Redis can be used again", "by", r.what)
	}
	if r.change != nil {
		r.change(err == nil, err)
	}
}

// reachable says whether the last that was heard of Redis was an answer.
func (r *remote) reachable() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.away
}
