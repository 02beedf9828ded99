package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testList(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	now := epoch
	all := crowd(t, s, now)

	for name, query := range filters(now) {
		t.Run(name, func(t *testing.T) {
			query.Limit = len(all) + 1
			got, err := s.List(ctx, query)
			listReturns.ok(t, err, "List")
			want := expected(all, query)
			says := listMatches
			if query.Tenant == "" && !query.AnyTenant {
				says = anyTenant
			}
			says.same(t, tokensOf(got), tokensOf(want), "the tokens listed for "+name)
			if len(got) == len(want) {
				listReturns.same(t, got, want, "what is listed for "+name)
			}
		})
	}
	for _, key := range sortKeys {
		for _, desc := range []bool{false, true} {
			for _, size := range []int{1, 7, 50, len(all)} {
				t.Run(fmt.Sprintf("sort %s desc=%v page=%d", key, desc, size), func(t *testing.T) {
					query := apitoken.StoreQuery{Tenant: "one", AllKinds: true, Now: now, Sort: key, Desc: desc, Limit: size}
					listOrder.same(t, pages(t, s, query), tokensOf(expected(all, query)), "all pages")
				})
			}
		}
	}
	t.Run("the last token of a page is gone", func(t *testing.T) {
		for _, key := range sortKeys {
			query := apitoken.StoreQuery{Tenant: "two", AllKinds: true, Now: now, Sort: key, Limit: 3}
			want := expected(all, query)
			first, err := s.List(ctx, query)
			listReturns.ok(t, err, "List")
			if len(first) != 3 || len(want) < 4 {
				listReturns.fail(t, "the first page has %d tokens, want 3", len(first))
				return
			}
			last := first[2]
			pos := apitoken.PositionOf(&last.Token, key, now)
			deleteRemoves.ok(t, s.Delete(ctx, last.Token.ID, last.Token.Version, apitoken.Guard{}, nil), "Delete")
			all = slices.DeleteFunc(all, func(rec *apitoken.Record) bool { return rec.Token.ID == last.Token.ID })
			query.After = &pos
			query.Limit = len(all)
			got, err := s.List(ctx, query)
			listReturns.ok(t, err, "List")
			listReturns.same(t, tokensOf(got), tokensOf(want[3:]), "the page after a token that is gone")
		}
	})
}

// pages reads a list page by page, as callers do.
func pages(t *testing.T, s apitoken.Store, query apitoken.StoreQuery) []apitoken.ID {
	t.Helper()
	out := []apitoken.ID{}
	for {
		page, err := s.List(t.Context(), query)
		listReturns.ok(t, err, "List")
		if len(page) > query.Limit {
			listReturns.fail(t, "a page has %d tokens, the limit is %d", len(page), query.Limit)
		}
		if len(page) == 0 || len(out) > 1000 {
			return out
		}
		out = append(out, tokensOf(page)...)
		pos := apitoken.PositionOf(&page[len(page)-1].Token, query.Sort, query.Now)
		query.After = &pos
	}
}

var sortKeys = []apitoken.SortKey{
	"", apitoken.SortCreated, apitoken.SortName, apitoken.SortKind, apitoken.SortUses,
	apitoken.SortExpires, apitoken.SortLastUsed, apitoken.SortStatus, apitoken.SortHealth,
}

// filters are scans of every condition, alone and together.
func filters(now time.Time) map[string]apitoken.StoreQuery {
	one := apitoken.StoreQuery{Tenant: "one", AllKinds: true, Now: now}
	with := func(set func(query *apitoken.StoreQuery)) apitoken.StoreQuery {
		query := one
		set(&query)
		return query
	}
	kinds := func(k ...apitoken.Kind) []apitoken.Kind { return k }
	m := map[string]apitoken.StoreQuery{
		"all of a tenant":      one,
		"all of another":       with(func(s *apitoken.StoreQuery) { s.Tenant = "two" }),
		"tenant in other case": with(func(s *apitoken.StoreQuery) { s.Tenant = "One" }),
		"unknown tenant":       with(func(s *apitoken.StoreQuery) { s.Tenant = "ONE" }),
		"no tenant":            with(func(s *apitoken.StoreQuery) { s.Tenant = "" }),
		"any tenant":           with(func(s *apitoken.StoreQuery) { s.Tenant, s.AnyTenant = "", true }),
		"any tenant, one":      with(func(s *apitoken.StoreQuery) { s.AnyTenant = true }),
		"no kind":              {Tenant: "one", Now: now},
		"kinds":                {Tenant: "one", Now: now, Kinds: kinds("personal", "shared", "none")},
		"own kinds":            {Tenant: "one", Now: now, OwnKinds: kinds("personal", "node"), OwnedBy: "ann"},
		"kinds and own kinds":  {Tenant: "one", Now: now, Kinds: kinds("shared"), OwnKinds: kinds("personal"), OwnedBy: "bob"},
		"own kinds of nobody":  {Tenant: "one", Now: now, OwnKinds: kinds("personal", "node")},
		"only kinds":           with(func(s *apitoken.StoreQuery) { s.OnlyKinds = kinds("node", "Shared") }),
		"only and own kinds":   {Tenant: "one", Now: now, OnlyKinds: kinds("node", "personal"), OwnKinds: kinds("personal"), OwnedBy: "ann"},
		"owner":                with(func(s *apitoken.StoreQuery) { s.Owner = "ann" }),
		"owner in other case":  with(func(s *apitoken.StoreQuery) { s.Owner = "Ann" }),
		"agent":                with(func(s *apitoken.StoreQuery) { s.Agent = "agent1" }),
		"has an agent":         with(func(s *apitoken.StoreQuery) { s.HasAgent = true }),
		"creator":              with(func(s *apitoken.StoreQuery) { s.Creator = "carl" }),
		"metadata":             with(func(s *apitoken.StoreQuery) { s.MetaKey, s.MetaValue = "team", "red" }),
		"metadata, empty":      with(func(s *apitoken.StoreQuery) { s.MetaKey = "team" }),
		"metadata, quoted":     with(func(s *apitoken.StoreQuery) { s.MetaKey, s.MetaValue = "team", `%' OR '1'='1` }),
		"much later":           with(func(s *apitoken.StoreQuery) { s.Now = now.AddDate(0, 2, 0) }),
	}
	for _, status := range []apitoken.Status{apitoken.StatusActive, apitoken.StatusDisabled, apitoken.StatusExpired, apitoken.StatusRevoked} {
		m["status "+string(status)] = with(func(s *apitoken.StoreQuery) { s.Status = status })
		m["status, owner and kind "+string(status)] = with(func(s *apitoken.StoreQuery) {
			s.Status, s.Owner, s.OnlyKinds, s.AnyTenant, s.Tenant = status, "bob", kinds("personal", "shared"), true, ""
		})
	}
	return m
}

