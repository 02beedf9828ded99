package cachestore

import (
	"math"
	"time"

	"github.com/tokenry/apitoken"
)

// forever is older than anything may be.
const forever = time.Duration(math.MaxInt64)

// moment is an instant by two clocks: the steady one stands still while a machine
// sleeps, the other one may be set back. For a clock that has no steady reading
// they are the same.
type moment struct {
	steady int64 // nanoseconds since the cache was made
	wall   int64 // Unix nanoseconds
}

// age returns how old what was read at m is, by the clock that says more. What
// seems to lie ahead is older than anything: a clock that was set back says nothing.
func (m moment) age(now moment) time.Duration {
	steady, wall := now.steady-m.steady, now.wall-m.wall
	if steady < 0 || wall < 0 {
		return forever
	}
	return time.Duration(max(steady, wall))
}

// watch reads moments.
type watch struct {
	clock apitoken.Clock
	start time.Time
}

func newWatch(clock apitoken.Clock) watch { return watch{clock, clock.Now()} }

func (w *watch) now() moment {
	t := w.clock.Now()
	return moment{int64(t.Sub(w.start)), t.UnixNano()}
}
