package apitoken_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// forced is how often each forced race is run: none of them may be lost.
const forced = 50

// between runs do once, after the store answered the first call of a method.
func (w *world) between(method string, do func()) {
	var done atomic.Bool
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == method && c.Done && done.CompareAndSwap(false, true) {
			do()
		}
		return nil
	})
}

// A token that is used between a sweeper's read and its write, or between a
// managing call's, is not revoked as idle (S1.10).
func TestRaceTouchAgainstIdle(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		read string
		do   func(w *world, id apitoken.ID)
	}{
		"sweep": {"Due", func(w *world, _ apitoken.ID) { w.sweep() }},
		"edit": {"Get", func(w *world, id apitoken.ID) {
			// What it read says idle, and it may say so; it must not write it.
			_, err := w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("two")})
			require.ErrorIs(t, err, apitoken.ErrConflict)
		}},
		"revoke of an idle one": {"Get", func(w *world, id apitoken.ID) {
			require.NoError(t, w.Service.Revoke(t.Context(), ann, id, "by hand"))
			require.Equal(t, apitoken.CauseByHand, w.stored(id).Token.Cause, "not as idle")
			rec := w.stored(id)
			rec.Token.State, rec.Token.Version = apitoken.StateActive, rec.Token.Version+1
			require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil)) // for what follows
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range forced {
				w := newWorld(t)
				other := w.Node()
				for _, used := range []bool{false, true} { // with and without an earlier use
					issued := w.issue(user)
					if used {
						require.NoError(t, w.verify(issued.Secret))
						require.NoError(t, w.Service.Flush(t.Context()))
					}
					// The other node let a use in while there was time, and writes it late.
					w.Clock.Advance(30*day - 10*time.Minute)
					_, err := other.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
					require.NoError(t, err)
					w.Clock.Advance(30 * time.Minute)
					w.between(c.read, func() { require.NoError(t, other.Flush(t.Context())) })
					c.do(w, issued.Token.ID)
					w.Store.On(nil)
					require.Equal(t, apitoken.StateActive, w.stored(issued.Token.ID).Token.State)
					require.NoError(t, w.verify(issued.Secret))
				}
			}
		})
	}
}

// P3: nothing brings back a token that was revoked, disabled or deleted between a
// call's read and its write.
func TestRaceAgainstRevoke(t *testing.T) {
	t.Parallel()
	rivals := map[string]func(w *world, m apitoken.Manager, id apitoken.ID) error{
		"revoke": func(w *world, m apitoken.Manager, id apitoken.ID) error { return m.Revoke(t.Context(), dan, id, "") },
		"disable": func(w *world, m apitoken.Manager, id apitoken.ID) error {
			_, err := m.Disable(t.Context(), dan, id, "")
			return err
		},
		"delete": func(w *world, m apitoken.Manager, id apitoken.ID) error { return m.Delete(t.Context(), dan, id, "") },
	}
	for rival, end := range rivals {
		for _, call := range tokenCalls {
			switch call.name {
			case "Get", "History", "Explain":
				continue
			}
			t.Run(rival+"/"+call.name, func(t *testing.T) {
				t.Parallel()
				for range forced {
					w := newWorld(t)
					other := w.Node()
					kind := shared
					if call.name == "Enable" {
						kind = plain // which is enabled without a new expiry
					}
					issued := w.issue(kind)
					id := issued.Token.ID
					if call.name == "Enable" {
						must(w.Service.Disable(t.Context(), ann, id, ""))
					}
					w.between("Get", func() { require.NoError(t, end(w, other, id)) })
					err := call.do(t.Context(), w.Service, ann, id)
					w.Store.On(nil)
					if rival == "disable" && call.name == "Enable" {
						continue // it was disabled already
					}
					require.Error(t, w.verify(issued.Secret))
					rec, gone := w.Store.Unwrap().Get(t.Context(), id)
					switch rival {
					case "delete":
						require.ErrorIs(t, gone, apitoken.ErrNotFound)
						oneFamily(t, err, apitoken.ErrNotFound)
					case "revoke":
						if call.name == "Delete" {
							require.NoError(t, err)
							continue
						}
						require.Equal(t, apitoken.StateRevoked, rec.Token.State)
						if call.name != "Revoke" {
							oneFamily(t, err, apitoken.ErrConflict)
						}
					case "disable":
						if gone == nil {
							require.NotEqual(t, apitoken.StateActive, rec.Token.State)
						}
					}
				}
			})
		}
		t.Run(rival+"/uses", func(t *testing.T) {
			t.Parallel()
			for range forced {
				w := newWorld(t)
				other := w.Node()
				issued := w.issue(user)
				require.NoError(t, w.verify(issued.Secret))
				require.NoError(t, end(w, other, issued.Token.ID))
				require.NoError(t, w.Service.Flush(t.Context())) // of a use from before
				require.Error(t, w.verify(issued.Secret))
				rec, err := w.Store.Unwrap().Get(t.Context(), issued.Token.ID)
				require.True(t, errors.Is(err, apitoken.ErrNotFound) || rec.Token.State != apitoken.StateActive)
			}
		})
	}
}

