package apitoken_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

func TestStoreQueryMatches(t *testing.T) {
	t.Parallel()
	tok := apitoken.Token{
		ID: "4fXk2QpWmR7tYc9BvN1sHd", Tenant: "acme", Kind: "personal", Owner: "ann", Creator: "bob", Agent: "agent-1",
		State: apitoken.StateActive, CreatedAt: noon, Metadata: map[string]string{"team": "red", "empty": ""},
	}
	all := apitoken.StoreQuery{Tenant: "acme", AllKinds: true, Now: noon}
	for name, tc := range map[string]struct {
		change func(s *apitoken.StoreQuery)
		want   bool
	}{
		"tenant":                             {func(*apitoken.StoreQuery) {}, true},
		"another tenant":                     {func(s *apitoken.StoreQuery) { s.Tenant = "other" }, false},
		"no tenant matches nothing":          {func(s *apitoken.StoreQuery) { s.Tenant = "" }, false},
		"any tenant, said so":                {func(s *apitoken.StoreQuery) { s.Tenant, s.AnyTenant = "", true }, true},
		"any tenant does not widen a tenant": {func(s *apitoken.StoreQuery) { s.Tenant, s.AnyTenant = "other", true }, false},
		"no kinds":                           {func(s *apitoken.StoreQuery) { s.AllKinds = false }, false},
		"its kind":                           {func(s *apitoken.StoreQuery) { s.AllKinds, s.Kinds = false, []apitoken.Kind{"shared", "personal"} }, true},
		"other kinds":                        {func(s *apitoken.StoreQuery) { s.AllKinds, s.Kinds = false, []apitoken.Kind{"shared"} }, false},
		"owned": {func(s *apitoken.StoreQuery) {
			s.AllKinds, s.OwnKinds, s.OwnedBy = false, []apitoken.Kind{"personal"}, "ann"
		}, true},
		"owned by somebody else": {func(s *apitoken.StoreQuery) {
			s.AllKinds, s.OwnKinds, s.OwnedBy = false, []apitoken.Kind{"personal"}, "bob"
		}, false},
		"owned, of another kind": {func(s *apitoken.StoreQuery) {
			s.AllKinds, s.OwnKinds, s.OwnedBy = false, []apitoken.Kind{"shared"}, "ann"
		}, false},
		"owned by nobody":                      {func(s *apitoken.StoreQuery) { s.AllKinds, s.OwnKinds = false, []apitoken.Kind{"personal"} }, false},
		"only its kind":                        {func(s *apitoken.StoreQuery) { s.OnlyKinds = []apitoken.Kind{"personal"} }, true},
		"only another kind":                    {func(s *apitoken.StoreQuery) { s.OnlyKinds = []apitoken.Kind{"shared"} }, false},
		"only its kind, which may not be seen": {func(s *apitoken.StoreQuery) { s.AllKinds, s.OnlyKinds = false, []apitoken.Kind{"personal"} }, false},
		"owner":                                {func(s *apitoken.StoreQuery) { s.Owner = "ann" }, true},
		"another owner":                        {func(s *apitoken.StoreQuery) { s.Owner = "bob" }, false},
		"creator":                              {func(s *apitoken.StoreQuery) { s.Creator = "bob" }, true},
		"another creator":                      {func(s *apitoken.StoreQuery) { s.Creator = "ann" }, false},
		"agent":                                {func(s *apitoken.StoreQuery) { s.Agent = "agent-1" }, true},
		"another agent":                        {func(s *apitoken.StoreQuery) { s.Agent = "agent-2" }, false},
		"has an agent":                         {func(s *apitoken.StoreQuery) { s.HasAgent = true }, true},
		"status":                               {func(s *apitoken.StoreQuery) { s.Status = apitoken.StatusActive }, true},
		"another status":                       {func(s *apitoken.StoreQuery) { s.Status = apitoken.StatusExpired }, false},
		"suspended is no stored status":        {func(s *apitoken.StoreQuery) { s.Status = apitoken.StatusSuspended }, false},
		"metadata":                             {func(s *apitoken.StoreQuery) { s.MetaKey, s.MetaValue = "team", "red" }, true},
		"other metadata":                       {func(s *apitoken.StoreQuery) { s.MetaKey, s.MetaValue = "team", "Red" }, false},
		"metadata without a value":             {func(s *apitoken.StoreQuery) { s.MetaKey = "empty" }, true},
		"missing metadata is not empty":        {func(s *apitoken.StoreQuery) { s.MetaKey = "missing" }, false},
		"all at once": {func(s *apitoken.StoreQuery) {
			s.Owner, s.Creator, s.HasAgent, s.MetaKey, s.MetaValue = "ann", "bob", true, "team", "red"
		}, true},
		"all but one": {func(s *apitoken.StoreQuery) {
			s.Owner, s.Creator, s.HasAgent, s.MetaKey, s.MetaValue = "ann", "bob", true, "team", "blue"
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query, own := all, tok
			tc.change(&query)
			require.Equal(t, tc.want, query.Matches(&own))
		})
	}
	nobody := tok
	nobody.Agent = ""
	query := all
	query.HasAgent = true
	require.False(t, query.Matches(&nobody))
	require.False(t, new(apitoken.StoreQuery).Matches(new(apitoken.Token)), "the zero StoreQuery matches nothing, not even a zero token")
}

