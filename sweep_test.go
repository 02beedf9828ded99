package apitoken_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// What time does to a token, when, and with which events; however late the sweep
// runs, it does the same in the same order.
func TestSweep(t *testing.T) {
	t.Parallel()
	type due struct {
		after time.Duration // from issue
		what  apitoken.EventType
		cause apitoken.Cause
	}
	const grace = 2*time.Minute + time.Minute // two usage intervals and the clock skew
	for _, c := range []struct {
		name   string
		kind   apitoken.Kind
		expiry apitoken.Expiry
		then   func(w *world, id apitoken.ID)
		want   []due
		state  apitoken.State // at the end, "" = gone
		policy func(*apitoken.Policy)
	}{
		{"no expiry", shared, apitoken.Expiry{}, nil, nil, apitoken.StateActive, nil},
		// S1.11
		{"idle", user, apitoken.Expiry{}, nil, []due{{30 * day, apitoken.EventRevoked, apitoken.CauseIdle}}, apitoken.StateRevoked, nil},
		{"idle, disabled", user, apitoken.Expiry{}, func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) },
			[]due{{30 * day, apitoken.EventRevoked, apitoken.CauseIdle}}, apitoken.StateRevoked, nil},
		// S2.32, S2.34, S2.35: visible, marked expired.
		{"fixed term", fixed, apitoken.Expiry{}, nil, []due{{90*day + 12*time.Hour, apitoken.EventExpired, apitoken.CauseExpired}}, apitoken.StateActive, nil},
		// S3.7, S3.14
		{"switchable", shared, apitoken.ExpiresIn(day), nil,
			[]due{{day, apitoken.EventExpired, apitoken.CauseExpired}, {day + week, apitoken.EventDeleted, apitoken.CauseExpired}}, "", nil},
		{"switchable, disabled by hand", shared, apitoken.Expiry{}, func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) },
			[]due{{week, apitoken.EventDeleted, apitoken.CauseByHand}}, "", nil},
		// What a person disabled keeps its earlier week.
		{"switchable, disabled by hand, then expired", shared, apitoken.ExpiresIn(day), func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) },
			[]due{{day, apitoken.EventExpired, apitoken.CauseExpired}, {week, apitoken.EventDeleted, apitoken.CauseByHand}}, "", nil},
		{"revoked", shared, apitoken.ExpiresIn(day), func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), ann, id, "") }, nil, apitoken.StateRevoked, nil},
		{"idle before its expiry", shared, apitoken.ExpiresIn(20 * day), nil, []due{{10 * day, apitoken.EventRevoked, apitoken.CauseIdle}}, apitoken.StateRevoked,
			func(p *apitoken.Policy) { p.Lifetime.Idle = 10 * day }},
		{"purged before it is idle", shared, apitoken.ExpiresIn(day), nil,
			[]due{{day, apitoken.EventExpired, apitoken.CauseExpired}, {day + week, apitoken.EventDeleted, apitoken.CauseExpired}}, "",
			func(p *apitoken.Policy) { p.Lifetime.Idle = 10 * day }},
		{"idle before it is purged", shared, apitoken.ExpiresIn(day), nil,
			[]due{{day, apitoken.EventExpired, apitoken.CauseExpired}, {2 * day, apitoken.EventRevoked, apitoken.CauseIdle}}, apitoken.StateRevoked,
			func(p *apitoken.Policy) { p.Lifetime.Idle = 2 * day }},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/late=%v", c.name, late), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, with(c.kind, func(p *apitoken.Policy) {
					if c.policy != nil {
						c.policy(p)
					}
				}))
				issued := w.issue(c.kind, func(r *apitoken.IssueRequest) { r.Expiry = c.expiry })
				id := issued.Token.ID
				if c.then != nil {
					c.then(w, id)
				}
				old := len(w.events(id))
				total := apitoken.Swept{}
				sweep := func(at time.Time) {
					w.Clock.Set(at)
					s := w.sweep()
					total.Expired, total.Revoked, total.Purged = total.Expired+s.Expired, total.Revoked+s.Revoked, total.Purged+s.Purged
				}
				if !late {
					for i, d := range c.want {
						at := apitokentest.Start.Add(d.after)
						if d.what == apitoken.EventRevoked {
							sweep(at.Add(grace - time.Microsecond)) // another node may hold uses
							require.Len(t, w.events(id), old+i)
							at = at.Add(grace)
						} else {
							sweep(at.Add(-time.Microsecond))
							require.Len(t, w.events(id), old+i, "not a moment early")
						}
						sweep(at)
						require.Len(t, w.events(id), old+i+1, "and then at once")
					}
				}
				w.Clock.Set(apitokentest.Start.Add(1000 * day))
				_, err := w.Service.Get(t.Context(), ann, id) // what is due counts before it is swept
				require.Equal(t, c.state == "", err != nil)
				require.Equal(t, c.state != "", len(w.list(ann, apitoken.ListQuery{})) == 1)
				sweep(w.Clock.Now())
				sweep(w.Clock.Now().Add(day))

				events := w.events(id)[old:]
				require.Len(t, events, len(c.want))
				var want apitoken.Swept
				for i, d := range c.want {
					e := events[i]
					require.Equal(t, d.what, e.Type)
					require.Equal(t, d.cause, e.Cause)
					require.Equal(t, apitokentest.Start.Add(d.after), e.DueAt)
					require.False(t, e.Time.Before(e.DueAt))
					require.Equal(t, apitoken.PartySystem, e.Actor.Type, "the sweep's actor is the system")
					switch d.what {
					case apitoken.EventExpired:
						want.Expired++
					case apitoken.EventRevoked:
						want.Revoked++
						require.Equal(t, "API Token revoked", e.Message)
					case apitoken.EventDeleted:
						want.Purged++
					}
				}
				require.Equal(t, want, total)
				if c.state == "" {
					_, err := w.Store.Unwrap().Get(t.Context(), id)
					require.ErrorIs(t, err, apitoken.ErrNotFound)
					return
				}
				require.Equal(t, c.state, w.stored(id).Token.State)
				st := must(w.Service.Status(t.Context()))
				require.Zero(t, st.Overdue)
				require.Equal(t, w.Clock.Now(), st.LastSweep)
			})
		}
	}
}

