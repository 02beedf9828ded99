package apitoken_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// deviceCatalog is the vocabulary of the fixed-term family's examples.
func deviceCatalog(t *testing.T) *apitoken.Catalog {
	t.Helper()
	c, err := apitoken.NewCatalog([]apitoken.Permission{
		{Name: "devices:view", API: true},
		{Name: "devices:manage", API: true, Implies: []string{"devices:view"}},
		{Name: "devices:wipe", API: true, Implies: []string{"devices:manage"}},
		{Name: "reports:view", API: true},
		{Name: "geolocation:view", API: true},
		{Name: "address:view", API: true},
		{Name: "scripts:run", API: true},
		{Name: "console:login"},
		{Name: "console:admin", Implies: []string{"console:login", "devices:manage"}},
	}, []apitoken.Role{
		{Name: "operator", Permissions: []string{"devices:manage", "console:login"}},
		{Name: "nobody"},
	})
	require.NoError(t, err)
	return c
}

func setOf(t *testing.T, c *apitoken.Catalog, names ...string) apitoken.Permissions {
	t.Helper()
	p, err := c.Set(names...)
	require.NoError(t, err)
	return p
}

// S2.22: choosing manage chooses view; removing view removes manage.
func TestManageTakesView(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	p := setOf(t, c, "devices:manage")
	require.Equal(t, []string{"devices:manage", "devices:view"}, p.Names())

	p = setOf(t, c, "devices:wipe")
	require.Equal(t, []string{"devices:manage", "devices:view", "devices:wipe"}, p.Names(), "implications go on")

	p, err := setOf(t, c).With("reports:view", "devices:manage")
	require.NoError(t, err)
	require.Equal(t, []string{"devices:manage", "devices:view", "reports:view"}, p.Names())

	require.Equal(t, []string{"reports:view"}, p.Without("devices:view").Names(), "manage never stays without view")
	require.Equal(t, []string{"devices:view", "reports:view"}, p.Without("devices:manage").Names(), "view stays without manage")
	require.Equal(t, p, p.Without("scripts:run", "unknown"))
	require.Empty(t, setOf(t, c, "devices:wipe").Without("devices:view").Names(), "also where it is implied at second hand")
}

// S2.22: 'select all' and 'clear all'; S2.7: what tokens may carry.
func TestCatalogAllAndAPI(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	require.Equal(t, 9, c.All().Len())
	require.Equal(t, []string{
		"address:view", "devices:manage", "devices:view", "devices:wipe", "geolocation:view", "reports:view", "scripts:run",
	}, c.API().Names())
	require.True(t, c.All().Covers(c.API()))
	require.Empty(t, c.All().Without(c.All().Names()...).Names())
	require.True(t, slices.IsSorted(c.All().Names()))
}

func TestCatalogRoles(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	require.Equal(t, []string{"nobody", "operator"}, c.Roles())
	p, ok := c.Role("operator")
	require.True(t, ok)
	require.Equal(t, []string{"console:login", "devices:manage", "devices:view"}, p.Names(), "what a role's permissions imply comes along")
	p, ok = c.Role("nobody")
	require.True(t, ok)
	require.Zero(t, p.Len())
	_, ok = c.Role("Operator")
	require.False(t, ok)
}

func TestNewCatalogNamesEveryFault(t *testing.T) {
	t.Parallel()
	permissions := []apitoken.Permission{
		{Name: "ok:view", API: true},
		{Name: ""},
		{Name: "with space"},
		{Name: "ok:view"},
		{Name: "ok:manage", API: true, Implies: []string{"ok:view", "missing", "people"}},
		{Name: "people"},
		{Name: strings.Repeat("x", 129)},
		{Name: "naïve"},
		{Name: "line\nbreak"},
	}
	roles := []apitoken.Role{
		{Name: ""},
		{Name: "a", Permissions: []string{"ok:view"}},
		{Name: "a"},
		{Name: "b", Permissions: []string{"missing", "ok:view", "gone"}},
	}
	c, err := apitoken.NewCatalog(permissions, roles)
	require.Nil(t, c)
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	var got []string
	for _, f := range apitoken.Fields(err) {
		require.NotEmpty(t, f.Problem)
		got = append(got, f.Field)
	}
	require.Equal(t, []string{
		"permissions[1]", "permissions[2]", "permissions[3]", "permissions[6]", "permissions[7]", "permissions[8]",
		"permissions", "permissions",
		"roles[0]", "roles[2]", "roles[3]",
	}, got)
	require.ErrorContains(t, err, `"ok:manage" implies "missing"`)
	require.ErrorContains(t, err, `implies "people", which may not`)
	require.ErrorContains(t, err, `"missing"`)
	require.ErrorContains(t, err, `"gone"`, "each unknown name of a role")
	require.PanicsWithError(t, err.Error(), func() {
		apitoken.MustCatalog(permissions, roles)
	})
}

