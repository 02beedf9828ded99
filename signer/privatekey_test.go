package signer_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
)

func pemOf(label string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return der
}

func sec1(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return der
}

// parameters is the block that openssl ecparam -genkey writes before the key.
func parameters(t testing.TB, der string) string {
	t.Helper()
	oid, err := hex.DecodeString(der)
	require.NoError(t, err)
	return pemOf("EC PARAMETERS", oid)
}

const p256OID = "06082a8648ce3d030107"

// S2.13: both files with the private key that the openssl commands make. That
// openssl itself makes them so is tested where the clients are.
func TestParsePrivateKey(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	private, pair := pemOf("PRIVATE KEY", pkcs8(t, key)), parameters(t, p256OID)+pemOf("EC PRIVATE KEY", sec1(t, key))
	for name, text := range map[string]string{
		"privateKey.pem":         private,
		"ec256-key-pair.pem":     pair,
		"SEC 1 alone":            pemOf("EC PRIVATE KEY", sec1(t, key)),
		"white space around":     "\n \t" + private + "\r\n\n",
		"CRLF":                   strings.ReplaceAll(pair, "\n", "\r\n"),
		"a mark of byte order":   "\ufeff" + private,
		"no line end at the end": strings.TrimSpace(pair),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := signer.ParsePrivateKey([]byte(text))
			require.NoError(t, err)
			require.True(t, key.Equal(got))
		})
	}
}

var base64Run = regexp.MustCompile(`[A-Za-z0-9+/]{24,}`)

func TestParsePrivateKeyRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	good := pemOf("PRIVATE KEY", pkcs8(t, key))
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	der := pkcs8(t, key)
	oid := func(s string) []byte { b, err := hex.DecodeString(s); require.NoError(t, err); return b }
	swapped := func(der []byte, from, to string) string {
		return pemOf("PRIVATE KEY", bytes.ReplaceAll(der, oid(from), oid(to)))
	}
	headed := string(pem.EncodeToMemory(&pem.Block{
		Type: "EC PRIVATE KEY", Bytes: sec1(t, key), Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"},
	}))

	for _, tc := range []struct{ name, text, says string }{
		{"nothing", "", "no PEM file"},
		{"a file name", "privateKey.pem", "no PEM file"},
		{"only base64", base64.StdEncoding.EncodeToString(der), "no PEM file"},
		{"DER", string(der), "no PEM file"},
		{"a file that is too long", strings.Repeat(good, 100), "longer than any key"},
		{"text before", "my key\n" + good, "no PEM file"},
		{"text after", good + "and a comment", "something after the key"},
		{"two keys", good + good, "something after the key"},
		{"a broken key before one", strings.Replace(good, "\n", "\n!", 1) + good, "something after the key"},
		{"cut off", good[:len(good)/2], "damaged"},
		{"a key and its public half", good + pemOf("PUBLIC KEY", public), "something after the key"},
		{"publicKey.pem", pemOf("PUBLIC KEY", public), "public key, which is for the service"},
		{"parameters alone", parameters(t, p256OID), "no key"},
		{"parameters and PKCS#8", parameters(t, p256OID) + good, "something else than a key after EC PARAMETERS"},
		{"encrypted PKCS#8", pemOf("ENCRYPTED PRIVATE KEY", der), "encrypted: decrypt it with openssl pkcs8"},
		{"encrypted SEC 1", headed, "encrypted: decrypt it with openssl pkcs8"},
		{"OpenSSH", pemOf("OPENSSH PRIVATE KEY", der), "OpenSSH"},
		{"a certificate", pemOf("CERTIFICATE", der), "certificate"},
		{"a request for one", pemOf("CERTIFICATE REQUEST", der), "certificate request"},
		{"PKCS#1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(large)), "an RSA key"},
		{"RSA", pemOf("PRIVATE KEY", pkcs8(t, large)), "an RSA key"},
		{"Ed25519", pemOf("PRIVATE KEY", pkcs8(t, edwards)), "an Ed25519 key"},
		{"X25519", swapped(pkcs8(t, edwards), "06032b6570", "06032b656e"), "an X25519 key"},
		{"P-384", pemOf("PRIVATE KEY", pkcs8(t, p384)), "on P-384"},
		{"P-384 of openssl ecparam", parameters(t, "06052b81040022") + pemOf("EC PRIVATE KEY", sec1(t, p384)), "on P-384"},
		{"secp256k1", swapped(der, p256OID, "06052b8104000a"), "on secp256k1"},
		{"DSA", swapped(der, "06072a8648ce3d0201", "06072a8648ce380401"), "a DSA key"},
		{"an unknown algorithm", swapped(der, "06072a8648ce3d0201", "06072a8648ce3d0209"), "another algorithm"},
		{"PKCS#8 cut off", pemOf("PRIVATE KEY", der[:40]), "damaged"},
		{"another PEM file", pemOf("X509 CRL", der), "another kind"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := signer.ParsePrivateKey([]byte(tc.text))
			require.Nil(t, got)
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			require.ErrorContains(t, err, tc.says)
			fields := apitoken.Fields(err)
			require.Len(t, fields, 1)
			require.Equal(t, "private_key", fields[0].Field)
			require.Contains(t, fields[0].Problem, ":", "what to do about it")
			require.NotRegexp(t, base64Run, err.Error())
		})
	}
}

// Whatever is read as a key signs on P-256 and is the same when written again;
// whatever is refused is refused in words of ours.
func FuzzParsePrivateKey(f *testing.F) {
	key := newKey(f)
	f.Add([]byte(pemOf("PRIVATE KEY", pkcs8(f, key))))
	f.Add([]byte(parameters(f, p256OID) + pemOf("EC PRIVATE KEY", sec1(f, key))))
	f.Add([]byte(pemOf("EC PRIVATE KEY", sec1(f, key)) + "\n-----BEGIN"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n"))
	f.Add([]byte(pemOf("ENCRYPTED PRIVATE KEY", []byte("x"))))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := signer.ParsePrivateKey(text)
		if err != nil {
			require.Nil(t, got)
			require.ErrorIs(t, err, apitoken.ErrInvalid)
			require.Len(t, apitoken.Fields(err), 1)
			require.NotRegexp(t, base64Run, err.Error())
			return
		}
		private, ok := got.(*ecdsa.PrivateKey)
		require.True(t, ok)
		require.Equal(t, elliptic.P256(), private.Curve)
		again, err := signer.ParsePrivateKey([]byte(pemOf("PRIVATE KEY", pkcs8(t, private))))
		require.NoError(t, err)
		require.True(t, private.Equal(again))
		_, err = signer.New(signer.Options{Scheme: apitoken.SchemeJWS, Token: tokenID, Key: got})
		require.NoError(t, err)
	})
}
