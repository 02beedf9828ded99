package integration_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

// everyStatement makes every statement of a store run once, each on rows of its
// own, and demands what it should do. Package storetest looks closer; this finds a
// statement that cannot run.
func everyStatement(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	ctx := t.Context()
	mark := rand.Text()[:18]
	id := func(n int) string { return fmt.Sprintf("%s%04d", mark, n) }
	tenant := "works " + mark
	record := func(n int) (*apitoken.Record, []apitoken.Event) {
		rec := newRecord(id(n))
		rec.Token.Tenant, rec.Token.Agent = tenant, "agent"
		rec.Token.Metadata = map[string]string{"number": fmt.Sprint(n)}
		rec.Alias, rec.IdempotencyKey = "alias "+id(n), "key "+id(n)
		rec.DueAt = created
		e := eventOf(rec, apitoken.EventCreated)
		e.ID, e.Tenant, e.Deliver = id(n)+".1.0", tenant, true
		return rec, []apitoken.Event{e}
	}
	later := func(rec *apitoken.Record) (*apitoken.Record, []apitoken.Event) {
		next := rec.Clone()
		next.Token.Version++
		e := eventOf(next, apitoken.EventEdited)
		e.ID, e.Tenant = fmt.Sprintf("%s.%d.0", next.Token.ID, next.Token.Version), tenant
		return next, []apitoken.Event{e}
	}

	first, events := record(1)
	require.NoError(t, s.Create(ctx, first, events))
	for _, taken := range []string{"id", "alias", "idempotency key"} {
		rec, events := record(2)
		switch taken {
		case "id":
			rec.Token.ID = first.Token.ID
		case "alias":
			rec.Alias = first.Alias
		case "idempotency key":
			rec.IdempotencyKey = first.IdempotencyKey
		}
		var dup *apitoken.DuplicateError
		require.ErrorAs(t, s.Create(ctx, rec, events), &dup)
		require.Equal(t, taken, dup.Field)
	}
	got, err := s.GetByAlias(ctx, first.Alias)
	require.NoError(t, err)
	require.Equal(t, first.Token, got.Token)

	second, events := later(first)
	require.NoError(t, s.Swap(ctx, second, apitoken.Guard{NeverUsed: true}, events))
	require.ErrorIs(t, s.Swap(ctx, second, apitoken.Guard{}, nil), apitoken.ErrConflict)
	third, changed := later(second)
	other, events := record(3)
	require.NoError(t, s.Replace(ctx, other, third, apitoken.Guard{}, append(changed, events...)))

	used := created.Add(time.Hour)
	require.NoError(t, s.Touch(ctx, []apitoken.Use{{ID: first.Token.ID, Count: 3, LastUsed: used}, {ID: other.Token.ID, Count: 1, LastUsed: created}}))
	got, err = s.Get(ctx, first.Token.ID)
	require.NoError(t, err)
	require.Equal(t, apitoken.Usage{Uses: 3, LastUsed: used}, got.Token.Usage)
	revisions, err := s.Revisions(ctx, []apitoken.ID{first.Token.ID, other.Token.ID, apitoken.ID(id(9))})
	require.NoError(t, err)
	require.Len(t, revisions, 2)

	for _, key := range []apitoken.SortKey{"", apitoken.SortName, apitoken.SortKind, apitoken.SortUses, apitoken.SortExpires, apitoken.SortLastUsed, apitoken.SortStatus, apitoken.SortHealth} {
		for _, desc := range []bool{false, true} {
			query := apitoken.StoreQuery{
				Tenant: tenant, Kinds: []apitoken.Kind{apitoken.DefaultKind}, OwnKinds: []apitoken.Kind{"own"}, OwnedBy: "ann", OnlyKinds: []apitoken.Kind{apitoken.DefaultKind},
				Owner: "ann", Agent: "agent", Creator: "ann", HasAgent: true, Status: apitoken.StatusActive,
				Now: used, Sort: key, Desc: desc, Limit: 1,
			}
			var found []apitoken.ID
			for range 2 {
				recs, err := s.List(ctx, query)
				require.NoError(t, err, key)
				require.Len(t, recs, 1, key)
				found = append(found, recs[0].Token.ID)
				position := apitoken.PositionOf(&recs[0].Token, key, used)
				query.After = &position
			}
			require.ElementsMatch(t, []apitoken.ID{first.Token.ID, other.Token.ID}, found, key)
		}
	}
	one := apitoken.StoreQuery{AnyTenant: true, AllKinds: true, MetaKey: "number", MetaValue: "3", Agent: "agent", Now: used, Limit: 100}
	recs, err := s.List(ctx, one)
	require.NoError(t, err)
	require.NotEmpty(t, recs)
	counts, err := s.Counts(ctx, apitoken.StoreQuery{Tenant: tenant, AllKinds: true, Now: used})
	require.NoError(t, err)
	require.Equal(t, map[apitoken.Kind]int{apitoken.DefaultKind: 2}, counts)
	due, err := s.Due(ctx, created, apitoken.DuePosition{}, 100)
	require.NoError(t, err)
	require.NotEmpty(t, due)
	history, err := s.Events(ctx, tenant, first.Token.ID, id(1)+".1.0", 10)
	require.NoError(t, err)
	require.Len(t, history, 2)

	claimed, err := s.Claim(ctx, apitoken.Lease{Holder: mark, Now: used, Until: used.Add(time.Hour)}, 100)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(claimed), 2)
	require.NoError(t, s.Settle(ctx, mark, []apitoken.Settlement{
		{EventID: id(1) + ".1.0", Done: true}, {EventID: id(3) + ".1.0", RetryAt: used},
	}))
	claimed, err = s.Claim(ctx, apitoken.Lease{Holder: mark + " again", Now: used, Until: used.Add(time.Hour)}, 100)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.NoError(t, s.Settle(ctx, mark+" again", []apitoken.Settlement{{EventID: claimed[0].Event.ID, Aside: true}}))
	stats, err := s.Stats(ctx, used)
	require.NoError(t, err)
	require.GreaterOrEqual(t, stats.Overdue, 2)
	require.GreaterOrEqual(t, stats.Aside, 1)

	for version := range int64(2) {
		set := apitoken.Settings{Tenant: tenant, Version: version + 1, Origins: []string{"https://example.org"}, UpdatedAt: used}
		require.NoError(t, s.SwapSettings(ctx, set, nil))
		kept, err := s.Settings(ctx, tenant)
		require.NoError(t, err)
		require.Equal(t, set, kept)
	}
	for _, want := range []bool{true, false} {
		fresh, err := s.Remember(ctx, apitoken.SignedUse{Key: sha256.Sum256([]byte(mark)), Until: created})
		require.NoError(t, err)
		require.Equal(t, want, fresh)
	}
	forgotten, err := s.Forget(ctx, created)
	require.NoError(t, err)
	require.EqualValues(t, 1, forgotten)

	require.NoError(t, s.Delete(ctx, first.Token.ID, 3, apitoken.Guard{NotUsedAfter: used}, nil))
	require.ErrorIs(t, s.Delete(ctx, first.Token.ID, 3, apitoken.Guard{}, nil), apitoken.ErrNotFound)
	require.NoError(t, s.Delete(ctx, other.Token.ID, 1, apitoken.Guard{}, nil)) // so that it may be run again
}
