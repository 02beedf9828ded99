package apitoken

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"iter"
	"slices"
	"time"
	"unicode/utf8"
)

// Counts returns how many tokens the actor can see, of each kind (S1.27).
func (s *Service) Counts(ctx context.Context, actor Actor) (Counts, error) {
	query, err := s.query(ctx, actor)
	if err != nil {
		return Counts{}, err
	}
	byKind, err := s.store.Counts(ctx, query)
	if err != nil {
		return Counts{}, outage("store", err)
	}
	c := Counts{Kinds: make(map[Kind]int)}
	for kind := range s.kinds {
		if query.AllKinds || slices.Contains(query.Kinds, kind) || slices.Contains(query.OwnKinds, kind) {
			c.Kinds[kind] = 0
		}
	}
	for kind, n := range byKind {
		c.Kinds[kind] = n
		c.Total += n
	}
	w := &walk{s: s, now: query.Now, query: query, seen: new(lookups), suspicious: true}
	for done := false; !done; {
		var views []View
		if views, done, err = w.next(ctx, maxPage); err != nil {
			return Counts{}, err
		}
		c.Suspicious += len(views)
	}
	return c, nil
}

// query begins a store query for what the actor may see.
func (s *Service) query(ctx context.Context, actor Actor) (StoreQuery, error) {
	if err := actor.check(); err != nil {
		return StoreQuery{}, err
	}
	pw, err := s.powers(ctx, actor)
	if err != nil {
		return StoreQuery{}, err
	}
	query := StoreQuery{Tenant: actor.Tenant, AnyTenant: actor.crossTenant, Now: s.instant(), AllKinds: true}
	for _, kind := range s.kindNames() {
		rules := s.kinds[kind]
		if pw.manages(rules) {
			query.Kinds = append(query.Kinds, kind)
			continue
		}
		query.AllKinds = false // and with it the tokens of kinds that are no longer configured
		if rules.Ownership == OwnedByCreator {
			query.OwnKinds = append(query.OwnKinds, kind)
		}
	}
	if !actor.system {
		query.OwnedBy = actor.ID
	}
	return query, nil
}

// List returns a page of the tokens the actor may see. Errors: [ErrInvalid],
// [ErrUnavailable].
func (s *Service) List(ctx context.Context, actor Actor, q ListQuery) (Page, error) {
	var f faults
	limit := q.Limit
	if limit == 0 {
		limit = defaultPage
	}
	if limit < 1 || limit > maxPage {
		f.add("limit", "is %d: 1 to %d are possible", q.Limit, maxPage)
	}
	if q.Sort == "" {
		q.Sort = SortCreated
	}
	if !slices.Contains(sortKeys, q.Sort) {
		f.add("sort", "%q is unknown: use one of %v", clip(string(q.Sort)), sortKeys)
	}
	if q.Status != "" && !slices.Contains(statusFilters, q.Status) {
		f.add("status", "%q cannot be asked for: use one of %v", clip(string(q.Status)), statusFilters)
	}
	f.identifier("owner", q.Owner)
	f.identifier("agent", q.Agent)
	f.identifier("creator", q.Creator)
	f.identifier("meta_key", q.MetaKey)
	if len(q.MetaValue) > maxMetadataBytes || !utf8.ValidString(q.MetaValue) {
		f.add("meta_value", "is no UTF-8 of at most %d bytes", maxMetadataBytes)
	}
	cur, err := decodeCursor(q)
	f.addErr(err)
	if err := f.join(); err != nil {
		return Page{}, err
	}
	query, err := s.query(ctx, actor)
	if err != nil {
		return Page{}, err
	}
	now := query.Now
	query.OnlyKinds, query.Owner, query.Agent, query.Creator = q.Kinds, q.Owner, q.Agent, q.Creator
	query.Status, query.MetaKey, query.MetaValue = q.Status, q.MetaKey, q.MetaValue
	query.Sort, query.Desc = q.Sort, q.Desc
	if !cur.Now.IsZero() {
		query.Now = cur.Now // so that states do not shift between pages
	}
	w := &walk{s: s, now: now, query: query, seen: new(lookups), phase: cur.Phase, after: cur.After, suspicious: q.Suspicious}
	var page Page
	for len(page.Tokens) < limit {
		views, done, err := w.next(ctx, limit-len(page.Tokens))
		if err != nil {
			return Page{}, err
		}
		page.Tokens = append(page.Tokens, views...)
		if done {
			return page, nil
		}
	}
	page.Next = encodeCursor(cursor{Now: query.Now, Phase: w.phase, After: w.after, Query: q.sum()})
	return page, nil
}

