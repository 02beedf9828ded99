package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

var races = flag.Int("races", 120, "free races of each test on each engine, spread over its isolation levels; the long proof is 20000")

var rounds = flag.Int("rounds", 1, "rounds of the outbox on each engine and isolation level; the long proof is 50")

// forced is how often each forced race is run: none of them may be lost.
const forced = 50

// maxRepeats bounds how often a call is repeated that asks for it.
const maxRepeats = 100

const tenant = "acme"

// together runs the parties of a race at once and waits for all of them.
func together(parties ...func()) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for _, party := range parties {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			party()
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// findings are what is wrong. Nothing of it ends the test at once: a store that is
// broken on purpose must be found out.
type findings struct {
	mu      sync.Mutex
	faults  []string
	repeats int // calls that were repeated after an outage
}

func (f *findings) faultf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, fmt.Sprintf(format, args...))
}

// insist repeats a call for as long as it answers with an outage, as the error
// says. That happens where an engine ends one of two transactions that met.
func (f *findings) insist(call func() error) error {
	var err error
	for range maxRepeats {
		if err = call(); answered(err) {
			return err
		}
		f.mu.Lock()
		f.repeats++
		f.mu.Unlock()
	}
	return fmt.Errorf("still no answer after %d calls: %w", maxRepeats, err)
}

// report ends a test of a store that keeps its promises.
func (f *findings) report(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf(format+"; %d faults, %d calls repeated after an outage", append(args, len(f.faults), f.repeats)...)
	require.Empty(t, f.faults[:min(len(f.faults), 5)], "the first of %d faults", len(f.faults))
}

// answered reports whether err is an answer and no outage.
func answered(err error) bool {
	return oneOf(err, apitoken.ErrConflict, apitoken.ErrNotFound, apitoken.ErrInvalid, apitoken.ErrForbidden, apitoken.ErrUnauthenticated)
}

// oneOf reports whether err is nil or of one of the families.
func oneOf(err error, families ...error) bool {
	return err == nil || slices.ContainsFunc(families, func(f error) bool { return errors.Is(err, f) })
}

// ledger is what the stores of all nodes answered about the one token that is
// raced for.
type ledger struct {
	findings
	races int
	stale int // writes that were refused because another was faster

	// Of the present race.
	writes []write
	used   time.Time // the latest use that is written for certain
}

// write is a version of the token that a store said it has stored.
type write struct {
	version int64
	op      string
	events  []string
	gone    bool
}

func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.races++
	l.writes, l.used = nil, time.Time{}
}

func (l *ledger) faultf(format string, args ...any) {
	l.findings.faultf(fmt.Sprintf("race %d: ", l.races)+format, args...)
}

func (l *ledger) report(t *testing.T) {
	t.Helper()
	l.findings.report(t, "%d races, %d writes were refused as too late", l.races, l.stale)
	require.NotZero(t, l.races)
}

func (l *ledger) lastUsed() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// draft is what was written in a transaction of the host's, until it commits.
type draft struct{ writes []write }

type draftKey struct{}

// in runs call in a transaction of the host's, if p has any.
func (l *ledger) in(ctx context.Context, p pool, call func(ctx context.Context) error) error {
	d := new(draft)
	err := p.in(context.WithValue(ctx, draftKey{}, d), call)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || p.host == nil {
		l.writes = append(l.writes, d.writes...)
	}
	return err
}

// wrote notes the answer to a guarded write. used is what was written of its use
// before the write began.
func (l *ledger) wrote(ctx context.Context, err error, guard apitoken.Guard, used time.Time, w write) {
	if err == nil && !guard.Allows(used) {
		l.faultf("version %d was decided from a last use of %v, and stored after a use of %v had been", w.version, guard.NotUsedAfter, used)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		if d, ok := ctx.Value(draftKey{}).(*draft); ok {
			d.writes = append(d.writes, w)
		} else {
			l.writes = append(l.writes, w)
		}
	case errors.Is(err, apitoken.ErrConflict), errors.Is(err, apitoken.ErrNotFound):
		l.stale++
	}
}

