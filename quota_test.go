package apitoken_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// newQuotaWorld is a world in which plain tokens have these quotas.
func newQuotaWorld(t *testing.T, q apitoken.Quotas, change ...func(o *apitoken.Options)) *world {
	return newWorld(t, append([]func(o *apitoken.Options){with(plain, func(p *apitoken.Policy) { p.Quotas = q })}, change...)...)
}

// usedUp asks on a node until a quota refuses, and returns how often none did, and the
// refusal.
func (w *world) usedUp(s *apitoken.Service, i apitoken.Issued) (n int, refused *apitoken.RateLimitError) {
	w.t.Helper()
	for ; n < 1000; n++ {
		if _, err := s.Verify(w.t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()}); err != nil {
			oneFamily(w.t, err, apitoken.ErrRateLimited)
			require.ErrorAs(w.t, err, &refused)
			return n, refused
		}
	}
	w.t.Fatal("never refused")
	return n, nil
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	start := apitokentest.Start // Monday, 1 March 2027, noon
	for _, c := range []struct {
		name   string
		quotas apitoken.Quotas
		limit  string
		at     time.Time
		again  time.Time
		window time.Duration
		says   string
	}{
		{"day", apitoken.Quotas{Day: 3}, apitoken.QuotaDay, start, start.Add(12 * time.Hour), day, "the quota of 3 uses in a day is used up: retry in 12h0m0s"},
		{"week", apitoken.Quotas{Week: 3}, apitoken.QuotaWeek, start, start.Add(6*day + 12*time.Hour), week, "the quota of 3 uses in a week is used up: retry in 156h0m0s"},
		{"month", apitoken.Quotas{Month: 3}, apitoken.QuotaMonth, start, start.Add(30*day + 12*time.Hour), 31 * day, "the quota of 3 uses in a month is used up: retry in 732h0m0s"},
		{"February", apitoken.Quotas{Month: 3}, apitoken.QuotaMonth, start.AddDate(0, 11, 0), time.Date(2028, 3, 1, 0, 0, 0, 0, time.UTC), 29 * day, "the quota of 3 uses in a month is used up: retry in 684h0m0s"},
		{"the last microsecond of a day", apitoken.Quotas{Day: 3}, apitoken.QuotaDay, start.Add(12*time.Hour - time.Microsecond), start.Add(12 * time.Hour), day, "the quota of 3 uses in a day"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newQuotaWorld(t, c.quotas)
			i := w.issue(plain)
			w.Clock.Set(c.at)
			n, refused := w.usedUp(w.Service, i)
			require.Equal(t, 3, n)
			require.Equal(t, apitoken.Decision{
				Limit: c.limit, Quota: 3, Window: c.window, Reset: c.again.Sub(c.at), RetryAfter: c.again.Sub(c.at),
			}, refused.Decision)
			require.ErrorContains(t, refused, c.says)

			w.Clock.Set(c.again.Add(-1))
			require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrRateLimited, "not a nanosecond early")
			require.NoError(t, w.Service.Flush(t.Context()))
			require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrRateLimited, "written or not")
			w.Clock.Set(c.again)
			require.NoError(t, w.verify(i.Secret), "from the boundary on")
			n, _ = w.usedUp(w.Service, i)
			require.Equal(t, 2, n)
		})
	}
}

// Each quota counts by itself, and the answer names all that refuse, the one to wait
// for in front.
func TestSeveralQuotas(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 3, Week: 7, Month: 10})
	i := w.issue(plain)
	var decisions []apitoken.Decision
	_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal(), Decisions: &decisions})
	require.NoError(t, err)
	midnight := 12 * time.Hour
	require.Equal(t, []apitoken.Decision{
		{Limit: apitoken.QuotaDay, Quota: 3, Window: day, Allowed: true, Remaining: 2, Reset: midnight},
		{Limit: apitoken.QuotaWeek, Quota: 7, Window: week, Allowed: true, Remaining: 6, Reset: midnight + 6*day},
		{Limit: apitoken.QuotaMonth, Quota: 10, Window: 31 * day, Allowed: true, Remaining: 9, Reset: midnight + 30*day},
	}, decisions)
	var days []int
	var last *apitoken.RateLimitError
	for range 8 { // Monday, 1 March to Monday, 8 March
		n, refused := w.usedUp(w.Service, i)
		days, last = append(days, n), refused
		require.NoError(t, w.Service.Flush(t.Context()))
		w.Clock.Advance(day)
	}
	require.Equal(t, []int{2, 3, 1, 0, 0, 0, 0, 3}, days, "one was asked for before")
	require.Equal(t, apitoken.QuotaMonth, last.Limit)
	require.Len(t, last.Others, 1)
	require.Equal(t, apitoken.QuotaDay, last.Others[0].Limit)
	w.Clock.Set(time.Date(2027, 4, 1, 0, 0, 0, 0, time.UTC))
	n, _ := w.usedUp(w.Service, i)
	require.Equal(t, 3, n)
}