// Two editors: neither overwrites what the other changed, and with IfVersion the
// slower one is told.
func TestRaceTwoEditors(t *testing.T) {
	t.Parallel()
	for range forced {
		w := newWorld(t)
		other, id := w.Node(), w.issue(shared).Token.ID
		second := func(version int64) error {
			_, err := other.Edit(t.Context(), dan, id, apitoken.EditRequest{Description: ptr(fmt.Sprint("by dan ", version)), IfVersion: version})
			return err
		}
		w.between("Get", func() { require.NoError(t, second(0)) })
		v, err := w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("by ann")})
		require.NoError(t, err)
		require.Equal(t, "by ann", v.Name)
		require.Equal(t, "by dan 0", v.Description)
		require.EqualValues(t, 3, v.Version)

		w.between("Get", func() { require.NoError(t, second(3)) })
		_, err = w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr("too late"), IfVersion: 3})
		oneFamily(t, err, apitoken.ErrVersion)
		require.Equal(t, "by ann", w.get(id).Name)
		w.Store.On(nil)
	}
}

// A call that loses every time gives up as an outage, and has done nothing.
func TestRaceGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, id := w.Node(), w.issue(shared).Token.ID
	n, inside := 0, false
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Get" && c.Done && !inside {
			inside = true
			defer func() { inside = false }()
			n++
			_, err := other.Edit(t.Context(), dan, id, apitoken.EditRequest{Name: ptr(fmt.Sprint(n))})
			return err
		}
		return nil
	})
	_, err := w.Service.Edit(t.Context(), ann, id, apitoken.EditRequest{Description: ptr("never")})
	oneFamily(t, err, apitoken.ErrUnavailable)
	require.Equal(t, 3, n, "at most three times")
	w.Store.On(nil)
	require.Empty(t, w.get(id).Description)

	origins, inside := 0, false
	w.Store.On(func(c apitokentest.Call) error {
		if c.Method == "Settings" && c.Done && !inside {
			inside = true
			defer func() { inside = false }()
			origins++
			_, err := other.EditOrigins(t.Context(), dan, apitoken.OriginsRequest{Origins: []string{fmt.Sprintf("https://h%d.example", origins)}})
			return err
		}
		return nil
	})
	_, err = w.Service.EditOrigins(t.Context(), ann, apitoken.OriginsRequest{Origins: []string{"https://never.example"}})
	oneFamily(t, err, apitoken.ErrUnavailable)
	w.Store.On(nil)
	require.Equal(t, []string{"https://h3.example"}, must(w.Service.Origins(t.Context(), ann)).Origins)
}

