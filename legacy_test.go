package apitoken_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/apitokentest"
)

// S3.17-S3.20: a pair is converted with nothing to do for its client, has the
// user's permissions, live and not shown, and ends at once and for good when the
// value is renewed; a generated value goes on with its overlap.
func TestImportedPair(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{strong, weak} {
		w := newImportWorld(t)
		out := w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann", NewValue: true})
		require.False(t, out.Secret.IsZero()) // S3.19
		require.NoError(t, w.verify(out.Secret, "devices:view"))
		again := w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann", NewValue: true})
		require.Equal(t, apitoken.ImportedBefore, again.Outcome)
		require.True(t, again.Secret.IsZero(), "a value is shown once")
		require.NoError(t, w.verify(out.Secret))

		p, err := w.present(pairID, secret)
		require.NoError(t, err)
		require.True(t, p.Can("scripts:run"))
		w.Owners.SetPermissions("acme", "ann", viewer)
		p, err = w.present(pairID, secret)
		require.NoError(t, err)
		require.Equal(t, []string{"devices:view"}, p.Permissions().Names()) // S3.20
		require.Empty(t, w.get(out.Token).Grant.Permissions)
		_, err = w.Service.Edit(t.Context(), ann, out.Token, apitoken.EditRequest{Permissions: &[]string{"devices:view"}})
		require.Error(t, err)

		_, err = w.present(pairID, secret+"x")
		require.ErrorIs(t, err, apitoken.ErrWrongSecret)
		_, err = w.present(strings.ToUpper(pairID), secret)
		require.ErrorIs(t, err, apitoken.ErrUnknownToken)

		w.Owners.SetPermissions("acme", "ann", everything)
		second := w.rotate(ann, out.Token, day) // S3.18
		for range 2 {
			_, err = w.present(pairID, secret)
			require.ErrorIs(t, err, apitoken.ErrLegacyEnded)
			_, err = w.Service.Recheck(t.Context(), p)
			require.ErrorIs(t, err, apitoken.ErrLegacyEnded)
			again := w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(secret), Owner: "ann"})
			require.Equal(t, apitoken.ImportedBefore, again.Outcome, "an import does not bind the pair again")
		}
		require.NoError(t, w.verify(out.Secret), "the generated value has its overlap")
		require.NoError(t, w.verify(second.Secret))
	}
}

