package integration_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// brokenPools opens pools on a new database, with a store that breakIt breaks.
func brokenPools(t *testing.T, onPostgres bool, breakIt func(s apitoken.Store, db *sql.DB) apitoken.Store) opener {
	e := engine{"SQLite", servers.SQLiteDriver, sqlstore.SQLite, servers.SQLite}
	if onPostgres {
		e = engine{"PostgreSQL", servers.PostgresDriver, sqlstore.PostgreSQL, func(t testing.TB) string { return servers.Postgres(t) }}
	}
	dsn := e.dsn(t)
	return func(t *testing.T) pool {
		s, db := e.openAt(t, dsn)
		return pool{breakIt(s, db), nil}
	}
}

// The races must find the mistakes that stores make, or their zeros say nothing.
func TestRacesFindMistakes(t *testing.T) {
	t.Parallel()
	type search func(t *testing.T, open opener) (f *findings, race func(i int))
	managers := func(t *testing.T, open opener) (*findings, func(int)) {
		h, all := newHost(t, open), pairs()
		return &h.ledger.findings, func(i int) { h.race(t, all[i%len(all)]) }
	}
	stores := func(t *testing.T, open opener) (*findings, func(int)) {
		n := newNodes(t, open)
		return &n.ledger.findings, func(i int) { n.race(t, i) }
	}
	sweepsOfManagers := func(t *testing.T, open opener) (*findings, func(int)) {
		h := newHost(t, open)
		return &h.ledger.findings, func(i int) { h.raceIdle(t, i%2 == 1) }
	}
	sweepsOfStores := func(t *testing.T, open opener) (*findings, func(int)) {
		n := newNodes(t, open)
		return &n.ledger.findings, func(i int) { n.raceIdle(t, i%2 == 1) }
	}
	outboxes := func(t *testing.T, open opener) (*findings, func(int)) {
		o := newOutbox(t, open)
		return &o.findings, func(int) { o.round(t) }
	}
	savesRow := func(s apitoken.Store, db *sql.DB) apitoken.Store { return savesRow{s, db} }
	dropsGuard := func(s apitoken.Store, _ *sql.DB) apitoken.Store { return dropsGuard{s} }
	for _, c := range []struct {
		name    string
		search  search
		breakIt func(s apitoken.Store, db *sql.DB) apitoken.Store
		says    string

		onPostgres bool // else on SQLite
	}{
		{"a use saves the row, under managers", managers, savesRow, `the token is "active"`, false},
		{"a use saves the row, under stores", stores, savesRow, `the token is "active"`, false},
		{"a swap takes any version", stores, func(s apitoken.Store, _ *sql.DB) apitoken.Store { return takesAnyVersion{s} }, "of versions 1 to", false},
		{"a swap drops the guard, under managers", sweepsOfManagers, dropsGuard, "was decided from a last use", false},
		{"a swap drops the guard, under stores", sweepsOfStores, dropsGuard, "was decided from a last use", false},
		{"a claim selects, then updates", outboxes, func(s apitoken.Store, db *sql.DB) apitoken.Store { return claimsTwice{s, db} }, "went to 2 claimers, not 1", false},
		{"a claim asks only in its sub-select", outboxes, func(s apitoken.Store, db *sql.DB) apitoken.Store { return claimsBySubselect{s, db} }, "went to 2 claimers, not 1", true},
		{"a settlement asks for no lease", outboxes, func(s apitoken.Store, db *sql.DB) apitoken.Store { return settlesAny{s, db} }, "events are left in the outbox", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f, race := c.search(t, brokenPools(t, c.onPostgres, c.breakIt))
			const enough = 2000
			for i := range enough {
				race(i)
				for _, fault := range f.faults {
					if strings.Contains(fault, c.says) {
						t.Logf("found by race %d: %s", i+1, fault)
						return
					}
				}
			}
			require.Fail(t, "not found", "in %d races; found was: %v", enough, f.faults)
		})
	}
}

// savesRow reads a row for a use, and writes it back as it was.
type savesRow struct {
	apitoken.Store
	db *sql.DB
}

