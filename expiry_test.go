package apitoken_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// zones are the time zones a host's clock may be in: the answers must not
// depend on them.
func zones(t *testing.T) []*time.Location {
	t.Helper()
	return []*time.Location{
		time.UTC,
		time.FixedZone("Kiritimati", 14*3600),
		time.FixedZone("Honolulu", -10*3600),
		time.FixedZone("Kathmandu", 5*3600+45*60),
		time.FixedZone("New York, summer", -4*3600),
	}
}

func date(s string) time.Time {
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return d
}

var (
	fixedTerm = apitoken.FixedTermPolicy("").Lifetime
	noon      = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)
)

// P12, S2.32, S3.7: 400 dates in 5 time zones. A date lasts through its end for
// kinds with whole days, and ends as it begins for the others, to the nanosecond.
func TestExpiryDatesAreExact(t *testing.T) {
	t.Parallel()
	whole, begins := apitoken.Lifetime{WholeDay: true}, apitoken.Lifetime{}
	now := time.Date(2026, time.December, 31, 23, 59, 59, 999_999_000, time.UTC)
	for _, zone := range zones(t) {
		for i := range 400 {
			day := time.Date(2027, time.January, 1+i, 0, 0, 0, 0, time.UTC)
			text := day.Format(time.DateOnly)

			at, err := whole.Resolve(apitoken.ExpiresOn(text), now.In(zone))
			require.NoError(t, err)
			tok := apitoken.Token{ExpiresAt: at}
			require.False(t, tok.Expired(day.Add(24*time.Hour-1).In(zone)), "%s is usable until 23:59:59.999999999 UTC", text)
			require.True(t, tok.Expired(day.Add(24*time.Hour).In(zone)), "%s has ended", text)

			at, err = begins.Resolve(apitoken.ExpiresOn(text), now.In(zone))
			require.NoError(t, err)
			tok = apitoken.Token{ExpiresAt: at}
			require.False(t, tok.Expired(day.Add(-1).In(zone)), "%s has not begun", text)
			require.True(t, tok.Expired(day.In(zone)), "refused from 00:00 UTC of %s", text)
			require.Equal(t, time.UTC, at.Location())
		}
	}
}

// S2.20: tomorrow at the earliest, UTC, whatever the zone of the clock.
func TestExpiryTomorrowAtTheEarliest(t *testing.T) {
	t.Parallel()
	for _, life := range []apitoken.Lifetime{fixedTerm, {}} {
		for _, zone := range zones(t) {
			for _, clock := range []string{"00:00:00", "09:59:59", "10:00:00", "12:00:00", "20:00:00", "23:59:59.999999"} {
				now, err := time.Parse("2006-01-02 15:04:05", "2027-03-01 "+clock)
				require.NoError(t, err)
				now = now.In(zone)
				for day, ok := range map[string]bool{"2027-02-28": false, "2027-03-01": false, "2027-03-02": true, "2027-03-03": true} {
					_, err := life.Resolve(apitoken.ExpiresOn(day), now)
					require.Equal(t, ok, err == nil, "%s at %s: %v", day, now, err)
					if !ok {
						require.ErrorContains(t, err, "2027-03-02 is the earliest")
					}
				}
				earliest, _ := life.Bounds(now)
				require.Equal(t, date("2027-03-02"), earliest)
			}
		}
	}
}

// S2.21, S2.32: 90 days by default, through the end of that day; one year at most.
func TestExpiryOfTheFixedTerm(t *testing.T) {
	t.Parallel()
	for _, zone := range zones(t) {
		now := noon.In(zone)
		at, err := fixedTerm.Resolve(apitoken.Expiry{}, now)
		require.NoError(t, err)
		require.Equal(t, date("2027-05-31"), at, "2027-03-01 + 90 days is 2027-05-30, which still works")

		_, latest := fixedTerm.Bounds(now)
		require.Equal(t, date("2028-03-01"), latest)
		at, err = fixedTerm.Resolve(apitoken.ExpiresOn("2028-03-01"), now)
		require.NoError(t, err)
		require.Equal(t, date("2028-03-02"), at)
		_, err = fixedTerm.Resolve(apitoken.ExpiresOn("2028-03-02"), now)
		require.ErrorContains(t, err, "2028-03-01 is the latest")
	}
}

