package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testGuard(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	for _, c := range []struct {
		name  string
		last  time.Time // stored
		guard apitoken.Guard
		pass  bool
		says  clause
	}{
		{"none, unused", time.Time{}, apitoken.Guard{}, true, swapReplaces},
		{"none, used", epoch, apitoken.Guard{}, true, swapReplaces},
		{"used before", epoch, apitoken.Guard{NotUsedAfter: epoch.Add(time.Microsecond)}, true, guardUsed},
		{"used then", epoch, apitoken.Guard{NotUsedAfter: epoch}, true, guardUsed},
		{"used a microsecond later", epoch.Add(time.Microsecond), apitoken.Guard{NotUsedAfter: epoch}, false, guardUsed},
		{"never used, so not later", time.Time{}, apitoken.Guard{NotUsedAfter: epoch}, true, guardUsed},
		{"read as never used, and was not", time.Time{}, apitoken.Guard{NeverUsed: true}, true, guardNever},
		{"read as never used, used since", epoch, apitoken.Guard{NeverUsed: true}, false, guardNever},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, how := range []string{"at creation", "by Touch"} {
				rec := plain("guard")
				if how == "at creation" {
					rec.Token.Usage.LastUsed = c.last
				}
				createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
				if how == "by Touch" && !c.last.IsZero() {
					rec.Token.Usage.LastUsed = c.last
					touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{{ID: rec.Token.ID, LastUsed: c.last}}), "Touch")
				}
				n := next(rec)
				n.Token.State, n.Token.Cause = apitoken.StateRevoked, apitoken.CauseIdle
				err := s.Swap(ctx, n.Clone(), c.guard, eventsOf(n, 1))
				if c.pass {
					c.says.ok(t, err, "Swap that the guard allows, used "+how)
					c.says.same(t, stored(t, s, rec.Token.ID), n, "the token after Swap")
					c.says.ok(t, s.Delete(ctx, rec.Token.ID, 2, c.guard, nil), "Delete that the guard allows")
					absent(t, s, rec.Token.ID, c.says, "Get after Delete")
					continue
				}
				c.says.is(t, err, apitoken.ErrConflict, "Swap that the guard forbids, used "+how)
				c.says.is(t, s.Delete(ctx, rec.Token.ID, 1, c.guard, eventsOf(n, 1)), apitoken.ErrConflict, "Delete that the guard forbids, used "+how)
				c.says.same(t, stored(t, s, rec.Token.ID), rec, "the token after a write that the guard forbids")
				allOrNothing.same(t, history(t, s, "guard", rec.Token.ID), []string{}, "events after a write that the guard forbids")
			}
		})
	}
}
