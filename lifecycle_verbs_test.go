package apitoken_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// S2.33: before expiry the date can be extended, up to one year from the day of
// the edit, or brought forward, never before tomorrow; S2.35: not afterwards.
func TestExtend(t *testing.T) {
	t.Parallel()
	date := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	for _, c := range []struct {
		name   string
		kind   apitoken.Kind
		after  time.Duration
		expiry apitoken.Expiry
		want   time.Time
		err    error
	}{
		{"a year from the day of the edit", fixed, 20 * day, apitoken.ExpiresOn("2028-03-21"), date(2028, 3, 22), nil},
		{"a day more", fixed, 20 * day, apitoken.ExpiresOn("2028-03-22"), time.Time{}, apitoken.ErrInvalid},
		{"forward, to tomorrow", fixed, 20 * day, apitoken.ExpiresOn("2027-03-22"), date(2027, 3, 23), nil},
		{"today", fixed, 20 * day, apitoken.ExpiresOn("2027-03-21"), time.Time{}, apitoken.ErrInvalid},
		{"on the last day", fixed, 90*day + 11*time.Hour, apitoken.ExpiresOn("2027-06-30"), date(2027, 7, 1), nil},
		{"after the last day", fixed, 90*day + 12*time.Hour, apitoken.ExpiresOn("2027-06-30"), time.Time{}, apitoken.ErrConflict},
		{"no expiry given", fixed, 0, apitoken.Expiry{}, time.Time{}, apitoken.ErrInvalid},
		{"never, where one is required", fixed, 0, apitoken.NeverExpires(), time.Time{}, apitoken.ErrInvalid},
		{"never, where none is", shared, 0, apitoken.NeverExpires(), time.Time{}, nil},
		{"an instant", shared, 0, apitoken.ExpiresIn(time.Hour), date(2027, 3, 1).Add(13 * time.Hour), nil},
		{"a sliding life is not extended", user, 0, apitoken.ExpiresIn(time.Hour), time.Time{}, apitoken.ErrConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(c.kind)
			w.Clock.Advance(c.after)
			before := w.dump()
			v, err := w.Service.Extend(t.Context(), ann, issued.Token.ID, apitoken.ExtendRequest{Expiry: c.expiry, Reason: "longer"})
			if c.err != nil {
				oneFamily(t, err, c.err)
				require.Equal(t, before, w.dump())
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, v.ExpiresAt)
			require.Equal(t, w.Clock.Now(), v.ExpirySetAt)
			require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventExtended}, eventTypes(w.events(v.ID)))
			if !c.want.IsZero() {
				w.Clock.Set(c.want.Add(-time.Nanosecond))
				require.NoError(t, w.verify(issued.Secret))
				w.Clock.Set(c.want)
				require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrExpired)
			}
		})
	}
}

// S3.13: disabled by hand a token stops at once; enabled it works again. S3.15:
// in the switchable family only with a new expiry.
func TestDisableAndEnable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind  apitoken.Kind
		needs bool
		purge time.Duration // purged this long after Disable, 0 = never
	}{{plain, false, 0}, {user, false, 0}, {fixed, false, 0}, {personal, true, week}, {shared, true, week}, {node, true, week}, {legacy, true, week}} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(c.kind)
			id := issued.Token.ID
			v, err := w.Service.Disable(t.Context(), ann, id, "lost laptop")
			require.NoError(t, err)
			require.Equal(t, apitoken.StatusDisabled, v.Status)
			require.Equal(t, apitoken.CauseByHand, v.Cause)
			require.Equal(t, "lost laptop", v.Reason)
			require.Equal(t, apitoken.ColorNone, v.Color)
			require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrDisabled)
			if c.purge > 0 {
				require.Equal(t, w.Clock.Now().Add(c.purge), v.PurgeAt)
			} else {
				require.Zero(t, v.PurgeAt)
			}

			w.Clock.Advance(day)
			before := w.dump()
			again, err := w.Service.Disable(t.Context(), dan, id, "me too")
			require.NoError(t, err)
			require.Equal(t, v.StateAt, again.StateAt)
			require.Equal(t, "lost laptop", again.Reason)
			require.Equal(t, before, w.dump(), "what a person disabled keeps its cause and its week")

			for _, e := range []apitoken.Expiry{{}, apitoken.NeverExpires()} {
				if c.needs {
					_, err = w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: e})
					require.Equal(t, []string{"expiry"}, wrongFields(err))
				}
			}
			_, err = w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresOn("2027-01-01")})
			require.Equal(t, []string{"expiry"}, wrongFields(err), "an expiry in the past")
			require.Equal(t, before, w.dump())
			var req apitoken.EnableRequest
			if c.needs {
				req.Expiry = apitoken.ExpiresIn(week)
			}
			v, err = w.Service.Enable(t.Context(), ann, id, req)
			require.NoError(t, err)
			require.Equal(t, apitoken.StatusActive, v.Status)
			require.Empty(t, v.Cause)
			require.NoError(t, w.verify(issued.Secret))
			require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventDisabled, apitoken.EventEnabled}, eventTypes(w.events(id)))

			_, err = w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{})
			require.NoError(t, err, "an active token stays as it is")
			_, err = w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)})
			oneFamily(t, err, apitoken.ErrConflict)
			require.Len(t, w.events(id), 3)
		})
	}
}

