package apitoken

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The verbs, as they stand in errors.
const (
	verbEdit    = "edit"
	verbExtend  = "extend"
	verbDisable = "disable"
	verbEnable  = "enable"
	verbRevoke  = "revoke"
	verbDelete  = "delete"
	verbRotate  = "rotate"
	verbReuse   = "report reuse"
	verbReapply = "reapply"
	verbLeak    = "report a leak"
	verbIssue   = "issue"

	verbRewrap    = "rewrap"
	verbRatchet   = "end the bearer value"
	verbEndLegacy = "end the older credential"
)

// change is one managing call at work on one token: what was read, with what is
// due folded in, and what becomes of it.
type change struct {
	s      *Service
	now    time.Time
	actor  Actor
	powers *powers
	rules  *kindRules
	known  bool
	reason string

	rec     *Record // the next version, as far as it is made
	guard   Guard
	events  []Event
	dirty   bool // rec differs from what is stored
	deleted bool // delete instead of swap
}

type changeOptions struct {
	verb      string
	ifVersion int64
	reason    string
}

// maxTries bounds how often a change is decided anew after a conflict.
const maxTries = 3

// change reads a token, folds in what is due by the clock, lets decide make its
// change, and writes it all in one guarded write with its events. If somebody
// else was faster it decides anew. It returns what was made, its record as it is then.
//
// Every decision is made from a fresh read; decide may be called several times
// and must be free of side effects but on ch.
func (s *Service) change(ctx context.Context, actor Actor, id ID, o changeOptions, decide func(ch *change) error) (*change, error) {
	if err := actor.check(); err != nil {
		return nil, err
	}
	var f faults
	f.text("reason", o.reason, maxReason, true)
	pw, err := s.powers(ctx, actor)
	if err != nil {
		return nil, err
	}
	return s.changeAs(ctx, &pw, id, o, f, decide)
}

// changeAs is change for an actor whose powers are known, and who made faults in
// the rest of the request.
func (s *Service) changeAs(ctx context.Context, pw *powers, id ID, o changeOptions, f faults, decide func(ch *change) error) (*change, error) {
	for range maxTries {
		ch, err := s.begin(ctx, pw, id, o)
		if err != nil {
			return nil, err
		}
		version := ch.rec.Token.Version
		if o.ifVersion != 0 && o.ifVersion != version {
			return nil, ErrVersion
		}
		if err := pw.may(o.verb, ch.rules, &ch.rec.Token); err != nil {
			return nil, err
		}
		if err := ch.strengthens(o.verb); err != nil {
			return nil, err
		}
		err = decide(ch)
		if err == nil || errors.Is(err, ErrInvalid) {
			err = errors.Join(f.join(), err) // all that is wrong, at once
		}
		if err != nil {
			return nil, err
		}
		if !ch.dirty && len(ch.events) == 0 {
			return ch, nil
		}
		err = ch.write(ctx, version)
		if err == nil {
			return ch, nil
		}
		if !errors.Is(err, ErrConflict) {
			return nil, err
		}
		if _, dup := errors.AsType[*DuplicateError](err); dup {
			return nil, err
		}
	}
	return nil, outage("store", fmt.Errorf("token %s was changed by others %d times in a row: try again", id, maxTries))
}

// begin reads the token and folds in what is due.
func (s *Service) begin(ctx context.Context, pw *powers, id ID, o changeOptions) (*change, error) {
	rec, err := s.fresh(ctx, id)
	if err != nil {
		return nil, err
	}
	rules, known := s.rulesOf(rec.Token.Kind)
	if !pw.sees(rules, &rec.Token) {
		return nil, ErrNotFound
	}
	ch := &change{s: s, now: s.instant(), actor: pw.actor, powers: pw, rules: rules, known: known, reason: o.reason, rec: rec}
	if _, gone := ch.fold(0); gone {
		return nil, ErrNotFound
	}
	return ch, nil
}

// fold applies what time asks for; an idle revocation only when it is due for
// grace. It reports true when the token is due to be deleted: from that instant on
// it is not found, swept or not.
func (ch *change) fold(grace time.Duration) (purge step, gone bool) {
	t := &ch.rec.Token
	recorded := t.Usage.LastUsed
	ch.s.addPending(t)
	defer func() { t.Usage.LastUsed = recorded }()
	for st := range steps(ch.rec, ch.now, grace) {
		switch st.what {
		case EventDeleted:
			return st, true
		case EventRevoked:
			ch.guard = Guard{NotUsedAfter: recorded, NeverUsed: recorded.IsZero()}
		}
		ch.dirty = true
		ch.events = append(ch.events, ch.timed(st))
	}
	return step{}, false
}

// timed makes the event of what time did.
func (ch *change) timed(st step) Event {
	e := ch.event(st.what, st.cause)
	e.Actor, e.DueAt, e.Reason = Party{PartySystem, "apitoken"}, st.at, ""
	e.Via, e.RequestID, e.Address = "", "", netip.Addr{}
	return e
}

