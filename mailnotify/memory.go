package mailnotify

import (
	"crypto/sha256"
	"strconv"
	"sync"
)

const maxRemembered = 10_000

type key [sha256.Size]byte

func keyOf(event, to string) key {
	return sha256.Sum256([]byte(strconv.Itoa(len(event)) + "." + event + to))
}

// memory holds what was delivered last, so that an event that comes again
// because one delivery failed is not delivered again where it has been. The zero
// memory is empty.
type memory struct {
	mu    sync.Mutex
	known map[key]struct{}
	order []key // a ring, once it is full
	next  int   // the oldest in it
}

func (m *memory) has(k key) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.known[k]
	return ok
}

func (m *memory) add(k key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.known[k]; ok {
		return
	}
	if m.known == nil {
		m.known = make(map[key]struct{})
	}
	m.known[k] = struct{}{}
	if len(m.order) < maxRemembered {
		m.order = append(m.order, k)
		return
	}
	delete(m.known, m.order[m.next])
	m.order[m.next] = k
	m.next = (m.next + 1) % maxRemembered
}
