package faults_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/internal/integration/faultdriver"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

// The kinds of the tokens that calls fail for.
const (
	plainKind    apitoken.Kind = "plain"
	personalKind apitoken.Kind = "personal"
	slidingKind  apitoken.Kind = "sliding"
	fixedKind    apitoken.Kind = "fixed"
	agentKind    apitoken.Kind = "agent"
	legacyKind   apitoken.Kind = "legacy"
	reuseKind    apitoken.Kind = "reuse" // revoked when a replaced value is used
	termsKind    apitoken.Kind = "terms" // its policy is changed after it was issued
)

const (
	day        = 24 * time.Hour
	pairSecret = "the secret of a pair of the old kind"
	oldKey     = "old_0123456789abcdefghijklmnop"
	latestKey  = "old_9876543210abcdefghijklmnop" // in the host's old table, not imported
)

var (
	catalog = apitoken.MustCatalog([]apitoken.Permission{
		{Name: "devices:view", API: true}, {Name: "devices:manage", API: true, Implies: []string{"devices:view"}}, {Name: "credentials:manage"},
	}, []apitoken.Role{{Name: "administrator", Permissions: []string{"devices:manage"}}})
	ann   = apitoken.Actor{ID: "ann", Tenant: "acme"}
	novel = apitoken.Actor{ID: "ann", Tenant: "novel"} // of a tenant that has set nothing
	job   = apitoken.System("jobs", "acme")
)

// engine is a database as the tests reach it.
type engine struct {
	name    string
	driver  string
	dialect sqlstore.Dialect
	dsn     func(t testing.TB) string // of a new, empty database
}

var engines = []engine{
	{"SQLite", servers.SQLiteDriver, sqlstore.SQLite, func(t testing.TB) string {
		// Without waiting for the disk: nobody cuts the power.
		return strings.Replace(servers.SQLite(t), "synchronous(FULL)", "synchronous(OFF)", 1)
	}},
	{"PostgreSQL", servers.PostgresDriver, sqlstore.PostgreSQL, func(t testing.TB) string { return servers.Postgres(t) }},
	{"MariaDB", servers.MariaDBDriver, sqlstore.MariaDB, func(t testing.TB) string { return servers.MariaDB(t) }},
}

