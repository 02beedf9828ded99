package apitoken

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Issue makes a token and returns it with its secret, the only time the secret
// is shown (S1.18). For a kind that belongs to its creator the actor becomes the
// owner (S1.3); nobody issues for somebody else.
//
// Errors: [ErrForbidden] if the actor may not issue tokens of the kind,
// [ErrInvalid] with one [FieldError] for each wrong field, [AlreadyIssuedError]
// for a repeated idempotency key, [ErrUnavailable]. On an error nothing is
// stored, but see [ErrUnavailable].
func (s *Service) Issue(ctx context.Context, actor Actor, req IssueRequest) (Issued, error) {
	if err := actor.check(); err != nil {
		return Issued{}, err
	}
	if actor.crossTenant {
		return Issued{}, mayNot("the cross-tenant actor issues nothing; act in one tenant")
	}
	rules, err := s.kindOf(req.Kind)
	if err != nil {
		// The rest of the request is checked too, as far as it does not depend on
		// the kind.
		f := faults{err}
		f.described(&req)
		f.networks("networks", req.Networks)
		f.origins("origins", req.Origins)
		return Issued{}, f.join()
	}
	pw, err := s.powers(ctx, actor)
	if err != nil {
		return Issued{}, err
	}
	if actor.impersonal && rules.Ownership == OwnedByCreator {
		return Issued{}, mayNot("a token that belongs to no person cannot issue a person's token")
	}
	if err := pw.mayCreate(rules); err != nil {
		return Issued{}, err
	}
	now := s.instant()
	rec, secret, err := s.draft(ctx, &pw, rules, &req, now)
	if err != nil {
		return Issued{}, err
	}
	ch := &change{s: s, now: now, actor: actor, rules: rules, known: true, reason: req.Reason, rec: rec}
	e := ch.event(EventCreated, "")
	e.Version, e.ID = 1, eventID(string(rec.Token.ID), 1, 0)
	err = s.store.Create(ctx, rec, []Event{e})
	if err != nil {
		if dup, ok := errors.AsType[*DuplicateError](err); ok {
			return Issued{}, s.duplicate(ctx, rec, dup, now)
		}
		// Unclear: did it happen? Our own mark tells.
		stored, again := s.store.Get(ctx, rec.Token.ID)
		if again != nil || stored.Op != rec.Op {
			return Issued{}, outage("store", err)
		}
	}
	view, err := s.view(ctx, rec, now, nil)
	if err != nil {
		// The token exists and its secret is known only here: what the host's
		// look-ups would add to the view can be had later.
		view = s.plainView(rec, now)
	}
	return Issued{Token: view, Secret: secret}, nil
}

// kindOf finds the rules for a kind a request names.
func (s *Service) kindOf(kind Kind) (*kindRules, error) {
	if kind == "" {
		kind = s.opts.DefaultKind
	}
	if rules, ok := s.kinds[kind]; ok {
		return rules, nil
	}
	if kind == "" {
		return nil, fieldErr("kind", "is required: there are several kinds, %v, and no default", s.kindNames())
	}
	return nil, fieldErr("kind", "%q is unknown: use one of %v", clip(string(kind)), s.kindNames())
}

