package model_test

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tokenry/apitoken"
)

// ledger stands right before the store and sees every write that took effect,
// also one whose caller was told otherwise. It follows the audit events and holds
// each stored record to them.
type ledger struct {
	apitoken.Store
	m *machine
}

// Record shares what the store shares.
func (l *ledger) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if shared, ok := l.Store.(apitoken.Records); ok {
		return shared.Record(ctx, id)
	}
	return l.Get(ctx, id)
}

func (l *ledger) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	err := l.Store.Create(ctx, rec, events)
	if err == nil {
		l.m.created(rec.Clone(), events)
	}
	return err
}

func (l *ledger) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	err := l.Store.Swap(ctx, rec, guard, events)
	if err == nil {
		l.m.swapped(rec.Clone(), events)
	}
	return err
}

func (l *ledger) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	err := l.Store.Replace(ctx, rec, old, guard, events)
	if err == nil {
		ofOld := func(e apitoken.Event) bool { return e.Target.Token == old.Token.ID }
		ofNew := func(e apitoken.Event) bool { return !ofOld(e) }
		l.m.swapped(old.Clone(), slices.DeleteFunc(slices.Clone(events), ofNew))
		l.m.created(rec.Clone(), slices.DeleteFunc(slices.Clone(events), ofOld))
	}
	return err
}

func (l *ledger) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	err := l.Store.Delete(ctx, id, version, guard, events)
	if err == nil {
		l.m.deleted(id, version+1, events)
	}
	return err
}

func (l *ledger) Touch(ctx context.Context, uses []apitoken.Use) error {
	err := l.Store.Touch(ctx, uses)
	if err != nil {
		return err
	}
	for _, u := range uses {
		if k := l.m.byID[u.ID]; k != nil {
			k.recorded = later(k.recorded, u.LastUsed)
		}
	}
	return nil
}

func (l *ledger) SwapSettings(ctx context.Context, settings apitoken.Settings, events []apitoken.Event) error {
	err := l.Store.SwapSettings(ctx, settings, events)
	if err == nil {
		l.m.set(settings, events)
	}
	return err
}

// Claim takes all and puts it into an order: that of events of one instant is the
// store's own affair, and tells which of them a limit or a fault meets.
func (l *ledger) Claim(ctx context.Context, lease apitoken.Lease, _ int) ([]apitoken.Delivery, error) {
	claimed, err := l.Store.Claim(ctx, lease, 10_000)
	slices.SortFunc(claimed, func(a, b apitoken.Delivery) int {
		return cmp.Or(a.Event.Time.Compare(b.Event.Time), strings.Compare(a.Event.ID, b.Event.ID))
	})
	for i := range claimed {
		claimed[i].Event.Deliver = false // it need not come back
	}
	return claimed, err
}

func (l *ledger) Events(ctx context.Context, tenant string, id apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	events, err := l.Store.Events(ctx, tenant, id, after, limit)
	for i := range events {
		events[i].Deliver = false // it need not come back
	}
	return events, err
}

// broken notes what must not happen. Check reports it: here a call is under way.
func (m *machine) broken(format string, args ...any) {
	m.faults = append(m.faults, fmt.Sprintf(format, args...))
}

func (m *machine) created(rec *apitoken.Record, events []apitoken.Event) {
	t := &rec.Token
	if m.byID[t.ID] != nil {
		m.broken("P3: token %s was created twice", t.ID)
	}
	k := &token{id: t.ID, kind: t.Kind, owner: t.Owner, agent: t.Agent, createdAt: t.CreatedAt, rec: rec, legacy: !rec.Legacy.IsZero()}
	m.byID[t.ID] = k
	m.tokens = append(m.tokens, k)
	m.followed(k, t.Version, events)
	m.matches(k, rec)
	m.grants(k)
}

func (m *machine) swapped(rec *apitoken.Record, events []apitoken.Event) {
	k := m.byID[rec.Token.ID]
	if k == nil {
		m.broken("a token that nobody created was written")
		return
	}
	if len(events) == 0 {
		before, after := k.rec.Token, rec.Token
		before.Version, before.Usage, after.Version, after.Usage = 0, apitoken.Usage{}, 0, apitoken.Usage{}
		if !reflect.DeepEqual(before, after) {
			m.broken("P22: %s was changed without an event:\n%+v\n%+v", k, before, after)
		}
	}
	grant := k.rec.Token.Grant
	k.rec = rec
	m.followed(k, rec.Token.Version, events)
	m.overlap(k)
	m.matches(k, rec)
	if !reflect.DeepEqual(grant, rec.Token.Grant) {
		m.grants(k)
	}
}

func (m *machine) deleted(id apitoken.ID, version int64, events []apitoken.Event) {
	k := m.byID[id]
	m.followed(k, version, events)
	if !k.gone {
		m.broken("P22: %s was deleted without its event", k)
	}
	k.gone = true
}

func (m *machine) set(settings apitoken.Settings, events []apitoken.Event) {
	if settings.Version != m.settings+1 {
		m.broken("P22: the settings went from version %d to %d", m.settings, settings.Version)
	}
	m.settings = settings.Version
	for _, e := range events {
		if m.events[e.ID] {
			m.broken("P22: event %s was written twice", e.ID)
		}
		m.events[e.ID] = true
	}
}