// open returns a store with the schema and a table of the host's own, and its pool.
func (e engine) open(t *testing.T) (store *sqlstore.Store, db *sql.DB, dsn string) {
	t.Helper()
	dsn = e.dsn(t)
	db, err := sql.Open(e.driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err = sqlstore.New(db, e.dialect, sqlstore.Options{})
	require.NoError(t, err)
	require.NoError(t, store.Migrate(t.Context()))
	_, err = db.ExecContext(t.Context(), "CREATE TABLE customers (name varchar(64) NOT NULL PRIMARY KEY)")
	require.NoError(t, err)
	return store, db, dsn
}

// past is what happened before the calls that fail: a company with a token of every
// sort, in every state.
type past struct {
	rows tables
	now  time.Time

	active, other, disabled, revoked, expired apitoken.Issued // of ann's
	keyed                                     apitoken.Issued // with idempotency key "k"
	rotated                                   apitoken.Issued // twice, with key "k"; overlap is left
	before                                    apitoken.Secret // the value of rotated before
	replaced                                  apitoken.Secret // a value of reused whose overlap is over
	reused, sliding, pair, shown, terms       apitoken.Issued
	purged, overlapping                       apitoken.Issued    // due to be deleted, and to lose its overlap
	gone                                      [2]apitoken.Issued // of zed's, who is not active any more
	bot, rob                                  apitoken.Issued    // of agents: bot was active, rob is
	imported                                  apitoken.ID
	alias                                     string   // of pair
	undelivered                               []string // IDs of the events in the outbox, sorted
}

// options are those of every node.
func nodeOptions() apitoken.Options {
	reuse := apitoken.Policy{RevokeOnReuse: true}
	return apitoken.Options{
		Prefix:  "acme",
		Catalog: catalog,
		Kinds: map[apitoken.Kind]apitoken.Policy{
			plainKind: {EditPermissions: true}, personalKind: apitoken.PersonalPolicy(), slidingKind: apitoken.SlidingPolicy(),
			fixedKind: apitoken.FixedTermPolicy("credentials:manage"), legacyKind: apitoken.LegacyPolicy(), reuseKind: reuse, termsKind: {},
			agentKind: apitoken.AgentPolicy(map[string]apitoken.AgentKind{"sensor": {RevokeOnDeactivation: true}}),
		},
		DefaultKind: plainKind,
		Limits:      map[string]apitoken.Limit{"api": {Quota: 1000, Window: time.Hour}},
		Legacy:      []apitoken.LegacyFormat{{Name: "old", Prefix: "old_", MinLength: 30, MaxLength: 30, Digest: apitoken.LegacySHA256}},
		ImportKey:   apitoken.NewSecret("an import key of 32 random bytes"),
		Fallback: func(_ context.Context, key apitoken.LegacyKey) (apitoken.ImportRow, error) {
			if key.Secret.Reveal() == latestKey {
				return oldRow("latest", latestKey), nil
			}
			return apitoken.ImportRow{}, apitoken.ErrNotFound
		},
	}
}

// oldRow is a row of the host's old table.
func oldRow(id, key string) apitoken.ImportRow {
	sum := sha256.Sum256([]byte(key))
	return apitoken.ImportRow{
		ID: id, Tenant: "acme", Owner: "ann", Permissions: []string{"devices:view"}, Digest: apitoken.NewSecret(hex.EncodeToString(sum[:])),
		CreatedAt: apitokentest.Start.Add(-day),
	}
}

// people fills the host's directories.
func people(env *apitokentest.Env) {
	admin := apitoken.Standing{
		Active: true, Permissions: catalog.All(), Roles: []string{"administrator", "super_admin"}, Resources: apitoken.Resources{All: true},
	}
	for _, id := range []string{"ann", "dan", "zed"} {
		env.Owners.Set("acme", id, admin)
	}
	env.Admins.Set("acme", apitoken.Administrator{ID: "ann", System: true, Active: true})
	for id, active := range map[string]bool{"bot": false, "rob": true} {
		env.Agents.Set("acme", id, apitoken.Registration{Registered: true, Active: active, Kind: "sensor", Name: id})
	}
}

// newPast lets it all happen in a database of its own.
func newPast(t *testing.T) *past {
	t.Helper()
	ctx := t.Context()
	store, db, _ := engines[0].open(t)
	env := apitokentest.Over(t, store, nodeOptions())
	people(env)
	s := env.Service
	p := new(past)
	issue := func(kind apitoken.Kind, change ...func(*apitoken.IssueRequest)) apitoken.Issued {
		req, actor := apitoken.IssueRequest{Kind: kind, Name: "one"}, ann
		for _, f := range change {
			f(&req)
		}
		if kind == agentKind {
			actor = job
		}
		return env.IssueAs(actor, req)
	}
	in := func(d time.Duration) func(*apitoken.IssueRequest) {
		return func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(d) }
	}
	agentOf := func(id string) func(*apitoken.IssueRequest) { return func(r *apitoken.IssueRequest) { r.Agent = id } }

	p.active, p.other, p.disabled, p.revoked = issue(plainKind), issue(personalKind, in(90*day)), issue(personalKind, in(90*day)), issue(plainKind)
	p.keyed = issue(plainKind, func(r *apitoken.IssueRequest) { r.IdempotencyKey = "k" })
	p.rotated, p.reused, p.sliding, p.terms = issue(plainKind), issue(reuseKind), issue(slidingKind), issue(termsKind)
	p.shown = issue(fixedKind)
	p.pair = issue(legacyKind, func(r *apitoken.IssueRequest) {
		r.Legacy = apitoken.LegacyCredential{ID: "uuid", Secret: apitoken.NewSecret(pairSecret)}
	})
	p.bot, p.rob = issue(agentKind, agentOf("bot")), issue(agentKind, agentOf("rob"))
	p.purged, p.overlapping = issue(personalKind, in(90*day)), issue(plainKind)
	zed := apitoken.Actor{ID: "zed", Tenant: "acme"}
	for i := range p.gone {
		p.gone[i] = env.IssueAs(zed, apitoken.IssueRequest{Kind: personalKind, Name: "one", Expiry: apitoken.ExpiresIn(90 * day)})
	}
	require.NoError(t, s.Revoke(ctx, ann, p.revoked.Token.ID, ""))
	_, err := s.Disable(ctx, ann, p.purged.Token.ID, "")
	require.NoError(t, err)
	rotate := func(id apitoken.ID, key string, overlap time.Duration) apitoken.Issued {
		issued, err := s.Rotate(ctx, ann, id, apitoken.RotateRequest{IdempotencyKey: key, Overlap: overlap})
		require.NoError(t, err)
		return issued
	}
	rotate(p.overlapping.Token.ID, "k", time.Hour)
	p.before = rotate(p.rotated.Token.ID, "i", 0).Secret
	_, err = s.Import(ctx, job, func(yield func(apitoken.ImportRow, error) bool) { yield(oldRow("17", oldKey), nil) },
		func(i apitoken.Imported) error { p.imported = i.Token; return i.Err })
	require.NoError(t, err)
	_, err = s.EditOrigins(ctx, ann, apitoken.OriginsRequest{Origins: []string{"https://app.example"}})
	require.NoError(t, err)

	// Half an interval after sliding has to be written before it is let in; what
	// happens from here on is not told of yet.
	_, err = s.Deliver(ctx)
	require.NoError(t, err)
	env.Clock.Set(apitokentest.Start.Add(30*day - 90*time.Second))
	p.expired = issue(plainKind, in(time.Second))
	_, err = s.Disable(ctx, ann, p.disabled.Token.ID, "")
	require.NoError(t, err)
	p.rotated = rotate(p.rotated.Token.ID, "k", time.Hour)
	p.replaced = p.reused.Secret
	p.reused = rotate(p.reused.Token.ID, "k", 0)
	env.Clock.Advance(30 * time.Second)
	p.now = env.Clock.Now()
	p.rows, err = readTables(ctx, db)
	require.NoError(t, err)
	for _, row := range p.rows["apitoken_outbox"].rows {
		p.undelivered = append(p.undelivered, row[slices.Index(p.rows["apitoken_outbox"].columns, "id")].(string))
	}
	slices.Sort(p.undelivered)
	pair, err := store.Get(ctx, p.pair.Token.ID)
	require.NoError(t, err)
	p.alias = pair.Alias
	return p
}

