package apitoken_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

func record(changes ...func(*apitoken.Record)) *apitoken.Record {
	rec := &apitoken.Record{Token: apitoken.Token{
		ID: "4fXk2QpWmR7tYc9BvN1sHd", State: apitoken.StateActive, CreatedAt: noon, StateAt: noon,
		Terms: apitoken.Terms{Interval: time.Minute},
	}}
	for _, change := range changes {
		change(rec)
	}
	return rec
}

func slidingFor(d time.Duration) func(*apitoken.Record) {
	return func(r *apitoken.Record) { r.Token.Terms.Idle = d }
}

func usedAt(at time.Time) func(*apitoken.Record) {
	return func(r *apitoken.Record) { r.Token.Usage.LastUsed = at }
}

func expiringAt(at time.Time, then apitoken.AfterExpiry) func(*apitoken.Record) {
	return func(r *apitoken.Record) { r.Token.ExpiresAt, r.Token.Terms.AfterExpiry = at, then }
}

func purgedAfter(d time.Duration) func(*apitoken.Record) {
	return func(r *apitoken.Record) { r.Token.Terms.Purge = d }
}

func disabledAt(at time.Time) func(*apitoken.Record) {
	return func(r *apitoken.Record) {
		r.Token.State, r.Token.Cause, r.Token.StateAt = apitoken.StateDisabled, apitoken.CauseByHand, at
	}
}

// S1.10, S1.11: valid while now < renewed + 30 d, revoked for good from exactly
// that instant on. Renewed is the end of the interval that holds the last use.
func TestPlanIdle(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		rec  *apitoken.Record
		idle time.Time
	}{
		"never used":                        {record(slidingFor(30 * day)), noon.Add(30 * day)},
		"used within an interval":           {record(slidingFor(30*day), usedAt(noon.Add(day+30*time.Second))), noon.Add(31*day + time.Minute)},
		"used as an interval begins":        {record(slidingFor(30*day), usedAt(noon.Add(day))), noon.Add(31*day + time.Minute)},
		"used as an interval ends":          {record(slidingFor(30*day), usedAt(noon.Add(day+time.Minute-time.Microsecond))), noon.Add(31*day + time.Minute)},
		"used a microsecond later":          {record(slidingFor(30*day), usedAt(noon.Add(day+time.Minute))), noon.Add(31*day + 2*time.Minute)},
		"used before its creation":          {record(slidingFor(30*day), usedAt(noon.Add(-day))), noon.Add(30 * day)},
		"without an interval":               {record(slidingFor(30*day), usedAt(noon.Add(day)), func(r *apitoken.Record) { r.Token.Terms.Interval = 0 }), noon.Add(31 * day)},
		"with an interval of nothing":       {record(slidingFor(30*day), usedAt(noon.Add(day)), func(r *apitoken.Record) { r.Token.Terms.Interval = 1 }), noon.Add(31 * day)},
		"disabled meanwhile":                {record(slidingFor(30*day), disabledAt(noon.Add(day))), noon.Add(30 * day)},
		"kind that was disabled, no purge":  {record(slidingFor(30*day), expiringAt(noon.Add(100*day), apitoken.ExpiryDisables)), noon.Add(30 * day)},
		"idle before an expiry that locks":  {record(slidingFor(30*day), expiringAt(noon.Add(31*day), apitoken.ExpiryLocks)), noon.Add(30 * day)},
		"idle at the instant of its expiry": {record(slidingFor(30*day), expiringAt(noon.Add(30*day), apitoken.ExpiryLocks)), noon.Add(30 * day)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, at := tc.idle.Add(-1), tc.idle
			require.NotEqual(t, apitoken.StatusRevoked, tc.rec.Token.StatusAt(before))
			require.Equal(t, apitoken.StatusRevoked, tc.rec.Token.StatusAt(at))
			require.Equal(t, at, tc.rec.Token.IdleAt(at))
			require.Equal(t, at, apitoken.Arm(tc.rec, before))
			require.Empty(t, apitoken.Plan(tc.rec, before))

			late := tc.rec.Clone()
			for _, r := range []struct {
				rec *apitoken.Record
				now time.Time
			}{{tc.rec, at}, {late, at.Add(1000 * day)}} {
				require.Equal(t, []apitoken.Step{{At: at, What: apitoken.EventRevoked}}, apitoken.Plan(r.rec, r.now))
				tok := r.rec.Token
				require.Equal(t, []any{apitoken.StateRevoked, apitoken.CauseIdle, at}, []any{tok.State, tok.Cause, tok.StateAt}, "as of the instant it was due")
				require.Empty(t, apitoken.Plan(r.rec, r.now.Add(10_000*day)), "revoked is terminal")
				require.Zero(t, apitoken.Arm(r.rec, r.now))
				// S1.11: a clock that steps back revives nothing that was written.
				require.Equal(t, apitoken.StatusRevoked, tok.StatusAt(noon))
				require.Empty(t, apitoken.Plan(r.rec, noon))
			}
		})
	}
}

