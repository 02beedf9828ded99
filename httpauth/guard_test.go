package httpauth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
	"github.com/tokenry/apitoken/httpauth"
	"github.com/tokenry/apitoken/memstore"
)

type guardFunc func(context.Context, apitoken.SignedUse) (bool, error)

func (f guardFunc) Remember(ctx context.Context, use apitoken.SignedUse) (bool, error) {
	return f(ctx, use)
}

// requireOutage: a part that fails refuses, and is no fault of the client (P4).
func requireOutage(t *testing.T, rec *httptest.ResponseRecorder, err error) {
	t.Helper()
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.NotErrorIs(t, err, apitoken.ErrUnauthenticated)
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Equal(t, "5", rec.Header().Get("Retry-After"))
	require.Empty(t, rec.Header().Get("WWW-Authenticate"))
}

func TestGuardThatFails(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t, func(o *apitoken.Options) {
			o.ReplayGuard = guardFunc(func(context.Context, apitoken.SignedUse) (bool, error) {
				return true, errors.New("no connection")
			})
		})
		rec, err := s.send(w, s.make(w.key, w.Clock.Now()))
		requireOutage(t, rec, err)
	})
}

// A full guard refuses, and drops nothing that it must still keep (P15). A request
// that is refused for anything else takes no room in it.
func TestGuardThatIsFull(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t, func(o *apitoken.Options) {
			o.ReplayGuard = memstore.NewReplayGuard(time.Time{}, memstore.ReplayOptions{Max: 10})
		})
		for range 20 {
			_, err := s.send(w, s.make(client{w.key.id, "ES256", w.otherKey.key}, w.Clock.Now()))
			require.ErrorIs(t, err, apitoken.ErrBadSignature)
		}
		first := s.make(w.key, w.Clock.Now())
		_, err := s.send(w, first)
		require.NoError(t, err)
		rec, err := s.send(w, s.make(w.key, w.Clock.Now().Add(time.Second)))
		requireOutage(t, rec, err) // a tenth is one token's share
		_, err = s.send(w, s.make(w.secret, w.Clock.Now()))
		require.NoError(t, err, "another token has a share of its own")
		_, err = s.send(w, first)
		require.ErrorIs(t, err, apitoken.ErrReplayed)
	})
}

// The store and the keyring are parts too.
func TestOutageOfAnotherPart(t *testing.T) {
	t.Parallel()
	eachSort(t, func(t *testing.T, s sort) {
		w := newSignedWorld(t)
		w.Store.On(func(apitokentest.Call) error { return errors.New("no connection") })
		rec, err := s.send(w, s.make(w.key, w.Clock.Now()))
		requireOutage(t, rec, err)

		w = newSignedWorld(t, func(o *apitoken.Options) { o.Keyring = lostKeys{o.Keyring} })
		rec, err = s.send(w, s.make(w.secret, w.Clock.Now()))
		requireOutage(t, rec, err)
		_, err = s.send(w, s.make(w.key, w.Clock.Now()))
		require.NoError(t, err, "a public key is not sealed")
	})
}

// lostKeys seals and cannot open again.
type lostKeys struct{ apitoken.KeyWrapper }

func (lostKeys) Unwrap(context.Context, string, []byte, []byte) ([]byte, error) {
	return nil, errors.New("no connection")
}

// Signed requests that are not accepted count as failed attempts of their address,
// and one that has failed too often is not even read.
func TestFailedAttemptsOfSignedRequests(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		build func(*httpauth.Auth) http.Handler
		carry func(text string) *http.Request
		sort  sort
	}{
		"tunnel": {
			func(a *httpauth.Auth) http.Handler { return a.Tunnel(httpauth.TunnelOptions{}, echo) },
			tunnelRequest, sorts[0],
		},
		"bound JWT": {
			func(a *httpauth.Auth) http.Handler { return a.Middleware(echo) },
			func(text string) *http.Request { return boundRequest("GET", "/v1/devices?sort=name", "", text) }, sorts[1],
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newSignedWorld(t)
			opts := bound()
			opts.Clock, opts.FailedAttempts = w.Clock, httpauth.FailedAttempts{Limit: 3, Window: time.Minute}
			opts.Logger = w.Options.Logger
			h := tc.build(httpauth.New(w.Service, opts))
			good := tc.sort.make(w.key, w.Clock.Now())
			require.Equal(t, 200, answer(h, tc.carry(good)).Code)
			require.Equal(t, 401, answer(h, tc.carry(good)).Code, "replayed")
			require.Equal(t, 401, answer(h, tc.carry(good+"A")).Code, "malformed")
			require.Equal(t, 401, answer(h, tc.carry(tc.sort.make(client{w.key.id, "ES256", w.otherKey.key}, w.Clock.Now()))).Code)
			fresh := tc.sort.make(w.key, w.Clock.Now().Add(time.Second))
			require.Equal(t, 429, answer(h, tc.carry(fresh)).Code)
			two := tc.carry(fresh)
			two.Header.Set("Authorization", "Basic YTpi")
			two.Header.Add("Authorization", "Basic YTpi")
			require.Equal(t, 400, answer(h, two).Code, "that is no attempt, nor is it held up by those that were")
			w.Clock.Advance(20 * time.Second)
			require.Equal(t, 200, answer(h, tc.carry(fresh)).Code)
		})
	}
}
