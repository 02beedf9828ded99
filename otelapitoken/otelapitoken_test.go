package otelapitoken_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/otelapitoken"
)

// telemetry is where a test's measurements and spans go.
type telemetry struct {
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	tracer *sdktrace.TracerProvider
}

func observe(t testing.TB) (apitoken.Observer, *telemetry) {
	t.Helper()
	out := &telemetry{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
	out.tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(out.spans))
	o, err := otelapitoken.New(otelapitoken.Options{
		// Not the SDK's own bound, but ours.
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(out.reader), sdkmetric.WithCardinalityLimit(0)),
		TracerProvider: out.tracer,
	})
	require.NoError(t, err)
	return o, out
}

// lines are the measurements of one instrument, sorted: 'attributes value', for a
// histogram 'attributes count sum'.
func (m *telemetry) lines(t testing.TB, name string) []string {
	t.Helper()
	var out []string
	for _, d := range m.collect(t) {
		if d.Name != name {
			continue
		}
		switch data := d.Data.(type) {
		case metricdata.Sum[int64]:
			require.True(t, data.IsMonotonic)
			for _, p := range data.DataPoints {
				out = append(out, fmt.Sprint(labels(p.Attributes), " ", p.Value))
			}
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				out = append(out, fmt.Sprint(labels(p.Attributes), " ", p.Count, " ", p.Sum))
			}
		default:
			require.Fail(t, "unexpected", "%T", data)
		}
	}
	slices.Sort(out)
	return out
}

func (m *telemetry) collect(t testing.TB) []metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, m.reader.Collect(t.Context(), &all))
	var out []metricdata.Metrics
	for _, s := range all.ScopeMetrics {
		require.Equal(t, "github.com/tokenry/apitoken/otelapitoken", s.Scope.Name)
		out = append(out, s.Metrics...)
	}
	return out
}

// labels writes attributes, which come sorted, without what all of them begin with.
func labels(set attribute.Set) string { return write(set.ToSlice()) }

func write(all []attribute.KeyValue) string {
	var out []string
	for _, a := range all {
		out = append(out, strings.TrimPrefix(string(a.Key), "apitoken.")+"="+a.Value.String())
	}
	return strings.Join(out, ",")
}

// cases are verifications and the attributes that they have.
var cases = []struct {
	name   string
	v      apitoken.Verification
	want   string
	status string // of the span; "" = no error
}{
	{"accepted", apitoken.Verification{Call: "verify", Kind: "ci", Scheme: apitoken.SchemeBearer},
		"call=verify,kind=ci,outcome=accepted,scheme=bearer", ""},
	{"refused", apitoken.Verification{Call: "verify", Reason: "expired", Kind: "ci", Scheme: apitoken.SchemeBearer},
		"call=verify,kind=ci,outcome=refused,reason=expired,scheme=bearer", ""},
	{"of no token", apitoken.Verification{Call: "verify", Reason: "unknown_token"},
		"call=verify,outcome=refused,reason=unknown_token", ""},
	{"over a limit", apitoken.Verification{Call: "admit", Reason: "rate_limited", Kind: "ci", Scheme: apitoken.SchemeJWS},
		"call=admit,kind=ci,outcome=refused,reason=rate_limited,scheme=jws", ""},
	{"an outage", apitoken.Verification{Call: "recheck", Reason: "unavailable", Part: "replay guard", Kind: "ci", Scheme: apitoken.SchemeBearer},
		"call=recheck,kind=ci,outcome=failed,part=replay guard,reason=unavailable,scheme=bearer", "replay guard unavailable"},
	{"an error from elsewhere", apitoken.Verification{Call: "verify", Reason: "unknown"},
		"call=verify,outcome=failed,reason=unknown", "no answer"},
	{"a call from elsewhere", apitoken.Verification{Call: "canary"},
		"call=other,outcome=accepted", ""},
	{"a kind that is no text", apitoken.Verification{Call: "verify", Kind: "a\xffb", Scheme: apitoken.SchemeBearer},
		"call=verify,kind=a\uFFFDb,outcome=accepted,scheme=bearer", ""},
	{"a kind as long as a secret", apitoken.Verification{Call: "verify", Kind: apitoken.Kind(strings.Repeat("k", 101))},
		"call=verify,kind=other,outcome=accepted", ""},
}

