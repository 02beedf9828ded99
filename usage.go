package apitoken

import (
	"context"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// recorder gathers uses in memory, so that a request writes nothing: one entry
// for each token in use, written out at most once per interval by Flush.
type recorder struct {
	seed   maphash.Seed
	shards [64]recorderShard
	max    int64
	count  atomic.Int64 // entries
	lost   atomic.Int64 // uses dropped because there were max entries
}

type recorderShard struct {
	mu      sync.Mutex
	entries map[ID]*pendingUse
}

// pendingUse is what is known of a token's use and not written yet. Verify
// keeps a pointer to it with the compiled record; when the entry was dropped
// from the recorder it is dead, and Verify asks for another.
type pendingUse struct {
	mu       sync.Mutex
	dead     bool
	count    int64
	writing  int   // writes under way that may bring their uses back
	held     int   // requests that decide by it
	last     int64 // Unix microseconds, 0 = never
	legacy   int64
	address  netip.Addr
	networks []netip.Prefix
	periods  pendingPeriods
	known    bool // the store was asked what was counted before the entry was made
}

func newRecorder(limit int) *recorder {
	r := &recorder{seed: maphash.MakeSeed(), max: int64(limit)}
	for i := range r.shards {
		r.shards[i].entries = make(map[ID]*pendingUse)
	}
	return r
}

func (r *recorder) shard(id ID) *recorderShard {
	return &r.shards[maphash.String(r.seed, string(id))%uint64(len(r.shards))]
}

// entry returns the token's entry, made from what is stored if there is none;
// nil when the recorder is full.
func (r *recorder) entry(t *Token) *pendingUse {
	s := r.shard(t.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.entries[t.ID]; ok {
		return p
	}
	if r.count.Load() >= r.max {
		return nil
	}
	r.count.Add(1)
	p := &pendingUse{address: t.Usage.Address, networks: slices.Clone(t.Usage.Networks), periods: noPeriods()}
	s.entries[t.ID] = p
	return p
}

// hold returns the token's entry, which lives until it is released; nil when the
// recorder is full. known is false for one for which the store must be asked.
func (r *recorder) hold(c *compiled) (p *pendingUse, known bool) {
	for p = c.use.Load(); ; { // it may die before it is held
		if p != nil {
			p.mu.Lock()
			if !p.dead {
				p.held++
				known = p.known
				p.mu.Unlock()
				return p, known
			}
			p.mu.Unlock()
		}
		if p = r.entry(&c.principal.rec.Token); p == nil {
			return nil, false
		}
		c.use.Store(p)
	}
}

func (p *pendingUse) release() {
	p.mu.Lock()
	p.held--
	p.mu.Unlock()
}

// learn tells an entry that is held what the store has counted.
func (p *pendingUse) learn(u *Usage, now time.Time) {
	p.mu.Lock()
	p.countsNow(u, now)
	p.known = true
	p.mu.Unlock()
}

// find returns the token's entry if there is one, and whether there is no room for
// another.
func (r *recorder) find(id ID) (p *pendingUse, full bool) {
	s := r.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[id], r.count.Load() >= r.max
}

// pending returns how many tokens have uses that are not written.
func (r *recorder) pending() (n int) {
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		for _, p := range s.entries {
			p.mu.Lock()
			if p.count > 0 || p.writing > 0 {
				n++
			}
			p.mu.Unlock()
		}
		s.mu.Unlock()
	}
	return n
}

// peek returns what this node knows of a token's use and has not written.
func (r *recorder) peek(id ID) (Use, bool) {
	p, _ := r.find(id)
	if p == nil {
		return Use{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.use(id), p.last != 0
}

// use is the entry as a [Use]. The caller holds p.mu.
func (p *pendingUse) use(id ID) Use {
	u := Use{ID: id, Count: p.count, LastUsed: time.UnixMicro(p.last).UTC(), Address: p.address, Networks: p.networks}
	if p.legacy != 0 {
		u.Legacy = time.UnixMicro(p.legacy).UTC()
	}
	p.periods.unwritten(&u)
	return u
}

// add counts one use. It reports false when the entry is dead.
func (p *pendingUse) add(now time.Time, from netip.Addr, legacy bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return false
	}
	p.addOne(now, from, legacy)
	return true
}

// addWithin counts one use in an entry that is held, if no quota is reached, and
// returns the counts of before.
func (p *pendingUse) addWithin(q *Quotas, now time.Time, from netip.Addr, legacy bool) periodCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := p.countsNow(&Usage{}, now)
	if !q.reached(&counts) {
		p.addOne(now, from, legacy)
	}
	return counts
}

// counts returns how many uses there were in the periods that hold now, as far as
// this node and u, the usage that was read, tell.
func (p *pendingUse) counts(u *Usage, now time.Time) periodCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.countsNow(u, now)
}

