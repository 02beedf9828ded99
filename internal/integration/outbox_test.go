package integration_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

const (
	outboxEvents   = 400
	outboxClaimers = 4
)

// outbox is the outbox of a database as several nodes see it.
type outbox struct {
	findings
	stores [outboxClaimers]apitoken.Store
	now    time.Time
	serial atomic.Int64 // of tokens and holders

	// Of the present round.
	events []string            // sorted
	claims map[string][]string // the holders that an event went to

	late int // settlements that came after another claim, over all rounds
}

func newOutbox(t *testing.T, open opener) *outbox {
	t.Helper()
	o := &outbox{now: created}
	for i := range o.stores {
		o.stores[i] = open(t).calls()
	}
	return o
}

// fill begins a round with new events.
func (o *outbox) fill(t *testing.T) {
	t.Helper()
	const each = 50
	o.events, o.claims = nil, make(map[string][]string)
	for len(o.events) < outboxEvents {
		rec := newRecord(fmt.Sprintf("outbx%017d", o.serial.Add(1)))
		var events []apitoken.Event
		for i := range each {
			e := eventOf(rec, apitoken.EventEdited)
			e.ID, e.Ordinal, e.Deliver = fmt.Sprintf("%s.1.%d", rec.Token.ID, i), i, true
			events, o.events = append(events, e), append(o.events, e.ID)
		}
		require.NoError(t, o.stores[0].Create(t.Context(), rec, events))
	}
	slices.Sort(o.events)
}

// must is insist for calls that have no other answer than success.
func (o *outbox) must(call func() error) {
	if err := o.insist(call); err != nil {
		o.faultf("%v", err)
	}
}

// claim claims once, and writes down what it was given.
func (o *outbox) claim(ctx context.Context, node, limit int, now time.Time) (claimed int) {
	holder := fmt.Sprint("holder ", o.serial.Add(1))
	var got []apitoken.Delivery
	o.must(func() (err error) {
		got, err = o.stores[node].Claim(ctx, apitoken.Lease{Holder: holder, Now: now, Until: now.Add(time.Minute)}, limit)
		return err
	})
	if len(got) > limit {
		o.faultf("Claim of %d returned %d", limit, len(got))
	}
	for _, d := range got {
		id := d.Event.ID
		if _, ok := slices.BinarySearch(o.events, id); !ok {
			o.faultf("event %s is none of this round", id)
		}
		o.mu.Lock()
		before := len(o.claims[id])
		o.claims[id] = append(o.claims[id], holder)
		o.mu.Unlock()
		if d.Attempts != before {
			o.faultf("event %s was claimed %d times before, Claim says %d", id, before, d.Attempts)
		}
	}
	return len(got)
}

// settle settles events for those who claimed them in the claim with this index.
func (o *outbox) settle(ctx context.Context, node int, ids []string, claim int, st apitoken.Settlement) {
	byHolder := make(map[string][]apitoken.Settlement)
	o.mu.Lock()
	for _, id := range ids {
		st.EventID = id
		holder := o.claims[id][claim]
		byHolder[holder] = append(byHolder[holder], st)
	}
	o.mu.Unlock()
	for holder, list := range byHolder {
		o.must(func() error { return o.stores[node].Settle(ctx, holder, list) })
	}
}

// rush lets all nodes claim at once until nothing is left for them.
func (o *outbox) rush(ctx context.Context, now time.Time, beside ...func()) {
	parties := beside
	for node := range o.stores {
		parties = append(parties, func() {
			for limit := 1; o.claim(ctx, node, limit, now) > 0; {
				limit = limit%50 + 7
			}
		})
	}
	together(parties...)
	// One that came upon rows which others were about to take may have ended early.
	for o.claim(ctx, 0, outboxEvents, now) > 0 {
	}
}

// went demands that each of the events went to n claimers, one after the other.
func (o *outbox) went(when string, ids []string, n int) {
	for _, id := range ids {
		if got := o.claims[id]; len(got) != n {
			o.faultf("%s: event %s went to %d claimers, not %d: %v", when, id, len(got), n, got)
		}
	}
}

// left demands that so many events are neither delivered nor set aside.
func (o *outbox) left(ctx context.Context, when string, want int) {
	o.must(func() error {
		st, err := o.stores[0].Stats(ctx, o.now)
		if err == nil && st.Outbox != want {
			o.faultf("%s: %d events are left in the outbox, not %d", when, st.Outbox, want)
		}
		return err
	})
}