// bed is a database in which calls fail, one at a time, each after the same past.
type bed struct {
	*past
	bedOptions
	engine engine
	dsn    string
	db     *sql.DB         // past the faults
	others *sqlstore.Store // another node's, past the faults
	view   view
}

type bedOptions struct {
	sqlstore sqlstore.Options
	wait     time.Duration                                             // how long a connection may take to come back; 0 = long enough for a machine that does much else
	cold     bool                                                      // calls find neither a connection nor prepared statements
	wrap     func(s *sqlstore.Store, w *world) (apitoken.Store, error) // what stands before the store; nil = nothing
}

func newBed(t *testing.T, e engine, p *past, opts bedOptions) *bed {
	t.Helper()
	b := &bed{past: p, bedOptions: opts, engine: e, view: newView(p.rows)}
	b.others, b.db, b.dsn = e.open(t)
	require.NoError(t, p.rows.write(t.Context(), b.db, e.dialect))
	require.NoError(t, keep(t.Context(), b.db))
	require.Equal(t, b.view.of(p.rows), b.state(t))
	return b
}

func (b *bed) state(t *testing.T) state {
	t.Helper()
	rows, err := readTables(t.Context(), b.db)
	require.NoError(t, err)
	return b.view.of(rows)
}

// run makes a call on a new node, and then once more. rule is what fails the first
// time, nil = nothing.
func (b *bed) run(t *testing.T, c faultyCall, rule faultdriver.Rule) (first outcome) {
	t.Helper()
	w := b.world(t)
	defer func() { require.NoError(t, w.db.Close()) }()
	if c.ready != nil {
		c.ready(t.Context(), w)
	}
	before := b.state(t)
	first = w.call(c, rule)
	first.before = before
	if first.fault != "" { // it may hold the only connection
		return first
	}
	if c.retry != nil {
		c.retry(w)
	}
	again := w.call(c, nil)
	first.again = &again
	if w.check != nil && first.fault == "" {
		first.fault = w.check()
	}
	return first
}

