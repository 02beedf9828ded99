package cachestore_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/memstore"
)

var ann = apitoken.Actor{ID: "ann", Tenant: "acme"}

// cluster is three nodes over one database and one user directory, which send each
// other no hints.
type cluster struct {
	t      *testing.T
	clock  *apitokentest.Clock
	db     *memstore.Store
	people *apitokentest.Owners
	nodes  [3]*node
	issued apitoken.Issued
}

type node struct {
	*apitoken.Service
	db     *spy
	cache  *cachestore.Store // nil without caches
	owners *cachestore.Owners
	people *slowPeople
}

// slowPeople is the directory as one node reaches it.
type slowPeople struct {
	*apitokentest.Owners
	after func() // an answer is on its way
}

func (p *slowPeople) Standing(ctx context.Context, tenant, owner string) (apitoken.Standing, error) {
	st, err := p.Owners.Standing(ctx, tenant, owner)
	if p.after != nil {
		p.after()
	}
	return st, err
}

func newCluster(t *testing.T, caches bool, policy apitoken.Policy, roles ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, clock: apitokentest.NewClock(madeAt), db: memstore.New(), people: new(apitokentest.Owners)}
	c.people.SetOthers(apitoken.Standing{Active: true, Roles: roles})
	for i := range c.nodes {
		n := &node{db: &spy{Store: c.db}, people: &slowPeople{Owners: c.people}}
		var store apitoken.Store = n.db
		var owners apitoken.Owners = n.people
		if caches {
			n.cache = newCache(t, store, func(o *cachestore.Options) { o.Clock = c.clock })
			var err error
			n.owners, err = cachestore.NewOwners(owners, cachestore.Options{Clock: c.clock})
			require.NoError(t, err)
			store, owners = n.cache, n.owners
		}
		var err error
		n.Service, err = apitoken.New(store, apitoken.Options{
			Prefix: "acme", Clock: c.clock, Owners: owners, Logger: slog.New(slog.DiscardHandler),
			Kinds: map[apitoken.Kind]apitoken.Policy{"api": policy},
		})
		require.NoError(t, err)
		c.nodes[i] = n
	}
	var err error
	c.issued, err = c.nodes[0].Issue(t.Context(), ann, apitoken.IssueRequest{Name: "ci"})
	require.NoError(t, err)
	return c
}

func (c *cluster) verify(n *node) error {
	_, err := n.Verify(c.t.Context(), apitoken.VerifyRequest{Token: c.issued.Secret.Reveal()})
	return err
}

func (c *cluster) accepted(n *node, msg ...any) {
	c.t.Helper()
	require.NoError(c.t, c.verify(n), msg...)
}

// refused demands a refusal, and no outage.
func (c *cluster) refused(n *node, msg ...any) {
	c.t.Helper()
	err := c.verify(n)
	require.ErrorIs(c.t, err, apitoken.ErrUnauthenticated, msg...)
}

// stops are the ways to stop a token's value, on one node or in the directory.
var stops = []struct {
	name      string
	directory bool // no node knows of it
	stop      func(c *cluster, on *node) error
}{
	{"revoked", false, func(c *cluster, on *node) error {
		return on.Revoke(c.t.Context(), ann, c.issued.Token.ID, "")
	}},
	{"disabled", false, func(c *cluster, on *node) error {
		_, err := on.Disable(c.t.Context(), ann, c.issued.Token.ID, "")
		return err
	}},
	{"deleted", false, func(c *cluster, on *node) error {
		return on.Delete(c.t.Context(), ann, c.issued.Token.ID, "")
	}},
	{"rotated", false, func(c *cluster, on *node) error {
		_, err := on.Rotate(c.t.Context(), ann, c.issued.Token.ID, apitoken.RotateRequest{IfVersion: 1})
		return err
	}},
	{"owner inactive", true, func(c *cluster, _ *node) error {
		c.people.SetActive("acme", "ann", false)
		return nil
	}},
	{"owner removed", true, func(c *cluster, _ *node) error {
		c.people.Remove("acme", "ann")
		return nil
	}},
}