// A last use in the future, from a node whose clock ran ahead, is clamped: it
// counts as a use at this instant, not as one to come.
func TestPlanClampsAUseInTheFuture(t *testing.T) {
	t.Parallel()
	rec := record(slidingFor(30*day), usedAt(noon.Add(1000*day)))
	require.Equal(t, noon.Add(30*day+time.Minute), rec.Token.IdleAt(noon))
	require.Equal(t, noon.Add(30*day+time.Minute), apitoken.Arm(rec, noon))
	require.Empty(t, apitoken.Plan(rec, noon.Add(900*day)), "while the clock has not come there it was used a moment ago")
	require.Equal(t, noon.Add(1030*day+time.Minute), rec.Token.IdleAt(noon.Add(1001*day)))
}

// S3.7, S3.14: an expired token counts as disabled and is deleted a week later,
// in that order, however late the sweep is.
func TestPlanExpiryDisablesThenPurges(t *testing.T) {
	t.Parallel()
	expiry := noon.Add(10 * day)
	fresh := func() *apitoken.Record {
		return record(expiringAt(expiry, apitoken.ExpiryDisables), purgedAfter(7*day))
	}
	expired := apitoken.Step{At: expiry, What: apitoken.EventExpired}
	deleted := apitoken.Step{At: expiry.Add(7 * day), What: apitoken.EventDeleted}

	rec := fresh()
	require.Equal(t, apitoken.StatusActive, rec.Token.StatusAt(expiry.Add(-1)))
	require.Empty(t, apitoken.Plan(rec, expiry.Add(-1)))
	require.Equal(t, apitoken.StatusDisabled, rec.Token.StatusAt(expiry), "swept or not")
	require.Equal(t, deleted.At, rec.Token.PurgeAt(expiry), "swept or not")
	require.Equal(t, []apitoken.Step{expired}, apitoken.Plan(rec, expiry))
	require.Equal(t, []any{apitoken.StateDisabled, apitoken.CauseExpired, expiry, true}, []any{rec.Token.State, rec.Token.Cause, rec.Token.StateAt, rec.ExpiryDone})
	require.Equal(t, deleted.At, apitoken.Arm(rec, expiry))
	require.Empty(t, apitoken.Plan(rec, deleted.At.Add(-1)))
	require.Equal(t, []apitoken.Step{deleted}, apitoken.Plan(rec, deleted.At))

	require.Equal(t, []apitoken.Step{expired, deleted}, apitoken.Plan(fresh(), deleted.At), "late, in the same order")
	require.Equal(t, []apitoken.Step{expired, deleted}, apitoken.Plan(fresh(), deleted.At.Add(1000*day)))

	rec = fresh()
	apitoken.Plan(rec, expiry)
	require.Equal(t, apitoken.StatusDisabled, rec.Token.StatusAt(noon), "a clock that steps back revives nothing that was written")
	require.Empty(t, apitoken.Plan(rec, noon))
}

// S2.35: an expired token that is only locked stays for ever, with one event.
func TestPlanExpiryLocks(t *testing.T) {
	t.Parallel()
	rec := record(expiringAt(noon.Add(day), apitoken.ExpiryLocks))
	require.Equal(t, apitoken.StatusExpired, rec.Token.StatusAt(noon.Add(day)))
	require.Equal(t, []apitoken.Step{{At: noon.Add(day), What: apitoken.EventExpired}}, apitoken.Plan(rec, noon.Add(1000*day)))
	require.Equal(t, apitoken.StateActive, rec.Token.State)
	require.Equal(t, apitoken.StatusExpired, rec.Token.StatusAt(noon.Add(1000*day)))
	require.Empty(t, apitoken.Plan(rec, noon.Add(2000*day)), "once")
	require.Zero(t, apitoken.Arm(rec, noon.Add(2000*day)))
	require.Zero(t, rec.Token.PurgeAt(noon.Add(2000*day)))
}

