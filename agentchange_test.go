package apitoken_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// Agents of kind 'camera' lose their token when they are deactivated; those of
// kind 'relay' get none.
var agentKinds = with(agent, func(p *apitoken.Policy) {
	p.AgentKinds["camera"] = apitoken.AgentKind{Permissions: []string{"telemetry:send"}, RevokeOnDeactivation: true}
})

func registered(kind string, active bool) apitoken.Registration {
	return apitoken.Registration{Registered: true, Active: active, Kind: kind, Name: "Bot"}
}

// report reports a change of agent 'bot'.
func (w *world) report(what apitoken.AgentChangeType, id string) (apitoken.AgentReport, error) {
	return w.Service.AgentChanged(w.t.Context(), system, apitoken.AgentChange{Agent: "bot", What: what, ChangeID: id, Reason: "rollout"})
}

// activate makes 'bot' active in the directory and reports it.
func (w *world) activate(id string) apitoken.Issued {
	w.t.Helper()
	w.Agents.SetActive("acme", "bot", true)
	report, err := w.report(apitoken.AgentActivated, id)
	require.NoError(w.t, err)
	require.False(w.t, report.Issued.Secret.IsZero())
	return report.Issued
}

// The whole life of an agent and of its tokens, without a person: S1.12, S1.13,
// S1.15. Nothing of a normal deployment is ever suspicious (S1.23).
func TestAgentLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	suspicious := func() int { return must(w.Service.Counts(t.Context(), ann)).Suspicious }
	report := must(w.report(apitoken.AgentRegistered, ""))
	require.Equal(t, apitoken.AgentReport{}, report)
	require.Zero(t, must(w.Service.Counts(t.Context(), ann)).Total, "no token before it is activated")
	_, err := w.report(apitoken.AgentActivated, "a1")
	oneFamily(t, err, apitoken.ErrConflict)
	require.ErrorContains(t, err, "activate it first")

	first := w.activate("a1")
	require.Zero(t, suspicious())
	p := w.Verify(first.Secret)
	require.Equal(t, "bot", p.Agent)
	require.Equal(t, []string{"telemetry:send"}, p.Permissions().Names())
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", first, apitoken.AgentReport{Issued: first}, first), first.Secret.Reveal()) // S1.18
	require.Equal(t, "Bot", first.Token.Name)
	require.Equal(t, 50, first.Token.Share)
	require.Equal(t, apitoken.StatusActive, first.Token.Status)
	require.False(t, first.Token.Revocable) // S1.28
	created := w.lastEvent(first.Token.ID)
	require.Equal(t, apitoken.EventCreated, created.Type)
	require.Equal(t, apitoken.Party{Type: apitoken.PartySystem, ID: "provisioner"}, created.Actor)
	require.Equal(t, apitoken.Party{Type: apitoken.PartyAgent, ID: "bot"}, created.Target.Owner)
	require.Equal(t, "rollout", created.Reason)

	var already *apitoken.AlreadyIssuedError
	before := w.dump()
	_, err = w.report(apitoken.AgentActivated, "a1")
	require.ErrorAs(t, err, &already, "the same change makes one token")
	require.Equal(t, first.Token.ID, already.Token.ID)
	require.Equal(t, before, w.dump())
	require.NoError(t, w.verify(first.Secret))

	w.Agents.SetActive("acme", "bot", false)
	require.ErrorIs(t, w.verify(first.Secret), apitoken.ErrAgentInactive)
	report = must(w.report(apitoken.AgentDeactivated, ""))
	require.Equal(t, apitoken.AgentReport{ChangeReport: apitoken.ChangeReport{Skipped: []apitoken.ID{first.Token.ID}}}, report)
	require.True(t, w.get(first.Token.ID).Revocable, "and that is all, where the kind does not say more")
	require.Zero(t, suspicious())

	w.Clock.Advance(time.Hour)
	second := w.activate("a2")
	require.NotEqual(t, first.Token.ID, second.Token.ID)
	require.NoError(t, w.verify(second.Secret))
	require.ErrorIs(t, w.verify(first.Secret), apitoken.ErrRevoked)
	tok := w.stored(first.Token.ID).Token
	require.Equal(t, []any{apitoken.CauseReplaced, w.Clock.Now()}, []any{tok.Cause, tok.StateAt})
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventRevoked}, eventTypes(w.events(first.Token.ID)))
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated}, eventTypes(w.events(second.Token.ID)))
	require.Equal(t, apitoken.CauseReplaced, w.lastEvent(first.Token.ID).Cause)
	require.Len(t, w.deliver(), 3)

	before = w.dump()
	_, err = w.report(apitoken.AgentActivated, "a1") // which was delivered late once more
	require.ErrorAs(t, err, &already)
	require.Equal(t, first.Token.ID, already.Token.ID)
	require.Equal(t, before, w.dump())
	require.NoError(t, w.verify(second.Secret))

	w.Agents.Remove("acme", "bot")
	report = must(w.report(apitoken.AgentUnregistered, ""))
	require.Empty(t, report.Changed)
	require.Equal(t, 2, suspicious()) // S1.23: its tokens are of an agent that is not registered now
	v := w.get(second.Token.ID)       // S1.24
	require.Equal(t, []any{apitoken.ColorYellow, true, &apitoken.Registration{}}, []any{v.Color, v.Revocable, v.AgentState})
	require.NoError(t, w.Service.Revoke(t.Context(), ann, v.ID, "left over"))
	require.NoError(t, w.Service.Delete(t.Context(), ann, v.ID, "left over"))
}