// S1.25, S3.14: statuses are those of the query's instant, and what is due to be
// deleted is gone from that instant on, swept or not.
func TestStoreQueryMatchesAsOfNow(t *testing.T) {
	t.Parallel()
	tok := apitoken.Token{
		Tenant: "acme", State: apitoken.StateActive, CreatedAt: noon, ExpiresAt: noon.Add(day),
		Terms: apitoken.Terms{AfterExpiry: apitoken.ExpiryDisables, Purge: week},
	}
	matches := func(status apitoken.Status, now time.Time) bool {
		query := apitoken.StoreQuery{Tenant: "acme", AllKinds: true, Status: status, Now: now}
		return query.Matches(&tok)
	}
	expiry, purge := noon.Add(day), noon.Add(day+week)
	require.True(t, matches(apitoken.StatusActive, expiry.Add(-1)))
	require.False(t, matches(apitoken.StatusActive, expiry))
	require.True(t, matches(apitoken.StatusDisabled, expiry))
	require.True(t, matches("", purge.Add(-1)))
	require.False(t, matches("", purge))
	require.False(t, matches(apitoken.StatusDisabled, purge))
}

// S1.21: every sort key orders as its doc comment says.
func TestPositionOrders(t *testing.T) {
	t.Parallel()
	token := func(id string, change func(*apitoken.Token)) *apitoken.Token {
		tok := &apitoken.Token{ID: apitoken.ID(id), State: apitoken.StateActive, CreatedAt: noon, Name: "n", Kind: "k"}
		change(tok)
		return tok
	}
	for key, ordered := range map[apitoken.SortKey][]func(*apitoken.Token){
		"": {
			func(k *apitoken.Token) { k.CreatedAt = noon.Add(-time.Microsecond) },
			func(k *apitoken.Token) {},
			func(k *apitoken.Token) { k.CreatedAt = noon.Add(time.Microsecond) },
		},
		apitoken.SortName: {
			func(k *apitoken.Token) { k.Name = "A" },
			func(k *apitoken.Token) { k.Name = "B" },
			func(k *apitoken.Token) { k.Name = "a" },
			func(k *apitoken.Token) { k.Name = "aa" },
			func(k *apitoken.Token) { k.Name = "ä" },
		},
		apitoken.SortKind: {
			func(k *apitoken.Token) { k.Kind = "agent" },
			func(k *apitoken.Token) { k.Kind = "user" },
		},
		apitoken.SortUses: {
			func(k *apitoken.Token) {},
			func(k *apitoken.Token) { k.Usage.Uses = 2 },
			func(k *apitoken.Token) { k.Usage.Uses = 10 },
			func(k *apitoken.Token) { k.Usage.Uses = math.MaxInt64 },
		},
		apitoken.SortExpires: {
			func(k *apitoken.Token) { k.ExpiresAt = noon.Add(-day) },
			func(k *apitoken.Token) { k.Terms.Idle = day },
			func(k *apitoken.Token) { k.ExpiresAt, k.Terms.Idle = noon.Add(2*day), 3*day },
			func(k *apitoken.Token) { k.ExpiresAt = noon.Add(4 * day) },
			func(k *apitoken.Token) { k.ExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) },
			func(k *apitoken.Token) {}, // never
		},
		apitoken.SortLastUsed: {
			func(k *apitoken.Token) {}, // never
			func(k *apitoken.Token) { k.Usage.LastUsed = noon.Add(-day) },
			func(k *apitoken.Token) { k.Usage.LastUsed = noon },
		},
		apitoken.SortStatus: {
			func(k *apitoken.Token) {},
			func(k *apitoken.Token) { k.State = apitoken.StateDisabled },
			func(k *apitoken.Token) { k.ExpiresAt = noon },
			func(k *apitoken.Token) { k.State = apitoken.StateRevoked },
		},
		apitoken.SortHealth: {
			func(k *apitoken.Token) { k.ExpiresAt = noon },
			func(k *apitoken.Token) { k.Usage.LastUsed = noon },
			func(k *apitoken.Token) {},
			func(k *apitoken.Token) { k.State = apitoken.StateRevoked },
		},
	} {
		t.Run(string(key), func(t *testing.T) {
			t.Parallel()
			for i := range ordered {
				a := apitoken.PositionOf(token("b", ordered[i]), key, noon)
				for j := range ordered {
					// The ID breaks ties only.
					b := apitoken.PositionOf(token(fmt.Sprintf("%c", 'c'-j%2*2), ordered[j]), key, noon)
					switch {
					case i < j:
						require.Negative(t, a.Compare(b), "%d and %d", i, j)
					case i > j:
						require.Positive(t, a.Compare(b), "%d and %d", i, j)
					}
				}
				require.Negative(t, a.Compare(apitoken.PositionOf(token("c", ordered[i]), key, noon)))
				require.Zero(t, a.Compare(apitoken.PositionOf(token("b", ordered[i]), key, noon)))
			}
		})
	}
}