// A use is counted once for each request, and only what is a use.
func TestQuotaCountsUses(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 10}, func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"many": {Quota: 100, Window: time.Hour}, "none": {Window: time.Hour}, "more": {Quota: 100, Window: time.Hour, Per: apitoken.PerTenant}}
	})
	i := w.issue(plain, func(r *apitoken.IssueRequest) {
		r.Permissions, r.Networks = []string{"devices:view"}, []string{"192.0.2.0/24"}
	})
	used := func(req apitoken.VerifyRequest) int64 {
		t.Helper()
		before := w.get(i.Token.ID).Usage.Day.Uses
		req.Token = i.Secret.Reveal()
		if !req.Address.IsValid() {
			req.Address = netip.MustParseAddr("192.0.2.7")
		}
		p, err := w.Service.Verify(t.Context(), req)
		if err == nil {
			require.NoError(t, w.Service.Admit(t.Context(), p, apitoken.AdmitRequest{Limits: []string{"many"}, Cost: 9}))
			_, err = w.Service.Recheck(t.Context(), p)
			require.NoError(t, err)
		}
		return w.get(i.Token.ID).Usage.Day.Uses - before
	}
	require.EqualValues(t, 1, used(apitoken.VerifyRequest{}))
	require.EqualValues(t, 1, used(apitoken.VerifyRequest{Limits: []string{"many", "more"}, Cost: 5}), "whatever it costs")
	require.EqualValues(t, 1, used(apitoken.VerifyRequest{Need: worldCatalog.MustRequire("deploy")}), "what lacks a permission was accepted")
	require.Zero(t, used(apitoken.VerifyRequest{Limits: []string{"none"}}), "what a rate limit refuses was not")
	require.Zero(t, used(apitoken.VerifyRequest{Address: netip.MustParseAddr("198.51.100.1")}))
	require.Zero(t, used(apitoken.VerifyRequest{Use: "deploy"}))
	require.Zero(t, used(apitoken.VerifyRequest{Limits: []string{"no such limit"}}))
	require.EqualValues(t, 3, w.get(i.Token.ID).Usage.Uses)
}

// What a quota refuses takes nothing from a rate limit.
func TestQuotaSparesLimits(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 2}, func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"tenant": {Quota: 10, Window: 1000 * time.Hour, Per: apitoken.PerTenant}}
	})
	greedy, other := w.issue(plain), w.issue(user)
	require.Equal(t, 2, w.askAll(greedy, "tenant"))
	for range 20 {
		require.ErrorIs(t, w.ask(greedy, 0, "tenant"), apitoken.ErrRateLimited)
	}
	require.Equal(t, 8, w.askAll(other, "tenant"))
}

// S1.20 is about rates: neither a share nor a rotation changes what is left of a
// quota, and a quota that is changed counts at once.
func TestQuotaStaysWithTheToken(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 6}, with(plain, func(p *apitoken.Policy) { p.Share = 50 }))
	i := w.issue(plain)
	for range 4 {
		require.NoError(t, w.verify(i.Secret))
	}
	rotated, err := w.Service.Rotate(t.Context(), ann, i.Token.ID, apitoken.RotateRequest{IfVersion: 1, Overlap: time.Hour})
	require.NoError(t, err)
	require.NoError(t, w.verify(i.Secret), "within the overlap")
	_, err = w.Service.Edit(t.Context(), ann, i.Token.ID, apitoken.EditRequest{Share: ptr(1)})
	require.NoError(t, err)
	n, _ := w.usedUp(w.Service, rotated)
	require.Equal(t, 1, n)
	require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrRateLimited, "both values are one token")
	require.NoError(t, w.Service.Flush(t.Context()))

	p := w.Options.Kinds[plain]
	p.Quotas.Day = 8
	w.Options.Kinds[plain] = p
	n, _ = w.usedUp(w.Node(), rotated)
	require.Equal(t, 2, n)
	n, _ = w.usedUp(w.Service, w.issue(plain))
	require.Equal(t, 6, n, "each token has its own")
}

