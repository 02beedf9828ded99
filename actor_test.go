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