// crowd fills a store with tokens of two tenants that differ in everything a
// list filters and sorts by, with many ties.
func crowd(t *testing.T, s apitoken.Store, now time.Time) []*apitoken.Record {
	t.Helper()
	names := []string{"alpha", "Alpha", "alpha ", "beta", "ä", "a\u0308", "Z", "z", "\U0001F511", "alpha"}
	kinds := []apitoken.Kind{"personal", "shared", "Shared", "node"}
	states := []apitoken.State{apitoken.StateActive, apitoken.StateActive, apitoken.StateDisabled, apitoken.StateRevoked}
	day := 24 * time.Hour
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []*apitoken.Record
	for i := range 120 {
		rec := plain([]string{"one", "one", "one", "two", "two", "One"}[i%6])
		tok := &rec.Token
		tok.Name = names[rnd.IntN(len(names))]
		tok.Kind = kinds[rnd.IntN(len(kinds))]
		tok.State = states[rnd.IntN(len(states))]
		tok.CreatedAt = now.Add(-time.Duration(rnd.IntN(6)) * 10 * day)
		tok.StateAt = tok.CreatedAt
		tok.Owner = []string{"ann", "bob", ""}[rnd.IntN(3)]
		tok.Creator = []string{"ann", "carl"}[rnd.IntN(2)]
		if tok.Owner == "" {
			tok.Agent = []string{"", "agent1", "agent2"}[rnd.IntN(3)]
		}
		switch rnd.IntN(4) {
		case 0:
			tok.ExpiresAt = now.Add(time.Duration(rnd.IntN(5)-2) * 4 * day)
		case 1:
			tok.ExpiresAt = now // the very instant
		}
		if rnd.IntN(3) == 0 {
			tok.Terms.Idle, tok.Terms.Interval = 30*day, time.Minute
		}
		if rnd.IntN(4) == 0 {
			tok.Terms.AfterExpiry = apitoken.ExpiryDisables
			if rnd.IntN(2) == 0 {
				tok.Terms.Purge = 7 * day
			}
		}
		if rnd.IntN(2) == 0 {
			tok.Usage.LastUsed = now.Add(-time.Duration(rnd.IntN(5)) * day)
			tok.Usage.Uses = int64(rnd.IntN(4))
		}
		switch rnd.IntN(4) {
		case 0:
			tok.Metadata = map[string]string{"team": "red", "env": "prod"}
		case 1:
			tok.Metadata = map[string]string{"team": "Red"}
		case 2:
			tok.Metadata = map[string]string{"env": "red", "Team": "red"}
		}
		createStores.ok(t, s.Create(t.Context(), rec.Clone(), nil), "Create")
		all = append(all, rec)
	}
	return all
}

// expected is what List must return for query without a position or limit.
func expected(all []*apitoken.Record, query apitoken.StoreQuery) []*apitoken.Record {
	var out []*apitoken.Record
	for _, rec := range all {
		if query.Matches(&rec.Token) {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(a, b *apitoken.Record) int {
		c := apitoken.PositionOf(&a.Token, query.Sort, query.Now).Compare(apitoken.PositionOf(&b.Token, query.Sort, query.Now))
		if query.Desc {
			return -c
		}
		return c
	})
	return out
}

func tokensOf(recs []*apitoken.Record) []apitoken.ID {
	out := make([]apitoken.ID, 0, len(recs))
	for _, rec := range recs {
		out = append(out, rec.Token.ID)
	}
	return out
}
