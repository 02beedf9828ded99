package sqlengine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tokenry/apitoken"
)

// lines adds events, and those to be delivered to the outbox.
func (e *Engine) lines(events []apitoken.Event) (step, error) {
	args := make([][]any, len(events))
	for i := range events {
		ev := &events[i]
		if !storable(ev.ID, maxEventID) || !storable(ev.Tenant, maxIdentifier) || !storable(string(ev.Target.Token), maxIdentifier) || !storable(string(ev.Type), maxWord) {
			return nil, fmt.Errorf("cannot be stored: the ID, tenant, token or type of event %d is too long, not UTF-8, or has a zero byte", i)
		}
		body, err := json.Marshal(ev)
		if err != nil {
			return nil, err
		}
		args[i] = []any{
			ev.ID, ev.Tenant, string(ev.Target.Token), ev.Version, int64(ev.Ordinal), string(ev.Type), micros(ev.Time), string(body),
		}
	}
	return func(ctx context.Context, c Conn) error {
		for i := range events {
			if _, err := c.Exec(ctx, e.st.addEvent, args[i]...); err != nil {
				return err
			}
			if !events[i].Deliver {
				continue
			}
			if _, err := c.Exec(ctx, e.st.addOutbox, events[i].ID, micros(events[i].Time)); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// maxEventID is the longest ID of an event: a tenant with version and ordinal.
const maxEventID = 320

// Events implements [apitoken.Store].
func (e *Engine) Events(ctx context.Context, tenant string, token apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	c, err := e.reader(ctx)
	if err != nil {
		return nil, err
	}
	if !storable(tenant, maxIdentifier) || !storable(string(token), maxIdentifier) || !storable(after, maxEventID) {
		return nil, ctx.Err() // nothing has such a name
	}
	version, ordinal := int64(-1), int64(-1)
	if after != "" {
		_, err := e.first(ctx, c, e.st.placeOfEvent, []any{after, tenant, string(token)}, &version, &ordinal)
		if err != nil {
			return nil, e.outage("events", err)
		}
	}
	var out []apitoken.Event
	args := []any{string(token), tenant, version, version, ordinal, ordinal, after, int64(max(limit, 0))}
	err = each(ctx, c, e.st.events, args, func(rows Rows) error {
		var body string
		if err := rows.Scan(&body); err != nil {
			return err
		}
		ev, err := readEvent(body)
		out = append(out, ev)
		return err
	})
	if err != nil {
		return nil, e.outage("events", err)
	}
	return out, nil
}

func readEvent(body string) (apitoken.Event, error) {
	var ev apitoken.Event
	err := json.Unmarshal([]byte(body), &ev)
	return ev, err
}

// Claim implements [apitoken.Store].
func (e *Engine) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	if limit <= 0 {
		return nil, ctx.Err()
	}
	if lease.Holder == "" || !storable(lease.Holder, maxIdentifier) {
		return nil, e.outage("claim", fmt.Errorf("the lease needs a holder of at most %d bytes", maxIdentifier))
	}
	var out []apitoken.Delivery
	err := e.write(ctx, "claim", func(c Conn) error {
		out = nil
		if n, err := e.claim(ctx, c, lease, limit); n == 0 || err != nil {
			return err
		}
		return each(ctx, c, e.st.claimed, []any{lease.Holder}, func(rows Rows) error {
			var body string
			var d apitoken.Delivery
			err := rows.Scan((*count)(&d.Attempts), &body)
			if err != nil {
				return err
			}
			d.Attempts-- // this claim counted itself
			d.Event, err = readEvent(body)
			out = append(out, d)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// claim leases events, and returns how many.
func (e *Engine) claim(ctx context.Context, c Conn, lease apitoken.Lease, limit int) (n int64, err error) {
	now, most := lease.Now.UnixMicro(), int64(limit)
	which := []any{most, now, most, most}
	what := []any{lease.Holder, lease.Until.UnixMicro(), now}
	if e.st.choose == nil {
		return c.Exec(ctx, e.st.claim, append(which, what...)...)
	}
	for range maxTries { // who loses all that was chosen to a faster claimer chooses anew
		var ids []string
		err = each(ctx, c, e.st.choose, which, func(rows Rows) error {
			var id string
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil || len(ids) == 0 {
			return 0, err
		}
		n, err = c.Exec(ctx, e.st.claim, append([]any{encodeList(ids)}, what...)...)
		if n > 0 || err != nil {
			break
		}
	}
	return n, err
}

// Settle implements [apitoken.Store].
func (e *Engine) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	if lease == "" || !storable(lease, maxIdentifier) || len(settled) == 0 {
		return ctx.Err()
	}
	return e.write(ctx, "settle", func(c Conn) error {
		for _, s := range settled {
			var err error
			switch {
			case !storable(s.EventID, maxEventID):
			case s.Done:
				_, err = c.Exec(ctx, e.st.done, s.EventID, lease)
			case s.Aside:
				_, err = c.Exec(ctx, e.st.setAside, s.EventID, lease)
			default:
				_, err = c.Exec(ctx, e.st.retry, max(micros(s.RetryAt), 0), s.EventID, lease)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
