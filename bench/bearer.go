package bench

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// bed is a Service with issued tokens, seen as callers see it: through the
// interface.
type bed struct {
	verifier apitoken.Verifier
	tokens   []string
	ids      []apitoken.ID
	need     apitoken.Requirement
}

// owners is the host's knowledge of its users, as a server would keep it warm.
type owners map[string]*apitoken.Standing

func (o owners) Standing(_ context.Context, _, owner string) (apitoken.Standing, error) {
	st, ok := o[owner]
	if !ok {
		return apitoken.Standing{}, apitoken.ErrNotFound
	}
	return *st, nil
}

// tenPrefixes are an address list; client is in the last of them.
var (
	tenPrefixes = []string{
		"10.1.0.0/16", "10.9.0.0/16", "192.0.2.0/24", "198.51.100.7", "198.51.100.64/26",
		"172.16.4.0/22", "172.20.0.1", "2001:db8:1::/48", "2001:db8:2::7", "203.0.113.0/24",
	}
	client = netip.MustParseAddr("203.0.113.77")
)

// newBed issues n tokens of the sliding kind in memory, each with an owner of its
// own whose live permissions cut it.
func newBed(tb testing.TB, n int, networks ...string) *bed {
	bed, err := newBedOn(memstore.New(), n, networks...)
	if err != nil {
		tb.Fatal(err)
	}
	return bed
}

func newBedOn(store apitoken.Store, n int, networks ...string) (*bed, error) {
	opts, need, err := options(n)
	if err != nil {
		return nil, err
	}
	service, err := apitoken.New(store, opts)
	if err != nil {
		return nil, err
	}
	bed := &bed{verifier: service, need: need}
	for i := range n {
		issued, err := service.Issue(context.Background(), apitoken.Actor{ID: user(i), Tenant: "acme-inc"},
			apitoken.IssueRequest{Name: "ci", Networks: networks})
		if err != nil {
			return nil, err
		}
		bed.tokens = append(bed.tokens, issued.Secret.Reveal())
		bed.ids = append(bed.ids, issued.Token.ID)
	}
	return bed, nil
}

// options are those of a Service for the tokens of n users, with what its requests
// need.
func options(n int) (apitoken.Options, apitoken.Requirement, error) {
	var permissions []apitoken.Permission
	for i := range 40 {
		view, manage := fmt.Sprintf("area%d:view", i), fmt.Sprintf("area%d:manage", i)
		permissions = append(permissions,
			apitoken.Permission{Name: view, API: true},
			apitoken.Permission{Name: manage, API: true, Implies: []string{view}})
	}
	catalog := apitoken.MustCatalog(permissions, nil)
	granted, err := catalog.Set(scopes()...)
	if err != nil {
		return apitoken.Options{}, apitoken.Requirement{}, err
	}
	policy := apitoken.SlidingPolicy()
	policy.CreatorRoles = nil
	policy.Share = 100
	roles := make([]*apitoken.Standing, 8) // as hosts have them: many users, few roles
	for i := range roles {
		roles[i] = &apitoken.Standing{Active: true, Permissions: granted}
	}
	people := make(owners, n)
	for i := range n {
		people[user(i)] = roles[i%len(roles)]
	}
	return apitoken.Options{
		Prefix:         "acme",
		Kinds:          map[apitoken.Kind]apitoken.Policy{"sliding": policy},
		Catalog:        catalog,
		Owners:         people,
		Limits:         map[string]apitoken.Limit{"api": {Quota: 1e9, Window: time.Second}},
		MaxPendingUses: 2 * n,
	}, catalog.MustRequire("area5:view"), nil
}

func user(i int) string { return fmt.Sprintf("user-%d", i) }

func (bed *bed) request() apitoken.VerifyRequest {
	return apitoken.VerifyRequest{Address: client, Need: bed.need}
}

// run verifies the tokens in turn.
func (bed *bed) run(b *testing.B, req apitoken.VerifyRequest) {
	ctx := b.Context()
	for _, token := range bed.tokens { // warm
		req.Token = token
		if _, err := bed.verifier.Verify(ctx, req); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		req.Token = bed.tokens[i]
		if _, err := bed.verifier.Verify(ctx, req); err != nil {
			b.Fatal(err)
		}
		if i++; i == len(bed.tokens) {
			i = 0
		}
	}
}

func verify(b *testing.B) {
	bed := newBed(b, Tokens)
	bed.run(b, bed.request())
}

func verifyLimited(b *testing.B) {
	bed := newBed(b, Tokens, tenPrefixes...)
	bed.run(b, apitoken.VerifyRequest{Address: client, Limits: []string{"api"}, Need: bed.need})
}

// verifyParallel has every goroutine verify tokens of its own.
func verifyParallel(b *testing.B) {
	bed := newBed(b, Tokens)
	bed.parallel(b)
}

func (bed *bed) parallel(b *testing.B) {
	var begun atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		ctx := b.Context()
		const share = Tokens / 4
		own := bed.tokens[(int(begun.Add(1))%4)*share:][:share]
		req := apitoken.VerifyRequest{Address: client, Need: bed.need}
		i := 0
		for pb.Next() {
			req.Token = own[i]
			if _, err := bed.verifier.Verify(ctx, req); err != nil {
				b.Error(err)
				return
			}
			if i++; i == len(own) {
				i = 0
			}
		}
	})
}

// refuse presents a credential that must be refused by its shape alone.
func refuse(b *testing.B, damage func(token string) string) {
	bed := newBed(b, Tokens)
	var bad []string
	for _, token := range bed.tokens {
		bad = append(bad, damage(token))
	}
	ctx := b.Context()
	req := apitoken.VerifyRequest{Address: client, Need: bed.need}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		req.Token = bad[i]
		if _, err := bed.verifier.Verify(ctx, req); err != apitoken.ErrMalformedToken {
			b.Fatal(err)
		}
		if i++; i == len(bad) {
			i = 0
		}
	}
}

// refuseDamaged: one character of the secret is another one.
func refuseDamaged(b *testing.B) {
	refuse(b, func(token string) string {
		other := "A"
		if token[40] == 'A' {
			other = "B"
		}
		return token[:40] + other + token[41:]
	})
}

// refuseMalformed: a credential of some other system.
func refuseMalformed(b *testing.B) {
	refuse(b, func(string) string { return "sk_live_51H8xQ2eZvKYlo2C9f3hD7sJ0aB" })
}

// refuseLong: as long as a credential can be.
func refuseLong(b *testing.B) {
	refuse(b, func(token string) string { return token + token[:len(token)-4] + token + token + token + token })
}
