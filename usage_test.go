package apitoken_test

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// S1.16: usage is gathered in memory, written late and in one piece, shown at
// once.
func TestUsageIsWrittenLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.issue(shared), w.issue(personal)
	w.Store.Reset()
	var last time.Time
	for i := range 10 {
		w.Clock.Advance(time.Second)
		last = w.Clock.Now()
		_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{
			Token: one.Secret.Reveal(), Address: netip.AddrFrom4([4]byte{198, 51, byte(100 + i%7), 9}), Need: worldCatalog.MustRequire("devices:view"),
		})
		require.NoError(t, err)
	}
	w.Verify(two.Secret)
	require.NotContains(t, w.Store.Calls(), "Touch")
	require.Zero(t, w.stored(one.Token.ID).Token.Usage)
	shown := w.get(one.Token.ID).Usage
	require.EqualValues(t, 10, shown.Uses)
	require.Equal(t, last, shown.LastUsed)
	require.Equal(t, 2, must(w.Service.Status(t.Context())).PendingUses)

	w.Store.Reset()
	require.NoError(t, w.Service.Flush(t.Context()))
	require.Equal(t, []string{"Touch"}, w.Store.Calls(), "one statement for all")
	require.Equal(t, shown, w.stored(one.Token.ID).Token.Usage)
	require.Equal(t, shown, w.get(one.Token.ID).Usage, "written uses are not shown twice")
	require.Equal(t, netip.MustParseAddr("198.51.102.9"), shown.Address)
	var networks []string
	for _, n := range shown.Networks {
		networks = append(networks, n.String())
	}
	require.Equal(t, []string{"198.51.102.0/24", "198.51.101.0/24", "198.51.100.0/24", "198.51.106.0/24", "198.51.105.0/24"}, networks)
	require.EqualValues(t, 1, w.stored(one.Token.ID).Token.Version, "uses are no change")

	w.Store.Reset()
	require.NoError(t, w.Service.Flush(t.Context()))
	require.NoError(t, w.Service.Flush(t.Context()))
	require.Empty(t, w.Store.Calls(), "nothing new, nothing written")
	require.Zero(t, must(w.Service.Status(t.Context())).PendingUses)
	w.Verify(one.Secret)
	require.NoError(t, w.Service.Flush(t.Context()))
	require.EqualValues(t, 11, w.stored(one.Token.ID).Token.Usage.Uses)
}

func TestUsageSurvivesAFailedFlush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(shared)
	w.Verify(issued.Secret)
	w.Store.FailCall(0)
	for range 3 {
		oneFamily(t, w.Service.Flush(t.Context()), apitoken.ErrUnavailable)
	}
	w.Store.Reset()
	w.Verify(issued.Secret)
	require.EqualValues(t, 2, w.get(issued.Token.ID).Usage.Uses)
	require.NoError(t, w.Service.Flush(t.Context()))
	require.EqualValues(t, 2, w.stored(issued.Token.ID).Token.Usage.Uses)
}

// Many tokens go into batches; if one fails the rest stays pending, and nothing is
// lost or counted twice.
func TestUsageInBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []apitoken.Issued
	for range 1100 {
		all = append(all, w.issue(plain))
		w.Verify(all[len(all)-1].Secret)
	}
	w.Store.FailCall(2)
	oneFamily(t, w.Service.Flush(t.Context()), apitoken.ErrUnavailable)
	w.Store.Reset()
	require.NoError(t, w.Service.Flush(t.Context()))
	require.Len(t, w.Store.Calls(), 2)
	for _, i := range all {
		require.EqualValues(t, 1, w.stored(i.Token.ID).Token.Usage.Uses)
	}
}

// The recorder is bounded: beyond it uses are dropped and counted, and requests
// are let in all the same.
func TestUsageIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *apitoken.Options) { o.MaxPendingUses = 2 })
	var all []apitoken.Issued
	for range 5 {
		all = append(all, w.issue(plain))
	}
	for range 3 {
		for _, i := range all {
			w.Verify(i.Secret)
		}
	}
	st := must(w.Service.Status(t.Context()))
	require.Equal(t, 2, st.PendingUses)
	require.EqualValues(t, 9, st.LostUses)
	require.NoError(t, w.Service.Flush(t.Context()))
	require.NoError(t, w.Service.Flush(t.Context())) // what was not used since makes room
	w.Verify(all[4].Secret)
	require.EqualValues(t, 1, w.get(all[4].Token.ID).Usage.Uses)
}