// A new expiry is due again, with its own event; after a re-enable too (S3.15).
func TestSweepAfterANewExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) })
	id := issued.Token.ID
	must(w.Service.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(2 * day)}))
	w.Clock.Advance(day)
	require.Zero(t, w.sweep().Expired)
	w.Clock.Advance(day)
	require.Equal(t, 1, w.sweep().Expired)
	v := w.get(id)
	require.Equal(t, apitoken.CauseExpired, v.Cause)
	_, err := w.Service.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(day)})
	oneFamily(t, err, apitoken.ErrConflict)
	must(w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)}))
	require.NoError(t, w.verify(issued.Secret))
	w.Clock.Advance(day)
	require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrExpired)
	require.Equal(t, 1, w.sweep().Expired)
	w.Clock.Advance(week)
	require.Equal(t, 1, w.sweep().Purged)
}

// What cannot be written does not hold up the rest, and is done by the next
// sweep; what another node did first is counted and not repeated.
func TestSweepFaultsAndRivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 250 // more than a batch
	for range n {
		w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Hour) })
	}
	w.Clock.Advance(time.Hour)
	swaps := 0
	w.Store.Reset()
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Swap" && !c.Done {
			if swaps++; swaps%2 == 0 {
				return apitokentest.ErrFault
			}
		}
		return nil
	})
	require.Equal(t, apitoken.Swept{Expired: n / 2, Failed: n / 2}, w.sweep())
	require.Equal(t, n/2, must(w.Service.Status(t.Context())).Overdue)

	rival, inner := w.Node(), false
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Due" && c.Done && !inner { // after the read the rival does it all
			inner = true
			_, err := rival.Sweep(t.Context())
			return err
		}
		return nil
	})
	require.Equal(t, apitoken.Swept{Conflicts: n / 2}, w.sweep())
	for v, err := range w.Service.All(t.Context(), ann, apitoken.ListQuery{Limit: 500}) {
		require.NoError(t, err)
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventExpired}, eventTypes(w.events(v.ID)))
	}
	w.Store.FailCall(1)
	_, err := w.Service.Sweep(t.Context())
	oneFamily(t, err, apitoken.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Service.Sweep(ctx)
	oneFamily(t, err, apitoken.ErrUnavailable)
}