// 'One year from a day' is the same day next year; 29 February gives 28 February.
func TestPeriodAfter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		from   string
		period apitoken.Period
		want   string
	}{
		{"2027-03-01", apitoken.Period{Years: 1}, "2028-03-01"},
		{"2028-02-29", apitoken.Period{Years: 1}, "2029-02-28"},
		{"2028-02-29", apitoken.Period{Years: 3}, "2031-02-28"},
		{"2028-02-29", apitoken.Period{Years: 4}, "2032-02-29"},
		{"2096-02-29", apitoken.Period{Years: 4}, "2100-02-28"}, // 2100 is no leap year
		{"2396-02-29", apitoken.Period{Years: 4}, "2400-02-29"}, // 2400 is
		{"2028-02-29", apitoken.Period{Years: 1, Days: 1}, "2029-03-01"},
		{"2028-02-28", apitoken.Period{Years: 1}, "2029-02-28"},
		{"2028-02-28", apitoken.Period{Days: 1}, "2028-02-29"},
		{"2028-02-29", apitoken.Period{Days: 365}, "2029-02-28"},
		{"2028-02-29", apitoken.Period{Days: 366}, "2029-03-01"},
		{"2027-02-28", apitoken.Period{Years: 1}, "2028-02-28"},
		{"2027-12-31", apitoken.Period{Days: 1}, "2028-01-01"},
		{"2027-01-31", apitoken.Period{Days: 30}, "2027-03-02"},
		{"2027-01-31", apitoken.Period{}, "2027-01-31"},
	} {
		got := tc.period.After(date(tc.from))
		require.Equal(t, date(tc.want), got, "%s + %s", tc.from, tc.period)
		got = tc.period.After(date(tc.from).Add(13*time.Hour + 1))
		require.Equal(t, date(tc.want).Add(13*time.Hour+1), got, "the time of day stays")
	}
	// At 23:30 in Honolulu it is 1 March in UTC.
	local := time.Date(2028, time.February, 29, 23, 30, 0, 0, time.FixedZone("", -10*3600))
	require.Equal(t, time.Date(2029, time.March, 1, 9, 30, 0, 0, time.UTC), apitoken.Period{Years: 1}.After(local))
}

func TestPeriodString(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]apitoken.Period{
		"0 days":            {},
		"1 day":             {Days: 1},
		"90 days":           {Days: 90},
		"1 year":            {Years: 1},
		"2 years and 1 day": {Years: 2, Days: 1},
	} {
		require.Equal(t, want, p.String())
		require.Equal(t, p == apitoken.Period{}, p.IsZero())
	}
}

