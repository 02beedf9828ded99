package apitoken

import (
	"slices"
	"time"
)

// Policy is the rules for one kind of token. The zero Policy is a plain API
// token: it belongs to the user who issues it, carries what was granted at
// issue, never expires unless asked to, may be edited, rotated, disabled and
// revoked, and is purged by nobody.
//
// The presets ([SlidingPolicy], [AgentPolicy], [FixedTermPolicy],
// [PersonalPolicy], [SharedPolicy], [NodePolicy], [LegacyPolicy]) return plain
// values: change what differs.
type Policy struct {
	// Prefix begins the token string: [a-z][a-z0-9]*(_[a-z0-9]+)*, at most 64
	// bytes. Secret scanners match it, so give each kind its own where they
	// matter. Defaults to [Options].Prefix.
	Prefix string

	// Ownership says whose the tokens are. Defaults to [OwnedByCreator].
	Ownership Ownership

	// CreatorRoles are the roles of which a creator needs one (S1.7, S3.3). Empty
	// = any: the host's handler has decided.
	CreatorRoles []string
	// CreatorRolesAtUse: the owner needs one of CreatorRoles at every
	// verification too. Needs [Options].Owners.
	CreatorRolesAtUse bool
	// CreatePermission is a permission a creator needs (S2.16). "" = none.
	CreatePermission string
	// SystemOnly: no person issues these, only a [System] actor. A person rotates
	// an agent's only while the agent is not active.
	SystemOnly bool
	// ManagerRoles are the roles that may list, disable, enable, revoke and delete
	// other people's tokens of this kind in their tenant, and edit and rotate
	// those that belong to no person. Empty = any actor of the tenant may: the
	// host's handler has decided.
	ManagerRoles []string
	// ManagePermission is a permission that a manager needs too. "" = none.
	ManagePermission string

	// OwnerEdits: only the owner edits and extends a person's token, no manager.
	// Only the owner ever rotates one.
	OwnerEdits bool

	// Schemes are the ways in which tokens of the kind may be used: any of
	// [SchemeBearer], [SchemeJWS], [SchemeJWT], [SchemeHTTPSignature]. What a token
	// was issued with decides which of them it can use. Those that sign need a
	// replay guard: [Options].ReplayGuard. Empty = SchemeBearer only.
	Schemes []Scheme
	// Grant says what a token may do over time. Defaults to [GrantFrozen].
	Grant GrantMode
	// DefaultRole is the role a token gets when the request names neither role
	// nor permissions. "" = what the creator has.
	DefaultRole string
	// Ceiling are the only permissions tokens of this kind may ever have. Empty =
	// no ceiling.
	Ceiling []string
	// EditPermissions: permissions may be edited, within what the editor and the
	// owner have. Otherwise they never change (S2.6).
	EditPermissions bool
	// FreezeResources: the owner's resource groups at issue are the token's for
	// good (S2.3). Needs [Options].Owners. Otherwise a token has all groups.
	FreezeResources bool
	// AgentKinds say what an agent's token is granted, by the agent's kind. Only
	// with [OwnedByAgent]; a kind that is not listed gets no token (S1.15).
	AgentKinds map[string]AgentKind

	// Lifetime bounds the expiry.
	Lifetime Lifetime
	// FixedExpiry: the expiry does not change after issue, except by Enable.
	FixedExpiry bool
	// AfterExpiry says what follows the expiry. Defaults to [ExpiryLocks].
	AfterExpiry AfterExpiry
	// Purge deletes a token this long after it was disabled (S3.14). 0 = never.
	Purge time.Duration
	// PurgeExpired deletes a token this long after an expiry that locks. 0 = never.
	PurgeExpired time.Duration
	// Notice is how long before the expiry its holders are told, by an
	// [EventExpiring] once for each expiry (S2.33, S3.8); for a kind with whole days
	// it counts to the date. An expiry set less than this ahead has no notice. 0 =
	// never. Notify says who is told.
	Notice time.Duration
	// EnableNeedsExpiry: enabling again needs a new expiry (S3.15).
	EnableNeedsExpiry bool
	// OwnerInactive says what an inactive owner means. Defaults to
	// [OwnerSuspends]. Without [Options].Owners nobody is asked.
	OwnerInactive OwnerInactive

	// NoRotation: tokens are deleted and made anew instead.
	NoRotation bool
	// MaxOverlap bounds how long the value before a rotation goes on working. 0 =
	// 30 days, negative = not at all.
	MaxOverlap time.Duration
	// RevokeOnReuse: a value replaced by rotation, presented after its overlap,
	// revokes the token. Otherwise it is refused and reported once.
	RevokeOnReuse bool

	// OnLeak says what the report of a leaked value does ([Service.ReportLeak]).
	// Defaults to [LeakRevokes].
	OnLeak LeakAction

	// Share is the percentage of each API's rate limit that a new token gets, 1
	// to 100 (S1.19). Defaults to 100.
	Share int
	// Quotas bound how often each token is used in a day, a week and a month. What
	// they are now counts, for tokens that exist too. Zero = no bound.
	Quotas Quotas

	// Legacy: Issue may bind an ID and secret of an older kind to a token, which
	// then opens it too (S3.17).
	Legacy bool

	// Messages are the display messages of events; types that are missing have
	// one that says the same in plain words.
	Messages map[EventType]string
	// Notify says who is told of which event. Empty = nobody.
	Notify map[EventType]Recipients
}

