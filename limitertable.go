package apitoken

import "math/bits"

// bucketTable has the buckets of a shard by their IDs, in open addressing with linear
// probing. With many keys a decision takes as long as what it fetches from memory: here
// that is a line of the processor's cache with two buckets, in a map of pointers three
// lines or four.
type bucketTable struct {
	slots []bucket
	used  int
}

// bucket is the GCRA in its form as a bucket of requests (ITU-T I.371 calls it the
// continuous-state leaky bucket): what is there, and as of when. The other form, one
// theoretical arrival time, would give more or less than was left when a limit is
// edited.
type bucket struct {
	id    bucketID
	have  float64 // requests, at the instant at
	at    int64
	shape *shape // nil = the slot is free
}

func newBucketTable() bucketTable { return bucketTable{slots: make([]bucket, 8)} }

// find returns a bucket, or the free slot where it would be. Both move when another
// one is added or removed.
func (t *bucketTable) find(id bucketID) *bucket {
	for i := t.home(id); ; i = t.after(i) {
		if b := &t.slots[i]; b.id == id || b.shape == nil {
			return b
		}
	}
}

// add adds a bucket that is not there. It grows the table by half: after doubling, the
// cache would hold as much of nothing as of buckets.
func (t *bucketTable) add(b bucket) *bucket {
	if t.used++; 4*t.used > 3*len(t.slots) { // beyond that, searches are long
		old := t.slots
		t.slots = make([]bucket, len(old)+len(old)/2)
		for i := range old {
			if old[i].shape != nil {
				*t.find(old[i].id) = old[i]
			}
		}
	}
	at := t.find(b.id)
	*at = b
	return at
}

// remove removes a bucket, if it is there.
func (t *bucketTable) remove(id bucketID) {
	hole := t.home(id)
	for t.slots[hole].shape != nil && t.slots[hole].id != id {
		hole = t.after(hole)
	}
	if t.slots[hole].shape == nil {
		return
	}
	// A search ends at a free slot, so what it would no longer reach moves into the hole.
	for i := t.after(hole); t.slots[i].shape != nil; i = t.after(i) {
		if home := t.home(t.slots[i].id); t.distance(home, i) >= t.distance(hole, i) {
			t.slots[hole] = t.slots[i]
			hole = i
		}
	}
	t.slots[hole] = bucket{}
	t.used--
}

// home is where the search for a bucket begins. It goes by the high bits, as those of
// one shard have the low ones in common.
func (t *bucketTable) home(id bucketID) int {
	home, _ := bits.Mul64(uint64(id), uint64(len(t.slots)))
	return int(home)
}

func (t *bucketTable) after(i int) int {
	if i++; i < len(t.slots) {
		return i
	}
	return 0
}

// distance is how many steps lead from a slot to another.
func (t *bucketTable) distance(from, to int) int {
	if to < from {
		to += len(t.slots)
	}
	return to - from
}

// due says of a bucket that it is not full before an instant. Uses leave that behind.
type due struct {
	full int64
	id   bucketID
}

// dueHeap has what may be full first at the top.
type dueHeap []due

func (h *dueHeap) push(d due) {
	*h = append(*h, d)
	s := *h
	i := len(s) - 1
	for i > 0 && s[(i-1)/2].full > d.full {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = d
}

// pop takes the top away.
func (h *dueHeap) pop() {
	last := len(*h) - 1
	d := (*h)[last]
	*h = (*h)[:last]
	if last > 0 {
		h.replace(d)
	}
}

// replace puts another one in the place of the top.
func (h *dueHeap) replace(d due) {
	s, i := *h, 0
	for {
		child := 2*i + 1
		if child+1 < len(s) && s[child+1].full < s[child].full {
			child++
		}
		if child >= len(s) || s[child].full >= d.full {
			s[i] = d
			return
		}
		s[i] = s[child]
		i = child
	}
}
