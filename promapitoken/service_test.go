package promapitoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/promapitoken"
)

// A Service counts what it does, and nothing that names a token, its holder or its
// value comes to Prometheus.
func TestService(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	env := apitokentest.New(t, apitoken.Options{
		Prefix: "acme", Observer: o,
		Limits: map[string]apitoken.Limit{"read": {Quota: 2, Window: time.Minute}},
		Kinds:  map[apitoken.Kind]apitoken.Policy{"ci": {}},
	})
	require.NoError(t, reg.Register(promapitoken.NewStatusCollector(env.Service, promapitoken.StatusOptions{Clock: env.Clock})))
	issued := env.Issue(apitoken.IssueRequest{Name: "canary-name", Description: "canary-description"})
	value := issued.Secret.Reveal()
	verify := func(token string) error {
		_, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: token, Limits: []string{"read"}})
		return err
	}

	require.NoError(t, verify(value))
	p, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: value, Limits: []string{"read"}})
	require.NoError(t, err)
	require.ErrorIs(t, verify(value), apitoken.ErrRateLimited)
	require.ErrorIs(t, verify("canary-no-token"), apitoken.ErrUnauthenticated)
	require.NoError(t, env.Service.Admit(t.Context(), p, apitoken.AdmitRequest{}))
	_, err = env.Service.Recheck(t.Context(), p)
	require.NoError(t, err)
	_, err = env.Service.Sweep(t.Context())
	require.NoError(t, err)
	env.Store.FailCall(0)
	require.ErrorIs(t, verify(value), apitoken.ErrUnavailable)

	all := text(t, reg)
	for _, want := range []string{
		`apitoken_verifications_total{call="verify",kind="ci",outcome="accepted",part="",reason="",scheme="bearer"} 2`,
		`apitoken_verifications_total{call="verify",kind="ci",outcome="refused",part="",reason="rate_limited",scheme="bearer"} 1`,
		`apitoken_verifications_total{call="verify",kind="",outcome="refused",part="",reason="malformed_token",scheme=""} 1`,
		`apitoken_verifications_total{call="admit",kind="ci",outcome="accepted",part="",reason="",scheme="bearer"} 1`,
		`apitoken_verifications_total{call="recheck",kind="ci",outcome="accepted",part="",reason="",scheme="bearer"} 1`,
		`outcome="failed",part="store",reason="unavailable"`,
		`apitoken_limit_decisions_total{limit="read",local="false",outcome="allowed",per="token"} 2`,
		`apitoken_limit_decisions_total{limit="read",local="false",outcome="refused",per="token"} 1`,
		`apitoken_sweep_duration_seconds_count{outcome="completed"} 1`,
		`apitoken_store_failures_total{call="`,
		`apitoken_status_up 0`,
	} {
		require.Contains(t, all, want)
	}
	for _, never := range []string{
		string(issued.Token.ID), value, value[len(value)-20:], apitokentest.Tenant + `"`, `"` + apitokentest.User + `"`, "canary", apitokentest.ErrFault.Error(),
	} {
		require.NotContains(t, all, never)
	}
	env.Store.Reset()
	require.Contains(t, text(t, reg), "apitoken_status_up 1\n")
}
