package model_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/memstore"
)

const (
	nodes    = 3
	interval = time.Minute
	skew     = time.Minute
	tenant   = "acme"
	day      = 24 * time.Hour
	maxWait  = 2*interval + skew

	agentActive   = "active"
	agentInactive = "inactive"
)

// offsets are how far the clocks of the nodes are from the true time, within the
// skew that Options state.
var offsets = [nodes]time.Duration{0, 20 * time.Second, -30 * time.Second}

var catalog = apitoken.MustCatalog([]apitoken.Permission{
	{Name: "devices:view", API: true},
	{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
	{Name: "reports:view", API: true},
	{Name: "deploy", API: true},
	{Name: "telemetry:send", API: true},
	{Name: "credentials:manage"},
}, []apitoken.Role{
	{Name: "administrator", Permissions: []string{"devices:manage", "reports:view", "deploy"}},
	{Name: "deploy", Permissions: []string{"deploy"}},
})

// What the catalog says, in the model's own words.
var (
	apiNames  = namesOf("devices:view", "devices:manage", "reports:view", "deploy", "telemetry:send")
	roleNames = map[string]names{
		"administrator": namesOf("devices:view", "devices:manage", "reports:view", "deploy"),
		"deploy":        namesOf("deploy"),
	}
	sets = [][]string{
		{"devices:view", "devices:manage", "reports:view", "deploy", "telemetry:send", "credentials:manage"},
		{"devices:view", "devices:manage", "deploy", "credentials:manage"},
		{"devices:view", "reports:view"},
		{"deploy"},
		{},
	}
)

var kinds = map[apitoken.Kind]apitoken.Policy{
	"plain": {RevokeOnReuse: true}, "user": apitoken.SlidingPolicy(), "fixed": apitoken.FixedTermPolicy("credentials:manage"),
	"agent": apitoken.AgentPolicy(map[string]apitoken.AgentKind{
		"sensor": {Permissions: []string{"telemetry:send"}, RevokeOnDeactivation: true},
		"robot":  {Permissions: []string{"telemetry:send", "deploy"}},
	}),
	"personal": apitoken.PersonalPolicy(), "shared": apitoken.SharedPolicy(), "node": apitoken.NodePolicy(), "legacy": apitoken.LegacyPolicy(),
}

var kindNames = []apitoken.Kind{"plain", "user", "fixed", "agent", "personal", "shared", "node", "legacy"}

// machine is three nodes over one store, the host's directory, and the model.
type machine struct {
	name     string // "" = it is the only one
	ctx      context.Context
	time     time.Time
	latest   time.Time // the clock never showed more
	services [nodes]*apitoken.Service
	options  apitoken.Options
	kept     apitoken.Store // that of the host
	store    *apitokentest.FaultStore
	notifier *apitokentest.Notifier

	directory struct {
		owners       *apitokentest.Owners
		agents       *apitokentest.Agents
		entitlements *apitokentest.Entitlements
	}
	owners  map[string]*owner
	agents  map[string]string
	licence names

	tokens   []*token
	byID     map[apitoken.ID]*token
	events   map[string]bool
	settings int64 // their version
	faults   []string

	ops     []*operation                  // under way, the innermost last
	disturb func(apitokentest.Call) error // what goes wrong with the outermost
	serial  int                           // for keys and names that are used once
	tally   map[string]int

	dice    *dice    // of machines side by side; nil = there is only this one
	rolls   uint64   // of the dice
	calls   []string // of the store, in the action under way
	changed bool     // a call since the last check was one that writes
	answers []answer // likewise
	told    int      // notifications looked at
}

// owner is a user as the directory has it.
type owner struct {
	active  bool
	hasRole bool
	roles   []string // while hasRole
	may     names
}

// operation is one call under way.
type operation struct {
	name       string
	node       int
	now        time.Time
	overlap    time.Duration
	setsExpiry bool
	actorMay   names // nil = not a person
	writes     int
}

func newMachine(ctx context.Context, name string, store apitoken.Store, tally map[string]int) *machine {
	m := &machine{
		name: name, ctx: ctx, kept: store, time: apitokentest.Start, notifier: new(apitokentest.Notifier), tally: tally,
		byID: make(map[apitoken.ID]*token), events: make(map[string]bool),
		owners: map[string]*owner{"ann": {roles: []string{"administrator", "super_admin"}}, "bob": {roles: []string{"analyst", "group_admin"}}},
		agents: map[string]string{"bot": agentInactive, "rob": agentActive},
	}
	m.directory.owners, m.directory.agents, m.directory.entitlements = new(apitokentest.Owners), new(apitokentest.Agents), new(apitokentest.Entitlements)
	for name, o := range m.owners {
		o.active, o.hasRole, o.may = true, true, namesOf(sets[0]...)
		m.tellOwner(name)
	}
	m.tellAgents()
	m.license(sets[0])
	m.store = apitokentest.NewFaultStore(&ledger{store, m})
	m.store.On(m.around)
	m.options = apitoken.Options{
		Prefix: "acme", Catalog: catalog, Kinds: kinds, DefaultKind: "plain", UsageInterval: interval, ClockSkew: skew,
		Owners: m.directory.owners, Agents: m.directory.agents, Entitlements: m.directory.entitlements,
		Admins:   new(apitokentest.Admins),
		Notifier: m.notifier, Logger: slog.New(slog.DiscardHandler),
		ReplayGuard: memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{}), // nobody signs here
	}
	for i := range nodes {
		m.start(i)
	}
	return m
}

