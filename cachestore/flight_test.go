package cachestore_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// gate holds reads up until it is opened.
type gate struct {
	held chan struct{} // one for each read that arrived
	open chan struct{}
}

func newGate() *gate { return &gate{make(chan struct{}, 1000), make(chan struct{})} }

func (g *gate) hold(ctx context.Context, _ string, _ []apitoken.ID) error {
	g.held <- struct{}{}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type answer struct {
	rec *apitoken.Record
	err error
}

// ask reads the i-th token in a goroutine.
func (b *bed) ask(ctx context.Context, i int) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		rec, err := b.Record(ctx, idOf(i))
		out <- answer{rec, err}
	}()
	return out
}

// A read that began before a change made here ended is not kept, wherever the change
// falls, and nobody who asks later waits for it.
func TestReadsOvertakenHere(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct {
		answered bool // held up with the old answer in its hands
		stale    bool // the entry is confirmed, not read
		change   func(b *bed)
	}{
		"before the read, Swap":        {false, false, func(b *bed) { b.here(0) }},
		"after the read, Swap":         {true, false, func(b *bed) { b.here(0) }},
		"after the read, Delete":       {true, false, func(b *bed) { require.NoError(b.t, b.Delete(b.t.Context(), idOf(0), 1, apitoken.Guard{}, nil)) }},
		"after the read, a hint":       {true, false, func(b *bed) { b.elsewhere(0); b.Forget(idOf(0)) }},
		"after the read, all hints":    {true, false, func(b *bed) { b.elsewhere(0); b.ForgetAll() }},
		"after the read, Get":          {true, false, func(b *bed) { b.elsewhere(0); _, _ = b.Get(b.t.Context(), idOf(0)) }},
		"before the confirming, Swap":  {false, true, func(b *bed) { b.here(0) }},
		"after the confirming, Swap":   {true, true, func(b *bed) { b.here(0) }},
		"after the confirming, a hint": {true, true, func(b *bed) { b.elsewhere(0); b.Forget(idOf(0)) }},
		"after the confirming, Get":    {true, true, func(b *bed) { b.elsewhere(0); _, _ = b.Get(b.t.Context(), idOf(0)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, 1)
				if how.stale {
					b.record(0)
					b.clock.Advance(maxStale)
				}
				g := newGate()
				if how.answered {
					b.inner.hooks(nil, g.hold)
				} else {
					b.inner.hooks(g.hold, nil)
				}
				slow := b.ask(t.Context(), 0)
				<-g.held
				b.inner.hooks(nil, nil)
				how.change(b)
				now, err := b.inner.Store.Get(t.Context(), idOf(0))
				same := func(rec *apitoken.Record, got error) {
					t.Helper()
					require.Equal(t, err, got)
					require.True(t, err != nil || now.Token.Version == rec.Token.Version)
				}
				same(b.Record(t.Context(), idOf(0))) // does not wait for the slow one
				close(g.open)
				a := <-slow
				require.True(t, a.err == nil || a.err == err)
				same(b.Record(t.Context(), idOf(0)))
				b.clock.Advance(maxStale - 1)
				same(b.Record(t.Context(), idOf(0)))
			})
		})
	}
}

// A read that began before a change elsewhere, and ended after it, is as old as its
// beginning, for who waits for it and for who comes later.
func TestReadsOvertakenElsewhere(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		for held := time.Duration(0); held <= 2*maxStale; held += maxStale / 4 {
			t.Run(held.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					b := newBed(t, 1)
					if stale {
						b.record(0)
						b.clock.Advance(maxStale)
					}
					g := newGate()
					b.inner.hooks(nil, g.hold)
					slow := b.ask(t.Context(), 0)
					<-g.held
					b.inner.hooks(nil, nil)
					b.elsewhere(0)
					waiting := b.ask(t.Context(), 0)
					synctest.Wait()
					b.clock.Advance(held)
					close(g.open)
					old := (<-slow).rec.Token.Version
					require.True(t, old == 1 || stale && held >= maxStale, "whoever asked before the change may see what was before it")
					if held >= maxStale {
						require.EqualValues(t, 2, (<-waiting).rec.Token.Version, "it waited for longer than an answer is good for")
					}
					for since := held; since < 2*maxStale; since += maxStale / 8 {
						if since >= maxStale {
							require.EqualValues(t, 2, b.record(0).Token.Version, since)
						}
						b.clock.Advance(maxStale / 8)
					}
				})
			})
		}
	}
}

