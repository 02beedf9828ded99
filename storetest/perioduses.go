package storetest

import (
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

func testPeriodUses(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s, ctx := newStore(t), t.Context()
	on := func(month time.Month, day, hour int) time.Time {
		return time.Date(2026, month, day, hour, 0, 0, 0, time.UTC)
	}
	in := func(month time.Month, day int, uses int64) apitoken.PeriodUses {
		return apitoken.PeriodUses{From: on(month, day, 0), Uses: uses}
	}
	none := apitoken.PeriodUses{}

	rec := full(t, 0)
	rec.Token.Usage = apitoken.Usage{}
	createStores.ok(t, s.Create(ctx, rec.Clone(), nil), "Create")
	bystander := plain("period uses")
	createStores.ok(t, s.Create(ctx, bystander.Clone(), nil), "Create")

	type counters struct{ Day, Week, Month apitoken.PeriodUses }
	type use struct {
		at time.Time
		counters
	}
	var count int64
	ahead := on(12, 31, 0) // LastUsed moves only forwards, and says nothing of the periods
	for _, c := range []struct {
		name string
		uses []use
		want counters
	}{
		{"the first use", []use{{on(3, 27, 9), counters{in(3, 27, 1), in(3, 23, 2), in(3, 1, 3)}}}, counters{in(3, 27, 1), in(3, 23, 2), in(3, 1, 3)}},
		{"the same periods", []use{{on(3, 27, 10), counters{in(3, 27, 10), in(3, 23, 20), in(3, 1, 30)}}}, counters{in(3, 27, 11), in(3, 23, 22), in(3, 1, 33)}},
		{"none that still counts", []use{{on(3, 27, 11), counters{}}}, counters{in(3, 27, 11), in(3, 23, 22), in(3, 1, 33)}},
		{"the next day", []use{{on(3, 28, 1), counters{in(3, 28, 4), in(3, 23, 5), in(3, 1, 6)}}}, counters{in(3, 28, 4), in(3, 23, 27), in(3, 1, 39)}},
		{"the day before, from a node whose clock is behind",
			[]use{{on(3, 27, 23), counters{in(3, 27, 100), in(3, 23, 1), in(3, 1, 1)}}}, counters{in(3, 28, 4), in(3, 23, 28), in(3, 1, 40)}},
		{"the next week", []use{{on(3, 30, 1), counters{in(3, 30, 7), in(3, 30, 8), in(3, 1, 9)}}}, counters{in(3, 30, 7), in(3, 30, 8), in(3, 1, 49)}},
		{"the week before, from a node whose clock is behind",
			[]use{{on(3, 29, 23), counters{in(3, 29, 100), in(3, 23, 100), in(3, 1, 1)}}}, counters{in(3, 30, 7), in(3, 30, 8), in(3, 1, 50)}},
		{"the next month", []use{{on(4, 1, 0), counters{in(4, 1, 1), in(3, 30, 2), in(4, 1, 3)}}}, counters{in(4, 1, 1), in(3, 30, 10), in(4, 1, 3)}},
		{"the month before, from a node whose clock is behind",
			[]use{{on(3, 31, 0), counters{in(3, 31, 100), in(3, 30, 1), in(3, 1, 100)}}}, counters{in(4, 1, 1), in(3, 30, 11), in(4, 1, 3)}},
		{"a later use that counts in one of them only", []use{{on(4, 1, 2), counters{none, in(3, 30, 1), none}}}, counters{in(4, 1, 1), in(3, 30, 12), in(4, 1, 3)}},
		{"twice in one call, over midnight", []use{
			{on(4, 1, 23), counters{in(4, 1, 5), in(3, 30, 5), in(4, 1, 5)}},
			{on(4, 2, 0), counters{in(4, 2, 6), in(3, 30, 6), in(4, 1, 6)}},
		}, counters{in(4, 2, 6), in(3, 30, 23), in(4, 1, 14)}},
		{"twice in one call, the later first", []use{
			{on(4, 3, 0), counters{in(4, 3, 1), in(3, 30, 1), in(4, 1, 1)}},
			{on(4, 2, 23), counters{in(4, 2, 100), in(3, 30, 1), in(4, 1, 1)}},
		}, counters{in(4, 3, 1), in(3, 30, 25), in(4, 1, 16)}},
		{"a clock that runs ahead", []use{{on(6, 1, 0), counters{in(6, 1, 1), in(6, 1, 1), in(6, 1, 1)}}}, counters{in(6, 1, 1), in(6, 1, 1), in(6, 1, 1)}},
		{"24 hours before that is still behind", []use{{on(5, 31, 0), counters{in(5, 31, 50), in(5, 25, 50), in(5, 1, 50)}}}, counters{in(6, 1, 1), in(6, 1, 1), in(6, 1, 1)}},
		{"more than 24 hours before that is right",
			[]use{{on(5, 31, 0).Add(-time.Microsecond), counters{in(5, 30, 3), in(5, 25, 4), in(5, 1, 5)}}}, counters{in(5, 30, 3), in(5, 25, 4), in(5, 1, 5)}},
		{"two days ahead", []use{{on(7, 3, 0), counters{in(7, 3, 7), in(6, 29, 1), in(7, 1, 1)}}}, counters{in(7, 3, 7), in(6, 29, 1), in(7, 1, 1)}},
		{"twice in one call, the first of which is right and the second later", []use{
			{on(7, 1, 23), counters{in(7, 1, 5), in(6, 29, 1), in(7, 1, 1)}},
			{on(7, 2, 10), counters{in(7, 2, 1), in(6, 29, 1), in(7, 1, 1)}},
		}, counters{in(7, 2, 1), in(6, 29, 3), in(7, 1, 3)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var uses []apitoken.Use
			for _, u := range c.uses {
				uses = append(uses, apitoken.Use{ID: rec.Token.ID, Count: 1, LastUsed: ahead, Day: u.Day, Week: u.Week, Month: u.Month, WrittenAt: u.at})
				count++
			}
			touchAdds.ok(t, s.Touch(ctx, uses), "Touch")
			got := stored(t, s, rec.Token.ID)
			touchPeriods.same(t, counters{got.Token.Usage.Day, got.Token.Usage.Week, got.Token.Usage.Month}, c.want, "those of a day, a week and a month after Touch")
			touchAdds.same(t, got.Token.Usage.Uses, count, "all uses after Touch")
			touchOnly.same(t, stored(t, s, bystander.Token.ID), bystander, "another token after Touch")
		})
	}
}
