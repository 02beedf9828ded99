package apitoken

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"time"
)

// Quotas bound how often a token is used in a calendar day, in a week from Monday and
// in a month, each UTC, beside the rates of a [Limit]. Every use counts, once for each
// request, whatever its route and its cost; rotating a token does not renew them, and
// its share does not cut them. 0 = no bound, so the zero Quotas bound nothing.
//
// The uses of all nodes are counted in the store, where each node writes its own
// once per [Options].UsageInterval. So one node keeps a quota exactly. Several may let
// through more, by at most what the others have accepted and not written yet, or
// what a cache before the store does not show yet. Uses that were lost with a killed
// process do not count.
type Quotas struct {
	Day, Week, Month int
}

// Check returns what is wrong with the quotas, nil = nothing.
func (q Quotas) Check() error {
	if q.Day < 0 || q.Week < 0 || q.Month < 0 {
		return errors.New("a quota cannot be negative: give 0 for no bound, or more")
	}
	return nil
}

// The names of quotas in a [Decision]. The name of a [Limit] never begins with
// "uses-per-".
const (
	QuotaDay   = quotaPrefix + "day"
	QuotaWeek  = quotaPrefix + "week"
	QuotaMonth = quotaPrefix + "month"

	quotaPrefix = "uses-per-"
)

// quotasOf returns the quotas of a principal's token.
func (s *Service) quotasOf(ctx context.Context, p *Principal, rules *kindRules) (Quotas, error) {
	if s.opts.QuotasFor == nil {
		return rules.Quotas, nil
	}
	q, found, err := s.opts.QuotasFor(ctx, *p)
	if err == nil && found {
		err = q.Check()
	}
	switch {
	case err != nil:
		return Quotas{}, outage("quotas", err)
	case !found:
		return rules.Quotas, nil
	}
	return q, nil
}

// withinQuotas refuses a token that has used up one of its quotas. It counts nothing:
// a request that a rate limit refuses is no use, and one that a quota refuses takes
// nothing from a rate limit.
func (s *Service) withinQuotas(ctx context.Context, q *Quotas, rec *Record, now time.Time, out *[]Decision) error {
	p := s.uses.entry(&rec.Token)
	if p == nil {
		return errNotCounted
	}
	counts := p.counts(&rec.Token.Usage, now)
	if !q.reached(&counts) {
		return nil
	}
	return s.quotasDecided(ctx, out, q.decisions(&counts, now))
}

// recordWithin is record for a token with quotas: it counts the use if they allow it,
// in one step.
func (s *Service) recordWithin(ctx context.Context, q *Quotas, c *compiled, now time.Time, from netip.Addr, legacy bool, out *[]Decision) error {
	rec := c.principal.rec
	for range 2 { // an entry may die between being handed out and being used
		p := s.uses.entry(&rec.Token)
		if p == nil {
			break
		}
		if counts, ok := p.addWithin(q, &rec.Token.Usage, now, from, legacy); ok {
			return s.quotasDecided(ctx, out, q.decisions(&counts, now))
		}
	}
	return errNotCounted
}

// quotasDecided tells of decisions, and makes an error of those that refuse.
func (s *Service) quotasDecided(ctx context.Context, out *[]Decision, decisions []Decision) error {
	var all refusals
	for _, d := range decisions {
		s.decided(ctx, out, d)
		all.add(refusalOf(d, 1))
	}
	return all.err()
}

// errNotCounted refuses: a use that cannot be counted would be outside of any quota.
var errNotCounted = outage("usage recorder", errors.New("it is full, and no quota can be kept without it: raise Options.MaxPendingUses"))

// peekQuotas says whether the quotas would let a request pass. There is no error and
// false where the token has none.
func (s *Service) peekQuotas(ctx context.Context, principal *Principal, rules *kindRules, now time.Time) (bool, error) {
	q, err := s.quotasOf(ctx, principal, rules)
	if err != nil || q == (Quotas{}) {
		return false, err
	}
	t := principal.rec.Token.clone()
	s.addUnwritten(&t)
	var counts periodCounts
	for p := range periods {
		from := p.start(now)
		counts[p] = PeriodUses{from, p.of(&t.Usage).since(from)}
	}
	var all refusals
	for _, d := range q.decisions(&counts, now) {
		all.add(refusalOf(d, 1))
	}
	return true, all.err()
}

// reached reports whether one of the quotas is used up.
func (q *Quotas) reached(counts *periodCounts) bool {
	for p := range periods {
		if quota := p.quota(q); quota > 0 && counts[p].Uses >= int64(quota) {
			return true
		}
	}
	return false
}

// decisions says what is left of the quotas that there are. Whoever took a use gives
// counts from before it.
func (q *Quotas) decisions(counts *periodCounts, now time.Time) []Decision {
	out := make([]Decision, 0, periods)
	taken := int64(1)
	if q.reached(counts) {
		taken = 0
	}
	for p := range periods {
		quota := p.quota(q)
		if quota == 0 {
			continue
		}
		from := counts[p].From
		end := p.end(from)
		left := int64(quota) - counts[p].Uses
		d := Decision{Limit: p.name(), Quota: quota, Window: end.Sub(from), Allowed: left > 0, Reset: end.Sub(now)}
		if !d.Allowed {
			d.RetryAfter = d.Reset
		}
		d.Remaining = int(min(max(left-taken, 0), math.MaxInt32)) // int has 32 bits on some platforms
		out = append(out, d)
	}
	return out
}
