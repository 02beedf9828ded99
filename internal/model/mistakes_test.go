package model_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

// mistaken is a store that makes a mistake.
type mistaken struct {
	*memstore.Store
	written  func(rec *apitoken.Record)
	refused  func(err error) error
	touched  func(use *apitoken.Use)
	asked    func(query *apitoken.StoreQuery)
	listed   func(query apitoken.StoreQuery, list []*apitoken.Record) []*apitoken.Record
	counted  func(query *apitoken.StoreQuery)
	due      func(list []*apitoken.Record) []*apitoken.Record
	told     func(events []apitoken.Event) []apitoken.Event
	settled  func(s *apitoken.Settlement)
	settings func(s *apitoken.Settings)
	stats    func(s *apitoken.Stats)
}

// mistakes are found by the comparison, or by the model of the machine over the
// store that makes them.
var mistakes = []struct {
	name  string
	says  string
	store mistaken
}{
	{"Create forgets the idempotency key", "broken: ", mistaken{written: func(rec *apitoken.Record) { rec.IdempotencyKey = "" }}},
	{"writes keep milliseconds", "the tokens stored: the answer is not that of memory", mistaken{written: func(rec *apitoken.Record) {
		rec.Token.StateAt = rec.Token.StateAt.Truncate(time.Millisecond)
	}}},
	{"writes forget the end of the overlap", ".PreviousUntil", mistaken{written: func(rec *apitoken.Record) { rec.PreviousUntil = time.Time{} }}},
	{"writes lose the order of permissions", ".Grant.Permissions", mistaken{written: func(rec *apitoken.Record) { slices.Reverse(rec.Token.Grant.Permissions) }}},
	{"a duplicate is an outage", "issue again: the error is", mistaken{refused: func(error) error { return errors.New("UNIQUE constraint failed") }}},
	{"Touch counts several uses as one", ".Usage.Uses", mistaken{touched: func(use *apitoken.Use) { use.Count = 1 }}},
	{"Touch forgets the address", ".Usage.Address", mistaken{touched: func(use *apitoken.Use) { use.Address = netip.Addr{} }}},
	{"Touch keeps seconds", "P13: the store says", mistaken{touched: func(use *apitoken.Use) { use.LastUsed = use.LastUsed.Truncate(time.Second) }}},
	{"List sorts names without case", "List of {", mistaken{listed: func(query apitoken.StoreQuery, list []*apitoken.Record) []*apitoken.Record {
		return resorted(list, query.Sort == apitoken.SortName, func(a, b *apitoken.Record) int {
			return strings.Compare(strings.ToLower(a.Token.Name), strings.ToLower(b.Token.Name))
		})
	}}},
	{"List puts 'never' first", "List of {", mistaken{listed: func(query apitoken.StoreQuery, list []*apitoken.Record) []*apitoken.Record {
		return resorted(list, query.Sort == apitoken.SortExpires, func(a, b *apitoken.Record) int { return a.Token.ExpiresAt.Compare(b.Token.ExpiresAt) })
	}}},
	{"List turns the order but not the ties", "List of {", mistaken{listed: func(query apitoken.StoreQuery, list []*apitoken.Record) []*apitoken.Record {
		return resorted(list, query.Sort == apitoken.SortKind && query.Desc, func(a, b *apitoken.Record) int {
			return cmp.Or(strings.Compare(string(b.Token.Kind), string(a.Token.Kind)), strings.Compare(string(a.Token.ID), string(b.Token.ID)))
		})
	}}},
	// Bulk and Reapply page too, so theirs may be the first answer that differs.
	{"List pages by the value alone", "the answer is not that of memory", mistaken{asked: func(query *apitoken.StoreQuery) {
		if query.After != nil && !query.Desc { // in the other direction the page would come again for ever
			query.After.ID = "zzzzzzzzzzzzzzzzzzzzzz"
		}
	}}},
	{"List compares metadata without case", "List of {", mistaken{asked: func(query *apitoken.StoreQuery) { query.MetaValue = strings.ToLower(query.MetaValue) }}},
	{"List by uses leaves out the unused", "List of {", mistaken{listed: func(query apitoken.StoreQuery, list []*apitoken.Record) []*apitoken.Record {
		return slices.DeleteFunc(list, func(rec *apitoken.Record) bool { return rec.Token.Usage.Uses == 0 && query.Sort == apitoken.SortUses })
	}}},
	{"Counts counts what is due to be deleted", "Counts", mistaken{counted: func(query *apitoken.StoreQuery) { query.Now = query.Now.AddDate(-9, 0, 0) }}},
	{"Due leaves out the last", "Due", mistaken{due: func(list []*apitoken.Record) []*apitoken.Record { return list[:max(0, len(list)-1)] }}},
	{"Events come the last first", "History", mistaken{told: func(events []apitoken.Event) []apitoken.Event {
		slices.Reverse(events)
		return events
	}}},
	{"Events forget who did it", "History", mistaken{told: func(events []apitoken.Event) []apitoken.Event {
		for i := range events {
			events[i].Actor = apitoken.Party{}
		}
		return events
	}}},
	{"Settle retries at once", "deliver", mistaken{settled: func(s *apitoken.Settlement) { s.RetryAt = time.Time{} }}},
	{"settings forget their instant", "rigins: the answer is not that of memory", mistaken{settings: func(s *apitoken.Settings) { s.UpdatedAt = time.Time{} }}},
	{"Stats answers in another zone", "Stat", mistaken{stats: func(s *apitoken.Stats) { s.Oldest = s.Oldest.In(time.FixedZone("east", 3600)) }}},
}

