package cachestore_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
)

// nobody is a store without tokens.
type nobody struct{ apitoken.Store }

func (nobody) Get(context.Context, apitoken.ID) (*apitoken.Record, error) {
	return nil, apitoken.ErrNotFound
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// P14: IDs that nobody was issued grow nothing beyond the bound: 200,000 of them,
// or as many as APITOKEN_HOSTILE_IDS says. It is not parallel: others would
// allocate.
func TestHostileIDsAreBounded(t *testing.T) {
	const entries = 8192
	ids := 200_000
	if n, err := strconv.Atoi(os.Getenv("APITOKEN_HOSTILE_IDS")); err == nil {
		ids = n
	}
	s := newCache(t, nobody{}, func(o *cachestore.Options) { o.MaxEntries = entries })
	ctx, id := t.Context(), make([]byte, 22)
	attack := func(from, to int) {
		for i := from; i < to; i++ {
			copy(id, "zzzzzzzzzzzzzz")
			binary.BigEndian.PutUint64(id[14:], uint64(i))
			if _, err := s.Record(ctx, unsafeID(id)); err != apitoken.ErrNotFound {
				t.Fatal(err)
			}
		}
	}
	attack(0, ids/4) // all places are taken
	require.Equal(t, entries/8, s.CacheStats().Unknown)
	before := heap()
	attack(ids/4, ids)
	require.Less(t, heap()-before, int64(256<<10), "what %d IDs left", ids-ids/4)
	st := s.CacheStats()
	require.Equal(t, entries/8, st.Unknown)
	require.Zero(t, st.Entries)
	require.EqualValues(t, ids, st.Misses)
	runtime.KeepAlive(s)
}

// IDs that nobody was issued do not push out those that somebody uses.
func TestHostileIDsPushOutNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100, func(o *cachestore.Options) { o.MaxEntries = 200 })
	b.use(0, 100, 1)
	b.inner.take()
	for i := 1000; i < 4000; i++ {
		b.absent(i)
	}
	b.inner.take()
	b.use(0, 100, 1)
	b.reads(0)
	require.Equal(t, 100, b.CacheStats().Entries)
	require.LessOrEqual(t, b.CacheStats().Unknown, 200/8)
}

// MaxEntries is never exceeded, and those in use stay rather than those that
// somebody asked for once.
func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 7, 64, 500, 4500} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			tokens := 2*limit + 200
			b := newBed(t, tokens, func(o *cachestore.Options) { o.MaxEntries = limit })
			hot := limit / 4
			for i := hot; i < tokens; i++ {
				b.record(i)
				if hot > 0 {
					b.record(i % hot)
				}
				if i%50 == 0 {
					b.clock.Advance(maxStale / 20)
					require.LessOrEqual(t, b.CacheStats().Entries, limit)
				}
			}
			require.LessOrEqual(t, b.CacheStats().Entries, limit)
			require.GreaterOrEqual(t, b.CacheStats().Entries, limit*9/10)
			if hot == 0 {
				return
			}
			b.inner.take()
			b.use(0, hot, 1)
			gets, _ := b.inner.take()
			require.LessOrEqual(t, gets, hot/4, "of the tokens in use")
		})
	}
}

// What is forgotten makes room.
func TestChurn(t *testing.T) {
	t.Parallel()
	b := newBed(t, 2000, func(o *cachestore.Options) { o.MaxEntries = 1000 })
	for round := range 5 {
		b.use(0, 2000, 1)
		for i := round; i < 2000; i += 3 {
			b.Forget(idOf(i))
		}
		for i := range 100 {
			b.absent(5000 + 100*round + i)
		}
		b.clock.Advance(maxStale / 2)
	}
	require.LessOrEqual(t, b.CacheStats().Entries, 1000)
	b.ForgetAll()
	require.Equal(t, 0, b.CacheStats().Entries+b.CacheStats().Unknown)
	require.Zero(t, b.CacheAge())
	b.use(0, 2000, 1)
	require.GreaterOrEqual(t, b.CacheStats().Entries, 900)
}

// TestHitDoesNotAllocate is not parallel: others would allocate.
func TestHitDoesNotAllocate(t *testing.T) {
	b := newBed(t, 1000)
	o, err := cachestore.NewOwners(apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) {
		return apitoken.Standing{Active: true}, nil
	}), cachestore.Options{})
	require.NoError(t, err)
	ctx, i := t.Context(), 0
	ids := make([]apitoken.ID, 1000)
	for i := range ids {
		ids[i] = idOf(i)
	}
	b.use(0, 1000, 1)
	_, err = o.Standing(ctx, "acme", "ann")
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(5000, func() {
		_, _ = b.Record(ctx, ids[i%1000])
		_, _ = o.Standing(ctx, "acme", "ann")
		i++
	}))
}

// The bytes of an ID are the caller's: a slice of a request's header, used again
// for the next request.
func TestIDIsNotKept(t *testing.T) {
	t.Parallel()
	b := newBed(t, 2)
	buffer := []byte(idOf(0))
	shared := unsafeID(buffer)
	_, err := b.Record(t.Context(), shared)
	require.NoError(t, err)
	copy(buffer, idOf(7))
	_, err = b.Record(t.Context(), shared)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	copy(buffer, idOf(1))
	rec, err := b.Record(t.Context(), shared)
	require.NoError(t, err)
	require.Equal(t, idOf(1), rec.Token.ID)
	copy(buffer, "not an ID of any token")
	b.inner.take()
	require.Equal(t, idOf(0), b.record(0).Token.ID)
	require.Equal(t, idOf(1), b.record(1).Token.ID)
	b.absent(7)
	b.reads(0)
}
