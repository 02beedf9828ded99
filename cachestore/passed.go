package cachestore

import (
	"context"
	"time"

	"github.com/tokenry/apitoken"
)

// What the cache takes no part in. The methods are written out, not embedded: a
// method that the interface gains must be looked at here, since it may change
// tokens.

// GetByAlias implements [apitoken.Store]. It always reads the inner store: calls
// that stop a token because its older key leaked rest on it, too.
func (s *Store) GetByAlias(ctx context.Context, alias string) (*apitoken.Record, error) {
	return s.inner.GetByAlias(ctx, alias)
}

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	return s.inner.List(ctx, query)
}

// Counts implements [apitoken.Store].
func (s *Store) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	return s.inner.Counts(ctx, query)
}

// Due implements [apitoken.Store].
func (s *Store) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	return s.inner.Due(ctx, before, after, limit)
}

// Events implements [apitoken.Store].
func (s *Store) Events(ctx context.Context, tenant string, token apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	return s.inner.Events(ctx, tenant, token, after, limit)
}

// Claim implements [apitoken.Store].
func (s *Store) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	return s.inner.Claim(ctx, lease, limit)
}

// Settle implements [apitoken.Store].
func (s *Store) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	return s.inner.Settle(ctx, lease, settled)
}

// Settings implements [apitoken.Store]. It always reads the inner store: a change
// of settings begins with it, and would conflict with what it does not see.
func (s *Store) Settings(ctx context.Context, tenant string) (apitoken.Settings, error) {
	return s.inner.Settings(ctx, tenant)
}

// SwapSettings implements [apitoken.Store].
func (s *Store) SwapSettings(ctx context.Context, settings apitoken.Settings, events []apitoken.Event) error {
	return s.inner.SwapSettings(ctx, settings, events)
}

// Stats implements [apitoken.Store]. Those of the cache are [Store.CacheStats].
func (s *Store) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	return s.inner.Stats(ctx, now)
}
