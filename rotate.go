package apitoken

import (
	"context"
	"slices"
	"time"
)

// Rotate gives a token a new value and returns it, the only time it is shown. ID,
// permissions, limits and usage stay. The value so far goes on working until
// the overlap ends, at most until the token expires; one before it stops now. An
// ID and secret of an older kind stop for good, at once (S3.18). The end of an
// overlap has an event of its own, [EventOverlapEnded].
//
// A person's token is rotated by its owner only (S3.4). Used after its end, the
// replaced value is refused, and reported once as a [EventReused].
//
// Errors: [ErrNotFound], [ErrForbidden], [ErrInvalid], [ErrConflict]
// ([ErrVersion], [StateError], [AlreadyIssuedError]), [ErrUnavailable].
func (s *Service) Rotate(ctx context.Context, actor Actor, id ID, req RotateRequest) (Issued, error) {
	var secret Secret
	sum := sumOf(actor.ID, id, req.Overlap, req.PublicKey, req.Symmetric)
	ch, err := s.change(ctx, actor, id, changeOptions{verbRotate, 0, req.Reason}, func(ch *change) error {
		secret = Secret{}
		t := &ch.rec.Token
		if req.IdempotencyKey != "" && req.IdempotencyKey == ch.rec.RotateKey {
			if !slices.Equal(sum, ch.rec.RotateSum) {
				return fieldErr("idempotency_key", "was used for another request: use a new key for each rotation")
			}
			view, err := s.view(ctx, ch.rec, ch.now, nil)
			if err != nil {
				return err
			}
			return &AlreadyIssuedError{Token: view}
		}
		if req.IfVersion != 0 && req.IfVersion != t.Version {
			return ErrVersion
		}
		value, err := ch.rotatable(ctx, &req)
		if err != nil {
			return err
		}
		rec := ch.rec
		rec.Previous, rec.ReuseReported = rec.Primary, false
		rec.PreviousUntil = time.Time{} // over for every clock, also for one that is behind or was set back
		if req.Overlap > 0 {
			rec.PreviousUntil = ch.now.Add(req.Overlap).Truncate(time.Microsecond)
		}
		if !t.ExpiresAt.IsZero() && rec.PreviousUntil.After(t.ExpiresAt) {
			rec.PreviousUntil = t.ExpiresAt
		}
		rec.Legacy = Slot{} // the alias stays, so that its end can be explained
		if req.IdempotencyKey != "" {
			// Else the last one stays: its retry may still be on the way.
			rec.RotateKey, rec.RotateSum = req.IdempotencyKey, sum
		}
		if secret, err = s.putValue(ctx, rec, ch.rules.prefix, value); err != nil {
			return err
		}
		t.RotatedAt = ch.now
		ch.note(EventRotated, "")
		return nil
	})
	if err != nil {
		return Issued{}, err
	}
	view, err := s.view(ctx, ch.rec, ch.now, nil)
	if err != nil {
		view = s.plainView(ch.rec, ch.now)
	}
	return Issued{Token: view, Secret: secret}, nil
}

// rotatable checks a request to rotate, and returns the value it asks for.
func (ch *change) rotatable(ctx context.Context, req *RotateRequest) (newValue, error) {
	t := &ch.rec.Token
	var f faults
	value := f.wanted(req.PublicKey, req.Symmetric, credentialOf(&ch.rec.Primary), ch.rules, ch.s.opts.Keyring != nil)
	f.identifier("idempotency_key", req.IdempotencyKey)
	if req.IfVersion == 0 && req.IdempotencyKey == "" {
		f.add("if_version", "give the version that was read, or an idempotency_key: a blind retry would displace the value in use")
	}
	longest := max(ch.rules.MaxOverlap, 0)
	if req.Overlap < 0 || req.Overlap > longest {
		f.add("overlap", "is %s: 0 to %s are possible", req.Overlap, longest)
	}
	if err := f.join(); err != nil {
		return newValue{}, err
	}
	if err := ch.editable(verbRotate); err != nil {
		return newValue{}, err
	}
	status := t.StatusAt(ch.now)
	switch {
	case ch.rules.NoRotation:
		return newValue{}, &StateError{Verb: verbRotate, Status: status, Why: "tokens of kind " + string(t.Kind) + " are not rotated: delete this one and issue a new one"}
	case t.State != StateActive:
		return newValue{}, &StateError{Verb: verbRotate, Status: status, Why: "the token is disabled: enable it first"}
	}
	if !ch.actor.system {
		if err := ch.agentInactive(ctx, verbRotate); err != nil {
			return newValue{}, err
		}
	}
	if p := ch.actor.principal; p != nil && p.replaced && p.Token == t.ID {
		return newValue{}, mayNot("the value that the actor came with was replaced by a rotation: use the new one")
	}
	if ch.actor.token != t.ID && !ch.powers.mayObtain(ch.rules) {
		return newValue{}, ErrMayNot
	}
	return value, ch.obtainable()
}

// obtainable refuses the value of a token that may do more than the actor could
// grant: what cannot be issued is not obtained by rotating either (S3.10). A
// person rotates their own tokens, and a token itself, whatever they may do.
func (ch *change) obtainable() error {
	a, t := &ch.actor, &ch.rec.Token
	if a.system || a.token == t.ID || a.ceiling == nil && ch.powers.owns(t) {
		return nil
	}
	worth := ch.s.worth(ch.rec)
	if t.Grant.Live || t.Grant.Cut {
		worth.cut(&ch.powers.standing.Permissions) // a person's token is rotated by its owner only
	}
	lacks := &PermissionError{Missing: worth.Minus(ch.powers.permissions).Names()}
	switch {
	case a.resources == nil || a.resources.All:
	case t.Resources.All:
		return mayNot("a token that is bound to resource groups cannot do this to one that is not")
	default:
		lacks.Groups = slices.DeleteFunc(slices.Clone(t.Resources.Groups), a.resources.Has)
	}
	if len(lacks.Missing) == 0 && len(lacks.Groups) == 0 {
		return nil
	}
	return lacks
}

// strengthens refuses a token that would prolong, enable or open up another one
// that may do more than it may itself. Stopping any is allowed.
func (ch *change) strengthens(verb string) error {
	switch verb {
	case verbEdit, verbExtend, verbEnable:
		if ch.actor.ceiling != nil {
			return ch.obtainable()
		}
	}
	return nil
}

// mayObtain reports whether the actor may have a value of this kind: the same
// roles as for issuing one (S3.6). What belongs to the system is rotated by it,
// or by a person while its agent is not active.
func (p *powers) mayObtain(r *kindRules) bool {
	return p.actor.system || anyOf(r.CreatorRoles, p.roles) && (r.CreatePermission == "" || p.permissions.Has(r.CreatePermission))
}