// start starts a node, or replaces one that was killed: what it had in memory is
// gone.
func (m *machine) start(node int) {
	opts := m.options
	opts.Clock = apitoken.ClockFunc(func() time.Time { return m.now(node) })
	s, err := apitoken.New(m.store, opts)
	if err != nil {
		panic(err)
	}
	m.services[node] = s
	for _, k := range m.tokens {
		k.accepted[node] = time.Time{}
	}
}

func (m *machine) now(node int) time.Time { return m.time.Add(offsets[node]) }

func (m *machine) op() *operation { return m.ops[len(m.ops)-1] }

// tellOwner makes the directory say what the model has of an owner.
func (m *machine) tellOwner(name string) {
	o := m.owners[name]
	st := apitoken.Standing{Active: o.active, Permissions: permissions(o.may), Resources: apitoken.Resources{All: true}}
	if o.hasRole {
		st.Roles = o.roles
	}
	m.directory.owners.Set(tenant, name, st)
}

func (m *machine) tellAgents() {
	for name, kind := range map[string]string{"bot": "sensor", "rob": "robot"} {
		m.directory.agents.Set(tenant, name, apitoken.Registration{Registered: m.agents[name] != "", Active: m.agents[name] == agentActive, Kind: kind, Name: name})
	}
}

func (m *machine) license(list []string) {
	m.licence = namesOf(list...)
	m.directory.entitlements.Set(tenant, permissions(m.licence))
}

func permissions(n names) apitoken.Permissions {
	var set apitoken.Permissions
	for name := range n {
		set = set.Union(catalog.Known(name))
	}
	return set
}

// plan is what goes wrong during a call.
type plan struct {
	what  string
	call  int // the store call it happens at, from 1
	inner func()
}

var outages = []string{"owners", "agents", "entitlements"}

// draw chooses a plan. Most calls go undisturbed.
func (m *machine) draw(t *choices) plan {
	if len(m.ops) > 0 {
		return plan{}
	}
	p := plan{what: draw(t, rapid.SampledFrom([]string{"", "", "", "", "", "", "fail", "lose", "down", "during", "during", "look-up"}), "plan")}
	switch p.what {
	case "fail", "lose":
		p.call = draw(t, rapid.IntRange(1, 5), "call")
	case "look-up":
		p.what = draw(t, rapid.SampledFrom(outages), "part")
	case "during":
		p.call = draw(t, rapid.IntRange(1, 4), "call")
		inner := draw(t, rapid.SampledFrom(inners()), "inner")
		p.inner = func() { inner(m, t) }
	}
	return p
}

// inners are the calls that may come in the middle of another one.
func inners() []func(*machine, *choices) {
	return []func(*machine, *choices){
		(*machine).verify, (*machine).verify, (*machine).flush, (*machine).flush, (*machine).sweep, (*machine).disable, (*machine).enable,
		(*machine).revoke, (*machine).delete, (*machine).rotate, (*machine).edit, (*machine).extend, (*machine).agentChange, (*machine).ownerChange,
	}
}

