package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tokenry/apitoken"
)

// Outage says what a [Limiter] does while Redis cannot be used.
type Outage int

const (
	// Fallback decides on each node by itself, by a part of the limit: see
	// [LimiterOptions].Nodes. This is the default.
	Fallback Outage = iota
	// Refuse returns the error, so that the Service refuses with
	// [apitoken.ErrUnavailable].
	Refuse
)

// LimiterOptions of [NewLimiter]. The zero value is usable with one node.
type LimiterOptions struct {
	// Prefix stands before all keys. It has no braces. Defaults to "apitoken:".
	Prefix string
	// KeySecret keys the digests that keys are made of. Without it, whoever can read
	// Redis can try out whether a tenant, an owner or a key of yours has a bucket.
	// The same on all nodes; another one makes all buckets full.
	// 16 bytes or more, random; nil = none.
	KeySecret []byte

	// Timeout bounds what one decision waits for Redis. Defaults to 100 ms; 1 ms to
	// 1 minute.
	Timeout time.Duration
	// RetryEvery is how long after a failure Redis is tried again, by one request at
	// a time, as measured by the now that Allow is given. Defaults to 1 second; 1 ms
	// to 1 hour.
	RetryEvery time.Duration

	// OnOutage says what happens while Redis cannot be used. Defaults to [Fallback].
	OnOutage Outage
	// Nodes returns how many nodes there are now. While Redis cannot be used, each
	// grants the Quota and Burst of a limit divided by it, at least 1. Give it: nil = 1,
	// with which each of N nodes would grant the whole limit.
	Nodes func() int
	// LocalBuckets is how many buckets a node keeps for that: see
	// [apitoken.NewMemoryLimiter]. Defaults to 100,000.
	LocalBuckets int

	// Lease lets a node take up to so many requests of a bucket beyond the one it asks
	// for, and hand them out by itself for LeaseFor: one command in place of many. It
	// takes more only while it uses up what it took, and at most a tenth of what is
	// there, so nothing is lent to who comes seldom or whose bucket is nearly empty.
	//
	// Every request that is allowed was taken from the bucket, so in the long run no
	// more pass than without leases. In one burst up to Lease more for each node may, if
	// the bucket became full again before they were handed out. What is not handed out
	// is given up, so others may be refused too early: by up to Lease for each node and
	// LeaseFor.
	// Remaining and Reset go by the node's last question and leave out what others hold.
	// A node that sees an edited limit asks at once. AllowAll and requests with a cost of
	// 0 always ask. When Redis is lost, a node first hands out what it has. It notes for
	// LocalBuckets buckets at most what it holds; which one of them it forgets is given
	// up.
	//
	// 0 = none: Redis decides on each request, exactly. At most 1,000,000.
	Lease int
	// LeaseFor is how long after its last question about a bucket a node may hand out
	// what it took, as measured by the now that Allow is given. Defaults to 1 second;
	// 1 ms to 1 minute.
	LeaseFor time.Duration

	// Logger gets one line when Redis is lost, and one when it is back and has stayed
	// for RetryEvery. Defaults to slog.Default().
	Logger *slog.Logger
	// OnChange is called at the same times, err being why it is lost. It must be
	// fast: a request waits for it. nil = nothing is called.
	OnChange func(reachable bool, err error)
}

// Limiter is an [apitoken.Limiter] and [apitoken.BatchLimiter] whose buckets are in
// Redis, for all nodes that share it. Make it with [NewLimiter]. It is safe for
// concurrent use.
type Limiter struct {
	remote *remote
	names  naming
	one    script
	take   script
	give   script
	lease  script
	leases *leases // nil = none
	refuse bool
	nodes  func() int
	local  *apitoken.MemoryLimiter
}

var (
	_ apitoken.Limiter      = (*Limiter)(nil)
	_ apitoken.BatchLimiter = (*Limiter)(nil)
)

