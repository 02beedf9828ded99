package apitoken

import "time"

// PeriodUses is how many uses there were in a period. The zero value is of no period.
type PeriodUses struct {
	From time.Time `json:"from"` // when the period began: a midnight UTC
	Uses int64     `json:"uses"`
}

// maxAhead is how much later than a use a stored period may begin and be right. The
// clocks of nodes differ by an hour at most.
const maxAhead = 24 * time.Hour

// Add returns u with the uses of more added, the latest of which was at the instant
// last. Those of a later period begin it. Those of an earlier one, from a node whose
// clock is behind, are passed over, unless u begins more than 24 hours after last:
// then u is of a clock that ran ahead, and more takes its place. Stores that count in
// Go share it.
func (u PeriodUses) Add(more PeriodUses, last time.Time) PeriodUses {
	switch {
	case more.From.IsZero():
	case more.From.Equal(u.From):
		u.Uses += more.Uses
	case more.From.After(u.From), u.From.After(last.Add(maxAhead)):
		return more
	}
	return u
}

// since returns how many of the uses belong to the period that begins at from.
func (u PeriodUses) since(from time.Time) int64 {
	if u.From.Equal(from) {
		return u.Uses
	}
	return 0
}

// period is one of those that uses are counted in.
type period int

const (
	perDay period = iota
	perWeek
	perMonth
	periods // how many there are
)

// periodCounts are the uses in one of each.
type periodCounts [periods]PeriodUses

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
		from int64 // when it began
		// known, with the entry's count added, is how many uses there were in it, as
		// far as this node knows. So what every use has to change is the count.
		known int64
		// before is how many of the entry's count came before it.
		before int64
	}
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// noPeriods are those of a new entry: every use begins others.
var noPeriods = pendingPeriods{since: -1 << 63}

// moveTo begins the periods that hold an instant where they are not the present ones.
func (pp *pendingPeriods) moveTo(micro, count int64) {
	if uint64(micro-pp.since) < uint64(2*dayMicros) {
		return
	}
	at := time.UnixMicro(micro)
	for p := range periods {
		if from := p.start(at).UnixMicro(); from != pp.of[p].from {
			pp.of[p].from, pp.of[p].known, pp.of[p].before = from, -count, count
		}
	}
	pp.since = pp.of[perDay].from - dayMicros
}

// learn takes over what other nodes have written. What is stored holds all that this
// node has written; it may be read from a record that is older than that.
func (pp *pendingPeriods) learn(u *Usage) {
	for p := range periods {
		if stored := p.of(u); stored.From.UnixMicro() == pp.of[p].from {
			pp.of[p].known = max(pp.of[p].known, stored.Uses-pp.of[p].before)
		}
	}
}

// counts returns how many uses there were in the present periods.
func (pp *pendingPeriods) counts(count int64) (out periodCounts) {
	for p := range periods {
		out[p] = PeriodUses{time.UnixMicro(pp.of[p].from).UTC(), pp.of[p].known + count}
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
