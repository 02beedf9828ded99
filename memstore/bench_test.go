package memstore_test

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

var madeAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// typical returns a token as many are: a few permissions, one address list.
func typical(n int) *apitoken.Record {
	return &apitoken.Record{
		Token: apitoken.Token{
			ID: idOf(n), Version: 1, Tenant: fmt.Sprintf("tenant-%d", n%1000), Kind: "personal",
			Name: fmt.Sprintf("deploy bot %d", n), Hint: "acme_0000", Owner: "user-" + fmt.Sprint(n%5000), Creator: "user-" + fmt.Sprint(n%5000),
			State: apitoken.StateActive, StateAt: madeAt, Share: 100, CreatedAt: madeAt, UpdatedAt: madeAt,
			ExpiresAt: madeAt.AddDate(0, 3, 0), ExpirySetAt: madeAt,
			Grant: apitoken.Grant{Permissions: []string{"devices:view", "devices:manage", "reports:view"}},
		},
		Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: make([]byte, 32)},
		DueAt:   madeAt.AddDate(0, 3, 0).Add(time.Duration(n) * time.Microsecond),
		Op:      "0123456789012345678901",
	}
}

// idOf returns the n-th ID.
func idOf(n int) apitoken.ID {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	rnd := rand.New(rand.NewPCG(uint64(n), 7))
	var id [22]byte
	for i := range id {
		id[i] = digits[rnd.IntN(len(digits))]
	}
	return apitoken.ID(id[:])
}

// idList are IDs, one behind the other: a million strings would be a burden to
// the garbage collector by themselves.
type idList string

func (l idList) at(i int) apitoken.ID { return apitoken.ID(l[22*i : 22*i+22]) }

func filled(tb testing.TB, n int) (*memstore.Store, idList) {
	tb.Helper()
	s := memstore.New()
	ids := make([]byte, 0, 22*n)
	for i := range n {
		rec := typical(i)
		if err := s.Create(tb.Context(), rec, nil); err != nil {
			tb.Fatal(err)
		}
		ids = append(ids, rec.Token.ID...)
	}
	return s, idList(ids)
}

// bareMap is the yardstick: a sharded map with array keys, which gives a pointer
// and nothing else.
type bareMap struct {
	seed   maphash.Seed
	shards [64]struct {
		mu sync.RWMutex
		m  map[[22]byte]*int
		_  [64]byte
	}
}

func newBareMap(ids idList) *bareMap {
	b := &bareMap{seed: maphash.MakeSeed()}
	for i := range b.shards {
		b.shards[i].m = make(map[[22]byte]*int)
	}
	for i := range len(ids) / 22 {
		id := ids.at(i)
		b.shards[maphash.String(b.seed, string(id))%64].m[[22]byte([]byte(id))] = &i
	}
	return b
}

func (b *bareMap) get(id apitoken.ID) *int {
	var key [22]byte
	copy(key[:], id)
	s := &b.shards[maphash.String(b.seed, string(id))%64]
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[key]
}

// BenchmarkRecord looks up records that are in use, beside a bare map.
func BenchmarkRecord(b *testing.B) {
	const inUse = 1024
	s, ids := filled(b, inUse)
	bare := newBareMap(ids)
	ctx := b.Context()
	b.Run("memstore", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if rec, err := s.Record(ctx, ids.at(i%inUse)); err != nil || rec == nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("bare map", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if bare.get(ids.at(i%inUse)) == nil {
				b.Fatal("missing")
			}
			i++
		}
	})
	b.Run("memstore parallel", func(b *testing.B) {
		b.ReportAllocs()
		var start atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			i := int(start.Add(inUse / 2))
			for pb.Next() {
				if rec, err := s.Record(ctx, ids.at(i%inUse)); err != nil || rec == nil {
					b.Error(err)
				}
				i++
			}
		})
	})
	b.Run("bare map parallel", func(b *testing.B) {
		var start atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			i := int(start.Add(inUse / 2))
			for pb.Next() {
				if bare.get(ids.at(i%inUse)) == nil {
					b.Error("missing")
				}
				i++
			}
		})
	})
}

// BenchmarkMillion looks up among a million tokens: those in use, and any.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	begin := heap()
	s, ids := filled(b, million)
	perToken := float64(heap()-begin) / million
	bare := newBareMap(ids)
	ctx := b.Context()
	rnd := rand.New(rand.NewPCG(1, 1))
	order := make([]int32, 1<<18)
	for _, inUse := range []int{10_000, 50_000, million} {
		for i := range order {
			order[i] = rnd.Int32N(int32(inUse))
		}
		for _, n := range order[:min(len(order), 8*inUse)] {
			_, _ = s.Record(ctx, ids.at(int(n))) // in use already
		}
		name := fmt.Sprintf("%d in use", inUse)
		b.Run("memstore/"+name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := s.Record(ctx, ids.at(int(order[i%len(order)]))); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(perToken, "B/token")
		})
		b.Run("bare map/"+name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				if bare.get(ids.at(int(order[i%len(order)]))) == nil {
					b.Fatal("missing")
				}
				i++
			}
		})
	}
	bare = nil
	b.Run("gc", func(b *testing.B) {
		for b.Loop() {
			runtime.GC()
		}
	})
	b.Run("list a tenant", func(b *testing.B) {
		query := apitoken.StoreQuery{Tenant: "tenant-7", AllKinds: true, Now: madeAt, Sort: apitoken.SortName, Limit: 50}
		for b.Loop() {
			if recs, err := s.List(ctx, query); err != nil || len(recs) != 50 {
				b.Fatal(err, len(recs))
			}
		}
	})
	b.Run("list all", func(b *testing.B) {
		query := apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Now: madeAt, Sort: apitoken.SortName, Limit: 50}
		for b.Loop() {
			if recs, err := s.List(ctx, query); err != nil || len(recs) != 50 {
				b.Fatal(err, len(recs))
			}
		}
	})
	b.Run("due, 100,000 overdue", func(b *testing.B) {
		before := madeAt.AddDate(0, 3, 0).Add(100_000 * time.Microsecond)
		for b.Loop() {
			if recs, err := s.Due(ctx, before, apitoken.DuePosition{}, 200); err != nil || len(recs) != 200 {
				b.Fatal(err, len(recs))
			}
		}
	})
	b.Run("touch of 500", func(b *testing.B) {
		at := madeAt
		for b.Loop() {
			at = at.Add(time.Minute)
			uses := make([]apitoken.Use, 500)
			for i := range uses {
				uses[i] = apitoken.Use{ID: ids.at(rnd.IntN(million)), Count: 1, LastUsed: at}
			}
			if err := s.Touch(ctx, uses); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
