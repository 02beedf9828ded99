package apitoken

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// AgentChange tells what happened to an agent in the host's directory. Report it
// when it is in effect there, and the changes of one agent one after another.
type AgentChange struct {
	Agent string          // agent ID in the actor's tenant; required
	What  AgentChangeType // required
	// Kind of the token that an activated agent gets. Defaults to the only kind
	// with [OwnedByAgent].
	Kind Kind
	// ChangeID names this very change, so that one that is reported twice makes one
	// token. Required for [AgentActivated], unique among the changes of the agent;
	// at most 256 bytes.
	ChangeID string
	Reason   string // for the audit events
}

// AgentChangeType names a change of an agent.
type AgentChangeType string

// The changes of an agent. [Service.AgentChanged] says what each does.
const (
	AgentRegistered   AgentChangeType = "registered"
	AgentActivated    AgentChangeType = "activated" // for the first time or again
	AgentDeactivated  AgentChangeType = "deactivated"
	AgentUnregistered AgentChangeType = "unregistered"
)

// AgentReport says what a change of an agent led to.
type AgentReport struct {
	Issued Issued // the new token of an activated agent; zero if there is none
	ChangeReport
}

// AgentChanged does what a change of an agent asks for, without a person (S1.12,
// S1.15).
//
//   - [AgentRegistered] writes nothing: the agent gets its token when it is
//     activated (S1.23).
//   - [AgentActivated]: the agent gets a token, whose value is in the report. In
//     the same transaction the token it had is revoked, with [CauseReplaced]
//     (S1.13); the new one takes over its name, description, metadata, address
//     list, origins and share. An agent whose kind is not in [Policy].AgentKinds
//     gets none, which is no error (S1.15).
//   - [AgentDeactivated] and [AgentUnregistered]: tokens issued with
//     [AgentKind].RevokeOnDeactivation are revoked, with [CauseAgent] (S1.28). All
//     others are refused at each verification, and can be revoked by hand.
//
// The actor is a [System] one of the agent's tenant. To repeat the call is safe.
//
// Errors: [ErrForbidden]; [ErrInvalid]; [ErrConflict], as [AlreadyIssuedError] if
// the change made its token before, as [StateError] while [Options].Agents does
// not say what is reported; [ErrUnavailable], with what was done.
func (s *Service) AgentChanged(ctx context.Context, actor Actor, what AgentChange) (AgentReport, error) {
	var f faults
	f.required("agent", what.Agent)
	f.identifier("change_id", what.ChangeID)
	f.text("reason", what.Reason, maxReason, true)
	var rules *kindRules
	switch what.What {
	case AgentRegistered, AgentDeactivated, AgentUnregistered:
	case AgentActivated:
		if what.ChangeID == "" {
			f.add("change_id", "is required: without it a repeated report would replace the token again")
		}
		var err error
		rules, err = s.agentKind(what.Kind)
		f.addErr(err)
	default:
		f.add("what", "%q is unknown: use one of the Agent constants, such as AgentActivated", clip(string(what.What)))
	}
	pw, err := s.reporter(ctx, actor, f)
	if err != nil || what.What == AgentRegistered || s.opts.Agents == nil {
		return AgentReport{}, err
	}
	reg, err := s.registration(ctx, actor.Tenant, what.Agent)
	if err != nil {
		return AgentReport{}, err
	}
	if err := what.inEffect(reg); err != nil {
		return AgentReport{}, err
	}
	if what.What == AgentActivated {
		issued, err := s.activated(ctx, &pw, rules, &what, reg)
		return AgentReport{Issued: issued}, err
	}
	report, err := s.changeEach(ctx, &pw, StoreQuery{Agent: what.Agent}, changeOptions{verb: verbRevoke, reason: what.Reason}, func(ch *change) (bool, error) {
		if !ch.rec.Token.Terms.RevokeOnDeactivation {
			return false, nil
		}
		// Asked again for each try: a token that the agent got since, because it was
		// activated again, is not taken (S1.28).
		why, err := s.whyNotRevocable(ctx, &ch.rec.Token)
		if err != nil || why != "" {
			return false, err
		}
		return ch.end(CauseAgent), nil
	})
	return AgentReport{ChangeReport: report}, err
}

