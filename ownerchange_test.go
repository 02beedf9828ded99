package apitoken_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// owner reports a change of ann.
func (w *world) owner(what apitoken.OwnerChangeType) apitoken.ChangeReport {
	w.t.Helper()
	report, err := w.Service.OwnerChanged(w.t.Context(), system, apitoken.OwnerChange{Owner: "ann", What: what, Reason: "ticket 7"})
	require.NoError(w.t, err)
	return report
}

func tokenIDs(issued ...apitoken.Issued) []apitoken.ID {
	var all []apitoken.ID
	for _, i := range issued {
		all = append(all, i.Token.ID)
	}
	slices.Sort(all)
	return all
}

func sortedIDs(all []apitoken.ID) []apitoken.ID {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}

// lastEvent is the latest of a token's.
func (w *world) lastEvent(id apitoken.ID) apitoken.Event {
	w.t.Helper()
	events := w.events(id)
	return events[len(events)-1]
}

// S3.16: a deactivated owner's tokens are disabled, with that cause, and the
// week begins; what a person disabled keeps its cause and its earlier week;
// reactivating enables nothing, Enable with a new expiry does. S1.8: tokens of
// other kinds are only refused, and work again.
func TestOwnerDeactivated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine, old := w.issue(personal), w.issue(legacy)
	byHand, ended, expired := w.issue(personal), w.issue(personal), w.issue(personal, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) })
	sliding, frozen, simple := w.issue(user), w.issue(fixed), w.issue(plain)
	companys, other, bots := w.issue(shared), w.issueTo(dan, personal), w.issue(agent)
	must(w.Service.Disable(t.Context(), dan, byHand.Token.ID, "lost"))
	require.NoError(t, w.Service.Revoke(t.Context(), dan, ended.Token.ID, ""))
	w.Clock.Advance(2 * day)
	for _, i := range []apitoken.Issued{mine, old, sliding, frozen, simple, companys, other} {
		require.NoError(t, w.verify(i.Secret))
	}
	require.NoError(t, w.Service.Flush(t.Context()))

	w.Owners.SetActive("acme", "ann", false)
	for _, i := range []apitoken.Issued{mine, old, sliding, frozen, simple} {
		require.ErrorIs(t, w.verify(i.Secret), apitoken.ErrOwnerInactive, "the host's answer counts at once, reported or not")
	}
	var untouched []*apitoken.Record
	left := []apitoken.Issued{byHand, ended, sliding, frozen, simple, companys, other, bots}
	for _, i := range left {
		untouched = append(untouched, w.stored(i.Token.ID))
	}
	w.deliver()
	report := w.owner(apitoken.OwnerDeactivated)
	require.Equal(t, tokenIDs(mine, old), sortedIDs(report.Changed))
	require.Equal(t, tokenIDs(byHand, ended, expired, sliding, frozen, simple), sortedIDs(report.Skipped))
	require.Empty(t, report.Failed)
	for _, i := range []apitoken.Issued{mine, old} {
		tok := w.stored(i.Token.ID).Token
		require.Equal(t, apitoken.StateDisabled, tok.State)
		require.Equal(t, apitoken.CauseOwner, tok.Cause)
		require.Equal(t, w.Clock.Now(), tok.StateAt)
		e := w.lastEvent(tok.ID)
		require.Equal(t, apitoken.EventDisabled, e.Type)
		require.Equal(t, apitoken.CauseOwner, e.Cause)
		require.Equal(t, apitoken.Party{Type: apitoken.PartySystem, ID: "provisioner"}, e.Actor)
		require.Equal(t, apitoken.Party{Type: apitoken.PartyUser, ID: "ann"}, e.Target.Owner)
		require.Equal(t, "ticket 7", e.Reason)
	}
	require.Equal(t, apitoken.CauseExpired, w.stored(expired.Token.ID).Token.Cause, "what was due came first")
	for n, i := range left {
		require.Equal(t, untouched[n], w.stored(i.Token.ID))
	}

	before := w.dump()
	report = w.owner(apitoken.OwnerDeactivated)
	require.Empty(t, report.Changed, "reported again it does nothing")
	require.Len(t, report.Skipped, 8)
	w.Owners.SetActive("acme", "ann", true)
	require.Equal(t, apitoken.ChangeReport{}, w.owner(apitoken.OwnerReactivated))
	require.Equal(t, before, w.dump())
	for _, i := range []apitoken.Issued{sliding, frozen, simple} {
		require.NoError(t, w.verify(i.Secret))
	}
	require.ErrorIs(t, w.verify(mine.Secret), apitoken.ErrDisabled)
	_, err := w.Service.Enable(t.Context(), ann, mine.Token.ID, apitoken.EnableRequest{})
	oneFamily(t, err, apitoken.ErrInvalid)
	must(w.Service.Enable(t.Context(), ann, mine.Token.ID, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(30 * day)}))
	require.NoError(t, w.verify(mine.Secret))

	w.Clock.Advance(5 * day) // a week from when byHand was disabled
	w.sweep()
	require.Equal(t, []apitoken.ID{byHand.Token.ID}, w.gone(byHand, old))
	w.Clock.Advance(2*day - time.Microsecond)
	w.sweep()
	require.Equal(t, []apitoken.ID{byHand.Token.ID}, w.gone(byHand, old))
	w.Clock.Advance(time.Microsecond) // a week from the report
	w.sweep()
	require.Equal(t, tokenIDs(byHand, old), sortedIDs(w.gone(byHand, old)))
	require.NoError(t, w.verify(mine.Secret))
}

