package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/memstore"
)

// Each token has a bucket of its own, and all tokens of a tenant share another. A
// request counts against both or against none.
func ExampleLimit() {
	clock := apitokentest.NewClock(time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC))
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Clock: clock,
		Limits: map[string]apitoken.Limit{
			"devices":         {Quota: 2, Window: time.Minute},
			"devices, tenant": {Quota: 3, Window: time.Minute, Per: apitoken.PerTenant},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	ask := func(name string, secret apitoken.Secret) {
		_, err := tokens.Verify(ctx, apitoken.VerifyRequest{
			Token:  secret.Reveal(),
			Limits: []string{"devices", "devices, tenant"},
		})
		if refused, ok := errors.AsType[*apitoken.RateLimitError](err); ok {
			fmt.Printf("%s: %q is reached, retry in %s\n", name, refused.Limit, refused.RetryAfter)
			return
		}
		fmt.Printf("%s: accepted\n", name)
	}
	ann := apitoken.Actor{ID: "ann", Tenant: "acme"}
	first, _ := tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "first"})
	second, _ := tokens.Issue(ctx, ann, apitoken.IssueRequest{Name: "second"})
	for range 3 {
		ask("first", first.Secret)
	}
	ask("second", second.Secret)
	ask("second", second.Secret)
	clock.Advance(20 * time.Second)
	ask("second", second.Secret)
	// Output:
	// first: accepted
	// first: accepted
	// first: "devices" is reached, retry in 30s
	// second: accepted
	// second: "devices, tenant" is reached, retry in 20s
	// second: accepted
}
