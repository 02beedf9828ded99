package apitoken_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// A clock that jumped ahead does not empty the store in one go: each sweep
// deletes a bounded number, the longest due first, and leaves the others alone.
func TestSweepHoldsDeletionsBack(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newWorld(t, func(o *apitoken.Options) {
		o.MaxPurges = 100
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	const n = 250 // more than a batch
	var ids []apitoken.ID
	for i := range n {
		ids = append(ids, w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(4*day + time.Duration(i)) }).Token.ID)
		w.Clock.Advance(time.Second)
	}
	w.Clock.Advance(10_000 * day)
	require.Equal(t, apitoken.Swept{Noticed: 100, Expired: 100, Purged: 100, Held: 150}, w.sweep())
	require.Contains(t, log.String(), "holds deletions back")
	require.Contains(t, log.String(), "deleted=100 held=150")
	for i, id := range ids {
		_, err := w.Store.Unwrap().Get(t.Context(), id)
		require.Equal(t, i < 100, err != nil, i)
		_, err = w.Service.Get(t.Context(), ann, id)
		require.ErrorIs(t, err, apitoken.ErrNotFound, "held back or not, it is gone for all who ask")
	}
	require.Equal(t, 150, must(w.Service.Status(t.Context())).Overdue)
	// When the clock is right again, what was held back is as it was.
	w.Clock.Advance(-10_000 * day)
	require.Zero(t, w.sweep())
	require.Equal(t, apitoken.StatusActive, w.get(ids[200]).Status)

	w.Clock.Advance(10_000 * day)
	require.Equal(t, apitoken.Swept{Noticed: 100, Expired: 100, Purged: 100, Held: 50}, w.sweep())
	log.Reset()
	require.Equal(t, apitoken.Swept{Noticed: 50, Expired: 50, Purged: 50}, w.sweep())
	require.Empty(t, log.String())
	require.Zero(t, must(w.Service.Status(t.Context())).Overdue)
	for _, id := range ids {
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventExpiring, apitoken.EventExpired, apitoken.EventDeleted}, eventTypes(w.events(id)))
	}
}

// A row that a newer version wrote is counted, logged and passed over; it does
// not hold up the rest, is left as it is, and stays due.
func TestSweepPassesOverWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newWorld(t, func(o *apitoken.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	var ids []apitoken.ID
	for i := range 6 {
		ids = append(ids, w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Duration(i+1) * time.Hour) }).Token.ID)
	}
	spoil := func(id apitoken.ID, change func(*apitoken.Record)) {
		rec := w.stored(id)
		change(rec)
		rec.Token.Version++
		require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
	}
	spoil(ids[0], func(r *apitoken.Record) { r.Token.State = "quarantined" })
	spoil(ids[3], func(r *apitoken.Record) { r.Token.Terms.AfterExpiry = "evaporate" })
	w.Clock.Advance(day)
	before := []*apitoken.Record{w.stored(ids[0]), w.stored(ids[3])}
	require.Equal(t, apitoken.Swept{Expired: 4, Failed: 2}, w.sweep())
	require.Equal(t, apitoken.Swept{Failed: 2}, w.sweep(), "and again")
	require.Equal(t, before, []*apitoken.Record{w.stored(ids[0]), w.stored(ids[3])})
	require.Equal(t, 2, must(w.Service.Status(t.Context())).Overdue)
	for _, says := range []string{string(ids[0]), "quarantined", string(ids[3]), "evaporate"} {
		require.Contains(t, log.String(), says)
	}

	steps, errs := w.forecast(w.Clock.Now().Add(week))
	require.Len(t, errs, 2)
	require.ErrorContains(t, errs[0], "quarantined")
	require.Len(t, steps, 4, "the others follow")
	w.Clock.Advance(week)
	require.Equal(t, apitoken.Swept{Purged: 4, Failed: 2}, w.sweep())
	// It is not used, and a person can end it.
	require.NoError(t, w.Service.Revoke(t.Context(), ann, ids[0], ""))
	require.Equal(t, apitoken.Swept{Failed: 1}, w.sweep())
}