// gone are those of the tokens that are no longer stored.
func (w *world) gone(issued ...apitoken.Issued) (ids []apitoken.ID) {
	for _, i := range issued {
		if _, err := w.Store.Unwrap().Get(context.Background(), i.Token.ID); err != nil {
			ids = append(ids, i.Token.ID)
		}
	}
	return ids
}

// S3.18: single sign-on ends the older ID and secret at once and for good, in
// every state of the token; the generated value goes on working.
func TestOwnerSSOEnabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pair := func(actor apitoken.Actor, id string) apitoken.Issued {
		return w.IssueAs(actor, apitoken.IssueRequest{Kind: legacy, Name: "old", Legacy: apitoken.LegacyCredential{ID: id, Secret: apitoken.NewSecret(long(32))}})
	}
	request := func(id string) apitoken.VerifyRequest {
		return apitoken.VerifyRequest{LegacyID: id, LegacySecret: long(32)}
	}
	open := func(id string) error { _, err := w.Service.Verify(t.Context(), request(id)); return err }
	one, off, revoked, none := pair(ann, "one"), pair(ann, "off"), pair(ann, "revoked"), w.issue(personal)
	pair(dan, "dan")
	must(w.Service.Disable(t.Context(), ann, off.Token.ID, ""))
	require.NoError(t, w.Service.Revoke(t.Context(), ann, revoked.Token.ID, ""))
	stream := must(w.Service.Verify(t.Context(), request("one")))
	require.NoError(t, open("dan"))

	report := w.owner(apitoken.OwnerSSOEnabled)
	require.Equal(t, tokenIDs(one, off), sortedIDs(report.Changed))
	require.Equal(t, tokenIDs(revoked, none), sortedIDs(report.Skipped))
	require.ErrorIs(t, open("one"), apitoken.ErrLegacyEnded)
	_, err := w.Service.Recheck(t.Context(), stream)
	require.ErrorIs(t, err, apitoken.ErrLegacyEnded, "open streams end too")
	require.NoError(t, w.verify(one.Secret))
	require.NoError(t, open("dan"))
	must(w.Service.Enable(t.Context(), ann, off.Token.ID, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)}))
	require.ErrorIs(t, open("off"), apitoken.ErrLegacyEnded)
	require.NoError(t, w.verify(off.Secret))
	e := w.lastEvent(one.Token.ID)
	require.Equal(t, apitoken.EventLegacyEnded, e.Type)
	require.NotEmpty(t, e.Message)
	require.Equal(t, "ticket 7", e.Reason)
	require.NotContains(t, fmt.Sprintf("%+v", e), long(32))

	before := w.dump()
	require.Empty(t, w.owner(apitoken.OwnerSSOEnabled).Changed)
	require.Equal(t, before, w.dump())
	_, err = w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: legacy, Name: "again", Legacy: apitoken.LegacyCredential{ID: "one", Secret: apitoken.NewSecret(long(32))}})
	oneFamily(t, err, apitoken.ErrInvalid) // the older ID is not bound again
}

