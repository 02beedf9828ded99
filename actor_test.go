package apitoken_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// A token that manages tokens gets no more by rotating one than by issuing one:
// the new value of a token that may do more would be an escalation. S3.10
func TestTokenRotatesOnlyWhatItCovers(t *testing.T) {
	t.Parallel()
	narrow := []string{"devices:view"}
	for _, c := range []struct {
		name   string
		caller apitoken.IssueRequest // ann's, the token that calls
		target apitoken.IssueRequest // issued by ann
		lacks  []string              // nil = may
	}{
		{"the same permissions", apitoken.IssueRequest{Kind: plain, Permissions: narrow}, apitoken.IssueRequest{Kind: shared, Permissions: narrow}, nil},
		{"fewer", apitoken.IssueRequest{Kind: plain, Permissions: narrow}, apitoken.IssueRequest{Kind: shared, Permissions: []string{}}, nil},
		{"more", apitoken.IssueRequest{Kind: plain, Permissions: narrow}, apitoken.IssueRequest{Kind: shared, Permissions: []string{"devices:view", "reports:view"}}, []string{"reports:view"}},
		{"by its role", apitoken.IssueRequest{Kind: plain, Permissions: narrow}, apitoken.IssueRequest{Kind: node}, []string{"deploy"}},
		{"frozen, the owner's own", apitoken.IssueRequest{Kind: plain, Permissions: narrow}, apitoken.IssueRequest{Kind: plain, Permissions: []string{"reports:view"}}, []string{"reports:view"}},
		{"cut", apitoken.IssueRequest{Kind: plain, Permissions: narrow}, apitoken.IssueRequest{Kind: personal, Permissions: []string{"reports:view"}}, []string{"reports:view"}},
		{"all that the owner has", apitoken.IssueRequest{Kind: plain}, apitoken.IssueRequest{Kind: user}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			anyone := func(p *apitoken.Policy) { p.CreatorRoles, p.CreatorRolesAtUse, p.ManagerRoles = nil, false, nil }
			w := newWorld(t, with(shared, anyone), with(node, anyone), with(personal, anyone))
			c.caller.Name, c.target.Name = "caller", "target"
			caller := w.Verify(w.IssueAs(ann, c.caller).Secret).Actor()
			target := w.IssueAs(ann, c.target)

			_, err := w.Service.Rotate(t.Context(), caller, target.Token.ID, apitoken.RotateRequest{IfVersion: 1, Overlap: time.Hour})
			if c.lacks == nil {
				require.NoError(t, err)
				return
			}
			lacking, ok := errors.AsType[*apitoken.PermissionError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, c.lacks, lacking.Missing)
			require.Equal(t, int64(1), w.stored(target.Token.ID).Token.Version, "nothing is stored")
		})
	}
}

// The live token of an owner who has more than the caller may not be rotated by
// it either.
func TestTokenRotatesNoLiveTokenBeyondIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	live := w.IssueAs(ann, apitoken.IssueRequest{Kind: user, Name: "live"})
	caller := w.Verify(w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "caller", Permissions: []string{"devices:view"}}).Secret).Actor()
	_, err := w.Service.Rotate(t.Context(), caller, live.Token.ID, apitoken.RotateRequest{IfVersion: 1})
	oneFamily(t, err, apitoken.ErrForbidden)
}

// Whoever calls with a token has its value already, so it may renew it, also
// when the owner or a licence leaves it less than it was granted.
func TestTokenRotatesItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.IssueAs(ann, apitoken.IssueRequest{Kind: personal, Name: "own", Permissions: []string{"devices:view", "reports:view"}})
	w.Owners.SetPermissions("acme", "ann", set("devices:view"))
	_, err := w.Service.Rotate(t.Context(), w.Verify(own.Secret).Actor(), own.Token.ID, apitoken.RotateRequest{IfVersion: 1})
	require.NoError(t, err)
}

