package cachestore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/internal/hosttx"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	tiny := func(o *cachestore.Options) { o.MaxEntries = 1 }
	short := func(o *cachestore.Options) { o.MaxStale = time.Nanosecond } // confirms at nearly every call
	for name, newStore := range map[string]func(t *testing.T) apitoken.Store{
		"over memory":              func(t *testing.T) apitoken.Store { return newCache(t, memstore.New()) },
		"with one entry":           func(t *testing.T) apitoken.Store { return newCache(t, memstore.New(), tiny) },
		"always too old":           func(t *testing.T) apitoken.Store { return newCache(t, memstore.New(), short) },
		"too old and no revisions": func(t *testing.T) apitoken.Store { return newCache(t, struct{ apitoken.Store }{memstore.New()}, short) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, newStore)
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		inner  apitoken.Store
		opts   cachestore.Options
		fields []string
	}{
		{"zero", memstore.New(), cachestore.Options{}, nil},
		{"the longest", memstore.New(), cachestore.Options{MaxStale: 10 * time.Second, MaxEntries: 1}, nil},
		{"too long", memstore.New(), cachestore.Options{MaxStale: 10*time.Second + 1}, []string{"MaxStale"}},
		{"negative", memstore.New(), cachestore.Options{MaxStale: -1, MaxEntries: -1}, []string{"MaxStale", "MaxEntries"}},
		{"no store", nil, cachestore.Options{MaxEntries: -1}, []string{"inner", "MaxEntries"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := cachestore.New(tt.inner, tt.opts)
			var fields []string
			for _, f := range apitoken.Fields(err) {
				fields = append(fields, f.Field)
			}
			require.Equal(t, tt.fields, fields)
			require.Equal(t, err == nil, s != nil)
			if tt.inner == nil {
				return
			}
			o, err := cachestore.NewOwners(apitoken.OwnersFunc(nil), tt.opts)
			require.Equal(t, len(tt.fields), len(apitoken.Fields(err)))
			require.Equal(t, err == nil, o != nil)
		})
	}
	_, err := cachestore.NewOwners(nil, cachestore.Options{MaxStale: -1})
	require.Len(t, apitoken.Fields(err), 2)
}

// A record is read once, shared, and read again when it is too old, counted from
// before the read began.
func TestRecordIsShared(t *testing.T) {
	t.Parallel()
	b := newBed(t, 2)
	first := b.record(0)
	for range 3 {
		require.Same(t, first, b.record(0))
	}
	b.reads(1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Record(ended, idOf(0))
	require.ErrorIs(t, err, context.Canceled, "from memory too")
	require.NotEqual(t, first.Token.ID, b.record(1).Token.ID)
	b.reads(1)

	b.clock.Advance(maxStale - 1)
	require.Same(t, first, b.record(0))
	b.reads(0)
	b.clock.Advance(1)
	require.Same(t, first, b.record(0), "what was compiled from an unchanged record stays")
	b.reads(0, 1)

	// A read that takes three seconds is three seconds old when it ends.
	b.ForgetAll()
	b.inner.hooks(nil, func(context.Context, string, []apitoken.ID) error {
		b.clock.Advance(3 * time.Second)
		return nil
	})
	b.record(0)
	b.inner.hooks(nil, nil)
	b.reads(1)
	b.clock.Advance(2*time.Second - 1)
	b.record(0)
	b.reads(0)
	b.clock.Advance(1)
	b.record(0)
	b.reads(0, 1)
}

// A cache behind a cache makes nothing older than one of them does.
func TestCacheBehindCache(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	outer := newCache(t, b.Store, func(o *cachestore.Options) { o.Clock = b.clock })
	b.record(0)
	b.clock.Advance(maxStale - 1)
	b.elsewhere(0)
	rec, err := outer.Record(t.Context(), idOf(0))
	require.NoError(t, err)
	require.EqualValues(t, 2, rec.Token.Version)
}

// Uses that were written are read anew; those that were not drop nothing, so that
// an outage leaves the cache as it is.
func TestTouch(t *testing.T) {
	t.Parallel()
	b := newBed(t, 2)
	first, other := b.record(0), b.record(1)
	use := []apitoken.Use{{ID: idOf(0), Count: 3, LastUsed: madeAt}}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, b.Touch(ended, use))
	require.Same(t, first, b.record(0))
	require.NoError(t, b.Touch(t.Context(), use))
	require.EqualValues(t, 3, b.record(0).Token.Usage.Uses)
	require.Same(t, other, b.record(1))
}

