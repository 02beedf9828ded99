package apitoken_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

func TestIssueShowsTheValueOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(fixed, func(r *apitoken.IssueRequest) { r.Description = "nightly build" })
	value := issued.Secret.Reveal()

	// S1.18: the value is in the result and nowhere else; what is stored is a digest.
	// S2.30: no call gives it again.
	secret := value[len(value)-49 : len(value)-6]
	require.NotContains(t, w.dump(), secret)
	require.NotEmpty(t, w.stored(issued.Token.ID).Primary.Blob)
	require.Equal(t, "sha256", w.stored(issued.Token.ID).Primary.Algorithm)

	// S1.3 and S2.17.
	p := w.Verify(issued.Secret)
	require.Equal(t, "ann", p.Owner)
	require.Equal(t, "acme", p.Tenant)
	require.Equal(t, issued.Token.ID, p.Token)
	v := w.get(issued.Token.ID)
	require.Equal(t, "one", v.Name)
	require.Equal(t, "nightly build", v.Description)
	require.Equal(t, "ann", v.Creator)
	require.Equal(t, int64(1), v.Version)
	require.True(t, strings.HasPrefix(value, strings.TrimSuffix(v.Hint, "…")))
	require.NotContains(t, secret, v.Hint)
}

func TestIssueWhoMay(t *testing.T) {
	t.Parallel()
	role := func(names ...string) func(w *world) apitoken.Actor {
		return func(w *world) apitoken.Actor { w.Owners.SetRoles("acme", "eve", names...); return eve }
	}
	is := func(a apitoken.Actor) func(*world) apitoken.Actor {
		return func(*world) apitoken.Actor { return a }
	}
	for _, c := range []struct {
		name  string
		kind  apitoken.Kind
		actor func(*world) apitoken.Actor
		want  error // nil = may
	}{
		// S1.7: a set of creator roles per kind.
		{"super administrator", user, role("super_admin"), nil},
		{"organisation administrator", user, role("org_admin"), nil},
		{"group administrator", user, role("group_admin"), nil},
		{"group membership administrator", user, role("group_membership_admin"), nil},
		{"read-only administrator", user, role("read_only_admin"), nil},
		{"nobody else", user, role("analyst", "help_desk"), apitoken.ErrMayNot},
		{"no role", user, role(), apitoken.ErrMayNot},
		// S2.16: the permission to manage API credentials.
		{"with the permission", fixed, is(bob), nil},
		{"without the permission", fixed, is(eve), apitoken.ErrForbidden},
		// S3.3: administrators and analysts.
		{"personal, administrator", personal, is(ann), nil},
		{"personal, analyst", personal, is(bob), nil},
		{"personal, global analyst", personal, role("global_analyst"), nil},
		{"personal, developer", personal, role("api_developer"), apitoken.ErrMayNot},
		// S3.4: nobody issues a person's token for them.
		{"personal, the system", personal, is(system), apitoken.ErrMayNot},
		{"sliding, the system", user, is(system), apitoken.ErrMayNot},
		// S3.6: administrators and global administrators only.
		{"shared, administrator", shared, is(ann), nil},
		{"shared, global administrator", shared, role("global_administrator"), nil},
		{"shared, analyst", shared, is(bob), apitoken.ErrMayNot},
		{"shared, the system", shared, is(system), nil},
		{"node, analyst", node, is(bob), apitoken.ErrMayNot},
		// S1.12: the system manages agents' tokens, not a person.
		{"agent, administrator", agent, is(ann), apitoken.ErrMayNot},
		{"agent, the system", agent, is(system), nil},
		{"an inactive user", plain, func(w *world) apitoken.Actor { w.Owners.SetActive("acme", "ann", false); return ann }, apitoken.ErrMayNot},
		{"an unknown user", plain, func(w *world) apitoken.Actor { w.Owners.Remove("acme", "ann"); return ann }, apitoken.ErrMayNot},
		{"the cross-tenant actor", shared, is(apitoken.DangerouslyCrossTenant("ops")), apitoken.ErrMayNot},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Owners.SetPermissions("acme", "eve", everything.Minus(set("credentials:manage")))
			actor, before := c.actor(w), w.dump()
			req := apitoken.IssueRequest{Kind: c.kind, Name: "one"}
			if c.kind == agent {
				req.Agent = "bot"
			}
			issued, err := w.Service.Issue(t.Context(), actor, req)
			if c.want != nil {
				oneFamily(t, err, c.want)
				require.Zero(t, issued)
				require.Equal(t, before, w.dump())
				return
			}
			require.NoError(t, err)
			require.Equal(t, actor.ID, issued.Token.Creator)
			switch c.kind {
			case shared, node: // S3.5: tied to no one account
				require.Empty(t, issued.Token.Owner)
			case agent:
				require.Empty(t, issued.Token.Owner)
				require.Equal(t, "bot", issued.Token.Agent)
			default:
				require.Equal(t, actor.ID, issued.Token.Owner)
			}
		})
	}
}

