package integration_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

var created = apitokentest.Start

// nodes are the stores of several nodes of a host over one database, each with a
// pool of its own.
type nodes struct {
	ledger *ledger
	stores [3]witness
}

func newNodes(t *testing.T, open opener) *nodes {
	t.Helper()
	n := &nodes{ledger: new(ledger)}
	for i := range n.stores {
		n.stores[i] = witness{open(t).calls(), n.ledger}
	}
	return n
}

// create begins a race for a new token. used: it was used before.
func (n *nodes) create(t *testing.T, used bool) *apitoken.Record {
	t.Helper()
	n.ledger.begin()
	rec := newRecord(fmt.Sprintf("raced%017d", n.ledger.races))
	if used {
		rec.Token.Usage.Uses, rec.Token.Usage.LastUsed = 1, created
	}
	require.NoError(t, n.stores[0].Create(t.Context(), rec.Clone(), []apitoken.Event{eventOf(rec, apitoken.EventCreated)}))
	rec, err := n.stores[0].Get(t.Context(), rec.Token.ID)
	require.NoError(t, err)
	return rec
}

// clear removes what is left of the token.
func (n *nodes) clear(t *testing.T, id apitoken.ID) {
	t.Helper()
	rec, err := n.stores[0].Get(t.Context(), id)
	if err == nil {
		err = n.stores[0].Delete(t.Context(), id, rec.Token.Version, apitoken.Guard{}, nil)
	}
	if !oneOf(err, apitoken.ErrNotFound) {
		n.ledger.faultf("Delete afterwards: %v", err)
	}
}

func newRecord(id string) *apitoken.Record {
	return &apitoken.Record{
		Token: apitoken.Token{
			ID: apitoken.ID(id), Version: 1, Tenant: tenant, Kind: apitoken.DefaultKind,
			Name: "raced for", Hint: "acme_", Owner: "ann", Creator: "ann",
			State: apitoken.StateActive, StateAt: created, Share: 100, CreatedAt: created, UpdatedAt: created,
		},
		Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: []byte(strings.Repeat("x", 32))},
		Op:      "create",
	}
}

func eventOf(rec *apitoken.Record, what apitoken.EventType) apitoken.Event {
	return apitoken.Event{
		ID: fmt.Sprintf("%s.%d.%s", rec.Token.ID, rec.Token.Version, rec.Op), Type: what, Message: string(what), Category: apitoken.EventCategory,
		Time: created, Tenant: tenant, Actor: apitoken.Party{Type: apitoken.PartyUser, ID: "ann"},
		Target: apitoken.Target{Token: rec.Token.ID, Name: rec.Token.Name, Kind: rec.Token.Kind}, Version: rec.Token.Version,
	}
}

// guarded is a write of a version that was read.
type guarded struct {
	name string
	do   func(ctx context.Context, s apitoken.Store, read *apitoken.Record) error
}

func swap(name string, what apitoken.EventType, change func(rec *apitoken.Record) apitoken.Guard) guarded {
	return guarded{name, func(ctx context.Context, s apitoken.Store, read *apitoken.Record) error {
		rec := read.Clone()
		rec.Token.Version++
		rec.Op = name
		guard := change(rec)
		var events []apitoken.Event
		if what != "" {
			events = []apitoken.Event{eventOf(rec, what)}
		}
		return s.Swap(ctx, rec, guard, events)
	}}
}

func withState(state apitoken.State, cause apitoken.Cause) func(rec *apitoken.Record) apitoken.Guard {
	return func(rec *apitoken.Record) apitoken.Guard {
		rec.Token.State, rec.Token.Cause = state, cause
		return apitoken.Guard{}
	}
}

// revokeIdle is what a sweep writes of a token that it read as unused.
var revokeIdle = swap("revoke as idle", apitoken.EventRevoked, func(rec *apitoken.Record) apitoken.Guard {
	rec.Token.State, rec.Token.Cause = apitoken.StateRevoked, apitoken.CauseIdle
	used := rec.Token.Usage.LastUsed
	return apitoken.Guard{NotUsedAfter: used, NeverUsed: used.IsZero()}
})

var guardedWrites = []guarded{
	{"touch", func(ctx context.Context, s apitoken.Store, read *apitoken.Record) error {
		return s.Touch(ctx, []apitoken.Use{{ID: read.Token.ID}})
	}},
	swap("edit", apitoken.EventEdited, func(rec *apitoken.Record) apitoken.Guard {
		rec.Token.Name, rec.Token.Metadata = "edited", map[string]string{"team": "core"}
		return apitoken.Guard{}
	}),
	swap("extend", apitoken.EventExtended, func(rec *apitoken.Record) apitoken.Guard {
		rec.Token.ExpiresAt, rec.DueAt = created.Add(time.Hour), created.Add(time.Hour)
		return apitoken.Guard{}
	}),
	swap("rotate", apitoken.EventRotated, func(rec *apitoken.Record) apitoken.Guard {
		rec.Previous, rec.PreviousUntil = rec.Primary, created.Add(time.Hour)
		rec.Primary.Blob = []byte(strings.Repeat("y", 32))
		return apitoken.Guard{}
	}),
	swap("arm anew", "", func(rec *apitoken.Record) apitoken.Guard {
		rec.DueAt = created.Add(2 * time.Hour)
		return apitoken.Guard{}
	}),
	revokeIdle,
}

