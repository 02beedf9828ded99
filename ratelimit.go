package apitoken

import (
	"container/heap"
	"context"
	"errors"
	"hash/maphash"
	"math"
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
	// n × percent would overflow for the large limits that mean 'none'.
	return max(1, n/100*percent+n%100*percent/100)
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
	now     time.Time          // the latest instant seen
	buckets map[uint64]*bucket // by the hash of their keys, which is taken only once
	byFull  bucketHeap
}

type bucket struct {
	key     LimitKey
	hash    uint64
	limiter *rate.Limiter
	limit   Limit
	full    time.Time // it is not full before this instant; uses leave it behind
	index   int       // in byFull
}

// maxDisorder is how far the instants of concurrent requests may be out of
// order. What lies further back is a clock that was set back.
const maxDisorder = time.Second

// NewMemoryLimiter returns a limiter for up to buckets buckets, at least 64. They
// are spread over 64 shards; a shard without room drops a full bucket, which
// changes no decision, and if none is full it refuses new keys with
// [ErrUnavailable] until one is.
func NewMemoryLimiter(buckets int) *MemoryLimiter {
	l := &MemoryLimiter{seed: maphash.MakeSeed(), max: max(1, buckets/64)}
	for i := range l.shards {
		l.shards[i].buckets = make(map[uint64]*bucket)
	}
	return l
}

// Allow implements [Limiter]. A clock that was set back refills no bucket and
// stops none: refilling goes on from the instant it was set to.
func (l *MemoryLimiter) Allow(_ context.Context, key LimitKey, limit Limit, now time.Time) (Decision, error) {
	if err := limit.check(); err != nil {
		return Decision{}, err
	}
	d := Decision{Limit: key.Name, Quota: limit.Quota, Window: limit.Window}
	if limit.Quota == 0 {
		d.RetryAfter = limit.Window
		return d, nil
	}
	hash := maphash.Comparable(l.seed, key)
	shard := &l.shards[hash%uint64(len(l.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	now = shard.advance(now)
	b, ok := shard.buckets[hash]
	for ok && b.key != key { // another key has this hash
		hash++
		b, ok = shard.buckets[hash]
	}
	if !ok {
		if len(shard.buckets) >= l.max && !shard.dropFull() {
			return Decision{}, errors.New("every bucket is in use: make the limiter larger")
		}
		b = &bucket{key: key, hash: hash, limit: limit, limiter: rate.NewLimiter(limit.perSecond(), limit.burst()), full: now}
		shard.buckets[hash] = b
		heap.Push(&shard.byFull, b)
	}
	if b.limit != limit {
		// An edited limit or share acts at once and refills nothing.
		b.limiter.SetLimitAt(now, limit.perSecond())
		b.limiter.SetBurstAt(now, limit.burst())
		b.limit, b.full = limit, now
		heap.Fix(&shard.byFull, b.index)
	}
	d.Allowed = b.limiter.AllowN(now, 1)
	have := b.limiter.TokensAt(now)
	d.Remaining = int(min(max(have, 0), math.MaxInt32)) // int has 32 bits on some platforms
	if !d.Allowed {
		d.RetryAfter = limit.timeFor(1 - have)
	}
	return d, nil
}

// advance returns the instant to decide by: the latest seen, so that requests
// out of order refill nothing twice. After a clock was set back, all buckets go
// on from there with what they have.
func (s *limiterShard) advance(now time.Time) time.Time {
	if s.now.Sub(now) > maxDisorder {
		for _, b := range s.byFull {
			b.limiter.SetLimitAt(s.now, b.limit.perSecond())
			b.limiter.SetLimitAt(now, b.limit.perSecond())
			b.full = now
		}
		s.now = now
	}
	if now.After(s.now) {
		s.now = now
	}
	return s.now
}

// dropFull drops a bucket that is full again, if there is one. The instants in
// the heap are brought up to date as they come to the top, once for each time a
// bucket was used: somebody who asks for ever new keys cannot make it search.
func (s *limiterShard) dropFull() bool {
	for {
		b := s.byFull[0]
		if b.full.After(s.now) {
			return false
		}
		missing := float64(b.limit.burst()) - b.limiter.TokensAt(s.now)
		if missing <= 0 {
			heap.Pop(&s.byFull)
			delete(s.buckets, b.hash)
			return true
		}
		b.full = s.now.Add(max(1, b.limit.timeFor(missing)))
		heap.Fix(&s.byFull, 0)
	}
}

func (l Limit) burst() int {
	if l.Burst == 0 {
		return l.Quota
	}
	return l.Burst
}

func (l Limit) perSecond() rate.Limit { return rate.Limit(float64(l.Quota) / l.Window.Seconds()) }

// timeFor returns how long requests take to be refilled, to the nanosecond that
// package rate counts in; a century at most.
func (l Limit) timeFor(requests float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	return time.Duration(min(math.Round(requests*float64(l.Window)/float64(l.Quota)), float64(century)))
}

// bucketHeap has the bucket that may be full first at the top.
type bucketHeap []*bucket

func (h bucketHeap) Len() int           { return len(h) }
func (h bucketHeap) Less(i, j int) bool { return h[i].full.Before(h[j].full) }
func (h bucketHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *bucketHeap) Push(x any) {
	b := x.(*bucket)
	b.index = len(*h)
	*h = append(*h, b)
}

func (h *bucketHeap) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}
