// Package memstore keeps tokens in memory: for tests, for examples, and for
// servers whose tokens need not outlive the process.
//
// A million tokens are no burden to the garbage collector: they are kept
// encoded, in large blocks without pointers, half a kilobyte each or so. The tokens in
// use are decoded and shared ([Options].HotRecords), and found without a lock.
//
// Nothing is ever given back to the operating system, and the history of events
// grows for ever, as its contract asks.
package memstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tokenry/apitoken"
)

const idLength = 22

// Options tune a [Store]. The zero Options are right for most.
type Options struct {
	// HotRecords is how many decoded records are kept for sharing, at most. Set it
	// to the number of tokens in use within some minutes: others cost a
	// microsecond or two more to verify. Each takes 1 to 2 KB and time of each
	// garbage collection: with a million tokens that took 4 ms on two cores, with
	// 10,000 hot records 8, with 32,768 19. Defaults to 32,768.
	HotRecords int
}

// Store is an [apitoken.Store], [apitoken.Records] and [apitoken.Revisions] in
// memory. Make one with [New]. It is safe for concurrent use.
//
// A write holds the lock for all of its parts, so it is atomic. Readers of the
// shared records take no lock at all: see [hotRecords].
type Store struct {
	mu       sync.RWMutex
	index    map[[idLength]byte]uint32 // row numbers by ID
	unique   map[[sha256.Size]byte]uint32
	tenants  map[string]*tenant
	settings map[string]apitoken.Settings
	rows     rows
	queue    queue
	slab     slab
	events   eventLog
	outbox   outbox
	coder    coder // for writing; the lock's holder uses it
	hot      hotRecords
	replays  *ReplayGuard
}

// tenant is what one tenant has.
type tenant struct {
	rows []uint32
}

var (
	_ apitoken.Store     = (*Store)(nil)
	_ apitoken.Records   = (*Store)(nil)
	_ apitoken.Revisions = (*Store)(nil)
)

// New returns an empty Store with the default [Options].
func New() *Store { return NewWith(Options{}) }

// NewWith returns an empty Store.
func NewWith(opts Options) *Store {
	if opts.HotRecords <= 0 {
		opts.HotRecords = 32_768
	}
	s := &Store{
		index:    make(map[[idLength]byte]uint32),
		unique:   make(map[[sha256.Size]byte]uint32),
		tenants:  make(map[string]*tenant),
		settings: make(map[string]apitoken.Settings),
		replays:  NewReplayGuard(time.Time{}, ReplayOptions{}),
	}
	s.events.init()
	s.outbox.init()
	s.hot.init(opts.HotRecords)
	return s
}

// Create implements [apitoken.Store]. An ID of another form than
// [apitoken.ID.Valid] asks for is refused.
func (s *Store) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.addable(rec, nil, events); err != nil {
		return err
	}
	s.add(rec)
	s.post(events)
	return nil
}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, r, err := s.find(id)
	if err != nil {
		return nil, err
	}
	rec := new(apitoken.Record)
	s.read(r, rec)
	return rec, nil
}

// GetByAlias implements [apitoken.Store].
func (s *Store) GetByAlias(ctx context.Context, alias string) (*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	n, ok := s.unique[aliasSum(alias)]
	if !ok {
		return nil, apitoken.ErrNotFound
	}
	rec := new(apitoken.Record)
	s.read(s.rows.at(n), rec)
	return rec, nil
}

// Revisions implements [apitoken.Revisions].
func (s *Store) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []apitoken.Revision
	for _, id := range ids {
		if _, r, err := s.find(id); err == nil {
			var rec apitoken.Record
			s.read(r, &rec)
			out = append(out, apitoken.Revision{ID: rec.Token.ID, Version: rec.Token.Version, Op: rec.Op, LastUsed: rec.Token.Usage.LastUsed, Uses: rec.Token.Usage.Uses})
		}
	}
	return out, nil
}

// Swap implements [apitoken.Store].
func (s *Store) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.swappable(rec, guard)
	if err != nil {
		return err
	}
	s.swap(n, rec)
	s.post(events)
	return nil
}

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.swappable(old, guard)
	if err != nil {
		return err
	}
	if err := s.addable(rec, old, events); err != nil {
		return err
	}
	s.swap(n, old)
	s.add(rec)
	s.post(events)
	return nil
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, r, err := s.guarded(id, version, guard)
	if err != nil {
		return err
	}
	old := new(apitoken.Record)
	s.read(r, old)
	delete(s.unique, aliasSum(old.Alias))
	delete(s.unique, keySum(old.Token.Tenant, old.IdempotencyKey))
	key, _ := keyOf(id)
	delete(s.index, key)
	s.leave(n, old.Token.Tenant)
	s.dequeue(n)
	s.slab.drop(r.body)
	s.slab.drop(r.seen)
	s.rows.drop(n)
	s.hot.drop(id)
	s.post(events)
	return nil
}

// Touch implements [apitoken.Store].
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, use := range uses {
		_, r, err := s.find(use.ID)
		if err != nil {
			continue
		}
		r.uses += use.Count
		r.legacy = max(r.legacy, stamp(use.Legacy))
		for i, more := range []apitoken.PeriodUses{use.Day, use.Week, use.Month} {
			r.periods[i].write(r.periods[i].read().Add(more, use.WrittenAt))
		}
		if last := stamp(use.LastUsed); last > r.last {
			r.last = last
			s.writeSeen(r, &apitoken.Usage{Address: use.Address, Networks: use.Networks})
		}
		s.hot.drop(use.ID)
	}
	return nil
}