// Get always reads the store. What it finds changed is not used any more: after a
// write whose outcome was unclear, it is Get that tells the caller of success.
func TestGetIsFresh(t *testing.T) {
	t.Parallel()
	get := func(b *bed, i int) (*apitoken.Record, error) { return b.Get(b.t.Context(), idOf(i)) }
	t.Run("changed", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, 1)
		b.record(0)
		b.elsewhere(0)
		rec, err := get(b, 0)
		require.NoError(t, err)
		require.EqualValues(t, 2, rec.Token.Version)
		require.EqualValues(t, 2, b.record(0).Token.Version)
		rec.Token.Version = 77
		require.EqualValues(t, 2, b.record(0).Token.Version, "the caller's own copy")
	})
	t.Run("unchanged", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, 1)
		first := b.record(0)
		rec, err := get(b, 0)
		require.NoError(t, err)
		require.NotSame(t, first, rec)
		require.Same(t, first, b.record(0))
		b.reads(2)
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, 1)
		b.record(0)
		require.NoError(t, b.inner.Delete(t.Context(), idOf(0), 1, apitoken.Guard{}, nil))
		_, err := get(b, 0)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
		b.absent(0)
	})
	t.Run("created", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, 0)
		b.absent(0)
		require.NoError(t, b.inner.Create(t.Context(), recordOf(0), nil))
		_, err := get(b, 0)
		require.NoError(t, err)
		b.record(0)
	})
	t.Run("failed", func(t *testing.T) {
		t.Parallel()
		b := newBed(t, 1)
		first := b.record(0)
		b.inner.fail(errOutage)
		_, err := get(b, 0)
		require.ErrorIs(t, err, errOutage)
		require.Same(t, first, b.record(0))
	})
}

// What does not exist is remembered for a second, and no longer than MaxStale.
func TestUnknown(t *testing.T) {
	t.Parallel()
	for _, stale := range []time.Duration{maxStale, 300 * time.Millisecond} {
		t.Run(stale.String(), func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 0, func(o *cachestore.Options) { o.MaxStale = stale })
			b.absent(0)
			b.absent(0)
			b.reads(1)
			require.NoError(t, b.inner.Create(t.Context(), recordOf(0), nil))
			b.clock.Advance(min(time.Second, stale) - 1)
			b.absent(0)
			b.reads(0)
			b.clock.Advance(1)
			b.record(0)
			b.reads(1)
			require.Equal(t, cachestore.Stats{Entries: 1, Hits: 2, Misses: 2, Reads: 2}, b.CacheStats())
		})
	}
}

// In a transaction of the host's own nothing is answered from memory and nothing is
// kept: it may see what is never committed.
func TestHostTransaction(t *testing.T) {
	t.Parallel()
	b := newBed(t, 2)
	inTx := hosttx.With(t.Context(), "a transaction")
	b.record(0)
	b.reads(1)
	for range 2 {
		rec, err := b.Record(inTx, idOf(0))
		require.NoError(t, err)
		rec.Token.Name = "nobody else's"
		_, err = b.Record(inTx, idOf(1))
		require.NoError(t, err)
		_, err = b.Record(inTx, idOf(5))
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	}
	b.reads(6)
	require.Equal(t, "ci", b.record(0).Token.Name)
	b.reads(0)
	b.record(1)
	b.absent(5)
	b.reads(2)

	// What a Get there sees is no reason to drop anything.
	b.elsewhere(0)
	b.reads(1)
	_, err := b.Get(inTx, idOf(0))
	require.NoError(t, err)
	require.EqualValues(t, 1, b.record(0).Token.Version)
	b.reads(1)

	// A write there drops what is known, as any other does.
	rec, err := b.inner.Get(t.Context(), idOf(0))
	require.NoError(t, err)
	require.NoError(t, b.Swap(inTx, next(rec), apitoken.Guard{}, nil))
	require.EqualValues(t, 3, b.record(0).Token.Version)
}

func TestForget(t *testing.T) {
	t.Parallel()
	b := newBed(t, 3)
	for i := range 3 {
		b.record(i)
		b.elsewhere(i)
	}
	b.Forget(idOf(0), idOf(7))
	require.EqualValues(t, 2, b.record(0).Token.Version)
	require.EqualValues(t, 1, b.record(1).Token.Version)
	b.ForgetAll()
	for i := range 3 {
		require.EqualValues(t, 2, b.record(i).Token.Version)
	}
	require.Equal(t, 3, b.CacheStats().Entries)
}

// A clock that is set back makes nothing younger: what seems to be of the future is
// too old.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.record(0)
	b.reads(1)
	b.clock.Advance(-time.Nanosecond)
	b.record(0)
	b.reads(0, 1)
	b.elsewhere(0)
	b.reads(1)
	b.clock.Advance(-time.Hour)
	require.EqualValues(t, 2, b.record(0).Token.Version)
}

// The steady and the wall clock must both say that an entry is young: one stands
// still while the machine sleeps, the other may be set back.
func TestAge(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name               string
		steady, wall, want time.Duration
	}{
		{"now", 0, 0, 0},
		{"both agree", 3, 3, 3},
		{"the wall was set back", 5, 2, 5},
		{"the wall was set forward", 2, 5, 5},
		{"the wall was set to before the read", 3, -1, cachestore.Forever},
		{"the machine slept", time.Second, time.Hour, time.Hour},
		{"no steady reading, set back", -1, -1, cachestore.Forever},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, cachestore.Age(tt.steady, tt.wall))
		})
	}
}

func TestPassedThrough(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	require.Same(t, b.inner, b.Unwrap())
}
