package apitoken

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"sync/atomic"
	"time"
)

// Principal is who a verified request acts for. Only a [Verifier] makes one;
// the zero Principal has no rights.
type Principal struct {
	Token  ID
	Tenant string
	Owner  string // the user the request acts on behalf of (S1.3); "" for tokens of a tenant or an agent
	Agent  string // the agent, for an agent's token
	Kind   Kind
	Scheme Scheme

	permissions Permissions
	rec         *Record
}

// Scheme is how a credential was presented.
type Scheme string

// The schemes.
const (
	SchemeBearer Scheme = "bearer" // a token string
	SchemeLegacy Scheme = "legacy" // an ID and secret of an older kind
)

// Permissions returns what the token may do in this request: its grant, cut by
// all that stands above it.
func (p Principal) Permissions() Permissions { return p.permissions }

// Can reports whether the principal has the named permission.
func (p Principal) Can(permission string) bool { return p.permissions.Has(permission) }

// Check returns nil if the principal satisfies the requirement, else a
// [PermissionError].
func (p Principal) Check(need Requirement) error {
	return need.Check(p.permissions, p.Resources())
}

// Shows reports whether a returned field of need may be shown to the principal
// (S2.8).
func (p Principal) Shows(need Requirement, field string) bool {
	return need.FieldAllowed(p.permissions, field)
}

// Resources returns the resource groups the token may touch (S2.3). Do not
// change them.
func (p Principal) Resources() Resources {
	if p.rec == nil {
		return Resources{}
	}
	return p.rec.Token.Resources
}

// Metadata returns the value of a pair of the token's metadata, "" = none.
func (p Principal) Metadata(key string) string {
	if p.rec == nil {
		return ""
	}
	return p.rec.Token.Metadata[key]
}

// Name returns the token's name.
func (p Principal) Name() string {
	if p.rec == nil {
		return ""
	}
	return p.rec.Token.Name
}

// Share returns the percentage of each rate limit that the token has.
func (p Principal) Share() int {
	if p.rec == nil {
		return 0
	}
	return p.rec.Token.Share
}

// ExpiresAt returns when the token expires, zero = never.
func (p Principal) ExpiresAt() time.Time {
	if p.rec == nil {
		return time.Time{}
	}
	return p.rec.Token.ExpiresAt
}

// Actor returns the principal as the actor of managing calls, for APIs that let
// a token manage tokens: the token's owner, with no more permissions than this
// request has, and the owner's roles as the host knows them. A token without an
// owner acts as itself.
func (p Principal) Actor() Actor {
	a := Actor{ID: p.Owner, Tenant: p.Tenant, Permissions: p.permissions.Names(), ceiling: &p.permissions}
	if a.Permissions == nil {
		a.Permissions = []string{}
	}
	if a.ID == "" {
		a.ID, a.impersonal = "token:"+string(p.Token), true
	}
	return a
}

// compiled is what Verify needs of a record, made when the record is first used
// by a Service and kept with it.
type compiled struct {
	service  *Service
	rules    *kindRules
	known    bool // the kind is configured
	grant    Permissions
	live     bool
	cut      bool
	owner    bool // the owner must be asked
	roles    bool // and must have a creator role
	networks *networkSet
	use      atomic.Pointer[pendingUse]
}

// compile returns what the Service needs of rec.
func (s *Service) compile(rec *Record) *compiled {
	if c := rec.compiled.Load(); c != nil && c.service == s {
		return c
	}
	t := &rec.Token
	c := &compiled{service: s, live: t.Grant.Live, cut: t.Grant.Cut, networks: newNetworkSet(t.Networks)}
	c.rules, c.known = s.rulesOf(t.Kind)
	c.owner = s.opts.Owners != nil && t.Owner != "" &&
		(c.rules.OwnerInactive != OwnerIgnored || c.live || c.cut || c.rules.CreatorRolesAtUse)
	c.roles = c.rules.CreatorRolesAtUse
	switch {
	case c.live:
		c.grant = c.rules.ceiling
	case t.Grant.Role != "":
		c.grant, _ = s.opts.Catalog.Role(t.Grant.Role)
		c.grant.cut(&c.rules.ceiling)
	default:
		c.grant = s.opts.Catalog.Known(t.Grant.Permissions...)
		c.grant.cut(&c.rules.ceiling)
	}
	rec.compiled.Store(c)
	return c
}