// A single key carries every rule of its kind, and becomes a token of the new
// format when it is rotated: one write ends the old way, with no overlap.
func TestImportedKey(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t, func(o *apitoken.Options) { o.Limits = map[string]apitoken.Limit{"api": {Quota: 2, Window: time.Hour}} })
	id := w.importOne(row(func(r *apitoken.ImportRow) {
		r.Networks, r.ExpiresAt, r.Share = []string{"192.0.2.0/24"}, w.Clock.Now().Add(day), 50
	})).Token
	from := w.stored(id).Token.Networks[0].Addr()
	ask := func(change func(*apitoken.VerifyRequest)) error {
		req := apitoken.VerifyRequest{Token: oldKey, Address: from, Need: worldCatalog.MustRequire("devices:view")}
		change(&req)
		_, err := w.Service.Verify(t.Context(), req)
		return err
	}
	require.NoError(t, ask(func(*apitoken.VerifyRequest) {}))
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Address = r.Address.Next().Prev().Prev() }), apitoken.ErrNetwork)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Need = worldCatalog.MustRequire("reports:view") }), apitoken.ErrForbidden)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Use = "deploy" }), apitoken.ErrForbidden)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.LegacyID = "x" }), apitoken.ErrTwoCredentials)
	require.NoError(t, ask(func(r *apitoken.VerifyRequest) { r.Limits = []string{"api"} }))
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Limits = []string{"api"} }), apitoken.ErrRateLimited)
	w.Owners.SetActive("acme", "ann", false)
	require.ErrorIs(t, ask(func(*apitoken.VerifyRequest) {}), apitoken.ErrOwnerInactive)
	w.Owners.SetActive("acme", "ann", true)

	v := must(w.Service.FindBySecret(t.Context(), ann, oldKey))
	require.Equal(t, id, v.ID)
	require.Equal(t, w.Clock.Now(), v.Usage.Legacy)
	require.EqualValues(t, 3, v.Usage.Uses, "a use that lacked a permission counts")
	_, err := w.Service.FindBySecret(t.Context(), zoe, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	x := must(w.Service.Explain(t.Context(), ann, apitoken.ExplainRequest{Verify: apitoken.VerifyRequest{Token: oldKey, Address: from}}))
	require.True(t, x.Accepted)

	issued := w.rotate(ann, id, day) // S3.18
	require.Equal(t, []apitoken.EventType{apitoken.EventImported, apitoken.EventRotated}, eventTypes(w.events(id)))
	require.Equal(t, id, issued.Token.ID)
	require.True(t, strings.HasPrefix(issued.Secret.Reveal(), "acme_"))
	require.ErrorIs(t, ask(func(*apitoken.VerifyRequest) {}), apitoken.ErrLegacyEnded)
	require.Equal(t, id, must(w.Service.FindBySecret(t.Context(), ann, oldKey)).ID, "whose it was can still be told")
	slow := w.importOne(row(func(r *apitoken.ImportRow) {
		r.ID, r.Format, r.Handle, r.Digest = "18", "slow", slowKey[:12], bcryptOf(slowKey)
	})).Token
	require.Equal(t, slow, must(w.Service.FindBySecret(t.Context(), ann, slowKey)).ID)
	w.rotate(ann, slow, 0)
	_, err = w.Service.FindBySecret(t.Context(), ann, slowKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound, "a handle proves nothing")
	require.NoError(t, ask(func(r *apitoken.VerifyRequest) { r.Token = issued.Secret.Reveal() }))
	w.Clock.Advance(day)
	require.ErrorIs(t, ask(func(r *apitoken.VerifyRequest) { r.Token = issued.Secret.Reveal() }), apitoken.ErrExpired)
}

// An older key that leaked is acted upon as a token string is.
func TestLeakOfAnOldKey(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	report := func(actor apitoken.Actor, key string) (apitoken.Leak, error) {
		return w.Service.ReportLeak(t.Context(), actor, apitoken.LeakReport{Value: apitoken.NewSecret(key), Where: "a public repository"})
	}
	_, err := report(ann, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound, "not imported")
	id := w.importOne(row()).Token
	for _, near := range []string{oldKey[:29] + "0", oldKey + "x", "sk_a1b2c3d4_guessguess"} {
		_, err = report(ann, near)
		require.ErrorIs(t, err, apitoken.ErrNotFound)
	}
	_, err = report(zoe, oldKey)
	require.ErrorIs(t, err, apitoken.ErrNotFound)
	ended := w.importOne(row(func(r *apitoken.ImportRow) { r.ID, r.Digest = "18", hexOf256(oldKey[:29]+"9") })).Token
	value := w.rotate(ann, ended, 0)
	_, err = report(ann, oldKey[:29]+"9")
	require.ErrorIs(t, err, apitoken.ErrNotFound, "its token is not stopped for a key that opens nothing")
	require.NoError(t, w.verify(value.Secret))

	leak, err := report(ann, oldKey)
	require.NoError(t, err)
	require.Equal(t, id, leak.Token.ID)
	require.Equal(t, apitoken.StateRevoked, leak.Token.State)
	_, err = w.present("", oldKey)
	require.ErrorIs(t, err, apitoken.ErrRevoked)
}

