package apitoken_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// The table holds what a map holds, whatever is added and removed in whatever order:
// IDs that are close together too, and searches that go beyond the end.
func TestBucketTableAgainstMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 8))
		ids := []uint64{0, 1, math.MaxUint64, math.MaxUint64 - 1}
		for range 1 + r.IntN(400) {
			ids = append(ids, []uint64{r.Uint64(), r.Uint64() >> 60, ^(r.Uint64() >> 60), r.Uint64N(3) << 62}[r.IntN(4)])
		}
		table, want := apitoken.NewBucketTable(), map[uint64]float64{}
		check := func(id uint64) {
			got, ok := table.Find(id)
			have, held := want[id]
			require.Equal(t, held, ok, "seed %d: %x", seed, id)
			require.Equal(t, have, got, "seed %d: %x", seed, id)
		}
		for step := range 4000 {
			id := ids[r.IntN(len(ids))]
			check(id)
			_, held := want[id]
			switch {
			case held && r.IntN(3) == 0: // an edit in its place
				want[id] = float64(step)
				table.Set(id, want[id])
			case held || step/1000%2 == 1 && r.IntN(2) == 0: // what is not there, too
				delete(want, id)
				table.Remove(id)
			default:
				want[id] = float64(step)
				table.Add(id, want[id])
			}
			if step%50 == 0 {
				for _, id := range ids {
					check(id)
				}
			}
			require.Equal(t, len(want), table.Len())
			require.LessOrEqual(t, 4*table.Len(), 3*table.Slots(), "a free slot ends each search")
		}
	}
}

func TestDueHeap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 9))
	var h apitoken.DueHeap
	var want []int64
	for range 20_000 {
		full := r.Int64N(500)
		switch n := len(want); {
		case n == 0 || r.IntN(5) < 2:
			h.Push(full)
			want = append(want, full)
		case r.IntN(2) == 0:
			h.Pop()
			want = want[1:]
		default:
			h.Replace(full)
			want[0] = full
		}
		slices.Sort(want)
		require.Equal(t, len(want), h.Len())
		if len(want) > 0 {
			require.Equal(t, want[0], h.Top())
		}
	}
}

// Whatever is used, edited, asked for at once and refused while buckets come and go:
// a limiter that has to drop most of them decides as one that keeps them all.
func TestLimiterOfFewBucketsAgainstReference(t *testing.T) {
	t.Parallel()
	const keys, buckets = 600, 64 * 4
	outOfRoom, decided := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 10))
		l := newLimiting(t, buckets)
		exact := map[string]*exactBucket{}
		draw := func() apitoken.LimitRequest {
			// Few are used much. Powers of two, so that no sum is rounded; of one size, as an
			// edit of a bucket that was dropped finds a full one.
			i := min(r.IntN(keys), r.IntN(keys))
			req := one(fmt.Sprint(i), apitoken.Limit{Quota: 1 << r.IntN(3), Window: 1 << 30, Burst: 4})
			if r.IntN(20) > 0 { // else it is an edit
				req.Limit.Quota = 1 << (i % 3)
			}
			req.Cost = r.IntN(4)
			return req
		}
		show := func(req apitoken.LimitRequest) *exactBucket {
			if exact[req.Key.ID] == nil {
				exact[req.Key.ID] = newExactBucket(req.Limit, l.now)
			}
			exact[req.Key.ID].show(req.Limit, l.now)
			return exact[req.Key.ID]
		}
		take := func(req apitoken.LimitRequest) {
			b := exact[req.Key.ID]
			b.have = new(big.Rat).Sub(b.have, whole(req.Cost))
		}
		for step := range 5000 {
			if r.IntN(4) == 0 {
				l.advance(time.Duration(r.IntN(4)) << 26)
			}
			if r.IntN(3) > 0 {
				req := draw()
				d, err := l.Allow(t.Context(), req, l.now)
				b := show(req)
				if err != nil {
					require.Equal(t, whole(4), b.have, "seed %d, step %d: only a full bucket has no room", seed, step)
					outOfRoom++
					continue
				}
				decided++
				require.Equal(t, b.have.Cmp(whole(req.Cost)) >= 0, d.Allowed, "seed %d, step %d", seed, step)
				if d.Allowed {
					take(req)
				}
				have, _ := b.have.Float64()
				require.Equal(t, int(have), d.Remaining, "seed %d, step %d", seed, step)
				continue
			}
			reqs := []apitoken.LimitRequest{draw(), draw(), draw()}
			reqs[2].Cost += r.IntN(2) * 4 // often refused
			decisions, err := l.AllowAll(t.Context(), reqs, l.now)
			taken, all := map[string]int{}, true
			for i, req := range reqs {
				b := show(req)
				allowed := b.have.Cmp(whole(taken[req.Key.ID]+req.Cost)) >= 0
				if all = all && allowed; allowed {
					taken[req.Key.ID] += req.Cost
				}
				if err == nil {
					require.Equal(t, allowed, decisions[i].Allowed, "seed %d, step %d", seed, step)
				}
			}
			for _, req := range reqs {
				switch {
				case err != nil: // it may not have come to this one, and its edit
					req.Cost = 0
					_, _ = l.Allow(t.Context(), req, l.now)
				case all:
					take(req)
				}
			}
		}
		require.LessOrEqual(t, l.Buckets(), buckets)
	}
	t.Logf("%d decisions, %d times no room", decided, outOfRoom)
	require.NotZero(t, outOfRoom)
	require.Greater(t, decided, 10*outOfRoom)
}

