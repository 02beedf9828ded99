package apitoken

import (
	"fmt"
	"time"
)

// Expiry says when a token expires. The zero Expiry leaves it to the kind's
// policy. Faults, such as a date that does not exist, are reported by the call
// it is given to, as a [FieldError] for "expiry".
type Expiry struct {
	how    expiryHow
	date   string
	at     time.Time
	in     time.Duration
	period Period
}

type expiryHow uint8

const (
	expiryDefault expiryHow = iota
	expiryOn
	expiryAt
	expiryIn
	expiryAfter
	expiryNever
)

// ExpiresOn is a date, strictly YYYY-MM-DD, UTC. Whether the token works through
// that day (S2.32) or until it begins (S3.7) is the policy's
// [Lifetime].WholeDay.
func ExpiresOn(date string) Expiry { return Expiry{how: expiryOn, date: date} }

// ExpiresAt is an instant; microseconds count. Kinds with whole days refuse it.
func ExpiresAt(t time.Time) Expiry { return Expiry{how: expiryAt, at: t} }

// ExpiresIn is a length of time from now, more than 0. Kinds with whole days
// refuse it.
func ExpiresIn(d time.Duration) Expiry { return Expiry{how: expiryIn, in: d} }

// ExpiresAfter is a predefined range, one of [Choices].Ranges.
func ExpiresAfter(p Period) Expiry { return Expiry{how: expiryAfter, period: p} }

// NeverExpires is no expiry, where the kind allows that.
func NeverExpires() Expiry { return Expiry{how: expiryNever} }

// IsZero reports whether e leaves the expiry to the policy.
func (e Expiry) IsZero() bool { return e.how == expiryDefault }

// UnmarshalText reads an expiry as a form or a JSON string has it: a date
// (2027-01-31), an instant (RFC 3339), a range ([Period]: P90D), "never", or ""
// for the kind's default. It never fails: what is none of these is reported by
// the call it is given to, beside the other faults of the request.
func (e *Expiry) UnmarshalText(text []byte) error {
	s := string(text)
	var p Period
	switch t, err := time.Parse(time.RFC3339Nano, s); {
	case s == "":
		*e = Expiry{}
	case s == "never":
		*e = NeverExpires()
	case err == nil:
		*e = ExpiresAt(t)
	case p.UnmarshalText(text) == nil:
		*e = ExpiresAfter(p)
	default:
		*e = ExpiresOn(s)
	}
	return nil
}

const dateFormat = "2006-01-02"

func parseDate(s string) (time.Time, bool) {
	t, err := time.ParseInLocation(dateFormat, s, time.UTC)
	return t, err == nil && len(s) == len(dateFormat) && t.Year() >= 1
}