// addable refuses a record that cannot be added, if swapped, unless nil, is
// swapped before it. The caller holds the lock.
func (s *Store) addable(rec, swapped *apitoken.Record, events []apitoken.Event) error {
	t := &rec.Token
	id, _ := keyOf(t.ID)
	if !t.ID.Valid() {
		return fmt.Errorf("memstore: %q is not the ID of a token", t.ID)
	}
	if _, ok := s.index[id]; ok || s.used(t.ID, events) {
		return &apitoken.DuplicateError{Field: "id", Existing: t.ID}
	}
	if rec.Alias != "" {
		var holder apitoken.ID
		if n, ok := s.unique[aliasSum(rec.Alias)]; ok {
			holder = apitoken.ID(s.id(s.rows.at(n)))
		}
		if swapped != nil && swapped.Alias == rec.Alias {
			holder = swapped.Token.ID
		} else if swapped != nil && swapped.Token.ID == holder {
			holder = "" // it gives the alias up
		}
		if holder != "" {
			return &apitoken.DuplicateError{Field: "alias", Existing: holder}
		}
	}
	if n, ok := s.unique[keySum(t.Tenant, rec.IdempotencyKey)]; ok {
		return &apitoken.DuplicateError{Field: "idempotency key", Existing: apitoken.ID(s.id(s.rows.at(n)))}
	}
	return nil
}

// add adds a record that is addable.
func (s *Store) add(rec *apitoken.Record) {
	t := &rec.Token
	n := s.rows.add()
	r := s.rows.at(n)
	s.write(r, rec)
	s.writeUsage(r, &t.Usage)
	id, _ := keyOf(t.ID)
	s.index[id] = n
	if rec.Alias != "" {
		s.unique[aliasSum(rec.Alias)] = n
	}
	if rec.IdempotencyKey != "" {
		s.unique[keySum(t.Tenant, rec.IdempotencyKey)] = n
	}
	s.join(n, t.Tenant)
	s.enqueue(n)
}

// swappable returns the number of the row that rec may be swapped into. The
// caller holds the lock.
func (s *Store) swappable(rec *apitoken.Record, guard apitoken.Guard) (uint32, error) {
	n, _, err := s.guarded(rec.Token.ID, rec.Token.Version-1, guard)
	if err != nil {
		return 0, err
	}
	if other, ok := s.unique[aliasSum(rec.Alias)]; ok && other != n {
		return 0, &apitoken.DuplicateError{Field: "alias", Existing: apitoken.ID(s.id(s.rows.at(other)))}
	}
	return n, nil
}

// swap swaps rec into the row.
func (s *Store) swap(n uint32, rec *apitoken.Record) {
	r, old, next := s.rows.at(n), new(apitoken.Record), rec.Clone()
	s.read(r, old)
	t, was := &next.Token, &old.Token
	t.Tenant, t.Kind, t.Creator, t.CreatedAt = was.Tenant, was.Kind, was.Creator, was.CreatedAt
	next.IdempotencyKey, next.IssueSum = old.IdempotencyKey, old.IssueSum
	if old.Alias != next.Alias {
		delete(s.unique, aliasSum(old.Alias))
		if next.Alias != "" {
			s.unique[aliasSum(next.Alias)] = n
		}
	}
	s.dequeue(n)
	s.write(r, next)
	s.enqueue(n)
	s.hot.drop(t.ID)
}

// find returns the row of a token. The caller holds the lock.
func (s *Store) find(id apitoken.ID) (uint32, *row, error) {
	key, ok := keyOf(id)
	if !ok {
		return 0, nil, apitoken.ErrNotFound
	}
	n, ok := s.index[key]
	if !ok {
		return 0, nil, apitoken.ErrNotFound
	}
	return n, s.rows.at(n), nil
}

// guarded returns the row of a token that has this version and that guard allows
// to write.
func (s *Store) guarded(id apitoken.ID, version int64, guard apitoken.Guard) (uint32, *row, error) {
	n, r, err := s.find(id)
	if err != nil {
		return 0, nil, err
	}
	if r.version != version || !guard.Allows(instant(r.last)) {
		return 0, nil, apitoken.ErrConflict
	}
	return n, r, nil
}

// join adds a row to its tenant's.
func (s *Store) join(n uint32, name string) {
	t, ok := s.tenants[name]
	if !ok {
		t = new(tenant)
		s.tenants[name] = t
	}
	s.rows.at(n).member = uint32(len(t.rows))
	t.rows = append(t.rows, n)
}

// leave removes a row from its tenant's: the last one takes its place.
func (s *Store) leave(n uint32, name string) {
	t := s.tenants[name]
	at, last := s.rows.at(n).member, t.rows[len(t.rows)-1]
	t.rows[at] = last
	s.rows.at(last).member = at
	t.rows = slices.Delete(t.rows, len(t.rows)-1, len(t.rows))
	if len(t.rows) == 0 {
		delete(s.tenants, name)
	}
}

// keyOf returns an ID as a map's key, which has no pointer.
func keyOf(id apitoken.ID) (key [idLength]byte, ok bool) {
	return key, copy(key[:], id) == len(id) && len(id) == idLength
}

// aliasSum and keySum are what has to be unique, as keys without pointers. The
// sums of "" are never in the map.
func aliasSum(alias string) [sha256.Size]byte {
	return sha256.Sum256([]byte("alias " + alias))
}

func keySum(tenant, key string) [sha256.Size]byte {
	if key == "" {
		return [sha256.Size]byte{}
	}
	b := binary.AppendUvarint([]byte("key "), uint64(len(tenant)))
	return sha256.Sum256(append(append(b, tenant...), key...))
}
