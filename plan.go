package apitoken

import (
	"fmt"
	"iter"
	"time"
)

// step is one thing that time does.
type step struct {
	at    time.Time
	what  EventType
	cause Cause
}

// steps carries out on rec what is due at or before now, one after the other, in
// the order of their instants however late it is, and yields each when it is
// done. A deletion is the last and leaves rec as it is. An idle revocation, and
// what comes after it, waits until it is due for grace.
func steps(rec *Record, now time.Time, grace time.Duration) iter.Seq[step] {
	return func(yield func(step) bool) {
		for {
			st, ok := plan(rec, now)
			if !ok || st.what == EventRevoked && now.Before(st.at.Add(grace)) {
				return
			}
			st.apply(rec)
			if !yield(st) || st.what == EventDeleted {
				return
			}
		}
	}
}

// plan returns the next step that is due for the record at or before now, and
// whether there is one.
func plan(rec *Record, now time.Time) (step, bool) {
	next, ok := nextStep(rec, now)
	if !ok || next.at.After(now) {
		return step{}, false
	}
	return next, true
}

// nextStep returns the earliest thing that time will do to the record. Of what
// falls on one instant the first here comes first.
func nextStep(rec *Record, now time.Time) (step, bool) {
	t := &rec.Token
	if t.State == StateRevoked || t.strange() != nil {
		return step{}, false
	}
	var next step
	consider := func(at time.Time, what EventType, cause Cause) {
		if !at.IsZero() && (next.at.IsZero() || at.Before(next.at)) {
			next = step{at, what, cause}
		}
	}
	consider(t.IdleAt(now), EventRevoked, CauseIdle)
	consider(rec.PreviousUntil, EventOverlapEnded, "")
	if !rec.ExpiryDone {
		if !rec.NoticeDone && t.State == StateActive {
			consider(t.noticeAt(), EventExpiring, "")
		}
		consider(t.ExpiresAt, EventExpired, CauseExpired)
	}
	at, cause := t.purge()
	consider(at, EventDeleted, cause)
	return next, !next.at.IsZero()
}

// apply carries out the step on the record; a deletion is not the record's.
func (s step) apply(rec *Record) {
	t := &rec.Token
	switch s.what {
	case EventRevoked:
		t.State, t.Cause, t.Reason, t.StateAt = StateRevoked, s.cause, "", s.at
	case EventOverlapEnded:
		rec.PreviousUntil = time.Time{} // also for a clock that steps back
	case EventExpiring:
		rec.NoticeDone = true
	case EventExpired:
		rec.ExpiryDone = true
		if t.Terms.AfterExpiry == ExpiryDisables && t.State == StateActive {
			t.State, t.Cause, t.Reason, t.StateAt = StateDisabled, s.cause, "", s.at
		}
	}
}

// arm sets rec.DueAt to the next instant at which time changes it. What this
// version does not understand stays due for one that does.
func arm(rec *Record, now time.Time) {
	if rec.Token.strange() != nil {
		return
	}
	next, _ := nextStep(rec, now)
	rec.DueAt = next.at
}

// strange says what of the token this version does not understand, as a newer
// one may have written it beside this. Time does nothing to such a token here.
func (t *Token) strange() error {
	switch t.State {
	case StateActive, StateDisabled, StateRevoked:
	default:
		return fmt.Errorf("the state %q is not known to this version", clip(string(t.State)))
	}
	switch t.Terms.AfterExpiry {
	case ExpiryLocks, ExpiryDisables:
	default:
		return fmt.Errorf("what follows the expiry, %q, is not known to this version", clip(string(t.Terms.AfterExpiry)))
	}
	return nil
}