// S3.14: a disabled token is deleted after a week. Due before done: from the
// purge instant on nothing finds it, swept or not.
func TestEnableAtThePurgeInstant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		disable func(w *world, id apitoken.ID) // at Start+1h
	}{
		{"by hand", func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) }},
		{"by expiry", func(*world, apitoken.ID) {}}, // S3.7
		{"by expiry, swept", func(w *world, _ apitoken.ID) { w.sweep() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Hour) })
			id := issued.Token.ID
			w.Clock.Advance(time.Hour)
			c.disable(w, id)
			due := w.Clock.Now().Add(week)

			w.Clock.Set(due.Add(-time.Microsecond))
			require.Equal(t, due, w.get(id).PurgeAt)
			for _, call := range tokenCalls {
				if call.name == "Delete" || call.name == "Revoke" || call.name == "Disable" {
					continue
				}
				require.NotErrorIs(t, call.do(t.Context(), w.Service, ann, id), apitoken.ErrNotFound, call.name)
			}
			w.Clock.Set(due)
			for _, call := range tokenCalls {
				if call.name != "History" { // events outlive the token
					oneFamily(t, call.do(t.Context(), w.Service, ann, id), apitoken.ErrNotFound)
				}
			}
			_, err := w.Service.FindBySecret(t.Context(), ann, issued.Secret.Reveal())
			oneFamily(t, err, apitoken.ErrNotFound)
			require.Zero(t, must(w.Service.Counts(t.Context(), ann)).Total)
			require.Error(t, w.verify(issued.Secret))
			require.Equal(t, 1, w.sweep().Purged)
		})
	}
}

// Terminal: nothing brings a revoked token back. S1.29: a user's token can be
// revoked in every state.
func TestRevoke(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world, id apitoken.ID){
		"active":           func(*world, apitoken.ID) {},
		"disabled":         func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), ann, id, "")) },
		"expired":          func(w *world, _ apitoken.ID) { w.Clock.Advance(92 * day) },
		"expired, swept":   func(w *world, _ apitoken.ID) { w.Clock.Advance(92 * day); w.sweep() },
		"owner not active": func(w *world, _ apitoken.ID) { w.Owners.SetActive("acme", "bob", false) },
		"owner gone":       func(w *world, _ apitoken.ID) { w.Owners.Remove("acme", "bob") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issueTo(bob, fixed)
			id := issued.Token.ID
			prepare(w, id)
			require.True(t, w.get(id).Revocable)
			require.NoError(t, w.Service.Revoke(t.Context(), ann, id, "left"))
			require.NoError(t, w.Service.Revoke(t.Context(), ann, id, "again"), "revoking again is success")
			v := w.get(id)
			require.Equal(t, apitoken.StatusRevoked, v.Status)
			require.Equal(t, "left", v.Reason)
			require.Equal(t, apitoken.CauseByHand, v.Cause)
			require.Error(t, w.verify(issued.Secret))
			before := w.dump()
			for _, call := range tokenCalls {
				switch call.name {
				case "Edit", "Extend", "Disable", "Enable":
					oneFamily(t, call.do(t.Context(), w.Service, ann, id), apitoken.ErrConflict)
					require.Error(t, call.do(t.Context(), w.Service, bob, id))
				case "Rotate":
					require.Error(t, call.do(t.Context(), w.Service, bob, id))
				}
			}
			w.Clock.Advance(1000 * day)
			w.sweep()
			require.Equal(t, before, w.dump())
			events := w.events(id)
			require.Equal(t, apitoken.EventRevoked, events[len(events)-1].Type)
		})
	}
}

