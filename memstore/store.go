// Package memstore keeps tokens in memory: for tests, for examples, and for
// servers whose tokens need not outlive the process.
package memstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tokenry/apitoken"
)

// Store is an [apitoken.Store] and [apitoken.Records] in memory. Make one with
// [New]. It is safe for concurrent use.
type Store struct {
	mu       sync.RWMutex
	tokens   map[apitoken.ID]*apitoken.Record // never changed in place, always replaced
	aliases  map[string]apitoken.ID
	keys     map[tenantKey]apitoken.ID
	settings map[string]apitoken.Settings
	outbox   outbox
}

type tenantKey struct{ tenant, key string }

// New returns an empty Store.
func New() *Store {
	return &Store{
		tokens:   make(map[apitoken.ID]*apitoken.Record),
		aliases:  make(map[string]apitoken.ID),
		keys:     make(map[tenantKey]apitoken.ID),
		settings: make(map[string]apitoken.Settings),
	}
}

var (
	_ apitoken.Store   = (*Store)(nil)
	_ apitoken.Records = (*Store)(nil)
)

// Create implements [apitoken.Store].
func (s *Store) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &rec.Token
	key := tenantKey{t.Tenant, rec.IdempotencyKey}
	if _, ok := s.tokens[t.ID]; ok {
		return &apitoken.DuplicateError{Field: "id", Existing: t.ID}
	}
	if other, ok := s.aliases[rec.Alias]; ok && rec.Alias != "" {
		return &apitoken.DuplicateError{Field: "alias", Existing: other}
	}
	if other, ok := s.keys[key]; ok && key.key != "" {
		return &apitoken.DuplicateError{Field: "idempotency key", Existing: other}
	}
	s.tokens[t.ID] = rec.Clone()
	if rec.Alias != "" {
		s.aliases[rec.Alias] = t.ID
	}
	if key.key != "" {
		s.keys[key] = t.ID
	}
	s.outbox.add(events)
	return nil
}

// Get implements [apitoken.Store].
func (s *Store) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	rec, err := s.Record(ctx, id)
	if err != nil {
		return nil, err
	}
	return rec.Clone(), nil
}

// GetByAlias implements [apitoken.Store].
func (s *Store) GetByAlias(ctx context.Context, alias string) (*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.aliases[alias]
	if !ok {
		return nil, apitoken.ErrNotFound
	}
	return s.tokens[id].Clone(), nil
}

// Record implements [apitoken.Records].
func (s *Store) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	rec, ok := s.tokens[id]
	if !ok {
		return nil, apitoken.ErrNotFound
	}
	return rec, nil
}

// Swap implements [apitoken.Store].
func (s *Store) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := rec.Token.ID
	old, err := s.guarded(id, rec.Token.Version-1, guard)
	if err != nil {
		return err
	}
	if other, ok := s.aliases[rec.Alias]; ok && rec.Alias != "" && other != id {
		return &apitoken.DuplicateError{Field: "alias", Existing: other}
	}
	next := rec.Clone()
	t, was := &next.Token, &old.Clone().Token
	t.Tenant, t.Kind, t.Creator, t.CreatedAt, t.Usage = was.Tenant, was.Kind, was.Creator, was.CreatedAt, was.Usage
	next.IdempotencyKey, next.IssueSum = old.IdempotencyKey, slices.Clone(old.IssueSum)
	delete(s.aliases, old.Alias)
	if next.Alias != "" {
		s.aliases[next.Alias] = id
	}
	s.tokens[id] = next
	s.outbox.add(events)
	return nil
}

// Delete implements [apitoken.Store].
func (s *Store) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.guarded(id, version, guard)
	if err != nil {
		return err
	}
	delete(s.tokens, id)
	delete(s.aliases, old.Alias)
	delete(s.keys, tenantKey{old.Token.Tenant, old.IdempotencyKey})
	s.outbox.add(events)
	return nil
}

// guarded returns the stored record if it has this version and guard allows the
// write.
func (s *Store) guarded(id apitoken.ID, version int64, guard apitoken.Guard) (*apitoken.Record, error) {
	old, ok := s.tokens[id]
	if !ok {
		return nil, apitoken.ErrNotFound
	}
	if old.Token.Version != version || !guard.Allows(old.Token.Usage.LastUsed) {
		return nil, apitoken.ErrConflict
	}
	return old, nil
}

// Touch implements [apitoken.Store].
func (s *Store) Touch(ctx context.Context, uses []apitoken.Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, use := range uses {
		old, ok := s.tokens[use.ID]
		if !ok {
			continue
		}
		next := old.Clone()
		u := &next.Token.Usage
		u.Uses += use.Count
		if use.LastUsed.After(u.LastUsed) {
			u.LastUsed, u.Address, u.Networks = use.LastUsed, use.Address, slices.Clone(use.Networks)
		}
		if use.Legacy.After(u.Legacy) {
			u.Legacy = use.Legacy
		}
		s.tokens[use.ID] = next
	}
	return nil
}

// Settings implements [apitoken.Store].
func (s *Store) Settings(ctx context.Context, tenant string) (apitoken.Settings, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Settings{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	set := s.settings[tenant]
	set.Tenant = tenant
	set.Origins = slices.Clone(set.Origins)
	return set, nil
}

// SwapSettings implements [apitoken.Store].
func (s *Store) SwapSettings(ctx context.Context, settings apitoken.Settings, events []apitoken.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.settings[settings.Tenant].Version != settings.Version-1 {
		return apitoken.ErrConflict
	}
	settings.Origins = slices.Clone(settings.Origins)
	s.settings[settings.Tenant] = settings
	s.outbox.add(events)
	return nil
}

// Stats implements [apitoken.Store].
func (s *Store) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Stats{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var st apitoken.Stats
	for _, rec := range s.tokens {
		if rec.DueAt.IsZero() || rec.DueAt.After(now) {
			continue
		}
		st.Overdue++
		if st.Oldest.IsZero() || rec.DueAt.Before(st.Oldest) {
			st.Oldest = rec.DueAt
		}
	}
	st.Outbox, st.Aside = s.outbox.counts()
	return st, nil
}
