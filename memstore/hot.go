package memstore

import (
	"context"
	"math/bits"
	"math/rand/v2"
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
	seed  uint64
	limit int // records at most
	table atomic.Pointer[hotTable]
	put   sync.Mutex // for what is below, beside the Store's lock for reading
	count int        // records in the table
	hand  uint64     // where room is made next
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
	rec atomic.Pointer[hotRecord]
}

// hotRecord is a record beside its ID, so that a look-up reads memory in one
// place less.
type hotRecord struct {
	id [idLength]byte
	apitoken.Record
}

func (h *hotRecords) init(limit int) {
	h.seed, h.limit = rand.Uint64(), limit
	h.table.Store(newHotTable(1))
}

// sum hashes an ID: cheaper than a general hash, and good enough because only IDs
// of stored tokens are ever put in, which are random; anybody may look for others.
func (h *hotRecords) sum(id apitoken.ID) uint64 {
	if len(id) != idLength {
		return 0
	}
	high, low := bits.Mul64(word(id[:8])^h.seed, word(id[8:16])^word(id[14:])^mixer)
	return high ^ low
}

// mixer is an odd number of evenly spread bits, so that the factors of sum are
// not small.
const mixer = 0x9e3779b97f4a7c15

// word reads eight bytes; the compiler makes one load of it.
func word(s apitoken.ID) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func newHotTable(buckets int) *hotTable {
	return &hotTable{buckets: make([]hotBucket, buckets), mask: uint64(buckets - 1)}
}

// Record implements [apitoken.Records].
func (s *Store) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sum := s.hot.sum(id)
	if rec := s.hot.table.Load().get(sum, id); rec != nil {
		return &rec.Record, nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r, err := s.find(id)
	if err != nil {
		return nil, err
	}
	rec := new(hotRecord)
	s.read(r, &rec.Record)
	copy(rec.id[:], id)
	return &s.hot.add(sum, rec).Record, nil
}

func (t *hotTable) get(sum uint64, id apitoken.ID) *hotRecord {
	b := &t.buckets[sum&t.mask]
	for i := range b {
		if b[i].sum.Load() == sum {
			if rec := b[i].rec.Load(); rec != nil && string(rec.id[:]) == string(id) {
				return rec
			}
		}
	}
	return nil
}

// add shares rec, and returns it or the one that another reader put in before.
// The caller holds the Store's lock for reading.
func (h *hotRecords) add(sum uint64, rec *hotRecord) *hotRecord {
	h.put.Lock()
	defer h.put.Unlock()
	t := h.table.Load()
	if other := t.get(sum, rec.Token.ID); other != nil {
		return other
	}
	for h.count >= h.limit {
		h.evict(t)
	}
	for !t.insert(sum, rec) {
		// A full bucket: with twice as many slots as records that is rare, so a
		// table that is as large as that gives up one of the bucket's records.
		if len(t.buckets)*len(hotBucket{}) < 2*h.limit {
			t = h.grow(t)
			continue
		}
		h.hand++
		t.buckets[sum&t.mask][h.hand%uint64(len(hotBucket{}))].clear()
		h.count--
	}
	h.count++
	return rec
}

// insert puts rec into a free slot of its bucket, if there is one.
func (t *hotTable) insert(sum uint64, rec *hotRecord) bool {
	b := &t.buckets[sum&t.mask]
	for i := range b {
		if b[i].rec.Load() == nil {
			b[i].rec.Store(rec)
			b[i].sum.Store(sum)
			return true
		}
	}
	return false
}

func (s *hotSlot) clear() {
	s.sum.Store(0)
	s.rec.Store(nil)
}

// evict forgets the next record in the order of the table, which is as good as
// any: nothing is written when a record is used, so nothing tells them apart.
func (h *hotRecords) evict(t *hotTable) {
	for {
		h.hand++
		b := &t.buckets[h.hand/uint64(len(hotBucket{}))&t.mask]
		if slot := &b[h.hand%uint64(len(b))]; slot.rec.Load() != nil {
			slot.clear()
			h.count--
			return
		}
	}
}

// grow doubles the table. A reader that still looks at the old one began before
// any write that comes later, and may see what was there before that write.
func (h *hotRecords) grow(old *hotTable) *hotTable {
	t := newHotTable(2 * len(old.buckets))
	for i := range old.buckets {
		for j := range old.buckets[i] {
			slot := &old.buckets[i][j]
			if rec := slot.rec.Load(); rec != nil {
				t.insert(slot.sum.Load(), rec) // half of the old bucket's go to each: there is room
			}
		}
	}
	h.table.Store(t)
	return t
}

// drop forgets a record. The caller holds the Store's lock for writing.
func (h *hotRecords) drop(id apitoken.ID) {
	sum := h.sum(id)
	t := h.table.Load()
	b := &t.buckets[sum&t.mask]
	for i := range b {
		if rec := b[i].rec.Load(); rec != nil && string(rec.id[:]) == string(id) {
			b[i].clear()
			h.count--
		}
	}
}
