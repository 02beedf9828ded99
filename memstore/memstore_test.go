package memstore_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/storetest"
)

var (
	clientAddr = netip.MustParseAddr("192.0.2.7")
	clientNets = slices.Repeat([]netip.Prefix{netip.MustParsePrefix("2001:db8::/48")}, apitoken.MaxRecentNetworks)
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) apitoken.Store { return memstore.New() })
}

// TestStoreWithOneHotRecord runs everything with records that are forgotten as
// soon as another one is used.
func TestStoreWithOneHotRecord(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) apitoken.Store { return memstore.NewWith(memstore.Options{HotRecords: 1}) })
}

func TestCreateRefusesWhatIsNoID(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	for _, id := range []apitoken.ID{"", "short", idOf(1) + "x", idOf(1)[:21] + "-", idOf(1)[:21] + "\x00"} {
		rec := typical(1)
		rec.Token.ID = id
		err := s.Create(t.Context(), rec, nil)
		require.ErrorContains(t, err, "not the ID of a token", "%q", id)
		require.NotErrorIs(t, err, apitoken.ErrConflict)
		_, err = s.Get(t.Context(), id)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
		_, err = s.Record(t.Context(), id)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	}
}

// TestRecordIsShared: one record for all callers, until the token is changed or
// used.
func TestRecordIsShared(t *testing.T) {
	t.Parallel()
	s, ids := filled(t, 3000) // the table grows on the way
	record := func(i int) *apitoken.Record {
		t.Helper()
		rec, err := s.Record(t.Context(), ids.at(i))
		require.NoError(t, err)
		return rec
	}
	var first []*apitoken.Record
	for i := range 3000 {
		first = append(first, record(i))
	}
	for i, rec := range first {
		require.Same(t, rec, record(i))
	}
	require.NoError(t, s.Touch(t.Context(), []apitoken.Use{{ID: ids.at(7), Count: 3, LastUsed: madeAt.Add(time.Hour)}}))
	used := record(7)
	require.NotSame(t, first[7], used)
	require.EqualValues(t, 3, used.Token.Usage.Uses)
	require.Equal(t, madeAt.Add(time.Hour), used.Token.Usage.LastUsed)
	require.Zero(t, first[7].Token.Usage.Uses, "a record that was handed out never changes")
	require.Same(t, first[8], record(8))
}

// TestRecordDoesNotAllocate is not parallel: others would allocate.
func TestRecordDoesNotAllocate(t *testing.T) {
	s, ids := filled(t, 1000)
	ctx, i := t.Context(), 0
	for i := range 1000 {
		_, err := s.Record(ctx, ids.at(i))
		require.NoError(t, err)
	}
	require.Zero(t, testing.AllocsPerRun(5000, func() {
		_, _ = s.Record(ctx, ids.at(i%1000))
		i++
	}))
}

// TestMemoryIsBoundedUnderChurn: what is deleted makes room for what is created,
// whatever its size. It is not parallel: others would allocate.
func TestMemoryIsBoundedUnderChurn(t *testing.T) {
	s, ctx := memstore.NewWith(memstore.Options{HotRecords: 64}), t.Context()
	const tokens = 3000
	churn := func(round int) {
		for i := range tokens {
			rec := typical(i)
			rec.Alias, rec.IdempotencyKey = fmt.Sprint("alias", round, i), fmt.Sprint("key", round, i)
			rec.Token.Tenant = fmt.Sprintf("tenant %d in round %d", i%10, round)
			rec.Token.Description = strings.Repeat("x", (i*7+round*131)%900)
			require.NoError(t, s.Create(ctx, rec, nil))
			require.NoError(t, s.Touch(ctx, []apitoken.Use{{ID: rec.Token.ID, Count: 1, LastUsed: madeAt, Address: clientAddr, Networks: clientNets}}))
			_, err := s.Record(ctx, rec.Token.ID)
			require.NoError(t, err)
		}
		for i := range tokens {
			require.NoError(t, s.Delete(ctx, idOf(i), 1, apitoken.Guard{}, nil))
		}
	}
	for round := range 3 {
		churn(round)
	}
	before := heap()
	for round := range 12 {
		churn(3 + round)
	}
	after := heap()
	const oneRound = tokens * 1000
	require.Less(t, int64(after)-int64(before), int64(oneRound), "12 rounds left more than one round needs")
	list, err := s.List(ctx, apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Limit: 1})
	require.NoError(t, err)
	require.Empty(t, list)
	runtime.KeepAlive(s)
}

// TestHotRecordsAreBounded is not parallel: others would allocate.
func TestHotRecordsAreBounded(t *testing.T) {
	const tokens, hot = 10_000, 1000
	s := memstore.NewWith(memstore.Options{HotRecords: hot})
	for i := range tokens {
		require.NoError(t, s.Create(t.Context(), typical(i), nil))
	}
	before := heap()
	for i := range tokens {
		_, err := s.Record(t.Context(), idOf(i))
		require.NoError(t, err)
	}
	grown := int64(heap()) - int64(before)
	require.Less(t, grown, int64(hot*2048), "more than 1000 records of less than 2 KB stayed")
	runtime.KeepAlive(s)
}

