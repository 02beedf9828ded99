package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/sqlstore"
)

// storeCalls are the methods of a Store, and of what sqlstore has beside them.
func storeCalls() []faultyCall {
	var all []faultyCall
	add := func(name string, do func(ctx context.Context, w *world) (any, error), again ...string) *faultyCall {
		all = append(all, faultyCall{name: "store " + name, store: true, do: do, again: again})
		return &all[len(all)-1]
	}
	write := func(name string, do func(ctx context.Context, w *world) error, again ...string) *faultyCall {
		return add(name, func(ctx context.Context, w *world) (any, error) { return nil, do(ctx, w) }, again...)
	}
	onRecord := func(name string, of tokenOf, do func(ctx context.Context, w *world, rec *apitoken.Record) error, again ...string) {
		c := write(name, func(ctx context.Context, w *world) error { return do(ctx, w, w.rec.Clone()) }, again...)
		c.ready = func(ctx context.Context, w *world) {
			var err error
			w.rec, err = w.store.Get(ctx, of(w.past).Token.ID)
			require.NoError(w.t, err)
		}
	}

	// The record that is made is the same at a repeated call.
	write("Create", func(ctx context.Context, w *world) error {
		rec := created()
		return w.store.Create(ctx, rec, eventsOf(rec))
	}, "duplicate")
	write("Create with a taken key", func(ctx context.Context, w *world) error {
		rec := created()
		rec.IdempotencyKey = "k"
		return w.store.Create(ctx, rec, eventsOf(rec))
	})
	write("Create with a taken alias", func(ctx context.Context, w *world) error {
		rec := created()
		rec.Alias = "alias"
		return w.store.Create(ctx, rec, eventsOf(rec))
	}).ready = func(ctx context.Context, w *world) {
		rec := created()
		rec.Token.ID, rec.Alias = apitoken.ID(strings.Repeat("9", 22)), "alias"
		require.NoError(w.t, w.store.Create(ctx, rec, nil))
	}
	onRecord("Swap", activeOne, func(ctx context.Context, w *world, rec *apitoken.Record) error {
		rec = next(rec)
		return w.store.Swap(ctx, rec, apitoken.Guard{NeverUsed: true}, eventsOf(rec))
	}, "conflict")
	onRecord("Swap of an older version", func(p *past) apitoken.Issued { return p.rotated }, func(ctx context.Context, w *world, rec *apitoken.Record) error {
		rec.Token.Version = 2
		return w.store.Swap(ctx, rec, apitoken.Guard{}, eventsOf(rec))
	})
	onRecord("Swap of no token", activeOne, func(ctx context.Context, w *world, rec *apitoken.Record) error {
		rec = next(rec)
		rec.Token.ID = created().Token.ID
		return w.store.Swap(ctx, rec, apitoken.Guard{}, eventsOf(rec))
	})
	onRecord("Swap to a taken alias", activeOne, func(ctx context.Context, w *world, rec *apitoken.Record) error {
		rec = next(rec)
		rec.Alias = w.alias
		return w.store.Swap(ctx, rec, apitoken.Guard{}, eventsOf(rec))
	})
	onRecord("Replace", activeOne, func(ctx context.Context, w *world, old *apitoken.Record) error {
		rec := created()
		old = next(old)
		return w.store.Replace(ctx, rec, old, apitoken.Guard{}, append(eventsOf(old), eventsOf(rec)...))
	}, "conflict", "duplicate")
	onRecord("Delete", activeOne, func(ctx context.Context, w *world, rec *apitoken.Record) error {
		return w.store.Delete(ctx, rec.Token.ID, rec.Token.Version, apitoken.Guard{}, eventsOf(next(rec)))
	}, "not_found")
	onRecord("Delete of one in use", activeOne, func(ctx context.Context, w *world, rec *apitoken.Record) error {
		return w.store.Delete(ctx, rec.Token.ID, 2, apitoken.Guard{}, eventsOf(next(rec)))
	})
	write("Touch", func(ctx context.Context, w *world) error {
		return w.store.Touch(ctx, []apitoken.Use{
			{ID: w.active.Token.ID, Count: 2, LastUsed: w.now, Address: netip.MustParseAddr("192.0.2.7")},
			{ID: w.rotated.Token.ID, Count: 1, LastUsed: w.now},
			{ID: created().Token.ID, Count: 1, LastUsed: w.now},
		})
	}).notes = true
	write("SwapSettings", func(ctx context.Context, w *world) error {
		return w.store.SwapSettings(ctx, apitoken.Settings{Tenant: "acme", Version: 2, UpdatedAt: w.now}, tenantEvents("acme", 2))
	}, "conflict")
	write("SwapSettings of an older version", func(ctx context.Context, w *world) error {
		return w.store.SwapSettings(ctx, apitoken.Settings{Tenant: "acme", Version: 1, UpdatedAt: w.now}, tenantEvents("acme", 1))
	})
	write("SwapSettings for the first time", func(ctx context.Context, w *world) error {
		return w.store.SwapSettings(ctx, apitoken.Settings{Tenant: "novel", Version: 1, UpdatedAt: w.now}, tenantEvents("novel", 1))
	}, "conflict")
	add("Remember", func(ctx context.Context, w *world) (any, error) {
		return refusedUnlessFresh(w.store.Remember(ctx, apitoken.SignedUse{Key: [32]byte{1}, Until: w.now}))
	}, "conflict")
	add("Remember what is known", func(ctx context.Context, w *world) (any, error) {
		return refusedUnlessFresh(w.store.Remember(ctx, apitoken.SignedUse{Key: [32]byte{2}, Until: w.now}))
	}).ready = func(ctx context.Context, w *world) {
		fresh, err := w.store.Remember(ctx, apitoken.SignedUse{Key: [32]byte{2}, Until: w.now})
		require.NoError(w.t, err)
		require.True(w.t, fresh)
	}
	add("Forget", func(ctx context.Context, w *world) (any, error) { return nil, errorOf(w.store.Forget(ctx, w.now)) }).ready = func(ctx context.Context, w *world) {
		_, err := w.store.Remember(ctx, apitoken.SignedUse{Key: [32]byte{2}, Until: w.now})
		require.NoError(w.t, err)
	}
	lease := func(w *world, holder string) apitoken.Lease {
		return apitoken.Lease{Holder: holder, Now: w.Clock.Now(), Until: w.Clock.Now().Add(time.Minute)}
	}
	claim := add("Claim", func(ctx context.Context, w *world) (any, error) {
		w.claims++
		return w.store.Claim(ctx, lease(w, fmt.Sprint("holder ", w.claims)), 3)
	})
	claim.twice, claim.retry = true, func(w *world) { w.Clock.Advance(2 * time.Minute) }
	write("Settle", func(ctx context.Context, w *world) error {
		var all []apitoken.Settlement
		for i, id := range w.undelivered {
			all = append(all, apitoken.Settlement{EventID: id, Done: i%3 == 0, Aside: i%3 == 1, RetryAt: w.now})
		}
		return w.store.Settle(ctx, "holder", all)
	}).ready = func(ctx context.Context, w *world) {
		claimed, err := w.store.Claim(ctx, lease(w, "holder"), 100)
		require.NoError(w.t, err)
		require.Len(w.t, claimed, len(w.undelivered))
	}

	add("Get", func(ctx context.Context, w *world) (any, error) { return w.store.Get(ctx, w.active.Token.ID) })
	add("Get of no token", func(ctx context.Context, w *world) (any, error) { return w.store.Get(ctx, created().Token.ID) })
	add("GetByAlias of none", func(ctx context.Context, w *world) (any, error) { return w.store.GetByAlias(ctx, "alias") })
	add("List", func(ctx context.Context, w *world) (any, error) {
		return w.store.List(ctx, apitoken.StoreQuery{Tenant: "acme", AllKinds: true, Now: w.now, Limit: 4})
	})
	add("Counts", func(ctx context.Context, w *world) (any, error) {
		return w.store.Counts(ctx, apitoken.StoreQuery{Tenant: "acme", AllKinds: true, Now: w.now})
	})
	add("Due", func(ctx context.Context, w *world) (any, error) {
		return w.store.Due(ctx, w.now, apitoken.DuePosition{}, 10)
	})
	add("Events", func(ctx context.Context, w *world) (any, error) {
		id := w.rotated.Token.ID
		return w.store.Events(ctx, "acme", id, string(id)+".1.0", 2)
	})
	add("Settings", func(ctx context.Context, w *world) (any, error) { return w.store.Settings(ctx, "acme") })
	add("Settings of a tenant without", func(ctx context.Context, w *world) (any, error) { return w.store.Settings(ctx, "novel") })
	add("Stats", func(ctx context.Context, w *world) (any, error) { return w.store.Stats(ctx, w.now) })
	add("Revisions", func(ctx context.Context, w *world) (any, error) {
		found, err := w.store.Revisions(ctx, []apitoken.ID{w.active.Token.ID, w.rotated.Token.ID, created().Token.ID})
		return len(found), err
	})
	add("Version", func(ctx context.Context, w *world) (any, error) { return w.store.Version(ctx) })
	write("Migrate what is there", func(ctx context.Context, w *world) error { return w.store.Migrate(ctx) })
	return all
}

