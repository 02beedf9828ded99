package webhooknotify_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/webhooknotify"
)

// A host that sends events to what its customers have entered, and the receiver
// at the other end, which checks the signature before it reads.
func Example() {
	ctx := context.Background()
	secret := webhooknotify.NewSecret() // shown to the customer, kept encrypted

	receiver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		check, _ := standardwebhooks.NewWebhook(secret.Reveal())
		if err := check.Verify(body, r.Header); err != nil {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		var got webhooknotify.Payload
		_ = json.Unmarshal(body, &got)
		fmt.Println("received", got.Type, "of", got.Data.Target.Name)
	}))
	defer receiver.Close()

	roots := x509.NewCertPool()
	roots.AddCert(receiver.Certificate())
	hooks, err := webhooknotify.New(webhooknotify.Options{
		Endpoints: webhooknotify.EndpointsFunc(func(_ context.Context, tenant string) ([]webhooknotify.Endpoint, error) {
			if tenant != "acme" { // a look-up in your database
				return nil, apitoken.ErrNotFound
			}
			return []webhooknotify.Endpoint{{URL: receiver.URL, Secrets: []apitoken.Secret{secret}}}, nil
		}),
		// Only because the receiver of this example is on loopback:
		RootCAs:          roots,
		DangerouslyAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		panic(err)
	}
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{Notifier: hooks})
	if err != nil {
		panic(err)
	}
	if _, err := tokens.Issue(ctx, apitoken.Actor{ID: "alice", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"}); err != nil {
		panic(err)
	}
	fmt.Println(tokens.Deliver(ctx)) // Run does this by itself
	// Output:
	// received token.created of ci
	// 1 <nil>
}

// What a form says when a customer enters an endpoint.
func ExampleNotifier_Check() {
	hooks, err := webhooknotify.New(webhooknotify.Options{Endpoints: webhooknotify.Fixed{}})
	if err != nil {
		panic(err)
	}
	err = hooks.Check(webhooknotify.Endpoint{URL: "http://hooks.example.com", Secrets: []apitoken.Secret{apitoken.NewSecret("swordfish")}})
	for _, f := range apitoken.Fields(err) {
		fmt.Printf("%s %s\n", f.Field, f.Problem)
	}
	// Output:
	// URL must begin with https://
	// Secrets[0] does not begin with whsec_
}
