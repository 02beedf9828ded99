package model_test

import (
	crand "crypto/rand"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// P3, P13, P21, P22: whatever happens, it happens in the same way over every store.
func TestSideBySide(t *testing.T) {
	engines := []engine{memory, sqlite(t), postgres(t), mariadb(t)}
	tally := make(map[string]int)
	fewer(t, 200)
	sideBySide(t, t, tally, engines...)
	t.Logf("%v", tally)
}

// sideBySide lets the same happen over all engines.
func sideBySide(t *testing.T, tb rapid.TB, tally map[string]int, engines ...engine) {
	d := newDice(t)
	rapid.Check(tb, func(rt *rapid.T) {
		machines := make([]*machine, len(engines))
		for i, e := range engines {
			counts := tally
			if i > 0 {
				counts = make(map[string]int)
			}
			machines[i] = newMachine(t.Context(), e.name, e.empty(), counts)
			machines[i].dice = d
		}
		play(rt, machines...)
	})
}

// fewer runs a test less often than rapid's flags say, since it is slower than
// memory: once where they say by times.
func fewer(t *testing.T, by int) {
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	n, err := strconv.Atoi(before)
	require.NoError(t, err)
	require.NoError(t, checks.Set(strconv.Itoa(max(1, n/by))))
	t.Cleanup(func() { _ = checks.Set(before) })
}

// dice take the place of crypto/rand.Reader where several machines do the same:
// they fall for each as for the first, so that all have the same IDs, values and
// marks.
type dice struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

// newDice returns dice that are thrown for all that the process draws until the
// test ends, which therefore must not be parallel to others.
func newDice(t *testing.T) *dice {
	d := &dice{source: rand.NewChaCha8([32]byte{})}
	before := crand.Reader
	crand.Reader = d
	t.Cleanup(func() { crand.Reader = before })
	return d
}

// Read implements io.Reader.
func (d *dice) Read(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.source.Read(p)
}

// roll begins the next part of an action: other for each part, and the same for
// all machines, whatever their stores drew before.
func (m *machine) roll() {
	if m.dice == nil {
		return
	}
	m.rolls++
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], m.rolls)
	m.dice.mu.Lock()
	defer m.dice.mu.Unlock()
	m.dice.source.Seed(seed)
}