func TestIssueGrants(t *testing.T) {
	t.Parallel()
	all := []string{"deploy", "devices:manage", "devices:view", "reports:view", "scripts:run", "telemetry:send"}
	for _, c := range []struct {
		name   string
		kind   apitoken.Kind
		actor  apitoken.Actor
		role   string
		chosen []string
		want   []string // effective permissions of a request
		bad    []string // fields that are named instead
	}{
		// S1.5, S2.2: by default what the creator has. S2.7: of that, what tokens may carry.
		{"default of an administrator", plain, ann, "", nil, all, nil},
		{"default of an analyst", fixed, bob, "", nil, []string{"devices:manage", "devices:view", "reports:view"}, nil},
		{"default, live", user, ann, "", nil, all, nil},
		// S2.4, S2.5: permissions may be removed, nothing outside the chosen set is granted.
		{"fewer", fixed, bob, "", []string{"reports:view"}, []string{"reports:view"}, nil},
		{"none", fixed, bob, "", []string{}, nil, nil},
		{"more than one's own", fixed, bob, "", []string{"reports:view", "scripts:run"}, nil, []string{"permissions[1]"}},
		// S3.10
		{"more than one's own, personal", personal, bob, "", []string{"scripts:run"}, nil, []string{"permissions[0]"}},
		// S2.7
		{"not for tokens", fixed, ann, "", []string{"credentials:manage"}, nil, []string{"permissions[0]"}},
		// S2.22: manage takes view.
		{"manage takes view", fixed, bob, "", []string{"devices:manage"}, []string{"devices:manage", "devices:view"}, nil},
		{"each bad one by itself", plain, bob, "", []string{"nope", "devices:view", "scripts:run", "credentials:manage"}, nil,
			[]string{"permissions[0]", "permissions[2]", "permissions[3]"}},
		// S3.11: by role, deploy, or custom.
		{"role administrator", shared, ann, "administrator", nil, []string{"deploy", "devices:manage", "devices:view", "reports:view", "scripts:run"}, nil},
		{"role read only", shared, ann, "read_only", nil, []string{"devices:view", "reports:view"}, nil},
		{"role API developer", shared, ann, "api_developer", nil, []string{"reports:view"}, nil},
		{"role analyst, personal", personal, bob, "analyst", nil, []string{"devices:manage", "devices:view", "reports:view"}, nil},
		{"custom", shared, ann, "", []string{"scripts:run"}, []string{"scripts:run"}, nil},
		{"a role beyond one's own", personal, bob, "administrator", nil, nil, []string{"role"}},
		{"a role nobody knows", shared, ann, "emperor", nil, nil, []string{"role"}},
		{"role and permissions", shared, ann, "read_only", []string{"devices:view"}, nil, []string{"role"}},
		// S3.11, S3.21: node tokens deploy and nothing else.
		{"node", node, ann, "", nil, []string{"deploy"}, nil},
		{"node, more", node, ann, "", []string{"deploy", "devices:view"}, nil, []string{"permissions[1]"}},
		{"node, a larger role", node, ann, "administrator", nil, []string{"deploy"}, nil},
		// S3.20: live permissions are not chosen.
		{"live, chosen", legacy, ann, "", []string{"devices:view"}, nil, []string{"permissions"}},
		{"live, by role", user, ann, "read_only", nil, nil, []string{"permissions"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			before := w.dump()
			issued, err := w.Service.Issue(t.Context(), c.actor, apitoken.IssueRequest{Kind: c.kind, Name: "one", Role: c.role, Permissions: c.chosen})
			if c.bad != nil {
				oneFamily(t, err, apitoken.ErrInvalid)
				require.Equal(t, c.bad, wrongFields(err))
				require.Equal(t, before, w.dump())
				return
			}
			require.NoError(t, err)
			p := w.Verify(issued.Secret)
			require.Equal(t, c.want, p.Permissions().Names())
			if c.want == nil {
				require.Error(t, w.verify(issued.Secret, "devices:view"))
			}
		})
	}
}