func TestExpiryResolves(t *testing.T) {
	t.Parallel()
	soon := noon.Add(time.Hour)
	for name, tc := range map[string]struct {
		life   apitoken.Lifetime
		expiry apitoken.Expiry
		want   time.Time
	}{
		"nothing given, nothing set":       {apitoken.Lifetime{}, apitoken.Expiry{}, time.Time{}},
		"never":                            {apitoken.Lifetime{}, apitoken.NeverExpires(), time.Time{}},
		"never, though there is a default": {apitoken.Lifetime{Default: apitoken.Period{Days: 30}}, apitoken.NeverExpires(), time.Time{}},
		"default, from the instant":        {apitoken.Lifetime{Default: apitoken.Period{Days: 30}}, apitoken.Expiry{}, noon.AddDate(0, 0, 30)},
		"default, whole day":               {apitoken.Lifetime{Default: apitoken.Period{Days: 30}, WholeDay: true}, apitoken.Expiry{}, date("2027-04-01")},
		"instant":                          {apitoken.Lifetime{}, apitoken.ExpiresAt(soon), soon},
		"instant in another zone":          {apitoken.Lifetime{}, apitoken.ExpiresAt(soon.In(time.FixedZone("", -7200))), soon},
		"instant, cut to microseconds":     {apitoken.Lifetime{}, apitoken.ExpiresAt(soon.Add(1999)), soon.Add(1000)},
		"the next microsecond":             {apitoken.Lifetime{}, apitoken.ExpiresAt(noon.Add(1000)), noon.Add(1000)},
		"length":                           {apitoken.Lifetime{}, apitoken.ExpiresIn(time.Hour), soon},
		"length, cut to microseconds":      {apitoken.Lifetime{}, apitoken.ExpiresIn(time.Hour + 999), soon},
		"range, from the instant":          {apitoken.Lifetime{}, apitoken.ExpiresAfter(apitoken.Period{Days: 60}), noon.AddDate(0, 0, 60)},
		"range, whole day":                 {fixedTerm, apitoken.ExpiresAfter(apitoken.Period{Years: 1}), date("2028-03-02")},
		"range of the host's":              {apitoken.Lifetime{Ranges: []apitoken.Period{{Days: 7}}}, apitoken.ExpiresAfter(apitoken.Period{Days: 7}), noon.AddDate(0, 0, 7)},
		"instant on the last day":          {apitoken.Lifetime{Max: apitoken.Period{Days: 1}}, apitoken.ExpiresAt(noon.Add(35 * time.Hour)), noon.Add(35 * time.Hour)},
		"instant on the first day":         {apitoken.Lifetime{Min: apitoken.Period{Days: 7}}, apitoken.ExpiresAt(date("2027-03-08")), date("2027-03-08")},
		"date on the first day":            {apitoken.Lifetime{Min: apitoken.Period{Days: 7}}, apitoken.ExpiresOn("2027-03-08"), date("2027-03-08")},
		"the last instant there is":        {apitoken.Lifetime{}, apitoken.ExpiresAt(date("9999-12-31").Add(24*time.Hour - 1000)), date("9999-12-31").Add(24*time.Hour - 1000)},
		"the last whole day there is":      {apitoken.Lifetime{WholeDay: true}, apitoken.ExpiresOn("9999-12-30"), date("9999-12-31")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, zone := range zones(t) {
				got, err := tc.life.Resolve(tc.expiry, noon.In(zone))
				require.NoError(t, err)
				require.Equal(t, tc.want, got)
			}
			_, err := json.Marshal(apitoken.Token{ExpiresAt: tc.want})
			require.NoError(t, err)
		})
	}
}