// A confirmation that was overtaken ends without touching what is read instead.
func TestNewerReadStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		b.record(0)
		b.clock.Advance(maxStale)
		confirming, reading := newGate(), newGate()
		b.inner.hooks(nil, confirming.hold)
		first := b.ask(t.Context(), 0)
		<-confirming.held
		b.inner.hooks(nil, reading.hold)
		b.Forget(idOf(0))
		second := b.ask(t.Context(), 0)
		<-reading.held
		close(confirming.open)
		third := b.ask(t.Context(), 0)
		synctest.Wait()
		close(reading.open)
		for _, one := range []<-chan answer{first, second, third} {
			require.NoError(t, (<-one).err)
		}
		b.reads(2, 1)
	})
}

// A thousand requests for one token read it once, and wait for nobody who went away.
func TestOneReadForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		g := newGate()
		b.inner.hooks(g.hold, nil)
		impatient, leave := context.WithCancel(t.Context())
		all := []<-chan answer{b.ask(t.Context(), 0)}
		<-g.held
		for range 1000 {
			all = append(all, b.ask(t.Context(), 0))
		}
		gone := b.ask(impatient, 0)
		synctest.Wait()
		leave()
		require.ErrorIs(t, (<-gone).err, context.Canceled)
		b.clock.Advance(time.Second)
		close(g.open)
		first := (<-all[0]).rec
		require.NotNil(t, first)
		for _, one := range all[1:] {
			require.Same(t, first, (<-one).rec)
		}
		b.reads(1)
	})
}

// Who reads for others and goes away fails nobody else: another one reads.
func TestLeaderGoesAway(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, 1)
			if stale {
				b.record(0)
				b.clock.Advance(maxStale)
				b.inner.take()
			}
			g := newGate()
			b.inner.hooks(g.hold, nil)
			ctx, leave := context.WithCancel(t.Context())
			leader := b.ask(ctx, 0)
			<-g.held
			var others []<-chan answer
			for range 10 {
				others = append(others, b.ask(t.Context(), 0))
			}
			synctest.Wait()
			leave()
			require.ErrorIs(t, (<-leader).err, context.Canceled)
			<-g.held
			synctest.Wait()
			close(g.open)
			for _, other := range others {
				require.NoError(t, (<-other).err)
			}
			if stale {
				b.reads(0, 1, 1)
			} else {
				b.reads(2)
			}
		})
	}
}

// A failure is told to all who wait for it, once; the next one reads again.
func TestFailureIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, 1)
		g := newGate()
		b.inner.hooks(g.hold, func(context.Context, string, []apitoken.ID) error { return errOutage })
		var all []<-chan answer
		for range 100 {
			all = append(all, b.ask(t.Context(), 0))
		}
		<-g.held
		synctest.Wait()
		close(g.open)
		for _, one := range all {
			require.ErrorIs(t, (<-one).err, errOutage)
		}
		b.reads(1)
		b.inner.hooks(nil, nil)
		b.record(0)
		require.EqualValues(t, 1, b.CacheStats().Failures)
	})
}

// A read that panics leaves nobody waiting.
func TestPanicIsNobodyElses(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, 1)
			if stale {
				b.record(0)
				b.clock.Advance(maxStale)
			}
			g := newGate()
			b.inner.hooks(nil, func(ctx context.Context, method string, ids []apitoken.ID) error {
				_ = g.hold(ctx, method, ids)
				panic("a driver's fault")
			})
			var wg sync.WaitGroup
			wg.Go(func() {
				require.Panics(t, func() { _, _ = b.Record(t.Context(), idOf(0)) })
			})
			<-g.held
			waiting := b.ask(t.Context(), 0)
			synctest.Wait()
			b.inner.hooks(nil, nil)
			close(g.open)
			wg.Wait()
			a := <-waiting
			require.NoError(t, a.err)
			require.NotNil(t, a.rec)
			require.Same(t, a.rec, b.record(0))
		})
	}
}

// A read that hangs holds others up for MaxStale and no longer, without the clock of
// a test.
func TestHangingRead(t *testing.T) {
	t.Parallel()
	for _, stale := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBed(t, 1)
			b.Store = newCache(t, b.inner)
			if stale {
				b.record(0)
				time.Sleep(maxStale)
			}
			g := newGate()
			b.inner.hooks(g.hold, nil)
			hanging := b.ask(t.Context(), 0)
			<-g.held
			b.inner.hooks(nil, nil)
			began := time.Now()
			b.record(0)
			want := maxStale
			if stale {
				want = time.Second // then the confirmation of many is given up
			}
			require.Equal(t, want, time.Since(began))
			b.record(0)
			close(g.open)
			require.NoError(t, (<-hanging).err)
		})
	}
}
