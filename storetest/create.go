package storetest

import (
	"strings"
	"testing"

	"github.com/tokenry/apitoken"
)

func testCreate(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	first := plain("one")
	first.Alias, first.IdempotencyKey, first.IssueSum = "alias", "key", []byte("sum")
	createStores.ok(t, s.Create(ctx, first.Clone(), eventsOf(first, 1)), "Create")

	for _, c := range []struct {
		name  string
		field string
		set   func(rec *apitoken.Record)
	}{
		{"the ID is taken", "id", func(rec *apitoken.Record) { rec.Token.ID = first.Token.ID }},
		{"the ID is taken in another tenant", "id", func(rec *apitoken.Record) {
			rec.Token.ID, rec.Token.Tenant = first.Token.ID, "two"
		}},
		{"the alias is taken", "alias", func(rec *apitoken.Record) { rec.Alias = "alias" }},
		{"the alias is taken in another tenant", "alias", func(rec *apitoken.Record) {
			rec.Alias, rec.Token.Tenant = "alias", "two"
		}},
		{"the idempotency key is taken", "idempotency key", func(rec *apitoken.Record) { rec.IdempotencyKey = "key" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := plain("one")
			rec.Token.Name = "second"
			c.set(rec)
			events := []apitoken.Event{{ID: "refused " + c.name, Version: 9, Time: epoch, Tenant: rec.Token.Tenant, Target: apitoken.Target{Token: rec.Token.ID}, Deliver: true}}
			createDuplicate.duplicate(t, s.Create(ctx, rec, events), c.field, first.Token.ID, "Create when "+c.name)
			createDuplicate.same(t, stored(t, s, first.Token.ID), first, "the first token after a refused Create")
			createDuplicate.same(t, history(t, s, "one", first.Token.ID), idsOf(eventsOf(first, 1)), "the first token's events after a refused Create")
			if rec.Token.ID != first.Token.ID {
				absent(t, s, rec.Token.ID, createDuplicate, "Get of a token whose Create was refused")
				allOrNothing.same(t, history(t, s, rec.Token.Tenant, rec.Token.ID), []string{}, "events of a token whose Create was refused")
			}
			open, err := s.Claim(ctx, lease("refused", epoch, epoch), 10)
			claimLeases.ok(t, err, "Claim")
			allOrNothing.same(t, open, []apitoken.Delivery{}, "events to deliver after a refused Create")
		})
	}

	t.Run("an ID that was used", func(t *testing.T) {
		rec := plain("one")
		createStores.ok(t, s.Create(ctx, rec.Clone(), eventsOf(rec, 1)), "Create")
		deleteRemoves.ok(t, s.Delete(ctx, rec.Token.ID, 1, apitoken.Guard{}, eventsOf(next(rec), 1)), "Delete")
		before := history(t, s, "one", rec.Token.ID)
		createUsed.duplicate(t, s.Create(ctx, rec.Clone(), eventsOf(rec, 1)), "id", rec.Token.ID, "Create of a deleted token with an event of its history")
		absent(t, s, rec.Token.ID, createUsed, "Get of a deleted token after a refused Create")
		createUsed.same(t, history(t, s, "one", rec.Token.ID), before, "its events")
	})

	for _, c := range []struct {
		name string
		set  func(rec *apitoken.Record)
	}{
		{"an ID in another case", func(rec *apitoken.Record) {
			rec.Token.ID = apitoken.ID(strings.ToUpper(string(first.Token.ID)))
		}},
		{"an alias in another case", func(rec *apitoken.Record) { rec.Alias = "Alias" }},
		{"an alias with a space behind it", func(rec *apitoken.Record) { rec.Alias = "alias " }},
		{"an idempotency key in another case", func(rec *apitoken.Record) { rec.IdempotencyKey = "Key" }},
		{"an idempotency key in another tenant", func(rec *apitoken.Record) {
			rec.Token.Tenant, rec.IdempotencyKey = "two", "key"
		}},
		{"an idempotency key in a tenant in another case", func(rec *apitoken.Record) {
			rec.Token.Tenant, rec.IdempotencyKey = "One", "key"
		}},
		{"neither alias nor key", func(*apitoken.Record) {}},
		{"neither alias nor key, again", func(*apitoken.Record) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := plain("one")
			c.set(rec)
			comparesBytes.ok(t, s.Create(ctx, rec.Clone(), nil), "Create with "+c.name)
			comparesBytes.same(t, stored(t, s, rec.Token.ID), rec, "the token read after Create")
			comparesBytes.same(t, stored(t, s, first.Token.ID), first, "the first token after another Create")
		})
	}
}
