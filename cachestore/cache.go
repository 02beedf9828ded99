package cachestore

import (
	"context"
	"errors"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/tokenry/apitoken"
)

// source is what a cache stands before.
type source[K comparable, V any] struct {
	// read reads one value; ErrNotFound = there is none.
	read func(ctx context.Context, key K) (V, error)
	// same reports whether what is kept still stands, going by what was read now.
	same func(kept, now V) bool
	// confirm, unless nil, says which of at most maxBatch values still stand.
	confirm func(ctx context.Context, keys []K, kept []V) (stands []bool, err error)
	// clone copies a key that may be a part of a request's header.
	clone func(key K) K
	hash  func(seed maphash.Seed, key K) uint64
}

// cache keeps answers of a source for at most maxStale. Its zero value is not
// usable.
//
// Why nothing that is older than a change stays after it: a change calls forget
// after it ended. That drops what was read before, and overtakes every read that is
// under way; a read that begins later sees the change.
type cache[K comparable, V any] struct {
	source[K, V]
	watch
	maxStale time.Duration
	perShard int
	shards   []shard[K, V]
	seed     maphash.Seed
	turn     atomic.Uint32          // which shard a batch begins with
	failed   atomic.Pointer[moment] // when a batch could not be confirmed
}

// flight is a read under way. The fields below done are set before done is closed,
// and not changed afterwards.
type flight[V any] struct {
	began moment
	done  chan struct{}

	answered bool // value and err are an answer for whoever waits
	value    V
	err      error
}

func newCache[K comparable, V any](opts Options, from source[K, V]) *cache[K, V] {
	n := 64
	for n > 1 && opts.MaxEntries/n < 64 { // small shards would be filled unevenly
		n /= 2
	}
	c := &cache[K, V]{
		source: from, watch: newWatch(opts.Clock), maxStale: opts.MaxStale,
		perShard: opts.MaxEntries / n, shards: make([]shard[K, V], n), seed: maphash.MakeSeed(),
	}
	for i := range c.shards {
		c.shards[i].entries = make(map[K]*entry[K, V])
		c.shards[i].flights = make(map[K]*flight[V])
	}
	return c
}

func (c *cache[K, V]) shard(key K) *shard[K, V] {
	return &c.shards[c.hash(c.seed, key)%uint64(len(c.shards))]
}

// get returns the value of a key, or ErrNotFound, or the error of the source.
func (c *cache[K, V]) get(ctx context.Context, key K) (V, error) {
	if err := ctx.Err(); err != nil {
		var none V
		return none, err
	}
	s, now := c.shard(key), c.now()
	s.mu.Lock()
	if e := s.entries[key]; e != nil && c.usable(s, e, now) {
		s.use(e)
		v, absent := e.value, e.in == &s.absent
		s.mu.Unlock()
		return v, absence(absent)
	}
	s.misses++
	s.mu.Unlock()
	return c.miss(ctx, s, c.clone(key))
}

// usable reports whether an entry may still be an answer.
func (c *cache[K, V]) usable(s *shard[K, V], e *entry[K, V], now moment) bool {
	return e.read.age(now) < c.lifetime(e.in == &s.absent)
}

func (c *cache[K, V]) lifetime(absent bool) time.Duration {
	if absent {
		return min(c.maxStale, longestUnknown)
	}
	return c.maxStale
}

func absence(absent bool) error {
	if absent {
		return apitoken.ErrNotFound
	}
	return nil
}

