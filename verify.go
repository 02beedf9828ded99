package apitoken

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// compiled is what Verify needs of a record, made when the record is first used
// by a Service and kept with it.
type compiled struct {
	service   *Service
	primary   secretCheck
	principal Principal // of a bearer request, with all that the grant may be worth
	rules     *kindRules
	refused   error // by its state alone; nil = it depends on the instant
	owner     bool  // the owner must be asked
	roles     bool  // and must have a creator role
	follows   bool  // the owner's permissions cut the grant
	quotas    bool  // there may be quotas
	networks  *networkSet
	expiresAt time.Time
	idleAt    time.Time // by the recorded uses; zero = the token has no idle time
	touchAt   time.Time // from here on a use is written before it is accepted
	use       atomic.Pointer[pendingUse]
	previous  secretCheck // rarely looked at, so it stands behind
}

// compile returns what the Service needs of rec. The error is [ErrUnavailable]: what
// is sealed cannot be opened.
func (s *Service) compile(ctx context.Context, rec *Record) (*compiled, error) {
	if c := rec.compiled.Load(); c != nil && c.service == s {
		return c, nil
	}
	primary, previous, err := s.checksOf(ctx, rec)
	if err != nil {
		return nil, err
	}
	c := s.compileRules(rec)
	c.primary, c.previous = primary, previous
	rec.compiled.Store(c)
	return c, nil
}

// worth returns what a token may do, as far as its record says.
func (s *Service) worth(rec *Record) Permissions {
	return s.compileRules(rec).principal.permissions
}

// compileRules does the part of compile that needs no secret.
func (s *Service) compileRules(rec *Record) *compiled {
	t := &rec.Token
	rules, _ := s.rulesOf(t.Kind)
	c := &compiled{
		service:   s,
		principal: Principal{Token: t.ID, Tenant: t.Tenant, Owner: t.Owner, Agent: t.Agent, Kind: t.Kind, Scheme: SchemeBearer, rec: rec},
		rules:     rules,
		refused:   s.refusal(rec),
		roles:     rules.CreatorRolesAtUse,
		follows:   t.Grant.Live || t.Grant.Cut,
		quotas:    rules.Quotas != (Quotas{}) || s.opts.QuotasFor != nil,
		networks:  newNetworkSet(t.Networks),
		expiresAt: t.ExpiresAt,
	}
	c.owner = s.opts.Owners != nil && t.Owner != "" && t.Agent == "" &&
		(rules.OwnerInactive != OwnerIgnored || c.follows || c.roles)
	grant := &c.principal.permissions
	switch {
	case c.follows && !c.owner: // nobody can say what the owner has
	case t.Grant.Live:
		*grant = rules.ceiling
	case t.Grant.Role != "":
		*grant, _ = s.opts.Catalog.Role(t.Grant.Role)
		grant.cut(&rules.ceiling)
	default:
		*grant = s.opts.Catalog.Known(t.Grant.Permissions...)
		grant.cut(&rules.ceiling)
	}
	if t.Terms.Idle > 0 {
		// As IdleAt, without the clamp: a token whose last use lies in the future is
		// not near its end either way.
		c.idleAt = t.renewed(t.Usage.LastUsed).Add(t.Terms.Idle)
		c.touchAt = c.idleAt.Add(-2 * t.Terms.Interval)
	}
	return c
}

// Verify checks a credential and everything a token is subject to, and returns
// who the request acts for. It is the one way in.
//
// The order is: shape of the credential, look-up, secret or signature, scheme,
// state, owner or agent, use and kind, origin, network, of a signed request its body
// and that it comes for the first time, quotas, rate limits, permission. A request
// that fails before the permission does not count as a use; one that lacks a
// permission does. Errors are of the families [ErrInvalid] (more than one
// credential), [ErrUnauthenticated], [ErrForbidden], [ErrRateLimited] and
// [ErrUnavailable]; on any error the Principal is zero.
func (s *Service) Verify(ctx context.Context, req VerifyRequest) (p Principal, err error) {
	var found identified
	if s.opts.Observer.Verified == nil {
		err = s.verify(ctx, &req, &found, &p)
	} else {
		start := s.now()
		err = s.verify(ctx, &req, &found, &p)
		s.observe(ctx, "verify", start, found.principal(), err)
	}
	if err != nil {
		p = Principal{}
	}
	return p, err
}