// P1: once Revoke returned no later Verify succeeds, on either node, whatever
// else is going on.
func TestRaceFree(t *testing.T) {
	t.Parallel()
	for range 40 {
		w := newWorld(t)
		nodes := []*apitoken.Service{w.Service, w.Node()}
		issued := w.issue(shared, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(time.Hour) })
		id := issued.Token.ID
		var revoked atomic.Bool
		var violations atomic.Int64
		var wg sync.WaitGroup
		for i, m := range nodes {
			for name, do := range map[string]func() error{
				"verify": func() error {
					before := revoked.Load()
					_, err := m.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
					if before && err == nil {
						violations.Add(1)
					}
					return err
				},
				"flush": func() error { return m.Flush(t.Context()) },
				"edit": func() error {
					_, err := m.Edit(t.Context(), ann, id, apitoken.EditRequest{Name: ptr(fmt.Sprint(i))})
					return err
				},
				"extend": func() error {
					_, err := m.Extend(t.Context(), ann, id, apitoken.ExtendRequest{Expiry: apitoken.ExpiresIn(day)})
					return err
				},
				"enable": func() error {
					_, err := m.Enable(t.Context(), ann, id, apitoken.EnableRequest{Expiry: apitoken.ExpiresIn(day)})
					return err
				},
				"rotate": func() error {
					v, err := m.Get(t.Context(), ann, id)
					if err == nil {
						_, err = m.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IfVersion: v.Version, Overlap: day})
					}
					return err
				},
				"sweep": func() error { _, err := m.Sweep(t.Context()); return err },
			} {
				wg.Go(func() {
					for range 10 {
						if err := do(); errors.Is(err, apitoken.ErrInvalid) || errors.Is(err, apitoken.ErrNotFound) {
							t.Errorf("%s: %v", name, err)
						}
					}
				})
			}
		}
		wg.Go(func() {
			for {
				err := nodes[1].Revoke(t.Context(), ann, id, "")
				if err == nil {
					revoked.Store(true)
					return
				}
				if !errors.Is(err, apitoken.ErrUnavailable) { // repeat the call, as the error says
					t.Error(err)
					return
				}
			}
		})
		wg.Wait()
		require.Zero(t, violations.Load())
		require.Equal(t, apitoken.StateRevoked, w.stored(id).Token.State)
		count := 0
		for i, e := range w.events(id) {
			if e.Type == apitoken.EventRevoked {
				count++
			}
			require.EqualValues(t, i+1, e.Version, "one event for each version, none lost")
		}
		require.Equal(t, 1, count)
	}
}

// What must happen once happens once: a sweep's steps, a keyed issue, a rotation
// from one version, the report of a reuse.
func TestRaceOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		w := newWorld(t)
		nodes := []*apitoken.Service{w.Service, w.Node(), w.Node()}
		all := func(do func(m *apitoken.Service)) {
			var wg sync.WaitGroup
			for _, m := range nodes {
				wg.Go(func() { do(m) })
			}
			wg.Wait()
		}
		var made, rotated atomic.Int64
		all(func(m *apitoken.Service) {
			if _, err := m.Issue(t.Context(), ann, apitoken.IssueRequest{Kind: shared, Name: "one", IdempotencyKey: "k", Expiry: apitoken.ExpiresOn("2027-03-03")}); err == nil {
				made.Add(1)
			} else if !errors.Is(err, apitoken.ErrConflict) {
				t.Error(err)
			}
		})
		require.EqualValues(t, 1, made.Load())
		page := must(w.Service.List(t.Context(), ann, apitoken.ListQuery{}))
		require.Len(t, page.Tokens, 1)
		id := page.Tokens[0].ID
		old := w.rotate(ann, id, 0)
		values := make(chan apitoken.Secret, len(nodes))
		all(func(m *apitoken.Service) {
			if i, err := m.Rotate(t.Context(), ann, id, apitoken.RotateRequest{IfVersion: 2}); err == nil {
				rotated.Add(1)
				values <- i.Secret
			}
		})
		require.EqualValues(t, 1, rotated.Load())
		require.NoError(t, w.verify(<-values), "the value that was shown is the one that works")
		all(func(m *apitoken.Service) {
			_, _ = m.Verify(t.Context(), apitoken.VerifyRequest{Token: old.Secret.Reveal()})
		})
		w.Clock.Advance(3 * day)
		all(func(m *apitoken.Service) { _, _ = m.Sweep(t.Context()) })
		w.Clock.Advance(week)
		all(func(m *apitoken.Service) { _, _ = m.Sweep(t.Context()) })
		require.Equal(t, []apitoken.EventType{
			apitoken.EventCreated, apitoken.EventRotated, apitoken.EventRotated, apitoken.EventReused, apitoken.EventExpired, apitoken.EventDeleted,
		}, eventTypes(w.events(id)))
		all(func(m *apitoken.Service) { _, _ = m.Deliver(t.Context()) })
		require.Len(t, w.Notifier.Take(), 6, "and is told once")
	}
}
