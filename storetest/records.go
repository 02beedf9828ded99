package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testRecords(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	shared := offered[apitoken.Records](s)
	if shared == nil {
		return // the power is optional
	}
	rec := full(t, 0)
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
	read := func(what string) *apitoken.Record {
		t.Helper()
		got, err := shared.Record(ctx, rec.Token.ID)
		recordReturns.ok(t, err, "Record "+what)
		return got
	}
	first := read("of a new token")
	recordReturns.same(t, first, rec, "the shared record")
	before := first.Clone()

	_, err := shared.Record(ctx, newID())
	recordReturns.is(t, err, apitoken.ErrNotFound, "Record of an unknown ID")

	id := []byte(rec.Token.ID)
	kept, err := shared.Record(ctx, apitoken.ID(id))
	recordReturns.ok(t, err, "Record")
	recordReturns.same(t, kept.Token.ID, rec.Token.ID, "the shared record's ID")

	touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{{ID: rec.Token.ID, Count: 1, LastUsed: rec.Token.Usage.LastUsed.Add(1e6)}}), "Touch")
	recordReturns.same(t, first, before, "a shared record after Touch")

	for range 3 {
		n := next(stored(t, s, rec.Token.ID))
		n.Token.Name += "+"
		swapReplaces.ok(t, s.Swap(ctx, n.Clone(), apitoken.Guard{}, nil), "Swap")
		got := read("after Swap")
		if got == first {
			recordFresh.fail(t, "Record hands out the record it handed out before a change")
		}
		n.Token.Usage = got.Token.Usage // may lag
		recordFresh.same(t, got, n, "the shared record after Swap")
	}
	recordReturns.same(t, first, before, "a shared record after Swap")

	deleteRemoves.ok(t, s.Delete(ctx, rec.Token.ID, 4, apitoken.Guard{}, nil), "Delete")
	_, err = shared.Record(ctx, rec.Token.ID)
	recordFresh.is(t, err, apitoken.ErrNotFound, "Record after Delete")
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create of an ID that was deleted")
	recordFresh.same(t, read("after Create"), rec, "the shared record of an ID that was deleted and made again")

	t.Run("readers while it changes", func(t *testing.T) {
		rec := plain("records")
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
		id := rec.Token.ID
		ready := make(chan int64, 1) // the version that is surely stored
		stop := make(chan struct{})
		ready <- 1
		reader := func() {
			for {
				select {
				case <-stop:
					return
				case least := <-ready:
					ready <- least
					got, err := shared.Record(ctx, id)
					if err != nil || got.Token.Version < least {
						recordFresh.fail(t, "Record returned %v, %v after the Swap to version %d had returned", got, err, least)
						return
					}
				}
			}
		}
		writer := func() {
			defer close(stop)
			for range 4 * repetitions {
				rec = next(rec)
				if err := s.Swap(ctx, rec.Clone(), apitoken.Guard{}, nil); err != nil {
					swapReplaces.fail(t, "Swap: %v", err)
					return
				}
				<-ready
				ready <- rec.Token.Version
				_ = s.Touch(ctx, []apitoken.Use{{ID: id, Count: 1, LastUsed: epoch}})
			}
		}
		together(reader, reader, reader, writer)
	})
}

// testRevisions follows tokens through every kind of change: the revision that is
// told is always that of what Get returns, and no change leaves it as it was.
func testRevisions(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	power := offered[apitoken.Revisions](s)
	if power == nil {
		return // it is optional
	}
	used, unused := full(t, 0), plain("revisions")
	for _, rec := range []*apitoken.Record{used, unused} {
		createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
	}
	all := []apitoken.ID{newID(), unused.Token.ID, newID(), used.Token.ID}
	tell := func(what string) map[apitoken.ID]apitoken.Revision {
		t.Helper()
		list, err := power.Revisions(ctx, all)
		revisionsAre.ok(t, err, "Revisions "+what)
		out := make(map[apitoken.ID]apitoken.Revision)
		for _, r := range list {
			out[r.ID] = r
		}
		revisionsAre.same(t, len(list), len(out), "how many Revisions "+what+" tells for as many tokens")
		return out
	}
	before := make(map[apitoken.ID]apitoken.Revision)
	check := func(what string, changed ...apitoken.ID) {
		t.Helper()
		now := tell(what)
		want := make(map[apitoken.ID]apitoken.Revision)
		for _, id := range all {
			if rec, err := s.Get(ctx, id); err == nil {
				want[id] = apitoken.Revision{ID: id, Version: rec.Token.Version, Op: rec.Op, LastUsed: rec.Token.Usage.LastUsed, Uses: rec.Token.Usage.Uses}
			}
		}
		revisionsAre.same(t, now, want, "Revisions "+what)
		for _, id := range changed {
			if len(differences(now[id], before[id])) == 0 {
				revisionsTell.fail(t, "Revisions %s: that of the changed token is still %v", what, now[id])
			}
		}
		before = now
	}
	check("of new tokens", used.Token.ID, unused.Token.ID)
	swapped := next(stored(t, s, used.Token.ID))
	swapReplaces.ok(t, s.Swap(ctx, swapped, apitoken.Guard{}, nil), "Swap")
	check("after Swap", used.Token.ID)
	touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{{ID: unused.Token.ID, Count: 1, LastUsed: epoch}}), "Touch")
	check("after Touch", unused.Token.ID)
	touchAdds.ok(t, s.Touch(ctx, []apitoken.Use{{ID: unused.Token.ID, Count: 1, LastUsed: epoch.Add(-time.Hour)}}), "Touch")
	check("after Touch by an earlier use", unused.Token.ID)
	added := plain("revisions")
	all = append(all, added.Token.ID)
	replaceBoth.ok(t, s.Replace(ctx, added.Clone(), next(stored(t, s, unused.Token.ID)), apitoken.Guard{}, nil), "Replace")
	check("after Replace", unused.Token.ID, added.Token.ID)
	deleteRemoves.ok(t, s.Delete(ctx, used.Token.ID, swapped.Token.Version, apitoken.Guard{}, nil), "Delete")
	check("after Delete", used.Token.ID)

	list, err := power.Revisions(ctx, nil)
	revisionsAre.ok(t, err, "Revisions of no token")
	revisionsAre.same(t, len(list), 0, "how many Revisions there are of no token")
	for all = all[:0]; len(all) < 498; { // as many as a cache asks for
		all = append(all, newID())
	}
	all = append(all, unused.Token.ID, added.Token.ID)
	check("of 500 IDs")
}

// offered finds an optional interface, as a Service does.
func offered[T any](s apitoken.Store) T {
	for s != nil {
		if power, ok := s.(T); ok {
			return power
		}
		u, ok := s.(apitoken.Unwrapper)
		if !ok {
			break
		}
		s = u.Unwrap()
	}
	var none T
	return none
}
