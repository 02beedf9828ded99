package integration_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/memstore"
	"github.com/tokenry/apitoken/sqlstore"
)

// database is where races are run: memory, or an engine with transactions of the
// store's own, which have one level, or with the host's at the level of its sessions.
type database struct {
	name   string
	engine engine // the zero engine = memory
	hosted bool
	parts  int // how many databases the engine's free races are spread over
}

// ownTransactions are memory and each engine, in transactions of the store's own.
func ownTransactions() []database {
	all := []database{{name: "memory", parts: 1}}
	for _, e := range engines() {
		if e.dialect == sqlstore.SQLite || strings.HasSuffix(e.name, string(servers.ReadCommitted)) {
			all = append(all, database{strings.Fields(e.name)[0], e, false, 1})
		}
	}
	return all
}

// allLevels are those, and each engine in transactions of the host's at each other
// level there is.
func allLevels() []database {
	all := ownTransactions()
	for _, e := range engines() {
		if e.dialect == sqlstore.SQLite || !strings.HasSuffix(e.name, string(servers.ReadCommitted)) {
			all = append(all, database{"host on " + e.name, e, true, 1})
		}
	}
	parts := make(map[sqlstore.Dialect]int)
	for _, d := range all {
		parts[d.engine.dialect]++
	}
	for i := range all {
		all[i].parts = parts[all[i].engine.dialect]
	}
	return all
}

// readersBlock reports that a transaction of the host's which has only read a token
// keeps others from writing it.
func (d database) readersBlock() bool {
	return d.hosted && (d.engine.dialect == sqlstore.SQLite ||
		d.engine.dialect == sqlstore.MariaDB && strings.HasSuffix(d.engine.name, string(servers.Serializable)))
}

// races is how many free races are the database's part.
func (d database) races() int { return (*races + d.parts - 1) / d.parts }

// opener opens the pool of another node of a database. It is closed when t ends.
type opener func(t *testing.T) pool

// each runs a test on a new, empty database of each, side by side.
func each(t *testing.T, databases []database, test func(t *testing.T, d database, open opener)) {
	t.Helper()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			if d.engine.dialect == 0 {
				s := memstore.New()
				test(t, d, func(*testing.T) pool { return pool{s, nil} })
				return
			}
			dsn := d.engine.dsn(t)
			test(t, d, func(t *testing.T) pool {
				s, db := d.engine.openAt(t, dsn)
				if !d.hosted {
					db = nil
				}
				return pool{s, db}
			})
		})
	}
}

// pool is a node's store, over a pool of connections of its own.
type pool struct {
	store apitoken.Store
	host  *sql.DB // where the host begins transactions of its own; nil = it does not
}

// calls returns the store that makes each call in a transaction of the host's, if
// the host has any.
func (p pool) calls() apitoken.Store {
	if p.host == nil {
		return p.store
	}
	return hosted{p.store, p}
}

// in runs call in a transaction of the host's, if it has any, at the level of its
// sessions.
func (p pool) in(ctx context.Context, call func(ctx context.Context) error) error {
	if p.host == nil {
		return call(ctx)
	}
	tx, err := p.host.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := call(sqlstore.InTx(ctx, tx)); err != nil {
		if undone := tx.Rollback(); undone != nil {
			return errors.Join(err, undone)
		}
		return err
	}
	return tx.Commit()
}

// hosted makes each call in a transaction of the host's.
type hosted struct {
	apitoken.Store
	pool pool
}

func (h hosted) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	return h.pool.in(ctx, func(ctx context.Context) error { return h.Store.Create(ctx, rec, events) })
}

func (h hosted) Get(ctx context.Context, id apitoken.ID) (rec *apitoken.Record, err error) {
	err = h.pool.in(ctx, func(ctx context.Context) error { rec, err = h.Store.Get(ctx, id); return err })
	return rec, err
}

func (h hosted) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return h.pool.in(ctx, func(ctx context.Context) error { return h.Store.Swap(ctx, rec, guard, events) })
}

func (h hosted) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	return h.pool.in(ctx, func(ctx context.Context) error { return h.Store.Replace(ctx, rec, old, guard, events) })
}

func (h hosted) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	return h.pool.in(ctx, func(ctx context.Context) error { return h.Store.Delete(ctx, id, version, guard, events) })
}

func (h hosted) Touch(ctx context.Context, uses []apitoken.Use) error {
	return h.pool.in(ctx, func(ctx context.Context) error { return h.Store.Touch(ctx, uses) })
}

func (h hosted) Due(ctx context.Context, before time.Time, after apitoken.DuePosition, limit int) (recs []*apitoken.Record, err error) {
	err = h.pool.in(ctx, func(ctx context.Context) error {
		recs, err = h.Store.Due(ctx, before, after, limit)
		return err
	})
	return recs, err
}

func (h hosted) Claim(ctx context.Context, lease apitoken.Lease, limit int) (claimed []apitoken.Delivery, err error) {
	err = h.pool.in(ctx, func(ctx context.Context) error {
		claimed, err = h.Store.Claim(ctx, lease, limit)
		return err
	})
	return claimed, err
}

func (h hosted) Settle(ctx context.Context, lease string, settled []apitoken.Settlement) error {
	return h.pool.in(ctx, func(ctx context.Context) error { return h.Store.Settle(ctx, lease, settled) })
}
