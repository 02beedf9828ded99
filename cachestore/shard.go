package cachestore

import "sync"

// shard is a part of a cache with a lock of its own. The lock is held for no read
// of the inner store, and for no call of the host's but its clock.
type shard[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]*entry[K, V]

	// flights are the reads under way, each for the keys that it began with. One
	// that is no longer found here was overtaken by a change, or by a newer read:
	// nothing of what it brings is kept.
	flights map[K]*flight[V]

	// Where entries stand. Awake ones were used or confirmed lately, the longest
	// confirmed first. Asleep are those that half of MaxStale went by without a use:
	// not worth a confirmation, and the first to go. Absent are keys without a value.
	awake, asleep, absent queue[K, V]

	hits, misses, reads, confirmed, failures int64

	_ [56]byte // to whole cache lines: processors must not share one
}

// entry is an answer of the inner store.
type entry[K comparable, V any] struct {
	key        K
	value      V
	read       moment // before the read or the confirmation began
	used       bool   // since then
	in         *queue[K, V]
	prev, next *entry[K, V]
}

// queue is a list of entries.
type queue[K comparable, V any] struct {
	first, last *entry[K, V]
	n           int
}

func (q *queue[K, V]) push(e *entry[K, V]) {
	e.in, e.prev, e.next = q, q.last, nil
	if q.last == nil {
		q.first = e
	} else {
		q.last.next = e
	}
	q.last = e
	q.n++
}

func (q *queue[K, V]) pushFirst(e *entry[K, V]) {
	e.in, e.prev, e.next = q, nil, q.first
	if q.first == nil {
		q.last = e
	} else {
		q.first.prev = e
	}
	q.first = e
	q.n++
}

// leave takes e out of its queue.
func (e *entry[K, V]) leave() {
	q := e.in
	if e.prev == nil {
		q.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		q.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	q.n--
	e.in, e.prev, e.next = nil, nil, nil
}

// use notes a use of an entry that is not too old.
func (s *shard[K, V]) use(e *entry[K, V]) {
	s.hits++
	e.used = true
	if e.in == &s.asleep {
		e.leave()
		s.awake.pushFirst(e)
	}
}

// drop forgets an entry.
func (s *shard[K, V]) drop(e *entry[K, V]) {
	e.leave()
	delete(s.entries, e.key)
}

// forget drops what is known of a key and what is being read of it.
func (s *shard[K, V]) forget(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[key]; e != nil {
		s.drop(e)
	}
	delete(s.flights, key)
}

func (s *shard[K, V]) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awake, s.asleep, s.absent = queue[K, V]{}, queue[K, V]{}, queue[K, V]{}
	clear(s.entries)
	clear(s.flights)
}

// evictable returns the entry that makes room for another value: one that sleeps,
// or one of the longest confirmed, if possible one without a use since.
func (s *shard[K, V]) evictable() *entry[K, V] {
	if s.asleep.first != nil {
		return s.asleep.first
	}
	e := s.awake.first
	for range 8 {
		if e == nil {
			break
		}
		if !e.used {
			return e
		}
		e = e.next
	}
	return s.awake.first
}
