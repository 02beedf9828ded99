package apitoken

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Store keeps tokens, their events and tenants' settings. Package memstore
// keeps them in memory; package storetest holds every other implementation to
// the contract written here, and its failures quote it.
//
// In general:
//
//   - A Store is safe for concurrent use and honours its context.
//   - It never reads a clock and deletes nothing by itself. It keeps instants
//     in UTC with microseconds.
//   - It compares and sorts text byte by byte: IDs, aliases, keys and tenants
//     that differ in case are different.
//   - It owns what it is given and hands out copies: nothing a caller changes
//     afterwards reaches it. The one exception is [Records].
//   - [ErrNotFound] means that there is no such row, and nothing else. Any error
//     other than the ones named is an outage; it must not wrap an error family of
//     this package except [ErrUnavailable].
//   - A write and its events happen together or not at all.
//
// There is no 'save this row': a whole-row save after a verify brings revoked
// tokens back. Changes are guarded by the version that was read; uses are
// counted by Touch, which can change nothing else.
type Store interface {
	// Create adds a token, as it is given, usage too, and its events. If the ID,
	// the alias or the idempotency key (within its tenant) is taken it stores
	// nothing and returns a *DuplicateError that says which. An ID one of whose
	// events is there already was used before and is taken, its token deleted or not.
	Create(ctx context.Context, rec *Record, events []Event) error

	// Get returns the token with this ID, or ErrNotFound. The record is the
	// caller's.
	Get(ctx context.Context, id ID) (*Record, error)

	// GetByAlias returns the token with this alias, or ErrNotFound.
	GetByAlias(ctx context.Context, alias string) (*Record, error)

	// Swap replaces a token whose stored version is rec.Token.Version-1 and that
	// guard allows, and appends the events. Otherwise it stores nothing and
	// returns ErrConflict, or ErrNotFound when there is no such token. Tenant,
	// kind, creator, creation instant, idempotency key with its sum, and usage
	// stay as they are stored, whatever rec holds. A taken alias gives a
	// *DuplicateError.
	Swap(ctx context.Context, rec *Record, guard Guard, events []Event) error

	// Replace swaps old as Swap does and then adds rec as Create does, in one
	// transaction with the events of both: all of it happens or nothing. Errors
	// are those of the two; where several apply it returns any one of them.
	Replace(ctx context.Context, rec, old *Record, guard Guard, events []Event) error

	// Delete removes a token whose stored version is version and that guard
	// allows, and appends the events, which outlive it. Errors as Swap.
	Delete(ctx context.Context, id ID, version int64, guard Guard, events []Event) error

	// Touch adds uses. Counts add up; the last use and what belongs to it
	// (address, networks) move only forwards. Those of a day, a week and a month are
	// added as [PeriodUses.Add] does, at WrittenAt. The version stays, nothing else is
	// changed, an unknown ID is passed over in silence: Touch never creates and
	// never revives. It may be applied in parts; an error means that some were
	// not.
	Touch(ctx context.Context, uses []Use) error

	// List returns the tokens that match, in the order asked for, at most
	// query.Limit of them, beginning after query.After.
	List(ctx context.Context, query StoreQuery) ([]*Record, error)

	// Counts returns how many tokens there are of each kind among those that
	// match; sort, limit and position do not matter. Kinds without tokens may be
	// missing.
	Counts(ctx context.Context, query StoreQuery) (map[Kind]int, error)

	// Due returns tokens of all tenants whose DueAt is set and not after
	// before, ordered by (DueAt, ID), at most limit, beginning after after.
	Due(ctx context.Context, before time.Time, after DuePosition, limit int) ([]*Record, error)

	// Events returns the events of a token, or with token "" those of the
	// tenant's settings, in the order they happened (version, ordinal), beginning
	// after the event with ID after ("" = from the first), at most limit. It finds
	// them after the token is gone too. Deliver need not come back.
	Events(ctx context.Context, tenant string, token ID, after string, limit int) ([]Event, error)

	// Claim leases up to limit undelivered events that nobody holds a lease on
	// at now and whose retry instant has come, the earliest Time first. Each goes
	// to one claimer: until the lease ends no other Claim returns it.
	Claim(ctx context.Context, lease Lease, limit int) ([]Delivery, error)

	// Settle ends claims: delivered, to be retried, or set aside. A settlement
	// whose lease is no longer the event's own is passed over; the lease "" is
	// nobody's.
	Settle(ctx context.Context, lease string, settled []Settlement) error

	// Settings returns what a tenant has set; for one that never did, the zero
	// Settings with its Tenant filled in, and no error.
	Settings(ctx context.Context, tenant string) (Settings, error)

	// SwapSettings stores settings whose version is the stored one plus one (a
	// tenant that never set any is at 0), with the events; else ErrConflict.
	SwapSettings(ctx context.Context, settings Settings, events []Event) error

	// Stats counts what operators watch.
	Stats(ctx context.Context, now time.Time) (Stats, error)
}

