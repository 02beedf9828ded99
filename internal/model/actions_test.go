package model_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// actions are all that may happen. What happens often stands several times.
func (m *machine) actions() map[string]func(*rapid.T) {
	on := func(f func(*machine, *rapid.T)) func(*rapid.T) { return func(t *rapid.T) { f(m, t) } }
	return map[string]func(*rapid.T){
		"": m.check, "issue": on((*machine).issue), "issue, often": on((*machine).issue), "edit": on((*machine).edit), "extend": on((*machine).extend),
		"verify": on((*machine).verify), "verify, often": on((*machine).verify), "verify, oftener": on((*machine).verify),
		"disable": on((*machine).disable), "enable": on((*machine).enable), "rotate": on((*machine).rotate),
		"revoke": on((*machine).revoke), "delete": on((*machine).delete), "leak": on((*machine).leak),
		"flush": on((*machine).flush), "sweep": on((*machine).sweep), "sweep, often": on((*machine).sweep), "deliver": on((*machine).deliver),
		"owner": on((*machine).ownerChange), "agent": on((*machine).agentChange), "licence": on((*machine).licenceChange),
		"clock": on((*machine).clock), "clock, to an edge": on((*machine).edge), "clock, to an edge, often": on((*machine).edge), "restart": on((*machine).restart),
	}
}

// pick chooses a token: as a rule one that lives.
func (m *machine) pick(t *rapid.T) *token {
	all := m.tokens
	if rapid.IntRange(0, 9).Draw(t, "any") > 0 {
		var live []*token
		for _, k := range m.tokens {
			if !k.gone && k.state != apitoken.StateRevoked {
				live = append(live, k)
			}
		}
		if len(live) > 0 {
			all = live
		}
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(t, "token")]
}

func node(t *rapid.T) int { return rapid.IntRange(0, nodes-1).Draw(t, "node") }

// actor chooses who makes a call: a token's owner as a rule.
func (m *machine) actor(t *rapid.T, owner string) (apitoken.Actor, names) {
	switch who := rapid.SampledFrom([]string{owner, owner, "ann", "bob", ""}).Draw(t, "actor"); who {
	case "":
		return apitoken.System("job", tenant), nil
	default:
		return apitoken.Actor{ID: who, Tenant: tenant}, m.owners[who].may
	}
}

// expiry chooses one, and says what instant it must become for a kind; none = no
// expiry is given.
func (m *machine) expiry(t *rapid.T, kind apitoken.Kind, now time.Time) (e apitoken.Expiry, at time.Time) {
	length := rapid.SampledFrom([]time.Duration{0, 0, 0, time.Minute, time.Hour, 3 * day, 3 * day, 40 * day, -time.Hour}).Draw(t, "expiry")
	switch {
	case kind == "fixed" && length == 0:
		return apitoken.Expiry{}, now.Truncate(day).AddDate(0, 0, 91)
	case kind == "fixed":
		last := now.Truncate(day).Add(max(length, day).Truncate(day))
		return apitoken.ExpiresOn(last.Format(time.DateOnly)), last.AddDate(0, 0, 1)
	case length == 0:
		return apitoken.Expiry{}, time.Time{}
	}
	return apitoken.ExpiresIn(length), now.Add(length)
}

// grantable is a set without what only people have.
func grantable(i int) []string {
	return slices.DeleteFunc(slices.Clone(sets[i]), func(name string) bool { return !apiNames[name] })
}

// next is a text that was never used before, for keys and names.
func (m *machine) next() string {
	m.serial++
	return fmt.Sprintf("one-%d", m.serial)
}