// S1.28: where the agent's kind says so its token is revoked when the agent is
// deactivated or unregistered; what the kind said when the token was issued counts.
func TestAgentRevokedOnDeactivation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		kind   string
		change apitoken.AgentChangeType
		apply  func(w *world)
		revoke bool
	}{
		{"deactivated", "camera", apitoken.AgentDeactivated, func(w *world) { w.Agents.SetActive("acme", "bot", false) }, true},
		{"unregistered", "camera", apitoken.AgentUnregistered, func(w *world) { w.Agents.Remove("acme", "bot") }, true},
		{"unregistered, reported as deactivated", "camera", apitoken.AgentDeactivated, func(w *world) { w.Agents.Remove("acme", "bot") }, true},
		{"another kind by now", "camera", apitoken.AgentDeactivated, func(w *world) { w.Agents.Set("acme", "bot", registered("sensor", false)) }, true},
		{"deactivated, of a kind without", "sensor", apitoken.AgentDeactivated, func(w *world) { w.Agents.SetActive("acme", "bot", false) }, false},
		{"unregistered, of a kind without", "sensor", apitoken.AgentUnregistered, func(w *world) { w.Agents.Remove("acme", "bot") }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, agentKinds)
			w.Agents.Set("acme", "bot", registered(c.kind, false))
			issued := w.activate("a1")
			id := issued.Token.ID
			_, err := w.report(c.change, "")
			oneFamily(t, err, apitoken.ErrConflict) // S1.28: it is active
			require.NoError(t, w.verify(issued.Secret))
			c.apply(w)
			report, err := w.report(c.change, "")
			require.NoError(t, err)
			tok := w.stored(id).Token
			if !c.revoke {
				require.Equal(t, []apitoken.ID{id}, report.Skipped)
				require.Equal(t, apitoken.StateActive, tok.State)
				return
			}
			require.Equal(t, []apitoken.ID{id}, report.Changed)
			require.Equal(t, []any{apitoken.StateRevoked, apitoken.CauseAgent, "rollout"}, []any{tok.State, tok.Cause, tok.Reason})
			require.Equal(t, "API Token revoked", w.lastEvent(id).Message)
			before := w.dump()
			report, err = w.report(c.change, "")
			require.NoError(t, err)
			require.Equal(t, []apitoken.ID{id}, report.Skipped)
			require.Equal(t, before, w.dump())

			w.Agents.Set("acme", "bot", registered(c.kind, true))
			require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrRevoked)
			require.NoError(t, w.verify(w.activate("a2").Secret), "it gets a new one (S1.13)")
		})
	}
}