// attempt is one verification under way: what the checks share.
type attempt struct {
	req      *VerifyRequest
	now      time.Time
	scheme   Scheme
	rec      *Record
	c        *compiled
	standing Standing
	asked    bool // standing was asked for
}

// Verify checks a credential and everything a token is subject to, and returns
// who the request acts for. It is the one way in.
//
// The order is: shape of the credential, look-up, secret, state, owner or
// agent, use and kind, origin, network, rate limit, permission. A request that
// fails before the rate limit does not count as a use; one that lacks a
// permission does. Errors are of the families [ErrInvalid] (more than one
// credential), [ErrUnauthenticated], [ErrForbidden], [ErrRateLimited] and
// [ErrUnavailable]; on any error the Principal is zero.
func (s *Service) Verify(ctx context.Context, req VerifyRequest) (Principal, error) {
	a := attempt{req: &req, now: s.now()}
	if err := s.identify(ctx, &a); err != nil {
		if err == ErrSuperseded {
			s.reportReuse(ctx, a.rec)
		}
		return Principal{}, err
	}
	if err := s.checkState(ctx, &a); err != nil {
		return Principal{}, err
	}
	if err := s.checkOwner(ctx, &a); err != nil {
		return Principal{}, err
	}
	if err := s.checkKind(&a); err != nil {
		return Principal{}, err
	}
	if req.Origin != "" || len(a.rec.Token.Origins) > 0 {
		if err := s.checkOrigin(ctx, &a); err != nil {
			return Principal{}, err
		}
	}
	if err := s.checkNetwork(&a); err != nil {
		return Principal{}, err
	}
	t := &a.rec.Token
	p := Principal{Token: t.ID, Tenant: t.Tenant, Owner: t.Owner, Agent: t.Agent, Kind: t.Kind, Scheme: a.scheme, rec: a.rec}
	if s.opts.Catalog != nil {
		p.permissions = a.c.grant
		if err := s.cutPermissions(ctx, &a, &p.permissions); err != nil {
			return Principal{}, err
		}
	}
	if req.Limit != "" {
		if err := s.limit(ctx, &p, req.Limit, a.now); err != nil {
			return Principal{}, err
		}
	}
	s.record(a.c, a.rec, a.now, req.Address, a.scheme == SchemeLegacy)
	if t.Terms.Idle > 0 && nearlyIdle(t, a.now) {
		s.touchNow(ctx, a.rec)
	}
	if req.Need.r != nil {
		if err := req.Need.Check(p.permissions, t.Resources); err != nil {
			return Principal{}, err
		}
	}
	return p, nil
}

// nearlyIdle reports whether the recorded uses leave less than two intervals of
// a sliding life: then this one is written before it is accepted.
func nearlyIdle(t *Token, now time.Time) bool {
	return t.IdleAt(now).Sub(now) < 2*t.Terms.Interval
}

// Admit checks a rate limit ("" = none) and a requirement for a principal that
// is already verified: for callers that know them only later, such as the method
// of an RPC. It counts no use.
func (s *Service) Admit(ctx context.Context, p Principal, limit string, need Requirement) error {
	if p.rec == nil {
		return ErrNoCredential
	}
	if limit != "" {
		if err := s.limit(ctx, &p, limit, s.now()); err != nil {
			return err
		}
	}
	return p.Check(need)
}