// NewLimiter returns a limiter that keeps its buckets through client, which remains
// the caller's to close. It does not connect: Redis may be away at the start. Set
// ContextTimeoutEnabled in the client's options; for one without, each decision
// takes a goroutine, or Timeout would not bound it.
func NewLimiter(client redis.UniversalClient, opts LimiterOptions) (*Limiter, error) {
	var errs []error
	names, err := newNaming(opts.Prefix, opts.KeySecret)
	errs = append(errs, err)
	remote, err := newRemote(client, "limiter", opts.Timeout, opts.RetryEvery, opts.Logger, opts.OnChange)
	errs = append(errs, err)
	if opts.OnOutage != Fallback && opts.OnOutage != Refuse {
		errs = append(errs, errors.New("redisstore: OnOutage is none that there is: give Fallback or Refuse"))
	}
	if opts.LocalBuckets < 0 {
		errs = append(errs, errors.New("redisstore: LocalBuckets is negative: give a number above 0, or 0 for 100,000"))
	}
	leaseFor, err := duration("LeaseFor", opts.LeaseFor, time.Second, time.Minute)
	errs = append(errs, err)
	if opts.Lease < 0 || opts.Lease > 1_000_000 {
		errs = append(errs, errors.New("redisstore: Lease is negative or more than 1,000,000: give a number of requests, or 0 for none"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if opts.LocalBuckets == 0 {
		opts.LocalBuckets = 100_000
	}
	if opts.Nodes == nil {
		opts.Nodes = func() int { return 1 }
	}
	l := &Limiter{
		remote: remote, names: names,
		one:    newScript(structLua, oneLua),
		take:   newScript(structLua, bucketLua, takeLua),
		give:   newScript(structLua, bucketLua, giveLua),
		lease:  newScript(structLua, bucketLua, leaseLua),
		refuse: opts.OnOutage == Refuse, nodes: opts.Nodes, local: apitoken.NewMemoryLimiter(opts.LocalBuckets),
	}
	if opts.Lease > 0 {
		l.leases = &leases{size: opts.Lease, life: leaseFor, most: opts.LocalBuckets, young: make(map[string]*lease)}
	}
	return l, nil
}

// newRemote checks what limiter and guard have in common.
func newRemote(client redis.UniversalClient, what string, timeout, every time.Duration, logger *slog.Logger, change func(bool, error)) (*remote, error) {
	if client == nil {
		return nil, errors.New("redisstore: there is no client")
	}
	r := &remote{client: client, obeys: obeys(client), what: what, logger: logger, change: change}
	var badTimeout, badEvery error
	r.timeout, badTimeout = duration("Timeout", timeout, 100*time.Millisecond, time.Minute)
	r.every, badEvery = duration("RetryEvery", every, time.Second, time.Hour)
	if r.logger == nil {
		r.logger = slog.Default()
	}
	return r, errors.Join(badTimeout, badEvery)
}

// duration returns d, or def for 0.
func duration(field string, d, def, hi time.Duration) (time.Duration, error) {
	if d == 0 {
		d = def
	}
	if d < time.Millisecond || d > hi {
		return 0, fmt.Errorf("redisstore: %s is %s: give 1ms to %s, or 0 for %s", field, d, hi, def)
	}
	return d, nil
}

// Reachable says whether the last that was heard of Redis was an answer, for health
// checks. Nothing is asked for it.
func (l *Limiter) Reachable() bool { return l.remote.reachable() }

// Allow implements [apitoken.Limiter]: one command to Redis, whose clock refills the
// buckets, or none where the node has a lease. A limit of 0, and a cost that no full
// bucket has, are refused without it;
// then Remaining and Reset are 0, since nobody looked.
func (l *Limiter) Allow(ctx context.Context, req apitoken.LimitRequest, now time.Time) (apitoken.Decision, error) {
	if err := req.Check(); err != nil {
		return apitoken.Decision{}, err
	}
	if never(&req) {
		return refuse(&req), ctx.Err()
	}
	name, _ := l.names.bucket(req.Key)
	var a answer
	var err error
	if l.leases != nil && req.Cost > 0 {
		a, err = l.askLeased(ctx, name, &req, now)
	} else {
		a, err = l.askOne(ctx, name, &req, now)
	}
	switch {
	case err == nil:
		return decide(&req, a), nil
	case l.refuse || ended(ctx) != nil:
		return apitoken.Decision{}, away(err)
	}
	d, err := l.local.Allow(ctx, l.part(req), now)
	return l.ofNode(&req, d), err
}

// askOne asks Redis for one request.
func (l *Limiter) askOne(ctx context.Context, name string, req *apitoken.LimitRequest, now time.Time) (answer, error) {
	var room [3 * doubleSize]byte
	args := string(appendRequest(room[:0], req))
	return ask(ctx, l.remote, now, func(ctx context.Context) (answer, error) {
		text, err := l.one.call(ctx, l.remote.client, call{keys: []string{name}, args: []string{args}}).Result()
		if err != nil {
			return answer{}, err
		}
		return answerOf(text)
	})
}

// AllowAll implements [apitoken.BatchLimiter]. The buckets of one tenant are decided
// on in one step, and so are the requests of one bucket. Buckets that may be on
// different servers of a cluster are asked in one round trip, and if some refuse,
// what the others took is given back by a second: nobody passes who should not, but
// in between somebody else may be refused. What cannot be given back is gone.
func (l *Limiter) AllowAll(ctx context.Context, reqs []apitoken.LimitRequest, now time.Time) ([]apitoken.Decision, error) {
	for i := range reqs {
		if err := reqs[i].Check(); err != nil {
			return nil, err
		}
	}
	out := make([]apitoken.Decision, len(reqs))
	groups, refused := l.groups(reqs, out)
	if len(groups) == 0 {
		return out, ctx.Err()
	}
	answers, err := ask(ctx, l.remote, now, func(ctx context.Context) ([]answer, error) {
		return l.askAll(ctx, reqs, groups, refused)
	})
	switch {
	case err == nil:
		for _, g := range groups {
			for _, i := range g.of {
				out[i] = decide(&reqs[i], answers[i])
			}
		}
		return out, nil
	case l.refuse || ended(ctx) != nil:
		return nil, away(err)
	}
	return l.allLocal(ctx, reqs, now)
}

// away says of an error where it comes from. A context's own stays as it is.
func away(err error) error {
	if err == context.Canceled || err == context.DeadlineExceeded { //nolint:errorlint // only the bare ones
		return err
	}
	return fmt.Errorf("redisstore: Redis cannot be used: %w", err)
}
