package faults_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/internal/integration/faultdriver"
	"github.com/tokenry/apitoken/internal/integration/servers"
	"github.com/tokenry/apitoken/sqlstore"
)

var every = flag.Int("every", 97, "of all faults at all operations, try one in so many; the long proof is 1 = all")

func TestMain(m *testing.M) { servers.Main(m) }

// TestFaults holds P4 and P6 against every operation of the driver: whatever fails,
// hangs or loses its answer there, a call either answers as it would have, or with
// an outage; what it was to change is changed as a whole or not at all; and it is
// safe to repeat.
func TestFaults(t *testing.T) {
	t.Parallel()
	calls := slices.Concat(verifications(), changes(), reads(), maintenance(), storeCalls(), hostCalls(), migrations())
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { tryAll(t, e, calls, bedOptions{}) })
	}
}

// TestFaultsOfFirstCalls: those that find neither a connection nor prepared
// statements.
func TestFaultsOfFirstCalls(t *testing.T) {
	t.Parallel()
	calls := []faultyCall{verifications()[0], changes()[0], storeCalls()[0]}
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { tryAll(t, e, calls, bedOptions{cold: true}) })
	}
}

// TestFaultsUnprepared: statements that are sent as texts.
func TestFaultsUnprepared(t *testing.T) {
	t.Parallel()
	calls := slices.Concat(verifications()[:1], changes()[:4], storeCalls()[:4], hostCalls())
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			tryAll(t, e, calls, bedOptions{sqlstore: sqlstore.Options{Unprepared: true}})
		})
	}
}

// TestFaultsBehindCaches: the answers of a cache are confirmed through the driver
// too.
func TestFaultsBehindCaches(t *testing.T) {
	t.Parallel()
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) { tryAll(t, e, cachedCalls(), bedOptions{wrap: cached}) })
	}
}

// tryAll tries the calls on an engine, side by side.
func tryAll(t *testing.T, e engine, calls []faultyCall, opts bedOptions) {
	t.Parallel()
	p, n := sharedPast(t), new(tally)
	t.Cleanup(func() { t.Log(n) })
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range newBed(t, e, p, opts).trial(t, c, *every, 3, n) {
				t.Error(fault)
			}
		})
	}
}

// pastOnce makes the past that all calls share.
var pastOnce struct {
	sync.Once
	past *past
}

func sharedPast(t *testing.T) *past {
	t.Helper()
	pastOnce.Do(func() { pastOnce.past = newPast(t) })
	require.NotNil(t, pastOnce.past)
	return pastOnce.past
}

// tally counts what was tried.
type tally struct{ calls, operations, faults, outages, answers atomic.Int64 }

func (n *tally) String() string {
	return fmt.Sprintf("%d calls with %d operations, %d faults: %d outages, %d answers",
		n.calls.Load(), n.operations.Load(), n.faults.Load(), n.outages.Load(), n.answers.Load())
}

// strike is a fault at one operation of a call.
type strike struct {
	name string
	op   faultdriver.Op
	rule func() faultdriver.Rule // new for each run
}

// strikes are all that can befall an operation.
func strikes(op faultdriver.Op, dialect sqlstore.Dialect) (all []strike) {
	for _, f := range faultdriver.All() {
		all = append(all, strike{f.Name, op, func() faultdriver.Rule { return faultdriver.At(op.N, f) }})
	}
	all = append(all,
		strike{"fails, as all after it", op, func() faultdriver.Rule { return faultdriver.From(op.N, faultdriver.Fail) }},
		strike{"finds the server gone", op, func() faultdriver.Rule { return faultdriver.From(op.N, faultdriver.BadConn) }},
	)
	switch op.Kind {
	case faultdriver.OpCommit:
		all = append(all, strike{"is done and fails, as all after it", op, func() faultdriver.Rule {
			return func(next faultdriver.Op) (faultdriver.Fault, bool) {
				if next.N == op.N {
					return faultdriver.DropDone, true
				}
				return faultdriver.Drop, next.N > op.N
			}
		}})
	case faultdriver.OpBegin, faultdriver.OpExec, faultdriver.OpQuery:
	default:
		return all
	}
	for i, f := range conflicts[dialect] {
		for _, times := range []int{2 - i, 9} { // as often as is tried again, and more often
			all = append(all, strike{fmt.Sprintf("%s %d times", f.Name, times), op, func() faultdriver.Rule {
				return faultdriver.Repeat(op.N, times, f)
			}})
		}
	}
	return all
}

var conflicts = map[sqlstore.Dialect][]faultdriver.Fault{
	sqlstore.SQLite:     {faultdriver.Busy, faultdriver.BusySnapshot},
	sqlstore.PostgreSQL: {faultdriver.Serialization, faultdriver.Deadlock},
	sqlstore.MariaDB:    {faultdriver.MySQLDeadlock, faultdriver.MySQLLockWait},
}