// P16: 1,024 permissions are possible, and each keeps a bit of its own.
func TestCatalogIsBounded(t *testing.T) {
	t.Parallel()
	var list []apitoken.Permission
	for i := range apitoken.MaxPermissions {
		p := apitoken.Permission{Name: fmt.Sprintf("p%04d", i), API: true}
		if i > 0 {
			p.Implies = []string{fmt.Sprintf("p%04d", i-1)} // the longest chain there can be
		}
		list = append(list, p)
	}
	c, err := apitoken.NewCatalog(list, nil)
	require.NoError(t, err)
	require.Equal(t, apitoken.MaxPermissions, c.All().Len())
	for _, i := range []int{0, 1, 62, 63, 64, 65, 127, 128, 511, 1022, 1023} {
		require.Equal(t, i+1, setOf(t, c, list[i].Name).Len(), "%d implies all before it", i)
		require.Equal(t, i, c.All().Without(list[i].Name).Len(), "%d takes all after it along", i)
		require.Equal(t, []string{list[i].Name}, c.Known(list[i].Name).Names())
	}

	_, err = apitoken.NewCatalog(append(list, apitoken.Permission{Name: "one-more"}), nil)
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.ErrorContains(t, err, "1024")
}

// Implications may run in circles: all of a circle come together.
func TestCatalogWithACircle(t *testing.T) {
	t.Parallel()
	c, err := apitoken.NewCatalog([]apitoken.Permission{
		{Name: "a", Implies: []string{"b"}}, {Name: "b", Implies: []string{"c"}}, {Name: "c", Implies: []string{"a", "c"}}, {Name: "d"},
	}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, setOf(t, c, "b").Names())
	require.Equal(t, []string{"d"}, c.All().Without("c").Names())
}

// Names read back from storage: what is unknown grants nothing, and so does an
// implication that the catalog gained since.
func TestKnownIsNotSet(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	require.Equal(t, []string{"devices:manage"}, c.Known("devices:manage", "removed:permission", "", "devices:MANAGE").Names())
	_, err := c.Set("devices:manage", "removed:permission", "other")
	require.Len(t, apitoken.Fields(err), 2)
	require.Equal(t, "permissions[1]", apitoken.Fields(err)[0].Field)
	require.ErrorContains(t, err, "check the spelling")

	p, err := c.Set("devices:view", "unknown")
	require.Error(t, err)
	require.Zero(t, p.Len(), "nothing is granted beside a fault")
	before := setOf(t, c, "reports:view")
	after, err := before.With("unknown", "devices:view")
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.Equal(t, before, after)
}

// A set of another Catalog grants nothing, even if it has the same names.
func TestSetsOfAnotherCatalogGrantNothing(t *testing.T) {
	t.Parallel()
	a, b := deviceCatalog(t), deviceCatalog(t)
	mine, theirs := setOf(t, a, "devices:manage"), setOf(t, b, "devices:manage")
	require.False(t, mine == theirs, "two catalogs are two, whatever their names")
	require.Zero(t, mine.Intersect(theirs).Len())
	require.Equal(t, mine, mine.Union(b.All()), "it adds nothing")
	require.Equal(t, mine, mine.Minus(theirs))
	require.False(t, mine.Covers(theirs))
	require.True(t, mine.Covers(setOf(t, b)), "an empty set asks for nothing")

	need := a.MustRequire("devices:view")
	require.NoError(t, need.Check(mine, apitoken.Resources{}))
	err := need.Check(theirs, apitoken.Resources{})
	require.ErrorIs(t, err, apitoken.ErrForbidden)
	var lacks *apitoken.PermissionError
	require.ErrorAs(t, err, &lacks)
	require.Equal(t, []string{"devices:view"}, lacks.Missing)
	require.False(t, need.Field("geoData", "geolocation:view").FieldAllowed(b.All(), "geoData"))
}

