package apitoken

import (
	"context"
	"iter"
	"net/netip"
	"time"
)

// Manager is all that a [Service] does. Ask for the smaller interface that
// code needs, so that a test fakes one method and not thirty.
type Manager interface {
	Issuer
	Verifier
	Editor
	Reader
	Follower
	Responder
	Maintainer
	Importer
}

// Issuer makes values.
type Issuer interface {
	Issue(ctx context.Context, actor Actor, req IssueRequest) (Issued, error)
	Rotate(ctx context.Context, actor Actor, id ID, req RotateRequest) (Issued, error)
	Choices(ctx context.Context, actor Actor, kind Kind) (Choices, error)
}

// Verifier lets requests in.
type Verifier interface {
	Verify(ctx context.Context, req VerifyRequest) (Principal, error)
	Admit(ctx context.Context, p Principal, req AdmitRequest) error
	Recheck(ctx context.Context, p Principal) (Principal, error)
}

// Editor changes tokens that exist.
type Editor interface {
	Edit(ctx context.Context, actor Actor, id ID, req EditRequest) (View, error)
	Extend(ctx context.Context, actor Actor, id ID, req ExtendRequest) (View, error)
	Disable(ctx context.Context, actor Actor, id ID, reason string) (View, error)
	Enable(ctx context.Context, actor Actor, id ID, req EnableRequest) (View, error)
	Revoke(ctx context.Context, actor Actor, id ID, reason string) error
	Delete(ctx context.Context, actor Actor, id ID, reason string) error
	EditOrigins(ctx context.Context, actor Actor, req OriginsRequest) (Settings, error)
}

// Reader shows what there is.
type Reader interface {
	Get(ctx context.Context, actor Actor, id ID) (View, error)
	List(ctx context.Context, actor Actor, query ListQuery) (Page, error)
	All(ctx context.Context, actor Actor, query ListQuery) iter.Seq2[View, error]
	Counts(ctx context.Context, actor Actor) (Counts, error)
	FindBySecret(ctx context.Context, actor Actor, secret string) (View, error)
	History(ctx context.Context, actor Actor, id ID) iter.Seq2[Event, error]
	Origins(ctx context.Context, actor Actor) (Settings, error)
	Explain(ctx context.Context, actor Actor, req ExplainRequest) (Explanation, error)
}

// Follower follows what happens to users and agents in the host's directory.
type Follower interface {
	OwnerChanged(ctx context.Context, actor Actor, change OwnerChange) (ChangeReport, error)
	AgentChanged(ctx context.Context, actor Actor, change AgentChange) (AgentReport, error)
	DangerouslyRevokeActiveAgent(ctx context.Context, actor Actor, id ID, reason string) error
}

// Responder acts when values leaked.
type Responder interface {
	ReportLeak(ctx context.Context, actor Actor, report LeakReport) (Leak, error)
	Bulk(ctx context.Context, actor Actor, req BulkRequest) iter.Seq2[BulkProgress, error]
}

// Maintainer does what time asks for.
type Maintainer interface {
	Run(ctx context.Context) error
	Sweep(ctx context.Context) (Swept, error)
	Forecast(ctx context.Context, until time.Time) iter.Seq2[Forecasted, error]
	Reapply(ctx context.Context, actor Actor, req ReapplyRequest) iter.Seq2[Reapplied, error]
	Rewrap(ctx context.Context, actor Actor, req RewrapRequest) (Rewrapped, error)
	Flush(ctx context.Context) error
	Deliver(ctx context.Context) (int, error)
	Status(ctx context.Context) (ServiceStatus, error)
}

// Importer moves a host's own, older keys.
type Importer interface {
	Import(ctx context.Context, actor Actor, rows iter.Seq2[ImportRow, error], each func(Imported) error) (ImportReport, error)
	ReadyToCutOver(ctx context.Context, actor Actor, since time.Time) (CutOver, error)
}

