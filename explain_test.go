package apitoken_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// Explain says what Verify would: it accepts what Verify accepts, and its first
// failed check is Verify's refusal. It counts no use and takes from no limit.
func TestExplainAgreesWithVerify(t *testing.T) {
	t.Parallel()
	good := apitoken.VerifyRequest{
		Origin: "https://app.example", Address: netip.MustParseAddr("192.0.2.1"), Limits: []string{"api"}, Kinds: []apitoken.Kind{personal},
		Need: worldCatalog.MustRequire("devices:view"),
	}
	for _, c := range []struct {
		name   string
		change func(w *world, id apitoken.ID, req *apitoken.VerifyRequest)
		check  string // the first that fails, "" = accepted
		reason string
	}{
		{"all good", func(*world, apitoken.ID, *apitoken.VerifyRequest) {}, "", ""},
		{"damaged", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.Token += "x" }, "credential", "malformed_token"},
		{"two credentials", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.LegacyID = "u" }, "credential", "two_credentials"},
		{"wrong secret", func(w *world, _ apitoken.ID, r *apitoken.VerifyRequest) {
			r.Token = swapSecret(r.Token, w.issue(plain).Secret.Reveal())
		}, "secret", "wrong_secret"},
		{"replaced", func(w *world, id apitoken.ID, _ *apitoken.VerifyRequest) { w.rotate(ann, id, 0) }, "secret", "superseded"},
		{"disabled", func(w *world, id apitoken.ID, _ *apitoken.VerifyRequest) {
			must(w.Service.Disable(t.Context(), ann, id, ""))
		}, "state", "disabled"},
		{"revoked", func(w *world, id apitoken.ID, _ *apitoken.VerifyRequest) {
			_ = w.Service.Revoke(t.Context(), ann, id, "")
		}, "state", "revoked"},
		{"expired", func(w *world, _ apitoken.ID, _ *apitoken.VerifyRequest) { w.Clock.Advance(day) }, "state", "expired"},
		{"owner inactive", func(w *world, _ apitoken.ID, _ *apitoken.VerifyRequest) { w.Owners.SetActive("acme", "ann", false) }, "owner", "owner_inactive"},
		{"owner without role", func(w *world, _ apitoken.ID, _ *apitoken.VerifyRequest) {
			w.Owners.SetRoles("acme", "ann", "administrators")
		}, "owner", "owner_role"},
		{"use", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.Use = "deploy" }, "kind", "kind"},
		{"kind", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.Kinds = []apitoken.Kind{shared} }, "kind", "kind"},
		{"origin", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.Origin = "https://evil.example" }, "origin", "origin"},
		{"network", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) {
			r.Address = netip.MustParseAddr("198.51.100.1")
		}, "network", "network"},
		{"limit", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.Limits = []string{"unheard of"} }, "limit", "unavailable"},
		{"limit used up", func(w *world, _ apitoken.ID, r *apitoken.VerifyRequest) {
			for range 2 {
				must(w.Service.Verify(t.Context(), *r))
			}
			require.NoError(t, w.Service.Flush(t.Context()))
		}, "limit", "rate_limited"},
		{"cost above the limit", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) { r.Cost = 3 }, "limit", "rate_limited"},
		{"permission", func(_ *world, _ apitoken.ID, r *apitoken.VerifyRequest) {
			r.Need = worldCatalog.MustRequire("scripts:run")
		}, "permission", "permission"},
		{"licence", func(w *world, _ apitoken.ID, _ *apitoken.VerifyRequest) { w.Entitlements.Remove("acme") }, "permission", "permission"},
		{"owner's permission", func(w *world, _ apitoken.ID, _ *apitoken.VerifyRequest) {
			w.Owners.SetPermissions("acme", "ann", set("reports:view"))
		}, "permission", "permission"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *apitoken.Options) {
				o.Limits = map[string]apitoken.Limit{"api": {Quota: 2, Window: time.Hour}}
			})
			issued := w.issue(personal, func(r *apitoken.IssueRequest) {
				r.Permissions, r.Networks, r.Origins, r.Expiry = []string{"devices:view"}, []string{"192.0.2.0/24"}, []string{"https://app.example"}, apitoken.ExpiresIn(day)
			})
			req := good
			req.Token = issued.Secret.Reveal()
			c.change(w, issued.Token.ID, &req)
			before := w.dump()
			explain := func(r apitoken.ExplainRequest) apitoken.Explanation {
				x, err := w.Service.Explain(t.Context(), system, r)
				require.NoError(t, err)
				return x
			}
			byCredential := explain(apitoken.ExplainRequest{Verify: req})
			named := req
			named.Token, named.LegacyID = "", ""
			byID := explain(apitoken.ExplainRequest{ID: issued.Token.ID, Verify: named})
			require.NoError(t, w.Service.Flush(t.Context()))
			require.Equal(t, before, w.dump())

			var names []string
			for _, check := range byCredential.Checks {
				names = append(names, check.Name)
			}
			require.Equal(t, []string{"credential", "secret", "state", "owner", "kind", "origin", "network", "limit", "permission"}, names)
			_, err := w.Service.Verify(t.Context(), req)
			require.Equal(t, c.reason, apitoken.ReasonOf(err))
			require.Equal(t, err == nil, byCredential.Accepted)
			if c.check == "" {
				require.Empty(t, byCredential.Failed())
				require.True(t, byID.Accepted)
				return
			}
			first := byCredential.Failed()[0]
			require.Equal(t, c.check, first.Name)
			require.Equal(t, c.reason, first.Reason)
			require.NotEmpty(t, first.Detail)
			if c.check == "credential" || c.check == "secret" {
				require.True(t, byID.Accepted, "the token itself is good")
			} else {
				require.Equal(t, first, byID.Failed()[0])
			}
		})
	}
}

func TestExplainAsksForOneOfIDAndCredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(personal)
	_, err := w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{})
	require.Equal(t, []string{"id"}, wrongFields(err))
	// What an actor may not see is not explained, by whatever it is named.
	for _, actor := range []apitoken.Actor{bob, eve, zoe} {
		for _, req := range []apitoken.ExplainRequest{{ID: issued.Token.ID}, {Verify: apitoken.VerifyRequest{Token: issued.Secret.Reveal()}}} {
			x, err := w.Service.Explain(t.Context(), actor, req)
			oneFamily(t, err, apitoken.ErrNotFound)
			require.Zero(t, x)
		}
	}
	unknown := w.issue(plain)
	require.NoError(t, w.Service.Delete(t.Context(), ann, unknown.Token.ID, ""))
	_, err = w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: unknown.Secret.Reveal()}})
	oneFamily(t, err, apitoken.ErrNotFound)
}

// Where the host does not answer, Explain shows that, and accepts nothing.
func TestExplainShowsOutages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(personal, func(r *apitoken.IssueRequest) { r.Networks = []string{"192.0.2.1"} })
	need := apitoken.VerifyRequest{Need: worldCatalog.MustRequire("devices:view")}
	outcome := func(x apitoken.Explanation, name string) apitoken.Check {
		for _, c := range x.Checks {
			if c.Name == name {
				return c
			}
		}
		return apitoken.Check{}
	}
	explain := func(req apitoken.ExplainRequest) (apitoken.Explanation, error) {
		return w.Service.Explain(t.Context(), system, req)
	}
	byID := apitoken.ExplainRequest{ID: issued.Token.ID, Verify: need}

	x := must(explain(byID))
	require.True(t, x.Accepted)
	require.Equal(t, apitoken.OutcomeSkip, outcome(x, "network").Outcome, "no address was given")
	w.Owners.Fail(apitokentest.ErrFault)
	x = must(explain(byID))
	require.False(t, x.Accepted)
	require.Equal(t, "unavailable", outcome(x, "owner").Reason)
	require.Equal(t, apitoken.OutcomeSkip, outcome(x, "permission").Outcome, "what the owner has is not known")
	w.Owners.Fail(nil)
	w.Store.FailCall(1)
	_, err := explain(apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: issued.Secret.Reveal()}})
	oneFamily(t, err, apitoken.ErrUnavailable)
}