func (m *machine) issue(t *rapid.T) {
	kind := rapid.SampledFrom(kindNames).Draw(t, "kind")
	o := &operation{name: "issue", node: node(t)}
	expiry, at := m.expiry(t, kind, m.now(o.node))
	req := apitoken.IssueRequest{Kind: kind, Name: "one", Expiry: expiry, IdempotencyKey: m.next()}
	actor, may := m.actor(t, "ann")
	if kind == "agent" {
		req.Agent, actor, may = rapid.SampledFrom([]string{"bot", "rob"}).Draw(t, "agent"), apitoken.System("job", tenant), nil
	}
	o.actorMay = may
	if kind == "plain" || kind == "personal" || kind == "fixed" || kind == "shared" {
		if i := rapid.IntRange(-1, len(sets)-1).Draw(t, "permissions"); i >= 0 {
			req.Permissions = grantable(i)
		}
	}
	var older value
	if kind == "legacy" {
		older = value{text: strings.Repeat("s", 20), legacyID: m.next()}
		req.Legacy = apitoken.LegacyCredential{ID: older.legacyID, Secret: apitoken.NewSecret(older.text)}
	}
	var issued apitoken.Issued
	p := m.draw(t)
	err := m.run(t, o, p, func(s *apitoken.Service) (err error) {
		issued, err = s.Issue(m.ctx, actor, req)
		return err
	})
	if err != nil {
		return
	}
	require.True(t, issued.Token.ExpiresAt.Equal(at), "%s expires %s, not %s", kind, issued.Token.ExpiresAt, at)
	m.learn(issued)
	if older.text != "" {
		k := m.byID[issued.Token.ID]
		k.values = append(k.values, older)
	}
	// The same request again makes nothing more.
	again := &operation{name: "issue again", node: o.node}
	err = m.run(t, again, plan{}, func(s *apitoken.Service) error {
		_, err := s.Issue(m.ctx, actor, req)
		return err
	})
	require.Error(t, err)
}

// first issues a token, so that there is one for every call.
func (m *machine) first(t *rapid.T) {
	err := m.run(t, &operation{name: "issue"}, plan{}, func(s *apitoken.Service) error {
		issued, err := s.Issue(m.ctx, apitoken.Actor{ID: "ann", Tenant: tenant}, apitoken.IssueRequest{Kind: "user", Name: "first"})
		if err == nil {
			m.learn(issued)
		}
		return err
	})
	require.NoError(t, err)
}

// learn notes the value that Issue or Rotate showed.
func (m *machine) learn(issued apitoken.Issued) {
	k := m.byID[issued.Token.ID]
	text := issued.Secret.Reveal()
	k.values = append(k.values, value{text: text})
	if k.version == issued.Token.Version { // not rotated meanwhile
		k.current = text
	}
}

