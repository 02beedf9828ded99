package promapitoken_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/promapitoken"
)

// status answers what it holds.
type status struct {
	apitoken.ServiceStatus
	err error
}

func (s status) Status(context.Context) (apitoken.ServiceStatus, error) {
	return s.ServiceStatus, s.err
}

// statusFunc adapts a function.
type statusFunc func(ctx context.Context) (apitoken.ServiceStatus, error)

func (f statusFunc) Status(ctx context.Context) (apitoken.ServiceStatus, error) { return f(ctx) }

const down = `
# HELP apitoken_status_up Whether the status was there in time for this scrape.
# TYPE apitoken_status_up gauge
apitoken_status_up 0
`

func TestStatus(t *testing.T) {
	t.Parallel()
	now := apitokentest.Start
	clock := apitokentest.NewClock(now)
	for _, c := range []struct {
		name string
		of   promapitoken.StatusReader
		want string
	}{
		{"everything", status{ServiceStatus: apitoken.ServiceStatus{
			RunStarted: true, LastSweep: time.Unix(1_800_000_000, 250_000_000), LastFlush: time.Unix(1_800_000_001, 0),
			PendingUses: 3, LostUses: 4, Overdue: 5, OldestDue: now.Add(-90 * time.Second), OutboxEvents: 6, AsideEvents: 7,
			CacheAge: 1500 * time.Millisecond,
		}}, full("1", "1.80000000025e+09", "1.800000001e+09", "3", "4", "5", "90", "6", "7", "1.5")},
		{"nothing yet", status{}, full("0", "0", "0", "0", "0", "0", "0", "0", "0", "0")},
		{"due later by a clock that is behind", status{ServiceStatus: apitoken.ServiceStatus{Overdue: 1, OldestDue: now.Add(time.Second)}},
			full("0", "0", "0", "0", "0", "1", "0", "0", "0", "0")},
		{"an outage", status{ServiceStatus: apitoken.ServiceStatus{PendingUses: 3}, err: apitoken.ErrUnavailable}, down},
		{"an error of the host's", status{err: errors.New("dial tcp db.internal: no route")}, down},
		{"no Service", nil, down},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			collector := promapitoken.NewStatusCollector(c.of, promapitoken.StatusOptions{Clock: clock})
			require.NoError(t, testutil.CollectAndCompare(collector, strings.NewReader(c.want)))
		})
	}
}

func full(run, sweep, flush, pending, lost, overdue, oldest, outbox, aside, cache string) string {
	return `
# HELP apitoken_aside_events Events that were put aside.
# TYPE apitoken_aside_events gauge
apitoken_aside_events ` + aside + `
# HELP apitoken_cache_age_seconds How old the oldest record is that a cache would still use, 0 = there is none.
# TYPE apitoken_cache_age_seconds gauge
apitoken_cache_age_seconds ` + cache + `
# HELP apitoken_last_flush_timestamp_seconds When uses were last written, 0 = never.
# TYPE apitoken_last_flush_timestamp_seconds gauge
apitoken_last_flush_timestamp_seconds ` + flush + `
# HELP apitoken_last_sweep_timestamp_seconds When the last sweep that went through began, 0 = never.
# TYPE apitoken_last_sweep_timestamp_seconds gauge
apitoken_last_sweep_timestamp_seconds ` + sweep + `
# HELP apitoken_lost_uses_total Uses that were dropped because the recorder was full.
# TYPE apitoken_lost_uses_total counter
apitoken_lost_uses_total ` + lost + `
# HELP apitoken_oldest_due_age_seconds How long the first of the overdue tokens has waited, 0 = there is none.
# TYPE apitoken_oldest_due_age_seconds gauge
apitoken_oldest_due_age_seconds ` + oldest + `
# HELP apitoken_outbox_events Events that wait for delivery.
# TYPE apitoken_outbox_events gauge
apitoken_outbox_events ` + outbox + `
# HELP apitoken_overdue_tokens Tokens that wait for a sweep.
# TYPE apitoken_overdue_tokens gauge
apitoken_overdue_tokens ` + overdue + `
# HELP apitoken_pending_uses Tokens whose use is not written yet.
# TYPE apitoken_pending_uses gauge
apitoken_pending_uses ` + pending + `
# HELP apitoken_run_started Whether Run was called: without it, nothing is swept.
# TYPE apitoken_run_started gauge
apitoken_run_started ` + run + `
# HELP apitoken_status_up Whether the status was there in time for this scrape.
# TYPE apitoken_status_up gauge
apitoken_status_up 1
`
}

// The rest of the scrape is there although the status is not.
func TestStatusFailsAlone(t *testing.T) {
	t.Parallel()
	o, reg := observe(t, promapitoken.Options{})
	require.NoError(t, reg.Register(promapitoken.NewStatusCollector(status{err: apitoken.ErrUnavailable}, promapitoken.StatusOptions{})))
	o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: "Stats"})
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(down+`
# HELP apitoken_store_failures_total Calls of the store that failed.
# TYPE apitoken_store_failures_total counter
apitoken_store_failures_total{call="Stats"} 1
`), "apitoken_status_up", "apitoken_store_failures_total", "apitoken_pending_uses"))
}

func TestStatusRegisteredTwice(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	require.NoError(t, reg.Register(promapitoken.NewStatusCollector(status{}, promapitoken.StatusOptions{})))
	_, again := errors.AsType[prometheus.AlreadyRegisteredError](reg.Register(promapitoken.NewStatusCollector(status{}, promapitoken.StatusOptions{})))
	require.True(t, again)
}

func TestStatusTimeout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		timeout time.Duration
		want    time.Duration
	}{
		{"by default", 0, 5 * time.Second},
		{"as given", 2 * time.Second, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				collector := promapitoken.NewStatusCollector(statusFunc(func(ctx context.Context) (apitoken.ServiceStatus, error) {
					<-ctx.Done()
					return apitoken.ServiceStatus{}, ctx.Err()
				}), promapitoken.StatusOptions{Timeout: c.timeout})
				start := time.Now()
				require.NoError(t, testutil.CollectAndCompare(collector, strings.NewReader(down)))
				require.Equal(t, c.want, time.Since(start))
			})
		})
	}
}

// A Status that does not heed its context holds up neither the scrape nor, once it
// returned, the ones after; and there is never a second call beside it.
func TestStatusHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		hang := make(chan struct{})
		collector := promapitoken.NewStatusCollector(statusFunc(func(context.Context) (apitoken.ServiceStatus, error) {
			calls.Add(1)
			<-hang
			return apitoken.ServiceStatus{}, nil
		}), promapitoken.StatusOptions{Timeout: time.Second})
		start := time.Now()
		for range 3 {
			require.NoError(t, testutil.CollectAndCompare(collector, strings.NewReader(down)))
		}
		require.Equal(t, 3*time.Second, time.Since(start))
		require.EqualValues(t, 1, calls.Load())

		close(hang)
		synctest.Wait()
		require.Equal(t, 11, testutil.CollectAndCount(collector))
	})
}
