package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// newLimitedWorld is a world with these limits.
func newLimitedWorld(t *testing.T, limits map[string]apitoken.Limit, change ...func(o *apitoken.Options)) *world {
	return newWorld(t, append([]func(o *apitoken.Options){func(o *apitoken.Options) { o.Limits = limits }}, change...)...)
}

// ask asks once for all the limits.
func (w *world) ask(i apitoken.Issued, cost int, limits ...string) error {
	_, err := w.Service.Verify(w.t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal(), Limits: limits, Cost: cost})
	return err
}

// askAll asks until it is refused and returns how often it was not.
func (w *world) askAll(i apitoken.Issued, limits ...string) int {
	w.t.Helper()
	for n := range 1000 {
		if err := w.ask(i, 0, limits...); err != nil {
			oneFamily(w.t, err, apitoken.ErrRateLimited)
			return n
		}
	}
	w.t.Fatal("never refused")
	return 0
}

// Whose requests one bucket counts.
func TestLimitPer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		per  apitoken.Per
		// what is left of 10 for these after ann's first token has taken 4
		same, sibling, colleague, tenants int
	}{
		{"token", apitoken.PerToken, 6, 10, 10, 10},
		{"owner", apitoken.PerOwner, 6, 6, 10, 10},
		{"tenant", apitoken.PerTenant, 6, 6, 6, 6},
		{"key", apitoken.PerKey, 6, 6, 10, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			limits := map[string]apitoken.Limit{"api": {Quota: 10, Window: time.Hour, Per: c.per}}
			left := func(which int) int {
				w := newLimitedWorld(t, limits, func(o *apitoken.Options) {
					o.LimitKey = func(_ context.Context, p apitoken.Principal, name string) (string, error) {
						require.Equal(t, "api", name)
						return "desk of " + p.Owner, nil
					}
				})
				first := w.issue(plain)
				tokens := []apitoken.Issued{first, w.issue(plain), w.issueTo(bob, plain), w.issue(shared)}
				for range 4 {
					require.NoError(t, w.ask(first, 0, "api"))
				}
				return w.askAll(tokens[which], "api")
			}
			require.Equal(t, c.same, left(0), "of the token")
			require.Equal(t, c.sibling, left(1), "of its owner's other token")
			require.Equal(t, c.colleague, left(2), "of a colleague's token")
			require.Equal(t, c.tenants, left(3), "of a token that belongs to the tenant")
		})
	}
}

// Other tenants have buckets of their own, whatever their users are called.
func TestLimitPerTenantAndOwnerIsTheTenants(t *testing.T) {
	t.Parallel()
	for _, per := range []apitoken.Per{apitoken.PerOwner, apitoken.PerTenant} {
		w := newLimitedWorld(t, map[string]apitoken.Limit{"api": {Quota: 3, Window: time.Hour, Per: per}})
		here := w.issue(plain)
		there := w.issueTo(apitoken.Actor{ID: ann.ID, Tenant: "rival", Permissions: []string{}}, plain)
		require.Equal(t, 3, w.askAll(here, "api"))
		require.Equal(t, 3, w.askAll(there, "api"), "per %s", per)
	}
}

// S1.19, S1.20: the share is of the token's own bucket, and of no other.
func TestLimitShareIsOfTheTokensBucket(t *testing.T) {
	t.Parallel()
	w := newLimitedWorld(t, map[string]apitoken.Limit{
		"own":    {Quota: 10, Window: time.Hour},
		"common": {Quota: 10, Window: time.Hour, Per: apitoken.PerTenant},
	})
	half := w.issue(user)
	require.Equal(t, 5, w.askAll(half, "own"))
	require.Equal(t, 10, w.askAll(half, "common"))
	require.Zero(t, w.askAll(w.issue(user), "common"))
}

// A request that one limit refuses takes nothing from the others.
func TestSeveralLimitsAllOrNone(t *testing.T) {
	t.Parallel()
	w := newLimitedWorld(t, map[string]apitoken.Limit{
		"own":    {Quota: 10, Window: 10 * time.Hour},
		"common": {Quota: 3, Window: 3 * time.Hour, Per: apitoken.PerTenant},
	})
	i := w.issue(plain)
	require.Equal(t, 3, w.askAll(i, "own", "common"))
	for range 5 {
		var refused *apitoken.RateLimitError
		require.ErrorAs(t, w.ask(i, 0, "own", "common"), &refused)
		require.Equal(t, "common", refused.Limit)
		require.Equal(t, apitoken.PerTenant, refused.Per)
		require.Equal(t, time.Hour, refused.RetryAfter)
		require.Empty(t, refused.Others)
	}
	require.Equal(t, 7, w.askAll(i, "own"))
	var refused *apitoken.RateLimitError
	require.ErrorAs(t, w.ask(i, 0, "common", "own"), &refused)
	require.Equal(t, 1, len(refused.Others), "both refuse")
	w.Clock.Advance(time.Hour)
	require.Equal(t, 1, w.askAll(i, "common", "own"))
}