func TestQuotasFor(t *testing.T) {
	t.Parallel()
	plans := map[string]apitoken.Quotas{"free": {Day: 2}, "pro": {Day: 4}, "wrong": {Week: -1}}
	fault := errors.New("the billing system is away")
	w := newQuotaWorld(t, apitoken.Quotas{Day: 3}, func(o *apitoken.Options) {
		o.QuotasFor = func(_ context.Context, p apitoken.Principal) (apitoken.Quotas, bool, error) {
			switch plan := p.Metadata("plan"); plan {
			case "":
				return apitoken.Quotas{}, false, nil
			case "unlimited":
				return apitoken.Quotas{}, true, nil
			case "broken":
				return apitoken.Quotas{Day: 100}, true, fault
			default:
				return plans[plan], true, nil
			}
		}
	})
	of := func(plan string) apitoken.Issued {
		return w.issue(plain, func(r *apitoken.IssueRequest) {
			if plan != "" {
				r.Metadata = map[string]string{"plan": plan}
			}
		})
	}
	for plan, want := range map[string]int{"free": 2, "pro": 4, "": 3} {
		n, _ := w.usedUp(w.Service, of(plan))
		require.Equal(t, want, n, plan)
	}
	unlimited := of("unlimited")
	for range 50 {
		require.NoError(t, w.verify(unlimited.Secret))
	}
	for _, plan := range []string{"wrong", "broken"} {
		i := of(plan)
		err := w.verify(i.Secret)
		oneFamily(t, err, apitoken.ErrUnavailable)
		outage, ok := errors.AsType[*apitoken.OutageError](err)
		require.True(t, ok)
		require.Equal(t, "quotas", outage.Part)
		require.Zero(t, w.get(i.Token.ID).Usage.Uses)
		x, err := w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{ID: i.Token.ID})
		require.NoError(t, err)
		require.False(t, x.Accepted)
	}
}

// Without a place to count in, a use would be outside of any quota.
func TestQuotaWithAFullRecorder(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 3}, func(o *apitoken.Options) { o.MaxPendingUses = 1 })
	hog, counted, free := w.issue(user), w.issue(plain), w.issue(user)
	require.NoError(t, w.verify(hog.Secret))
	err := w.verify(counted.Secret)
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.ErrorContains(t, err, "MaxPendingUses")
	require.NoError(t, w.verify(free.Secret), "those without quotas are let in")
	for range 2 {
		require.NoError(t, w.Service.Flush(t.Context()))
	}
	n, _ := w.usedUp(w.Service, counted)
	require.Equal(t, 3, n)
}

// One node keeps a quota exactly, whatever asks at once and however flushes go.
func TestQuotaIsExactOnOneNode(t *testing.T) {
	t.Parallel()
	const quota = 500
	w := newQuotaWorld(t, apitoken.Quotas{Day: quota, Week: 10 * quota})
	i := w.issue(plain)
	var calls, allowed, refused atomic.Int64
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Touch" && !c.Done && calls.Add(1)%3 == 0 {
			return apitokentest.ErrFault
		}
		return nil
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				switch _, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()}); {
				case err == nil:
					allowed.Add(1)
				case errors.Is(err, apitoken.ErrRateLimited):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			for range 200 {
				_ = w.Service.Flush(t.Context())
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, quota, allowed.Load())
	require.EqualValues(t, 800-quota, refused.Load())
	w.Store.Reset()
	require.NoError(t, w.Service.Flush(t.Context()))
	u := w.stored(i.Token.ID).Token.Usage
	require.EqualValues(t, []int64{quota, quota, quota, quota}, []int64{u.Uses, u.Day.Uses, u.Week.Uses, u.Month.Uses})
	n, _ := w.usedUp(w.Node(), i)
	require.Zero(t, n, "a node that begins knows what was written")
}

// Uses that are written after their day has ended count in the week, and take nothing
// from the day that is.
func TestQuotaAfterAnOutage(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 3, Week: 8})
	i, other := w.issue(plain), w.Node()
	w.usedUp(w.Service, i)
	w.Store.FailCall(0)
	oneFamily(t, w.Service.Flush(t.Context()), apitoken.ErrUnavailable)
	w.Store.Reset()
	w.Clock.Advance(2 * day)
	n, _ := w.usedUp(other, i)
	require.Equal(t, 3, n)
	require.NoError(t, other.Flush(t.Context()))
	require.NoError(t, w.Service.Flush(t.Context()), "two days late")
	u := w.stored(i.Token.ID).Token.Usage
	require.Equal(t, apitoken.PeriodUses{From: apitokentest.Start.Add(36 * time.Hour), Uses: 3}, u.Day)
	require.EqualValues(t, 6, u.Week.Uses)
	n, _ = w.usedUp(w.Service, i)
	require.Zero(t, n)
	w.Clock.Advance(day)
	n, refused := w.usedUp(w.Service, i)
	require.Equal(t, 2, n)
	require.Equal(t, apitoken.QuotaWeek, refused.Limit)
}

