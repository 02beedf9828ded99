package httpauth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

var catalog = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
	{Name: "scripts:run", API: true},
	{Name: "deploy", API: true},
}, []apitoken.Role{{Name: "deploy", Permissions: []string{"deploy"}}})

// The layer that a request meets first asks the Verifier once, for all it wants.
func TestLayerAlone(t *testing.T) {
	t.Parallel()
	need := catalog.MustRequire("scripts:run")
	for _, tc := range []struct {
		name  string
		layer func(*httpauth.Auth) func(http.Handler) http.Handler
		want  apitoken.VerifyRequest
	}{
		{"Middleware", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Middleware }, apitoken.VerifyRequest{}},
		{"Optional", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Optional }, apitoken.VerifyRequest{}},
		{
			"Require",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Require(need) },
			apitoken.VerifyRequest{Need: need},
		},
		{
			"Limit",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Limit("devices") },
			apitoken.VerifyRequest{Limits: []string{"devices"}},
		},
		{
			"RequireKind",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.RequireKind("shared", "node") },
			apitoken.VerifyRequest{Kinds: []apitoken.Kind{"node", "shared"}},
		},
		{
			"Use",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Use("deploy") },
			apitoken.VerifyRequest{Use: "deploy"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := &fakeVerifier{principal: apitoken.Principal{Owner: "ann"}}
			auth := httpauth.New(v, httpauth.Options{})
			h := tc.layer(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, ok := httpauth.FromContext(r.Context())
				fmt.Fprint(w, p.Owner, ok)
			}))
			require.Equal(t, "anntrue", answer(h, bearer()).Body.String())
			require.Len(t, v.calls(), 1)
			got := v.calls()[0]
			require.Equal(t, tc.want.Need, got.Need)
			require.Equal(t, tc.want.Limits, got.Limits)
			require.Equal(t, tc.want.Kinds, got.Kinds)
			require.Equal(t, tc.want.Use, got.Use)
			require.Empty(t, v.admissions())
		})
	}
}

// However layers are nested, one verifies and the others only add.
func TestLayersVerifyOnce(t *testing.T) {
	t.Parallel()
	need := catalog.MustRequire("scripts:run")
	layers := []struct {
		name     string
		wrap     func(*httpauth.Auth) func(http.Handler) http.Handler
		admitted []apitoken.AdmitRequest // when it is inner
	}{
		{"Middleware", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Middleware }, nil},
		{"Optional", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Optional }, nil},
		{"Require", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Require(need) }, []apitoken.AdmitRequest{{Need: need}}},
		{"Limit", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Limit("x") }, []apitoken.AdmitRequest{{Limits: []string{"x"}, Cost: 1}}},
		{"RequireKind", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.RequireKind("node") }, []apitoken.AdmitRequest{{Kinds: []apitoken.Kind{"node"}}}},
		{"Use", func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Use("deploy") }, []apitoken.AdmitRequest{{Use: "deploy"}}},
	}
	for _, outer := range layers {
		for _, inner := range layers {
			t.Run(outer.name+" around "+inner.name, func(t *testing.T) {
				t.Parallel()
				v := &fakeVerifier{principal: apitoken.Principal{Kind: "node"}}
				told := 0
				auth := httpauth.New(v, httpauth.Options{OnVerified: func(context.Context, apitoken.Principal) { told++ }})
				h := outer.wrap(auth)(http.StripPrefix("", inner.wrap(auth)(fine)))
				require.Equal(t, http.StatusNoContent, answer(h, bearer()).Code)
				require.Len(t, v.calls(), 1)
				require.Equal(t, inner.admitted, v.admissions())
				require.Equal(t, 1, told)
			})
		}
	}
}

