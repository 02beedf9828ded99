package apitoken_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// Live permissions follow the user's, up and down (S1.6, S3.20); cut ones follow
// down and up to the grant (S3.12); frozen ones stay (S2.6, S2.3).
func TestPermissionsOverTime(t *testing.T) {
	t.Parallel()
	steps := []struct{ have, live, cut, frozen []string }{
		{[]string{"devices:manage", "reports:view"}, []string{"devices:manage", "devices:view", "reports:view"}, []string{"devices:view", "reports:view"}, []string{"devices:view", "reports:view"}},
		{[]string{"devices:view"}, []string{"devices:view"}, []string{"devices:view"}, []string{"devices:view", "reports:view"}},
		{nil, nil, nil, []string{"devices:view", "reports:view"}},
		{[]string{"scripts:run", "credentials:manage"}, []string{"scripts:run"}, nil, []string{"devices:view", "reports:view"}}, // S2.7
		{[]string{"devices:manage", "reports:view", "scripts:run"}, []string{"devices:manage", "devices:view", "reports:view", "scripts:run"}, []string{"devices:view", "reports:view"}, []string{"devices:view", "reports:view"}},
	}
	w := newWorld(t)
	some := func(r *apitoken.IssueRequest) { r.Permissions = []string{"devices:view", "reports:view"} }
	live, old := w.issue(user), w.issue(legacy)
	cut, frozen, team := w.issue(personal, some), w.issue(fixed, some), w.issue(shared, some)
	stream := w.Verify(cut.Secret)
	for i, s := range steps {
		w.Owners.SetPermissions("acme", "ann", set(s.have...))
		require.Equal(t, s.live, w.Verify(live.Secret).Permissions().Names(), i)
		require.Equal(t, s.live, w.Verify(old.Secret).Permissions().Names(), i)
		require.Equal(t, s.cut, w.Verify(cut.Secret).Permissions().Names(), i)
		require.Equal(t, s.frozen, w.Verify(frozen.Secret).Permissions().Names(), i)
		require.Equal(t, s.frozen, w.Verify(team.Secret).Permissions().Names(), i) // S3.5: tied to no one account
		var err error
		stream, err = w.Service.Recheck(t.Context(), stream)
		require.NoError(t, err)
		require.Equal(t, s.cut, stream.Permissions().Names(), i)
	}
	require.Empty(t, w.get(old.Token.ID).Grant.Permissions, "left out of Get") // S3.20
}

// S1.8: refused while the owner is not active, and good again afterwards; the
// view says so. S3.5: a shared token goes on without its creator. S3.3: what a
// personal token needs is asked at each use.
func TestOwnerAndAgentAtUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind             apitoken.Kind
		inactive, noRole error
	}{
		{plain, apitoken.ErrOwnerInactive, nil},
		{user, apitoken.ErrOwnerInactive, nil},
		{fixed, apitoken.ErrOwnerInactive, nil},
		{personal, apitoken.ErrOwnerInactive, apitoken.ErrOwnerRole},
		{legacy, apitoken.ErrOwnerInactive, apitoken.ErrOwnerRole},
		{shared, nil, nil},
		{node, nil, nil},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(c.kind)
			stream := w.Verify(issued.Secret)
			check := func(want error, why string) {
				t.Helper()
				require.ErrorIs(t, w.verify(issued.Secret), want, why)
				_, err := w.Service.Recheck(t.Context(), stream)
				require.ErrorIs(t, err, want, why)
				v := must(w.Service.Get(t.Context(), dan, issued.Token.ID))
				require.Equal(t, want == apitoken.ErrOwnerInactive, v.Status == apitoken.StatusSuspended, why)
			}
			w.Owners.SetActive("acme", "ann", false)
			check(c.inactive, "deactivated")
			w.Owners.SetActive("acme", "ann", true)
			check(nil, "reactivated")
			w.Owners.SetRoles("acme", "ann", "read_only")
			check(c.noRole, "without the role")
			w.Owners.Remove("acme", "ann")
			check(c.inactive, "gone")
		})
	}
	// S1.13: an agent's token works while the agent is registered and active.
	w := newWorld(t)
	issued := w.issue(agent)
	for _, reg := range []apitoken.Registration{{}, {Registered: true}, {Active: true}, {Registered: true, Active: true}} {
		w.Agents.Set("acme", "bot", reg)
		if reg.Registered && reg.Active {
			require.NoError(t, w.verify(issued.Secret))
			require.Equal(t, apitoken.StatusActive, w.get(issued.Token.ID).Status)
		} else {
			require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrAgentInactive)
			require.Equal(t, apitoken.StatusSuspended, w.get(issued.Token.ID).Status)
		}
	}
}

