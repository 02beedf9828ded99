package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testSwap(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()

	t.Run("version", func(t *testing.T) {
		rec := plain("swap")
		createStores.ok(t, s.Create(ctx, rec.Clone(), eventsOf(rec, 1)), "Create")
		edited := next(rec)
		edited.Token.Name = "edited"
		swapReplaces.ok(t, s.Swap(ctx, edited.Clone(), apitoken.Guard{}, eventsOf(edited, 2)), "Swap to the next version")
		events := append(idsOf(eventsOf(rec, 1)), idsOf(eventsOf(edited, 2))...)

		for _, version := range []int64{0, 1, 2, 4} {
			stale := edited.Clone()
			stale.Token.Version, stale.Token.Name = version, "stale"
			refused := []apitoken.Event{{ID: "refused", Version: version, Time: epoch, Tenant: "swap", Target: apitoken.Target{Token: rec.Token.ID}, Deliver: true}}
			swapRefuses.is(t, s.Swap(ctx, stale, apitoken.Guard{}, refused), apitoken.ErrConflict, "Swap to a version that is not the stored one plus one")
			swapRefuses.same(t, stored(t, s, rec.Token.ID), edited, "the token after a refused Swap")
			allOrNothing.same(t, history(t, s, "swap", rec.Token.ID), events, "events after a refused Swap")
		}
	})
	t.Run("missing", func(t *testing.T) {
		rec := next(plain("swap"))
		swapRefuses.is(t, s.Swap(ctx, rec, apitoken.Guard{}, eventsOf(rec, 1)), apitoken.ErrNotFound, "Swap of a token that is not there")
		absent(t, s, rec.Token.ID, swapRefuses, "Get after Swap of a token that is not there")
		allOrNothing.same(t, history(t, s, "swap", rec.Token.ID), []string{}, "events of a token that is not there")
	})
	t.Run("usage", func(t *testing.T) {
		rec := full(t, 0)
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		for _, usage := range []apitoken.Usage{{}, {Uses: 1 << 40, LastUsed: epoch.AddDate(9, 0, 0), Legacy: epoch.AddDate(9, 0, 0)}} {
			n := next(stored(t, s, rec.Token.ID))
			n.Token.Usage = usage
			swapReplaces.ok(t, s.Swap(ctx, n, apitoken.Guard{}, nil), "Swap with another usage")
			swapKeeps.same(t, stored(t, s, rec.Token.ID).Token.Usage, rec.Token.Usage, "the usage after Swap")
		}
	})
	t.Run("what stays", func(t *testing.T) {
		rec := plain("swap")
		rec.IdempotencyKey, rec.IssueSum = "stays", []byte("sum")
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		n := next(rec)
		n.Token.Tenant, n.Token.Kind, n.Token.Creator = "other", "other", "other"
		n.Token.CreatedAt = epoch.Add(time.Hour)
		n.IdempotencyKey, n.IssueSum = "other", []byte("other")
		swapReplaces.ok(t, s.Swap(ctx, n.Clone(), apitoken.Guard{}, nil), "Swap")
		swapKeeps.same(t, stored(t, s, rec.Token.ID), kept(rec, n), "the token after a Swap of what does not change")

		again := plain("swap")
		again.IdempotencyKey = "stays"
		createDuplicate.duplicate(t, s.Create(ctx, again, nil), "idempotency key", rec.Token.ID, "Create with the key of a swapped token")
	})
	t.Run("alias", func(t *testing.T) {
		one, two := plain("swap"), plain("elsewhere")
		one.Alias, two.Alias = "alias one", "alias two"
		createStores.ok(t, s.Create(ctx, one.Clone(), nil), "Create")
		createStores.ok(t, s.Create(ctx, two.Clone(), nil), "Create")

		taken := next(two)
		taken.Alias = "alias one"
		swapAlias.duplicate(t, s.Swap(ctx, taken, apitoken.Guard{}, eventsOf(taken, 1)), "alias", one.Token.ID, "Swap to a taken alias")
		swapAlias.same(t, stored(t, s, two.Token.ID), two, "the token after a refused Swap")
		allOrNothing.same(t, history(t, s, "elsewhere", two.Token.ID), []string{}, "events after a refused Swap")

		moved := next(one)
		moved.Alias = "alias moved"
		swapReplaces.ok(t, s.Swap(ctx, moved.Clone(), apitoken.Guard{}, nil), "Swap to a free alias")
		_, err := s.GetByAlias(ctx, "alias one")
		aliasReturns.is(t, err, apitoken.ErrNotFound, "GetByAlias of an alias given up")
		got, err := s.GetByAlias(ctx, "alias moved")
		aliasReturns.ok(t, err, "GetByAlias of a new alias")
		aliasReturns.same(t, got, moved, "the token read by its new alias")

		taken.Alias = "alias one"
		swapReplaces.ok(t, s.Swap(ctx, taken, apitoken.Guard{}, nil), "Swap to an alias that another token gave up")
		none := next(moved)
		none.Alias = ""
		swapReplaces.ok(t, s.Swap(ctx, none, apitoken.Guard{}, nil), "Swap to no alias")
		_, err = s.GetByAlias(ctx, "alias moved")
		aliasReturns.is(t, err, apitoken.ErrNotFound, "GetByAlias of an alias that was removed")
	})
}
