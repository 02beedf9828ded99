package httpauth_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

// What follows runs over a real Service.

const (
	legacyID     = "5f1c2f0a-8a34-4d7e-9c53-3f4f7c0b7a11"
	legacySecret = "0123456789abcdef0123456789abcdef"
)

func legacyEnv(t *testing.T) (*apitokentest.Env, apitoken.Issued, http.Handler) {
	t.Helper()
	env := apitokentest.New(t, apitoken.Options{
		Catalog: catalog,
		Kinds:   map[apitoken.Kind]apitoken.Policy{"legacy": apitoken.LegacyPolicy()},
	})
	env.Owners.SetRoles(apitokentest.Tenant, apitokentest.User, "administrator")
	issued := env.Issue(apitoken.IssueRequest{Kind: "legacy", Legacy: apitoken.LegacyCredential{
		ID: legacyID, Secret: apitoken.NewSecret(legacySecret),
	}})
	auth := httpauth.New(env.Service, httpauth.Options{
		Headers: []string{"X-WallarmApi-Token"}, LegacyIDHeader: "X-WallarmApi-UUID", LegacySecretHeader: "X-WallarmApi-Secret",
	})
	return env, issued, auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprint(w, p.Scheme, " ", p.Owner)
	}))
}

func pair(id, secret string) *http.Request {
	return request("X-WallarmApi-UUID", id, "X-WallarmApi-Secret", secret)
}

// S3.17: an imported key goes on working in the header its client sends it in, and
// while the old table does not answer that is an outage, not a refusal.
func TestImportedKeyOverHTTP(t *testing.T) {
	t.Parallel()
	const key = "old_0123456789abcdef0123456789abcdef"
	var down error
	env := apitokentest.New(t, apitoken.Options{
		ImportKey: apitoken.NewSecret("an import key of 32 random bytes"),
		Legacy:    []apitoken.LegacyFormat{{Name: "old", Prefix: "old_", MinLength: 36, MaxLength: 36}},
		Fallback: func(_ context.Context, k apitoken.LegacyKey) (apitoken.ImportRow, error) {
			return apitoken.ImportRow{ID: "1", Tenant: apitokentest.Tenant, Owner: apitokentest.User, Secret: apitoken.NewSecret(key)}, down
		},
	})
	auth := httpauth.New(env.Service, httpauth.Options{Headers: []string{"X-Api-Key"}})
	h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprint(w, p.Scheme, " ", p.Owner)
	}))
	down = errors.New("no connection")
	require.Equal(t, http.StatusServiceUnavailable, answer(h, request("X-Api-Key", key)).Code)
	down = nil
	for _, r := range []*http.Request{request("X-Api-Key", key), request("Authorization", "Bearer "+key)} {
		w := answer(h, r)
		require.Equal(t, "200 legacy ann", fmt.Sprint(w.Code, " ", w.Body))
	}
	require.Equal(t, http.StatusUnauthorized, answer(h, request("X-Api-Key", key+"x")).Code)
}

// S3.17-S3.19: the older pair goes on working, beside the generated value in a
// header of its own, and ends with the value's renewal.
func TestLegacyCredential(t *testing.T) {
	t.Parallel()
	env, issued, h := legacyEnv(t)
	value := issued.Secret.Reveal()

	w := answer(h, pair(legacyID, legacySecret))
	require.Equal(t, "200 legacy ann", fmt.Sprint(w.Code, " ", w.Body))
	w = answer(h, request("X-WallarmApi-Token", value))
	require.Equal(t, "200 bearer ann", fmt.Sprint(w.Code, " ", w.Body))
	require.Equal(t, 401, answer(h, pair(legacyID, strings.ToUpper(legacySecret))).Code)
	require.Equal(t, 401, answer(h, pair(strings.ToUpper(legacyID), legacySecret)).Code)

	rotated, err := env.Service.Rotate(t.Context(), env.Actor(apitokentest.User), issued.Token.ID,
		apitoken.RotateRequest{IfVersion: issued.Token.Version})
	require.NoError(t, err)
	require.Equal(t, 401, answer(h, pair(legacyID, legacySecret)).Code, "at once and for good")
	require.Equal(t, 401, answer(h, request("X-WallarmApi-Token", value)).Code)
	require.Equal(t, 200, answer(h, request("X-WallarmApi-Token", rotated.Secret.Reveal())).Code)
}