// settled demands that what is stored is the last version that a store said it
// stored, with the events of every version, each once and in order. It returns
// the stored record, nil = gone, and the types of the events.
func (l *ledger) settled(ctx context.Context, s apitoken.Store, id apitoken.ID) (*apitoken.Record, []apitoken.EventType) {
	writes := slices.Clone(l.writes)
	slices.SortFunc(writes, func(a, b write) int { return int(a.version - b.version) })
	var want, got []string
	for i, w := range writes {
		if w.version != int64(i+1) {
			l.faultf("of versions 1 to %d two were stored as version %d, or one was skipped", len(writes), w.version)
		}
		want = append(want, w.events...)
	}
	events, err := s.Events(ctx, tenant, id, "", 500)
	if err != nil {
		l.faultf("Events: %v", err)
	}
	var types []apitoken.EventType
	for _, e := range events {
		got, types = append(got, e.ID), append(types, e.Type)
	}
	if !slices.Equal(want, got) {
		l.faultf("the events are %v, of what was written are %v", got, want)
	}

	last := writes[len(writes)-1]
	rec, err := s.Get(ctx, id)
	switch {
	case last.gone:
		if !errors.Is(err, apitoken.ErrNotFound) {
			l.faultf("the deleted token is back: %v", err)
		}
		return nil, types
	case err != nil:
		l.faultf("the token is lost: %v", err)
		return nil, types
	case rec.Token.Version != last.version || rec.Op != last.op:
		l.faultf("version %d by %q is stored, the last write was version %d by %q", rec.Token.Version, rec.Op, last.version, last.op)
	}
	return rec, types
}

// usedAs demands that no use is lost.
func (l *ledger) usedAs(rec *apitoken.Record, uses int64, last time.Time) {
	if got := rec.Token.Usage; got.Uses != uses || !got.LastUsed.Equal(last) {
		l.faultf("%d uses are stored, the last at %v; there were %d, the last at %v", got.Uses, got.LastUsed, uses, last)
	}
}

// witness is a node's store that writes down what it answered.
type witness struct {
	apitoken.Store
	ledger *ledger
}

func (w witness) Unwrap() apitoken.Store { return w.Store }

func (w witness) Create(ctx context.Context, rec *apitoken.Record, events []apitoken.Event) error {
	err := w.Store.Create(ctx, rec, events)
	w.ledger.wrote(ctx, err, apitoken.Guard{}, time.Time{}, versionOf(rec, events))
	return err
}

func (w witness) Swap(ctx context.Context, rec *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	used := w.ledger.lastUsed()
	err := w.Store.Swap(ctx, rec, guard, events)
	w.ledger.wrote(ctx, err, guard, used, versionOf(rec, events))
	return err
}

// Replace is noted as the write of the old token.
func (w witness) Replace(ctx context.Context, rec, old *apitoken.Record, guard apitoken.Guard, events []apitoken.Event) error {
	used := w.ledger.lastUsed()
	err := w.Store.Replace(ctx, rec, old, guard, events)
	w.ledger.wrote(ctx, err, guard, used, versionOf(old, slices.DeleteFunc(slices.Clone(events), func(e apitoken.Event) bool { return e.Target.Token != old.Token.ID })))
	return err
}

func (w witness) Delete(ctx context.Context, id apitoken.ID, version int64, guard apitoken.Guard, events []apitoken.Event) error {
	used := w.ledger.lastUsed()
	err := w.Store.Delete(ctx, id, version, guard, events)
	w.ledger.wrote(ctx, err, guard, used, write{version + 1, "", idsOf(events), true})
	return err
}

func (w witness) Touch(ctx context.Context, uses []apitoken.Use) error {
	err := w.Store.Touch(ctx, uses)
	if err == nil {
		w.ledger.mu.Lock()
		defer w.ledger.mu.Unlock()
		for _, u := range uses {
			if u.LastUsed.After(w.ledger.used) {
				w.ledger.used = u.LastUsed
			}
		}
	}
	return err
}

func versionOf(rec *apitoken.Record, events []apitoken.Event) write {
	return write{rec.Token.Version, rec.Op, idsOf(events), false}
}

func idsOf(events []apitoken.Event) []string {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}