func (m *machine) verify(t *rapid.T) {
	k := m.pick(t)
	if len(k.values) == 0 {
		return
	}
	latest := len(k.values) - 1
	v := k.values[rapid.SampledFrom([]int{latest, latest, max(0, latest-1), 0}).Draw(t, "value")]
	o := &operation{name: "verify", node: node(t)}
	req := apitoken.VerifyRequest{Token: v.text}
	if v.legacyID != "" {
		req = apitoken.VerifyRequest{LegacyID: v.legacyID, LegacySecret: v.text}
	}
	if rapid.IntRange(0, 7).Draw(t, "need") == 0 {
		req.Need = catalog.MustRequire("reports:view")
	}
	p := m.draw(t)
	opened, worth := m.opens(k, v, o.node), m.worth(k)
	var principal apitoken.Principal
	err := m.run(t, o, p, func(s *apitoken.Service) (err error) {
		principal, err = s.Verify(m.ctx, req)
		return err
	})
	opens := m.opens(k, v, o.node)
	_, lacks := errors.AsType[*apitoken.PermissionError](err)
	accepted := err == nil || lacks
	if accepted {
		used := o.now.Truncate(time.Microsecond)
		k.accepted[o.node] = later(k.accepted[o.node], used)
		m.tally["verify, let in"]++
		if idle := kinds[k.kind].Lifetime.Idle; idle > 0 && !o.now.Before(k.idleFrom(k.lastUse, o.now)) {
			t.Fatalf("P13: %s was accepted on node %d at %s; last used %s, created %s, recorded %s, known to the nodes %s", k, o.node, o.now, k.lastUse, k.createdAt, k.recorded, k.accepted)
		}
		k.lastUse = later(k.lastUse, used)
	}
	asked := p.what == "down" || p.what == "entitlements" || p.what == "agents" && k.agent != "" ||
		p.what == "owners" && k.owner != "" && kinds[k.kind].OwnerInactive != apitoken.OwnerIgnored
	switch {
	case accepted && asked:
		t.Fatalf("%s was accepted while %s did not answer", k, p.what)
	case accepted && !opened && !opens:
		t.Fatalf("P3, P13: %s was accepted, but must not be", k)
	case !accepted && opened && opens && p.what == "":
		t.Fatalf("%s was refused at %s, but must not be (replaced value: %t, until %s, by the store %s): %v", k, o.now, v.text == k.previous, k.previousUntil, k.rec.PreviousUntil, err)
	case err != nil:
		require.Zero(t, principal)
		return
	}
	require.Equal(t, k.id, principal.Token)
	if now := m.worth(k); !worth.has(principal.Permissions()) && !now.has(principal.Permissions()) {
		t.Fatalf("P21: %s may do %v in a request, and no more than %v", k, principal.Permissions().Names(), now)
	}
}

// manage is a call on a token that promises a state when it succeeds.
func (m *machine) manage(t *rapid.T, o *operation, k *token, promised func() bool, call func(s *apitoken.Service, a apitoken.Actor) error) {
	actor, may := m.actor(t, cmp.Or(k.owner, "ann"))
	o.actorMay = may
	p := m.draw(t)
	err := m.run(t, o, p, func(s *apitoken.Service) error { return call(s, actor) })
	if err == nil && p.what != "during" && !promised() {
		t.Fatalf("P3: %s succeeded, but %s", o.name, k)
	}
}

func (m *machine) edit(t *rapid.T) {
	k := m.pick(t)
	name := m.next()
	req := apitoken.EditRequest{Name: &name}
	if i := rapid.IntRange(-1, len(sets)-1).Draw(t, "permissions"); i >= 0 {
		list := grantable(i)
		req.Permissions = &list
	}
	m.manage(t, &operation{name: "edit", node: node(t)}, k, func() bool { return k.rec.Token.Name == name }, func(s *apitoken.Service, a apitoken.Actor) error {
		_, err := s.Edit(m.ctx, a, k.id, req)
		return err
	})
}

func (m *machine) extend(t *rapid.T) {
	k := m.pick(t)
	o := &operation{name: "extend", node: node(t), setsExpiry: true}
	e, at := m.expiry(t, k.kind, m.now(o.node))
	m.manage(t, o, k, func() bool { return k.expiresAt.Equal(at) && !k.expired }, func(s *apitoken.Service, a apitoken.Actor) error {
		_, err := s.Extend(m.ctx, a, k.id, apitoken.ExtendRequest{Expiry: e})
		return err
	})
}

func (m *machine) disable(t *rapid.T) {
	k := m.pick(t)
	m.manage(t, &operation{name: "disable", node: node(t)}, k, func() bool { return k.state == apitoken.StateDisabled }, func(s *apitoken.Service, a apitoken.Actor) error {
		_, err := s.Disable(m.ctx, a, k.id, "")
		return err
	})
}

func (m *machine) enable(t *rapid.T) {
	k := m.pick(t)
	o := &operation{name: "enable", node: node(t)}
	e, at := m.expiry(t, k.kind, m.now(o.node))
	o.setsExpiry = !e.IsZero()
	m.manage(t, o, k, func() bool { return k.state == apitoken.StateActive && (e.IsZero() || k.expiresAt.Equal(at)) }, func(s *apitoken.Service, a apitoken.Actor) error {
		_, err := s.Enable(m.ctx, a, k.id, apitoken.EnableRequest{Expiry: e})
		return err
	})
}