// Records is what a store may offer beside [Store] to make verification cheap:
// records shared between requests, so that what is compiled from one (the
// permission bits, the address ranges) is kept with it. A decorator keeps the
// stores it wraps reachable through [Unwrapper].
type Records interface {
	// Record returns a record that all callers share and nobody changes, or
	// ErrNotFound. It is as fresh as Get's for every change that was made through
	// this value, except that Usage may lag, and a change of the token gives
	// another record. A cache may show what was changed elsewhere later, within a
	// bound that it states; what must be decided on the present state is read with
	// Get. The call must not keep a reference to id's bytes: id is a slice of a
	// request header.
	Record(ctx context.Context, id ID) (*Record, error)
}

// Revisions is what a store may offer beside [Store] so that a cache confirms
// many records with one read. It is found through [Unwrapper] too.
type Revisions interface {
	// Revisions returns where those of the tokens stand that exist, in no order.
	// Callers ask for at most 500 at once.
	Revisions(ctx context.Context, ids []ID) ([]Revision, error)
}

// Revision is where a token stands. What was read of a token is still so if its
// Revision is equal.
type Revision struct {
	ID       ID
	Version  int64
	Op       string // of the Record
	LastUsed time.Time
	Uses     int64
}

// Unwrapper is implemented by stores that decorate another one, so that optional
// interfaces such as [Records] are found through them.
type Unwrapper interface {
	Unwrap() Store
}

// Record is a token as a [Store] keeps it. It holds no secret, only what checks
// one; it must not be copied: use Clone.
type Record struct {
	compiled atomic.Pointer[compiled] // all that Verify reads of a shared record, so it stands in front

	Token Token

	// Primary checks the current value, Previous the one before the last
	// rotation, which is accepted until PreviousUntil (zero = no longer, whatever
	// the clock says) and recognised afterwards.
	Primary       Slot
	Previous      Slot
	PreviousUntil time.Time
	ReuseReported bool // a use of Previous after its end was already reported

	// Alias and Legacy are the ID and the check of a credential of an older kind
	// that still opens this token (S3.17). Alias is unique in the store, "" =
	// none.
	Alias  string
	Legacy Slot

	// IdempotencyKey of the Issue that made the token, unique within its tenant
	// ("" = none), RotateKey that of the last Rotate that had one; the sums are of
	// the requests, so that a key repeated with another request is noticed.
	IdempotencyKey string
	IssueSum       []byte
	RotateKey      string
	RotateSum      []byte

	// DueAt is no later than the next instant at which time changes this token;
	// zero = never.
	DueAt time.Time

	// ExpiryDone: what follows the expiry was written, its event too.
	ExpiryDone bool
	// NoticeDone: the expiry was announced.
	NoticeDone bool

	// Op is a random mark of the write that made this version: after a write
	// whose outcome was unclear, a reader that finds its own mark knows that it
	// succeeded.
	Op string
}

// Slot is what checks one secret. The zero Slot checks none.
type Slot struct {
	// Algorithm is "sha256" for the digest of a bearer value, [AlgorithmES256] for an
	// uploaded public key, [AlgorithmHS256] for a secret that signs; of an imported
	// key also "sha256-raw", "sha512-raw", "bcrypt", "argon2id".
	Algorithm string
	KeyID     string // of the key that seals Blob ([Options].Keyring); "" = not sealed
	Prefix    string // of the token string; in Record.Legacy the name of the LegacyFormat, "" = bound by Issue
	Blob      []byte // at most 1,024 bytes
}

// IsZero reports whether the slot is empty.
func (s Slot) IsZero() bool { return s.Algorithm == "" }

