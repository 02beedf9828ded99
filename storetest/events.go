package storetest

import (
	"slices"
	"testing"

	"github.com/tokenry/apitoken"
)

func testEvents(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	rec, other := plain("one"), plain("one")
	var want []apitoken.Event
	createStores.ok(t, s.Create(ctx, rec.Clone(), eventsOf(rec, 2)), "Create")
	want = append(want, eventsOf(rec, 2)...)
	createStores.ok(t, s.Create(ctx, other.Clone(), eventsOf(other, 1)), "Create")
	for range 11 { // versions of one and of two digits
		rec = next(rec)
		swapReplaces.ok(t, s.Swap(ctx, rec.Clone(), apitoken.Guard{}, eventsOf(rec, 3)), "Swap")
		want = append(want, eventsOf(rec, 3)...)
	}
	silent := next(rec)
	swapReplaces.ok(t, s.Swap(ctx, silent.Clone(), apitoken.Guard{}, nil), "Swap without an event")
	last := next(silent)
	deleteRemoves.ok(t, s.Delete(ctx, rec.Token.ID, silent.Token.Version, apitoken.Guard{}, eventsOf(last, 1)), "Delete")
	want = append(want, eventsOf(last, 1)...)

	read := func(tenant string, token apitoken.ID, after string, limit int) []apitoken.Event {
		t.Helper()
		got, err := s.Events(ctx, tenant, token, after, limit)
		eventsReturn.ok(t, err, "Events")
		return got
	}
	eventsOutlive.same(t, read("one", rec.Token.ID, "", 1000), want, "the events of a deleted token")
	eventsReturn.same(t, read("one", other.Token.ID, "", 1000), eventsOf(other, 1), "the events of another token")
	for i, e := range want {
		for _, limit := range []int{1, 4, 1000} {
			rest := want[i+1:]
			eventsReturn.same(t, idsOf(read("one", rec.Token.ID, e.ID, limit)), idsOf(rest[:min(limit, len(rest))]), "the events after "+e.ID)
		}
	}
	eventsReturn.same(t, read("two", rec.Token.ID, "", 10), []apitoken.Event{}, "the token's events in another tenant")
	eventsReturn.same(t, read("One", rec.Token.ID, "", 10), []apitoken.Event{}, "the token's events in a tenant in another case")
	eventsReturn.same(t, read("one", newID(), "", 10), []apitoken.Event{}, "the events of an unknown token")
	eventsReturn.same(t, read("one", "", "", 10), []apitoken.Event{}, "the events of settings never set")
}

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

func testRecords(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	shared := recordsOf(s)
	if shared == nil {
		return // the power is optional
	}
	rec := full(t, 0)
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
	read := func(what string) *apitoken.Record {
		t.Helper()
		got, err := shared.Record(ctx, rec.Token.ID)
		recordReturns.ok(t, err, "Record "+what)
		return got
	}
	first := read("of a new token")
	recordReturns.same(t, first, rec, "the shared record")
	before := first.Clone()

	_, err := shared.Record(ctx, newID())
	recordReturns.is(t, err, apitoken.ErrNotFound, "Record of an unknown ID")

	id := []byte(rec.Token.ID)
	kept, err := shared.Record(ctx, apitoken.ID(id))
	recordReturns.ok(t, err, "Record")
	recordReturns.same(t, kept.Token.ID, rec.Token.ID, "the shared record's ID")

	touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{{ID: rec.Token.ID, Count: 1, LastUsed: rec.Token.Usage.LastUsed.Add(1e6)}}), "Touch")
	recordReturns.same(t, first, before, "a shared record after Touch")

	for range 3 {
		n := next(stored(t, s, rec.Token.ID))
		n.Token.Name += "+"
		swapReplaces.ok(t, s.Swap(ctx, n.Clone(), apitoken.Guard{}, nil), "Swap")
		got := read("after Swap")
		if got == first {
			recordFresh.fail(t, "Record hands out the record it handed out before a change")
		}
		n.Token.Usage = got.Token.Usage // may lag
		recordFresh.same(t, got, n, "the shared record after Swap")
	}
	recordReturns.same(t, first, before, "a shared record after Swap")

	deleteRemoves.ok(t, s.Delete(ctx, rec.Token.ID, 4, apitoken.Guard{}, nil), "Delete")
	_, err = shared.Record(ctx, rec.Token.ID)
	recordFresh.is(t, err, apitoken.ErrNotFound, "Record after Delete")
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create of an ID that was deleted")
	recordFresh.same(t, read("after Create"), rec, "the shared record of an ID that was deleted and made again")

	t.Run("readers while it changes", func(t *testing.T) {
		rec := plain("records")
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		id := rec.Token.ID
		ready := make(chan int64, 1) // the version that is surely stored
		stop := make(chan struct{})
		ready <- 1
		reader := func() {
			for {
				select {
				case <-stop:
					return
				case least := <-ready:
					ready <- least
					got, err := shared.Record(ctx, id)
					if err != nil || got.Token.Version < least {
						recordFresh.fail(t, "Record returned %v, %v after the Swap to version %d had returned", got, err, least)
						return
					}
				}
			}
		}
		writer := func() {
			defer close(stop)
			for range 4 * repetitions {
				rec = next(rec)
				if err := s.Swap(ctx, rec.Clone(), apitoken.Guard{}, nil); err != nil {
					swapReplaces.fail(t, "Swap: %v", err)
					return
				}
				<-ready
				ready <- rec.Token.Version
				_ = s.Touch(ctx, []apitoken.Use{{ID: id, Count: 1, LastUsed: epoch}})
			}
		}
		together(reader, reader, reader, writer)
	})
}

// recordsOf finds the optional interface, as a Service does.
func recordsOf(s apitoken.Store) apitoken.Records {
	for s != nil {
		if r, ok := s.(apitoken.Records); ok {
			return r
		}
		u, ok := s.(apitoken.Unwrapper)
		if !ok {
			return nil
		}
		s = u.Unwrap()
	}
	return nil
}

// sortedIDs are the IDs of deliveries, for comparing sets.
func sortedIDs(claimed []apitoken.Delivery) []string {
	out := make([]string, 0, len(claimed))
	for _, d := range claimed {
		out = append(out, d.Event.ID)
	}
	slices.Sort(out)
	return out
}