// What is due before an idle revocation is not held back with it: other nodes'
// uses bear on the revocation alone, and on what comes after it.
func TestSweepGraceIsForTheRevocationOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(user, func(p *apitoken.Policy) { p.Lifetime.Idle = 10 * day }))
	id := w.issue(user).Token.ID
	w.rotate(ann, id, 10*day-time.Minute)
	other := w.Node()
	issued := w.rotate(ann, id, 10*day-time.Minute)
	w.Clock.Advance(10*day - 5*time.Minute)
	_, err := other.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	require.NoError(t, err)
	w.Clock.Advance(5*time.Minute + time.Second)
	require.Equal(t, apitoken.Swept{Ended: 1}, w.sweep(), "the overlap ended, and the revocation waits")
	require.Equal(t, apitoken.StateActive, w.stored(id).Token.State)
	require.NoError(t, other.Flush(t.Context()))
	w.Clock.Advance(day)
	require.Equal(t, apitoken.Swept{Rearmed: 1}, w.sweep())
	require.NoError(t, w.verify(issued.Secret))
}

// Sweeping daily, at odd times, or once at the end gives the same events in the
// same order, whatever people do between.
func TestSweepEarlyAndLateAreTheSame(t *testing.T) {
	t.Parallel()
	type line struct {
		What  apitoken.EventType
		Cause apitoken.Cause
		DueAt time.Time
	}
	for seed := range uint64(40) {
		histories := make([][][]line, 3)
		for how := range histories {
			r := rand.New(rand.NewPCG(seed, 7)) // the same lives, swept differently
			w := newWorld(t, with(fixed, func(p *apitoken.Policy) { p.PurgeExpired = time.Duration(r.IntN(3)) * 20 * day }),
				with(shared, func(p *apitoken.Policy) { p.Lifetime.Idle = time.Duration(r.IntN(3)) * 15 * day }))
			var ids []apitoken.ID
			for range 4 {
				ids = append(ids,
					w.issue(fixed, func(r2 *apitoken.IssueRequest) {
						r2.Expiry = apitoken.ExpiresOn(w.Clock.Now().AddDate(0, 0, 1+r.IntN(60)).Format(time.DateOnly))
					}).Token.ID,
					w.issue(shared, func(r2 *apitoken.IssueRequest) {
						r2.Expiry = apitoken.ExpiresIn(time.Duration(1+r.IntN(60*24)) * time.Hour)
					}).Token.ID)
				w.rotate(ann, ids[len(ids)-1], time.Duration(r.IntN(10*24))*time.Hour)
			}
			odd := rand.New(rand.NewPCG(seed, 8))
			for d := range 120 {
				w.Clock.Set(apitokentest.Start.Add(time.Duration(d+1) * day))
				// People come by too.
				id, what := ids[r.IntN(len(ids))], r.IntN(40)
				switch what {
				case 0:
					_, _ = w.Service.Disable(t.Context(), ann, id, "")
				case 1:
					_, _ = w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresOn(w.Clock.Now().AddDate(0, 0, 9).Format(time.DateOnly))})
				case 2:
					_, _ = w.Service.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresOn(w.Clock.Now().AddDate(0, 0, 4).Format(time.DateOnly))})
				}
				if how == 0 || how == 1 && odd.IntN(5) == 0 {
					w.sweep()
				}
			}
			w.Clock.Advance(time.Hour) // past the grace of idle ones
			w.sweep()
			for _, id := range ids {
				var h []line
				for _, e := range w.events(id) {
					h = append(h, line{e.Type, e.Cause, e.DueAt})
				}
				histories[how] = append(histories[how], h)
			}
		}
		require.Equal(t, histories[0], histories[1], seed)
		require.Equal(t, histories[0], histories[2], seed)
	}
}

// Three nodes sweep one store at once: each step happens once, is written once,
// and is told once.
func TestThreeNodesSweepAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes := []*apitoken.Service{w.Service, w.Node(), w.Node()}
	const n = 300
	var ids []apitoken.ID
	for range n {
		id := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(5 * day) }).Token.ID
		w.rotate(ann, id, day)
		ids = append(ids, id)
	}
	w.deliver()
	var total apitoken.Swept
	for _, after := range []time.Duration{day, day, 3 * day, week} {
		w.Clock.Advance(after)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, node := range nodes {
			wg.Go(func() {
				s, err := node.Sweep(t.Context())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				total = sum(total, s)
			})
		}
		wg.Wait()
	}
	total.Conflicts = 0 // depends on the race
	require.Equal(t, apitoken.Swept{Ended: n, Noticed: n, Expired: n, Purged: n}, total)
	for _, id := range ids {
		require.Equal(t, []apitoken.EventType{
			apitoken.EventCreated, apitoken.EventRotated, apitoken.EventOverlapEnded, apitoken.EventExpiring, apitoken.EventExpired, apitoken.EventDeleted,
		}, eventTypes(w.events(id)))
	}
	require.Len(t, w.deliver(), 4*n)
}

