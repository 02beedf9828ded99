package promapitoken

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenry/apitoken"
)

// Options says how measurements are kept. The zero Options is good.
type Options struct {
	// Buckets are the upper bounds of apitoken_verification_duration_seconds, in
	// seconds, ascending. Defaults to twelve from 1 µs to 5 s: from a cache in memory
	// to a store that hardly answers.
	Buckets []float64
	// NativeBuckets, when more than 1, makes the histograms native ones beside: each
	// bucket is at most so many times as wide as the one before. 1.1 is usual.
	// Defaults to none.
	NativeBuckets float64
}

// New registers the metrics and returns the Observer that counts into them, for
// [apitoken.Options]. The error says what is wrong with opts, or why reg refused: an
// errors.As finds [prometheus.AlreadyRegisteredError] when it has them already.
// On an error reg has none of them that it did not have before.
func New(reg prometheus.Registerer, opts Options) (apitoken.Observer, error) {
	if reg == nil {
		return apitoken.Observer{}, errors.New("promapitoken: no registerer: give prometheus.DefaultRegisterer or your own")
	}
	if err := opts.check(); err != nil {
		return apitoken.Observer{}, err
	}
	r := newRecorder(opts)
	if err := register(reg, r.verified, r.took, r.decided, r.failed, r.stepped, r.sweepTook); err != nil {
		return apitoken.Observer{}, err
	}
	return apitoken.Observer{
		Verified: r.onVerified, Limited: r.onLimited, StoreFailed: r.onStoreFailed, Swept: r.onSwept,
	}, nil
}

func (o *Options) check() error {
	last := math.Inf(-1)
	for i, b := range o.Buckets {
		if !(b > last) { // not a number is not more than any
			return fmt.Errorf("promapitoken: Buckets[%d] is %v: give ascending numbers", i, b)
		}
		last = b
	}
	if f := o.NativeBuckets; f != 0 && !(f > 1 && f <= 100) {
		return fmt.Errorf("promapitoken: NativeBuckets is %v: give more than 1, such as 1.1, or 0 for none", f)
	}
	return nil
}

// register registers all or none.
func register(reg prometheus.Registerer, all ...prometheus.Collector) error {
	for i, c := range all {
		if err := reg.Register(c); err != nil {
			for _, done := range all[:i] {
				reg.Unregister(done)
			}
			return fmt.Errorf("promapitoken: %w", err)
		}
	}
	return nil
}

// recorder has the metrics, and those of each combination of labels that was seen.
type recorder struct {
	verified      *prometheus.CounterVec
	took          *prometheus.HistogramVec
	verifications *table[verificationKey, verification]

	decided *prometheus.CounterVec
	limits  *table[decisionKey, prometheus.Counter]

	failed   *prometheus.CounterVec
	failures *table[string, prometheus.Counter]

	stepped   *prometheus.CounterVec
	steps     [len(steps)]prometheus.Counter
	sweepTook *prometheus.HistogramVec
	completed prometheus.Observer
	aborted   prometheus.Observer
}

func newRecorder(opts Options) *recorder {
	counter := func(name, what string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: what}, labels)
	}
	seconds := func(name, what string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: what, Buckets: buckets, NativeHistogramBucketFactor: opts.NativeBuckets,
			NativeHistogramMaxBucketNumber: 160, // else without bound
		}, labels)
	}
	buckets := opts.Buckets
	if len(buckets) == 0 {
		buckets = []float64{.000001, .00001, .0001, .001, .0025, .005, .01, .025, .1, .25, 1, 5}
	}
	r := &recorder{
		verified: counter("apitoken_verifications_total", "Requests decided, by outcome.",
			"call", "outcome", "reason", "part", "kind", "scheme"),
		took: seconds("apitoken_verification_duration_seconds", "How long the decision about a request took.", buckets,
			"call", "outcome", "kind", "scheme"),
		decided: counter("apitoken_limit_decisions_total", "Decisions of the rate limiter, and by quotas.",
			"limit", "per", "outcome", "local"),
		failed: counter("apitoken_store_failures_total", "Calls of the store that failed.",
			"call"),
		stepped: counter("apitoken_sweep_steps_total", "What sweeps did to tokens.",
			"step"),
		sweepTook: seconds("apitoken_sweep_duration_seconds", "How long a sweep took.",
			[]float64{.001, .01, .1, 1, 5, 15, 60, 300, 900},
			"outcome"),
	}
	r.verifications = newTable(r.newVerification, verificationKey.rest)
	r.limits = newTable(r.newDecision, decisionKey.rest)
	r.failures = newTable(r.newFailure, func(string) string { return other })
	// There from the start: a rate needs the value before the first step.
	for i, step := range steps {
		r.steps[i] = r.stepped.WithLabelValues(step)
	}
	r.completed, r.aborted = r.sweepTook.WithLabelValues("completed"), r.sweepTook.WithLabelValues("failed")
	return r
}

func (r *recorder) onVerified(_ context.Context, v apitoken.Verification) {
	to := r.verifications.get(verificationKey{v.Call, v.Reason, v.Part, v.Kind, v.Scheme})
	to.count.Inc()
	to.took.Observe(max(0, v.Took).Seconds())
}

func (r *recorder) onLimited(_ context.Context, d apitoken.Decision) {
	r.limits.get(decisionKey{d.Limit, d.Per, d.Allowed, d.Local}).Inc()
}

func (r *recorder) onStoreFailed(_ context.Context, f apitoken.StoreFailure) {
	r.failures.get(f.Call).Inc()
}

func (r *recorder) onSwept(_ context.Context, s apitoken.SweepResult) {
	for i, n := range []int{s.Noticed, s.Ended, s.Expired, s.Revoked, s.Purged, s.Held, s.Conflicts, s.Failed} {
		r.steps[i].Add(float64(max(0, n))) // it panics on less
	}
	to := r.completed
	if s.Err != nil {
		to = r.aborted
	}
	to.Observe(max(0, s.Took).Seconds())
}
