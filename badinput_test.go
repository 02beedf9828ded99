package apitoken_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// Every managing call names each wrong field at once (S1.17, S2.17: the name;
// S2.26: each bad address), stores nothing, and repeats no secret.
func TestBadInputIsNamedAtOnce(t *testing.T) {
	t.Parallel()
	const canary = "secret-CANARY-0123456789"
	bidi := "a\u202eb"
	tooMany := make(map[string]string)
	for i := range 17 {
		tooMany["k"+strconv.Itoa(i)] = "v"
	}
	for _, c := range []struct {
		name string
		do   func(m apitoken.Manager, id apitoken.ID) error
		want []string
	}{
		{"Issue, personal", func(m apitoken.Manager, _ apitoken.ID) error {
			_, err := m.Issue(t.Context(), ann, apitoken.IssueRequest{
				Kind: personal, Name: " ", Description: bidi, Owner: "dan", Agent: "bot", Expiry: apitoken.ExpiresOn("01.02.2028"),
				Permissions: []string{"devices:view", "nope"}, Networks: []string{"10.0.0.1, 10.0.0.256", "10.0.0.1/8"}, Origins: []string{"null", "https://ok.example"},
				Share: 101, Metadata: tooMany, Legacy: apitoken.LegacyCredential{ID: "u", Secret: apitoken.NewSecret(canary)},
				IdempotencyKey: long(257), Reason: "\x00",
			})
			return err
		}, []string{"agent", "description", "expiry", "idempotency_key", "legacy", "metadata", "name", "networks[1]", "networks[2]", "origins[0]", "owner", "permissions[1]", "reason", "share"}},
		{"Issue, legacy", func(m apitoken.Manager, _ apitoken.ID) error {
			_, err := m.Issue(t.Context(), ann, apitoken.IssueRequest{
				Kind: legacy, Name: long(257), Description: long(4097), Permissions: []string{}, Networks: []string{" , "}, Share: -1,
				Metadata: map[string]string{"": "v"}, Legacy: apitoken.LegacyCredential{ID: long(129), Secret: apitoken.NewSecret("CANARY")},
				Reason: long(1025), Expiry: apitoken.ExpiresIn(-time.Second),
			})
			return err
		}, []string{"description", "expiry", "legacy.id", "legacy.secret", "metadata", "name", "networks", "permissions", "reason", "share"}},
		{"Issue, unknown kind", func(m apitoken.Manager, _ apitoken.ID) error {
			_, err := m.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: "nope", Networks: []string{"x"}, Origins: []string{"x"}, Reason: "\x00"})
			return err
		}, []string{"kind", "name", "networks[0]", "origins[0]", "reason"}},
		{"Issue, agent", func(m apitoken.Manager, _ apitoken.ID) error {
			_, err := m.Issue(t.Context(), system, apitoken.IssueRequest{Kind: agent, Owner: "ann", Role: "read_only"})
			return err
		}, []string{"agent", "name", "owner", "permissions"}},
		{"Edit", func(m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Edit(t.Context(), ann, id, apitoken.EditRequest{
				Name: ptr(""), Description: ptr("\xff"), Permissions: ptr([]string{"nope"}), AddNetworks: []string{"x"}, RemoveNetworks: []string{"10.0.0.9"},
				Origins: ptr([]string{"https://a.example/path"}), Share: ptr(0), Metadata: map[string]string{"k": long(5000)}, Reason: bidi,
			})
			return err
		}, []string{"add_networks[0]", "description", "metadata", "name", "origins[0]", "permissions[0]", "reason", "remove_networks", "share"}},
		{"Extend", func(m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Reason: bidi})
			return err
		}, []string{"expiry", "reason"}},
		{"Disable", func(m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Disable(t.Context(), ann, id, bidi)
			return err
		}, []string{"reason"}},
		{"Enable", func(m apitoken.Manager, id apitoken.ID) error {
			if _, err := m.Disable(t.Context(), ann, id, ""); err != nil {
				return err
			}
			_, err := m.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresOn("2027-02-30"), Reason: bidi})
			return err
		}, []string{"expiry", "reason"}},
		{"Rotate", func(m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Rotate(t.Context(), ann, id, apitoken.RotateRequest{Overlap: 1000 * day, Reason: bidi})
			return err
		}, []string{"if_version", "overlap", "reason"}},
		{"Rotate, a key too long", func(m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Rotate(t.Context(), ann, id, apitoken.RotateRequest{Overlap: -1, IdempotencyKey: long(257), Reason: bidi})
			return err
		}, []string{"idempotency_key", "overlap", "reason"}},
		{"Revoke", func(m apitoken.Manager, id apitoken.ID) error { return m.Revoke(t.Context(), ann, id, bidi) }, []string{"reason"}},
		{"Delete", func(m apitoken.Manager, id apitoken.ID) error { return m.Delete(t.Context(), ann, id, bidi) }, []string{"reason"}},
		{"EditOrigins", func(m apitoken.Manager, _ apitoken.ID) error {
			_, err := m.EditOrigins(t.Context(), ann, apitoken.OriginsRequest{Origins: []string{"*", "https://ok.example", "https://user@h"}, Reason: bidi})
			return err
		}, []string{"origins[0]", "origins[2]", "reason"}},
		{"List", func(m apitoken.Manager, _ apitoken.ID) error {
			_, err := m.List(t.Context(), ann, apitoken.ListQuery{Limit: 501, Sort: "colour", Status: apitoken.StatusSuspended, Cursor: "CANARY!"})
			return err
		}, []string{"cursor", "limit", "sort", "status"}},
		{"Explain", func(m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Explain(t.Context(), ann, apitoken.ExplainRequest{ID: id, Verify: apitoken.VerifyRequest{Token: canary}})
			return err
		}, []string{"id"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.issue(shared, func(r *apitoken.IssueRequest) { r.Networks = []string{"10.0.0.1"} }).Token.ID
			before := w.stored(id)
			err := c.do(w.Service, id)
			oneFamily(t, err, apitoken.ErrInvalid)
			require.Equal(t, c.want, wrongFields(err))
			require.NotContains(t, err.Error(), "CANARY")
			for _, f := range apitoken.Fields(err) {
				require.NotEmpty(t, f.Problem)
				require.Less(t, len(f.Problem), 400, f.Field)
			}
			after := w.stored(id)
			if c.name != "Enable" { // which disabled the token first
				require.Equal(t, before, after)
				require.Len(t, w.events(id), 1)
			}
			require.Equal(t, apitoken.Settings{Tenant: "acme"}, must(w.Service.Origins(t.Context(), ann)))
			require.Equal(t, 1, must(w.Service.Counts(t.Context(), ann)).Total)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An actor that says not who or where is refused by every call, with the store
// untouched.
func TestActorWithoutIDOrTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issue(shared).Token.ID
	before := w.dump()
	for name, c := range map[string]struct {
		actor apitoken.Actor
		want  []string
	}{
		"zero":        {apitoken.Actor{}, []string{"actor.id", "actor.tenant"}},
		"no ID":       {apitoken.Actor{Tenant: "acme"}, []string{"actor.id"}},
		"no tenant":   {apitoken.Actor{ID: "ann"}, []string{"actor.tenant"}},
		"system":      {apitoken.System("", ""), []string{"actor.id", "actor.tenant"}},
		"control":     {apitoken.Actor{ID: "an\nn", Tenant: "ac\x00me", RequestID: long(257)}, []string{"actor.id", "actor.request_id", "actor.tenant"}},
		"of no token": {apitoken.Principal{}.Actor(), []string{"actor.tenant"}},
	} {
		w.Store.Reset()
		for _, call := range tokenCalls {
			err := call.do(t.Context(), w.Service, c.actor, id)
			oneFamily(t, err, apitoken.ErrInvalid)
			require.Equal(t, c.want, wrongFields(err), "%s by %s", call.name, name)
		}
		for _, call := range tenantCalls {
			err := call.do(t.Context(), w.Service, c.actor)
			require.ErrorIs(t, err, apitoken.ErrInvalid, "%s by %s", call.name, name)
			require.Equal(t, c.want, wrongFields(err), "%s by %s", call.name, name)
		}
		require.Empty(t, w.Store.Calls(), name)
	}
	require.Equal(t, before, w.dump())
}

// Another tenant's token is not found, whatever is asked of it (CVE-2026-40264);
// nor is one that never was, or an ID that cannot be one.
func TestOtherTenantsTokensAreNotFound(t *testing.T) {
	t.Parallel()
	for _, kind := range worldKinds {
		for _, call := range tokenCalls {
			t.Run(string(kind)+"/"+call.name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				issued := w.issue(kind)
				foreign := w.Verify(w.IssueAs(zoe, apitoken.IssueRequest{Kind: plain}).Secret).Actor()
				before := w.dump()
				for name, actor := range map[string]apitoken.Actor{
					"another administrator": zoe,
					"another system":        apitoken.System("job", "rival"),
					"same user ID":          {ID: "ann", Tenant: "rival"},
					"another token":         foreign,
				} {
					err := call.do(t.Context(), w.Service, actor, issued.Token.ID)
					oneFamily(t, err, apitoken.ErrNotFound)
					unknown := call.do(t.Context(), w.Service, actor, "0123456789abcdefghijkl")
					require.Equal(t, unknown.Error(), err.Error(), "%s learns nothing from the error", name)
				}
				v, err := w.Service.FindBySecret(t.Context(), zoe, issued.Secret.Reveal())
				oneFamily(t, err, apitoken.ErrNotFound)
				require.Zero(t, v)
				x, err := w.Service.Explain(t.Context(), zoe, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: issued.Secret.Reveal()}})
				oneFamily(t, err, apitoken.ErrNotFound)
				require.Zero(t, x)
				for v := range w.Service.All(t.Context(), zoe, apitoken.ListQuery{}) {
					require.Equal(t, "rival", v.Tenant)
				}
				require.Equal(t, before, w.dump())
				w.Store.Reset()
				for _, id := range []apitoken.ID{"", "short", apitoken.ID(long(23)), "0123456789abcdefghij-_", "0123456789abcdefghijk\x00"} {
					if id != "" || call.name != "Explain" && call.name != "History" {
						oneFamily(t, call.do(t.Context(), w.Service, ann, id), apitoken.ErrNotFound)
					}
				}
				require.Empty(t, w.Store.Calls(), "an ID that cannot be one is not looked up")
			})
		}
	}
}

