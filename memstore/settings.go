package memstore

import (
	"context"
	"slices"

	"github.com/tokenry/apitoken"
)

// Settings implements [apitoken.Store].
func (s *Store) Settings(ctx context.Context, tenant string) (apitoken.Settings, error) {
	if err := ctx.Err(); err != nil {
		return apitoken.Settings{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	set := s.settings[tenant]
	set.Tenant, set.Origins = tenant, slices.Clone(set.Origins)
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
	settings.Origins, settings.UpdatedAt = slices.Clone(settings.Origins), instant(stamp(settings.UpdatedAt))
	s.settings[settings.Tenant] = settings
	s.post(events)
	return nil
}
