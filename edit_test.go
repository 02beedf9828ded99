package apitoken_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func TestEdit(t *testing.T) {
	t.Parallel()
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, c := range []struct {
		name    string
		kind    apitoken.Kind
		req     apitoken.EditRequest
		changed []string // nil = nothing is written
		bad     []string
		check   func(t *testing.T, v apitoken.View)
	}{
		{"nothing", plain, apitoken.EditRequest{}, nil, nil, nil},
		{"the same again", plain, apitoken.EditRequest{Name: ptr("one"), Share: ptr(100)}, nil, nil, nil},
		{"name and description", plain, apitoken.EditRequest{Name: ptr("two"), Description: ptr("d")}, []string{"name", "description"}, nil,
			func(t *testing.T, v apitoken.View) {
				require.Equal(t, "two", v.Name)
				require.Equal(t, "d", v.Description)
			}},
		{"metadata", plain, apitoken.EditRequest{Metadata: map[string]string{"team": "a"}}, []string{"metadata"}, nil,
			func(t *testing.T, v apitoken.View) { require.Equal(t, map[string]string{"team": "a"}, v.Metadata) }},
		// S1.20: the percentage can be edited, 1 to 100.
		{"share 1", user, apitoken.EditRequest{Share: ptr(1)}, []string{"share"}, nil, func(t *testing.T, v apitoken.View) { require.Equal(t, 1, v.Share) }},
		{"share 100", user, apitoken.EditRequest{Share: ptr(100)}, []string{"share"}, nil, nil},
		{"share 0", user, apitoken.EditRequest{Share: ptr(0)}, nil, []string{"share"}, nil},
		{"share 101", user, apitoken.EditRequest{Share: ptr(101)}, nil, []string{"share"}, nil},
		// S2.24: entries are added, removed, changed.
		{"add an address", fixed, apitoken.EditRequest{AddNetworks: []string{"10.0.0.0/8, 192.0.2.1"}}, []string{"networks"}, nil,
			func(t *testing.T, v apitoken.View) {
				require.Equal(t, prefixes("192.0.2.1/32", "2001:db8::/32", "10.0.0.0/8"), v.Networks)
			}},
		{"remove an address", fixed, apitoken.EditRequest{RemoveNetworks: []string{"192.0.2.1"}}, []string{"networks"}, nil,
			func(t *testing.T, v apitoken.View) { require.Equal(t, prefixes("2001:db8::/32"), v.Networks) }},
		{"change an address", fixed, apitoken.EditRequest{RemoveNetworks: []string{"192.0.2.1"}, AddNetworks: []string{"192.0.2.2"}}, []string{"networks"}, nil,
			func(t *testing.T, v apitoken.View) {
				require.Equal(t, prefixes("2001:db8::/32", "192.0.2.2/32"), v.Networks)
			}},
		{"a changed entry is checked again", fixed, apitoken.EditRequest{Networks: ptr([]string{"192.0.2.1", "192.0.2.300"})}, nil, []string{"networks[1]"}, nil},
		// S2.26: any bad entry, nothing is stored; each by itself.
		{"bad entries", fixed, apitoken.EditRequest{AddNetworks: []string{"10.0.0.1;x y,10.0.0.2"}}, nil, []string{"add_networks[1]", "add_networks[2]"}, nil},
		{"remove what is not there", fixed, apitoken.EditRequest{RemoveNetworks: []string{"192.0.2.9"}}, nil, []string{"remove_networks"}, nil},
		{"add what is there", fixed, apitoken.EditRequest{AddNetworks: []string{"192.0.2.1"}}, nil, nil, nil}, // S2.27
		{"remove all in silence", fixed, apitoken.EditRequest{Networks: ptr([]string{})}, nil, []string{"networks"}, nil},
		{"remove all, one by one", fixed, apitoken.EditRequest{RemoveNetworks: []string{"192.0.2.1 2001:db8::/32"}}, nil, []string{"networks"}, nil},
		{"remove all, explicitly", fixed, apitoken.EditRequest{Networks: ptr([]string{}), AnyNetwork: true}, []string{"networks"}, nil,
			func(t *testing.T, v apitoken.View) { require.Empty(t, v.Networks) }},
		{"any, and a list", fixed, apitoken.EditRequest{AnyNetwork: true, AddNetworks: []string{"10.0.0.1"}}, nil, []string{"any_network"}, nil},
		{"replace and add", fixed, apitoken.EditRequest{Networks: ptr([]string{"10.0.0.1"}), AddNetworks: []string{"10.0.0.2"}}, nil, []string{"networks"}, nil},
		{"origins", plain, apitoken.EditRequest{Origins: ptr([]string{"HTTPS://App.example:443", "https://app.example"})}, []string{"origins"}, nil,
			func(t *testing.T, v apitoken.View) { require.Equal(t, []string{"https://app.example"}, v.Origins) }},
		// S2.6: permissions never change once a token was created.
		{"frozen permissions", fixed, apitoken.EditRequest{Permissions: ptr([]string{"devices:view"})}, nil, []string{"permissions"}, nil},
		{"frozen role", fixed, apitoken.EditRequest{Role: ptr("read_only")}, nil, []string{"permissions"}, nil},
		// S3.20: live permissions are not editable and left out of List and Get.
		{"live permissions", legacy, apitoken.EditRequest{Permissions: ptr([]string{"devices:view"})}, nil, []string{"permissions"}, nil},
		{"switchable permissions", personal, apitoken.EditRequest{Permissions: ptr([]string{"devices:manage"})}, []string{"permissions"}, nil,
			func(t *testing.T, v apitoken.View) {
				require.Equal(t, apitoken.Grant{Cut: true, Permissions: []string{"devices:manage", "devices:view"}}, v.Grant)
			}},
		{"switchable to a role", shared, apitoken.EditRequest{Role: ptr("read_only")}, []string{"permissions"}, nil,
			func(t *testing.T, v apitoken.View) { require.Equal(t, apitoken.Grant{Role: "read_only"}, v.Grant) }},
		{"switchable to nothing", shared, apitoken.EditRequest{Permissions: ptr([]string(nil))}, []string{"permissions"}, nil,
			func(t *testing.T, v apitoken.View) { require.Empty(t, v.Grant.Permissions) }},
		{"an empty role", shared, apitoken.EditRequest{Role: ptr("")}, nil, []string{"role"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			issued := w.issue(c.kind, func(r *apitoken.IssueRequest) { r.Networks = []string{"192.0.2.1", "2001:db8::/32"} })
			before := w.dump()
			w.Clock.Advance(day)
			v, err := w.Service.Edit(t.Context(), ann, issued.Token.ID, c.req)
			if c.bad != nil {
				oneFamily(t, err, apitoken.ErrInvalid)
				require.Equal(t, c.bad, wrongFields(err))
				require.Equal(t, before, w.dump())
				return
			}
			require.NoError(t, err)
			if c.check != nil {
				c.check(t, v)
			}
			require.Equal(t, w.get(issued.Token.ID), v)
			if c.changed == nil { // S2.28: changed by an explicit edit only
				require.Equal(t, before, w.dump())
				return
			}
			require.Equal(t, int64(2), v.Version)
			require.Equal(t, w.Clock.Now(), v.UpdatedAt)
			events := w.events(issued.Token.ID)
			require.Len(t, events, 2)
			require.Equal(t, apitoken.EventEdited, events[1].Type)
			require.Equal(t, c.changed, events[1].Changed)
		})
	}
}