// Every malformed credential is refused without a store call, in one voice.
func TestMalformedCredentialsAskNoStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.issue(plain).Secret.Reveal()
	flip := func(i int) string {
		b := []byte(good)
		b[i] = map[bool]byte{true: 'a', false: 'b'}[b[i] != 'a']
		return string(b)
	}
	bad := map[string]string{
		"space before": " " + good, "space after": good + " ", "newline": good + "\n", "with the scheme": "Bearer " + good, "twice": good + good,
		"comma": good + "," + good, "cut": good[:len(good)-1], "longer": good + "0", "no prefix": good[len("acme"):], "no underscore": strings.Replace(good, "_", "", 1),
		"another prefix": "bcme" + good[4:], "upper case": strings.ToUpper(good), "only the prefix": "acme_", "huge": long(1 << 20), "just over the bound": long(513),
		"underscore": "_", "zero byte": "\x00", "not UTF-8": "\xff" + good[1:], "full width": strings.Replace(good, "a", "ａ", 1), "JWT": "eyJhbGciOiJub25lIn0.e30.",
	}
	for i := range len(good) {
		bad["byte "+strconv.Itoa(i)] = flip(i)
	}
	w.Store.Reset()
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		p, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: bad[name]})
		require.Equal(t, apitoken.ErrMalformedToken, err, name)
		require.Zero(t, p)
		_, err = w.Service.FindBySecret(t.Context(), system, bad[name])
		if err != nil {
			require.ErrorIs(t, err, apitoken.ErrNotFound)
		}
	}
	for name, c := range map[string]struct {
		req  apitoken.VerifyRequest
		want error
	}{
		"nothing":              {apitoken.VerifyRequest{}, apitoken.ErrNoCredential},
		"a legacy ID alone":    {apitoken.VerifyRequest{LegacyID: "u"}, apitoken.ErrNoCredential},
		"a secret alone":       {apitoken.VerifyRequest{LegacySecret: long(40)}, apitoken.ErrNoCredential},
		"two":                  {apitoken.VerifyRequest{Token: good, LegacyID: "u", LegacySecret: long(40)}, apitoken.ErrTwoCredentials},
		"one and a half":       {apitoken.VerifyRequest{Token: good, LegacyID: "u"}, apitoken.ErrTwoCredentials},
		"a legacy ID too long": {apitoken.VerifyRequest{LegacyID: long(129), LegacySecret: long(40)}, apitoken.ErrMalformedToken},
		"a legacy ID damaged":  {apitoken.VerifyRequest{LegacyID: "u\xff", LegacySecret: long(40)}, apitoken.ErrMalformedToken},
		"a legacy ID with NUL": {apitoken.VerifyRequest{LegacyID: "u\x00", LegacySecret: long(40)}, apitoken.ErrMalformedToken},
		"a secret too short":   {apitoken.VerifyRequest{LegacyID: "u", LegacySecret: long(19)}, apitoken.ErrMalformedToken},
		"a secret too long":    {apitoken.VerifyRequest{LegacyID: "u", LegacySecret: long(257)}, apitoken.ErrMalformedToken},
	} {
		_, err := w.Service.Verify(t.Context(), c.req)
		require.Equal(t, c.want, err, name)
	}
	require.Empty(t, w.Store.Calls())
	require.NoError(t, w.Service.Flush(t.Context()))
	require.Empty(t, w.Store.Calls(), "nor is any use left behind")
}