// All returns every token that List would, page by page.
func (s *Service) All(ctx context.Context, actor Actor, q ListQuery) iter.Seq2[View, error] {
	return func(yield func(View, error) bool) {
		for {
			page, err := s.List(ctx, actor, q)
			if err != nil {
				yield(View{}, err)
				return
			}
			for _, v := range page.Tokens {
				if !yield(v, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Cursor = page.Next
		}
	}
}

var (
	sortKeys      = []SortKey{SortCreated, SortName, SortKind, SortUses, SortExpires, SortLastUsed, SortStatus, SortHealth}
	statusFilters = []Status{StatusActive, StatusDisabled, StatusExpired, StatusRevoked}
)

// walk goes through a list. What depends on the host's answers is done here and
// not in the store: the filter 'suspicious', and in a list sorted by health the
// suspicious tokens, which come first (last, in reverse): they are a phase of
// their own.
type walk struct {
	s          *Service
	now        time.Time // query.Now is the first page's
	query      StoreQuery
	seen       *lookups
	suspicious bool
	phase      int
	after      *Position
}

// phases of a list: which tokens pass.
const (
	phaseAll    = iota
	phaseYellow // suspicious ones
	phaseOthers
)

func (w *walk) phases() []int {
	switch {
	case w.s.opts.Agents == nil && w.suspicious:
		return nil // nobody can say
	case w.suspicious:
		return []int{phaseYellow}
	case w.query.Sort == SortHealth && w.s.opts.Agents != nil && w.query.Desc:
		return []int{phaseOthers, phaseYellow}
	case w.query.Sort == SortHealth && w.s.opts.Agents != nil:
		return []int{phaseYellow, phaseOthers}
	}
	return []int{phaseAll}
}

// next returns up to limit more tokens, and whether those were the last.
func (w *walk) next(ctx context.Context, limit int) ([]View, bool, error) {
	phases := w.phases()
	if w.phase >= len(phases) {
		return nil, true, nil
	}
	phase := phases[w.phase]
	query := w.query
	query.After, query.Limit = w.after, limit+1 // one more tells whether this was the last page
	if phase != phaseAll {
		query.Limit = maxPage
	}
	query.HasAgent = phase == phaseYellow
	recs, err := w.s.store.List(ctx, query)
	if err != nil {
		return nil, false, outage("store", err)
	}
	var views []View
	for _, rec := range recs {
		if len(views) == limit {
			return views, false, nil
		}
		v, err := w.s.view(ctx, rec, query.Now, w.seen)
		if err != nil {
			return nil, false, err
		}
		pos := PositionOf(&rec.Token, query.Sort, query.Now)
		w.after = &pos
		if at := rec.Token.PurgeAt(w.now); !at.IsZero() && !w.now.Before(at) {
			continue // gone since the first page
		}
		if phase == phaseAll || v.Suspicious == (phase == phaseYellow) {
			views = append(views, v)
		}
	}
	if len(recs) == query.Limit {
		return views, false, nil
	}
	w.phase, w.after = w.phase+1, nil
	return views, w.phase == len(phases), nil
}

// cursor is where a page ended. It is not secret and gives no access: what it
// can be changed to shows nothing that another query would not.
type cursor struct {
	Now   time.Time `json:"n"`
	Phase int       `json:"f,omitempty"`
	After *Position `json:"a,omitempty"`
	Query []byte    `json:"q"`
}

func (q ListQuery) sum() []byte {
	q.Cursor, q.Limit = "", 0
	b, _ := json.Marshal(q)
	sum := sha256.Sum256(b)
	return sum[:6]
}

func encodeCursor(c cursor) string {
	b, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(q ListQuery) (cursor, error) {
	if q.Cursor == "" {
		return cursor{}, nil
	}
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(q.Cursor[:min(len(q.Cursor), maxCursor)])
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Now.IsZero() || c.Phase < 0 || len(q.Cursor) > maxCursor {
		return cursor{}, fieldErr("cursor", "cannot be read: take Page.Next of the page before as it is")
	}
	if !slices.Equal(c.Query, q.sum()) {
		return cursor{}, fieldErr("cursor", "belongs to another query: repeat the query of the page before, or begin without a cursor")
	}
	return c, nil
}