// Guard is a condition of a write beside the version.
type Guard struct {
	// NotUsedAfter, unless zero: the stored last use is not later than this.
	// Every decision taken from the last use carries it, or a token used a moment
	// ago would be revoked as idle.
	NotUsedAfter time.Time
	// NeverUsed: as NotUsedAfter, for a token whose last use was read as 'never'.
	NeverUsed bool
}

// Allows reports whether a token last used at lastUsed passes the guard. Stores
// that compare in Go share it.
func (g Guard) Allows(lastUsed time.Time) bool {
	if g.NeverUsed {
		return lastUsed.IsZero()
	}
	return g.NotUsedAfter.IsZero() || !lastUsed.After(g.NotUsedAfter)
}

// Use is what [Store].Touch adds to one token.
type Use struct {
	ID       ID
	Count    int64     // uses to add, may be 0
	LastUsed time.Time // the latest of them
	Address  netip.Addr
	Networks []netip.Prefix // what becomes the list of recent networks, if LastUsed is the latest
	Legacy   time.Time      // the latest through an older ID and secret; zero = none

	// How many of them fall into which day, week and month, as of WrittenAt, when the
	// node wrote them; zero = into none that is the present one.
	Day, Week, Month PeriodUses
	WrittenAt        time.Time
}

// DuplicateError says which uniqueness a Create or Swap would have broken. It
// wraps [ErrConflict].
type DuplicateError struct {
	Field    string // "id", "alias" or "idempotency key"
	Existing ID     // the token that has it; for an ID or an alias "" if the store cannot tell
}

func (e *DuplicateError) Error() string {
	return "apitoken: the " + e.Field + " is taken by another token"
}
func (e *DuplicateError) Unwrap() error  { return ErrConflict }
func (e *DuplicateError) Reason() string { return "duplicate" }

// DuePosition is where the batch before ended.
type DuePosition struct {
	DueAt time.Time
	ID    ID
}

// Lease is a claim on events of the outbox.
type Lease struct {
	Holder string    // random, new for each Claim
	Now    time.Time // events leased until later than this are taken
	Until  time.Time // when this lease ends
}

// Delivery is a claimed event.
type Delivery struct {
	Event    Event
	Attempts int // how often it was claimed before
}

// Settlement is how a delivery went.
type Settlement struct {
	EventID string
	Done    bool      // delivered: never claimed again
	Aside   bool      // given up: kept, counted, not claimed again
	RetryAt time.Time // neither: not claimed before this instant
}

// Settings are what a tenant has set for all its tokens.
type Settings struct {
	Tenant    string    `json:"tenant"`
	Version   int64     `json:"version"`
	Origins   []string  `json:"origins,omitempty"` // trusted browser origins; empty = does not restrict (S1.1)
	UpdatedAt time.Time `json:"updated_at,omitzero"`
}

// Stats are counts over all tenants.
type Stats struct {
	Overdue int       // tokens whose DueAt has passed
	Oldest  time.Time // the earliest DueAt among those
	Outbox  int       // events neither delivered nor set aside yet
	Aside   int       // events set aside
}

// Clone returns a deep copy of rec that shares nothing with it.
func (rec *Record) Clone() *Record {
	return &Record{
		Token:          rec.Token.clone(),
		Primary:        rec.Primary.clone(),
		Previous:       rec.Previous.clone(),
		PreviousUntil:  rec.PreviousUntil,
		ReuseReported:  rec.ReuseReported,
		Alias:          rec.Alias,
		Legacy:         rec.Legacy.clone(),
		IdempotencyKey: rec.IdempotencyKey,
		IssueSum:       slices.Clone(rec.IssueSum),
		RotateKey:      rec.RotateKey,
		RotateSum:      slices.Clone(rec.RotateSum),
		DueAt:          rec.DueAt,
		ExpiryDone:     rec.ExpiryDone,
		NoticeDone:     rec.NoticeDone,
		Op:             rec.Op,
	}
}

func (s Slot) clone() Slot {
	s.Blob = slices.Clone(s.Blob)
	return s
}

func (t Token) clone() Token {
	t.Metadata = maps.Clone(t.Metadata)
	t.Grant.Permissions = slices.Clone(t.Grant.Permissions)
	t.Resources.Groups = slices.Clone(t.Resources.Groups)
	t.Networks = slices.Clone(t.Networks)
	t.Origins = slices.Clone(t.Origins)
	t.Usage.Networks = slices.Clone(t.Usage.Networks)
	return t
}
