package apitoken

import (
	"math"
	"time"
)

// PeriodUses is how many uses there were in a period. The zero value is of no period.
type PeriodUses struct {
	From time.Time `json:"from"` // when the period began: a midnight UTC
	Uses int64     `json:"uses"`
}

// maxAhead is how much later than now a period may begin that another node has begun:
// the clocks of nodes differ by an hour at most. What Add, ofNow and learn decide by it
// must agree.
const maxAhead = 24 * time.Hour

// Add returns u with the uses of more added, which a node writes at the instant at.
// Those of a later period begin it. Those of an earlier one, from a node whose clock
// is behind, are passed over, unless u begins more than 24 hours after at: then u is
// of a clock that ran ahead, and more takes its place. Stores that count in Go share
// it.
func (u PeriodUses) Add(more PeriodUses, at time.Time) PeriodUses {
	switch {
	case more.From.IsZero():
	case more.From.Equal(u.From):
		u.Uses += more.Uses
	case more.From.After(u.From), u.From.After(at.Add(maxAhead)):
		return more
	}
	return u
}

// ofNow returns how many of the uses belong to the period that is the present one at
// now: that which holds now, or, to a node whose clock is behind, the one after it
// that others have begun.
func (u PeriodUses) ofNow(p period, now time.Time) PeriodUses {
	from := p.start(now)
	if u.From.Before(from) || u.From.After(now.Add(maxAhead)) {
		return PeriodUses{From: from}
	}
	return u
}

// period is one of those that uses are counted in.
type period int

const (
	perDay period = iota
	perWeek
	perMonth
	periods // how many there are
)

// periodCounts are the uses in one of each. Instants are Unix microseconds.
type periodCounts [periods]struct{ from, until, uses int64 }

// start returns the beginning of the period that holds t.
func (p period) start(t time.Time) time.Time {
	t = t.UTC()
	switch p {
	case perDay:
		return t.Truncate(24 * time.Hour)
	case perWeek:
		return t.Truncate(week) // it counts from the year 1, which began on a Monday
	}
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// end returns when the period ends that begins at from.
func (p period) end(from time.Time) time.Time {
	switch p {
	case perDay:
		return from.AddDate(0, 0, 1)
	case perWeek:
		return from.AddDate(0, 0, 7)
	}
	return from.AddDate(0, 1, 0)
}

func (p period) name() string             { return [...]string{QuotaDay, QuotaWeek, QuotaMonth}[p] }
func (p period) quota(q *Quotas) int      { return [...]int{q.Day, q.Week, q.Month}[p] }
func (p period) of(u *Usage) *PeriodUses  { return [...]*PeriodUses{&u.Day, &u.Week, &u.Month}[p] }
func (p period) ofUse(u *Use) *PeriodUses { return [...]*PeriodUses{&u.Day, &u.Week, &u.Month}[p] }

// pendingPeriods are what an entry of the recorder knows of the present periods.
type pendingPeriods struct {
	// since: uses from this on and for 48 hours (Unix microseconds) are of these
	// periods, so that requests out of order around midnight change none.
	since int64
	of    [periods]struct {
		from, until int64
		// known, with the entry's count added, is how many uses there were in it, as
		// far as this node knows. So what every use has to change is the count.
		known int64
		// before is how many of the entry's count came before it.
		before int64
	}
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// noPeriods are those of a new entry: every use begins others.
func noPeriods() (pp pendingPeriods) {
	pp.since = math.MinInt64
	for p := range periods {
		pp.of[p].from = math.MinInt64
	}
	return pp
}

// moveTo begins the periods that hold an instant where they are not the present ones.
func (pp *pendingPeriods) moveTo(micro, count int64) {
	if uint64(micro-pp.since) < uint64(2*dayMicros) {
		return
	}
	at := time.UnixMicro(micro)
	for p := range periods {
		pp.begin(p, p.start(at), count)
	}
}

// begin begins a period, unless it is the present one.
func (pp *pendingPeriods) begin(p period, from time.Time, count int64) {
	of, at := &pp.of[p], from.UnixMicro()
	if at != of.from {
		of.from, of.until, of.known, of.before = at, p.end(from).UnixMicro(), -count, count
	}
	if p == perDay {
		pp.since = at - dayMicros
	}
}

// learn takes over what other nodes have written, and the period that they have begun
// where the clock of this one is behind. What is stored holds all that this node has
// written; it may be read from a record that is older than that.
func (pp *pendingPeriods) learn(u *Usage, micro, count int64) {
	for p := range periods {
		of, stored := &pp.of[p], p.of(u)
		from := stored.From.UnixMicro()
		if from > of.from && from <= micro+dayMicros {
			pp.begin(p, stored.From, count)
		}
		if from == of.from {
			of.known = max(of.known, stored.Uses-of.before)
		}
	}
}

// counts returns how many uses there were in the present periods.
func (pp *pendingPeriods) counts(count int64) (out periodCounts) {
	for p := range periods {
		out[p].from, out[p].until, out[p].uses = pp.of[p].from, pp.of[p].until, pp.of[p].known+count
	}
	return out
}

// unwritten puts into u how many of the entry's uses fall into the present periods.
func (pp *pendingPeriods) unwritten(u *Use) {
	for p := range periods {
		if n := u.Count - pp.of[p].before; n > 0 {
			*p.ofUse(u) = PeriodUses{time.UnixMicro(pp.of[p].from).UTC(), n}
		}
	}
}

// take leaves out of u, which is about to be written, what is of a period that has
// ended by now, or a write that comes late could take the present one's place.
func (pp *pendingPeriods) take(u *Use, now time.Time) {
	u.WrittenAt = now.UTC()
	for p := range periods {
		if of := p.ofUse(u); of.From.Before(p.start(now)) {
			*of = PeriodUses{}
		}
		pp.of[p].known += u.Count
		pp.of[p].before = 0
	}
}

// restore takes back what was not written.
func (pp *pendingPeriods) restore(u *Use) {
	for p := range periods {
		of := &pp.of[p]
		of.known -= u.Count
		of.before += u.Count
		if taken := p.ofUse(u); taken.From.UnixMicro() == of.from {
			of.before -= taken.Uses
		}
	}
}
