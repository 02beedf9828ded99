package apitoken

import (
	"context"
	"time"
)

// What time does to a token follows from its record alone: plan and the
// methods on Token in this file read no clock and no policy.

// renewed returns the instant from which the idle time counts: the end of the
// interval that holds the last recorded use, so that a token never dies early
// for a use that was recorded late; the creation for a token never used, or only
// before it by a clock that is behind. A last use in the future, from a node whose
// clock ran ahead, is clamped.
func (t *Token) renewed(now time.Time) time.Time {
	last := t.Usage.LastUsed
	if last.Before(t.CreatedAt) { // never used too. DueAt counts from the creation
		return t.CreatedAt
	}
	if last.After(now) {
		last = now
	}
	step := t.Terms.Interval.Microseconds()
	if step <= 0 {
		return last
	}
	micro := last.UnixMicro()
	return time.UnixMicro(micro - micro%step + step).UTC()
}

// IdleAt returns when the token will be revoked for lack of use, as far as its
// recorded uses tell at now; zero = never.
func (t *Token) IdleAt(now time.Time) time.Time {
	if t.Terms.Idle <= 0 || t.State == StateRevoked {
		return time.Time{}
	}
	return t.renewed(now).Add(t.Terms.Idle)
}

// idle reports whether the token's idle time has run out at now.
func (t *Token) idle(now time.Time) bool {
	at := t.IdleAt(now)
	return !at.IsZero() && !now.Before(at)
}

// notBefore is now, or the expiry if what follows it was written already: a clock
// that steps back un-expires nothing.
func (rec *Record) notBefore(now time.Time) time.Time {
	if rec.ExpiryDone && now.Before(rec.Token.ExpiresAt) {
		return rec.Token.ExpiresAt
	}
	return now
}

// EndsAt returns when the token will stop working by time alone: its expiry or
// the end of its idle time, whichever comes first; zero = never.
func (t *Token) EndsAt(now time.Time) time.Time { return earliest(t.ExpiresAt, t.IdleAt(now)) }

// PurgeAt returns when the token will be deleted, zero = not by time. From that
// instant on it is not found, swept or not.
func (t *Token) PurgeAt(now time.Time) time.Time {
	at, _ := t.purge()
	if t.State == StateActive && t.Terms.AfterExpiry == ExpiryDisables && t.Terms.Purge > 0 && !t.ExpiresAt.IsZero() {
		at = t.ExpiresAt.Add(t.Terms.Purge) // disabled by then
	}
	if t.idle(now) && !t.IdleAt(now).After(at) {
		return time.Time{} // revoked before that, and revoked tokens are kept
	}
	return at
}

// purge returns when a token that stays in its present state is deleted, and
// why; zero = not by time.
func (t *Token) purge() (at time.Time, cause Cause) {
	if t.State == StateRevoked || t.strange() != nil {
		return at, cause
	}
	if t.State == StateDisabled && t.Terms.Purge > 0 {
		at, cause = t.StateAt.Add(t.Terms.Purge), t.Cause
	}
	if t.Terms.AfterExpiry == ExpiryLocks && t.Terms.PurgeExpired > 0 && !t.ExpiresAt.IsZero() {
		if locked := t.ExpiresAt.Add(t.Terms.PurgeExpired); at.IsZero() || locked.Before(at) {
			at, cause = locked, CauseExpired
		}
	}
	return at, cause
}

// noticeAt returns when the holders are told that the token expires; zero = not
// at all. For a whole day the notice counts to its date (S2.33), a life that was
// set shorter than the notice has none (S3.8), and nobody is told before the
// expiry was set or while the token was disabled.
func (t *Token) noticeAt() time.Time {
	notice := t.Terms.Notice
	if notice <= 0 || t.ExpiresAt.IsZero() || t.ExpiresAt.Sub(t.ExpirySetAt) < notice {
		return time.Time{}
	}
	at := t.ExpiresAt.Add(-notice)
	if t.WholeDay {
		at = at.Add(-24 * time.Hour)
	}
	for _, since := range []time.Time{t.ExpirySetAt, t.StateAt} {
		if at.Before(since) {
			at = since
		}
	}
	if !at.Before(t.ExpiresAt) {
		return time.Time{}
	}
	return at
}

