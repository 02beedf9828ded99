package promapitoken_test

import (
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/promapitoken"
)

// observe returns an Observer with a registry of its own.
func observe(t testing.TB, opts promapitoken.Options) (apitoken.Observer, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	o, err := promapitoken.New(reg, opts)
	require.NoError(t, err)
	return o, reg
}

func TestVerifications(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		v    apitoken.Verification
		want string // the labels
	}{
		{"accepted", apitoken.Verification{Call: "verify", Kind: "ci", Scheme: apitoken.SchemeBearer},
			`call="verify",kind="ci",outcome="accepted",part="",reason="",scheme="bearer"`},
		{"refused", apitoken.Verification{Call: "verify", Reason: "expired", Kind: "ci", Scheme: apitoken.SchemeBearer},
			`call="verify",kind="ci",outcome="refused",part="",reason="expired",scheme="bearer"`},
		{"of no token", apitoken.Verification{Call: "verify", Reason: "unknown_token"},
			`call="verify",kind="",outcome="refused",part="",reason="unknown_token",scheme=""`},
		{"over a limit", apitoken.Verification{Call: "admit", Reason: "rate_limited", Kind: "ci", Scheme: apitoken.SchemeJWS},
			`call="admit",kind="ci",outcome="refused",part="",reason="rate_limited",scheme="jws"`},
		{"an outage", apitoken.Verification{Call: "recheck", Reason: "unavailable", Part: "replay guard", Kind: "ci", Scheme: apitoken.SchemeBearer},
			`call="recheck",kind="ci",outcome="failed",part="replay guard",reason="unavailable",scheme="bearer"`},
		{"an error from elsewhere", apitoken.Verification{Call: "verify", Reason: "unknown"},
			`call="verify",kind="",outcome="failed",part="",reason="unknown",scheme=""`},
		{"a kind that is no text", apitoken.Verification{Call: "verify", Kind: "a\xffb", Scheme: apitoken.SchemeBearer},
			"call=\"verify\",kind=\"a\uFFFDb\",outcome=\"accepted\",part=\"\",reason=\"\",scheme=\"bearer\""},
		{"a kind as long as a secret", apitoken.Verification{Call: "verify", Kind: apitoken.Kind(strings.Repeat("k", 101))},
			`call="verify",kind="other",outcome="accepted",part="",reason="",scheme=""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, reg := observe(t, promapitoken.Options{})
			o.Verified(t.Context(), c.v)
			o.Verified(t.Context(), c.v)
			require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(
				"# HELP apitoken_verifications_total Requests decided, by outcome.\n"+
					"# TYPE apitoken_verifications_total counter\n"+
					"apitoken_verifications_total{"+c.want+"} 2\n"), "apitoken_verifications_total"))
		})
	}
}

func TestVerificationDuration(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{Buckets: []float64{.001, .25}})
	for _, took := range []time.Duration{-time.Second, time.Millisecond, 249 * time.Millisecond, 750 * time.Millisecond} {
		o.Verified(t.Context(), apitoken.Verification{Call: "verify", Kind: "ci", Scheme: apitoken.SchemeBearer, Took: took})
	}
	for _, reason := range []string{"expired", "network"} { // not told apart
		o.Verified(t.Context(), apitoken.Verification{Call: "verify", Reason: reason, Kind: "ci", Scheme: apitoken.SchemeBearer})
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP apitoken_verification_duration_seconds How long the decision about a request took.
# TYPE apitoken_verification_duration_seconds histogram
apitoken_verification_duration_seconds_bucket{call="verify",kind="ci",outcome="accepted",scheme="bearer",le="0.001"} 2
apitoken_verification_duration_seconds_bucket{call="verify",kind="ci",outcome="accepted",scheme="bearer",le="0.25"} 3
apitoken_verification_duration_seconds_bucket{call="verify",kind="ci",outcome="accepted",scheme="bearer",le="+Inf"} 4
apitoken_verification_duration_seconds_sum{call="verify",kind="ci",outcome="accepted",scheme="bearer"} 1
apitoken_verification_duration_seconds_count{call="verify",kind="ci",outcome="accepted",scheme="bearer"} 4
apitoken_verification_duration_seconds_bucket{call="verify",kind="ci",outcome="refused",scheme="bearer",le="0.001"} 2
apitoken_verification_duration_seconds_bucket{call="verify",kind="ci",outcome="refused",scheme="bearer",le="0.25"} 2
apitoken_verification_duration_seconds_bucket{call="verify",kind="ci",outcome="refused",scheme="bearer",le="+Inf"} 2
apitoken_verification_duration_seconds_sum{call="verify",kind="ci",outcome="refused",scheme="bearer"} 0
apitoken_verification_duration_seconds_count{call="verify",kind="ci",outcome="refused",scheme="bearer"} 2
`), "apitoken_verification_duration_seconds"))
}

