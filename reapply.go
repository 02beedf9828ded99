package apitoken

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
)

// ReapplyRequest names the tokens that get the present terms of their kind.
type ReapplyRequest struct {
	Kind Kind // required, and configured in [Options].Kinds
	// Apply writes the terms. Without it nothing is written: the report comes first.
	Apply  bool
	Reason string // for the audit event
}

// Reapplied is what new terms mean for one token.
type Reapplied struct {
	Tenant  string       `json:"tenant"`
	Target  Target       `json:"target"`
	Before  Terms        `json:"before"`
	After   Terms        `json:"after"`
	Due     []Forecasted `json:"due,omitempty"` // what the next sweep does because of them
	Applied bool         `json:"applied"`       // written; false in a report
}

// Reapply puts the terms of a policy that was changed ([Terms]: idle time,
// notice, what follows the expiry, purges) on tokens that were issued before, and
// yields each token whose terms differ. Run it without Apply first and look at
// Due: a shorter idle time or purge can end many tokens at once. With Apply each
// token gets its terms in one guarded write, with an [EventReapplied].
//
// What is due by the old terms is done first, and nothing comes back: revoked
// tokens stay as they are. What followed an expiry that has passed stays too, and
// so does what came from an agent's kind. No expiry is moved; Extend does that. It may be stopped and called again at any
// time: tokens that have the terms are passed over.
//
// Only a [System] actor may call it, for its tenant; the one of
// [DangerouslyCrossTenant] for all. An error that comes with a Target is that
// token's alone, which this version does not understand; the others follow. Any
// other is the last: [ErrForbidden], [ErrInvalid] (fields "kind", "reason"),
// [ErrUnavailable].
func (s *Service) Reapply(ctx context.Context, actor Actor, req ReapplyRequest) iter.Seq2[Reapplied, error] {
	return func(yield func(Reapplied, error) bool) {
		query, err := s.reapplyQuery(ctx, actor, &req)
		if err != nil {
			yield(Reapplied{}, err)
			return
		}
		for {
			recs, err := s.store.List(ctx, query)
			if err != nil {
				yield(Reapplied{}, outage("store", err))
				return
			}
			for _, rec := range recs {
				if err := rec.Token.strange(); err != nil {
					err = fmt.Errorf("apitoken: token %s: %w", rec.Token.ID, err)
					if !yield(Reapplied{Tenant: rec.Token.Tenant, Target: target(&rec.Token)}, err) {
						return
					}
					continue
				}
				r, ok, err := s.reapplyOne(ctx, actor, rec, &req)
				if err != nil {
					yield(Reapplied{}, err)
					return
				}
				if ok && !yield(r, nil) {
					return
				}
			}
			if len(recs) < query.Limit {
				return
			}
			last := PositionOf(&recs[len(recs)-1].Token, query.Sort, query.Now)
			query.After = &last
		}
	}
}

func (s *Service) reapplyQuery(ctx context.Context, actor Actor, req *ReapplyRequest) (StoreQuery, error) {
	query, err := s.query(ctx, actor)
	if err != nil {
		return query, err
	}
	if !actor.system {
		return query, mayNot("the terms of existing tokens are the host's to change: use a System actor")
	}
	var f faults
	if _, known := s.kinds[req.Kind]; !known {
		f.add("kind", "%q is not in Options.Kinds: use one of %v", clip(string(req.Kind)), s.kindNames())
	}
	f.text("reason", req.Reason, maxReason, true)
	query.OnlyKinds, query.Sort, query.Limit = []Kind{req.Kind}, SortCreated, maxPage
	return query, f.join()
}

// reapplyOne reports what the present terms mean for a token, and writes them if
// asked to; false = nothing.
func (s *Service) reapplyOne(ctx context.Context, actor Actor, rec *Record, req *ReapplyRequest) (Reapplied, bool, error) {
	now := s.instant()
	// What was listed is looked at as a change would find it, and changed only if
	// there is something to change.
	if steps := s.forecast(rec, now, 0); len(steps) > 0 && steps[len(steps)-1].What == EventDeleted {
		return Reapplied{}, false, nil
	}
	out, ok := s.reterm(rec, now)
	if !ok || !req.Apply {
		return out, ok, nil
	}
	_, err := s.change(ctx, actor, rec.Token.ID, changeOptions{verb: verbReapply, reason: req.Reason}, func(ch *change) error {
		if out, ok = s.reterm(ch.rec, ch.now); ok {
			ch.note(EventReapplied, "", changedTerms(&out.Before, &out.After)...)
			out.Applied = true
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return Reapplied{}, false, nil // deleted meanwhile
	}
	return out, ok, err
}

// reterm gives rec, into which what is due was folded, the present terms of its
// kind; false = it has them already, or its life is over.
func (s *Service) reterm(rec *Record, now time.Time) (Reapplied, bool) {
	t := &rec.Token
	rules, _ := s.rulesOf(t.Kind)
	out := Reapplied{Tenant: t.Tenant, Target: target(t), Before: t.Terms, After: rules.terms(s.opts.UsageInterval)}
	out.After.RevokeOnDeactivation = t.Terms.RevokeOnDeactivation // the agent's kind's, not the policy's alone
	if t.Expired(rec.notBefore(now)) {
		out.After.AfterExpiry = t.Terms.AfterExpiry // it has followed
	}
	if t.State == StateRevoked || out.After == out.Before {
		return Reapplied{}, false
	}
	t.Terms = out.After
	out.Due = s.forecast(rec.Clone(), now, 0)
	return out, true
}

func changedTerms(a, b *Terms) []string {
	changed := []string{
		differs("idle", a.Idle, b.Idle), differs("interval", a.Interval, b.Interval), differs("after_expiry", a.AfterExpiry, b.AfterExpiry),
		differs("purge", a.Purge, b.Purge), differs("purge_expired", a.PurgeExpired, b.PurgeExpired), differs("notice", a.Notice, b.Notice),
	}
	return slices.DeleteFunc(changed, func(name string) bool { return name == "" })
}

func differs[T comparable](name string, a, b T) string {
	if a == b {
		return ""
	}
	return name
}
