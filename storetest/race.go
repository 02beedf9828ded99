package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tokenry/apitoken"
)

// repetitions of each race.
const repetitions = 50

// together runs the functions at once and waits for all of them. They must not
// stop the test, only report.
func together(fns ...func()) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for _, fn := range fns {
		wg.Go(func() {
			<-start
			fn()
		})
	}
	close(start)
	wg.Wait()
}

// write is one party of a race: what it does with the record it read.
type write struct {
	name string
	do   func(s apitoken.Store, t *testing.T, read *apitoken.Record) error
}

func swapTo(name string, change func(rec *apitoken.Record)) write {
	return write{name, func(s apitoken.Store, t *testing.T, read *apitoken.Record) error {
		n := next(read)
		n.Op = name
		change(n)
		return s.Swap(t.Context(), n, apitoken.Guard{}, []apitoken.Event{raceEvent(n, name)})
	}}
}

func raceEvent(rec *apitoken.Record, name string) apitoken.Event {
	return apitoken.Event{
		ID: fmt.Sprintf("%s.%d.%s", rec.Token.ID, rec.Token.Version, name), Type: apitoken.EventType(name),
		Time: epoch, Tenant: rec.Token.Tenant, Target: apitoken.Target{Token: rec.Token.ID}, Version: rec.Token.Version,
	}
}

var (
	revoke = swapTo("revoke", func(rec *apitoken.Record) {
		rec.Token.State, rec.Token.Cause = apitoken.StateRevoked, apitoken.CauseByHand
	})
	edit   = swapTo("edit", func(rec *apitoken.Record) { rec.Token.Name = "edited" })
	rotate = swapTo("rotate", func(rec *apitoken.Record) {
		rec.Previous, rec.PreviousUntil = rec.Primary, epoch.Add(time.Hour)
		rec.Primary = apitoken.Slot{Algorithm: "sha256", Prefix: "acme", Blob: []byte("rotated")}
	})
	remove = write{"delete", func(s apitoken.Store, t *testing.T, read *apitoken.Record) error {
		n := next(read)
		return s.Delete(t.Context(), read.Token.ID, read.Token.Version, apitoken.Guard{}, []apitoken.Event{raceEvent(n, "delete")})
	}}
	touch = write{"touch", func(s apitoken.Store, t *testing.T, read *apitoken.Record) error {
		return s.Touch(t.Context(), []apitoken.Use{{ID: read.Token.ID, Count: 1, LastUsed: epoch.Add(time.Hour)}})
	}}
)

func testRace(t *testing.T, newStore func(t *testing.T) apitoken.Store) {
	s := newStore(t)
	for _, other := range []write{edit, rotate, remove} {
		t.Run("revoke before "+other.name, func(t *testing.T) { forced(t, s, revoke, other) })
		t.Run(other.name+" before revoke", func(t *testing.T) { forced(t, s, other, revoke) })
		t.Run("revoke and "+other.name, func(t *testing.T) { free(t, s, revoke, other) })
	}
	t.Run("edit before edit", func(t *testing.T) { forced(t, s, edit, edit) })
	t.Run("two editors", func(t *testing.T) { free(t, s, edit, edit) })
	t.Run("revoke and touch", func(t *testing.T) { revokeAndTouch(t, s) })
	t.Run("delete and touch", func(t *testing.T) { deleteAndTouch(t, s) })
	t.Run("sweeper and touch", func(t *testing.T) { sweeperAndTouch(t, s) })
	t.Run("touches", func(t *testing.T) { touches(t, s) })
	t.Run("same key", func(t *testing.T) { sameKey(t, s) })
	t.Run("two replacements", func(t *testing.T) { replacements(t, s) })
}

func raced(t *testing.T, s apitoken.Store) *apitoken.Record {
	t.Helper()
	rec := plain("race")
	createStores.ok(t, s.Create(t.Context(), rec.Clone(), nil), "Create")
	return rec
}

// forced lets two parties read the same version, then write one after the other.
func forced(t *testing.T, s apitoken.Store, first, second write) {
	for range repetitions {
		rec := raced(t, s)
		a, b := stored(t, s, rec.Token.ID), stored(t, s, rec.Token.ID)
		swapReplaces.ok(t, first.do(s, t, a), first.name)
		err := second.do(s, t, b)
		if !errors.Is(err, apitoken.ErrConflict) && !errors.Is(err, apitoken.ErrNotFound) {
			swapRefuses.fail(t, "%s of a version that %s replaced: got error %v", second.name, first.name, err)
		}
		outcome(t, s, rec, first.name)
	}
}