func (m *machine) rotate(t *rapid.T) {
	k := m.pick(t)
	o := &operation{name: "rotate", node: node(t), overlap: rapid.SampledFrom([]time.Duration{0, time.Minute, 3 * day}).Draw(t, "overlap")}
	req := apitoken.RotateRequest{Overlap: o.overlap, IdempotencyKey: m.next()}
	m.manage(t, o, k, func() bool { return k.current != "" }, func(s *apitoken.Service, a apitoken.Actor) error {
		issued, err := s.Rotate(m.ctx, a, k.id, req)
		if err == nil {
			m.learn(issued)
		}
		return err
	})
}

func (m *machine) revoke(t *rapid.T) {
	k := m.pick(t)
	if rapid.IntRange(0, 2).Draw(t, "revoke") > 0 {
		return
	}
	m.manage(t, &operation{name: "revoke", node: node(t)}, k, func() bool { return k.state == apitoken.StateRevoked }, func(s *apitoken.Service, a apitoken.Actor) error {
		if k.agent != "" && rapid.Bool().Draw(t, "forced") {
			return s.DangerouslyRevokeActiveAgent(m.ctx, a, k.id, "leaked")
		}
		return s.Revoke(m.ctx, a, k.id, "")
	})
}

func (m *machine) delete(t *rapid.T) {
	k := m.pick(t)
	if rapid.IntRange(0, 2).Draw(t, "delete") > 0 {
		return
	}
	m.manage(t, &operation{name: "delete", node: node(t)}, k, func() bool { return k.gone }, func(s *apitoken.Service, a apitoken.Actor) error {
		return s.Delete(m.ctx, a, k.id, "")
	})
}

func (m *machine) leak(t *rapid.T) {
	k := m.pick(t)
	if k.current == "" || rapid.IntRange(0, 3).Draw(t, "leak") > 0 {
		return
	}
	report := apitoken.LeakReport{Value: apitoken.NewSecret(k.current), Where: "a public repository"}
	p := m.draw(t)
	err := m.run(t, &operation{name: "leak", node: node(t)}, p, func(s *apitoken.Service) error {
		_, err := s.ReportLeak(m.ctx, apitoken.System("scanner", tenant), report)
		return err
	})
	if err == nil && p.what != "during" && k.state != apitoken.StateRevoked && !k.gone {
		t.Fatalf("P3: the value of %s leaked and still works", k)
	}
}

func (m *machine) flush(t *rapid.T) {
	m.run(t, &operation{name: "flush", node: node(t)}, m.draw(t), func(s *apitoken.Service) error { return s.Flush(m.ctx) })
}

func (m *machine) sweep(t *rapid.T) {
	m.run(t, &operation{name: "sweep", node: node(t)}, m.draw(t), func(s *apitoken.Service) error {
		_, err := s.Sweep(m.ctx)
		return err
	})
}

func (m *machine) deliver(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "notifier") == 0 {
		m.notifier.Fail(apitokentest.ErrFault)
		defer m.notifier.Fail(nil)
	}
	m.run(t, &operation{name: "deliver", node: node(t)}, m.draw(t), func(s *apitoken.Service) error {
		_, err := s.Deliver(m.ctx)
		return err
	})
}