// S2.1: the licences of the tenant cut every token, at issue and at use, those
// that exist too.
func TestLicencesCutEveryToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, kind := range worldKinds {
		issued := w.issue(kind)
		w.Agents.SetActive("acme", "bot", true)
		before := w.Verify(issued.Secret).Permissions()
		require.NotZero(t, before.Len(), kind)
		w.Entitlements.Set("acme", viewer)
		require.Equal(t, before.Intersect(viewer), w.Verify(issued.Secret).Permissions(), kind)
		w.Entitlements.Remove("acme")
		require.Zero(t, w.Verify(issued.Secret).Permissions().Len(), kind)
		w.Entitlements.Set("acme", everything)
		require.Equal(t, before, w.Verify(issued.Secret).Permissions(), kind)
	}
	w.Entitlements.Set("acme", viewer)
	_, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "one", Permissions: []string{"scripts:run"}})
	require.Equal(t, []string{"permissions[0]"}, wrongFields(err))
}

// S2.3, S2.23: the resource groups at issue are the token's for good, and none
// is not all.
func TestIssueFreezesResources(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		had  apitoken.Resources
	}{
		{"one group", apitoken.Resources{Groups: []string{"north"}}},
		{"several groups", apitoken.Resources{Groups: []string{"north", "south"}}},
		{"unrestricted", apitoken.Resources{All: true}},
		{"none", apitoken.Resources{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			st := apitoken.Standing{Active: true, Permissions: everything, Resources: c.had}
			w.Owners.Set("acme", "bob", st)
			issued := w.issueTo(bob, fixed)
			st.Resources = apitoken.Resources{Groups: []string{"west"}}
			w.Owners.Set("acme", "bob", st)

			p := w.Verify(issued.Secret)
			require.Equal(t, c.had, p.Resources())
			require.Equal(t, c.had, w.get(issued.Token.ID).Resources)
			require.True(t, w.issueTo(bob, plain).Token.Resources.All, "kinds that freeze none have all")
			for _, group := range []string{"north", "south", "west"} {
				need := worldCatalog.MustRequire("devices:view").In(group)
				if c.had.Has(group) {
					require.NoError(t, p.Check(need))
				} else {
					require.ErrorIs(t, p.Check(need), apitoken.ErrForbidden)
				}
			}
		})
	}
}

