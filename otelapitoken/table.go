package otelapitoken

import (
	"maps"
	"sync"
	"sync/atomic"
)

const (
	// room is how many keys of a table are told apart.
	room = 1000
	// other is what stands for the values that are not told apart.
	other = "other"
)

// table keeps what is made of each key, for as many as there is room for, so that a
// request that waits does not wait for it to be made again. Reading takes no lock.
type table[K comparable, V any] struct {
	make func(K) V
	rest func(K) K // what a key for which there is no room is counted as: one of few

	adding sync.Mutex
	made   atomic.Pointer[map[K]V]
}

func newTable[K comparable, V any](create func(K) V, rest func(K) K) *table[K, V] {
	t := &table[K, V]{make: create, rest: rest}
	t.made.Store(&map[K]V{})
	return t
}

func (t *table[K, V]) get(key K) V {
	made := *t.made.Load()
	if v, ok := made[key]; ok {
		return v
	}
	if len(made) >= room {
		key = t.rest(key)
		if v, ok := made[key]; ok {
			return v
		}
	}
	return t.add(key)
}

func (t *table[K, V]) add(key K) V {
	t.adding.Lock()
	defer t.adding.Unlock()
	made := *t.made.Load()
	if len(made) >= room {
		key = t.rest(key)
	}
	if v, ok := made[key]; ok {
		return v
	}
	next := make(map[K]V, len(made)+1)
	maps.Copy(next, made)
	next[key] = t.make(key)
	t.made.Store(&next)
	return next[key]
}