// S3.16: what a person disabled keeps its own cause and its earlier week.
func TestPlanOfATokenDisabledByHand(t *testing.T) {
	t.Parallel()
	disabled := noon.Add(day)
	deleted := apitoken.Step{At: disabled.Add(7 * day), What: apitoken.EventDeleted}

	rec := record(disabledAt(disabled), purgedAfter(7*day), expiringAt(noon.Add(3*day), apitoken.ExpiryDisables))
	require.Equal(t, []apitoken.Step{{At: noon.Add(3 * day), What: apitoken.EventExpired}, deleted}, apitoken.Plan(rec, noon.Add(100*day)))
	require.Equal(t, apitoken.CauseByHand, rec.Token.Cause)
	require.Equal(t, disabled, rec.Token.StateAt)

	rec = record(disabledAt(disabled), purgedAfter(7*day), expiringAt(noon.Add(30*day), apitoken.ExpiryDisables))
	require.Equal(t, []apitoken.Step{deleted}, apitoken.Plan(rec, noon.Add(100*day)), "it is gone before it expires")
	require.Equal(t, deleted.At, rec.Token.PurgeAt(noon))

	rec = record(disabledAt(disabled))
	require.Empty(t, apitoken.Plan(rec, noon.Add(10_000*day)), "kinds without a purge keep it")
	require.Zero(t, rec.Token.PurgeAt(noon))
}

// What comes first decides: a token revoked for idleness is kept, one deleted
// before that is gone, also when both instants have passed unswept.
func TestPlanIdleAndPurge(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		purge time.Duration
		want  apitoken.Step
	}{
		"purge first":          {7 * day, apitoken.Step{At: noon.Add(7 * day), What: apitoken.EventDeleted}},
		"idle first":           {31 * day, apitoken.Step{At: noon.Add(30 * day), What: apitoken.EventRevoked}},
		"both at once: revoke": {30 * day, apitoken.Step{At: noon.Add(30 * day), What: apitoken.EventRevoked}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := record(slidingFor(30*day), disabledAt(noon), purgedAfter(tc.purge))
			late := noon.Add(1000 * day)
			purge := rec.Token.PurgeAt(late)
			require.Equal(t, tc.want.What == apitoken.EventDeleted, !purge.IsZero(), "readers and the sweep agree")
			require.Equal(t, []apitoken.Step{tc.want}, apitoken.Plan(rec, late))
		})
	}
}

// An expiry that locks deletes where the policy says so; readers know before the
// sweep does.
func TestPlanPurgesWhatIsLocked(t *testing.T) {
	t.Parallel()
	locked := func(changes ...func(*apitoken.Record)) *apitoken.Record {
		rec := record(expiringAt(noon.Add(10*day), apitoken.ExpiryLocks), func(r *apitoken.Record) { r.Token.Terms.PurgeExpired = 30 * day })
		for _, change := range changes {
			change(rec)
		}
		return rec
	}
	expired := apitoken.Step{At: noon.Add(10 * day), What: apitoken.EventExpired}
	deleted := func(after time.Duration) apitoken.Step {
		return apitoken.Step{At: noon.Add(after), What: apitoken.EventDeleted}
	}
	for name, tc := range map[string]struct {
		rec  *apitoken.Record
		want []apitoken.Step
	}{
		"active":                    {locked(), []apitoken.Step{expired, deleted(40 * day)}},
		"disabled":                  {locked(disabledAt(noon)), []apitoken.Step{expired, deleted(40 * day)}},
		"disabled, purged sooner":   {locked(disabledAt(noon), purgedAfter(week)), []apitoken.Step{deleted(week)}},
		"disabled, purged later":    {locked(disabledAt(noon), purgedAfter(41*day)), []apitoken.Step{expired, deleted(40 * day)}},
		"idle before":               {locked(slidingFor(20 * day)), []apitoken.Step{expired, {At: noon.Add(20 * day), What: apitoken.EventRevoked}}},
		"idle at the same instant":  {locked(slidingFor(40 * day)), []apitoken.Step{expired, {At: noon.Add(40 * day), What: apitoken.EventRevoked}}},
		"idle after":                {locked(slidingFor(41 * day)), []apitoken.Step{expired, deleted(40 * day)}},
		"an expiry that disables":   {locked(expiringAt(noon.Add(10*day), apitoken.ExpiryDisables)), []apitoken.Step{expired}},
		"revoked":                   {locked(func(r *apitoken.Record) { r.Token.State = apitoken.StateRevoked }), nil},
		"no expiry":                 {locked(expiringAt(time.Time{}, apitoken.ExpiryLocks)), nil},
		"a state nobody knows":      {locked(func(r *apitoken.Record) { r.Token.State = "quarantined" }), nil},
		"an ending nobody knows of": {locked(expiringAt(noon.Add(10*day), "evaporate")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, late := tc.rec.Clone(), noon.Add(1000*day)
			require.Equal(t, tc.want, apitoken.Plan(tc.rec, late))
			purge := before.Token.PurgeAt(late)
			require.Equal(t, gone(tc.want), !purge.IsZero())
			if gone(tc.want) {
				at := tc.want[len(tc.want)-1].At
				require.Equal(t, at, purge)
				query := apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Now: at.Add(-1)}
				require.True(t, query.Matches(&before.Token))
				query.Now = at
				require.False(t, query.Matches(&before.Token))
			}
		})
	}
}

