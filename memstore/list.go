package memstore

import (
	"context"
	"maps"
	"slices"

	"github.com/tokenry/apitoken"
)

// List implements [apitoken.Store]. It reads the tokens of the query's tenant, or
// all; a token that is changed meanwhile is listed as before or as after.
func (s *Store) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	type place struct {
		at  apitoken.Position
		rec *apitoken.Record
	}
	turn := 1
	if query.Desc {
		turn = -1
	}
	page := first[place]{limit: max(query.Limit, 0), order: func(a, b place) int { return turn * a.at.Compare(b.at) }}
	err := s.each(ctx, &query, func(rec *apitoken.Record) {
		p := place{at: apitoken.PositionOf(&rec.Token, query.Sort, query.Now)}
		if query.After != nil && turn*p.at.Compare(*query.After) <= 0 || !page.admits(p) {
			return
		}
		p.rec = rec.Clone()
		page.add(p)
	})
	if err != nil {
		return nil, err
	}
	out := make([]*apitoken.Record, 0, min(page.limit, len(page.kept)))
	for _, p := range page.sorted() {
		out = append(out, p.rec)
	}
	return out, nil
}

// Counts implements [apitoken.Store].
func (s *Store) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	counts := make(map[apitoken.Kind]int)
	err := s.each(ctx, &query, func(rec *apitoken.Record) { counts[rec.Token.Kind]++ })
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// scanBatch is how many rows are read before writers get their turn.
const scanBatch = 256

// each calls visit with every token that matches, in no order. The record is
// visit's for the time of the call only.
func (s *Store) each(ctx context.Context, query *apitoken.StoreQuery, visit func(rec *apitoken.Record)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var rec apitoken.Record
	read := func(batch []uint32) {
		s.mu.RLock()
		defer s.mu.RUnlock()
		for _, n := range batch {
			r := s.rows.at(n)
			if r.body.size == 0 {
				continue // deleted since
			}
			rec = apitoken.Record{}
			s.read(r, &rec)
			if query.Matches(&rec.Token) {
				visit(&rec)
			}
		}
	}
	for batch := range slices.Chunk(s.candidates(query), scanBatch) {
		if err := ctx.Err(); err != nil {
			return err
		}
		read(batch)
	}
	return nil
}

// candidates returns the rows to look at.
func (s *Store) candidates(query *apitoken.StoreQuery) []uint32 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if query.Tenant == "" {
		if !query.AnyTenant {
			return nil
		}
		return slices.Collect(maps.Values(s.index))
	}
	if t, ok := s.tenants[query.Tenant]; ok {
		return slices.Clone(t.rows)
	}
	return nil
}

// first keeps the first few of many values in an order, without keeping all.
type first[T any] struct {
	limit int
	order func(a, b T) int
	kept  []T
	full  bool // the first limit of kept are sorted, the last of them bounds what is admitted
}

// admits reports whether v may be among the first.
func (f *first[T]) admits(v T) bool {
	return f.limit > 0 && (!f.full || f.order(v, f.kept[f.limit-1]) < 0)
}

func (f *first[T]) add(v T) {
	f.kept = append(f.kept, v)
	if spare := len(f.kept) - f.limit; spare > 256 && spare > f.limit {
		f.sorted()
	}
}

// sorted returns the first values in order.
func (f *first[T]) sorted() []T {
	slices.SortFunc(f.kept, f.order)
	if len(f.kept) >= f.limit {
		clear(f.kept[f.limit:])
		f.kept, f.full = f.kept[:f.limit], true
	}
	return f.kept
}