// StatusAt returns what the token is at now by its own record: active,
// disabled, expired or revoked. Whether its owner or agent suspends it is known
// only to [View].Status.
func (t *Token) StatusAt(now time.Time) Status {
	switch {
	case t.State == StateRevoked || t.idle(now):
		return StatusRevoked
	case t.State == StateDisabled && t.Terms.AfterExpiry == ExpiryDisables:
		return StatusDisabled
	case t.Expired(now) && t.Terms.AfterExpiry == ExpiryDisables:
		return StatusDisabled // with cause 'expired' (S3.7)
	case t.Expired(now):
		return StatusExpired
	case t.State == StateDisabled:
		return StatusDisabled
	}
	return StatusActive
}

const (
	healthGreen = 3 * 24 * time.Hour
	healthRed   = 7 * 24 * time.Hour
)

// color is the health colour as far as the record tells: all but yellow.
func (t *Token) color(now time.Time) Color {
	status := t.StatusAt(now)
	if status == StatusRevoked {
		return ColorNone
	}
	if t.Expired(now) {
		return ColorRed
	}
	if status == StatusDisabled {
		return ColorNone
	}
	if ends := t.EndsAt(now); !ends.IsZero() && !ends.After(now.Add(healthRed)) {
		return ColorRed
	}
	if !t.Usage.LastUsed.IsZero() && now.Sub(t.Usage.LastUsed) <= healthGreen {
		return ColorGreen
	}
	return ColorGrey
}

func earliest(a, b time.Time) time.Time {
	switch {
	case a.IsZero():
		return b
	case b.IsZero() || a.Before(b):
		return a
	}
	return b
}

// Extend sets a new expiry, later or sooner, within what the kind allows from
// today (S2.33). An expired token cannot be extended; where its kind counts it
// as disabled, Enable takes a new expiry.
//
// Errors: [ErrNotFound], [ErrForbidden], [ErrInvalid] (field "expiry"),
// [ErrConflict] ([ErrVersion], [StateError]), [ErrUnavailable].
func (s *Service) Extend(ctx context.Context, actor Actor, id ID, req ExtendRequest) (View, error) {
	return s.changed(ctx, actor, id, changeOptions{verbExtend, req.IfVersion, req.Reason}, func(ch *change) error {
		if err := ch.editable(verbExtend); err != nil {
			return err
		}
		if ch.rules.FixedExpiry {
			return &StateError{Verb: verbExtend, Status: ch.rec.Token.StatusAt(ch.now), Why: "the expiry of a " + string(ch.rules.kind) + " token does not change: issue a new one"}
		}
		if req.Expiry.IsZero() {
			return fieldErr("expiry", "is required: give the new one")
		}
		at, err := ch.rules.Lifetime.resolve(req.Expiry, ch.now)
		if err != nil {
			return err
		}
		ch.setExpiry(at)
		ch.note(EventExtended, "", "expiry")
		return nil
	})
}

// Disable stops a token at once, until Enable (S3.13). A token that is disabled
// already stays as it is, with its cause and its time. It is a pause: who may
// enable the token, as a rule its owner, can end it, so Revoke what must stay
// stopped. An active agent's token
// is not disabled: deactivate the agent.
//
// Errors: [ErrNotFound], [ErrForbidden], [ErrConflict] ([StateError]),
// [ErrInvalid] (field "reason"), [ErrUnavailable].
func (s *Service) Disable(ctx context.Context, actor Actor, id ID, reason string) (View, error) {
	return s.changed(ctx, actor, id, changeOptions{verb: verbDisable, reason: reason}, func(ch *change) error { return ch.disable(ctx) })
}

func (ch *change) disable(ctx context.Context) error {
	if ch.rec.Token.State == StateDisabled {
		return nil
	}
	if err := ch.editable(verbDisable); err != nil {
		return err
	}
	if err := ch.agentInactive(ctx, verbDisable); err != nil {
		return err
	}
	ch.setState(StateDisabled, CauseByHand)
	ch.note(EventDisabled, CauseByHand)
	return nil
}