// free lets two parties read the same version and write at once.
func free(t *testing.T, s apitoken.Store, first, second write) {
	for range repetitions {
		rec := raced(t, s)
		var errs [2]error
		together(
			func() { errs[0] = first.do(s, t, rec) },
			func() { errs[1] = second.do(s, t, rec) },
		)
		if (errs[0] == nil) == (errs[1] == nil) {
			swapReplaces.fail(t, "of %s and %s of one version exactly one must succeed, got errors %v", first.name, second.name, errs)
			continue
		}
		winner := first.name
		for i, err := range errs {
			switch {
			case err == nil && i == 1:
				winner = second.name
			case err != nil && !errors.Is(err, apitoken.ErrConflict) && !errors.Is(err, apitoken.ErrNotFound):
				swapRefuses.fail(t, "the slower write: got error %v", err)
			}
		}
		outcome(t, s, rec, winner)
	}
}

// outcome demands that what is stored is the winner's, and its event alone.
func outcome(t *testing.T, s apitoken.Store, rec *apitoken.Record, winner string) {
	t.Helper()
	allOrNothing.same(t, history(t, s, "race", rec.Token.ID), []string{fmt.Sprintf("%s.2.%s", rec.Token.ID, winner)}, "the events")
	if winner == "delete" {
		absent(t, s, rec.Token.ID, deleteRemoves, "Get after delete won")
		return
	}
	got := stored(t, s, rec.Token.ID)
	swapReplaces.same(t, []any{got.Token.Version, got.Op, got.Token.State == apitoken.StateRevoked},
		[]any{int64(2), winner, winner == "revoke"}, "version, writer and 'revoked' of the stored token")
}

// revokeAndTouch: a use that is written late must not bring a token back.
func revokeAndTouch(t *testing.T, s apitoken.Store) {
	check := func(rec *apitoken.Record) {
		got := stored(t, s, rec.Token.ID)
		if got.Token.State != apitoken.StateRevoked || got.Token.Version != 2 || got.Token.Usage.Uses != 1 {
			touchOnly.fail(t, "after a revoke and a touch the token is %s, version %d, with %d uses", got.Token.State, got.Token.Version, got.Token.Usage.Uses)
		}
	}
	for range repetitions {
		rec := raced(t, s)
		swapReplaces.ok(t, revoke.do(s, t, rec), "revoke")
		touchOnly.ok(t, touch.do(s, t, rec), "touch after revoke")
		check(rec)

		rec = raced(t, s)
		touchOnly.ok(t, touch.do(s, t, rec), "touch before revoke")
		swapReplaces.ok(t, revoke.do(s, t, rec), "revoke of a version read before the touch")
		check(rec)

		rec = raced(t, s)
		var errs [2]error
		together(
			func() { errs[0] = revoke.do(s, t, rec) },
			func() { errs[1] = touch.do(s, t, rec) },
		)
		if errs[0] != nil || errs[1] != nil {
			touchOnly.fail(t, "a revoke and a touch at once: %v", errs)
		}
		check(rec)
	}
}

func deleteAndTouch(t *testing.T, s apitoken.Store) {
	for range repetitions {
		rec := raced(t, s)
		swapReplaces.ok(t, remove.do(s, t, rec), "delete")
		touchOnly.ok(t, touch.do(s, t, rec), "touch after delete")
		absent(t, s, rec.Token.ID, touchOnly, "Get after a delete and a touch")

		rec = raced(t, s)
		var errs [2]error
		together(
			func() { errs[0] = remove.do(s, t, rec) },
			func() { errs[1] = touch.do(s, t, rec) },
		)
		if errs[0] != nil || errs[1] != nil {
			touchOnly.fail(t, "a delete and a touch at once: %v", errs)
		}
		absent(t, s, rec.Token.ID, touchOnly, "Get after a delete and a touch at once")
	}
}

// sweeperAndTouch: a sweeper reads an idle token, the token is used, and only
// then the sweeper writes. It must not revoke or delete the token.
func sweeperAndTouch(t *testing.T, s apitoken.Store) {
	for i := range repetitions {
		rec := plain("race")
		says, guard := guardNever, apitoken.Guard{NeverUsed: true}
		if i%2 == 1 {
			says, guard = guardUsed, apitoken.Guard{NotUsedAfter: epoch}
			rec.Token.Usage.LastUsed = epoch
		}
		createStores.ok(t, s.Create(t.Context(), rec.Clone(), nil), "Create")
		n := next(stored(t, s, rec.Token.ID))
		n.Token.State, n.Token.Cause = apitoken.StateRevoked, apitoken.CauseIdle

		touchAdds.ok(t, touch.do(s, t, rec), "touch between the sweeper's read and its write")
		says.is(t, s.Swap(t.Context(), n.Clone(), guard, nil), apitoken.ErrConflict, "the sweeper's Swap of a token used since")
		says.is(t, s.Delete(t.Context(), rec.Token.ID, 1, guard, nil), apitoken.ErrConflict, "the sweeper's Delete of a token used since")
		if got := stored(t, s, rec.Token.ID); got.Token.State != apitoken.StateActive {
			says.fail(t, "a token used a moment ago was revoked as idle")
		}

		rec = plain("race")
		createStores.ok(t, s.Create(t.Context(), rec.Clone(), nil), "Create")
		n = next(rec)
		n.Token.State = apitoken.StateRevoked
		var swept error
		together(
			func() { swept = s.Swap(t.Context(), n.Clone(), apitoken.Guard{NeverUsed: true}, nil) },
			func() { _ = touch.do(s, t, rec) },
		)
		got := stored(t, s, rec.Token.ID)
		if (swept == nil) != (got.Token.State == apitoken.StateRevoked) {
			guardNever.fail(t, "a guarded Swap beside a touch: error %v, and the token is %s", swept, got.Token.State)
		}
		touchAdds.same(t, got.Token.Usage.Uses, int64(1), "the uses after a guarded Swap beside a touch")
	}
}

