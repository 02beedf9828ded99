package storetest_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// brokenStores are the mistakes that stores make: what is wrong, the topic that
// must find it and the sentence it must quote.
var brokenStores = []struct {
	name    string
	topic   string
	says    string
	breakIt func(good *memstore.Store) apitoken.Store
}{
	{"Swap drops the guard", "guard", "the stored last use is not later", func(s *memstore.Store) apitoken.Store { return &noGuard{Store: s, swap: true} }},
	{"Swap drops the guard, in a race", "race", "as NotUsedAfter, for a token", func(s *memstore.Store) apitoken.Store { return &noGuard{Store: s, swap: true} }},
	{"Delete drops the guard", "guard", "as NotUsedAfter, for a token", func(s *memstore.Store) apitoken.Store { return &noGuard{Store: s} }},
	{"Swap saves the row whatever its version", "swap", "Otherwise it stores nothing and returns ErrConflict", func(s *memstore.Store) apitoken.Store { return saveRow{s} }},
	{"Swap saves the row, in a race", "race", "Otherwise it stores nothing and returns ErrConflict", func(s *memstore.Store) apitoken.Store { return saveRow{s} }},
	{"Swap writes usage", "swap", "stay as they are stored, whatever rec holds.", func(s *memstore.Store) apitoken.Store { return swapsUsage{s} }},
	{"Swap checks before it writes", "race", "Swap replaces a token whose stored version", func(s *memstore.Store) apitoken.Store { return checkThenWrite{s} }},
	{"Get returns what it holds", "copies", "It owns what it is given and hands out copies", func(s *memstore.Store) apitoken.Store { return sharesMemory{s} }},
	{"Create keeps what it is given", "copies", "It owns what it is given and hands out copies", func(s *memstore.Store) apitoken.Store { return &keepsGiven{Store: s} }},
	{"a field is forgotten", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { rec.Legacy.KeyID = "" }}
	}},
	{"a list loses its order", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { slices.Reverse(rec.Token.Networks) }}
	}},
	{"instants lose their microseconds", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { rec.Token.StateAt = rec.Token.StateAt.Truncate(time.Millisecond) }}
	}},
	{"instants come in another zone", "round trip", "Create adds a token, as it is given", func(s *memstore.Store) apitoken.Store {
		return forgets{s, func(rec *apitoken.Record) { rec.DueAt = rec.DueAt.In(time.FixedZone("X", 3600)) }}
	}},
	{"IDs are compared without case", "get", "Get returns the token with this ID, or ErrNotFound.", func(s *memstore.Store) apitoken.Store { return &foldsCase{Store: s} }},
	{"the events of a refused Create stay", "create", "A write and its events happen together or not at all.", func(s *memstore.Store) apitoken.Store { return looseEvents{s} }},
	{"the duplicate is not named", "create", "If the ID, the alias or the idempotency key", func(s *memstore.Store) apitoken.Store { return plainConflict{s} }},
	{"events die with the token", "delete", "It finds them after the token is gone too.", func(s *memstore.Store) apitoken.Store { return eventsDie{s} }},
	{"Touch moves back", "touch", "Counts add up; the last use", func(s *memstore.Store) apitoken.Store { return touchesBack{s} }},
	{"Touch creates", "touch", "Touch never creates and never revives.", func(s *memstore.Store) apitoken.Store { return touchCreates{s} }},
	{"Touch counts as a change", "touch", "The version stays", func(s *memstore.Store) apitoken.Store { return touchChanges{s} }},
	{"Touch loses uses of other nodes", "race", "Counts add up", func(s *memstore.Store) apitoken.Store { return touchesBack{s} }},
	{"List forgets a filter", "list", "It is the definition that every store follows.", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, scan: func(scan *apitoken.Scan) { scan.MetaKey = "" }}
	}},
	{"List shows all tenants", "list", "otherwise nothing matches", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, scan: func(scan *apitoken.Scan) { scan.AnyTenant = true }}
	}},
	{"List turns the order but not the ties", "list", "Every store sorts as [Position.Compare] does.", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, turn: true}
	}},
	{"List pages by the value alone", "list", "Every store sorts as [Position.Compare] does.", func(s *memstore.Store) apitoken.Store {
		return lists{Store: s, scan: func(scan *apitoken.Scan) {
			if scan.After != nil {
				scan.After.ID = "zzzzzzzzzzzzzzzzzzzzzz"
			}
		}}
	}},
	{"Counts looks at the position", "counts", "Counts returns how many tokens there are", func(s *memstore.Store) apitoken.Store { return countsPage{s} }},
	{"Due forgets ties", "due", "Due returns tokens of all tenants", func(s *memstore.Store) apitoken.Store { return dueTies{s} }},
	{"Due leaves out the instant itself", "due", "Due returns tokens of all tenants", func(s *memstore.Store) apitoken.Store { return dueBefore{s} }},
	{"Claim does not lease", "outbox", "until the lease ends no other Claim returns it.", func(s *memstore.Store) apitoken.Store { return noLease{s} }},
	{"Claim reads, then leases", "outbox", "until the lease ends no other Claim returns it.", func(s *memstore.Store) apitoken.Store { return &claimTwice{Store: s} }},
	{"Settle ignores the lease", "outbox", "A settlement whose lease is no longer the event's own", func(s *memstore.Store) apitoken.Store {
		return &settlesAny{Store: s, holders: map[string]string{}}
	}},
	{"what is set aside comes back", "outbox", "Settle ends claims", func(s *memstore.Store) apitoken.Store { return noAside{s} }},
	{"settings are saved whatever their version", "settings", "SwapSettings stores settings whose version", func(s *memstore.Store) apitoken.Store { return savesSettings{s} }},
	{"Stats count what was delivered", "stats", "events neither delivered nor set aside yet", func(s *memstore.Store) apitoken.Store { return countsAll{s} }},
	{"Record is kept after a change", "records", "It is as fresh as Get's", func(s *memstore.Store) apitoken.Store {
		return &staleRecords{Store: s, kept: map[apitoken.ID]*apitoken.Record{}}
	}},
	{"the context is ignored", "context", "honours its context.", func(s *memstore.Store) apitoken.Store { return noContext{s} }},
	{"an outage is taken for 'not found'", "context", "Any error other than the ones named is an outage", func(s *memstore.Store) apitoken.Store { return outageIsNo{s} }},
}

