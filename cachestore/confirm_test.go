package cachestore_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/cachestore"
)

// use reads tokens as verification does, n times each.
func (b *bed) use(from, to, n int) {
	b.t.Helper()
	for range n {
		for i := from; i < to; i++ {
			b.record(i)
		}
	}
}

// One statement confirms all that is in use and due soon, at most 500 at once.
func TestConfirmationInBatches(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1300)
	b.use(0, 1200, 2)
	b.clock.Advance(maxStale/2 + 1)
	b.use(1200, 1300, 2) // too young to be confirmed with them
	b.inner.take()
	b.clock.Advance(maxStale/2 - 1)
	b.use(0, 1200, 1)
	b.reads(0, 500, 500, 200)
	b.use(0, 1200, 1)
	b.reads(0)
	require.EqualValues(t, 1200, b.CacheStats().Confirmed)

	// A batch tells what changed apart from what did not.
	changed := map[int]bool{3: true, 700: true, 1100: true}
	for i := range changed {
		b.elsewhere(i)
	}
	before := make([]*apitoken.Record, 1200)
	for i := range before {
		before[i] = b.record(i)
	}
	b.inner.take()
	b.clock.Advance(maxStale - 1)
	b.record(0)
	b.clock.Advance(1)
	for i, old := range before {
		rec := b.record(i)
		require.Equal(t, changed[i], rec != old, i)
		require.Equal(t, changed[i], rec.Token.Version == 2, i)
	}
	gets, batches := b.inner.take()
	require.Equal(t, 3, gets)
	require.Equal(t, []int{500, 500, 300}, batches, "with those that were too young before")
}

// What nobody used since it was confirmed is not confirmed with the others, but when
// it is asked for.
func TestUnusedSleep(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.use(0, 100, 1) // read, and not used since
	b.use(0, 10, 1)
	b.inner.take()
	b.clock.Advance(maxStale)
	b.use(0, 10, 1)
	b.reads(0, 10)
	b.record(99)
	b.reads(0, 1)
	b.clock.Advance(maxStale)
	b.record(0)
	b.reads(0, 10) // used after they were confirmed
	b.use(0, 5, 1)
	b.clock.Advance(maxStale)
	b.record(0)
	b.reads(0, 5)

	// One that sleeps and is used in time wakes up, and is confirmed with others again.
	b = newBed(t, 3)
	b.record(2)
	b.clock.Advance(time.Second)
	b.use(0, 2, 1)
	b.clock.Advance(maxStale - time.Second)
	b.record(2) // puts the others to sleep
	b.record(0)
	b.inner.take()
	b.clock.Advance(time.Second)
	b.record(1)
	b.reads(0, 2)
}

// While what stands cannot be confirmed, requests ask for their own token, and get
// the store's answer or its error: never one that is too old, never 'not found'.
func TestOutage(t *testing.T) {
	t.Parallel()
	b := newBed(t, 3)
	first := b.record(0)
	b.use(0, 3, 2)
	b.inner.take()
	b.inner.fail(errOutage)
	b.clock.Advance(maxStale - 1)
	b.use(0, 3, 1)
	b.reads(0)
	b.clock.Advance(1)
	for i := range 3 {
		_, err := b.Record(t.Context(), idOf(i))
		require.ErrorIs(t, err, errOutage)
		require.NotErrorIs(t, err, apitoken.ErrNotFound)
	}
	_, err := b.Record(t.Context(), idOf(9))
	require.ErrorIs(t, err, errOutage)
	b.reads(4, 3) // one attempt for all, then each for itself

	b.inner.fail(nil)
	require.Same(t, first, b.record(0), "it was not changed")
	b.absent(9)
	b.reads(2)
	require.EqualValues(t, 5, b.CacheStats().Failures)
}

