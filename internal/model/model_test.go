package model_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/memstore"
)

// Runs and steps of each, unless flags or RAPID_CHECKS and RAPID_STEPS say
// otherwise: 1e5 steps.
var defaults = []struct{ name, env, value string }{
	{"rapid.checks", "RAPID_CHECKS", "600"},
	{"rapid.steps", "RAPID_STEPS", "200"},
	{"rapid.nofailfile", "RAPID_NOFAILFILE", "true"},
}

func TestMain(m *testing.M) {
	for _, d := range defaults {
		if os.Getenv(d.env) == "" {
			if err := flag.Set(d.name, d.value); err != nil {
				panic(err)
			}
		}
	}
	servers.Main(m)
}

// P3, P13, P21, P22.
func TestModel(t *testing.T) {
	tally := make(map[string]int)
	rapid.Check(t, func(rt *rapid.T) { play(rt, newMachine(t.Context(), "", memstore.New(), tally)) })
	t.Logf("%v", tally)
	for _, name := range []string{
		"issue", "verify, let in", "edit", "extend", "disable", "enable", "rotate", "revoke", "delete", "leak", "bulk", "owner change", "agent change", "origins",
	} {
		require.NotZero(t, tally[name], "nothing of the kind %q ever succeeded: the model would hold of nothing", name)
	}
}

// play lets the same happen to all machines, and requires the same answers.
func play(rt *rapid.T, machines ...*machine) {
	each := func(do func(*machine, *choices)) func(*rapid.T) {
		return func(rt *rapid.T) {
			t := &choices{T: rt}
			for _, m := range machines {
				t.turn(m)
				m.begin()
				do(m, t)
				if m != machines[0] {
					t.same()
				}
			}
		}
	}
	all := map[string]func(*rapid.T){"": each((*machine).check)}
	for name, do := range actions {
		all[name] = each(do)
	}
	each((*machine).first)(rt)
	rt.Repeat(all)
	each((*machine).settle)(rt)
}

// settle lets everything recover, and requires that what was due is done, and
// that each event was delivered.
func (m *machine) settle(t *choices) {
	for i := range nodes {
		m.run(t, &operation{name: "flush", node: i}, plan{}, func(s *apitoken.Service) (any, error) { return nil, s.Flush(m.ctx) })
	}
	for i := range nodes {
		m.run(t, &operation{name: "sweep", node: i}, plan{}, func(s *apitoken.Service) (any, error) {
			swept, err := s.Sweep(m.ctx)
			require.Zero(t, swept.Failed)
			return swept, err
		})
	}
	m.check(t)
	const latest = 1 // the node whose clock is ahead
	now := m.now(latest)
	for _, k := range m.tokens {
		rules := kinds[k.kind]
		idle := rules.Lifetime.Idle > 0 && !now.Before(k.idleAt(latest, now)) // it is revoked first, after the grace
		switch {
		case k.gone || k.state == apitoken.StateRevoked:
		case !idle && !k.expiresAt.IsZero() && !k.expired && !now.Before(k.expiresAt):
			t.Fatalf("P22: %s expired %s, and no sweep said so", k, k.expiresAt)
		case rules.Lifetime.Idle > 0 && !now.Before(k.idleAt(latest, now).Add(maxWait)):
			t.Fatalf("P13: %s was idle too long at %s, and no sweep revoked it", k, k.idleAt(latest, now))
		case k.state == apitoken.StateDisabled && rules.Purge > 0 && !now.Before(k.disabledAt.Add(rules.Purge)):
			t.Fatalf("P22: %s was to be purged after %s, and no sweep did", k, k.disabledAt)
		}
	}
	m.time = m.latest // leases and retries were set by this clock
	for range 12 {    // as often as a delivery is tried, and the leases of calls that lost their answer end
		m.time = m.time.Add(12 * time.Hour)
		m.run(t, &operation{name: "deliver"}, plan{}, func(s *apitoken.Service) (any, error) {
			return s.Deliver(m.ctx)
		})
	}
	told := make(map[string]bool)
	for _, n := range m.notifier.Told() {
		told[n.Event.ID] = true
		require.True(t, m.events[n.Event.ID], "P22: %s was delivered, and was never written", n.Event.ID)
	}
	stats, err := m.kept.Stats(m.ctx, m.time)
	require.NoError(t, err)
	require.Zero(t, stats.Outbox)
	require.LessOrEqual(t, len(m.events)-len(told), stats.Aside, "P22: events were not delivered")
	m.history(t)
	if m.dice != nil {
		m.check(t) // what was delivered
		m.lookAtAll()
	}
}

// history requires that the history the store shows is what was written.
func (m *machine) history(t *choices) {
	n := 0
	ids := []apitoken.ID{""} // the settings
	for _, k := range m.tokens {
		ids = append(ids, k.id)
	}
	for _, id := range ids {
		events, err := m.kept.Events(m.ctx, tenant, id, "", 10_000)
		require.NoError(t, err)
		n += len(events)
		for _, e := range events {
			require.True(t, m.events[e.ID])
		}
	}
	require.Equal(t, len(m.events), n, "P22")
}