// What this version does not understand stays due for one that does.
func TestArmLeavesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	rec := record(expiringAt(noon.Add(day), ""), func(r *apitoken.Record) { r.Token.State, r.DueAt = "quarantined", noon })
	require.Equal(t, noon, apitoken.Arm(rec, noon.Add(2*day)))
}

// The end of an overlap is a step of its own; one that ends with the expiry
// comes before it, and a rotation without an overlap has none.
func TestPlanOverlap(t *testing.T) {
	t.Parallel()
	rotated := func(until time.Duration) func(*apitoken.Record) {
		return func(r *apitoken.Record) { r.Token.RotatedAt, r.PreviousUntil = noon.Add(day), noon.Add(until) }
	}
	ended := func(after time.Duration) apitoken.Step {
		return apitoken.Step{At: noon.Add(after), What: apitoken.EventOverlapEnded}
	}
	for name, tc := range map[string]struct {
		rec  *apitoken.Record
		want []apitoken.Step
	}{
		"ended":               {record(rotated(3 * day)), []apitoken.Step{ended(3 * day)}},
		"disabled":            {record(rotated(3*day), disabledAt(noon.Add(2*day))), []apitoken.Step{ended(3 * day)}},
		"no overlap":          {record(), nil},
		"until it expires":    {record(rotated(3*day), expiringAt(noon.Add(3*day), "")), []apitoken.Step{ended(3 * day), {At: noon.Add(3 * day), What: apitoken.EventExpired}}},
		"idle before":         {record(rotated(3*day), slidingFor(2*day)), []apitoken.Step{{At: noon.Add(2 * day), What: apitoken.EventRevoked}}},
		"revoked":             {record(rotated(3*day), func(r *apitoken.Record) { r.Token.State = apitoken.StateRevoked }), nil},
		"deleted before that": {record(rotated(9*day), disabledAt(noon.Add(day)), purgedAfter(week)), []apitoken.Step{{At: noon.Add(8 * day), What: apitoken.EventDeleted}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, apitoken.Plan(tc.rec, noon.Add(1000*day)))
			if !gone(tc.want) {
				require.Empty(t, apitoken.Plan(tc.rec, noon.Add(2000*day)), "once")
			}
		})
	}
}

// What was written as ended stays ended for a clock that steps back.
func TestOverlapEndsForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.issue(shared)
	w.rotate(ann, old.Token.ID, day)
	require.NoError(t, w.verify(old.Secret))
	w.Clock.Advance(day)
	require.Equal(t, "superseded", w.peek(old), "swept or not")
	require.Equal(t, 1, w.sweep().Ended)
	w.Clock.Advance(-time.Hour)
	require.Equal(t, "superseded", w.peek(old))
	require.Zero(t, w.sweep())

	// A use of it after its end writes the end first, then the reuse.
	old = w.issue(shared)
	w.rotate(ann, old.Token.ID, day)
	w.Clock.Advance(day)
	require.ErrorIs(t, w.verify(old.Secret), apitoken.ErrSuperseded)
	require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventRotated, apitoken.EventOverlapEnded, apitoken.EventReused}, eventTypes(w.events(old.Token.ID)))
	require.Zero(t, w.sweep())
}

func TestPlanOfNothing(t *testing.T) {
	t.Parallel()
	for name, rec := range map[string]*apitoken.Record{
		"no expiry":          record(),
		"purge but active":   record(purgedAfter(7 * day)),
		"revoked":            record(slidingFor(day), expiringAt(noon, apitoken.ExpiryDisables), purgedAfter(day), func(r *apitoken.Record) { r.Token.State = apitoken.StateRevoked }),
		"what is done, done": record(expiringAt(noon, apitoken.ExpiryLocks), func(r *apitoken.Record) { r.ExpiryDone = true }),
	} {
		require.Empty(t, apitoken.Plan(rec, noon.Add(10_000*day)), name)
		require.Zero(t, apitoken.Arm(rec, noon), name)
	}
}

