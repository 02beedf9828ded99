package apitoken_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/memstore"
)

type (
	policy  = apitoken.Policy
	options = apitoken.Options
	kinds   = map[apitoken.Kind]apitoken.Policy
)

// completeOptions has everything that any preset asks for.
func completeOptions(t *testing.T) options {
	return options{
		Catalog: apitoken.MustCatalog([]apitoken.Permission{
			{Name: "view", API: true}, {Name: "manage", API: true, Implies: []string{"view"}}, {Name: "deploy", API: true},
			{Name: "tokens:create"}, {Name: "login"},
		}, []apitoken.Role{{Name: "deploy", Permissions: []string{"deploy"}}, {Name: "reader", Permissions: []string{"view", "login"}}}),
		Owners: apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) { return apitoken.Standing{}, nil }),
		Agents: apitoken.AgentsFunc(func(context.Context, string, string) (apitoken.Registration, error) {
			return apitoken.Registration{}, nil
		}),
		Admins: apitoken.AdminsFunc(func(context.Context, string) ([]apitoken.Administrator, error) { return nil, nil }),
	}
}

func TestNewAcceptsPresets(t *testing.T) {
	t.Parallel()
	o := completeOptions(t)
	o.Kinds = kinds{
		"sliding": apitoken.SlidingPolicy(), "agent": apitoken.AgentPolicy(map[string]apitoken.AgentKind{"ldap": {Permissions: []string{"view"}}}),
		"fixed": apitoken.FixedTermPolicy("tokens:create"), "personal": apitoken.PersonalPolicy(), "shared": apitoken.SharedPolicy(),
		"node": apitoken.NodePolicy(), "legacy": apitoken.LegacyPolicy(),
	}
	o.Uses = map[string][]apitoken.Kind{"deploy": {"node"}}
	o.ReplayGuard = memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{})
	s, err := apitoken.New(untouchable{}, o)
	require.NoError(t, err)
	require.NotNil(t, s)
}

// The zero Options and the zero Policy work: the ten-line path names neither.
func TestNewNeedsNothing(t *testing.T) {
	t.Parallel()
	for _, o := range []options{{}, {Kinds: kinds{}}, {Kinds: kinds{"ci": {}}}, {Prefix: "acme", DefaultKind: apitoken.DefaultKind}} {
		_, err := apitoken.New(untouchable{}, o)
		require.NoError(t, err)
	}
}

// Every preset, alone, says which part of the host it needs.
func TestNewNamesWhatAPresetNeeds(t *testing.T) {
	t.Parallel()
	catalog := completeOptions(t).Catalog
	for name, tc := range map[string]struct {
		policy policy
		fields []string
		fix    string
	}{
		"sliding":  {apitoken.SlidingPolicy(), []string{`Kinds["k"].Grant`}, "set Options.Owners"},
		"agent":    {apitoken.AgentPolicy(nil), []string{`Kinds["k"].Ownership`}, "set Options.Agents"},
		"fixed":    {apitoken.FixedTermPolicy(""), []string{`Kinds["k"].FreezeResources`}, "set Options.Owners"},
		"personal": {apitoken.PersonalPolicy(), []string{`Kinds["k"].CreatorRolesAtUse`, `Kinds["k"].Grant`, `Kinds["k"].OwnerInactive`}, "set Options.Owners"},
		"legacy":   {apitoken.LegacyPolicy(), []string{`Kinds["k"].CreatorRolesAtUse`, `Kinds["k"].Grant`, `Kinds["k"].OwnerInactive`}, "set Options.Owners"},
		"shared":   {apitoken.SharedPolicy(), nil, ""},
		"node":     {apitoken.NodePolicy(), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := apitoken.New(memstore.New(), options{Catalog: catalog, Kinds: kinds{"k": tc.policy}})
			require.Equal(t, tc.fields, faultFields(err))
			for _, f := range apitoken.Fields(err) {
				require.Contains(t, f.Problem, tc.fix)
			}
		})
	}
	_, err := apitoken.New(untouchable{}, options{Kinds: kinds{"k": apitoken.NodePolicy()}})
	require.Equal(t, []string{`Kinds["k"].Ceiling`, `Kinds["k"].DefaultRole`}, faultFields(err))
	require.ErrorContains(t, err, "set Options.Catalog")
}

func faultFields(err error) []string {
	var out []string
	for _, f := range apitoken.Fields(err) {
		out = append(out, f.Field)
	}
	return out
}

