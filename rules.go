package apitoken

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// kindRules is a policy with its names looked up once.
type kindRules struct {
	Policy
	kind    Kind
	prefix  string
	ceiling Permissions // what tokens of the kind may have at all
	orphan  bool        // no policy is configured: there are tokens of it, that is all
	bearer  bool        // Schemes has SchemeBearer
	signs   bool        // Schemes has one that signs
}

// fault reports what is wrong with a field of a policy.
type fault func(field, format string, args ...any)

// newKindRules checks the policy of a kind and fills in its defaults. All faults
// come joined.
func newKindRules(kind Kind, o *Options) (*kindRules, error) {
	r := &kindRules{Policy: o.Kinds[kind], kind: kind}
	p := &r.Policy
	at := func(field string) string { return fmt.Sprintf("Kinds[%q].%s", clip(string(kind)), field) }
	var errs []error
	bad := func(field, format string, args ...any) { errs = append(errs, fieldErr(at(field), format, args...)) }

	if kind == "" || len(kind) > 64 || hasControl(string(kind), false) {
		errs = append(errs, fieldErr(fmt.Sprintf("Kinds[%q]", clip(string(kind))), "a kind needs a name of 1 to 64 bytes without control characters"))
	}
	r.prefix = p.Prefix
	if r.prefix == "" {
		r.prefix = o.Prefix
	}
	if p.Share == 0 {
		p.Share = 100
	}
	if p.Share < 1 || p.Share > 100 {
		bad("Share", "is %d: give a percentage of 1 to 100, or 0 for 100", p.Share)
	}
	if err := p.Quotas.Check(); err != nil {
		bad("Quotas", "%s", err)
	}
	if p.MaxOverlap == 0 {
		p.MaxOverlap = 30 * 24 * time.Hour
	}
	if p.Purge < 0 {
		bad("Purge", "is negative: give a time above 0, or 0 for never")
	}
	if p.PurgeExpired < 0 {
		bad("PurgeExpired", "is negative: give a time above 0, or 0 for never")
	}
	if p.PurgeExpired > 0 && p.AfterExpiry == ExpiryDisables {
		bad("PurgeExpired", "is for an expiry that locks, and AfterExpiry is ExpiryDisables: use Purge, which then follows")
	}
	if p.Notice < 0 {
		bad("Notice", "is negative: give a time above 0, or 0 for none")
	}
	r.checkSchemes(bad)
	p.checkOwnership(o, bad)
	p.checkGrant(o, bad)
	p.checkEnds(o, bad)
	r.lookUpNames(o, bad)
	p.checkEvents(o, bad)
	errs = append(errs, p.Lifetime.check(at("Lifetime"), o.UsageInterval))
	return r, errors.Join(errs...)
}

// checkSchemes checks the ways in which tokens of the kind may be used.
func (r *kindRules) checkSchemes(bad fault) {
	if len(r.Schemes) == 0 {
		r.Schemes = []Scheme{SchemeBearer}
	}
	for i, scheme := range r.Schemes {
		switch {
		case scheme == SchemeBearer:
			r.bearer = true
		case scheme.signs():
			r.signs = true
		default:
			bad(fmt.Sprintf("Schemes[%d]", i), "%q is unknown: use SchemeBearer, SchemeJWS, SchemeJWT or SchemeHTTPSignature", clip(string(scheme)))
		}
	}
	if r.Ownership == OwnedByAgent && !r.bearer {
		bad("Schemes", "leaves out SchemeBearer, and the system gives agents bearer tokens: add it")
	}
}

// accepts reports whether tokens of the kind may be used by a scheme. The older
// credentials are the policy's Legacy, and what was imported.
func (r *kindRules) accepts(scheme Scheme) bool {
	switch scheme {
	case SchemeBearer:
		return r.bearer || r.orphan // an orphan is refused for what it is
	case SchemeLegacy:
		return true
	}
	return slices.Contains(r.Schemes, scheme) || r.orphan
}

func (p *Policy) checkOwnership(o *Options, bad fault) {
	byUser := p.Ownership == OwnedByCreator
	switch p.Ownership {
	case OwnedByCreator, OwnedByTenant:
		if p.AgentKinds != nil {
			bad("AgentKinds", "is only for kinds with Ownership OwnedByAgent: remove it or set that")
		}
	case OwnedByAgent:
		if o.Agents == nil {
			bad("Ownership", "is OwnedByAgent, which asks for agents: set Options.Agents")
		}
	default:
		bad("Ownership", "%q is unknown: use OwnedByCreator, OwnedByTenant or OwnedByAgent", p.Ownership)
	}
	if p.SystemOnly && byUser {
		bad("SystemOnly", "leaves nobody to issue these tokens, which belong to the person who issues them: remove it or change Ownership")
	}
	if p.CreatorRolesAtUse && (o.Owners == nil || !byUser || len(p.CreatorRoles) == 0) {
		bad("CreatorRolesAtUse", "checks the owner's roles: set Options.Owners and CreatorRoles, for kinds OwnedByCreator")
	}
	if p.FreezeResources && (o.Owners == nil || !byUser) {
		bad("FreezeResources", "takes the owner's resource groups: set Options.Owners, for kinds OwnedByCreator")
	}
}