// A deleted user's tokens are revoked in every state; what belongs to the tenant
// stays, whoever made it (S3.5).
func TestOwnerDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	active, off, expired, suspended := w.issue(personal), w.issue(personal), w.issue(fixed), w.issue(user)
	revoked, companys, bots := w.issue(plain), w.issue(shared), w.issue(agent)
	must(w.Service.Disable(t.Context(), ann, off.Token.ID, "by ann"))
	require.NoError(t, w.Service.Revoke(t.Context(), ann, revoked.Token.ID, "by ann"))
	w.Clock.Advance(time.Hour)
	w.Owners.Remove("acme", "ann")
	left := []*apitoken.Record{w.stored(revoked.Token.ID), w.stored(companys.Token.ID), w.stored(bots.Token.ID)}

	report := w.owner(apitoken.OwnerDeleted)
	require.Equal(t, tokenIDs(active, off, expired, suspended), sortedIDs(report.Changed))
	require.Equal(t, tokenIDs(revoked), report.Skipped)
	for _, id := range report.Changed {
		tok := w.stored(id).Token
		require.Equal(t, apitoken.StateRevoked, tok.State)
		require.Equal(t, apitoken.CauseOwner, tok.Cause)
		require.Equal(t, apitoken.EventRevoked, w.lastEvent(id).Type)
		require.Equal(t, "API Token revoked", w.lastEvent(id).Message) // S1.30
	}
	for n, i := range []apitoken.Issued{revoked, companys, bots} {
		require.Equal(t, left[n], w.stored(i.Token.ID))
	}
	require.NoError(t, w.verify(companys.Secret))
	before := w.dump()
	require.Empty(t, w.owner(apitoken.OwnerDeleted).Changed)
	require.Equal(t, before, w.dump())
	w.Owners.Set("acme", "ann", apitoken.Standing{Active: true, Permissions: everything})
	require.ErrorIs(t, w.verify(active.Secret), apitoken.ErrRevoked, "a new user of the same name gets nothing back")
}

// S3.20, S1.6: fewer permissions count at the next request; nothing is written.
func TestOwnerReduced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	live, cut := w.issue(legacy), w.issue(personal)
	w.Owners.SetPermissions("acme", "ann", viewer)
	w.Store.Reset()
	require.Equal(t, apitoken.ChangeReport{}, w.owner(apitoken.OwnerReduced))
	require.Empty(t, w.Store.Calls())
	for _, i := range []apitoken.Issued{live, cut} {
		require.NoError(t, w.verify(i.Secret, "devices:view"))
		require.ErrorIs(t, w.verify(i.Secret, "reports:view"), apitoken.ErrForbidden)
	}
}

func TestOwnerChangedRefuses(t *testing.T) {
	t.Parallel()
	good := apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerDeleted}
	for _, c := range []struct {
		name   string
		actor  apitoken.Actor
		change apitoken.OwnerChange
		err    error
		fields []string
	}{
		{"a person", dan, good, apitoken.ErrForbidden, nil},
		{"the cross-tenant actor", apitoken.DangerouslyCrossTenant("tool"), good, apitoken.ErrForbidden, nil},
		{"nobody", apitoken.Actor{}, good, apitoken.ErrInvalid, []string{"actor.id", "actor.tenant"}},
		{"all that is wrong", system, apitoken.OwnerChange{What: "left", Reason: "\x00"}, apitoken.ErrInvalid, []string{"owner", "reason", "what"}},
		{"a damaged name", system, apitoken.OwnerChange{Owner: "a\x00", What: apitoken.OwnerReduced}, apitoken.ErrInvalid, []string{"owner"}},
		{"deleted and still active", system, good, apitoken.ErrConflict, nil},
		{"deactivated and still active", system, apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerDeactivated}, apitoken.ErrConflict, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.issue(personal)
			before := w.dump()
			report, err := w.Service.OwnerChanged(t.Context(), c.actor, c.change)
			oneFamily(t, err, c.err)
			require.Equal(t, c.fields, wrongFields(err))
			require.Equal(t, apitoken.ChangeReport{}, report)
			require.Equal(t, before, w.dump())
		})
	}
	t.Run("another tenant's user of that name", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.issue(personal)
		before := w.dump()
		report, err := w.Service.OwnerChanged(t.Context(), apitoken.System("sync", "rival"), apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerSSOEnabled})
		require.NoError(t, err)
		require.Equal(t, apitoken.ChangeReport{}, report)
		require.Equal(t, before, w.dump())
	})
}

