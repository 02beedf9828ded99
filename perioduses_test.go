package apitoken_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// Periods are those of the calendar, UTC, whatever zone an instant is written in.
func TestPeriods(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, at, day, week, month, nextDay, nextWeek, nextMonth string }{
		{"a Saturday", "2026-11-28T15:04:05.999999Z", "2026-11-28", "2026-11-23", "2026-11-01", "2026-11-29", "2026-11-30", "2026-12-01"},
		{"the beginning of a Monday", "2026-11-30T00:00:00Z", "2026-11-30", "2026-11-30", "2026-11-01", "2026-12-01", "2026-12-07", "2026-12-01"},
		{"the end of a Sunday", "2026-11-29T23:59:59.999999Z", "2026-11-29", "2026-11-23", "2026-11-01", "2026-11-30", "2026-11-30", "2026-12-01"},
		{"New Year's Day in a week of December", "2027-01-01T12:00:00Z", "2027-01-01", "2026-12-28", "2027-01-01", "2027-01-02", "2027-01-04", "2027-02-01"},
		{"the end of December", "2026-12-31T23:59:59Z", "2026-12-31", "2026-12-28", "2026-12-01", "2027-01-01", "2027-01-04", "2027-01-01"},
		{"29 February", "2028-02-29T06:00:00Z", "2028-02-29", "2028-02-28", "2028-02-01", "2028-03-01", "2028-03-06", "2028-03-01"},
		{"tomorrow in Auckland", "2026-11-29T10:00:00+13:00", "2026-11-28", "2026-11-23", "2026-11-01", "2026-11-29", "2026-11-30", "2026-12-01"},
		{"yesterday in Honolulu", "2026-11-30T20:00:00-10:00", "2026-12-01", "2026-11-30", "2026-12-01", "2026-12-02", "2026-12-07", "2027-01-01"},
		{"before 1970", "1969-07-20T20:17:40Z", "1969-07-20", "1969-07-14", "1969-07-01", "1969-07-21", "1969-07-21", "1969-08-01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := must(time.Parse(time.RFC3339Nano, c.at))
			for p, want := range [][2]string{{c.day, c.nextDay}, {c.week, c.nextWeek}, {c.month, c.nextMonth}} {
				from := apitoken.PeriodStart(p, at)
				require.Equal(t, want[0]+"T00:00:00Z", from.Format(time.RFC3339Nano))
				require.Equal(t, want[1]+"T00:00:00Z", apitoken.PeriodEnd(p, from).Format(time.RFC3339Nano))
				require.Equal(t, from, apitoken.PeriodStart(p, from), "its beginning belongs to it")
				require.Equal(t, from, apitoken.PeriodStart(p, apitoken.PeriodEnd(p, from).Add(-1)), "and the last instant")
			}
		})
	}
}

func TestPeriodUsesAdd(t *testing.T) {
	t.Parallel()
	today := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	on := func(days int, uses int64) apitoken.PeriodUses {
		return apitoken.PeriodUses{From: today.AddDate(0, 0, days), Uses: uses}
	}
	for _, c := range []struct {
		name         string
		stored, more apitoken.PeriodUses
		last         time.Time
		want         apitoken.PeriodUses
	}{
		{"nothing to nothing", apitoken.PeriodUses{}, apitoken.PeriodUses{}, time.Time{}, apitoken.PeriodUses{}},
		{"the first", apitoken.PeriodUses{}, on(0, 2), today, on(0, 2)},
		{"nothing", on(0, 2), apitoken.PeriodUses{}, today, on(0, 2)},
		{"of the same", on(0, 2), on(0, 3), today, on(0, 5)},
		{"of a later", on(0, 2), on(1, 3), today.AddDate(0, 0, 1), on(1, 3)},
		{"of an earlier", on(0, 2), on(-1, 3), today.Add(-1), on(0, 2)},
		{"24 hours behind", on(1, 2), on(0, 3), today, on(1, 2)},
		{"more than that", on(1, 2), on(0, 3), today.Add(-time.Microsecond), on(0, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, c.stored.Add(c.more, c.last))
		})
	}
}