// DangerouslyRevokeActiveAgent revokes an agent's token even while the agent is
// active, and does not ask whether it is: the agent stands without a token until
// it is activated again. It is for a token that leaked. Its event has the cause
// [CauseForced] and the reason, which is required. Revoking again is success.
//
// Errors: as [Service.Revoke]; [StateError] for a token that is not an agent's.
func (s *Service) DangerouslyRevokeActiveAgent(ctx context.Context, actor Actor, id ID, reason string) error {
	_, err := s.change(ctx, actor, id, changeOptions{verb: verbRevoke, reason: reason}, func(ch *change) error {
		t := &ch.rec.Token
		switch {
		case t.Agent == "":
			return &StateError{Verb: verbRevoke, Status: t.StatusAt(ch.now), Why: "it is not an agent's token: use Revoke"}
		case isBlank(reason):
			return fieldErr("reason", "is required: say why an active agent loses its token")
		}
		ch.end(CauseForced)
		return nil
	})
	return err
}

// agentKind finds the rules for the tokens of agents.
func (s *Service) agentKind(kind Kind) (*kindRules, error) {
	var kinds []Kind
	for _, k := range s.kindNames() {
		if s.kinds[k].Ownership == OwnedByAgent {
			kinds = append(kinds, k)
		}
	}
	switch {
	case len(kinds) == 0:
		return nil, fieldErr("kind", "there is none for agents: add one with AgentPolicy to Options.Kinds")
	case kind == "" && len(kinds) > 1:
		return nil, fieldErr("kind", "is required: there are several for agents, %v", kinds)
	case kind == "":
		return s.kinds[kinds[0]], nil
	case !slices.Contains(kinds, kind):
		return nil, fieldErr("kind", "%q is not for agents: use one of %v", clip(string(kind)), kinds)
	}
	return s.kinds[kind], nil
}

// inEffect refuses a report that the directory does not confirm: it came too
// early, or so late that something else happened since.
func (c *AgentChange) inEffect(reg Registration) error {
	verb, why := verbRevoke, ""
	switch c.What {
	case AgentActivated:
		verb = verbIssue
		switch {
		case !reg.Registered:
			why = "is not registered: register and activate it first"
		case !reg.Active:
			why = "is not active: activate it first"
		}
	case AgentDeactivated:
		if reg.Registered && reg.Active {
			why = "is active: deactivate it first"
		}
	case AgentUnregistered:
		if reg.Registered {
			why = "is registered: unregister it first"
		}
	}
	if why == "" {
		return nil
	}
	return &StateError{Verb: verb, Why: "Options.Agents says that agent " + clip(c.Agent) + " " + why + ", then report the change"}
}

// key is the idempotency key of the token that the change makes. Keys that come
// with an [IssueRequest] have no control characters: nobody takes this one before.
func (c *AgentChange) key(kind Kind) string {
	return fmt.Sprintf("agent\x1f%x", sumOf(c.Agent, c.ChangeID, kind))
}

// activated gives an activated agent its token.
func (s *Service) activated(ctx context.Context, pw *powers, r *kindRules, c *AgentChange, reg Registration) (Issued, error) {
	if _, ok := r.AgentKinds[reg.Kind]; !ok {
		return Issued{}, nil
	}
	req := &IssueRequest{Name: reg.Name, Agent: c.Agent, Reason: c.Reason}
	var f faults
	if f.name(req.Name); len(f) > 0 {
		req.Name = c.Agent // what the directory calls agents need not be fit for a token
	}
	for range maxTries {
		issued, err := s.activate(ctx, pw, r, c, req)
		if !errors.Is(err, errAgain) {
			return issued, err
		}
	}
	return Issued{}, outage("store", fmt.Errorf("the tokens of agent %s were changed by others %d times in a row: try again", clip(c.Agent), maxTries))
}

// errAgain says that somebody else was faster: read and decide anew.
var errAgain = errors.New("apitoken: changed meanwhile")