// trial runs a call once for each strike at each of its operations, or for one in
// every of them, and returns what went wrong, up to most times.
func (b *bed) trial(t *testing.T, c faultyCall, every, most int, n *tally) (faults []string) {
	t.Helper()
	normal, second := b.run(t, c, nil), b.run(t, c, nil)
	require.NotEmpty(t, normal.ops)
	require.Empty(t, normal.fault)
	require.Equal(t, normal.ops, second.ops, "a call does the same each time")
	require.Equal(t, normal.text, second.text)
	require.Equal(t, normal.before, second.before)
	require.Equal(t, normal.state, second.state)
	n.calls.Add(1)
	tried := len(c.name) // so that another one of each call's comes first
	for _, op := range normal.ops {
		n.operations.Add(1)
		for _, s := range strikes(op, b.engine.dialect) {
			if tried++; tried%every != 0 {
				continue
			}
			n.faults.Add(1)
			got := b.run(t, c, s.rule())
			if got.reason == "unavailable" {
				n.outages.Add(1)
			} else {
				n.answers.Add(1)
			}
			fault := judge(c, normal, got)
			if fault == "" {
				continue
			}
			again := cmp.Or(got.again, new(outcome))
			faults = append(faults, fmt.Sprintf("operation %.100s of %d %s: %s\nfirst: %q %v\nagain: %q %v\noperations:\n%s\nchanged:\n%s",
				op, len(normal.ops), s.name, fault, got.reason, got.err, again.reason, again.err, listed(got.ops), got.state.changes(normal.before)))
			if len(faults) == most {
				return append(faults, "and so on")
			}
		}
	}
	return faults
}

// outcome is what came of a call.
type outcome struct {
	err           error
	reason        string // of err, "unavailable" for any outage
	text          string // of the result
	before, state state
	ops           []faultdriver.Op
	again         *outcome // of the same call, repeated with nothing failing
	fault         string   // what is wrong whatever the call is; "" = nothing
}

// judge says what is wrong with an outcome, "" = nothing.
func judge(c faultyCall, normal, got outcome) string {
	before, after := normal.before, normal.state
	if got.fault != "" {
		return got.fault
	}
	// P4: the answer is the one there would have been, or an outage.
	switch got.reason {
	case normal.reason:
		if got.text != normal.text {
			return "another answer: " + got.text + "\ninstead of " + normal.text
		}
	case "unavailable":
	default:
		return "another answer"
	}
	// P6: all of it happened, or nothing.
	switch {
	case c.notes:
		if !got.state.without(uses).madeOf(before.without(uses), after.without(uses)) {
			return "what it notes is wrong"
		}
	case got.reason == normal.reason:
		if !got.state.madeOf(after) {
			return "an answer without its effect"
		}
	case c.parts:
		if !got.state.without(beside).madeOf(before.without(beside), after.without(beside)) {
			return "half of a change"
		}
	case !got.state.madeOf(before) && !got.state.madeOf(after):
		return "half of it"
	}
	// P6: it is safe to repeat.
	again := got.again
	done := got.state.madeOf(after)
	switch {
	case again.fault != "":
		return again.fault
	case again.reason == normal.reason && again.text == normal.text:
	case done && slices.Contains(c.again, again.reason):
	case done && again.reason == normal.reason && c.again == nil: // and shows what is there now
	default:
		return "another answer when it is repeated: " + again.text
	}
	switch {
	case c.notes:
		if !again.state.without(uses).madeOf(normal.again.state.without(uses)) {
			return "what it notes is wrong when it is repeated"
		}
	case c.twice:
	case !again.state.madeOf(after):
		return "another effect when it is repeated:\n" + again.state.changes(after)
	}
	return ""
}

func listed(ops []faultdriver.Op) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "\t%.120s\n", op)
	}
	return b.String()
}

// families are all of them but that of outages.
var families = []error{
	apitoken.ErrUnauthenticated, apitoken.ErrForbidden, apitoken.ErrRateLimited, apitoken.ErrInvalid, apitoken.ErrConflict, apitoken.ErrNotFound,
}

// reason is the reason of an error, and what is wrong with it: it has to be of
// exactly one family. A Store's may be of none when it is an outage.
func reasonOf(c faultyCall, err error) (reason, fault string) {
	if err == nil {
		return "", ""
	}
	refused := slices.ContainsFunc(families, func(family error) bool { return errors.Is(err, family) })
	outage := errors.Is(err, apitoken.ErrUnavailable) || c.store && !refused
	switch {
	case refused == outage:
		return "unavailable", "an error of no family, or of two"
	case outage:
		return "unavailable", ""
	}
	return apitoken.ReasonOf(err), ""
}
