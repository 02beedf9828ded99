package apitoken

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit is a rate limit of one API (S1.19): Quota requests per Window, with
// bursts of up to Burst.
type Limit struct {
	Quota  int           // requests per Window; 0 blocks
	Window time.Duration // more than 0
	Burst  int           // requests at once. Defaults to Quota
}

// Share returns the part of a limit that percent (1 to 100) gives: max(1,
// floor(limit × percent ÷ 100)), and 0 when the limit is 0.
func (l Limit) Share(percent int) Limit {
	l.Quota, l.Burst = shareOf(l.Quota, percent), shareOf(l.Burst, percent)
	return l
}

func shareOf(n, percent int) int {
	if n <= 0 {
		return 0
	}
	return max(1, int(int64(n)*int64(percent)/100))
}

// Decision is a limiter's answer.
type Decision struct {
	Limit      string // its name
	Quota      int    // requests per Window, after the token's share
	Window     time.Duration
	Allowed    bool
	Remaining  int           // requests that would be allowed at once now
	RetryAfter time.Duration // when refused: how long until one is allowed
}

// LimitKey is one bucket: one token and one API.
type LimitKey struct {
	Token ID
	Name  string
}

// Limiter decides whether a request may pass. Implementations must be safe for
// concurrent use. An error refuses the request with [ErrUnavailable].
type Limiter interface {
	Allow(ctx context.Context, key LimitKey, limit Limit, now time.Time) (Decision, error)
}

func (l Limit) check() error {
	switch {
	case l.Quota < 0 || l.Burst < 0:
		return errors.New("a limit cannot be negative: give 0 to block, or more")
	case l.Window <= 0:
		return errors.New("the window must be more than 0: say per how long the quota is")
	}
	return nil
}

// MemoryLimiter is a [Limiter] for one process: token buckets of
// golang.org/x/time/rate, a bounded number of them. Make it with
// [NewMemoryLimiter].
type MemoryLimiter struct {
	seed   maphash.Seed
	shards [64]limiterShard
	max    int // buckets in each shard
}

type limiterShard struct {
	mu      sync.Mutex
	buckets map[LimitKey]*bucket
}

type bucket struct {
	limiter *rate.Limiter
	limit   Limit
	last    time.Time // the latest instant seen: a clock that steps back refills nothing
}

// NewMemoryLimiter returns a limiter for up to buckets buckets, at least 64.
// When there are more it drops full ones, which changes no decision; if none is
// full it refuses new keys with [ErrUnavailable] until one is.
func NewMemoryLimiter(buckets int) *MemoryLimiter {
	l := &MemoryLimiter{seed: maphash.MakeSeed(), max: max(1, buckets/64)}
	for i := range l.shards {
		l.shards[i].buckets = make(map[LimitKey]*bucket)
	}
	return l
}

// Allow implements [Limiter].
func (l *MemoryLimiter) Allow(_ context.Context, key LimitKey, limit Limit, now time.Time) (Decision, error) {
	burst := limit.Burst
	if burst == 0 {
		burst = limit.Quota
	}
	d := Decision{Limit: key.Name, Quota: limit.Quota, Window: limit.Window}
	if limit.Quota == 0 {
		d.RetryAfter = limit.Window
		return d, nil
	}
	shard := &l.shards[maphash.Comparable(l.seed, key)%uint64(len(l.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	b, ok := shard.buckets[key]
	if !ok {
		if len(shard.buckets) >= l.max && !shard.dropFull(now) {
			return Decision{}, errors.New("every bucket is in use: make the limiter larger")
		}
		b = &bucket{limit: limit, limiter: rate.NewLimiter(perSecond(limit), burst), last: now}
		shard.buckets[key] = b
	}
	if now.Before(b.last) {
		now = b.last
	}
	b.last = now
	if b.limit != limit {
		// An edited limit or share acts at once and refills nothing.
		b.limiter.SetLimitAt(now, perSecond(limit))
		b.limiter.SetBurstAt(now, burst)
		b.limit = limit
	}
	d.Allowed = b.limiter.AllowN(now, 1)
	have := b.limiter.TokensAt(now)
	d.Remaining = max(0, int(have))
	if !d.Allowed {
		d.RetryAfter = time.Duration((1 - have) / float64(perSecond(limit)) * float64(time.Second))
	}
	return d, nil
}

// dropFull makes room by dropping buckets that are full again.
func (s *limiterShard) dropFull(now time.Time) bool {
	dropped := false
	for key, b := range s.buckets {
		if b.limiter.TokensAt(now) >= float64(b.limiter.Burst()) {
			delete(s.buckets, key)
			dropped = true
		}
	}
	return dropped
}

func perSecond(l Limit) rate.Limit { return rate.Limit(float64(l.Quota) / l.Window.Seconds()) }
