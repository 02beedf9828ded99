package apitoken

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// refusal says why a token is refused whatever the instant: it is revoked,
// disabled or written as expired, or its kind is not configured.
func (s *Service) refusal(rec *Record) error {
	t := &rec.Token
	_, known := s.kinds[t.Kind]
	switch {
	case t.State == StateRevoked && t.Cause == CauseIdle:
		return ErrIdle
	case t.State == StateDisabled && t.Cause == CauseExpired:
		return ErrExpired
	case t.State == StateDisabled:
		return ErrDisabled
	case t.State != StateActive:
		return ErrRevoked // a state this version does not know gives no rights
	case !known:
		return ErrKindUnknown
	case rec.ExpiryDone:
		return ErrExpired // also when the clock steps back
	}
	return nil
}

// checkState refuses what is revoked, disabled, expired or idle, and kinds that
// are not configured.
func (s *Service) checkState(ctx context.Context, c *compiled, now time.Time) error {
	switch {
	case c.refused != nil:
		return c.refused
	case !c.expiresAt.IsZero() && !now.Before(c.expiresAt):
		return ErrExpired
	case !c.idleAt.IsZero() && !now.Before(c.idleAt):
		return s.checkIdle(ctx, c.principal.Token, now)
	}
	return nil
}

// checkIdle decides about a token whose idle time seems to be over: after a
// read past any sharing, and a look at the uses this node has not written yet.
func (s *Service) checkIdle(ctx context.Context, id ID, now time.Time) error {
	rec, err := s.fresh(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return ErrUnknownToken
	}
	if err != nil {
		return err
	}
	s.addPending(&rec.Token)
	if rec.Token.idle(now) || rec.Token.State != StateActive {
		return ErrIdle
	}
	return nil
}

// addPending moves the last use forwards to what this node knows and has not
// written.
func (s *Service) addPending(t *Token) {
	if u, ok := s.uses.peek(t.ID); ok && u.LastUsed.After(t.Usage.LastUsed) {
		t.Usage.LastUsed = u.LastUsed
	}
}

// checkOwner refuses the token of an owner or agent who is not active, or whose
// role no longer allows the kind, and cuts the grant where it follows the owner.
// Owners is who is asked.
func (s *Service) checkOwner(ctx context.Context, owners Owners, c *compiled, grant *Permissions) error {
	p := &c.principal
	if p.Agent != "" {
		return s.checkAgent(ctx, p)
	}
	if !c.owner {
		return nil
	}
	st, err := owners.Standing(ctx, p.Tenant, p.Owner)
	if err == nil {
		return c.judge(&st, grant)
	}
	if err := unanswered("owners", err); err != nil {
		return err
	}
	return c.judge(&Standing{}, grant)
}

// judge cuts a grant that follows the owner by what the owner has (S1.6, S3.12),
// and says whether one who stands so may use the token.
func (c *compiled) judge(st *Standing, grant *Permissions) error {
	if c.follows {
		grant.cut(&st.Permissions)
	}
	if !st.Active && c.rules.OwnerInactive != OwnerIgnored {
		return ErrOwnerInactive
	}
	if c.roles && !anyOf(c.rules.CreatorRoles, st.Roles) {
		return ErrOwnerRole
	}
	return nil
}

func (s *Service) checkAgent(ctx context.Context, p *Principal) error {
	if s.opts.Agents == nil {
		return ErrAgentInactive // issued when there were agents; nobody can vouch for it now
	}
	reg, err := s.registration(ctx, p.Tenant, p.Agent)
	if err != nil {
		return err
	}
	if !reg.Registered || !reg.Active {
		return ErrAgentInactive
	}
	return nil
}

// checkKind refuses kinds that are not accepted for the use (S3.22).
func (s *Service) checkKind(kind Kind, use string, kinds []Kind) error {
	if use != "" {
		if accepted := s.opts.Uses[use]; !slices.Contains(accepted, kind) {
			return &KindError{Kind: kind, Use: use, Accepted: sortedKinds(accepted)}
		}
	}
	if len(kinds) > 0 && !slices.Contains(kinds, kind) {
		return &KindError{Kind: kind, Accepted: sortedKinds(kinds)}
	}
	return nil
}

func sortedKinds(kinds []Kind) []Kind { return slices.Sorted(slices.Values(kinds)) }

// checkOrigin lets a browser's origin pass if both the tenant's list and the
// token's have it or are empty (S1.1). No Origin header: no browser's
// cross-origin call.
func (s *Service) checkOrigin(ctx context.Context, t *Token, header string) error {
	if header == "" {
		return nil
	}
	settings, err := s.store.Settings(ctx, t.Tenant)
	if err != nil {
		return outage("store", err)
	}
	if len(settings.Origins) == 0 && len(t.Origins) == 0 {
		return nil
	}
	origin, ok := parseOrigin(header)
	if !ok || !allows(settings.Origins, origin) || !allows(t.Origins, origin) {
		return ErrOrigin
	}
	return nil
}

func allows(list []string, origin string) bool {
	return len(list) == 0 || slices.Contains(list, origin)
}

// checkNetwork refuses addresses that are not in the token's list (S2.24).
func (c *compiled) checkNetwork(from netip.Addr) error {
	if c.networks != nil && !c.networks.contains(from) {
		return ErrNetwork
	}
	return nil
}

// cutEntitled cuts a grant by the tenant's licences (S2.1).
func (s *Service) cutEntitled(ctx context.Context, tenant string, grant *Permissions) error {
	if s.opts.Entitlements == nil || s.opts.Catalog == nil {
		return nil
	}
	ceiling, err := s.entitled(ctx, tenant)
	if err != nil {
		return err
	}
	grant.cut(&ceiling)
	return nil
}