// Ninety days with Run ticking every minute on two nodes: a fixed-term token is
// announced, expires, and a sliding one lives on its uses; each thing happens
// within a minute of its instant, once. Nothing outlives Run: synctest waits for
// every goroutine.
func TestNinetyDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *apitoken.Options) { o.Clock = apitoken.SystemClock })
		w.Admins.Set("acme", apitoken.Administrator{ID: "root", System: true, Active: true})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, node := range []*apitoken.Service{w.Service, w.Node()} {
			wg.Go(func() { require.NoError(t, node.Run(ctx)) })
		}
		fixedTerm, used, unused := w.issueTo(bob, fixed), w.issue(user), w.issue(user)
		team := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(20*day + time.Second) })
		w.rotate(ann, team.Token.ID, 5*day)
		for i := range 9 {
			time.Sleep(10 * day)
			require.NoError(t, w.verify(used.Secret))
			time.Sleep(time.Minute + time.Second)
			require.EqualValues(t, i+1, w.stored(used.Token.ID).Token.Usage.Uses, "written within an interval")
		}
		time.Sleep(2 * day)
		cancel()
		wg.Wait()
		stopped := time.Now()

		history := func(i apitoken.Issued, want ...apitoken.EventType) {
			t.Helper()
			events := w.events(i.Token.ID)
			require.Equal(t, append([]apitoken.EventType{apitoken.EventCreated}, want...), eventTypes(events))
			for _, e := range events {
				if late := e.Time.Sub(e.DueAt); !e.DueAt.IsZero() {
					require.LessOrEqual(t, late, 4*time.Minute+time.Second, e.Type) // an idle one waits for other nodes
					require.True(t, e.Type == apitoken.EventRevoked || late <= time.Minute, e.Type)
				}
			}
		}
		history(fixedTerm, apitoken.EventExpiring, apitoken.EventExpired)
		history(used)
		history(unused, apitoken.EventRevoked)
		history(team, apitoken.EventRotated, apitoken.EventOverlapEnded, apitoken.EventExpiring, apitoken.EventExpired, apitoken.EventDeleted)
		told := map[string]int{}
		for _, n := range w.Notifier.Take() {
			told[fmt.Sprint(n.Event.Type, n.Recipients)]++
		}
		require.Equal(t, 1, told["token.expiring[bob root]"])
		require.Equal(t, 1, told["token.expired[bob root]"])
		require.Equal(t, 1, told["token.expiring[root]"])

		before := w.dump()
		time.Sleep(day)
		require.Equal(t, before, w.dump(), "nothing happens after Run ended")
		require.True(t, time.Since(stopped) == day)
	})
}

// Run's intervals are up to a tenth shorter than asked for, never longer, and
// differ, so that nodes that started together drift apart.
func TestRunJitter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *apitoken.Options) { o.Clock, o.SweepInterval = apitoken.SystemClock, 10*time.Minute })
		var mu sync.Mutex
		var swept []time.Time
		w.Store.On(func(c apitokentest.Call) error {
			if c.Method == "Due" && !c.Done {
				mu.Lock()
				defer mu.Unlock()
				swept = append(swept, time.Now())
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), day)
		defer cancel()
		require.NoError(t, w.Service.Run(ctx))
		gaps := make(map[time.Duration]bool)
		for i := range len(swept) - 1 {
			gap := swept[i+1].Sub(swept[i])
			require.LessOrEqual(t, gap, 10*time.Minute)
			require.GreaterOrEqual(t, gap, 9*time.Minute)
			gaps[gap] = true
		}
		require.Greater(t, len(gaps), len(swept)/2)
	})
}