// S1.1: an origin must pass the tenant's list and the token's.
func TestOriginsOverHTTP(t *testing.T) {
	t.Parallel()
	const app, admin, evil = "https://app.example", "https://admin.example", "https://evil.example"
	env := apitokentest.New(t, apitoken.Options{})
	_, err := env.Service.EditOrigins(t.Context(), env.Actor(apitokentest.User), apitoken.OriginsRequest{Origins: []string{app, admin}})
	require.NoError(t, err)
	wide := env.Header(apitoken.IssueRequest{})
	narrow := env.Header(apitoken.IssueRequest{Origins: []string{app}})
	h := httpauth.New(env.Service, httpauth.Options{}).Middleware(fine)
	for _, tc := range []struct {
		name, token string
		origins     []string
		want        int
	}{
		{"no browser", narrow, nil, 204},
		{"on both lists", narrow, []string{app}, 204},
		{"on the tenant's alone", narrow, []string{admin}, 403},
		{"token without a list", wide, []string{admin}, 204},
		{"on neither", wide, []string{evil}, 403},
		{"null", wide, []string{"null"}, 403},
		{"empty line", wide, []string{""}, 403},
		{"two lines", wide, []string{app, app}, 403},
		{"wrong secret first", wide + "x", []string{evil}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := request("Authorization", tc.token)
			r.Header["Origin"] = tc.origins
			require.Equal(t, tc.want, answer(h, r).Code)
		})
	}
}

// S1.2, S1.3: SSWS is as good as Bearer, and the request acts for the token's user.
func TestSchemesOverHTTP(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	secret := env.Issue(apitoken.IssueRequest{}).Secret.Reveal()
	h := httpauth.New(env.Service, httpauth.Options{}).Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprint(w, p.Tenant, " ", p.Owner)
	}))
	for _, scheme := range []string{"Bearer", "SSWS"} {
		require.Equal(t, "acme ann", answer(h, request("Authorization", scheme+" "+secret)).Body.String())
	}
}

// S2.24: a list of addresses is checked against the client's, whatever the client
// writes about itself.
func TestAddressListOverHTTP(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	token := env.Header(apitoken.IssueRequest{Networks: []string{"198.51.100.0/24, 2001:db8::/32"}})
	direct := httpauth.New(env.Service, httpauth.Options{}).Middleware(fine)
	behind := httpauth.New(env.Service, httpauth.Options{TrustedProxies: prefixes("10.0.0.1/32")}).Middleware(fine)
	for _, tc := range []struct {
		name string
		h    http.Handler
		peer string
		xff  string
		want int
	}{
		{"on the list", direct, "198.51.100.7:1", "", 204},
		{"IPv6", direct, "[2001:db8::7]:1", "", 204},
		{"IPv4 written as IPv6", direct, "[::ffff:198.51.100.7]:1", "", 204},
		{"not on it", direct, "203.0.113.1:1", "", 403},
		{"not on it, claims to be", direct, "203.0.113.1:1", "198.51.100.7", 403},
		{"behind a proxy", behind, "10.0.0.1:1", "198.51.100.7", 204},
		{"behind a proxy, claims to be", behind, "10.0.0.1:1", "198.51.100.7, 203.0.113.1", 403},
		{"past the proxy, claims to be", behind, "203.0.113.1:1", "198.51.100.7", 403},
		{"Unix socket", direct, "@", "", 403},
		{"Unix socket, claims to be", behind, "@", "198.51.100.7", 403},
		{"nonsense", behind, "10.0.0.1:1", "198.51.100.7, unknown", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := request("Authorization", token)
			r.RemoteAddr = tc.peer
			if tc.xff != "" {
				r.Header.Set("X-Forwarded-For", tc.xff)
			}
			require.Equal(t, tc.want, answer(tc.h, r).Code)
		})
	}
}