// Each fault of the options is named, with what to do, and nothing else is.
func TestNewNamesEachFault(t *testing.T) {
	t.Parallel()
	kind := func(p policy) func(*options) { return func(o *options) { o.Kinds = kinds{"k": p} } }
	for name, tc := range map[string]struct {
		change func(o *options)
		field  string
		says   string
	}{
		"prefix in upper case":    {func(o *options) { o.Prefix = "Acme" }, "Prefix", `"Acme" is no prefix: write lower-case words`},
		"prefix too long":         {func(o *options) { o.Prefix = strings.Repeat("a", 65) }, "Prefix", "at most 64 bytes"},
		"old prefix":              {func(o *options) { o.OldPrefixes = []string{"ok", "not ok"} }, "OldPrefixes[1]", "write lower-case words"},
		"prefix of a kind":        {kind(policy{Prefix: "acme__x"}), `Kinds["k"].Prefix`, "write lower-case words"},
		"kind without a name":     {func(o *options) { o.Kinds = kinds{"": {}} }, `Kinds[""]`, "1 to 64 bytes"},
		"kind with a long name":   {func(o *options) { o.Kinds = kinds{apitoken.Kind(strings.Repeat("k", 65)): {}} }, `Kinds["` + strings.Repeat("k", 64) + `…"]`, "1 to 64 bytes"},
		"kind with a line break":  {func(o *options) { o.Kinds = kinds{"a\nb": {}} }, `Kinds["a\nb"]`, "without control characters"},
		"default kind":            {func(o *options) { o.DefaultKind = "other"; o.Kinds = kinds{"b": {}, "a": {}} }, "DefaultKind", "name one of [a b]"},
		"use of no kind":          {func(o *options) { o.Uses = map[string][]apitoken.Kind{"deploy": {apitoken.DefaultKind, "node"}} }, `Uses["deploy"]`, `kind "node" is not in Kinds: add it`},
		"usage interval short":    {func(o *options) { o.UsageInterval = time.Second - 1 }, "UsageInterval", "give 1s to 1h0m0s, or 0 for 1m0s"},
		"usage interval long":     {func(o *options) { o.UsageInterval = time.Hour + 1 }, "UsageInterval", "give 1s to 1h0m0s"},
		"sweep interval negative": {func(o *options) { o.SweepInterval = -1 }, "SweepInterval", "or 0 for 1m0s"},
		"clock skew negative":     {func(o *options) { o.ClockSkew = -1 }, "ClockSkew", "give 0s to 1h0m0s"},
		"purges negative":         {func(o *options) { o.MaxPurges = -1 }, "MaxPurges", "or 0 for 1,000"},
		"pending uses negative":   {func(o *options) { o.MaxPendingUses = -1 }, "MaxPendingUses", "above 0"},
		"limit without window":    {func(o *options) { o.Limits = map[string]apitoken.Limit{"api": {Quota: 1}} }, `Limits["api"]`, "say per how long"},
		"negative limit":          {func(o *options) { o.Limits = map[string]apitoken.Limit{"api": {Quota: -1, Window: 1}} }, `Limits["api"]`, "give 0 to block"},
		"share":                   {kind(policy{Share: 101}), `Kinds["k"].Share`, "1 to 100"},
		"negative share":          {kind(policy{Share: -1}), `Kinds["k"].Share`, "1 to 100"},
		"negative purge":          {kind(policy{Purge: -1}), `Kinds["k"].Purge`, "0 for never"},
		"negative notice":         {kind(policy{Notice: -1}), `Kinds["k"].Notice`, "0 for none"},
		"negative locked purge":   {kind(policy{PurgeExpired: -1}), `Kinds["k"].PurgeExpired`, "0 for never"},
		"purge of what disables":  {kind(policy{PurgeExpired: 1, AfterExpiry: apitoken.ExpiryDisables}), `Kinds["k"].PurgeExpired`, "use Purge"},
		"agent kinds of a user's": {kind(policy{AgentKinds: map[string]apitoken.AgentKind{}}), `Kinds["k"].AgentKinds`, "OwnedByAgent"},
		"ownership":               {kind(policy{Ownership: "nobody"}), `Kinds["k"].Ownership`, "use OwnedByCreator"},
		"grant":                   {kind(policy{Grant: "all"}), `Kinds["k"].Grant`, "use GrantFrozen"},
		"live without an owner":   {kind(policy{Grant: apitoken.GrantLive, Ownership: apitoken.OwnedByTenant}), `Kinds["k"].Grant`, "use GrantFrozen"},
		"nobody may issue":        {kind(policy{SystemOnly: true}), `Kinds["k"].SystemOnly`, "change Ownership"},
		"message of no event":     {kind(policy{Messages: map[apitoken.EventType]string{"token.made": "x"}}), `Kinds["k"].Messages`, "use one of the Event constants"},
		"notice of no event":      {kind(policy{Notify: map[apitoken.EventType]apitoken.Recipients{"token.made": apitoken.NotifyOwner}}), `Kinds["k"].Notify`, "use one of the Event constants"},
		"edit what is live": {func(o *options) {
			o.Owners = apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) {
				return apitoken.Standing{}, apitoken.ErrNotFound
			})
			o.Kinds = kinds{"k": {Grant: apitoken.GrantLive, EditPermissions: true}}
		}, `Kinds["k"].EditPermissions`, "have what their owners have"},
		"cut of an agent's":       {kind(policy{Grant: apitoken.GrantCut, Ownership: apitoken.OwnedByAgent}), `Kinds["k"].Grant`, "use GrantFrozen"},
		"after expiry":            {kind(policy{AfterExpiry: "delete"}), `Kinds["k"].AfterExpiry`, "use ExpiryLocks"},
		"owner inactive":          {kind(policy{OwnerInactive: "delete"}), `Kinds["k"].OwnerInactive`, "use OwnerSuspends"},
		"roles at use, no roles":  {kind(policy{CreatorRolesAtUse: true}), `Kinds["k"].CreatorRolesAtUse`, "CreatorRoles"},
		"frozen groups of nobody": {kind(policy{FreezeResources: true, Ownership: apitoken.OwnedByTenant}), `Kinds["k"].FreezeResources`, "OwnedByCreator"},
		"ceiling unknown":         {kind(policy{Ceiling: []string{"view", "fly"}}), `Kinds["k"].Ceiling`, `"fly"`},
		"ceiling for people":      {kind(policy{Ceiling: []string{"view", "login"}}), `Kinds["k"].Ceiling`, "[login] are not for tokens: mark them as API"},
		"agent kind unknown":      {kind(agents("fly")), `Kinds["k"].AgentKinds["ldap"]`, `"fly"`},
		"agent kind for people":   {kind(agents("login")), `Kinds["k"].AgentKinds["ldap"]`, "mark them as API"},
		"agent kind over ceiling": {kind(func() policy { p := agents("manage"); p.Ceiling = []string{"view"}; return p }()), `Kinds["k"].AgentKinds["ldap"]`, "[manage] are beyond the kind's Ceiling"},
		"create permission":       {kind(policy{CreatePermission: "fly"}), `Kinds["k"].CreatePermission`, `"fly" is not in Options.Catalog: add it`},
		"manage permission":       {kind(policy{ManagePermission: "fly"}), `Kinds["k"].ManagePermission`, `"fly" is not in Options.Catalog: add it`},
		"default role":            {kind(policy{DefaultRole: "pilot"}), `Kinds["k"].DefaultRole`, `"pilot" is no role of Options.Catalog: add it`},
		"lifetime":                {kind(policy{Lifetime: apitoken.Lifetime{Idle: time.Second}}), `Kinds["k"].Lifetime.Idle`, "two usage intervals (2m0s)"},
		"who is told": {func(o *options) {
			o.Kinds = kinds{"k": {Notify: map[apitoken.EventType]apitoken.Recipients{apitoken.EventCreated: apitoken.NotifyAdmins}}}
			o.Admins, o.Notifier = nil, notifierFunc(nil)
		}, `Kinds["k"].Notify`, "set Options.Admins"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := completeOptions(t)
			tc.change(&o)
			s, err := apitoken.New(untouchable{}, o)
			require.Nil(t, s)
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			require.Equal(t, []string{tc.field}, faultFields(err), "%v", err)
			require.ErrorContains(t, err, tc.says)
		})
	}
	_, err := apitoken.New(nil, options{})
	require.Equal(t, []string{"store"}, faultFields(err))
	require.ErrorContains(t, err, "memstore.New()")
}