// Recheck asks again whether the principal's token is good, and returns the
// principal as it is now: for streams that outlive a token. It counts no use
// and checks neither origin, network nor use.
func (s *Service) Recheck(ctx context.Context, p Principal) (Principal, error) {
	if p.rec == nil {
		return Principal{}, ErrNoCredential
	}
	rec, err := s.lookUp(ctx, p.Token)
	if err != nil {
		return Principal{}, err
	}
	a := attempt{req: &VerifyRequest{}, now: s.now(), scheme: p.Scheme, rec: rec, c: s.compile(rec)}
	if p.Scheme == SchemeLegacy && rec.Legacy.IsZero() {
		return Principal{}, ErrLegacyEnded
	}
	if err := s.checkState(ctx, &a); err != nil {
		return Principal{}, err
	}
	if err := s.checkOwner(ctx, &a); err != nil {
		return Principal{}, err
	}
	p.rec, p.permissions = rec, a.c.grant
	if s.opts.Catalog != nil {
		if err := s.cutPermissions(ctx, &a, &p.permissions); err != nil {
			return Principal{}, err
		}
	}
	return p, nil
}

// identify finds the token of a credential and checks the secret.
func (s *Service) identify(ctx context.Context, a *attempt) error {
	req := a.req
	if req.LegacyID != "" || req.LegacySecret != "" {
		if req.Token != "" {
			return ErrTwoCredentials
		}
		return s.identifyLegacy(ctx, a)
	}
	a.scheme = SchemeBearer
	if req.Token == "" {
		return ErrNoCredential
	}
	if len(req.Token) > MaxTokenLength {
		return ErrMalformedToken
	}
	parts, ok := parseToken(req.Token)
	if !ok || !s.prefixes[parts.prefix] {
		return ErrMalformedToken
	}
	rec, err := s.lookUp(ctx, parts.id)
	if err != nil && err != ErrUnknownToken {
		return err
	}
	if err == ErrUnknownToken {
		rec = s.dummy // the same work as for a known ID
	}
	sum := digestSecret(parts.secret)
	match := rec.Primary.matches(&sum, parts.prefix)
	if err != nil {
		return err
	}
	a.rec, a.c = rec, s.compile(rec)
	if match {
		return nil
	}
	if !rec.Previous.IsZero() && rec.Previous.matches(&sum, parts.prefix) {
		if a.now.Before(rec.PreviousUntil) {
			return nil
		}
		return ErrSuperseded
	}
	return ErrWrongSecret
}