// S1.15: an agent kind may have no token at all, and that is no error.
func TestAgentKindWithoutToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Agents.Set("acme", "bot", registered("relay", true))
	before := w.dump()
	report, err := w.report(apitoken.AgentActivated, "a1")
	require.NoError(t, err)
	require.Equal(t, apitoken.AgentReport{}, report)
	require.Equal(t, before, w.dump())
}

// What people set on an agent's token is on the one that replaces it: an address
// list must not be lost. All tokens that the agent had are revoked.
func TestAgentReplacementTakesOver(t *testing.T) {
	t.Parallel()
	for name, revoked := range map[string]bool{"replaced": false, "revoked before": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var old []apitoken.Issued
			for range 3 {
				old = append(old, w.issue(agent))
				w.Clock.Advance(time.Minute)
			}
			last := old[2].Token.ID
			must(w.Service.Edit(t.Context(), ann, last, apitoken.EditRequest{
				Name: ptr("north wing"), Description: ptr("by the door"), Share: ptr(10), Metadata: map[string]string{"k": "v"},
				AddNetworks: []string{"10.0.0.0/8"}, Origins: ptr([]string{"https://a.example"}),
			}))
			must(w.Service.Disable(t.Context(), ann, old[1].Token.ID, ""))
			if revoked {
				require.NoError(t, w.Service.Revoke(t.Context(), ann, last, ""))
			}
			fresh := w.activate("a1").Token
			require.Equal(t, []any{"north wing", "by the door", 10, map[string]string{"k": "v"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, []string{"https://a.example"}},
				[]any{fresh.Name, fresh.Description, fresh.Share, fresh.Metadata, fresh.Networks, fresh.Origins})
			require.Equal(t, apitoken.Usage{}, fresh.Usage)
			for i, o := range old {
				tok := w.stored(o.Token.ID).Token
				require.Equal(t, apitoken.StateRevoked, tok.State)
				if i < 2 || !revoked {
					require.Equal(t, apitoken.CauseReplaced, tok.Cause)
				}
			}
		})
	}
}

// A token that went unused too long is written as that, and replaced all the same.
func TestAgentReplacesAnIdleToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.activate("a1")
	w.Clock.Advance(40 * day)
	fresh := w.activate("a2")
	require.NoError(t, w.verify(fresh.Secret))
	require.Equal(t, apitoken.CauseIdle, w.stored(old.Token.ID).Token.Cause)
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventRevoked}, eventTypes(w.events(old.Token.ID)))
	require.Zero(t, w.sweep().Revoked)
}

