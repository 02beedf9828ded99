package integration_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

const (
	interval = time.Minute
	idle     = time.Hour
	grace    = 2*interval + time.Minute // and the clock skew
)

var admin = apitoken.Actor{ID: "admin", Tenant: tenant}

// host is a host of three nodes over one database, each with a pool of its own.
type host struct {
	ledger *ledger
	pools  [3]pool
	stores [3]witness
	nodes  [3]*apitoken.Service
	clock  *apitokentest.Clock
	owners *apitokentest.Owners

	// Of the present race.
	owner    apitoken.Actor
	id       apitoken.ID
	secrets  []apitoken.Secret
	uses     int64
	lastUsed time.Time
}

func newHost(t *testing.T, open opener) *host {
	t.Helper()
	h := &host{ledger: new(ledger), clock: apitokentest.NewClock(apitokentest.Start), owners: new(apitokentest.Owners)}
	h.owners.SetOthers(apitoken.Standing{Active: true})
	for i := range h.nodes {
		h.pools[i] = open(t)
		h.stores[i] = witness{h.pools[i].store, h.ledger}
		h.nodes[i] = h.node(t, h.stores[i])
	}
	return h
}

func (h *host) node(t *testing.T, s apitoken.Store) *apitoken.Service {
	t.Helper()
	node, err := apitoken.New(s, apitoken.Options{
		Prefix:        "acme",
		Kinds:         map[apitoken.Kind]apitoken.Policy{"token": {OwnerInactive: apitoken.OwnerDisables, Lifetime: apitoken.Lifetime{Idle: idle}}},
		Owners:        h.owners,
		UsageInterval: interval,
		ClockSkew:     grace - 2*interval,
		Clock:         h.clock,
		Logger:        slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	return node
}

// issue begins a race for a new token.
func (h *host) issue(t *testing.T) {
	t.Helper()
	h.ledger.begin()
	h.owner = apitoken.Actor{ID: fmt.Sprint("owner ", h.ledger.races), Tenant: tenant}
	issued, err := h.nodes[0].Issue(t.Context(), h.owner, apitoken.IssueRequest{Name: "raced for", Expiry: apitoken.ExpiresIn(1000 * time.Hour)})
	require.NoError(t, err)
	h.id, h.secrets, h.uses, h.lastUsed = issued.Token.ID, []apitoken.Secret{issued.Secret}, 0, time.Time{}
}

// use lets a request in on a node, which keeps that to itself for now.
func (h *host) use(t *testing.T, node int) {
	t.Helper()
	_, err := h.nodes[node].Verify(t.Context(), apitoken.VerifyRequest{Token: h.secrets[len(h.secrets)-1].Reveal()})
	require.NoError(t, err)
	h.uses++
	h.lastUsed = h.clock.Now()
}

func (h *host) flush(ctx context.Context, node int) {
	if err := h.ledger.insist(func() error { return h.nodes[node].Flush(ctx) }); err != nil {
		h.ledger.faultf("Flush: %v", err)
	}
}

// clear removes what is left of the token, so that no later sweep finds it.
func (h *host) clear(t *testing.T) {
	t.Helper()
	if err := h.nodes[0].Delete(t.Context(), admin, h.id, ""); !oneOf(err, apitoken.ErrNotFound) {
		h.ledger.faultf("Delete afterwards: %v", err)
	}
}

// rival is a writer that must not bring back what is stopped.
type rival struct {
	name    string
	prepare func(t *testing.T, h *host)
	do      func(ctx context.Context, h *host, node *apitoken.Service) error
	idle    bool // it may itself revoke the token, for lack of use
	// background: a node does it by itself, never in a transaction of the host's.
	background bool
}

func sweep(ctx context.Context, _ *host, node *apitoken.Service) error {
	_, err := node.Sweep(ctx)
	return err
}

func inUse(t *testing.T, h *host) {
	for node := range h.nodes {
		h.use(t, node)
	}
}

var rivals = []rival{
	{name: "flush", background: true, prepare: inUse, do: func(ctx context.Context, _ *host, node *apitoken.Service) error { return node.Flush(ctx) }},
	{name: "edit", prepare: inUse, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		name := "edited"
		_, err := node.Edit(ctx, admin, h.id, apitoken.EditRequest{Name: &name})
		return err
	}},
	{name: "extend", prepare: inUse, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		_, err := node.Extend(ctx, admin, h.id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(2000 * time.Hour)})
		return err
	}},
	{name: "rotate", prepare: inUse, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		issued, err := node.Rotate(ctx, h.owner, h.id, apitoken.RotateRequest{IdempotencyKey: "rotate", Overlap: time.Hour})
		if err == nil {
			h.secrets = append(h.secrets, issued.Secret)
		}
		return err
	}},
	{name: "sweep that ends an overlap", do: sweep, background: true, prepare: func(t *testing.T, h *host) {
		issued, err := h.nodes[1].Rotate(t.Context(), h.owner, h.id, apitoken.RotateRequest{IdempotencyKey: "before", Overlap: time.Minute})
		require.NoError(t, err)
		h.secrets = append(h.secrets, issued.Secret)
		inUse(t, h)
		h.clock.Advance(2 * time.Minute)
	}},
	{name: "sweep that arms anew", do: sweep, background: true, prepare: func(t *testing.T, h *host) {
		h.clock.Advance(idle - 10*time.Minute)
		inUse(t, h)
		h.flush(t.Context(), 2)
		h.clock.Advance(20 * time.Minute)
		h.use(t, 2)
	}},
	{name: "sweep that revokes", do: sweep, background: true, idle: true, prepare: func(t *testing.T, h *host) {
		h.clock.Advance(idle - 10*time.Minute)
		h.use(t, 2) // written too late, while the sweep is at it
		h.clock.Advance(10*time.Minute + interval + grace)
	}},
}

