package promapitoken

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tokenry/apitoken"
)

// StatusReader is the part of [apitoken.Maintainer] that [NewStatusCollector] asks.
type StatusReader interface {
	Status(ctx context.Context) (apitoken.ServiceStatus, error)
}

// StatusOptions says how the status is asked for. The zero StatusOptions is good.
type StatusOptions struct {
	// Timeout is how long a scrape waits for the status. Less than what the scraper
	// waits, which is 10 seconds in Prometheus, unless set otherwise. Defaults to 5
	// seconds.
	Timeout time.Duration
	// Clock tells how old what is overdue is: give that of the Service. Defaults to
	// [apitoken.SystemClock].
	Clock apitoken.Clock
}

// NewStatusCollector returns a collector that asks for the status at each scrape:
//
//	apitoken_status_up                      1 = the status was there in time, 0 = not
//	apitoken_run_started                    0 = nobody called Run
//	apitoken_last_sweep_timestamp_seconds   0 = never
//	apitoken_last_flush_timestamp_seconds   0 = never
//	apitoken_pending_uses                   tokens whose use is not written yet
//	apitoken_lost_uses_total                uses dropped because the recorder was full
//	apitoken_overdue_tokens                 tokens that wait for a sweep
//	apitoken_oldest_due_age_seconds         how long the first of them has waited; 0 = none
//	apitoken_outbox_events                  events that wait for delivery
//	apitoken_aside_events                   events that were put aside
//	apitoken_cache_age_seconds              age of the oldest record in a cache; 0 = none
//
// Where Status fails, or does not answer in time, apitoken_status_up is 0 and the
// others are absent; the rest of the scrape is as it would be, because an outage is
// when it is needed. At most one call of Status runs at a time, also of one that
// does not heed its context; scrapes meanwhile wait for that.
func NewStatusCollector(of StatusReader, opts StatusOptions) prometheus.Collector {
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Second
	}
	if opts.Clock == nil {
		opts.Clock = apitoken.SystemClock
	}
	return &statusCollector{of: of, opts: opts, turn: make(chan struct{}, 1)}
}

type statusCollector struct {
	of   StatusReader
	opts StatusOptions
	turn chan struct{} // is full while a call of Status runs
}

var (
	descUp        = gauge("status_up", "Whether the status was there in time for this scrape.")
	descRun       = gauge("run_started", "Whether Run was called: without it, nothing is swept.")
	descLastSweep = gauge("last_sweep_timestamp_seconds", "When the last sweep that went through began, 0 = never.")
	descLastFlush = gauge("last_flush_timestamp_seconds", "When uses were last written, 0 = never.")
	descPending   = gauge("pending_uses", "Tokens whose use is not written yet.")
	descLost      = gauge("lost_uses_total", "Uses that were dropped because the recorder was full.")
	descOverdue   = gauge("overdue_tokens", "Tokens that wait for a sweep.")
	descOldestDue = gauge("oldest_due_age_seconds", "How long the first of the overdue tokens has waited, 0 = there is none.")
	descOutbox    = gauge("outbox_events", "Events that wait for delivery.")
	descAside     = gauge("aside_events", "Events that were put aside.")
	descCacheAge  = gauge("cache_age_seconds", "How old the oldest record is that a cache would still use, 0 = there is none.")
)

func gauge(name, what string) *prometheus.Desc {
	return prometheus.NewDesc("apitoken_"+name, what, nil, nil)
}

// Describe sends all descriptions, so that a registerer knows a second one.
func (c *statusCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descUp, descRun, descLastSweep, descLastFlush, descPending, descLost, descOverdue, descOldestDue, descOutbox, descAside, descCacheAge,
	} {
		to <- d
	}
}

// Collect asks for the status and sends it.
func (c *statusCollector) Collect(to chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, v float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	s, err := c.status()
	if err != nil {
		send(descUp, 0)
		return
	}
	send(descUp, 1)
	send(descRun, truth(s.RunStarted))
	send(descLastSweep, unix(s.LastSweep))
	send(descLastFlush, unix(s.LastFlush))
	send(descPending, float64(s.PendingUses))
	to <- prometheus.MustNewConstMetric(descLost, prometheus.CounterValue, float64(s.LostUses))
	send(descOverdue, float64(s.Overdue))
	var waited time.Duration
	if !s.OldestDue.IsZero() {
		waited = max(0, c.opts.Clock.Now().Sub(s.OldestDue))
	}
	send(descOldestDue, waited.Seconds())
	send(descOutbox, float64(s.OutboxEvents))
	send(descAside, float64(s.AsideEvents))
	send(descCacheAge, s.CacheAge.Seconds())
}

// status asks for the status, and gives up waiting after the timeout.
func (c *statusCollector) status() (apitoken.ServiceStatus, error) {
	if c.of == nil {
		return apitoken.ServiceStatus{}, errors.New("there is no Service") // a panic here would end the process
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.Timeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return apitoken.ServiceStatus{}, ctx.Err()
	}
	type answer struct {
		status apitoken.ServiceStatus
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		defer func() { <-c.turn }()
		s, err := c.of.Status(ctx)
		done <- answer{s, err}
	}()
	select {
	case a := <-done:
		return a.status, a.err
	case <-ctx.Done():
		return apitoken.ServiceStatus{}, ctx.Err()
	}
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