func TestIssueExpiry(t *testing.T) {
	t.Parallel()
	date := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		kind   apitoken.Kind
		now    time.Time
		expiry apitoken.Expiry
		want   time.Time // zero = never
		bad    bool
	}{
		// S2.21, S2.32: 90 days from the UTC date of creation, through that day.
		{"fixed default", fixed, at, apitoken.Expiry{}, date(2027, 5, 31), false},
		{"fixed default, in another zone", fixed, at.In(time.FixedZone("", 14*3600)), apitoken.Expiry{}, date(2027, 5, 31), false},
		// S2.20
		{"tomorrow", fixed, at, apitoken.ExpiresOn("2027-03-02"), date(2027, 3, 3), false},
		{"today", fixed, at, apitoken.ExpiresOn("2027-03-01"), time.Time{}, true},
		{"a range", fixed, at, apitoken.ExpiresAfter(apitoken.Period{Days: 30}), date(2027, 4, 1), false},
		{"another length", fixed, at, apitoken.ExpiresAfter(apitoken.Period{Days: 31}), time.Time{}, true},
		// S2.32
		{"one year", fixed, at, apitoken.ExpiresOn("2028-03-01"), date(2028, 3, 2), false},
		{"a year and a day", fixed, at, apitoken.ExpiresOn("2028-03-02"), time.Time{}, true},
		{"a year from 29 February", fixed, date(2028, 2, 29), apitoken.ExpiresAfter(apitoken.Period{Years: 1}), date(2029, 3, 1), false},
		{"a year from 29 February and a day", fixed, date(2028, 2, 29), apitoken.ExpiresOn("2029-03-01"), time.Time{}, true},
		{"never", fixed, at, apitoken.NeverExpires(), time.Time{}, true},
		{"an instant", fixed, at, apitoken.ExpiresAt(at.Add(48 * time.Hour)), time.Time{}, true},
		// S3.7: optional; an instant, or a date from its beginning.
		{"shared default", shared, at, apitoken.Expiry{}, time.Time{}, false},
		{"shared never", shared, at, apitoken.NeverExpires(), time.Time{}, false},
		{"shared date", shared, at, apitoken.ExpiresOn("2027-03-02"), date(2027, 3, 2), false},
		{"shared instant", shared, at, apitoken.ExpiresAt(at.Add(time.Microsecond)), at.Add(time.Microsecond), false},
		{"shared duration", personal, at, apitoken.ExpiresIn(time.Hour), at.Add(time.Hour), false},
		{"now is not to come", shared, at, apitoken.ExpiresAt(at), time.Time{}, true},
		{"no such date", shared, at, apitoken.ExpiresOn("2027-02-29"), time.Time{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Clock.Set(c.now)
			issued, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: c.kind, Name: "one", Expiry: c.expiry})
			if c.bad {
				require.Equal(t, []string{"expiry"}, wrongFields(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, issued.Token.ExpiresAt)
			if c.want.IsZero() {
				w.Clock.Set(c.now.AddDate(500, 0, 0))
				require.NoError(t, w.verify(issued.Secret))
				return
			}
			w.Clock.Set(c.want.Add(-time.Nanosecond))
			require.NoError(t, w.verify(issued.Secret))
			w.Clock.Set(c.want)
			require.ErrorIs(t, w.verify(issued.Secret), apitoken.ErrExpired)
		})
	}
}

// S2.20, S2.22: a form can ask for dates, ranges and all that may be chosen.
func TestChoices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ch, err := w.Service.Choices(t.Context(), bob, fixed)
	require.NoError(t, err)
	require.Equal(t, apitoken.Choices{
		Kind: fixed, Earliest: "2027-03-02", Latest: "2028-03-01", Default: "2027-05-30", Required: true,
		Ranges:      []apitoken.Period{{Days: 30}, {Days: 60}, {Days: 90}, {Years: 1}},
		Permissions: []string{"devices:manage", "devices:view", "reports:view"},
		Roles:       []string{"analyst", "api_developer", "read_only"},
	}, ch)
	_, err = w.Service.Issue(t.Context(), bob, apitoken.IssueRequest{Kind: fixed, Name: "all", Permissions: ch.Permissions, Expiry: apitoken.ExpiresOn(ch.Latest)})
	require.NoError(t, err)

	ch, err = w.Service.Choices(t.Context(), ann, user)
	require.NoError(t, err)
	require.Empty(t, ch.Permissions, "live permissions are not chosen")
	_, err = w.Service.Choices(t.Context(), bob, shared)
	oneFamily(t, err, apitoken.ErrMayNot)
	_, err = w.Service.Choices(t.Context(), ann, "nope")
	require.Equal(t, []string{"kind"}, wrongFields(err))
}

