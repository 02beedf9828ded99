package integration_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/internal/sqlengine"
	"github.com/tokenry/apitoken/sqlstore"
)

var tableRows = flag.Int("rows", 10_000, "tokens in the tables whose plans are looked at; the sizes of 100,000 and more are told, and the long proof, a million, is timed")

// No statement that a request, a sweep or the outbox makes reads a whole table,
// whatever the engine knows of the tables.
func TestPlans(t *testing.T) {
	t.Parallel()
	postgres := func(t testing.TB) string { return servers.Postgres(t) }
	mariadb := func(t testing.TB) string { return servers.MariaDB(t) }
	for _, setup := range []struct {
		engine  engine
		dialect *sqlengine.Dialect
		stages  []stage
	}{
		{engine{"SQLite", servers.SQLiteDriver, sqlstore.SQLite, servers.SQLite}, sqlengine.SQLite, []stage{
			{"without statistics", false, ""},
			{"with statistics", true, ""},
		}},
		{engine{"PostgreSQL", servers.PostgresDriver, sqlstore.PostgreSQL, postgres}, sqlengine.PostgreSQL, []stage{
			{"a plan for the values", true, "SET plan_cache_mode = force_custom_plan"},
			{"a plan for any values", true, "SET plan_cache_mode = force_generic_plan"},
		}},
		{engine{"MariaDB", servers.MariaDBDriver, sqlstore.MariaDB, mariadb}, sqlengine.MariaDB, []stage{
			{"with statistics", true, ""},
		}},
	} {
		t.Run(setup.engine.name, func(t *testing.T) {
			t.Parallel()
			store, db := setup.engine.open(t)
			m := mass{setup.engine.dialect, *tableRows}
			began := time.Now()
			m.fill(t, store, db)
			t.Logf("%d tokens made in %v", m.tokens, time.Since(began))
			require.NoError(t, store.Close())
			db.SetMaxOpenConns(1) // so that what is set for the session is set for all
			x := &explained{db: db, dialect: m.dialect}
			e, err := sqlengine.New(x, sqlengine.Options{Name: "plans", Dialect: setup.dialect})
			require.NoError(t, err)
			round := 0
			for _, st := range setup.stages {
				if st.analyze {
					m.analyze(t, db)
				}
				execSQL(t, db, st.session)
				for _, part := range m.parts() {
					execSQL(t, db, part.before)
					for _, c := range part.calls {
						c.look(t, st.name, x, e, round)
					}
					round++
					if m.tokens >= 1_000_000 {
						round = part.time(t, x, e, round)
					}
				}
			}
			if m.tokens >= 100_000 {
				m.logSizes(t, db)
			}
		})
	}
}

// stage is what the engine knows when it makes its plans.
type stage struct {
	name    string
	analyze bool
	session string
}

// part is a number of calls in one state of the outbox.
type part struct {
	before string // the statement that makes the state
	calls  []call
}

// call is a call of the store that may be made again and again, each time in
// another round.
type call struct {
	name string
	by   []string // how its statements get at their rows, one way or another
	most int      // rows that one of them may need
	do   func(ctx context.Context, e *sqlengine.Engine, round int) error
}

// look makes the call and judges the plans of its statements.
func (c call) look(t *testing.T, stage string, x *explained, e *sqlengine.Engine, round int) {
	t.Helper()
	x.take()
	require.NoError(t, c.do(t.Context(), e, round), "%s, %s", c.name, stage)
	var used []string
	for _, l := range x.take() {
		t.Logf("%s, %s: %s, %d read", c.name, stage, strings.Join(l.paths, " and "), l.read)
		require.NotEmpty(t, l.paths, "%s, %s: the plan says nothing of\n%s\n%s", c.name, stage, l.text, l.plan)
		for _, path := range l.paths {
			i := slices.IndexFunc(c.by, func(ways string) bool { return slices.Contains(strings.Split(ways, "|"), path) })
			require.GreaterOrEqual(t, i, 0, "%s, %s: a bad plan for\n%s\n%s", c.name, stage, l.text, l.plan)
			used = append(used, c.by[i])
		}
		// An entry of an index, the row that it leads to and a step of a sort count alike.
		require.LessOrEqual(t, l.read, int64(4*c.most+5), "%s, %s: too much is read for\n%s\n%s", c.name, stage, l.text, l.plan)
	}
	require.Subset(t, used, c.by, "%s, %s: an index is not used", c.name, stage)
}

const timedRounds = 21

