package cachestore_test

import (
	"context"
	"testing"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/cachestore"
	"github.com/tokenry/apitoken/memstore"
)

// What a look-up costs: from memory, beside the memstore's own shared records, and
// for an ID that nobody was issued.
func BenchmarkRecord(b *testing.B) {
	const tokens = 1000
	inner := memstore.New()
	ids := make([]apitoken.ID, tokens)
	for i := range ids {
		ids[i] = idOf(i)
		if err := inner.Create(b.Context(), recordOf(i), nil); err != nil {
			b.Fatal(err)
		}
	}
	run := func(b *testing.B, s apitoken.Records) {
		ctx, i := b.Context(), 0
		for _, id := range ids {
			if _, err := s.Record(ctx, id); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Record(ctx, ids[i])
			if i++; i == tokens {
				i = 0
			}
		}
	}
	b.Run("memstore", func(b *testing.B) { run(b, inner) })
	b.Run("cachestore", func(b *testing.B) { run(b, newCache(b, inner)) })
	b.Run("cachestore on all processors", func(b *testing.B) {
		s := newCache(b, inner)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			ctx, i := b.Context(), 0
			for pb.Next() {
				_, _ = s.Record(ctx, ids[i])
				if i++; i == tokens {
					i = 0
				}
			}
		})
	})
	b.Run("unknown", func(b *testing.B) {
		s, ctx, i := newCache(b, nobody{}), b.Context(), 0
		b.ReportAllocs()
		for b.Loop() {
			_, _ = s.Record(ctx, idOf(tokens+i))
			i++
		}
	})
}

// What confirming 500 tokens costs beside what the store does for it.
func BenchmarkConfirmation(b *testing.B) {
	inner := memstore.New()
	ids := make([]apitoken.ID, 500)
	for i := range ids {
		ids[i] = idOf(i)
		if err := inner.Create(b.Context(), recordOf(i), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("memstore", func(b *testing.B) {
		for b.Loop() {
			_, _ = inner.Revisions(b.Context(), ids)
		}
	})
	b.Run("cachestore and 1000 look-ups", func(b *testing.B) {
		clock := apitokentest.NewClock(madeAt)
		s := newCache(b, inner, func(o *cachestore.Options) { o.Clock = clock })
		ctx := b.Context()
		for b.Loop() {
			clock.Advance(maxStale)
			for range 2 {
				for _, id := range ids {
					_, _ = s.Record(ctx, id)
				}
			}
		}
		if st := s.CacheStats(); st.Reads > 500 {
			b.Fatal("not confirmed, but read:", st.Reads)
		}
	})
}

func BenchmarkOwners(b *testing.B) {
	o, err := cachestore.NewOwners(apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) {
		return apitoken.Standing{Active: true}, nil
	}), cachestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = o.Standing(ctx, "acme", "ann")
	}
}
