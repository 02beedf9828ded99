package apitoken

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// MemoryLimiter is a [Limiter] and [BatchLimiter] for one process: a bounded number
// of buckets. Make it with [NewMemoryLimiter].
type MemoryLimiter struct {
	shards [limiterShards]limiterShard
	seed   maphash.Seed
	max    int                       // buckets in each shard
	began  atomic.Pointer[time.Time] // the first instant seen; others are counted from it
}

const limiterShards = 64

type limiterShard struct {
	mu      sync.Mutex
	now     int64 // the latest instant seen, in nanoseconds
	offset  int64 // what a clock that was set back is behind
	buckets bucketTable
	byFull  dueHeap
	shape   *shape   // the last one that was made
	_       [64]byte // shards do not share a cache line
}

// shape is what a limit makes of a bucket. Buckets of one limit share it, which keeps
// them small.
type shape struct {
	quota, burst int // these three as in the Limit
	window       time.Duration
	rate         float64 // requests per nanosecond
	size         float64 // requests in a full one
}

func (s *shape) is(l *Limit) bool {
	return s.quota == l.Quota && s.window == l.Window && s.burst == l.Burst
}

// bucketID stands for a LimitKey: a hash by a seed that nobody knows. Among a million
// buckets there are two keys that share one with a chance of one in 37 million, and a
// bucket needs no strings.
type bucketID uint64

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
	l := &MemoryLimiter{seed: maphash.MakeSeed(), max: max(1, buckets/limiterShards)}
	for i := range l.shards {
		l.shards[i].buckets = newBucketTable()
	}
	return l
}

// Allow implements [Limiter]. A clock that was set back refills no bucket and
// stops none: refilling goes on from the instant it was set to. [SystemClock] has
// the time since the process began in its instants, so there no step of the wall
// clock is noticed at all.
func (l *MemoryLimiter) Allow(_ context.Context, req LimitRequest, now time.Time) (d Decision, err error) {
	if err := req.check(); err != nil {
		return Decision{}, err
	}
	if req.Limit.Quota == 0 {
		return blocked(&req), nil
	}
	id := l.id(&req.Key)
	at := l.since(now)
	shard := &l.shards[id%limiterShards]
	shard.mu.Lock()
	shard.advance(at)
	b, _ := shard.bucket(l.max, id, &req.Limit)
	if b == nil {
		shard.mu.Unlock()
		return Decision{}, errAllInUse
	}
	b.decide(&req, &d)
	if d.Allowed {
		b.have -= float64(req.Cost)
	}
	shard.mu.Unlock()
	return d, nil
}