func TestZeroPermissions(t *testing.T) {
	t.Parallel()
	var zero apitoken.Permissions
	require.Nil(t, zero.Names())
	require.Zero(t, zero.Len())
	require.False(t, zero.Has(""))
	require.False(t, zero.Has("devices:view"))
	require.True(t, zero.Covers(zero))
	require.Equal(t, zero, zero.Without("x"))
	require.Equal(t, zero, zero.Union(zero).Intersect(zero).Minus(zero))
	_, err := zero.With("devices:view")
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.ErrorContains(t, err, "Catalog.Set")

	c := deviceCatalog(t)
	require.Equal(t, c.All(), zero.Union(c.All()))
	require.Zero(t, zero.Intersect(c.All()).Len())
	require.False(t, zero.Covers(c.All()))
	require.True(t, c.All().Covers(zero))
}

// No Catalog at all: nothing is granted, and asking does not panic.
func TestNilCatalog(t *testing.T) {
	t.Parallel()
	var c *apitoken.Catalog
	require.Zero(t, c.All().Len())
	require.Zero(t, c.API().Len())
	require.Zero(t, c.Known("a").Len())
	require.Nil(t, c.Roles())
	_, ok := c.Role("a")
	require.False(t, ok)
	_, err := c.Set("a")
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	_, err = c.Require("a")
	require.ErrorIs(t, err, apitoken.ErrInvalid)
	require.Panics(t, func() { c.MustRequire("a") })
}

// The sets behave as sets of names do: random sets against maps.
func TestPermissionsAlgebra(t *testing.T) {
	t.Parallel()
	type names = map[string]bool
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 7))
		n := 1 + r.IntN(200)
		var list []apitoken.Permission
		for i := range n {
			p := apitoken.Permission{Name: fmt.Sprintf("p%d", i), API: true}
			for range r.IntN(3) {
				p.Implies = append(p.Implies, fmt.Sprintf("p%d", r.IntN(n)))
			}
			list = append(list, p)
		}
		c, err := apitoken.NewCatalog(list, nil)
		require.NoError(t, err)
		closure := func(chosen []string) names {
			out := names{}
			for todo := chosen; len(todo) > 0; {
				name := todo[0]
				todo = todo[1:]
				if out[name] {
					continue
				}
				out[name] = true
				i := slices.IndexFunc(list, func(p apitoken.Permission) bool { return p.Name == name })
				todo = append(slices.Clone(todo), list[i].Implies...)
			}
			return out
		}
		pick := func() (apitoken.Permissions, names) {
			var chosen []string
			for range r.IntN(n) {
				chosen = append(chosen, list[r.IntN(n)].Name)
			}
			return setOf(t, c, chosen...), closure(chosen)
		}
		same := func(want names, got apitoken.Permissions, what string) {
			t.Helper()
			maps.DeleteFunc(want, func(_ string, in bool) bool { return !in })
			require.Equal(t, slices.Sorted(maps.Keys(want)), got.Names(), "seed %d: %s", seed, what)
			require.Equal(t, len(want), got.Len())
		}
		for range 10 {
			p, pn := pick()
			q, qn := pick()
			same(maps.Clone(pn), p, "set")
			union, both, minus := maps.Clone(pn), names{}, names{}
			maps.Copy(union, qn)
			for name := range pn {
				both[name], minus[name] = qn[name], !qn[name]
			}
			covers := true
			for name := range qn {
				covers = covers && pn[name]
				require.True(t, q.Has(name))
			}
			same(union, p.Union(q), "union")
			same(both, p.Intersect(q), "intersection")
			same(minus, p.Minus(q), "difference")
			require.Equal(t, covers, p.Covers(q))
			require.True(t, p.Covers(p.Intersect(q)))
			require.True(t, p.Union(q).Covers(p))
			require.Equal(t, p.Union(q), q.Union(p))
			require.Equal(t, p.Intersect(q), q.Intersect(p))
			require.Equal(t, p, p.Minus(q).Union(p.Intersect(q)))
			require.Equal(t, p, setOf(t, c, p.Names()...), "a set made by Set is closed")

			without := list[r.IntN(n)].Name
			left := p.Without(without)
			require.False(t, left.Has(without))
			require.Equal(t, left, setOf(t, c, left.Names()...), "what is left is closed: manage never stays without view")
			for _, name := range p.Minus(left).Names() {
				require.True(t, closure([]string{name})[without], "only what implies it goes along")
			}
		}
	}
}

