package apitoken_test

import (
	"context"
	"fmt"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// The host's own job reports what happened to its agents: an agent gets its
// token when it is activated, and another one when it is activated again.
func ExampleService_AgentChanged() {
	ctx := context.Background()
	agents := map[string]apitoken.Registration{"probe-7": {Registered: true, Active: true, Kind: "probe"}}
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Catalog: apitoken.MustCatalog([]apitoken.Permission{{Name: "telemetry:send", API: true}}, nil),
		Kinds: map[apitoken.Kind]apitoken.Policy{
			"agent": apitoken.AgentPolicy(map[string]apitoken.AgentKind{"probe": {Permissions: []string{"telemetry:send"}}}),
		},
		Agents: apitoken.AgentsFunc(func(_ context.Context, _, agent string) (apitoken.Registration, error) {
			reg, ok := agents[agent]
			if !ok {
				return reg, apitoken.ErrNotFound
			}
			return reg, nil
		}),
	})
	if err != nil {
		panic(err)
	}
	job := apitoken.System("provisioner", "acme")
	change := apitoken.AgentChange{Agent: "probe-7", What: apitoken.AgentActivated, ChangeID: "deploy-1"}
	first, err := tokens.AgentChanged(ctx, job, change)
	if err != nil {
		panic(err)
	}
	p, err := tokens.Verify(ctx, apitoken.VerifyRequest{Token: first.Issued.Secret.Reveal()})
	fmt.Println(p.Agent, p.Permissions().Names(), err)

	_, err = tokens.AgentChanged(ctx, job, change) // delivered twice
	fmt.Println(apitoken.ReasonOf(err))

	change.ChangeID = "deploy-2"
	second, err := tokens.AgentChanged(ctx, job, change)
	fmt.Println(second.Issued.Token.Status, err)
	_, err = tokens.Verify(ctx, apitoken.VerifyRequest{Token: first.Issued.Secret.Reveal()})
	fmt.Println("the one before:", apitoken.ReasonOf(err))
	// Output:
	// probe-7 [telemetry:send] <nil>
	// already_issued
	// active <nil>
	// the one before: revoked
}

// A leaver's personal tokens are disabled, and stay so when the leaver is back.
func ExampleService_OwnerChanged() {
	ctx := context.Background()
	active := true
	tokens, err := apitoken.New(memstore.New(), apitoken.Options{
		Kinds: map[apitoken.Kind]apitoken.Policy{"personal": apitoken.PersonalPolicy()},
		Owners: apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) {
			return apitoken.Standing{Active: active, Roles: []string{"analyst"}}, nil
		}),
	})
	if err != nil {
		panic(err)
	}
	issued, err := tokens.Issue(ctx, apitoken.Actor{ID: "bob", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"})
	if err != nil {
		panic(err)
	}
	verify := func() string {
		_, err := tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		return apitoken.ReasonOf(err)
	}
	active = false
	fmt.Println("at once:", verify())
	report, err := tokens.OwnerChanged(ctx, apitoken.System("directory", "acme"), apitoken.OwnerChange{Owner: "bob", What: apitoken.OwnerDeactivated})
	fmt.Println(len(report.Changed), "disabled", err)
	active = true
	fmt.Println("when bob is back:", verify())
	// Output:
	// at once: owner_inactive
	// 1 disabled <nil>
	// when bob is back: disabled
}
