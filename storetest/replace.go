package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testReplace(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	// create stores a token that is replaced, and returns it as Replace writes it.
	create := func(t *testing.T, rec *apitoken.Record) *apitoken.Record {
		t.Helper()
		createStores.ok(t, s.Create(ctx, rec.Clone(), eventsOf(rec, 1)), "Create")
		old := next(rec)
		old.Token.State, old.Token.Cause = apitoken.StateRevoked, apitoken.CauseReplaced
		return old
	}
	// both are the events of a Replace, to be delivered.
	both := func(rec, old *apitoken.Record) []apitoken.Event {
		events := append(eventsOf(old, 1), eventsOf(rec, 2)...)
		for i := range events {
			events[i].Deliver = true
		}
		return events
	}
	// untouched demands that a refused Replace left nothing behind.
	untouched := func(t *testing.T, before, rec *apitoken.Record) {
		t.Helper()
		replaceBoth.same(t, stored(t, s, before.Token.ID), before, "the old token after a refused Replace")
		allOrNothing.same(t, history(t, s, before.Token.Tenant, before.Token.ID), idsOf(eventsOf(before, 1)), "the old token's events after a refused Replace")
		absent(t, s, rec.Token.ID, replaceBoth, "Get of the new token after a refused Replace")
		allOrNothing.same(t, history(t, s, rec.Token.Tenant, rec.Token.ID), []string{}, "the new token's events after a refused Replace")
		open, err := s.Claim(ctx, lease("refused", epoch, epoch), 10)
		claimLeases.ok(t, err, "Claim")
		allOrNothing.same(t, open, []apitoken.Delivery{}, "events to deliver after a refused Replace")
	}

	t.Run("refused", func(t *testing.T) {
		taken := plain("replace")
		taken.Alias, taken.IdempotencyKey = "replace taken", "taken"
		createStores.ok(t, s.Create(ctx, taken.Clone(), nil), "Create")
		for _, c := range []struct {
			name   string
			change func(rec, old *apitoken.Record, guard *apitoken.Guard)
			field  string // of a *DuplicateError; "" = a plain conflict
			holder func(old *apitoken.Record) apitoken.ID
		}{
			{"an older version", func(_, old *apitoken.Record, _ *apitoken.Guard) { old.Token.Version-- }, "", nil},
			{"a later version", func(_, old *apitoken.Record, _ *apitoken.Guard) { old.Token.Version++ }, "", nil},
			{"a use since", func(_, _ *apitoken.Record, guard *apitoken.Guard) {
				guard.NotUsedAfter = epoch.Add(-time.Microsecond)
			}, "", nil},
			{"a first use", func(_, _ *apitoken.Record, guard *apitoken.Guard) { guard.NeverUsed = true }, "", nil},
			{"a taken ID", func(rec, _ *apitoken.Record, _ *apitoken.Guard) { rec.Token.ID = taken.Token.ID }, "id", nil},
			{"the old ID", func(rec, old *apitoken.Record, _ *apitoken.Guard) { rec.Token.ID = old.Token.ID }, "id",
				func(old *apitoken.Record) apitoken.ID { return old.Token.ID }},
			{"a taken key", func(rec, _ *apitoken.Record, _ *apitoken.Guard) { rec.IdempotencyKey = "taken" }, "idempotency key", nil},
			{"a taken alias", func(rec, _ *apitoken.Record, _ *apitoken.Guard) { rec.Alias = "replace taken" }, "alias", nil},
			{"a taken alias for the old one", func(_, old *apitoken.Record, _ *apitoken.Guard) { old.Alias = "replace taken" }, "alias", nil},
			{"the alias that the old one keeps", func(rec, old *apitoken.Record, _ *apitoken.Guard) { rec.Alias = old.Alias }, "alias",
				func(old *apitoken.Record) apitoken.ID { return old.Token.ID }},
			{"the alias that the old one takes", func(rec, old *apitoken.Record, _ *apitoken.Guard) {
				rec.Alias, old.Alias = "replace new", "replace new"
			}, "alias", func(old *apitoken.Record) apitoken.ID { return old.Token.ID }},
		} {
			t.Run(c.name, func(t *testing.T) {
				before, rec := plain("replace"), plain("replace")
				before.Alias, before.Token.Usage.LastUsed = "replace "+c.name, epoch
				old, guard := create(t, before), apitoken.Guard{}
				events, id := both(rec, old), rec.Token.ID
				c.change(rec, old, &guard)
				err := s.Replace(ctx, rec.Clone(), old.Clone(), guard, events)
				switch {
				case c.field == "":
					replaceErrors.is(t, err, apitoken.ErrConflict, "Replace with "+c.name)
				case c.holder != nil:
					replaceErrors.duplicate(t, err, c.field, c.holder(old), "Replace with "+c.name)
				default:
					replaceErrors.duplicate(t, err, c.field, taken.Token.ID, "Replace with "+c.name)
				}
				rec.Token.ID = id // whose events they were
				untouched(t, before, rec)
				replaceBoth.same(t, stored(t, s, taken.Token.ID), taken, "another token after a refused Replace")
			})
		}
	})
	t.Run("missing", func(t *testing.T) {
		rec, old := plain("replace"), next(plain("replace"))
		replaceErrors.is(t, s.Replace(ctx, rec.Clone(), old, apitoken.Guard{}, both(rec, old)), apitoken.ErrNotFound, "Replace of a token that is not there")
		absent(t, s, old.Token.ID, replaceBoth, "Get of the old token")
		absent(t, s, rec.Token.ID, replaceBoth, "Get of the new token")
		allOrNothing.same(t, history(t, s, "replace", rec.Token.ID), []string{}, "the new token's events after a refused Replace")
	})
	t.Run("done", func(t *testing.T) {
		before, rec := full(t, 0), full(t, 1)
		before.Token.Tenant, rec.Token.Tenant = "replace", "replace"
		old := create(t, before)
		old.Token.Tenant, old.Token.Usage = "other", apitoken.Usage{}
		guard := apitoken.Guard{NotUsedAfter: before.Token.Usage.LastUsed}
		events := both(rec, old)
		events[0].Tenant = "replace"
		replaceBoth.ok(t, s.Replace(ctx, rec.Clone(), old.Clone(), guard, events), "Replace")
		swapKeeps.same(t, stored(t, s, before.Token.ID), kept(before, old), "the old token after Replace")
		replaceBoth.same(t, stored(t, s, rec.Token.ID), rec, "the new token after Replace")
		replaceBoth.same(t, history(t, s, "replace", before.Token.ID), append(idsOf(eventsOf(before, 1)), idsOf(events[:1])...), "the old token's events")
		replaceBoth.same(t, history(t, s, "replace", rec.Token.ID), idsOf(events[1:]), "the new token's events")
		open, err := s.Claim(ctx, lease("done", epoch, epoch.Add(time.Hour)), 10)
		claimLeases.ok(t, err, "Claim")
		replaceBoth.same(t, sortedIDs(open), idsOf(events), "the events to deliver after Replace")
		if shared := offered[apitoken.Records](s); shared != nil {
			got, err := shared.Record(ctx, before.Token.ID)
			recordReturns.ok(t, err, "Record")
			recordFresh.same(t, got.Token.State, apitoken.StateRevoked, "the state of the old token's shared record")
		}
		due, err := s.Due(ctx, epoch.AddDate(50, 0, 0), apitoken.DuePosition{}, 10)
		dueReturns.ok(t, err, "Due")
		replaceBoth.same(t, len(due), 2, "how many tokens are due after Replace")

		again := plain("replace")
		again.IdempotencyKey = rec.IdempotencyKey
		replaceBoth.duplicate(t, s.Create(ctx, again, nil), "idempotency key", rec.Token.ID, "Create with the key of a token that Replace added")
	})
	t.Run("alias", func(t *testing.T) {
		before, rec := plain("replace"), plain("replace")
		before.Alias = "replace moves"
		old := create(t, before)
		old.Alias, rec.Alias = "", "replace moves"
		replaceBoth.ok(t, s.Replace(ctx, rec.Clone(), old.Clone(), apitoken.Guard{}, nil), "Replace with the alias that the old token gives up")
		got, err := s.GetByAlias(ctx, "replace moves")
		aliasReturns.ok(t, err, "GetByAlias")
		replaceBoth.same(t, got, rec, "the token read by the alias")
		replaceBoth.same(t, stored(t, s, old.Token.ID), old, "the token that gave it up")
	})
}