func TestVerifications(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, got := observe(t)
			c.v.Took = 250 * time.Millisecond
			o.Verified(t.Context(), c.v)
			c.v.Took = -time.Second // a clock stepped back
			o.Verified(t.Context(), c.v)
			require.Equal(t, []string{c.want + " 2"}, got.lines(t, "apitoken.verifications"))
			require.Equal(t, []string{c.want + " 2 0.25"}, got.lines(t, "apitoken.verification.duration"))
		})
	}
}

func TestLimitDecisions(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
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
	require.Equal(t, []string{
		"limit=read,local=false,outcome=allowed,per=owner 1",
		"limit=read,local=false,outcome=allowed,per=token 2",
		"limit=read,local=false,outcome=refused,per=token 1",
		"limit=write,local=false,outcome=refused,per=key 1",
		"limit=write,local=true,outcome=allowed,per=tenant 1",
	}, got.lines(t, "apitoken.limit.decisions"))
}

func TestStoreFailures(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	for _, call := range []string{"Get", "Swap", "Get"} {
		o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: call, Err: errors.New("dial tcp db.internal: no route")})
	}
	require.Equal(t, []string{"call=Get 2", "call=Swap 1"}, got.lines(t, "apitoken.store.failures"))
}

func TestSweeps(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	o.Swept(t.Context(), apitoken.SweepResult{Took: 2 * time.Second, Swept: apitoken.Swept{
		Noticed: 1, Ended: 2, Expired: 3, Revoked: 4, Purged: 5, Held: 6, Rearmed: 100, Conflicts: 7,
	}})
	require.Equal(t, []string{
		"step=conflicts 7", "step=ended 2", "step=expired 3", "step=failed 0", "step=held 6", "step=noticed 1", "step=purged 5", "step=revoked 4",
	}, got.lines(t, "apitoken.sweep.steps"))
	o.Swept(t.Context(), apitoken.SweepResult{Took: time.Second, Swept: apitoken.Swept{Expired: 1, Failed: 8}, Err: apitoken.ErrUnavailable})
	require.Equal(t, []string{
		"step=conflicts 7", "step=ended 2", "step=expired 4", "step=failed 8", "step=held 6", "step=noticed 1", "step=purged 5", "step=revoked 4",
	}, got.lines(t, "apitoken.sweep.steps"))
	require.Equal(t, []string{"outcome=completed 1 2", "outcome=failed 1 1"}, got.lines(t, "apitoken.sweep.duration"))
}

func TestUnits(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	o.Verified(t.Context(), apitoken.Verification{Call: "verify"})
	o.Limited(t.Context(), apitoken.Decision{Limit: "read"})
	o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: "Get"})
	o.Swept(t.Context(), apitoken.SweepResult{})
	units := map[string]string{}
	for _, m := range got.collect(t) {
		require.NotEmpty(t, m.Description, m.Name)
		units[m.Name] = m.Unit
	}
	require.Equal(t, map[string]string{
		"apitoken.verifications": "{verification}", "apitoken.verification.duration": "s",
		"apitoken.limit.decisions": "{decision}", "apitoken.store.failures": "{failure}",
		"apitoken.sweep.steps": "{step}", "apitoken.sweep.duration": "s",
	}, units)
}