// miss gets what is not known, or too old: by waiting for somebody who reads it
// already, by confirming it together with others, or by reading it.
func (c *cache[K, V]) miss(ctx context.Context, s *shard[K, V], key K) (V, error) {
	var none V
	tried := false
	// A round ends without an answer after a confirmation, and when another's read
	// brought none. Who met that often asks alone.
	for range 4 {
		s.mu.Lock()
		now := c.now() // under the lock: not before anything that stands in the entry
		e := s.entries[key]
		if e != nil && c.usable(s, e, now) {
			v, absent := e.value, e.in == &s.absent
			s.mu.Unlock()
			return v, absence(absent)
		}
		f := s.flights[key]
		if f != nil && f.began.age(now) < c.maxStale {
			s.mu.Unlock()
			if ended, err := c.wait(ctx, f); err != nil {
				return none, err
			} else if ended && f.answered && c.current(f) {
				return f.value, f.err
			}
			continue
		}
		f = &flight[V]{began: now, done: make(chan struct{})}
		s.flights[key] = f
		if e == nil || e.in == &s.absent || tried || !c.confirms(now) {
			s.mu.Unlock()
			return c.load(ctx, s, key, f)
		}
		b := batch[K, V]{flight: f}
		b.add(e)
		s.mu.Unlock()
		c.collect(&b, now, maxBatch)
		// If that fails, what is read next fails too, or is right.
		_ = c.confirmAll(ctx, &b)
		if err := ctx.Err(); err != nil {
			return none, err
		}
		tried = true
	}
	return c.read(ctx, key)
}

// wait waits for a flight to end, but not for longer than its answer is good for.
func (c *cache[K, V]) wait(ctx context.Context, f *flight[V]) (ended bool, err error) {
	enough := time.NewTimer(c.maxStale)
	defer enough.Stop()
	select {
	case <-f.done:
		return true, nil
	case <-enough.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// current reports whether what a flight brought may still be an answer. A failure
// always is.
func (c *cache[K, V]) current(f *flight[V]) bool {
	return !isAnswer(f.err) || f.began.age(c.now()) < c.lifetime(f.err != nil)
}

// load reads a key for everybody who waits for f.
func (c *cache[K, V]) load(ctx context.Context, s *shard[K, V], key K, f *flight[V]) (v V, err error) {
	returned := false
	defer func() {
		s.mu.Lock()
		s.reads++
		kept := s.flights[key] == f
		if kept {
			delete(s.flights, key)
		}
		switch {
		case !returned: // it panicked; whoever waits reads by itself
		case isAnswer(err):
			if kept {
				v = c.put(s, key, v, f.began, err != nil)
			}
			f.answered = true
		default:
			s.failures++
			f.answered = !gaveUp(ctx, err)
		}
		f.value, f.err = v, err
		s.mu.Unlock()
		close(f.done)
	}()
	v, err = c.read(ctx, key)
	returned = true
	return v, err
}

// isAnswer reports whether a source that returned err has answered.
func isAnswer(err error) bool { return err == nil || errors.Is(err, apitoken.ErrNotFound) }

// gaveUp reports whether a read failed because who asked for it went away: that
// says nothing to others.
func gaveUp(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// put keeps an answer, and returns the value that is kept: the old one if it still
// stands, since what was compiled from it hangs on it. The caller holds s.mu.
func (c *cache[K, V]) put(s *shard[K, V], key K, v V, read moment, absent bool) V {
	if e := s.entries[key]; e != nil {
		if !absent && e.in != &s.absent && c.same(e.value, v) {
			v = e.value
		}
		s.drop(e)
	}
	e := &entry[K, V]{key: key, value: v, read: read}
	if absent {
		for s.absent.n >= max(1, c.perShard/8) {
			s.drop(s.absent.first)
		}
		s.absent.push(e)
	} else {
		for s.awake.n+s.asleep.n >= c.perShard {
			s.drop(s.evictable())
		}
		s.awake.push(e)
	}
	s.entries[key] = e
	return v
}

// saw takes note of an answer that somebody read past the cache: what disagrees
// with it is not used any more.
func (c *cache[K, V]) saw(key K, v V, err error) {
	if !isAnswer(err) {
		return
	}
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	if e != nil {
		absent := e.in == &s.absent
		if absent == (err != nil) && (absent || c.same(e.value, v)) {
			return
		}
		s.drop(e)
	}
	delete(s.flights, key)
}

func (c *cache[K, V]) forget(key K) { c.shard(key).forget(key) }

func (c *cache[K, V]) forgetAll() {
	for i := range c.shards {
		c.shards[i].forgetAll()
	}
}