func dayOf(t time.Time) time.Time {
	y, m, d := t.UTC().Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// bounds returns the earliest and latest date an expiry may have when it is set
// at now. A zero latest is none.
func (l *Lifetime) bounds(now time.Time) (earliest, latest time.Time) {
	today := dayOf(now)
	earliest = l.Min.after(today)
	if tomorrow := today.AddDate(0, 0, 1); earliest.Before(tomorrow) {
		earliest = tomorrow
	}
	if !l.Max.IsZero() {
		latest = l.Max.after(today)
	}
	return earliest, latest
}

// ranges are the predefined choices that the bounds allow.
func (l *Lifetime) ranges(now time.Time) []Period {
	all := l.Ranges
	if all == nil {
		all = []Period{{Days: 30}, {Days: 60}, {Days: 90}, {Years: 1}}
	}
	earliest, latest := l.bounds(now)
	var fit []Period
	for _, p := range all {
		day := p.after(dayOf(now))
		if !day.Before(earliest) && (latest.IsZero() || !day.After(latest)) {
			fit = append(fit, p)
		}
	}
	return fit
}

// resolve turns an Expiry into the instant from which the token is refused; the
// zero instant is never. Limits compare dates.
func (l *Lifetime) resolve(e Expiry, now time.Time) (time.Time, error) {
	now = now.UTC()
	fail := func(format string, args ...any) (time.Time, error) {
		return time.Time{}, fieldErr("expiry", format, args...)
	}
	var at time.Time  // the instant, for what is not a whole day
	var day time.Time // the date that the bounds are compared with
	switch e.how {
	case expiryDefault:
		if l.Default.IsZero() {
			if l.Required {
				return fail("tokens of this kind need an expiry: give one")
			}
			return time.Time{}, nil
		}
		return l.resolveAfter(l.Default, now), nil
	case expiryNever:
		if l.Required {
			return fail("tokens of this kind must expire: give a date or one of the ranges")
		}
		if !l.Max.IsZero() {
			return fail("tokens of this kind must expire within %s: give an earlier expiry", l.Max)
		}
		return time.Time{}, nil
	case expiryAfter:
		fits := false
		for _, p := range l.ranges(now) {
			fits = fits || p == e.period
		}
		if !fits {
			return fail("%s is not one of the predefined ranges of this kind: ask Choices for them, or give a date", e.period)
		}
		return l.resolveAfter(e.period, now), nil
	case expiryOn:
		d, ok := parseDate(e.date)
		if !ok {
			return fail("%q is no date: write YYYY-MM-DD, such as 2027-01-31", clip(e.date))
		}
		at, day = d, d
	case expiryIn, expiryAt:
		if l.WholeDay {
			return fail("tokens of this kind expire with a day: give a date or one of the ranges")
		}
		at = e.at.UTC().Truncate(time.Microsecond)
		if e.how == expiryIn {
			if e.in <= 0 {
				return fail("a length of %s is not after now: give one of more than 0", e.in)
			}
			at = now.Add(e.in).Truncate(time.Microsecond)
		}
		day = dayOf(at)
		if !at.After(now) {
			return fail("%s is not after now: give a later instant", at.Format(time.RFC3339))
		}
	}
	earliest, latest := l.bounds(now)
	bounded := l.WholeDay || !l.Min.IsZero() || e.how == expiryOn
	switch {
	case bounded && day.Before(earliest):
		return fail("%s is too early: %s is the earliest (dates are UTC)", day.Format(dateFormat), earliest.Format(dateFormat))
	case !latest.IsZero() && day.After(latest):
		return fail("%s is too late: %s is the latest (dates are UTC)", day.Format(dateFormat), latest.Format(dateFormat))
	}
	if l.WholeDay {
		at = day.AddDate(0, 0, 1)
	}
	if at.Year() > 9999 {
		return fail("the year is beyond 9999: give an earlier expiry")
	}
	return at, nil
}

func (l *Lifetime) resolveAfter(p Period, now time.Time) time.Time {
	if l.WholeDay {
		return p.after(dayOf(now)).AddDate(0, 0, 1)
	}
	return p.after(now).Truncate(time.Microsecond)
}

// maxPeriod keeps expiries within the years that can be written with four digits.
var maxPeriod = Period{Years: 1000}

// check reports faults of a policy's own figures.
func (l *Lifetime) check(field string, interval time.Duration) error {
	var f faults
	bad := func(name, format string, args ...any) { f.add(field+"."+name, format, args...) }
	figure := func(name string, p Period) {
		if p.Years < 0 || p.Days < 0 || p.Years > maxPeriod.Years || p.Days > 366*maxPeriod.Years {
			bad(name, "is %s: give a period of 0 to %s", p, maxPeriod)
		}
	}
	figure("Default", l.Default)
	figure("Min", l.Min)
	figure("Max", l.Max)
	for i, p := range l.Ranges {
		figure(fmt.Sprintf("Ranges[%d]", i), p)
	}
	if l.Idle < 0 || l.Idle > 0 && l.Idle < 2*interval {
		bad("Idle", "is %s: give 0 for never, or two usage intervals (%s) at least: uses are not recorded more finely", l.Idle, 2*interval)
	}
	if !l.Max.IsZero() {
		if l.Default.canExceed(l.Max) {
			bad("Default", "%s can be longer than Max, %s: shorten it or raise Max", l.Default, l.Max)
		}
		if l.Min.canExceed(l.Max) {
			bad("Min", "%s can be longer than Max, %s: shorten it or raise Max", l.Min, l.Max)
		}
		if l.Default.IsZero() && !l.Required {
			bad("Default", "is none, but Max is set and an expiry that is not given would be 'never': set Default or Required")
		}
	}
	if !l.Default.IsZero() && l.Min.canExceed(l.Default) {
		bad("Default", "%s can be shorter than Min, %s: raise it or shorten Min", l.Default, l.Min)
	}
	return f.join()
}

// canExceed reports whether p can be longer than q: a year has 365 or 366 days,
// so it depends on the day they are counted from.
func (p Period) canExceed(q Period) bool {
	for year := 2025; year < 2029; year++ {
		from := time.Date(year, time.June, 1, 0, 0, 0, 0, time.UTC)
		if p.after(from).After(q.after(from)) {
			return true
		}
	}
	return false
}