// activate is one try.
func (s *Service) activate(ctx context.Context, pw *powers, r *kindRules, c *AgentChange, req *IssueRequest) (Issued, error) {
	key := c.key(r.kind)
	var all []*Record
	err := s.each(ctx, pw, StoreQuery{Agent: c.Agent, OnlyKinds: []Kind{r.kind}}, func(rec *Record) error {
		all = append(all, rec)
		return nil
	})
	if err != nil {
		return Issued{}, err
	}
	// Before anything is revoked: what there is may be newer than a report that
	// comes again.
	if i := slices.IndexFunc(all, func(rec *Record) bool { return rec.IdempotencyKey == key }); i >= 0 {
		return Issued{}, s.alreadyIssued(ctx, all[i])
	}
	next := &change{s: s, now: s.instant(), actor: pw.actor, rules: r, known: true, reason: c.Reason}
	var secret Secret
	if next.rec, secret, err = s.draft(ctx, pw, r, req, next.now); err != nil {
		return Issued{}, err
	}
	next.rec.IdempotencyKey = key
	var latest *Record
	if len(all) > 0 {
		latest = all[len(all)-1]
	}
	old, err := s.retire(ctx, pw, all, c.Reason)
	if err != nil {
		return Issued{}, err
	}
	if old != nil && old.rec.Token.ID == latest.Token.ID {
		latest = old.rec // read again since, and guarded
	}
	next.rec.takeOver(latest)
	next.note(EventCreated, "")
	next.seal(1)
	if err := s.replace(ctx, next, old); err != nil {
		return Issued{}, err
	}
	view, err := s.view(ctx, next.rec, next.now, nil)
	if err != nil {
		view = s.plainView(next.rec, next.now) // the secret is known only here: see Issue
	}
	return Issued{Token: view, Secret: secret}, nil
}

// takeOver gives a new record what people set on the one before: an address list
// must not be lost because the agent was activated again.
func (rec *Record) takeOver(before *Record) {
	if before == nil {
		return
	}
	t, b := &rec.Token, before.Token.clone()
	t.Name, t.Description, t.Metadata = b.Name, b.Description, b.Metadata
	t.Networks, t.Origins, t.Share = b.Networks, b.Origins, b.Share
}

// retire revokes the tokens that a new one replaces. It leaves the latest to be
// written together with the new one, so that the agent is never without; nil =
// there is none.
func (s *Service) retire(ctx context.Context, pw *powers, all []*Record, reason string) (*change, error) {
	live := slices.DeleteFunc(all, func(rec *Record) bool { return rec.Token.State == StateRevoked })
	o := changeOptions{verb: verbRevoke, reason: reason}
	for i, rec := range live {
		if i == len(live)-1 {
			last, err := s.begin(ctx, pw, rec.Token.ID, o)
			if errors.Is(err, ErrNotFound) {
				return nil, errAgain
			}
			if err != nil {
				return nil, err
			}
			last.end(CauseReplaced)
			if !last.dirty { // revoked meanwhile, perhaps because there is another new one
				return nil, errAgain
			}
			return last, nil
		}
		_, err := s.changeAs(ctx, pw, rec.Token.ID, o, nil, func(ch *change) error {
			ch.end(CauseReplaced)
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return nil, nil
}

// replace stores a new token, and with it, unless nil, the end of the old one.
func (s *Service) replace(ctx context.Context, next, old *change) error {
	var err error
	if old == nil {
		err = s.store.Create(ctx, next.rec, next.events)
	} else {
		old.seal(old.rec.Token.Version + 1)
		err = s.store.Replace(ctx, next.rec, old.rec, old.guard, append(old.events, next.events...))
	}
	if dup, ok := errors.AsType[*DuplicateError](err); ok && dup.Field == "idempotency key" {
		made, err := s.fresh(ctx, dup.Existing)
		if err == nil {
			return s.alreadyIssued(ctx, made)
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		return errAgain
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound):
		return errAgain
	}
	// Unclear: did it happen? Our own mark tells.
	if stored, again := s.store.Get(ctx, next.rec.Token.ID); again == nil && stored.Op == next.rec.Op {
		return nil
	}
	return outage("store", err)
}

// alreadyIssued answers with the token that a repeated change made.
func (s *Service) alreadyIssued(ctx context.Context, made *Record) error {
	view, err := s.view(ctx, made, s.instant(), nil)
	if err != nil {
		return err
	}
	return &AlreadyIssuedError{Token: view}
}