// time makes the calls without looking at their plans.
func (p part) time(t *testing.T, x *explained, e *sqlengine.Engine, round int) (next int) {
	t.Helper()
	x.quiet = true
	defer func() { x.quiet = false }()
	for _, c := range p.calls {
		var took []time.Duration
		for i := range timedRounds {
			began := time.Now()
			require.NoError(t, c.do(t.Context(), e, round+i), c.name)
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		t.Logf("TIME %s: median %v, slowest %v", c.name, took[timedRounds/2], took[timedRounds-1])
	}
	return round + timedRounds
}

// parts are all calls that have to be cheap, in an outbox of which nobody claimed
// anything, in one of which all but a hundred events wait, and in one of which all
// do.
func (m mass) parts() []part {
	const set = "UPDATE apitoken_outbox SET aside = 0, "
	when := func(at time.Time) string { return fmt.Sprint(at.UnixMicro()) }
	later := when(created.Add(time.Minute)) + " + happened_at % 1000000"
	waiting := set + "attempts = 1, holder = NULL, available_at = " + later
	var claimed []apitoken.Delivery
	outbox := []string{"outbox open", "outbox primary", "outbox holder", "events primary"}
	return []part{
		{set + "attempts = 0, holder = NULL, available_at = 0", append(m.calls(),
			call{"claim 50 of the new", outbox, 200, claim(50, &claimed)},
		)},
		{waiting + " WHERE happened_at <= " + when(m.at(m.outbox()-100)), []call{
			{"claim 3 of the few that are free", outbox, 20, claim(3, &claimed)},
			{"settle", []string{"outbox primary|outbox holder"}, 3, func(ctx context.Context, e *sqlengine.Engine, round int) error {
				return e.Settle(ctx, holder(round), []apitoken.Settlement{
					{EventID: claimed[0].Event.ID, Done: true},
					{EventID: claimed[1].Event.ID, Aside: true},
					{EventID: claimed[2].Event.ID, RetryAt: created.Add(time.Minute)},
				})
			}},
		}},
		{waiting, []call{{"claim when all wait", []string{"outbox open|outbox primary"}, 3, claim(0, &claimed)}}},
	}
}

func holder(round int) string { return fmt.Sprint("holder ", round) }

// claim claims up to 50 events, or n if those are fewer.
func claim(n int, claimed *[]apitoken.Delivery) func(context.Context, *sqlengine.Engine, int) error {
	return func(ctx context.Context, e *sqlengine.Engine, round int) (err error) {
		limit := n
		if n == 0 {
			limit = 50
		}
		*claimed, err = e.Claim(ctx, apitoken.Lease{Holder: holder(round), Now: created, Until: created.Add(time.Minute)}, limit)
		return exactly(n, len(*claimed), err)
	}
}

// calls are those of requests, lists, sweeps and reports of uses.
func (m mass) calls() []call {
	// A thousand tokens are for each round, then the others come again.
	token := func(round, i int) int { return 2000 + 1000*(round%5) + i }
	return slices.Concat(m.reads(token), m.writes(token), m.lists(), m.replays())
}

func (m mass) reads(token func(round, i int) int) []call {
	return []call{
		{"get", []string{"tokens primary"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			_, err := e.Get(ctx, m.id(token(round, 1)))
			return err
		}},
		{"get by alias", []string{"tokens alias"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			_, err := e.GetByAlias(ctx, fmt.Sprint("alias-", token(round, 11)))
			return err
		}},
		{"revisions of 500", []string{"tokens primary"}, 500, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			ids := make([]apitoken.ID, 500)
			for i := range ids {
				ids[i] = m.id(token(round, 500+i))
			}
			found, err := e.Revisions(ctx, ids)
			return exactly(len(ids), len(found), err)
		}},
		{"due", []string{"tokens due"}, m.overdue(), func(ctx context.Context, e *sqlengine.Engine, _ int) error {
			first, err := e.Due(ctx, created, apitoken.DuePosition{}, m.overdue()/2)
			if err := exactly(m.overdue()/2, len(first), err); err != nil {
				return err
			}
			last := first[len(first)-1]
			rest, err := e.Due(ctx, created, apitoken.DuePosition{DueAt: last.DueAt, ID: last.Token.ID}, 5)
			return exactly(5, len(rest), err)
		}},
		{"stats", []string{"tokens due", "outbox open|outbox wholly"}, m.outbox(), func(ctx context.Context, e *sqlengine.Engine, _ int) error {
			st, err := e.Stats(ctx, created)
			return exactly(m.overdue(), st.Overdue, err)
		}},
		{"events of a token", []string{"events token|events primary"}, 2, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			i := token(round, 14)
			first, err := e.Events(ctx, m.tenant(i), m.id(i), "", 1)
			if err := exactly(1, len(first), err); err != nil {
				return err
			}
			rest, err := e.Events(ctx, m.tenant(i), m.id(i), string(m.id(i))+".1.0", 10)
			return exactly(1, len(rest), err)
		}},
		{"settings", []string{"settings primary"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			set, err := e.Settings(ctx, fmt.Sprint("tenant-", 1+round))
			return exactly(1, int(set.Version), err)
		}},
	}
}