// S1.10: valid 30 days, renewed by every use. S1.11: valid while now < renewed +
// 30 d, revoked from exactly then on, for good.
func TestSlidingLife(t *testing.T) {
	t.Parallel()
	const idle = 30 * day
	for _, interval := range []time.Duration{time.Second, time.Minute, time.Hour} {
		for name, flush := range map[string]bool{"flushed": true, "pending": false} {
			for _, offset := range []time.Duration{0, 1, interval / 2, interval - time.Microsecond} {
				t.Run(fmt.Sprintf("%s/%s/%s", interval, name, offset), func(t *testing.T) {
					t.Parallel()
					w := newWorld(t, func(o *apitoken.Options) { o.UsageInterval = interval })
					issued := w.issue(user)
					require.Equal(t, apitokentest.Start.Add(idle), issued.Token.EndsAt, "never used: counted from creation")
					use := apitokentest.Start.Add(20*day + offset)
					w.Clock.Set(use)
					w.Verify(issued.Secret)
					if flush {
						require.NoError(t, w.Service.Flush(t.Context()))
					}
					ends := use.Truncate(interval).Add(interval + idle)
					require.Equal(t, ends, w.get(issued.Token.ID).EndsAt)
					require.False(t, ends.Before(use.Add(idle)), "never early for having been recorded coarsely")

					w.Clock.Set(ends.Add(-time.Microsecond))
					stillGood, err := w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{ID: issued.Token.ID})
					require.NoError(t, err)
					require.True(t, stillGood.Accepted)
					w.Clock.Set(ends)
					require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrIdle)
					require.Equal(t, apitoken.StatusRevoked, w.get(issued.Token.ID).Status)

					w.Clock.Set(ends.Add(2*interval + time.Minute))
					require.Equal(t, 1, w.sweep().Revoked)
					w.Clock.Set(apitokentest.Start) // a clock that steps back revives nothing
					require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrIdle)
					_, err = w.Service.Enable(t.Context(), ann, issued.Token.ID, apitoken.EnableRequest{})
					oneFamily(t, err, apitoken.ErrConflict)
				})
			}
		}
	}
}

// S1.10: used every 29 days it lives on, and never used it does not.
func TestSlidingLifeIsRenewedForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	used, unused := w.issue(user), w.issue(user)
	for range 20 {
		w.Clock.Advance(29 * day)
		require.NoError(t, w.verify(used.Secret))
		require.NoError(t, w.Service.Flush(t.Context()))
		w.sweep()
	}
	require.Equal(t, apitoken.StatusActive, w.get(used.Token.ID).Status)
	require.Equal(t, apitoken.StatusRevoked, w.get(unused.Token.ID).Status)
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated}, eventTypes(w.events(used.Token.ID)), "re-arming is no event")
	v := w.get(used.Token.ID)
	require.Equal(t, v.CreatedAt, v.UpdatedAt, "nor a change")
}

// With less than two intervals left a use is written before it is accepted; if
// that fails it is accepted and stays pending.
func TestSlidingLifeNearItsEnd(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		w := newWorld(t)
		issued := w.issue(user)
		w.Clock.Advance(30*day - 2*time.Minute - time.Microsecond)
		w.Store.Reset()
		require.NoError(t, w.verify(issued.Secret))
		require.NotContains(t, w.Store.Calls(), "Touch", "two intervals are left")

		w = newWorld(t)
		issued = w.issue(user)
		w.Clock.Advance(30*day - 2*time.Minute + time.Microsecond)
		w.Store.Reset()
		w.Store.On(func(c apitokentest.Call) error {
			if fails && c.Method == "Touch" && !c.Done {
				return apitokentest.ErrFault
			}
			return nil
		})
		require.NoError(t, w.verify(issued.Secret))
		require.Contains(t, w.Store.Calls(), "Touch")
		w.Clock.Advance(time.Hour) // past the end by what the store knows if the touch failed
		w.Store.Reset()
		other := w.Node()
		_, err := other.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		require.Equal(t, fails, err != nil)
		require.NoError(t, w.verify(issued.Secret), "this node knows of the use")
		w.Clock.Advance(time.Hour)
		w.sweep()
		require.NoError(t, w.verify(issued.Secret), "a sweep of the node that knows does not revoke")
		require.NoError(t, w.Service.Flush(t.Context()))
		require.EqualValues(t, 3, w.stored(issued.Token.ID).Token.Usage.Uses)
	}
}