// stop is a call after which the token does not work.
type stop struct {
	name  string
	state apitoken.State // "" = gone
	do    func(ctx context.Context, h *host, node *apitoken.Service) error

	ownerLeaves bool
}

var stops = []stop{
	{name: "revoke", state: apitoken.StateRevoked, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		return node.Revoke(ctx, admin, h.id, "")
	}},
	{name: "delete", do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		return node.Delete(ctx, admin, h.id, "")
	}},
	{name: "disable", state: apitoken.StateDisabled, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		_, err := node.Disable(ctx, admin, h.id, "")
		return err
	}},
	{name: "owner deleted", ownerLeaves: true, state: apitoken.StateRevoked, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		return h.ownerChanged(ctx, node, apitoken.OwnerDeleted)
	}},
	{name: "owner deactivated", ownerLeaves: true, state: apitoken.StateDisabled, do: func(ctx context.Context, h *host, node *apitoken.Service) error {
		return h.ownerChanged(ctx, node, apitoken.OwnerDeactivated)
	}},
}

func (h *host) ownerChanged(ctx context.Context, node *apitoken.Service, what apitoken.OwnerChangeType) error {
	h.owners.SetActive(tenant, h.owner.ID, false)
	_, err := node.OwnerChanged(ctx, apitoken.System("directory", tenant), apitoken.OwnerChange{Owner: h.owner.ID, What: what})
	return err
}

// pair is who races.
type pair struct {
	rival rival
	stop  stop
}

func pairs() (all []pair) {
	for _, r := range rivals {
		for _, s := range stops {
			if !r.idle || s.state != apitoken.StateDisabled { // what is idle is not disabled any more
				all = append(all, pair{r, s})
			}
		}
	}
	return all
}

// race runs one race: a stop on the first node, the rival on the second, and the
// third writes its uses.
func (h *host) race(t *testing.T, p pair) {
	h.issue(t)
	p.rival.prepare(t, h)
	var stopped, late error
	together(
		func() { stopped = h.stop(t.Context(), p.stop) },
		func() { late = h.rival(t.Context(), p.rival, h.nodes[1]) },
		func() { h.flush(t.Context(), 2) },
	)
	for node := range h.nodes {
		h.flush(t.Context(), node) // what was used before it was stopped
	}
	h.check(t, p, stopped, late)
	h.clear(t)
}

// stop stops the token on the first node.
func (h *host) stop(ctx context.Context, s stop) error {
	return h.ledger.insist(func() error {
		return h.ledger.in(ctx, h.pools[0], func(ctx context.Context) error { return s.do(ctx, h, h.nodes[0]) })
	})
}

// rival lets a rival write on node, which is the second or one over its pool.
func (h *host) rival(ctx context.Context, r rival, node *apitoken.Service) error {
	if r.background {
		return r.do(ctx, h, node)
	}
	secrets := h.secrets
	err := h.ledger.in(ctx, h.pools[1], func(ctx context.Context) error { return r.do(ctx, h, node) })
	if err != nil {
		h.secrets = secrets // what was rotated is undone
	}
	return err
}

// check demands that the token is stopped, that nothing is lost, and that each
// event happened once.
func (h *host) check(t *testing.T, p pair, stopped, late error) {
	ctx, l, s, r := t.Context(), h.ledger, &p.stop, &p.rival
	if stopped != nil {
		l.faultf("%s beside %s: %v", s.name, r.name, stopped)
	}
	// The rival may come too late, its owner may have left, and the engine may end it.
	if errors.Is(late, apitoken.ErrForbidden) && !s.ownerLeaves ||
		!oneOf(late, apitoken.ErrConflict, apitoken.ErrNotFound, apitoken.ErrForbidden, apitoken.ErrUnavailable) {
		l.faultf("%s beside %s: %v", r.name, s.name, late)
	}
	for i, node := range h.nodes {
		for _, secret := range h.secrets {
			if _, err := node.Verify(ctx, apitoken.VerifyRequest{Token: secret.Reveal()}); !errors.Is(err, apitoken.ErrUnauthenticated) {
				l.faultf("%s beside %s: node %d lets the token in: %v", s.name, r.name, i, err)
			}
		}
	}
	rec, events := l.settled(ctx, h.stores[1].Store, h.id)
	if rec == nil {
		if s.state != "" {
			l.faultf("%s beside %s: the token is gone", s.name, r.name)
		}
		return
	}
	if state := rec.Token.State; state != s.state {
		l.faultf("%s beside %s: the token is %q", s.name, r.name, state)
	}
	l.usedAs(rec, h.uses, h.lastUsed)
	ends := 0
	for _, e := range events {
		if e == apitoken.EventRevoked || e == apitoken.EventDisabled {
			ends++
		}
	}
	if ends != 1 || events[0] != apitoken.EventCreated || !slices.Contains(events, endOf[s.state]) {
		l.faultf("%s beside %s: the events are %v", s.name, r.name, events)
	}
}

var endOf = map[apitoken.State]apitoken.EventType{apitoken.StateRevoked: apitoken.EventRevoked, apitoken.StateDisabled: apitoken.EventDisabled}

// P3: nothing brings back a token that a node revokes, disables or deletes, or
// whose owner leaves, while others write.
func TestRacesOfManagers(t *testing.T) {
	t.Parallel()
	each(t, allLevels(), func(t *testing.T, d database, open opener) {
		h, all := newHost(t, open), pairs()
		for i := range d.races() {
			h.race(t, all[i%len(all)])
		}
		h.ledger.report(t)
	})
}