// S2.8, S2.9: one Require on a sub-mux covers the group; what a returned field
// needs besides, the handler asks the Principal.
func TestRequirementsOverHTTP(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{Catalog: catalog})
	auth := httpauth.New(env.Service, httpauth.Options{Catalog: catalog})
	view := catalog.MustRequire("devices:view").Field("script", "scripts:run")

	scripts := http.NewServeMux()
	scripts.Handle("GET /scripts", fine)
	scripts.Handle("POST /scripts/{id}/run", fine)
	mux := http.NewServeMux()
	mux.Handle("/scripts", auth.RequirePermission("scripts:run")(scripts))
	mux.Handle("/scripts/", auth.RequirePermission("scripts:run")(scripts))
	mux.Handle("GET /devices", auth.Require(view)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprint(w, p.Shows(view, "script"))
	})))
	mux.Handle("GET /report", auth.RequirePermission("devices:view", "scripts:run")(fine))

	viewer := env.Header(apitoken.IssueRequest{Permissions: []string{"devices:view"}})
	runner := env.Header(apitoken.IssueRequest{Permissions: []string{"devices:manage", "scripts:run"}})
	for _, tc := range []struct {
		method, path, token string
		want                string
	}{
		{"GET", "/scripts", runner, "204"},
		{"POST", "/scripts/7/run", runner, "204"},
		{"GET", "/scripts", viewer, "403 scripts:run"},
		{"POST", "/scripts/7/run", viewer, "403 scripts:run"},
		{"GET", "/devices", viewer, "200 false"},
		{"GET", "/devices", runner, "200 true"},
		{"GET", "/report", runner, "204"},
		{"GET", "/report", viewer, "403 scripts:run"},
		{"GET", "/report", "Bearer acme_no", "401"},
	} {
		r := httptest.NewRequest(tc.method, tc.path, nil)
		r.Header.Set("Authorization", tc.token)
		w := answer(mux, r)
		got := fmt.Sprint(w.Code)
		switch w.Code {
		case http.StatusOK:
			got += " " + w.Body.String()
		case http.StatusForbidden:
			got += fmt.Sprintf(" %v", body(t, w)["missing"].([]any)[0])
		}
		require.Equal(t, tc.want, got, "%s %s", tc.method, tc.path)
	}
}

// S3.22: a deployment takes node tokens only, and says so to others, whether the
// layer verifies itself or stands within another.
func TestUseOverHTTP(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{
		Catalog: catalog, Uses: map[string][]apitoken.Kind{"deploy": {"node"}}, DefaultKind: "personal",
		Kinds: map[apitoken.Kind]apitoken.Policy{"personal": apitoken.PersonalPolicy(), "node": apitoken.NodePolicy()},
	})
	env.Owners.SetRoles(apitokentest.Tenant, apitokentest.User, "administrator")
	node := env.Header(apitoken.IssueRequest{Kind: "node"})
	personal := env.Header(apitoken.IssueRequest{})
	auth := httpauth.New(env.Service, httpauth.Options{})
	for name, h := range map[string]http.Handler{
		"alone":  auth.Use("deploy")(fine),
		"within": auth.Middleware(auth.Use("deploy")(fine)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, 204, answer(h, request("Authorization", node)).Code)
			w := answer(h, request("Authorization", personal))
			require.Equal(t, 403, w.Code)
			require.Equal(t, "a personal token is not accepted for deploy: use a node token", body(t, w)["detail"])
			require.Equal(t, []any{"node"}, body(t, w)["kinds"])
		})
	}
}

// A request is one use and one request of a limit, however many layers it passes.
func TestLayersCountOnce(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{
		Catalog: catalog, Limits: map[string]apitoken.Limit{"devices": {Quota: 2, Window: time.Minute}},
	})
	issued := env.Issue(apitoken.IssueRequest{})
	auth := httpauth.New(env.Service, httpauth.Options{Catalog: catalog})
	h := auth.Middleware(auth.Limit("devices")(auth.RequirePermission("devices:view")(auth.Optional(auth.RequireKind("token")(fine)))))
	r := request("Authorization", "Bearer "+issued.Secret.Reveal())
	require.Equal(t, 204, answer(h, r).Code)
	require.Equal(t, 204, answer(h, r).Code)
	w := answer(h, r)
	require.Equal(t, 429, w.Code)
	require.Equal(t, `"devices";q=2;w=60`, w.Header().Get("RateLimit-Policy"))
	require.Equal(t, "30", w.Header().Get("Retry-After"))

	require.NoError(t, env.Service.Flush(t.Context()))
	view, err := env.Service.Get(t.Context(), env.Actor(apitokentest.User), issued.Token.ID)
	require.NoError(t, err)
	require.EqualValues(t, 3, view.Usage.Uses, "the third was accepted by the outer layer and refused by an inner one")
}

