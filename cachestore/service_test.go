package cachestore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// What must rest on the present state does, however warm the caches are.
func TestDecisionsPastTheCache(t *testing.T) {
	t.Parallel()
	system := apitoken.System("directory", "acme")

	t.Run("a deactivation is reported", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, true, apitoken.Policy{OwnerInactive: apitoken.OwnerDisables})
		c.accepted(c.nodes[0])
		c.people.SetActive("acme", "ann", false)
		c.accepted(c.nodes[0], "nobody told it")
		report, err := c.nodes[0].OwnerChanged(t.Context(), system, apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerDeactivated})
		require.NoError(t, err)
		require.Equal(t, []apitoken.ID{c.issued.Token.ID}, report.Changed)
		c.refused(c.nodes[0])
	})
	t.Run("a report alone stops the owner's tokens here", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, true, apitoken.Policy{})
		c.accepted(c.nodes[0])
		c.people.SetActive("acme", "ann", false)
		_, err := c.nodes[0].OwnerChanged(t.Context(), system, apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerDeactivated})
		require.NoError(t, err)
		require.ErrorIs(t, c.verify(c.nodes[0]), apitoken.ErrOwnerInactive)
	})
	t.Run("an inactive actor issues nothing", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, true, apitoken.Policy{})
		c.accepted(c.nodes[0])
		c.people.SetActive("acme", "ann", false)
		_, err := c.nodes[0].Issue(t.Context(), ann, apitoken.IssueRequest{Name: "late"})
		require.ErrorIs(t, err, apitoken.ErrForbidden)
	})
	for _, tt := range stops {
		t.Run("a token that manages tokens, "+tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, true, apitoken.Policy{})
			b := c.nodes[1]
			c.accepted(b)
			require.NoError(t, tt.stop(c, c.nodes[0]))
			p, err := b.Verify(t.Context(), apitoken.VerifyRequest{Token: c.issued.Secret.Reveal()})
			require.NoError(t, err, "from memory")
			_, err = b.Issue(t.Context(), p.Actor(), apitoken.IssueRequest{Name: "outlives it"})
			require.ErrorIs(t, err, apitoken.ErrForbidden)
		})
	}
	t.Run("a token whose owner lost the role for it", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, true, apitoken.Policy{CreatorRoles: []string{"developer"}, CreatorRolesAtUse: true}, "developer")
		n := c.nodes[0]
		p, err := n.Verify(t.Context(), apitoken.VerifyRequest{Token: c.issued.Secret.Reveal()})
		require.NoError(t, err)
		name := "renamed"
		edit := func() error {
			_, err := n.Edit(t.Context(), p.Actor(), c.issued.Token.ID, apitoken.EditRequest{Name: &name})
			return err
		}
		require.NoError(t, edit())
		c.accepted(n)
		c.people.SetRoles("acme", "ann")
		c.accepted(n, "from memory")
		require.ErrorIs(t, edit(), apitoken.ErrForbidden)
	})
	t.Run("explained as it is", func(t *testing.T) {
		t.Parallel()
		c := newCluster(t, true, apitoken.Policy{})
		c.accepted(c.nodes[0])
		c.people.SetActive("acme", "ann", false)
		x, err := c.nodes[0].Explain(t.Context(), apitoken.System("support", "acme"), apitoken.ExplainRequest{ID: c.issued.Token.ID})
		require.NoError(t, err)
		require.False(t, x.Accepted)
	})
}

// A token that was used elsewhere does not end here, although memory knows of no use,
// and one that nobody uses ends at its instant.
func TestIdlePastTheCache(t *testing.T) {
	t.Parallel()
	c := newCluster(t, true, apitoken.Policy{Lifetime: apitoken.Lifetime{Idle: time.Hour}})
	c.clock.Advance(time.Hour - 1)
	for _, n := range c.nodes[1:] {
		rec, err := n.cache.Record(t.Context(), c.issued.Token.ID)
		require.NoError(t, err)
		require.Zero(t, rec.Token.Usage.Uses)
	}
	c.clock.Advance(1)
	c.refused(c.nodes[1])
	require.NoError(t, c.db.Touch(t.Context(), []apitoken.Use{{ID: c.issued.Token.ID, Count: 1, LastUsed: madeAt.Add(time.Hour - 1)}}))
	c.accepted(c.nodes[2])
}

// A token near the end of its idle time is touched once, not by every request until
// the cache finds out.
func TestTouchedOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t, true, apitoken.Policy{Lifetime: apitoken.Lifetime{Idle: time.Hour}})
	c.clock.Advance(time.Hour - time.Second)
	n := c.nodes[0]
	for range 20 {
		c.accepted(n)
	}
	rec, err := c.db.Get(t.Context(), c.issued.Token.ID)
	require.NoError(t, err)
	require.EqualValues(t, 1, rec.Token.Usage.Uses)
	require.Less(t, n.cache.CacheStats().Reads, int64(5))
}

// A write that seems to have failed and then shows to have succeeded has succeeded
// for the cache too, although it was filled in between.
func TestUnclearWrite(t *testing.T) {
	t.Parallel()
	for _, tt := range stops[:3] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, true, apitoken.Policy{})
			n := c.nodes[0]
			late := &lateStore{spy: n.db}
			n.cache = newCache(t, late)
			late.before = func() { _, _ = n.cache.Record(t.Context(), c.issued.Token.ID) }
			var err error
			n.Service, err = apitoken.New(n.cache, apitoken.Options{Clock: c.clock, Prefix: "acme", Kinds: map[apitoken.Kind]apitoken.Policy{"api": {}}})
			require.NoError(t, err)
			c.accepted(n)
			require.NoError(t, tt.stop(c, n))
			require.True(t, late.filled)
			c.refused(n)
		})
	}
}

// lateStore answers a write with an error, and commits it only when it is asked
// what became of it.
type lateStore struct {
	*spy
	commit func() error
	before func()
	filled bool
}

func (s *lateStore) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	s.commit = func() error { return s.spy.Swap(ctx, rec, guard, events) }
	return errOutage
}

func (s *lateStore) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	s.commit = func() error { return s.spy.Delete(ctx, id, version, guard, events) }
	return errOutage
}

func (s *lateStore) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if commit := s.commit; commit != nil {
		s.commit = nil
		s.before()
		_, cached := s.spy.Store.Get(ctx, id)
		s.filled = cached == nil
		if err := commit(); err != nil {
			return nil, errors.Join(errOutage, err)
		}
	}
	return s.spy.Get(ctx, id)
}

func TestStatusShowsTheAge(t *testing.T) {
	t.Parallel()
	c := newCluster(t, true, apitoken.Policy{})
	age := func() time.Duration {
		st, err := c.nodes[0].Status(t.Context())
		require.NoError(t, err)
		return st.CacheAge
	}
	require.Zero(t, age())
	c.accepted(c.nodes[0])
	require.Zero(t, age())
	c.clock.Advance(2 * time.Second)
	require.Equal(t, 2*time.Second, age())
	c.clock.Advance(maxStale)
	require.Zero(t, age(), "what is too old is not used")

	st, err := newCluster(t, false, apitoken.Policy{}).nodes[0].Status(t.Context())
	require.NoError(t, err)
	require.Zero(t, st.CacheAge)
}
