package apitoken_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// changed is a node whose policies were changed.
func (w *world) changed(tweak ...func(*apitoken.Options)) *apitoken.Service {
	w.t.Helper()
	opts := w.Options
	opts.Kinds = make(map[apitoken.Kind]apitoken.Policy)
	for kind, p := range w.Options.Kinds {
		opts.Kinds[kind] = p
	}
	for _, f := range tweak {
		f(&opts)
	}
	s, err := apitoken.New(w.Store, opts)
	require.NoError(w.t, err)
	return s
}

func (w *world) reapply(s *apitoken.Service, actor apitoken.Actor, req apitoken.ReapplyRequest) []apitoken.Reapplied {
	w.t.Helper()
	var all []apitoken.Reapplied
	for r, err := range s.Reapply(w.t.Context(), actor, req) {
		require.NoError(w.t, err)
		all = append(all, r)
	}
	return all
}

// The report comes first: before, after, and what would be done at once. Applied,
// each token has the terms, with one event, and the next sweep does what was
// reported; again, there is nothing left to do.
func TestReapply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, fresh, other := w.issue(user).Token.ID, apitoken.ID(""), w.issue(shared).Token.ID
	w.Clock.Advance(15 * day)
	fresh = w.issue(user).Token.ID
	ended := w.issue(user).Token.ID
	require.NoError(t, w.Service.Revoke(t.Context(), ann, ended, ""))
	later := w.changed(with(user, func(p *apitoken.Policy) { p.Lifetime.Idle = 10 * day }))

	before := w.dump()
	report := w.reapply(later, system, apitoken.ReapplyRequest{Kind: user})
	require.Equal(t, before, w.dump(), "a report writes nothing")
	require.Len(t, report, 2)
	was := apitoken.Terms{Idle: 30 * day, Interval: time.Minute}
	becomes := apitoken.Terms{Idle: 10 * day, Interval: time.Minute}
	target := apitoken.Target{Token: old, Name: "one", Kind: user, Owner: apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}}
	require.Equal(t, apitoken.Reapplied{
		Tenant: "acme", Target: target, Before: was, After: becomes,
		Due: []apitoken.Forecasted{{Tenant: "acme", Target: target, What: apitoken.EventRevoked, Cause: apitoken.CauseIdle, At: apitokentest.Start.Add(10 * day)}},
	}, report[0])
	require.Equal(t, fresh, report[1].Target.Token)
	require.Empty(t, report[1].Due)
	require.Equal(t, apitoken.StatusActive, w.get(old).Status)

	applied := w.reapply(later, system, apitoken.ReapplyRequest{Kind: user, Apply: true, Reason: "shorter lives"})
	for i := range report {
		require.True(t, applied[i].Applied)
		report[i].Applied = true
	}
	require.Equal(t, report, applied)
	require.Equal(t, apitoken.StatusRevoked, w.get(old).Status, "swept or not")
	require.Equal(t, 1, w.sweep().Revoked)
	events := w.events(fresh)
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventReapplied}, eventTypes(events))
	e := events[1]
	require.Equal(t, []any{apitoken.Party{Type: apitoken.PartySystem, ID: "provisioner"}, "shorter lives", []string{"idle"}, int64(2)}, []any{e.Actor, e.Reason, e.Changed, e.Version})
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated}, eventTypes(w.events(other)), "another kind")

	require.Empty(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user, Apply: true}), "again")
	require.Len(t, w.reapply(w.Service, system, apitoken.ReapplyRequest{Kind: user}), 1, "and back, but for what is revoked")
}

// What is due by the old terms is done first, what has followed an expiry stays,
// and each field is named in the event.
func TestReapplyKeepsWhatHasHappened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := func(d time.Duration) func(*apitoken.IssueRequest) {
		return func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(d) }
	}
	purged, expired, running, idle := w.issue(shared, in(day)).Token.ID, w.issue(shared, in(7*day)).Token.ID, w.issue(shared, in(20*day)).Token.ID, w.issue(user).Token.ID
	w.Clock.Advance(10 * day)
	later := w.changed(
		with(shared, func(p *apitoken.Policy) {
			p.AfterExpiry, p.Purge, p.PurgeExpired, p.Notice, p.Lifetime.Idle = apitoken.ExpiryLocks, 2*week, 60*day, 12*day, 90*day
		}),
		with(user, func(p *apitoken.Policy) { p.Lifetime.Idle = 365 * day }),
		func(o *apitoken.Options) { o.UsageInterval = 2 * time.Minute })
	report := w.reapply(later, system, apitoken.ReapplyRequest{Kind: shared, Apply: true})
	require.Len(t, report, 2)
	for _, r := range report {
		require.NotEqual(t, purged, r.Target.Token, "due to be deleted by the old terms")
		want := apitoken.ExpiryLocks
		if r.Target.Token == expired {
			want = apitoken.ExpiryDisables
		}
		require.Equal(t, want, r.After.AfterExpiry)
		require.Equal(t, r.After, w.stored(r.Target.Token).Token.Terms)
		require.Equal(t, r.Target.Token == running, len(r.Due) == 1, "the longer notice is due")
	}
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventExpiring, apitoken.EventExpired, apitoken.EventReapplied}, eventTypes(w.events(expired)), "due before done")
	last := w.events(running)
	require.Equal(t, []string{"idle", "interval", "after_expiry", "purge", "purge_expired", "notice"}, last[len(last)-1].Changed)
	require.Equal(t, apitoken.StateDisabled, w.stored(expired).Token.State)
	require.Equal(t, 1, w.sweep().Noticed)

	w.Clock.Advance(20 * day) // the user's token is idle by the terms it was issued with
	require.Empty(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user}))
	require.Empty(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user, Apply: true}))
	require.Equal(t, apitoken.StatusRevoked, w.get(idle).Status, "nothing comes back")
}