func TestEndsAt(t *testing.T) {
	t.Parallel()
	require.Zero(t, record().Token.EndsAt(noon))
	require.Equal(t, noon.Add(day), record(expiringAt(noon.Add(day), "")).Token.EndsAt(noon))
	require.Equal(t, noon.Add(30*day), record(slidingFor(30*day)).Token.EndsAt(noon))
	require.Equal(t, noon.Add(day), record(slidingFor(30*day), expiringAt(noon.Add(day), "")).Token.EndsAt(noon))
	require.Equal(t, noon.Add(30*day), record(slidingFor(30*day), expiringAt(noon.Add(40*day), "")).Token.EndsAt(noon))
}

// Random tokens at random instants: it makes no difference whether the sweep
// came often, once, or not yet.
func TestPlanIsTheSameEarlyAndLate(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 13))
	some := func(max time.Duration) time.Duration {
		return time.Duration(r.Int64N(int64(max/time.Hour))) * time.Hour // whole hours, so that instants meet
	}
	for i := range 20_000 {
		rec := record(purgedAfter(some(3 * day)))
		tok := &rec.Token
		if r.IntN(2) == 0 {
			tok.Terms.Idle = time.Hour + some(5*day)
		}
		if r.IntN(2) == 0 {
			tok.ExpiresAt = noon.Add(time.Hour + some(5*day))
		}
		switch r.IntN(3) {
		case 0:
			tok.Terms.AfterExpiry = apitoken.ExpiryDisables
		case 1:
			tok.Terms.PurgeExpired = some(3 * day)
		}
		if tok.Terms.Notice = some(2 * day); r.IntN(2) == 0 {
			tok.WholeDay = true
		}
		tok.ExpirySetAt = noon.Add(some(3 * day))
		if r.IntN(3) == 0 {
			rec.PreviousUntil = noon.Add(some(6 * day))
		}
		start := noon.Add(some(5 * day))
		if r.IntN(2) == 0 {
			tok.Usage.LastUsed = noon.Add(time.Duration(r.Int64N(int64(start.Sub(noon)) + 1)))
		}
		if r.IntN(3) == 0 {
			disabledAt(noon.Add(time.Duration(r.Int64N(int64(start.Sub(noon)) + 1))).Truncate(time.Hour))(rec)
		}
		end := start.Add(some(10 * day))

		unswept, often := rec.Clone(), rec.Clone()
		late := apitoken.Plan(rec, end)
		var early []apitoken.Step
		for now := start; !now.After(end); now = now.Add(time.Hour) {
			early = append(early, apitoken.Plan(often, now)...)
			if gone(early) {
				break
			}
		}
		if !gone(early) {
			early = append(early, apitoken.Plan(often, end)...)
		}
		require.Equal(t, early, late, "%d: %+v until %s", i, unswept.Token, end)
		for j := range late {
			require.False(t, late[j].At.After(end))
			require.False(t, j > 0 && late[j].At.Before(late[j-1].At), "%d: out of order", i)
		}

		purge := unswept.Token.PurgeAt(end)
		require.Equal(t, gone(late), !purge.IsZero() && !end.Before(purge), "%d: readers and the sweep agree on what is gone: %+v at %s", i, unswept.Token, end)
		if gone(late) {
			continue
		}
		require.Equal(t, often.Token, rec.Token)
		require.Equal(t, []any{often.NoticeDone, often.PreviousUntil, often.ExpiryDone}, []any{rec.NoticeDone, rec.PreviousUntil, rec.ExpiryDone})
		require.LessOrEqual(t, count(late, apitoken.EventExpiring), 1)
		require.Equal(t, unswept.Token.StatusAt(end), rec.Token.StatusAt(end), "%d: swept or not", i)
		require.Equal(t, apitoken.Health(apitoken.View{Token: unswept.Token}, end), apitoken.Health(apitoken.View{Token: rec.Token}, end), "%d: swept or not", i)
		require.Empty(t, apitoken.Plan(rec, end), "nothing is done twice")
		if due := apitoken.Arm(rec, end); !due.IsZero() {
			require.True(t, due.After(end))
			require.Empty(t, apitoken.Plan(rec.Clone(), due.Add(-1)), "not before it is due")
			require.NotEmpty(t, apitoken.Plan(rec, due), "but then")
		}
	}
}

func count(steps []apitoken.Step, what apitoken.EventType) int {
	n := 0
	for _, st := range steps {
		if st.What == what {
			n++
		}
	}
	return n
}

func gone(steps []apitoken.Step) bool {
	return len(steps) > 0 && steps[len(steps)-1].What == apitoken.EventDeleted
}