// What an inner layer refuses is refused, though the request is verified.
func TestInnerLayerRefuses(t *testing.T) {
	t.Parallel()
	missing := &apitoken.PermissionError{Missing: []string{"scripts:run"}}
	kind := &apitoken.KindError{Kind: "personal", Use: "deploy", Accepted: []apitoken.Kind{"node"}}
	for _, tc := range []struct {
		name string
		wrap func(*httpauth.Auth) func(http.Handler) http.Handler
		v    *fakeVerifier
		want error
	}{
		{
			"permission",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.RequirePermission("scripts:run") },
			&fakeVerifier{admitErr: missing}, missing,
		},
		{
			"outage of the limiter",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Limit("x") },
			&fakeVerifier{admitErr: apitoken.ErrUnavailable}, apitoken.ErrUnavailable,
		},
		{
			"kind",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.RequireKind("node") },
			&fakeVerifier{admitErr: kind}, kind,
		},
		{
			"use",
			func(a *httpauth.Auth) func(http.Handler) http.Handler { return a.Use("deploy") },
			&fakeVerifier{admitErr: kind}, kind,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var got error
			auth := httpauth.New(tc.v, httpauth.Options{
				Catalog:      catalog,
				ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { got = err },
			})
			h := auth.Middleware(tc.wrap(auth)(mustNotRun(t)))
			h.ServeHTTP(httptest.NewRecorder(), bearer())
			require.Equal(t, tc.want, got)
		})
	}
}

func TestOptional(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		v    *fakeVerifier
		r    *http.Request
		want string
	}{
		{"no credential", new(fakeVerifier), request(), "200 false"},
		{"scheme of somebody else", new(fakeVerifier), request("Authorization", "Basic YTpi"), "200 false"},
		{"good", new(fakeVerifier), bearer(), "200 true"},
		{"not accepted", refuseAll(apitoken.ErrExpired), bearer(), "401 "},
		{"the Verifier finds none", refuseAll(apitoken.ErrNoCredential), bearer(), "401 "},
		{"the Verifier finds none in it", refuseAll(fmt.Errorf("odd: %w", apitoken.ErrNoCredential)), bearer(), "401 "},
		{"empty", new(fakeVerifier), request("Authorization", ""), "400 "},
		{"two", new(fakeVerifier), bearer("Authorization", "Bearer acme_2"), "400 "},
		{"too long", new(fakeVerifier), request("Authorization", "Bearer "+string(make([]byte, 600))), "401 "},
		{"outage", refuseAll(apitoken.ErrUnavailable), bearer(), "503 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			auth := httpauth.New(tc.v, httpauth.Options{Logger: slog.New(slog.DiscardHandler)})
			w := answer(auth.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, ok := httpauth.FromContext(r.Context())
				fmt.Fprint(w, ok)
			})), tc.r)
			body := ""
			if w.Code == http.StatusOK {
				body = w.Body.String()
			}
			require.Equal(t, tc.want, fmt.Sprint(w.Code, " ", body))
		})
	}
}

// Optional outside opens nothing inside.
func TestOptionalAroundRequire(t *testing.T) {
	t.Parallel()
	v := new(fakeVerifier)
	auth := httpauth.New(v, httpauth.Options{})
	h := auth.Optional(auth.Require(catalog.MustRequire("scripts:run"))(mustNotRun(t)))
	require.Equal(t, http.StatusUnauthorized, answer(h, request()).Code)
	require.Empty(t, v.calls())
}

// Principals of one Auth are nothing to another, in whatever order they nest.
func TestTwoAuths(t *testing.T) {
	t.Parallel()
	users := &fakeVerifier{principal: apitoken.Principal{Owner: "ann"}}
	robots := &fakeVerifier{principal: apitoken.Principal{Owner: "robot"}}
	a, b := httpauth.New(users, httpauth.Options{}), httpauth.New(robots, httpauth.Options{Headers: []string{"X-Robot"}})
	var seen []string
	look := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, _ := httpauth.FromContext(r.Context())
			seen = append(seen, p.Owner)
			next.ServeHTTP(w, r)
		})
	}
	h := a.Middleware(look(b.Middleware(look(a.Limit("x")(look(fine))))))
	require.Equal(t, http.StatusNoContent, answer(h, bearer()).Code)
	require.Len(t, users.calls(), 1)
	require.Len(t, robots.calls(), 1)
	require.Equal(t, []apitoken.AdmitRequest{{Limits: []string{"x"}, Cost: 1}}, users.admissions())
	require.Equal(t, []string{"ann", "robot", "robot"}, seen, "the innermost that verified")
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		origins []string
		want    string
		err     error
	}{
		{name: "none"},
		{name: "one", origins: []string{"https://app.example"}, want: "https://app.example"},
		{name: "empty line", origins: []string{""}, want: "null"}, // which never matches
		{name: "two", origins: []string{"https://app.example", "https://app.example"}, err: apitoken.ErrOrigin},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := bearer()
			r.Header["Origin"] = tc.origins
			got, err := present(httpauth.Options{}, r)
			require.Equal(t, tc.err, err)
			if tc.err == nil {
				require.Equal(t, tc.want, got.Origin)
			}
		})
	}
}

