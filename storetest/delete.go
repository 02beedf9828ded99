package storetest

import (
	"testing"

	"github.com/tokenry/apitoken"
)

func testDelete(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	rec := plain("delete")
	rec.Alias, rec.IdempotencyKey, rec.DueAt = "gone", "gone", epoch
	other := plain("delete")
	createStores.ok(t, s.Create(ctx, rec.Clone(), eventsOf(rec, 1)), "Create")
	createStores.ok(t, s.Create(ctx, other.Clone(), nil), "Create")
	deleted := eventsOf(next(rec), 1)

	for _, version := range []int64{0, 2} {
		deleteRemoves.is(t, s.Delete(ctx, rec.Token.ID, version, apitoken.Guard{}, deleted), apitoken.ErrConflict, "Delete of another version")
		deleteRemoves.same(t, stored(t, s, rec.Token.ID), rec, "the token after a refused Delete")
		allOrNothing.same(t, history(t, s, "delete", rec.Token.ID), idsOf(eventsOf(rec, 1)), "events after a refused Delete")
	}
	unknown := newID()
	deleteRemoves.is(t, s.Delete(ctx, unknown, 1, apitoken.Guard{}, nil), apitoken.ErrNotFound, "Delete of a token that is not there")

	deleteRemoves.ok(t, s.Delete(ctx, rec.Token.ID, 1, apitoken.Guard{}, deleted), "Delete")
	absent(t, s, rec.Token.ID, deleteRemoves, "Get after Delete")
	_, err := s.GetByAlias(ctx, "gone")
	deleteRemoves.is(t, err, apitoken.ErrNotFound, "GetByAlias after Delete")
	due, err := s.Due(ctx, epoch.AddDate(1, 0, 0), apitoken.DuePosition{}, 10)
	dueReturns.ok(t, err, "Due")
	deleteRemoves.same(t, tokensOf(due), []apitoken.ID{}, "what is due after Delete")
	list, err := s.List(ctx, apitoken.StoreQuery{Tenant: "delete", AllKinds: true, Limit: 10})
	listReturns.ok(t, err, "List")
	deleteRemoves.same(t, tokensOf(list), []apitoken.ID{other.Token.ID}, "the list after Delete")
	eventsOutlive.same(t, history(t, s, "delete", rec.Token.ID), append(idsOf(eventsOf(rec, 1)), idsOf(deleted)...), "events after Delete")

	deleteRemoves.is(t, s.Delete(ctx, rec.Token.ID, 1, apitoken.Guard{}, nil), apitoken.ErrNotFound, "Delete once more")
	n := next(rec)
	swapRefuses.is(t, s.Swap(ctx, n, apitoken.Guard{}, nil), apitoken.ErrNotFound, "Swap after Delete")

	again := plain("delete")
	again.Alias, again.IdempotencyKey = "gone", "gone"
	createStores.ok(t, s.Create(ctx, again, nil), "Create with the alias and key of a deleted token")
}
