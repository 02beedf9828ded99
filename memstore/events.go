package memstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/tokenry/apitoken"
)

// eventLog keeps all events, encoded, as a chain for each token and one for each
// tenant's settings.
type eventLog struct {
	blocks   []*[eventBlock]loggedEvent
	last     uint32 // number of the latest event; 0 = none
	tokens   map[[idLength]byte]chain
	settings map[string]chain
}

type loggedEvent struct {
	body ref
	next uint32 // of the same chain; 0 = none
}

// chain is the first and the last of a row of events.
type chain struct{ first, last uint32 }

const eventBlock = 256

func (l *eventLog) init() {
	l.tokens, l.settings = make(map[[idLength]byte]chain), make(map[string]chain)
}

func (l *eventLog) at(n uint32) *loggedEvent { return &l.blocks[n/eventBlock][n%eventBlock] }

// chain returns the chain of a token, or of a tenant's settings for token "".
func (l *eventLog) chain(tenant string, token apitoken.ID) chain {
	if token == "" {
		return l.settings[tenant]
	}
	key, _ := keyOf(token)
	return l.tokens[key]
}

// append adds an event to its chain and returns its number.
func (l *eventLog) append(e *apitoken.Event, body ref) uint32 {
	l.last++
	n := l.last
	if int(n/eventBlock) == len(l.blocks) {
		l.blocks = append(l.blocks, new([eventBlock]loggedEvent))
	}
	l.at(n).body = body
	c := l.chain(e.Tenant, e.Target.Token)
	if c.first == 0 {
		c.first = n
	} else {
		l.at(c.last).next = n
	}
	c.last = n
	if e.Target.Token == "" {
		l.settings[e.Tenant] = c
	} else {
		key, _ := keyOf(e.Target.Token)
		l.tokens[key] = c
	}
	return n
}

// used reports whether one of the events is the token's already.
func (s *Store) used(token apitoken.ID, events []apitoken.Event) bool {
	for n := s.events.chain("", token).first; n != 0; n = s.events.at(n).next {
		old := s.event(n)
		if slices.ContainsFunc(events, func(e apitoken.Event) bool { return e.ID == old.ID }) {
			return true
		}
	}
	return false
}

// post keeps the events of a write, and puts those to be delivered into the
// outbox. The caller holds the lock for writing.
func (s *Store) post(events []apitoken.Event) {
	for i := range events {
		e := &events[i]
		s.coder.begin()
		s.coder.event(e)
		n := s.events.append(e, s.slab.put(s.coder.out))
		if e.Deliver {
			s.outbox.add(e.ID, n, stamp(e.Time))
		}
	}
}

// event decodes an event.
func (s *Store) event(n uint32) apitoken.Event {
	var e apitoken.Event
	c := coder{in: string(s.slab.get(s.events.at(n).body)), reading: true}
	c.event(&e)
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
	for n := s.events.chain(tenant, token).first; n != 0; n = s.events.at(n).next {
		if e := s.event(n); e.Tenant == tenant && e.Target.Token == token {
			found = append(found, e)
		}
	}
	slices.SortStableFunc(found, func(a, b apitoken.Event) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	if after != "" {
		found = found[1+slices.IndexFunc(found, func(e apitoken.Event) bool { return e.ID == after }):]
	}
	return found[:min(len(found), max(limit, 0))], nil
}
