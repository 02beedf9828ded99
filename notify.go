package apitoken

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Notifier is told of events, at least once each: [Notification].Event.ID is
// the same when one comes again. An error keeps it in the outbox, to be tried
// again later and later, and set aside after ten times.
type Notifier interface {
	Notify(ctx context.Context, n Notification) error
}

// NotifierFunc adapts a function to a [Notifier].
type NotifierFunc func(ctx context.Context, n Notification) error

// Notify calls f.
func (f NotifierFunc) Notify(ctx context.Context, n Notification) error { return f(ctx, n) }

// Notification is an event and who is to be told of it by the kind's policy:
// active users, each once, sorted; nobody for most events.
type Notification struct {
	Event      Event
	Recipients []string // user IDs
}

const (
	deliverBatch    = 50
	deliverLease    = time.Minute
	deliverAttempts = 10
	deliverBackoff  = 30 * time.Second // doubled with each attempt
)

// Deliver hands undelivered events to the Notifier, once through what is due,
// and returns how many were delivered. On several nodes each event goes to one
// of them. Run does this by itself. Without a Notifier it does nothing.
func (s *Service) Deliver(ctx context.Context) (int, error) {
	if s.opts.Notifier == nil {
		return 0, nil
	}
	delivered := 0
	for {
		now := s.instant()
		lease := Lease{Holder: randomBase62(idLen), Now: now, Until: now.Add(deliverLease)}
		claimed, err := s.store.Claim(ctx, lease, deliverBatch)
		if err != nil {
			return delivered, outage("store", err)
		}
		for _, d := range claimed {
			// Settled one by one, and none begun when the lease is nearly over: another
			// node would deliver it again, and what became of it here would be lost.
			now := s.instant()
			if now.After(lease.Until.Add(-deliverLease / 4)) {
				return delivered, nil
			}
			st := s.attempt(ctx, d, now)
			if err := s.store.Settle(ctx, lease.Holder, []Settlement{st}); err != nil {
				return delivered, outage("store", err)
			}
			if st.Done {
				delivered++
			}
		}
		if len(claimed) < deliverBatch {
			return delivered, nil
		}
	}
}

// attempt hands one event over, and says what is to become of it.
func (s *Service) attempt(ctx context.Context, d Delivery, now time.Time) Settlement {
	st := Settlement{EventID: d.Event.ID}
	err := s.deliver(ctx, d.Event)
	if err == nil {
		st.Done = true
		return st
	}
	st.Aside = d.Attempts+1 >= deliverAttempts
	st.RetryAt = now.Add(deliverBackoff << min(d.Attempts, deliverAttempts))
	s.opts.Logger.WarnContext(ctx, "apitoken: event not delivered", "event", d.Event.ID, "attempt", d.Attempts+1, "aside", st.Aside, "error", err)
	return st
}

func (s *Service) deliver(ctx context.Context, e Event) error {
	to, err := s.recipients(ctx, &e)
	if err != nil {
		return err
	}
	return s.opts.Notifier.Notify(ctx, Notification{Event: e, Recipients: to})
}

// recipients says who is told of an event: each person once, nobody who is not
// active.
func (s *Service) recipients(ctx context.Context, e *Event) ([]string, error) {
	rules, known := s.rulesOf(e.Target.Kind)
	who := rules.Notify[e.Type]
	if !known || who == 0 {
		return nil, nil
	}
	var to []string
	person := func(id string) error {
		if id == "" {
			return nil
		}
		if s.opts.Owners != nil {
			st, err := s.standing(ctx, e.Tenant, id)
			if err != nil || !st.Active {
				return err
			}
		}
		to = append(to, id)
		return nil
	}
	if who&NotifyOwner != 0 && e.Target.Owner.Type == PartyUser {
		if err := person(e.Target.Owner.ID); err != nil {
			return nil, err
		}
	}
	if who&NotifyCreator != 0 {
		if err := person(e.Creator); err != nil {
			return nil, err
		}
	}
	if who&(NotifyAdmins|NotifySystemAdmins) != 0 && s.opts.Admins != nil {
		admins, err := s.opts.Admins.Administrators(ctx, e.Tenant)
		if err != nil && !errors.Is(err, ErrNotFound) { // not found: there are none
			return nil, outage("admins", err)
		}
		for _, a := range admins {
			if a.Active && (who&NotifyAdmins != 0 || a.System) {
				to = append(to, a.ID)
			}
		}
	}
	slices.Sort(to)
	return slices.Compact(to), nil
}
