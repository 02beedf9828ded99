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
		err := saveRow(s).Swap(ctx, rec, apitoken.Guard{}, events)
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

type forgetsUsed struct{ *memstore.Store }

func (s forgetsUsed) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	err := s.Store.Create(ctx, rec, events)
	if _, absent := s.Get(ctx, rec.Token.ID); err != nil && errors.Is(absent, apitoken.ErrNotFound) && rec.Token.Name == "plain" {
		return s.Store.Create(ctx, rec, nil)
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

type swapsThenCreates struct{ *memstore.Store }

func (s swapsThenCreates) Replace(ctx context.Context, rec, old *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	if err := s.Swap(ctx, old, g, events); err != nil {
		return err
	}
	return s.Create(ctx, rec, nil)
}

type createsThenSwaps struct{ *memstore.Store }

func (s createsThenSwaps) Replace(ctx context.Context, rec, old *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	if err := s.Create(ctx, rec, nil); err != nil {
		return err
	}
	return s.Swap(ctx, old, g, events)
}

type replacesUnguarded struct{ *memstore.Store }

func (s replacesUnguarded) Replace(ctx context.Context, rec, old *apitoken.Record, _ apitoken.Guard, events []apitoken.Event) error {
	return s.Store.Replace(ctx, rec, old, apitoken.Guard{}, events)
}

type replacesAny struct{ *memstore.Store }

func (s replacesAny) Replace(ctx context.Context, rec, old *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	for {
		was, err := s.Get(ctx, old.Token.ID)
		if err != nil {
			return err
		}
		n := old.Clone()
		n.Token.Version = was.Token.Version + 1
		err = s.Store.Replace(ctx, rec, n, g, events)
		if err == nil || !g.Allows(was.Token.Usage.LastUsed) || errors.As(err, new(*apitoken.DuplicateError)) {
			return err
		}
	}
}

type replacesSilently struct{ *memstore.Store }

func (s replacesSilently) Replace(ctx context.Context, rec, old *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	events = slices.DeleteFunc(slices.Clone(events), func(e apitoken.Event) bool { return e.Target.Token == old.Token.ID })
	return s.Store.Replace(ctx, rec, old, g, events)
}

type replacesAnyway struct{ *memstore.Store }

func (s replacesAnyway) Replace(ctx context.Context, rec, old *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	return s.Store.Replace(context.WithoutCancel(ctx), rec, old, g, events)
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

// touchesPeriods changes what is added, knowing what is stored.
type touchesPeriods struct {
	*memstore.Store
	change func(stored apitoken.Usage, u *apitoken.Use)
}

func (s touchesPeriods) Touch(ctx context.Context, uses []apitoken.Use) error {
	for _, u := range uses {
		if rec, err := s.Get(ctx, u.ID); err == nil {
			s.change(rec.Token.Usage, &u)
		}
		if err := s.Store.Touch(ctx, []apitoken.Use{u}); err != nil {
			return err
		}
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
	query func(query *apitoken.StoreQuery)
	turn  bool // ties stay in the order of IDs when the list is turned
}

func (s lists) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	if s.query != nil {
		if query.After != nil {
			after := *query.After
			query.After = &after
		}
		s.query(&query)
	}
	recs, err := s.Store.List(ctx, query)
	if s.turn && query.Desc {
		slices.SortStableFunc(recs, func(a, b *apitoken.Record) int {
			p, q := apitoken.PositionOf(&a.Token, query.Sort, query.Now), apitoken.PositionOf(&b.Token, query.Sort, query.Now)
			if p.Text == q.Text && p.Number == q.Number {
				return p.Compare(q)
			}
			return -p.Compare(q)
		})
	}
	return recs, err
}

type countsPage struct{ *memstore.Store }

func (s countsPage) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	recs, err := s.List(ctx, query)
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

// claimsAsWritten hides the instants of the events from the store's order.
type claimsAsWritten struct {
	*memstore.Store
	mu    sync.Mutex
	times map[string]time.Time
}

func (s *claimsAsWritten) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	events = slices.Clone(events)
	for i := range events {
		s.times[events[i].ID], events[i].Time = events[i].Time, time.Time{}
	}
	return s.Store.Create(ctx, rec, events)
}

func (s *claimsAsWritten) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	claimed, err := s.Store.Claim(ctx, lease, limit)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range claimed {
		claimed[i].Event.Time = s.times[claimed[i].Event.ID]
	}
	return claimed, err
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

type uncountedRevisions struct{ *memstore.Store }

func (s uncountedRevisions) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	out, err := s.Store.Revisions(ctx, ids)
	for i := range out {
		out[i].Uses = 0
	}
	return out, err
}

type unusedRevisions struct{ *memstore.Store }

func (s unusedRevisions) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	out, err := s.Store.Revisions(ctx, ids)
	for i := range out {
		out[i].LastUsed, out[i].Uses = time.Time{}, 0
	}
	return out, err
}

type staleRevisions struct {
	*memstore.Store
	kept map[apitoken.ID]apitoken.Revision
}

func (s *staleRevisions) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	out, err := s.Store.Revisions(ctx, ids)
	for i, r := range out {
		if old, ok := s.kept[r.ID]; ok {
			out[i] = old
		}
		s.kept[r.ID] = out[i]
	}
	return out, err
}

type someRevisions struct{ *memstore.Store }

func (s someRevisions) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	return s.Store.Revisions(ctx, ids[:min(len(ids), 499)])
}

type anywayRevisions struct{ *memstore.Store }

func (s anywayRevisions) Revisions(ctx context.Context, ids []apitoken.ID) ([]apitoken.Revision, error) {
	return s.Store.Revisions(context.WithoutCancel(ctx), ids)
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

type outageIsConflict struct{ *memstore.Store }

func (s outageIsConflict) Swap(ctx context.Context, rec *apitoken.Record, g apitoken.Guard, events []apitoken.Event) error {
	if err := s.Store.Swap(ctx, rec, g, events); err != nil && !errors.Is(err, apitoken.ErrNotFound) {
		return apitoken.ErrConflict
	}
	return nil
}

type keepsZone struct{ *memstore.Store }

func (s keepsZone) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err == nil && rec.Token.Name == "zones" {
		rec.Token.CreatedAt = rec.Token.CreatedAt.In(time.FixedZone("X", 3600))
	}
	return rec, err
}

// decorated hides everything but the Store, as a decorator does.
type decorated struct {
	apitoken.Store
	inner apitoken.Store
}

func (s decorated) Unwrap() apitoken.Store { return s.inner }