// S1.28: an agent's token is revoked, disabled and deleted only while the agent
// is not active; S1.24: an unregistered one's is revoked and removed.
func TestRevokeAgentsToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		reg  *apitoken.Registration // nil = unregistered
		may  bool
	}{
		{"active", &apitoken.Registration{Registered: true, Active: true, Kind: "sensor"}, false},
		{"deactivated", &apitoken.Registration{Registered: true, Kind: "sensor"}, true},
		{"unregistered", nil, true},
		{"reported active but not registered", &apitoken.Registration{Active: true}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(agent)
			id := issued.Token.ID
			if c.reg == nil {
				w.Agents.Remove("acme", "bot")
			} else {
				w.Agents.Set("acme", "bot", *c.reg)
			}
			v := w.get(id)
			require.Equal(t, c.may, v.Revocable)
			require.Equal(t, c.reg == nil || !c.reg.Registered, v.Suspicious)
			page, err := w.Service.List(t.Context(), ann, apitoken.ListQuery{})
			require.NoError(t, err)
			require.Equal(t, []apitoken.View{v}, page.Tokens)
			if !c.may {
				require.Contains(t, v.WhyNot, "deactivate the agent first")
				require.NoError(t, w.verify(issued.Secret))
				before := w.dump()
				for _, actor := range []apitoken.Actor{ann, system} {
					for _, call := range tokenCalls {
						if call.name == "Revoke" || call.name == "Disable" || call.name == "Delete" || call.name == "Rotate" && actor.ID == "ann" {
							err := call.do(t.Context(), w.Service, actor, id)
							oneFamily(t, err, apitoken.ErrConflict)
							require.ErrorContains(t, err, "deactivate the agent first", call.name)
						}
					}
				}
				require.Equal(t, before, w.dump())
				return
			}
			require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrAgentInactive)
			must(w.Service.Disable(t.Context(), ann, id, ""))
			require.NoError(t, w.Service.Revoke(t.Context(), ann, id, ""))
			require.NoError(t, w.Service.Delete(t.Context(), ann, id, ""))
			oneFamily(t, w.Service.Delete(t.Context(), ann, id, ""), apitoken.ErrNotFound)
		})
	}
}

// S2.30, S2.35: delete in any state; the events stay.
func TestDelete(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world, id apitoken.ID){
		"active":   func(*world, apitoken.ID) {},
		"disabled": func(w *world, id apitoken.ID) { must(w.Service.Disable(t.Context(), bob, id, "")) },
		"revoked":  func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), bob, id, "") },
		"expired":  func(w *world, _ apitoken.ID) { w.Clock.Advance(92 * day) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issueTo(bob, fixed)
			id := issued.Token.ID
			prepare(w, id)
			require.NoError(t, w.Service.Delete(t.Context(), bob, id, "tidy"))
			require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrUnknownToken)
			oneFamily(t, w.Service.Delete(t.Context(), bob, id, "tidy"), apitoken.ErrNotFound)
			events := w.events(id)
			last := events[len(events)-1]
			require.Equal(t, apitoken.EventDeleted, last.Type)
			require.Equal(t, "tidy", last.Reason)
			var seen []apitoken.EventType
			for e, err := range w.Service.History(t.Context(), bob, id) {
				require.NoError(t, err)
				seen = append(seen, e.Type)
			}
			require.Equal(t, eventTypes(events), seen, "the owner still reads the history")
		})
	}
}