// P14: tokens of a tenant that has used up its limit make no buckets.
func TestRefusedRequestsMakeNoBuckets(t *testing.T) {
	t.Parallel()
	l := apitoken.NewMemoryLimiter(640)
	limit := apitoken.Limit{Quota: 3, Window: time.Hour}
	tenant := apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "tenant", Per: apitoken.PerTenant, Tenant: "acme"}, Limit: limit, Cost: 1}
	tenant.Limit.Per = apitoken.PerTenant
	allowed := 0
	for i := range 1000 {
		own := apitoken.LimitRequest{Key: apitoken.LimitKey{Name: "own", Tenant: "acme", ID: fmt.Sprint(i)}, Limit: limit, Cost: 1}
		decisions, err := l.AllowAll(t.Context(), []apitoken.LimitRequest{own, own, tenant}, noon)
		require.NoError(t, err)
		require.True(t, decisions[0].Allowed)
		if decisions[2].Allowed {
			allowed++
		}
	}
	require.Equal(t, 3, allowed)
	require.Equal(t, 4, l.Buckets())
}

// A limit that is named twice counts twice.
func TestLimitNamedTwice(t *testing.T) {
	t.Parallel()
	w := newLimitedWorld(t, map[string]apitoken.Limit{"api": {Quota: 5, Window: time.Hour}})
	i := w.issue(plain)
	require.Equal(t, 2, w.askAll(i, "api", "api"))
	require.Equal(t, 1, w.askAll(i, "api"))
}

func TestLimitCost(t *testing.T) {
	t.Parallel()
	w := newLimitedWorld(t, map[string]apitoken.Limit{"api": {Quota: 10, Window: 10 * time.Hour}})
	i := w.issue(plain)
	require.NoError(t, w.ask(i, 7, "api"))
	var refused *apitoken.RateLimitError
	require.ErrorAs(t, w.ask(i, 5, "api"), &refused)
	require.Equal(t, 3, refused.Remaining, "nothing was taken")
	require.Equal(t, 2*time.Hour, refused.RetryAfter)
	require.False(t, refused.Never)
	w.Clock.Advance(2*time.Hour - 1)
	require.Error(t, w.ask(i, 5, "api"))
	w.Clock.Advance(1)
	require.NoError(t, w.ask(i, 5, "api"))
	require.ErrorAs(t, w.ask(i, 11, "api"), &refused)
	require.True(t, refused.Never)
	require.ErrorContains(t, refused, "counts as 11 requests")
	err := w.ask(i, -1, "api")
	oneFamily(t, err, apitoken.ErrInvalid)
	require.ErrorContains(t, err, "cost")
}

// Rotation keeps the bucket, and so does an edit of anything else.
func TestRotationRefillsNoLimit(t *testing.T) {
	t.Parallel()
	w := newLimitedWorld(t, map[string]apitoken.Limit{"api": {Quota: 4, Window: time.Hour}})
	i := w.issue(plain)
	require.Equal(t, 4, w.askAll(i, "api"))
	next := w.rotate(ann, i.Token.ID, time.Hour)
	require.Zero(t, w.askAll(next, "api"))
	require.Zero(t, w.askAll(i, "api"))
	must(w.Service.Edit(t.Context(), ann, i.Token.ID, apitoken.EditRequest{Name: ptr("renamed")}))
	require.Zero(t, w.askAll(next, "api"))
}

// A plan that changes acts at once.
func TestLimitForActsAtOnce(t *testing.T) {
	t.Parallel()
	plan := apitoken.Limit{Quota: 2, Window: time.Hour}
	w := newLimitedWorld(t, nil, func(o *apitoken.Options) {
		o.LimitFor = func(_ context.Context, p apitoken.Principal, name string) (apitoken.Limit, bool, error) {
			require.Equal(t, "acme", p.Tenant)
			return plan, name == "api", nil
		}
	})
	i := w.issue(plain)
	require.Equal(t, 2, w.askAll(i, "api"))
	plan.Quota = 3600
	require.Zero(t, w.askAll(i, "api"))
	w.Clock.Advance(time.Minute)
	require.Equal(t, 60, w.askAll(i, "api"))
	plan.Quota = 0
	err := w.ask(i, 0, "api")
	oneFamily(t, err, apitoken.ErrRateLimited)
	require.ErrorContains(t, err, "is zero")
	plan = apitoken.Limit{Quota: 5, Window: time.Hour, Per: "planet"}
	oneFamily(t, w.ask(i, 0, "api"), apitoken.ErrUnavailable)
}

