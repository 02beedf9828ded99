package apitoken_test

import (
	"context"
	"encoding/json"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// The kinds of a world: the zero policy and every preset.
const (
	plain    apitoken.Kind = "plain"
	user     apitoken.Kind = "user"
	agent    apitoken.Kind = "agent"
	fixed    apitoken.Kind = "fixed"
	personal apitoken.Kind = "personal"
	shared   apitoken.Kind = "shared"
	node     apitoken.Kind = "node"
	legacy   apitoken.Kind = "legacy"
)

var worldKinds = []apitoken.Kind{plain, user, agent, fixed, personal, shared, node, legacy}

var (
	worldCatalog = apitoken.MustCatalog([]apitoken.Permission{
		{Name: "devices:view", API: true},
		{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
		{Name: "reports:view", API: true},
		{Name: "scripts:run", API: true},
		{Name: "deploy", API: true},
		{Name: "telemetry:send", API: true},
		{Name: "credentials:manage"},
	}, []apitoken.Role{
		{Name: "administrator", Permissions: []string{"devices:manage", "reports:view", "scripts:run", "deploy"}},
		{Name: "analyst", Permissions: []string{"devices:manage", "reports:view"}},
		{Name: "api_developer", Permissions: []string{"reports:view"}},
		{Name: "read_only", Permissions: []string{"devices:view", "reports:view"}},
		{Name: "deploy", Permissions: []string{"deploy"}},
	})
	everything = worldCatalog.All()
	viewer     = set("devices:view")
)

// world is a company with every kind of token. Of its users ann and dan are
// administrators, bob is an analyst and eve has no role; zoe administers another
// company. Agent 'bot' is registered and not active.
type world struct {
	*apitokentest.Env
	t *testing.T
}

func newWorld(t *testing.T, tweak ...func(*apitoken.Options)) *world {
	t.Helper()
	opts := apitoken.Options{
		Prefix:  "acme",
		Catalog: worldCatalog,
		Kinds: map[apitoken.Kind]apitoken.Policy{
			plain: {}, user: apitoken.SlidingPolicy(), fixed: apitoken.FixedTermPolicy("credentials:manage"),
			agent:    apitoken.AgentPolicy(map[string]apitoken.AgentKind{"sensor": {Permissions: []string{"telemetry:send"}}}),
			personal: apitoken.PersonalPolicy(), shared: apitoken.SharedPolicy(), node: apitoken.NodePolicy(), legacy: apitoken.LegacyPolicy(),
		},
		DefaultKind: plain,
		Uses:        map[string][]apitoken.Kind{"deploy": {node}},
	}
	for _, f := range tweak {
		f(&opts)
	}
	w := &world{apitokentest.New(t, opts), t}
	admin := apitoken.Standing{Active: true, Permissions: everything, Roles: []string{"administrator", "super_admin"}, Resources: apitoken.Resources{All: true}}
	w.Owners.Set("acme", "ann", admin)
	w.Owners.Set("acme", "dan", admin)
	w.Owners.Set("acme", "bob", apitoken.Standing{
		Active: true, Permissions: set("devices:manage", "reports:view", "credentials:manage"),
		Roles: []string{"analyst"}, Resources: apitoken.Resources{Groups: []string{"north"}},
	})
	w.Owners.Set("acme", "eve", apitoken.Standing{Active: true, Permissions: viewer})
	w.Owners.Set("rival", "zoe", admin)
	w.Agents.Set("acme", "bot", apitoken.Registration{Registered: true, Kind: "sensor", Name: "Bot"})
	return w
}

// with changes the policy of a kind.
func with(kind apitoken.Kind, f func(*apitoken.Policy)) func(*apitoken.Options) {
	return func(o *apitoken.Options) {
		p := o.Kinds[kind]
		f(&p)
		o.Kinds[kind] = p
	}
}

func set(names ...string) apitoken.Permissions {
	p, err := worldCatalog.Set(names...)
	if err != nil {
		panic(err)
	}
	return p
}

var (
	ann    = apitoken.Actor{ID: "ann", Tenant: "acme"}
	dan    = apitoken.Actor{ID: "dan", Tenant: "acme"}
	bob    = apitoken.Actor{ID: "bob", Tenant: "acme"}
	eve    = apitoken.Actor{ID: "eve", Tenant: "acme"}
	zoe    = apitoken.Actor{ID: "zoe", Tenant: "rival"}
	system = apitoken.System("provisioner", "acme")
)

// issue makes a token of a kind: an agent's by the system, any other by ann.
func (w *world) issue(kind apitoken.Kind, change ...func(*apitoken.IssueRequest)) apitoken.Issued {
	w.t.Helper()
	req, actor := apitoken.IssueRequest{Kind: kind, Name: "one"}, ann
	if kind == agent {
		req.Agent, actor = "bot", system
	}
	for _, f := range change {
		f(&req)
	}
	return w.IssueAs(actor, req)
}

// issueTo makes a token for a user.
func (w *world) issueTo(actor apitoken.Actor, kind apitoken.Kind) apitoken.Issued {
	w.t.Helper()
	return w.IssueAs(actor, apitoken.IssueRequest{Kind: kind, Name: "one"})
}

func (w *world) verify(s apitoken.Secret, needs ...string) error {
	_, err := w.Service.Verify(w.t.Context(), apitoken.VerifyRequest{Token: s.Reveal(), Need: worldCatalog.MustRequire(needs...)})
	return err
}

func (w *world) get(id apitoken.ID) apitoken.View {
	w.t.Helper()
	v, err := w.Service.Get(w.t.Context(), ann, id)
	require.NoError(w.t, err)
	return v
}

func (w *world) sweep() apitoken.Swept {
	w.t.Helper()
	swept, err := w.Service.Sweep(w.t.Context())
	require.NoError(w.t, err)
	return swept
}

// stored is the record as the store has it.
func (w *world) stored(id apitoken.ID) *apitoken.Record {
	w.t.Helper()
	rec, err := w.Store.Unwrap().Get(context.Background(), id)
	require.NoError(w.t, err)
	return rec
}

// events are the events of a token of acme.
func (w *world) events(id apitoken.ID) []apitoken.Event {
	w.t.Helper()
	events, err := w.Store.Unwrap().Events(context.Background(), "acme", id, "", 1000)
	require.NoError(w.t, err)
	return events
}

func eventTypes(events []apitoken.Event) []apitoken.EventType {
	var types []apitoken.EventType
	for _, e := range events {
		types = append(types, e.Type)
	}
	return types
}

// dump is all that the store holds, as text.
func (w *world) dump() string {
	w.t.Helper()
	store, ctx := w.Store.Unwrap(), context.Background()
	recs, err := store.List(ctx, apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Limit: 1 << 20})
	require.NoError(w.t, err)
	var all []any
	for _, rec := range recs {
		events, err := store.Events(ctx, rec.Token.Tenant, rec.Token.ID, "", 1<<20)
		require.NoError(w.t, err)
		all = append(all, rec, events)
	}
	for _, tenant := range []string{"", "acme", "rival"} {
		settings, err := store.Settings(ctx, tenant)
		require.NoError(w.t, err)
		events, err := store.Events(ctx, tenant, "", "", 1<<20)
		require.NoError(w.t, err)
		all = append(all, settings, events)
	}
	stats, err := store.Stats(ctx, w.Clock.Now())
	require.NoError(w.t, err)
	text, err := json.MarshalIndent(append(all, stats), "", " ")
	require.NoError(w.t, err)
	return string(text)
}

// wrongFields are the fields an error names, sorted, each once.
func wrongFields(err error) []string {
	var names []string
	for _, f := range apitoken.Fields(err) {
		names = append(names, f.Field)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// oneFamily requires that err is of exactly one error family.
func oneFamily(t *testing.T, err, want error) {
	t.Helper()
	require.ErrorIs(t, err, want)
	for _, family := range []error{
		apitoken.ErrUnauthenticated, apitoken.ErrForbidden, apitoken.ErrRateLimited, apitoken.ErrUnavailable,
		apitoken.ErrInvalid, apitoken.ErrConflict, apitoken.ErrNotFound,
	} {
		if wants := rootFamily(want); family != wants {
			require.NotErrorIs(t, err, family)
		}
	}
}

func rootFamily(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok || u.Unwrap() == nil {
			return err
		}
		err = u.Unwrap()
	}
}

func ptr[T any](v T) *T { return &v }

func long(n int) string { return strings.Repeat("x", n) }

// tokenCalls are the managing calls on one token, each with a request that is
// good for an active shared token.
var tokenCalls = []struct {
	name string
	do   func(ctx context.Context, m apitoken.Manager, actor apitoken.Actor, id apitoken.ID) error
}{
	{"Get", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Get(ctx, a, id)
		return err
	}},
	{"Edit", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Edit(ctx, a, id, apitoken.EditRequest{Name: ptr("edited")})
		return err
	}},
	{"Extend", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Extend(ctx, a, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(week)})
		return err
	}},
	{"Disable", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Disable(ctx, a, id, "")
		return err
	}},
	{"Enable", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Enable(ctx, a, id, apitoken.EnableRequest{})
		return err
	}},
	{"Rotate", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Rotate(ctx, a, id, apitoken.RotateRequest{IdempotencyKey: "r"})
		return err
	}},
	{"Revoke", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		return m.Revoke(ctx, a, id, "")
	}},
	{"Delete", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		return m.Delete(ctx, a, id, "")
	}},
	{"History", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		for _, err := range m.History(ctx, a, id) {
			return err
		}
		return nil
	}},
	{"Explain", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor, id apitoken.ID) error {
		_, err := m.Explain(ctx, a, apitoken.ExplainRequest{ID: id})
		return err
	}},
}

