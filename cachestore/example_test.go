package cachestore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/memstore"
)

// A server with caches in front of its database and of its user directory. The
// memstore stands for a sqlstore.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var directory apitoken.Owners = apitoken.OwnersFunc(func(_ context.Context, tenant, owner string) (apitoken.Standing, error) {
		return apitoken.Standing{Active: true}, nil // asks the host's own tables
	})

	store := orPanic(cachestore.New(memstore.New(), cachestore.Options{MaxStale: 3 * time.Second}))
	owners := orPanic(cachestore.NewOwners(directory, cachestore.Options{MaxStale: 3 * time.Second}))
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme", Owners: owners}))
	go store.Run(ctx) // optional: no request waits for a confirmation

	alice := apitoken.Actor{ID: "alice", Tenant: "acme"}
	issued := orPanic(tokens.Issue(ctx, alice, apitoken.IssueRequest{Name: "ci"}))
	p := orPanic(tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()}))
	fmt.Println("owner:", p.Owner)

	fmt.Println("revoke:", tokens.Revoke(ctx, alice, issued.Token.ID, "left the company"))
	_, err := tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
	fmt.Println("at once, on this node:", apitoken.ReasonOf(err))
	// Output:
	// owner: alice
	// revoke: <nil>
	// at once, on this node: revoked
}

// Another node revokes a token, and nobody tells this one. It refuses the token when
// MaxStale is over, or as soon as a hint arrives.
func ExampleStore_Forget() {
	ctx := context.Background()
	clock := apitokentest.NewClock(apitokentest.Start)
	database := memstore.New()
	node := func() (*cachestore.Store, *apitoken.Service) {
		store := orPanic(cachestore.New(database, cachestore.Options{Clock: clock}))
		return store, orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme", Clock: clock}))
	}
	_, a := node()
	cacheOfB, b := node()

	alice := apitoken.Actor{ID: "alice", Tenant: "acme"}
	verify := func(issued apitoken.Issued) string {
		_, err := b.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
		if err != nil {
			return apitoken.ReasonOf(err)
		}
		return "accepted"
	}
	first := orPanic(a.Issue(ctx, alice, apitoken.IssueRequest{Name: "first"}))
	second := orPanic(a.Issue(ctx, alice, apitoken.IssueRequest{Name: "second"}))
	fmt.Println("before:", verify(first), verify(second))

	_ = a.Revoke(ctx, alice, first.Token.ID, "")
	_ = a.Revoke(ctx, alice, second.Token.ID, "")
	fmt.Println("just after:", verify(first), verify(second))

	// What a handler of LISTEN/NOTIFY or pub/sub does with the ID it is sent.
	cacheOfB.Forget(first.Token.ID)
	fmt.Println("a hint came:", verify(first))

	clock.Advance(5 * time.Second)
	fmt.Println("no hint came:", verify(second))
	// Output:
	// before: accepted accepted
	// just after: accepted accepted
	// a hint came: revoked
	// no hint came: revoked
}

// The directory's own events make a deactivation count at once. Without them it
// counts within MaxStale.
func ExampleOwners_Forget() {
	ctx := context.Background()
	directory := new(apitokentest.Owners)
	directory.Set("acme", "alice", apitoken.Standing{Active: true})
	owners := orPanic(cachestore.NewOwners(directory, cachestore.Options{}))

	fmt.Println(orPanic(owners.Standing(ctx, "acme", "alice")).Active)
	directory.SetActive("acme", "alice", false)
	fmt.Println(orPanic(owners.Standing(ctx, "acme", "alice")).Active)
	owners.Forget("acme", "alice")
	fmt.Println(orPanic(owners.Standing(ctx, "acme", "alice")).Active)
	// Output:
	// true
	// true
	// false
}

// A readiness probe shows how old answers may be, and what the cache does.
func ExampleStore_CacheStats() {
	ctx := context.Background()
	clock := apitokentest.NewClock(apitokentest.Start)
	store := orPanic(cachestore.New(memstore.New(), cachestore.Options{Clock: clock}))
	tokens := orPanic(apitoken.New(store, apitoken.Options{Prefix: "acme", Clock: clock}))
	issued := orPanic(tokens.Issue(ctx, apitoken.Actor{ID: "alice", Tenant: "acme"}, apitoken.IssueRequest{Name: "ci"}))
	for range 10 {
		orPanic(tokens.Verify(ctx, apitoken.VerifyRequest{Token: issued.Secret.Reveal()}))
		clock.Advance(time.Second)
	}
	st := store.CacheStats()
	fmt.Printf("%d hits, %d read, %d confirmed, %s old\n", st.Hits, st.Reads, st.Confirmed, st.Age)
	fmt.Println(orPanic(tokens.Status(ctx)).CacheAge)
	// Output:
	// 8 hits, 1 read, 1 confirmed, 0s old
	// 0s
}

func orPanic[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
