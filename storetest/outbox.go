package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func lease(holder string, now, until time.Time) apitoken.Lease {
	return apitoken.Lease{Holder: holder, Now: now, Until: until}
}

// post writes n events to deliver, each with its own token, a second apart.
func post(t *testing.T, s apitoken.Store, n int) []string {
	t.Helper()
	var times []time.Time
	for i := range n {
		times = append(times, epoch.Add(time.Duration(i)*time.Second))
	}
	return postAt(t, s, times...)
}

// postAt writes events of these instants to deliver, each with its own token.
func postAt(t *testing.T, s apitoken.Store, times ...time.Time) []string {
	t.Helper()
	var out []string
	for _, at := range times {
		rec := plain("outbox")
		events := eventsOf(rec, 1)
		events[0].Deliver = true
		events[0].Time = at
		createStores.ok(t, s.Create(t.Context(), rec, events), "Create")
		out = append(out, events[0].ID)
	}
	return out
}

func testOutbox(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	ctx := t.Context()
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Minute) }
	claim := func(t *testing.T, s apitoken.Store, holder string, now, until time.Time, limit int) []apitoken.Delivery {
		t.Helper()
		got, err := s.Claim(ctx, lease(holder, now, until), limit)
		claimLeases.ok(t, err, "Claim")
		if len(got) > limit {
			claimLeases.fail(t, "Claim returned %d events, the limit is %d", len(got), limit)
		}
		return got
	}
	settle := func(t *testing.T, s apitoken.Store, holder string, settled ...apitoken.Settlement) {
		t.Helper()
		settleEnds.ok(t, s.Settle(ctx, holder, settled), "Settle")
	}
	none := []string{}

	t.Run("only what is to be delivered", func(t *testing.T) {
		s := newStore(t)
		rec := plain("outbox")
		events := eventsOf(rec, 3)
		events[1].Deliver = true
		createStores.ok(t, s.Create(ctx, rec.Clone(), events), "Create")
		n := next(rec)
		more := eventsOf(n, 1)
		more[0].Deliver = true
		swapReplaces.ok(t, s.Swap(ctx, n.Clone(), apitoken.Guard{}, more), "Swap")
		last := eventsOf(next(n), 1)
		last[0].Deliver = true
		deleteRemoves.ok(t, s.Delete(ctx, rec.Token.ID, 2, apitoken.Guard{}, last), "Delete")
		set := apitoken.Event{ID: "tenant:outbox.1.0", Type: apitoken.EventOrigins, Tenant: "outbox", Time: epoch, Version: 1, Deliver: true}
		settingsSwap.ok(t, s.SwapSettings(ctx, apitoken.Settings{Tenant: "outbox", Version: 1}, []apitoken.Event{set}), "SwapSettings")
		want := []string{events[1].ID, more[0].ID, last[0].ID, set.ID}
		slices.Sort(want)
		claimDeliver.same(t, sortedIDs(claim(t, s, "a", at(0), at(1), 10)), want, "the events claimed")
	})
	t.Run("oldest first", func(t *testing.T) {
		s := newStore(t)
		ids := post(t, s, 5)
		first := claim(t, s, "a", at(0), at(9), 2)
		claimLeases.same(t, sortedIDs(first), ids[:2], "the first claim of 2")
		claimLeases.same(t, sortedIDs(claim(t, s, "b", at(0), at(9), 2)), ids[2:4], "the second claim of 2")
		claimLeases.same(t, sortedIDs(claim(t, s, "c", at(0), at(9), 2)), ids[4:], "the third claim of 2")
		claimOnce.same(t, sortedIDs(claim(t, s, "d", at(0), at(9), 2)), none, "a claim when all are leased")
	})
	t.Run("oldest by its instant", func(t *testing.T) {
		s := newStore(t)
		ids := postAt(t, s, at(3), at(1), at(4), at(2))
		for i, id := range []string{ids[1], ids[3], ids[0], ids[2]} {
			claimLeases.same(t, sortedIDs(claim(t, s, fmt.Sprint("claimer", i), at(5), at(9), 1)), []string{id}, "a claim of 1 of events written in another order")
		}
	})
	t.Run("lease", func(t *testing.T) {
		s := newStore(t)
		ids := post(t, s, 1)
		for attempts := range 3 {
			from := 10 * attempts
			got := claim(t, s, fmt.Sprint("holder", attempts), at(from), at(from+10), 5)
			claimLeases.same(t, sortedIDs(got), ids, "the event, at the instant its lease ends")
			if len(got) == 1 {
				claimAttempts.same(t, got[0].Attempts, attempts, "the attempts before")
			}
			claimOnce.same(t, sortedIDs(claim(t, s, "greedy", at(from+10).Add(-time.Microsecond), at(99), 5)), none, "a claim just before the lease ends")
		}
	})
	t.Run("done", func(t *testing.T) {
		s := newStore(t)
		ids := post(t, s, 2)
		claim(t, s, "a", at(0), at(1), 5)
		settle(t, s, "a", apitoken.Settlement{EventID: ids[0], Done: true}, apitoken.Settlement{EventID: "unknown", Done: true})
		settleEnds.same(t, sortedIDs(claim(t, s, "b", at(1000), at(1001), 5)), ids[1:], "what is left when one was delivered")
	})
	t.Run("retry", func(t *testing.T) {
		s := newStore(t)
		ids := post(t, s, 1)
		claim(t, s, "a", at(0), at(1), 5)
		settle(t, s, "a", apitoken.Settlement{EventID: ids[0], RetryAt: at(30)})
		settleEnds.same(t, sortedIDs(claim(t, s, "b", at(30).Add(-time.Microsecond), at(31), 5)), none, "a claim before the retry instant")
		got := claim(t, s, "b", at(30), at(31), 5)
		settleEnds.same(t, sortedIDs(got), ids, "a claim at the retry instant")
		if len(got) == 1 {
			claimAttempts.same(t, got[0].Attempts, 1, "the attempts before")
		}
	})
	t.Run("aside", func(t *testing.T) {
		s := newStore(t)
		ids := post(t, s, 1)
		claim(t, s, "a", at(0), at(1), 5)
		settle(t, s, "a", apitoken.Settlement{EventID: ids[0], Aside: true, RetryAt: at(1)})
		settleEnds.same(t, sortedIDs(claim(t, s, "b", at(1000), at(1001), 5)), none, "a claim of an event set aside")
	})
	t.Run("lost lease", func(t *testing.T) {
		for _, settlement := range []apitoken.Settlement{{Done: true}, {Aside: true}, {RetryAt: at(500)}} {
			s := newStore(t)
			ids := post(t, s, 1)
			settlement.EventID = ids[0]
			settle(t, s, "", settlement)
			settle(t, s, "stranger", settlement)
			claim(t, s, "slow", at(0), at(1), 5)
			settleLost.same(t, sortedIDs(claim(t, s, "quick", at(1), at(2), 5)), ids, "the claim after a lease ended")
			settle(t, s, "slow", settlement)
			settle(t, s, "", settlement)
			settleLost.same(t, sortedIDs(claim(t, s, "third", at(2), at(3), 5)), ids, "a claim after a settlement with a lost lease")
			settle(t, s, "third", apitoken.Settlement{EventID: ids[0], RetryAt: at(4)})
			settle(t, s, "third", settlement)
			settle(t, s, "", settlement)
			settleLost.same(t, sortedIDs(claim(t, s, "fourth", at(4), at(5), 5)), ids, "a claim after a second settlement of one lease")
		}
	})
	t.Run("four claimers", func(t *testing.T) {
		s := newStore(t)
		for round := range repetitions {
			ids := post(t, s, 12)
			now := at(1000 * (round + 1))
			claimed := make([][][]apitoken.Delivery, 4) // of each claimer, of each of its leases
			holder := func(claimer, lease int) string { return fmt.Sprintf("claimer %d of %d, %d", claimer, round, lease) }
			claimers := make([]func(), len(claimed))
			for i := range claimers {
				claimers[i] = func() {
					for len(claimed[i]) <= len(ids) {
						got, err := s.Claim(ctx, lease(holder(i, len(claimed[i])), now, now.Add(time.Minute)), 2)
						if err != nil {
							claimLeases.fail(t, "Claim: %v", err)
							return
						}
						if len(got) == 0 {
							return
						}
						claimed[i] = append(claimed[i], got)
					}
				}
			}
			together(claimers...)
			claimOnce.same(t, sortedIDs(slices.Concat(slices.Concat(claimed...)...)), ids, "what four claimers got together")
			for i, leases := range claimed {
				for j, mine := range leases {
					var settled []apitoken.Settlement
					for _, d := range mine {
						settled = append(settled, apitoken.Settlement{EventID: d.Event.ID, Done: true})
					}
					settle(t, s, holder(i, j), settled...)
				}
			}
			settleEnds.same(t, sortedIDs(claim(t, s, "after", now.Add(time.Hour), now.Add(2*time.Hour), 100)), none, "what is left when all were delivered")
		}
	})
}

// sortedIDs are the IDs of deliveries, for comparing sets.
func sortedIDs(claimed []apitoken.Delivery) []string {
	out := make([]string, 0, len(claimed))
	for _, d := range claimed {
		out = append(out, d.Event.ID)
	}
	slices.Sort(out)
	return out
}
