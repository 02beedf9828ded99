package signer_test

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tokenry/apitoken"
	"github.com/tokenry/apitoken/signer"
)

func (f keyFunc) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != crypto.SHA256 {
		return nil, errors.New("another hash")
	}
	return f(digest)
}

func asn1Signature(r, s *big.Int) []byte {
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	if err != nil {
		panic(err)
	}
	return der
}

// A number below 2^248, which ASN.1 writes with less bytes, has its zeros in r‖s.
func TestSignatureIsPadded(t *testing.T) {
	t.Parallel()
	var sent base
	transport := newTransport(t, signer.Options{
		Scheme: apitoken.SchemeJWS, Token: tokenID, Base: &sent,
		Key: keyFunc(func([]byte) ([]byte, error) { return asn1Signature(big.NewInt(1), big.NewInt(0x8000)), nil }),
	})
	_, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
	require.NoError(t, err)
	_, jws := sent.last()
	raw, err := base64.RawURLEncoding.DecodeString(jws[strings.LastIndexByte(jws, '.')+1:])
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("\x00", 31)+"\x01"+strings.Repeat("\x00", 30)+"\x80\x00", string(raw))
}

func TestKeyThatFails(t *testing.T) {
	t.Parallel()
	one, big256 := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 256)
	down := errors.New("the key management service is down")
	answer := func(der []byte) keyFunc { return func([]byte) ([]byte, error) { return der, nil } }
	for _, tc := range []struct {
		name string
		key  keyFunc
		is   error
	}{
		{"an error", func([]byte) ([]byte, error) { return nil, down }, down},
		{"nothing", answer(nil), nil},
		{"r‖s", answer(make([]byte, 64)), nil},
		{"zero", answer(asn1Signature(one, new(big.Int))), nil},
		{"a negative number", answer(asn1Signature(new(big.Int).Neg(one), one)), nil},
		{"a number that is too large", answer(asn1Signature(big256, one)), nil},
		{"one number", answer([]byte{0x30, 3, 2, 1, 1}), nil},
		{"three numbers", answer([]byte{0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1}), nil},
		{"something after it", answer(append(asn1Signature(one, one), 0)), nil},
	} {
		for _, scheme := range []apitoken.Scheme{apitoken.SchemeJWS, apitoken.SchemeJWT} {
			t.Run(tc.name+" by "+string(scheme), func(t *testing.T) {
				t.Parallel()
				var sent base
				opts := signer.Options{Scheme: scheme, Token: tokenID, Base: &sent, Key: tc.key}
				if scheme == apitoken.SchemeJWT {
					opts.Audience = "x"
				}
				body := &closer{Reader: strings.NewReader("{}")}
				r := newRequest(t, "POST", "https://api.example.com/", "")
				r.Body = body
				resp, err := newTransport(t, opts).RoundTrip(r)
				require.Nil(t, resp)
				var fault *signer.KeyError
				require.ErrorAs(t, err, &fault)
				require.ErrorIs(t, err, apitoken.ErrUnavailable)
				require.Equal(t, "unavailable", apitoken.ReasonOf(err))
				if tc.is != nil {
					require.ErrorIs(t, err, tc.is)
				}
				require.Empty(t, sent.requests)
				require.Equal(t, 1, body.closed)
			})
		}
	}
}

// closer counts how often a body is closed.
type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error {
	c.closed++
	return nil
}

// A key that is somewhere else works as one in memory.
func TestKeyBehindAnInterface(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	var sent base
	transport := newTransport(t, signer.Options{Scheme: apitoken.SchemeJWS, Token: tokenID, Base: &sent, Key: remote{key}})
	for range 20 { // half of all signatures have a number that begins with a zero in ASN.1
		_, err := transport.RoundTrip(newRequest(t, "GET", "https://api.example.com/", ""))
		require.NoError(t, err)
		_, jws := sent.last()
		parts(t, jws, key.Public())
	}
}

type remote struct{ key *ecdsa.PrivateKey }

func (r remote) Public() crypto.PublicKey { return r.key.Public() }
func (r remote) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return r.key.Sign(random, digest, opts)
}