// A clock that steps back moves no last use back.
func TestUsageOnlyForwards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(plain)
	for _, at := range []time.Duration{time.Hour, time.Minute, -time.Hour} {
		w.Clock.Set(apitokentest.Start.Add(at))
		w.Verify(issued.Secret)
		require.Equal(t, apitokentest.Start.Add(time.Hour), w.get(issued.Token.ID).Usage.LastUsed)
	}
	require.NoError(t, w.Service.Flush(t.Context()))
	usage := w.stored(issued.Token.ID).Token.Usage
	require.Equal(t, apitokentest.Start.Add(time.Hour), usage.LastUsed)
	require.EqualValues(t, 3, usage.Uses)
}

// A last use in the future, from a node whose clock ran ahead, renews no longer
// than a use now.
func TestUseInTheFutureIsClamped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(user)
	ahead := w.Clock.Now().Add(365 * day)
	require.NoError(t, w.Store.Touch(t.Context(), []apitoken.Use{{ID: issued.Token.ID, Count: 1, LastUsed: ahead}}))
	require.Equal(t, w.Clock.Now().Add(time.Minute+30*day), w.get(issued.Token.ID).EndsAt)
}

// A write that is under way may fail and bring its uses back: another flush
// meanwhile must not forget where to.
func TestUsageSurvivesFlushesSideBySide(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(shared)
	w.Verify(issued.Secret)
	first := true
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method != "Touch" || c.Done || !first {
			return nil
		}
		first = false
		require.NoError(t, w.Service.Flush(t.Context()))
		require.EqualValues(t, 1, must(w.Service.Status(t.Context())).PendingUses)
		return apitokentest.ErrFault
	})
	oneFamily(t, w.Service.Flush(t.Context()), apitoken.ErrUnavailable)
	require.NoError(t, w.Service.Flush(t.Context()))
	require.EqualValues(t, 1, w.stored(issued.Token.ID).Token.Usage.Uses)
	require.NoError(t, w.Service.Flush(t.Context()))
	require.Zero(t, must(w.Service.Status(t.Context())).PendingUses, "nothing is kept for ever")
}

// A full recorder loses counts, and no lives: others' tokens must not make one
// that is in use die.
func TestSlidingLifeWithAFullRecorder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *apitoken.Options) { o.MaxPendingUses = 1 })
	hog, issued := w.issue(plain), w.issue(user)
	w.Verify(hog.Secret)
	w.Clock.Advance(30*day - time.Minute)
	require.NoError(t, w.verify(issued.Secret))
	require.EqualValues(t, 1, must(w.Service.Status(t.Context())).LostUses)
	w.Clock.Advance(29 * day)
	w.sweep()
	require.NoError(t, w.verify(issued.Secret))
}

// A view is its reader's: changing it changes nothing that is still to be written.
func TestViewSharesNoPendingUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(shared)
	must(w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Address: netip.MustParseAddr("192.0.2.7")}))
	w.get(issued.Token.ID).Usage.Networks[0] = netip.Prefix{}
	require.Equal(t, netip.MustParsePrefix("192.0.2.0/24"), w.get(issued.Token.ID).Usage.Networks[0])
}

// Whatever fails and whoever flushes beside: every accepted request is counted,
// once, when the store is well again.
func TestUsesAreCountedExactly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tokens := []apitoken.Issued{w.issue(user), w.issue(shared), w.issue(plain)}
	nodes := []*apitoken.Service{w.Service, w.Node(), w.Node()}
	var calls atomic.Int64
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Touch" && !c.Done && calls.Add(1)%3 == 0 {
			return apitokentest.ErrFault
		}
		return nil
	})
	const each = 400
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			for range each {
				for _, issued := range tokens {
					if _, err := node.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()}); err != nil {
						t.Error(err)
					}
				}
				w.Clock.Advance(time.Millisecond)
			}
		})
		for range 2 {
			wg.Go(func() {
				for range each {
					_ = node.Flush(t.Context())
				}
			})
		}
	}
	wg.Wait()
	w.Clock.Advance(30*day - 30*time.Second) // nearly idle: from here uses are written at once
	for _, node := range nodes {
		for range 9 {
			_, err := node.Verify(t.Context(), apitoken.VerifyRequest{Token: tokens[0].Secret.Reveal()})
			require.NoError(t, err)
		}
	}
	w.Store.Reset()
	for _, node := range nodes {
		require.NoError(t, node.Flush(t.Context()))
	}
	want := int64(len(nodes) * each)
	require.Equal(t, want+int64(len(nodes)*9), w.stored(tokens[0].Token.ID).Token.Usage.Uses)
	require.Equal(t, want, w.stored(tokens[1].Token.ID).Token.Usage.Uses)
	require.Equal(t, want, w.stored(tokens[2].Token.ID).Token.Usage.Uses)
}