// S2.8: an endpoint may need several permissions at once, and names all that are
// missing.
func TestRequirementNeedsAll(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	need := c.MustRequire("devices:view", "reports:view")
	for name, tc := range map[string]struct {
		have    []string
		missing []string
	}{
		"both":             {[]string{"devices:view", "reports:view"}, nil},
		"more":             {[]string{"devices:wipe", "reports:view", "scripts:run"}, nil},
		"implied":          {[]string{"devices:manage", "reports:view"}, nil},
		"one":              {[]string{"devices:view"}, []string{"reports:view"}},
		"none":             {nil, []string{"devices:view", "reports:view"}},
		"only another one": {[]string{"scripts:run"}, []string{"devices:view", "reports:view"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := need.Check(setOf(t, c, tc.have...), apitoken.Resources{})
			if tc.missing == nil {
				require.NoError(t, err)
				return
			}
			var lacks *apitoken.PermissionError
			require.ErrorAs(t, err, &lacks)
			require.Equal(t, tc.missing, lacks.Missing)
			require.Empty(t, lacks.Groups)
			for _, m := range tc.missing {
				require.ErrorContains(t, err, m)
			}
		})
	}
}

// S2.8: the device example. geoData is returned to those who may see locations
// and addresses, and asking for it needs both beside the endpoint's own.
func TestRequirementFields(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	need := c.MustRequire("devices:view", "reports:view").
		Field("geoData", "geolocation:view", "address:view").
		Field("serial")
	device := setOf(t, c, "devices:view", "reports:view")
	located := setOf(t, c, "devices:view", "reports:view", "geolocation:view")
	all := setOf(t, c, "devices:view", "reports:view", "geolocation:view", "address:view")
	none := apitoken.Resources{}

	require.NoError(t, need.Check(device, none), "a declared field does not burden the endpoint")
	require.ErrorContains(t, need.Asking("geoData").Check(device, none), "address:view, geolocation:view")
	require.ErrorContains(t, need.Asking("geoData").Check(located, none), "address:view")
	require.NoError(t, need.Asking("geoData").Check(all, none))
	require.NoError(t, need.Asking("serial", "undeclared").Check(device, none))

	require.False(t, need.FieldAllowed(device, "geoData"))
	require.False(t, need.FieldAllowed(located, "geoData"))
	require.True(t, need.FieldAllowed(all, "geoData"))
	require.True(t, need.FieldAllowed(device, "serial"))
	require.True(t, need.FieldAllowed(device, "undeclared"))
	require.False(t, need.Asking("serial").FieldAllowed(device, "geoData"), "what was asked for changes nothing for other fields")
}

// Said twice of a field, both hold: the second must not lift the first.
func TestRequirementFieldAddsUp(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	need := c.MustRequire().Field("geoData", "geolocation:view").Field("geoData", "address:view")
	require.False(t, need.FieldAllowed(setOf(t, c, "address:view"), "geoData"))
	require.True(t, need.FieldAllowed(setOf(t, c, "address:view", "geolocation:view"), "geoData"))
}

// Requirements are shared between routes: deriving one changes no other.
func TestRequirementIsImmutable(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	base := c.MustRequire("devices:view").In("eu")
	_ = base.Field("geoData", "geolocation:view")
	_ = base.Field("geoData", "geolocation:view").Asking("geoData")
	withField := base.Field("serial", "devices:view")
	_ = withField.Field("geoData", "geolocation:view")
	require.True(t, withField.FieldAllowed(setOf(t, c, "devices:view"), "geoData"))
	roomy := c.MustRequire().In("eu", "eu", "us") // its slice has room for one more
	_ = roomy.In("asia")
	require.NoError(t, roomy.Check(apitoken.Permissions{}, apitoken.Resources{Groups: []string{"eu", "us"}}))
	first, second := base.In("us"), base.In("asia")
	have := setOf(t, c, "devices:view")
	require.True(t, base.FieldAllowed(have, "geoData"))
	require.NoError(t, base.Check(have, apitoken.Resources{Groups: []string{"eu"}}))
	require.NoError(t, first.Check(have, apitoken.Resources{Groups: []string{"eu", "us"}}))
	require.NoError(t, second.Check(have, apitoken.Resources{Groups: []string{"eu", "asia"}}))
	require.Error(t, second.Check(have, apitoken.Resources{Groups: []string{"eu", "us"}}))
}

