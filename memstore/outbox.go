package memstore

import (
	"container/list"
	"context"
	"time"

	"github.com/tokenry/apitoken"
)

// outbox are the events that are not delivered yet, by their instants. There are
// few of them, so they may have pointers.
type outbox struct {
	open  *list.List // of *delivery
	byID  map[string]*list.Element
	aside int // events set aside
}

type delivery struct {
	id       string
	event    uint32
	at       int64 // the event's instant
	attempts int
	holder   string    // of the lease; "" = nobody
	until    time.Time // the end of the lease, or the instant to retry at
}

func (o *outbox) init() {
	o.open, o.byID = list.New(), make(map[string]*list.Element)
}

func (o *outbox) add(id string, event uint32, at int64) {
	d := &delivery{id: id, event: event, at: at}
	before := o.open.Back()
	for before != nil && before.Value.(*delivery).at > at { // few are written late
		before = before.Prev()
	}
	if before == nil {
		o.byID[id] = o.open.PushFront(d)
	} else {
		o.byID[id] = o.open.InsertAfter(d, before)
	}
}

// Claim implements [apitoken.Store].
func (s *Store) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []apitoken.Delivery
	for el := s.outbox.open.Front(); el != nil && len(out) < limit; el = el.Next() {
		d := el.Value.(*delivery)
		if d.until.After(lease.Now) {
			continue
		}
		out = append(out, apitoken.Delivery{Event: s.event(d.event), Attempts: d.attempts})
		d.holder, d.until = lease.Holder, lease.Until
		d.attempts++
	}
	return out, nil
}

// Settle implements [apitoken.Store].
func (s *Store) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if lease == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range settled {
		el, ok := s.outbox.byID[st.EventID]
		if !ok {
			continue
		}
		d := el.Value.(*delivery)
		if d.holder != lease {
			continue
		}
		d.holder, d.until = "", st.RetryAt
		if st.Done || st.Aside {
			s.outbox.open.Remove(el)
			delete(s.outbox.byID, d.id)
		}
		if st.Aside && !st.Done {
			s.outbox.aside++
		}
	}
	return nil
}