// What edits and refused requests leave behind in the order of dropping is cleared
// away, and full buckets are found all the same.
func TestLimiterNotesAreBounded(t *testing.T) {
	t.Parallel()
	const room = 64 * 64 // so that no shard is full of buckets in use, whatever the seed
	l := newLimiting(t, room)
	limit := apitoken.Limit{Quota: 100, Window: time.Second}
	never := one("never", limit)
	never.Cost = 101
	for i := range 20_000 {
		l.ask(fmt.Sprintf("edited%d", i%100), limit.Share(1+i%100))
		decisions, err := l.AllowAll(t.Context(), []apitoken.LimitRequest{one(fmt.Sprintf("refused%d", i), limit), never}, l.now)
		require.NoError(t, err)
		require.False(t, decisions[1].Allowed)
		require.LessOrEqual(t, l.Notes(), l.Slots())
	}
	require.Equal(t, 100, l.Buckets())
	l.advance(time.Minute)
	for i := range 20_000 {
		// They cost nothing, so there is always one to drop.
		req := one(fmt.Sprintf("new%d", i), limit)
		req.Cost = 0
		_, err := l.Allow(t.Context(), req, l.now)
		require.NoError(t, err)
	}
	require.Equal(t, room, l.Buckets())
}

// Keys that come and go cost no memory either, once there is as much as there may be.
func TestFullLimiterAllocatesNothing(t *testing.T) {
	l := newLimiting(t, 64*8)
	limit := apitoken.Limit{Quota: 100, Window: time.Second}
	reqs := make([]apitoken.LimitRequest, 10_000)
	for i := range reqs {
		reqs[i] = one(fmt.Sprint(i), limit)
	}
	ctx := t.Context()
	i := 0
	next := func() {
		l.now = l.now.Add(time.Second)
		if _, err := l.Allow(ctx, reqs[i%len(reqs)], l.now); err != nil {
			t.Error(err)
		}
		i++
	}
	for range reqs {
		next()
	}
	require.Equal(t, 64*8, l.Buckets())
	require.Zero(t, testing.AllocsPerRun(len(reqs), next))
}

// Not parallel: it weighs the heap, to which other tests would add.
func TestMemoryOfABucket(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	limit := apitoken.Limit{Quota: 10, Window: time.Second}
	for _, keys := range []int{50_000, 75_000, 100_000, 150_000} {
		before := heap()
		l := newLimiting(t, 4*keys)
		for i := range keys {
			l.ask(fmt.Sprint(i), limit)
		}
		each := (heap() - before) / int64(l.Buckets())
		t.Logf("%d keys: %d bytes each", keys, each)
		require.Less(t, each, int64(110))
		runtime.KeepAlive(l)
	}
}
