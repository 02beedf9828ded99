package apitoken

import (
	"container/heap"
	"context"
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"
)

// MemoryLimiter is a [Limiter] and [BatchLimiter] for one process: a bounded number
// of buckets. Make it with [NewMemoryLimiter].
type MemoryLimiter struct {
	seed   maphash.Seed
	base   time.Time // instants are counted from here
	shards [limiterShards]limiterShard
	max    int // buckets in each shard
}

const limiterShards = 64

type limiterShard struct {
	mu      sync.Mutex
	began   bool
	now     int64              // the latest instant seen, in nanoseconds
	offset  int64              // what a clock that was set back is behind
	buckets map[uint64]*bucket // by the hash of their keys, which is taken only once
	byFull  bucketHeap
	_       [64]byte // shards do not share a cache line
}

// bucket is the GCRA in its form as a bucket of requests (ITU-T I.371 calls it the
// continuous-state leaky bucket): what is there, and as of when. The other form, one
// theoretical arrival time, would give more or less than was left when a limit is
// edited.
type bucket struct {
	key   LimitKey
	hash  uint64
	limit Limit
	rate  float64 // requests per nanosecond
	have  float64 // requests, at the instant at
	at    int64
	full  int64 // it is not full before this instant; uses leave it behind
	index int   // in byFull
}

// maxDisorder is how far the instants of concurrent requests may be out of
// order. What lies further back is a clock that was set back.
const maxDisorder = time.Second

// precision is what a sum of fractions may be off by, as a part of a full bucket: a
// request that comes at the very instant it was promised must find all of it there.
const precision = 1e-15

// NewMemoryLimiter returns a limiter for up to buckets buckets, at least 64. They
// are spread over 64 shards; a shard without room drops a full bucket, which
// changes no decision, and if none is full it refuses new keys with
// [ErrUnavailable] until one is.
func NewMemoryLimiter(buckets int) *MemoryLimiter {
	l := &MemoryLimiter{seed: maphash.MakeSeed(), base: time.Now(), max: max(1, buckets/limiterShards)}
	for i := range l.shards {
		l.shards[i].buckets = make(map[uint64]*bucket)
	}
	return l
}