func (s savesRow) Touch(ctx context.Context, uses []apitoken.Use) error {
	for _, u := range uses {
		var state, cause, op string
		var version, n, last int64
		err := s.db.QueryRowContext(ctx, "SELECT state, cause, op, version, uses, last_used FROM apitoken_tokens WHERE id = ?", u.ID).
			Scan(&state, &cause, &op, &version, &n, &last)
		if err == sql.ErrNoRows {
			continue
		}
		if err != nil {
			return err
		}
		_, err = s.db.ExecContext(ctx, "UPDATE apitoken_tokens SET state = ?, cause = ?, op = ?, version = ?, uses = ?, last_used = ? WHERE id = ?",
			state, cause, op, version, n+u.Count, max(last, u.LastUsed.UnixMicro()), u.ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// takesAnyVersion checks the version, and then writes whatever it is by now.
type takesAnyVersion struct{ apitoken.Store }

func (s takesAnyVersion) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	stored, err := s.Get(ctx, rec.Token.ID)
	if err != nil {
		return err
	}
	if stored.Token.Version != rec.Token.Version-1 {
		return apitoken.ErrConflict
	}
	if err = s.Store.Swap(ctx, rec, guard, events); err != apitoken.ErrConflict {
		return err
	}
	next := rec.Clone()
	next.Token.Version++
	return s.Store.Swap(ctx, next, guard, events)
}

// dropsGuard does not ask for the last use.
type dropsGuard struct{ apitoken.Store }

func (s dropsGuard) Swap(ctx context.Context, rec *apitoken.Record, _ apitoken.Guard, events []apitoken.Event) error {
	return s.Store.Swap(ctx, rec, apitoken.Guard{}, events)
}

// claimsTwice chooses events in one statement and takes them in another, which
// does not ask whether they are still free.
type claimsTwice struct {
	apitoken.Store
	db *sql.DB
}

func (s claimsTwice) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, attempts FROM apitoken_outbox WHERE aside = 0 AND available_at <= ? ORDER BY happened_at, id LIMIT ?", lease.Now.UnixMicro(), limit)
	if err != nil {
		return nil, err
	}
	out, err := scanClaimed(rows)
	if err != nil {
		return nil, err
	}
	for _, d := range out {
		_, err := s.db.ExecContext(ctx, "UPDATE apitoken_outbox SET holder = ?, available_at = ?, attempts = attempts + 1 WHERE id = ?", lease.Holder, lease.Until.UnixMicro(), d.Event.ID)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// claimsBySubselect takes what it chose in the same statement, and relies on that:
// one that waited for another's claim takes the rows it chose before.
type claimsBySubselect struct {
	apitoken.Store
	db *sql.DB
}

func (s claimsBySubselect) Claim(ctx context.Context, lease apitoken.Lease, limit int) ([]apitoken.Delivery, error) {
	rows, err := s.db.QueryContext(ctx, `UPDATE apitoken_outbox SET holder = $1, available_at = $2, attempts = attempts + 1
WHERE id IN (SELECT id FROM apitoken_outbox WHERE aside = 0 AND available_at <= $3 ORDER BY happened_at, id LIMIT $4)
RETURNING id, attempts - 1`, lease.Holder, lease.Until.UnixMicro(), lease.Now.UnixMicro(), limit)
	if err != nil {
		return nil, err
	}
	return scanClaimed(rows)
}

func scanClaimed(rows *sql.Rows) ([]apitoken.Delivery, error) {
	defer rows.Close()
	var out []apitoken.Delivery
	for rows.Next() {
		var d apitoken.Delivery
		if err := rows.Scan(&d.Event.ID, &d.Attempts); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, rows.Err()
}

// settlesAny does not ask whose lease it is.
type settlesAny struct {
	apitoken.Store
	db *sql.DB
}

func (s settlesAny) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	for _, st := range settled {
		if !st.Done {
			if err := s.Store.Settle(ctx, lease, []apitoken.Settlement{st}); err != nil {
				return err
			}
			continue
		}
		if _, err := s.db.ExecContext(ctx, "DELETE FROM apitoken_outbox WHERE id = ?", st.EventID); err != nil {
			return err
		}
	}
	return nil
}
