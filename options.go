package apitoken

import (
	"context"
	"log/slog"
	"time"
)

// Options of [New]. The zero value works: one kind of token, named "token",
// with the zero [Policy].
type Options struct {
	// Prefix begins every token string, so that people and secret scanners
	// recognise it: [a-z][a-z0-9]*(_[a-z0-9]+)*. Defaults to "token"; set it to
	// the name of your product.
	Prefix string
	// OldPrefixes are prefixes of tokens that were issued before Prefix or a
	// Policy's was changed and must go on working.
	OldPrefixes []string

	// Kinds maps each kind of token to its policy. Defaults to one kind,
	// [DefaultKind], with the zero Policy. A stored token of a kind that is not
	// here is refused, and can only be read, revoked and deleted.
	Kinds map[Kind]Policy
	// DefaultKind is the kind of an [IssueRequest] that names none. Defaults to
	// the only kind there is; with several and no default, a request must name
	// one.
	DefaultKind Kind
	// Uses says which kinds are accepted for a use ([VerifyRequest].Use), by name:
	// {"deploy": {"node"}} lets only node tokens deploy (S3.22). A use that is not
	// here is refused.
	Uses map[string][]Kind

	// Catalog is the permissions and roles there are. Defaults to none: tokens
	// then have no permissions, and any Requirement is refused.
	Catalog *Catalog
	// Limits are the rate limits there are, by name. LimitFor, if set, is asked
	// first (plans); it says false to leave the answer to Limits. A limit that
	// neither knows is refused.
	Limits   map[string]Limit
	LimitFor func(ctx context.Context, p Principal, name string) (Limit, bool, error)
	// QuotasFor, if set, is asked for the quotas of a principal's token, at each
	// verification: for plans, or for a bound of one token's own, which its
	// [Principal.Metadata] may name. It says false to leave the answer to
	// [Policy].Quotas.
	QuotasFor func(ctx context.Context, p Principal) (Quotas, bool, error)
	// LimitKey gives the key of the bucket that a principal's requests count in, for
	// the limits that are [PerKey]: a project, a region, a plan that several tenants
	// share. Required with them.
	LimitKey func(ctx context.Context, p Principal, name string) (string, error)
	// Limiter decides. Defaults to [NewMemoryLimiter] for 100,000 buckets, which
	// counts what this process lets through; package redisstore has one for several.
	Limiter Limiter

	// Owners, Agents, Admins and Entitlements are what the host is asked. nil =
	// not asked. New refuses a policy that needs a missing one.
	Owners       Owners
	Agents       Agents
	Admins       Admins
	Entitlements Entitlements

	// Notifier is told of events, from Deliver and Run. Defaults to none: events
	// are then only history.
	Notifier Notifier

	// Legacy are the formats of the host's own, older keys: what [Service.Import]
	// takes and what goes on working afterwards. Defaults to none.
	Legacy []LegacyFormat
	// ImportKey keys the IDs, look-ups and digests of imported keys: 32 random bytes
	// or more, the same on all nodes, kept like a password. Changing it refuses all
	// imported keys. Required with Legacy.
	ImportKey Secret
	// Fallback, if set, is asked about an older key that has the shape of a format
	// and is not imported yet, and returns its row in the host's old table: the key
	// is imported at its first use, if the secret matches the row. So nothing need be
	// frozen while a deploy is rolled out. [ErrNotFound] = there is no such row; any
	// other error is an outage, and so is a row that cannot be imported. It must be
	// safe for concurrent use and honour its context.
	Fallback func(ctx context.Context, key LegacyKey) (ImportRow, error)
	// SlowHashes is how many bcrypt and argon2id hashes of older keys are computed at
	// once; each may take 64 MiB. Sixteen times as many requests wait, more are
	// refused with [ErrUnavailable]. Defaults to 4; at most 64.
	SlowHashes int

	// Keyring seals what is stored to check tokens. Defaults to none: bearer tokens
	// are kept as digests, and secret keys that sign cannot be issued. Once it is
	// set, [Service.Rewrap] seals the tokens that are there.
	Keyring KeyWrapper
	// ReplayGuard remembers accepted signatures. Defaults to the store's own: that of
	// memstore or sqlstore. Required, one or the other, for a kind whose policy has a
	// scheme that signs.
	ReplayGuard ReplayGuard
	// ProofMaxAge and ProofMaxAhead say how long ago, and how far in the future, a
	// signed request may have been signed. Default to 5 and 2 minutes; 1 second to 1
	// hour.
	ProofMaxAge   time.Duration
	ProofMaxAhead time.Duration

	// UsageInterval: the use of a token is written at most once per interval, and
	// a sliding life is counted from the end of the interval of its last use.
	// Defaults to 1 minute; 1 second to 1 hour.
	UsageInterval time.Duration
	// MaxPendingUses bounds the tokens whose use waits to be written. Beyond it
	// uses are dropped and counted, and tokens with [Quotas] are refused with
	// [ErrUnavailable]. Defaults to 100,000.
	MaxPendingUses int
	// SweepInterval is how often Run sweeps and delivers, up to a tenth sooner.
	// Defaults to 1 minute; 1 second to 24 hours.
	SweepInterval time.Duration
	// MaxPurges bounds the tokens that one sweep deletes, so that a clock that
	// jumped ahead does not empty the store in one go; the next sweep goes on. The
	// others are left as they are, counted ([Swept].Held) and logged. Defaults to
	// 1,000.
	MaxPurges int
	// ClockSkew is how far the clocks of nodes may be apart: a sweep revokes idle
	// tokens that much later. Defaults to 1 minute.
	ClockSkew time.Duration

	// Observer is told what the Service does, for metrics and traces. Defaults to
	// nothing.
	Observer Observer
	// Clock defaults to [SystemClock].
	Clock Clock
	// Logger gets what has no caller to return an error to. It is never given a
	// secret. Defaults to slog.Default().
	Logger *slog.Logger
}
