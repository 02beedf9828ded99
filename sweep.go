package apitoken

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"
)

const sweepBatch = 200

// Sweep does what is due by the clock, once: it revokes what went unused for too
// long, ends the overlap of rotations, announces an expiry and writes what follows
// it, deletes what was disabled or expired long enough, each with its event. It
// needs no leader: on any number of nodes each step happens once, and a node that
// was slower finds nothing left to do. Tokens that cannot be read, understood or
// written are counted, logged and tried again by the next sweep; they do not hold
// up the rest. One sweep deletes at most [Options].MaxPurges tokens and leaves the
// others that are due to be deleted as they are.
//
// Verify is right without it: what is due counts from its instant on, swept or
// not. The error is [ErrUnavailable] when the store does not answer.
func (s *Service) Sweep(ctx context.Context) (Swept, error) {
	if s.opts.Observer.Swept == nil {
		return s.sweep(ctx)
	}
	start := s.now()
	out, err := s.sweep(ctx)
	s.opts.Observer.Swept(ctx, SweepResult{Swept: out, Err: err, Start: start, Took: s.now().Sub(start)})
	return out, err
}

func (s *Service) sweep(ctx context.Context) (Swept, error) {
	var out Swept
	now := s.instant()
	for rec, err := range s.due(ctx, now) {
		if err != nil {
			return out, err
		}
		s.sweepOne(ctx, rec, now, &out)
	}
	if err := s.forgetReplays(ctx, now); err != nil {
		return out, err
	}
	if out.Held > 0 {
		s.opts.Logger.WarnContext(ctx, "apitoken: sweep holds deletions back for the next one: if they are unexpected, check the clock and stop Run",
			"deleted", out.Purged, "held", out.Held, "now", now)
	}
	s.lastSweep.Store(now.UnixMicro())
	return out, nil
}

// due walks over the tokens on which something is due until then, the longest due
// first.
func (s *Service) due(ctx context.Context, until time.Time) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		var after DuePosition
		for {
			recs, err := s.store.Due(ctx, until, after, sweepBatch)
			if err != nil {
				yield(nil, outage("store", err))
				return
			}
			for _, rec := range recs {
				after = DuePosition{rec.DueAt, rec.Token.ID}
				if err := ctx.Err(); err != nil {
					yield(nil, outage("store", err))
					return
				}
				if !yield(rec, nil) {
					return
				}
			}
			if len(recs) < sweepBatch {
				return
			}
		}
	}
}

// grace is how long a sweep leaves an idle token alone after its instant:
// another node may hold uses it has not written. Verify refuses the token meanwhile.
func (s *Service) grace(t *Token) time.Duration { return 2*t.Terms.Interval + s.opts.ClockSkew }

// sweepOne does what is due for one token, in one guarded write.
func (s *Service) sweepOne(ctx context.Context, rec *Record, now time.Time, out *Swept) {
	failed := func(err error) {
		out.Failed++
		s.opts.Logger.WarnContext(ctx, "apitoken: sweep", "token", string(rec.Token.ID), "error", err)
	}
	if err := rec.Token.strange(); err != nil {
		failed(err)
		return
	}
	rules, known := s.rulesOf(rec.Token.Kind)
	ch := &change{
		s: s, now: now, actor: System("apitoken", rec.Token.Tenant), rules: rules, known: known,
		rec: rec.Clone(),
	}
	purge, gone := ch.fold(s.grace(&rec.Token))
	if gone && out.Purged >= s.opts.MaxPurges {
		out.Held++ // as it is: if the clock is wrong, nothing happened to it
		return
	}
	if gone {
		ch.deleted, ch.dirty = true, true
		ch.events = append(ch.events, ch.timed(purge))
	}
	if !ch.dirty {
		// Nothing is due yet, or not to be done yet. DueAt is a lower bound that uses
		// do not move; where they moved what it stands for, set it anew, without an event.
		arm(ch.rec, now)
		if ch.rec.DueAt.Equal(rec.DueAt) {
			out.Rearmed++
			return
		}
	}
	err := ch.write(ctx, rec.Token.Version)
	switch {
	case err == nil:
		out.count(ch)
	case errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound):
		out.Conflicts++
	default:
		failed(err)
	}
}

func (w *Swept) count(ch *change) {
	if len(ch.events) == 0 {
		w.Rearmed++
	}
	for _, e := range ch.events {
		switch e.Type {
		case EventExpiring:
			w.Noticed++
		case EventOverlapEnded:
			w.Ended++
		case EventExpired:
			w.Expired++
		case EventRevoked:
			w.Revoked++
		case EventDeleted:
			w.Purged++
		}
	}
}

// Run does all the background work until ctx ends: it writes uses, sweeps, and
// delivers events, at once and then at every interval, each time up to a tenth
// sooner, so that nodes that started together drift apart. It blocks and returns
// nil; start it in a goroutine, once in each process. Failures are logged and tried
// again. At the end it writes the pending uses once more, within a second: so end
// ctx after the server has drained, not before.
func (s *Service) Run(ctx context.Context) error {
	s.runStarted.Store(true)
	flush := time.NewTimer(sooner(s.opts.UsageInterval))
	defer flush.Stop()
	sweep := time.NewTimer(sooner(s.opts.SweepInterval))
	defer sweep.Stop()
	log := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			s.opts.Logger.ErrorContext(ctx, "apitoken: "+what, "error", err)
		}
	}
	maintain := func() {
		_, err := s.Sweep(ctx)
		log("sweep", err)
		_, err = s.Deliver(ctx)
		log("delivering events", err)
	}
	maintain()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := s.Flush(last); err != nil {
				s.opts.Logger.ErrorContext(last, "apitoken: uses were lost at shutdown", "error", err)
			}
			return nil
		case <-flush.C:
			log("writing uses", s.Flush(ctx))
			flush.Reset(sooner(s.opts.UsageInterval))
		case <-sweep.C:
			maintain()
			sweep.Reset(sooner(s.opts.SweepInterval))
		}
	}
}

// sooner is d, or up to a tenth less.
func sooner(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// Status reports what operators watch. Errors: [ErrUnavailable] when the store
// does not answer.
func (s *Service) Status(ctx context.Context) (ServiceStatus, error) {
	st := ServiceStatus{
		RunStarted:  s.runStarted.Load(),
		LastSweep:   microTime(s.lastSweep.Load()),
		LastFlush:   microTime(s.lastFlush.Load()),
		PendingUses: s.uses.pending(),
		LostUses:    s.uses.lost.Load(),
	}
	if s.cache != nil {
		st.CacheAge = s.cache.CacheAge()
	}
	stats, err := s.store.Stats(ctx, s.instant())
	if err != nil {
		return st, outage("store", err)
	}
	st.Overdue, st.OldestDue, st.OutboxEvents, st.AsideEvents = stats.Overdue, stats.Oldest, stats.Outbox, stats.Aside
	return st, nil
}

func microTime(micro int64) time.Time {
	if micro == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micro).UTC()
}