// countsNow is counts. The caller holds p.mu.
func (p *pendingUse) countsNow(u *Usage, now time.Time) periodCounts {
	micro := now.UnixMicro()
	p.periods.moveTo(micro, p.count)
	p.periods.learn(u, micro, p.count)
	return p.periods.counts(p.count)
}

// addOne is add. The caller holds p.mu.
func (p *pendingUse) addOne(now time.Time, from netip.Addr, legacy bool) {
	micro := now.UnixMicro()
	p.periods.moveTo(micro, p.count)
	p.count++
	p.last = max(p.last, micro)
	if legacy {
		p.legacy = max(p.legacy, micro)
	}
	if from != p.address && from.IsValid() {
		p.address = from
		p.networks = remember(p.networks, seenNetwork(from))
	}
}

// remember puts a network first in the bounded list of recent ones.
func remember(list []netip.Prefix, n netip.Prefix) []netip.Prefix {
	if len(list) > 0 && list[0] == n {
		return list
	}
	out := append(make([]netip.Prefix, 0, MaxRecentNetworks), n)
	for _, p := range list {
		if p != n && len(out) < MaxRecentNetworks {
			out = append(out, p)
		}
	}
	return out
}

// take removes what is pending and returns it, to be written at now. The entry lives
// until settle says what became of it.
func (p *pendingUse) take(id ID, now time.Time) (Use, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == 0 || p.held > 0 && !p.known { // what the store is asked about meanwhile must not change
		return Use{}, false
	}
	u := p.use(id)
	p.periods.take(&u, now)
	p.count = 0
	p.writing++
	return u, true
}

// settle ends the write of what was taken. What was not written is pending again.
func (p *pendingUse) settle(u *Use, written bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing--
	if !written {
		p.count += u.Count
		p.periods.restore(u)
	}
}

// record counts a use of the token, through the entry kept with the compiled
// record.
func (s *Service) record(c *compiled, rec *Record, now time.Time, from netip.Addr, legacy bool) {
	if p := c.use.Load(); p != nil && p.add(now, from, legacy) {
		return
	}
	for range 2 { // an entry may die between being handed out and being used
		p := s.uses.entry(&rec.Token)
		if p == nil {
			break
		}
		if p.add(now, from, legacy) {
			c.use.Store(p)
			return
		}
	}
	s.uses.lost.Add(1)
}

// flushBatch is how many uses go into one Touch.
const flushBatch = 500

// Flush writes the pending uses now. Run does it by itself once per
// [Options].UsageInterval and when it ends; call Flush yourself only in programs
// that do not call Run. On an error what was not written stays pending.
func (s *Service) Flush(ctx context.Context) error {
	type pending struct {
		id ID
		p  *pendingUse
	}
	var batch []Use
	var from []*pendingUse
	var failed error
	now := s.now()
	write := func() {
		if len(batch) == 0 {
			return
		}
		if failed == nil {
			failed = storeErr(s.store.Touch(ctx, batch))
		}
		for i, p := range from {
			p.settle(&batch[i], failed == nil)
		}
		batch, from = batch[:0:0], from[:0]
	}
	for i := range s.uses.shards {
		shard := &s.uses.shards[i]
		var list []pending
		shard.mu.Lock()
		for id, p := range shard.entries {
			p.mu.Lock()
			if p.count == 0 && p.writing == 0 && p.held == 0 { // not used since the last flush
				p.dead = true
				delete(shard.entries, id)
				s.uses.count.Add(-1)
			} else if p.count > 0 {
				list = append(list, pending{id, p})
			}
			p.mu.Unlock()
		}
		shard.mu.Unlock()
		for _, e := range list {
			if u, ok := e.p.take(e.id, now); ok {
				batch, from = append(batch, u), append(from, e.p)
			}
			if len(batch) == flushBatch {
				write()
			}
		}
	}
	write()
	if failed == nil {
		s.lastFlush.Store(s.instant().UnixMicro())
	}
	return failed
}

// touchNow writes a token's pending uses and the present one at once: for a
// sliding life that is nearly over. If it fails the use stays pending.
func (s *Service) touchNow(ctx context.Context, rec *Record, now time.Time) {
	var u Use
	p := s.uses.entry(&rec.Token)
	if p == nil {
		// The recorder is full. The use was counted as lost, but it renews the life.
		t := &rec.Token
		u = Use{ID: t.ID, LastUsed: now.UTC(), Address: t.Usage.Address, Networks: t.Usage.Networks}
	} else if taken, ok := p.take(rec.Token.ID, now); ok {
		u = taken
	} else {
		return
	}
	err := s.store.Touch(ctx, []Use{u})
	if p != nil {
		p.settle(&u, err == nil)
	}
	if err != nil {
		s.opts.Logger.WarnContext(ctx, "apitoken: use not recorded yet", "token", string(rec.Token.ID), "error", err)
	}
}
