package memstore_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/storetest"
)

// signedAt is at no edge of an interval.
var signedAt = time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)

const (
	fresh = 5 * time.Minute  // how long a signature is accepted
	slack = time.Minute      // for how long it is kept after that
	grain = 15 * time.Second // what is dropped together
)

func TestReplayGuard(t *testing.T) {
	t.Parallel()
	for name, newGuard := range map[string]func(*testing.T) apitoken.ReplayGuard{
		"alone":        func(*testing.T) apitoken.ReplayGuard { return newGuard(0) },
		"of a store":   func(*testing.T) apitoken.ReplayGuard { return memstore.New() },
		"nearly small": func(*testing.T) apitoken.ReplayGuard { return newGuard(5000) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.RunReplayGuard(t, newGuard)
		})
	}
}

func newGuard(most int) *memstore.ReplayGuard {
	return memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{Max: most})
}

// signed is the request with this number, made and received after a while.
func signed(i int, after time.Duration) (use apitoken.SignedUse) {
	binary.BigEndian.PutUint64(use.Key[:], uint64(i))
	use.Token, use.Created = idOf(i), signedAt.Add(after)
	use.Now, use.Until = use.Created, use.Created.Add(fresh)
	return use
}

func remember(t *testing.T, g apitoken.ReplayGuard, use apitoken.SignedUse, want bool) {
	t.Helper()
	got, err := g.Remember(t.Context(), use)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func refused(t *testing.T, g apitoken.ReplayGuard, use apitoken.SignedUse, says string) {
	t.Helper()
	got, err := g.Remember(t.Context(), use)
	require.ErrorContains(t, err, says)
	require.False(t, got)
}

// kept demands how many keys there are, and that all that is counted agrees.
func kept(t *testing.T, g *memstore.ReplayGuard, want int) {
	t.Helper()
	seen, inBuckets, ofTokens, buckets, tokens := g.Counts()
	require.Equal(t, []int{want, want, want}, []int{seen, inBuckets, ofTokens})
	require.LessOrEqual(t, buckets, want)
	require.LessOrEqual(t, tokens, want)
}

func TestReplayIsKeptLongEnough(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		later time.Duration // after the signature is too old
		kept  bool
	}{
		{"at the last instant", 0, true},
		{"right after it", time.Nanosecond, true},
		{"at the end of the slack", slack, true},
		{"an interval later", slack + grain, false},
		{"a day later", 24 * time.Hour, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for shift := range grain / time.Second { // wherever in an interval the end is
				g, use := newGuard(0), signed(1, shift*time.Second)
				remember(t, g, use, true)
				other := signed(2, shift*time.Second+fresh+tc.later)
				remember(t, g, other, true)
				if use.Now = other.Now; tc.kept {
					remember(t, g, use, false)
					kept(t, g, 2)
				} else {
					refused(t, g, use, "sign")
					kept(t, g, 1)
				}
				remember(t, g, other, false)
			}
		})
	}
}

// A later request with the same nonce is refused too.
func TestReplayWithAnotherEnd(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"later": time.Minute, "earlier": -time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, use := newGuard(0), signed(1, 0)
			remember(t, g, use, true)
			again := use
			again.Until, again.Created = use.Until.Add(by), use.Created.Add(by)
			remember(t, g, again, false)
			again.Now = use.Until
			remember(t, g, again, false)
			kept(t, g, 1)
		})
	}
}

func TestReplayForget(t *testing.T) {
	t.Parallel()
	g := newGuard(0)
	for i := range 60 {
		remember(t, g, signed(i, time.Duration(i)*time.Second), true)
	}
	forget := func(before time.Time) int {
		n, err := g.Forget(t.Context(), before)
		require.NoError(t, err)
		return int(n)
	}
	require.Zero(t, forget(time.Time{}))
	require.Zero(t, forget(signedAt.Add(fresh-time.Nanosecond)))
	kept(t, g, 60)
	dropped := forget(signedAt.Add(fresh + 30*time.Second))
	require.InDelta(t, 30, dropped, grain.Seconds())
	kept(t, g, 60-dropped)
	for i := 30; i < 60; i++ {
		use := signed(i, time.Duration(i)*time.Second)
		use.Now = signedAt.Add(time.Minute)
		remember(t, g, use, false)
	}
	refused(t, g, signed(0, 0), "no longer kept")
	require.Zero(t, forget(signedAt.Add(fresh)), "what is earlier is dropped already")
	require.Equal(t, 60-dropped, forget(signedAt.Add(time.Hour)))
	kept(t, g, 0)
	refused(t, g, signed(99, 0), "no longer kept") // never seen, but who knows
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	remember(t, g, signed(100, time.Hour), true)
	n, err := g.Forget(ended, signedAt.Add(24*time.Hour))
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, n)
	_, err = g.Remember(ended, signed(101, time.Hour))
	require.ErrorIs(t, err, context.Canceled)
	kept(t, g, 1)
}

