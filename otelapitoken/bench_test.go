package otelapitoken_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/otelapitoken"
)

// What an Observer adds to a Verify, in a trace that is sampled, in one that is not
// and with spans switched off; and to a decision of a limit.
func BenchmarkObserver(b *testing.B) {
	with := func(tracers trace.TracerProvider) apitoken.Observer {
		meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
		o, err := otelapitoken.New(otelapitoken.Options{MeterProvider: meters, TracerProvider: tracers})
		require.NoError(b, err)
		return o
	}
	sdk := sdktrace.NewTracerProvider()
	sampled := trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled}
	unsampled := sampled
	unsampled.TraceFlags = 0
	v := apitoken.Verification{Call: "verify", Kind: "ci", Scheme: apitoken.SchemeBearer, Start: time.Now(), Took: 2 * time.Microsecond}
	for _, c := range []struct {
		name string
		o    apitoken.Observer
		ctx  context.Context
	}{
		{"Verified/sampled", with(sdk), trace.ContextWithSpanContext(b.Context(), trace.NewSpanContext(sampled))},
		{"Verified/unsampled", with(sdk), trace.ContextWithSpanContext(b.Context(), trace.NewSpanContext(unsampled))},
		{"Verified/metrics", with(tracenoop.NewTracerProvider()), b.Context()},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.o.Verified(c.ctx, v)
			}
		})
	}
	b.Run("Limited", func(b *testing.B) {
		b.ReportAllocs()
		o := with(tracenoop.NewTracerProvider())
		d := apitoken.Decision{Limit: "read", Allowed: true}
		for b.Loop() {
			o.Limited(b.Context(), d)
		}
	})
}
