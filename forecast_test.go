package apitoken_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func (w *world) forecast(until time.Time) (all []apitoken.Forecasted, errs []error) {
	for f, err := range w.Service.Forecast(context.Background(), until) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, f)
	}
	return all, errs
}

// everyLife issues a token for everything that time does.
func (w *world) everyLife() {
	in := func(d time.Duration) func(*apitoken.IssueRequest) {
		return func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(d) }
	}
	w.issue(plain)
	w.issue(user)
	w.issue(fixed)
	w.rotate(ann, w.issue(shared, in(20*day)).Token.ID, 5*day)
	w.issue(shared, in(2*day))
	must(w.Service.Disable(w.t.Context(), ann, w.issue(shared, in(9*day)).Token.ID, ""))
	must(w.Service.Disable(w.t.Context(), ann, w.issue(user).Token.ID, ""))
	require.NoError(w.t, w.Service.Revoke(w.t.Context(), ann, w.issue(shared, in(9*day)).Token.ID, ""))
}

// A forecast says what sweeps until then write, step by step, and writes nothing.
func TestForecastIsWhatSweepsDo(t *testing.T) {
	t.Parallel()
	for _, until := range []time.Duration{-time.Hour, 0, time.Hour, 3 * day, 6 * day, week, 30 * day, 30*day + 2*time.Minute, 30*day + 3*time.Minute, 100 * day} {
		w := newWorld(t)
		w.everyLife()
		at := w.Clock.Now().Add(until)
		before := w.dump()
		steps, errs := w.forecast(at)
		require.Empty(t, errs)
		require.Equal(t, before, w.dump())

		told := len(w.deliver())
		w.Clock.Set(at)
		w.sweep()
		want := make(map[apitoken.ID][]apitoken.Forecasted)
		n := 0
		for _, m := range w.deliver() {
			e := m.Event
			want[e.Target.Token] = append(want[e.Target.Token], apitoken.Forecasted{Tenant: e.Tenant, Target: e.Target, What: e.Type, Cause: e.Cause, At: e.DueAt})
			n++
		}
		got := make(map[apitoken.ID][]apitoken.Forecasted)
		for _, f := range steps {
			got[f.Target.Token] = append(got[f.Target.Token], f)
		}
		require.Equal(t, want, got, until)
		require.Len(t, steps, n)
		require.Positive(t, told)
	}
}

// Uses that this node has not written yet count.
func TestForecastCountsPendingUses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(user)
	w.Clock.Advance(20 * day)
	require.NoError(t, w.verify(issued.Secret))
	require.Zero(t, w.stored(issued.Token.ID).Token.Usage.Uses)
	steps, errs := w.forecast(w.Clock.Now().Add(20 * day))
	require.Empty(t, errs)
	require.Empty(t, steps)
	steps, _ = w.forecast(w.Clock.Now().Add(40 * day))
	require.Len(t, steps, 1)
	require.Equal(t, w.Clock.Now().Add(30*day+time.Minute), steps[0].At)
}

func TestForecastStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.everyLife()
	n := 0
	for range w.Service.Forecast(t.Context(), w.Clock.Now().Add(100*day)) {
		if n++; n == 2 {
			break
		}
	}
	require.Equal(t, 2, n)
	w.Store.FailCall(1)
	_, errs := w.forecast(w.Clock.Now())
	require.Len(t, errs, 1)
	oneFamily(t, errs[0], apitoken.ErrUnavailable)
}