// AllowAll implements [BatchLimiter]. Other requests see all of it or nothing, and
// what is refused leaves no new bucket behind: a limit of a tenant bounds the buckets
// that its tokens can fill.
func (l *MemoryLimiter) AllowAll(_ context.Context, reqs []LimitRequest, now time.Time) ([]Decision, error) {
	ids := make([]bucketID, len(reqs))
	locks := make([]uint64, len(reqs)) // in one order in all calls
	for i := range reqs {
		if err := reqs[i].check(); err != nil {
			return nil, err
		}
		ids[i] = l.id(&reqs[i].Key)
		locks[i] = uint64(ids[i]) % limiterShards
	}
	at := l.since(now)
	slices.Sort(locks)
	for _, i := range slices.Compact(locks) {
		shard := &l.shards[i]
		shard.mu.Lock()
		defer shard.mu.Unlock()
		shard.advance(at)
	}
	out := make([]Decision, len(reqs))
	added := make([]bool, len(reqs))
	var failed error
	refused := false
	for i := range reqs {
		if reqs[i].Limit.Quota == 0 {
			out[i], refused = blocked(&reqs[i]), true
			continue
		}
		shard := &l.shards[ids[i]%limiterShards]
		var b *bucket
		if b, added[i] = shard.bucket(l.max, ids[i], &reqs[i].Limit); b == nil {
			failed = errAllInUse
			break
		}
		b.decide(&reqs[i], &out[i])
		refused = refused || !out[i].Allowed
		if out[i].Allowed {
			b.have -= float64(reqs[i].Cost) // at once: the next one may be of the same bucket
		}
	}
	if refused || failed != nil {
		for i, id := range ids {
			b := l.shards[id%limiterShards].buckets.find(id)
			if out[i].Allowed && b.shape != nil { // nil: it was full, and made room for another one
				b.have = min(b.have+float64(reqs[i].Cost), b.shape.size)
			}
		}
		for i, id := range ids {
			if added[i] {
				l.shards[id%limiterShards].buckets.remove(id)
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

var errAllInUse = errors.New("every bucket is in use: make the limiter larger")

func (l *MemoryLimiter) id(key *LimitKey) bucketID {
	if key.Per != PerToken {
		return bucketID(maphash.Comparable(l.seed, *key))
	}
	// The ID of a token is its own, whoever's it is.
	return bucketID(maphash.String(l.seed, key.ID) + 3*maphash.String(l.seed, key.Name))
}

// bucket returns a bucket, brought up to now: refilled, and then of the limit. An
// edited limit acts at once and gives no more than was left. nil = there is no room.
func (s *limiterShard) bucket(most int, id bucketID, limit *Limit) (b *bucket, added bool) {
	b = s.buckets.find(id)
	if b.shape == nil {
		if s.buckets.used >= most && !s.dropFull() {
			return nil, false
		}
		shape := s.shapeOf(limit)
		b = s.buckets.add(bucket{id, shape.size, s.now, shape})
		s.note(id)
		return b, true
	}
	b.refill(s.now)
	if !b.shape.is(limit) {
		b.shape = s.shapeOf(limit)
		b.have = min(b.have, b.shape.size)
		s.note(id)
	}
	return b, false
}

func (s *limiterShard) shapeOf(l *Limit) *shape {
	if s.shape == nil || !s.shape.is(l) {
		s.shape = &shape{l.Quota, l.Burst, l.Window, float64(l.Quota) / float64(l.Window), float64(l.Size())}
	}
	return s.shape
}

// note notes that a bucket may be full by now. What was noted of it before stays, and
// so does what was noted of buckets that are gone: to find that, buckets would have to
// know their places in the heap, and be larger. When there is too much, the heap is made
// anew.
func (s *limiterShard) note(id bucketID) {
	s.byFull.push(due{s.now, id})
	if len(s.byFull) <= len(s.buckets.slots) {
		return
	}
	s.byFull = s.byFull[:0]
	for i := range s.buckets.slots {
		if b := &s.buckets.slots[i]; b.shape != nil {
			s.byFull = append(s.byFull, due{s.now, b.id}) // all the same: that is a heap
		}
	}
}

func (b *bucket) refill(now int64) {
	if now > b.at {
		b.have = min(b.shape.size, b.have+float64(now-b.at)*b.shape.rate)
		b.at = now
	}
}

// decide answers a request, and takes nothing. d is zero before: it is large, and this
// fills it in where it is wanted.
func (b *bucket) decide(req *LimitRequest, d *Decision) {
	left, cost := b.have, float64(req.Cost)
	d.Limit, d.Per, d.Quota, d.Window = req.Key.Name, req.Limit.Per, b.shape.quota, b.shape.window
	switch {
	case cost > b.shape.size:
		d.Never, d.RetryAfter = true, b.shape.window
	case left < cost-b.shape.size*precision:
		d.RetryAfter = max(1, b.timeFor(cost-left))
	default:
		d.Allowed = true
		left -= cost
	}
	d.Remaining = int(min(max(left+b.shape.size*precision, 0), math.MaxInt32)) // int has 32 bits on some platforms
	d.Reset = b.timeFor(b.shape.size - left)
}

// timeFor returns how long requests take to be refilled; a century at most.
func (b *bucket) timeFor(requests float64) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	if requests <= b.shape.size*precision {
		return 0
	}
	return time.Duration(min(math.Ceil(requests/b.shape.rate), float64(century)))
}

// since counts an instant from the first one.
func (l *MemoryLimiter) since(now time.Time) int64 {
	began := l.began.Load()
	if began == nil {
		first := now
		l.began.CompareAndSwap(nil, &first)
		began = l.began.Load()
	}
	return int64(now.Sub(*began))
}

// advance sets the instant to decide by: the latest seen, so that requests
// out of order refill nothing twice. After a clock was set back, time goes on from
// there.
func (s *limiterShard) advance(at int64) {
	at += s.offset
	if s.now-at > int64(maxDisorder) {
		s.offset += s.now - at
	}
	s.now = max(s.now, at)
}

// dropFull drops a bucket that is full again, if there is one. The instants in
// the heap are brought up to date as they come to the top, once for each time a
// bucket was used or noted: somebody who asks for ever new keys cannot make it search.
func (s *limiterShard) dropFull() bool {
	for len(s.byFull) > 0 && s.byFull[0].full <= s.now {
		id := s.byFull[0].id
		b := s.buckets.find(id)
		if b.shape == nil {
			s.byFull.pop()
			continue
		}
		b.refill(s.now)
		wait := b.timeFor(b.shape.size - b.have)
		if wait == 0 {
			s.byFull.pop()
			s.buckets.remove(id)
			return true
		}
		s.byFull.replace(due{s.now + int64(wait), id})
	}
	return false
}