// world is a node for one call, on a database whose driver fails.
type world struct {
	*apitokentest.Env
	*bed
	t     *testing.T
	db    *sql.DB
	plan  *faultdriver.Plan
	store *sqlstore.Store

	principal apitoken.Principal
	rec       *apitoken.Record // of the token that the call is about, as it was before
	claims    int
	told      []string      // IDs of the events of which the Notifier was told
	check     func() string // says what is wrong once nothing fails any more; nil = nothing
}

func (b *bed) world(t *testing.T) *world {
	t.Helper()
	require.NoError(t, restore(t.Context(), b.db))
	w := &world{bed: b, t: t, plan: new(faultdriver.Plan)}
	var err error
	w.db, err = faultdriver.Open(b.engine.driver, b.dsn, w.plan)
	require.NoError(t, err)
	w.db.SetMaxOpenConns(1)
	w.store, err = sqlstore.New(w.db, b.engine.dialect, b.sqlstore)
	require.NoError(t, err)
	opts := nodeOptions()
	opts.Clock = apitokentest.NewClock(b.now)
	opts.Kinds = maps.Clone(opts.Kinds)
	opts.Kinds[termsKind] = apitoken.Policy{Purge: 7 * day}
	opts.ReplayGuard = w.store                                         // what wraps the store may hide it
	w.Env = &apitokentest.Env{Clock: opts.Clock.(*apitokentest.Clock)} // for wrap
	store := apitoken.Store(w.store)
	if b.wrap != nil {
		store, err = b.wrap(w.store, w)
		require.NoError(t, err)
	}
	clock := w.Clock
	w.Env = apitokentest.Over(t, store, opts)
	w.Clock = clock
	people(w.Env)
	zed, err := w.Owners.Standing(t.Context(), "acme", "zed")
	require.NoError(t, err)
	zed.Active = false
	w.Owners.Set("acme", "zed", zed)
	if !b.cold {
		_, err = w.store.Get(t.Context(), created().Token.ID)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	}
	return w
}

// call makes the call. What fails ends with it.
func (w *world) call(c faultyCall, rule faultdriver.Rule) (o outcome) {
	w.t.Helper()
	w.plan.Reset(rule)
	ctx, cancel := w.plan.Until(w.t.Context())
	defer cancel()
	result, err := c.do(ctx, w)
	cancel()
	struck, endless := w.plan.Struck(), w.plan.Endless()
	o.err, o.ops = err, w.plan.Ops()
	o.reason, o.fault = reasonOf(c, err)
	w.plan.Reset(nil)
	require.Equal(w.t, rule != nil, len(struck) > 0)
	if len(endless) > 0 {
		o.fault = "nothing could have ended " + listed(endless)
	}
	if err == nil {
		o.text, err = w.view.plainJSON(result)
		require.NoError(w.t, err)
	}
	// What database/sql rolls back by itself, because the context ended, gives its
	// connection back later.
	ctx, cancel = context.WithTimeout(w.t.Context(), cmp.Or(w.wait, time.Minute))
	defer cancel()
	if err := w.db.PingContext(ctx); err != nil || w.db.Stats().InUse > 0 {
		o.fault = fmt.Sprint("a connection is not given back: ", err)
		return o
	}
	o.state = w.bed.state(w.t)
	return o
}
