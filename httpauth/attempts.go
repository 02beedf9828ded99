package httpauth

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tokenry/apitoken"
)

// FailedAttempts limits how often one address, an IPv4 address or an IPv6 /64,
// may present credentials that are not accepted. An address that has used its
// attempts up gets 429 before anything is verified, also for good credentials,
// until one attempt has come back. Only a 401 for a credential that was presented
// counts; a missing credential, a 400, a 403 and an outage do not. Requests that
// are under way while the last attempt fails are not held back.
//
// Tokens cannot be guessed anyway; this keeps noise off the store. All clients
// behind one address share it, so set [Options].TrustedProxies first. A request
// without a known address is not limited.
type FailedAttempts struct {
	// Limit is the number of failed attempts per Window, which may come at once. 0
	// = not limited.
	Limit int
	// Window is over which they come back, evenly. Defaults to 1 minute.
	Window time.Duration
	// MaxAddresses bounds the addresses that are remembered. Beyond it those that
	// failed longest ago are forgotten. Defaults to 10,000.
	MaxAddresses int
}

const (
	defaultWindow       = time.Minute
	defaultMaxAddresses = 10_000
)

func (f FailedAttempts) check(bad func(field, format string, args ...any)) {
	if f.Limit < 0 {
		bad("FailedAttempts.Limit", "is negative: give a number above 0, or 0 for no limit")
	}
	if f.Window < 0 {
		bad("FailedAttempts.Window", "is negative: give a time above 0, or 0 for %s", defaultWindow)
	}
	if f.MaxAddresses < 0 || f.MaxAddresses == 1 {
		bad("FailedAttempts.MaxAddresses", "is %d: give at least 2, or 0 for %d", f.MaxAddresses, defaultMaxAddresses)
	}
}

// attempts remembers failed attempts in two generations: when the young one is
// full it becomes the old one, and the old one is forgotten. So memory is bounded
// without a list of what was used when (P14). An address that never failed is not
// remembered at all.
type attempts struct {
	limit  int
	window time.Duration
	half   int // addresses in a generation

	mu         sync.Mutex
	latest     time.Time // the latest instant seen
	young, old map[netip.Addr]*rate.Limiter
}

func newAttempts(f FailedAttempts) *attempts {
	a := &attempts{limit: f.Limit, window: f.Window, half: f.MaxAddresses / 2}
	if a.window == 0 {
		a.window = defaultWindow
	}
	if a.half == 0 {
		a.half = defaultMaxAddresses / 2
	}
	a.young = make(map[netip.Addr]*rate.Limiter)
	return a
}

// check refuses an address that has used its attempts up.
func (a *attempts) check(addr netip.Addr, now time.Time) error {
	key, ok := attemptKey(addr)
	if !ok {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	bucket := a.find(key)
	if bucket == nil {
		return nil
	}
	at := a.advance(now)
	bucket.SetLimitAt(at, bucket.Limit()) // goes on from here if the clock was set back
	have := bucket.TokensAt(at)
	if have >= 1 {
		return nil
	}
	return &apitoken.RateLimitError{Decision: apitoken.Decision{
		Limit:      "failed_attempts",
		Quota:      a.limit,
		Window:     a.window,
		RetryAfter: time.Duration((1 - have) * float64(a.window) / float64(a.limit)),
	}}
}

// note counts the outcome of a verification if it was a failed attempt.
func (a *attempts) note(addr netip.Addr, now time.Time, outcome error) {
	if !errors.Is(outcome, apitoken.ErrUnauthenticated) || errors.Is(outcome, apitoken.ErrUnavailable) {
		return
	}
	key, ok := attemptKey(addr)
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	bucket := a.find(key)
	if bucket == nil {
		bucket = rate.NewLimiter(rate.Limit(float64(a.limit)/a.window.Seconds()), a.limit)
	}
	if _, ok := a.young[key]; !ok {
		if len(a.young) >= a.half {
			a.young, a.old = make(map[netip.Addr]*rate.Limiter), a.young
		}
		a.young[key] = bucket
	}
	bucket.AllowN(a.advance(now), 1)
}

func (a *attempts) find(key netip.Addr) *rate.Limiter {
	if bucket, ok := a.young[key]; ok {
		return bucket
	}
	return a.old[key]
}

// maxDisorder is how far the instants of concurrent requests may be out of
// order. What lies further back is a clock that was set back.
const maxDisorder = time.Second

// advance returns the instant to decide by: the latest seen, so that requests out
// of order bring no attempt back twice, and an address is not shut out for as long
// as a clock was set back.
func (a *attempts) advance(now time.Time) time.Time {
	if now.After(a.latest) || a.latest.Sub(now) > maxDisorder {
		a.latest = now
	}
	return a.latest
}

// attemptKey is the address, for IPv6 the first of its /64: that is what one
// customer of a network has at the least.
func attemptKey(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return addr, addr.IsValid()
	}
	p, err := addr.Prefix(64)
	return p.Addr(), err == nil
}