// What a token is frozen to (S2.3) bounds what it can obtain, too.
func TestTokenRotatesOnlyWithinItsGroups(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		target apitoken.Resources
		lacks  []string
		want   error
	}{
		{"the same", apitoken.Resources{Groups: []string{"north"}}, nil, nil},
		{"another", apitoken.Resources{Groups: []string{"north", "south"}}, []string{"south"}, apitoken.ErrForbidden},
		{"all", apitoken.Resources{All: true}, nil, apitoken.ErrMayNot},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, with(plain, func(p *apitoken.Policy) { p.FreezeResources = true }))
			issue := func(groups apitoken.Resources) apitoken.Issued {
				w.Owners.Set("acme", "bob", apitoken.Standing{Active: true, Permissions: everything, Resources: groups})
				return w.issueTo(bob, plain)
			}
			target := issue(c.target)
			caller := w.Verify(issue(apitoken.Resources{Groups: []string{"north"}}).Secret).Actor()
			_, err := w.Service.Rotate(t.Context(), caller, target.Token.ID, apitoken.RotateRequest{IfVersion: 1})
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			oneFamily(t, err, c.want)
			if c.lacks != nil {
				lacking, ok := errors.AsType[*apitoken.PermissionError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, c.lacks, lacking.Groups)
			}
		})
	}
}

// A token acts with its owner's roles only if it has all that its owner has: an
// administrator's token that only reads manages nobody's tokens.
func TestTokenActsWithRolesOnlyIfUnrestricted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	target := w.IssueAs(ann, apitoken.IssueRequest{Kind: shared, Name: "target", Permissions: []string{}})
	narrow := w.Verify(w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "narrow", Permissions: []string{"devices:view"}}).Secret).Actor()
	full := w.Verify(w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "full"}).Secret).Actor()

	_, err := w.Service.Get(t.Context(), narrow, target.Token.ID)
	oneFamily(t, err, apitoken.ErrNotFound)
	_, err = w.Service.Issue(t.Context(), narrow, apitoken.IssueRequest{Kind: shared, Name: "x", Permissions: []string{}})
	oneFamily(t, err, apitoken.ErrForbidden)
	oneFamily(t, w.Service.Revoke(t.Context(), narrow, target.Token.ID, ""), apitoken.ErrNotFound)

	require.NoError(t, w.Service.Revoke(t.Context(), full, target.Token.ID, ""))
	events := w.events(target.Token.ID)
	last := events[len(events)-1]
	require.Equal(t, apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}, last.Actor)
	require.Equal(t, full.ID, "ann")
	require.NotEmpty(t, last.Via, "the audit names the token that was used")
}

// An administrator rotates a shared token, but gets no value that may do more
// than the administrator could grant. S3.10
func TestManagerRotatesOnlyWithinOwnPermissions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	target := w.IssueAs(ann, apitoken.IssueRequest{Kind: shared, Name: "target", Permissions: []string{"devices:view", "reports:view"}})
	w.Owners.SetPermissions("acme", "ann", set("devices:view"))
	_, err := w.Service.Rotate(t.Context(), ann, target.Token.ID, apitoken.RotateRequest{IfVersion: 1})
	lacking, ok := errors.AsType[*apitoken.PermissionError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, []string{"reports:view"}, lacking.Missing)
}

// A kind that follows its owner, or an agent's that persons may issue, gives a
// value that may do as much: whoever calls with less does not get it. S3.10
func TestIssueGivesNoMoreThanTheActorHas(t *testing.T) {
	t.Parallel()
	const live apitoken.Kind = "live"
	newWorld := func(t *testing.T) *world {
		return newWorld(t, with(live, func(p *apitoken.Policy) { p.Grant = apitoken.GrantLive }), with(agent, func(p *apitoken.Policy) { p.SystemOnly = false }))
	}
	liveReq, agentReq := apitoken.IssueRequest{Kind: live, Name: "x"}, apitoken.IssueRequest{Kind: agent, Name: "x", Agent: "bot"}
	token := func(permissions []string) func(*world) apitoken.Actor {
		return func(w *world) apitoken.Actor {
			return w.Verify(w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "caller", Permissions: permissions}).Secret).Actor()
		}
	}
	person := func(a apitoken.Actor) func(*world) apitoken.Actor { return func(*world) apitoken.Actor { return a } }
	viewing, everybody := ann, ann
	viewing.Permissions, everybody.Permissions = []string{"devices:view"}, everything.Names()
	for _, c := range []struct {
		name  string
		actor func(*world) apitoken.Actor
		req   apitoken.IssueRequest
		wrong []string
	}{
		{"live, a person", person(ann), liveReq, nil},
		{"live, a person with little", person(eve), liveReq, nil},
		{"live, a session with less", person(viewing), liveReq, []string{"permissions"}},
		{"live, a session with all", person(everybody), liveReq, nil},
		{"live, a token with less", token([]string{"devices:view"}), liveReq, []string{"permissions"}},
		{"live, a token with all", token(nil), liveReq, nil},
		{"agent, the system", person(system), agentReq, nil},
		{"agent, a person who has as much", person(ann), agentReq, nil},
		{"agent, a person who has less", person(eve), agentReq, []string{"agent"}},
		{"agent, a token with less", token([]string{"devices:view"}), agentReq, []string{"agent"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, err := w.Service.Issue(t.Context(), c.actor(w), c.req)
			require.Equal(t, c.wrong, wrongFields(err))
			require.Equal(t, c.wrong == nil, err == nil, "%v", err)
		})
	}
	// A licence that covers less cuts the token, and keeps nobody from issuing it.
	w := newWorld(t)
	w.Entitlements.Set("acme", viewer)
	require.Equal(t, []string{"devices:view"}, w.Verify(w.IssueAs(ann, liveReq).Secret).Permissions().Names())
}