func TestReplayGuardIsFull(t *testing.T) {
	t.Parallel()
	const most = 100
	g := newGuard(most)
	for i := range most {
		remember(t, g, signed(i, time.Duration(i)*time.Second), true)
	}
	last := time.Duration(most-1) * time.Second
	for i := range most {
		refused(t, g, signed(most+i, last), "full with 100 signatures: raise ReplayOptions.Max")
	}
	for i := range most {
		use := signed(i, time.Duration(i)*time.Second)
		use.Now = signedAt.Add(last)
		remember(t, g, use, false)
	}
	kept(t, g, most)

	// Each interval that ends makes room for as many as it had.
	for later := fresh; later <= fresh+last+slack; later += time.Second {
		_, _ = g.Remember(t.Context(), signed(0, later)) // known, or taken
	}
	seen, _, _, _, _ := g.Counts()
	require.Less(t, seen, most)
	remember(t, g, signed(9999, fresh+last+slack), true)
}

// One token has a tenth, so that it shuts out no other.
func TestReplayShare(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ most, share int }{{1, 1}, {5, 1}, {10, 1}, {19, 1}, {20, 2}, {1000, 100}} {
		t.Run(fmt.Sprint(tc.most), func(t *testing.T) {
			t.Parallel()
			g := newGuard(tc.most)
			of := func(i, token int, after time.Duration) apitoken.SignedUse {
				use := signed(i, after)
				use.Token = idOf(token)
				return use
			}
			for i := range tc.share {
				remember(t, g, of(i, 0, 0), true)
			}
			if tc.most == 1 {
				refused(t, g, of(1, 1, 0), "full with 1 ")
			} else {
				refused(t, g, of(10_000, 0, 0), fmt.Sprintf("its share of %d signatures", tc.share))
				remember(t, g, of(20_000, 1, 0), true)
			}
			for i := range tc.share {
				remember(t, g, of(i, 0, 0), false)
			}
			remember(t, g, of(30_000, 0, fresh+slack+grain), true) // after the first are dropped
			kept(t, g, 1)
		})
	}
}

// A process that ran before may have accepted what was signed before this one.
func TestReplaySinceStart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		created time.Duration
		refused bool
	}{
		{"long before", -4 * time.Minute, true},
		{"right before", -time.Nanosecond, true},
		{"then", 0, false},
		{"after", time.Nanosecond, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			g := memstore.NewReplayGuard(signedAt, memstore.ReplayOptions{})
			use := signed(1, tc.created)
			use.Now = signedAt.Add(time.Second)
			if tc.refused {
				refused(t, g, use, "before this process was ready")
				refused(t, g, use, "before this process was ready")
				kept(t, g, 0)
				return
			}
			remember(t, g, use, true)
			remember(t, g, use, false)
		})
	}
}

// The clock is set forward by an hour, and back.
func TestReplayAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	g := newGuard(0)
	remember(t, g, signed(1, 0), true)
	remember(t, g, signed(2, time.Hour), true)
	refused(t, g, signed(1, 0), "sign")
	refused(t, g, signed(3, 0), "sign") // it may have been dropped: nobody knows
	remember(t, g, signed(2, time.Hour), false)
	kept(t, g, 1)

	// Set back by less than the slack, it changes nothing.
	use := signed(4, time.Hour-slack-grain)
	remember(t, g, use, true)
	remember(t, g, use, false)
}

// P14: ten times what fits, from one token or from many, grows nothing.
func TestReplayMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const most = 20_000
	for name, tc := range map[string]struct {
		token func(i int) int
		want  int
	}{
		"one token":            {func(int) int { return 0 }, most / 10},
		"a token each":         {func(i int) int { return i }, most},
		"a few tokens":         {func(i int) int { return i % 15 }, most},
		"fewer than fill it":   {func(i int) int { return i % 5 }, most / 2},
		"one long, then many":  {func(i int) int { return max(0, i-5*most) }, most},
		"the same, over again": {func(i int) int { return i % most }, most},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, taken := newGuard(most), 0
			for i := range 10 * most {
				use := signed(i, time.Duration(i)*time.Millisecond%fresh) // all are fresh at once
				use.Token, use.Now = idOf(tc.token(i)), signedAt.Add(fresh)
				if ok, _ := g.Remember(t.Context(), use); ok {
					taken++
				}
			}
			require.Equal(t, tc.want, taken)
			kept(t, g, tc.want)
			_, _, _, buckets, tokens := g.Counts()
			require.LessOrEqual(t, buckets, int(fresh/grain)+1)
			require.LessOrEqual(t, tokens, tc.want)
			_, err := g.Forget(t.Context(), signedAt.Add(time.Hour))
			require.NoError(t, err)
			kept(t, g, 0)
		})
	}
}

