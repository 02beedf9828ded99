package apitoken_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// What the sweeps of the next weeks will do, before they do it.
func ExampleService_Forecast() {
	ctx := context.Background()
	now := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Kinds: map[apitoken.Kind]apitoken.Policy{"team": apitoken.SharedPolicy()},
		Clock: apitoken.ClockFunc(func() time.Time { return now }),
	})
	if err != nil {
		panic(err)
	}
	admin := apitoken.Actor{ID: "ann", Tenant: "acme", Roles: []string{"administrator"}}
	if _, err := tokens.Issue(ctx, admin, apitoken.IssueRequest{Name: "ci", Expiry: apitoken.ExpiresOn("2027-03-31")}); err != nil {
		panic(err)
	}
	for f, err := range tokens.Forecast(ctx, now.AddDate(0, 0, 60)) {
		if err != nil {
			panic(err)
		}
		fmt.Println(f.At.Format(time.DateOnly), f.Target.Name, f.What)
	}
	// Output:
	// 2027-03-28 ci token.expiring
	// 2027-03-31 ci token.expired
	// 2027-04-07 ci token.deleted
}

// A policy that was changed reaches the tokens there are only by an explicit call,
// which reports first.
func ExampleService_Reapply() {
	ctx := context.Background()
	now := time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
	store := memstore.New()
	service := func(p apitoken.Policy) *apitoken.Service {
		tokens, err := apitoken.New(store, apitoken.Options{
			Kinds: map[apitoken.Kind]apitoken.Policy{"ci": p},
			Clock: apitoken.ClockFunc(func() time.Time { return now }),
		})
		if err != nil {
			panic(err)
		}
		return tokens
	}
	ann := apitoken.Actor{ID: "ann", Tenant: "acme"}
	for _, name := range []string{"nightly", "release"} {
		if _, err := service(apitoken.Policy{}).Issue(ctx, ann, apitoken.IssueRequest{Name: name}); err != nil {
			panic(err)
		}
		now = now.AddDate(0, 0, 20)
	}

	tokens := service(apitoken.Policy{Lifetime: apitoken.Lifetime{Idle: 30 * 24 * time.Hour}}) // from now on
	operator := apitoken.System("operator", "acme")
	for r, err := range tokens.Reapply(ctx, operator, apitoken.ReapplyRequest{Kind: "ci"}) { // Apply: true writes
		if err != nil {
			panic(err)
		}
		fmt.Println(r.Target.Name, r.Before.Idle, "->", r.After.Idle)
		for _, due := range r.Due {
			fmt.Println("  at once:", due.What, due.Cause)
		}
	}
	// Output:
	// nightly 0s -> 720h0m0s
	//   at once: token.revoked idle
	// release 0s -> 720h0m0s
}
