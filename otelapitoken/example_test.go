package otelapitoken_test

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/otelapitoken"
)

// A host whose verifications are measured, and seen in the traces of its requests.
func Example() {
	ctx := context.Background()
	// What your program sets up with an exporter for each; otel.SetMeterProvider and
	// otel.SetTracerProvider make them the global ones, for Options that are empty.
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewInMemoryExporter()
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	observer, err := otelapitoken.New(otelapitoken.Options{MeterProvider: meters, TracerProvider: tracers})
	check(err)
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{Prefix: "acme", Observer: observer})
	check(err)
	issued, err := tokens.Issue(ctx, apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "build"})
	check(err)

	// A request, for which the host's middleware began a span.
	ctx, request := tracers.Tracer("host").Start(ctx, "GET /devices")
	_, err = tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	check(err)
	request.End()

	for _, s := range spans.GetSpans() {
		fmt.Println("span", s.Name)
		for _, a := range s.Attributes {
			fmt.Println(" ", a.Key, a.Value.String())
		}
	}
	var all metricdata.ResourceMetrics
	check(reader.Collect(ctx, &all))
	for _, m := range all.ScopeMetrics[0].Metrics {
		fmt.Println("metric", m.Name, m.Unit)
	}
	// Output:
	// span apitoken.verify
	//   apitoken.call verify
	//   apitoken.kind token
	//   apitoken.outcome accepted
	//   apitoken.scheme bearer
	// span GET /devices
	// metric apitoken.verifications {verification}
	// metric apitoken.verification.duration s
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
