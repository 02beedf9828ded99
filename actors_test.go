package apitoken_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/memstore"
)

// Without a directory what the Actor says is all that is known: nothing said is
// nothing to grant.
func TestActorsOfAHostWithoutDirectories(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		actor apitoken.Actor
		want  []string
	}{
		{"nothing said", apitoken.Actor{}, nil},
		{"permissions", apitoken.Actor{Permissions: []string{"devices:manage"}}, []string{"devices:manage", "devices:view"}},
		{"roles", apitoken.Actor{Roles: []string{"read_only", "unknown"}}, []string{"devices:view", "reports:view"}},
		{"both", apitoken.Actor{Roles: []string{"api_developer"}, Permissions: []string{"scripts:run"}}, []string{"reports:view", "scripts:run"}},
		{"not for tokens, and unknown", apitoken.Actor{Permissions: []string{"credentials:manage", "nope"}}, nil},
	} {
		clock := apitokentest.NewClock(apitokentest.Start)
		s, err := apitoken.New(memstore.New(), apitoken.Options{Catalog: worldCatalog, Clock: clock})
		require.NoError(t, err)
		c.actor.ID, c.actor.Tenant = "ann", "acme"
		issued, err := s.Issue(t.Context(), c.actor, apitoken.IssueRequest{Name: "ci"})
		require.NoError(t, err, c.name)
		p, err := s.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		require.NoError(t, err)
		require.Equal(t, c.want, p.Permissions().Names(), c.name)
		require.Equal(t, "ann", p.Owner)
		clock.Advance(10000 * day)
		_, err = s.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		require.NoError(t, err, "no expiry unless asked")
		page, err := s.List(t.Context(), c.actor, apitoken.ListQuery{Suspicious: true})
		require.NoError(t, err)
		require.Empty(t, page.Tokens, "nobody can say that any is")
	}
	// Without a catalog no token has any permission, and any requirement is refused.
	s, err := apitoken.New(memstore.New(), apitoken.Options{})
	require.NoError(t, err)
	issued, err := s.Issue(t.Context(), apitoken.Actor{ID: "ann", Tenant: "acme", Permissions: []string{"devices:view"}}, apitoken.IssueRequest{Name: "ci"})
	require.NoError(t, err)
	_, err = s.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Need: worldCatalog.MustRequire("devices:view")})
	oneFamily(t, err, apitoken.ErrForbidden)
	_, err = s.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "ci", Permissions: []string{"devices:view"}})
	require.Equal(t, []string{"permissions"}, wrongFields(err))
}

// What the Actor says and what the directory says both bound what it can grant.
func TestActorsAreBoundTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	narrow := bob
	narrow.Permissions = []string{"reports:view", "scripts:run"} // of which the directory knows the first
	issued := w.IssueAs(narrow, apitoken.IssueRequest{Kind: plain})
	require.Equal(t, []string{"reports:view"}, issued.Token.Grant.Permissions)
	narrow.Roles = []string{"read_only"}
	_, err := w.Service.Issue(t.Context(), narrow, apitoken.IssueRequest{Kind: personal, Name: "one"})
	oneFamily(t, err, apitoken.ErrMayNot)
}

// The one cross-tenant actor finds tokens of every tenant and issues nothing.
func TestCrossTenantActor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ops := apitoken.DangerouslyCrossTenant("ops")
	require.True(t, ops.IsSystem())
	for _, owner := range []apitoken.Actor{ann, zoe} {
		for _, call := range tokenCalls {
			issued := w.IssueAs(owner, apitoken.IssueRequest{Kind: shared})
			require.NoError(t, call.do(t.Context(), w.Service, ops, issued.Token.ID), call.name)
		}
		gone := w.IssueAs(owner, apitoken.IssueRequest{Kind: shared}).Token
		require.NoError(t, w.Service.Delete(t.Context(), ops, gone.ID, "cleaned up"))
		events, err := w.Store.Unwrap().Events(t.Context(), owner.Tenant, gone.ID, "", 10)
		require.NoError(t, err)
		require.Equal(t, apitoken.Party{Type: apitoken.PartySystem, ID: "ops"}, events[1].Actor)
		require.Equal(t, owner.Tenant, events[1].Tenant)
	}
	_, err := w.Service.Issue(t.Context(), ops, apitoken.IssueRequest{Kind: shared, Name: "one"})
	oneFamily(t, err, apitoken.ErrMayNot)
	_, err = w.Service.EditOrigins(t.Context(), ops, apitoken.OriginsRequest{Origins: []string{"https://a.example"}})
	oneFamily(t, err, apitoken.ErrInvalid)
	_, err = w.Service.Origins(t.Context(), ops)
	oneFamily(t, err, apitoken.ErrInvalid)
	require.False(t, ann.IsSystem())
}

// A token that manages tokens stays within what it has itself (S2.5, S3.10); what
// it may rotate is tested beside.
func TestTokensAsActors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as := func(kind apitoken.Kind, names ...string) apitoken.Actor {
		return w.Verify(w.issue(kind, func(r *apitoken.IssueRequest) { r.Permissions = names }).Secret).Actor()
	}
	weak, robot := as(personal, "reports:view"), as(shared, "deploy")
	edit := func(a apitoken.Actor, id apitoken.ID, names ...string) error {
		_, err := w.Service.Edit(t.Context(), a, id, apitoken.EditRequest{Permissions: &names})
		return err
	}
	mine := w.issue(personal, func(r *apitoken.IssueRequest) { r.Permissions = []string{"reports:view"} }).Token.ID
	require.Equal(t, []string{"permissions[0]"}, wrongFields(edit(weak, mine, "scripts:run")))
	require.NoError(t, edit(weak, mine), "taking away is within what it has")
	oneFamily(t, edit(weak, w.issue(personal).Token.ID, "reports:view"), apitoken.ErrForbidden)
	team := w.issue(shared).Token.ID
	for _, call := range tokenCalls { // neither acts with a role, nor sees what needs one
		oneFamily(t, call.do(t.Context(), w.Service, robot, team), apitoken.ErrNotFound)
		oneFamily(t, call.do(t.Context(), w.Service, weak, team), apitoken.ErrNotFound)
	}
	forged := robot
	forged.ID, forged.Roles = "ann", []string{"administrator"} // a handler that believes its client
	_, err := w.Service.Issue(t.Context(), forged, apitoken.IssueRequest{Kind: personal, Name: "one"})
	oneFamily(t, err, apitoken.ErrForbidden)
}

// S3.16: a token is enabled only while its owner is active, and reactivating the
// owner enables nothing by itself.
func TestEnableNeedsAnActiveOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issueTo(bob, personal)
	id := issued.Token.ID
	must(w.Service.Disable(t.Context(), ann, id, ""))
	req := apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)}
	w.Owners.SetActive("acme", "bob", false)
	before := w.dump()
	_, err := w.Service.Enable(t.Context(), ann, id, req)
	oneFamily(t, err, apitoken.ErrConflict)
	require.ErrorContains(t, err, "reactivate the owner first")
	require.Equal(t, before, w.dump())
	w.Owners.SetActive("acme", "bob", true)
	require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrDisabled)
	must(w.Service.Enable(t.Context(), ann, id, req))
	require.NoError(t, w.verify(issued.Secret))
}
