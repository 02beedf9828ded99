package model_test

import (
	"fmt"

	"pgregory.net/rapid"
)

// choices are what rapid decides in the course of one action. Where the action
// happens to several machines, those after the first get what the first got.
type choices struct {
	*rapid.T
	first *machine
	m     *machine // whose turn it is
	made  []choice
	used  int // of made, by a machine after the first
}

type choice struct {
	label string
	among fmt.Stringer
	value any
}

// turn gives the choices to a machine.
func (t *choices) turn(m *machine) {
	if t.first == nil {
		t.first = m
	}
	t.m, t.used = m, 0
}

// draw is gen.Draw, or what it gave to the first machine.
func draw[V any](t *choices, gen *rapid.Generator[V], label string) V {
	if t.m == t.first {
		v := gen.Draw(t.T, label)
		t.made = append(t.made, choice{label, gen, v})
		return v
	}
	var c choice
	if t.used < len(t.made) {
		c = t.made[t.used]
		t.used++
	}
	v, ok := c.value.(V)
	if !ok || c.label != label || c.among.String() != gen.String() {
		t.sameSoFar()
		t.Fatalf("comes to the choice of %q from %s, %s came to %q from %s", label, gen, t.first.name, c.label, c.among)
	}
	return v
}

// Fatalf says on which machine.
func (t *choices) Fatalf(format string, args ...any) {
	t.Helper()
	t.T.Fatalf("%s", t.say(format, args))
}

// Errorf says on which machine.
func (t *choices) Errorf(format string, args ...any) {
	t.Helper()
	t.T.Errorf("%s", t.say(format, args))
}

func (t *choices) say(format string, args []any) string {
	text := fmt.Sprintf(format, args...)
	if t.m.name != "" {
		text = t.m.name + ": " + text
	}
	return text
}
