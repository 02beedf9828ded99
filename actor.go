package apitoken

import (
	"context"
	"errors"
	"slices"
)

// IsSystem reports whether the actor is one of the host's own jobs.
func (a Actor) IsSystem() bool { return a.system }

func (a Actor) party() Party {
	if a.system {
		return Party{PartySystem, a.ID}
	}
	return Party{PartyUser, a.ID}
}

// check refuses an actor that says not who or where.
func (a Actor) check() error {
	var f faults
	if a.ID == "" {
		f.add("actor.id", "is empty: say who makes the call")
	}
	f.identifier("actor.id", a.ID)
	if a.Tenant == "" && !a.crossTenant {
		f.add("actor.tenant", "is empty: say in which tenant the actor acts")
	}
	f.identifier("actor.tenant", a.Tenant)
	f.identifier("actor.request_id", a.RequestID)
	return f.join()
}

// powers is what an actor has, looked up once for each call.
type powers struct {
	actor       Actor
	permissions Permissions // what the actor can grant
	own         Permissions // the same, but for the tenant's licences
	roles       []string
	standing    Standing
	kinds       map[Kind]*kindRules
}

// powers asks what the actor may grant and which roles it has. What the Actor
// says and what the host's directory says both bound it.
func (s *Service) powers(ctx context.Context, a Actor) (powers, error) {
	p := powers{actor: a, roles: a.Roles, kinds: s.kinds}
	if a.principal != nil {
		// Past any cache: what a token made would outlive its revocation.
		again, err := s.recheck(ctx, *a.principal, s.fresh, s.present)
		switch {
		case errors.Is(err, ErrUnavailable):
			return p, err
		case err != nil:
			return p, mayNot("the token that the actor came with is no longer accepted")
		}
		now := again.permissions.Intersect(*a.ceiling)
		a.ceiling = &now
		p.actor = a
	}
	switch {
	case a.system:
		p.permissions = s.opts.Catalog.API()
	case s.opts.Owners != nil && !a.impersonal:
		st, err := s.standing(ctx, a.Tenant, a.ID)
		if err != nil {
			return p, err
		}
		if !st.Active {
			return p, mayNot("the actor is not an active user of the tenant")
		}
		p.standing = st
		p.permissions = st.Permissions
		p.roles = st.Roles
		if a.Roles != nil {
			p.roles = slices.DeleteFunc(slices.Clone(a.Roles), func(role string) bool { return !slices.Contains(st.Roles, role) })
		}
		all := st.Permissions.Intersect(s.opts.Catalog.API())
		nothing := all.Len() == 0 && st.Permissions.Len() > 0 // of what the owner has, a token can carry nothing
		if a.ceiling != nil && (nothing || !a.ceiling.Covers(all) || !a.resources.covers(st.Resources)) {
			p.roles = nil // a token that has less than its owner does not act with the owner's roles
		}
		if a.Permissions != nil || a.Roles != nil {
			said := s.said(a)
			p.permissions.cut(&said)
		}
	default:
		p.permissions = s.said(a)
	}
	if a.ceiling != nil {
		p.permissions.cut(a.ceiling)
	}
	p.own = p.permissions
	if s.opts.Entitlements != nil && !a.crossTenant {
		ceiling, err := s.entitled(ctx, a.Tenant)
		if err != nil {
			return p, err
		}
		p.permissions.cut(&ceiling)
	}
	return p, nil
}

// said is what the Actor says it has: its permissions, and what the Catalog says
// of its roles.
func (s *Service) said(a Actor) Permissions {
	set := s.closed(a.Permissions)
	for _, name := range a.Roles {
		if more, ok := s.opts.Catalog.Role(name); ok {
			set = set.Union(more)
		}
	}
	return set
}

// closed is the known ones of names with what they imply.
func (s *Service) closed(names []string) Permissions {
	set := s.opts.Catalog.Known(names...)
	full, err := set.With(set.Names()...)
	if err != nil {
		return Permissions{}
	}
	return full
}

// mayCreate checks the creator rules of a kind (S1.7, S2.16, S3.3, S3.6).
func (p *powers) mayCreate(r *kindRules) error {
	if p.actor.system {
		if r.Ownership == OwnedByCreator {
			return mayNot("a %s token belongs to the person who issues it; the system cannot issue one for somebody", r.kind)
		}
		return nil
	}
	if r.SystemOnly {
		return mayNot("%s tokens are issued by the system only", r.kind)
	}
	if !anyOf(r.CreatorRoles, p.roles) {
		return mayNot("issuing %s tokens needs one of the roles %v", r.kind, r.CreatorRoles)
	}
	if r.CreatePermission != "" && !p.permissions.Has(r.CreatePermission) {
		return &PermissionError{Missing: []string{r.CreatePermission}}
	}
	return nil
}

// manages reports whether the actor may see and manage tokens of the kind that
// are not its own.
func (p *powers) manages(r *kindRules) bool {
	if p.actor.system {
		return true
	}
	if r.orphan { // nobody knows who managed these: whoever manages all the others
		for _, known := range p.kinds {
			if !p.manages(known) {
				return false
			}
		}
		return true
	}
	return anyOf(r.ManagerRoles, p.roles) && (r.ManagePermission == "" || p.permissions.Has(r.ManagePermission))
}

// owns reports whether the token is the actor's own.
func (p *powers) owns(t *Token) bool {
	return !p.actor.system && t.Owner != "" && t.Owner == p.actor.ID
}

// sees reports whether the token exists as far as the actor may know.
func (p *powers) sees(r *kindRules, t *Token) bool {
	return (p.actor.crossTenant || t.Tenant == p.actor.Tenant) && (p.owns(t) || p.manages(r))
}

// may checks who may do verb with a token the actor sees.
func (p *powers) may(verb string, r *kindRules, t *Token) error {
	if t.Owner == "" || p.owns(t) { // the policy's Ownership may have changed since
		return nil
	}
	switch {
	case verb == verbRotate:
		return notOwner("the new value of a person's token is that person's to have")
	case r.OwnerEdits && (verb == verbEdit || verb == verbExtend):
		return notOwner("a %s token is edited by its owner", r.kind)
	}
	return nil
}

// anyOf reports whether have holds one of want; an empty want asks for nothing.
func anyOf(want, have []string) bool {
	if len(want) == 0 {
		return true
	}
	return slices.ContainsFunc(want, func(role string) bool { return slices.Contains(have, role) })
}
