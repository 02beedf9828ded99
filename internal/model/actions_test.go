package model_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
)

// actions are all that may happen. What happens often stands several times.
var actions = map[string]func(*machine, *choices){
	"issue": (*machine).issue, "issue, often": (*machine).issue, "edit": (*machine).edit, "extend": (*machine).extend,
	"verify": (*machine).verify, "verify, often": (*machine).verify, "verify, oftener": (*machine).verify,
	"disable": (*machine).disable, "enable": (*machine).enable, "rotate": (*machine).rotate,
	"revoke": (*machine).revoke, "delete": (*machine).delete, "leak": (*machine).leak, "bulk": (*machine).bulk,
	"flush": (*machine).flush, "sweep": (*machine).sweep, "sweep, often": (*machine).sweep, "deliver": (*machine).deliver,
	"owner": (*machine).ownerChange, "agent": (*machine).agentChange, "licence": (*machine).licenceChange, "origins": (*machine).origins,
	"clock": (*machine).clock, "clock, to an edge": (*machine).edge, "clock, to an edge, often": (*machine).edge, "restart": (*machine).restart,
}

var (
	// Orders that look at more than the bytes mix these up.
	tokenNames = []string{"one", "One", "one two", "one-two", "öne", "zwei", "Zwei", "名前"}
	teams      = []string{"", "a", "A"} // the values of a pair of metadata
	addresses  = []netip.Addr{netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("198.51.101.7"), netip.MustParseAddr("2001:db8::7")}
)