func TestBounded(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	const n = 1500
	for i := range n {
		name := fmt.Sprintf("made-up-%d", i)
		o.Verified(t.Context(), apitoken.Verification{Call: name, Reason: name, Part: name, Kind: apitoken.Kind(name), Scheme: apitoken.Scheme(name)})
		o.Verified(t.Context(), apitoken.Verification{Call: "verify"})
		o.Limited(t.Context(), apitoken.Decision{Limit: name, Per: apitoken.Per(name)})
		o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: name})
	}
	for _, c := range []struct{ instrument, has string }{
		{"apitoken.verifications", "call=other,kind=other,outcome=refused,part=other,reason=other,scheme=other 501"},
		{"apitoken.verifications", "call=verify,outcome=accepted 1500"},
		{"apitoken.verification.duration", "call=other,kind=other,outcome=refused,part=other,reason=other,scheme=other 501 0"},
		{"apitoken.limit.decisions", "limit=other,local=false,outcome=refused,per=other 500"},
		{"apitoken.store.failures", "call=other 500"},
	} {
		lines := got.lines(t, c.instrument)
		require.Len(t, lines, 1001, c.instrument)
		require.Contains(t, lines, c.has)
	}
}

func TestBoundedConcurrently(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 300 {
				o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: fmt.Sprintf("made-up-%d-%d", w, i)})
			}
		})
	}
	all.Wait()
	lines := got.lines(t, "apitoken.store.failures")
	require.Len(t, lines, 1001)
	require.Contains(t, lines, "call=other 1400")
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	const workers, each = 8, 210
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				kind := apitoken.Kind(fmt.Sprintf("kind-%d", i%7))
				o.Verified(t.Context(), apitoken.Verification{Call: "verify", Kind: kind})
				o.Limited(t.Context(), apitoken.Decision{Limit: string(kind), Allowed: true})
				o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: string(kind)})
				o.Swept(t.Context(), apitoken.SweepResult{Swept: apitoken.Swept{Expired: 1}})
			}
		})
	}
	for range 5 {
		got.collect(t)
	}
	all.Wait()
	for instrument, format := range map[string]string{
		"apitoken.verifications":   "call=verify,kind=kind-%d,outcome=accepted 240",
		"apitoken.limit.decisions": "limit=kind-%d,local=false,outcome=allowed,per=token 240",
		"apitoken.store.failures":  "call=kind-%d 240",
	} {
		var want []string
		for i := range 7 {
			want = append(want, fmt.Sprintf(format, i))
		}
		require.Equal(t, want, got.lines(t, instrument))
	}
	require.Contains(t, got.lines(t, "apitoken.sweep.steps"), "step=expired 1680")
	require.Len(t, got.spans.Ended(), workers*each)
}

// brokenMeter makes no counters.
type brokenMeter struct{ metricnoop.MeterProvider }

func (brokenMeter) Meter(string, ...metric.MeterOption) metric.Meter { return brokenCounters{} }

type brokenCounters struct{ metricnoop.Meter }

func (brokenCounters) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return nil, errors.New("no room for " + name)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	o, err := otelapitoken.New(otelapitoken.Options{MeterProvider: brokenMeter{}})
	require.ErrorContains(t, err, "no room for apitoken.verifications")
	require.Nil(t, o.Verified)
}

// The global providers take others' place once in a process: a second run of the test
// finds them set.
var (
	setGlobals = sync.OnceValue(func() *telemetry {
		got := &telemetry{reader: sdkmetric.NewManualReader(), spans: tracetest.NewSpanRecorder()}
		otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(got.reader)))
		otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(got.spans)))
		return got
	})
	runs atomic.Int32
)

// The global providers may be set after New.
func TestGlobalProviders(t *testing.T) {
	t.Parallel()
	o, err := otelapitoken.New(otelapitoken.Options{})
	require.NoError(t, err)
	got := setGlobals()
	run := fmt.Sprint("run-", runs.Add(1))
	o.Verified(t.Context(), apitoken.Verification{Call: "verify", Kind: apitoken.Kind(run)})
	want := "call=verify,kind=" + run + ",outcome=accepted"
	require.Contains(t, got.lines(t, "apitoken.verifications"), want+" 1")
	spans := got.spans.Ended()
	require.Equal(t, want, labels(attribute.NewSet(spans[len(spans)-1].Attributes()...)))
}