// More tokens than a page, of which one cannot be written: the rest is done, and
// the repeated call does what is left.
func TestOwnerChangedGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const many = 501
	var all []apitoken.ID
	for range many {
		all = append(all, w.issue(personal).Token.ID)
	}
	slices.Sort(all)
	w.Owners.SetActive("acme", "ann", false)
	failing := all[300]
	change := apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerDeactivated}
	w.Store.FailCall(1 + 2*300 + 1) // List, Get and Swap of 300 tokens, and the next Get
	report, err := w.Service.OwnerChanged(t.Context(), system, change)
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.ErrorIs(t, err, apitokentest.ErrFault)
	require.Contains(t, err.Error(), "repeat the call")
	require.Len(t, report.Changed, many-1)
	require.Len(t, report.Failed, 1)
	require.Equal(t, failing, report.Failed[0].ID)
	require.ErrorIs(t, report.Failed[0].Err, apitoken.ErrUnavailable)

	w.Store.Reset()
	report, err = w.Service.OwnerChanged(t.Context(), system, change)
	require.NoError(t, err)
	require.Equal(t, []apitoken.ID{failing}, report.Changed)
	require.Len(t, report.Skipped, many-1)
	for _, id := range all {
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventDisabled}, eventTypes(w.events(id)))
	}
}

// P4, P6: whichever call fails, before it takes effect or after, the caller
// hears of it or the work is done, and a repeated call ends in the same state
// with each event once.
func TestOwnerChangedOutages(t *testing.T) {
	t.Parallel()
	for _, what := range []apitoken.OwnerChangeType{apitoken.OwnerDeactivated, apitoken.OwnerSSOEnabled, apitoken.OwnerDeleted} {
		t.Run(string(what), func(t *testing.T) {
			t.Parallel()
			prepare := func() *world {
				w := newWorld(t)
				w.issue(personal)
				for _, id := range []string{"one", "two"} {
					w.issue(legacy, func(r *apitoken.IssueRequest) {
						r.Legacy = apitoken.LegacyCredential{ID: id, Secret: apitoken.NewSecret(long(32))}
					})
				}
				w.Owners.SetActive("acme", "ann", false)
				w.Store.Reset()
				return w
			}
			report := func(w *world) error {
				_, err := w.Service.OwnerChanged(t.Context(), system, apitoken.OwnerChange{Owner: "ann", What: what})
				return err
			}
			outcome := func(w *world) (all []string) {
				recs := must(w.Store.Unwrap().List(context.Background(), apitoken.StoreQuery{AnyTenant: true, AllKinds: true, Limit: 9}))
				for _, rec := range recs {
					all = append(all, fmt.Sprint(rec.Alias, rec.Legacy.IsZero(), rec.Token.State, rec.Token.Cause, rec.Token.Version, eventTypes(w.events(rec.Token.ID))))
				}
				slices.Sort(all)
				return all
			}
			w := prepare()
			require.NoError(t, report(w))
			want, calls := outcome(w), w.Store.Calls()
			require.Greater(t, strings.Count(strings.Join(calls, " "), "Swap"), 1)
			for n := range calls {
				for _, lost := range []bool{false, true} {
					w := prepare()
					if lost {
						w.Store.LoseAnswer(n + 1)
					} else {
						w.Store.FailCall(n + 1)
					}
					err := report(w)
					method := w.Store.Calls()[n]
					w.Store.Reset()
					if lost && method == "Swap" {
						require.NoError(t, err, "its own mark tells that it took effect")
					} else {
						oneFamily(t, err, apitoken.ErrUnavailable)
					}
					require.NoError(t, report(w))
					require.Equal(t, want, outcome(w), "call %d, %s", n+1, method)
				}
			}
			for part, fail := range map[string]func(*world, error){
				"owners":       func(w *world, err error) { w.Owners.Fail(err) },
				"entitlements": func(w *world, err error) { w.Entitlements.Fail(err) },
			} {
				if part == "owners" && what == apitoken.OwnerSSOEnabled {
					continue // it does not ask
				}
				w := prepare()
				before := w.dump()
				fail(w, apitokentest.ErrFault)
				err := report(w)
				oneFamily(t, err, apitoken.ErrUnavailable)
				require.ErrorContains(t, err, part)
				require.Equal(t, before, w.dump())
			}
			w = prepare()
			ended, cancel := context.WithCancel(t.Context())
			w.Store.On(func(c apitokentest.Call) error {
				if c.Method == "Swap" && c.Done {
					cancel()
				}
				return nil
			})
			done, err := w.Service.OwnerChanged(ended, system, apitoken.OwnerChange{Owner: "ann", What: what})
			w.Store.Reset()
			oneFamily(t, err, apitoken.ErrUnavailable)
			require.Len(t, done.Changed, 1, "it stops where the context ends")
			require.Empty(t, done.Failed)
			require.NoError(t, report(w))
			require.Equal(t, want, outcome(w))
		})
	}
}