// matches compares in constant time. The prefix is public; it is compared so
// that exactly one string opens a token.
func (slot *Slot) matches(sum *[32]byte, prefix string) bool {
	return subtle.ConstantTimeCompare(slot.Blob, sum[:]) == 1 && slot.Prefix == prefix
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

// checkState refuses what is revoked, disabled, expired or idle, and kinds that
// are not configured.
func (s *Service) checkState(ctx context.Context, a *attempt) error {
	t := &a.rec.Token
	switch {
	case t.State == StateRevoked:
		if t.Cause == CauseIdle {
			return ErrIdle
		}
		return ErrRevoked
	case t.State == StateDisabled:
		if t.Cause == CauseExpired {
			return ErrExpired
		}
		return ErrDisabled
	case t.State != StateActive:
		return ErrRevoked // a state this version does not know gives no rights
	case t.Expired(a.now):
		return ErrExpired
	case !a.c.known:
		return ErrKindUnknown
	}
	if t.Terms.Idle > 0 && t.idle(a.now) {
		return s.checkIdle(ctx, a)
	}
	return nil
}

// checkIdle decides about a token whose idle time seems to be over: after a
// read past any sharing, and a look at the uses this node has not written yet.
func (s *Service) checkIdle(ctx context.Context, a *attempt) error {
	rec, err := s.fresh(ctx, a.rec.Token.ID)
	if errors.Is(err, ErrNotFound) {
		return ErrUnknownToken
	}
	if err != nil {
		return err
	}
	s.addPending(&rec.Token)
	if rec.Token.idle(a.now) || rec.Token.State != StateActive {
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
// role no longer allows the kind.
func (s *Service) checkOwner(ctx context.Context, a *attempt) error {
	t := &a.rec.Token
	if t.Agent != "" {
		if s.opts.Agents == nil {
			return ErrAgentInactive // issued when there were agents; nobody can vouch for it now
		}
		reg, err := s.registration(ctx, t.Tenant, t.Agent)
		if err != nil {
			return err
		}
		if !reg.Registered || !reg.Active {
			return ErrAgentInactive
		}
		return nil
	}
	if !a.c.owner {
		return nil
	}
	st, err := s.standing(ctx, t.Tenant, t.Owner)
	if err != nil {
		return err
	}
	a.standing, a.asked = st, true
	if !st.Active && a.c.rules.OwnerInactive != OwnerIgnored {
		return ErrOwnerInactive
	}
	if a.c.roles && !anyOf(a.c.rules.CreatorRoles, st.Roles) {
		return ErrOwnerRole
	}
	return nil
}

// checkKind refuses kinds that are not accepted for the use (S3.22).
func (s *Service) checkKind(a *attempt) error {
	kind := a.rec.Token.Kind
	if use := a.req.Use; use != "" {
		if accepted := s.opts.Uses[use]; !slices.Contains(accepted, kind) {
			return &KindError{Kind: kind, Use: use, Accepted: sortedKinds(accepted)}
		}
	}
	if len(a.req.Kinds) > 0 && !slices.Contains(a.req.Kinds, kind) {
		return &KindError{Kind: kind, Accepted: sortedKinds(a.req.Kinds)}
	}
	return nil
}

func sortedKinds(kinds []Kind) []Kind { return slices.Sorted(slices.Values(kinds)) }

// checkOrigin lets a browser's origin pass if both the tenant's list and the
// token's have it or are empty (S1.1). No Origin header: no browser's
// cross-origin call.
func (s *Service) checkOrigin(ctx context.Context, a *attempt) error {
	if a.req.Origin == "" {
		return nil
	}
	t := &a.rec.Token
	settings, err := s.store.Settings(ctx, t.Tenant)
	if err != nil {
		return outage("store", err)
	}
	if len(settings.Origins) == 0 && len(t.Origins) == 0 {
		return nil
	}
	origin, ok := parseOrigin(a.req.Origin)
	if !ok || !allows(settings.Origins, origin) || !allows(t.Origins, origin) {
		return ErrOrigin
	}
	return nil
}

func allows(list []string, origin string) bool {
	return len(list) == 0 || slices.Contains(list, origin)
}

// checkNetwork refuses addresses that are not in the token's list (S2.24).
func (s *Service) checkNetwork(a *attempt) error {
	if len(a.rec.Token.Networks) > 0 && !a.c.networks.contains(a.req.Address) {
		return ErrNetwork
	}
	return nil
}

// cutPermissions cuts the grant by the owner's permissions (S1.6, S3.12) and the
// tenant's licences (S2.1).
func (s *Service) cutPermissions(ctx context.Context, a *attempt, set *Permissions) error {
	if a.c.live || a.c.cut {
		set.cut(&a.standing.Permissions) // never asked: the zero Standing, nothing
	}
	if s.opts.Entitlements != nil {
		ceiling, err := s.entitled(ctx, a.rec.Token.Tenant)
		if err != nil {
			return err
		}
		set.cut(&ceiling)
	}
	return nil
}

// limit counts the request against a rate limit.
func (s *Service) limit(ctx context.Context, p *Principal, name string, now time.Time) error {
	l, ok := s.opts.Limits[name]
	if s.opts.LimitFor != nil {
		own, found, err := s.opts.LimitFor(ctx, *p, name)
		if err != nil {
			return outage("limits", err)
		}
		if found {
			l, ok = own, true
		}
	}
	if !ok {
		return outage("limits", errors.New("no limit is named "+name+": add it to Options.Limits"))
	}
	l = l.Share(p.rec.Token.Share)
	d, err := s.opts.Limiter.Allow(ctx, LimitKey{Token: p.Token, Name: name}, l, now)
	if err != nil {
		return outage("limiter", err)
	}
	if !d.Allowed {
		d.Limit, d.Quota, d.Window = name, l.Quota, l.Window
		return &RateLimitError{Decision: d}
	}
	return nil
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