func TestAgentChangedRefuses(t *testing.T) {
	t.Parallel()
	good := apitoken.AgentChange{Agent: "bot", What: apitoken.AgentActivated, ChangeID: "a1"}
	second := func(o *apitoken.Options) { o.Kinds["reader"] = o.Kinds[agent] }
	for _, c := range []struct {
		name   string
		actor  apitoken.Actor
		reg    *apitoken.Registration // nil = not registered
		change apitoken.AgentChange
		err    error
		fields []string
		tweak  func(*apitoken.Options)
	}{
		{"a person", dan, ptr(registered("sensor", true)), good, apitoken.ErrForbidden, nil, nil},
		{"the cross-tenant actor", apitoken.DangerouslyCrossTenant("tool"), ptr(registered("sensor", true)), good, apitoken.ErrForbidden, nil, nil},
		{"nobody", apitoken.Actor{}, nil, good, apitoken.ErrInvalid, []string{"actor.id", "actor.tenant"}, nil},
		{"not registered", system, nil, good, apitoken.ErrConflict, nil, nil}, // S1.23
		{"not active", system, ptr(registered("sensor", false)), good, apitoken.ErrConflict, nil, nil},
		{"active, not registered", system, &apitoken.Registration{Active: true, Kind: "sensor"}, good, apitoken.ErrConflict, nil, nil},
		{"deactivated, and is active", system, ptr(registered("sensor", true)), apitoken.AgentChange{Agent: "bot", What: apitoken.AgentDeactivated}, apitoken.ErrConflict, nil, nil},
		{"unregistered, and is registered", system, ptr(registered("sensor", false)), apitoken.AgentChange{Agent: "bot", What: apitoken.AgentUnregistered}, apitoken.ErrConflict, nil, nil},
		{"all that is wrong", system, nil, apitoken.AgentChange{What: apitoken.AgentActivated, Kind: shared, Reason: "\x00"}, apitoken.ErrInvalid, []string{"agent", "change_id", "kind", "reason"}, nil},
		{"unknown change", system, nil, apitoken.AgentChange{Agent: "bot", What: "sold", ChangeID: long(257)}, apitoken.ErrInvalid, []string{"change_id", "what"}, nil},
		{"several kinds", system, ptr(registered("sensor", true)), good, apitoken.ErrInvalid, []string{"kind"}, second},
		{"no kind", system, ptr(registered("sensor", true)), good, apitoken.ErrInvalid, []string{"kind"}, func(o *apitoken.Options) { delete(o.Kinds, agent) }},
		{"another tenant", apitoken.System("sync", "rival"), ptr(registered("sensor", true)), good, apitoken.ErrConflict, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tweak := []func(*apitoken.Options){agentKinds}
			if c.tweak != nil {
				tweak = append(tweak, c.tweak)
			}
			w := newWorld(t, tweak...)
			w.Agents.Remove("acme", "bot")
			if c.reg != nil {
				w.Agents.Set("acme", "bot", *c.reg)
			}
			before := w.dump()
			report, err := w.Service.AgentChanged(t.Context(), c.actor, c.change)
			oneFamily(t, err, c.err)
			require.Equal(t, c.fields, wrongFields(err))
			require.Equal(t, apitoken.AgentReport{}, report)
			require.Equal(t, before, w.dump())
		})
	}
	t.Run("one of several kinds", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, second)
		w.Agents.SetActive("acme", "bot", true)
		ids := make(map[apitoken.ID]bool)
		for _, kind := range []apitoken.Kind{agent, "reader"} { // one change may give one of each
			change := good
			change.Kind = kind
			issued := must(w.Service.AgentChanged(t.Context(), system, change)).Issued
			require.Equal(t, kind, issued.Token.Kind)
			require.Equal(t, apitoken.StateActive, w.stored(issued.Token.ID).Token.State)
			ids[issued.Token.ID] = true
		}
		require.Len(t, ids, 2)
		for id := range ids {
			require.Equal(t, apitoken.StateActive, w.stored(id).Token.State, "of another kind none is replaced")
		}
	})
}

// A person cannot take the key of a change to come, and a directory's name that
// is not fit for a token does not stop the agent from getting one.
func TestAgentActivationCannotBeBlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Agents.Set("acme", "bot", apitoken.Registration{Registered: true, Kind: "sensor", Name: "\u202e"})
	issued := w.activate("a1")
	require.Equal(t, "bot", issued.Token.Name)
	key := w.stored(issued.Token.ID).IdempotencyKey
	_, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: shared, Name: "x", IdempotencyKey: key})
	require.Equal(t, []string{"idempotency_key"}, wrongFields(err))
	require.ErrorContains(t, err, "control characters")
}