// followed moves the model of a token by the events of one write.
func (m *machine) followed(k *token, version int64, events []apitoken.Event) {
	o := m.op()
	o.writes++
	if k.gone {
		m.broken("P3: %s was written by %s after it was deleted", k, o.name)
	}
	if version != k.version+1 {
		m.broken("P22: %s went from version %d to %d", k, k.version, version)
	}
	k.version = version
	for i, e := range events {
		switch {
		case m.events[e.ID]:
			m.broken("P22: event %s was written twice", e.ID)
		case e.Version != version || e.Ordinal != i || e.Target.Token != k.id:
			m.broken("P22: event %d of version %d of %s is numbered %d of %d, of %s", i, version, k, e.Ordinal, e.Version, e.Target.Token)
		case k.gone:
			m.broken("P22: %s has the event %s after its deletion", k, e.Type)
		}
		m.events[e.ID] = true
		m.happened(k, o, &e)
	}
}

// happened is what one event means.
func (m *machine) happened(k *token, o *operation, e *apitoken.Event) {
	rules := kinds[k.kind]
	switch e.Type {
	case apitoken.EventCreated:
		k.state, k.expiresAt = apitoken.StateActive, e.ExpiresAt
	case apitoken.EventExtended:
		k.setExpiry(e.ExpiresAt)
	case apitoken.EventEnabled:
		if k.state != apitoken.StateDisabled || o.name != "enable" {
			m.broken("P3: %s, which was %s, was enabled by %s", k, k.state, o.name)
		}
		k.state = apitoken.StateActive
		if o.setsExpiry {
			k.setExpiry(e.ExpiresAt)
		}
	case apitoken.EventDisabled:
		if k.state != apitoken.StateActive {
			m.broken("P22: %s, which was %s, was disabled", k, k.state)
		}
		k.state, k.disabledAt = apitoken.StateDisabled, e.Time
	case apitoken.EventRevoked:
		if k.state == apitoken.StateRevoked {
			m.broken("P22: %s was revoked twice", k)
		}
		k.state = apitoken.StateRevoked
		if e.Cause == apitoken.CauseIdle {
			m.revokedIdle(k, o)
		}
	case apitoken.EventExpired:
		if k.expired || k.expiresAt.IsZero() || o.now.Before(k.expiresAt) || !e.DueAt.Equal(k.expiresAt) {
			m.broken("P22: %s expired by %s at %s, due %s (before: %t)", k, o.name, o.now, e.DueAt, k.expired)
		}
		k.expired = true
		if rules.AfterExpiry == apitoken.ExpiryDisables && k.state == apitoken.StateActive {
			k.state, k.disabledAt = apitoken.StateDisabled, k.expiresAt
		}
	case apitoken.EventDeleted:
		if o.name == "sweep" && (k.state != apitoken.StateDisabled || rules.Purge == 0 || o.now.Before(k.disabledAt.Add(rules.Purge))) {
			m.broken("P22: %s was purged at %s: %s since %s", k, o.now, k.state, k.disabledAt)
		}
		k.gone = true
	case apitoken.EventRotated:
		k.previous, k.previousUntil, k.current = k.current, time.Time{}, ""
		if o.overlap > 0 {
			k.previousUntil = o.now.Add(o.overlap)
		}
		k.capOverlap()
		k.legacy, k.reused = false, false
	case apitoken.EventReused:
		if k.reused {
			m.broken("P22: the reuse of a replaced value of %s was reported twice", k)
		}
		k.reused = true
	case apitoken.EventLegacyEnded:
		k.legacy = false
	}
}

// revokedIdle holds P13 against a revocation: of the uses that the store or the
// revoking node knows, the latest must be long enough ago.
func (m *machine) revokedIdle(k *token, o *operation) {
	due := k.idleAt(o.node, o.now)
	if o.name == "sweep" {
		due = due.Add(2*interval + skew)
	}
	if kinds[k.kind].Lifetime.Idle == 0 || o.now.Before(due) {
		m.broken("P13: %s was revoked as idle by %s at %s, too early by %s", k, o.name, o.now, due.Sub(o.now))
	}
}

// overlap holds the end of an overlap to the rotation: it never moves to later,
// and to sooner only when it has come or the replaced value leaked.
func (m *machine) overlap(k *token) {
	o, until := m.op(), k.rec.PreviousUntil
	if until.After(k.previousUntil) || until.Before(k.previousUntil) && o.now.Before(k.previousUntil) && o.name != "leak" {
		m.broken("P3: %s moved the end of the overlap of %s from %s to %s", o.name, k, k.previousUntil, until)
	}
	k.previousUntil = until
}

// matches holds a stored record to the events there are.
func (m *machine) matches(k *token, rec *apitoken.Record) {
	t := &rec.Token
	if t.State != k.state || !t.ExpiresAt.Equal(k.expiresAt) || rec.ExpiryDone != k.expired || t.Version != k.version || rec.Legacy.IsZero() == k.legacy {
		m.broken("P3: the record of %s does not say what its events say: %s until %s (expired: %t), version %d", k, t.State, t.ExpiresAt, rec.ExpiryDone, t.Version)
	}
}

// grants holds P21 against a grant when it is given: nobody gives what they, the
// licence or the kind do not have.
func (m *machine) grants(k *token) {
	limit := m.op().actorMay
	if limit == nil {
		return
	}
	for name := range k.granted() {
		if !limit[name] || !m.licence[name] || !apiNames[name] || !within(ceiling(k.kind), name) {
			m.broken("P21: %s was granted %s by one who has %v under the licence %v", k, name, limit, m.licence)
		}
	}
}