// verify is Verify into p, which is large and not copied again.
func (s *Service) verify(ctx context.Context, req *VerifyRequest, found *identified, p *Principal) error {
	if err := s.identify(ctx, req, found); err != nil {
		if err == ErrSuperseded {
			s.reportReuse(ctx, found.c.principal.rec)
		}
		return err
	}
	c, now := found.c, found.now
	*p = c.principal
	p.Scheme, p.replaced = found.scheme, found.replaced
	if !c.rules.accepts(p.Scheme) {
		return ErrScheme
	}
	if err := s.checkState(ctx, c, now); err != nil {
		return err
	}
	if err := s.checkOwner(ctx, s.opts.Owners, c, &p.permissions); err != nil {
		return err
	}
	if err := s.checkKind(p.Kind, req.Use, req.Kinds); err != nil {
		return err
	}
	if req.Origin != "" {
		if err := s.checkOrigin(ctx, &p.rec.Token, req.Origin); err != nil {
			return err
		}
	}
	if err := c.checkNetwork(req.Address); err != nil {
		return err
	}
	if req.Proof != nil {
		if err := s.acceptProof(ctx, req.Proof, found); err != nil {
			return err
		}
	}
	if s.opts.Entitlements != nil {
		if err := s.cutEntitled(ctx, p.Tenant, &p.permissions); err != nil {
			return err
		}
	}
	if c.quotas {
		if err := s.countWithinQuotas(ctx, c, req, p, now); err != nil {
			return err
		}
	} else {
		if len(req.Limits) > 0 {
			if err := s.limit(ctx, p, limiting{req.Limits, req.Cost, req.Decisions}, now); err != nil {
				return err
			}
		}
		s.record(c, p.rec, now, req.Address, p.Scheme == SchemeLegacy)
	}
	if !c.touchAt.IsZero() && !now.Before(c.touchAt) {
		s.touchNow(ctx, p.rec, now)
	}
	if err := req.Need.check(&p.permissions, &p.rec.Token.Resources); err != nil {
		return err
	}
	return nil
}

// Admit checks use and kind, rate limits and a requirement, in that order, for a
// principal that is already verified: for callers that know them only later, such
// as inner middleware or the method of an RPC. It counts no use.
func (s *Service) Admit(ctx context.Context, p Principal, req AdmitRequest) error {
	if s.opts.Observer.Verified == nil {
		return s.admit(ctx, &p, &req)
	}
	start := s.now()
	err := s.admit(ctx, &p, &req)
	s.observe(ctx, "admit", start, &p, err)
	return err
}

func (s *Service) admit(ctx context.Context, p *Principal, req *AdmitRequest) error {
	if p.rec == nil {
		return ErrNoCredential
	}
	if err := s.checkKind(p.Kind, req.Use, req.Kinds); err != nil {
		return err
	}
	if len(req.Limits) > 0 {
		if err := s.limit(ctx, p, limiting{req.Limits, req.Cost, req.Decisions}, s.now()); err != nil {
			return err
		}
	}
	return p.Check(req.Need)
}

// Recheck asks again whether the principal's token, and the value that was
// presented, are good, and returns the principal as it is now: for streams that
// outlive a token. It counts no use and checks neither origin, network nor use.
func (s *Service) Recheck(ctx context.Context, p Principal) (Principal, error) {
	if s.opts.Observer.Verified == nil {
		return s.recheck(ctx, p, s.lookUp, s.opts.Owners)
	}
	start := s.now()
	again, err := s.recheck(ctx, p, s.lookUp, s.opts.Owners)
	s.observe(ctx, "recheck", start, &p, err)
	return again, err
}

// recheck reads the token with look and asks owners.
func (s *Service) recheck(ctx context.Context, p Principal, look func(context.Context, ID) (*Record, error), owners Owners) (Principal, error) {
	if p.rec == nil {
		return Principal{}, ErrNoCredential
	}
	rec, err := look(ctx, p.Token)
	if err != nil {
		return Principal{}, err
	}
	c, err := s.compile(ctx, rec)
	if err != nil {
		return Principal{}, err
	}
	was, err := s.compile(ctx, p.rec)
	if err != nil {
		return Principal{}, err
	}
	now := s.now()
	again := c.principal
	again.Scheme = p.Scheme
	presented := &was.primary
	if p.replaced {
		presented = &was.previous
	}
	switch {
	case !c.rules.accepts(p.Scheme):
		return Principal{}, ErrScheme
	case p.Scheme == SchemeLegacy && rec.Legacy.IsZero():
		return Principal{}, ErrLegacyEnded
	case p.Scheme == SchemeLegacy || presented.same(&c.primary):
	case presented.same(&c.previous) && now.Before(rec.PreviousUntil):
		again.replaced = true
	default:
		return Principal{}, ErrSuperseded
	}
	if err := s.checkState(ctx, c, now); err != nil {
		return Principal{}, err
	}
	if err := s.checkOwner(ctx, owners, c, &again.permissions); err != nil {
		return Principal{}, err
	}
	if err := s.cutEntitled(ctx, again.Tenant, &again.permissions); err != nil {
		return Principal{}, err
	}
	return again, nil
}