// A managing call applies what is due first, in one write with its own change.
func TestDueBeforeDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Hour) }).Token.ID
	w.Clock.Advance(2 * time.Hour)
	v := must(w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(time.Hour), Reason: "again"}))
	require.EqualValues(t, 2, v.Version)
	events := w.events(id)
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventExpired, apitoken.EventEnabled}, eventTypes(events))
	require.Equal(t, apitoken.PartySystem, events[1].Actor.Type)
	require.Empty(t, events[1].Reason)
	require.Equal(t, "ann", events[2].Actor.ID)
	require.Equal(t, []string{string(id) + ".2.0", string(id) + ".2.1"}, []string{events[1].ID, events[2].ID})

	idle := w.issue(user).Token.ID
	w.Clock.Advance(30 * day)
	require.NoError(t, w.Service.Revoke(t.Context(), dan, idle, "late"))
	events = w.events(idle)
	require.Len(t, events, 2)
	require.Equal(t, apitoken.CauseIdle, events[1].Cause)
	require.Equal(t, apitoken.CauseIdle, w.get(idle).Cause, "it was revoked before dan came")
}

// Run writes uses, sweeps and delivers, goes on after failures, and ends with its
// context, the last uses written.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *apitoken.Options) { o.Clock = apitoken.SystemClock })
		require.False(t, must(w.Service.Status(t.Context())).RunStarted)
		issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Hour) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Service.Run(ctx) }()

		w.Verify(issued.Secret)
		time.Sleep(time.Minute + time.Second)
		require.EqualValues(t, 1, w.stored(issued.Token.ID).Token.Usage.Uses)
		require.Len(t, w.Notifier.Take(), 1, "the event of the issue")
		require.True(t, must(w.Service.Status(t.Context())).RunStarted)

		w.Store.FailCall(0)
		time.Sleep(time.Hour)
		w.Store.Reset()
		time.Sleep(2 * time.Minute)
		require.Equal(t, apitoken.StateDisabled, w.stored(issued.Token.ID).Token.State)
		require.Len(t, w.Notifier.Take(), 1)

		other := w.issue(shared)
		w.Verify(other.Secret)
		cancel()
		require.NoError(t, <-ended)
		require.EqualValues(t, 1, w.stored(other.Token.ID).Token.Usage.Uses)
	})
}

// The wait for other nodes' uses holds too when an expiry that is due comes before
// the idle time: the sweep writes the one and waits with the other.
func TestSweepWaitsAfterAnExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(shared, func(p *apitoken.Policy) { p.Lifetime.Idle = time.Hour }))
	issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(59 * time.Minute) })
	w.Clock.Advance(time.Hour)
	require.Equal(t, apitoken.Swept{Expired: 1}, w.sweep())
	require.Equal(t, apitoken.StateDisabled, w.stored(issued.Token.ID).Token.State)
	w.Clock.Advance(3*time.Minute - time.Microsecond)
	require.Equal(t, apitoken.Swept{Rearmed: 1}, w.sweep())
	w.Clock.Advance(time.Microsecond)
	require.Equal(t, apitoken.Swept{Revoked: 1}, w.sweep())
}