// run makes one call with what goes wrong during it, and holds its outcome to
// what every call promises.
func (m *machine) run(t *choices, o *operation, p plan, call func(s *apitoken.Service) (any, error)) error {
	o.now = m.now(o.node)
	m.ops = append(m.ops, o)
	outer, calls := len(m.ops) == 1, 0
	if outer && p.what != "" {
		m.disturb = func(c apitokentest.Call) error {
			if len(m.ops) > 1 {
				return nil
			}
			if !c.Done {
				calls++
			}
			switch {
			case p.what == "lose" && c.Done && calls == p.call:
				return apitokentest.ErrFault
			case p.what == "down", p.what == "fail" && !c.Done && calls == p.call:
				return apitokentest.ErrFault
			case p.what == "during" && !c.Done && calls == p.call:
				p.inner()
			}
			return nil
		}
		m.outage(p.what, apitokentest.ErrFault)
	}
	v, err := call(m.services[o.node])
	m.ops = m.ops[:len(m.ops)-1]
	if outer {
		m.disturb = nil
		m.outage(p.what, nil)
	}
	m.answer(o.name, v, err)
	if err == nil {
		m.tally[o.name]++
		return nil
	}
	m.tally[o.name+", refused"]++
	family := familyOf(t, err)
	many := o.name == "agent change" || o.name == "owner change" || o.name == "bulk" || o.name == "verify" // several writes, or one that does not change the answer
	if !many && family != apitoken.ErrUnavailable && o.writes > 0 {
		t.Fatalf("%s answered %v and wrote", o.name, err)
	}
	if one := o.name != "sweep" && !many; one && p.what == "lose" && o.writes > 0 {
		t.Fatalf("%s took effect, and answered %v although the store can say so", o.name, err)
	}
	if p.what == "down" && o.writes > 0 {
		t.Fatalf("%s wrote to a store that was down", o.name)
	}
	return err
}

// reads are the calls that change nothing.
var reads = []string{"Get", "GetByAlias", "Record", "List", "Counts", "Due", "Events", "Settings", "Stats"}

// around is called before and after each call of the store.
func (m *machine) around(c apitokentest.Call) error {
	if c.Done {
		m.roll() // whatever the store drew itself
	} else {
		m.calls = append(m.calls, c.Method)
		m.changed = m.changed || !slices.Contains(reads, c.Method)
	}
	if m.disturb == nil {
		return nil
	}
	return m.disturb(c)
}

func (m *machine) outage(part string, err error) {
	switch part {
	case "owners":
		m.directory.owners.Fail(err)
	case "agents":
		m.directory.agents.Fail(err)
	case "entitlements":
		m.directory.entitlements.Fail(err)
	}
}

var families = []error{
	apitoken.ErrUnauthenticated, apitoken.ErrForbidden, apitoken.ErrRateLimited, apitoken.ErrUnavailable,
	apitoken.ErrInvalid, apitoken.ErrConflict, apitoken.ErrNotFound,
}

// familyOf returns the one family of an error.
func familyOf(t require.TestingT, err error) (family error) {
	n := 0
	for _, f := range families {
		if errors.Is(err, f) {
			family = f
			n++
		}
	}
	require.Equal(t, 1, n, "families of %v", err)
	return family
}

// check holds the whole store to the model. Beside others it only does so when the
// store was written to: reading all of a database takes long.
func (m *machine) check(t *choices) {
	m.tally["steps"]++
	m.latest = later(m.latest, m.time)
	if m.dice == nil {
		m.checkAll(t, m.stored(t))
		return
	}
	if m.changed {
		m.changed = false
		stored := m.stored(t)
		m.checkAll(t, stored)
		m.lookInside(stored)
	}
	m.look(t)
}

func (m *machine) checkAll(t *choices, stored map[apitoken.ID]*apitoken.Record) {
	for _, k := range m.tokens {
		rec, ok := stored[k.id]
		if k.gone {
			require.False(t, ok, "P3: %s is back", k)
			continue
		}
		require.True(t, ok, "%s is gone", k)
		m.matches(k, rec)
		if last := rec.Token.Usage.LastUsed; !last.Equal(k.recorded) {
			m.broken("P13: the store says that %s was last used %s, not %s", k, last, k.recorded)
		}
	}
	if len(m.faults) > 0 {
		t.Fatalf("%s", m.faults[0])
	}
}

// stored returns the tokens in the store that the model knows.
func (m *machine) stored(t *choices) map[apitoken.ID]*apitoken.Record {
	read := m.kept.Get
	if shared, ok := m.kept.(apitoken.Records); ok {
		read = shared.Record
	}
	out := make(map[apitoken.ID]*apitoken.Record)
	for _, k := range m.tokens {
		rec, err := read(m.ctx, k.id)
		if err != nil {
			require.ErrorIs(t, err, apitoken.ErrNotFound)
			continue
		}
		out[k.id] = rec
	}
	return out
}