type noGuard struct {
	*memstore.Store
	swap bool
}

func (s *noGuard) Swap(ctx context.Context, rec *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	if s.swap {
		g = apitoken.Guard{}
	}
	return s.Store.Swap(ctx, rec, g, events)
}

func (s *noGuard) Delete(ctx context.Context, id apitoken.ID, version int64, g apitoken.Guard, events []apitoken.Event) error {
	if !s.swap {
		g = apitoken.Guard{}
	}
	return s.Store.Delete(ctx, id, version, g, events)
}

type saveRow struct{ *memstore.Store }

func (s saveRow) Swap(ctx context.Context, rec *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	old, err := s.Get(ctx, rec.Token.ID)
	if err != nil {
		return err
	}
	n := rec.Clone()
	n.Token.Version = old.Token.Version + 1
	return s.Store.Swap(ctx, n, g, events)
}

type swapsUsage struct{ *memstore.Store }

func (s swapsUsage) Swap(ctx context.Context, rec *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	if err := s.Store.Swap(ctx, rec, g, events); err != nil {
		return err
	}
	return rewrite(ctx, s.Store, rec.Token.ID, func(n *apitoken.Record) { n.Token.Usage = rec.Clone().Token.Usage })
}

// rewrite changes a stored token in ways that the store itself does not allow.
func rewrite(ctx context.Context, s *memstore.Store, id apitoken.ID, change func(rec *apitoken.Record)) error {
	rec, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := s.Delete(ctx, id, rec.Token.Version, apitoken.Guard{}, nil); err != nil {
		return err
	}
	change(rec)
	return s.Create(ctx, rec, nil)
}

type checkThenWrite struct{ *memstore.Store }