func TestExpiryRefuses(t *testing.T) {
	t.Parallel()
	bounded := apitoken.Lifetime{Min: apitoken.Period{Days: 7}, Max: apitoken.Period{Days: 30}, Required: true}
	for name, tc := range map[string]struct {
		life   apitoken.Lifetime
		expiry apitoken.Expiry
		says   string
	}{
		"required":                         {apitoken.Lifetime{Required: true}, apitoken.Expiry{}, "need an expiry"},
		"never, where one is required":     {fixedTerm, apitoken.NeverExpires(), "must expire"},
		"never, where there is a maximum":  {apitoken.Lifetime{Max: apitoken.Period{Years: 1}}, apitoken.NeverExpires(), "within 1 year"},
		"instant, where days are whole":    {fixedTerm, apitoken.ExpiresAt(noon.Add(48 * time.Hour)), "give a date"},
		"length, where days are whole":     {fixedTerm, apitoken.ExpiresIn(48 * time.Hour), "give a date"},
		"now":                              {apitoken.Lifetime{}, apitoken.ExpiresAt(noon), "not after now"},
		"less than a microsecond from now": {apitoken.Lifetime{}, apitoken.ExpiresAt(noon.Add(999)), "not after now"},
		"the past":                         {apitoken.Lifetime{}, apitoken.ExpiresAt(noon.Add(-time.Hour)), "not after now"},
		"the zero instant":                 {apitoken.Lifetime{}, apitoken.ExpiresAt(time.Time{}), "not after now"},
		"no length":                        {apitoken.Lifetime{}, apitoken.ExpiresIn(0), "more than 0"},
		"negative length":                  {apitoken.Lifetime{}, apitoken.ExpiresIn(-1), "more than 0"},
		"too short a length":               {apitoken.Lifetime{}, apitoken.ExpiresIn(1), "not after now"},
		"date too early":                   {bounded, apitoken.ExpiresOn("2027-03-07"), "2027-03-08 is the earliest"},
		"date too late":                    {bounded, apitoken.ExpiresOn("2027-04-01"), "2027-03-31 is the latest"},
		"instant too early":                {bounded, apitoken.ExpiresAt(date("2027-03-08").Add(-1000)), "2027-03-08 is the earliest"},
		"instant too late":                 {bounded, apitoken.ExpiresAt(date("2027-04-01")), "2027-03-31 is the latest"},
		"length too long":                  {bounded, apitoken.ExpiresIn(31 * 24 * time.Hour), "2027-03-31 is the latest"},
		"range beyond the maximum":         {bounded, apitoken.ExpiresAfter(apitoken.Period{Days: 60}), "not one of the predefined ranges"},
		"range that is none":               {apitoken.Lifetime{}, apitoken.ExpiresAfter(apitoken.Period{Days: 31}), "31 days is not one"},
		"empty range":                      {apitoken.Lifetime{}, apitoken.ExpiresAfter(apitoken.Period{}), "not one"},
		"no ranges":                        {apitoken.Lifetime{Ranges: []apitoken.Period{}}, apitoken.ExpiresAfter(apitoken.Period{Days: 30}), "not one"},
		"beyond the year 9999":             {apitoken.Lifetime{}, apitoken.ExpiresAt(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "beyond 9999"},
		"a whole day that ends in 10000":   {apitoken.Lifetime{WholeDay: true}, apitoken.ExpiresOn("9999-12-31"), "beyond 9999"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, zone := range zones(t) {
				got, err := tc.life.Resolve(tc.expiry, noon.In(zone))
				require.ErrorIs(t, err, apitoken.ErrInvalid)
				require.Len(t, apitoken.Fields(err), 1)
				require.Equal(t, "expiry", apitoken.Fields(err)[0].Field)
				require.ErrorContains(t, err, tc.says)
				require.Zero(t, got)
			}
		})
	}
}

// S2.20: the predefined ranges that the bounds allow can be asked for.
func TestExpiryRanges(t *testing.T) {
	t.Parallel()
	days := func(n int) apitoken.Period { return apitoken.Period{Days: n} }
	year := apitoken.Period{Years: 1}
	for name, tc := range map[string]struct {
		life apitoken.Lifetime
		want []apitoken.Period
	}{
		"default":            {apitoken.Lifetime{}, []apitoken.Period{days(30), days(60), days(90), year}},
		"fixed term":         {fixedTerm, []apitoken.Period{days(30), days(60), days(90), year}},
		"maximum":            {apitoken.Lifetime{Max: days(60)}, []apitoken.Period{days(30), days(60)}},
		"minimum":            {apitoken.Lifetime{Min: days(61)}, []apitoken.Period{days(90), year}},
		"the host's":         {apitoken.Lifetime{Ranges: []apitoken.Period{days(1), days(7)}}, []apitoken.Period{days(1), days(7)}},
		"the host's, cut":    {apitoken.Lifetime{Ranges: []apitoken.Period{days(7), days(8)}, Max: days(7)}, []apitoken.Period{days(7)}},
		"none":               {apitoken.Lifetime{Ranges: []apitoken.Period{}}, nil},
		"today is too early": {apitoken.Lifetime{Ranges: []apitoken.Period{{}, days(1)}}, []apitoken.Period{days(1)}},
	} {
		require.Equal(t, tc.want, tc.life.Choose(noon), name)
		for _, p := range tc.want {
			_, err := tc.life.Resolve(apitoken.ExpiresAfter(p), noon)
			require.NoError(t, err, "%s: what is offered is taken", name)
		}
	}
}

