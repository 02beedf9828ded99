package apitoken

import (
	"context"
	"errors"
)

// What the host is asked. Each is an optional field of [Options]: nil = nobody
// is asked, which is never taken for 'not found'. [ErrNotFound] means that there
// is no such user, agent or tenant; every other error is an outage, and the
// request is refused with [ErrUnavailable]. Implementations must be safe for
// concurrent use and honour their context: Owners and Entitlements are asked at
// every verification.

// Owners tells how a user stands now.
type Owners interface {
	// Standing of the user owner in the tenant. ErrNotFound = not active.
	Standing(ctx context.Context, tenant, owner string) (Standing, error)
}

// FreshOwners is what an [Owners] that answers from memory offers beside it, such
// as package cachestore's. Verification asks Standing; calls that manage tokens, and
// reports that a user was deactivated, ask FreshStanding.
type FreshOwners interface {
	Owners
	// FreshStanding is Standing, as it is now. An answer from memory that disagrees
	// is not given any more.
	FreshStanding(ctx context.Context, tenant, owner string) (Standing, error)
}

// Standing is how a user stands now. The zero value is a user who is not active
// and may do nothing.
type Standing struct {
	Active      bool
	Permissions Permissions // a set of Options.Catalog; another Catalog's grants nothing
	Roles       []string
	Resources   Resources
}

// OwnersFunc adapts a function to [Owners].
type OwnersFunc func(ctx context.Context, tenant, owner string) (Standing, error)

// Standing calls f.
func (f OwnersFunc) Standing(ctx context.Context, tenant, owner string) (Standing, error) {
	return f(ctx, tenant, owner)
}

// Agents tells how an agent is registered.
type Agents interface {
	// Registration of an agent in the tenant. ErrNotFound = not registered.
	Registration(ctx context.Context, tenant, agent string) (Registration, error)
}

// Registration is how an agent stands now. The zero value is an agent that is
// not registered.
type Registration struct {
	Registered bool   `json:"registered"`
	Active     bool   `json:"active"`
	Kind       string `json:"kind,omitempty"` // looked up in Policy.AgentKinds
	Name       string `json:"name,omitempty"`
}

// AgentsFunc adapts a function to [Agents].
type AgentsFunc func(ctx context.Context, tenant, agent string) (Registration, error)

// Registration calls f.
func (f AgentsFunc) Registration(ctx context.Context, tenant, agent string) (Registration, error) {
	return f(ctx, tenant, agent)
}

// Admins tells who administers a tenant, for notices.
type Admins interface {
	// Administrators of the tenant. ErrNotFound = none.
	Administrators(ctx context.Context, tenant string) ([]Administrator, error)
}

// Administrator is a user who is told of events.
type Administrator struct {
	ID     string
	System bool // has the built-in system administrator role
	Active bool // nobody else is told anything
}

// AdminsFunc adapts a function to [Admins].
type AdminsFunc func(ctx context.Context, tenant string) ([]Administrator, error)

// Administrators calls f.
func (f AdminsFunc) Administrators(ctx context.Context, tenant string) ([]Administrator, error) {
	return f(ctx, tenant)
}

// Entitlements tells what a tenant's licences cover: no token of the tenant has
// more (S2.1).
type Entitlements interface {
	// Entitled returns the ceiling. ErrNotFound = nothing.
	Entitled(ctx context.Context, tenant string) (Permissions, error)
}

// EntitlementsFunc adapts a function to [Entitlements].
type EntitlementsFunc func(ctx context.Context, tenant string) (Permissions, error)

// Entitled calls f.
func (f EntitlementsFunc) Entitled(ctx context.Context, tenant string) (Permissions, error) {
	return f(ctx, tenant)
}

// standing asks about an owner past any cache: not found is inactive, a failure is
// an outage.
func (s *Service) standing(ctx context.Context, tenant, owner string) (Standing, error) {
	st, err := s.present.Standing(ctx, tenant, owner)
	if err != nil {
		return Standing{}, unanswered("owners", err)
	}
	return st, nil
}

// registration asks about an agent, likewise.
func (s *Service) registration(ctx context.Context, tenant, agent string) (Registration, error) {
	reg, err := s.opts.Agents.Registration(ctx, tenant, agent)
	if err != nil {
		return Registration{}, unanswered("agents", err)
	}
	return reg, nil
}

// entitled asks for a tenant's ceiling, likewise.
func (s *Service) entitled(ctx context.Context, tenant string) (Permissions, error) {
	set, err := s.opts.Entitlements.Entitled(ctx, tenant)
	if err != nil {
		return Permissions{}, unanswered("entitlements", err)
	}
	return set, nil
}

// unanswered is an outage, unless the answer was 'not found'.
func unanswered(part string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return outage(part, err)
}
