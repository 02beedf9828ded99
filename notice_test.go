package apitoken_test

import (
	"testing"
	"time"
	_ "time/tzdata" // the zones are the test's own

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func noticed(before time.Duration) func(*apitoken.Record) {
	return func(r *apitoken.Record) { r.Token.Terms.Notice = before }
}

func wholeDay(r *apitoken.Record) { r.Token.WholeDay = true }

func setAt(at time.Time) func(*apitoken.Record) {
	return func(r *apitoken.Record) { r.Token.ExpirySetAt = at }
}

// S2.33: for a date the notice is due at 00:00 UTC three days before that date.
// S3.8: for an instant it is due 72 hours before; a life that was set shorter than
// that has none.
func TestPlanNotice(t *testing.T) {
	t.Parallel()
	utc := func(s string) time.Time {
		at, err := time.Parse("2006-01-02 15:04:05.999999999", s)
		require.NoError(t, err)
		return at
	}
	for name, tc := range map[string]struct {
		rec  *apitoken.Record
		want string // "" = none
	}{
		"date, through the end of its day": {record(noticed(3*day), setAt(noon), expiringAt(date("2028-06-01"), ""), wholeDay), "2028-05-28 00:00:00"},
		"date, from its beginning":         {record(noticed(3*day), setAt(noon), expiringAt(date("2028-06-01"), "")), "2028-05-29 00:00:00"},
		"instant":                          {record(noticed(3*day), setAt(noon), expiringAt(utc("2028-06-01 15:04:05.678901"), "")), "2028-05-29 15:04:05.678901"},
		"over 29 February":                 {record(noticed(3*day), setAt(noon), expiringAt(date("2028-03-02"), ""), wholeDay), "2028-02-27 00:00:00"},
		"for 29 February":                  {record(noticed(3*day), setAt(noon), expiringAt(date("2028-03-01"), ""), wholeDay), "2028-02-26 00:00:00"},
		"over the end of February":         {record(noticed(3*day), setAt(noon), expiringAt(date("2029-03-02"), ""), wholeDay), "2029-02-26 00:00:00"},
		"over the new year":                {record(noticed(3*day), setAt(noon), expiringAt(date("2028-01-02"), "")), "2027-12-30 00:00:00"},
		"life of exactly three days":       {record(noticed(3*day), setAt(date("2028-05-01")), expiringAt(date("2028-05-04"), "")), "2028-05-01 00:00:00"},
		"a microsecond less":               {record(noticed(3*day), setAt(date("2028-05-01").Add(time.Microsecond)), expiringAt(date("2028-05-04"), "")), ""},
		// From 20:00 on the 1st through the end of the 4th: long enough, and due already.
		"whole day, due when it is set": {record(noticed(3*day), setAt(utc("2028-05-01 20:00:00")), expiringAt(date("2028-05-05"), ""), wholeDay), "2028-05-01 20:00:00"},
		"a day's notice":                {record(noticed(day), setAt(noon), expiringAt(date("2028-05-04"), "")), "2028-05-03 00:00:00"},
		"no notice":                     {record(setAt(noon), expiringAt(date("2028-05-04"), "")), ""},
		"no expiry":                     {record(noticed(3 * day)), ""},
		"never set":                     {record(noticed(3*day), expiringAt(date("2028-05-04"), "")), "2028-05-01 00:00:00"},
		"disabled":                      {record(noticed(3*day), setAt(noon), expiringAt(date("2028-05-04"), ""), disabledAt(date("2028-05-01").Add(-1))), ""},
		"active again since":            {record(noticed(3*day), setAt(noon), expiringAt(date("2028-05-04"), ""), func(r *apitoken.Record) { r.Token.StateAt = utc("2028-05-02 08:00:00") }), "2028-05-02 08:00:00"},
		"revoked":                       {record(noticed(3*day), setAt(noon), expiringAt(date("2028-05-04"), ""), func(r *apitoken.Record) { r.Token.State = apitoken.StateRevoked }), ""},
		"idle before it":                {record(noticed(3*day), setAt(noon), expiringAt(date("2028-05-04"), ""), slidingFor(day)), ""},
		"idle at the same instant":      {record(noticed(3*day), setAt(noon), expiringAt(noon.Add(10*day), ""), slidingFor(7*day)), ""},
		"idle after it":                 {record(noticed(3*day), setAt(noon), expiringAt(noon.Add(10*day), ""), slidingFor(7*day+1)), noon.Add(7 * day).Format("2006-01-02 15:04:05")},
		"announced already":             {record(noticed(3*day), setAt(noon), expiringAt(date("2028-05-04"), ""), func(r *apitoken.Record) { r.NoticeDone = true }), ""},
		"expired already":               {record(noticed(3*day), setAt(noon), expiringAt(date("2028-05-04"), ""), func(r *apitoken.Record) { r.ExpiryDone = true }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := tc.rec.Clone()
			var notices []apitoken.Step
			for _, st := range apitoken.Plan(tc.rec, noon.Add(10_000*day)) { // late, all at once
				if st.What == apitoken.EventExpiring {
					notices = append(notices, st)
				}
			}
			if tc.want == "" {
				require.Empty(t, notices)
				return
			}
			at := utc(tc.want)
			require.Equal(t, []apitoken.Step{{At: at, What: apitoken.EventExpiring}}, notices)
			require.Equal(t, at, apitoken.Arm(rec, noon))
			require.Empty(t, apitoken.Plan(rec, at.Add(-1)))
			require.Len(t, apitoken.Plan(rec, at), 1)
			require.Empty(t, apitoken.Plan(rec, at), "once")
			require.True(t, apitoken.Arm(rec, at).After(at), "the next is something else")
		})
	}
}

// Each expiry is announced once; moving it announces the new one, setting it to
// what it is does not (S2.33).
func TestNoticeFollowsTheExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.issue(fixed, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresOn("2027-03-20") }).Token.ID
	extend := func(to string) {
		t.Helper()
		must(w.Service.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresOn(to)}))
	}
	told := func(at time.Time, want int) {
		t.Helper()
		w.Clock.Set(at)
		require.Equal(t, want, w.sweep().Noticed)
	}
	told(date("2027-03-17").Add(-1), 0)
	told(date("2027-03-17"), 1)
	extend("2027-03-20") // as it is
	told(date("2027-03-18"), 0)
	extend("2027-04-20")
	told(date("2027-04-17").Add(-1), 0)
	told(date("2027-04-17"), 1)
	told(date("2027-04-17").Add(time.Microsecond), 0)
	extend("2027-04-19") // forward: less than 72 hours from now
	told(date("2027-04-18"), 0)
	extend("2027-04-22")
	told(date("2027-04-19").Add(-1), 0)
	told(date("2027-04-19"), 1)
	extend("2027-04-23")
	w.Clock.Set(date("2027-04-20").Add(time.Hour))
	extend("2027-04-24") // what was due is done before
	told(date("2027-04-21").Add(-1), 0)
	told(date("2027-04-21").Add(time.Hour), 1)
	w.Clock.Set(date("2027-04-21").Add(2 * time.Hour))
	extend("2027-04-25")
	extend("2027-04-24") // a full 72 hours, whose notice is due already: told at the next sweep
	told(date("2027-04-21").Add(3*time.Hour), 1)
	var due []time.Time
	for _, e := range w.events(id) {
		if e.Type == apitoken.EventExpiring {
			due = append(due, e.DueAt)
			require.Equal(t, apitoken.Party{Type: apitoken.PartySystem, ID: "apitoken"}, e.Actor)
			require.Equal(t, "API token expires soon", e.Message)
			require.False(t, e.ExpiresAt.IsZero(), "says when")
		}
	}
	require.Equal(t, []time.Time{date("2027-03-17"), date("2027-04-17"), date("2027-04-19"), date("2027-04-20"), date("2027-04-21"), date("2027-04-21").Add(2 * time.Hour)}, due)
}