// TestModel makes random writes and compares with a plain map: rows, slots and
// places in the queue are used again in every order.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			s, ctx := memstore.NewWith(memstore.Options{HotRecords: 16}), t.Context()
			model := map[apitoken.ID]*apitoken.Record{}
			vary := func(rec *apitoken.Record) {
				rec.Token.Description = strings.Repeat("d", rnd.IntN(200)*rnd.IntN(400)) // beyond a block of the slab, now and then
				rec.DueAt = time.Time{}
				if rnd.IntN(3) > 0 {
					rec.DueAt = madeAt.Add(time.Duration(rnd.IntN(40)) * time.Second)
				}
			}
			for range 3000 {
				id := idOf(rnd.IntN(60))
				old, exists := model[id]
				switch op := rnd.IntN(8); {
				case !exists:
					rec := typical(rnd.IntN(60))
					rec.Token.ID = id
					vary(rec)
					require.NoError(t, s.Create(ctx, rec, nil))
					model[id] = rec
				case op == 0:
					require.NoError(t, s.Delete(ctx, id, old.Token.Version, apitoken.Guard{}, nil))
					delete(model, id)
				case op < 4:
					next := old.Clone()
					next.Token.Version++
					vary(next)
					require.NoError(t, s.Swap(ctx, next, apitoken.Guard{}, nil))
					model[id] = next
				case op < 6:
					u := &old.Token.Usage
					at := u.LastUsed.Add(time.Second)
					require.NoError(t, s.Touch(ctx, []apitoken.Use{{ID: id, Count: 1, LastUsed: at, Address: clientAddr}}))
					u.Uses, u.LastUsed, u.Address = u.Uses+1, at, clientAddr
				default:
					rec, err := s.Record(ctx, id)
					require.NoError(t, err)
					require.Equal(t, old.Token, rec.Token)
				}
			}
			for id, want := range model {
				got, err := s.Get(ctx, id)
				require.NoError(t, err)
				require.Equal(t, want.Clone(), got)
			}
			sorted := slices.SortedFunc(func(yield func(*apitoken.Record) bool) {
				for _, rec := range model {
					if !rec.DueAt.IsZero() && !yield(rec) {
						return
					}
				}
			}, func(a, b *apitoken.Record) int {
				return cmp.Or(a.DueAt.Compare(b.DueAt), strings.Compare(string(a.Token.ID), string(b.Token.ID)))
			})
			for seconds := range 41 {
				before := madeAt.Add(time.Duration(seconds) * time.Second)
				due, err := s.Due(ctx, before, apitoken.DuePosition{}, 1000)
				require.NoError(t, err)
				want := sorted[:sortedUpTo(sorted, before)]
				require.Len(t, due, len(want))
				for i, rec := range due {
					require.Equal(t, want[i].Token.ID, rec.Token.ID)
				}
			}
			counts, err := s.Counts(ctx, apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Now: madeAt})
			require.NoError(t, err)
			require.Equal(t, len(model), counts["personal"])
		})
	}
}

// sortedUpTo returns how many of the records are due at before.
func sortedUpTo(recs []*apitoken.Record, before time.Time) int {
	n := slices.IndexFunc(recs, func(rec *apitoken.Record) bool { return rec.DueAt.After(before) })
	if n < 0 {
		return len(recs)
	}
	return n
}

// TestFewOfMany: a page and a batch of far more tokens than they hold are the
// first ones.
func TestFewOfMany(t *testing.T) {
	t.Parallel()
	s, ids := filled(t, 4000)
	query := apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Now: madeAt, Sort: apitoken.SortName, Limit: 4000}
	for _, desc := range []bool{false, true} {
		query.Desc, query.Limit = desc, 4000
		all, err := s.List(t.Context(), query)
		require.NoError(t, err)
		require.Len(t, all, 4000)
		for _, limit := range []int{0, 1, 10, 300} {
			query.Limit = limit
			page, err := s.List(t.Context(), query)
			require.NoError(t, err)
			require.Len(t, page, limit)
			for i := range page {
				require.Equal(t, all[i].Token.ID, page[i].Token.ID)
			}
		}
	}
	for _, limit := range []int{0, 1, 10, 300} {
		batch, err := s.Due(t.Context(), madeAt.AddDate(1, 0, 0), apitoken.DuePosition{}, limit)
		require.NoError(t, err)
		require.Len(t, batch, limit)
		for i := range batch { // each is due a microsecond after the one before
			require.Equal(t, ids.at(i), batch[i].Token.ID)
		}
	}
}

// TestListWhileTokensComeAndGo: rows that are used again while a list is read
// show each token at most once, and only what matches.
func TestListWhileTokensComeAndGo(t *testing.T) {
	t.Parallel()
	s, ctx := memstore.New(), t.Context()
	const tokens = 1500 // several batches of rows
	for i := range tokens {
		rec := typical(i)
		rec.Token.Tenant = []string{"mine", "theirs"}[i%2]
		require.NoError(t, s.Create(ctx, rec, nil))
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			n := 100 + i%(tokens-100) // the first hundred stay
			_ = s.Delete(ctx, idOf(n), 1, apitoken.Guard{}, nil)
			rec := typical(n)
			rec.Token.Tenant = []string{"theirs", "mine"}[(i+n)%2]
			_ = s.Create(ctx, rec, nil)
		}
	}()
	for range 20 {
		list, err := s.List(ctx, apitoken.StoreQuery{Tenant: "mine", AllKinds: true, Now: madeAt, Limit: 2 * tokens})
		require.NoError(t, err)
		seen := map[apitoken.ID]bool{}
		for _, rec := range list {
			require.Equal(t, "mine", rec.Token.Tenant)
			require.False(t, seen[rec.Token.ID], "listed twice")
			seen[rec.Token.ID] = true
		}
		for i := 0; i < 100; i += 2 {
			require.True(t, seen[idOf(i)], "a token that nobody touched is missing")
		}
	}
	close(stop)
	<-done
}
