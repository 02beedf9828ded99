package storetest

import (
	"reflect"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// testCopies changes everything that went into a store or came out of it, and
// demands that nothing stored follows.
func testCopies(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	rec := full(t, 0)
	tok := &rec.Token
	tok.Tenant, tok.Kind, tok.State, tok.Terms = "copies", "kind", apitoken.StateActive, apitoken.Terms{}
	var event apitoken.Event
	fill(t, 0, &event)
	event.Tenant, event.Target.Token, event.Version, event.Deliver = "copies", tok.ID, 1, true
	set := apitoken.Settings{Tenant: "copies", Version: 1, Origins: []string{"https://a.example"}}

	given, events := rec.Clone(), []apitoken.Event{event}
	events[0].Changed = append([]string(nil), event.Changed...)
	createStores.ok(t, s.Create(ctx, given, events), "Create")
	scramble(given)
	scramble(events)
	handsOutCopies.same(t, stored(t, s, tok.ID), rec, "the token after its record was changed behind Create")

	settings := set
	settings.Origins = []string{"https://a.example"}
	settingsSwap.ok(t, s.SwapSettings(ctx, settings, nil), "SwapSettings")
	scramble(settings.Origins)

	shared := offered[apitoken.Records](s)
	query := apitoken.StoreQuery{Tenant: "copies", AllKinds: true, Now: epoch, Limit: 1}
	now := tok.CreatedAt.AddDate(50, 0, 0)
	for _, c := range []struct {
		name string
		read func() (any, error)
	}{
		{"Get", func() (any, error) { return s.Get(ctx, tok.ID) }},
		{"GetByAlias", func() (any, error) { return s.GetByAlias(ctx, rec.Alias) }},
		{"List", func() (any, error) { return s.List(ctx, query) }},
		{"Counts", func() (any, error) { return s.Counts(ctx, query) }},
		{"Due", func() (any, error) { return s.Due(ctx, now, apitoken.DuePosition{}, 10) }},
		{"Events", func() (any, error) { return s.Events(ctx, "copies", tok.ID, "", 10) }},
		{"Settings", func() (any, error) { return s.Settings(ctx, "copies") }},
		{"Claim", func() (any, error) {
			now = now.Add(time.Hour)
			return s.Claim(ctx, lease("copies", now, now), 10)
		}},
	} {
		got, err := c.read()
		handsOutCopies.ok(t, err, c.name)
		if reflect.ValueOf(got).Kind() == reflect.Slice && reflect.ValueOf(got).Len() == 0 {
			handsOutCopies.fail(t, "%s returned nothing", c.name)
		}
		scramble(got)
		handsOutCopies.same(t, stored(t, s, tok.ID), rec, "the token after what "+c.name+" returned was changed")
		if shared != nil {
			one, err := shared.Record(ctx, tok.ID)
			recordReturns.ok(t, err, "Record")
			handsOutCopies.same(t, one, rec, "the shared record after what "+c.name+" returned was changed")
		}
		history, err := s.Events(ctx, "copies", tok.ID, "", 10)
		eventsReturn.ok(t, err, "Events")
		for i := range history {
			history[i].Deliver = event.Deliver
		}
		handsOutCopies.same(t, history, []apitoken.Event{event}, "the events after what "+c.name+" returned was changed")
		back, err := s.Settings(ctx, "copies")
		settingsReturn.ok(t, err, "Settings")
		handsOutCopies.same(t, back, set, "the settings after what "+c.name+" returned was changed")
	}

	n := next(rec)
	swapped := n.Clone()
	swapReplaces.ok(t, s.Swap(ctx, swapped, apitoken.Guard{}, nil), "Swap")
	scramble(swapped)
	handsOutCopies.same(t, stored(t, s, tok.ID), n, "the token after its record was changed behind Swap")

	last, added := next(n), full(t, 1)
	old, fresh := last.Clone(), added.Clone()
	replaceBoth.ok(t, s.Replace(ctx, fresh, old, apitoken.Guard{}, nil), "Replace")
	scramble(old)
	scramble(fresh)
	handsOutCopies.same(t, stored(t, s, tok.ID), last, "the old token after its record was changed behind Replace")
	handsOutCopies.same(t, stored(t, s, added.Token.ID), added, "the new token after its record was changed behind Replace")

	var use apitoken.Use
	fill(t, 1, &use)
	use.ID, use.LastUsed = tok.ID, now
	networks := append(use.Networks[:0:0], use.Networks...)
	touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{use}), "Touch")
	scramble(use.Networks)
	handsOutCopies.same(t, stored(t, s, tok.ID).Token.Usage.Networks, networks, "the networks after the list was changed behind Touch")
}

// scramble zeroes, in place, everything that v leads to. It leaves IDs, so that
// a store that looks for a shared record by its ID finds the changed one.
func scramble(v any) { scrambleValue(reflect.ValueOf(v)) }

func scrambleValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			scrambleValue(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !v.Type().Field(i).IsExported() {
				continue
			}
			scrambleValue(v.Field(i))
			if f := v.Field(i); f.Kind() != reflect.Struct && f.Type() != reflect.TypeFor[apitoken.ID]() && f.CanSet() {
				v.Field(i).SetZero()
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			scrambleValue(v.Index(i))
			v.Index(i).SetZero()
		}
	case reflect.Map:
		v.Clear()
	}
}
