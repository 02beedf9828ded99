package apitoken_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

// What is accepted has one canonical form, and x509 reads the same key from it.
// What is refused has one of the five reasons.
func FuzzParsePublicKey(f *testing.F) {
	const prefix = "3059301306072a8648ce3d020106082a8648ce3d030107034200"
	head, err := hex.DecodeString(prefix)
	require.NoError(f, err)
	g := elliptic.P256().Params()
	point := slices.Concat([]byte{4}, g.Gx.FillBytes(make([]byte, 32)), g.Gy.FillBytes(make([]byte, 32)))
	der := slices.Concat(head, point)
	body := base64.StdEncoding.EncodeToString(der)

	f.Add(body)
	f.Add(pemText("PUBLIC KEY", der))
	f.Add("\ufeff" + beginLine + `\n` + strings.TrimRight(body, "=") + `\r\n` + endLine)
	f.Add(pemText("EC PRIVATE KEY", der))
	f.Add(pemText("CERTIFICATE", der))
	f.Add(base64.StdEncoding.EncodeToString(slices.Concat(head, []byte{6}, point[1:])))
	f.Add("MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgAC2w1/0XYrCHTgODb3HvAK5L0+UCBmwrBtJs9OGmL6dLU=")
	f.Add("MCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("MIGHAgEAMBMGByqGSM49")
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := apitoken.ParsePublicKey(text)
		if err != nil {
			require.True(t, k.IsZero())
			require.True(t, slices.ContainsFunc(keyErrors, func(one error) bool { return errors.Is(err, one) }), err)
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			return
		}
		der := k.DER()
		require.Len(t, der, 91)
		require.True(t, strings.HasPrefix(hex.EncodeToString(der), prefix))
		parsed, err := x509.ParsePKIXPublicKey(der)
		require.NoError(t, err)
		key, ok := parsed.(*ecdsa.PublicKey)
		require.True(t, ok)
		require.Equal(t, elliptic.P256(), key.Curve)
		again, err := x509.MarshalPKIXPublicKey(key)
		require.NoError(t, err)
		require.Equal(t, der, again)

		for _, form := range []string{pemText("PUBLIC KEY", der), base64.StdEncoding.EncodeToString(der)} {
			same, err := apitoken.ParsePublicKey(form)
			require.NoError(t, err)
			require.Equal(t, k, same)
			require.Equal(t, k.Fingerprint(), same.Fingerprint())
		}
	})
}