func TestOnVerified(t *testing.T) {
	t.Parallel()
	type traceKey struct{}
	var told []string
	opts := httpauth.Options{OnVerified: func(ctx context.Context, p apitoken.Principal) {
		same, ok := httpauth.FromContext(ctx)
		told = append(told, fmt.Sprint(p.Owner, " ", ok && same == p, " ", ctx.Value(traceKey{})))
	}}
	r := bearer()
	r = r.WithContext(context.WithValue(r.Context(), traceKey{}, "trace"))

	auth := httpauth.New(&fakeVerifier{principal: apitoken.Principal{Owner: "ann"}}, opts)
	answer(auth.Middleware(auth.Middleware(fine)), r)
	require.Equal(t, []string{"ann true trace"}, told, "once, with the handler's context")

	told = nil
	answer(auth.Optional(fine), request())
	answer(httpauth.New(refuseAll(apitoken.ErrExpired), opts).Middleware(fine), r)
	require.Empty(t, told, "neither for strangers nor for refused requests")
}

func TestErrorHandler(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(refuseAll(apitoken.ErrRevoked), httpauth.Options{
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, apitoken.ReasonOf(err), http.StatusTeapot)
		},
	})
	w := answer(auth.Middleware(mustNotRun(t)), bearer())
	require.Equal(t, http.StatusTeapot, w.Code)
	require.Equal(t, "revoked\n", w.Body.String(), "the operator's hook sees the exact reason")
	require.Empty(t, w.Header().Get("WWW-Authenticate"), "the answer is the hook's alone")
}

// The log says why, at a level that fits, and never holds the credential (S1.4,
// P9).
func TestLog(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err   error
		level string
	}{
		{apitoken.ErrRevoked, "DEBUG"},
		{&apitoken.PermissionError{Missing: []string{"scripts:run"}}, "DEBUG"},
		{&apitoken.OutageError{Part: "store", Err: errors.New("connection refused")}, "WARN"},
		{errors.New("something of the host's"), "WARN"},
	} {
		t.Run(apitoken.ReasonOf(tc.err), func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			mux := http.NewServeMux()
			mux.Handle("GET /devices/{id}", httpauth.New(refuseAll(tc.err), httpauth.Options{Logger: logger}).Middleware(fine))
			r := httptest.NewRequest(http.MethodGet, "/devices/acme_inPath?t=acme_inQuery", nil)
			r.Header.Set("Authorization", "Bearer acme_canary")
			answer(mux, r)
			require.Contains(t, log.String(), "level="+tc.level)
			require.Contains(t, log.String(), "reason="+apitoken.ReasonOf(tc.err))
			require.Contains(t, log.String(), "pattern=\"GET /devices/{id}\"")
			require.NotContains(t, log.String(), "acme_")
		})
	}
}

// Clients that go away while they are verified cannot fill the log with warnings.
func TestLogOfClientsThatWentAway(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	v := refuseAll(&apitoken.OutageError{Part: "store", Err: context.Canceled})
	h := httpauth.New(v, httpauth.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}).Middleware(fine)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	answer(h, bearer().WithContext(gone))
	require.Empty(t, log.String())
	answer(h, bearer())
	require.Contains(t, log.String(), "reason=unavailable")
}

// An error that no family explains lets nobody in.
func TestUnknownErrorOfAVerifier(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(refuseAll(errors.New("pq: password of db-7 is hunter2")), httpauth.Options{Logger: slog.New(slog.DiscardHandler)})
	w := answer(auth.Middleware(mustNotRun(t)), bearer())
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.NotContains(t, w.Body.String(), "hunter2")
}