// pick chooses a token: as a rule one that lives.
func (m *machine) pick(t *choices) *token {
	all := m.tokens
	if draw(t, rapid.IntRange(0, 9), "any") > 0 {
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
	return all[draw(t, rapid.IntRange(0, len(all)-1), "token")]
}

func node(t *choices) int { return draw(t, rapid.IntRange(0, nodes-1), "node") }

// actor chooses who makes a call: a token's owner as a rule.
func (m *machine) actor(t *choices, owner string) (apitoken.Actor, names) {
	switch who := draw(t, rapid.SampledFrom([]string{owner, owner, "ann", "bob", ""}), "actor"); who {
	case "":
		return apitoken.System("job", tenant), nil
	default:
		return apitoken.Actor{ID: who, Tenant: tenant}, m.owners[who].may
	}
}

// expiry chooses one, and says what instant it must become for a kind; none = no
// expiry is given.
func (m *machine) expiry(t *choices, kind apitoken.Kind, now time.Time) (e apitoken.Expiry, at time.Time) {
	length := draw(t, rapid.SampledFrom([]time.Duration{0, 0, 0, time.Minute, time.Hour, 3 * day, 3 * day, 40 * day, -time.Hour}), "expiry")
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

func (m *machine) issue(t *choices) {
	kind := draw(t, rapid.SampledFrom(kindNames), "kind")
	o := &operation{name: "issue", node: node(t)}
	expiry, at := m.expiry(t, kind, m.now(o.node))
	req := apitoken.IssueRequest{Kind: kind, Name: draw(t, rapid.SampledFrom(tokenNames), "name"), Expiry: expiry, IdempotencyKey: m.next()}
	if i := draw(t, rapid.IntRange(-1, len(teams)-1), "team"); i >= 0 {
		req.Metadata = map[string]string{"team": teams[i]}
	}
	actor, may := m.actor(t, "ann")
	if kind == "agent" {
		req.Agent, actor, may = draw(t, rapid.SampledFrom([]string{"bot", "rob"}), "agent"), apitoken.System("job", tenant), nil
	}
	o.actorMay = may
	if kind == "plain" || kind == "personal" || kind == "fixed" || kind == "shared" {
		if i := draw(t, rapid.IntRange(-1, len(sets)-1), "permissions"); i >= 0 {
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
	err := m.run(t, o, p, func(s *apitoken.Service) (_ any, err error) {
		issued, err = s.Issue(m.ctx, actor, req)
		return issued, err
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
	err = m.run(t, again, plan{}, func(s *apitoken.Service) (any, error) { return s.Issue(m.ctx, actor, req) })
	require.Error(t, err)
}

// first issues a token, so that there is one for every call.
func (m *machine) first(t *choices) {
	err := m.run(t, &operation{name: "issue"}, plan{}, func(s *apitoken.Service) (any, error) {
		issued, err := s.Issue(m.ctx, apitoken.Actor{ID: "ann", Tenant: tenant}, apitoken.IssueRequest{Kind: "user", Name: "first"})
		if err == nil {
			m.learn(issued)
		}
		return issued, err
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

func (m *machine) verify(t *choices) {
	k := m.pick(t)
	if len(k.values) == 0 {
		return
	}
	latest := len(k.values) - 1
	v := k.values[draw(t, rapid.SampledFrom([]int{latest, latest, max(0, latest-1), 0}), "value")]
	o := &operation{name: "verify", node: node(t)}
	req := apitoken.VerifyRequest{Token: v.text}
	if v.legacyID != "" {
		req = apitoken.VerifyRequest{LegacyID: v.legacyID, LegacySecret: v.text}
	}
	if i := draw(t, rapid.IntRange(-1, len(addresses)-1), "address"); i >= 0 {
		req.Address = addresses[i]
	}
	if draw(t, rapid.IntRange(0, 7), "need") == 0 {
		req.Need = catalog.MustRequire("reports:view")
	}
	p := m.draw(t)
	opened, worth := m.opens(k, v, o.node), m.worth(k)
	var principal apitoken.Principal
	err := m.run(t, o, p, func(s *apitoken.Service) (_ any, err error) {
		principal, err = s.Verify(m.ctx, req)
		return letIn{principal, principal.Permissions().Names(), principal.Resources(), principal.Name(), principal.Metadata("team"), principal.ExpiresAt()}, err
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
func (m *machine) manage(t *choices, o *operation, k *token, promised func() bool, call func(s *apitoken.Service, a apitoken.Actor) (any, error)) {
	actor, may := m.actor(t, cmp.Or(k.owner, "ann"))
	o.actorMay = may
	p := m.draw(t)
	err := m.run(t, o, p, func(s *apitoken.Service) (any, error) { return call(s, actor) })
	if err == nil && p.what != "during" && !promised() {
		t.Fatalf("P3: %s succeeded, but %s", o.name, k)
	}
}

func (m *machine) edit(t *choices) {
	k := m.pick(t)
	name := draw(t, rapid.SampledFrom(tokenNames), "name") + " " + m.next()
	req := apitoken.EditRequest{Name: &name}
	if i := draw(t, rapid.IntRange(-1, len(teams)-1), "team"); i >= 0 {
		req.Metadata = map[string]string{"team": teams[i]}
	}
	if i := draw(t, rapid.IntRange(-1, len(sets)-1), "permissions"); i >= 0 {
		list := grantable(i)
		req.Permissions = &list
	}
	m.manage(t, &operation{name: "edit", node: node(t)}, k, func() bool { return k.rec.Token.Name == name }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		return s.Edit(m.ctx, a, k.id, req)
	})
}

func (m *machine) extend(t *choices) {
	k := m.pick(t)
	o := &operation{name: "extend", node: node(t), setsExpiry: true}
	e, at := m.expiry(t, k.kind, m.now(o.node))
	m.manage(t, o, k, func() bool { return k.expiresAt.Equal(at) && !k.expired }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		return s.Extend(m.ctx, a, k.id, apitoken.ExtendRequest{Expiry: e})
	})
}

func (m *machine) disable(t *choices) {
	k := m.pick(t)
	m.manage(t, &operation{name: "disable", node: node(t)}, k, func() bool { return k.state == apitoken.StateDisabled }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		return s.Disable(m.ctx, a, k.id, "")
	})
}

func (m *machine) enable(t *choices) {
	k := m.pick(t)
	o := &operation{name: "enable", node: node(t)}
	e, at := m.expiry(t, k.kind, m.now(o.node))
	o.setsExpiry = !e.IsZero()
	m.manage(t, o, k, func() bool { return k.state == apitoken.StateActive && (e.IsZero() || k.expiresAt.Equal(at)) }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		return s.Enable(m.ctx, a, k.id, apitoken.EnableRequest{Expiry: e})
	})
}

func (m *machine) rotate(t *choices) {
	k := m.pick(t)
	o := &operation{name: "rotate", node: node(t), overlap: draw(t, rapid.SampledFrom([]time.Duration{0, time.Minute, 3 * day}), "overlap")}
	req := apitoken.RotateRequest{Overlap: o.overlap, IdempotencyKey: m.next()}
	m.manage(t, o, k, func() bool { return k.current != "" }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		issued, err := s.Rotate(m.ctx, a, k.id, req)
		if err == nil {
			m.learn(issued)
		}
		return issued, err
	})
}

func (m *machine) revoke(t *choices) {
	k := m.pick(t)
	if draw(t, rapid.IntRange(0, 2), "revoke") > 0 {
		return
	}
	m.manage(t, &operation{name: "revoke", node: node(t)}, k, func() bool { return k.state == apitoken.StateRevoked }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		if k.agent != "" && draw(t, rapid.Bool(), "forced") {
			return nil, s.DangerouslyRevokeActiveAgent(m.ctx, a, k.id, "leaked")
		}
		return nil, s.Revoke(m.ctx, a, k.id, "")
	})
}

func (m *machine) delete(t *choices) {
	k := m.pick(t)
	if draw(t, rapid.IntRange(0, 2), "delete") > 0 {
		return
	}
	m.manage(t, &operation{name: "delete", node: node(t)}, k, func() bool { return k.gone }, func(s *apitoken.Service, a apitoken.Actor) (any, error) {
		return nil, s.Delete(m.ctx, a, k.id, "")
	})
}

func (m *machine) leak(t *choices) {
	k := m.pick(t)
	if k.current == "" || draw(t, rapid.IntRange(0, 3), "leak") > 0 {
		return
	}
	report := apitoken.LeakReport{Value: apitoken.NewSecret(k.current), Where: "a public repository"}
	p := m.draw(t)
	err := m.run(t, &operation{name: "leak", node: node(t)}, p, func(s *apitoken.Service) (any, error) {
		return s.ReportLeak(m.ctx, apitoken.System("scanner", tenant), report)
	})
	if err == nil && p.what != "during" && k.state != apitoken.StateRevoked && !k.gone {
		t.Fatalf("P3: the value of %s leaked and still works", k)
	}
}

// bulk stops all of one kind, or what one person has of it.
func (m *machine) bulk(t *choices) {
	if draw(t, rapid.IntRange(0, 5), "bulk") > 0 {
		return
	}
	req := apitoken.BulkRequest{
		Action: draw(t, rapid.SampledFrom([]apitoken.BulkAction{apitoken.BulkDisable, apitoken.BulkDisable, apitoken.BulkRevoke}), "action"),
		Kinds:  []apitoken.Kind{draw(t, rapid.SampledFrom(kindNames), "kind")},
		Owner:  draw(t, rapid.SampledFrom([]string{"", "ann", "bob"}), "owner"),
		Tenant: tenant, Batch: 2, Reason: "after the leak",
	}
	m.run(t, &operation{name: "bulk", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) {
		return gather(s.Bulk(m.ctx, apitoken.System("job", tenant), req))
	})
}