func (p *Policy) checkGrant(o *Options, bad fault) {
	switch p.Grant {
	case GrantFrozen:
	case GrantLive, GrantCut:
		if p.Ownership != OwnedByCreator {
			bad("Grant", "%q follows the owner's permissions, but these tokens have no owner: use GrantFrozen", p.Grant)
		} else if o.Owners == nil {
			bad("Grant", "%q asks for the owner's permissions: set Options.Owners", p.Grant)
		}
	default:
		bad("Grant", "%q is unknown: use GrantFrozen, GrantLive or GrantCut", p.Grant)
	}
	if p.Grant == GrantLive && p.EditPermissions {
		bad("EditPermissions", "cannot be, with Grant GrantLive: these tokens have what their owners have")
	}
}

func (p *Policy) checkEnds(o *Options, bad fault) {
	switch p.AfterExpiry {
	case ExpiryLocks, ExpiryDisables:
	default:
		bad("AfterExpiry", "%q is unknown: use ExpiryLocks or ExpiryDisables", p.AfterExpiry)
	}
	switch p.OwnerInactive {
	case OwnerSuspends, OwnerIgnored:
	case OwnerDisables:
		if o.Owners == nil {
			bad("OwnerInactive", "is OwnerDisables, which asks for owners: set Options.Owners")
		}
	default:
		bad("OwnerInactive", "%q is unknown: use OwnerSuspends, OwnerDisables or OwnerIgnored", p.OwnerInactive)
	}
	switch p.OnLeak {
	case LeakRevokes, LeakDisables:
	case LeakNotifies:
		if o.Notifier == nil {
			bad("OnLeak", "is LeakNotifies, and there is nobody to tell: set Options.Notifier")
		}
	default:
		bad("OnLeak", "%q is unknown: use LeakRevokes, LeakDisables or LeakNotifies", p.OnLeak)
	}
}

func (p *Policy) checkEvents(o *Options, bad fault) {
	for _, t := range slices.Sorted(maps.Keys(p.Messages)) {
		if _, ok := defaultMessages[t]; !ok {
			bad("Messages", "%q is no event type: use one of the Event constants", t)
		}
	}
	admins := false
	for _, t := range slices.Sorted(maps.Keys(p.Notify)) {
		if _, ok := defaultMessages[t]; !ok {
			bad("Notify", "%q is no event type: use one of the Event constants", t)
		}
		admins = admins || p.Notify[t]&(NotifyAdmins|NotifySystemAdmins) != 0
	}
	if admins && o.Notifier != nil && o.Admins == nil {
		bad("Notify", "tells administrators: set Options.Admins")
	}
}

// lookUpNames looks up the permissions and the role that the policy names.
func (r *kindRules) lookUpNames(o *Options, bad fault) {
	p := &r.Policy
	r.ceiling = o.Catalog.API()
	if len(p.Ceiling) > 0 {
		r.ceiling = r.setOf(o.Catalog, "Ceiling", p.Ceiling, bad)
	}
	for _, name := range slices.Sorted(maps.Keys(p.AgentKinds)) {
		field := fmt.Sprintf("AgentKinds[%q]", name)
		set := r.setOf(o.Catalog, field, p.AgentKinds[name].Permissions, bad)
		if beyond := set.Intersect(o.Catalog.API()).Minus(r.ceiling); beyond.Len() > 0 {
			bad(field, "%v are beyond the kind's Ceiling: remove them or raise it", beyond.Names())
		}
	}
	known := func(field, permission string) {
		if _, ok := o.Catalog.lookup(permission); permission != "" && !ok {
			bad(field, "%q is not in Options.Catalog: add it", permission)
		}
	}
	known("CreatePermission", p.CreatePermission)
	known("ManagePermission", p.ManagePermission)
	if _, ok := o.Catalog.Role(p.DefaultRole); p.DefaultRole != "" && !ok {
		bad("DefaultRole", "%q is no role of Options.Catalog: add it", p.DefaultRole)
	}
}

// setOf looks up permissions that a policy names. They must be such as tokens
// may carry.
func (r *kindRules) setOf(c *Catalog, field string, names []string, bad func(field, format string, args ...any)) Permissions {
	if len(names) == 0 {
		return Permissions{}
	}
	if c == nil {
		bad(field, "names permissions: set Options.Catalog")
		return Permissions{}
	}
	set, err := c.Set(names...)
	if err != nil {
		bad(field, "%s", problems(err))
	}
	if !c.API().Covers(set) {
		bad(field, "%v are not for tokens: mark them as API in the Catalog", set.Minus(c.API()).Names())
	}
	return set
}
