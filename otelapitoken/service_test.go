package otelapitoken_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// A Service counts what it does, and nothing that names a token, its holder or its
// value comes to a measurement or a span.
func TestService(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	env := apitokentest.New(t, apitoken.Options{
		Prefix: "acme", Observer: o,
		Limits: map[string]apitoken.Limit{"read": {Quota: 2, Window: time.Minute}},
		Kinds:  map[apitoken.Kind]apitoken.Policy{"ci": {}},
	})
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

	var all strings.Builder
	for _, name := range []string{
		"apitoken.verifications", "apitoken.verification.duration", "apitoken.limit.decisions",
		"apitoken.store.failures", "apitoken.sweep.steps", "apitoken.sweep.duration",
	} {
		lines := got.lines(t, name)
		require.NotEmpty(t, lines, name)
		for _, line := range lines {
			fmt.Fprintln(&all, name, line)
		}
	}
	for _, span := range got.spans.Ended() {
		fmt.Fprintln(&all, "span", span.Name(), write(span.Attributes()), span.Status(), span.Events(), span.Links())
	}
	for _, want := range []string{
		"apitoken.verifications call=verify,kind=ci,outcome=accepted,scheme=bearer 2\n",
		"apitoken.verifications call=verify,kind=ci,outcome=refused,reason=rate_limited,scheme=bearer 1\n",
		"apitoken.verifications call=verify,outcome=refused,reason=malformed_token 1\n",
		"apitoken.verifications call=admit,kind=ci,outcome=accepted,scheme=bearer 1\n",
		"apitoken.verifications call=recheck,kind=ci,outcome=accepted,scheme=bearer 1\n",
		"outcome=failed,part=store,reason=unavailable",
		"apitoken.limit.decisions limit=read,local=false,outcome=allowed,per=token 2\n",
		"apitoken.limit.decisions limit=read,local=false,outcome=refused,per=token 1\n",
		"apitoken.store.failures call=",
		"apitoken.sweep.duration outcome=completed 1 ",
		"span apitoken.verify ", "span apitoken.admit ", "span apitoken.recheck ", "{Error store unavailable}",
	} {
		require.Contains(t, all.String(), want)
	}
	for _, never := range []string{
		string(issued.Token.ID), value, value[len(value)-20:],
		"=" + apitokentest.Tenant, "=" + apitokentest.User, "canary", apitokentest.ErrFault.Error(),
	} {
		require.NotContains(t, all.String(), never)
	}
}

// What was decided counts also when nobody waits for it any more.
func TestClientGone(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	env := apitokentest.New(t, apitoken.Options{Prefix: "acme", Observer: o})
	issued := env.Issue(apitoken.IssueRequest{})
	ctx, cancel := context.WithCancel(t.Context())
	env.Store.On(func(apitokentest.Call) error {
		cancel()
		return ctx.Err()
	})
	_, err := env.Service.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.Equal(t, []string{"call=verify,outcome=failed,part=store,reason=unavailable 1"}, got.lines(t, "apitoken.verifications"))
	require.Equal(t, []string{"call=verify,outcome=failed,part=store,reason=unavailable 1 0"}, got.lines(t, "apitoken.verification.duration"))
	require.Empty(t, got.lines(t, "apitoken.store.failures"))
	require.Len(t, got.spans.Ended(), 1)
}
