package cachestore

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/hosttx"
)

// Owners is a cache before the host's owner look-up, for [apitoken.Options].Owners.
// Make one with [NewOwners]. It is safe for concurrent use.
//
// Verification is answered from memory; calls that manage tokens ask FreshStanding,
// which always asks the host.
type Owners struct {
	inner     apitoken.Owners
	standings *cache[ownerKey, apitoken.Standing]
}

var _ apitoken.FreshOwners = (*Owners)(nil)

type ownerKey struct{ tenant, owner string }

// NewOwners returns a cache in front of inner. Errors are those of [New].
func NewOwners(inner apitoken.Owners, opts Options) (*Owners, error) {
	err := opts.check()
	if inner == nil {
		err = errors.Join(&apitoken.FieldError{Field: "inner", Problem: "is nil: pass the owners to ask"}, err)
	}
	if err != nil {
		return nil, err
	}
	return &Owners{inner, newCache(opts, source[ownerKey, apitoken.Standing]{
		read: func(ctx context.Context, key ownerKey) (apitoken.Standing, error) {
			return inner.Standing(ctx, key.tenant, key.owner)
		},
		same:  sameStanding,
		clone: func(key ownerKey) ownerKey { return ownerKey{strings.Clone(key.tenant), strings.Clone(key.owner)} },
		hash: func(seed maphash.Seed, key ownerKey) uint64 {
			return 31*maphash.String(seed, key.tenant) + maphash.String(seed, key.owner)
		},
	})}, nil
}

func sameStanding(kept, now apitoken.Standing) bool {
	return kept.Active == now.Active && kept.Permissions == now.Permissions && slices.Equal(kept.Roles, now.Roles) &&
		kept.Resources.All == now.Resources.All && slices.Equal(kept.Resources.Groups, now.Resources.Groups)
}

// Standing implements [apitoken.Owners]. What it returns is shared: do not change
// its lists. Errors: [apitoken.ErrNotFound], ctx's, and those of the host.
func (o *Owners) Standing(ctx context.Context, tenant, owner string) (apitoken.Standing, error) {
	if hosttx.From(ctx) != nil {
		return o.inner.Standing(ctx, tenant, owner)
	}
	return o.standings.get(ctx, ownerKey{tenant, owner})
}

// FreshStanding implements [apitoken.FreshOwners]: it asks the host, and what
// disagrees with the answer is forgotten.
func (o *Owners) FreshStanding(ctx context.Context, tenant, owner string) (apitoken.Standing, error) {
	st, err := o.inner.Standing(ctx, tenant, owner)
	if hosttx.From(ctx) == nil {
		o.standings.saw(ownerKey{tenant, owner}, st, err)
	}
	return st, err
}

// Forget drops what is known of users of a tenant: call it when the directory says
// that they changed. As with [Store.Forget], losing it costs at most
// [Options].MaxStale.
func (o *Owners) Forget(tenant string, owners ...string) {
	for _, owner := range owners {
		o.standings.forget(ownerKey{tenant, owner})
	}
}

// ForgetAll drops everything.
func (o *Owners) ForgetAll() { o.standings.forgetAll() }

// CacheStats returns counts since NewOwners, and what the cache holds now.
func (o *Owners) CacheStats() Stats { return o.standings.stats() }
