package httpauth_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
)

// limitedRoutes is a service with limits, a token, and middleware over it.
func limitedRoutes(t *testing.T, limits map[string]apitoken.Limit, opts httpauth.Options) (*apitokentest.Env, func(http.Handler) *httptest.ResponseRecorder, *httpauth.Auth) {
	t.Helper()
	env := apitokentest.New(t, apitoken.Options{Limits: limits})
	issued := env.Issue(apitoken.IssueRequest{Name: "one"})
	opts.Clock = env.Clock
	ask := func(h http.Handler) *httptest.ResponseRecorder {
		return answer(h, request("Authorization", "Bearer "+issued.Secret.Reveal()))
	}
	return env, ask, httpauth.New(env.Service, opts)
}

// Answers of a limited route say what is left, those that let it through too
// (draft-ietf-httpapi-ratelimit-headers-11).
func TestLimitFields(t *testing.T) {
	t.Parallel()
	env, ask, auth := limitedRoutes(t, map[string]apitoken.Limit{
		"devices": {Quota: 3, Window: 3 * time.Minute},
	}, httpauth.Options{})
	h := auth.Limit("devices")(fine)
	for _, want := range []string{`"devices";r=2;t=60`, `"devices";r=1;t=120`, `"devices";r=0;t=180`} {
		w := ask(h)
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Equal(t, []string{want}, w.Header()["Ratelimit"])
		require.Equal(t, []string{`"devices";q=3;w=180`}, w.Header()["Ratelimit-Policy"])
		require.Empty(t, w.Header().Get("Retry-After"))
		require.Empty(t, w.Header().Get("X-RateLimit-Limit"))
	}
	env.Clock.Advance(30*time.Second + 1)
	w := ask(h)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, []string{`"devices";r=0;t=30`}, w.Header()["Ratelimit"])
	require.Equal(t, []string{`"devices";q=3;w=180`}, w.Header()["Ratelimit-Policy"])
	require.Equal(t, "30", w.Header().Get("Retry-After"))
	require.JSONEq(t, `{
		"type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
		"title": "Request cannot be satisfied as assigned quota has been exceeded",
		"status": 429, "reason": "rate_limited",
		"detail": "the limit \"devices\" of 3 requests per 3m0s is reached: retry in 30s",
		"violated-policies": ["devices"]
	}`, w.Body.String())
	env.Clock.Advance(30 * time.Second)
	require.Equal(t, http.StatusNoContent, ask(h).Code)
	require.Empty(t, ask(auth.Middleware(fine)).Header()["Ratelimit"], "a route without a limit")
}

