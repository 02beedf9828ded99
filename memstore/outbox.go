package memstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tokenry/apitoken"
)

// outbox keeps events in the order they were written. The Store's lock guards it.
type outbox struct {
	events []*posted
	byID   map[string]*posted
}

type posted struct {
	event    apitoken.Event
	open     bool // to be delivered
	aside    bool
	attempts int
	holder   string
	until    time.Time // end of the lease, or the instant to retry at
}

func (o *outbox) add(events []apitoken.Event) {
	if o.byID == nil {
		o.byID = make(map[string]*posted)
	}
	for _, e := range events {
		p := &posted{event: cloneEvent(e), open: e.Deliver}
		o.events = append(o.events, p)
		o.byID[e.ID] = p
	}
}

func (o *outbox) counts() (open, aside int) {
	for _, p := range o.events {
		if p.open {
			open++
		}
		if p.aside {
			aside++
		}
	}
	return open, aside
}

func cloneEvent(e apitoken.Event) apitoken.Event {
	e.Changed = slices.Clone(e.Changed)
	return e
}

// Events implements [apitoken.Store].
func (s *Store) Events(ctx context.Context, tenant string, token apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []apitoken.Event
	for _, p := range s.outbox.events {
		if p.event.Tenant == tenant && p.event.Target.Token == token {
			found = append(found, cloneEvent(p.event))
		}
	}
	slices.SortStableFunc(found, func(a, b apitoken.Event) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	if after != "" {
		i := slices.IndexFunc(found, func(e apitoken.Event) bool { return e.ID == after })
		found = found[i+1:]
	}
	return found[:min(len(found), limit)], nil
}

// Claim implements [apitoken.Store].
func (s *Store) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []apitoken.Delivery
	for _, p := range s.outbox.events {
		if len(out) == limit {
			break
		}
		if !p.open || p.until.After(lease.Now) {
			continue
		}
		out = append(out, apitoken.Delivery{Event: cloneEvent(p.event), Attempts: p.attempts})
		p.holder, p.until = lease.Holder, lease.Until
		p.attempts++
	}
	return out, nil
}

// Settle implements [apitoken.Store].
func (s *Store) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range settled {
		p, ok := s.outbox.byID[st.EventID]
		if !ok || !p.open || lease == "" || p.holder != lease {
			continue
		}
		p.holder, p.until = "", st.RetryAt
		p.open = !st.Done && !st.Aside
		p.aside = st.Aside && !st.Done
	}
	return nil
}
