package apitoken_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"github.com/tokenry/apitoken"
)

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return key
}

func publicDER(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return der
}

func uploaded(t testing.TB, key *ecdsa.PrivateKey) apitoken.PublicKey {
	t.Helper()
	k, err := apitoken.ParsePublicKey(pemText("PUBLIC KEY", publicDER(t, key)))
	require.NoError(t, err)
	return k
}

func TestParseCanonicalKey(t *testing.T) {
	t.Parallel()
	want := uploaded(t, newKey(t, elliptic.P256()))
	der := want.DER()
	got, err := apitoken.ParseCanonicalKey(der)
	require.NoError(t, err)
	require.Equal(t, want, got)

	// A stored key that was damaged is never used.
	for i := range der {
		for _, bit := range []byte{0x01, 0x80} {
			damaged := bytes.Clone(der)
			damaged[i] ^= bit
			got, err := apitoken.ParseCanonicalKey(damaged)
			require.ErrorIs(t, err, apitoken.ErrInvalid, "byte %d", i)
			require.True(t, got.IsZero())
		}
		_, err := apitoken.ParseCanonicalKey(der[:i])
		require.ErrorIs(t, err, apitoken.ErrInvalid, "%d bytes", i)
	}
	_, err = apitoken.ParseCanonicalKey(append(der, 0))
	require.ErrorIs(t, err, apitoken.ErrMalformedKey)
}

func TestZeroPublicKey(t *testing.T) {
	t.Parallel()
	var k apitoken.PublicKey
	require.True(t, k.IsZero())
	require.Nil(t, k.DER())
	require.Empty(t, k.Fingerprint())
	require.False(t, k.VerifyES256([]byte("a"), make([]byte, 64)))
}

// sign returns r‖s.
func sign(t testing.TB, key *ecdsa.PrivateKey, text string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(text))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	require.NoError(t, err)
	var sig struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(der, &sig)
	require.NoError(t, err)
	return rs(sig.R, sig.S)
}

func rs(r, s *big.Int) []byte {
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}

func TestVerifyES256(t *testing.T) {
	t.Parallel()
	key := newKey(t, elliptic.P256())
	k, n := uploaded(t, key), elliptic.P256().Params().N
	for i := range 600 { // numbers with a leading zero byte, or two, are among them
		text := fmt.Sprint("text ", i)
		sig := sign(t, key, text)
		require.True(t, k.VerifyES256([]byte(text), sig))
		require.False(t, k.VerifyES256([]byte(text+"."), sig))

		r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
		require.True(t, k.VerifyES256([]byte(text), rs(r, new(big.Int).Sub(n, s))), "the other s is valid too")
	}

	sig := sign(t, key, "a")
	for i := range sig {
		damaged := bytes.Clone(sig)
		damaged[i] ^= 0x10
		require.False(t, k.VerifyES256([]byte("a"), damaged), "byte %d", i)
		require.False(t, k.VerifyES256([]byte("a"), sig[:i]), "%d bytes", i)
	}
	require.False(t, k.VerifyES256([]byte("a"), append(bytes.Clone(sig), 0)))
	for _, at := range []int{0, 32} { // the numbers are the same
		longer := slices.Insert(bytes.Clone(sig), at, 0)
		require.False(t, k.VerifyES256([]byte("a"), longer), "a zero byte more at %d", at)
	}
	require.False(t, uploaded(t, newKey(t, elliptic.P256())).VerifyES256([]byte("a"), sig), "another key")

	zero, one := new(big.Int), big.NewInt(1)
	for _, pair := range [][2]*big.Int{{zero, zero}, {zero, one}, {one, zero}, {one, one}, {n, n}, {n, one}, {one, n}} {
		require.False(t, k.VerifyES256([]byte("a"), rs(pair[0], pair[1])), "%v", pair)
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	for r.Add(r, n); r.BitLen() <= 256; r.Add(r, n) {
		require.False(t, k.VerifyES256([]byte("a"), rs(r, s)), "r is not reduced")
	}
}

func TestVerifyES256DoesNotWrite(t *testing.T) {
	t.Parallel()
	key := newKey(t, elliptic.P256())
	sig := sign(t, key, "a")
	kept := bytes.Clone(sig)
	require.True(t, uploaded(t, key).VerifyES256([]byte("a"), sig))
	require.Equal(t, kept, sig)
}

func TestIsDERSignature(t *testing.T) {
	t.Parallel()
	dir := keyPair(t)
	for i := range 8 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "text"), []byte{byte(i)}, 0o600))
		require.True(t, apitoken.IsDERSignature(openssl(t, dir, "dgst", "-sha256", "-sign", "privateKey.pem", "text")))
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{big.NewInt(1), big.NewInt(2)})
	require.NoError(t, err)
	require.True(t, apitoken.IsDERSignature(der))

	for name, sig := range map[string][]byte{
		"nothing":       nil,
		"r‖s":           sign(t, newKey(t, elliptic.P256()), "a"),
		"cut off":       der[:len(der)-1],
		"trailing byte": append(bytes.Clone(der), 0),
		"one number":    {0x30, 3, 2, 1, 1},
		"three numbers": {0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1},
		"a public key":  publicDER(t, newKey(t, elliptic.P256())),
	} {
		require.False(t, apitoken.IsDERSignature(sig), name)
	}
}

// Beside raw ECDSA and golang-jwt, which both have their key parsed already.
func BenchmarkVerifyES256(b *testing.B) {
	key := newKey(b, elliptic.P256())
	k := uploaded(b, key)
	text := "eyJhbGciOiJFUzI1NiIsImtpZCI6ImNlOTc3OGJmIn0.e30"
	sig := sign(b, key, text)
	digest := sha256.Sum256([]byte(text))
	der, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	require.NoError(b, err)

	b.Run("apitoken", func(b *testing.B) {
		b.ReportAllocs()
		signed := []byte(text)
		for b.Loop() {
			if !k.VerifyES256(signed, sig) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("ecdsa.VerifyASN1", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], der) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("golang-jwt", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := jwt.SigningMethodES256.Verify(text, sig, &key.PublicKey); err != nil {
				b.Fatal(err)
			}
		}
	})
}