// A change that comes again, late, leaves alone what the agent got since. The same
// ChangeID of another agent is another change.
func TestAgentActivationReportedLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.activate("a1")
	w.issue(agent)
	w.issue(agent)
	before := w.dump()
	_, err := w.report(apitoken.AgentActivated, "a1")
	require.ErrorAs(t, err, new(*apitoken.AlreadyIssuedError))
	require.Equal(t, before, w.dump())
	w.Agents.Set("acme", "rob", registered("sensor", true))
	robs := must(w.Service.AgentChanged(t.Context(), system, apitoken.AgentChange{Agent: "rob", What: apitoken.AgentActivated, ChangeID: "a1"}))
	require.Equal(t, "rob", w.Verify(robs.Issued.Secret).Agent)
	require.NoError(t, w.verify(first.Secret))
}

// A token that is due to be deleted is not found, but its change made it: reported
// again it makes none, until the token is deleted.
func TestAgentActivationOfATokenDueToBeDeleted(t *testing.T) {
	t.Parallel()
	for _, swept := range []bool{false, true} {
		w := newWorld(t, with(agent, func(p *apitoken.Policy) { p.Purge = week }))
		old := w.activate("a1").Token.ID
		w.Agents.SetActive("acme", "bot", false)
		must(w.Service.Disable(t.Context(), ann, old, ""))
		w.Agents.SetActive("acme", "bot", true)
		w.Clock.Advance(week)
		if swept {
			w.between("Create", func() { require.Equal(t, 1, w.sweep().Purged) })
			require.NoError(t, w.verify(w.activate("a1").Secret))
			continue
		}
		var already *apitoken.AlreadyIssuedError
		_, err := w.report(apitoken.AgentActivated, "a1")
		require.ErrorAs(t, err, &already)
		require.Equal(t, old, already.Token.ID)
	}
}

// A token that looks idle and was used on another node is not written as idle: it
// is replaced as any other.
func TestRaceAgentReplacesAUsedToken(t *testing.T) {
	t.Parallel()
	for range forced {
		w := newWorld(t)
		other := w.Node()
		old := w.activate("a1")
		w.Clock.Advance(30*day - 10*time.Minute)
		must(other.Verify(t.Context(), apitoken.VerifyRequest{Token: old.Secret.Reveal()}))
		w.Clock.Advance(30 * time.Minute)
		w.between("Get", func() { require.NoError(t, other.Flush(t.Context())) })
		fresh := w.activate("a2")
		w.Store.On(nil)
		require.NoError(t, w.verify(fresh.Secret))
		require.Equal(t, apitoken.CauseReplaced, w.stored(old.Token.ID).Token.Cause)
	}
}

// S1.28: only the forced revoke takes the token of an active agent, and its event
// says so. It does not depend on the directory.
func TestDangerouslyRevokeActiveAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.activate("a1")
	id := issued.Token.ID
	err := w.Service.Revoke(t.Context(), ann, id, "leaked")
	oneFamily(t, err, apitoken.ErrConflict)
	for reason, fields := range map[string][]string{" ": {"reason"}, "\u202e": {"reason"}} {
		err = w.Service.DangerouslyRevokeActiveAgent(t.Context(), ann, id, reason)
		oneFamily(t, err, apitoken.ErrInvalid)
		require.Equal(t, fields, wrongFields(err))
	}
	persons := w.issue(personal)
	oneFamily(t, w.Service.DangerouslyRevokeActiveAgent(t.Context(), ann, persons.Token.ID, "x"), apitoken.ErrConflict)
	oneFamily(t, w.Service.DangerouslyRevokeActiveAgent(t.Context(), zoe, id, "x"), apitoken.ErrNotFound)
	require.NoError(t, w.verify(persons.Secret))
	require.NoError(t, w.verify(issued.Secret))

	w.Agents.Fail(apitokentest.ErrFault)
	require.NoError(t, w.Service.DangerouslyRevokeActiveAgent(t.Context(), ann, id, "leaked"))
	w.Agents.Fail(nil)
	require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrRevoked)
	e := w.lastEvent(id)
	require.Equal(t, []any{apitoken.EventRevoked, apitoken.CauseForced, "leaked", apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}}, []any{e.Type, e.Cause, e.Reason, e.Actor})
	before := w.dump()
	require.NoError(t, w.Service.DangerouslyRevokeActiveAgent(t.Context(), dan, id, "again"))
	require.Equal(t, before, w.dump())
	require.NoError(t, w.verify(w.activate("a2").Secret))
}