// S1.23: no token is issued to an agent that is not registered, and S1.15: none
// to agents of a kind that gets none.
func TestIssueToAgents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		agent string
		reg   *apitoken.Registration
		bad   bool
	}{
		{"registered, not active yet", "a", &apitoken.Registration{Registered: true, Kind: "sensor"}, false},
		{"active", "a", &apitoken.Registration{Registered: true, Active: true, Kind: "sensor"}, false},
		{"known but not registered", "a", &apitoken.Registration{Active: true, Kind: "sensor"}, true},
		{"unknown", "a", nil, true},
		{"a kind without tokens", "a", &apitoken.Registration{Registered: true, Active: true, Kind: "printer"}, true},
		{"no agent named", "", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.reg != nil {
				w.Agents.Set("acme", "a", *c.reg)
			}
			issued, err := w.Service.Issue(t.Context(), system, apitoken.IssueRequest{Kind: agent, Name: "one", Agent: c.agent})
			if c.bad {
				require.Equal(t, []string{"agent"}, wrongFields(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"telemetry:send"}, issued.Token.Grant.Permissions)
			w.Agents.SetActive("acme", "a", true)
			require.NoError(t, w.verify(issued.Secret, "telemetry:send"))
		})
	}
}

func TestIssueIdempotency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := apitoken.IssueRequest{Name: "one", Permissions: []string{"devices:view"}, Expiry: apitoken.ExpiresIn(time.Hour), IdempotencyKey: "k1"}
	first := w.IssueAs(ann, req)
	w.Clock.Advance(time.Minute)
	before := w.dump()

	again, err := w.Service.Issue(t.Context(), ann, req)
	oneFamily(t, err, apitoken.ErrConflict)
	var already *apitoken.AlreadyIssuedError
	require.ErrorAs(t, err, &already)
	require.Equal(t, first.Token.ID, already.Token.ID)
	require.True(t, again.Secret.IsZero())

	other := req
	other.Name = "two"
	_, err = w.Service.Issue(t.Context(), ann, other)
	require.Equal(t, []string{"idempotency_key"}, wrongFields(err))
	_, err = w.Service.Issue(t.Context(), dan, req)
	require.Equal(t, []string{"idempotency_key"}, wrongFields(err), "another person's request is another request")
	require.Equal(t, before, w.dump())

	req.IdempotencyKey = "k2"
	require.NotEqual(t, first.Token.ID, w.IssueAs(ann, req).Token.ID)
	foreign := w.IssueAs(zoe, apitoken.IssueRequest{Name: "one", IdempotencyKey: "k1"})
	require.Equal(t, "rival", foreign.Token.Tenant, "keys are per tenant")
}

// A repeated request is known by its key whatever else of it is unique, and a key
// whose token was just deleted is no miss of the caller's.
func TestIssueIdempotencyBesideOtherUniqueness(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := apitoken.IssueRequest{
		Kind: legacy, Name: "one", IdempotencyKey: "k",
		Legacy: apitoken.LegacyCredential{ID: "uuid", Secret: apitoken.NewSecret(long(32))},
	}
	first := w.IssueAs(ann, req)
	_, err := w.Service.Issue(t.Context(), ann, req)
	var already *apitoken.AlreadyIssuedError
	require.ErrorAs(t, err, &already)
	require.Equal(t, first.Token.ID, already.Token.ID)
	other := req
	other.Name = "two"
	_, err = w.Service.Issue(t.Context(), ann, other)
	require.Equal(t, []string{"idempotency_key"}, wrongFields(err))
	other.IdempotencyKey = "k2"
	_, err = w.Service.Issue(t.Context(), ann, other)
	require.Equal(t, []string{"legacy.id"}, wrongFields(err))
	_, err = w.Service.Issue(t.Context(), zoe, req)
	require.Equal(t, []string{"legacy.id"}, wrongFields(err), "another tenant's key is another key")

	w.Store.Reset()
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Create" && c.Done {
			w.Store.On(nil)
			return w.rawDelete(first.Token.ID)
		}
		return nil
	})
	_, err = w.Service.Issue(t.Context(), ann, req)
	oneFamily(t, err, apitoken.ErrUnavailable)
	w.IssueAs(ann, req) // repeating it is safe
}

func (w *world) rawDelete(id apitoken.ID) error {
	return w.Store.Unwrap().Delete(w.t.Context(), id, w.stored(id).Token.Version, apitoken.Guard{}, nil)
}