// round lets four nodes claim all events. A quarter of them is then delivered, a
// quarter is to be retried, a quarter settles too late, the last never.
func (o *outbox) round(t *testing.T) {
	ctx := t.Context()
	o.fill(t)
	o.rush(ctx, o.now)
	o.went("at first", o.events, 1)
	o.left(ctx, "at first", outboxEvents)
	if len(o.faults) == 0 {
		const n = outboxEvents / 4
		done, retry, late, never := o.events[:n], o.events[n:2*n], o.events[2*n:3*n], o.events[3*n:]
		o.leasesHold(ctx, done, retry, slices.Concat(late, never))
		o.leasesEnd(ctx, done, retry, late, never)
	}
	o.drain(ctx)
}

// leasesHold lets the nodes claim while leases hold, before and after some events
// may be retried.
func (o *outbox) leasesHold(ctx context.Context, done, retry, others []string) {
	again := o.now.Add(30 * time.Second)
	o.settle(ctx, 1, done, 0, apitoken.Settlement{Done: true})
	o.settle(ctx, 2, retry, 0, apitoken.Settlement{RetryAt: again})
	o.left(ctx, "while leases hold", outboxEvents-len(done))
	o.rush(ctx, again.Add(-time.Microsecond))
	o.went("before the retry", o.events, 1)
	o.rush(ctx, again)
	o.went("at the retry", retry, 2)
	o.went("at the retry", slices.Concat(done, others), 1)
}

// leasesEnd lets the nodes claim when the first leases end, while those who were
// too slow settle.
func (o *outbox) leasesEnd(ctx context.Context, done, retry, late, never []string) {
	const when = "when leases end"
	o.rush(ctx, o.now.Add(time.Minute), func() { o.settle(ctx, 3, late, 0, apitoken.Settlement{Done: true}) })
	o.went(when, done, 1)
	o.went(when, slices.Concat(retry, never), 2)
	inTime := 0
	for _, id := range late {
		if len(o.claims[id]) == 1 {
			inTime++ // so it was settled
		} else {
			o.went(when, []string{id}, 2)
		}
	}
	o.late += len(late) - inTime
	// What went to another claimer, the late settlement must have passed over.
	o.left(ctx, when, outboxEvents-len(done)-inTime)
	if len(o.faults) > 0 {
		return
	}
	for _, id := range slices.Concat(retry, late, never) {
		if last := len(o.claims[id]) - 1; last > 0 {
			o.settle(ctx, 0, []string{id}, last, apitoken.Settlement{Done: true})
		}
	}
	o.left(ctx, "after all are settled", 0)
}

// drain empties the outbox, so that the next round is not judged by this one.
func (o *outbox) drain(ctx context.Context) {
	const holder = "the last"
	o.now = o.now.Add(time.Hour)
	var list []apitoken.Settlement
	o.must(func() error {
		claimed, err := o.stores[0].Claim(ctx, apitoken.Lease{Holder: holder, Now: o.now, Until: o.now.Add(time.Minute)}, 2*outboxEvents)
		for _, d := range claimed {
			list = append(list, apitoken.Settlement{EventID: d.Event.ID, Done: true})
		}
		return err
	})
	o.must(func() error { return o.stores[0].Settle(ctx, holder, list) })
	o.now = o.now.Add(time.Hour)
}

// P22: of four nodes that claim at once each event goes to one; a lease holds
// until it ends, and not a moment longer.
func TestOutboxRaces(t *testing.T) {
	t.Parallel()
	each(t, allLevels(), func(t *testing.T, _ database, open opener) {
		o := newOutbox(t, open)
		for range *rounds {
			o.round(t)
		}
		o.report(t, "%d rounds of %d events and %d claimers, %d settlements too late", *rounds, outboxEvents, outboxClaimers, o.late)
	})
}

// Four nodes deliver at once, and the notifier is told of each event once.
func TestDeliverRaces(t *testing.T) {
	t.Parallel()
	each(t, ownTransactions(), func(t *testing.T, _ database, open opener) {
		o := newOutbox(t, open)
		o.fill(t)
		told := new(apitokentest.Notifier)
		var parties []func()
		for _, s := range o.stores {
			node, err := apitoken.New(s, apitoken.Options{Notifier: told, Clock: apitokentest.NewClock(o.now), Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			parties = append(parties, func() { o.must(func() error { _, err := node.Deliver(t.Context()); return err }) })
		}
		together(parties...)
		parties[0]() // what others were about to take when it looked
		var got []string
		for _, n := range told.Told() {
			got = append(got, n.Event.ID)
		}
		slices.Sort(got)
		require.Equal(t, o.events, got)
		o.left(t.Context(), "afterwards", 0)
		o.report(t, "%d events delivered by %d nodes", len(got), len(o.stores))
	})
}
