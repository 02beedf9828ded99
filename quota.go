package apitoken

import (
	"context"
	"errors"
	"time"
)

// Quotas bound how often a token is used in a calendar day, in a week from Monday and
// in a month, each UTC, beside the rates of a [Limit]. Every use counts, once for each
// request, whatever its route and its cost; rotating a token does not renew them, and
// its share does not cut them. 0 = no bound, so the zero Quotas bound nothing.
//
// The uses of all nodes are counted in the store, where each node writes its own
// once per [Options].UsageInterval, if the host calls [Service.Run] or [Service.Flush].
// So one node keeps a quota exactly. Several may let through more, by at most what the
// others have accepted and not written yet, or what a cache before the store does not
// show yet. Uses that were lost with a killed process do not count; those of a write
// whose outcome is unclear are written again, and may count twice. A use that cannot
// be counted, since [Options].MaxPendingUses tokens wait to be written, is refused with
// [ErrUnavailable]. What a clock that is set back by days finds is another period, and
// its quota is whole.
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

// countWithinQuotas counts a request against the rate limits and as a use, if the
// quotas of its token allow it. They are asked first and without counting, as what
// one refuses must take nothing from a rate limit, and what a rate limit refuses is no
// use; and again, in one step with the counting, for requests that came meanwhile.
func (s *Service) countWithinQuotas(ctx context.Context, c *compiled, req *VerifyRequest, p *Principal, now time.Time) error {
	q, err := s.quotasOf(ctx, p, c.rules)
	if err != nil {
		return err
	}
	rec, legacy := p.rec, p.Scheme == SchemeLegacy
	var entry *pendingUse
	if q != (Quotas{}) {
		var known bool
		if entry, known = s.uses.hold(c); entry == nil {
			return errNotCounted
		}
		defer entry.release()
		if !known {
			if err := s.learnUses(ctx, entry, rec.Token.ID, now); err != nil {
				return err
			}
		}
		counts := entry.counts(&rec.Token.Usage, now)
		if q.reached(&counts) {
			return s.quotasDecided(ctx, req.Decisions, &q, &counts, now)
		}
	}
	if len(req.Limits) > 0 {
		if err := s.limit(ctx, p, limiting{req.Limits, req.Cost, req.Decisions}, now); err != nil {
			return err
		}
	}
	if entry == nil {
		s.record(c, rec, now, req.Address, legacy)
		return nil
	}
	counts := entry.addWithin(&q, now, req.Address, legacy)
	return s.quotasDecided(ctx, req.Decisions, &q, &counts, now)
}

// learnUses tells an entry that is new, and held, what the store has counted. The
// record that a request has may have been read before another entry, which is gone,
// was written.
func (s *Service) learnUses(ctx context.Context, entry *pendingUse, id ID, now time.Time) error {
	stored, err := s.fresh(ctx, id)
	switch {
	case err == nil:
		entry.learn(&stored.Token.Usage, now)
	case errors.Is(err, ErrNotFound):
		return ErrUnknownToken // deleted a moment ago
	}
	return err
}

// errNotCounted refuses: a use that cannot be counted would be outside of any quota.
var errNotCounted = outage("usage recorder", errors.New("it is full, and no quota can be kept without it: call Run or Flush, see why uses are not written, or raise Options.MaxPendingUses"))

// quotasDecided tells what was decided by counts from before the use, and makes an
// error of what refuses.
func (s *Service) quotasDecided(ctx context.Context, out *[]Decision, q *Quotas, counts *periodCounts, now time.Time) error {
	if out == nil && s.opts.Observer.Limited == nil && !q.reached(counts) {
		return nil // nobody wants to know
	}
	var all refusals
	for _, d := range q.decisions(counts, now) {
		s.decided(ctx, out, d)
		all.add(refusalOf(d, 1))
	}
	return all.err()
}

// peekQuotas says whether the quotas would let a request pass. There is no error and
// false where the token has none.
func (s *Service) peekQuotas(ctx context.Context, principal *Principal, rules *kindRules, now time.Time) (bool, error) {
	q, err := s.quotasOf(ctx, principal, rules)
	if err != nil || q == (Quotas{}) {
		return false, err
	}
	usage := &principal.rec.Token.Usage
	entry, full := s.uses.find(principal.Token)
	var counts periodCounts
	switch {
	case entry != nil:
		counts = entry.counts(usage, now)
	case full:
		return true, errNotCounted
	default:
		for p := range periods {
			u := p.of(usage).ofNow(p, now)
			counts[p].from, counts[p].until, counts[p].uses = u.From.UnixMicro(), p.end(u.From).UnixMicro(), u.Uses
		}
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
		if quota := p.quota(q); quota > 0 && counts[p].uses >= int64(quota) {
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
		from, until := time.UnixMicro(counts[p].from), time.UnixMicro(counts[p].until)
		left := int64(quota) - counts[p].uses
		d := Decision{Limit: p.name(), Quota: quota, Window: until.Sub(from), Allowed: left > 0, Reset: until.Sub(now)}
		if !d.Allowed {
			d.RetryAfter = d.Reset
		}
		d.Remaining = int(max(left-taken, 0)) // no more than the quota, which is an int
		out = append(out, d)
	}
	return out
}