// A token that issues tokens gives no more than it has, whatever its owner has.
func TestIssueByToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := apitoken.Standing{Active: true, Permissions: everything, Resources: apitoken.Resources{Groups: []string{"north"}}}
	w.Owners.Set("acme", "bob", st)
	parent := w.Verify(w.IssueAs(bob, apitoken.IssueRequest{Kind: fixed, Name: "p", Permissions: []string{"devices:view", "reports:view"}}).Secret)
	st.Resources = apitoken.Resources{All: true}
	w.Owners.Set("acme", "bob", st)

	child := w.IssueAs(parent.Actor(), apitoken.IssueRequest{Name: "c"})
	require.Equal(t, "bob", child.Token.Owner)
	require.Equal(t, []string{"devices:view", "reports:view"}, child.Token.Grant.Permissions)
	require.Equal(t, []string{"north"}, child.Token.Resources.Groups)
	require.False(t, child.Token.Resources.All)
	_, err := w.Service.Issue(t.Context(), parent.Actor(), apitoken.IssueRequest{Name: "c", Permissions: []string{"scripts:run"}})
	require.Equal(t, []string{"permissions[0]"}, wrongFields(err))

	actor := parent.Actor()
	actor.Permissions = everything.Names() // what a handler might do by mistake
	require.Equal(t, []string{"devices:view", "reports:view"}, w.IssueAs(actor, apitoken.IssueRequest{Name: "c"}).Token.Grant.Permissions)

	// A shared token acts as itself, and is nobody the directory knows.
	w.Owners.Remove("acme", "token:x")
	impersonal := newWorld(t, with(shared, func(p *apitoken.Policy) { p.CreatorRoles, p.ManagerRoles = nil, nil }), func(o *apitoken.Options) {
		o.Owners = apitoken.OwnersFunc(func(_ context.Context, _, owner string) (apitoken.Standing, error) {
			if owner != "ann" {
				return apitoken.Standing{}, apitoken.ErrNotFound
			}
			return apitoken.Standing{Active: true, Permissions: everything}, nil
		})
	})
	robot := impersonal.Verify(impersonal.issue(shared, func(r *apitoken.IssueRequest) { r.Permissions = []string{"reports:view"} }).Secret).Actor()
	made := impersonal.IssueAs(robot, apitoken.IssueRequest{Kind: shared, Name: "c"})
	require.Equal(t, []string{"reports:view"}, made.Token.Grant.Permissions)
	_, err = impersonal.Service.Issue(t.Context(), robot, apitoken.IssueRequest{Kind: plain, Name: "c"})
	oneFamily(t, err, apitoken.ErrMayNot)
}

// S1.2, S3.1: one value authenticates a request; S3.22: a use that takes other
// kinds says which.
func TestUsesOfKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, people := w.issue(node), w.issue(personal)
	ask := func(i apitoken.Issued, req apitoken.VerifyRequest) error {
		req.Token = i.Secret.Reveal()
		_, err := w.Service.Verify(t.Context(), req)
		return err
	}
	deploy := apitoken.VerifyRequest{Use: "deploy"}
	require.NoError(t, ask(nodes, deploy))
	require.NoError(t, ask(people, apitoken.VerifyRequest{}))
	err := ask(people, deploy)
	oneFamily(t, err, apitoken.ErrForbidden)
	require.ErrorContains(t, err, "use a node token")
	var kind *apitoken.KindError
	require.ErrorAs(t, err, &kind)
	require.Equal(t, []apitoken.Kind{node}, kind.Accepted)

	// S3.21: without such a rule tokens of any kind are taken.
	require.NoError(t, ask(people, apitoken.VerifyRequest{Kinds: []apitoken.Kind{personal, shared}}))
	oneFamily(t, ask(nodes, apitoken.VerifyRequest{Kinds: []apitoken.Kind{personal, shared}}), apitoken.ErrForbidden)
	oneFamily(t, ask(nodes, apitoken.VerifyRequest{Use: "a use nobody configured"}), apitoken.ErrForbidden)
	require.Zero(t, w.get(people.Token.ID).Usage.Uses-2, "refused for its kind, a request is no use")
}