// Enable makes a disabled token work again, with a new expiry where its kind
// asks for one (S3.15). One that is active stays as it is if no expiry is given.
//
// Errors: as [Service.Extend].
func (s *Service) Enable(ctx context.Context, actor Actor, id ID, req EnableRequest) (View, error) {
	return s.changed(ctx, actor, id, changeOptions{verbEnable, req.IfVersion, req.Reason}, func(ch *change) error {
		t := &ch.rec.Token
		if err := ch.editable(verbEnable); err != nil {
			return err
		}
		if t.State == StateActive {
			if req.Expiry.IsZero() {
				return nil
			}
			return &StateError{Verb: verbEnable, Status: StatusActive, Why: "the token is active: use Extend to change its expiry"}
		}
		if err := s.ownerMayHave(ctx, ch); err != nil {
			return err
		}
		at, err := ch.newExpiry(req.Expiry)
		if err != nil {
			return err
		}
		if !req.Expiry.IsZero() {
			ch.setExpiry(at)
		}
		ch.setState(StateActive, "")
		ch.note(EventEnabled, "")
		return nil
	})
}

// newExpiry is the expiry that Enable gives, checked against what the kind asks.
func (ch *change) newExpiry(e Expiry) (time.Time, error) {
	switch {
	case ch.rules.EnableNeedsExpiry && (e.IsZero() || e.how == expiryNever):
		return time.Time{}, fieldErr("expiry", "enabling a %s token needs a new expiry: give a date or an instant to come", ch.rules.kind)
	case e.IsZero() && ch.rec.Token.Expired(ch.rec.notBefore(ch.now)):
		return time.Time{}, fieldErr("expiry", "the present one has passed: give a new one")
	case e.IsZero():
		return ch.rec.Token.ExpiresAt, nil
	}
	return ch.rules.Lifetime.resolve(e, ch.now)
}

// ownerMayHave refuses to enable what would be refused for its owner.
func (s *Service) ownerMayHave(ctx context.Context, ch *change) error {
	t := &ch.rec.Token
	if s.opts.Owners == nil || t.Owner == "" || ch.rules.OwnerInactive == OwnerIgnored {
		return nil
	}
	st, err := s.standing(ctx, t.Tenant, t.Owner)
	if err != nil {
		return err
	}
	if !st.Active {
		return &StateError{Verb: verbEnable, Status: t.StatusAt(ch.now), Why: "its owner is not active: reactivate the owner first"}
	}
	return nil
}

// Revoke ends a token for good; it stays visible. Once Revoke returned nil no
// later Verify on this Service accepts it. Revoking again is success. A person's
// token can be revoked in every state (S1.29), an agent's only while the agent is
// not active (S1.28).
//
// Errors: [ErrNotFound], [ErrConflict] ([StateError]), [ErrInvalid] (field
// "reason"), [ErrUnavailable]: repeat the call.
func (s *Service) Revoke(ctx context.Context, actor Actor, id ID, reason string) error {
	_, err := s.change(ctx, actor, id, changeOptions{verb: verbRevoke, reason: reason}, func(ch *change) error { return ch.revoke(ctx) })
	return err
}

func (ch *change) revoke(ctx context.Context) error {
	if ch.rec.Token.State == StateRevoked {
		return nil
	}
	if err := ch.agentInactive(ctx, verbRevoke); err != nil {
		return err
	}
	ch.setState(StateRevoked, CauseByHand)
	ch.note(EventRevoked, CauseByHand)
	return nil
}

// Delete removes a token in any state; its events stay. An active agent's token
// is not deleted: deactivate the agent. A token that is gone is [ErrNotFound].
//
// Errors: as [Service.Revoke].
func (s *Service) Delete(ctx context.Context, actor Actor, id ID, reason string) error {
	_, err := s.change(ctx, actor, id, changeOptions{verb: verbDelete, reason: reason}, func(ch *change) error {
		if err := ch.agentInactive(ctx, verbDelete); err != nil {
			return err
		}
		ch.deleted = true
		ch.note(EventDeleted, CauseByHand)
		return nil
	})
	return err
}

// changed is change with a view of the outcome.
func (s *Service) changed(ctx context.Context, actor Actor, id ID, o changeOptions, decide func(ch *change) error) (View, error) {
	ch, err := s.change(ctx, actor, id, o, decide)
	if err != nil {
		return View{}, err
	}
	view, err := s.view(ctx, ch.rec, ch.now, nil)
	if err != nil {
		return s.plainView(ch.rec, ch.now), nil // the change is made; only look-ups for show failed
	}
	return view, nil
}
