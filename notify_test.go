package apitoken_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

func (w *world) deliver() []apitoken.Notification {
	w.t.Helper()
	_, err := w.Service.Deliver(w.t.Context())
	require.NoError(w.t, err)
	return w.Notifier.Take()
}

// S2.31: on creation mail to the creator and every built-in system administrator.
// S2.34: at expiry the owner and those. One mail a person, none to inactive ones.
func TestWhoIsToldOfWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(shared, func(p *apitoken.Policy) {
		p.Notify = map[apitoken.EventType]apitoken.Recipients{
			apitoken.EventRevoked:  apitoken.NotifyAdmins | apitoken.NotifyCreator | apitoken.NotifyOwner,
			apitoken.EventDisabled: apitoken.NotifyOwner, // which a shared token has none
		}
	}))
	w.Admins.Set("acme",
		apitoken.Administrator{ID: "root", System: true, Active: true}, apitoken.Administrator{ID: "ann", System: true, Active: true},
		apitoken.Administrator{ID: "gone", System: true}, apitoken.Administrator{ID: "dan", Active: true}, apitoken.Administrator{ID: "left"})
	w.Admins.Set("rival", apitoken.Administrator{ID: "zoe", System: true, Active: true})
	told := func(event apitoken.EventType, want ...string) {
		t.Helper()
		all := w.deliver()
		require.Len(t, all, 1)
		require.Equal(t, event, all[0].Event.Type)
		require.Equal(t, want, all[0].Recipients)
	}
	anns := w.issue(fixed).Token.ID
	told(apitoken.EventCreated, "ann", "root") // once, though she is both
	bobs := w.issueTo(bob, fixed).Token.ID
	told(apitoken.EventCreated, "ann", "bob", "root")
	must(w.Service.Edit(t.Context(), bob, bobs, apitoken.EditRequest{Name: ptr("two")}))
	told(apitoken.EventEdited)
	w.Owners.SetActive("acme", "bob", false)
	require.NoError(t, w.Service.Delete(t.Context(), ann, anns, ""))
	told(apitoken.EventDeleted)
	w.Clock.Advance(91 * day)
	w.sweep()
	told(apitoken.EventExpired, "ann", "root") // bob is not active

	team := w.issue(shared).Token.ID
	told(apitoken.EventCreated)
	must(w.Service.Disable(t.Context(), dan, team, ""))
	told(apitoken.EventDisabled)
	require.NoError(t, w.Service.Revoke(t.Context(), dan, team, ""))
	told(apitoken.EventRevoked, "ann", "dan", "root")
	require.Empty(t, w.deliver(), "each once")
}

// At least once: a failure keeps an event, to be tried later and later, ten
// times; the others go on.
func TestDeliverRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issue(fixed).Token.ID
	w.Notifier.Fail(apitokentest.ErrFault)
	wait := 30 * time.Second
	for attempt := range 9 {
		require.Empty(t, w.deliver(), attempt)
		require.Equal(t, 1, must(w.Service.Status(t.Context())).OutboxEvents)
		w.Notifier.Fail(nil)
		w.Clock.Advance(wait - time.Microsecond)
		require.Empty(t, w.deliver(), "not before its time: attempt %d", attempt)
		w.Notifier.Fail(apitokentest.ErrFault)
		w.Clock.Advance(time.Microsecond)
		wait *= 2
	}
	require.Empty(t, w.deliver())
	w.Notifier.Fail(nil)
	w.Clock.Advance(1000 * day)
	require.Empty(t, w.deliver(), "set aside")
	st := must(w.Service.Status(t.Context()))
	require.Equal(t, 1, st.AsideEvents)
	require.Zero(t, st.OutboxEvents)
	require.Len(t, w.events(id), 1, "the history keeps it")

	// A look-up that fails is such a failure; nobody is left out in silence.
	w.issue(fixed)
	for part, fail := range map[string]func(error){"owners": w.Owners.Fail, "admins": w.Admins.Fail} {
		fail(apitokentest.ErrFault)
		require.Empty(t, w.deliver(), part)
		fail(nil)
		w.Clock.Advance(time.Hour)
	}
	require.Len(t, w.deliver(), 1)
}

// Each event goes to one node; one that dies with a lease loses it after a minute.
func TestDeliverOnSeveralNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 120 {
		w.issue(plain)
	}
	w.Store.Reset()
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Settle" && !c.Done {
			return apitokentest.ErrFault // this node dies before it says what it delivered
		}
		return nil
	})
	n, err := w.Service.Deliver(t.Context())
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.Zero(t, n)
	w.Store.Reset()
	first := w.Notifier.Take()
	require.Len(t, first, 1)
	other := w.Node()
	n, err = other.Deliver(t.Context())
	require.NoError(t, err)
	require.Equal(t, 70, n, "not those under lease")
	w.Notifier.Take()
	w.Clock.Advance(time.Minute)
	again := w.deliver()
	require.Len(t, again, 50, "all that it had claimed")
	require.Contains(t, again, first[0], "a second time, under the same ID")
}

// Without a Notifier events are history only.
func TestNoNotifier(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opts := w.Options
	opts.Notifier = nil
	quiet, err := apitoken.New(w.Store, opts)
	require.NoError(t, err)
	_, err = quiet.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: fixed, Name: "one"})
	require.NoError(t, err)
	n, err := quiet.Deliver(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	require.Zero(t, must(quiet.Status(t.Context())).OutboxEvents)
	require.Empty(t, w.deliver(), "nor does a Notifier that comes later hear of it")
}

// A Notifier that takes longer than the lease: what one node did not get to, the
// other delivers, and nothing is delivered twice.
func TestDeliverSlowly(t *testing.T) {
	t.Parallel()
	var w *world
	var other func()
	seen := map[string]int{}
	w = newWorld(t, func(o *apitoken.Options) {
		o.Notifier = apitoken.NotifierFunc(func(_ context.Context, n apitoken.Notification) error {
			seen[n.Event.ID]++
			w.Clock.Advance(20 * time.Second)
			if deliver := other; deliver != nil {
				other = nil
				deliver()
			}
			return nil
		})
	})
	for range 9 {
		w.issue(plain)
	}
	node := w.Node()
	other = func() { must(node.Deliver(t.Context())) }
	for range 9 {
		must(w.Service.Deliver(t.Context()))
		w.Clock.Advance(time.Minute)
	}
	require.Len(t, seen, 9)
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
	status := must(w.Service.Status(t.Context()))
	require.Zero(t, status.OutboxEvents)
}
