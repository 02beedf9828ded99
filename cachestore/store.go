package cachestore

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/hosttx"
)

// Store decorates an [apitoken.Store] with a cache of its tokens. It offers
// [apitoken.Records], which verification asks, and hands all else through; what it
// decorates is found through Unwrap. Make one with [New]. It is safe for concurrent
// use.
type Store struct {
	inner     apitoken.Store
	revisions apitoken.Revisions // nil if the inner store has none
	records   *cache[apitoken.ID, *apitoken.Record]
	changed   func(ids ...apitoken.ID) // never nil
}

var (
	_ apitoken.Store     = (*Store)(nil)
	_ apitoken.Records   = (*Store)(nil)
	_ apitoken.Unwrapper = (*Store)(nil)
)

// New returns a cache in front of inner. All faults of opts come joined, each an
// [apitoken.FieldError] that names the option and says what to do. New starts
// nothing and does not touch the store.
func New(inner apitoken.Store, opts Options) (*Store, error) {
	err := opts.check()
	if inner == nil {
		err = errors.Join(&apitoken.FieldError{Field: "inner", Problem: "is nil: pass the store to read from"}, err)
	}
	if err != nil {
		return nil, err
	}
	s := &Store{inner: inner, revisions: revisionsOf(inner), changed: opts.Changed}
	if s.changed == nil {
		s.changed = func(...apitoken.ID) {}
	}
	from := source[apitoken.ID, *apitoken.Record]{
		read:  inner.Get, // not its Records: a cache behind a cache would be twice as stale
		same:  func(kept, now *apitoken.Record) bool { return stands(kept, revisionOf(now)) },
		clone: func(id apitoken.ID) apitoken.ID { return apitoken.ID(strings.Clone(string(id))) },
		hash:  func(seed maphash.Seed, id apitoken.ID) uint64 { return maphash.String(seed, string(id)) },
	}
	if s.revisions != nil {
		from.confirm = s.confirm
	}
	s.records = newCache(opts, from)
	return s, nil
}

// revisionsOf finds Revisions on the store or on one it decorates.
func revisionsOf(store apitoken.Store) apitoken.Revisions {
	for store != nil {
		if r, ok := store.(apitoken.Revisions); ok {
			return r
		}
		u, ok := store.(apitoken.Unwrapper)
		if !ok {
			return nil
		}
		store = u.Unwrap()
	}
	return nil
}

func revisionOf(rec *apitoken.Record) apitoken.Revision {
	return apitoken.Revision{ID: rec.Token.ID, Version: rec.Token.Version, Op: rec.Op, LastUsed: rec.Token.Usage.LastUsed, Uses: rec.Token.Usage.Uses}
}

// stands reports whether what is kept is of a revision. It compares for equality
// only: nothing is derived from which one is higher.
func stands(kept *apitoken.Record, now apitoken.Revision) bool {
	is := revisionOf(kept)
	return is.ID == now.ID && is.Version == now.Version && is.Op == now.Op && is.LastUsed.Equal(now.LastUsed) && is.Uses == now.Uses
}

// confirm asks for the revisions of many tokens at once.
func (s *Store) confirm(ctx context.Context, ids []apitoken.ID, kept []*apitoken.Record) ([]bool, error) {
	found, err := s.revisions.Revisions(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := make(map[apitoken.ID]apitoken.Revision, len(found))
	for _, r := range found {
		byID[r.ID] = r
	}
	out := make([]bool, len(ids))
	for i, id := range ids {
		now, ok := byID[id]
		out[i] = ok && stands(kept[i], now)
	}
	return out, nil
}

// Unwrap returns the decorated store.
func (s *Store) Unwrap() apitoken.Store { return s.inner }

// Run confirms tokens in use before they are too old, so that no request waits for
// that, until ctx ends; then it returns nil. It blocks: start it in a goroutine,
// once. Without it the cache is as right, and every now and then a request pays for
// up to 500 tokens' confirmation. Failures show in [Stats] and are tried again.
func (s *Store) Run(ctx context.Context) error {
	s.records.run(ctx)
	return nil
}

// Forget drops what is known of tokens, whether or not they exist: call it for
// what somebody says was changed elsewhere, or after the commit of a transaction of
// the host's own. It is a hint that makes a change count sooner; losing it costs at
// most [Options].MaxStale.
func (s *Store) Forget(ids ...apitoken.ID) {
	for _, id := range ids {
		s.records.forget(id)
	}
}

// ForgetAll drops everything: for hints that may have been lost while a connection
// was.
func (s *Store) ForgetAll() { s.records.forgetAll() }

// CacheStats returns counts since New, and what the cache holds now.
func (s *Store) CacheStats() Stats { return s.records.stats() }

// CacheAge returns the age of the oldest record that would still be used, counted
// from before it was read; 0 = there is none. [apitoken.Service.Status] shows it.
func (s *Store) CacheAge() time.Duration { return s.CacheStats().Age }

// Record implements [apitoken.Records]. Errors: [apitoken.ErrNotFound], ctx's, and
// those of the inner store.
func (s *Store) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if hosttx.From(ctx) != nil {
		return s.inner.Get(ctx, id)
	}
	return s.records.get(ctx, id)
}

// Get implements [apitoken.Store]. It always reads the inner store.
func (s *Store) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	rec, err := s.inner.Get(ctx, id)
	if hosttx.From(ctx) == nil {
		// After a write whose outcome is unclear this read tells the caller that it
		// succeeded: then it must have succeeded for the cache, too.
		s.records.saw(id, rec, err)
	}
	return rec, err
}

// changing drops what is known of tokens before a change, and again when the
// returned function is called: after it, whether or not it seems to have failed.
func (s *Store) changing(ctx context.Context, ids ...apitoken.ID) (changed func()) {
	s.Forget(ids...)
	return func() {
		s.Forget(ids...)
		if hosttx.From(ctx) == nil {
			s.changed(ids...)
		}
	}
}

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	defer s.changing(ctx, rec.Token.ID)()
	return s.inner.Create(ctx, rec, events)
}

// Swap implements [apitoken.Store].
func (s *Store) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	defer s.changing(ctx, rec.Token.ID)()
	return s.inner.Swap(ctx, rec, guard, events)
}

// Replace implements [apitoken.Store].
func (s *Store) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	defer s.changing(ctx, old.Token.ID, rec.Token.ID)()
	return s.inner.Replace(ctx, rec, old, guard, events)
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	defer s.changing(ctx, id)()
	return s.inner.Delete(ctx, id, version, guard, events)
}

// Touch implements [apitoken.Store]. The tokens are read anew afterwards: one that
// is near the end of its idle time would be touched by each request until then. A
// Touch that failed drops nothing, so that an outage does not empty the cache.
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	err := s.inner.Touch(ctx, uses)
	if err == nil {
		for i := range uses {
			s.records.forget(uses[i].ID)
		}
	}
	return err
}
