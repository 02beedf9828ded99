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
	// Limiter decides. Defaults to [NewMemoryLimiter] for 100,000 buckets.
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

	// UsageInterval: the use of a token is written at most once per interval, and
	// a sliding life is counted from the end of the interval of its last use.
	// Defaults to 1 minute; 1 second to 1 hour.
	UsageInterval time.Duration
	// MaxPendingUses bounds the tokens whose use waits to be written. Beyond it
	// uses are dropped and counted. Defaults to 100,000.
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

	// Clock defaults to [SystemClock].
	Clock Clock
	// Logger gets what has no caller to return an error to. It is never given a
	// secret. Defaults to slog.Default().
	Logger *slog.Logger
}
