package cachestore

import (
	"context"
	"errors"
	"time"
)

const (
	// maxBatch is how many entries one statement confirms.
	maxBatch = 500
	// confirmTime is how long it may take: all who need one of them wait for it.
	confirmTime = time.Second
)

var errInterrupted = errors.New("cachestore: confirmation was interrupted")

// batch is what one flight confirms.
type batch[K comparable, V any] struct {
	flight *flight[V]
	keys   []K
	kept   []V
}

func (b *batch[K, V]) add(e *entry[K, V]) {
	b.keys, b.kept = append(b.keys, e.key), append(b.kept, e.value)
}

// confirms reports whether a request that needs an entry confirmed should try it
// together with others. After a failure it does not, for a while: each asks for
// its own, so that one statement that hangs or is refused does not stop all.
func (c *cache[K, V]) confirms(now moment) bool {
	if c.confirm == nil {
		return false
	}
	failed := c.failed.Load()
	return failed == nil || failed.age(now) >= min(c.maxStale, confirmTime)
}

// collect adds entries that are in use and will be too old soon, until the batch
// has size, and puts those to sleep that are not in use.
func (c *cache[K, V]) collect(b *batch[K, V], now moment, size int) {
	from := c.turn.Add(1)
	for i := range c.shards {
		if len(b.keys) >= size {
			return
		}
		s := &c.shards[(from+uint32(i))%uint32(len(c.shards))]
		s.mu.Lock()
		for e := s.awake.first; e != nil && len(b.keys) < size && e.read.age(now) >= c.maxStale/2; {
			next := e.next
			if !e.used {
				e.leave()
				s.asleep.push(e)
			} else if s.flights[e.key] == nil {
				s.flights[e.key] = b.flight
				b.add(e)
			}
			e = next
		}
		s.mu.Unlock()
	}
}

// confirmAll asks the source which entries of a batch still stand. Those that do
// not are dropped; if that cannot be said, all stay as old as they are.
func (c *cache[K, V]) confirmAll(ctx context.Context, b *batch[K, V]) (err error) {
	var stands []bool
	err = errInterrupted // for a source that panics
	f := b.flight
	defer func() {
		for i, key := range b.keys {
			s := c.shard(key)
			s.mu.Lock()
			if s.flights[key] == f {
				delete(s.flights, key)
				if e := s.entries[key]; e != nil && err == nil {
					c.settle(s, e, f.began, stands[i])
				}
			}
			if i == 0 && err != nil {
				s.failures++
			}
			s.mu.Unlock()
		}
		if err != nil && ctx.Err() == nil {
			now := c.now()
			c.failed.Store(&now)
		}
		close(f.done)
	}()
	limited, cancel := context.WithTimeout(ctx, min(c.maxStale, confirmTime))
	defer cancel()
	stands, err = c.confirm(limited, b.keys, b.kept)
	return err
}

// settle ends the confirmation of an entry. The caller holds s.mu.
func (c *cache[K, V]) settle(s *shard[K, V], e *entry[K, V], began moment, stands bool) {
	if !stands {
		s.drop(e)
		return
	}
	s.confirmed++
	e.read, e.used = began, false
	e.leave()
	s.awake.push(e)
}

// refresh confirms all entries that are in use and will be too old soon. It stops
// at the first failure.
func (c *cache[K, V]) refresh(ctx context.Context) {
	size := maxBatch
	if c.confirm == nil {
		size = 1
	}
	for range c.values()/size + 1 { // what comes up meanwhile is left to the next time
		b := batch[K, V]{flight: &flight[V]{began: c.now(), done: make(chan struct{})}}
		c.collect(&b, b.flight.began, size)
		if len(b.keys) == 0 {
			return
		}
		var err error
		if c.confirm != nil {
			err = c.confirmAll(ctx, &b)
		} else {
			_, err = c.load(ctx, c.shard(b.keys[0]), b.keys[0], b.flight)
		}
		if !isAnswer(err) || ctx.Err() != nil {
			return
		}
	}
}

// values returns how many values are kept.
func (c *cache[K, V]) values() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.awake.n + s.asleep.n
		s.mu.Unlock()
	}
	return n
}

// run calls refresh until ctx ends, often enough for no entry in use to become too
// old while the source answers.
func (c *cache[K, V]) run(ctx context.Context) {
	tick := time.NewTicker(max(c.maxStale/4, 1))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.refresh(ctx)
		}
	}
}
