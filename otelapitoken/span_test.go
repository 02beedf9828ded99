package otelapitoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/otelapitoken"
)

func TestSpans(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o, got := observe(t)
			c.v.Start, c.v.Took = apitokentest.Start, 3*time.Millisecond
			ctx, parent := got.tracer.Tracer("host").Start(t.Context(), "GET /devices")
			o.Verified(ctx, c.v)
			parent.End()

			ended := got.spans.Ended()
			require.Len(t, ended, 2)
			span := ended[0]
			attributes := attribute.NewSet(span.Attributes()...)
			call, _ := attributes.Value("apitoken.call")
			require.Equal(t, "apitoken."+call.AsString(), span.Name())
			require.Equal(t, trace.SpanKindInternal, span.SpanKind())
			require.Equal(t, parent.SpanContext().SpanID(), span.Parent().SpanID())
			require.Equal(t, parent.SpanContext().TraceID(), span.SpanContext().TraceID())
			require.Equal(t, "github.com/tokenry/apitoken/otelapitoken", span.InstrumentationScope().Name)
			require.True(t, span.StartTime().Equal(apitokentest.Start))
			require.Equal(t, 3*time.Millisecond, span.EndTime().Sub(span.StartTime()))
			require.Equal(t, c.want, labels(attributes))
			require.Empty(t, span.Events())
			if c.status == "" {
				require.Equal(t, sdktrace.Status{}, span.Status())
			} else {
				require.Equal(t, sdktrace.Status{Code: codes.Error, Description: c.status}, span.Status())
			}
		})
	}
}

// Only a Verification has a span.
func TestNoOtherSpans(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	o.Limited(t.Context(), apitoken.Decision{Limit: "read"})
	o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: "Get"})
	o.Swept(t.Context(), apitoken.SweepResult{})
	require.Empty(t, got.spans.Started())
}

// Without a span above it, it begins a trace.
func TestRootSpan(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	o.Verified(t.Context(), apitoken.Verification{Call: "verify"})
	require.Len(t, got.spans.Ended(), 1)
	require.False(t, got.spans.Ended()[0].Parent().IsValid())
}

// A trace that is not sampled has no spans of ours, and its measurements count.
func TestNotSampled(t *testing.T) {
	t.Parallel()
	o, got := observe(t)
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
	o.Verified(ctx, apitoken.Verification{Call: "verify"})
	require.Empty(t, got.spans.Ended())
	require.Equal(t, []string{"call=verify,outcome=accepted 1"}, got.lines(t, "apitoken.verifications"))
}

// Exemplars of the metrics lead to the span of the verification.
func TestExemplars(t *testing.T) {
	t.Parallel()
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	o, err := otelapitoken.New(otelapitoken.Options{
		MeterProvider:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithExemplarFilter(exemplar.TraceBasedFilter)),
		TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)),
	})
	require.NoError(t, err)
	o.Verified(t.Context(), apitoken.Verification{Call: "verify", Took: time.Millisecond})
	want := spans.Ended()[0].SpanContext().SpanID()

	found := 0
	for _, m := range (&telemetry{reader: reader}).collect(t) {
		if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
			for _, e := range h.DataPoints[0].Exemplars {
				require.Equal(t, want[:], e.SpanID)
				found++
			}
		}
	}
	require.Equal(t, 1, found)
}

func TestSpansSwitchedOff(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	o, err := otelapitoken.New(otelapitoken.Options{
		MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), TracerProvider: tracenoop.NewTracerProvider(),
	})
	require.NoError(t, err)
	o.Verified(t.Context(), apitoken.Verification{Call: "verify", Reason: "unavailable", Part: "store"})
	require.Equal(t, []string{"call=verify,outcome=failed,part=store,reason=unavailable 1"},
		(&telemetry{reader: reader}).lines(t, "apitoken.verifications"))
}