// The order of the checks: what comes first is what is answered. All up to the
// owner look alike to the client.
func TestVerifyOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"api": {Quota: 1, Window: time.Hour}}
	})
	issued := w.issue(personal, func(r *apitoken.IssueRequest) {
		r.Permissions, r.Networks, r.Origins = []string{"devices:view"}, []string{"192.0.2.0/24"}, []string{"https://app.example"}
	})
	must(w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Address: netip.MustParseAddr("192.0.2.1"), Limits: []string{"api"}}))
	// Everything is wrong at first; each step mends what was answered.
	req := apitoken.VerifyRequest{
		Token: "damaged", LegacyID: "u", Origin: "https://evil.example", Address: netip.MustParseAddr("198.51.100.1"), Use: "deploy",
		Limits: []string{"api"}, Need: worldCatalog.MustRequire("scripts:run"),
	}
	other := w.issue(personal).Secret.Reveal()
	must(w.Service.Disable(t.Context(), ann, issued.Token.ID, ""))
	w.Owners.SetActive("acme", "ann", false)
	for _, step := range []struct {
		want error
		mend func()
	}{
		{apitoken.ErrTwoCredentials, func() { req.LegacyID = "" }},
		{apitoken.ErrMalformedToken, func() { req.Token = other; _ = w.Service.Delete(t.Context(), dan, idOf(other), "") }},
		{apitoken.ErrUnknownToken, func() { req.Token = swapSecret(issued.Secret.Reveal(), other) }},
		{apitoken.ErrWrongSecret, func() { req.Token = issued.Secret.Reveal() }},
		{apitoken.ErrDisabled, func() {
			w.Owners.SetActive("acme", "ann", true)
			must(w.Service.Enable(t.Context(), dan, issued.Token.ID, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)}))
			w.Owners.SetActive("acme", "ann", false)
		}},
		{apitoken.ErrOwnerInactive, func() { w.Owners.SetActive("acme", "ann", true) }},
		{apitoken.ErrForbidden, func() { req.Use = "" }},
		{apitoken.ErrOrigin, func() { req.Origin = "https://app.example" }},
		{apitoken.ErrNetwork, func() { req.Address = netip.MustParseAddr("192.0.2.2") }},
		{apitoken.ErrRateLimited, func() { w.Clock.Advance(time.Hour) }},
		{apitoken.ErrForbidden, func() { req.Need = worldCatalog.MustRequire("devices:view"); w.Clock.Advance(time.Hour) }},
	} {
		uses := w.stored(issued.Token.ID).Token.Usage.Uses
		p, err := w.Service.Verify(t.Context(), req)
		oneFamily(t, err, step.want)
		require.Zero(t, p, "no principal comes with an error")
		require.NoError(t, w.Service.Flush(t.Context()))
		// A use is a request whose credential was accepted: of all refusals only the
		// missing permission counts.
		counted := w.stored(issued.Token.ID).Token.Usage.Uses - uses
		require.Equal(t, apitoken.ReasonOf(err) == "permission" || step.want == apitoken.ErrTwoCredentials, counted == 1, apitoken.ReasonOf(err))
		step.mend()
	}
	p, err := w.Service.Verify(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, issued.Token.ID, p.Token)
}

func idOf(value string) apitoken.ID { return apitoken.ID(value[len("acme_"):][:22]) }

// swapSecret is a well-formed value with the ID of one token and the secret of
// another.
func swapSecret(id, secret string) string {
	head := id[:len("acme_")+22] + secret[len("acme_")+22:len(secret)-6]
	return head + checksumOf(head)
}

