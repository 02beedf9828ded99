package memstore

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/tokenry/apitoken"
)

// hotRecords are the decoded records that requests share. Looking one up takes
// no lock and writes nothing, so that cores do not slow each other down.
//
// Why a reader never finds an old version after a write returned: records are
// put in by readers who hold the Store's lock for reading, from the row as it is
// under that lock; a write holds it for writing, and drops the record before it
// releases it. So a record that is put in after a write is of that write.
type hotRecords struct {
	seed  maphash.Seed
	limit int // slots at most
	table atomic.Pointer[hotTable]
	put   sync.Mutex // beside the Store's lock for reading
	count int        // records in the table; guarded by put
	turn  uint       // whose turn it is to make room; guarded by put
}

// hotTable is a hash table of small sets: a record is in one of the slots of its
// bucket, or nowhere.
type hotTable struct {
	buckets []hotBucket
	mask    uint64
}

type hotBucket [8]hotSlot

type hotSlot struct {
	sum atomic.Uint64 // of the ID: spares looking at other records
	rec atomic.Pointer[apitoken.Record]
}

func (h *hotRecords) init(limit int) {
	h.seed, h.limit = maphash.MakeSeed(), limit
	h.table.Store(newHotTable(1))
}

func newHotTable(buckets int) *hotTable {
	return &hotTable{buckets: make([]hotBucket, buckets), mask: uint64(buckets - 1)}
}

// Record implements [apitoken.Records].
func (s *Store) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sum := maphash.String(s.hot.seed, string(id))
	if rec := s.hot.table.Load().get(sum, id); rec != nil {
		return rec, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r, err := s.find(id)
	if err != nil {
		return nil, err
	}
	rec := new(apitoken.Record)
	s.read(r, rec)
	return s.hot.add(sum, rec), nil
}

func (t *hotTable) get(sum uint64, id apitoken.ID) *apitoken.Record {
	b := &t.buckets[sum&t.mask]
	for i := range b {
		if b[i].sum.Load() == sum {
			if rec := b[i].rec.Load(); rec != nil && rec.Token.ID == id {
				return rec
			}
		}
	}
	return nil
}

// add shares rec, and returns it or the one that another reader put in before.
// In a full bucket it takes another record's place. The caller holds the Store's
// lock for reading.
func (h *hotRecords) add(sum uint64, rec *apitoken.Record) *apitoken.Record {
	h.put.Lock()
	defer h.put.Unlock()
	t := h.table.Load()
	if other := t.get(sum, rec.Token.ID); other != nil {
		return other
	}
	if slots := len(t.buckets) * len(hotBucket{}); h.count > slots/2 && slots < h.limit {
		t = h.grow(t)
	}
	h.insert(t, sum, rec)
	return rec
}

func (h *hotRecords) insert(t *hotTable, sum uint64, rec *apitoken.Record) {
	b := &t.buckets[sum&t.mask]
	h.turn++
	at := h.turn % uint(len(b))
	for i := range b {
		if b[i].rec.Load() == nil {
			at = uint(i)
			h.count++
			break
		}
	}
	b[at].rec.Store(rec)
	b[at].sum.Store(sum)
}

// grow doubles the table. A reader that still looks at the old one began before
// any write that comes later, and may see what was there before that write.
func (h *hotRecords) grow(old *hotTable) *hotTable {
	t := newHotTable(2 * len(old.buckets))
	h.count = 0
	for i := range old.buckets {
		for j := range old.buckets[i] {
			slot := &old.buckets[i][j]
			if rec := slot.rec.Load(); rec != nil {
				h.insert(t, slot.sum.Load(), rec)
			}
		}
	}
	h.table.Store(t)
	return t
}

// drop forgets a record. The caller holds the Store's lock for writing.
func (h *hotRecords) drop(id apitoken.ID) {
	sum := maphash.String(h.seed, string(id))
	t := h.table.Load()
	b := &t.buckets[sum&t.mask]
	for i := range b {
		if rec := b[i].rec.Load(); rec != nil && rec.Token.ID == id {
			b[i].rec.Store(nil)
			b[i].sum.Store(0)
			h.count--
		}
	}
}