func (m *machine) ownerChange(t *rapid.T) {
	name := rapid.SampledFrom([]string{"ann", "bob"}).Draw(t, "owner")
	o := m.owners[name]
	var what apitoken.OwnerChangeType
	change := rapid.SampledFrom([]string{"active", "may", "may", "roles", "sso", "deleted"}).Draw(t, "change")
	switch {
	case !o.active && change != "deleted":
		change = "active" // few things work meanwhile
	case !o.hasRole:
		change = "roles"
	}
	switch change {
	case "active":
		o.active = !o.active
		what = apitoken.OwnerReactivated
		if !o.active {
			what = apitoken.OwnerDeactivated
		}
	case "may":
		o.may, what = namesOf(sets[rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 4}).Draw(t, "permissions")]...), apitoken.OwnerReduced
	case "roles":
		o.hasRole, what = !o.hasRole, apitoken.OwnerReduced
	case "sso":
		what = apitoken.OwnerSSOEnabled
	case "deleted":
		if o.active {
			return
		}
		what = apitoken.OwnerDeleted
	}
	m.tellOwner(name)
	if rapid.IntRange(0, 2).Draw(t, "reported") == 0 {
		return
	}
	m.run(t, &operation{name: "owner change", node: node(t)}, m.draw(t), func(s *apitoken.Service) error {
		_, err := s.OwnerChanged(m.ctx, apitoken.System("directory", tenant), apitoken.OwnerChange{Owner: name, What: what})
		return err
	})
}

func (m *machine) agentChange(t *rapid.T) {
	if rapid.Bool().Draw(t, "stay") {
		return
	}
	name := rapid.SampledFrom([]string{"bot", "rob"}).Draw(t, "agent")
	what := rapid.SampledFrom([]apitoken.AgentChangeType{
		apitoken.AgentActivated, apitoken.AgentActivated, apitoken.AgentDeactivated, apitoken.AgentUnregistered, apitoken.AgentRegistered,
	}).Draw(t, "change")
	m.agents[name] = map[apitoken.AgentChangeType]string{apitoken.AgentActivated: agentActive, apitoken.AgentUnregistered: ""}[what]
	if what == apitoken.AgentDeactivated || what == apitoken.AgentRegistered {
		m.agents[name] = agentInactive
	}
	m.tellAgents()
	m.run(t, &operation{name: "agent change", node: node(t)}, m.draw(t), func(s *apitoken.Service) error {
		report, err := s.AgentChanged(m.ctx, apitoken.System("directory", tenant), apitoken.AgentChange{Agent: name, What: what, ChangeID: m.next()})
		if err == nil && report.Issued.Token.ID != "" {
			m.learn(report.Issued)
		}
		return err
	})
}

func (m *machine) licenceChange(t *rapid.T) {
	m.license(sets[rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, 1, 2, 4}).Draw(t, "licence")])
}

func (m *machine) restart(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "restart") > 0 {
		return
	}
	m.start(node(t))
}

// clock moves the clock of all nodes, backwards too.
func (m *machine) clock(t *rapid.T) {
	m.time = m.time.Add(rapid.SampledFrom([]time.Duration{
		time.Second, 40 * time.Second, time.Minute, 5 * time.Minute, time.Hour, day, 8 * day, 31 * day, -time.Second, -10 * time.Minute, -day,
	}).Draw(t, "step"))
}

// edge moves the clock to where time is about to change a token, or just did.
func (m *machine) edge(t *rapid.T) {
	k := m.pick(t)
	n := node(t)
	if rapid.Bool().Draw(t, "stay") {
		return // or there are few tokens that live
	}
	rules := kinds[k.kind]
	edges := []time.Time{k.expiresAt, k.previousUntil}
	if rules.Lifetime.Idle > 0 {
		idle := k.idleAt(n, m.now(n))
		edges = append(edges, idle, idle.Add(-interval), idle.Add(maxWait))
	}
	if k.state == apitoken.StateDisabled && rules.Purge > 0 {
		edges = append(edges, k.disabledAt.Add(rules.Purge))
	}
	at := rapid.SampledFrom(edges).Draw(t, "edge")
	if at.IsZero() || at.Sub(m.now(n)).Abs() > 400*day {
		return
	}
	m.time = at.Add(-offsets[n] + time.Duration(rapid.IntRange(-1, 1).Draw(t, "side"))*time.Microsecond)
}