// Actor is who makes a managing call. The host fills it from its own session;
// nothing in it is guessed, and a call without ID and Tenant is refused.
type Actor struct {
	ID     string // user ID
	Tenant string // the one tenant the actor acts in; tokens of others are not found
	// Roles and Permissions are what the actor has in this tenant. They are
	// checked where a Policy names roles or permissions, and no actor can grant
	// more than Permissions together with what the Catalog says of Roles. Both
	// nil = ask Options.Owners; with neither, the actor has no permissions to
	// grant. Where Owners is set, what it says bounds both.
	Roles       []string
	Permissions []string
	RequestID   string     // for the audit event
	Address     netip.Addr // for the audit event

	system      bool
	crossTenant bool
	impersonal  bool         // a token without an owner
	ceiling     *Permissions // of an actor that is itself a token
	resources   *Resources   // likewise
	token       ID           // likewise
	principal   *Principal   // likewise, as it was when the request was verified
}

// System returns the actor of the host's own jobs in a tenant: it passes role
// and permission checks and may issue tokens of agents, never those of persons.
// Events name it as party 'system'.
func System(name, tenant string) Actor {
	return Actor{ID: name, Tenant: tenant, system: true}
}

// DangerouslyCrossTenant returns a [System] actor for whom tokens of every
// tenant are found. It is for operators' tools; never build it from a request.
// It issues nothing; it may import.
func DangerouslyCrossTenant(name string) Actor {
	return Actor{ID: name, system: true, crossTenant: true}
}

// IssueRequest asks for a new token. Only Name is required.
type IssueRequest struct {
	Kind        Kind   // Defaults to Options.DefaultKind
	Name        string // required, 1 to 256 characters
	Description string // at most 4,096 characters
	// Owner may be left empty; if set it must be who will own the token, which
	// for a person's token is the actor (S1.3, S3.4).
	Owner string
	Agent string // the agent that gets the token; required for kinds OwnedByAgent
	// PublicKey is a P-256 public key whose private half stays with the holder
	// (S2.10), in any shape that [ParsePublicKey] takes: the token's requests are
	// signed with it, and there is no secret to return. For kinds whose policy has a
	// scheme that signs.
	PublicKey string
	// Symmetric asks for a generated secret key that signs requests (S2.11), instead
	// of a value that is sent along. Needs [Options].Keyring. With neither this nor
	// PublicKey the token is a bearer token.
	Symmetric bool
	// Expiry. The zero value is the kind's default.
	Expiry Expiry
	// Role grants what the Catalog says of the role, now and later. Not together
	// with Permissions.
	Role string
	// Permissions to grant, by name; what they imply comes along. nil = the
	// kind's default, as a rule all that the creator has and tokens may have
	// (S2.2); empty but not nil = none.
	Permissions []string
	// Networks the token may be used from: addresses and CIDR prefixes, one or
	// several in each string (see [ParseNetworks]). Empty = any.
	Networks []string
	// Origins are the browser origins that may use the token, scheme://host[:port].
	// Empty = not restricted by the token.
	Origins []string
	// Share of each rate limit, 1 to 100 percent. 0 = the kind's default.
	Share int
	// Metadata of the host's, never secret: at most 16 pairs and 4 KiB.
	Metadata map[string]string
	// Legacy binds an ID and secret of an older kind to the token (S3.17), for
	// kinds whose policy allows it.
	Legacy LegacyCredential
	// IdempotencyKey makes a retry safe: a repeated Issue with the same key and
	// request makes no second token and answers [AlreadyIssuedError]. Unique in
	// the tenant; at most 256 bytes; "" = none.
	IdempotencyKey string
	Reason         string // for the audit event
}

// LegacyCredential is an ID and secret of an older kind. Both are needed.
type LegacyCredential struct {
	ID     string // at most 128 bytes; unique in the store
	Secret Secret // 20 to 256 bytes: a shorter one could be guessed from its digest
}