// S2.24: an address list is checked against the client's address.
func TestNetworksAtUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	open := w.issue(fixed)
	shut := w.issue(fixed, func(r *apitoken.IssueRequest) {
		r.Networks = []string{"192.0.2.0/24; 2001:db8::/32", "::ffff:198.51.100.1"}
	})
	for addr, in := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "192.0.3.0": false, "::ffff:192.0.2.9": true, "2001:db8:1::1": true, "2001:db9::": false,
		"198.51.100.1": true, "198.51.100.2": false, "": false,
	} {
		a, _ := netip.ParseAddr(addr)
		for _, c := range []struct {
			i  apitoken.Issued
			in bool
		}{{open, true}, {shut, in}} {
			_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: c.i.Secret.Reveal(), Address: a})
			if c.in {
				require.NoError(t, err, addr)
			} else {
				oneFamily(t, err, apitoken.ErrNetwork)
			}
		}
	}
	must(w.Service.Edit(t.Context(), ann, shut.Token.ID, apitoken.EditRequest{AddNetworks: []string{"203.0.113.5"}}))
	_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: shut.Secret.Reveal(), Address: netip.MustParseAddr("203.0.113.5")})
	require.NoError(t, err, "an entry added acts at once")
}

// S2.8, S2.9: one requirement, for a token and for a person, several at once, and
// more for what is asked for or returned; a group of endpoints shares one.
func TestRequirementsAtUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	devices := worldCatalog.MustRequire("devices:view", "reports:view").Field("geoData", "telemetry:send")
	issued := w.issue(plain, func(r *apitoken.IssueRequest) { r.Permissions = []string{"devices:view", "reports:view"} })
	verify := func(need apitoken.Requirement) (apitoken.Principal, error) {
		return w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Need: need})
	}
	p, err := verify(devices)
	require.NoError(t, err)
	require.False(t, p.Shows(devices, "geoData"))
	require.True(t, p.Shows(devices, "serial"))
	_, err = verify(devices.Asking("geoData"))
	var missing *apitoken.PermissionError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"telemetry:send"}, missing.Missing)
	st := must(w.Owners.Standing(t.Context(), "acme", "bob"))
	require.NoError(t, devices.Check(st.Permissions, st.Resources), "the same for a person")
	require.Error(t, devices.Asking("geoData").Check(st.Permissions, st.Resources))

	scripts := worldCatalog.MustRequire("scripts:run") // every endpoint of the group
	for range 3 {
		_, err = verify(scripts)
		oneFamily(t, err, apitoken.ErrForbidden)
	}
	oneFamily(t, w.Service.Admit(t.Context(), p, apitoken.AdmitRequest{Need: scripts}), apitoken.ErrForbidden)
	require.NoError(t, w.Service.Admit(t.Context(), p, apitoken.AdmitRequest{Need: devices}))
	oneFamily(t, w.Service.Admit(t.Context(), apitoken.Principal{}, apitoken.AdmitRequest{Need: devices}), apitoken.ErrUnauthenticated)
	_, err = w.Service.Recheck(t.Context(), apitoken.Principal{})
	oneFamily(t, err, apitoken.ErrUnauthenticated)
	var zero apitoken.Principal
	require.False(t, zero.Can("devices:view"))
	require.Error(t, zero.Check(devices))
}

// S1.19: one bucket per token and API, a share of each limit.
func TestLimitsPerTokenAndAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"read": {Quota: 10, Window: time.Hour}, "write": {Quota: 3, Window: time.Hour}}
	})
	allowed := func(i apitoken.Issued, name string) (n int) {
		for ; n < 100; n++ {
			if _, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal(), Limits: []string{name}}); err != nil {
				oneFamily(t, err, apitoken.ErrRateLimited)
				return n
			}
		}
		return n
	}
	half, whole := w.issue(user), w.issue(plain) // 50 % is the sliding preset's default
	require.Equal(t, 5, allowed(half, "read"))
	require.Equal(t, 1, allowed(half, "write"))
	require.Equal(t, 10, allowed(whole, "read"))
	// S1.20: edited later, it refills nothing and acts from then on.
	must(w.Service.Edit(t.Context(), ann, half.Token.ID, apitoken.EditRequest{Share: ptr(100)}))
	require.Zero(t, allowed(half, "read"))
	w.Clock.Advance(time.Hour)
	require.Equal(t, 10, allowed(half, "read"))
	_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: whole.Secret.Reveal(), Limits: []string{"unheard of"}})
	oneFamily(t, err, apitoken.ErrUnavailable)
}

