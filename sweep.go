package apitoken

import (
	"context"
	"errors"
	"time"
)

const sweepBatch = 200

// Sweep does what is due by the clock, once: it revokes what went unused for too
// long, writes what follows an expiry, deletes what was disabled long enough,
// each with its event. It needs no leader: on any number of nodes each step
// happens once, and a node that was slower finds nothing left to do. Tokens that
// cannot be read or written are counted, logged and tried again by the next
// sweep; they do not hold up the rest.
//
// Verify is right without it: what is due counts from its instant on, swept or
// not. The error is [ErrUnavailable] when the store does not answer.
func (s *Service) Sweep(ctx context.Context) (Swept, error) {
	var out Swept
	now := s.instant()
	var after DuePosition
	for {
		recs, err := s.store.Due(ctx, now, after, sweepBatch)
		if err != nil {
			return out, outage("store", err)
		}
		for _, rec := range recs {
			if err := ctx.Err(); err != nil {
				return out, outage("store", err)
			}
			s.sweepOne(ctx, rec, now, &out)
			after = DuePosition{rec.DueAt, rec.Token.ID}
		}
		if len(recs) < sweepBatch {
			s.lastSweep.Store(now.UnixMicro())
			return out, nil
		}
	}
}

// sweepOne does what is due for one token, in one guarded write.
func (s *Service) sweepOne(ctx context.Context, rec *Record, now time.Time, out *Swept) {
	after := rec.DueAt
	rules, known := s.rulesOf(rec.Token.Kind)
	ch := &change{
		s: s, now: now, actor: System("apitoken", rec.Token.Tenant), rules: rules, known: known,
		rec: rec.Clone(),
	}
	version := rec.Token.Version
	// Another node may hold uses it has not written: the sweep waits that long.
	// Verify refuses the token meanwhile.
	ch.idleWait = 2*rec.Token.Terms.Interval + s.opts.ClockSkew
	if st, ok := plan(ch.rec, now); ok && st.what == EventRevoked && now.Before(st.at.Add(ch.idleWait)) {
		out.Rearmed++
		return
	}
	if ch.fold() {
		ch.deleted = true
		ch.guard = Guard{}
		ch.note(EventDeleted, rec.Token.Cause)
		last := &ch.events[len(ch.events)-1]
		last.Actor = Party{PartySystem, "apitoken"}
		last.DueAt = ch.rec.Token.StateAt.Add(ch.rec.Token.Terms.Purge)
		last.Cause = ch.rec.Token.Cause
	}
	if !ch.dirty {
		// Nothing is due yet: uses moved it. DueAt is a lower bound that uses do not
		// move; set it anew, without an event.
		arm(ch.rec, now)
		if ch.rec.DueAt.Equal(after) {
			return
		}
		ch.dirty = true
	}
	err := ch.write(ctx, version)
	switch {
	case err == nil:
		out.count(ch)
	case errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound):
		out.Conflicts++
	default:
		out.Failed++
		s.opts.Logger.WarnContext(ctx, "apitoken: sweep", "token", string(rec.Token.ID), "error", err)
	}
}

func (w *Swept) count(ch *change) {
	if len(ch.events) == 0 {
		w.Rearmed++
	}
	for _, e := range ch.events {
		switch e.Type {
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
// delivers events, at once and then at every interval. It blocks and returns nil;
// start it in a goroutine, once in each process. Failures are logged and tried
// again. At the end it writes the pending uses once more, within a second: so end
// ctx after the server has drained, not before.
func (s *Service) Run(ctx context.Context) error {
	s.runStarted.Store(true)
	flush := time.NewTicker(s.opts.UsageInterval)
	defer flush.Stop()
	sweep := time.NewTicker(s.opts.SweepInterval)
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
		case <-sweep.C:
			maintain()
		}
	}
}

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
