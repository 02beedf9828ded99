package promapitoken_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/promapitoken"
)

// A host that serves what its tokens do, and how they stand, under /metrics.
func Example() {
	ctx := context.Background()
	reg := prometheus.NewRegistry() // or prometheus.DefaultRegisterer
	observer, err := promapitoken.New(reg, promapitoken.Options{})
	check(err)
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{Prefix: "acme", Observer: observer})
	check(err)
	check(reg.Register(promapitoken.NewStatusCollector(tokens, promapitoken.StatusOptions{})))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))

	issued, err := tokens.Issue(ctx, apitoken.Actor{ID: "ann", Tenant: "acme"}, apitoken.IssueRequest{Name: "build"})
	check(err)
	for _, value := range []string{issued.Secret.Reveal(), issued.Secret.Reveal(), "guessed"} {
		if _, err := tokens.Verify(ctx, apitoken.VerifyRequest{Token: value}); err != nil {
			fmt.Println(apitoken.ReasonOf(err))
		}
	}

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "apitoken_verifications_total") || strings.HasPrefix(line, "apitoken_status_up") {
			fmt.Print(line)
		}
	}
	// Output:
	// malformed_token
	// apitoken_status_up 1
	// apitoken_verifications_total{call="verify",kind="",outcome="refused",part="",reason="malformed_token",scheme=""} 1
	// apitoken_verifications_total{call="verify",kind="token",outcome="accepted",part="",reason="",scheme="bearer"} 2
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