// A deactivation and an edit, an enabling or another report of it at once: the
// token ends disabled, once, and no edit is lost.
func TestRaceOwnerDeactivated(t *testing.T) {
	t.Parallel()
	disables := with(plain, func(p *apitoken.Policy) { p.OwnerInactive = apitoken.OwnerDisables })
	rename := func(w *world, m *apitoken.Service, id apitoken.ID) error {
		_, err := m.Edit(t.Context(), dan, id, apitoken.EditRequest{Name: ptr("edited")})
		return err
	}
	deactivate := func(m *apitoken.Service) error {
		_, err := m.OwnerChanged(t.Context(), system, apitoken.OwnerChange{Owner: "ann", What: apitoken.OwnerDeactivated})
		return err
	}
	check := func(w *world, id apitoken.ID) {
		tok := w.stored(id).Token
		require.Equal(t, []any{apitoken.StateDisabled, apitoken.CauseOwner, "edited"}, []any{tok.State, tok.Cause, tok.Name})
		types := eventTypes(w.events(id))
		slices.Sort(types)
		require.Equal(t, []apitoken.EventType{apitoken.EventCreated, apitoken.EventDisabled, apitoken.EventEdited}, types)
	}
	for range forced {
		w := newWorld(t, disables)
		other := w.Node()
		id := w.issue(plain).Token.ID
		w.Owners.SetActive("acme", "ann", false)
		w.between("Get", func() { require.NoError(t, rename(w, other, id)) })
		require.NoError(t, deactivate(w.Service))
		w.Store.On(nil)
		check(w, id)

		w = newWorld(t, disables)
		other = w.Node()
		id = w.issue(plain).Token.ID
		w.Owners.SetActive("acme", "ann", false)
		w.between("Get", func() { require.NoError(t, deactivate(other)) })
		require.NoError(t, rename(w, w.Service, id))
		w.Store.On(nil)
		check(w, id)

		w = newWorld(t, disables)
		nodes := []*apitoken.Service{w.Service, w.Node(), w.Node()}
		id = w.issue(plain).Token.ID
		w.Owners.SetActive("acme", "ann", false)
		var wg sync.WaitGroup
		for _, m := range nodes {
			wg.Go(func() {
				if err := deactivate(m); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := rename(w, nodes[1], id); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := nodes[2].Enable(t.Context(), dan, id, apitoken.EnableRequest{}); err != nil {
				oneFamily(t, err, apitoken.ErrConflict) // its owner is not active
			}
		})
		wg.Wait()
		check(w, id)
	}
}
