package model_test

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
)

var (
	readers  = []apitoken.Actor{{ID: "ann", Tenant: tenant}, {ID: "bob", Tenant: tenant}, apitoken.System("job", tenant), apitoken.DangerouslyCrossTenant("operator"), apitoken.System("job", "other")}
	sortKeys = []apitoken.SortKey{
		apitoken.SortCreated, apitoken.SortName, apitoken.SortKind, apitoken.SortUses,
		apitoken.SortExpires, apitoken.SortLastUsed, apitoken.SortStatus, apitoken.SortHealth,
	}
	statuses = []apitoken.Status{apitoken.StatusActive, apitoken.StatusDisabled, apitoken.StatusExpired, apitoken.StatusRevoked}
)

// lookInside answers with all that the store holds.
func (m *machine) lookInside(stored map[apitoken.ID]*apitoken.Record) {
	var all []*apitoken.Record
	for _, k := range m.tokens {
		if rec, ok := stored[k.id]; ok {
			all = append(all, rec)
		}
	}
	m.answer("the tokens stored", all, nil)
	due, err := m.kept.Due(m.ctx, m.latest.AddDate(100, 0, 0), apitoken.DuePosition{}, 10_000)
	m.answer("Due", due, err)
	stats, err := m.kept.Stats(m.ctx, m.time)
	m.answer("Stats", stats, err)
	told := m.notifier.Told()
	m.answer("the notifications", told[m.told:], nil)
	m.told = len(told)
}

// look answers with some of what the Service shows.
func (m *machine) look(t *choices) {
	s, actor := m.services[node(t)], draw(t, rapid.SampledFrom(readers), "reader")
	switch draw(t, rapid.SampledFrom([]string{"", "", "", "", "list", "counts", "past", "past"}), "look") {
	case "list":
		m.list(s, actor, listing(t))
	case "counts":
		counts, err := s.Counts(m.ctx, actor)
		m.answer("Counts", counts, err)
		status, err := s.Status(m.ctx)
		m.answer("Status", status, err)
	case "past":
		m.past(s, actor, m.pick(t))
	}
}

// listing chooses a list: as a rule one with few conditions.
func listing(t *choices) apitoken.ListQuery {
	q := apitoken.ListQuery{
		Sort:  draw(t, rapid.SampledFrom(sortKeys), "sort"),
		Desc:  draw(t, rapid.Bool(), "descending"),
		Limit: draw(t, rapid.SampledFrom([]int{2, 5, 500, 500}), "page"),
	}
	switch draw(t, rapid.SampledFrom([]string{"", "", "", "status", "owner", "agent", "creator", "kind", "team", "suspicious"}), "only") {
	case "status":
		q.Status = draw(t, rapid.SampledFrom(statuses), "status")
	case "owner":
		q.Owner = draw(t, rapid.SampledFrom([]string{"ann", "bob"}), "owner")
	case "agent":
		q.Agent = draw(t, rapid.SampledFrom([]string{"bot", "rob"}), "agent")
	case "creator":
		q.Creator = draw(t, rapid.SampledFrom([]string{"ann", "bob"}), "creator")
	case "kind":
		q.Kinds = []apitoken.Kind{draw(t, rapid.SampledFrom(kindNames), "kind"), draw(t, rapid.SampledFrom(kindNames), "kind")}
	case "team":
		q.MetaKey, q.MetaValue = "team", draw(t, rapid.SampledFrom(teams), "team")
	case "suspicious":
		q.Suspicious = true
	}
	return q
}

// list answers with all pages of a list.
func (m *machine) list(s *apitoken.Service, actor apitoken.Actor, q apitoken.ListQuery) {
	views, err := gather(s.All(m.ctx, actor, q))
	m.answer(fmt.Sprintf("List of %+v for %s of %q", q, actor.ID, actor.Tenant), views, err)
}

// past answers with what happened to a token.
func (m *machine) past(s *apitoken.Service, actor apitoken.Actor, k *token) {
	view, err := s.Get(m.ctx, actor, k.id)
	m.answer(fmt.Sprintf("Get for %s of %q", actor.ID, actor.Tenant), view, err)
	events, err := gather(s.History(m.ctx, actor, k.id))
	m.answer(fmt.Sprintf("History for %s of %q", actor.ID, actor.Tenant), events, err)
}

// lookAtAll answers with everything that the Service shows the host's operator.
func (m *machine) lookAtAll() {
	s, all, one := m.services[0], apitoken.DangerouslyCrossTenant("operator"), apitoken.System("job", tenant)
	for i, key := range sortKeys {
		m.list(s, all, apitoken.ListQuery{Sort: key, Desc: i%2 == 0, Limit: 10})
	}
	for _, k := range m.tokens {
		m.past(s, one, k)
		for _, v := range k.values {
			view, err := s.FindBySecret(m.ctx, one, v.text)
			m.answer("FindBySecret", view, err)
		}
	}
	settings, err := s.Origins(m.ctx, one)
	m.answer("Origins", settings, err)
	steps, err := gather(s.Forecast(m.ctx, m.time.AddDate(1, 0, 0)))
	m.answer("Forecast", steps, err)
}
