package cachestore

import "time"

// Stats are what operators watch of a cache. The counts are since it was made.
type Stats struct {
	Entries int           // tokens or owners that are kept
	Unknown int           // IDs or owners that are known not to exist
	Age     time.Duration // of the oldest entry that would still be used, counted from before it was read

	Hits      int64 // calls answered from memory
	Misses    int64 // calls that waited for the inner store
	Reads     int64 // reads of one entry; failed ones too
	Confirmed int64 // entries confirmed together with others
	Failures  int64 // reads and confirmations that failed
}

func (c *cache[K, V]) stats() (st Stats) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		now := c.now()
		st.Entries += s.awake.n + s.asleep.n
		st.Unknown += s.absent.n
		for _, q := range []*queue[K, V]{&s.awake, &s.asleep} {
			for e := q.first; e != nil; e = e.next {
				if age := e.read.age(now); age < c.maxStale {
					st.Age = max(st.Age, age)
				}
			}
		}
		st.Hits += s.hits
		st.Misses += s.misses
		st.Reads += s.reads
		st.Confirmed += s.confirmed
		st.Failures += s.failures
		s.mu.Unlock()
	}
	return st
}