func (s *Service) kindNames() []Kind {
	var names []Kind
	for k := range s.kinds {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// draft makes the record that a request asks for, with a value, or says everything
// that is wrong with it.
func (s *Service) draft(ctx context.Context, pw *powers, r *kindRules, req *IssueRequest, now time.Time) (*Record, Secret, error) {
	var f faults
	f.described(req)
	value := f.wanted(req.PublicKey, req.Symmetric, "", r, s.opts.Keyring != nil)
	f.checkLegacy(req.Legacy, r)
	rec := &Record{Op: randomBase62(idLen), IdempotencyKey: req.IdempotencyKey}
	t := &rec.Token
	*t = Token{
		ID: newID(), Version: 1, Tenant: pw.actor.Tenant, Kind: r.kind,
		Name: req.Name, Description: req.Description, Metadata: req.Metadata,
		Creator: pw.actor.ID, State: StateActive, StateAt: now, CreatedAt: now, UpdatedAt: now,
		Networks: f.networks("networks", req.Networks),
		Origins:  f.origins("origins", req.Origins),
		Share:    req.Share,
		Terms:    r.terms(s.opts.UsageInterval),
	}
	if t.Share == 0 {
		t.Share = r.Share
	}
	f.share(t.Share)
	at, err := r.Lifetime.resolve(req.Expiry, now)
	f.addErr(err)
	if !at.IsZero() {
		t.ExpiresAt, t.ExpirySetAt, t.WholeDay = at, now, r.Lifetime.WholeDay
	}
	t.Resources = Resources{All: true}
	if err := s.assign(ctx, pw, r, req, t, &f); err != nil {
		return nil, Secret{}, err
	}
	if pw.actor.resources != nil {
		t.Resources = t.Resources.within(*pw.actor.resources)
	}
	if req.Legacy.ID != "" && !req.Legacy.Secret.IsZero() {
		sum := digestLegacy(req.Legacy.ID, req.Legacy.Secret.Reveal())
		rec.Alias, rec.Legacy = req.Legacy.ID, Slot{Algorithm: algorithmSHA256, Blob: sum[:]}
	}
	if err := f.join(); err != nil {
		return nil, Secret{}, err
	}
	if req.IdempotencyKey != "" {
		rec.IssueSum = sumOf(pw.actor.ID, t.Kind, t.Owner, t.Agent, t.Name, t.Description, t.Metadata, req.Expiry.words(),
			req.Role, req.Permissions, req.Permissions == nil, t.Networks, t.Origins, t.Share, rec.Alias, rec.Legacy.Blob, value.key.Fingerprint(), req.Symmetric)
	}
	arm(rec, now)
	rec = rec.Clone()
	secret, err := s.putValue(ctx, rec, r.prefix, value)
	return rec, secret, err
}

// described checks what describes a token, whatever its kind.
func (f *faults) described(req *IssueRequest) {
	f.name(req.Name)
	f.text("description", req.Description, maxDescription, true)
	f.text("reason", req.Reason, maxReason, true)
	f.metadata(req.Metadata)
	f.identifier("idempotency_key", req.IdempotencyKey)
}

// assign says whose the token is and what it may do.
func (s *Service) assign(ctx context.Context, pw *powers, r *kindRules, req *IssueRequest, t *Token, f *faults) error {
	switch r.Ownership {
	case OwnedByAgent:
		if req.Owner != "" {
			f.add("owner", "must be empty: a %s token belongs to its agent", r.kind)
		}
		return s.assignAgent(ctx, pw, r, req, t, f)
	case OwnedByTenant:
		if req.Owner != "" {
			f.add("owner", "must be empty: a %s token belongs to no person", r.kind)
		}
	default:
		t.Owner = pw.actor.ID
		if req.Owner != "" && req.Owner != t.Owner {
			f.add("owner", "must be the actor: a person's token is issued by that person only")
		}
		if r.FreezeResources {
			t.Resources = pw.standing.Resources
		}
	}
	if req.Agent != "" {
		f.add("agent", "must be empty: %s tokens do not belong to agents", r.kind)
	}
	t.Grant = s.grant(pw, r, req.Role, req.Permissions, f)
	return nil
}

// assignAgent ties the token to a registered agent, with what agents of its
// kind get. An agent that is not registered gets none (S1.23). A person who may
// issue it needs as much (S3.10): the value is theirs to use.
func (s *Service) assignAgent(ctx context.Context, pw *powers, r *kindRules, req *IssueRequest, t *Token, f *faults) error {
	if req.Role != "" || req.Permissions != nil {
		f.add("permissions", "must be left out: the kind of the agent decides")
	}
	f.identifier("agent", req.Agent)
	if req.Agent == "" {
		f.add("agent", "is required: name the agent that gets the token")
		return nil
	}
	reg, err := s.registration(ctx, t.Tenant, req.Agent)
	if err != nil {
		return err
	}
	if !reg.Registered {
		f.add("agent", "%q is not registered: register the agent first", clip(req.Agent))
		return nil
	}
	kind, ok := r.AgentKinds[reg.Kind]
	if !ok {
		f.add("agent", "agents of kind %q get no token", clip(reg.Kind))
		return nil
	}
	set := s.closed(kind.Permissions)
	if beyond := set.Minus(pw.permissions); !pw.actor.system && beyond.Len() > 0 {
		f.add("agent", "agents of kind %q have %v, which is beyond what you have", clip(reg.Kind), beyond.Names())
	}
	t.Agent = req.Agent
	t.Grant = Grant{Permissions: set.Names()}
	t.Terms.RevokeOnDeactivation = kind.RevokeOnDeactivation
	return nil
}

// grant makes a grant within what the grantor has (S2.4, S3.10), what tokens may
// carry (S2.7) and the kind's ceiling. nil names and no role: the default.
func (s *Service) grant(pw *powers, r *kindRules, role string, names []string, f *faults) Grant {
	c := s.opts.Catalog
	g := Grant{Cut: r.Grant == GrantCut}
	if r.Grant == GrantLive {
		if role != "" || names != nil {
			f.add("permissions", "must be left out: a %s token has what its owner has, at each request; to restrict it use another kind", r.kind)
		}
		// Not cut by licences: they cut the token itself at each request.
		if beyond := pw.standing.Permissions.Intersect(r.ceiling).Minus(pw.own); beyond.Len() > 0 {
			f.add("permissions", "a %s token has what its owner has, and %v is beyond what you have here: use another kind", r.kind, beyond.Names())
		}
		return Grant{Live: true}
	}
	if role != "" && names != nil {
		f.add("role", "cannot be given together with permissions: choose one")
		return Grant{}
	}
	if role == "" && names == nil {
		role = r.DefaultRole
	}
	switch {
	case role != "":
		set, ok := c.Role(role)
		if !ok {
			f.add("role", "%q is unknown: use one of %v", clip(role), c.Roles())
			return Grant{}
		}
		set.cut(&r.ceiling)
		if !pw.permissions.Covers(set) {
			f.add("role", "%q has %v, which is beyond what you have", role, set.Minus(pw.permissions).Names())
		}
		g.Role = role
	case names == nil:
		g.Permissions = pw.permissions.Intersect(r.ceiling).Names()
	default:
		g.Permissions = s.chosen(pw, r, names, f).Names()
	}
	return g
}

// chosen checks permissions that were chosen by name, one fault for each.
func (s *Service) chosen(pw *powers, r *kindRules, names []string, f *faults) Permissions {
	if len(names) > maxPermissionList {
		f.add("permissions", "has %d entries: at most %d are possible", len(names), maxPermissionList)
		return Permissions{}
	}
	if s.opts.Catalog == nil && len(names) > 0 {
		f.add("permissions", "there are none to choose from: set Options.Catalog")
		return Permissions{}
	}
	var all Permissions
	for i, name := range names {
		field := fmt.Sprintf("permissions[%d]", i)
		set, err := s.opts.Catalog.Set(name)
		switch {
		case err != nil:
			f.add(field, "%q is unknown: check the spelling", clip(name))
		case !s.opts.Catalog.API().Covers(set):
			f.add(field, "%q is for people only and cannot be put on a token: remove it", name)
		case !r.ceiling.Covers(set):
			f.add(field, "%q is beyond what %s tokens may have: remove it", name, r.kind)
		case !pw.permissions.Covers(set):
			f.add(field, "%q is beyond what you have: remove it", name)
		default:
			all = all.Union(set)
		}
	}
	return all
}

// duplicate explains why Create refused: an idempotency key that made this very
// token answers with it.
func (s *Service) duplicate(ctx context.Context, rec *Record, dup *DuplicateError, now time.Time) error {
	taken := fieldErr("legacy.id", "is bound to another token already")
	switch {
	case dup.Field == "alias" && (rec.IdempotencyKey == "" || dup.Existing == ""):
		return taken
	case dup.Field != "alias" && dup.Field != "idempotency key":
		return dup
	}
	// A repeated request breaks both, and a store tells of either first.
	old, err := s.store.Get(ctx, dup.Existing)
	switch {
	case err != nil:
		return outage("store", err)
	case old.Token.Tenant != rec.Token.Tenant || old.IdempotencyKey != rec.IdempotencyKey:
		return taken
	case !slices.Equal(old.IssueSum, rec.IssueSum):
		return fieldErr("idempotency_key", "was used for another request: use a new key for each new token")
	}
	view, err := s.view(ctx, old, now, nil)
	if err != nil {
		return err
	}
	return &AlreadyIssuedError{Token: view}
}

// sumOf is a digest of a request, to know it again.
func sumOf(parts ...any) []byte {
	b, err := json.Marshal(parts)
	if err != nil {
		panic("apitoken: a request cannot be encoded: " + err.Error()) // only plain values come here
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// words spells an Expiry, for sumOf.
func (e Expiry) words() string {
	return fmt.Sprintf("%d %s %s %s %s", e.how, e.date, e.at.UTC().Format(time.RFC3339Nano), e.in, e.period)
}

// Choices returns what a form for a new token of a kind can offer the actor: the
// earliest and latest date, the ranges (S2.20), and what can be granted
// ('select all', S2.22).
func (s *Service) Choices(ctx context.Context, actor Actor, kind Kind) (Choices, error) {
	if err := actor.check(); err != nil {
		return Choices{}, err
	}
	r, err := s.kindOf(kind)
	if err != nil {
		return Choices{}, err
	}
	pw, err := s.powers(ctx, actor)
	if err != nil {
		return Choices{}, err
	}
	if err := pw.mayCreate(r); err != nil {
		return Choices{}, err
	}
	now := s.instant()
	earliest, latest := r.Lifetime.bounds(now)
	ch := Choices{Kind: r.kind, Earliest: earliest.Format(dateFormat), Required: r.Lifetime.Required, Ranges: r.Lifetime.ranges(now)}
	if !latest.IsZero() {
		ch.Latest = latest.Format(dateFormat)
	}
	if d := r.Lifetime.Default; !d.IsZero() {
		ch.Default = d.after(dayOf(now)).Format(dateFormat)
	}
	if r.Grant != GrantLive && r.Ownership != OwnedByAgent {
		ch.Permissions = pw.permissions.Intersect(r.ceiling).Names()
		for _, name := range s.opts.Catalog.Roles() {
			set, _ := s.opts.Catalog.Role(name)
			if pw.permissions.Covers(set.Intersect(r.ceiling)) {
				ch.Roles = append(ch.Roles, name)
			}
		}
	}
	return ch, nil
}