func (m mass) writes(token func(round, i int) int) []call {
	return []call{
		// An INSERT has no plan: it looks at unique indexes only.
		{"create", nil, 0, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			rec, events := m.template()
			rec.Token.ID = m.id(m.tokens + 1 + round)
			for i := range events {
				events[i].ID, events[i].Target.Token = fmt.Sprint(rec.Token.ID, ".1.", i), rec.Token.ID
			}
			return e.Create(ctx, rec, events)
		}},
		{"create again with an idempotency key", []string{"tokens key"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			rec, _ := m.template()
			before := token(round, 12)
			rec.Token.ID, rec.Token.Tenant, rec.IdempotencyKey = m.id(0), m.tenant(before), fmt.Sprint("key-", before)
			err := e.Create(ctx, rec, nil)
			if dup, ok := errors.AsType[*apitoken.DuplicateError](err); ok && dup.Existing == m.id(before) {
				return nil
			}
			return fmt.Errorf("not found by its key: %w", err)
		}},
		{"swap", []string{"tokens primary"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			rec, err := e.Get(ctx, m.id(token(round, 13)))
			if err != nil {
				return err
			}
			rec.Token.Version++
			rec.DueAt = rec.DueAt.Add(time.Hour)
			return e.Swap(ctx, rec, apitoken.Guard{}, nil)
		}},
		{"delete", []string{"tokens primary"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			return e.Delete(ctx, m.id(8001+round), 1, apitoken.Guard{}, nil)
		}},
		{"touch 500", []string{"tokens primary"}, 1000, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			uses := make([]apitoken.Use, 500)
			for i := range uses {
				uses[i] = apitoken.Use{ID: m.id(token(round, 500+i)), Count: 1, LastUsed: created.Add(time.Duration(round+1) * time.Hour)}
			}
			return e.Touch(ctx, uses)
		}},
		{"swap settings", []string{"settings primary"}, 1, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			return e.SwapSettings(ctx, apitoken.Settings{Tenant: fmt.Sprint("tenant-", 500+round), Version: 2}, nil)
		}},
	}
}

func (m mass) lists() []call {
	list := func(name, by string, most int, q apitoken.StoreQuery) call {
		q.AllKinds, q.Now, q.Limit = true, created, 50
		return call{name, []string{by}, most, func(ctx context.Context, e *sqlengine.Engine, _ int) error {
			recs, err := e.List(ctx, q)
			return some(len(recs), err)
		}}
	}
	count := func(name, by string, most int, q apitoken.StoreQuery) call {
		q.AllKinds, q.Now = true, created
		return call{name, []string{by}, most, func(ctx context.Context, e *sqlengine.Engine, _ int) error {
			kinds, err := e.Counts(ctx, q)
			return some(len(kinds), err)
		}}
	}
	large, small := m.tenant(8), m.tenant(7)
	middle := &apitoken.Position{Number: m.at(m.tokens / 2).UnixMicro(), ID: m.id(m.tokens / 2)}
	return []call{
		list("list a large tenant", "tokens tenant", 50, apitoken.StoreQuery{Tenant: large}),
		list("list a large tenant from the middle", "tokens tenant", 50, apitoken.StoreQuery{Tenant: large, After: middle}),
		list("list a large tenant backwards from the middle", "tokens tenant", 50, apitoken.StoreQuery{Tenant: large, After: middle, Desc: true}),
		list("list an owner in a large tenant", "tokens owner", 20, apitoken.StoreQuery{Tenant: large, Owner: m.owner(8)}),
		list("list an owner in a small tenant", "tokens owner", 20, apitoken.StoreQuery{Tenant: small, Owner: m.owner(7)}),
		list("list an owner by name", "tokens owner", 20, apitoken.StoreQuery{Tenant: large, Owner: m.owner(8), Sort: apitoken.SortName}),
		list("list an owner in all tenants", "tokens owner", 20, apitoken.StoreQuery{AnyTenant: true, Owner: m.owner(8)}),
		list("list an agent", "tokens agent", 20, apitoken.StoreQuery{Tenant: m.tenant(10), Agent: m.agent(10)}),
		count("count an owner", "tokens owner", 20, apitoken.StoreQuery{Tenant: large, Owner: m.owner(8)}),
		count("count a small tenant", "tokens tenant|tokens key", m.tokens/10, apitoken.StoreQuery{Tenant: small}),
	}
}

func (m mass) replays() []call {
	return []call{
		{"remember", nil, 0, func(ctx context.Context, e *sqlengine.Engine, round int) error {
			fresh, err := e.Remember(ctx, apitoken.SignedUse{Key: sha256.Sum256(fmt.Append(nil, "key ", round)), Until: created})
			if err == nil && !fresh {
				err = errors.New("it was remembered before")
			}
			return err
		}},
		// Two for each round since it was last called; the timed ones are many.
		{"forget", []string{"replays until|replays primary"}, 2 * (2*timedRounds + 3), func(ctx context.Context, e *sqlengine.Engine, round int) error {
			// A thousandth of a second before the next round's.
			n, err := e.Forget(ctx, m.at(2*(round+1)))
			return some(int(n), err)
		}},
	}
}

func some(n int, err error) error {
	if err == nil && n == 0 {
		err = errors.New("nothing was found")
	}
	return err
}

func exactly(want, n int, err error) error {
	if err == nil && n != want {
		err = fmt.Errorf("%d were found, not %d", n, want)
	}
	return err
}

func execSQL(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	if text == "" {
		return
	}
	_, err := db.ExecContext(t.Context(), text)
	require.NoError(t, err, text)
}