func TestExpiryIsZero(t *testing.T) {
	t.Parallel()
	require.True(t, apitoken.Expiry{}.IsZero())
	for _, e := range []apitoken.Expiry{
		apitoken.NeverExpires(), apitoken.ExpiresOn(""), apitoken.ExpiresAt(time.Time{}), apitoken.ExpiresIn(0), apitoken.ExpiresAfter(apitoken.Period{}),
	} {
		require.False(t, e.IsZero(), "what was given and is wrong is not the default")
	}
}

// Dates are strictly YYYY-MM-DD and must exist.
func TestExpiryDateForms(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"2027-03-02", "2028-02-29", "2027-12-31", "2400-02-29", "9999-12-31"} {
		_, err := apitoken.Lifetime{}.Resolve(apitoken.ExpiresOn(good), noon)
		require.NoError(t, err, good)
	}
	for _, bad := range []string{
		"", " ", "2027", "2027-03", "2027-3-2", "27-03-02", "2027-03-2", "2027-13-01", "2027-00-01", "2027-01-00", "2027-01-32", "2027-04-31",
		"2027-02-29", "2100-02-29", "2027/03/02", "2027.03.02", "20270302", "02-03-2027", "03/02/2027", "2027-03-02 ", " 2027-03-02", "2027-03-02\n",
		"2027-03-02T00:00:00Z", "2027-03-02 00:00", "+2027-03-02", "-2027-03-02", "12027-03-02", "0000-01-01", "2027-W09-1", "2027-061",
		"２０２７-03-02", "2027‐03‐02", "tomorrow", "never", "2027-03-02\x00", "2027-0a-02", strings.Repeat("2", 1<<16),
	} {
		_, err := apitoken.Lifetime{}.Resolve(apitoken.ExpiresOn(bad), noon)
		require.ErrorIs(t, err, apitoken.ErrInvalid, "%q", bad)
		require.ErrorContains(t, err, "YYYY-MM-DD", "%q", bad)
		require.Less(t, len(err.Error()), 500)
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"2027-03-02", "2028-02-29", "2027-02-29", "0000-01-01", "2027-3-2", "", "9999-12-31", "2027-03-02T00:00:00Z", "２０２７-03-02"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := apitoken.ParseDate(s)
		want, exists := dateOracle(s)
		if ok != exists || ok && !got.Equal(want) {
			t.Fatalf("%q: %v, %t; want %v, %t", s, got, ok, want, exists)
		}
		if ok && (got.Format(time.DateOnly) != s || got.Location() != time.UTC) {
			t.Fatalf("%q comes back as %s", s, got)
		}
	})
}

// dateOracle reads a date digit by digit and counts the days of its month.
func dateOracle(s string) (time.Time, bool) {
	if len(s) != 10 || s[4] != '-' || s[7] != '-' {
		return time.Time{}, false
	}
	var n [3]int
	for i, part := range []string{s[:4], s[5:7], s[8:]} {
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return time.Time{}, false
			}
			n[i] = n[i]*10 + int(c-'0')
		}
	}
	y, m, d := n[0], n[1], n[2]
	lengths := []int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	if y%400 == 0 || y%4 == 0 && y%100 != 0 {
		lengths[1] = 29
	}
	if y < 1 || m < 1 || m > 12 || d < 1 || d > lengths[m-1] {
		return time.Time{}, false
	}
	return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC), true
}

