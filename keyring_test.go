package apitoken_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

func TestNewKeyringNamesEveryFault(t *testing.T) {
	t.Parallel()
	key := apitoken.NewSecret(strings.Repeat("k", 32))
	_, err := apitoken.NewKeyring()
	require.Equal(t, []string{"keys"}, faultFields(err))
	_, err = apitoken.NewKeyring(
		apitoken.SealingKey{ID: "a", Key: key}, apitoken.SealingKey{ID: "a", Key: key},
		apitoken.SealingKey{ID: "b b", Key: key}, apitoken.SealingKey{ID: "c", Key: apitoken.NewSecret("hunter2")}, apitoken.SealingKey{},
	)
	require.Equal(t, []string{"keys[1].id", "keys[2].id", "keys[3].key", "keys[4].id", "keys[4].key"}, faultFields(err))
	require.NotContains(t, err.Error(), "hunter2")
	k, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "a", Key: key}, apitoken.SealingKey{ID: "b", Key: key})
	require.NoError(t, err)
	require.Equal(t, "a", k.Primary())
}

func TestKeyringIsRedacted(t *testing.T) {
	t.Parallel()
	k := keyring("one")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "keyring", k)
	text, err := json.Marshal(k)
	require.NoError(t, err)
	for _, shown := range []string{fmt.Sprint(k), fmt.Sprintf("%+v", k), fmt.Sprintf("%#v", k), fmt.Sprintf("%x", k), log.String(), string(text)} {
		require.Contains(t, shown, "[redacted]")
		require.NotContains(t, shown, "aes")
	}
}

// P10, S1.18, S2.15: what is stored opens nothing, and nothing when it is moved.
func TestSealedRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	bearer, other := w.issue(plain), w.issue(plain)
	secret, _ := w.secretSigner()
	for _, id := range []apitoken.ID{bearer.Token.ID, secret.token} {
		rec := w.stored(id)
		require.Equal(t, "one", rec.Primary.KeyID)
		require.NotContains(t, string(rec.Primary.Blob), secret.secret[30:73])
	}
	require.NoError(t, w.verify(bearer.Secret))
	require.NoError(t, w.prove(w.proof(secret, "a")))

	move := func(from, to apitoken.ID) {
		source, rec := w.stored(from), w.stored(to)
		rec.Primary, rec.Op = source.Primary, "moved"
		rec.Token.Version++
		require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
	}
	move(bearer.Token.ID, other.Token.ID)
	require.ErrorIs(t, w.verify(other.Secret), apitoken.ErrUnavailable)
	_, ownID, _ := strings.Cut(bearer.Secret.Reveal(), "_")
	require.Error(t, w.verify(apitoken.NewSecret("acme_"+string(other.Token.ID)+ownID[22:])))
	move(secret.token, other.Token.ID)
	require.ErrorIs(t, w.prove(w.proof(holder{token: other.Token.ID, secret: secret.secret}, "b")), apitoken.ErrUnavailable)

	// Without the keyring, or with another key of the same name, all of it is shut.
	for name, k := range map[string]apitoken.KeyWrapper{"none": nil, "another ID": keyring("two"), "another key": impostor(t)} {
		s, err := apitoken.New(w.Store.Unwrap(), apitoken.Options{Prefix: "acme", Catalog: worldCatalog, Kinds: map[apitoken.Kind]apitoken.Policy{plain: {}}, Keyring: k, Clock: w.Clock})
		require.NoError(t, err, name)
		_, err = s.Verify(t.Context(), apitoken.VerifyRequest{Token: bearer.Secret.Reveal()})
		require.ErrorIs(t, err, apitoken.ErrUnavailable, name)
	}
	require.NoError(t, w.verify(bearer.Secret))
}

func impostor(t *testing.T) apitoken.KeyWrapper {
	k, err := apitoken.NewKeyring(apitoken.SealingKey{ID: "one", Key: apitoken.NewSecret(strings.Repeat("x", 32))})
	require.NoError(t, err)
	return k
}

// wrapper is a key management service that may fail.
type wrapper struct {
	apitoken.KeyWrapper
	down  atomic.Bool
	calls atomic.Int32
}

func (w *wrapper) Wrap(ctx context.Context, id string, plain, bound []byte) ([]byte, error) {
	if w.calls.Add(1); w.down.Load() {
		return nil, errors.New("kms: throttled")
	}
	return w.KeyWrapper.Wrap(ctx, id, plain, bound)
}

func (w *wrapper) Unwrap(ctx context.Context, id string, sealed, bound []byte) ([]byte, error) {
	if w.calls.Add(1); w.down.Load() {
		return nil, errors.New("kms: throttled")
	}
	return w.KeyWrapper.Unwrap(ctx, id, sealed, bound)
}