// touches from many nodes lose no use, and the latest stays.
func touches(t *testing.T, s apitoken.Store) {
	rec := raced(t, s)
	var nodes []func()
	days := [2]time.Time{epoch.Truncate(24 * time.Hour), epoch.Truncate(24*time.Hour).AddDate(0, 0, 1)}
	for node := range 4 {
		nodes = append(nodes, func() {
			for i := range repetitions {
				u := apitoken.Use{ID: rec.Token.ID, Count: 2, LastUsed: epoch.Add(time.Duration((i*7+node)%repetitions) * time.Second)}
				u.Day, u.WrittenAt = apitoken.PeriodUses{From: days[i%2], Uses: 2}, days[i%2]
				if err := s.Touch(t.Context(), []apitoken.Use{u}); err != nil {
					touchAdds.fail(t, "Touch: %v", err)
				}
			}
		})
	}
	together(nodes...)
	got := stored(t, s, rec.Token.ID).Token.Usage
	touchAdds.same(t, got.Uses, int64(2*4*repetitions), "the uses that four nodes wrote at once")
	touchAdds.same(t, got.LastUsed, epoch.Add((repetitions-1)*time.Second), "the last of them")
	touchPeriods.same(t, got.Day, apitoken.PeriodUses{From: days[1], Uses: 2 * 4 * repetitions / 2}, "those of the later day")
}

// replacements: of two replacements of one token, or of a replacement and another
// write, one happens, and the loser leaves nothing.
func replacements(t *testing.T, s apitoken.Store) {
	replaceBy := func(rec, read *apitoken.Record) error {
		old := next(read)
		old.Token.State, old.Op = apitoken.StateRevoked, "replace"
		return s.Replace(t.Context(), rec.Clone(), old, apitoken.Guard{}, []apitoken.Event{raceEvent(old, "replace"), raceEvent(rec, "create")})
	}
	for i := range repetitions {
		read := raced(t, s)
		recs := []*apitoken.Record{plain("race"), plain("race")}
		if i%2 == 0 { // as two reports of one change
			recs[0].IdempotencyKey, recs[1].IdempotencyKey = fmt.Sprint("change ", i), fmt.Sprint("change ", i)
		}
		errs := make([]error, 3)
		together(
			func() { errs[0] = replaceBy(recs[0], read) },
			func() { errs[1] = replaceBy(recs[1], read) },
			func() { errs[2] = edit.do(s, t, read) },
		)
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, apitoken.ErrConflict):
				replaceErrors.fail(t, "the slower write: got error %v", err)
			}
		}
		if won != 1 {
			replaceBoth.fail(t, "of two Replaces and a Swap of one version %d succeeded: %v", won, errs)
			continue
		}
		for j, rec := range recs {
			if errs[j] != nil {
				absent(t, s, rec.Token.ID, replaceBoth, "Get of the new token of a Replace that lost")
				allOrNothing.same(t, history(t, s, "race", rec.Token.ID), []string{}, "its events")
				continue
			}
			replaceBoth.same(t, stored(t, s, rec.Token.ID), rec, "the new token of the Replace that won")
		}
		winner := "replace"
		if errs[2] == nil {
			winner = "edit"
		}
		got := stored(t, s, read.Token.ID)
		replaceBoth.same(t, []any{got.Token.Version, got.Op}, []any{int64(2), winner}, "version and writer of the old token")
	}
}

// sameKey: of two retries of one request one makes a token.
func sameKey(t *testing.T, s apitoken.Store) {
	for i := range repetitions {
		var recs [2]*apitoken.Record
		var errs [2]error
		for j := range recs {
			recs[j] = plain("race")
			recs[j].IdempotencyKey = fmt.Sprint("key ", i)
		}
		together(
			func() { errs[0] = s.Create(t.Context(), recs[0].Clone(), nil) },
			func() { errs[1] = s.Create(t.Context(), recs[1].Clone(), nil) },
		)
		switch {
		case errs[0] == nil:
			createDuplicate.duplicate(t, errs[1], "idempotency key", recs[0].Token.ID, "the slower of two Creates with one key")
		case errs[1] == nil:
			createDuplicate.duplicate(t, errs[0], "idempotency key", recs[1].Token.ID, "the slower of two Creates with one key")
		default:
			createDuplicate.fail(t, "of two Creates with one key none succeeded: %v", errs)
		}
	}
}
