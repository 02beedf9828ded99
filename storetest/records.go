package storetest

import (
	"testing"

	"github.com/tokenry/apitoken"
)

func testRecords(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	shared := recordsOf(s)
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

// recordsOf finds the optional interface, as a Service does.
func recordsOf(s apitoken.Store) apitoken.Records {
	for s != nil {
		if r, ok := s.(apitoken.Records); ok {
			return r
		}
		u, ok := s.(apitoken.Unwrapper)
		if !ok {
			return nil
		}
		s = u.Unwrap()
	}
	return nil
}
