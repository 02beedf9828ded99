package storetest

import (
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

// history returns the IDs of a token's events.
func history(t *testing.T, s apitoken.Store, tenant string, token apitoken.ID) []string {
	t.Helper()
	events, err := s.Events(t.Context(), tenant, token, "", 1000)
	eventsReturn.ok(t, err, "Events")
	out := make([]string, 0, len(events))
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}

func idsOf(events []apitoken.Event) []string {
	out := make([]string, 0, len(events))
	for _, e := range events {
		out = append(out, e.ID)
	}
	return out
}