// Only a token that is active is announced: one that is disabled then is not, and
// when it is enabled in time, it is, also by a late sweep.
func TestNoticeOfADisabledToken(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		w := newWorld(t, with(shared, func(p *apitoken.Policy) { p.EnableNeedsExpiry = false }))
		w.Clock.Set(noon)
		id := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(10 * day) }).Token.ID
		step := func(after time.Duration, do func() (apitoken.View, error)) {
			w.Clock.Set(noon.Add(after))
			if !late {
				w.sweep()
			}
			if do != nil {
				must(do())
			}
		}
		step(6*day, func() (apitoken.View, error) { return w.Service.Disable(t.Context(), ann, id, "") })
		step(7*day, nil)
		step(8*day, func() (apitoken.View, error) {
			return w.Service.Enable(t.Context(), ann, id, apitoken.EnableRequest{})
		})
		w.Clock.Set(noon.Add(9 * day))
		w.sweep()
		events := w.events(id)
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventDisabled, apitoken.EventEnabled, apitoken.EventExpiring}, eventTypes(events))
		require.Equal(t, noon.Add(8*day), events[3].DueAt)
	}
}

// S3.9: a personal token's notice goes to its owner, a shared one's to all
// administrators; S2.33: a fixed-term one's to its user and the system
// administrators. Nobody hears of an agent's or a user's token.
func TestWhoIsToldOfAnExpiry(t *testing.T) {
	t.Parallel()
	for kind, want := range map[apitoken.Kind][]string{
		fixed: {"ann", "root"}, personal: {"ann"}, legacy: {"ann"}, shared: {"dan", "root"}, node: {"dan", "root"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Admins.Set("acme", apitoken.Administrator{ID: "root", System: true, Active: true}, apitoken.Administrator{ID: "dan", Active: true}, apitoken.Administrator{ID: "left"})
			w.issue(kind, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresOn("2027-03-20") })
			w.deliver()
			w.Clock.Set(date("2027-03-17"))
			require.Equal(t, 1, w.sweep().Noticed)
			told := w.deliver()
			require.Len(t, told, 1)
			require.Equal(t, apitoken.EventExpiring, told[0].Event.Type)
			require.Equal(t, want, told[0].Recipients)
		})
	}
	w := newWorld(t)
	for _, kind := range []apitoken.Kind{plain, user, agent} {
		w.issue(kind, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresOn("2027-03-20") })
	}
	w.Clock.Set(date("2027-03-19"))
	require.Zero(t, w.sweep())
}