func agents(permissions ...string) policy {
	return apitoken.AgentPolicy(map[string]apitoken.AgentKind{"ldap": {Permissions: permissions}, "none": {}})
}

type notifierFunc func(context.Context, apitoken.Notification) error

func (f notifierFunc) Notify(ctx context.Context, n apitoken.Notification) error { return f(ctx, n) }

// All faults come at once, and in the same order every time.
func TestNewJoinsAllFaults(t *testing.T) {
	t.Parallel()
	fault := func() error {
		_, err := apitoken.New(nil, options{
			Prefix: "-", OldPrefixes: []string{"-"}, DefaultKind: "z", UsageInterval: -1, SweepInterval: -1, ClockSkew: -1, MaxPendingUses: -1,
			Limits: map[string]apitoken.Limit{"b": {}, "a": {}, "c": {}},
			Uses:   map[string][]apitoken.Kind{"y": {"no"}, "x": {"no"}},
			Kinds: kinds{
				"b": {Share: -1, Purge: -1, Ownership: "?", Grant: "?", AfterExpiry: "?", OwnerInactive: "?", CreatorRolesAtUse: true, FreezeResources: true},
				"a": {Ceiling: []string{"x"}, CreatePermission: "x", ManagePermission: "x", DefaultRole: "x", Lifetime: apitoken.Lifetime{Idle: -1, Min: apitoken.Period{Days: -1}}},
			},
		})
		return err
	}
	first := fault()
	require.Equal(t, []string{
		"store", "DefaultKind", "UsageInterval", "SweepInterval", "ClockSkew", "MaxPendingUses", `Limits["a"]`, `Limits["b"]`, `Limits["c"]`,
		"Prefix", "OldPrefixes[0]",
		`Kinds["a"].Ceiling`, `Kinds["a"].CreatePermission`, `Kinds["a"].ManagePermission`, `Kinds["a"].DefaultRole`,
		`Kinds["a"].Lifetime.Min`, `Kinds["a"].Lifetime.Idle`,
		`Kinds["b"].Share`, `Kinds["b"].Purge`, `Kinds["b"].Ownership`, `Kinds["b"].CreatorRolesAtUse`, `Kinds["b"].FreezeResources`, `Kinds["b"].Grant`, `Kinds["b"].AfterExpiry`, `Kinds["b"].OwnerInactive`,
		`Uses["x"]`, `Uses["y"]`,
	}, faultFields(first))
	for _, f := range apitoken.Fields(first) {
		require.NotEmpty(t, f.Problem, f.Field)
	}
	for range 20 {
		require.EqualError(t, fault(), first.Error())
	}
}