// Ownership says whose tokens of a kind are.
type Ownership string

// The ownerships.
const (
	OwnedByCreator Ownership = ""       // the user who issued it; nobody issues for somebody else (S1.3, S3.4)
	OwnedByTenant  Ownership = "tenant" // nobody's own; its creator's leaving changes nothing (S3.5)
	OwnedByAgent   Ownership = "agent"  // an agent's; issued by the system (S1.12)
)

// GrantMode says what a token may do over time.
type GrantMode string

// The grant modes.
const (
	GrantFrozen GrantMode = ""     // what was granted at issue, or what the granted role has
	GrantLive   GrantMode = "live" // what the owner has at each request (S1.6). Needs Options.Owners
	GrantCut    GrantMode = "cut"  // as frozen, cut at each request by what the owner has (S3.12). Needs Options.Owners
)

// AfterExpiry says what follows the expiry.
type AfterExpiry string

// What may follow the expiry.
const (
	ExpiryLocks    AfterExpiry = ""        // stays visible, marked expired, can only be deleted or revoked (S2.35)
	ExpiryDisables AfterExpiry = "disable" // counts as disabled, cause 'expired' (S3.7)
)

// OwnerInactive says what an inactive owner means for a token.
type OwnerInactive string

// What an inactive owner may mean.
const (
	OwnerSuspends OwnerInactive = ""        // refused while the owner is inactive, works again afterwards (S1.8)
	OwnerDisables OwnerInactive = "disable" // refused; OwnerChanged disables it, and it stays so when the owner is back (S3.16). Needs Options.Owners
	OwnerIgnored  OwnerInactive = "ignore"  // nothing
)

// AgentKind is what agents of a kind get.
type AgentKind struct {
	Permissions []string
	// RevokeOnDeactivation: [Service.AgentChanged] revokes the token when the agent
	// is deactivated or unregistered (S1.28). Otherwise it is only refused, and can
	// be revoked by hand. What it was at issue counts.
	RevokeOnDeactivation bool
}

// Recipients say who is told of an event; they are combined with |.
type Recipients uint8

// The recipients.
const (
	NotifyOwner        Recipients = 1 << iota // the token's owner
	NotifyCreator                             // who issued it
	NotifyAdmins                              // all administrators of the tenant
	NotifySystemAdmins                        // everyone with the built-in system administrator role
)

