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

// A token that manages tokens stays within what it has itself: it issues, edits
// and rotates nothing that is worth more (S2.5, S3.10).
func TestTokensAsActors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	as := func(req apitoken.IssueRequest) apitoken.Actor {
		req.Name = "actor"
		return w.Verify(w.IssueAs(ann, req).Secret).Actor()
	}
	weakly := w.IssueAs(ann, apitoken.IssueRequest{Kind: personal, Permissions: []string{"reports:view"}})
	weak, weakID := w.Verify(weakly.Secret).Actor(), weakly.Token.ID
	rotate := func(a apitoken.Actor, id apitoken.ID) error {
		_, err := w.Service.Rotate(t.Context(), a, id, apitoken.RotateRequest{IfVersion: w.stored(id).Token.Version})
		return err
	}
	edit := func(a apitoken.Actor, id apitoken.ID, names ...string) error {
		_, err := w.Service.Edit(t.Context(), a, id, apitoken.EditRequest{Permissions: &names})
		return err
	}
	strong := w.issue(personal).Token.ID
	equal := w.issue(personal, func(r *apitoken.IssueRequest) { r.Permissions = []string{"reports:view"} }).Token.ID
	live := w.issue(legacy).Token.ID
	team := w.issue(shared).Token.ID
	// It has less than its owner, so it has none of the owner's roles either.
	for _, id := range []apitoken.ID{strong, equal, live} {
		oneFamily(t, rotate(weak, id), apitoken.ErrForbidden)
	}
	oneFamily(t, rotate(weak, team), apitoken.ErrNotFound)
	require.NoError(t, rotate(weak, weakID), "itself it may")
	oneFamily(t, rotate(weak, w.issue(plain).Token.ID), apitoken.ErrForbidden) // which needs no role, but is worth more
	require.NoError(t, rotate(weak, w.issue(plain, func(r *apitoken.IssueRequest) { r.Permissions = []string{"reports:view"} }).Token.ID))
	require.NoError(t, rotate(as(apitoken.IssueRequest{Kind: personal}), team), "one that has all its owner has acts with the owner's roles")
	require.Equal(t, []string{"permissions[0]"}, wrongFields(edit(weak, equal, "scripts:run")))
	require.NoError(t, edit(weak, strong, "reports:view"), "taking away is within what it has")
	require.NoError(t, rotate(ann, team), "the person herself may")

	robot := as(apitoken.IssueRequest{Kind: shared, Permissions: []string{"deploy"}})
	for _, call := range tokenCalls { // it has no role, and sees nothing that needs one
		oneFamily(t, call.do(t.Context(), w.Service, robot, team), apitoken.ErrNotFound)
	}
	require.Equal(t, "token:", robot.ID[:6])
	forged := robot
	forged.ID, forged.Roles = "ann", []string{"administrator"} // a handler that believes its client
	_, err := w.Service.Issue(t.Context(), forged, apitoken.IssueRequest{Kind: personal, Name: "one"})
	require.Error(t, err)
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