func TestLimitDecisions(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	for _, d := range []apitoken.Decision{
		{Limit: "read", Allowed: true},
		{Limit: "read", Allowed: true},
		{Limit: "read", Per: apitoken.PerToken, RetryAfter: time.Second},
		{Limit: "read", Per: apitoken.PerOwner, Allowed: true},
		{Limit: "write", Per: apitoken.PerTenant, Allowed: true, Local: true},
		{Limit: "write", Per: apitoken.PerKey, Never: true},
	} {
		o.Limited(t.Context(), d)
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP apitoken_limit_decisions_total Decisions of the rate limiter, and by quotas.
# TYPE apitoken_limit_decisions_total counter
apitoken_limit_decisions_total{limit="read",local="false",outcome="allowed",per="owner"} 1
apitoken_limit_decisions_total{limit="read",local="false",outcome="allowed",per="token"} 2
apitoken_limit_decisions_total{limit="read",local="false",outcome="refused",per="token"} 1
apitoken_limit_decisions_total{limit="write",local="false",outcome="refused",per="key"} 1
apitoken_limit_decisions_total{limit="write",local="true",outcome="allowed",per="tenant"} 1
`), "apitoken_limit_decisions_total"))
}

func TestStoreFailures(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	for _, call := range []string{"Get", "Swap", "Get"} {
		o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: call, Err: errors.New("dial tcp db.internal: no route")})
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP apitoken_store_failures_total Calls of the store that failed.
# TYPE apitoken_store_failures_total counter
apitoken_store_failures_total{call="Get"} 2
apitoken_store_failures_total{call="Swap"} 1
`), "apitoken_store_failures_total"))
}

func TestSweeps(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	steps := func(noticed, ended, expired, revoked, purged, held, conflicts, failed int) string {
		return fmt.Sprintf(`
# HELP apitoken_sweep_steps_total What sweeps did to tokens.
# TYPE apitoken_sweep_steps_total counter
apitoken_sweep_steps_total{step="conflicts"} %d
apitoken_sweep_steps_total{step="ended"} %d
apitoken_sweep_steps_total{step="expired"} %d
apitoken_sweep_steps_total{step="failed"} %d
apitoken_sweep_steps_total{step="held"} %d
apitoken_sweep_steps_total{step="noticed"} %d
apitoken_sweep_steps_total{step="purged"} %d
apitoken_sweep_steps_total{step="revoked"} %d
`, conflicts, ended, expired, failed, held, noticed, purged, revoked)
	}
	// There before the first sweep.
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(steps(0, 0, 0, 0, 0, 0, 0, 0)), "apitoken_sweep_steps_total"))

	o.Swept(t.Context(), apitoken.SweepResult{Took: 2 * time.Second, Swept: apitoken.Swept{
		Noticed: 1, Ended: 2, Expired: 3, Revoked: 4, Purged: 5, Held: 6, Rearmed: 100, Conflicts: 7, Failed: 8,
	}})
	o.Swept(t.Context(), apitoken.SweepResult{Took: time.Second, Swept: apitoken.Swept{Expired: 1, Failed: -1}, Err: apitoken.ErrUnavailable})
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(steps(1, 2, 4, 4, 5, 6, 7, 8)+`
# HELP apitoken_sweep_duration_seconds How long a sweep took.
# TYPE apitoken_sweep_duration_seconds histogram
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="0.001"} 0
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="0.01"} 0
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="0.1"} 0
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="1"} 0
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="5"} 1
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="15"} 1
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="60"} 1
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="300"} 1
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="900"} 1
apitoken_sweep_duration_seconds_bucket{outcome="completed",le="+Inf"} 1
apitoken_sweep_duration_seconds_sum{outcome="completed"} 2
apitoken_sweep_duration_seconds_count{outcome="completed"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="0.001"} 0
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="0.01"} 0
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="0.1"} 0
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="1"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="5"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="15"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="60"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="300"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="900"} 1
apitoken_sweep_duration_seconds_bucket{outcome="failed",le="+Inf"} 1
apitoken_sweep_duration_seconds_sum{outcome="failed"} 1
apitoken_sweep_duration_seconds_count{outcome="failed"} 1
`), "apitoken_sweep_steps_total", "apitoken_sweep_duration_seconds"))
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		reg  prometheus.Registerer
		opts promapitoken.Options
		want string
	}{
		{"no registerer", nil, promapitoken.Options{}, "no registerer"},
		{"buckets that descend", prometheus.NewRegistry(), promapitoken.Options{Buckets: []float64{1, .5}}, "Buckets[1]"},
		{"a bucket twice", prometheus.NewRegistry(), promapitoken.Options{Buckets: []float64{1, 1}}, "Buckets[1]"},
		{"a bucket that is no number", prometheus.NewRegistry(), promapitoken.Options{Buckets: []float64{math.NaN()}}, "Buckets[0]"},
		{"native buckets that do not grow", prometheus.NewRegistry(), promapitoken.Options{NativeBuckets: 1}, "NativeBuckets"},
		{"native buckets without end", prometheus.NewRegistry(), promapitoken.Options{NativeBuckets: math.Inf(1)}, "NativeBuckets"},
		{"native buckets that are no number", prometheus.NewRegistry(), promapitoken.Options{NativeBuckets: math.NaN()}, "NativeBuckets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, err := promapitoken.New(c.reg, c.opts)
			require.ErrorContains(t, err, c.want)
			require.Nil(t, o.Verified)
		})
	}
}

