package memstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unique"

	"github.com/tokenry/apitoken"
)

// ReplayOptions bound a [ReplayGuard]. The zero ReplayOptions are right for most.
type ReplayOptions struct {
	// Max is how many signatures are kept at most, each for some minutes. One takes
	// up to 150 bytes. One token has a tenth of it at most. Defaults to 1,000,000, which
	// is 3,000 signed requests a second for five minutes.
	Max int
}

// ReplayGuard is an [apitoken.ReplayGuard] in the memory of one process. Several
// nodes need one that they share, or a request sent to each is accepted by each:
// sqlstore has one. A [Store] has a guard of its own: this one is for tokens that
// are kept elsewhere. It is safe for concurrent use. Make it with [NewReplayGuard].
type ReplayGuard struct {
	since time.Time
	max   int

	mu        sync.Mutex
	seen      map[key]struct{}
	tokens    map[owner]int     // how many of seen are the token's
	buckets   map[int64]*bucket // of seen, by the end of the interval in which they may be dropped
	forgotten time.Time         // what was to be kept until then is dropped
}

type key = [32]byte

// owner is the ID of a token, copied: it may be cut out of a large request, which
// must not be kept with it.
type owner = unique.Handle[apitoken.ID]

// bucket is what is dropped together.
type bucket struct {
	keys   []key
	tokens map[owner]int
}

const (
	bucketSeconds = 15
	// Kept for longer than a signature is accepted: the clock may be set back.
	replaySlack = time.Minute
)

var (
	_ apitoken.ReplayGuard = (*ReplayGuard)(nil)
	_ apitoken.ReplayGuard = (*Store)(nil)
)

// NewReplayGuard returns an empty guard that refuses, as an outage, signatures made
// before since: a process that ran before may have accepted them. Where tokens
// outlive the process give the present time and [apitoken.Options].ProofMaxAhead
// more, for clients whose clocks are ahead; their requests are refused for that
// long after each start. The bare present time lets them in at once, at
// the risk that what such a client sent right before the start is accepted again. The zero time refuses none.
func NewReplayGuard(since time.Time, opts ReplayOptions) *ReplayGuard {
	if opts.Max <= 0 {
		opts.Max = 1_000_000
	}
	return &ReplayGuard{
		since: since, max: opts.Max,
		seen:    make(map[key]struct{}),
		tokens:  make(map[owner]int),
		buckets: make(map[int64]*bucket),
	}
}

// Remember implements [apitoken.ReplayGuard]. What need not be kept any longer is
// dropped here, so nobody has to call Forget.
func (g *ReplayGuard) Remember(ctx context.Context, use apitoken.SignedUse) (fresh bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(use.Now.Add(-replaySlack))
	switch {
	case use.Created.Before(g.since):
		return false, errors.New("memstore: the request was signed before this process was ready and may have been accepted then: sign it anew")
	case !use.Until.After(g.forgotten):
		return false, errors.New("memstore: signatures of that time are no longer kept, because the request took long or the clock was set back: sign it anew")
	}
	if _, ok := g.seen[use.Key]; ok {
		return false, nil
	}
	if len(g.seen) >= g.max {
		return false, fmt.Errorf("memstore: the replay guard is full with %d signatures: raise ReplayOptions.Max", g.max)
	}
	token := unique.Make(use.Token)
	if share := max(g.max/10, 1); g.tokens[token] >= share {
		return false, fmt.Errorf("memstore: one token has filled its share of %d signatures: raise ReplayOptions.Max", share)
	}
	end := use.Until.Unix()/bucketSeconds + 1
	b := g.buckets[end]
	if b == nil {
		b = &bucket{tokens: make(map[owner]int)}
		g.buckets[end] = b
	}
	g.seen[use.Key] = struct{}{}
	b.keys = append(b.keys, use.Key)
	b.tokens[token]++
	g.tokens[token]++
	return true, nil
}

// Forget drops what was to be kept until before at most, as far as it shares no
// interval of 15 seconds with what was to be kept longer, and returns how much.
func (g *ReplayGuard) Forget(ctx context.Context, before time.Time) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.forget(before), nil
}

func (g *ReplayGuard) forget(before time.Time) (n int64) {
	due := before.Unix() / bucketSeconds
	if end := time.Unix(due*bucketSeconds, 0); end.After(g.forgotten) {
		g.forgotten = end
	} else {
		return 0
	}
	for end, b := range g.buckets {
		if end > due {
			continue
		}
		for _, k := range b.keys {
			delete(g.seen, k)
		}
		for token, count := range b.tokens {
			if g.tokens[token] -= count; g.tokens[token] <= 0 {
				delete(g.tokens, token)
			}
		}
		n += int64(len(b.keys))
		delete(g.buckets, end)
	}
	return n
}

// Remember implements [apitoken.ReplayGuard]: a Store has a [ReplayGuard] with the
// zero [ReplayOptions]. It begins together with the tokens, so it refuses none for
// being old.
func (s *Store) Remember(ctx context.Context, use apitoken.SignedUse) (fresh bool, err error) {
	return s.replays.Remember(ctx, use)
}
