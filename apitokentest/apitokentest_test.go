package apitokentest_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

var catalog = apitoken.MustCatalog([]apitoken.Permission{{Name: "devices:view", API: true}}, nil)

func TestEnvIsReady(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{Catalog: catalog})

	r := env.Authorize(httptest.NewRequest("GET", "/devices", nil), apitoken.IssueRequest{Name: "ci"})
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	require.True(t, ok)
	p, err := env.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: token, Need: catalog.MustRequire("devices:view")})
	require.NoError(t, err)
	require.Equal(t, apitokentest.User, p.Owner)
	require.Equal(t, apitokentest.Tenant, p.Tenant)
	require.Equal(t, "ci", p.Name())

	p = env.Principal(apitoken.IssueRequest{Permissions: []string{}})
	require.False(t, p.Can("devices:view"))

	p, ok = httpauth.FromContext(env.Context(apitoken.IssueRequest{Name: "ctx"}))
	require.True(t, ok)
	require.Equal(t, "ctx", p.Name())
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

// Every method of a store is counted, can fail, and can lose its answer.
func TestFaultStoreCoversEveryMethod(t *testing.T) {
	t.Parallel()
	store := apitokentest.New(t, apitoken.Options{}).Store
	value := reflect.ValueOf(store)
	methods := []string{"Record"}
	for m := range reflect.TypeFor[apitoken.Store]().Methods() {
		methods = append(methods, m.Name)
	}
	for _, name := range methods {
		fn := value.MethodByName(name)
		for _, arm := range []func(int){store.FailCall, store.LoseAnswer} {
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for i := 1; i < fn.Type().NumIn(); i++ {
				arg := reflect.Zero(fn.Type().In(i))
				if arg.Type() == reflect.TypeFor[*apitoken.Record]() {
					arg = reflect.ValueOf(new(apitoken.Record))
				}
				args = append(args, arg)
			}
			arm(1)
			out := fn.Call(args)
			require.Equal(t, apitokentest.ErrFault, out[len(out)-1].Interface(), name)
			require.Equal(t, []string{name}, store.Calls())
		}
	}
	require.NotNil(t, store.Unwrap())
}

func TestDirectories(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var agents apitokentest.Agents
	_, err := agents.Registration(ctx, "acme", "bot")
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	agents.Set("acme", "bot", apitoken.Registration{Registered: true, Kind: "sensor"})
	agents.SetActive("acme", "bot", true)
	reg, err := agents.Registration(ctx, "acme", "bot")
	require.NoError(t, err)
	require.Equal(t, apitoken.Registration{Registered: true, Active: true, Kind: "sensor"}, reg)
	_, err = agents.Registration(ctx, "rival", "bot")
	require.ErrorIs(t, err, apitoken.ErrNotFound, "of another tenant")
	agents.Remove("acme", "bot")
	_, err = agents.Registration(ctx, "acme", "bot")
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	require.Equal(t, 4, agents.Calls())

	var owners apitokentest.Owners
	owners.SetOthers(apitoken.Standing{Active: true})
	owners.SetPermissions("acme", "ann", catalog.All())
	owners.SetRoles("acme", "ann", "administrator")
	st, err := owners.Standing(ctx, "acme", "ann")
	require.NoError(t, err)
	require.Equal(t, apitoken.Standing{Active: true, Permissions: catalog.All(), Roles: []string{"administrator"}}, st)
	st.Roles[0] = "changed"
	again, err := owners.Standing(ctx, "acme", "ann")
	require.NoError(t, err)
	require.Equal(t, "administrator", again.Roles[0], "what was handed out is the caller's")
	owners.Remove("acme", "bob")
	_, err = owners.Standing(ctx, "acme", "bob")
	require.ErrorIs(t, err, apitoken.ErrNotFound, "a removed one is not one of the others")
	require.Equal(t, 3, owners.Calls())

	var admins apitokentest.Admins
	admins.Set("acme", apitoken.Administrator{ID: "ann", Active: true})
	list, err := admins.Administrators(ctx, "acme")
	require.NoError(t, err)
	require.Len(t, list, 1)
	admins.Fail(apitokentest.ErrFault)
	_, err = admins.Administrators(ctx, "acme")
	require.ErrorIs(t, err, apitokentest.ErrFault)
	require.Equal(t, 2, admins.Calls())

	var licences apitokentest.Entitlements
	licences.Set("acme", catalog.All())
	set, err := licences.Entitled(ctx, "acme")
	require.NoError(t, err)
	require.Equal(t, catalog.All(), set)
	licences.Remove("acme")
	_, err = licences.Entitled(ctx, "acme")
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	require.Equal(t, 2, licences.Calls())
}
