package memstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
)

// List implements [apitoken.Store].
func (s *Store) List(ctx context.Context, scan apitoken.Scan) ([]*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type place struct {
		at  apitoken.Position
		rec *apitoken.Record
	}
	order := func(a, b apitoken.Position) int {
		if scan.Desc {
			return b.Compare(a)
		}
		return a.Compare(b)
	}
	var found []place
	s.mu.RLock()
	for _, rec := range s.tokens {
		if !scan.Matches(&rec.Token) {
			continue
		}
		at := apitoken.PositionOf(&rec.Token, scan.Sort, scan.Now)
		if scan.After == nil || order(at, *scan.After) > 0 {
			found = append(found, place{at, rec})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(found, func(a, b place) int { return order(a.at, b.at) })
	out := make([]*apitoken.Record, 0, min(len(found), scan.Limit))
	for _, p := range found[:min(len(found), scan.Limit)] {
		out = append(out, p.rec.Clone())
	}
	return out, nil
}

// Counts implements [apitoken.Store].
func (s *Store) Counts(ctx context.Context, scan apitoken.Scan) (map[apitoken.Kind]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	counts := make(map[apitoken.Kind]int)
	for _, rec := range s.tokens {
		if scan.Matches(&rec.Token) {
			counts[rec.Token.Kind]++
		}
	}
	return counts, nil
}

// Due implements [apitoken.Store].
func (s *Store) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	order := func(a, b apitoken.DuePosition) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), strings.Compare(string(a.ID), string(b.ID)))
	}
	at := func(rec *apitoken.Record) apitoken.DuePosition {
		return apitoken.DuePosition{DueAt: rec.DueAt, ID: rec.Token.ID}
	}
	var due []*apitoken.Record
	s.mu.RLock()
	for _, rec := range s.tokens {
		if !rec.DueAt.IsZero() && !rec.DueAt.After(before) && order(at(rec), after) > 0 {
			due = append(due, rec)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(due, func(a, b *apitoken.Record) int { return order(at(a), at(b)) })
	due = due[:min(len(due), limit)]
	for i, rec := range due {
		due[i] = rec.Clone()
	}
	return due, nil
}