// P14: a token's ID that is cut out of a large request does not keep the request.
// It is not parallel: others would allocate.
func TestReplayKeepsNoRequest(t *testing.T) {
	g := newGuard(0)
	before := heap()
	for i := range 200 {
		use := signed(i, time.Duration(i)*time.Second%fresh)
		request := strings.Repeat("x", 1<<18) + string(idOf(i))
		use.Token = apitoken.ID(request[1<<18:])
		remember(t, g, use, true)
	}
	require.Less(t, int64(heap())-int64(before), int64(4<<20), "what 200 requests of 256 KiB left")
	kept(t, g, 200)
}

func TestStoreHasAGuard(t *testing.T) {
	t.Parallel()
	s, other := memstore.New(), memstore.New()
	old := signed(1, -1000*time.Hour) // the tokens began with the guard
	remember(t, s, old, true)
	remember(t, s, old, false)
	remember(t, other, old, true)
	kept(t, s.Replays(), 1)
	remember(t, s, signed(2, 0), true)
	kept(t, s.Replays(), 1)
}

var pairs = flag.Int("pairs", 20_000, "the long proof of TestSignedOnce: with 1e6 pairs of copies")

// P15: of two copies of a request that arrive at once, one is accepted, while the
// clock goes on and what is too old is dropped.
func TestSignedOnce(t *testing.T) {
	t.Parallel()
	const lanes = 4
	g := newGuard(0)
	var accepted, doubled, lost atomic.Int64
	var all sync.WaitGroup
	for lane := range lanes {
		all.Go(func() {
			for i := lane; i < *pairs; i += lanes {
				use := signed(i, time.Duration(i)*time.Millisecond)
				use.Token = idOf(i % 50)
				var told [2]bool
				var errs [2]error
				var pair sync.WaitGroup
				for copied := range told {
					pair.Go(func() { told[copied], errs[copied] = g.Remember(t.Context(), use) })
				}
				pair.Wait()
				switch {
				case told[0] && told[1]:
					doubled.Add(1)
				case errs[0] != nil || errs[1] != nil || told[0] == told[1]:
					lost.Add(1)
				default:
					accepted.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, doubled.Load())
	require.Zero(t, lost.Load())
	require.EqualValues(t, *pairs, accepted.Load())
}

// FuzzReplayGuard compares the guard with what it may answer, in whatever order
// instants come: no key is fresh twice while it is to be kept, none that was never
// seen is known, and an error has its reason. Each three bytes are a call.
func FuzzReplayGuard(f *testing.F) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, seed))
		calls := make([]byte, 3*(20+r.IntN(400)))
		for i := range calls {
			calls[i] = byte(r.Uint32())
		}
		f.Add(calls, byte(seed))
	}
	f.Fuzz(func(t *testing.T, calls []byte, most byte) {
		const step = 7 * time.Second
		g, top := newGuard(int(most)+1), int(most)+1
		began := signedAt.Add(2 * fresh)
		until := map[[32]byte]time.Time{} // of what was told fresh
		latest := began.Add(-1000 * time.Hour)
		for ; len(calls) >= 3; calls = calls[3:] {
			now := began.Add(time.Duration(calls[1]) * step)
			if calls[0] >= 240 {
				_, err := g.Forget(t.Context(), now)
				require.NoError(t, err)
				latest = later(latest, now)
				continue
			}
			use := signed(int(calls[0]%60), 0)
			use.Token = idOf(int(calls[0] % 60 % 7))
			use.Now = now
			use.Created = now.Add(-time.Duration(calls[2]) * fresh / 255)
			use.Until = use.Created.Add(fresh)
			latest = later(latest, now.Add(-slack))

			live, ofToken := 0, 0 // what must be kept
			for key, end := range until {
				if end.After(latest) {
					live++
					if idOf(int(binary.BigEndian.Uint64(key[:])%60%7)) == use.Token {
						ofToken++
					}
				}
			}
			was, known := until[use.Key]
			got, err := g.Remember(t.Context(), use)
			switch {
			case got:
				require.NoError(t, err)
				require.False(t, known && was.After(latest), "fresh twice: kept until %v, dropped to %v", was, latest)
				require.True(t, use.Until.After(latest.Add(-grain)), "what is dropped was told fresh")
				require.Less(t, live, top, "more than fit")
				until[use.Key] = use.Until
			case err == nil:
				require.True(t, known, "known, but never seen")
				require.True(t, was.After(latest.Add(-grain)), "kept for too long")
			case strings.Contains(err.Error(), "no longer kept"):
				require.False(t, use.Until.After(latest), "%v is after %v", use.Until, latest)
			case strings.Contains(err.Error(), "full"), strings.Contains(err.Error(), "share"):
				require.False(t, known && was.After(latest), "a known key is no matter of room")
			default:
				t.Fatal(err)
			}
			seen, inBuckets, ofTokens, _, _ := g.Counts()
			require.LessOrEqual(t, seen, top)
			require.Equal(t, []int{seen, seen}, []int{inBuckets, ofTokens})
			require.GreaterOrEqual(t, seen, live, "something was dropped too early")
			require.LessOrEqual(t, ofToken, max(top/10, 1), "more than a token's share")
		}
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
