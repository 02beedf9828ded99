package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testDue(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Microsecond) }
	var want []*apitoken.Record
	for i := range 30 { // three at each instant, in two tenants: ties by ID
		rec := plain([]string{"one", "two"}[i%2])
		rec.DueAt = at(i / 3)
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		want = append(want, rec)
	}
	never := plain("one")
	createStores.ok(t, s.Create(ctx, never.Clone(), nil), "Create")

	due := func(t *testing.T, before time.Time, limit int) []*apitoken.Record {
		t.Helper()
		var out []*apitoken.Record
		var after apitoken.DuePosition
		for {
			page, err := s.Due(ctx, before, after, limit)
			dueReturns.ok(t, err, "Due")
			if len(page) > limit {
				dueReturns.fail(t, "a page has %d tokens, the limit is %d", len(page), limit)
			}
			if len(page) == 0 || len(out) > 1000 {
				return out
			}
			out = append(out, page...)
			last := page[len(page)-1]
			after = apitoken.DuePosition{DueAt: last.DueAt, ID: last.Token.ID}
		}
	}
	for _, limit := range []int{1, 2, 3, 7, 100} {
		t.Run(fmt.Sprintf("pages of %d", limit), func(t *testing.T) {
			dueReturns.same(t, tokensOf(due(t, at(100), limit)), tokensOf(want), "all that is due")
			dueReturns.same(t, tokensOf(due(t, at(4), limit)), tokensOf(want[:15]), "what is due at an instant that some are due at")
			dueReturns.same(t, tokensOf(due(t, at(-1), limit)), []apitoken.ID{}, "what is due before all")
		})
	}
	dueReturns.same(t, due(t, at(100), 100), want, "what is due")

	t.Run("moved", func(t *testing.T) {
		moved := next(want[0])
		moved.DueAt = at(50)
		swapReplaces.ok(t, s.Swap(ctx, moved, apitoken.Guard{}, nil), "Swap to a later DueAt")
		unset := next(want[1])
		unset.DueAt = time.Time{}
		swapReplaces.ok(t, s.Swap(ctx, unset, apitoken.Guard{}, nil), "Swap to no DueAt")
		set := next(never)
		set.DueAt = at(60)
		swapReplaces.ok(t, s.Swap(ctx, set, apitoken.Guard{}, nil), "Swap to a DueAt")
		now := append(want[2:len(want):len(want)], moved, set)
		dueReturns.same(t, tokensOf(due(t, at(100), 4)), tokensOf(now), "what is due after Swap moved some")

		touchOnly.ok(t, s.Touch(ctx, []apitoken.Use{{ID: moved.Token.ID, Count: 1, LastUsed: at(99)}}), "Touch")
		touchOnly.same(t, tokensOf(due(t, at(100), 4)), tokensOf(now), "what is due after Touch")
	})
}