// Faults in the wiring are found when the program starts.
func TestWiringPanics(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(new(fakeVerifier), httpauth.Options{Catalog: catalog})
	bare := httpauth.New(new(fakeVerifier), httpauth.Options{})
	for _, tc := range []struct {
		name string
		do   func()
		says string
	}{
		{"no verifier", func() { httpauth.New(nil, httpauth.Options{}) }, "needs a Verifier"},
		{"bad options", func() { httpauth.New(new(fakeVerifier), httpauth.Options{Realm: `"`}) }, "Options.Realm"},
		{"no handler", func() { auth.Middleware(nil) }, "handler to protect is nil"},
		{"unknown permission", func() { auth.RequirePermission("devices:veiw") }, `"devices:veiw" is no permission of this catalog`},
		{"no permission", func() { auth.RequirePermission() }, "would require nothing"},
		{"no catalog", func() { bare.RequirePermission("devices:view") }, "set Options.Catalog"},
		{"no limit", func() { auth.Limit("") }, "name of a limit"},
		{"no kind", func() { auth.RequireKind() }, "needs the kinds"},
		{"no use", func() { auth.Use("") }, "name of a use"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			defer func() { require.ErrorContains(t, recover().(error), tc.says) }()
			tc.do()
		})
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	_, ok := httpauth.FromContext(t.Context())
	require.False(t, ok)

	parent, cancel := context.WithCancel(t.Context())
	ctx := httpauth.NewContext(parent, apitoken.Principal{Token: "0123456789012345678901", Owner: "ann"})
	p, ok := httpauth.FromContext(ctx)
	require.True(t, ok)
	require.Equal(t, "ann", p.Owner)
	require.Contains(t, fmt.Sprint(ctx), "WithPrincipal(0123456789012345678901)")

	child, stop := context.WithCancelCause(context.WithValue(ctx, t, "x"))
	defer stop(nil)
	p, ok = httpauth.FromContext(child)
	require.True(t, ok)
	require.Equal(t, "ann", p.Owner)
	cancel()
	<-child.Done()
	require.ErrorIs(t, child.Err(), context.Canceled)
}

// NewContext serves tests of handlers; it does not open a layer.
func TestNewContextOpensNoLayer(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(refuseAll(apitoken.ErrUnknownToken), httpauth.Options{})
	for _, r := range []*http.Request{request(), bearer()} {
		r = r.WithContext(httpauth.NewContext(r.Context(), apitoken.Principal{Owner: "ann"}))
		require.Equal(t, http.StatusUnauthorized, answer(auth.Middleware(mustNotRun(t)), r).Code)
	}
}

// The caller's slices may change later; the Auth does not.
func TestOptionsAreCopied(t *testing.T) {
	t.Parallel()
	headers, proxies, kinds := []string{"X-Token"}, prefixes("10.0.0.0/8"), []apitoken.Kind{"node"}
	v := &fakeVerifier{principal: apitoken.Principal{Kind: "node"}}
	auth := httpauth.New(v, httpauth.Options{Headers: headers, TrustedProxies: proxies})
	h := auth.RequireKind(kinds...)(fine)
	headers[0], proxies[0], kinds[0] = "X-Other", prefixes("192.0.2.0/24")[0], "other"
	r := request("X-Token", "acme_1", "X-Forwarded-For", "198.51.100.7") // from 192.0.2.1
	require.Equal(t, http.StatusNoContent, answer(h, r).Code)
	require.Equal(t, "192.0.2.1", v.calls()[0].Address.String())
	require.True(t, slices.Equal(v.calls()[0].Kinds, []apitoken.Kind{"node"}))
}

func mustNotRun(t *testing.T) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler was reached") })
}

// A verified request costs three allocations at most beside the Verifier's; two as
// it is, the request's copy and its context.
// Not parallel: it counts what the process allocates.
func TestAllocations(t *testing.T) {
	env := apitokentest.New(t, apitoken.Options{})
	h := httpauth.New(env.Service, httpauth.Options{
		Headers: []string{"X-Api-Token"}, TrustedProxies: prefixes("192.0.2.0/24"), FailedAttempts: httpauth.FailedAttempts{Limit: 10},
	}).Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r := env.Authorize(request("X-Forwarded-For", "198.51.100.7"), apitoken.IssueRequest{})
	service := testing.AllocsPerRun(100, func() {
		_, _ = env.Service.Verify(r.Context(), apitoken.VerifyRequest{Token: r.Header.Get("Authorization")[len("Bearer "):]})
	})
	all := testing.AllocsPerRun(100, func() { h.ServeHTTP(nil, r) })
	require.LessOrEqual(t, all-service, 3.0)
}
