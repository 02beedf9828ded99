package storetest

import (
	"testing"

	"github.com/tokenry/apitoken"
)

func testCounts(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	now := epoch
	all := crowd(t, s, now)
	for name, query := range filters(now) {
		t.Run(name, func(t *testing.T) {
			want := map[apitoken.Kind]int{}
			for _, rec := range expected(all, query) {
				want[rec.Token.Kind]++
			}
			pos := apitoken.Position{Text: "z", Number: 1 << 60, ID: newID()}
			query.Limit, query.After, query.Sort, query.Desc = 1, &pos, apitoken.SortName, true
			got, err := s.Counts(ctx, query)
			countsReturn.ok(t, err, "Counts")
			for kind, n := range got {
				if n == 0 {
					delete(got, kind) // may be missing, may be there
				}
			}
			countsReturn.same(t, got, want, "the counts for "+name)
		})
	}
}
