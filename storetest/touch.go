package storetest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testTouch(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Microsecond) }
	addr := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, n}) }
	nets := func(n byte) []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, n, 0}), 24)}
	}
	six := netip.MustParseAddr("2001:db8::1")

	rec := full(t, 0)
	rec.Token.Usage = apitoken.Usage{}
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
	bystander := plain("touch")
	createStores.ok(t, s.Create(ctx, bystander.Clone(), nil), "Create")

	for _, c := range []struct {
		name string
		uses []apitoken.Use // of the token
		want apitoken.Usage
	}{
		{"the first use",
			[]apitoken.Use{{Count: 1, LastUsed: at(10), Address: addr(1), Networks: nets(1)}},
			apitoken.Usage{Uses: 1, LastUsed: at(10), Address: addr(1), Networks: nets(1)}},
		{"a later one",
			[]apitoken.Use{{Count: 4, LastUsed: at(20), Address: addr(2), Networks: nets(2), Legacy: at(20)}},
			apitoken.Usage{Uses: 5, LastUsed: at(20), Address: addr(2), Networks: nets(2), Legacy: at(20)}},
		{"an earlier one, from a slower node: only the count",
			[]apitoken.Use{{Count: 2, LastUsed: at(15), Address: addr(3), Networks: nets(3), Legacy: at(15)}},
			apitoken.Usage{Uses: 7, LastUsed: at(20), Address: addr(2), Networks: nets(2), Legacy: at(20)}},
		{"none at all",
			[]apitoken.Use{{}},
			apitoken.Usage{Uses: 7, LastUsed: at(20), Address: addr(2), Networks: nets(2), Legacy: at(20)}},
		{"an earlier one with a later legacy use",
			[]apitoken.Use{{LastUsed: at(15), Legacy: at(25)}},
			apitoken.Usage{Uses: 7, LastUsed: at(20), Address: addr(2), Networks: nets(2), Legacy: at(25)}},
		{"a microsecond later, without address",
			[]apitoken.Use{{LastUsed: at(21)}},
			apitoken.Usage{Uses: 7, LastUsed: at(21), Legacy: at(25)}},
		{"twice in one call, the later first",
			[]apitoken.Use{
				{Count: 1, LastUsed: at(40), Address: six, Networks: nets(4)},
				{Count: 2, LastUsed: at(30), Address: addr(3), Networks: nets(3)},
			},
			apitoken.Usage{Uses: 10, LastUsed: at(40), Address: six, Networks: nets(4), Legacy: at(25)}},
		{"twice in one call, the later last",
			[]apitoken.Use{
				{Count: 1, LastUsed: at(50), Address: addr(5), Networks: nets(5)},
				{Count: 1, LastUsed: at(60), Address: addr(6), Networks: nets(6)},
			},
			apitoken.Usage{Uses: 12, LastUsed: at(60), Address: addr(6), Networks: nets(6), Legacy: at(25)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			unknown := newID()
			uses := []apitoken.Use{{ID: unknown, Count: 1, LastUsed: at(99)}}
			for _, u := range c.uses {
				u.ID = rec.Token.ID
				uses = append(uses, u)
			}
			touchAdds.ok(t, s.Touch(ctx, uses), "Touch")
			rec.Token.Usage = c.want
			got := stored(t, s, rec.Token.ID)
			touchAdds.same(t, got.Token.Usage, c.want, "the usage after Touch")
			touchOnly.same(t, got, rec, "the token after Touch")
			touchOnly.same(t, stored(t, s, bystander.Token.ID), bystander, "another token after Touch")
			absent(t, s, unknown, touchOnly, "Get after Touch of an unknown ID")
		})
	}
	t.Run("nothing", func(t *testing.T) {
		touchAdds.ok(t, s.Touch(ctx, nil), "Touch of nothing")
	})
	t.Run("many", func(t *testing.T) {
		var uses []apitoken.Use
		var recs []*apitoken.Record
		for i := range 500 {
			r := plain("many")
			createStores.ok(t, s.Create(ctx, r.Clone(), nil), "Create")
			recs = append(recs, r)
			uses = append(uses, apitoken.Use{ID: r.Token.ID, Count: int64(i), LastUsed: at(i + 1)})
		}
		touchAdds.ok(t, s.Touch(ctx, uses), "Touch of 500 tokens at once")
		for i, r := range recs {
			r.Token.Usage = apitoken.Usage{Uses: int64(i), LastUsed: at(i + 1)}
			touchAdds.same(t, stored(t, s, r.Token.ID), r, "one of 500 tokens after Touch")
		}
	})
	t.Run("revoked", func(t *testing.T) {
		r := plain("touch")
		createStores.ok(t, s.Create(ctx, r.Clone(), nil), "Create")
		n := next(r)
		n.Token.State, n.Token.Cause = apitoken.StateRevoked, apitoken.CauseByHand
		swapReplaces.ok(t, s.Swap(ctx, n.Clone(), apitoken.Guard{}, nil), "Swap")
		touchOnly.ok(t, s.Touch(ctx, []apitoken.Use{{ID: r.Token.ID, Count: 1, LastUsed: at(9)}}), "Touch of a revoked token")
		n.Token.Usage = apitoken.Usage{Uses: 1, LastUsed: at(9)}
		touchOnly.same(t, stored(t, s, r.Token.ID), n, "a revoked token after Touch")
	})
}