// The presets are plain values: changing one changes no other.
func TestPresetsShareNothing(t *testing.T) {
	t.Parallel()
	for name, preset := range map[string]func() policy{
		"sliding": apitoken.SlidingPolicy, "personal": apitoken.PersonalPolicy, "shared": apitoken.SharedPolicy, "node": apitoken.NodePolicy, "legacy": apitoken.LegacyPolicy,
	} {
		a, b := preset(), preset()
		a.CreatorRoles[0] = "changed"
		require.NotEqual(t, "changed", b.CreatorRoles[0], name)
		require.NotEqual(t, "changed", preset().CreatorRoles[0], name)
		if len(a.ManagerRoles) > 0 {
			require.NotEqual(t, "changed", a.ManagerRoles[0], "%s: creators and managers are two lists", name)
		}
	}
	for _, preset := range []func() policy{apitoken.PersonalPolicy, apitoken.SharedPolicy, apitoken.NodePolicy, apitoken.LegacyPolicy} {
		preset().Notify[apitoken.EventExpiring] = 0
		require.NotZero(t, preset().Notify[apitoken.EventExpiring])
	}
	a := apitoken.FixedTermPolicy("")
	a.Messages[apitoken.EventCreated] = "changed"
	require.Equal(t, "API token updated", apitoken.FixedTermPolicy("").Messages[apitoken.EventCreated])
}