// Positions are a total order: a list cut into pages loses and repeats nothing.
func TestPositionPages(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(17, 19))
	var tokens []*apitoken.Token
	for i := range 300 {
		tok := &apitoken.Token{ID: apitoken.ID(fmt.Sprintf("%022d", i)), State: apitoken.StateActive, CreatedAt: noon.Add(time.Duration(r.IntN(5)) * day)}
		tok.Name, tok.Kind, tok.Usage.Uses = fmt.Sprint(r.IntN(5)), apitoken.Kind(fmt.Sprint(r.IntN(3))), r.Int64N(4)
		if r.IntN(2) == 0 {
			tok.ExpiresAt = noon.Add(time.Duration(r.IntN(20)-10) * day)
		}
		if r.IntN(2) == 0 {
			tok.Usage.LastUsed = noon.Add(-time.Duration(r.IntN(10)) * day)
		}
		tok.State = []apitoken.State{apitoken.StateActive, apitoken.StateDisabled, apitoken.StateRevoked}[r.IntN(3)]
		tokens = append(tokens, tok)
	}
	for _, key := range []apitoken.SortKey{
		apitoken.SortCreated, apitoken.SortName, apitoken.SortKind, apitoken.SortUses, apitoken.SortExpires, apitoken.SortLastUsed, apitoken.SortStatus, apitoken.SortHealth,
	} {
		at := func(tok *apitoken.Token) apitoken.Position { return apitoken.PositionOf(tok, key, noon) }
		byPosition := func(a, b *apitoken.Token) int { return at(a).Compare(at(b)) }
		sorted := slices.SortedFunc(slices.Values(tokens), byPosition)
		var paged []*apitoken.Token
		after := apitoken.Position{Number: math.MinInt64}
		for len(paged) < len(tokens) {
			var rest []*apitoken.Token
			for _, tok := range tokens {
				if at(tok).Compare(after) > 0 {
					rest = append(rest, tok)
				}
			}
			require.NotEmpty(t, rest, "%s: some are never reached", key)
			slices.SortFunc(rest, byPosition)
			page := rest[:min(len(rest), 7)]
			paged = append(paged, page...)
			after = at(page[len(page)-1])
		}
		require.Equal(t, sorted, paged, key)
	}
}

// The key that is not given is the creation.
func TestPositionDefault(t *testing.T) {
	t.Parallel()
	tok := &apitoken.Token{ID: "a", CreatedAt: noon}
	require.Equal(t, apitoken.PositionOf(tok, apitoken.SortCreated, noon), apitoken.PositionOf(tok, "", noon))
	require.Equal(t, apitoken.Position{Number: noon.UnixMicro(), ID: "a"}, apitoken.PositionOf(tok, "", noon))
}
