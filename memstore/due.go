package memstore

import (
	"bytes"
	"cmp"
	"context"
	"time"

	"github.com/tokenry/apitoken"
)

// queue is a heap of the numbers of all rows whose due instant is set, the
// earliest first. Each row knows its place, so that it can be taken out.
type queue []uint32

// Due implements [apitoken.Store].
func (s *Store) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	behind := stamp(after.DueAt)
	batch := first[*row]{limit: max(limit, 0), order: s.dueOrder}
	s.overdue(0, stamp(before), func(r *row) {
		if r.due < behind || r.due == behind && string(s.id(r)) <= string(after.ID) || !batch.admits(r) {
			return
		}
		batch.add(r)
	})
	out := make([]*apitoken.Record, 0, min(batch.limit, len(batch.kept)))
	for _, r := range batch.sorted() {
		rec := new(apitoken.Record)
		s.read(r, rec)
		out = append(out, rec)
	}
	return out, nil
}

// Stats implements [apitoken.Store].
func (s *Store) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Stats{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st := apitoken.Stats{Outbox: s.outbox.open.Len(), Aside: s.outbox.aside}
	s.overdue(0, stamp(now), func(*row) { st.Overdue++ })
	if st.Overdue > 0 {
		st.Oldest = instant(s.rows.at(s.queue[0]).due)
	}
	return st, nil
}

func (s *Store) dueOrder(a, b *row) int {
	return cmp.Or(cmp.Compare(a.due, b.due), bytes.Compare(s.id(a), s.id(b)))
}

// overdue visits the rows of the heap below place at that are due, in no order.
// What is below a row that is not due is not due either.
func (s *Store) overdue(at int, before int64, visit func(*row)) {
	if at >= len(s.queue) {
		return
	}
	r := s.rows.at(s.queue[at])
	if r.due > before {
		return
	}
	visit(r)
	s.overdue(2*at+1, before, visit)
	s.overdue(2*at+2, before, visit)
}

// enqueue puts a row into the queue if it is ever due.
func (s *Store) enqueue(n uint32) {
	if s.rows.at(n).due == 0 {
		return
	}
	s.queue = append(s.queue, n)
	s.rise(len(s.queue) - 1)
}

// dequeue takes a row out of the queue if it is in.
func (s *Store) dequeue(n uint32) {
	r := s.rows.at(n)
	if r.due == 0 {
		return
	}
	at, last := int(r.queue), len(s.queue)-1
	s.place(at, s.queue[last])
	s.queue = s.queue[:last]
	if at < last {
		s.sink(at)
		s.rise(at)
	}
}

func (s *Store) place(at int, n uint32) {
	s.queue[at] = n
	s.rows.at(n).queue = uint32(at)
}

// earlier reports whether the row at place i is due before the one at j.
func (s *Store) earlier(i, j int) bool {
	return s.rows.at(s.queue[i]).due < s.rows.at(s.queue[j]).due
}

func (s *Store) exchange(i, j int) {
	a, b := s.queue[i], s.queue[j]
	s.place(i, b)
	s.place(j, a)
}

func (s *Store) rise(at int) {
	s.place(at, s.queue[at])
	for at > 0 && s.earlier(at, (at-1)/2) {
		s.exchange(at, (at-1)/2)
		at = (at - 1) / 2
	}
}

func (s *Store) sink(at int) {
	for {
		child := 2*at + 1
		if child >= len(s.queue) {
			return
		}
		if child+1 < len(s.queue) && s.earlier(child+1, child) {
			child++
		}
		if !s.earlier(child, at) {
			return
		}
		s.exchange(at, child)
		at = child
	}
}