// refusedUnlessFresh makes 'not fresh' an error, so that it is told from an answer
// that lets a request in.
func refusedUnlessFresh(fresh bool, err error) (any, error) {
	if err == nil && !fresh {
		err = apitoken.ErrConflict
	}
	return fresh, err
}

func errorOf[T any](_ T, err error) error { return err }

// created is a new record, the same at each call.
func created() *apitoken.Record {
	at := time.Date(2027, 3, 31, 12, 0, 0, 0, time.UTC)
	return &apitoken.Record{
		Token: apitoken.Token{
			ID: apitoken.ID(strings.Repeat("8", 22)), Version: 1, Tenant: "acme", Kind: plainKind, Name: "made", Hint: "acme_8888…",
			Owner: "ann", Creator: "ann", State: apitoken.StateActive, StateAt: at, CreatedAt: at, UpdatedAt: at, Share: 100,
		},
		Primary: apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: []byte("digest")},
		Op:      "made",
	}
}

// next is a record as its owner would write it next.
func next(rec *apitoken.Record) *apitoken.Record {
	rec = rec.Clone()
	rec.Token.Version++
	rec.Token.Name, rec.Op = "changed", "next"
	return rec
}

// eventsOf are two events of a record's version, one of which is to be delivered.
func eventsOf(rec *apitoken.Record) (all []apitoken.Event) {
	for i := range 2 {
		all = append(all, apitoken.Event{
			ID: fmt.Sprintf("%s.%d.%d", rec.Token.ID, rec.Token.Version, i), Type: apitoken.EventEdited, Category: apitoken.EventCategory,
			Time: rec.Token.UpdatedAt, Tenant: rec.Token.Tenant, Actor: apitoken.Party{Type: apitoken.PartyUser, ID: "ann"},
			Target: apitoken.Target{Token: rec.Token.ID}, Version: rec.Token.Version, Ordinal: i, Deliver: i == 0,
		})
	}
	return all
}

