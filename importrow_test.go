package apitoken_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
)

// S3.17: whatever the host's rows hold, the key goes on working, and nothing near
// it does; what is stored can open nothing by itself.
func TestImportForms(t *testing.T) {
	t.Parallel()
	argon := apitoken.NewArgonHash
	for _, c := range []struct {
		name      string
		row       apitoken.ImportRow
		key       string
		algorithm string
	}{
		{"sha256 in hex", apitoken.ImportRow{Format: "old", Digest: hexOf256(oldKey)}, oldKey, "sha256-raw"},
		{"sha256 in capital hex", apitoken.ImportRow{Format: "old", Digest: apitoken.NewSecret(strings.ToUpper(hexOf256(oldKey).Reveal()))}, oldKey, "sha256-raw"},
		{"sha256 in base64", apitoken.ImportRow{Format: "old", Digest: base64Of256(base64.StdEncoding, oldKey)}, oldKey, "sha256-raw"},
		{"sha256 in base64 of URLs", apitoken.ImportRow{Format: "old", Digest: base64Of256(base64.RawURLEncoding, oldKey)}, oldKey, "sha256-raw"},
		{"sha512 in hex", apitoken.ImportRow{Format: "old512", Digest: apitoken.NewSecret(hex.EncodeToString(sum512("big_" + oldKey)))}, "big_" + oldKey, "sha512-raw"},
		{"sha512 in base64", apitoken.ImportRow{Format: "old512", Digest: apitoken.NewSecret(base64.RawStdEncoding.EncodeToString(sum512("big_" + oldKey)))}, "big_" + oldKey, "sha512-raw"},
		{"the key itself", apitoken.ImportRow{Format: "oldplain", Secret: apitoken.NewSecret("raw_" + oldKey)}, "raw_" + oldKey, "sha256-raw"},
		{"bcrypt", apitoken.ImportRow{Format: "slow", Handle: slowKey[:12], Digest: bcryptOf(slowKey)}, slowKey, "bcrypt"},
		{"argon2id", apitoken.ImportRow{Format: "slowargon", Handle: "ak_" + slowKey[3:12], Digest: apitoken.NewSecret(argon("ak_" + slowKey[3:]))}, "ak_" + slowKey[3:], "argon2id"},
		{"a guessable key itself", apitoken.ImportRow{Format: "pin", Secret: apitoken.NewSecret(shortKey)}, shortKey, "argon2id"},
		{"a strong pair", apitoken.ImportRow{Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(strong)}, strong, "sha256"},
		{"a weak pair", apitoken.ImportRow{Format: "pair", PairID: pairID, Secret: apitoken.NewSecret(weak)}, weak, "argon2id"},
		{"a pair's digest", apitoken.ImportRow{Format: "pair256", PairID: pairID, Digest: hexOf256("s3cret-of-a-pair")}, "s3cret-of-a-pair", "sha256-raw"},
		{"a pair's bcrypt", apitoken.ImportRow{Format: "pairbcrypt", PairID: pairID, Digest: bcryptOf("s3cret-of-a-pair")}, "s3cret-of-a-pair", "bcrypt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newImportWorld(t)
			r := c.row
			r.ID, r.Owner = "17", "ann"
			if r.PairID == "" {
				r.Permissions = []string{}
			}
			out := w.importOne(r)
			require.Equal(t, apitoken.ImportedNew, out.Outcome)
			require.True(t, out.Token.Valid())
			require.True(t, out.Secret.IsZero(), "nobody asked for a value")

			p, err := w.present(r.PairID, c.key)
			require.NoError(t, err)
			require.Equal(t, out.Token, p.Token)
			require.Equal(t, apitoken.SchemeLegacy, p.Scheme)
			require.Equal(t, "ann", p.Owner)
			for _, near := range []string{c.key[:len(c.key)-1] + "#", c.key[:len(c.key)-1], c.key + "x", strings.ToUpper(c.key)} {
				_, err := w.present(r.PairID, near)
				require.ErrorIs(t, err, apitoken.ErrUnauthenticated, near)
			}
			rec := w.stored(out.Token)
			_, err = w.present(rec.Alias, c.key)
			if r.PairID == "" {
				require.ErrorIs(t, err, apitoken.ErrUnauthenticated, "a single key does not open as a pair, though its alias be known")
			}
			require.Equal(t, c.algorithm, rec.Legacy.Algorithm)
			require.True(t, rec.Primary.IsZero())
			require.Equal(t, "token.imported", string(w.events(out.Token)[0].Type))

			// What is public or stored is no digest of the key, nor begins like one.
			public := string(out.Token) + " " + rec.Alias + " " + string(rec.Legacy.Blob)
			for _, digest := range []string{
				hexOf256(c.key).Reveal(), base64Of256(base64.RawStdEncoding, c.key).Reveal(), base64Of256(base64.RawURLEncoding, c.key).Reveal(),
				hex.EncodeToString(sum512(c.key)), base64.RawStdEncoding.EncodeToString(sum512(c.key)),
			} {
				require.NotContains(t, strings.ToLower(public), strings.ToLower(digest[:8]))
			}
			raw := sha256.Sum256([]byte(c.key))
			require.NotContains(t, public, string(raw[:8]))
			require.NotContains(t, w.dump(), c.key)
		})
	}
}

// What is stored under must never change: keys that were imported would be lost.
// Under another import key nothing is the same.
func TestImportedNamesAreGolden(t *testing.T) {
	t.Parallel()
	w := newImportWorld(t)
	require.Equal(t, apitoken.ID("16wlbFGuPZjn2e8jWwctim"), w.Service.ImportedID("old", "17"))
	require.Equal(t, "key.8T9QZuIFKz4KEF5JjBJIM5OKld3suAlMXOfNIFeQ7cc", w.Service.ImportedAlias(0, oldKey))
	require.Equal(t, "handle.QUCe5i9T2DuXMl3pwuLBe5FNzjYaWwFc0BKZ2KfzWKe", w.Service.ImportedAlias(3, slowKey))
	other := newImportWorld(t, func(o *apitoken.Options) { o.ImportKey = apitoken.NewSecret(importKey.Reveal() + "x") })
	require.NotEqual(t, w.Service.ImportedID("old", "17"), other.Service.ImportedID("old", "17"))
	require.NotEqual(t, w.Service.ImportedAlias(0, oldKey), other.Service.ImportedAlias(0, oldKey))
	require.NotEqual(t, w.Service.ImportedID("old", "17"), w.Service.ImportedID("old1", "7"), "parts are kept apart")
}