// Two nodes report the same activation at once: one token, with and without one
// to replace (S1.13).
func TestRaceAgentActivated(t *testing.T) {
	t.Parallel()
	for range forced {
		for _, had := range []bool{false, true} {
			w := newWorld(t)
			other := w.Node()
			if had {
				w.activate("a0")
			}
			w.Agents.SetActive("acme", "bot", true)
			change := apitoken.AgentChange{Agent: "bot", What: apitoken.AgentActivated, ChangeID: "a1"}
			var first apitoken.Issued
			w.between("List", func() { first = must(other.AgentChanged(t.Context(), system, change)).Issued })
			_, err := w.Service.AgentChanged(t.Context(), system, change)
			w.Store.On(nil)
			var already *apitoken.AlreadyIssuedError
			require.ErrorAs(t, err, &already)
			require.Equal(t, first.Token.ID, already.Token.ID)
			require.NoError(t, w.verify(first.Secret))
			w.oneAgentToken(had)

			w = newWorld(t)
			if had {
				w.activate("a0")
			}
			w.Agents.SetActive("acme", "bot", true)
			var made atomic.Int64
			var wg sync.WaitGroup
			for _, m := range []*apitoken.Service{w.Service, w.Node(), w.Node()} {
				wg.Go(func() {
					report, err := m.AgentChanged(t.Context(), system, change)
					switch {
					case err == nil && w.verify(report.Issued.Secret) == nil:
						made.Add(1)
					case !errors.As(err, new(*apitoken.AlreadyIssuedError)):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, made.Load())
			w.oneAgentToken(had)
		}
	}
}

// Two activations, each with its own report, at once: the token of the one that is
// slower replaces that of the other.
func TestRaceAgentActivatedTwice(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"List", "Get"} {
		for range forced {
			w := newWorld(t)
			other := w.Node()
			w.activate("a0")
			var faster apitoken.Issued
			w.between(call, func() {
				faster = must(other.AgentChanged(t.Context(), system, apitoken.AgentChange{Agent: "bot", What: apitoken.AgentActivated, ChangeID: "a1"})).Issued
			})
			slower := w.activate("a2")
			w.Store.On(nil)
			require.NoError(t, w.verify(slower.Secret))
			require.ErrorIs(t, w.verify(faster.Secret), apitoken.ErrRevoked)
			require.Len(t, must(w.Service.List(t.Context(), ann, apitoken.ListQuery{Agent: "bot", Status: apitoken.StatusActive})).Tokens, 1)
		}
	}
}

// oneAgentToken demands that one token works, and one was replaced if there was
// one, each with its events once.
func (w *world) oneAgentToken(had bool) {
	w.t.Helper()
	states := make(map[apitoken.State]int)
	for _, v := range must(w.Service.List(w.t.Context(), ann, apitoken.ListQuery{Agent: "bot"})).Tokens {
		states[v.State]++
		require.Len(w.t, w.events(v.ID), int(v.Version))
	}
	want := map[apitoken.State]int{apitoken.StateActive: 1}
	if had {
		want[apitoken.StateRevoked] = 1
	}
	require.Equal(w.t, want, states)
}

// Others change the token that is replaced between the read and the write: the
// replacement is decided anew, and gives up with an outage when that goes on.
func TestRaceAgentReplacement(t *testing.T) {
	t.Parallel()
	for name, interfere := range map[string]func(w *world, m *apitoken.Service, id apitoken.ID) error{
		"edit": func(w *world, m *apitoken.Service, id apitoken.ID) error {
			_, err := m.Edit(t.Context(), ann, id, apitoken.EditRequest{AddNetworks: []string{"10.0.0.1"}})
			return err
		},
		"forced revoke": func(w *world, m *apitoken.Service, id apitoken.ID) error {
			return m.DangerouslyRevokeActiveAgent(t.Context(), ann, id, "leaked")
		},
		"delete": func(w *world, m *apitoken.Service, id apitoken.ID) error {
			rec := w.stored(id)
			return w.Store.Unwrap().Delete(t.Context(), id, rec.Token.Version, apitoken.Guard{}, nil)
		},
	} {
		for _, call := range []string{"List", "Get"} {
			t.Run(name+" after "+call, func(t *testing.T) {
				t.Parallel()
				for range forced {
					w := newWorld(t)
					other := w.Node()
					old := w.activate("a0")
					w.between(call, func() { require.NoError(t, interfere(w, other, old.Token.ID)) })
					fresh := w.activate("a1")
					w.Store.On(nil)
					require.Error(t, w.verify(old.Secret))
					if name == "edit" {
						require.Len(t, fresh.Token.Networks, 1, "what was edited meanwhile is taken over")
						require.ErrorIs(t, w.verify(fresh.Secret), apitoken.ErrNetwork)
						continue
					}
					if name == "forced revoke" {
						tok := w.stored(old.Token.ID).Token
						require.Equal(t, []any{apitoken.CauseForced, int64(2)}, []any{tok.Cause, tok.Version}, "what is revoked stays as it is")
					}
					require.NoError(t, w.verify(fresh.Secret))
				}
			})
		}
	}
	w := newWorld(t)
	other := w.Node()
	old := w.activate("a0")
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Replace" && !c.Done {
			must(other.Edit(t.Context(), ann, old.Token.ID, apitoken.EditRequest{Name: ptr(time.Duration(c.N).String())}))
		}
		return nil
	})
	_, err := w.report(apitoken.AgentActivated, "a1")
	w.Store.On(nil)
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.NoError(t, w.verify(old.Secret), "the agent keeps what it has")
	w.oneAgentToken(false)
}