// identified is the token that a credential names, and the instant for which
// all is checked.
type identified struct {
	c        *compiled
	now      time.Time
	scheme   Scheme
	replaced bool
	noImport bool // only look: a key that is not imported yet stays so
}

// identify finds the token of a credential and checks the secret. What is not
// even a credential by its shape is refused before the clock is read. When only
// the secret is wrong, found is filled in nevertheless.
func (s *Service) identify(ctx context.Context, req *VerifyRequest, found *identified) error {
	if req.Proof != nil {
		if req.Token != "" || req.LegacyID != "" || req.LegacySecret != "" {
			return ErrTwoCredentials
		}
		return s.identifyProof(ctx, req.Proof, found)
	}
	if req.LegacyID != "" || req.LegacySecret != "" {
		if req.Token != "" {
			return ErrTwoCredentials
		}
		return s.identifyLegacy(ctx, req, found)
	}
	if req.Token == "" {
		return ErrNoCredential
	}
	if len(req.Token) > MaxTokenLength {
		return ErrMalformedToken
	}
	parts, ok := parseToken(req.Token, s.prefixes)
	if !ok {
		return s.identifyKey(ctx, req.Token, found)
	}
	now := s.now()
	rec, err := s.lookUp(ctx, parts.id)
	if err != nil && err != ErrUnknownToken {
		return err
	}
	if err == ErrUnknownToken {
		rec = s.dummy // the same work as for a known ID
	}
	c := rec.compiled.Load()
	if c == nil || c.service != s {
		var broken error
		if c, broken = s.compile(ctx, rec); broken != nil {
			return broken
		}
	}
	sum := digestSecret(parts.secret)
	match := c.primary.matches(&sum, parts.prefix)
	if err != nil {
		return err
	}
	found.c, found.now, found.scheme = c, now, SchemeBearer
	switch {
	case match:
		return nil
	case !c.previous.matches(&sum, parts.prefix):
		return ErrWrongSecret
	case !now.Before(rec.PreviousUntil):
		return ErrSuperseded
	}
	found.replaced = true
	return nil
}

// lookUp reads a token for verification: from the store's shared records where
// it has them.
func (s *Service) lookUp(ctx context.Context, id ID) (*Record, error) {
	var rec *Record
	var err error
	if s.records != nil {
		rec, err = s.records.Record(ctx, id)
	} else {
		rec, err = s.store.Get(ctx, id)
	}
	switch {
	case err == nil:
		return rec, nil
	case errors.Is(err, ErrNotFound):
		return nil, ErrUnknownToken
	}
	return nil, outage("store", err)
}

// reportReuse writes once that a replaced value was presented after its overlap,
// and revokes the token where the kind says so. What comes of it does not change
// the answer to the request.
func (s *Service) reportReuse(ctx context.Context, rec *Record) {
	if rec.ReuseReported {
		return
	}
	rules, _ := s.rulesOf(rec.Token.Kind)
	actor := System("apitoken", rec.Token.Tenant)
	_, err := s.change(ctx, actor, rec.Token.ID, changeOptions{verb: verbReuse}, func(ch *change) error {
		if ch.rec.ReuseReported {
			return nil
		}
		ch.rec.ReuseReported = true
		ch.note(EventReused, CauseReuse)
		if rules.RevokeOnReuse && ch.rec.Token.State != StateRevoked {
			ch.setState(StateRevoked, CauseReuse)
			ch.note(EventRevoked, CauseReuse)
		}
		return nil
	})
	if err != nil {
		s.opts.Logger.WarnContext(ctx, "apitoken: reuse of a replaced value not reported yet", "token", string(rec.Token.ID), "error", err)
	}
}