// Whatever is wrong with a token, its presenter hears the same (P17). The causes
// are real ones, so none of them reaches the answer by another way.
func TestRealRefusalsLookAlike(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{Prefix: "acme", DefaultKind: "plain", Kinds: map[apitoken.Kind]apitoken.Policy{
		"plain": {}, "idle": {Lifetime: apitoken.Lifetime{Idle: 24 * time.Hour}},
	}})
	ctx, ann := t.Context(), env.Actor(apitokentest.User)
	present := map[string]string{}
	add := func(name string, issued apitoken.Issued) apitoken.Issued {
		present[name] = issued.Secret.Reveal()
		return issued
	}
	good := add("damaged", env.Issue(apitoken.IssueRequest{})).Secret.Reveal()
	present["damaged"] = good[:len(good)-1] + "!"
	present["cut"] = good[:len(good)-1]
	present["of another product"] = "other" + strings.TrimPrefix(good, "acme")
	present["nonsense"] = "nonsense"
	present["too long"] = strings.Repeat(good, 10)

	deleted := add("deleted", env.Issue(apitoken.IssueRequest{}))
	require.NoError(t, env.Service.Delete(ctx, ann, deleted.Token.ID, ""))
	revoked := add("revoked", env.Issue(apitoken.IssueRequest{}))
	require.NoError(t, env.Service.Revoke(ctx, ann, revoked.Token.ID, ""))
	disabled := add("disabled", env.Issue(apitoken.IssueRequest{}))
	_, err := env.Service.Disable(ctx, ann, disabled.Token.ID, "")
	require.NoError(t, err)
	replaced := add("replaced", env.Issue(apitoken.IssueRequest{}))
	_, err = env.Service.Rotate(ctx, ann, replaced.Token.ID, apitoken.RotateRequest{IfVersion: replaced.Token.Version})
	require.NoError(t, err)
	add("expired", env.Issue(apitoken.IssueRequest{Expiry: apitoken.ExpiresIn(time.Hour)}))
	add("idle", env.Issue(apitoken.IssueRequest{Kind: "idle"}))
	add("of an inactive owner", env.IssueAs(env.Actor("bob"), apitoken.IssueRequest{}))
	env.Owners.SetActive(apitokentest.Tenant, "bob", false)
	env.Clock.Advance(25*time.Hour + time.Minute)

	h := httpauth.New(env.Service, httpauth.Options{}).Middleware(fine)
	require.Equal(t, 204, answer(h, request("Authorization", "Bearer "+good)).Code)
	for name, token := range present {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, golden401, onTheWire(t, h, "Authorization: Bearer "+token))
		})
	}
}

// P4: an outage is a 503, also for a token that would be refused.
func TestOutageOverHTTP(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	issued := env.Issue(apitoken.IssueRequest{})
	require.NoError(t, env.Service.Revoke(t.Context(), env.Actor(apitokentest.User), issued.Token.ID, ""))
	h := httpauth.New(env.Service, httpauth.Options{Logger: slog.New(slog.DiscardHandler)}).Middleware(fine)
	r := request("Authorization", "Bearer "+issued.Secret.Reveal())
	env.Store.On(func(apitokentest.Call) error { return fmt.Errorf("no route to db-7: %w", apitoken.ErrNotFound) })
	require.Equal(t, 401, answer(h, r).Code, "ErrNotFound is the store's only no")
	env.Store.On(func(apitokentest.Call) error { return errors.New("no route to db-7") })
	w := answer(h, r)
	require.Equal(t, 503, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))
	require.NotContains(t, w.Body.String(), "db-7")
}

// One handler serves many at once, and each gets its own principal.
func TestConcurrentRequests(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{})
	auth := httpauth.New(env.Service, httpauth.Options{FailedAttempts: httpauth.FailedAttempts{Limit: 1000}})
	h := auth.Middleware(auth.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		fmt.Fprint(w, p.Owner)
	})))
	var wg sync.WaitGroup
	for i := range 8 {
		user := fmt.Sprint("user-", i)
		secret := env.IssueAs(env.Actor(user), apitoken.IssueRequest{}).Secret.Reveal()
		wg.Go(func() {
			for range 100 {
				if got := answer(h, request("Authorization", "Bearer "+secret)).Body.String(); got != user {
					t.Errorf("%s was taken for %q", user, got)
				}
				answer(h, request("Authorization", "Bearer "+secret+"x"))
			}
		})
	}
	wg.Wait()
}
