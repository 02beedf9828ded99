package integration_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// lateUse leaves a token that the store takes for idle, and a use of it that the
// third node let in while there was time and has not written.
func (h *host) lateUse(t *testing.T, usedBefore bool) {
	t.Helper()
	h.issue(t)
	if usedBefore {
		h.use(t, 2)
		h.flush(t.Context(), 2)
	}
	h.clock.Advance(idle - 10*time.Minute)
	h.use(t, 2)
	h.clock.Advance(10*time.Minute + interval + grace)
}

// raceIdle lets two nodes sweep while the third writes the use.
func (h *host) raceIdle(t *testing.T, usedBefore bool) (revoked bool) {
	ctx, l := t.Context(), h.ledger
	h.lateUse(t, usedBefore)
	var swept [2]error
	together(
		func() { swept[0] = l.insist(func() error { return sweep(ctx, h, h.nodes[0]) }) },
		func() { swept[1] = l.insist(func() error { return sweep(ctx, h, h.nodes[1]) }) },
		func() { h.flush(ctx, 2) },
	)
	if swept[0] != nil || swept[1] != nil {
		l.faultf("Sweep: %v", swept)
	}
	rec, events := l.settled(ctx, h.stores[0].Store, h.id)
	if rec == nil {
		return false
	}
	l.usedAs(rec, h.uses, h.lastUsed)
	revoked = rec.Token.State == apitoken.StateRevoked
	if wantEvents := map[bool]int{false: 1, true: 2}[revoked]; len(events) != wantEvents {
		l.faultf("the token is %q, the events are %v", rec.Token.State, events)
	}
	for i, node := range h.nodes {
		_, err := node.Verify(ctx, apitoken.VerifyRequest{Token: h.secrets[0].Reveal()})
		if revoked != (err != nil) {
			l.faultf("the token is %q, and node %d says: %v", rec.Token.State, i, err)
		}
	}
	h.clear(t)
	return revoked
}

// raceIdle lets a sweep write what it decided from an earlier read, while another
// node writes a use.
func (n *nodes) raceIdle(t *testing.T, usedBefore bool) (revoked bool) {
	ctx, l := t.Context(), n.ledger
	read := n.create(t, usedBefore)
	id, last := read.Token.ID, created.Add(time.Minute)
	var swept, touched error
	together(
		func() { swept = l.insist(func() error { return revokeIdle.do(ctx, n.stores[0], read) }) },
		func() {
			touched = l.insist(func() error { return n.stores[1].Touch(ctx, []apitoken.Use{{ID: id, Count: 1, LastUsed: last}}) })
		},
	)
	if touched != nil || !oneOf(swept, apitoken.ErrConflict) {
		l.faultf("a sweep's write and a use: %v, %v", swept, touched)
	}
	rec, _ := l.settled(ctx, n.stores[2].Store, id)
	if rec == nil {
		return false
	}
	revoked = rec.Token.State == apitoken.StateRevoked
	if revoked != (swept == nil) {
		l.faultf("the token is %q, the sweep's write was answered %v", rec.Token.State, swept)
	}
	l.usedAs(rec, read.Token.Usage.Uses+1, last)
	n.clear(t, id)
	return revoked
}

// P13: a token in use is never revoked by a sweep that read it before the use was
// written. Which of the two comes first is left to chance.
func TestRacesOfSweeps(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, d database, race func(t *testing.T, usedBefore bool) bool, l *ledger) {
		revoked := 0
		for i := range d.races() {
			if race(t, i%2 == 1) {
				revoked++
			}
		}
		t.Logf("%d tokens revoked before their use was written, %d kept", revoked, l.races-revoked)
		l.report(t)
	}
	t.Run("managers", func(t *testing.T) {
		t.Parallel()
		each(t, ownTransactions(), func(t *testing.T, d database, open opener) {
			h := newHost(t, open)
			run(t, d, h.raceIdle, h.ledger)
		})
	})
	t.Run("stores", func(t *testing.T) {
		t.Parallel()
		each(t, allLevels(), func(t *testing.T, d database, open opener) {
			n := newNodes(t, open)
			run(t, d, n.raceIdle, n.ledger)
		})
	})
}

