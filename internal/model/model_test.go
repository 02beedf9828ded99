package model_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tokenry/apitoken"
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
	os.Exit(m.Run())
}

// P3, P13, P21, P22.
func TestModel(t *testing.T) {
	tally, steps := make(map[string]int), 0
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t.Context(), tally)
		m.first(rt)
		actions := m.actions()
		check := actions[""]
		actions[""] = func(rt *rapid.T) {
			steps++
			check(rt)
		}
		rt.Repeat(actions)
		m.settle(rt)
	})
	t.Logf("%d steps: %v", steps, tally)
	for _, name := range []string{"issue", "verify, let in", "edit", "extend", "disable", "enable", "rotate", "revoke", "delete", "leak", "owner change", "agent change"} {
		require.NotZero(t, tally[name], "nothing of the kind %q ever succeeded: the model would hold of nothing", name)
	}
}

// settle lets everything recover, and requires that what was due is done, and
// that each event was delivered.
func (m *machine) settle(t *rapid.T) {
	for i := range nodes {
		m.run(t, &operation{name: "flush", node: i}, plan{}, func(s *apitoken.Service) error { return s.Flush(m.ctx) })
	}
	for i := range nodes {
		m.run(t, &operation{name: "sweep", node: i}, plan{}, func(s *apitoken.Service) error {
			swept, err := s.Sweep(m.ctx)
			require.Zero(t, swept.Failed)
			return err
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
		m.run(t, &operation{name: "deliver"}, plan{}, func(s *apitoken.Service) error {
			_, err := s.Deliver(m.ctx)
			return err
		})
	}
	told := make(map[string]bool)
	for _, n := range m.notifier.Told() {
		told[n.Event.ID] = true
		require.True(t, m.events[n.Event.ID], "P22: %s was delivered, and was never written", n.Event.ID)
	}
	stats, err := m.memory.Stats(m.ctx, m.time)
	require.NoError(t, err)
	require.Zero(t, stats.Outbox)
	require.LessOrEqual(t, len(m.events)-len(told), stats.Aside, "P22: events were not delivered")
	m.history(t)
}

// history requires that the history the store shows is what was written.
func (m *machine) history(t *rapid.T) {
	n := 0
	for _, k := range m.tokens {
		events, err := m.memory.Events(m.ctx, tenant, k.id, "", 10_000)
		require.NoError(t, err)
		n += len(events)
		for _, e := range events {
			require.True(t, m.events[e.ID])
		}
	}
	require.Equal(t, len(m.events), n, "P22")
}