// S3.10: nor does an edit give more than the editor and the owner have.
func TestEditWithinWhatEditorAndOwnerHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, with(plain, func(p *apitoken.Policy) { p.EditPermissions = true }))
	edit := func(actor apitoken.Actor, id apitoken.ID, names ...string) error {
		_, err := w.Service.Edit(t.Context(), actor, id, apitoken.EditRequest{Permissions: &names})
		return err
	}
	bobs, anns := w.issueTo(bob, plain).Token.ID, w.issueTo(ann, plain).Token.ID
	require.NoError(t, edit(bob, bobs, "devices:view"))
	require.NoError(t, edit(bob, bobs, "devices:manage"), "what the owner has comes back")
	require.Equal(t, []string{"permissions[0]"}, wrongFields(edit(bob, anns, "scripts:run")), "beyond the editor")
	require.Equal(t, []string{"permissions[0]"}, wrongFields(edit(ann, bobs, "scripts:run")), "beyond the owner")
	require.NoError(t, edit(ann, bobs, "reports:view"))
}

func TestEditWhoMay(t *testing.T) {
	t.Parallel()
	edit := func(w *world, a apitoken.Actor, id apitoken.ID) error {
		_, err := w.Service.Edit(t.Context(), a, id, apitoken.EditRequest{Name: ptr("two")})
		return err
	}
	w := newWorld(t)
	own, team := w.issueTo(bob, personal).Token.ID, w.issue(shared).Token.ID
	oneFamily(t, edit(w, ann, own), apitoken.ErrNotOwner)    // administrators do not edit another person's
	oneFamily(t, edit(w, system, own), apitoken.ErrNotOwner) // nor does the system
	oneFamily(t, edit(w, eve, own), apitoken.ErrNotFound)    // others do not even see it
	oneFamily(t, edit(w, bob, team), apitoken.ErrNotFound)   // S3.6: an analyst does not see shared ones
	require.NoError(t, edit(w, bob, own))
	require.NoError(t, edit(w, dan, team))
}

