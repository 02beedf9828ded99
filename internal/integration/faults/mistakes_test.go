package faults_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

// TestFaultsFindMistakes: what TestFaults would say of stores that are wrong.
func TestFaultsFindMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		call string
		wrap func(s *sqlstore.Store, w *world) apitoken.Store
		says string
	}{
		{"takes a failure for 'not found'", "Verify an active token", func(s *sqlstore.Store, _ *world) apitoken.Store { return nothingThere{s} }, "another answer"},
		{"takes a failure for 'not found'", "Revoke", func(s *sqlstore.Store, _ *world) apitoken.Store { return nothingThere{s} }, "another answer"},
		{"takes a failure for success", "Revoke", func(s *sqlstore.Store, _ *world) apitoken.Store { return hopes{s} }, "an answer without its effect"},
		{"makes one change of two apart", "AgentChanged activated", func(s *sqlstore.Store, _ *world) apitoken.Store { return inTwo{s} }, "half of it"},
		{"writes outside of transactions", "Disable", func(s *sqlstore.Store, w *world) apitoken.Store { return apart{s, w.db} }, "half of it"},
		{"forgets keys", "Issue with a key", func(s *sqlstore.Store, _ *world) apitoken.Store { return keyless{s} }, "another effect when it is repeated"},
		{"tells of a conflict where there is none", "Edit", func(s *sqlstore.Store, _ *world) apitoken.Store { return taken{s} }, "another answer"},
		{"goes on when its context has ended", "Get", func(s *sqlstore.Store, _ *world) apitoken.Store { return deaf{s} }, "nothing could have ended"},
		{"keeps what it got of the rows", "History", func(s *sqlstore.Store, w *world) apitoken.Store { return partial{s, w.db} }, "another answer"},
		{"keeps a connection", "Counts", func(s *sqlstore.Store, w *world) apitoken.Store { return leaks{s, w.db} }, "a connection is not given back"},
	} {
		t.Run(c.name+": "+c.call, func(t *testing.T) {
			t.Parallel()
			calls := slices.Concat(verifications(), changes(), reads())
			call := calls[slices.IndexFunc(calls, func(f faultyCall) bool { return f.name == c.call })]
			b := newBed(t, engines[0], sharedPast(t), bedOptions{
				wait: 2 * time.Second,
				wrap: func(s *sqlstore.Store, w *world) (apitoken.Store, error) { return c.wrap(s, w), nil },
			})
			faults := b.trial(t, call, 1, 1, new(tally))
			require.NotEmpty(t, faults)
			require.Contains(t, faults[0], c.says)
		})
	}
}

// nothingThere answers 'not found' when the database fails.
type nothingThere struct{ apitoken.Store }

func (s nothingThere) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	rec, err := s.Store.Get(ctx, id)
	if err != nil {
		return nil, apitoken.ErrNotFound
	}
	return rec, nil
}

// hopes does not look at what a commit says.
type hopes struct{ apitoken.Store }

func (s hopes) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	err := s.Store.Swap(ctx, rec, guard, events)
	if errors.Is(err, apitoken.ErrConflict) || errors.Is(err, apitoken.ErrNotFound) {
		return err
	}
	return nil
}

// inTwo replaces in two transactions.
type inTwo struct{ apitoken.Store }

func (s inTwo) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	of := func(rec *apitoken.Record) []apitoken.Event {
		return slices.DeleteFunc(slices.Clone(events), func(e apitoken.Event) bool { return e.Target.Token != rec.Token.ID })
	}
	if err := s.Swap(ctx, old, guard, of(old)); err != nil {
		return err
	}
	return s.Create(ctx, rec, of(rec))
}

// apart changes a token before the transaction with its event.
type apart struct {
	apitoken.Store
	db *sql.DB
}

func (s apart) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	_, err := s.db.ExecContext(ctx, "UPDATE apitoken_tokens SET state = ? WHERE id = ?", string(rec.Token.State), string(rec.Token.ID))
	if err != nil {
		return err
	}
	return s.Store.Swap(ctx, rec, guard, events)
}

// keyless stores no idempotency keys.
type keyless struct{ apitoken.Store }

func (s keyless) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	rec = rec.Clone()
	rec.IdempotencyKey = ""
	return s.Store.Create(ctx, rec, events)
}

// taken takes any failure for a duplicate.
type taken struct{ apitoken.Store }

func (s taken) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	if err := s.Store.Swap(ctx, rec, guard, events); err != nil {
		return &apitoken.DuplicateError{Field: "alias"}
	}
	return nil
}

// deaf does not honour its context.
type deaf struct{ apitoken.Store }

func (s deaf) Get(ctx context.Context, id apitoken.ID) (*apitoken.Record, error) {
	return s.Store.Get(context.WithoutCancel(ctx), id)
}

// partial does not ask why the rows ended.
type partial struct {
	apitoken.Store
	db *sql.DB
}

func (s partial) Events(ctx context.Context, _ string, token apitoken.ID, after string, _ int) ([]apitoken.Event, error) {
	if after != "" {
		return nil, nil
	}
	rows, err := s.db.QueryContext(ctx, "SELECT body FROM apitoken_events WHERE token = ? ORDER BY version, ordinal", string(token))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []apitoken.Event
	for rows.Next() {
		var body []byte
		var e apitoken.Event
		if err := errors.Join(rows.Scan(&body), json.Unmarshal(body, &e)); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// leaks does not close its rows when something is wrong.
type leaks struct {
	apitoken.Store
	db *sql.DB
}

func (s leaks) Counts(ctx context.Context, query apitoken.StoreQuery) (map[apitoken.Kind]int, error) {
	counts, err := s.Store.Counts(ctx, query)
	if err != nil {
		_, _ = s.db.QueryContext(context.WithoutCancel(ctx), "SELECT 1")
	}
	return counts, err
}