// A stream that was let in by a value is cut when a rotation replaced that value
// and its overlap has ended.
func TestRecheckAfterRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.issue(shared)
	stream := w.Verify(first.Secret)
	second := w.rotate(ann, first.Token.ID, time.Hour)
	renewed := w.Verify(second.Secret)
	recheck := func(p apitoken.Principal) error { _, err := w.Service.Recheck(t.Context(), p); return err }
	require.NoError(t, recheck(stream))
	late := w.Verify(first.Secret)
	w.Clock.Advance(time.Hour)
	require.ErrorIs(t, recheck(stream), apitoken.ErrSuperseded)
	require.ErrorIs(t, recheck(late), apitoken.ErrSuperseded)
	require.NoError(t, recheck(renewed))
	uses := w.get(first.Token.ID).Usage.Uses
	require.NoError(t, recheck(renewed))
	require.Equal(t, uses, w.get(first.Token.ID).Usage.Uses, "a recheck is no use")
	require.NoError(t, w.Service.Revoke(t.Context(), ann, first.Token.ID, ""))
	require.ErrorIs(t, recheck(renewed), apitoken.ErrRevoked)
	require.NoError(t, w.Service.Delete(t.Context(), ann, first.Token.ID, ""))
	require.ErrorIs(t, recheck(renewed), apitoken.ErrUnauthenticated)
}

// A kind that is no longer configured gives no rights; its tokens can be read,
// revoked and deleted by those who manage every kind there is.
func TestKindNoLongerConfigured(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issueTo(bob, personal)
	opts := w.Options
	opts.Kinds = map[apitoken.Kind]apitoken.Policy{shared: apitoken.SharedPolicy(), plain: {}}
	opts.Uses = nil
	later, err := apitoken.New(w.Store, opts)
	require.NoError(t, err)
	_, err = later.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	require.ErrorIs(t, err, apitoken.ErrKindUnknown)
	for _, call := range tokenCalls {
		if call.name == "Revoke" || call.name == "Delete" {
			continue
		}
		oneFamily(t, call.do(t.Context(), later, eve, issued.Token.ID), apitoken.ErrNotFound)
	}
	for _, c := range []struct {
		actor apitoken.Actor
		sees  bool
	}{{ann, true}, {eve, false}, {system, true}} {
		_, err := later.Get(t.Context(), c.actor, issued.Token.ID)
		require.Equal(t, c.sees, err == nil, c.actor.ID)
		listed := 0
		for range later.All(t.Context(), c.actor, apitoken.ListQuery{}) {
			listed++
		}
		require.Equal(t, c.sees, listed == 1, "List and Get agree: "+c.actor.ID)
	}
	_, err = later.Get(t.Context(), bob, issued.Token.ID)
	require.NoError(t, err, "it is still its owner's")
	oneFamily(t, later.Revoke(t.Context(), eve, issued.Token.ID, ""), apitoken.ErrNotFound)
	_, err = later.Edit(t.Context(), bob, issued.Token.ID, apitoken.EditRequest{Name: ptr("x")})
	oneFamily(t, err, apitoken.ErrConflict)
	require.NoError(t, later.Revoke(t.Context(), ann, issued.Token.ID, ""))
	require.NoError(t, later.Delete(t.Context(), ann, issued.Token.ID, ""))
}

// The metadata of a token reaches the handler.
func TestPrincipalTellsOfItsToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.Verify(w.issue(shared, func(r *apitoken.IssueRequest) {
		r.Name, r.Share, r.Metadata, r.Expiry = "ci", 30, map[string]string{"team": "a"}, apitoken.ExpiresIn(day)
	}).Secret)
	require.Equal(t, "ci", p.Name())
	require.Equal(t, 30, p.Share())
	require.Equal(t, "a", p.Metadata("team"))
	require.Equal(t, apitokentest.Start.Add(day), p.ExpiresAt())
	require.Equal(t, apitoken.SchemeBearer, p.Scheme)
	require.Empty(t, p.Owner)
	require.Equal(t, shared, p.Kind)
}

// A context that has ended is an outage, not a refusal of the credential.
func TestVerifyHonoursItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(user)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Service.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
}
