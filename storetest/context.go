package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// testContext calls everything with a context that has ended.
func testContext(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	rec := plain("context")
	rec.Alias, rec.DueAt = "context", epoch
	events := eventsOf(rec, 1)
	events[0].Deliver = true
	createStores.ok(t, s.Create(ctx, rec.Clone(), events), "Create")
	ended, cancel := context.WithCancel(ctx)
	cancel()

	fresh, n := plain("context"), next(rec)
	query := apitoken.StoreQuery{Tenant: "context", AllKinds: true, Now: epoch, Limit: 10}
	for name, call := range map[string]func() error{
		"Create":       func() error { return s.Create(ended, fresh.Clone(), eventsOf(fresh, 1)) },
		"Get":          func() error { _, err := s.Get(ended, rec.Token.ID); return err },
		"Get, unknown": func() error { _, err := s.Get(ended, fresh.Token.ID); return err },
		"GetByAlias":   func() error { _, err := s.GetByAlias(ended, "context"); return err },
		"Swap":         func() error { return s.Swap(ended, n.Clone(), apitoken.Guard{}, eventsOf(n, 1)) },
		"Replace": func() error {
			return s.Replace(ended, fresh.Clone(), n.Clone(), apitoken.Guard{}, eventsOf(fresh, 1))
		},
		"Delete": func() error { return s.Delete(ended, rec.Token.ID, 1, apitoken.Guard{}, eventsOf(n, 1)) },
		"Touch": func() error {
			return s.Touch(ended, []apitoken.Use{{ID: rec.Token.ID, Count: 1, LastUsed: epoch}})
		},
		"List":   func() error { _, err := s.List(ended, query); return err },
		"Counts": func() error { _, err := s.Counts(ended, query); return err },
		"Due":    func() error { _, err := s.Due(ended, epoch, apitoken.DuePosition{}, 10); return err },
		"Events": func() error { _, err := s.Events(ended, "context", rec.Token.ID, "", 10); return err },
		"Claim":  func() error { _, err := s.Claim(ended, lease("ended", epoch, epoch.Add(time.Hour)), 10); return err },
		"Settle": func() error {
			return s.Settle(ended, "held", []apitoken.Settlement{{EventID: events[0].ID, Done: true}})
		},
		"Settings": func() error { _, err := s.Settings(ended, "context"); return err },
		"SwapSettings": func() error {
			return s.SwapSettings(ended, apitoken.Settings{Tenant: "context", Version: 1}, nil)
		},
		"Stats": func() error { _, err := s.Stats(ended, epoch); return err },
	} {
		honoursContext.outage(t, call(), name+" with a context that has ended")
	}
	if shared := offered[apitoken.Records](s); shared != nil {
		_, err := shared.Record(ended, rec.Token.ID)
		honoursContext.outage(t, err, "Record with a context that has ended")
	}
	if power := offered[apitoken.Revisions](s); power != nil {
		_, err := power.Revisions(ended, []apitoken.ID{rec.Token.ID})
		honoursContext.outage(t, err, "Revisions with a context that has ended")
	}

	honoursContext.same(t, stored(t, s, rec.Token.ID), rec, "the token after refused writes")
	absent(t, s, fresh.Token.ID, honoursContext, "Get of a token whose Create was refused")
	honoursContext.same(t, history(t, s, "context", rec.Token.ID), idsOf(events), "the events after refused writes")
	set, err := s.Settings(ctx, "context")
	settingsReturn.ok(t, err, "Settings")
	honoursContext.same(t, set, apitoken.Settings{Tenant: "context"}, "the settings after a refused write")
	claimed, err := s.Claim(ctx, lease("later", epoch, epoch.Add(time.Hour)), 10)
	claimLeases.ok(t, err, "Claim")
	honoursContext.same(t, sortedIDs(claimed), idsOf(events), "the events that a refused Claim left")
}