// Every fault of a Lifetime's own figures is named.
func TestLifetimeFaults(t *testing.T) {
	t.Parallel()
	day, year := apitoken.Period{Days: 1}, apitoken.Period{Years: 1}
	for name, tc := range map[string]struct {
		life   apitoken.Lifetime
		fields []string
	}{
		"zero":                             {apitoken.Lifetime{}, nil},
		"fixed term":                       {fixedTerm, nil},
		"sliding":                          {apitoken.SlidingPolicy().Lifetime, nil},
		"negative":                         {apitoken.Lifetime{Default: apitoken.Period{Days: -1}, Min: apitoken.Period{Years: -1}, Max: apitoken.Period{Days: -1}, Required: true}, []string{"Default", "Min", "Max"}},
		"negative range":                   {apitoken.Lifetime{Ranges: []apitoken.Period{day, {Days: -1}}}, []string{"Ranges[1]"}},
		"longer than a millennium":         {apitoken.Lifetime{Default: apitoken.Period{Years: 1001}, Ranges: []apitoken.Period{{Days: 366_001}}}, []string{"Default", "Ranges[0]"}},
		"so long that it overflows":        {apitoken.Lifetime{Default: apitoken.Period{Days: 1 << 30}}, []string{"Default"}},
		"default beyond max":               {apitoken.Lifetime{Default: apitoken.Period{Days: 367}, Max: year}, []string{"Default"}},
		"default beyond max in some years": {apitoken.Lifetime{Default: year, Max: apitoken.Period{Days: 365}}, []string{"Default"}},
		"default of 366 days in a year":    {apitoken.Lifetime{Default: apitoken.Period{Days: 366}, Max: year}, []string{"Default"}},
		"default as long as max":           {apitoken.Lifetime{Default: apitoken.Period{Days: 365}, Max: year}, nil},
		"default below min":                {apitoken.Lifetime{Default: day, Min: apitoken.Period{Days: 2}}, []string{"Default"}},
		"min beyond max":                   {apitoken.Lifetime{Min: apitoken.Period{Days: 8}, Max: apitoken.Period{Days: 7}, Required: true}, []string{"Min"}},
		"max without default":              {apitoken.Lifetime{Max: year}, []string{"Default"}},
		"max without default, required":    {apitoken.Lifetime{Max: year, Required: true}, nil},
		"negative idle":                    {apitoken.Lifetime{Idle: -1}, []string{"Idle"}},
		"idle below two intervals":         {apitoken.Lifetime{Idle: 2*time.Minute - 1}, []string{"Idle"}},
		"idle of two intervals":            {apitoken.Lifetime{Idle: 2 * time.Minute}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, f := range apitoken.Fields(tc.life.Check(time.Minute)) {
				require.NotEmpty(t, f.Problem)
				got = append(got, strings.TrimPrefix(f.Field, "Lifetime."))
			}
			require.Equal(t, tc.fields, got)
		})
	}
}

// The default never gives more than an explicit date could, in any year.
func TestDefaultStaysWithinMax(t *testing.T) {
	t.Parallel()
	for _, life := range []apitoken.Lifetime{
		fixedTerm,
		{Default: apitoken.Period{Years: 1}, Max: apitoken.Period{Years: 1}, WholeDay: true},
		{Default: apitoken.Period{Days: 365}, Max: apitoken.Period{Years: 1}},
		{Default: apitoken.Period{Years: 1}, Max: apitoken.Period{Days: 366}},
	} {
		require.NoError(t, life.Check(time.Minute))
		for i := range 3 * 366 {
			now := noon.AddDate(0, 0, i)
			at, err := life.Resolve(apitoken.Expiry{}, now)
			require.NoError(t, err)
			_, latest := life.Bounds(now)
			if life.WholeDay {
				at = at.AddDate(0, 0, -1)
			}
			require.False(t, at.Truncate(24*time.Hour).After(latest), fmt.Sprint(now))
		}
	}
}
