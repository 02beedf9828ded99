package otelapitoken

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tokenry/apitoken"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/tokenry/apitoken/otelapitoken"

// Options says where measurements and spans go. The zero Options is good: both go
// where the program's others go.
type Options struct {
	// MeterProvider gets the metrics. Defaults to the global one, also if that is set
	// after New. The one of package metric/noop switches metrics off.
	MeterProvider metric.MeterProvider
	// TracerProvider gets the spans. Defaults to the global one, also if that is set
	// after New. The one of package trace/noop switches spans off.
	TracerProvider trace.TracerProvider
}

// New returns an Observer for [apitoken.Options]. One can serve several Services;
// their numbers are then added up. The error is that of a MeterProvider which does
// not make an instrument.
func New(opts Options) (apitoken.Observer, error) {
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	r := &recorder{
		verifications: newTable(newVerification, verificationKey.rest),
		limits:        newTable(newDecision, decisionKey.rest),
		failures:      newTable(newFailure, func(string) string { return other }),
		swept:         newTable(newSweep, func(ok bool) bool { return ok }),
	}
	if _, off := opts.TracerProvider.(noop.TracerProvider); !off {
		r.tracer = opts.TracerProvider.Tracer(scope)
	}
	for i, step := range steps {
		r.steps[i] = addOptions(keyStep.String(step))
	}
	if err := r.makeInstruments(opts.MeterProvider.Meter(scope)); err != nil {
		return apitoken.Observer{}, err
	}
	return apitoken.Observer{
		Verified: r.onVerified, Limited: r.onLimited, StoreFailed: r.onStoreFailed, Swept: r.onSwept,
	}, nil
}

// recorder has the instruments, and what they are given with each measurement, made
// before.
type recorder struct {
	tracer trace.Tracer // nil = spans are switched off

	verified      metric.Int64Counter
	took          metric.Float64Histogram
	verifications *table[verificationKey, *verification]

	decided metric.Int64Counter
	limits  *table[decisionKey, []metric.AddOption]

	failed   metric.Int64Counter
	failures *table[string, []metric.AddOption]

	stepped   metric.Int64Counter
	steps     [len(steps)][]metric.AddOption
	sweepTook metric.Float64Histogram
	swept     *table[bool, []metric.RecordOption]
}

func (r *recorder) makeInstruments(m metric.Meter) error {
	var faults []error
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		faults = append(faults, err)
		return c
	}
	seconds := func(name, what string, bounds ...float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(bounds...))
		faults = append(faults, err)
		return h
	}
	r.verified = counter("apitoken.verifications", "{verification}", "Requests decided, by outcome.")
	// From a cache in memory to a store that hardly answers.
	r.took = seconds("apitoken.verification.duration", "How long the decision about a request took.",
		.000001, .00001, .0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
	r.decided = counter("apitoken.limit.decisions", "{decision}", "Decisions of the rate limiter, and by quotas.")
	r.failed = counter("apitoken.store.failures", "{failure}", "Calls of the store that failed.")
	r.stepped = counter("apitoken.sweep.steps", "{step}", "What sweeps did to tokens.")
	r.sweepTook = seconds("apitoken.sweep.duration", "How long a sweep took.", .001, .01, .1, 1, 5, 15, 60, 300, 900)
	return errors.Join(faults...)
}

func (r *recorder) onVerified(ctx context.Context, v apitoken.Verification) {
	with := r.verifications.get(verificationKey{v.Call, v.Reason, v.Part, v.Kind, v.Scheme})
	if r.tracer != nil {
		// Left in ctx for the instruments: so exemplars lead to it.
		ctx = r.span(ctx, v, with)
	}
	r.verified.Add(ctx, 1, with.add...)
	r.took.Record(ctx, max(0, v.Took).Seconds(), with.record...)
}

// span is that of a verification, from its start to its end.
func (r *recorder) span(ctx context.Context, v apitoken.Verification, with *verification) context.Context {
	ctx, span := r.tracer.Start(ctx, with.name, trace.WithTimestamp(v.Start), with.span)
	if !span.IsRecording() { // options would cost something and have no effect
		span.End()
		return ctx
	}
	if with.outage != "" {
		span.SetStatus(codes.Error, with.outage)
	}
	span.End(trace.WithTimestamp(v.Start.Add(max(0, v.Took))))
	return ctx
}

func (r *recorder) onLimited(ctx context.Context, d apitoken.Decision) {
	r.decided.Add(ctx, 1, r.limits.get(decisionKey{d.Limit, d.Per, d.Allowed, d.Local})...)
}

func (r *recorder) onStoreFailed(ctx context.Context, f apitoken.StoreFailure) {
	r.failed.Add(ctx, 1, r.failures.get(f.Call)...)
}

func (r *recorder) onSwept(ctx context.Context, s apitoken.SweepResult) {
	for i, n := range []int{s.Noticed, s.Ended, s.Expired, s.Revoked, s.Purged, s.Held, s.Conflicts, s.Failed} {
		// Nought too: a rate needs the value before the first step.
		r.stepped.Add(ctx, int64(n), r.steps[i]...)
	}
	r.sweepTook.Record(ctx, max(0, s.Took).Seconds(), r.swept.get(s.Err == nil)...)
}