// P13: the same, with the use written for certain between the sweeper's read and
// its write.
func TestForcedRacesOfSweeps(t *testing.T) {
	t.Parallel()
	each(t, ownTransactions(), func(t *testing.T, _ database, open opener) {
		h := newHost(t, open)
		slow := apitokentest.NewFaultStore(h.stores[0])
		sweeper := h.node(t, slow)
		for i := range forced {
			h.lateUse(t, i%2 == 1)
			slow.On(after("Due", func() { h.flush(t.Context(), 2) }))
			swept, err := sweeper.Sweep(t.Context())
			slow.On(nil)
			require.NoError(t, err)
			require.Equal(t, apitoken.Swept{Conflicts: 1}, swept)
			rec, events := h.ledger.settled(t.Context(), h.stores[1].Store, h.id)
			require.Equal(t, apitoken.StateActive, rec.Token.State)
			require.Equal(t, []apitoken.EventType{apitoken.EventCreated}, events)
			h.ledger.usedAs(rec, h.uses, h.lastUsed)
			h.use(t, 1) // it is let in

			swept, err = sweeper.Sweep(t.Context()) // reads it anew
			require.NoError(t, err)
			require.Equal(t, apitoken.Swept{Rearmed: 1}, swept)
			h.clear(t)
			h.flush(t.Context(), 1)
		}
		h.ledger.report(t)
	})
}

// Two editors of one version: neither overwrites what the other changed, and with
// IfVersion the slower one is told.
func TestForcedRacesOfEditors(t *testing.T) {
	t.Parallel()
	each(t, ownTransactions(), func(t *testing.T, _ database, open opener) {
		h := newHost(t, open)
		slow := apitokentest.NewFaultStore(h.stores[0])
		first, second := h.node(t, slow), h.nodes[1]
		name, description, late := "by the first", "by the second", "too late"
		edit := func(ctx context.Context, node *apitoken.Service, req apitoken.EditRequest) (apitoken.View, error) {
			return node.Edit(ctx, admin, h.id, req)
		}
		for range forced {
			h.issue(t)
			slow.On(after("Get", func() {
				_, err := edit(t.Context(), second, apitoken.EditRequest{Description: &description})
				require.NoError(t, err)
			}))
			v, err := edit(t.Context(), first, apitoken.EditRequest{Name: &name})
			require.NoError(t, err)
			require.Equal(t, []any{name, description, int64(3)}, []any{v.Name, v.Description, v.Version})

			slow.On(after("Get", func() {
				other := "by the second again"
				_, err := edit(t.Context(), second, apitoken.EditRequest{Description: &other, IfVersion: 3})
				require.NoError(t, err)
			}))
			_, err = edit(t.Context(), first, apitoken.EditRequest{Name: &late, IfVersion: 3})
			slow.On(nil)
			require.ErrorIs(t, err, apitoken.ErrVersion)
			rec, events := h.ledger.settled(t.Context(), h.stores[2].Store, h.id)
			require.Equal(t, []any{name, "by the second again", int64(4)}, []any{rec.Token.Name, rec.Token.Description, rec.Token.Version})
			require.Len(t, events, 4)
			h.clear(t)
		}
		h.ledger.report(t)
	})
}

// P3: the stop is written for certain between the rival's read and its write.
func TestForcedRacesOfManagers(t *testing.T) {
	t.Parallel()
	// Where readers block, the stop would wait for the rival, which waits for the stop.
	each(t, slices.DeleteFunc(allLevels(), database.readersBlock), func(t *testing.T, _ database, open opener) {
		h, all := newHost(t, open), pairs()
		slow := apitokentest.NewFaultStore(h.stores[1])
		late := h.node(t, slow)
		for i := range max(forced, 2*len(all)) {
			p := all[i%len(all)]
			h.issue(t)
			p.rival.prepare(t, h)
			var stopped error
			end := func() { stopped = h.stop(t.Context(), p.stop) }
			read := after("Get", end)
			swept := after("Due", end)
			slow.On(func(c apitokentest.Call) error { _ = swept(c); return read(c) })
			err := h.rival(t.Context(), p.rival, late)
			slow.On(nil)
			if p.rival.name == "flush" { // reads nothing
				end()
			}
			for node := range h.nodes {
				h.flush(t.Context(), node)
			}
			h.check(t, p, stopped, err)
			h.clear(t)
		}
		h.ledger.report(t)
	})
}

// after is a hook that does something once, between a store's answer to a method
// and the next step of who called it.
func after(method string, do func()) func(apitokentest.Call) error {
	done := false
	return func(c apitokentest.Call) error {
		if c.Method == method && c.Done && !done {
			done = true
			do()
		}
		return nil
	}
}