// Counters of a clock that ran ahead freeze nothing once it is right again, and a
// clock that is a little behind renews nothing.
func TestQuotaOfWrongClocks(t *testing.T) {
	t.Parallel()
	for _, flushed := range []bool{true, false} {
		w := newQuotaWorld(t, apitoken.Quotas{Day: 3, Week: 3, Month: 3})
		i := w.issue(plain)
		flush := func() {
			t.Helper()
			if flushed {
				require.NoError(t, w.Service.Flush(t.Context()))
			}
		}
		w.Clock.Set(apitokentest.Start.AddDate(1, 0, 0))
		w.usedUp(w.Service, i)
		flush()
		w.Clock.Set(apitokentest.Start)
		n, _ := w.usedUp(w.Service, i)
		require.Equal(t, 3, n, "the present day is another")
		flush()
		n, _ = w.usedUp(w.Service, i)
		require.Zero(t, n)
		if flushed {
			n, _ = w.usedUp(w.Node(), i)
			require.Zero(t, n)
		}
		for range 30 { // half an hour behind, before midnight and after it
			w.Clock.Set(apitokentest.Start.Add(12 * time.Hour))
			_ = w.verify(i.Secret)
			w.Clock.Advance(-30 * time.Minute)
			require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrRateLimited)
			flush()
		}
	}
}

// What views, lists and Explain say of quotas.
func TestQuotaIsShown(t *testing.T) {
	t.Parallel()
	w := newQuotaWorld(t, apitoken.Quotas{Day: 2, Month: 100})
	i := w.issue(plain)
	explained := func() apitoken.Explanation {
		return must(w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{ID: i.Token.ID}))
	}
	require.True(t, explained().Accepted)
	require.NoError(t, w.verify(i.Secret))
	require.NoError(t, w.Service.Flush(t.Context()))
	require.NoError(t, w.verify(i.Secret))
	midnight := apitokentest.Start.Add(-12 * time.Hour)
	usage := w.get(i.Token.ID).Usage
	require.Equal(t, apitoken.PeriodUses{From: midnight, Uses: 2}, usage.Day, "one of them is not written yet")
	require.Equal(t, apitoken.PeriodUses{From: midnight, Uses: 2}, usage.Week)
	require.Equal(t, apitoken.PeriodUses{From: midnight, Uses: 2}, usage.Month)
	require.Contains(t, string(must(json.Marshal(usage))), `"day":{"from":"2027-03-01T00:00:00Z","uses":2}`)

	refused := explained().Failed()
	require.Len(t, refused, 1)
	require.Equal(t, "limit", refused[0].Name)
	require.Equal(t, "rate_limited", refused[0].Reason)
	require.Contains(t, refused[0].Detail, "the quota of 2 uses in a day is used up")
	require.Equal(t, usage, w.get(i.Token.ID).Usage, "asking is no use")

	w.Clock.Advance(12 * time.Hour)
	usage = w.get(i.Token.ID).Usage
	require.Zero(t, usage.Day, "yesterday's are not shown")
	require.EqualValues(t, 2, usage.Week.Uses)
	require.NotContains(t, string(must(json.Marshal(usage))), `"day"`)
	require.True(t, explained().Accepted)
}

// An Observer is told of quotas as of limits, once for each request.
func TestQuotaIsObserved(t *testing.T) {
	t.Parallel()
	var told []string
	w := newQuotaWorld(t, apitoken.Quotas{Day: 1, Week: 5}, func(o *apitoken.Options) {
		o.Limits = map[string]apitoken.Limit{"api": {Quota: 9, Window: time.Hour}}
		o.Observer.Limited = func(_ context.Context, d apitoken.Decision) {
			if word := d.Limit; d.Allowed {
				told = append(told, word)
			} else {
				told = append(told, "no "+word)
			}
		}
	})
	i := w.issue(plain)
	require.NoError(t, w.ask(i, 0, "api"))
	require.Error(t, w.ask(i, 0, "api"))
	require.Equal(t, []string{"api", "uses-per-day", "uses-per-week", "no uses-per-day", "uses-per-week"}, told)
}

func TestQuotaFaultsOfOptions(t *testing.T) {
	t.Parallel()
	_, err := apitoken.New(apitokentest.New(t, apitoken.Options{}).Store, apitoken.Options{
		Kinds: map[apitoken.Kind]apitoken.Policy{
			"a": {Quotas: apitoken.Quotas{Day: -1}}, "b": {Quotas: apitoken.Quotas{Month: -1}}, "c": {Quotas: apitoken.Quotas{Week: math.MaxInt32}},
		},
		Limits: map[string]apitoken.Limit{apitoken.QuotaWeek: {Quota: 1, Window: time.Hour}, "uses": {Quota: 1, Window: time.Hour}},
	})
	oneFamily(t, err, apitoken.ErrInvalid)
	require.Equal(t, []string{`Kinds["a"].Quotas`, `Kinds["b"].Quotas`, `Limits["uses-per-week"]`}, wrongFields(err))
}