func TestRegisteredTwice(t *testing.T) {
	t.Parallel()
	_, reg := observe(t, promapitoken.Options{})
	_, err := promapitoken.New(reg, promapitoken.Options{})
	_, again := errors.AsType[prometheus.AlreadyRegisteredError](err)
	require.True(t, again, "%v", err)

	// With labels that tell them apart, it goes.
	_, err = promapitoken.New(prometheus.WrapRegistererWith(prometheus.Labels{"service": "a"}, prometheus.NewRegistry()), promapitoken.Options{})
	require.NoError(t, err)
}

// One metric of the host's is in the way: none of ours stays.
func TestRegisteredAllOrNone(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	clash := prometheus.NewCounter(prometheus.CounterOpts{Name: "apitoken_sweep_duration_seconds", Help: "the host's own"})
	require.NoError(t, reg.Register(clash))
	_, err := promapitoken.New(reg, promapitoken.Options{})
	require.ErrorContains(t, err, "apitoken_sweep_duration_seconds")
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "the host's own", families[0].GetHelp())
}

func TestBounded(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	const n = 1500
	for i := range n {
		name := fmt.Sprintf("made-up-%d", i)
		o.Verified(t.Context(), apitoken.Verification{Call: name, Reason: name, Part: name, Kind: apitoken.Kind(name), Scheme: apitoken.Scheme(name)})
		o.Verified(t.Context(), apitoken.Verification{Call: "verify"})
		o.Limited(t.Context(), apitoken.Decision{Limit: name, Per: apitoken.Per(name)})
		o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: name})
	}
	for _, c := range []struct {
		metric string
		most   int
	}{
		{"apitoken_verifications_total", 1001},
		{"apitoken_verification_duration_seconds", 1001},
		{"apitoken_limit_decisions_total", 1001},
		{"apitoken_store_failures_total", 1001},
	} {
		got, err := testutil.GatherAndCount(reg, c.metric)
		require.NoError(t, err)
		require.Equal(t, c.most, got, c.metric)
	}
	all := text(t, reg)
	require.Contains(t, all, `apitoken_verifications_total{call="other",kind="other",outcome="refused",part="other",reason="other",scheme="other"} 501`)
	require.Contains(t, all, `apitoken_verifications_total{call="verify",kind="",outcome="accepted",part="",reason="",scheme=""} 1500`)
	require.Contains(t, all, `apitoken_limit_decisions_total{limit="other",local="false",outcome="refused",per="other"} 500`)
	require.Contains(t, all, `apitoken_store_failures_total{call="other"} 500`)
}

func TestBoundedConcurrently(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 300 {
				o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: fmt.Sprintf("made-up-%d-%d", w, i)})
			}
		})
	}
	all.Wait()
	got, err := testutil.GatherAndCount(reg, "apitoken_store_failures_total")
	require.NoError(t, err)
	require.Equal(t, 1001, got)
	require.EqualValues(t, 8*300, sum(t, reg, "apitoken_store_failures_total"))
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{NativeBuckets: 1.1})
	const workers, each = 8, 300
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				kind := apitoken.Kind(fmt.Sprintf("kind-%d", i%7))
				o.Verified(t.Context(), apitoken.Verification{Call: "verify", Kind: kind, Took: time.Millisecond})
				o.Limited(t.Context(), apitoken.Decision{Limit: string(kind), Allowed: true})
				o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: string(kind)})
				o.Swept(t.Context(), apitoken.SweepResult{Swept: apitoken.Swept{Expired: 1}})
			}
		})
	}
	for range 5 {
		_, err := reg.Gather()
		require.NoError(t, err)
	}
	all.Wait()
	for metric, want := range map[string]float64{
		"apitoken_verifications_total": workers * each, "apitoken_limit_decisions_total": workers * each,
		"apitoken_store_failures_total": workers * each, "apitoken_sweep_steps_total": workers * each,
	} {
		require.Equal(t, want, sum(t, reg, metric), metric)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	o.Verified(t.Context(), apitoken.Verification{Call: "verify"})
	o.Limited(t.Context(), apitoken.Decision{Limit: "read"})
	o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: "Get"})
	require.NoError(t, reg.Register(promapitoken.NewStatusCollector(status{}, promapitoken.StatusOptions{})))
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	require.Empty(t, problems)
}

// text is what a scrape gets.
func text(t testing.TB, reg prometheus.Gatherer) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, w.Code, w.Body)
	return w.Body.String()
}

func sum(t testing.TB, reg prometheus.Gatherer, metric string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	var total float64
	for _, f := range families {
		if f.GetName() == metric {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total
}
