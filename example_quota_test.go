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

// A plan sells a number of uses for each calendar day and month. What the tenant's
// plan says comes first, and the policy of the kind has the answer for all others.
func ExampleQuotas() {
	clock := apitokentest.NewClock(time.Date(2027, 3, 30, 22, 0, 0, 0, time.UTC))
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Clock: clock,
		Kinds: map[apitoken.Kind]apitoken.Policy{"api": {Quotas: apitoken.Quotas{Day: 2, Month: 3}}},
		QuotasFor: func(_ context.Context, p apitoken.Principal) (apitoken.Quotas, bool, error) {
			return apitoken.Quotas{Day: 1000}, p.Tenant == "big", nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	issued, err := tokens.Issue(ctx, apitoken.Actor{ID: "ann", Tenant: "small"}, apitoken.IssueRequest{Name: "ci"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func() {
		var left []apitoken.Decision
		_, err := tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal(), Decisions: &left})
		if refused, ok := errors.AsType[*apitoken.RateLimitError](err); ok {
			fmt.Printf("%s of %d used up, retry in %s\n", refused.Limit, refused.Quota, refused.RetryAfter)
			return
		}
		fmt.Printf("accepted, left: %d today, %d this month\n", left[0].Remaining, left[1].Remaining)
	}
	ask()
	ask()
	ask()
	clock.Advance(2 * time.Hour) // 31 March
	ask()
	ask()
	clock.Advance(24 * time.Hour) // 1 April
	ask()
	// Output:
	// accepted, left: 1 today, 2 this month
	// accepted, left: 0 today, 1 this month
	// uses-per-day of 2 used up, retry in 2h0m0s
	// accepted, left: 1 today, 0 this month
	// uses-per-month of 3 used up, retry in 24h0m0s
	// accepted, left: 1 today, 2 this month
}