func (s checkThenWrite) Swap(ctx context.Context, rec *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	old, err := s.Get(ctx, rec.Token.ID)
	if err != nil {
		return err
	}
	if old.Token.Version != rec.Token.Version-1 || !g.Allows(old.Token.Usage.LastUsed) {
		return apitoken.ErrConflict
	}
	for range 1000 { // the gap between the SELECT and the UPDATE
		runtime.Gosched()
	}
	for {
		err := saveRow{s.Store}.Swap(ctx, rec, apitoken.Guard{}, events)
		if !errors.Is(err, apitoken.ErrConflict) {
			return err
		}
	}
}

type sharesMemory struct{ *memstore.Store }

func (s sharesMemory) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	return s.Record(ctx, id)
}

type keepsGiven struct {
	*memstore.Store
	given sync.Map
}

func (s *keepsGiven) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	s.given.Store(rec.Token.ID, rec)
	return s.Store.Create(ctx, rec, events)
}

func (s *keepsGiven) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if rec, ok := s.given.Load(id); ok {
		return rec.(*apitoken.Record).Clone(), nil
	}
	return s.Store.Get(ctx, id)
}

type forgets struct {
	*memstore.Store
	what func(rec *apitoken.Record)
}

func (s forgets) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	return s.Store.Create(ctx, rec.Clone(), events)
}

func (s forgets) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err == nil {
		s.what(rec)
	}
	return rec, err
}

type foldsCase struct {
	*memstore.Store
	real sync.Map
}

func (s *foldsCase) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	s.real.Store(strings.ToLower(string(rec.Token.ID)), rec.Token.ID)
	return s.Store.Create(ctx, rec, events)
}

func (s *foldsCase) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	if real, ok := s.real.Load(strings.ToLower(string(id))); ok {
		id = real.(apitoken.ID)
	}
	return s.Store.Get(ctx, id)
}

type looseEvents struct{ *memstore.Store }

func (s looseEvents) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	err := s.Store.Create(ctx, rec, events)
	if err != nil && len(events) > 0 {
		_ = s.SwapSettings(ctx, apitoken.Settings{Tenant: "loose " + events[0].ID, Version: 1}, events)
	}
	return err
}

type plainConflict struct{ *memstore.Store }

func (s plainConflict) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	err := s.Store.Create(ctx, rec, events)
	if errors.Is(err, apitoken.ErrConflict) {
		return apitoken.ErrConflict
	}
	return err
}

type eventsDie struct{ *memstore.Store }

func (s eventsDie) Events(ctx context.Context, tenant string, id apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	if _, err := s.Get(ctx, id); err != nil {
		return nil, nil
	}
	return s.Store.Events(ctx, tenant, id, after, limit)
}

type touchesBack struct{ *memstore.Store }

func (s touchesBack) Touch(ctx context.Context, uses []apitoken.Use) error {
	for _, u := range uses {
		rec, err := s.Get(ctx, u.ID)
		if err != nil {
			continue
		}
		uses := rec.Token.Usage.Uses
		_ = rewrite(ctx, s.Store, u.ID, func(rec *apitoken.Record) {
			rec.Token.Usage.Uses = uses + u.Count
			rec.Token.Usage.LastUsed, rec.Token.Usage.Address, rec.Token.Usage.Networks = u.LastUsed, u.Address, u.Networks
		})
	}
	return nil
}

type touchCreates struct{ *memstore.Store }

func (s touchCreates) Touch(ctx context.Context, uses []apitoken.Use) error {
	for _, u := range uses {
		_ = s.Create(ctx, &apitoken.Record{Token: apitoken.Token{ID: u.ID, Version: 1}}, nil)
	}
	return s.Store.Touch(ctx, uses)
}

type touchChanges struct{ *memstore.Store }

func (s touchChanges) Touch(ctx context.Context, uses []apitoken.Use) error {
	err := s.Store.Touch(ctx, uses)
	for _, u := range uses {
		_ = rewrite(ctx, s.Store, u.ID, func(rec *apitoken.Record) { rec.Token.Version++ })
	}
	return err
}

type lists struct {
	*memstore.Store
	scan func(scan *apitoken.Scan)
	turn bool // ties stay in the order of IDs when the list is turned
}