// A deactivation that is carried out late does not take the token that the agent
// got when it was activated again (S1.28).
func TestRaceAgentDeactivated(t *testing.T) {
	t.Parallel()
	for _, call := range []apitokentest.Call{{Method: "List"}, {Method: "List", Done: true}, {Method: "Get", Done: true}} {
		for range forced {
			w := newWorld(t, agentKinds)
			w.Agents.Set("acme", "bot", registered("camera", false))
			other := w.Node()
			old := w.activate("a1")
			w.Agents.SetActive("acme", "bot", false)
			var fresh apitoken.Issued
			var done atomic.Bool
			w.Store.On(func(c apitokentest.Call) error {
				if c.Method != call.Method || c.Done != call.Done || !done.CompareAndSwap(false, true) {
					return nil
				}
				w.Agents.SetActive("acme", "bot", true)
				fresh = must(other.AgentChanged(t.Context(), system, apitoken.AgentChange{Agent: "bot", What: apitoken.AgentActivated, ChangeID: "a2"})).Issued
				return nil
			})
			report, err := w.report(apitoken.AgentDeactivated, "")
			w.Store.On(nil)
			require.NoError(t, err)
			require.Empty(t, report.Changed)
			require.Contains(t, report.Skipped, old.Token.ID)
			require.NoError(t, w.verify(fresh.Secret))
			require.Equal(t, apitoken.CauseReplaced, w.stored(old.Token.ID).Token.Cause)
		}
	}
}

