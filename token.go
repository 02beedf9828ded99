package apitoken

import (
	"net/netip"
	"slices"
	"time"
)

// ID names a token for ever, through every rotation: 22 base62 characters,
// compared as they are, never decoded. It is not secret: it stands in logs,
// events and URLs, and is readable inside the token string.
type ID string

// Valid reports whether id has the form of an ID: 22 base62 characters. A
// store need not be asked about any other.
func (id ID) Valid() bool { return len(id) == idLen && isBase62(string(id)) }

// Kind names a sort of token; [Options].Kinds maps it to its [Policy].
type Kind string

// DefaultKind is the one kind there is when [Options].Kinds is empty: the zero
// [Policy].
const DefaultKind Kind = "token"

// State is the stored state of a token. What an instant adds to it (expired,
// idle) is a [Status].
type State string

// The states. Revoked is terminal.
const (
	StateActive   State = "active"
	StateDisabled State = "disabled"
	StateRevoked  State = "revoked"
)

// Cause says why a token is disabled or revoked.
type Cause string

// The causes.
const (
	CauseByHand  Cause = "by_hand" // a person or a job asked for it
	CauseExpired Cause = "expired" // the expiry was reached (S3.7)
	CauseIdle    Cause = "idle"    // unused for its kind's idle time (S1.11)
	CauseOwner   Cause = "owner"   // its owner was disabled (S3.16) or deleted
	CauseReuse   Cause = "reuse"   // a value replaced by rotation was presented
	CauseAgent   Cause = "agent"   // its agent was deactivated or unregistered (S1.28)
	// CauseReplaced: its agent was activated and got a new token (S1.13).
	CauseReplaced Cause = "replaced"
	// CauseForced: taken by [Service.DangerouslyRevokeActiveAgent].
	CauseForced Cause = "forced"
	CauseLeak   Cause = "leak" // its value was found where it does not belong
	// CauseLeakForced is CauseLeak for a token whose agent is active, or could not
	// be asked about: the one stop that does not wait for the agent (S1.28).
	CauseLeakForced Cause = "leak_forced"
)

// Status is what a token is at an instant, for lists and their 'status' column.
type Status string

// The statuses, in the order a list sorted by status shows them.
const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended" // refused while its owner or agent is not active
	StatusDisabled  Status = "disabled"
	StatusExpired   Status = "expired"
	StatusRevoked   Status = "revoked"
)

// Color is the health colour of S1.22.
type Color string

// The colours. Where several would apply the first of yellow, red, green, grey
// is taken. Revoked and disabled tokens have none, unless suspicious.
const (
	ColorNone   Color = ""
	ColorYellow Color = "yellow" // suspicious: tied to an agent that is not registered
	ColorRed    Color = "red"    // expired, or expires within 7 days
	ColorGreen  Color = "green"  // used within the last 3 days
	ColorGrey   Color = "grey"   // not used in the last 3 days, 7 days or more before expiry
)

// Token is everything that is known of a token but its secret and what is
// stored to check it. It is a plain value: changing it changes nothing stored.
// All instants are UTC with microseconds; a zero instant means 'never'.
type Token struct {
	ID      ID     `json:"id"`
	Version int64  `json:"version"` // 1 at issue, one more with each change; uses do not count
	Tenant  string `json:"tenant"`
	Kind    Kind   `json:"kind"`

	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Hint        string            `json:"hint"` // how its string begins, to find it among saved ones; no part of the secret
	Metadata    map[string]string `json:"metadata,omitempty"`

	Owner   string `json:"owner,omitempty"` // user ID; "" for tokens of a tenant or an agent
	Agent   string `json:"agent,omitempty"` // agent ID, for an agent's token
	Creator string `json:"creator"`         // who issued it; a record, it gives no rights

	State   State     `json:"state"`
	Cause   Cause     `json:"cause,omitempty"`
	Reason  string    `json:"reason,omitempty"` // as given by who disabled or revoked it
	StateAt time.Time `json:"state_at"`         // since when it is in State

	Grant     Grant          `json:"grant,omitzero"`
	Resources Resources      `json:"resources,omitzero"`
	Networks  []netip.Prefix `json:"networks,omitempty"` // empty = any address (S2.24)
	Origins   []string       `json:"origins,omitempty"`  // empty = does not restrict (S1.1)
	Share     int            `json:"share"`              // percent of each API's rate limit, 1 to 100 (S1.19)

	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"` // last change; uses do not count
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	ExpirySetAt time.Time `json:"expiry_set_at,omitzero"` // when ExpiresAt was last set
	WholeDay    bool      `json:"whole_day,omitempty"`    // usable through the day before ExpiresAt, which is a midnight UTC (S2.32)
	RotatedAt   time.Time `json:"rotated_at,omitzero"`

	Terms Terms `json:"-"` // what follows from them is in [View]: EndsAt, PurgeAt
	Usage Usage `json:"usage,omitzero"`
}

