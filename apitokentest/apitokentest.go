// Package apitokentest lets a host unit-test what it builds on apitoken: a
// ready Service over memory whose clock, users, agents, licences and
// administrators the test moves by hand, and credentials for requests in one
// line.
//
//	env := apitokentest.New(t, apitoken.Options{Catalog: catalog})
//	r := env.Authorize(httptest.NewRequest("GET", "/devices", nil), apitoken.IssueRequest{})
//	env.Clock.Advance(31 * 24 * time.Hour)
//	env.Owners.SetActive(apitokentest.Tenant, apitokentest.User, false)
//	env.Store.FailCall(1)
package apitokentest

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
)

// Tenant and User are who [Env] acts for where a test does not care.
const (
	Tenant = "acme"
	User   = "ann"
)

// Start is what the clock of a new [Env] shows: a Monday, noon UTC.
var Start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

// Env is a Service with everything around it in the test's hands.
//
// To begin with every user is active, has all permissions of the Catalog, all
// resource groups and no role; every tenant is licensed for everything; there
// are no agents and no administrators.
type Env struct {
	Service      *apitoken.Service
	Options      apitoken.Options // of Service, for a second one over the same Store
	Store        *FaultStore      // over memory
	Clock        *Clock
	Owners       *Owners
	Agents       *Agents
	Admins       *Admins
	Entitlements *Entitlements
	Notifier     *Notifier

	tb testing.TB
}

// New returns an Env for these options, over a memstore. Of opts it fills in
// what the Env has a fake for and the test left nil, and the Logger, which
// discards.
func New(tb testing.TB, opts apitoken.Options) *Env {
	tb.Helper()
	return Over(tb, memstore.New(), opts)
}

// Over is [New] over a store of the test's own.
func Over(tb testing.TB, store apitoken.Store, opts apitoken.Options) *Env {
	tb.Helper()
	e := &Env{
		Store: NewFaultStore(store), Clock: NewClock(Start), Owners: new(Owners), Agents: new(Agents), Admins: new(Admins),
		Entitlements: new(Entitlements), Notifier: new(Notifier), tb: tb,
	}
	if opts.Clock == nil {
		opts.Clock = e.Clock
	}
	if opts.Owners == nil {
		opts.Owners = e.Owners
	}
	if opts.Agents == nil {
		opts.Agents = e.Agents
	}
	if opts.Admins == nil {
		opts.Admins = e.Admins
	}
	if opts.Entitlements == nil {
		opts.Entitlements = e.Entitlements
	}
	if opts.Notifier == nil {
		opts.Notifier = e.Notifier
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	all := opts.Catalog.All()
	e.Owners.SetOthers(apitoken.Standing{Active: true, Permissions: all, Resources: apitoken.Resources{All: true}})
	e.Entitlements.SetOthers(all)
	e.Options = opts
	e.Service = e.Node()
	return e
}

// Node returns another Service with the same options over the same Store: a
// second node of the host's.
func (e *Env) Node() *apitoken.Service {
	e.tb.Helper()
	s, err := apitoken.New(e.Store, e.Options)
	if err != nil {
		e.tb.Fatalf("apitokentest: %v", err)
	}
	return s
}

// Actor returns a user of [Tenant] as the actor of managing calls; what the user
// may do is asked of Owners.
func (e *Env) Actor(user string) apitoken.Actor { return apitoken.Actor{ID: user, Tenant: Tenant} }

// IssueAs issues a token and ends the test if that fails. A request without a
// name gets one.
func (e *Env) IssueAs(actor apitoken.Actor, req apitoken.IssueRequest) apitoken.Issued {
	e.tb.Helper()
	if req.Name == "" {
		req.Name = "test"
	}
	issued, err := e.Service.Issue(e.tb.Context(), actor, req)
	if err != nil {
		e.tb.Fatalf("apitokentest: Issue: %v", err)
	}
	return issued
}

// Issue is IssueAs for [User] of [Tenant].
func (e *Env) Issue(req apitoken.IssueRequest) apitoken.Issued {
	e.tb.Helper()
	return e.IssueAs(e.Actor(User), req)
}

// Header returns the value of an Authorization header with a token freshly
// issued to [User]: "Bearer …".
func (e *Env) Header(req apitoken.IssueRequest) string {
	e.tb.Helper()
	return "Bearer " + e.Issue(req).Secret.Reveal()
}

// Authorize puts that header on a request and returns it.
func (e *Env) Authorize(r *http.Request, req apitoken.IssueRequest) *http.Request {
	e.tb.Helper()
	r.Header.Set("Authorization", e.Header(req))
	return r
}

// Verify verifies a token's value and ends the test if it is refused.
func (e *Env) Verify(secret apitoken.Secret) apitoken.Principal {
	e.tb.Helper()
	p, err := e.Service.Verify(e.tb.Context(), apitoken.VerifyRequest{Token: secret.Reveal()})
	if err != nil {
		e.tb.Fatalf("apitokentest: Verify: %v", err)
	}
	return p
}

// Principal returns the principal of a token freshly issued to [User], for code
// that takes one. It comes from a real verification: nothing else makes
// principals.
func (e *Env) Principal(req apitoken.IssueRequest) apitoken.Principal {
	e.tb.Helper()
	return e.Verify(e.Issue(req).Secret)
}

// Context returns a context in which [httpauth.FromContext] finds such a
// principal, for testing a handler without its middleware.
func (e *Env) Context(req apitoken.IssueRequest) context.Context {
	e.tb.Helper()
	return httpauth.NewContext(e.tb.Context(), e.Principal(req))
}