// The families, as docs/requirements.md tells them apart.
func TestPresetsOfTheFamilies(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	sliding, agent, fixed := apitoken.SlidingPolicy(), apitoken.AgentPolicy(nil), apitoken.FixedTermPolicy("tokens:create")
	personal, shared, node, legacy := apitoken.PersonalPolicy(), apitoken.SharedPolicy(), apitoken.NodePolicy(), apitoken.LegacyPolicy()

	// S1.6, S1.7, S1.10, S1.19
	require.Equal(t, apitoken.GrantLive, sliding.Grant)
	require.Len(t, sliding.CreatorRoles, 5)
	require.Equal(t, 30*day, sliding.Lifetime.Idle)
	require.Equal(t, 50, sliding.Share)
	require.Equal(t, 30*day, agent.Lifetime.Idle)
	require.True(t, agent.SystemOnly)

	// S2.3, S2.6, S2.16, S2.21, S2.32, S2.35
	require.True(t, fixed.FreezeResources)
	require.False(t, fixed.EditPermissions)
	require.Equal(t, "tokens:create", fixed.CreatePermission)
	require.Equal(t, apitoken.Lifetime{Default: apitoken.Period{Days: 90}, Max: apitoken.Period{Years: 1}, Required: true, WholeDay: true}, fixed.Lifetime)
	require.Equal(t, apitoken.ExpiryLocks, fixed.AfterExpiry)
	require.True(t, fixed.NoRotation)
	require.Zero(t, fixed.PurgeExpired)
	// S2.31, S2.33, S2.34
	require.Equal(t, 3*day, fixed.Notice)
	require.Equal(t, map[apitoken.EventType]apitoken.Recipients{
		apitoken.EventCreated:  apitoken.NotifyCreator | apitoken.NotifySystemAdmins,
		apitoken.EventExpiring: apitoken.NotifyOwner | apitoken.NotifySystemAdmins,
		apitoken.EventLeaked:   apitoken.NotifyOwner | apitoken.NotifySystemAdmins,
		apitoken.EventExpired:  apitoken.NotifyOwner | apitoken.NotifySystemAdmins,
	}, fixed.Notify)

	// S3.8, S3.9; the sliding family has no mail, only events.
	for name, want := range map[string]struct {
		policy policy
		to     apitoken.Recipients
	}{"personal": {personal, apitoken.NotifyOwner}, "legacy": {legacy, apitoken.NotifyOwner}, "shared": {shared, apitoken.NotifyAdmins}, "node": {node, apitoken.NotifyAdmins}} {
		require.Equal(t, 3*day, want.policy.Notice, name)
		require.Equal(t, map[apitoken.EventType]apitoken.Recipients{apitoken.EventExpiring: want.to, apitoken.EventLeaked: want.to}, want.policy.Notify, name)
	}
	for _, p := range []policy{sliding, agent} {
		require.Zero(t, p.Notice)
		require.Empty(t, p.Notify)
	}

	// S3.3, S3.6, S3.12, S3.14, S3.15, S3.16, S3.17, S3.20
	for _, p := range []policy{personal, shared, node, legacy} {
		require.Equal(t, 7*day, p.Purge)
		require.True(t, p.EnableNeedsExpiry)
		require.Equal(t, apitoken.ExpiryDisables, p.AfterExpiry)
		require.Zero(t, p.Lifetime)
		require.False(t, p.NoRotation)
		require.Zero(t, p.Share, "100 % by default")
	}
	require.Equal(t, apitoken.GrantCut, personal.Grant)
	require.Equal(t, apitoken.OwnerDisables, personal.OwnerInactive)
	require.True(t, personal.CreatorRolesAtUse)
	require.True(t, slices.Contains(personal.CreatorRoles, "analyst") && !slices.Contains(personal.ManagerRoles, "analyst"))
	require.Equal(t, apitoken.OwnedByTenant, shared.Ownership)
	require.Equal(t, []string{"administrator", "global_administrator"}, shared.CreatorRoles)
	require.Equal(t, shared.CreatorRoles, shared.ManagerRoles)
	require.Equal(t, apitoken.OwnerIgnored, shared.OwnerInactive)
	require.True(t, legacy.Legacy)
	require.Equal(t, apitoken.GrantLive, legacy.Grant)
	require.False(t, legacy.EditPermissions)

	// S3.11, S3.21
	require.Equal(t, []string{"deploy"}, node.Ceiling)
	require.Equal(t, "deploy", node.DefaultRole)
	require.Equal(t, apitoken.OwnedByTenant, node.Ownership)
}

// New starts nothing and asks nobody.
func TestNewAsksNobody(t *testing.T) {
	t.Parallel()
	o := completeOptions(t)
	asked := errors.New("asked")
	o.Owners = apitoken.OwnersFunc(func(context.Context, string, string) (apitoken.Standing, error) { panic(asked) })
	o.Clock = apitoken.ClockFunc(func() time.Time { panic(asked) })
	_, err := apitoken.New(untouchable{}, o)
	require.NoError(t, err)
}