// Taking a format out of the options switches all its keys off.
func TestFormatNoLongerConfigured(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	w.importOne(row())
	w.importOne(apitoken.ImportRow{ID: "1", Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(strong), Owner: "ann"})
	w.Options.Legacy = w.Options.Legacy[1:2]
	node := w.Node()
	_, err := node.Verify(t.Context(), apitoken.VerifyRequest{Token: oldKey})
	require.ErrorIs(t, err, apitoken.ErrMalformedToken)
	_, err = node.Verify(t.Context(), apitoken.VerifyRequest{LegacyID: pairID, LegacySecret: strong})
	require.ErrorIs(t, err, apitoken.ErrWrongSecret)
}

// What a newer version may have stored matches nothing, and costs nothing.
func TestUnknownAlgorithmOfAnOldKey(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	id := w.importOne(row()).Token
	for _, slot := range []apitoken.Slot{
		{Algorithm: "scrypt", Prefix: "old", Blob: w.stored(id).Legacy.Blob},
		{Algorithm: "bcrypt", Prefix: "old", Blob: []byte("$2b$31$" + strings.Repeat("a", 53))},
		{Algorithm: "argon2id", Prefix: "old", Blob: []byte("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$c3Vtc3Vtc3Vtc3Vt")},
		{Algorithm: "sha256-raw", Prefix: "old"},
		{Algorithm: "sha512-raw", Prefix: "old", Blob: w.stored(id).Legacy.Blob},
		{Algorithm: "sha256-raw", Prefix: "old512", Blob: w.stored(id).Legacy.Blob},
	} {
		rec := w.stored(id)
		rec.Token.Version++
		rec.Legacy = slot
		require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
		_, err := w.present("", oldKey)
		require.ErrorIs(t, err, apitoken.ErrWrongSecret, slot.Algorithm)
		_, err = w.Service.FindBySecret(t.Context(), ann, oldKey)
		require.ErrorIs(t, err, apitoken.ErrNotFound, slot.Algorithm)
	}
}

// P10: what is stored of one key opens no other row.
func TestOldDigestIsBoundToItsRow(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	mine := w.importOne(row()).Token
	other := w.importOne(row(func(r *apitoken.ImportRow) { r.ID, r.Owner, r.Digest = "18", "bob", hexOf256(oldKey+"x") })).Token
	rec := w.stored(other)
	rec.Token.Version++
	rec.Legacy = w.stored(mine).Legacy
	require.NoError(t, w.Store.Unwrap().Swap(t.Context(), rec, apitoken.Guard{}, nil))
	p, err := w.present("", oldKey)
	require.NoError(t, err)
	require.Equal(t, mine, p.Token)
}

// P8: with formats configured too, what is no token and has no format's shape is
// refused before the store is asked and the clock is read.
func TestDamagedOldKeysAreRefusedUnasked(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	value := w.issue(plain).Secret.Reveal()
	w.importOne(row())
	w.Store.Reset()
	w.Store.On(func(c apitokentest.Call) error {
		t.Errorf("the store was asked: %v", c)
		return nil
	})
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		token := []byte(value)
		switch i := rng.IntN(len(token)); rng.IntN(3) {
		case 0:
			token[i] ^= byte(1 + rng.IntN(255))
		case 1:
			token = slices.Delete(token, i, i+1)
		case 2:
			token = slices.Insert(token, i, byte(rng.IntN(256)))
		}
		_, err := w.present("", string(token))
		require.ErrorIs(t, err, apitoken.ErrMalformedToken)
	}
	for _, key := range []string{
		oldKey[1:], oldKey + "a", oldKey[:29], oldKey[:29] + "A", oldKey[:29] + "\x00", oldKey[:29] + " ", "old_", "sk_", "pin_short", "Old_" + oldKey[4:],
		strings.Repeat("sk_a", 200),
	} {
		_, err := w.present("", key)
		require.ErrorIs(t, err, apitoken.ErrMalformedToken, key)
	}
	for _, secret := range []string{"abc", long(257), "short\x00"} {
		_, err := w.present(pairID, secret)
		require.ErrorIs(t, err, apitoken.ErrMalformedToken, secret)
	}
}