// Lifetime bounds the expiry of tokens. The zero Lifetime: never, unless asked.
type Lifetime struct {
	// Default is the expiry when none is given. Zero = never.
	Default Period
	// Min and Max bound an expiry that is given, counted from the day or instant
	// it is given. Zero Min = any instant to come; zero Max = none. With
	// WholeDay they are dates, and tomorrow is the earliest (S2.20).
	Min, Max Period
	// Required: 'never' is not an answer.
	Required bool
	// WholeDay: an expiry is a date, and the token works through the end of that
	// day UTC (S2.32). Otherwise a date is the instant it begins (S3.7).
	WholeDay bool
	// Ranges are the predefined choices. Defaults to 30, 60, 90 days and 1 year,
	// as far as Min and Max allow.
	Ranges []Period
	// Idle revokes a token, for good, that was not used for this long (S1.11). 0 =
	// never. At least two [Options].UsageInterval.
	Idle time.Duration
}

const (
	week       = 7 * 24 * time.Hour
	noticeTime = 3 * 24 * time.Hour // S2.33, S3.8
)

// SlidingPolicy is the sliding family (S1): the user's permissions, live; 30
// days from the last use, then revoked for good; half of each rate limit.
// Creators are super_admin, org_admin, group_admin, group_membership_admin and
// read_only_admin, managers the first two: change the names to yours. Needs
// [Options].Owners.
func SlidingPolicy() Policy {
	return Policy{
		CreatorRoles: []string{"super_admin", "org_admin", "group_admin", "group_membership_admin", "read_only_admin"},
		ManagerRoles: []string{"super_admin", "org_admin"},
		Grant:        GrantLive,
		Lifetime:     Lifetime{Idle: 30 * 24 * time.Hour},
		FixedExpiry:  true,
		Share:        50,
	}
}

// AgentPolicy is for agents' tokens (S1.12): issued and replaced by the system,
// refused unless the agent is registered and active, sliding as users' tokens.
// kinds says what agents of each kind may do. Managers are as [SlidingPolicy]'s.
// Needs [Options].Agents.
func AgentPolicy(kinds map[string]AgentKind) Policy {
	return Policy{
		Ownership:    OwnedByAgent,
		SystemOnly:   true,
		ManagerRoles: []string{"super_admin", "org_admin"},
		AgentKinds:   kinds,
		Lifetime:     Lifetime{Idle: 30 * 24 * time.Hour},
		FixedExpiry:  true,
		Share:        50,
	}
}

// FixedTermPolicy is the fixed-term family (S2): permissions and resource
// groups frozen at issue, an expiry date of 90 days by default and one year at
// most, through the end of that day UTC, announced three days before that date;
// expired tokens stay visible and locked; no rotation; an uploaded public key or a
// generated secret key signs requests (S2.10, S2.11), by any scheme; secret keys need
// [Options].Keyring. Creators and managers need
// the permission createPermission, that to manage API credentials (S2.16; "" = any
// may).
// Needs [Options].Owners, and [Options].Admins if there is a Notifier.
func FixedTermPolicy(createPermission string) Policy {
	return Policy{
		CreatePermission: createPermission,
		ManagePermission: createPermission,
		Schemes:          []Scheme{SchemeBearer, SchemeJWS, SchemeJWT, SchemeHTTPSignature},
		FreezeResources:  true,
		Lifetime: Lifetime{
			Default:  Period{Days: 90},
			Max:      Period{Years: 1},
			Required: true,
			WholeDay: true,
		},
		Notice:     noticeTime,
		NoRotation: true,
		Messages: map[EventType]string{
			EventCreated:  "API token updated",
			EventEdited:   "API token updated",
			EventExtended: "API token updated",
			EventExpiring: "API token expires soon",
			EventExpired:  "API token expired",
		},
		Notify: map[EventType]Recipients{
			EventCreated:  NotifyCreator | NotifySystemAdmins,
			EventExpiring: NotifyOwner | NotifySystemAdmins,
			EventExpired:  NotifyOwner | NotifySystemAdmins,
			EventLeaked:   NotifyOwner | NotifySystemAdmins,
		},
	}
}