var guardedStops = []struct {
	guarded
	state apitoken.State // "" = gone
}{
	{swap("revoke", apitoken.EventRevoked, withState(apitoken.StateRevoked, apitoken.CauseByHand)), apitoken.StateRevoked},
	{swap("disable", apitoken.EventDisabled, withState(apitoken.StateDisabled, apitoken.CauseByHand)), apitoken.StateDisabled},
	{guarded{"delete", func(ctx context.Context, s apitoken.Store, read *apitoken.Record) error {
		rec := read.Clone()
		rec.Token.Version++
		rec.Op = "delete"
		return s.Delete(ctx, rec.Token.ID, read.Token.Version, apitoken.Guard{}, []apitoken.Event{eventOf(rec, apitoken.EventDeleted)})
	}}, ""},
	{guarded{"replace", func(ctx context.Context, s apitoken.Store, read *apitoken.Record) error {
		old, rec := read.Clone(), newRecord(successor(read))
		old.Token.Version++
		old.Op, rec.Op = "replace", "replace"
		old.Token.State, old.Token.Cause = apitoken.StateRevoked, apitoken.CauseByHand
		return s.Replace(ctx, rec, old, apitoken.Guard{}, []apitoken.Event{eventOf(old, apitoken.EventRevoked), eventOf(rec, apitoken.EventCreated)})
	}}, apitoken.StateRevoked},
}

// successor is the ID of the token that replaces one.
func successor(rec *apitoken.Record) string { return "after" + string(rec.Token.ID[5:]) }

// until repeats a write from a fresh read for as long as others are faster.
func (n *nodes) until(ctx context.Context, s apitoken.Store, read *apitoken.Record, w guarded) error {
	id := read.Token.ID
	for range maxRepeats {
		err := n.ledger.insist(func() error { return w.do(ctx, s, read) })
		if !errors.Is(err, apitoken.ErrConflict) {
			return err
		}
		err = n.ledger.insist(func() (err error) {
			read, err = s.Get(ctx, id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return errors.New("still a conflict after many repetitions")
}

// race lets two nodes write from the same version, one of them to stop the token,
// while a third writes a use.
func (n *nodes) race(t *testing.T, i int) {
	ctx, l := t.Context(), n.ledger
	w, stop := guardedWrites[i%len(guardedWrites)], guardedStops[i/len(guardedWrites)%len(guardedStops)]
	read := n.create(t, i%2 == 1)
	id, uses, last := read.Token.ID, read.Token.Usage.Uses+2, created.Add(time.Minute)
	use := []apitoken.Use{{ID: id, Count: 2, LastUsed: last}}
	var stopped, late, touched error
	together(
		func() { stopped = n.until(ctx, n.stores[0], read, stop.guarded) },
		func() { late = w.do(ctx, n.stores[1], read) },
		func() { touched = l.insist(func() error { return n.stores[2].Touch(ctx, use) }) },
	)
	if stopped != nil || touched != nil || answered(late) && !oneOf(late, apitoken.ErrConflict, apitoken.ErrNotFound) {
		l.faultf("%s, %s and a use: %v, %v, %v", stop.name, w.name, stopped, late, touched)
	}
	switch rec, _ := l.settled(ctx, n.stores[1].Store, id); {
	case rec == nil && stop.state != "":
		l.faultf("%s beside %s: the token is gone", stop.name, w.name)
	case rec == nil:
	default:
		if rec.Token.State != stop.state || rec.Op != stop.name {
			l.faultf("%s beside %s: the token is %q, as %q wrote it", stop.name, w.name, rec.Token.State, rec.Op)
		}
		l.usedAs(rec, uses, last)
		n.clear(t, id)
	}
	if stop.name == "replace" {
		n.clear(t, apitoken.ID(successor(read)))
	}
}

// P3: of two writes from one version one is stored, and a use never brings back
// what was stopped.
func TestRacesOfStores(t *testing.T) {
	t.Parallel()
	each(t, allLevels(), func(t *testing.T, d database, open opener) {
		n := newNodes(t, open)
		for i := range d.races() {
			n.race(t, i)
		}
		n.ledger.report(t)
	})
}