// RotateRequest asks for a new value of a token. One of IfVersion and
// IdempotencyKey is needed: a blind retry would displace the value that is
// already in use.
type RotateRequest struct {
	// Overlap is how long the present value goes on working beside the new one,
	// at most to the token's expiry. 0 = it stops at once.
	Overlap        time.Duration
	IfVersion      int64
	IdempotencyKey string // as in [IssueRequest]
	Reason         string
	// PublicKey attaches a public key and Symmetric a generated secret key, as in
	// [IssueRequest]; neither asks for a value of the sort the token has. A bearer
	// token that gets one of them is used either way during the overlap, until the
	// first signed request that is accepted: from then on it is used by signatures
	// only. There is no way back.
	PublicKey string
	Symmetric bool
}

// EditRequest says what to change. nil fields and zero values change nothing.
type EditRequest struct {
	Name        *string
	Description *string
	// Permissions replaces the grant, Role replaces it by a role; only for kinds
	// whose permissions may be edited.
	Permissions *[]string
	Role        *string
	// AddNetworks and RemoveNetworks change the address list; Networks replaces
	// it. Removing the last one needs AnyNetwork, or the token would silently be
	// open to all.
	Networks       *[]string
	AddNetworks    []string
	RemoveNetworks []string
	AnyNetwork     bool
	Origins        *[]string
	Share          *int
	// Metadata replaces the pairs; an empty map removes them all.
	Metadata  map[string]string
	IfVersion int64 // 0 = the last one wins; else [ErrVersion] unless this is the version
	Reason    string
}

// ExtendRequest sets a new expiry, later or sooner.
type ExtendRequest struct {
	Expiry    Expiry // required
	IfVersion int64
	Reason    string
}

// EnableRequest enables a disabled token.
type EnableRequest struct {
	Expiry    Expiry // required where the kind says so (S3.15); zero = as it is
	IfVersion int64
	Reason    string
}

// OriginsRequest replaces the tenant's trusted browser origins (S1.1).
type OriginsRequest struct {
	Origins   []string // scheme://host[:port]; empty = not restricted
	IfVersion int64    // of the Settings that were read; 0 = the last one wins
	Reason    string
}

// Choices is what a form for a new token can offer the actor.
type Choices struct {
	Kind Kind
	// Earliest, Latest and Default are dates, YYYY-MM-DD; "" = none. An instant
	// or duration is bounded by them too.
	Earliest, Latest, Default string
	Required                  bool     // an expiry is required, or Default is taken
	Ranges                    []Period // predefined, for [ExpiresAfter]
	// Permissions are all that the actor could grant ('select all'), sorted.
	Permissions []string
	Roles       []string // roles the actor could grant, sorted
}

// VerifyRequest is what a request presents. Everything but the credential is
// optional.
type VerifyRequest struct {
	// Token is a token string, or a single key of an older format
	// ([Options].Legacy). Exactly one credential: this, or both Legacy fields,
	// or Proof.
	Token        string
	LegacyID     string
	LegacySecret string
	// Proof is the signature of a signed request, the third sort of credential.
	Proof *Proof
	// Origin is the request's Origin header, "" = it has none (no browser's
	// cross-origin call).
	Origin string
	// Address is the client's; a token with an address list is refused without.
	Address netip.Addr
	// Use names what the token is used for; [Options].Uses says which kinds are
	// accepted for it. "" = anything.
	Use string
	// Kinds, unless empty, are the only kinds accepted here.
	Kinds []Kind
	// Limits names the rate limits that the request counts against: all of them, or
	// none if one refuses. Empty = none.
	Limits []string
	// Cost is how many requests this one counts as. 0 = one.
	Cost int
	// Decisions, if set, gets the limiter's answers appended, and then what was decided
	// by the token's [Quotas]: for header fields.
	Decisions *[]Decision
	// Need is what the request requires. The zero Requirement: nothing.
	Need Requirement
}

// AdmitRequest is what a request requires beyond its credential, for
// [Service.Admit]. The fields are those of [VerifyRequest].
type AdmitRequest struct {
	Use       string
	Kinds     []Kind
	Limits    []string
	Cost      int
	Decisions *[]Decision
	Need      Requirement
}