// PersonalPolicy is the switchable family's personal token (S3.3): one
// person's, within that person's permissions at each request; disabled tokens
// are deleted after a week and enabled only with a new expiry; the owner is told
// three days before it. Creators are administrator and analyst and their global
// twins, managers the administrators: change the names to yours. Needs
// [Options].Owners.
func PersonalPolicy() Policy {
	p := switchable()
	p.CreatorRoles = []string{"administrator", "analyst", "global_administrator", "global_analyst"}
	p.CreatorRolesAtUse = true
	p.ManagerRoles = []string{"administrator", "global_administrator"}
	p.OwnerEdits = true
	p.Grant = GrantCut
	p.OwnerInactive = OwnerDisables
	p.Notify = map[EventType]Recipients{EventExpiring: NotifyOwner, EventLeaked: NotifyOwner}
	return p
}

// SharedPolicy is the switchable family's shared token (S3.5): nobody's own;
// only administrators and global administrators obtain, see and manage it, and
// all administrators are told three days before it expires. Needs [Options].Admins
// if there is a Notifier.
func SharedPolicy() Policy {
	p := switchable()
	p.Ownership = OwnedByTenant
	p.CreatorRoles = []string{"administrator", "global_administrator"}
	p.ManagerRoles = slices.Clone(p.CreatorRoles) // the host may change either
	p.OwnerInactive = OwnerIgnored
	p.Notify = map[EventType]Recipients{EventExpiring: NotifyAdmins, EventLeaked: NotifyAdmins}
	return p
}

// NodePolicy is for tokens that only deploy nodes (S3.11, S3.21): the Catalog's
// role 'deploy' and nothing above the permission 'deploy'; no expiry unless
// asked. Otherwise as [SharedPolicy].
func NodePolicy() Policy {
	p := SharedPolicy()
	p.DefaultRole = "deploy"
	p.Ceiling = []string{"deploy"}
	return p
}

// LegacyPolicy is for tokens that older credentials were converted to (S3.17 to
// S3.20): the owner's permissions, live and not editable; no expiry; an ID and
// secret of the older kind open them until the value is renewed. Owner rules as
// [PersonalPolicy]. Needs [Options].Owners.
func LegacyPolicy() Policy {
	p := PersonalPolicy()
	p.Grant = GrantLive
	p.EditPermissions = false
	p.Legacy = true
	return p
}

func switchable() Policy {
	return Policy{
		AfterExpiry:       ExpiryDisables,
		Purge:             week,
		Notice:            noticeTime,
		EnableNeedsExpiry: true,
		EditPermissions:   true,
	}
}

// terms are the rules of life that a token of this kind is issued with.
func (p *Policy) terms(interval time.Duration) Terms {
	return Terms{
		Idle: p.Lifetime.Idle, Interval: interval, AfterExpiry: p.AfterExpiry,
		Purge: p.Purge, PurgeExpired: p.PurgeExpired, Notice: p.Notice,
	}
}

// message is the display message of an event.
func (p *Policy) message(t EventType) string {
	if p != nil {
		if m, ok := p.Messages[t]; ok {
			return m
		}
	}
	return defaultMessages[t]
}

var defaultMessages = map[EventType]string{
	EventCreated:  "API Token created", // S1.30: these two exactly
	EventRevoked:  "API Token revoked",
	EventImported: "API Token imported",
	EventEdited:   "API Token edited",
	EventExtended: "API Token expiry changed",
	EventDisabled: "API Token disabled",
	EventEnabled:  "API Token enabled",
	EventRotated:  "API Token rotated",
	EventDeleted:  "API Token deleted",
	EventExpired:  "API Token expired",
	EventReused:   "API Token used with a replaced value",
	EventLeaked:   "API Token found in a leak",
	EventOrigins:  "Trusted origins changed",

	EventExpiring:     "API Token expires soon",
	EventOverlapEnded: "API Token's replaced value ended",
	EventReapplied:    "API Token terms changed",
	EventLegacyEnded:  "API Token's older credential ended",
}