// tenantCalls are the managing calls on a tenant.
var tenantCalls = []struct {
	name string
	do   func(ctx context.Context, m apitoken.Manager, actor apitoken.Actor) error
}{
	{"Issue", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.Issue(ctx, a, apitoken.IssueRequest{Kind: shared, Name: "one"})
		return err
	}},
	{"Choices", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.Choices(ctx, a, shared)
		return err
	}},
	{"List", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.List(ctx, a, apitoken.ListQuery{})
		return err
	}},
	{"All", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		for _, err := range m.All(ctx, a, apitoken.ListQuery{}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"Counts", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.Counts(ctx, a)
		return err
	}},
	{"ReadyToCutOver", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.ReadyToCutOver(ctx, a, time.Time{})
		return err
	}},
	{"EditOrigins", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.EditOrigins(ctx, a, apitoken.OriginsRequest{Origins: []string{"https://new.example"}})
		return err
	}},
	{"Origins", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.Origins(ctx, a)
		return err
	}},
	{"FindBySecret", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.FindBySecret(ctx, a, "damaged")
		return err
	}},
	{"ReportLeak", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.ReportLeak(ctx, a, apitoken.LeakReport{Value: apitoken.NewSecret("damaged")})
		return err
	}},
	{"Bulk", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		for _, err := range m.Bulk(ctx, a, apitoken.BulkRequest{Action: apitoken.BulkRevoke, Kinds: []apitoken.Kind{agent}}) {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"ExplainCredential", func(ctx context.Context, m apitoken.Manager, a apitoken.Actor) error {
		_, err := m.Explain(ctx, a, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: "damaged"}})
		return err
	}},
}

// checksumOf is the end of a token string, computed here from its definition.
func checksumOf(head string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum, out := crc32.ChecksumIEEE([]byte(head)), make([]byte, 6)
	for i := range out {
		out[len(out)-1-i] = digits[sum%62]
		sum /= 62
	}
	return string(out)
}