// A date is the UTC day, whatever zone the clock of the host shows: at the end of
// the day in five zones, where midnight does not exist, and on 29 February (S2.32,
// S2.33, S3.7).
func TestDatesInEveryZone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, from, on string }{
		{"UTC", "2027-03-01 12:00:00", "2027-05-30"},
		{"Pacific/Kiritimati", "2027-12-31 23:59:59.999999999", "2028-02-29"},
		{"Pacific/Pago_Pago", "2028-02-01 00:00:00", "2028-02-29"},
		{"Asia/Kathmandu", "2027-12-20 12:00:00", "2028-01-01"},
		{"America/New_York", "2027-03-01 02:30:00", "2027-03-14"}, // clocks go forward
		{"Europe/Berlin", "2027-10-01 12:00:00", "2027-10-31"},    // and back
		// Clocks went from 23:59:59 to 01:00:00 there.
		{"America/Sao_Paulo", "2018-10-01 12:00:00", "2018-11-04"},
		{"Asia/Beirut", "2021-03-01 12:00:00", "2021-03-28"},
		{"America/Sao_Paulo", "2018-10-01 12:00:00", "2018-11-06"}, // notice at that midnight, or at the UTC one before
		{"Asia/Beirut", "2021-03-01 12:00:00", "2021-03-31"},
	} {
		for kind, days := range map[apitoken.Kind]int{fixed: 1, shared: 0} { // through the day, until it begins
			t.Run(c.zone+"/"+c.on+"/"+string(kind), func(t *testing.T) {
				t.Parallel()
				zone, err := time.LoadLocation(c.zone)
				require.NoError(t, err)
				start, err := time.ParseInLocation("2006-01-02 15:04:05.999999999", c.from, zone)
				require.NoError(t, err)
				day, err := time.Parse(time.DateOnly, c.on)
				require.NoError(t, err)
				w := newWorld(t)
				show := func(at time.Time) { w.Clock.Set(at.In(zone)) }
				show(start)
				issued := w.issue(kind, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresOn(c.on) })
				end := day.AddDate(0, 0, days)
				require.Equal(t, end, issued.Token.ExpiresAt)

				show(day.AddDate(0, 0, -3).Add(-1)) // 23:59:59.999999999
				require.Zero(t, w.sweep().Noticed)
				show(day.AddDate(0, 0, -3))
				require.Equal(t, 1, w.sweep().Noticed)
				show(end.Add(-1))
				require.NoError(t, w.verify(issued.Secret))
				require.Zero(t, w.sweep())
				show(end)
				require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrExpired)
				require.Equal(t, apitoken.Swept{Expired: 1}, w.sweep())
				for _, e := range w.events(issued.Token.ID) {
					require.Equal(t, time.UTC, e.Time.Location())
				}
			})
		}
	}
}
