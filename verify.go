package apitoken

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"
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
	replaced    bool // let in by the value before the last rotation, within its overlap
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
	resources := p.Resources()
	return need.check(&p.permissions, &resources)
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
// a token manage tokens: the token's owner, with no more permissions and resource
// groups than this request has. It acts with the owner's roles, as the host
// knows them, only if it has all that the owner has: a token that only reads
// must not manage tokens. One without an owner acts as itself, without roles.
// Events name the token beside the owner ([Event].Via). What it issues may outlive
// it.
func (p Principal) Actor() Actor {
	resources := p.Resources()
	a := Actor{ID: p.Owner, Tenant: p.Tenant, Permissions: p.permissions.Names(), ceiling: &p.permissions, resources: &resources, token: p.Token, principal: &p}
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
	service   *Service
	primary   secretCheck
	principal Principal // of a bearer request, with all that the grant may be worth
	rules     *kindRules
	refused   error // by its state alone; nil = it depends on the instant
	owner     bool  // the owner must be asked
	roles     bool  // and must have a creator role
	follows   bool  // the owner's permissions cut the grant
	networks  *networkSet
	expiresAt time.Time
	idleAt    time.Time // by the recorded uses; zero = the token has no idle time
	touchAt   time.Time // from here on a use is written before it is accepted
	use       atomic.Pointer[pendingUse]
	previous  secretCheck // rarely looked at, so it stands behind
}

// compile returns what the Service needs of rec.
func (s *Service) compile(rec *Record) *compiled {
	if c := rec.compiled.Load(); c != nil && c.service == s {
		return c
	}
	t := &rec.Token
	rules, _ := s.rulesOf(t.Kind)
	c := &compiled{
		service:   s,
		primary:   newSecretCheck(&rec.Primary),
		previous:  newSecretCheck(&rec.Previous),
		principal: Principal{Token: t.ID, Tenant: t.Tenant, Owner: t.Owner, Agent: t.Agent, Kind: t.Kind, Scheme: SchemeBearer, rec: rec},
		rules:     rules,
		refused:   s.refusal(rec),
		roles:     rules.CreatorRolesAtUse,
		follows:   t.Grant.Live || t.Grant.Cut,
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
	rec.compiled.Store(c)
	return c
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
func (s *Service) Verify(ctx context.Context, req VerifyRequest) (p Principal, err error) {
	var found identified
	if err := s.identify(ctx, &req, &found); err != nil {
		if err == ErrSuperseded {
			s.reportReuse(ctx, found.c.principal.rec)
		}
		return Principal{}, err
	}
	c, now := found.c, found.now
	p = c.principal
	p.Scheme, p.replaced = found.scheme, found.replaced
	if err := s.checkState(ctx, c, now); err != nil {
		return Principal{}, err
	}
	if err := s.checkOwner(ctx, c, &p.permissions); err != nil {
		return Principal{}, err
	}
	if err := s.checkKind(p.Kind, req.Use, req.Kinds); err != nil {
		return Principal{}, err
	}
	if req.Origin != "" {
		if err := s.checkOrigin(ctx, &p.rec.Token, req.Origin); err != nil {
			return Principal{}, err
		}
	}
	if err := c.checkNetwork(req.Address); err != nil {
		return Principal{}, err
	}
	if s.opts.Entitlements != nil {
		if err := s.cutEntitled(ctx, p.Tenant, &p.permissions); err != nil {
			return Principal{}, err
		}
	}
	if req.Limit != "" {
		if err := s.limit(ctx, &p, req.Limit, now); err != nil {
			return Principal{}, err
		}
	}
	s.record(c, p.rec, now, req.Address, p.Scheme == SchemeLegacy)
	if !c.touchAt.IsZero() && !now.Before(c.touchAt) {
		s.touchNow(ctx, p.rec, now)
	}
	if err := req.Need.check(&p.permissions, &p.rec.Token.Resources); err != nil {
		return Principal{}, err
	}
	return p, nil
}

// Admit checks use and kind, a rate limit and a requirement, in that order, for a
// principal that is already verified: for callers that know them only later, such
// as inner middleware or the method of an RPC. It counts no use.
func (s *Service) Admit(ctx context.Context, p Principal, req AdmitRequest) error {
	if p.rec == nil {
		return ErrNoCredential
	}
	if err := s.checkKind(p.Kind, req.Use, req.Kinds); err != nil {
		return err
	}
	if req.Limit != "" {
		if err := s.limit(ctx, &p, req.Limit, s.now()); err != nil {
			return err
		}
	}
	return p.Check(req.Need)
}

// Recheck asks again whether the principal's token, and the value that was
// presented, are good, and returns the principal as it is now: for streams that
// outlive a token. It counts no use and checks neither origin, network nor use.
func (s *Service) Recheck(ctx context.Context, p Principal) (Principal, error) {
	if p.rec == nil {
		return Principal{}, ErrNoCredential
	}
	rec, err := s.lookUp(ctx, p.Token)
	if err != nil {
		return Principal{}, err
	}
	c, now := s.compile(rec), s.now()
	again := c.principal
	again.Scheme = p.Scheme
	presented := s.compile(p.rec).primary
	if p.replaced {
		presented = s.compile(p.rec).previous
	}
	switch {
	case p.Scheme == SchemeLegacy && rec.Legacy.IsZero():
		return Principal{}, ErrLegacyEnded
	case p.Scheme == SchemeLegacy || presented == c.primary:
	case presented == c.previous && now.Before(rec.PreviousUntil):
		again.replaced = true
	default:
		return Principal{}, ErrSuperseded
	}
	if err := s.checkState(ctx, c, now); err != nil {
		return Principal{}, err
	}
	if err := s.checkOwner(ctx, c, &again.permissions); err != nil {
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
		c = s.compile(rec)
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

// secretCheck is a [Slot] made ready. The zero secretCheck matches nothing.
type secretCheck struct {
	digest [sha256.Size]byte
	prefix string
	ok     bool
}

// newSecretCheck reads a slot. One of an algorithm that this version does not
// know matches nothing.
func newSecretCheck(slot *Slot) secretCheck {
	k := secretCheck{prefix: slot.Prefix, ok: slot.Algorithm == algorithmSHA256 && len(slot.Blob) == sha256.Size}
	copy(k.digest[:], slot.Blob)
	return k
}

// matches compares in constant time. The prefix is public; it is compared so
// that exactly one string opens a token.
func (k *secretCheck) matches(sum *[sha256.Size]byte, prefix string) bool {
	return subtle.ConstantTimeCompare(k.digest[:], sum[:]) == 1 && k.prefix == prefix && k.ok
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
func (s *Service) checkOwner(ctx context.Context, c *compiled, grant *Permissions) error {
	p := &c.principal
	if p.Agent != "" {
		return s.checkAgent(ctx, p)
	}
	if !c.owner {
		return nil
	}
	st, err := s.opts.Owners.Standing(ctx, p.Tenant, p.Owner)
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

// limit counts the request against a rate limit.
func (s *Service) limit(ctx context.Context, p *Principal, name string, now time.Time) error {
	l, ok := s.opts.Limits[name]
	if s.opts.LimitFor != nil {
		own, found, err := s.opts.LimitFor(ctx, *p, name)
		if err != nil {
			return outage("limits", err)
		}
		if found {
			if err := own.check(); err != nil {
				return outage("limits", err) // those of Options were checked by New
			}
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
	if d.Allowed {
		return nil
	}
	refused := &RateLimitError{Decision: d}
	refused.Limit, refused.Quota, refused.Window = name, l.Quota, l.Window
	return refused
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