// A token of some resource groups (S2.3) makes no agent's token of all.
func TestAgentTokenStaysWithinGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plain, func(p *apitoken.Policy) { p.FreezeResources = true }), with(agent, func(p *apitoken.Policy) { p.SystemOnly = false }))
	w.Owners.Set("acme", "bob", apitoken.Standing{Active: true, Permissions: everything, Resources: apitoken.Resources{Groups: []string{"north"}}})
	caller := w.Verify(w.issueTo(bob, plain).Secret).Actor()
	made := w.IssueAs(caller, apitoken.IssueRequest{Kind: agent, Name: "x", Agent: "bot"})
	require.Equal(t, apitoken.Resources{Groups: []string{"north"}}, made.Token.Resources)
}

// What the Actor says and what the directory says both bound an actor: neither a
// role of yesterday's session nor one chosen for this session gives more.
func TestActorAndDirectoryBothBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claims := eve
	claims.Roles = []string{"administrator"}
	_, err := w.Service.Issue(t.Context(), claims, apitoken.IssueRequest{Kind: shared, Name: "x", Permissions: []string{}})
	oneFamily(t, err, apitoken.ErrForbidden)

	lowered := ann
	lowered.Roles = []string{"read_only"}
	require.Equal(t, []string{"devices:view", "reports:view"}, w.IssueAs(lowered, apitoken.IssueRequest{Name: "x"}).Token.Grant.Permissions)
	lowered.Permissions = []string{"scripts:run"}
	require.Equal(t, []string{"devices:view", "reports:view", "scripts:run"}, w.IssueAs(lowered, apitoken.IssueRequest{Name: "x"}).Token.Grant.Permissions)

	chosen := ann
	chosen.Roles = []string{"administrator"}
	must(w.Service.Issue(t.Context(), chosen, apitoken.IssueRequest{Kind: shared, Name: "x"}))
}

// A token of some groups has less than an owner who has all by now.
func TestTokenOfGroupsActsWithoutRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plain, func(p *apitoken.Policy) { p.FreezeResources = true }))
	target := w.issueTo(dan, shared)
	st := apitoken.Standing{Active: true, Permissions: everything, Roles: []string{"administrator"}, Resources: apitoken.Resources{Groups: []string{"north"}}}
	w.Owners.Set("acme", "ann", st)
	caller := w.Verify(w.issue(plain).Secret).Actor()
	must(w.Service.Get(t.Context(), caller, target.Token.ID))
	st.Resources = apitoken.Resources{All: true}
	w.Owners.Set("acme", "ann", st)
	_, err := w.Service.Get(t.Context(), caller, target.Token.ID)
	oneFamily(t, err, apitoken.ErrNotFound)
}

// Of what this owner has a token can carry nothing, so a token that may do
// nothing is not one that has it all.
func TestTokenWithoutPermissionsActsWithoutRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	target := w.issueTo(dan, shared)
	w.Owners.Set("acme", "ann", apitoken.Standing{Active: true, Permissions: set("credentials:manage"), Roles: []string{"administrator"}})
	caller := w.Verify(w.issue(plain).Secret).Actor()
	oneFamily(t, w.Service.Revoke(t.Context(), caller, target.Token.ID, ""), apitoken.ErrNotFound)
	require.NoError(t, w.Service.Revoke(t.Context(), ann, target.Token.ID, ""))
}

