package apitoken

import (
	"context"
	"errors"
	"time"
)

// Limit is a rate limit of one API (S1.19): Quota requests per Window, with
// bursts of up to Burst. It is a bucket that refills evenly.
type Limit struct {
	Quota  int           // requests per Window; 0 blocks
	Window time.Duration // more than 0
	Burst  int           // requests at once. Defaults to Quota
	Per    Per           // whose requests one bucket counts. Defaults to PerToken
}

// Per says whose requests one bucket of a limit counts.
type Per string

// The sorts of buckets.
const (
	PerToken  Per = ""       // each token has one, of its share of the limit (S1.19)
	PerOwner  Per = "owner"  // all tokens of a person, or of an agent, or that belong to the tenant itself, share one
	PerTenant Per = "tenant" // all tokens of a tenant share one
	PerKey    Per = "key"    // all requests for which [Options].LimitKey gives the same key share one
)

// Share returns the part of a limit that percent (1 to 100) gives: max(1,
// floor(limit × percent ÷ 100)), and 0 when the limit is 0.
func (l Limit) Share(percent int) Limit {
	l.Quota, l.Burst = shareOf(l.Quota, percent), shareOf(l.Burst, percent)
	return l
}

func shareOf(n, percent int) int {
	if n <= 0 {
		return 0
	}
	// n × percent would overflow for the large limits that mean 'none'.
	return max(1, n/100*percent+n%100*percent/100)
}

// Size returns how many requests a full bucket has: Burst, or Quota where there is
// none.
func (l Limit) Size() int {
	if l.Burst == 0 {
		return l.Quota
	}
	return l.Burst
}

// Check returns what is wrong with the limit, nil = nothing. Limiters ask it before
// they decide: with a window of zero the rate would be without bound.
func (l Limit) Check() error {
	switch {
	case l.Quota < 0 || l.Burst < 0:
		return errors.New("a limit cannot be negative: give 0 to block, or more")
	case l.Window <= 0:
		return errors.New("the window must be more than 0: say per how long the quota is")
	case l.Per != PerToken && l.Per != PerOwner && l.Per != PerTenant && l.Per != PerKey:
		return errors.New("nothing is counted per " + clip(string(l.Per)) + ": use PerToken, PerOwner, PerTenant or PerKey")
	}
	return nil
}

// LimitKey names one bucket. It holds no secret, but IDs that should not appear in
// the labels of metrics.
type LimitKey struct {
	Name   string // of the limit
	Per    Per    // as in the Limit; for an agent's tokens "agent" instead of PerOwner
	Tenant string // whose bucket it is; "" for PerKey
	ID     string // the token, owner, agent or key; "" for the tenant itself
}

// perAgent keeps an agent's bucket apart from that of a person with the same ID.
const perAgent Per = "agent"

// LimitRequest asks for Cost requests of one bucket.
type LimitRequest struct {
	Key   LimitKey
	Limit Limit // after the token's share
	// Cost is how much is taken if it is there. 0 takes nothing: it asks what is left.
	Cost int
}

// Check returns what is wrong with the request, nil = nothing.
func (r LimitRequest) Check() error { return r.check() }

func (r *LimitRequest) check() error {
	if r.Cost < 0 {
		return errors.New("the cost cannot be negative")
	}
	if l := &r.Limit; l.Quota < 0 || l.Burst < 0 || l.Window <= 0 || l.Per != PerToken {
		return l.Check()
	}
	return nil
}

// Decision is a limiter's answer, or what was decided by one of a token's [Quotas].
type Decision struct {
	Limit   string // its name: QuotaDay, QuotaWeek or QuotaMonth for a quota
	Per     Per
	Quota   int           // requests per Window, after the token's share; of a quota its uses
	Window  time.Duration // of a quota the length of the present day, week or month
	Allowed bool
	// Remaining is how many requests would be allowed at once now.
	Remaining int
	// Reset is how long until the bucket is full again if nothing is taken from it, or
	// until the quota begins anew.
	Reset time.Duration
	// RetryAfter, when refused, is how long until as much is there. The Window, if
	// it never will be: the limit is 0, or the cost is more than a full bucket has.
	RetryAfter time.Duration
	// Never: it will never be allowed as things stand.
	Never bool
	// Local: decided without what other nodes have counted, because a shared limiter
	// could not be reached.
	Local bool
}

// Limiter decides whether a request may pass. Implementations must be safe for
// concurrent use. now is by the Service's clock; one that has a common clock for
// several nodes goes by that. An error refuses the request with [ErrUnavailable].
type Limiter interface {
	// Allow takes req.Cost from the bucket if so much is there, else nothing.
	Allow(ctx context.Context, req LimitRequest, now time.Time) (Decision, error)
}

// BatchLimiter is what a [Limiter] may offer beside, for requests that are subject
// to several limits at once. Without it they are asked one after the other until
// one refuses, and what the earlier ones gave is gone.
type BatchLimiter interface {
	// AllowAll takes from all the buckets, or from none if one of them refuses. The
	// decisions are in the order of reqs; one that would have allowed says so.
	AllowAll(ctx context.Context, reqs []LimitRequest, now time.Time) ([]Decision, error)
}