func (s lists) List(ctx context.Context, scan apitoken.Scan) ([]*apitoken.Record, error) {
	if s.scan != nil {
		if scan.After != nil {
			after := *scan.After
			scan.After = &after
		}
		s.scan(&scan)
	}
	recs, err := s.Store.List(ctx, scan)
	if s.turn && scan.Desc {
		slices.SortStableFunc(recs, func(a, b *apitoken.Record) int {
			p, q := apitoken.PositionOf(&a.Token, scan.Sort, scan.Now), apitoken.PositionOf(&b.Token, scan.Sort, scan.Now)
			if p.Text == q.Text && p.Number == q.Number {
				return p.Compare(q)
			}
			return -p.Compare(q)
		})
	}
	return recs, err
}

type countsPage struct{ *memstore.Store }

func (s countsPage) Counts(ctx context.Context, scan apitoken.Scan) (map[apitoken.Kind]int, error) {
	recs, err := s.List(ctx, scan)
	counts := map[apitoken.Kind]int{}
	for _, rec := range recs {
		counts[rec.Token.Kind]++
	}
	return counts, err
}

type dueTies struct{ *memstore.Store }

func (s dueTies) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	if after.ID != "" {
		after.ID = "zzzzzzzzzzzzzzzzzzzzzz"
	}
	return s.Store.Due(ctx, before, after, limit)
}

type dueBefore struct{ *memstore.Store }

func (s dueBefore) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	return s.Store.Due(ctx, before.Add(-time.Microsecond), after, limit)
}

type noLease struct{ *memstore.Store }

func (s noLease) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	lease.Until = lease.Now
	return s.Store.Claim(ctx, lease, limit)
}

// claimTwice claims as a SELECT and an UPDATE that does not look again: two
// claimers that read at once both get the event.
type claimTwice struct {
	*memstore.Store
	mu   sync.Mutex
	last []apitoken.Delivery
	now  time.Time
}

func (s *claimTwice) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil && s.now.Equal(lease.Now) {
		defer func() { s.last = nil }()
		return s.last, nil
	}
	got, err := s.Store.Claim(ctx, lease, limit)
	s.last, s.now = got, lease.Now
	return got, err
}

type settlesAny struct {
	*memstore.Store
	mu      sync.Mutex
	holders map[string]string
}

func (s *settlesAny) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, err := s.Store.Claim(ctx, lease, limit)
	for _, d := range got {
		s.holders[d.Event.ID] = lease.Holder
	}
	return got, err
}

func (s *settlesAny) Settle(ctx context.Context, _ string, settled []apitoken.Settlement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range settled {
		if err := s.Store.Settle(ctx, s.holders[st.EventID], []apitoken.Settlement{st}); err != nil {
			return err
		}
	}
	return nil
}

type noAside struct{ *memstore.Store }

func (s noAside) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	settled = slices.Clone(settled)
	for i := range settled {
		settled[i].Aside = false
	}
	return s.Store.Settle(ctx, lease, settled)
}

type savesSettings struct{ *memstore.Store }

func (s savesSettings) SwapSettings(ctx context.Context, set apitoken.Settings, events []apitoken.Event) error {
	old, err := s.Settings(ctx, set.Tenant)
	if err != nil {
		return err
	}
	set.Version = old.Version + 1
	return s.Store.SwapSettings(ctx, set, events)
}

type countsAll struct{ *memstore.Store }

func (s countsAll) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	st, err := s.Store.Stats(ctx, now)
	st.Outbox += st.Aside
	return st, err
}

type staleRecords struct {
	*memstore.Store
	mu   sync.Mutex
	kept map[apitoken.ID]*apitoken.Record
}

func (s *staleRecords) Record(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec, ok := s.kept[id]; ok {
		return rec, nil
	}
	rec, err := s.Store.Record(ctx, id)
	if err == nil {
		s.kept[id] = rec
	}
	return rec, err
}

type noContext struct{ *memstore.Store }

func (s noContext) Swap(ctx context.Context, rec *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	return s.Store.Swap(context.WithoutCancel(ctx), rec, g, events)
}

type outageIsNo struct{ *memstore.Store }

func (s outageIsNo) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err != nil {
		return nil, apitoken.ErrNotFound
	}
	return rec, nil
}
