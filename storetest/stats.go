package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testStats(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	stats := func(now time.Time, want apitoken.Stats, what string) {
		t.Helper()
		got, err := s.Stats(ctx, now)
		statsOverdue.ok(t, err, "Stats")
		statsOverdue.same(t, got.Overdue, want.Overdue, "Overdue "+what)
		statsOldest.same(t, got.Oldest, want.Oldest, "Oldest "+what)
		statsOutbox.same(t, got.Outbox, want.Outbox, "Outbox "+what)
		statsAside.same(t, got.Aside, want.Aside, "Aside "+what)
	}
	stats(epoch, apitoken.Stats{}, "of an empty store")

	early, late, never := plain("one"), plain("two"), plain("one")
	early.DueAt, late.DueAt = epoch, epoch.Add(time.Hour)
	events := eventsOf(early, 4)
	for i := range events[:3] {
		events[i].Deliver = true
	}
	createStores.ok(t, s.Create(ctx, early, events), "Create")
	createStores.ok(t, s.Create(ctx, late, nil), "Create")
	createStores.ok(t, s.Create(ctx, never, nil), "Create")
	stats(epoch.Add(-1000), apitoken.Stats{Outbox: 3}, "before anything is due")
	stats(epoch, apitoken.Stats{Overdue: 1, Oldest: epoch, Outbox: 3}, "at the instant one is due")
	stats(epoch.Add(time.Hour), apitoken.Stats{Overdue: 2, Oldest: epoch, Outbox: 3}, "when two are due")

	claimed, err := s.Claim(ctx, lease("stats", epoch.Add(time.Hour), epoch.Add(2*time.Hour)), 10)
	claimLeases.ok(t, err, "Claim")
	stats(epoch, apitoken.Stats{Overdue: 1, Oldest: epoch, Outbox: 3}, "with claimed events")
	if len(claimed) != 3 {
		claimLeases.fail(t, "Claim returned %d events, want 3", len(claimed))
		return
	}
	settleEnds.ok(t, s.Settle(ctx, "stats", []apitoken.Settlement{
		{EventID: events[0].ID, Done: true}, {EventID: events[1].ID, Aside: true}, {EventID: events[2].ID, RetryAt: epoch.Add(9 * time.Hour)},
	}), "Settle")
	stats(epoch, apitoken.Stats{Overdue: 1, Oldest: epoch, Outbox: 1, Aside: 1}, "with settled events")
}
