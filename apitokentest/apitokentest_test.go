package apitokentest_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

var catalog = apitoken.MustCatalog([]apitoken.Permission{{Name: "devices:view", API: true}}, nil)

func TestEnvIsReady(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{Catalog: catalog})

	r := env.Authorize(httptest.NewRequest("GET", "/devices", nil), apitoken.IssueRequest{Name: "ci"})
	token, ok := cutBearer(r.Header.Get("Authorization"))
	require.True(t, ok)
	p, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: token, Need: catalog.MustRequire("devices:view")})
	require.NoError(t, err)
	require.Equal(t, apitokentest.User, p.Owner)
	require.Equal(t, apitokentest.Tenant, p.Tenant)
	require.Equal(t, "ci", p.Name())

	p = env.Principal(apitoken.IssueRequest{Permissions: []string{}})
	require.False(t, p.Can("devices:view"))
}

func TestFakesAnswerAsTheyAreTold(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{
		Catalog: catalog, Kinds: map[apitoken.Kind]apitoken.Policy{"token": {Lifetime: apitoken.Lifetime{Default: apitoken.Period{Days: 1}}}},
	})
	secret := env.Issue(apitoken.IssueRequest{}).Secret.Reveal()
	verify := func() error {
		_, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: secret})
		return err
	}
	for _, c := range []struct {
		name       string
		fail, mend func()
		want       error
	}{
		{"a user is deactivated", func() { env.Owners.SetActive("acme", "ann", false) }, func() { env.Owners.SetActive("acme", "ann", true) }, apitoken.ErrOwnerInactive},
		{"a user is removed", func() { env.Owners.Remove("acme", "ann") }, func() { env.Owners.Set("acme", "ann", apitoken.Standing{Active: true}) }, apitoken.ErrOwnerInactive},
		{"the directory is out", func() { env.Owners.Fail(errors.New("down")) }, func() { env.Owners.Fail(nil) }, apitoken.ErrUnavailable},
		{"licences are out", func() { env.Entitlements.Fail(errors.New("down")) }, func() { env.Entitlements.Fail(nil) }, apitoken.ErrUnavailable},
		{"the store is out", func() { env.Store.FailCall(0) }, env.Store.Reset, apitoken.ErrUnavailable},
		{"a day passes", func() { env.Clock.Advance(24 * time.Hour) }, func() { env.Clock.Set(apitokentest.Start) }, apitoken.ErrExpired},
	} {
		require.NoError(t, verify(), "before %s", c.name)
		c.fail()
		require.ErrorIs(t, verify(), c.want, c.name)
		c.mend()
	}
	require.NoError(t, verify())
}

func TestFaultStore(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	id := env.Issue(apitoken.IssueRequest{}).Token.ID

	env.Store.FailCall(2)
	_, err := env.Store.Get(t.Context(), id)
	require.NoError(t, err)
	_, err = env.Store.Get(t.Context(), id)
	require.ErrorIs(t, err, apitokentest.ErrFault)
	_, err = env.Store.Record(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []string{"Get", "Get", "Record"}, env.Store.Calls())

	env.Store.LoseAnswer(1)
	require.ErrorIs(t, env.Store.Delete(t.Context(), id, 1, apitoken.Guard{}, nil), apitokentest.ErrFault)
	_, err = env.Store.Get(t.Context(), id)
	require.ErrorIs(t, err, apitoken.ErrNotFound, "the delete whose answer was lost took effect")
}

func TestNotifier(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	env.Issue(apitoken.IssueRequest{})
	env.Notifier.Fail(errors.New("down"))
	n, err := env.Service.Deliver(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
	env.Notifier.Fail(nil)
	env.Clock.Advance(time.Hour)
	_, err = env.Service.Deliver(t.Context())
	require.NoError(t, err)
	require.Len(t, env.Notifier.Told(), 1)
	require.Len(t, env.Notifier.Take(), 1)
	require.Empty(t, env.Notifier.Told())
}

func TestFakesHonourTheirContext(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := env.Owners.Standing(ctx, "acme", "ann")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, env.Notifier.Notify(ctx, apitoken.Notification{}), context.Canceled)
}

func cutBearer(header string) (string, bool) {
	const scheme = "Bearer "
	return header[min(len(scheme), len(header)):], len(header) > len(scheme) && header[:len(scheme)] == scheme
}
