package apitoken_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// watching is an Observer that remembers what it was told.
type watching struct {
	verified []apitoken.Verification
	limited  []apitoken.Decision
	failed   []apitoken.StoreFailure
	swept    []apitoken.SweepResult
}

func (w *watching) observer() apitoken.Observer {
	return apitoken.Observer{
		Verified:    func(_ context.Context, v apitoken.Verification) { w.verified = append(w.verified, v) },
		Limited:     func(_ context.Context, d apitoken.Decision) { w.limited = append(w.limited, d) },
		StoreFailed: func(_ context.Context, f apitoken.StoreFailure) { w.failed = append(w.failed, f) },
		Swept:       func(_ context.Context, s apitoken.SweepResult) { w.swept = append(w.swept, s) },
	}
}

func newWatchedWorld(t *testing.T) (*world, *watching) {
	seen := &watching{}
	return newWorld(t, func(o *apitoken.Options) {
		o.Observer = seen.observer()
		o.Limits = map[string]apitoken.Limit{"api": {Quota: 1, Window: time.Hour}}
	}), seen
}

func TestObserverOfVerifications(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ask  func(w *world, i apitoken.Issued) error
		want apitoken.Verification
	}{
		{"accepted", func(w *world, i apitoken.Issued) error {
			_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
			return err
		}, apitoken.Verification{Call: "verify", Kind: personal, Scheme: apitoken.SchemeBearer}},
		{"unknown", func(w *world, i apitoken.Issued) error {
			require.NoError(t, w.Service.Delete(t.Context(), ann, i.Token.ID, ""))
			_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
			return err
		}, apitoken.Verification{Call: "verify", Reason: "unknown_token"}},
		{"malformed", func(w *world, _ apitoken.Issued) error {
			_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: "what a client made up"})
			return err
		}, apitoken.Verification{Call: "verify", Reason: "malformed_token"}},
		{"disabled", func(w *world, i apitoken.Issued) error {
			must(w.Service.Disable(t.Context(), ann, i.Token.ID, ""))
			_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
			return err
		}, apitoken.Verification{Call: "verify", Reason: "disabled", Kind: personal, Scheme: apitoken.SchemeBearer}},
		{"outage", func(w *world, i apitoken.Issued) error {
			w.Owners.Fail(errors.New("directory down"))
			_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
			return err
		}, apitoken.Verification{Call: "verify", Reason: "unavailable", Part: "owners", Kind: personal, Scheme: apitoken.SchemeBearer}},
		{"admit", func(w *world, i apitoken.Issued) error {
			return w.Service.Admit(t.Context(), w.Verify(i.Secret), apitoken.AdmitRequest{Use: "deploy"})
		}, apitoken.Verification{Call: "admit", Reason: "kind", Kind: personal, Scheme: apitoken.SchemeBearer}},
		{"recheck", func(w *world, i apitoken.Issued) error {
			p := w.Verify(i.Secret)
			require.NoError(t, w.Service.Revoke(t.Context(), ann, i.Token.ID, ""))
			_, err := w.Service.Recheck(t.Context(), p)
			return err
		}, apitoken.Verification{Call: "recheck", Reason: "revoked", Kind: personal, Scheme: apitoken.SchemeBearer}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, seen := newWatchedWorld(t)
			err := c.ask(w, w.issue(personal))
			require.Equal(t, c.want.Reason, apitoken.ReasonOf(err))
			require.NotEmpty(t, seen.verified)
			got := seen.verified[len(seen.verified)-1]
			c.want.Start = w.Clock.Now()
			require.Equal(t, c.want, got)
		})
	}
}

// What it is told takes as long as it took.
func TestObserverTakesTheTime(t *testing.T) {
	t.Parallel()
	w, seen := newWatchedWorld(t)
	i := w.issue(personal)
	start := w.Clock.Now()
	w.Store.On(func(c apitokentest.Call) error {
		if !c.Done {
			w.Clock.Advance(time.Second)
		}
		return nil
	})
	_, err := w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
	require.NoError(t, err)
	require.Equal(t, start, seen.verified[0].Start)
	require.Equal(t, time.Second, seen.verified[0].Took)
}

func TestObserverOfLimits(t *testing.T) {
	t.Parallel()
	w, seen := newWatchedWorld(t)
	i := w.issue(plain)
	require.Equal(t, 1, w.askAll(i, "api"))
	require.Len(t, seen.limited, 2)
	require.True(t, seen.limited[0].Allowed)
	require.False(t, seen.limited[1].Allowed)
	require.Equal(t, "api", seen.limited[1].Limit)
	require.NotContains(t, fmt.Sprint(seen.limited, seen.verified), string(i.Token.ID))
}

// Answers are no failures, and neither is a caller that went away.
func TestObserverOfStoreFailures(t *testing.T) {
	t.Parallel()
	w, seen := newWatchedWorld(t)
	i := w.issue(personal)
	_, err := w.Service.Get(t.Context(), ann, "0000000000000000000000")
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	_, err = w.Service.Edit(t.Context(), ann, i.Token.ID, apitoken.EditRequest{Name: ptr("two"), IfVersion: 9})
	require.ErrorIs(t, err, apitoken.ErrConflict)
	require.Empty(t, seen.failed)

	down := errors.New("connection refused")
	w.Store.On(func(apitokentest.Call) error { return down })
	_, err = w.Service.Verify(t.Context(), apitoken.VerifyRequest{Token: i.Secret.Reveal()})
	oneFamily(t, err, apitoken.ErrUnavailable)
	_, err = w.Service.Get(t.Context(), ann, i.Token.ID)
	oneFamily(t, err, apitoken.ErrUnavailable)
	_, err = w.Service.Sweep(t.Context())
	oneFamily(t, err, apitoken.ErrUnavailable)
	var calls []string
	for _, f := range seen.failed {
		require.ErrorIs(t, f.Err, down)
		calls = append(calls, f.Call)
	}
	require.Equal(t, []string{"Record", "Get", "Due"}, calls)
	require.Len(t, seen.swept, 1)
	require.Error(t, seen.swept[0].Err)

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = w.Service.Get(gone, ann, i.Token.ID)
	require.Error(t, err)
	require.Len(t, seen.failed, 3)
}

func TestObserverOfSweeps(t *testing.T) {
	t.Parallel()
	w, seen := newWatchedWorld(t)
	w.issue(personal, func(r *apitoken.IssueRequest) { r.Expiry = apitoken.ExpiresIn(day) })
	w.Clock.Advance(2 * day)
	out, err := w.Service.Sweep(t.Context())
	require.NoError(t, err)
	require.Equal(t, []apitoken.SweepResult{{Swept: out, Start: w.Clock.Now()}}, seen.swept)
	require.Equal(t, 1, out.Expired)
}

func TestJoinObservers(t *testing.T) {
	t.Parallel()
	a, b := &watching{}, &watching{}
	o := apitoken.JoinObservers(a.observer(), apitoken.Observer{}, b.observer())
	o.Verified(t.Context(), apitoken.Verification{Call: "verify"})
	o.Limited(t.Context(), apitoken.Decision{Limit: "api"})
	o.StoreFailed(t.Context(), apitoken.StoreFailure{Call: "Get"})
	o.Swept(t.Context(), apitoken.SweepResult{Took: 1})
	require.Equal(t, a, b)
	require.Len(t, a.verified, 1)
	require.Nil(t, apitoken.JoinObservers().Verified)
	only := apitoken.JoinObservers(apitoken.Observer{Limited: func(context.Context, apitoken.Decision) {}})
	require.NotNil(t, only.Limited)
	require.Nil(t, only.Swept)
}
