package apitoken

import (
	"context"
	"errors"
	"fmt"
)

// OwnerChange tells what happened to a user in the host's directory. Report it
// when it is in effect there.
type OwnerChange struct {
	Owner  string          // user ID in the actor's tenant; required
	What   OwnerChangeType // required
	Reason string          // for the audit events
}

// OwnerChangeType names a change of a user.
type OwnerChangeType string

// The changes of a user. [Service.OwnerChanged] says what each does.
const (
	OwnerDeactivated OwnerChangeType = "deactivated"
	OwnerReactivated OwnerChangeType = "reactivated"
	OwnerReduced     OwnerChangeType = "reduced"     // has fewer permissions or roles than before
	OwnerSSOEnabled  OwnerChangeType = "sso_enabled" // single sign-on, ordinary or strict, holds for the user
	OwnerDeleted     OwnerChangeType = "deleted"
)

// ChangeReport says what became of the tokens that a reported change concerns.
type ChangeReport struct {
	Changed []ID           // changed by this call, each with its event
	Skipped []ID           // left as they are: the change asks for nothing, or it was done before
	Failed  []TokenFailure // not changed: repeat the call
}

// TokenFailure is a token that a call could not change, and why.
type TokenFailure struct {
	ID  ID
	Err error
}

// OwnerChanged writes what a change of a user means for the user's tokens.
// Tokens of the tenant and of agents stay as they are, whoever created them
// (S3.5).
//
//   - [OwnerDeactivated]: active tokens of kinds with [OwnerDisables] become
//     disabled with [CauseOwner], and the time to their deletion begins (S3.16).
//     One that is disabled already keeps its cause and its time. Tokens of other
//     kinds are refused at each verification, and nothing is written (S1.8).
//   - [OwnerReactivated] and [OwnerReduced] write nothing: each verification asks
//     [Options].Owners. What was disabled stays so until Enable.
//   - [OwnerSSOEnabled]: IDs and secrets of an older kind no longer open the
//     user's tokens, at once and for good (S3.18). The generated values go on
//     working.
//   - [OwnerDeleted]: all of the user's tokens are revoked, with [CauseOwner].
//
// The actor is a [System] one of the user's tenant. Each token is a guarded write
// of its own, and one that fails does not hold up the rest. To repeat the call is
// safe: it does what is left.
//
// Errors: [ErrForbidden]; [ErrInvalid]; [ErrConflict] ([StateError]) while
// Options.Owners says that the deactivated or deleted user is active, so that a
// report that comes late harms nobody; [ErrUnavailable], with what was done.
func (s *Service) OwnerChanged(ctx context.Context, actor Actor, what OwnerChange) (ChangeReport, error) {
	var f faults
	f.required("owner", what.Owner)
	f.text("reason", what.Reason, maxReason, true)
	o, gone := changeOptions{reason: what.Reason}, false
	var decide func(ch *change) bool
	switch what.What {
	case OwnerReactivated, OwnerReduced:
	case OwnerDeactivated:
		o.verb, gone, decide = verbDisable, true, (*change).ownerDeactivated
	case OwnerDeleted:
		o.verb, gone, decide = verbRevoke, true, (*change).ownerDeleted
	case OwnerSSOEnabled:
		o.verb, decide = verbEndLegacy, (*change).endLegacy
	default:
		f.add("what", "%q is unknown: use one of the Owner constants, such as OwnerDeactivated", clip(string(what.What)))
	}
	pw, err := s.reporter(ctx, actor, f)
	if err != nil || decide == nil {
		return ChangeReport{}, err
	}
	if gone && s.opts.Owners != nil {
		st, err := s.standing(ctx, actor.Tenant, what.Owner)
		if err != nil {
			return ChangeReport{}, err
		}
		if st.Active {
			return ChangeReport{}, &StateError{Verb: o.verb, Why: "Options.Owners says that the user is active: report the change when it is in effect"}
		}
	}
	return s.changeEach(ctx, &pw, StoreQuery{Owner: what.Owner}, o, func(ch *change) (bool, error) { return decide(ch), nil })
}

// ownerDeactivated disables an active token where its kind says so.
func (ch *change) ownerDeactivated() bool {
	if ch.rules.OwnerInactive != OwnerDisables || ch.rec.Token.StatusAt(ch.rec.notBefore(ch.now)) != StatusActive {
		return false
	}
	ch.setState(StateDisabled, CauseOwner)
	ch.note(EventDisabled, CauseOwner)
	return true
}

// ownerDeleted revokes a token in every other state.
func (ch *change) ownerDeleted() bool { return ch.end(CauseOwner) }

// endLegacy ends the older credential of a token. The alias stays, so that its
// end can be explained, and nobody binds it again.
func (ch *change) endLegacy() bool {
	if ch.rec.Legacy.IsZero() || ch.rec.Token.State == StateRevoked {
		return false
	}
	ch.rec.Legacy = Slot{}
	ch.note(EventLegacyEnded, "", "legacy")
	return true
}

// end revokes a token that is not, without asking about its agent.
func (ch *change) end(cause Cause) bool {
	if ch.rec.Token.State == StateRevoked {
		return false
	}
	ch.setState(StateRevoked, cause)
	ch.note(EventRevoked, cause)
	return true
}

// reporter is the powers of an actor who reports changes of the directory, if it
// may and the report has no faults.
func (s *Service) reporter(ctx context.Context, actor Actor, f faults) (powers, error) {
	if err := actor.check(); err != nil {
		return powers{}, err
	}
	if !actor.system || actor.crossTenant {
		return powers{}, mayNot("changes of users and agents are reported by a System actor of their tenant")
	}
	if err := f.join(); err != nil {
		return powers{}, err
	}
	return s.powers(ctx, actor)
}

// changeEach changes the tokens of the actor's tenant that query finds, each in a
// guarded write of its own. decide says whether it changed the token.
func (s *Service) changeEach(ctx context.Context, pw *powers, query StoreQuery, o changeOptions, decide func(ch *change) (bool, error)) (ChangeReport, error) {
	var report ChangeReport
	err := s.each(ctx, pw, query, func(rec *Record) error {
		id, changed := rec.Token.ID, false
		_, err := s.changeAs(ctx, pw, id, o, nil, func(ch *change) (err error) {
			changed, err = decide(ch)
			return err
		})
		switch {
		case errors.Is(err, ErrNotFound): // deleted meanwhile
		case err != nil:
			report.Failed = append(report.Failed, TokenFailure{id, err})
		case changed:
			report.Changed = append(report.Changed, id)
		default:
			report.Skipped = append(report.Skipped, id)
		}
		return ctx.Err()
	})
	if err == nil && len(report.Failed) > 0 {
		err = fmt.Errorf("%d tokens were not changed, repeat the call: %w", len(report.Failed), report.Failed[0].Err)
	}
	return report, err
}

// each visits the tokens of the actor's tenant that query finds, oldest first.
func (s *Service) each(ctx context.Context, pw *powers, query StoreQuery, visit func(rec *Record) error) error {
	query.Tenant, query.AllKinds, query.Now, query.Sort, query.Limit = pw.actor.Tenant, true, s.instant(), SortCreated, maxPage
	for {
		recs, err := s.store.List(ctx, query)
		if err != nil {
			return outage("store", err)
		}
		for _, rec := range recs {
			if err := visit(rec); err != nil {
				return outage("store", err)
			}
		}
		if len(recs) < query.Limit {
			return nil
		}
		last := PositionOf(&recs[len(recs)-1].Token, query.Sort, query.Now)
		query.After = &last
	}
}
