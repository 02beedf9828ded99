package apitoken_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// quotaReference knows every use by its instant: what is written, and what each node
// has not written yet.
type quotaReference struct {
	quotas  apitoken.Quotas
	written []time.Time
	pending [][]time.Time
}

// allows reports whether a node would let one more use through.
func (r *quotaReference) allows(node int, now time.Time) bool {
	for p, quota := range []int{r.quotas.Day, r.quotas.Week, r.quotas.Month} {
		from, n := apitoken.PeriodStart(p, now), 0
		for _, at := range slices.Concat(r.written, r.pending[node]) {
			if apitoken.PeriodStart(p, at).Equal(from) {
				n++
			}
		}
		if quota > 0 && n >= quota {
			return false
		}
	}
	return true
}

// Through random weeks of uses, flushes that may fail, nodes that are killed and days
// that pass, each node decides as one that knows all that is written and all of its
// own: so one node is exact, and several exceed a quota by what the others have not
// written.
func TestQuotaAgainstReference(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 6))
		quotas := apitoken.Quotas{Day: r.IntN(6), Week: r.IntN(16), Month: r.IntN(40)}
		w := newQuotaWorld(t, quotas)
		i := w.issue(plain)
		nodes := []*apitoken.Service{w.Service}
		for range r.IntN(3) {
			nodes = append(nodes, w.Node())
		}
		ref := quotaReference{quotas: quotas, pending: make([][]time.Time, len(nodes))}
		for step := range 300 {
			at := r.IntN(len(nodes))
			now := w.Clock.Now()
			switch what := r.IntN(20); {
			case what < 12:
				_, err := nodes[at].Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
				if allows := ref.allows(at, now); allows != (err == nil) {
					t.Fatalf("seed %d, step %d, node %d at %s: the reference says %t, Verify %v", seed, step, at, now, allows, err)
				}
				if err == nil {
					ref.pending[at] = append(ref.pending[at], now)
				} else if !errors.Is(err, apitoken.ErrRateLimited) {
					t.Fatal(err)
				}
			case what < 15:
				require.NoError(t, nodes[at].Flush(t.Context()))
				ref.written = append(ref.written, ref.pending[at]...)
				ref.pending[at] = nil
			case what == 15:
				w.Store.FailCall(0)
				if len(ref.pending[at]) > 0 {
					require.Error(t, nodes[at].Flush(t.Context()))
				}
				w.Store.Reset()
			case what == 16:
				nodes[at], ref.pending[at] = w.Node(), nil // killed
			default:
				w.Clock.Advance(time.Duration(r.Int64N(int64([]time.Duration{time.Minute, time.Hour, day, 3 * day}[r.IntN(4)]))))
			}
		}
		for at, node := range nodes {
			require.NoError(t, node.Flush(t.Context()))
			ref.written = append(ref.written, ref.pending[at]...)
		}
		require.EqualValues(t, len(ref.written), w.stored(i.Token.ID).Token.Usage.Uses, "seed %d", seed)
	}
}

// Nodes whose clocks are a minute apart count one day as one, but for the minutes
// around midnight.
func TestQuotaOfNodesApart(t *testing.T) {
	t.Parallel()
	clock := apitokentest.NewClock(apitokentest.Start)
	var behind time.Duration
	w := newQuotaWorld(t, apitoken.Quotas{Day: 100}, func(o *apitoken.Options) {
		o.Clock = apitoken.ClockFunc(func() time.Time { return clock.Now().Add(-behind) })
	})
	i := w.issue(plain)
	fast, slow := w.Service, w.Node()
	as := func(node *apitoken.Service) *apitoken.Service {
		behind = 0
		if node == slow {
			behind = time.Minute
		}
		return node
	}
	midnight := apitokentest.Start.Add(12 * time.Hour)
	allowed := 0
	for clock.Set(midnight.Add(-5 * time.Minute)); clock.Now().Before(midnight.Add(5 * time.Minute)); clock.Advance(time.Second) {
		if clock.Now().Equal(midnight) {
			require.Equal(t, 100, allowed, "the first day")
			allowed = 0
		}
		for _, node := range []*apitoken.Service{fast, slow} {
			if _, err := as(node).Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()}); err == nil {
				allowed++
			}
			require.NoError(t, as(node).Flush(t.Context()))
		}
	}
	require.Equal(t, 100, allowed, "the second")
}