// Terms are the rules of a token's life, fixed when it was issued. A policy
// changed later does not reach tokens that exist, unless [Service.Reapply] puts
// it on them. Zero durations switch a rule off.
type Terms struct {
	Idle         time.Duration `json:"idle,omitzero"`          // unused for this long: revoked (S1.11)
	Interval     time.Duration `json:"interval,omitzero"`      // a use counts until the end of the interval it falls into
	AfterExpiry  AfterExpiry   `json:"after_expiry,omitzero"`  // what follows ExpiresAt
	Purge        time.Duration `json:"purge,omitzero"`         // deleted this long after it was disabled (S3.14)
	PurgeExpired time.Duration `json:"purge_expired,omitzero"` // deleted this long after an expiry that locks
	Notice       time.Duration `json:"notice,omitzero"`        // its holders are told this long before ExpiresAt (S2.33, S3.8)

	RevokeOnDeactivation bool `json:"revoke_on_deactivation,omitzero"` // revoked when its agent is deactivated or unregistered (S1.28)
}

// Usage is what is known of a token's use (S1.16). It is written late, by the
// usage recorder: see [Options].UsageInterval.
type Usage struct {
	Uses     int64          `json:"uses"`                // accepted requests since creation
	LastUsed time.Time      `json:"last_used,omitzero"`  // zero = never
	Address  netip.Addr     `json:"address,omitzero"`    // of the last use, where the host gave it
	Networks []netip.Prefix `json:"networks,omitempty"`  // recent ones, latest first: /24 and /48, at most MaxRecentNetworks
	Legacy   time.Time      `json:"legacy_use,omitzero"` // last use through an older ID and secret (S3.17)

	// Those of a day, a week and a month, UTC: in a [View] the present ones, zero =
	// none; in a [Record] the latest in which the token was used.
	Day   PeriodUses `json:"day,omitzero"`
	Week  PeriodUses `json:"week,omitzero"` // from Monday
	Month PeriodUses `json:"month,omitzero"`
}

// MaxRecentNetworks bounds [Usage].Networks.
const MaxRecentNetworks = 5

// Grant is what a token was given. The zero Grant gives nothing. What it is
// worth at an instant is the permission set in the [Principal]: the grant, cut
// by everything that stands above it.
type Grant struct {
	// Live: whatever the owner has, at each request (S1.6).
	Live bool `json:"live,omitempty"`
	// Cut: the grant, cut at each request by what the owner has then (S3.12).
	Cut bool `json:"cut,omitempty"`
	// Role: whatever the Catalog says the role has, at each request (S3.11).
	Role string `json:"role,omitempty"`
	// Permissions are names; those that the Catalog does not know grant nothing.
	Permissions []string `json:"permissions,omitempty"`
}

// Resources are the resource groups a token may touch, fixed at issue where
// its kind says so (S2.3). The zero value is no group at all; 'all' is spelled
// out.
type Resources struct {
	All    bool     `json:"all,omitempty"`
	Groups []string `json:"groups,omitempty"`
}

// Has reports whether r contains the group.
func (r Resources) Has(group string) bool {
	return r.All || slices.Contains(r.Groups, group)
}

func (r Resources) hasAll(groups []string) bool {
	for _, g := range groups {
		if !r.Has(g) {
			return false
		}
	}
	return true
}

// covers reports whether r has all that q has.
func (r Resources) covers(q Resources) bool { return r.All || !q.All && r.hasAll(q.Groups) }

// within returns the groups that are in both.
func (r Resources) within(limit Resources) Resources {
	switch {
	case limit.All:
		return r
	case r.All:
		return limit
	}
	return Resources{Groups: slices.DeleteFunc(slices.Clone(r.Groups), func(g string) bool { return !limit.Has(g) })}
}

// Expired reports whether the token's expiry has come: it is usable while
// now < ExpiresAt, and never expires when that is zero.
func (t *Token) Expired(now time.Time) bool {
	return !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt)
}

// Issued is the result of Issue and Rotate, the only place where a secret is.
type Issued struct {
	Token  View
	Secret Secret // shown now and never again (S1.18, S2.30)
}