// P4: a keyring that does not answer is an outage, and nothing is stored; it is asked
// once for a record that stays in memory.
func TestKeyringFails(t *testing.T) {
	t.Parallel()
	kms := &wrapper{KeyWrapper: keyring("one")}
	w := newWorld(t, signing, func(o *apitoken.Options) { o.Keyring = kms })
	bearer := w.issue(plain)
	before := w.dump()
	kms.down.Store(true)
	_, err := w.Service.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "two"})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	_, err = w.Service.Rotate(t.Context(), ann, bearer.Token.ID, apitoken.RotateRequest{IfVersion: 1})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.ErrorIs(t, w.verify(bearer.Secret), apitoken.ErrUnavailable)
	_, err = w.Service.ReportLeak(t.Context(), ann, apitoken.LeakReport{Value: bearer.Secret, Where: "x"})
	require.ErrorIs(t, err, apitoken.ErrUnavailable)
	require.Equal(t, before, w.dump())
	kms.down.Store(false)
	require.NoError(t, w.verify(bearer.Secret))
	calls := kms.calls.Load()
	kms.down.Store(true)
	for range 5 {
		require.NoError(t, w.verify(bearer.Secret))
	}
	require.Equal(t, calls, kms.calls.Load())
	require.NoError(t, w.Service.Revoke(t.Context(), ann, bearer.Token.ID, ""), "stopping needs no keyring")
	require.NoError(t, func() error { _, err := w.Service.Get(t.Context(), ann, bearer.Token.ID); return err }())
}

// rekeyed is the world's store under another keyring.
func (w *world) rekeyed(k apitoken.KeyWrapper) *apitoken.Service {
	w.t.Helper()
	s, err := apitoken.New(w.Store, apitoken.Options{
		Prefix: "acme", Catalog: worldCatalog, Keyring: k, Clock: w.Clock, Owners: w.Owners, DefaultKind: plain,
		Kinds: map[apitoken.Kind]apitoken.Policy{plain: {Schemes: []apitoken.Scheme{apitoken.SchemeBearer, apitoken.SchemeJWT}}},
	})
	require.NoError(w.t, err)
	return s
}

func rewrapAll(t *testing.T, s *apitoken.Service, limit int) (sum apitoken.Rewrapped) {
	t.Helper()
	for req := (apitoken.RewrapRequest{Limit: limit}); ; {
		batch, err := s.Rewrap(t.Context(), apitoken.DangerouslyCrossTenant("rewrap"), req)
		require.NoError(t, err)
		sum.Looked, sum.Sealed, sum.Failed = sum.Looked+batch.Looked, sum.Sealed+batch.Sealed, sum.Failed+batch.Failed
		if req.After = batch.Next; req.After == "" {
			return sum
		}
		require.Equal(t, limit, batch.Looked)
	}
}

func TestRewrap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing, func(o *apitoken.Options) { o.Keyring = nil })
	old := w.issue(plain)
	key, _ := w.keySigner()
	rotated := w.issue(plain)
	now, err := w.Service.Rotate(t.Context(), ann, rotated.Token.ID, apitoken.RotateRequest{IfVersion: 1, Overlap: day})
	require.NoError(t, err)
	revoked := w.issue(plain)
	require.NoError(t, w.Service.Revoke(t.Context(), ann, revoked.Token.ID, ""))

	one := w.rekeyed(keyring("one"))
	secret, err := one.Issue(t.Context(), ann, apitoken.IssueRequest{Name: "signs", Symmetric: true})
	require.NoError(t, err)
	history := len(w.events(old.Token.ID))
	require.Equal(t, apitoken.Rewrapped{Looked: 5, Sealed: 3}, rewrapAll(t, one, 2), "what there was before the keyring")
	require.Equal(t, apitoken.Rewrapped{Looked: 5}, rewrapAll(t, one, 500), "and once")
	require.Len(t, w.events(old.Token.ID), history)

	both := w.rekeyed(keyring("two", "one"))
	require.Equal(t, apitoken.Rewrapped{Looked: 5, Sealed: 4}, rewrapAll(t, both, 3))
	two := w.rekeyed(keyring("two"))
	for _, s := range []apitoken.Secret{old.Secret, rotated.Secret, now.Secret} {
		_, err := two.Verify(t.Context(), apitoken.VerifyRequest{Token: s.Reveal()})
		require.NoError(t, err)
	}
	for _, s := range []holder{key, {token: secret.Token.ID, secret: secret.Secret.Reveal()}} {
		_, err := two.Verify(t.Context(), apitoken.VerifyRequest{Proof: w.proof(s, "a")})
		require.NoError(t, err)
	}
	view, err := two.FindBySecret(t.Context(), ann, revoked.Secret.Reveal())
	require.NoError(t, err)
	require.Equal(t, apitoken.StateRevoked, view.State, "nothing comes back (P3)")

	lost := w.rekeyed(keyring("three"))
	require.Equal(t, apitoken.Rewrapped{Looked: 5, Failed: 4}, rewrapAll(t, lost, 500), "what cannot be opened is left as it is")
	_, err = two.Verify(t.Context(), apitoken.VerifyRequest{Token: old.Secret.Reveal()})
	require.NoError(t, err)
}

func TestRewrapRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	for name, tc := range map[string]struct {
		req    apitoken.RewrapRequest
		fields []string
	}{
		"limit": {apitoken.RewrapRequest{Limit: 501}, []string{"limit"}}, "negative": {apitoken.RewrapRequest{Limit: -1}, []string{"limit"}},
		"after": {apitoken.RewrapRequest{After: "x"}, []string{"after"}}, "no number": {apitoken.RewrapRequest{After: "x.0000000000000000000000"}, []string{"after"}},
	} {
		_, err := w.Service.Rewrap(t.Context(), system, tc.req)
		require.Equal(t, tc.fields, faultFields(err), name)
	}
	_, err := w.Service.Rewrap(t.Context(), ann, apitoken.RewrapRequest{})
	require.ErrorIs(t, err, apitoken.ErrMayNot)
	_, err = w.rekeyed(nil).Rewrap(t.Context(), system, apitoken.RewrapRequest{})
	require.Equal(t, []string{"Keyring"}, faultFields(err))
	w.issue(plain)
	of, err := w.Service.Rewrap(t.Context(), apitoken.System("rewrap", "rival"), apitoken.RewrapRequest{})
	require.NoError(t, err)
	require.Zero(t, of.Looked, "another tenant's tokens are not looked at")
}

// P11: keys change while tokens are used, on a node with the keys before and one
// with those after.
func TestRewrapUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, signing)
	var values []apitoken.Secret
	var signers []holder
	for range 20 {
		values = append(values, w.issue(plain).Secret)
		s, _ := w.secretSigner()
		signers = append(signers, s)
	}
	before, after := w.rekeyed(keyring("one", "two")), w.rekeyed(keyring("two", "one"))
	const verifications = 10_000
	var n, failed atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		node := []*apitoken.Service{before, after}[g%2]
		wg.Go(func() {
			for i := n.Add(1); i <= verifications; i = n.Add(1) {
				req := apitoken.VerifyRequest{Token: values[i%20].Reveal()}
				if i%4 == 0 {
					req = apitoken.VerifyRequest{Proof: w.proof(signers[i/4%20], fmt.Sprint(i))}
				}
				if _, err := node.Verify(t.Context(), req); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	sealed := 0
	for i := 0; n.Load() < verifications; i++ {
		sealed += rewrapAll(t, []*apitoken.Service{after, before}[i%2], 7).Sealed
	}
	wg.Wait()
	require.Zero(t, failed.Load())
	require.GreaterOrEqual(t, sealed, 40)
}

// P3: a rewrap that read a token before it was stopped does not bring it back.
func TestRewrapAgainstStop(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*testing.T, *world, apitoken.ID) error{
		"revoke": func(t *testing.T, w *world, id apitoken.ID) error { return w.Service.Revoke(t.Context(), ann, id, "") },
		"disable": func(t *testing.T, w *world, id apitoken.ID) error {
			_, err := w.Service.Disable(t.Context(), ann, id, "")
			return err
		},
		"delete": func(t *testing.T, w *world, id apitoken.ID) error { return w.Service.Delete(t.Context(), ann, id, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range forced {
				w := newWorld(t, signing)
				issued := w.issue(plain)
				two := w.rekeyed(keyring("two", "one"))
				stopped := false
				w.between("Get", func() { stopped = true; require.NoError(t, stop(t, w, issued.Token.ID)) })
				batch, err := two.Rewrap(t.Context(), system, apitoken.RewrapRequest{})
				w.Store.On(nil)
				require.NoError(t, err)
				require.True(t, stopped)
				require.Zero(t, batch.Failed)
				require.Error(t, w.verify(issued.Secret))
				_, err = two.Verify(t.Context(), apitoken.VerifyRequest{Token: issued.Secret.Reveal()})
				require.ErrorIs(t, err, apitoken.ErrUnauthenticated)
			}
		})
	}
}