// ListQuery says which tokens to list. The zero value lists all that the actor
// may see, oldest first, 50 a page.
type ListQuery struct {
	Kinds      []Kind
	Owner      string
	Agent      string
	Creator    string
	Status     Status // StatusSuspended cannot be asked for: it depends on the host's answers
	Suspicious bool   // only tokens of agents that are not registered (S1.25)
	MetaKey    string // with MetaValue: metadata pair, exactly
	MetaValue  string
	Sort       SortKey // "" = SortCreated
	Desc       bool
	Limit      int    // 1 to 500; 0 = 50
	Cursor     string // Page.Next of the page before; the other fields must be the same
}

// Page is one page of a list.
type Page struct {
	Tokens []View `json:"tokens"`
	Next   string `json:"next,omitempty"` // "" = the last page
}

// View is a token as the actor may see it at an instant.
type View struct {
	Token
	Status         Status        `json:"status"`
	Credential     Credential    `json:"credential,omitempty"`
	KeyFingerprint string        `json:"key_fingerprint,omitempty"` // of an uploaded key: see [PublicKey.Fingerprint]
	Expired        bool          `json:"expired"`
	Color          Color         `json:"color,omitempty"`
	Suspicious     bool          `json:"suspicious,omitempty"`
	EndsAt         time.Time     `json:"ends_at,omitzero"`  // expiry or end of the idle time, whichever comes first
	PurgeAt        time.Time     `json:"purge_at,omitzero"` // when it will be deleted
	AgentState     *Registration `json:"agent_state,omitempty"`
	Revocable      bool          `json:"revocable"`
	WhyNot         string        `json:"why_not,omitempty"` // why it cannot be revoked now (S1.28)
	Editable       bool          `json:"editable"`
}

// Counts are the numbers beside the filters of a list (S1.27).
type Counts struct {
	Total      int          `json:"total"`
	Kinds      map[Kind]int `json:"kinds"` // every configured kind the actor may see, also those at 0
	Suspicious int          `json:"suspicious"`
}

// ExplainRequest names a token by ID, or presents a credential with the rest of
// a request. Exactly one of ID and Verify's credential.
type ExplainRequest struct {
	ID     ID
	Verify VerifyRequest
}

// Explanation is every check that a request with the token would meet now, in
// their order.
type Explanation struct {
	Token    ID      `json:"token_id,omitempty"` // "" when the credential names none of the tenant's
	Accepted bool    `json:"accepted"`
	Checks   []Check `json:"checks"`
}

// Check is the outcome of one check.
type Check struct {
	Name    string  `json:"name"` // "secret", "state", "owner", ...
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"` // [ReasonOf] a failure
	Detail  string  `json:"detail,omitempty"` // what is wrong and what to do
}

// Swept is what one sweep did.
type Swept struct {
	Noticed   int // expiries announced
	Ended     int // overlaps of rotations that ended
	Expired   int
	Revoked   int // for lack of use
	Purged    int
	Held      int // tokens whose deletion was left to the next sweep ([Options].MaxPurges)
	Rearmed   int // read, nothing to do yet
	Conflicts int // left to the node that was faster
	Failed    int // could not be understood or written; they are tried again
}

// ServiceStatus is for a readiness probe.
type ServiceStatus struct {
	RunStarted   bool      `json:"run_started"` // false = nobody called Run: usage stays in memory, nothing is swept
	LastSweep    time.Time `json:"last_sweep,omitzero"`
	LastFlush    time.Time `json:"last_flush,omitzero"`
	PendingUses  int       `json:"pending_uses"` // tokens whose use is not written yet
	LostUses     int64     `json:"lost_uses"`    // uses that were dropped because the recorder was full
	Overdue      int       `json:"overdue"`
	OldestDue    time.Time `json:"oldest_due,omitzero"`
	OutboxEvents int       `json:"outbox_events"`
	AsideEvents  int       `json:"aside_events"`
	// CacheAge is how old the oldest record is that a cache before the store would
	// still use, in nanoseconds in JSON; 0 = no cache, or nothing in it.
	CacheAge time.Duration `json:"cache_age,omitempty"`
}
