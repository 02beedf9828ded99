package storetest

import (
	"testing"

	"github.com/tokenry/apitoken"
)

func testSettings(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	read := func(tenant string, want apitoken.Settings, what string) {
		t.Helper()
		got, err := s.Settings(ctx, tenant)
		settingsReturn.ok(t, err, "Settings")
		settingsReturn.same(t, got, want, what)
	}
	eventOf := func(set apitoken.Settings) []apitoken.Event {
		return []apitoken.Event{{
			ID: "tenant:" + set.Tenant + "." + string(rune('0'+set.Version)), Type: apitoken.EventOrigins,
			Time: epoch, Tenant: set.Tenant, Version: set.Version,
		}}
	}
	read("one", apitoken.Settings{Tenant: "one"}, "settings never set")

	one := apitoken.Settings{Tenant: "one", Version: 1, Origins: []string{"https://b.example", "https://a.example"}, UpdatedAt: epoch}
	settingsSwap.ok(t, s.SwapSettings(ctx, one, eventOf(one)), "SwapSettings, the first time")
	read("one", one, "settings set once")
	read("One", apitoken.Settings{Tenant: "One"}, "settings of a tenant in another case")

	for _, version := range []int64{0, 1, 3} {
		stale := apitoken.Settings{Tenant: "one", Version: version, Origins: []string{"https://stale.example"}}
		settingsSwap.is(t, s.SwapSettings(ctx, stale, eventOf(stale)), apitoken.ErrConflict, "SwapSettings to a version that is not the stored one plus one")
		read("one", one, "settings after a refused SwapSettings")
	}
	ahead := apitoken.Settings{Tenant: "two", Version: 2}
	settingsSwap.is(t, s.SwapSettings(ctx, ahead, eventOf(ahead)), apitoken.ErrConflict, "SwapSettings to version 2 of settings never set")
	read("two", apitoken.Settings{Tenant: "two"}, "settings after a refused SwapSettings")

	second := apitoken.Settings{Tenant: "one", Version: 2}
	settingsSwap.ok(t, s.SwapSettings(ctx, second, eventOf(second)), "SwapSettings that empties the origins")
	read("one", second, "settings set twice")

	want := append(eventOf(one), eventOf(second)...)
	got, err := s.Events(ctx, "one", "", "", 10)
	eventsReturn.ok(t, err, "Events")
	eventsReturn.same(t, got, want, "the events of a tenant's settings")
	got, err = s.Events(ctx, "one", "", want[0].ID, 10)
	eventsReturn.ok(t, err, "Events")
	eventsReturn.same(t, got, want[1:], "the events of a tenant's settings after the first")

	t.Run("concurrent", func(t *testing.T) {
		for i := range repetitions {
			tenant := "race" + string(rune('A'+i))
			var won [2]bool
			together(
				func() { won[0] = s.SwapSettings(ctx, apitoken.Settings{Tenant: tenant, Version: 1}, nil) == nil },
				func() { won[1] = s.SwapSettings(ctx, apitoken.Settings{Tenant: tenant, Version: 1}, nil) == nil },
			)
			if won[0] == won[1] {
				settingsSwap.fail(t, "of two writers of version 1 these succeeded: %v", won)
			}
		}
	})
}