// P2: at once on every node without caches; with them within MaxStale on every node,
// at once on the one that did it, and no hint arrives. The offsets are those of each
// node's reads to the change and of the verifications to it.
func TestEveryNodeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range stops {
		t.Run(tt.name+", caches off", func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, false, apitoken.Policy{})
			for _, n := range c.nodes {
				c.accepted(n)
			}
			require.NoError(t, tt.stop(c, c.nodes[0]))
			for _, n := range c.nodes {
				c.refused(n)
			}
		})
		t.Run(tt.name+", caches on", func(t *testing.T) {
			t.Parallel()
			late := 0 // verifications that were still accepted after the change
			const step = maxStale / 8
			for readBefore := time.Duration(0); readBefore <= maxStale; readBefore += step {
				for _, every := range []time.Duration{step / 3, step, maxStale / 2, maxStale} {
					c := newCluster(t, true, apitoken.Policy{})
					c.accepted(c.nodes[1])
					c.clock.Advance(readBefore / 2)
					c.accepted(c.nodes[2])
					c.clock.Advance(readBefore / 2)
					c.accepted(c.nodes[0])
					require.NoError(t, tt.stop(c, c.nodes[0]))
					if !tt.directory {
						c.refused(c.nodes[0])
					}
					for since := time.Duration(0); since <= 2*maxStale; since += every {
						for i, n := range c.nodes {
							msg := fmt.Sprintf("node %d, read %s before the change, %s after it", i, readBefore, since)
							if since >= maxStale {
								c.refused(n, msg)
							} else if c.verify(n) == nil {
								late++
							}
						}
						c.clock.Advance(every)
					}
				}
			}
			require.NotZero(t, late, "the caches did nothing")
		})
	}
}

// P2, for reads that began before the change and ended after it: first reads and
// confirmations of the token, and look-ups of its owner.
func TestEveryNodeRefusesAfterSlowReads(t *testing.T) {
	t.Parallel()
	for _, tt := range stops {
		for _, confirming := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, confirming %t", tt.name, confirming), func(t *testing.T) {
				t.Parallel()
				for _, held := range []time.Duration{0, 1, maxStale / 2, maxStale - 1, maxStale, 2 * maxStale} {
					c := newCluster(t, true, apitoken.Policy{})
					b := c.nodes[1]
					if confirming {
						c.accepted(b)
						c.clock.Advance(maxStale)
					}
					answered, release := make(chan struct{}), make(chan struct{})
					hold := func() {
						answered <- struct{}{}
						<-release
					}
					if tt.directory {
						b.people.after = hold
					} else {
						b.db.hooks(nil, func(context.Context, string, []apitoken.ID) error { hold(); return nil })
					}
					slow := make(chan error, 1)
					go func() { slow <- c.verify(b) }()
					<-answered
					b.db.hooks(nil, nil)
					require.NoError(t, tt.stop(c, c.nodes[0]))
					c.clock.Advance(held)
					b.people.after = nil
					close(release)
					if err := <-slow; err != nil {
						require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
					}
					for since := held; since <= 3*maxStale; since += maxStale / 8 {
						if since >= maxStale {
							c.refused(b, "held up for %s, %s after the change", held, since)
						} else {
							_ = c.verify(b)
						}
						c.clock.Advance(maxStale / 8)
					}
				}
			})
		}
	}
}

// P4: while the database or the directory is gone, nodes refuse with an outage once
// MaxStale is over: they neither accept nor say that there is no such token.
func TestNodesInAnOutage(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(c *cluster, err error){
		"database": func(c *cluster, err error) {
			for _, n := range c.nodes {
				n.db.fail(err)
			}
		},
		"directory": func(c *cluster, err error) { c.people.Fail(err) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, true, apitoken.Policy{})
			for _, n := range c.nodes {
				c.accepted(n)
			}
			fail(c, errOutage)
			c.clock.Advance(maxStale - 1)
			for _, n := range c.nodes {
				c.accepted(n, "from memory")
			}
			for range 10 {
				c.clock.Advance(time.Second)
				for _, n := range c.nodes {
					require.ErrorIs(t, c.verify(n), apitoken.ErrUnavailable)
				}
			}
			fail(c, nil)
			for _, n := range c.nodes {
				c.accepted(n)
			}
		})
	}
}