// Allow implements [Limiter]. A clock that was set back refills no bucket and
// stops none: refilling goes on from the instant it was set to. [SystemClock] has
// the time since the process began in its instants, so there no step of the wall
// clock is noticed at all.
func (l *MemoryLimiter) Allow(_ context.Context, req LimitRequest, now time.Time) (Decision, error) {
	if err := req.Check(); err != nil {
		return Decision{}, err
	}
	if req.Limit.Quota == 0 {
		return blocked(&req), nil
	}
	hash := l.hash(&req.Key)
	shard := &l.shards[hash%limiterShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	b, err := shard.bucket(l.max, hash, &req, shard.advance(int64(now.Sub(l.base))))
	if err != nil {
		return Decision{}, err
	}
	d := b.decide(&req)
	if d.Allowed {
		b.have -= float64(req.Cost)
	}
	return d, nil
}

// AllowAll implements [BatchLimiter]. Other requests see all of it or nothing.
func (l *MemoryLimiter) AllowAll(_ context.Context, reqs []LimitRequest, now time.Time) ([]Decision, error) {
	hashes := make([]uint64, len(reqs))
	locks := make([]uint64, len(reqs)) // in one order in all calls
	for i := range reqs {
		if err := reqs[i].Check(); err != nil {
			return nil, err
		}
		hashes[i] = l.hash(&reqs[i].Key)
		locks[i] = hashes[i] % limiterShards
	}
	slices.Sort(locks)
	for _, i := range slices.Compact(locks) {
		shard := &l.shards[i]
		shard.mu.Lock()
		defer shard.mu.Unlock()
		shard.advance(int64(now.Sub(l.base)))
	}
	out := make([]Decision, len(reqs))
	buckets := make([]*bucket, 0, len(reqs))
	var failed error
	refused := false
	for i := range reqs {
		if reqs[i].Limit.Quota == 0 {
			out[i], refused = blocked(&reqs[i]), true
			buckets = append(buckets, nil)
			continue
		}
		shard := &l.shards[hashes[i]%limiterShards]
		b, err := shard.bucket(l.max, hashes[i], &reqs[i], shard.now)
		if err != nil {
			failed = err
			break
		}
		out[i] = b.decide(&reqs[i])
		refused = refused || !out[i].Allowed
		if out[i].Allowed {
			b.have -= float64(reqs[i].Cost) // at once: the next one may be of the same bucket
		}
		buckets = append(buckets, b)
	}
	if refused || failed != nil {
		for i, b := range buckets {
			if out[i].Allowed {
				b.have += float64(reqs[i].Cost)
			}
		}
	}
	if failed != nil {
		return nil, failed
	}
	return out, nil
}

// blocked is the decision of a limit of zero, which needs no bucket.
func blocked(req *LimitRequest) Decision {
	return Decision{Limit: req.Key.Name, Per: req.Limit.Per, Window: req.Limit.Window, RetryAfter: req.Limit.Window, Never: true}
}

// hash hashes what tells buckets apart. The ID of a token is its own.
func (l *MemoryLimiter) hash(key *LimitKey) uint64 {
	h := maphash.String(l.seed, key.ID) ^ maphash.String(l.seed, key.Name)*31
	if key.Per != PerToken {
		h ^= maphash.Comparable(l.seed, *key)
	}
	return h
}

// bucket returns the bucket of a request, brought up to now: refilled, and then of
// the request's limit. An edited limit acts at once and gives no more than was left.
func (s *limiterShard) bucket(most int, hash uint64, req *LimitRequest, now int64) (*bucket, error) {
	b, ok := s.buckets[hash]
	for ok && b.key != req.Key { // another key has this hash
		hash += limiterShards // stays in the shard
		b, ok = s.buckets[hash]
	}
	if !ok {
		if len(s.buckets) >= most && !s.dropFull() {
			return nil, errors.New("every bucket is in use: make the limiter larger")
		}
		b = &bucket{key: req.Key, hash: hash, at: now, full: now, have: float64(req.Limit.Size())}
		s.buckets[hash] = b
		b.set(req.Limit)
		heap.Push(&s.byFull, b)
		return b, nil
	}
	b.refill(now)
	if b.limit != req.Limit {
		b.set(req.Limit)
		b.full = now
		heap.Fix(&s.byFull, b.index)
	}
	return b, nil
}

func (b *bucket) set(limit Limit) {
	b.limit, b.rate = limit, float64(limit.Quota)/float64(limit.Window)
	b.have = min(b.have, float64(limit.Size()))
}

func (b *bucket) refill(now int64) {
	if now > b.at {
		b.have = min(float64(b.limit.Size()), b.have+float64(now-b.at)*b.rate)
		b.at = now
	}
}

// decide answers a request, and takes nothing.
func (b *bucket) decide(req *LimitRequest) Decision {
	size, left, cost := float64(b.limit.Size()), b.have, float64(req.Cost)
	d := Decision{
		Limit: b.key.Name, Per: b.limit.Per, Quota: b.limit.Quota, Window: b.limit.Window,
		Never: req.Cost > b.limit.Size(),
	}
	switch {
	case d.Never:
		d.RetryAfter = b.limit.Window
	case left < cost-size*precision:
		d.RetryAfter = max(1, b.timeFor(cost-left))
	default:
		d.Allowed = true
		left -= cost
	}
	d.Remaining = int(min(max(left+size*precision, 0), math.MaxInt32)) // int has 32 bits on some platforms
	d.Reset = b.timeFor(size - left)
	return d
}

// timeFor returns how long requests take to be refilled; a century at most.
func (b *bucket) timeFor(requests float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if requests <= float64(b.limit.Size())*precision {
		return 0
	}
	return time.Duration(min(math.Ceil(requests/b.rate), float64(century)))
}

// advance returns the instant to decide by: the latest seen, so that requests
// out of order refill nothing twice. After a clock was set back, time goes on from
// there.
func (s *limiterShard) advance(now int64) int64 {
	now += s.offset
	switch {
	case !s.began:
		s.now, s.began = now, true
	case s.now-now > int64(maxDisorder):
		s.offset += s.now - now
	case now > s.now:
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
		if b.full > s.now {
			return false
		}
		b.refill(s.now)
		wait := b.timeFor(float64(b.limit.Size()) - b.have)
		if wait == 0 {
			heap.Pop(&s.byFull)
			delete(s.buckets, b.hash)
			return true
		}
		b.full = s.now + int64(wait)
		heap.Fix(&s.byFull, 0)
	}
}

// bucketHeap has the bucket that may be full first at the top.
type bucketHeap []*bucket

func (h bucketHeap) Len() int           { return len(h) }
func (h bucketHeap) Less(i, j int) bool { return h[i].full < h[j].full }
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