// S2.35: what is expired or revoked is not edited; S3.15: what is switched off
// by its expiry is enabled first.
func TestEditByState(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		kind   apitoken.Kind
		end    func(*world, apitoken.ID)
		status apitoken.Status // "" = may be edited
	}{
		{"active", shared, func(*world, apitoken.ID) {}, ""},
		{"disabled by hand", shared, func(w *world, id apitoken.ID) { _, _ = w.Service.Disable(t.Context(), ann, id, "") }, ""},
		{"revoked", shared, func(w *world, id apitoken.ID) { _ = w.Service.Revoke(t.Context(), ann, id, "") }, apitoken.StatusRevoked},
		{"expired, visible", fixed, func(w *world, _ apitoken.ID) { w.Clock.Advance(92 * day) }, apitoken.StatusExpired},
		{"expired, visible and swept", fixed, func(w *world, _ apitoken.ID) { w.Clock.Advance(92 * day); w.sweep() }, apitoken.StatusExpired},
		{"expired, disabled", personal, func(w *world, _ apitoken.ID) { w.Clock.Advance(day) }, apitoken.StatusDisabled},
		{"expired, disabled and swept", personal, func(w *world, _ apitoken.ID) { w.Clock.Advance(day); w.sweep() }, apitoken.StatusDisabled},
		{"idle", user, func(w *world, _ apitoken.ID) { w.Clock.Advance(30 * day) }, apitoken.StatusRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.issue(c.kind, func(r *apitoken.IssueRequest) {
				if c.kind == personal {
					r.Expiry = apitoken.ExpiresIn(day)
				}
			}).Token.ID
			c.end(w, id)
			before, v := w.dump(), w.get(id)
			require.Equal(t, c.status == "", v.Editable)
			_, err := w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("two")})
			if c.status == "" {
				require.NoError(t, err)
				return
			}
			oneFamily(t, err, apitoken.ErrConflict)
			var state *apitoken.StateError
			require.ErrorAs(t, err, &state)
			require.Equal(t, c.status, state.Status)
			require.Equal(t, "one", w.stored(id).Token.Name)
			require.Equal(t, before, w.dump(), "a refused call writes nothing, not even what is due")
		})
	}
}

func TestIfVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(w *world, id apitoken.ID, version int64) error
	}{
		{"Edit", func(w *world, id apitoken.ID, v int64) error {
			_, err := w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("two"), IfVersion: v})
			return err
		}},
		{"Extend", func(w *world, id apitoken.ID, v int64) error {
			_, err := w.Service.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(day), IfVersion: v})
			return err
		}},
		{"Enable", func(w *world, id apitoken.ID, v int64) error {
			_, err := w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{IfVersion: v})
			return err
		}},
		{"Rotate", func(w *world, id apitoken.ID, v int64) error {
			_, err := w.Service.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IfVersion: v})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.issue(plain).Token.ID
			before := w.dump()
			oneFamily(t, c.do(w, id, 2), apitoken.ErrVersion)
			require.Equal(t, before, w.dump())
			require.NoError(t, c.do(w, id, 1))
		})
	}
}

// S1.1: the tenant's list and the token's own, a browser's origin must pass both.
func TestOrigins(t *testing.T) {
	t.Parallel()
	const app, tool, evil = "https://app.example", "https://tool.example", "https://evil.example"
	for _, c := range []struct {
		name          string
		tenant, token []string
		pass, refused []string
	}{
		{"no list", nil, nil, []string{"", app, evil, "null"}, nil},
		{"the tenant's", []string{app, tool}, nil, []string{"", app, tool, "HTTPS://APP.example:443"}, []string{evil, "null", "http://app.example", "https://app.example:8443", "https://app.example.evil.example"}},
		{"the token's", nil, []string{app}, []string{"", app}, []string{tool, evil, "null"}},
		{"both", []string{app, tool}, []string{app, evil}, []string{"", app}, []string{tool, evil, "null", "not an origin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.tenant != nil {
				s, err := w.Service.EditOrigins(t.Context(), ann, apitoken.OriginsRequest{Origins: c.tenant, Reason: "launch"})
				require.NoError(t, err)
				got, err := w.Service.Origins(t.Context(), dan)
				require.NoError(t, err)
				require.Equal(t, s, got)
			}
			issued := w.issue(plain, func(r *apitoken.IssueRequest) { r.Origins = c.token })
			other := w.IssueAs(zoe, apitoken.IssueRequest{Kind: plain})
			ask := func(i apitoken.Issued, origin string) error {
				_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal(), Origin: origin})
				return err
			}
			for _, origin := range c.pass {
				require.NoError(t, ask(issued, origin), origin)
			}
			for _, origin := range c.refused {
				oneFamily(t, ask(issued, origin), apitoken.ErrOrigin)
			}
			require.NoError(t, ask(other, evil), "another tenant's list is its own")
			require.EqualValues(t, len(c.pass), w.get(issued.Token.ID).Usage.Uses, "a refused origin is no use")
		})
	}
}

func TestEditOriginsVersionsAndEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	edit := func(actor apitoken.Actor, version int64, origins ...string) (apitoken.Settings, error) {
		return w.Service.EditOrigins(t.Context(), actor, apitoken.OriginsRequest{Origins: origins, IfVersion: version, Reason: "why"})
	}
	first, err := edit(ann, 0, "https://a.example", "https://A.example:443")
	require.NoError(t, err)
	require.Equal(t, int64(1), first.Version)
	_, err = edit(ann, 9, "https://b.example")
	oneFamily(t, err, apitoken.ErrVersion)
	again, err := edit(dan, 1, "https://a.example")
	require.NoError(t, err)
	require.Equal(t, first, again, "the same list again writes nothing")
	_, err = edit(dan, 1)
	require.NoError(t, err)

	events, err := w.Store.Unwrap().Events(context.Background(), "acme", "", "", 10)
	require.NoError(t, err)
	require.Equal(t, []apitoken.EventType{apitoken.EventOrigins, apitoken.EventOrigins}, eventTypes(events))
	require.Equal(t, "why", events[0].Reason)
	require.Equal(t, apitoken.Party{Type: apitoken.PartyUser, ID: "dan"}, events[1].Actor)

	w.Owners.SetActive("acme", "dan", false)
	_, err = edit(dan, 0, "https://evil.example")
	oneFamily(t, err, apitoken.ErrMayNot)
	require.Empty(t, must(w.Service.Origins(t.Context(), ann)).Origins)
}