// S2.3: a requirement can ask for resource groups, all of them.
func TestRequirementIn(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	need := c.MustRequire("devices:view").In("eu", "us", "eu")
	have := setOf(t, c, "devices:view")
	require.NoError(t, need.Check(have, apitoken.Resources{All: true}))
	require.NoError(t, need.Check(have, apitoken.Resources{Groups: []string{"us", "asia", "eu"}}))

	var lacks *apitoken.PermissionError
	require.ErrorAs(t, need.Check(have, apitoken.Resources{Groups: []string{"us"}}), &lacks)
	require.Equal(t, []string{"eu"}, lacks.Groups)
	require.Empty(t, lacks.Missing)
	require.ErrorAs(t, need.Check(apitoken.Permissions{}, apitoken.Resources{}), &lacks)
	require.Equal(t, []string{"eu", "us"}, lacks.Groups, "the zero Resources are no group, and each is named once")
	require.Equal(t, []string{"devices:view"}, lacks.Missing)
	require.EqualError(t, lacks, "apitoken: missing permission devices:view and resource group eu, us: use a token that has it")

	onlyGroups := apitoken.Requirement{}.In("eu")
	require.NoError(t, onlyGroups.Check(apitoken.Permissions{}, apitoken.Resources{Groups: []string{"eu"}}))
	require.Error(t, onlyGroups.Check(c.All(), apitoken.Resources{}))
}

// S2.9: a whole group of endpoints shares one requirement.
func TestRequirementOfAGroupOfEndpoints(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	scripts := c.MustRequire("scripts:run")
	endpoints := map[string]apitoken.Requirement{
		"GET /scripts": scripts, "POST /scripts": scripts, "POST /scripts/{id}/run": scripts, "DELETE /scripts/{id}": scripts.In("eu"),
	}
	for endpoint, need := range endpoints {
		require.NoError(t, need.Check(setOf(t, c, "scripts:run"), apitoken.Resources{All: true}), endpoint)
		require.Error(t, need.Check(c.All().Without("scripts:run"), apitoken.Resources{All: true}), endpoint)
	}
}

// S2.8: the same Requirement answers for a person in the console, who may have
// permissions that no token can carry.
func TestRequirementOfAPerson(t *testing.T) {
	t.Parallel()
	c := deviceCatalog(t)
	person, _ := c.Role("operator")
	login := c.MustRequire("devices:view", "console:login")
	require.NoError(t, login.Check(person, apitoken.Resources{}))
	require.ErrorContains(t, login.Check(c.API(), apitoken.Resources{}), "console:login", "no token ever has it")
}

func TestZeroRequirement(t *testing.T) {
	t.Parallel()
	var zero apitoken.Requirement
	require.NoError(t, zero.Check(apitoken.Permissions{}, apitoken.Resources{}))
	require.NoError(t, zero.Asking("geoData").Check(apitoken.Permissions{}, apitoken.Resources{}))
	require.True(t, zero.FieldAllowed(apitoken.Permissions{}, "geoData"))
	require.Panics(t, func() { zero.Field("geoData", "geolocation:view") }, "there is no Catalog to look the name up in")

	c := deviceCatalog(t)
	require.NoError(t, c.MustRequire().Check(apitoken.Permissions{}, apitoken.Resources{}))
	require.Panics(t, func() { c.MustRequire("unknown") }, "an unknown permission is a fault of the program")
	require.Panics(t, func() { c.MustRequire("devices:view").Field("geoData", "unknown") })
	_, err := c.Require("devices:view", "unknown")
	require.True(t, errors.Is(err, apitoken.ErrInvalid))
}

// The hot path: a check that succeeds allocates nothing, whatever it asks.
func TestRequirementCheckAllocatesNothing(t *testing.T) {
	c := deviceCatalog(t)
	have := c.API()
	plain := c.MustRequire("devices:view", "reports:view").Field("geoData", "geolocation:view")
	grouped := plain.In("eu", "us")
	resources := apitoken.Resources{Groups: []string{"us", "eu"}}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if plain.Check(have, resources) != nil || grouped.Check(have, resources) != nil || !plain.FieldAllowed(have, "geoData") || !have.Has("devices:view") {
			t.Error("refused")
		}
	}))
}