func TestMistakesOfOneStoreAreFound(t *testing.T) {
	fewer(t, 3)
	shrinking := flag.Lookup("rapid.shrinktime").Value
	before := shrinking.String()
	require.NoError(t, shrinking.Set("0s"))
	t.Cleanup(func() { _ = shrinking.Set(before) })
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			out := &report{T: t}
			broken := engine{"broken", func() apitoken.Store {
				store := tt.store
				store.Store = memstore.New()
				return &store
			}}
			sideBySide(t, out, make(map[string]int), memory, broken)
			require.True(t, out.failed, "nothing was found")
			require.Contains(t, out.text.String(), tt.says)
			t.Log(strings.Split(out.text.String(), "\n")[0])
		})
	}
}

// report takes what rapid says of a failure, which here is a success.
type report struct {
	*testing.T
	failed bool
	text   strings.Builder
}

func (r *report) Errorf(format string, args ...any) {
	r.failed = true
	fmt.Fprintf(&r.text, format+"\n", args...)
}
func (r *report) Logf(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }
func (r *report) Log(args ...any)                 { fmt.Fprintln(&r.text, args...) }
func (r *report) Failed() bool                    { return r.failed }
func (r *report) FailNow()                        { r.failed = true }

func resorted(list []*apitoken.Record, yes bool, order func(a, b *apitoken.Record) int) []*apitoken.Record {
	if yes {
		slices.SortStableFunc(list, order)
	}
	return list
}

func (s *mistaken) write(rec *apitoken.Record) *apitoken.Record {
	rec = rec.Clone()
	if s.written != nil {
		s.written(rec)
	}
	return rec
}

func (s *mistaken) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	err := s.Store.Create(ctx, s.write(rec), events)
	if err != nil && s.refused != nil {
		err = s.refused(err)
	}
	return err
}

func (s *mistaken) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return s.Store.Swap(ctx, s.write(rec), guard, events)
}

func (s *mistaken) Touch(ctx context.Context, uses []apitoken.Use) error {
	uses = slices.Clone(uses)
	for i := range uses {
		if s.touched != nil {
			s.touched(&uses[i])
		}
	}
	return s.Store.Touch(ctx, uses)
}

func (s *mistaken) List(ctx context.Context, query apitoken.StoreQuery) ([]*apitoken.Record, error) {
	if query.After != nil {
		after := *query.After
		query.After = &after
	}
	if s.asked != nil {
		s.asked(&query)
	}
	list, err := s.Store.List(ctx, query)
	if s.listed != nil {
		list = s.listed(query, list)
	}
	return list, err
}

func (s *mistaken) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	if s.counted != nil {
		s.counted(&query)
	}
	return s.Store.Counts(ctx, query)
}

func (s *mistaken) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) ([]*apitoken.Record, error) {
	list, err := s.Store.Due(ctx, before, after, limit)
	if s.due != nil {
		list = s.due(list)
	}
	return list, err
}

func (s *mistaken) Events(ctx context.Context, tenant string, token apitoken.ID, after string, limit int) ([]apitoken.Event, error) {
	events, err := s.Store.Events(ctx, tenant, token, after, limit)
	if s.told != nil {
		events = s.told(events)
	}
	return events, err
}

func (s *mistaken) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	settled = slices.Clone(settled)
	for i := range settled {
		if s.settled != nil {
			s.settled(&settled[i])
		}
	}
	return s.Store.Settle(ctx, lease, settled)
}

func (s *mistaken) SwapSettings(ctx context.Context, settings apitoken.Settings, events []apitoken.Event) error {
	if s.settings != nil {
		s.settings(&settings)
	}
	return s.Store.SwapSettings(ctx, settings, events)
}

func (s *mistaken) Stats(ctx context.Context, now time.Time) (apitoken.Stats, error) {
	stats, err := s.Store.Stats(ctx, now)
	if s.stats != nil {
		s.stats(&stats)
	}
	return stats, err
}