// write stores the change as the version after version.
func (ch *change) write(ctx context.Context, version int64) error {
	s, rec := ch.s, ch.rec
	ch.seal(version + 1)
	var err error
	if ch.deleted {
		err = s.store.Delete(ctx, rec.Token.ID, version, ch.guard, ch.events)
	} else {
		err = s.store.Swap(ctx, rec, ch.guard, ch.events)
	}
	if err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		return err
	}
	// The outcome is unclear: our own mark in the row tells. Without it the
	// caller hears of an outage, and repeating the call is safe.
	if now, again := s.store.Get(ctx, rec.Token.ID); again == nil && now.Op == rec.Op {
		return nil
	} else if ch.deleted && errors.Is(again, ErrNotFound) {
		return nil
	}
	return outage("store", err)
}

// seal makes the record and the events ready to be written as a version.
func (ch *change) seal(version int64) {
	rec := ch.rec
	rec.Token.Version = version
	rec.Op = randomBase62(idLen)
	if len(ch.events) > 0 { // a sweep that only sets DueAt anew is no change to anyone
		rec.Token.UpdatedAt = ch.now
	}
	arm(rec, ch.now)
	for i := range ch.events {
		ch.events[i].Version, ch.events[i].Ordinal = version, i
		ch.events[i].ID = eventID(string(rec.Token.ID), version, i)
	}
}

// event begins an event of this change.
func (ch *change) event(what EventType, cause Cause) Event {
	t := &ch.rec.Token
	return Event{
		Type:      what,
		Message:   ch.rules.message(what),
		Category:  EventCategory,
		Time:      ch.now,
		Tenant:    t.Tenant,
		Actor:     ch.actor.party(),
		Via:       ch.actor.token,
		Target:    target(t),
		Cause:     cause,
		Reason:    ch.reason,
		ExpiresAt: t.ExpiresAt,
		Creator:   t.Creator,
		RequestID: ch.actor.RequestID,
		Address:   ch.actor.Address,
		Deliver:   ch.s.opts.Notifier != nil,
	}
}

// note adds an event of the change and marks the record as changed.
func (ch *change) note(what EventType, cause Cause, changed ...string) {
	e := ch.event(what, cause)
	e.Changed = changed
	ch.events = append(ch.events, e)
	ch.dirty = true
}

func (ch *change) setState(state State, cause Cause) {
	t := &ch.rec.Token
	t.State, t.Cause, t.Reason, t.StateAt = state, cause, ch.reason, ch.now
	ch.dirty = true
}

// setExpiry sets a new expiry; what follows it is due again.
func (ch *change) setExpiry(at time.Time) {
	t := &ch.rec.Token
	if !at.Equal(t.ExpiresAt) {
		ch.rec.NoticeDone = false // each expiry is announced once
	}
	t.ExpiresAt, t.ExpirySetAt, t.WholeDay = at, ch.now, ch.rules.Lifetime.WholeDay && !at.IsZero()
	ch.rec.ExpiryDone = false
	if ch.rec.PreviousUntil.After(at) && !at.IsZero() {
		ch.rec.PreviousUntil = at
	}
	ch.dirty = true
}

// editable refuses changes to tokens whose state or kind is past them.
func (ch *change) editable(verb string) error {
	t := &ch.rec.Token
	if !ch.known {
		return &StateError{Verb: verb, Status: t.StatusAt(ch.now), Why: "no policy is configured for kind " + string(t.Kind) + ": add it to Options.Kinds"}
	}
	switch status := t.StatusAt(ch.rec.notBefore(ch.now)); {
	case status == StatusRevoked:
		return &StateError{Verb: verb, Status: status, Why: "the token is revoked for good: issue a new one"}
	case status == StatusExpired:
		return &StateError{Verb: verb, Status: status, Why: "the token has expired and can only be deleted: issue a new one"}
	case t.Cause == CauseExpired && verb != verbEnable:
		return &StateError{Verb: verb, Status: status, Why: "the token has expired: enable it with a new expiry first"}
	}
	return nil
}

// agentInactive refuses to take an active agent's token away (S1.28).
func (ch *change) agentInactive(ctx context.Context, verb string) error {
	why, err := ch.s.whyNotRevocable(ctx, &ch.rec.Token)
	if err != nil {
		return err
	}
	if why != "" {
		return &StateError{Verb: verb, Status: ch.rec.Token.StatusAt(ch.now), Why: why}
	}
	return nil
}

// whyNotRevocable says why a token cannot be revoked now, "" = it can. A
// person's token always can (S1.29).
func (s *Service) whyNotRevocable(ctx context.Context, t *Token) (string, error) {
	if t.Agent == "" || s.opts.Agents == nil {
		return "", nil
	}
	reg, err := s.registration(ctx, t.Tenant, t.Agent)
	if err != nil {
		return "", err
	}
	return whyNotRevocable(t, reg), nil
}

func whyNotRevocable(t *Token, reg Registration) string {
	if reg.Registered && reg.Active {
		return "agent " + t.Agent + " is active: deactivate the agent first"
	}
	return ""
}