func TestLimitFieldsOfSeveral(t *testing.T) {
	t.Parallel()
	limits := map[string]apitoken.Limit{
		"devices": {Quota: 10, Window: 10 * time.Minute},
		"tenant":  {Quota: 2, Window: 2 * time.Minute, Per: apitoken.PerTenant},
		"narrow":  {Quota: 2, Window: 20 * time.Minute},
	}
	for _, c := range []struct {
		name  string
		layer func(a *httpauth.Auth) http.Handler
	}{
		{"one layer", func(a *httpauth.Auth) http.Handler { return a.Limit("devices", "tenant")(fine) }},
		{"two layers", func(a *httpauth.Auth) http.Handler { return a.Limit("devices")(a.Limit("tenant")(fine)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, ask, auth := limitedRoutes(t, limits, httpauth.Options{})
			h := c.layer(auth)
			w := ask(h)
			require.Equal(t, []string{`"devices";r=9;t=60`, `"tenant";r=1;t=60`}, w.Header()["Ratelimit"])
			require.Equal(t, []string{`"devices";q=10;w=600`, `"tenant";q=2;w=120`}, w.Header()["Ratelimit-Policy"])
			ask(h)
			w = ask(h)
			require.Equal(t, http.StatusTooManyRequests, w.Code)
			require.Contains(t, w.Body.String(), `"violated-policies":["tenant"]`)
			require.Equal(t, `"tenant";r=0;t=60`, w.Header()["Ratelimit"][1])
			require.Equal(t, "60", w.Header().Get("Retry-After"))
		})
	}
	t.Run("both refuse", func(t *testing.T) {
		t.Parallel()
		_, ask, auth := limitedRoutes(t, limits, httpauth.Options{})
		h := auth.Limit("tenant", "narrow")(fine)
		ask(h)
		ask(h)
		w := ask(h)
		require.Equal(t, "600", w.Header().Get("Retry-After"), "the longer wait")
		require.Contains(t, w.Body.String(), `"violated-policies":["narrow","tenant"]`)
		require.Len(t, w.Header()["Ratelimit"], 2)
	})
	t.Run("the same in two layers", func(t *testing.T) {
		t.Parallel()
		_, ask, auth := limitedRoutes(t, limits, httpauth.Options{})
		w := ask(auth.Limit("devices")(auth.Limit("devices")(fine)))
		require.Equal(t, []string{`"devices";r=8;t=120`}, w.Header()["Ratelimit"], "the later one counts")
	})
}

func TestLimitCost(t *testing.T) {
	t.Parallel()
	_, ask, auth := limitedRoutes(t, map[string]apitoken.Limit{"reports": {Quota: 10, Window: 10 * time.Minute}}, httpauth.Options{})
	h := auth.LimitCost(4, "reports")(fine)
	require.Equal(t, []string{`"reports";r=6;t=240`}, ask(h).Header()["Ratelimit"])
	require.Equal(t, []string{`"reports";r=2;t=480`}, ask(h).Header()["Ratelimit"])
	w := ask(h)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, []string{`"reports";r=2;t=120`}, w.Header()["Ratelimit"])
	require.Equal(t, http.StatusNoContent, ask(auth.Limit("reports")(fine)).Code, "one is still there")
	w = ask(auth.LimitCost(11, "reports")(fine))
	require.Contains(t, w.Body.String(), "counts as 11 requests")
}

// The older fields, of the limit that is the nearest to its end.
func TestXRateLimit(t *testing.T) {
	t.Parallel()
	env, ask, auth := limitedRoutes(t, map[string]apitoken.Limit{
		"devices": {Quota: 10, Window: 10 * time.Minute},
		"tenant":  {Quota: 3, Window: 3 * time.Minute, Per: apitoken.PerTenant},
	}, httpauth.Options{XRateLimit: true})
	h := auth.Limit("devices", "tenant")(fine)
	fields := func() []string {
		w := ask(h)
		return []string{w.Header().Get("X-RateLimit-Limit"), w.Header().Get("X-RateLimit-Remaining"), w.Header().Get("X-RateLimit-Reset")}
	}
	at := func(d time.Duration) string { return strconv.FormatInt(env.Clock.Now().Add(d).Unix(), 10) }
	require.Equal(t, []string{"3", "2", at(time.Minute)}, fields())
	require.Equal(t, []string{"3", "1", at(2 * time.Minute)}, fields())
	require.Equal(t, []string{"3", "0", at(3 * time.Minute)}, fields())
	env.Clock.Advance(500 * time.Millisecond)
	require.Equal(t, []string{"3", "0", at(180*time.Second - 500*time.Millisecond)}, fields(), "a refusal has them too")
}

func TestQuietLimits(t *testing.T) {
	t.Parallel()
	_, ask, auth := limitedRoutes(t, map[string]apitoken.Limit{"devices": {Quota: 1, Window: time.Minute}}, httpauth.Options{QuietLimits: true, XRateLimit: true})
	h := auth.Limit("devices")(fine)
	w := ask(h)
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Empty(t, w.Header()["Ratelimit"])
	require.Empty(t, w.Header().Get("X-RateLimit-Limit"))
	w = ask(h)
	require.Equal(t, []string{`"devices";r=0;t=60`}, w.Header()["Ratelimit"])
	require.Equal(t, "1", w.Header().Get("X-RateLimit-Limit"), "a 429 has all of them")
}