// A store that refuses only the batches is asked for each token, and for a batch
// again a second later.
func TestBatchesRefused(t *testing.T) {
	t.Parallel()
	b := newBed(t, 3)
	b.use(0, 3, 2)
	first := b.record(0)
	b.inner.take()
	b.inner.fail(errOutage, "Revisions")
	b.clock.Advance(maxStale)
	require.Same(t, first, b.record(0))
	b.use(1, 3, 1)
	b.reads(3, 3)
	b.use(0, 3, 1)
	b.clock.Advance(maxStale)
	b.inner.fail(nil)
	b.use(0, 3, 1)
	b.reads(0, 3)
}

// A confirmation that takes so long that it says nothing is not tried again by the
// same request.
func TestConfirmationTooSlow(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.record(0)
	b.inner.take()
	b.clock.Advance(maxStale)
	b.inner.hooks(nil, func(_ context.Context, method string, _ []apitoken.ID) error {
		if method == "Revisions" {
			b.clock.Advance(maxStale)
		}
		return nil
	})
	b.record(0)
	b.reads(1, 1)
}

// A batch that hangs is given up after a second, and then each asks for its own. Time
// is that of the bubble.
func TestBatchHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 3)
		b.Store = newCache(t, b.inner)
		b.use(0, 3, 2)
		b.inner.take()
		time.Sleep(maxStale)
		b.inner.hooks(func(ctx context.Context, method string, _ []apitoken.ID) error {
			if method == "Get" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}, nil)
		began := time.Now()
		var all []<-chan answer
		for i := range 3 {
			all = append(all, b.ask(t.Context(), i))
		}
		for _, one := range all {
			require.NoError(t, (<-one).err)
		}
		require.Equal(t, time.Second, time.Since(began))
		b.reads(3, 3)
	})
}

// While Run runs and the store answers, no request waits for a confirmation, with
// and without Revisions. It ends with its context.
func TestRunAhead(t *testing.T) {
	t.Parallel()
	for _, revisions := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, 700)
			if b.Store = newCache(t, b.inner); !revisions {
				b.Store = newCache(t, struct{ apitoken.Store }{b.inner})
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- b.Run(ctx) }()
			b.use(0, 700, 1)
			first := b.record(5)
			misses := b.CacheStats().Misses
			for range 40 {
				time.Sleep(maxStale / 10)
				b.use(0, 600, 1)
			}
			require.Equal(t, misses, b.CacheStats().Misses)
			require.Same(t, first, b.record(5))
			_, batches := b.inner.take()
			require.Equal(t, revisions, len(batches) > 0)
			for i, size := range batches {
				require.Equal(t, []int{500, 100}[i%2], size, "those in use, and no others")
			}

			b.elsewhere(5)
			time.Sleep(maxStale)
			require.EqualValues(t, 2, b.record(5).Token.Version)

			b.use(0, 600, 2)
			b.inner.take()
			b.inner.fail(errOutage) // which stops it until the next tick, and not for good
			time.Sleep(time.Minute)
			b.inner.fail(nil)
			gets, batches := b.inner.take()
			require.InDelta(t, time.Minute/(maxStale/4), gets+len(batches), 3, "once for each tick")
			b.use(0, 600, 1)
			misses = b.CacheStats().Misses
			for range 20 {
				time.Sleep(maxStale / 10)
				b.use(0, 600, 1)
			}
			require.Equal(t, misses, b.CacheStats().Misses)
			cancel()
			require.NoError(t, <-ended)
		})
	}
}

// Of a decorator's stores the one that has Revisions is asked.
func TestRevisionsAreFound(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.Store = newCache(t, decorator{struct{ apitoken.Store }{b.inner}, b.inner}, func(o *cachestore.Options) { o.Clock = b.clock })
	b.record(0)
	b.clock.Advance(maxStale)
	b.record(0)
	b.reads(1, 1)
}

type decorator struct {
	apitoken.Store
	inner apitoken.Store
}

func (d decorator) Unwrap() apitoken.Store { return d.inner }
