package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// testRoundTrip stores values with every field set, and with none.
func testRoundTrip(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()

	t.Run("create", func(t *testing.T) {
		for variant := range 2 {
			rec := full(t, variant)
			createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create of a token with every field set")
			createStores.same(t, stored(t, s, rec.Token.ID), rec, "the token read after Create")
		}
	})
	t.Run("clone", func(t *testing.T) {
		rec := full(t, 2)
		handsOutCopies.same(t, rec.Clone(), rec, "Record.Clone")
	})
	t.Run("swap", func(t *testing.T) {
		old, rec := full(t, 3), full(t, 4)
		createStores.ok(t, s.Create(ctx, old.Clone(), nil), "Create")
		rec.Token.ID, rec.Token.Version = old.Token.ID, 2
		swapReplaces.ok(t, s.Swap(ctx, rec.Clone(), apitoken.Guard{}, nil), "Swap that changes every field")
		swapReplaces.same(t, stored(t, s, rec.Token.ID), kept(old, rec), "the token read after Swap")

		empty := &apitoken.Record{Token: apitoken.Token{ID: old.Token.ID, Version: 3, Name: "nothing else"}}
		swapReplaces.ok(t, s.Swap(ctx, empty.Clone(), apitoken.Guard{}, nil), "Swap that empties every field")
		swapReplaces.same(t, stored(t, s, rec.Token.ID), kept(old, empty), "the token read after Swap")
	})
	t.Run("zones", func(t *testing.T) {
		rec := plain("zones")
		rec.Token.Name = "zones"
		given := rec.Clone()
		east := time.FixedZone("east", 5*3600)
		given.Token.CreatedAt, given.Token.StateAt = rec.Token.CreatedAt.In(east), rec.Token.StateAt.Local()
		createStores.ok(t, s.Create(ctx, given, nil), "Create with instants in other zones")
		keepsInstants.same(t, stored(t, s, rec.Token.ID), rec, "the token read after Create with instants in other zones")
	})
	t.Run("plain", func(t *testing.T) {
		rec := plain("plain")
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		createStores.same(t, stored(t, s, rec.Token.ID), rec, "the token read after Create")
	})
	t.Run("event", func(t *testing.T) {
		for variant := range 2 {
			rec := plain("event")
			var e apitoken.Event
			fill(t, variant, &e)
			e.Tenant, e.Target.Token, e.Version = rec.Token.Tenant, rec.Token.ID, 1
			createStores.ok(t, s.Create(ctx, rec, []apitoken.Event{e}), "Create with an event with every field set")
			got, err := s.Events(ctx, e.Tenant, e.Target.Token, "", 10)
			eventsReturn.ok(t, err, "Events")
			if len(got) == 1 {
				got[0].Deliver = e.Deliver
			}
			eventsReturn.same(t, got, []apitoken.Event{e}, "the events read after Create")
		}
	})
	t.Run("claimed event", func(t *testing.T) {
		rec := plain("claimed")
		var e apitoken.Event
		fill(t, 5, &e)
		e.Tenant, e.Target.Token, e.Version, e.Deliver = rec.Token.Tenant, rec.Token.ID, 1, true
		s := newStore(t)
		createStores.ok(t, s.Create(ctx, rec, []apitoken.Event{e}), "Create")
		got, err := s.Claim(ctx, lease("full", epoch, epoch.Add(1)), 10)
		claimLeases.ok(t, err, "Claim")
		if len(got) == 1 {
			got[0].Event.Deliver = true
		}
		claimLeases.same(t, got, []apitoken.Delivery{{Event: e}}, "the claimed event")
	})
	t.Run("settings", func(t *testing.T) {
		s := newStore(t)
		var set apitoken.Settings
		fill(t, 1, &set)
		set.Version = 1
		settingsSwap.ok(t, s.SwapSettings(ctx, set, nil), "SwapSettings with every field set")
		got, err := s.Settings(ctx, set.Tenant)
		settingsReturn.ok(t, err, "Settings")
		settingsReturn.same(t, got, set, "the settings read after SwapSettings")
	})
	t.Run("use", func(t *testing.T) {
		s := newStore(t)
		rec := plain("use")
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		var u apitoken.Use
		fill(t, 1, &u)
		u.ID = rec.Token.ID
		touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{u}), "Touch with every field set")
		rec.Token.Usage = apitoken.Usage{
			Uses: u.Count, LastUsed: u.LastUsed, Address: u.Address, Networks: u.Networks, Legacy: u.Legacy,
			Day: u.Day, Week: u.Week, Month: u.Month,
		}
		touchAdds.same(t, stored(t, s, rec.Token.ID), rec, "the token read after Touch")
	})
}