// A handler that knows a request's cost only from its body asks for it itself.
func TestLimitInHandler(t *testing.T) {
	t.Parallel()
	env, ask, auth := limitedRoutes(t, map[string]apitoken.Limit{"rows": {Quota: 100, Window: 100 * time.Second}}, httpauth.Options{})
	h := auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := httpauth.FromContext(r.Context())
		if err := env.Service.Admit(r.Context(), p, apitoken.AdmitRequest{Limits: []string{"rows"}, Cost: 60}); err != nil {
			auth.WriteError(w, r, err)
		}
	}))
	require.Equal(t, http.StatusOK, ask(h).Code)
	w := ask(h)
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, []string{`"rows";r=40;t=20`}, w.Header()["Ratelimit"])
}

func TestLimitPanics(t *testing.T) {
	t.Parallel()
	auth := httpauth.New(&fakeVerifier{}, httpauth.Options{})
	require.Panics(t, func() { auth.Limit() })
	require.Panics(t, func() { auth.Limit("a", "") })
	require.Panics(t, func() { auth.LimitCost(0, "a") })
}

// A token with quotas gets their fields on every route, beside those of the route's
// limits, and a request that passes two layers counts once.
func TestQuotaFields(t *testing.T) {
	t.Parallel()
	env := apitokentest.New(t, apitoken.Options{
		Kinds:  map[apitoken.Kind]apitoken.Policy{"free": {Quotas: apitoken.Quotas{Day: 3, Month: 4}}},
		Limits: map[string]apitoken.Limit{"devices": {Quota: 10, Window: 10 * time.Minute}},
	})
	issued := env.Issue(apitoken.IssueRequest{Name: "one"})
	auth := httpauth.New(env.Service, httpauth.Options{Clock: env.Clock, XRateLimit: true})
	ask := func(h http.Handler) *httptest.ResponseRecorder {
		return answer(h, request("Authorization", "Bearer "+issued.Secret.Reveal()))
	}
	w := ask(auth.Middleware(fine))
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, []string{`"uses-per-day";q=3;w=86400`, `"uses-per-month";q=4;w=2678400`}, w.Header()["Ratelimit-Policy"])
	require.Equal(t, []string{`"uses-per-day";r=2;t=43200`, `"uses-per-month";r=3;t=2635200`}, w.Header()["Ratelimit"])
	require.Equal(t, strconv.FormatInt(env.Clock.Now().Add(12*time.Hour).Unix(), 10), w.Header().Get("X-RateLimit-Reset"))

	w = ask(auth.Middleware(auth.Limit("devices")(auth.Middleware(fine))))
	require.Equal(t, []string{`"uses-per-day";r=1;t=43200`, `"uses-per-month";r=2;t=2635200`, `"devices";r=9;t=60`}, w.Header()["Ratelimit"])
	ask(auth.Limit("devices")(fine))
	w = ask(auth.Limit("devices")(fine))
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, "43200", w.Header().Get("Retry-After"), "at midnight")
	require.Equal(t, []string{`"uses-per-day";r=0;t=43200`, `"uses-per-month";r=1;t=2635200`}, w.Header()["Ratelimit"])
	require.JSONEq(t, `{
		"type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
		"title": "Request cannot be satisfied as assigned quota has been exceeded",
		"status": 429, "reason": "rate_limited",
		"detail": "the quota of 3 uses in a day is used up: retry in 12h0m0s",
		"violated-policies": ["uses-per-day"]
	}`, w.Body.String())
	env.Clock.Advance(12 * time.Hour)
	require.Equal(t, http.StatusNoContent, ask(auth.Middleware(fine)).Code)
	w = ask(auth.Middleware(fine))
	require.Contains(t, w.Body.String(), `"violated-policies":["uses-per-month"]`)
}