// A token does not prolong, enable or open up one that may do more, but it may
// stop it.
func TestTokenStrengthensOnlyWhatItCovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	caller := w.Verify(w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "caller", Permissions: []string{"devices:view"}}).Secret).Actor()
	issue := func(permissions ...string) apitoken.ID {
		return w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "target", Permissions: permissions}).Token.ID
	}
	strong, weak := issue("devices:view", "reports:view"), issue("devices:view")
	name, soon := "renamed", apitoken.ExpiresIn(time.Hour)
	for verb, call := range map[string]func(id apitoken.ID) error{
		"edit": func(id apitoken.ID) error {
			_, err := w.Service.Edit(t.Context(), caller, id, apitoken.EditRequest{Name: &name})
			return err
		},
		"extend": func(id apitoken.ID) error {
			_, err := w.Service.Extend(t.Context(), caller, id, apitoken.ExtendRequest{Expiry: soon})
			return err
		},
		"enable": func(id apitoken.ID) error {
			_, err := w.Service.Enable(t.Context(), caller, id, apitoken.EnableRequest{})
			return err
		},
	} {
		require.NoError(t, call(weak), verb)
		lacking, ok := errors.AsType[*apitoken.PermissionError](call(strong))
		require.True(t, ok, verb)
		require.Equal(t, []string{"reports:view"}, lacking.Missing, verb)
	}
	_, err := w.Service.Disable(t.Context(), caller, strong, "")
	require.NoError(t, err)
	require.NoError(t, w.Service.Revoke(t.Context(), caller, strong, ""))
}

// A principal that is kept, as in a stream, manages nothing once its token is
// revoked, and within an overlap the replaced value does not take the token over.
func TestTokenActorIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kept := w.IssueAs(ann, apitoken.IssueRequest{Kind: plain, Name: "kept"})
	actor := w.Verify(kept.Secret).Actor()
	_, err := w.Service.Issue(t.Context(), actor, apitoken.IssueRequest{Kind: plain, Name: "while it works"})
	require.NoError(t, err)

	rotated, err := w.Service.Rotate(t.Context(), ann, kept.Token.ID, apitoken.RotateRequest{IfVersion: 1, Overlap: time.Hour})
	require.NoError(t, err)
	old := w.Verify(kept.Secret).Actor()
	_, err = w.Service.Rotate(t.Context(), old, kept.Token.ID, apitoken.RotateRequest{IfVersion: 2})
	oneFamily(t, err, apitoken.ErrForbidden)
	_, err = w.Service.Rotate(t.Context(), w.Verify(rotated.Secret).Actor(), kept.Token.ID, apitoken.RotateRequest{IfVersion: 2})
	require.NoError(t, err)

	require.NoError(t, w.Service.Revoke(t.Context(), ann, kept.Token.ID, ""))
	_, err = w.Service.Issue(t.Context(), actor, apitoken.IssueRequest{Kind: plain, Name: "afterwards"})
	oneFamily(t, err, apitoken.ErrForbidden)
	_, err = w.Service.List(t.Context(), actor, apitoken.ListQuery{})
	oneFamily(t, err, apitoken.ErrForbidden)
}

// Filters reach a store only if they are text.
func TestListFiltersAreText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bad := "a\x00\xff"
	_, err := w.Service.List(t.Context(), ann, apitoken.ListQuery{Owner: bad, Agent: bad, Creator: bad, MetaKey: bad, MetaValue: bad})
	require.Equal(t, []string{"agent", "creator", "meta_key", "meta_value", "owner"}, wrongFields(err))
}

// The presets name who manages other people's tokens: a colleague without a role
// or the permission does not even see them (S1.7, S2.16, S3.4, S3.6).
func TestPresetsNameManagers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eve := apitoken.Actor{ID: "eve", Tenant: "acme"}
	for _, kind := range []apitoken.Kind{user, fixed, personal, shared, node, legacy} {
		id := w.IssueAs(ann, apitoken.IssueRequest{Kind: kind, Name: "ann's"}).Token.ID
		oneFamily(t, w.Service.Revoke(t.Context(), eve, id, ""), apitoken.ErrNotFound)
		_, err := w.Service.Get(t.Context(), eve, id)
		oneFamily(t, err, apitoken.ErrNotFound)
	}
}