// S1.30, S1.31: category, messages, actor and target of events.
func TestEventsTellWhoAndWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	by := ann
	by.RequestID, by.Address = "req-1", netip.MustParseAddr("192.0.2.7")
	for _, c := range []struct {
		kind    apitoken.Kind
		revoker apitoken.Actor
		owner   apitoken.Party
		created string
	}{
		{user, by, apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}, "API Token created"},
		{user, dan, apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}, "API Token created"},
		{shared, by, apitoken.Party{Type: apitoken.PartyTenant, ID: "acme"}, "API Token created"},
		{agent, by, apitoken.Party{Type: apitoken.PartyAgent, ID: "bot"}, "API Token created"},
		{fixed, by, apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}, "API token updated"}, // S2.31
	} {
		id := w.issue(c.kind).Token.ID
		require.NoError(t, w.Service.Revoke(t.Context(), c.revoker, id, "why"))
		events := w.events(id)
		require.Equal(t, c.created, events[0].Message)
		revoked := events[1]
		require.Equal(t, "API Token revoked", revoked.Message)
		require.Equal(t, "token lifecycle", revoked.Category)
		require.Equal(t, apitoken.Party{Type: apitoken.PartyUser, ID: c.revoker.ID}, revoked.Actor)
		require.Equal(t, apitoken.Target{Token: id, Name: "one", Kind: c.kind, Owner: c.owner}, revoked.Target)
		require.Equal(t, c.kind == user && c.revoker.ID == "ann" || c.kind == fixed, revoked.Actor == revoked.Target.Owner)
		require.Equal(t, "why", revoked.Reason)
		require.Equal(t, c.revoker.RequestID, revoked.RequestID)
		require.Equal(t, c.revoker.Address, revoked.Address)
		require.Equal(t, w.Clock.Now(), revoked.Time)
		require.Equal(t, string(id)+".2.0", revoked.ID)
	}
}

// Who may do what with a person's and a team's token.
func TestWhoManages(t *testing.T) {
	t.Parallel()
	const may, notFound, forbidden = "", "not_found", "not_owner"
	for _, c := range []struct {
		kind  apitoken.Kind
		owner apitoken.Actor
		actor apitoken.Actor
		want  map[string]string // by call; the rest as "*"
	}{
		{personal, bob, bob, map[string]string{"*": may}},
		// Administrators list, disable, revoke and delete; S3.4: they do not rotate, nor edit.
		{personal, bob, ann, map[string]string{"*": may, "Edit": forbidden, "Extend": forbidden, "Rotate": forbidden}},
		{personal, bob, system, map[string]string{"*": may, "Edit": forbidden, "Extend": forbidden, "Rotate": forbidden}},
		{personal, ann, bob, map[string]string{"*": notFound}},
		{personal, bob, eve, map[string]string{"*": notFound}},
		// S3.6: only administrators of the same company obtain, see and manage it.
		{shared, ann, dan, map[string]string{"*": may}},
		{shared, ann, bob, map[string]string{"*": notFound}},
		{shared, ann, eve, map[string]string{"*": notFound}},
		{shared, ann, zoe, map[string]string{"*": notFound}},
		{plain, bob, ann, map[string]string{"*": may, "Rotate": forbidden}},
	} {
		for _, call := range tokenCalls {
			w := newWorld(t)
			id := w.issueTo(c.owner, c.kind).Token.ID
			want, ok := c.want[call.name]
			if !ok {
				want = c.want["*"]
			}
			err := call.do(t.Context(), w.Service, c.actor, id)
			require.Equal(t, want, apitoken.ReasonOf(err), "%s of a %s token of %s by %s", call.name, c.kind, c.owner.ID, c.actor.ID)
		}
	}
}

// A clock that steps back revives nothing that was written as expired (P13).
func TestClockStepsBackAfterExpiry(t *testing.T) {
	t.Parallel()
	for _, kind := range []apitoken.Kind{plain, fixed, shared} {
		w := newWorld(t, with(shared, func(p *apitoken.Policy) { p.EnableNeedsExpiry = false }))
		expiry := apitoken.ExpiresOn(w.Clock.Now().Add(3 * day).Format(time.DateOnly))
		issued := w.issue(kind, func(r *apitoken.IssueRequest) { r.Expiry = expiry })
		id, at := issued.Token.ID, issued.Token.ExpiresAt
		w.Clock.Set(at)
		require.Equal(t, 1, w.sweep().Expired)

		w.Clock.Set(at.Add(-time.Minute))
		require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrExpired, kind)
		v := w.get(id)
		require.NotEqual(t, apitoken.StatusActive, v.Status, kind)
		require.Equal(t, []bool{true, false}, []bool{v.Expired, v.Editable}, kind)
		_, err := w.Service.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresOn(at.Add(week).Format(time.DateOnly))})
		oneFamily(t, err, apitoken.ErrConflict)
		_, err = w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("x")})
		oneFamily(t, err, apitoken.ErrConflict)
		_, err = w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{})
		require.Error(t, err, kind)
		require.Equal(t, int64(2), w.stored(id).Token.Version, kind)
	}
}