// What a token has from its agent's kind is not the policy's to change.
func TestReapplyKeepsWhatIsTheAgents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(agent, func(p *apitoken.Policy) {
		p.AgentKinds = map[string]apitoken.AgentKind{"sensor": {Permissions: []string{"telemetry:send"}, RevokeOnDeactivation: true}}
	}))
	id := w.issue(agent).Token.ID
	later := w.changed(with(agent, func(p *apitoken.Policy) { p.Lifetime.Idle = 60 * day }))
	require.Len(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: agent, Apply: true}), 1)
	require.Equal(t, apitoken.Terms{Idle: 60 * day, Interval: time.Minute, RevokeOnDeactivation: true}, w.stored(id).Token.Terms)
}

// Several pages, stopped half-way and begun again; each token once.
func TestReapplyResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1100 // more than two pages
	for range n {
		w.issue(user)
	}
	later := w.changed(with(user, func(p *apitoken.Policy) { p.Lifetime.Idle = 60 * day }))
	first := 0
	for r, err := range later.Reapply(t.Context(), system, apitoken.ReapplyRequest{Kind: user, Apply: true}) {
		require.NoError(t, err)
		require.True(t, r.Applied)
		if first++; first == 600 {
			break
		}
	}
	require.Len(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user}), n-600)
	require.Len(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user, Apply: true}), n-600)
	require.Empty(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user, Apply: true}))
}

// It is the host's own to call, in its tenant; the cross-tenant actor's in all.
func TestReapplyIsTheSystems(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.issue(user)
	w.issueTo(zoe, user)
	later := w.changed(with(user, func(p *apitoken.Policy) { p.Lifetime.Idle = 60 * day }))
	try := func(actor apitoken.Actor, req apitoken.ReapplyRequest) error {
		before := w.dump()
		n := 0
		var got error
		for _, err := range later.Reapply(t.Context(), actor, req) {
			n++
			got = err
		}
		require.Equal(t, 1, n)
		require.Equal(t, before, w.dump())
		return got
	}
	all := apitoken.ReapplyRequest{Kind: user, Apply: true}
	oneFamily(t, try(ann, all), apitoken.ErrForbidden)
	oneFamily(t, try(apitoken.Actor{}, all), apitoken.ErrInvalid)
	require.Equal(t, []string{"kind", "reason"}, wrongFields(try(system, apitoken.ReapplyRequest{Reason: "\x00"})))
	require.Equal(t, []string{"kind"}, wrongFields(try(system, apitoken.ReapplyRequest{Kind: "nope"})))
	w.Store.FailCall(1)
	oneFamily(t, try(system, all), apitoken.ErrUnavailable)
	w.Store.Reset()

	require.Len(t, w.reapply(later, system, apitoken.ReapplyRequest{Kind: user}), 1)
	both := w.reapply(later, apitoken.DangerouslyCrossTenant("operator"), all)
	require.ElementsMatch(t, []string{"acme", "rival"}, []string{both[0].Tenant, both[1].Tenant})
}

// A token that is changed or deleted between the list and the write gets the
// terms, or nothing; one that a newer version wrote is named and left alone.
func TestReapplyAmongOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.issue(user).Token.ID, w.issue(user).Token.ID
	later := w.changed(with(user, func(p *apitoken.Policy) { p.Lifetime.Idle = 60 * day }))
	w.between("List", func() {
		must(w.Service.Edit(t.Context(), ann, a, apitoken.EditRequest{Name: ptr("renamed")}))
		require.NoError(t, w.Service.Delete(t.Context(), ann, b, ""))
	})
	got := w.reapply(later, system, apitoken.ReapplyRequest{Kind: user, Apply: true})
	require.Len(t, got, 1)
	require.Equal(t, "renamed", got[0].Target.Name)
	require.Equal(t, "renamed", w.get(a).Name)

	w.Store.Reset()
	strange, last := w.issue(user).Token.ID, w.issue(user).Token.ID
	rec := w.stored(strange)
	rec.Token.State, rec.Token.Version = "quarantined", 2
	require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
	var named []apitoken.ID
	for r, err := range later.Reapply(t.Context(), system, apitoken.ReapplyRequest{Kind: user, Apply: true}) {
		if err != nil {
			require.ErrorContains(t, err, "quarantined")
			named = append(named, r.Target.Token)
			continue
		}
		require.Equal(t, last, r.Target.Token)
	}
	require.Equal(t, []apitoken.ID{strange}, named)
	require.Equal(t, rec.Token.Terms, w.stored(strange).Token.Terms)
}

// The report can be shown as it is; durations are nanoseconds.
func TestReappliedAsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(apitoken.Reapplied{Tenant: "acme", Before: apitoken.Terms{Idle: 2, AfterExpiry: apitoken.ExpiryDisables, Notice: 3}})
	require.NoError(t, err)
	require.JSONEq(t, `{"tenant":"acme","target":{"owner":{"type":"","id":""}},"before":{"idle":2,"after_expiry":"disable","notice":3},"after":{},"applied":false}`, string(text))
}