// P4, P6: whichever call of an activation fails, before it takes effect or after,
// a repeated report ends with one token, and the value that was shown, if one
// was, is the one that works.
func TestAgentActivationOutages(t *testing.T) {
	t.Parallel()
	for _, had := range []int{0, 1, 3} {
		prepare := func() (*world, *hostFaults) {
			w, host := newWorld(t), new(hostFaults)
			host.wire(w)
			for range had {
				w.issue(agent)
			}
			w.Agents.SetActive("acme", "bot", true)
			w.Store.Reset()
			host.failAt(0)
			return w, host
		}
		w, host := prepare()
		must(w.report(apitoken.AgentActivated, "a1"))
		calls, asked := w.Store.Calls(), host.asked
		require.Equal(t, had > 0, slices.Contains(calls, "Replace"))
		settle := func(w *world, first apitoken.Issued, failed error) {
			t.Helper()
			report, err := w.report(apitoken.AgentActivated, "a1")
			live := 0
			for _, v := range must(w.Service.List(t.Context(), ann, apitoken.ListQuery{Agent: "bot"})).Tokens {
				require.Len(t, w.events(v.ID), int(v.Version))
				if v.State == apitoken.StateActive {
					live++
				}
			}
			require.Equal(t, 1, live)
			if failed == nil {
				require.ErrorAs(t, err, new(*apitoken.AlreadyIssuedError))
				require.NoError(t, w.verify(first.Secret))
				return
			}
			oneFamily(t, failed, apitoken.ErrUnavailable)
			require.True(t, first.Secret.IsZero())
			if err == nil {
				require.NoError(t, w.verify(report.Issued.Secret))
			} else {
				require.ErrorAs(t, err, new(*apitoken.AlreadyIssuedError), "it was made, and its value is lost")
			}
		}
		for n := range calls {
			for _, how := range []string{"fail", "lose", "lose and fall silent"} {
				w, _ := prepare()
				w.Store.On(func(c apitokentest.Call) error {
					if c.N == n+1 && c.Done == (how != "fail") || c.N > n+1 && how == "lose and fall silent" {
						return apitokentest.ErrFault
					}
					return nil
				})
				report, err := w.report(apitoken.AgentActivated, "a1")
				w.Store.On(nil)
				if how == "lose" && (calls[n] == "Create" || calls[n] == "Replace" || calls[n] == "Swap") {
					require.NoError(t, err, "its own mark tells that it took effect")
				}
				settle(w, report.Issued, err)
			}
		}
		for n := range asked {
			w, host := prepare()
			before := w.dump()
			host.failAt(n + 1)
			report, err := w.report(apitoken.AgentActivated, "a1")
			host.failAt(0)
			if err != nil {
				require.Equal(t, before, w.dump())
			}
			settle(w, report.Issued, err)
		}
	}
}

// P4, P6: the same of a deactivation that revokes.
func TestAgentDeactivationOutages(t *testing.T) {
	t.Parallel()
	prepare := func() (*world, apitoken.ID) {
		w := newWorld(t, agentKinds)
		w.Agents.Set("acme", "bot", registered("camera", false))
		id := w.activate("a1").Token.ID
		w.Agents.SetActive("acme", "bot", false)
		w.Store.Reset()
		return w, id
	}
	w, _ := prepare()
	must(w.report(apitoken.AgentDeactivated, ""))
	calls := w.Store.Calls()
	require.Equal(t, []string{"List", "Get", "Swap"}, calls)
	for n, method := range calls {
		for _, lost := range []bool{false, true} {
			w, id := prepare()
			if lost {
				w.Store.LoseAnswer(n + 1)
			} else {
				w.Store.FailCall(n + 1)
			}
			report, err := w.report(apitoken.AgentDeactivated, "")
			w.Store.Reset()
			if lost && method == "Swap" {
				require.NoError(t, err)
			} else {
				oneFamily(t, err, apitoken.ErrUnavailable)
				require.Equal(t, method != "List", len(report.Failed) == 1)
			}
			must(w.report(apitoken.AgentDeactivated, ""))
			require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventRevoked}, eventTypes(w.events(id)))
		}
	}
	w, _ = prepare()
	before := w.dump()
	w.Agents.Fail(apitokentest.ErrFault)
	_, err := w.report(apitoken.AgentDeactivated, "")
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.Equal(t, before, w.dump())
}