// A limit per key needs somebody who gives the key.
func TestLimitPerKeyNeedsAKey(t *testing.T) {
	t.Parallel()
	limit := apitoken.Limit{Quota: 5, Window: time.Hour, Per: apitoken.PerKey}
	w := newLimitedWorld(t, nil)
	opts := w.Options
	opts.Limits = map[string]apitoken.Limit{"api": limit}
	_, err := apitoken.New(w.Store, opts)
	require.ErrorContains(t, err, "LimitKey")
	opts.Limits["api"] = apitoken.Limit{Quota: 1, Window: time.Hour, Per: "planet"}
	_, err = apitoken.New(w.Store, opts)
	require.ErrorContains(t, err, `nothing is counted per planet`)

	w = newLimitedWorld(t, nil, func(o *apitoken.Options) {
		o.LimitFor = func(context.Context, apitoken.Principal, string) (apitoken.Limit, bool, error) {
			return limit, true, nil
		}
	})
	oneFamily(t, w.ask(w.issue(plain), 0, "api"), apitoken.ErrUnavailable)

	w = newLimitedWorld(t, map[string]apitoken.Limit{"api": limit}, func(o *apitoken.Options) {
		o.LimitKey = func(context.Context, apitoken.Principal, string) (string, error) { return "", errors.New("down") }
	})
	oneFamily(t, w.ask(w.issue(plain), 0, "api"), apitoken.ErrUnavailable)
}

// single hides that a limiter can decide several at once.
type single struct {
	apitoken.Limiter
	asked []apitoken.LimitKey
}

func (s *single) Allow(ctx context.Context, req apitoken.LimitRequest, now time.Time) (apitoken.Decision, error) {
	s.asked = append(s.asked, req.Key)
	return s.Limiter.Allow(ctx, req, now)
}

// A limiter that decides one at a time is asked for the token's own bucket first: a
// token that asks too much uses up nothing that others share.
func TestSingleLimiter(t *testing.T) {
	t.Parallel()
	limiter := &single{Limiter: apitoken.NewMemoryLimiter(640)}
	w := newLimitedWorld(t, map[string]apitoken.Limit{
		"common": {Quota: 9, Window: time.Hour, Per: apitoken.PerTenant},
		"team":   {Quota: 9, Window: time.Hour, Per: apitoken.PerOwner},
		"own":    {Quota: 2, Window: time.Hour},
	}, func(o *apitoken.Options) { o.Limiter = limiter })
	i := w.issue(plain)
	require.Equal(t, 2, w.askAll(i, "common", "team", "own"))
	require.Equal(t, []apitoken.LimitKey{
		{Name: "own", Tenant: "acme", ID: string(i.Token.ID)},
		{Name: "team", Per: apitoken.PerOwner, Tenant: "acme", ID: ann.ID},
		{Name: "common", Per: apitoken.PerTenant, Tenant: "acme"},
	}, limiter.asked[:3])
	require.Zero(t, w.askAll(i, "common", "own"))
	require.Equal(t, 7, w.askAll(i, "common"), "only what was let through")
}

// The decisions are the caller's to show, those that let it through too.
func TestDecisionsAreReported(t *testing.T) {
	t.Parallel()
	w := newLimitedWorld(t, map[string]apitoken.Limit{
		"own":    {Quota: 10, Window: 10 * time.Hour},
		"common": {Quota: 1, Window: time.Hour, Per: apitoken.PerTenant},
	})
	i := w.issue(user)
	var got []apitoken.Decision
	req := apitoken.VerifyRequest{Token: i.Secret.Reveal(), Limits: []string{"own", "common"}, Decisions: &got}
	p, err := w.Service.Verify(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, []apitoken.Decision{
		{Limit: "own", Quota: 5, Window: 10 * time.Hour, Allowed: true, Remaining: 4, Reset: 2 * time.Hour},
		{Limit: "common", Per: apitoken.PerTenant, Quota: 1, Window: time.Hour, Allowed: true, Reset: time.Hour},
	}, got)
	got = nil
	require.Error(t, w.Service.Admit(t.Context(), p, apitoken.AdmitRequest{Limits: req.Limits, Decisions: &got}))
	require.Len(t, got, 2)
	require.True(t, got[0].Allowed)
	require.False(t, got[1].Allowed)
	require.Equal(t, time.Hour, got[1].RetryAfter)
}
