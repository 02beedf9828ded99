package model_test

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

func (m *machine) origins(t *choices) {
	var req apitoken.OriginsRequest
	for i := range draw(t, rapid.IntRange(0, 2), "origins") {
		req.Origins = append(req.Origins, fmt.Sprintf("https://app%d.example.com", i))
	}
	actor, _ := m.actor(t, "ann")
	m.run(t, &operation{name: "origins", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) { return s.EditOrigins(m.ctx, actor, req) })
}

func (m *machine) flush(t *choices) {
	m.run(t, &operation{name: "flush", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) { return nil, s.Flush(m.ctx) })
}

func (m *machine) sweep(t *choices) {
	m.run(t, &operation{name: "sweep", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) {
		return s.Sweep(m.ctx)
	})
}

func (m *machine) deliver(t *choices) {
	if draw(t, rapid.IntRange(0, 3), "notifier") == 0 {
		m.notifier.Fail(apitokentest.ErrFault)
		defer m.notifier.Fail(nil)
	}
	m.run(t, &operation{name: "deliver", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) {
		return s.Deliver(m.ctx)
	})
}

func (m *machine) ownerChange(t *choices) {
	name := draw(t, rapid.SampledFrom([]string{"ann", "bob"}), "owner")
	o := m.owners[name]
	var what apitoken.OwnerChangeType
	change := draw(t, rapid.SampledFrom([]string{"active", "may", "may", "roles", "sso", "deleted"}), "change")
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
		o.may, what = namesOf(sets[draw(t, rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 4}), "permissions")]...), apitoken.OwnerReduced
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
	if draw(t, rapid.IntRange(0, 2), "reported") == 0 {
		return
	}
	m.run(t, &operation{name: "owner change", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) {
		return s.OwnerChanged(m.ctx, apitoken.System("directory", tenant), apitoken.OwnerChange{Owner: name, What: what})
	})
}

func (m *machine) agentChange(t *choices) {
	if draw(t, rapid.Bool(), "stay") {
		return
	}
	name := draw(t, rapid.SampledFrom([]string{"bot", "rob"}), "agent")
	what := draw(t, rapid.SampledFrom([]apitoken.AgentChangeType{
		apitoken.AgentActivated, apitoken.AgentActivated, apitoken.AgentDeactivated, apitoken.AgentUnregistered, apitoken.AgentRegistered,
	}), "change")
	m.agents[name] = map[apitoken.AgentChangeType]string{apitoken.AgentActivated: agentActive, apitoken.AgentUnregistered: ""}[what]
	if what == apitoken.AgentDeactivated || what == apitoken.AgentRegistered {
		m.agents[name] = agentInactive
	}
	m.tellAgents()
	m.run(t, &operation{name: "agent change", node: node(t)}, m.draw(t), func(s *apitoken.Service) (any, error) {
		report, err := s.AgentChanged(m.ctx, apitoken.System("directory", tenant), apitoken.AgentChange{Agent: name, What: what, ChangeID: m.next()})
		if err == nil && report.Issued.Token.ID != "" {
			m.learn(report.Issued)
		}
		return report, err
	})
}

func (m *machine) licenceChange(t *choices) {
	m.license(sets[draw(t, rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1, 1, 2, 4}), "licence")])
}

func (m *machine) restart(t *choices) {
	if draw(t, rapid.IntRange(0, 3), "restart") > 0 {
		return
	}
	m.start(node(t))
}

// clock moves the clock of all nodes, backwards too.
func (m *machine) clock(t *choices) {
	m.time = m.time.Add(draw(t, rapid.SampledFrom([]time.Duration{
		time.Second, 40 * time.Second, time.Minute, 5 * time.Minute, time.Hour, day, 8 * day, 31 * day, -time.Second, -10 * time.Minute, -day,
	}), "step"))
}

// edge moves the clock to where time is about to change a token, or just did.
func (m *machine) edge(t *choices) {
	k := m.pick(t)
	n := node(t)
	if draw(t, rapid.Bool(), "stay") {
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
	at := draw(t, rapid.SampledFrom(edges), "edge")
	if at.IsZero() || at.Sub(m.now(n)).Abs() > 400*day {
		return
	}
	m.time = at.Add(-offsets[n] + time.Duration(draw(t, rapid.IntRange(-1, 1), "side"))*time.Microsecond)
}