func tenantEvents(tenant string, version int64) []apitoken.Event {
	return []apitoken.Event{{
		ID: fmt.Sprintf("tenant:%s.%d.0", tenant, version), Type: apitoken.EventOrigins, Category: apitoken.EventCategory, Tenant: tenant,
		Version: version, Deliver: true,
	}}
}

// hostCalls are managing calls in a transaction of the host's, with a row of its
// own: both are there or none. As it has to, the host rolls back after an outage.
func hostCalls() (all []faultyCall) {
	for _, c := range changes() {
		switch c.name {
		case "Issue with a key", "Issue with a known key", "Rotate with a key", "Revoke", "Disable", "Delete", "Revoke of another tenant", "EditOrigins", "AgentChanged activated":
		default:
			continue
		}
		inner := c.do
		c.name = "in a host's transaction: " + c.name
		c.do = func(ctx context.Context, w *world) (any, error) {
			tx, err := w.db.BeginTx(ctx, nil)
			if err != nil {
				return nil, outage(err)
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(ctx, "DELETE FROM customers"); err != nil {
				return nil, outage(err)
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO customers (name) VALUES ('a new one')"); err != nil {
				return nil, outage(err)
			}
			result, refused := inner(sqlstore.InTx(ctx, tx), w)
			if errors.Is(refused, apitoken.ErrUnavailable) {
				return nil, refused
			}
			if err := tx.Commit(); err != nil {
				return nil, outage(err)
			}
			return result, refused
		}
		all = append(all, c)
	}
	return all
}

// outage is what a host makes of an error of its own database.
func outage(err error) error { return &apitoken.OutageError{Part: "host", Err: err} }

// migrations make the tables of a second store in the same database, with a prefix
// of its own.
func migrations() []faultyCall {
	other := func(w *world) *sqlstore.Store {
		s, err := sqlstore.New(w.db, w.engine.dialect, sqlstore.Options{TablePrefix: "second_"})
		require.NoError(w.t, err)
		return s
	}
	empty := func(ctx context.Context, w *world) {
		for _, name := range []string{"tokens", "events", "outbox", "settings", "replays", "schema"} {
			_, err := w.bed.db.ExecContext(ctx, "DROP TABLE IF EXISTS second_"+name)
			require.NoError(w.t, err)
		}
	}
	return []faultyCall{
		{name: "store Migrate", store: true, ready: empty, do: func(ctx context.Context, w *world) (any, error) {
			s := other(w)
			if err := s.Migrate(ctx); err != nil {
				return nil, err
			}
			w.check = func() string {
				// That the tables are there, all of them.
				if err := s.Create(w.t.Context(), created(), eventsOf(created())); err != nil {
					return err.Error()
				}
				return ""
			}
			return nil, nil
		}},
	}
}
